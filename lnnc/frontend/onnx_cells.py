"""Known forms in an imported network become the op that is lowered with the least error: Blend, Pure, Ltc, Leaky."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lnnc.frontend.network import TIME_MAX, Network
from lnnc.frontend.onnx_fuse import Book, needed, rewrite
from lnnc.frontend.onnx_leaky import leaky, same_leaky
from lnnc.frontend.onnx_ltc import ltc, same_ltc
from lnnc.frontend.onnx_rules import PLAIN, uniform
from lnnc.ir.graph import Act, Add, Blend, Gather, Leaky, Ltc, Mul, Op, Pure, Scale, State, reads


def canonical(network: Network, features: int) -> Network:
    """The same network in its best known form."""
    network = rewrite(network, features, (*PLAIN, blend))
    network = rewrite(network, features, (*PLAIN, blend, mul_gain, pure, ltc, leaky))
    return rewrite(join_unfolds(network), features, PLAIN)


def join_unfolds(network: Network) -> Network:
    """Steps with the same parameters, each of the one before, become the unfolds of one cell."""
    defs = {op.out: op for op in network.ops}
    readers: dict[str, int] = {}
    for op in network.ops:
        for name in {*reads(op), *([op.next] if isinstance(op, State) else [])}:
            readers[name] = readers.get(name, 0) + 1
    readers[network.result] = readers.get(network.result, 0) + 1
    ops: list[Op] = []
    for op in network.ops:
        before = defs.get(op.v if isinstance(op, Ltc) else op.x) if isinstance(op, Ltc | Leaky) else None
        if before is not None and readers[before.out] == 1:
            op = _joined(op, before)
        defs[op.out] = op
        ops.append(op)
    return replace(network, ops=needed(ops, network.result))


def _joined(op: Op, before: Op) -> Op:
    """A step and the steps before it as one op, where they are alike."""
    if isinstance(op, Ltc) and isinstance(before, Ltc) and same_ltc(op, before):
        unfolds = before.unfolds + 1
        capacitance = before.capacitance * (before.unfolds / unfolds)  # inflow = capacitance * unfolds / T
        return replace(op, x=before.x, v=before.v, unfolds=unfolds, capacitance=capacitance)
    if isinstance(op, Leaky) and isinstance(before, Leaky) and same_leaky(op, before):
        steps = before.steps + 1
        alpha, beta = (value * (steps / before.steps) for value in (before.alpha, before.beta))
        return replace(op, x=before.x, alpha=alpha, beta=beta, steps=steps)
    return op


def _gate(tensor: str, book: Book) -> bool:
    """Whether a tensor lies in [0, 1] by what makes it."""
    op = book.defs.get(tensor)
    while isinstance(op, Gather):
        op = book.defs.get(op.x)
    return isinstance(op, Act) and op.fn in ("sigmoid", "phi")


def blend(op: Op, book: Book) -> Sequence[Op] | None:
    """a (1 - t) + t b, and a + t (b - a), in any order of their factors and terms."""
    if not isinstance(op, Add):
        return None
    found = _mixed(op, book) or _moved(op, book)
    return None if found is None else [Blend(op.out, *found, op.src)]


def _factors(tensor: str, book: Book) -> list[tuple[str, str]]:
    op = book.defs.get(tensor)
    return [(op.a, op.b), (op.b, op.a)] if isinstance(op, Mul) else []


def _mixed(op: Add, book: Book) -> tuple[str, str, str] | None:
    if op.gain != 1.0:
        return None
    for one, two in ((op.a, op.b), (op.b, op.a)):
        for rest, a in _factors(one, book):
            inverse = book.defs.get(rest)
            if not isinstance(inverse, Scale) or uniform(inverse.scale) != -1.0 or uniform(inverse.offset) != 1.0:
                continue
            for t, b in _factors(two, book):
                if t == inverse.x and _gate(t, book):
                    return a, b, t
    return None


def _moved(op: Add, book: Book) -> tuple[str, str, str] | None:
    terms = [(op.a, op.b, op.gain), *([(op.b, op.a, 1.0)] if op.gain == 1.0 else [])]
    for start, way, sign in terms:
        for t, difference in _factors(way, book):
            d = book.defs.get(difference)
            if not isinstance(d, Add) or d.gain != -1.0 or not _gate(t, book):
                continue
            if sign == 1.0 and d.b == start:
                return start, d.a, t
            if sign == -1.0 and d.a == start:
                return start, d.b, t
    return None


def mul_gain(op: Op, book: Book) -> Sequence[Op] | None:
    """(k a) b = k (a b): factors move towards the next layer."""
    if not isinstance(op, Mul):
        return None
    for slot in ("a", "b"):
        inner = book.defs.get(getattr(op, slot))
        if isinstance(inner, Scale) and not inner.offset.any():
            changes = {"out": book.fresh(op.out), slot: inner.x}
            product = replace(op, **changes)
            return [product, Scale(op.out, product.out, inner.scale, inner.offset, op.src)]
    return None


def pure(op: Op, book: Book) -> Sequence[Op] | None:
    """y = A - A exp(-T (rate + |x|)) x, T the same for all."""
    if not isinstance(op, Scale) or not np.allclose(op.scale, -op.offset, rtol=1e-6, atol=0) or not op.offset.any():
        return None
    for decay, x in _factors(op.x, book):
        e = book.defs.get(decay)
        argument = book.defs.get(e.x) if isinstance(e, Act) and e.fn == "exp" else None
        size = argument if isinstance(argument, Scale) else None
        magnitude = book.defs.get(size.x) if size else None
        if size is None or not isinstance(magnitude, Act) or magnitude.fn != "abs" or magnitude.x != x:
            continue
        slope = uniform(size.scale)
        if slope is None or not 0 < -slope <= TIME_MAX or (size.offset > 0).any():
            continue
        if _same_time(book, -slope):
            return [Pure(op.out, x, op.offset, size.offset / slope, op.src)]
    return None


def _same_time(book: Book, time: float) -> bool:
    """Whether the network can have this T: the first cell decides."""
    if any(isinstance(op, Pure | Ltc | Leaky) for op in book.defs.values()) and abs(book.time - time) > 1e-6 * time:
        return False
    book.time = time
    return True
