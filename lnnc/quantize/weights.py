"""int8 or int16 weights with one scale per output row, their biases, multipliers and the proofs that shape them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lnnc.ir.graph import Array
from lnnc.kernels.dense import accumulator_bound
from lnnc.kernels.fixed import INT32_MAX, Ints
from lnnc.quantize.formats import Format

W_MAX = 127
W16_MAX = 32_640
SHIFT_MAX = 15
ROUNDS = 20  # of fitting a row scale: rounding the weights moves a sum by little
DUAL_ROW_MAX = 2**23 - 1  # two rows share one accumulator of a packed 8-bit product while |sum| stays below this


@dataclass(frozen=True, eq=False)
class Quantized:
    """A Linear layer in integers: weight (rows, inputs) int8 or int16, bias and mult (rows,) int32, one pre-shift."""

    weight: Ints
    bias: Ints
    mult: Ints
    shift: int


@dataclass(frozen=True)
class Misfit:
    """Why no integers exist: the sum of `row` can reach `reach` real units, its result is resolved to `resolution`."""

    row: int
    reach: float
    resolution: float

    def __str__(self) -> str:
        return (
            f"row {self.row}: its sum can reach {self.reach:.3g} while its result is resolved to "
            f"{self.resolution:.3g}: that does not fit an int32 accumulator"
        )


def quantize_linear(
    weight: Array, bias: Array, x: Format, out_scale: Array, means: Array | None, w_max: int = W_MAX
) -> Quantized | Misfit:
    """Integers for y = weight @ x + bias with y in units of `out_scale` (rows,).

    Each row's scale is max |w| / 127, doubled until the accumulator provably fits. The bias takes the mean error that
    rounding the weights leaves at the calibration means of x (Nagel et al. 2019, "bias correction"). A `Misfit` says
    that no scale of the weights helps: only a coarser `out_scale` can.

    Weights of 16 bits (`w_max` above 127) meet the accumulator's limit in most rows, at sum |w| near 65,535 for inputs
    of full range: there a row takes the finest scale that fits.
    """
    if w_max > W_MAX:
        return _quantize_wide(weight, bias, x, out_scale, means, w_max)
    scale = np.maximum(np.abs(weight).max(axis=1) / W_MAX, 1e-30)
    scale = scale * _dual_row_factor(weight, scale, x)
    while True:
        q, b = _integers(weight, bias, x, scale, means)
        gain = x.scale * scale / out_scale
        shift = max(0, math.ceil(math.log2(float(gain.max())) + 1.0001))
        bound = accumulator_bound(q, b, x.lo, x.hi)
        over = bound > INT32_MAX >> min(shift, 31)
        if shift <= SHIFT_MAX and not over.any():
            mult = np.round(gain * 2.0 ** (32 - shift)).astype(np.int64)
            return Quantized(q.astype(np.int64), b.astype(np.int64), np.minimum(mult, INT32_MAX), shift)
        stuck = over & (bound <= INT32_MAX) & (2.0 * gain > 2.0 ** (shift - 1.0001))
        if shift > SHIFT_MAX or stuck.any():  # a coarser weight scale would need a larger shift: nothing is gained
            row = int(np.argmax(gain if shift > SHIFT_MAX else stuck))
            return Misfit(row, float(bound[row] * x.scale * scale[row]), float(out_scale[row]))
        scale = np.where(over, scale * 2.0, scale)


def _quantize_wide(
    weight: Array, bias: Array, x: Format, out_scale: Array, means: Array | None, w_max: int
) -> Quantized | Misfit:
    """The smallest pre-shift, and for it the finest scale of each row, with which sums and multipliers fit.

    A row that reaches B units of x needs scale >= B 2^shift / 2^31 for its sum, and gain = x.scale scale / out_scale
    <= 2^(shift - 1) for its multiplier; a larger shift gives both the same room.
    """
    offset = np.abs(bias + weight.sum(axis=1) * x.center) / x.scale
    reach = offset + np.abs(weight).sum(axis=1) * max(abs(x.lo), abs(x.hi))
    least = np.maximum(np.abs(weight).max(axis=1) / w_max, 1e-30)
    for shift in range(SHIFT_MAX + 1):
        scale = np.maximum(least, reach * 2.0**shift / INT32_MAX)
        limit = INT32_MAX >> shift
        for tries in range(ROUNDS):
            q, b = _integers(weight, bias, x, scale, means)
            bound = accumulator_bound(q, b, x.lo, x.hi)
            if (bound <= limit).all():
                break
            scale = np.where(bound > limit, scale * (bound / limit) * (1.0 + 2.0 ** (tries - 18)), scale)
        gain = x.scale * scale / out_scale
        if (bound <= limit).all() and (gain <= 2.0 ** (shift - 1.0001)).all():
            mult = np.minimum(np.round(gain * 2.0 ** (32 - shift)).astype(np.int64), INT32_MAX)
            return Quantized(q.astype(np.int64), b.astype(np.int64), mult, shift)
        if ((gain > 2.0 ** (shift - 1.0001)) & (reach * 2.0**shift >= least * INT32_MAX)).any():
            break  # scale and multiplier grow alike from here on: only weights rounded to nothing would ever fit
    row = int(np.argmax(gain))
    return Misfit(row, float(reach[row] * x.scale), float(out_scale[row]))


def dequantize(q: Quantized, x: Format, out_scale: Array) -> tuple[Array, Array]:
    """The real weight and bias that the integers stand for, the rounding of `mult` included: y = weight @ x + bias."""
    scale = q.mult * 2.0 ** (q.shift - 32) * out_scale / x.scale
    weight = q.weight * scale[:, None]
    return weight, q.bias * x.scale * scale - weight.sum(axis=1) * x.center


def _integers(weight: Array, bias: Array, x: Format, scale: Array, means: Array | None) -> tuple[Array, Array]:
    q = np.round(weight / scale[:, None])
    typical = (np.full(weight.shape[1], x.center) if means is None else means) - x.center
    exact = bias + weight.sum(axis=1) * x.center + (weight - q * scale[:, None]) @ typical
    return q, np.round(exact / (x.scale * scale))


def _dual_row_factor(weight: Array, scale: Array, x: Format) -> Array:
    """How much coarser the rows of an 8-bit layer become so that a packed pair of rows stays exact.

    1 for wide inputs, and for layers so long that it would cost more than one bit of weight.
    """
    if x.bits != 8:
        return np.ones(len(weight))
    factor = np.ones(len(weight))
    while factor.max() <= 2.0:
        reach = np.abs(np.round(weight / (scale * factor)[:, None])).sum(axis=1) * max(abs(x.lo), abs(x.hi))
        if (reach <= DUAL_ROW_MAX).all():
            return factor
        factor = np.where(reach > DUAL_ROW_MAX, factor * np.maximum(1.01, reach / DUAL_ROW_MAX), factor)
    return np.ones(len(weight))
