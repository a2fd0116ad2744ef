"""Scalar primitives of the arithmetic, NumPy twins of the small functions in `runtime_c`.

Everything is int64; `narrow` asserts that the C type would have held the value, so the reference cannot hide an
overflow. Equation numbers are those of `runtime_c/SEMANTICS.md`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

INT32_MAX = 2**31 - 1
A_MAX = 32_640  # int16 activations: leaves room for an int8 weight in a 16-bit lane (KERNELS: Winograd identity)
TANH_Q = 15  # fraction bits of the table's values
ARG_Q = 16  # fraction bits of the table's argument
ARG_MAX = 2**19 - 1  # the table covers |x| < 8
TANH_SEGMENTS = 256
EXP_MAX = 2**20 - 1  # the table of exp(-z) covers 0 <= z < 16
EXP_SEGMENTS = 256


def narrow(value: Ints, bits: int = 32) -> Ints:
    """The value itself, after asserting that a signed integer of `bits` bits holds it."""
    limit = 1 << (bits - 1)
    array = np.asarray(value, dtype=np.int64)
    assert array.size == 0 or (array.min() >= -limit and array.max() < limit), f"int{bits} overflow"
    return array


def clamp(value: Ints, lo: int, hi: int) -> Ints:
    """min(max(value, lo), hi)."""
    return np.clip(value, lo, hi)


def requant(acc: Ints, mult: Ints | int) -> Ints:
    """Equation (1): (acc * mult + 2^31) >> 32, the one rounding of lnnc; SMMULR on a Cortex-M4."""
    return np.asarray((narrow(acc) * mult + (1 << 31)) >> 32)


def smlaw(a: Ints, b: Ints, c: Ints | int) -> Ints:
    """Equation (4): ((a * b) >> 16) + c with a 32-bit a and a 16-bit b; SMLAWB on a Cortex-M4."""
    return narrow(((narrow(a) * narrow(b, 16)) >> 16) + c)


def rounded_shift(value: Ints, shift: int) -> Ints:
    """(value + 2^(shift - 1)) >> shift, or the value itself for shift 0."""
    return np.asarray((value + ((1 << shift) >> 1)) >> shift)


def tanh_table() -> Ints:
    """257 knots of tanh on [0, 8], Q15, moved by -h^2 f''/16 so that the chords straddle the curve.

    The move halves the largest error of linear interpolation (h^2 / 8 * max |f''|, h = 1/32) at no run-time cost.
    """
    x = np.arange(TANH_SEGMENTS + 1) * (8.0 / TANH_SEGMENTS)
    f = np.tanh(x)
    return _odd_knots(f, -2.0 * f * (1.0 - f * f))


def erf_table() -> Ints:
    """257 knots of erf(u / 2) on [0, 8], Q15, moved like those of tanh: `tanh_q15` reads both.

    The normal distribution is (1 + erf(x / sqrt 2)) / 2, so u = sqrt(2) x.
    """
    u = np.arange(TANH_SEGMENTS + 1) * (8.0 / TANH_SEGMENTS)
    f = np.array([math.erf(value / 2.0) for value in u])
    return _odd_knots(f, -u / (2.0 * math.sqrt(math.pi)) * np.exp(-u * u / 4.0))


def _odd_knots(f: NDArray[np.floating], second: NDArray[np.floating]) -> Ints:
    """Knots of an odd function on [0, 8] from its values and second derivatives there."""
    h = 8.0 / TANH_SEGMENTS
    knots = np.round((f - h * h * second / 16.0) * 2**TANH_Q).astype(np.int64)
    knots[0] = 0  # odd symmetry: f(0) is exactly 0
    return np.asarray(np.minimum(knots, 2**TANH_Q - 1))


def exp_table() -> Ints:
    """257 knots of exp(-z) on [0, 16], Q15, moved by -h^2 f''/16 as those of tanh (h = 1/16).

    The first is 32,760, the chord's eight units below 1: within the table's error, and it fits int16.
    """
    h = 16.0 / EXP_SEGMENTS
    f = np.exp(-np.arange(EXP_SEGMENTS + 1) * h)
    return np.asarray(np.round(f * (1.0 - h * h / 16.0) * 2**TANH_Q).astype(np.int64))


def tanh_q15(arg: Ints, table: Ints) -> Ints:
    """Equation (8): tanh of a Q16 argument by linear interpolation of the odd half-table, Q15."""
    size = clamp(np.abs(arg), 0, ARG_MAX)
    index, part = size >> 11, size & 2047
    low = table[index]
    value = low + (((table[index + 1] - low) * part + 1024) >> 11)
    return np.asarray(np.where(arg < 0, -value, value))


def exp_q15(z: Ints, table: Ints) -> Ints:
    """Equation (12): exp(-z) of a Q16 argument by linear interpolation, Q15; z below 0 counts as 0."""
    size = clamp(z, 0, EXP_MAX)
    index, part = size >> 12, size & 4095
    low = table[index]
    return np.asarray(low + (((table[index + 1] - low) * part + 2048) >> 12))


def rsqrt_q30(variance: Ints) -> tuple[Ints, Ints]:
    """Equation (5): (y, pairs) with 1 / sqrt(variance) ~ y * 2^(pairs - 62), y in Q30 within [2^30, 2^31].

    variance >= 1 is shifted left by `pairs` bit pairs into [2^62, 2^64); its upper word u is u' = u / 2^32 in
    [1/4, 1). y = 2.2 - 1.25 u' is within 13 % of 1 / sqrt(u') and four Newton steps y (3 - u' y^2) / 2 bring the
    error below 2^-27. Python integers stand in for uint64.
    """
    flat = [_rsqrt_one(int(v)) for v in np.ravel(variance)]
    y = np.array([f[0] for f in flat], dtype=np.int64).reshape(np.shape(variance))
    pairs = np.array([f[1] for f in flat], dtype=np.int64).reshape(np.shape(variance))
    return y, pairs


def _rsqrt_one(variance: int) -> tuple[int, int]:
    assert 1 <= variance < 2**63
    pairs = (64 - variance.bit_length()) // 2
    u = (variance << (2 * pairs)) >> 32
    y = 2_362_232_013 - ((u >> 2) + (u >> 4))  # 2.2 in Q30
    for _ in range(4):
        t = (u * ((y * y) >> 30)) >> 32
        y = (y * ((3 << 30) - t)) >> 31
    assert 2**30 - 4 <= y <= 2**31
    return y, pairs
