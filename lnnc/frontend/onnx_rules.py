"""Rules that make an imported network smaller: fewer Scale and Gather ops, whole Linear layers, one for each gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lnnc.frontend.onnx_fuse import Book, Rule
from lnnc.ir.graph import Add, Array, Concat, Gather, Linear, Op, Scale


def uniform(values: Array) -> float | None:
    """The value that all elements share, or None."""
    spread = np.ptp(values)
    return float(values[0]) if spread <= 1e-7 * np.abs(values).max() else None


def scale_chain(op: Op, book: Book) -> Sequence[Op] | None:
    """(x s + o) t + p = x (s t) + (o t + p)."""
    inner = book.defs.get(op.x) if isinstance(op, Scale) else None
    if not isinstance(op, Scale) or not isinstance(inner, Scale):
        return None
    return [replace(op, x=inner.x, scale=inner.scale * op.scale, offset=inner.offset * op.scale + op.offset)]


def scale_of_linear(op: Op, book: Book) -> Sequence[Op] | None:
    """Rows of the layer take the factor, its bias the rest."""
    inner = book.defs.get(op.x) if isinstance(op, Scale) else None
    if not isinstance(op, Scale) or not isinstance(inner, Linear) or not book.once(inner.out):
        return None
    weight = inner.weight * op.scale[:, None]
    return [replace(inner, out=op.out, weight=weight, bias=inner.bias * op.scale + op.offset)]


def linear_of_scale(op: Op, book: Book) -> Sequence[Op] | None:
    """Columns of the layer take the factor, its bias the rest."""
    inner = book.defs.get(op.x) if isinstance(op, Linear) else None
    if not isinstance(op, Linear) or not isinstance(inner, Scale):
        return None
    return [replace(op, x=inner.x, weight=op.weight * inner.scale, bias=op.bias + op.weight @ inner.offset)]


def linear_of_linear(op: Op, book: Book) -> Sequence[Op] | None:
    """Two layers without anything between, where one has no more weights than both."""
    inner = book.defs.get(op.x) if isinstance(op, Linear) else None
    if not isinstance(op, Linear) or not isinstance(inner, Linear) or not book.once(inner.out):
        return None
    if len(op.bias) * inner.weight.shape[1] > op.weight.size + inner.weight.size:
        return None
    return [replace(op, x=inner.x, weight=op.weight @ inner.weight, bias=op.bias + op.weight @ inner.bias)]


def linear_of_gather(op: Op, book: Book) -> Sequence[Op] | None:
    """A layer that reads all of a tensor in another order has its columns moved."""
    inner = book.defs.get(op.x) if isinstance(op, Linear) else None
    if not isinstance(op, Linear) or not isinstance(inner, Gather) or len(inner.index) < book.sizes[inner.x]:
        return None
    weight = np.zeros((len(op.bias), book.sizes[inner.x]))
    np.add.at(weight.T, inner.index, op.weight.T)
    return [replace(op, x=inner.x, weight=weight)]


def linear_sum(op: Op, book: Book) -> Sequence[Op] | None:
    """A x + B h = [A B] (x, h): one layer where the sum alone is read."""
    if not isinstance(op, Add):
        return None
    a, b = book.defs.get(op.a), book.defs.get(op.b)
    if not (isinstance(a, Linear) and isinstance(b, Linear) and book.once(a.out) and book.once(b.out)):
        return None
    columns: dict[str, Array] = {}
    for layer, gain in ((a, 1.0), (b, op.gain)):
        for part, weight in _columns(layer, book):
            columns[part] = columns.get(part, 0.0) + gain * weight
    bias, parts = a.bias + op.gain * b.bias, tuple(columns)
    if len(parts) == 1:
        return [replace(a, out=op.out, x=parts[0], weight=columns[parts[0]], bias=bias)]
    joined = Concat(book.fresh(f"{op.out}_in"), parts, op.src)
    return [joined, replace(a, out=op.out, x=joined.out, weight=np.hstack(list(columns.values())), bias=bias)]


def _columns(layer: Linear, book: Book) -> list[tuple[str, Array]]:
    """A layer's columns by the tensor that they read; through a Concat."""
    source = book.defs.get(layer.x)
    parts = source.parts if isinstance(source, Concat) else (layer.x,)
    cuts = np.cumsum([book.sizes[part] for part in parts])[:-1]
    return list(zip(parts, np.split(layer.weight, cuts, axis=1), strict=True))


