"""Lowering of Concat, Gather, Mul and Div."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from lnnc.errors import LnncError
from lnnc.ir.graph import Concat, Div, Gather, Mul
from lnnc.kernels.fixed import A_MAX
from lnnc.quantize.context import Lowering, identifier
from lnnc.quantize.deliver import begin, centred, choose, finish, limits_of, reach, scales_of, wanted
from lnnc.quantize.formats import Format, activation, wide
from lnnc.quantize.lower_state import within_one

DIVISOR_LEAST = 64  # units that the smallest divisor must have: it is then known to 1 %
DIV_SHIFT_MAX = 15


def lower_concat(low: Lowering, op: Concat) -> None:
    """The parts one behind the other, each in its own format: two at a time."""
    scales = [scales_of(low, part) for part in op.parts]
    scale, center = (np.concatenate(arrays) for arrays in zip(*scales, strict=True))
    ranges = [limits_of(low, part) for part in op.parts]
    limits = min(lo for lo, _ in ranges), max(hi for _, hi in ranges)
    out = begin(low, op.out, scale, center, limits)
    have, n = low.names[op.parts[0]], low.sizes[op.parts[0]]
    if len(op.parts) == 1:
        low.builder.call("copy_s16", op.src, "its one part", x=have, n=n, out=out)
    for i, part in enumerate(op.parts[1:], 1):
        total = n + low.sizes[part]
        last = i + 1 == len(op.parts)
        joined = out if last else low.builder.buffer(f"{identifier(op.out)}_{i}", "int16", total, limits)
        low.builder.call(
            "concat_s16", op.src, f"{n} and {low.sizes[part]} values", a=have, n_a=n, b=low.names[part],
            n_b=low.sizes[part], out=joined,
        )  # fmt: skip
        have, n = joined, total
    finish(low, op.out, op.src, out, scale, center)


def lower_gather(low: Lowering, op: Gather) -> None:
    """Elements of a tensor in its own format: a run of them, or by a table of places."""
    scale, center = (array[op.index] for array in scales_of(low, op.x))
    out = begin(low, op.out, scale, center, limits_of(low, op.x))
    start, n, n_x = int(op.index[0]), len(op.index), low.sizes[op.x]
    if (op.index == start + np.arange(n)).all():
        low.builder.call(
            "slice_s16", op.src, f"{n} of {n_x} values", x=low.names[op.x], n_x=n_x, start=start, n=n, out=out
        )
    else:
        index = low.constant(f"{op.out}_index", "int16", op.index)
        low.builder.call(
            "gather_s16", op.src, f"{n} of {n_x} values", x=low.names[op.x], n_x=n_x, index=index, n=n, out=out
        )
    finish(low, op.out, op.src, out, scale, center)


def lower_mul(low: Lowering, op: Mul) -> None:
    """a * b; its format is the bound of the product where both factors are bounded activations."""
    a, b, n = centred(low, op.a), centred(low, op.b), low.sizes[op.out]
    unit = a.scale * b.scale
    fmt = wanted(low, op.out) or _product_format(low, op, a, b)
    fmt = replace(fmt, scale=max(fmt.scale, 2.0001 * unit), center=0.0)  # the multiplier stays below 1/2
    scale, center = np.full(n, fmt.scale), np.zeros(n)
    out = begin(low, op.out, scale, center, (fmt.lo, fmt.hi))
    low.builder.call(
        "mul_s16", op.src, "product", a=low.names[op.a], b=low.names[op.b], n=n,
        mult=round(unit / fmt.scale * 2.0**32), lo=fmt.lo, hi=fmt.hi, out=out,
    )  # fmt: skip
    finish(low, op.out, op.src, out, scale, center)


def _product_format(low: Lowering, op: Mul, a: Format, b: Format) -> Format:
    bound = reach(a) * reach(b)
    nonnegative = op.a == op.b or (a.lo >= 0 and b.lo >= 0)
    if op.out == low.graph.result:
        return activation(low.stats[op.out], 16, nonnegative, bound)
    fmt = choose(low, op.out, nonnegative, bound)
    proved = within_one(low, op.a) and within_one(low, op.b)
    return wide(bound, fmt.lo) if proved and fmt.bits == 16 else fmt


def lower_div(low: Lowering, op: Div) -> None:
    """a / b with b held at or above half of the smallest value that calibration saw."""
    a, b, n = centred(low, op.a), centred(low, op.b), low.sizes[op.out]
    least = _least_divisor(low, op, b)
    ratio = a.scale / b.scale
    fmt = wanted(low, op.out)
    if fmt is None:
        fmt = activation(low.stats[op.out], 16, a.lo >= 0, reach(a) / (least * b.scale))
    shift = min(DIV_SHIFT_MAX, max(0, math.floor(math.log2(ratio / fmt.scale) + 1e-9)))
    fmt = replace(fmt, scale=ratio * 2.0**-shift, center=0.0)
    scale, center = np.full(n, fmt.scale), np.zeros(n)
    out = begin(low, op.out, scale, center, (fmt.lo, fmt.hi))
    low.builder.call(
        "div_s16", op.src, f"quotient, divisor at least {least * b.scale:.4g}", a=low.names[op.a], b=low.names[op.b],
        n=n, least=least, shift=shift, lo=fmt.lo, hi=fmt.hi, out=out,
    )  # fmt: skip
    finish(low, op.out, op.src, out, scale, center)


def _least_divisor(low: Lowering, op: Div, b: Format) -> int:
    """Half of the smallest divisor seen, in units of b.

    Raises:
        LnncError: calibration saw a divisor that is not positive, or so small that its format hardly resolves it.
    """
    seen = low.stats[op.b].min
    if seen <= 0.0:
        raise LnncError(
            f"layer '{op.src}': its divisor reaches {seen:.4g} on the calibration data", low.builder.where,
            "a division needs a divisor that is always positive: add a constant to it, or its absolute value",
        )  # fmt: skip
    least = math.floor(0.5 * seen / b.scale)
    if least < DIVISOR_LEAST:
        raise LnncError(
            f"layer '{op.src}': its divisor is as small as {seen:.4g}, and resolved to {b.scale:.4g} only",
            low.builder.where,
            f"the smallest divisor should be more than 1/{A_MAX // (4 * DIVISOR_LEAST)} of the largest: "
            "add a constant to it",
        )  # fmt: skip
    return min(least, A_MAX)
