"""Forecasts as polynomials around an anchor, and the gate that weighs several of them by what they said before."""

from __future__ import annotations

import numpy as np

from lnnc.ir.series import EXPERTS, PENDING, TERMS
from lnnc.ir.series_faults import LENGTH_MAX, RIVALS
from lnnc.kernels.fixed import A_MAX, ARG_MAX, Ints, clamp, narrow, requant, tanh_q15
from lnnc.kernels.lut import TABLE
from lnnc.kernels.registry import Args, Param, Ranges, kernel

COEFFICIENT_MAX = 2**28  # of a polynomial
ROW = 1 + 1 + TERMS + RIVALS  # anchor, slope, the network's terms, the rivals'
BASIS_Q = 10  # fraction bits of `basis` and of a level in units
ERROR_MAX = 32_767  # one forecast of one expert, units
RATIO_Q = 12  # fraction bits of ratios and scores
SCORE_MAX = 2**23
WEIGHT_Q = 14
LEVEL_MAX = 29_000  # of `scale`: an error stays below 2^31
SLOPE_MAX, BASIS_MAX = 2048, 1024  # of `middle` and `basis`
KEEP_MAX = 2**31 - 1


def _fit_cubic(args: Args, rng: np.random.Generator) -> Args:
    half = 2**31 - 1
    return {**args, "start": -half, "step": min(half, 2 * half // max(1, args["length"] - 1))}


def _check_cubic(args: Args, ranges: Ranges) -> str:
    last = args["start"] + (args["length"] - 1) * args["step"]
    return "" if -(2**31) < last < 2**31 else f"the last place is {last}"


@kernel(
    Param("x", "in", "int32", (TERMS,), -COEFFICIENT_MAX, COEFFICIENT_MAX),
    Param("anchor", "in", "int16", (1,)),
    Param("up", "int", lo=0, hi=15),
    Param("start", "int"),
    Param("step", "int", lo=0),
    Param("length", "int", lo=1, hi=LENGTH_MAX),
    Param("shift", "int", lo=0, hi=15),
    Param("lo", "int"),
    Param("hi", "int"),
    Param("out", "out", "int16", ("length",)),
    check=_check_cubic,
    fit=_fit_cubic,
)
def cubic_s16(
    x: Ints, anchor: Ints, up: int, start: int, step: int, length: int, shift: int, lo: int, hi: int
) -> tuple[Ints, ...]:
    """out[t] = clamp((v + (anchor << up) + half) >> shift, lo, hi), v = sum_j x[j] s^j, s = (start + t step) / 2^32.

    By Horner's rule, one rounding a term: v <- x[j] + requant(v, s). |s| <= 1/2, so |v| < 2^29 and all sums stay
    below 2^29 + 2^30 + 2^14. Equation (43).
    """
    place = start + step * np.arange(length)
    value = np.repeat(x[:, TERMS - 1 :], length, axis=1)
    for j in (2, 1, 0):
        value = x[:, j : j + 1] + requant(value, place)
    total = narrow(value + (anchor << up) + ((1 << shift) >> 1))
    return (narrow(clamp(total >> shift, lo, hi), 16),)


def _experts(network: Ints, rivals: Ints) -> Ints:
    """(batch, ..., EXPERTS, TERMS): the network, nothing, a line, a parabola."""
    found = np.zeros((*network.shape[:-1], EXPERTS, TERMS), np.int64)
    found[..., 0, :] = network
    found[..., 2, :2], found[..., 3, :3] = rivals[..., :2], rivals[..., 2:]
    return found


def _fit_trust(args: Args, rng: np.random.Generator) -> Args:
    """As few pending forecasts as may be, and scores of a running gate."""
    count = args["count"] % (PENDING + 1)
    near = args["past"].copy()
    if rng.random() < 0.7:  # forecasts that were nearly right
        near[:, ::ROW] = np.clip(args["level"] + near[:, ::ROW] // 4096, -A_MAX, A_MAX)
        near = np.where(np.arange(near.shape[1]) % ROW == 0, near, near // 512)
    return {**args, "count": count, "past": near}


@kernel(
    Param("network", "in", "int16", (TERMS,)),
    Param("rivals", "in", "int16", (RIVALS,)),
    Param("anchor", "in", "int16", (1,)),
    Param("slope", "in", "int16", (1,)),
    Param("level", "in", "int16", (1,)),
    Param("scale", "int", lo=1, hi=LEVEL_MAX),
    Param("middle", "const", "int16", (PENDING,), 0, SLOPE_MAX),
    Param("basis", "const", "int16", (PENDING, TERMS), -BASIS_MAX, BASIS_MAX),
    Param("prior", "const", "int32", (EXPERTS,), -ARG_MAX, ARG_MAX),
    Param("floor", "int", lo=1, hi=A_MAX),
    Param("most", "int", lo=1, hi=16),
    Param("loss", "int", lo=1, hi=KEEP_MAX),
    Param("rate", "int", lo=1, hi=KEEP_MAX),
    TABLE,
    Param("past", "inout", "int16", (PENDING, ROW)),
    Param("count", "inout", "int16", (1,), 0, PENDING),
    Param("scores", "inout", "int32", (EXPERTS,), 0, SCORE_MAX),
    Param("weights", "inout", "int16", (EXPERTS,), 0, 2**WEIGHT_Q),
    Param("out", "out", "int16", (TERMS,)),
    check=lambda args, ranges: _check_trust(args),
    fit=_fit_trust,
)
def trust_s16(
    network: Ints, rivals: Ints, anchor: Ints, slope: Ints, level: Ints, scale: int, middle: Ints, basis: Ints,
    prior: Ints, floor: int, most: int, loss: int, rate: int, table: Ints, past: Ints, count: Ints, scores: Ints,
    weights: Ints,
) -> tuple[Ints, ...]:  # fmt: skip
    """The trust gate (`ir.series.Trust`) in integers; equation (44). past: the newest forecast first.

    loss = (1 - keep) 2^32, rate 2^32; scores Q12, weights Q14.
    """
    rows = past.reshape(-1, PENDING, ROW)
    found = _scored(rows, level, scale, middle, basis, floor, most, count)
    kept = scores - requant(scores, loss)
    scores = np.where(count > 0, np.minimum(kept + found, SCORE_MAX), scores)
    weights = _weights(scores, prior, rate, table)
    terms = _experts(network, rivals)
    out = narrow((weights[:, :, None] * terms).sum(axis=1) + (1 << WEIGHT_Q >> 1)) >> WEIGHT_Q
    row = np.concatenate([anchor, slope, network, rivals], axis=1)
    past = np.concatenate([row, past], axis=1)[:, : PENDING * ROW]
    return past, np.minimum(count + 1, PENDING), scores, weights, narrow(out, 16)


def _check_trust(args: Args) -> str:
    reach = 2 * A_MAX * args["scale"] + A_MAX * (SLOPE_MAX + TERMS * BASIS_MAX)
    return "" if reach < 2**31 else f"an error can reach {reach}, beyond int32"


def _scored(rows: Ints, level: Ints, scale: int, middle: Ints, basis: Ints, floor: int, most: int, count: Ints) -> Ints:
    """min((E_i - min E) / (n floor + min E), most) in Q12 for each expert, E the sum of n errors: (batch, EXPERTS)."""
    target = (level - rows[:, :, 0]) * scale - rows[:, :, 1] * middle
    said = (_experts(rows[:, :, 2:6], rows[:, :, 6:]) * basis.reshape(PENDING, 1, TERMS)).sum(axis=-1)
    error = np.minimum(np.abs(narrow(target[:, :, None] - said)) >> BASIS_Q, ERROR_MAX)
    total = np.where(np.arange(PENDING)[:, None] < count[:, :, None], error, 0).sum(axis=1)
    least = total.min(axis=1, keepdims=True)
    worse, unit = total - least, count * floor + least
    ratio = narrow(np.minimum(worse, most * unit) << RATIO_Q) // np.maximum(unit, 1)
    return np.asarray(ratio)


def _weights(scores: Ints, prior: Ints, rate: int, table: Ints) -> Ints:
    """softmax(prior - rate scores) in Q14, exp(-z) as (1 - tanh(z / 2)) / (1 + tanh(z / 2))."""
    behind = narrow(requant(narrow(scores << 4), rate) - prior)
    half = (behind - behind.min(axis=1, keepdims=True)) >> 1
    t = tanh_q15(half, table)
    part = ((32_768 - t) << 15) // (32_768 + t)
    return np.asarray((part << WEIGHT_Q) // (1 + part.sum(axis=1, keepdims=True)))