def constant_into_linear(op: Op, book: Book) -> Sequence[Op] | None:
    """(W x + b) + y + c = (W x + (b + c)) + y."""
    inner = book.defs.get(op.x) if isinstance(op, Scale) else None
    if not isinstance(op, Scale) or not isinstance(inner, Add) or uniform(op.scale) != 1.0 or not book.once(inner.out):
        return None
    for slot, gain in (("a", 1.0), ("b", inner.gain)):
        layer = book.defs.get(getattr(inner, slot))
        if isinstance(layer, Linear) and book.once(layer.out) and gain:
            moved = replace(layer, out=book.fresh(layer.out), bias=layer.bias + op.offset / gain)
            changes = {slot: moved.out}
            return [moved, replace(inner, out=op.out, **changes)]  # type: ignore[arg-type]
    return None


def add_gain(op: Op, book: Book) -> Sequence[Op] | None:
    """a + g (k b) = a + (g k) b; (k a) + b = b + k a."""
    if not isinstance(op, Add):
        return None
    a, b = book.defs.get(op.a), book.defs.get(op.b)
    if isinstance(b, Scale) and not b.offset.any() and (k := uniform(b.scale)) is not None:
        return [replace(op, b=b.x, gain=op.gain * k)]
    if op.gain == 1.0 and isinstance(a, Scale) and not a.offset.any() and (k := uniform(a.scale)) is not None:
        return [replace(op, a=op.b, b=a.x, gain=k)]
    return None


def gather_chain(op: Op, book: Book) -> Sequence[Op] | None:
    """A slice of a slice, or of one part of a Concat."""
    inner = book.defs.get(op.x) if isinstance(op, Gather) else None
    if not isinstance(op, Gather):
        return None
    if isinstance(inner, Gather):
        return [replace(op, x=inner.x, index=inner.index[op.index])]
    if isinstance(inner, Concat):
        ends = np.cumsum([book.sizes[part] for part in inner.parts])
        owner = np.searchsorted(ends, op.index, side="right")
        if not np.ptp(owner):
            start = ends[owner[0]] - book.sizes[inner.parts[owner[0]]]
            return [replace(op, x=inner.parts[owner[0]], index=op.index - start)]
    return None


def gather_of_linear(op: Op, book: Book) -> Sequence[Op] | None:
    """Slices of a layer, one for each gate, are layers of their own: each gets its own scale."""
    inner = book.defs.get(op.x) if isinstance(op, Gather) else None
    if not isinstance(op, Gather) or not isinstance(inner, Linear) or inner.out in book.roots:
        return None
    slices = book.readers.get(inner.out, [])
    taken = np.concatenate([reader.index for reader in slices if isinstance(reader, Gather)] or [op.index])
    if not all(isinstance(reader, Gather) for reader in slices) or len(set(taken.tolist())) != len(taken):
        return None
    return [replace(inner, out=op.out, weight=inner.weight[op.index], bias=inner.bias[op.index], src=op.src)]


def gather_of_scale(op: Op, book: Book) -> Sequence[Op] | None:
    """Elements are scaled after they are repeated where another Scale follows, which takes both."""
    inner = book.defs.get(op.x) if isinstance(op, Gather) else None
    if not isinstance(op, Gather) or not isinstance(inner, Scale):
        return None
    if not all(isinstance(reader, Scale) for reader in book.readers.get(op.out, [inner])) or op.out in book.roots:
        return None
    moved = replace(op, out=book.fresh(op.out), x=inner.x)
    return [moved, replace(inner, out=op.out, x=moved.out, scale=inner.scale[op.index], offset=inner.offset[op.index])]


def concat_flat(op: Op, book: Book) -> Sequence[Op] | None:
    """A Concat of Concats is one."""
    if not isinstance(op, Concat):
        return None
    parts: list[str] = []
    for part in op.parts:
        inner = book.defs.get(part)
        parts += inner.parts if isinstance(inner, Concat) else [part]
    return [replace(op, parts=tuple(parts))] if len(parts) != len(op.parts) else None


PLAIN: tuple[Rule, ...] = (
    scale_chain, scale_of_linear, linear_of_scale, linear_of_linear, linear_of_gather, linear_sum,
    constant_into_linear, add_gain, gather_chain, gather_of_linear, gather_of_scale, concat_flat,
)  # fmt: skip
