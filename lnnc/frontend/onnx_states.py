"""Which input of a step is data, which are states, and which output is the next value of which state."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from lnnc.errors import LnncError
from lnnc.frontend.onnx_read import Signature, Step

_IN = re.compile(r"(_?(in|prev|previous|old|t|0)|x)$")
_OUT = re.compile(r"(_?(out|next|new|n|t1|1)|y|_?prime|')$")
_BEFORE = re.compile(r"^(in|prev|previous|old|initial|next|new|out|output)_")


@dataclass(frozen=True)
class Roles:
    """data: the one data input; states: input -> output; results: the data outputs, in order."""

    data: Signature
    states: Mapping[str, str]
    results: tuple[str, ...]


def find_roles(
    step: Step, sizes: Mapping[str, int], given: Mapping[str, str], results: Sequence[str], fixed: Collection[str]
) -> Roles:
    """The roles of a step's inputs and outputs.

    Args:
        sizes: number of elements of every output.
        given: state input -> its next value, as the user said; empty to infer them.
        results: the data outputs, as the user said; empty for all that are no next state.
        fixed: inputs that are held constant.

    Raises:
        LnncError: unknown names, sizes that differ, or several ways to read the step, all of which are listed.
    """
    inputs = [entry for entry in step.inputs if entry.name not in fixed]
    _check_given(step, inputs, sizes, given, results)
    pairs = dict(given) or _infer(step, inputs, sizes)
    data = [entry for entry in inputs if entry.name not in pairs]
    if len(data) != 1:
        raise _ambiguous(step, inputs, sizes, f"expected one input that is no state, found {_named(data)}")
    chosen = tuple(results) or tuple(name for name in step.outputs if name not in pairs.values())
    if not chosen and len(pairs) > 1:
        listed = " or ".join(f"--result {name}" for name in step.outputs)
        raise LnncError("every output is the next value of a state: which of them is the result?", step.where, listed)
    return Roles(data[0], pairs, chosen or tuple(pairs.values()))


def _check_given(
    step: Step, inputs: list[Signature], sizes: Mapping[str, int], given: Mapping[str, str], results: Sequence[str]
) -> None:
    known = {entry.name: entry.size for entry in inputs}
    for name, following in given.items():
        if name not in known or following not in sizes:
            unknown, kind = (name, "input") if name not in known else (following, "output")
            have = ", ".join(known if kind == "input" else sizes)
            raise LnncError(f"--state {name}={following}: no {kind} '{unknown}', found {have}", step.where)
        if known[name] != sizes[following]:
            raise LnncError(
                f"--state {name}={following}: '{name}' has {known[name]} values, '{following}' {sizes[following]}",
                step.where, "name the output that holds the state's next value",
            )  # fmt: skip
    for name in results:
        if name not in sizes:
            raise LnncError(f"--result {name}: no such output, found {', '.join(sizes)}", step.where)
    if len(set(given.values())) != len(given):
        raise LnncError("--state: two states have the same next value", step.where)


def _infer(step: Step, inputs: list[Signature], sizes: Mapping[str, int]) -> dict[str, str]:
    """States by names (h -> h_next, hn, h_out ...), else by order where sizes leave one way."""
    if len(inputs) == 1:
        return {}
    named = _by_names(inputs, sizes)
    if len(named) == len(inputs) - 1:
        return named
    states = inputs[1:]
    if named and any(named.get(entry.name) is None for entry in states):
        raise _ambiguous(step, inputs, sizes, "the names of some states do not tell their next value")
    fits = [[name for name in step.outputs if sizes[name] == entry.size] for entry in states]
    ordered = step.outputs[len(step.outputs) - len(states) :]
    unique = all(len(names) == 1 for names in fits) and len({names[0] for names in fits}) == len(states)
    in_order = len(step.outputs) in (len(inputs), len(states)) and [names[0] for names in fits if names] == list(
        ordered
    )
    if unique and in_order:
        return {entry.name: name for entry, name in zip(states, ordered, strict=True)}
    raise _ambiguous(step, inputs, sizes, "which output is the next value of which state?")


def _stem(name: str, ending: re.Pattern[str]) -> str:
    """A name without what marks it as before or after the step."""
    text = _BEFORE.sub("", name.lower().strip("/").replace(".", "_"))
    shorter = ending.sub("", text)
    return shorter or text


def _by_names(inputs: list[Signature], sizes: Mapping[str, int]) -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in inputs:
        stems = {_stem(entry.name, _IN), entry.name.lower()}
        fits = [
            name for name, size in sizes.items()
            if size == entry.size and {_stem(name, _OUT), name.lower()} & stems and name != entry.name
        ]  # fmt: skip
        if len(fits) == 1 and fits[0] not in found.values():
            found[entry.name] = fits[0]
    return found


def _named(entries: Sequence[Signature]) -> str:
    return ", ".join(f"{entry.name} ({entry.size})" for entry in entries) or "none"


def _ambiguous(step: Step, inputs: list[Signature], sizes: Mapping[str, int], message: str) -> LnncError:
    choices = [
        f"--state {entry.name}={name}" for entry in inputs for name, size in sizes.items() if size == entry.size
    ]  # fmt: skip
    outputs = ", ".join(f"{name} ({size})" for name, size in sizes.items())
    hint = f"choose among {', '.join(choices[:12])}" if choices else "give every state an output of its size"
    extra = "" if len(inputs) < 2 else "; hold an input constant with --fix NAME=VALUE"
    return LnncError(f"{message}; inputs {_named(inputs)}; outputs {outputs}", step.where, hint + extra)
