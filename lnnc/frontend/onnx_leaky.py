"""The leaky cell (CTRNN, the liquid neuron of DLNet with memory), recognised in its unrolled Euler steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lnnc.frontend.onnx_fuse import Book
from lnnc.frontend.onnx_ltc import Terms, collect
from lnnc.ir.graph import Act, Add, Array, Concat, Leaky, Linear, Op, Scale, State


def leaky(op: Op, book: Book) -> Sequence[Op] | None:
    """x' = (1 - T alpha) x + T beta tanh(W x + d) of a state x, where every 0 < T alpha <= 1."""
    if not isinstance(op, Add):
        return None
    terms = Terms()
    collect(op.out, np.ones(book.sizes[op.a]), book, terms, op)
    if len(terms.leaves) != 2 or terms.gates or np.any(terms.constant):
        return None
    for x, h in (tuple(terms.leaves), tuple(terms.leaves)[::-1]):
        squashed = book.defs.get(h)
        if not isinstance(squashed, Act) or squashed.fn != "tanh" or not isinstance(book.defs.get(x), State | Leaky):
            continue
        alpha, beta = 1.0 - terms.leaves[x], terms.leaves[h]
        parts = _argument(squashed.x, x, book)
        if parts is None or (alpha <= 0).any() or (alpha > 1).any():
            continue
        weight, drive, before = parts
        cell = Leaky(op.out, x, drive, weight, alpha / book.time, beta / book.time, 1, op.src)
        return [*before, cell]
    return None


def _argument(tensor: str, x: str, book: Book) -> tuple[Array, str, list[Op]] | None:
    """W, the drive d, and ops that make d, of a tensor W x + d."""
    op = book.defs.get(tensor)
    if isinstance(op, Linear):
        return _apart(op, x, book)
    if not isinstance(op, Add) or op.gain != 1.0:
        return None
    for own, drive in ((op.a, op.b), (op.b, op.a)):
        layer = book.defs.get(own)
        if not isinstance(layer, Linear) or layer.x != x:
            continue
        if not layer.bias.any():
            return layer.weight, drive, []
        shifted = Scale(book.fresh(drive), drive, np.ones(len(layer.bias)), layer.bias, op.src)
        return layer.weight, shifted.out, [shifted]
    return None


def _apart(layer: Linear, x: str, book: Book) -> tuple[Array, str, list[Op]] | None:
    """A layer on (x, ...) as W x and a layer on the rest."""
    source = book.defs.get(layer.x)
    if not isinstance(source, Concat) or source.parts.count(x) != 1:
        return None
    cuts = np.cumsum([book.sizes[part] for part in source.parts])[:-1]
    columns = dict(zip(source.parts, np.split(layer.weight, cuts, axis=1), strict=True))
    own = columns.pop(x)
    rest = Concat(book.fresh(layer.out), tuple(columns), layer.src)
    drive = replace(layer, out=book.fresh(layer.out), x=rest.out, weight=np.hstack(list(columns.values())))
    return own, drive.out, [rest, drive]


def same_leaky(op: Leaky, before: Leaky) -> bool:
    """Whether a step repeats the one before."""
    pairs = [(op.alpha, before.alpha / before.steps), (op.beta, before.beta / before.steps), (op.weight, before.weight)]
    return op.drive == before.drive and all(np.allclose(a, b, rtol=1e-6, atol=1e-9) for a, b in pairs)
