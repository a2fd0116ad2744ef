"""The liquid time-constant cell, recognised in the unrolled graph that an exporter makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np

from lnnc.frontend.onnx_fuse import Book
from lnnc.ir.graph import (
    Act,
    Add,
    Array,
    Concat,
    Div,
    Gather,
    Indices,
    Linear,
    Ltc,
    Op,
    Scale,
    Synapses,
)


@dataclass
class Terms:
    """A tensor as a sum: diagonal * leaf for some leaves, weight @ gate for some sigmoids, and a constant."""

    leaves: dict[str, Array] = field(default_factory=dict)
    gates: dict[str, Array] = field(default_factory=dict)
    constant: Array | float = 0.0


def collect(tensor: str, gain: Array, book: Book, terms: Terms, op: Op | None = None) -> None:
    """Add gain * tensor, which `op` makes (by default what the book says), to the terms; gain: (n,)."""
    op = op or book.defs.get(tensor)
    match op:
        case Add():
            collect(op.a, gain, book, terms)
            collect(op.b, gain * op.gain, book, terms)
        case Scale():
            terms.constant = terms.constant + gain * op.offset
            collect(op.x, gain * op.scale, book, terms)
        case Linear():
            terms.constant = terms.constant + gain * op.bias
            source = book.defs.get(op.x)
            parts = source.parts if isinstance(source, Concat) else (op.x,)
            cuts = np.cumsum([book.sizes[part] for part in parts])[:-1]
            for part, weight in zip(parts, np.split(op.weight, cuts, axis=1), strict=True):
                terms.gates[part] = terms.gates.get(part, 0.0) + gain[:, None] * weight
        case Act(fn="sigmoid"):  # one source: a sum over one synapse is none
            terms.gates[tensor] = terms.gates.get(tensor, 0.0) + np.diag(gain)
        case _:
            terms.leaves[tensor] = terms.leaves.get(tensor, 0.0) + gain


def ltc(op: Op, book: Book) -> Sequence[Op] | None:
    """One fused step: v' = (k v + c + sum w erev g) / (k + leak + sum w g), g = sigmoid(slope * pre + offset).

    k, the capacitance over the length of the step, is what v is multiplied with.
    """
    if not isinstance(op, Div):
        return None
    n = book.sizes[op.a]
    above, below = Terms(), Terms()
    collect(op.a, np.ones(n), book, above)
    collect(op.b, np.ones(n), book, below)
    if len(above.leaves) != 1 or below.leaves or not (above.gates or below.gates):
        return None
    (v, inflow), total = next(iter(above.leaves.items())), np.broadcast_to(below.constant, (n,))
    if book.sizes.get(v) != n or (inflow <= 0).any():
        return None
    groups = _groups(above.gates, below.gates, n, book)
    if groups is None or len(set(groups) - {v}) > 1:
        return None
    none = Synapses(*(np.zeros(0, np.int64),) * 2, *(np.zeros(0),) * 4)
    source = next((x for x in groups if x != v), v)
    sensory = groups[source] if source != v else none
    leak, current = total - inflow, np.broadcast_to(above.constant, (n,)).copy()
    recurrent = groups.get(v, none)
    return [Ltc(op.out, source, v, sensory, recurrent, leak, current, inflow * book.time, 1, False, op.src)]


def _groups(above: dict[str, Array], below: dict[str, Array], n: int, book: Book) -> dict[str, Synapses] | None:
    """The synapses by the tensor that they read, or None where the sums are of something else."""
    found: dict[str, list[Array]] = {}
    zeros = {name: np.zeros((n, book.sizes[name])) for name in {**above, **below}}
    for name in zeros:
        current, conductance = above.get(name, zeros[name]), below.get(name, zeros[name])
        gate = _arguments(name, book)
        there = (current != 0) | (conductance != 0)
        if gate is None or (there.sum(axis=0) > 1).any():
            return None
        source, pre, slope, offset = gate
        post, column = np.nonzero(there)
        rows = (pre[column], post, slope[column], offset[column], conductance[post, column], current[post, column])
        found.setdefault(source, []).append(np.array(rows, np.float64))
    return {source: _synapses(np.hstack(parts)) for source, parts in found.items()}


def _arguments(name: str, book: Book) -> tuple[str, Indices, Array, Array] | None:
    """source, pre, slope, offset of a tensor sigmoid(slope * source[pre] + offset)."""
    gate = book.defs.get(name)
    if not isinstance(gate, Act) or gate.fn != "sigmoid":
        return None
    size, x = book.sizes[name], gate.x
    slope, offset = np.ones(size), np.zeros(size)
    index: Indices = np.arange(size, dtype=np.int64)
    inner = book.defs.get(x)
    if isinstance(inner, Scale):
        slope, offset, x = inner.scale, inner.offset, inner.x
        inner = book.defs.get(x)
    if isinstance(inner, Gather):
        index, x = inner.index, inner.x
    return x, index, slope, offset


def _synapses(rows: Array) -> Synapses:
    rows = rows[:, np.lexsort((rows[0], rows[1]))]
    return Synapses(rows[0].astype(np.int64), rows[1].astype(np.int64), *rows[2:])


def same_ltc(op: Ltc, before: Ltc) -> bool:
    """Whether a step repeats the one before: its parameters to float32, its sensory neurons the same tensor."""
    if len(op.sensory.pre) and op.x != before.x:
        return False
    pairs = [(op.leak, before.leak), (op.leak_current, before.leak_current)]
    pairs.append((op.capacitance, before.capacitance * before.unfolds))
    for mine, theirs in ((op.sensory, before.sensory), (op.recurrent, before.recurrent)):
        pairs += [(getattr(mine, f.name), getattr(theirs, f.name)) for f in fields(Synapses)]
    return all(a.shape == b.shape and np.allclose(a, b, rtol=1e-6, atol=1e-9) for a, b in pairs)
