"""`lnnc import onnx`: one step of a network, (x, h, ...) -> (y, h', ...), becomes a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lnnc.errors import LnncError
from lnnc.frontend.fields import WEIGHT_MAX
from lnnc.frontend.network import SCALED, Network
from lnnc.frontend.onnx_cells import canonical
from lnnc.frontend.onnx_check import check_against_file
from lnnc.frontend.onnx_draft import Draft, Value, View
from lnnc.frontend.onnx_fold import UnsupportedError
from lnnc.frontend.onnx_fuse import needed
from lnnc.frontend.onnx_ops import convert
from lnnc.frontend.onnx_read import Step, read_step
from lnnc.frontend.onnx_states import Roles, find_roles
from lnnc.ir.graph import Array, Concat, Linear, Op, Scale, State


@dataclass(frozen=True, eq=False)
class Imported:
    """A step as a network.

    Attributes:
        features: values of one sample.
        outputs: name and size of every result, in order.
    """

    where: str
    network: Network
    roles: Roles
    features: int
    outputs: tuple[tuple[str, int], ...]
    difference: float


def import_onnx(
    path: str | Path,
    *,
    states: Mapping[str, str] | None = None,
    results: Sequence[str] = (),
    fixed: Mapping[str, float] | None = None,
    samples: Callable[[int], Array | None] | None = None,
) -> Imported:
    """The network that an ONNX file of one step holds, checked against another interpreter of the file.

    Args:
        states: input -> output that holds its next value; inferred from names and sizes where left out.
        results: the data outputs; by default all that are no next state.
        fixed: inputs that are held at a constant, such as a time step.
        samples: called with the number of features: (streams, T, features) as the network sees them, for the check;
            by default random ones.

    Raises:
        LnncError: everything that cannot be read, every node that is not supported, every ambiguity; or the network
            and the file differ.
    """
    step = read_step(path)
    fixed = dict(fixed or {})
    _check_fixed(step, fixed)
    with np.errstate(all="ignore"):  # what is not finite is looked for where it would be used
        return _import(step, dict(states or {}), results, fixed, samples)


def _import(
    step: Step, states: dict[str, str], results: Sequence[str], fixed: Mapping[str, float],
    samples: Callable[[int], Array | None] | None,
) -> Imported:  # fmt: skip
    sizes, roles = _settle(step, states, results, fixed)
    draft = Draft(roles.data.size)
    values: dict[str, Value] = dict(step.constants)
    values[roles.data.name] = draft.whole(SCALED, roles.data.shape)
    for name in roles.states:
        values[name] = draft.state(name, step.input(name).shape)
    values |= {name: np.full(step.input(name).shape, value, np.float32) for name, value in fixed.items()}
    held = {name: values[name] for name in roles.states}
    data = samples(roles.data.size) if samples else None
    network = _close(draft, step, convert(draft, step, values), roles, held)
    network = _unique_sources(canonical(network, roles.data.size))
    _check_numbers(step, network)
    outputs = tuple((name, sizes[name]) for name in roles.results)
    difference = check_against_file(step, network, roles, fixed, data)
    return Imported(step.where, network, roles, roles.data.size, outputs, difference)


def _check_numbers(step: Step, network: Network) -> None:
    """A checkpoint holds float32: products of constants may have left it."""
    for op in network.ops:
        for name, value in vars(op).items():
            if isinstance(value, np.ndarray) and not (np.abs(value) <= WEIGHT_MAX).all():
                raise LnncError(f"op '{op.src}': its {name} leaves float32 ({np.abs(value).max():g})", step.where)


def _check_fixed(step: Step, fixed: Mapping[str, float]) -> None:
    names = {entry.name for entry in step.inputs}
    for name, value in fixed.items():
        if name not in names:
            raise LnncError(f"--fix {name}: no such input, found {', '.join(sorted(names))}", step.where)
        if not np.isfinite(value) or abs(value) > np.finfo(np.float32).max:
            raise LnncError(f"--fix {name}: expected a finite number, found {value}", step.where)


def _settle(
    step: Step, states: dict[str, str], results: Sequence[str], fixed: Mapping[str, float]
) -> tuple[dict[str, int], Roles]:
    """Sizes of the outputs, from a first conversion in which every input is data, and the roles that they decide."""
    inputs = [entry for entry in step.inputs if entry.name not in fixed]
    if not inputs:
        raise LnncError("every input is held constant", step.where, "leave one that carries data")
    draft = Draft(inputs[0].size)
    values: dict[str, Value] = dict(step.constants)
    for entry in inputs:
        values[entry.name] = draft.state(entry.name, entry.shape)
    values |= {name: np.full(step.input(name).shape, value, np.float32) for name, value in fixed.items()}
    found = convert(draft, step, values)
    sizes = {name: int(np.prod(np.shape(_index(found[name])))) for name in step.outputs}
    return sizes, find_roles(step, sizes, states, results, tuple(fixed))


def _index(value: Value) -> Array:
    return np.asarray(value.index if isinstance(value, View) else value)


def _close(draft: Draft, step: Step, values: Mapping[str, Value], roles: Roles, held: Mapping[str, Value]) -> Network:
    """The network with its result and the next values of its states."""
    following: dict[str, str] = {}
    for name, output in roles.states.items():
        state = held[name]
        assert isinstance(state, View)
        following[state.tensor] = _computed(draft, values[output], output, step)
    parts = []
    for name in roles.results:
        value = values[name]
        if not isinstance(value, View):
            raise LnncError(f"output '{name}' is a constant: it depends on no input", step.where)
        parts.append(draft.whole(draft.flat(value), (value.index.size,)))
    result = parts[0].tensor
    if len(parts) > 1:
        result = draft.name("result")
        draft.push(Concat(result, tuple(part.tensor for part in parts), result), (sum(p.index.size for p in parts),))
    ops = [replace(op, next=following[op.out]) if isinstance(op, State) else op for op in draft.ops]
    return Network(needed(ops, result), result)


def _computed(draft: Draft, value: Value, output: str, step: Step) -> str:
    """The tensor of a state's next value: one that the step computes, so a copy of an input or state."""
    try:
        tensor = draft.flat(draft.view(value, output))
    except UnsupportedError as reason:
        raise LnncError(f"output '{output}': {reason}", step.where) from None
    producer = next((op for op in draft.ops if op.out == tensor), None)
    if producer is not None and not isinstance(producer, State):
        return tensor
    size, name = draft.sizes[tensor], draft.name(output)
    return draft.push(Scale(name, tensor, np.ones(size), np.zeros(size), name), (size,)).tensor


def _unique_sources(network: Network) -> Network:
    """Layers with weights get names of their own in messages and options."""
    seen: set[str] = set()
    ops: list[Op] = []
    for op in network.ops:
        if isinstance(op, Linear) and op.src in seen:
            op = replace(op, src=op.out)
        if isinstance(op, Linear):
            seen.add(op.src)
        ops.append(op)
    return replace(network, ops=tuple(ops))


def described(imported: Imported) -> str:
    """The network on a few lines, for people: what its inputs and nodes were taken for."""
    roles = imported.roles
    kinds = [type(op).__name__ + (f"({op.fn})" if hasattr(op, "fn") else "") for op in imported.network.ops]
    counted = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds) if kind != "State")
    states = ", ".join(f"{name} -> {output}" for name, output in roles.states.items())
    results = ", ".join(f"{name} ({size})" for name, size in imported.outputs)
    kept = f"; states {states}" if states else ""
    return f"input {roles.data.name} ({imported.features}); output {results}{kept}\n{counted}"
