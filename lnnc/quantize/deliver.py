"""Tensors whose format the kernel does not choose: made as they come, then rescaled to what the readers need."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lnnc.ir.graph import Array, Linear, Norm, Op
from lnnc.quantize.context import Lowering, affine, identifier
from lnnc.quantize.formats import Format, activation


def choose(low: Lowering, tensor: str, nonnegative: bool, bound: float = np.inf) -> Format:
    """Format of a tensor between layers: 8 bits only where Linear layers alone read it (LayerNorm needs 12 bits)."""
    users = low.graph.users(tensor)
    narrow = low.bits == 8 and bool(users) and all(isinstance(op, Linear) for op in users)
    if tensor == low.graph.result:
        return Format(1.0)  # the ports' own scales apply
    fmt = activation(low.stats[tensor], 8 if narrow else 16, nonnegative, bound)
    return replace(fmt, scale=max(fmt.scale, _norm_floor(users)))


def _norm_floor(users: tuple[Op, ...]) -> float:
    """The finest scale with which n^2 (var + epsilon) of a LayerNorm that reads the tensor stays below 2^61."""
    norms = [op for op in users if isinstance(op, Norm)]
    return max((len(op.gamma) * op.epsilon**0.5 * 2.0**-30 for op in norms), default=0.0)


def wanted(low: Lowering, tensor: str) -> Format | None:
    """The format that others demand of a tensor, if any; the result has the scales of its ports instead."""
    return None if tensor == low.graph.result else low.formats.get(tensor)


def scales_of(low: Lowering, tensor: str) -> tuple[Array, Array]:
    """(scale, center) of every element of a tensor."""
    if tensor in low.columns:
        return low.columns[tensor]
    fmt, n = low.formats[tensor], low.sizes[tensor]
    return np.full(n, fmt.scale), np.full(n, fmt.center)


def limits_of(low: Lowering, tensor: str) -> tuple[int, int]:
    """The proved range of a tensor's integers."""
    buffer = low.builder.buffers[low.names[tensor]]
    return buffer.lo, buffer.hi


def centred(low: Lowering, tensor: str) -> Format:
    """The format of a factor or a divisor, whose zero point is 0: an input that has another is rescaled before."""
    fmt = low.formats[tensor]
    assert fmt.center == 0.0, f"{tensor} is not centred on zero"
    return fmt


def reach(fmt: Format) -> float:
    """The largest size of a centred tensor."""
    return fmt.scale * max(abs(fmt.lo), abs(fmt.hi))


def begin(low: Lowering, tensor: str, scale: Array, center: Array, limits: tuple[int, int]) -> str:
    """The buffer for a kernel whose element i means q * scale[i] + center[i], q within `limits`.

    It is the tensor's own where that meets what others demand; else a draft, which `finish` rescales.
    """
    if _uniform(scale, center) and _meets(low, tensor, Format(float(scale[0]), *limits)):
        return low.define(tensor, Format(float(scale[0]), *limits))
    if not _uniform(scale, center) and _columns_suffice(low, tensor):
        low.columns[tensor] = scale, center
        low.names[tensor] = low.builder.buffer(
            identifier(tensor), "int16", len(scale), limits, note="parts with scales of their own"
        )
        return low.names[tensor]
    return low.builder.buffer(f"{identifier(tensor)}_draft", "int16", len(scale), limits)


def finish(low: Lowering, tensor: str, src: str, draft: str, scale: Array, center: Array) -> None:
    """Bring a draft into the format that the tensor's readers need."""
    if tensor in low.names:
        return
    buffer = low.builder.buffers[draft]
    bound = float((scale * max(abs(buffer.lo), abs(buffer.hi)) + np.abs(center)).max())
    fmt = wanted(low, tensor)
    if fmt is None:
        fmt = Format(1.0) if tensor == low.graph.result else activation(low.stats[tensor], 16, False, bound)
    out = low.define(tensor, fmt)
    affine(
        low, src, "into its format", draft, scale, np.ones(len(scale)), center, low.out_scale(tensor), out,
        (fmt.lo, fmt.hi),
    )  # fmt: skip


def _uniform(scale: Array, center: Array) -> bool:
    return bool((scale == scale[0]).all()) and not center.any()


def _meets(low: Lowering, tensor: str, made: Format) -> bool:
    if tensor == low.graph.result:
        return False
    fmt = wanted(low, tensor)
    return fmt is None or (
        fmt.scale == made.scale and not fmt.center and fmt.lo <= made.lo and made.hi <= fmt.hi
    )  # fmt: skip


def _columns_suffice(low: Lowering, tensor: str) -> bool:
    """Whether Linear layers alone read a tensor: they take the scales of its elements into their weights."""
    kept = tensor == low.graph.result or any(state.next == tensor for state in low.graph.states)
    return not kept and wanted(low, tensor) is None and all(isinstance(op, Linear) for op in low.graph.users(tensor))
