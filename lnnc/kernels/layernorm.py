"""LayerNorm in one fused pass: 64-bit statistics, a reciprocal square root by Newton, one multiply per element.

The statistics of n int16 values x with scale s: S = sum x, Q = sum x^2, V = n Q - S^2 + n^2 epsilon / s^2, so that
(x[i] - mean) / sigma = (n x[i] - S) / sqrt(V). Derived in `runtime_c/SEMANTICS.md`, section 4.
"""

from __future__ import annotations

import math

import numpy as np

from lnnc.kernels.fixed import INT32_MAX, Ints, clamp, narrow, rsqrt_q30, smlaw
from lnnc.kernels.registry import Args, Param, Ranges, kernel

NORM_MAX = 8192

_STATS = (
    Param("x", "in", "int16", ("n",)),
    Param("n", "int", lo=1, hi=NORM_MAX),
    Param("inv_n", "int", lo=1),
    Param("eps", "int", lo=1),
    Param("eps_shift", "int", lo=0, hi=30),
    Param("gain", "int", lo=2**30),
    Param("gain_shift", "int", lo=0, hi=93),
)


def stats(x: Ints, n: int, inv_n: int, eps: int, eps_shift: int, gain: int, gain_shift: int) -> tuple[Ints, Ints]:
    """(scale, offset), each (batch, 1), with (scale * x[i] >> 16) + offset = unit * (x[i] - mean) / sigma.

    unit * n = gain * 2^(46 - gain_shift) is the fixed-point one of the result; inv_n = 2^31 / n. Equation (6).
    """
    total = narrow(x.sum(axis=1, keepdims=True))
    squares = (x * x).sum(axis=1, keepdims=True)
    y, pairs = rsqrt_q30(n * squares - total * total + (eps << eps_shift))
    scale = np.array([[_scaled(gain, int(v), gain_shift - int(p))] for v, p in zip(y[:, 0], pairs[:, 0], strict=True)])
    mean_q16 = narrow((total * inv_n + (1 << 14)) >> 15)
    return scale, narrow(-((scale * mean_q16) >> 32))


def _scaled(gain: int, y: int, shift: int) -> int:
    """min((gain * y) >> shift, 2^31 - 1) in unsigned 64 bits."""
    if shift < 29:
        return INT32_MAX
    return 0 if shift > 62 else min((gain * y) >> shift, INT32_MAX)


def unit_of(args: Args) -> float:
    """The fixed-point one that `stats` normalises to."""
    return float(float(args["gain"]) * 2.0 ** (46 - args["gain_shift"]) / args["n"])


def _largest(args: Args) -> int:
    """Bound of |unit * (x - mean) / sigma|: |x - mean| <= sigma sqrt(n - 1), and the rounding of the mean."""
    return int(math.ceil(unit_of(args) * math.sqrt(max(args["n"] - 1, 1)) * (1 + 2**-20)) + args["n"] + 8)


def _check_stats(args: Args) -> str:
    n = args["n"]
    if abs(args["inv_n"] - 2**31 / n) > 1:
        return "inv_n is not 2^31 / n"
    if n * n * 32_640**2 + (args["eps"] << args["eps_shift"]) >= 2**62:
        return "the variance leaves 62 bits"
    return ""


def _check_norm(args: Args, ranges: Ranges) -> str:
    beta = int(np.abs(args["beta"]).max()) << args["beta_shift"]
    bound = _largest(args) + beta + (1 << args["shift"])
    return _check_stats(args) or ("" if bound <= INT32_MAX else f"an element can reach {bound}, beyond int32")


def _check_norm_affine(args: Args, ranges: Ranges) -> str:
    beta = (int(np.abs(args["beta"]).max()) << args["beta_shift"]) + (1 << args["shift"])
    if _largest(args) > INT32_MAX:
        return f"a normalised element can reach {_largest(args)}, beyond int32"
    bound = (_largest(args) * int(np.abs(args["gamma"]).max()) >> 16) + 1 + beta
    return _check_stats(args) or ("" if bound <= INT32_MAX else f"an element can reach {bound}, beyond int32")


def _fit(args: Args, rng: np.random.Generator) -> Args:
    """Statistics' constants that belong together, for a random epsilon and unit."""
    n = args["n"]
    unit = 2.0 ** rng.uniform(4, 20)
    exponent = math.floor(math.log2(unit * n)) - 30
    gain = min(round(unit * n * 2.0**-exponent), INT32_MAX)
    eps_shift = int(rng.integers(0, 20))
    fitted = {
        **args,
        "inv_n": min(2**31 // n, INT32_MAX),
        "gain": gain,
        "gain_shift": 46 - exponent,
        "eps": int(rng.choice([1, 1000, 2**20, 2**31 - 1])),
        "eps_shift": eps_shift,
        "shift": int(rng.integers(0, 13)),
        "beta_shift": int(rng.integers(0, 14)),
    }
    if rng.random() < 0.3:  # a narrow spread around a far mean: the hard case of the statistics
        fitted["x"] = np.clip(rng.integers(-32_000, 32_000) + args["x"] // 8192, -32_640, 32_640)
    return fitted


_TAIL = (
    Param("beta_shift", "int", lo=0, hi=15),
    Param("shift", "int", lo=0, hi=15),
    Param("lo", "int"),
    Param("hi", "int"),
)
_BETA = Param("beta", "const", "int16", ("n",), -32_767, 32_767)


@kernel(*_STATS, _BETA, *_TAIL, Param("out", "out", "int16", ("n",)), check=_check_norm, fit=_fit, inplace="x")
def norm_s16(
    x: Ints, n: int, inv_n: int, eps: int, eps_shift: int, gain: int, gain_shift: int,
    beta: Ints, beta_shift: int, shift: int, lo: int, hi: int,
) -> tuple[Ints, ...]:  # fmt: skip
    """out[i] = clamp((unit (x[i] - mean) / sigma + (beta[i] << beta_shift) + half) >> shift, lo, hi).

    The form whose gamma went into the next Linear layer. Equation (7a).
    """
    scale, offset = stats(x, n, inv_n, eps, eps_shift, gain, gain_shift)
    value = narrow(smlaw(scale, x, offset) + ((1 << shift) >> 1) + (beta << beta_shift))
    return (narrow(clamp(value >> shift, lo, hi), 16),)


def _norm_affine(
    x: Ints, n: int, inv_n: int, eps: int, eps_shift: int, gain: int, gain_shift: int,
    gamma: Ints, beta: Ints, beta_shift: int, shift: int, lo: int, hi: int,
) -> Ints:  # fmt: skip
    scale, offset = stats(x, n, inv_n, eps, eps_shift, gain, gain_shift)
    value = smlaw(smlaw(scale, x, offset), gamma, (beta << beta_shift) + ((1 << shift) >> 1))
    return clamp(value >> shift, lo, hi)


_GAMMA = Param("gamma", "const", "int16", ("n",), -32_767, 32_767)


@kernel(
    *_STATS, _GAMMA, _BETA, *_TAIL, Param("out", "out", "int16", ("n",)),
    check=_check_norm_affine, fit=_fit, inplace="x",
)  # fmt: skip
def norm_affine_s16(
    x: Ints, n: int, inv_n: int, eps: int, eps_shift: int, gain: int, gain_shift: int,
    gamma: Ints, beta: Ints, beta_shift: int, shift: int, lo: int, hi: int,
) -> tuple[Ints, ...]:  # fmt: skip
    """out[i] = clamp((gamma[i] unit (x[i] - mean) / sigma 2^-16 + (beta[i] << beta_shift) + half) >> shift, ...).

    The general form, any sign of gamma. Equation (7b).
    """
    value = _norm_affine(x, n, inv_n, eps, eps_shift, gain, gain_shift, gamma, beta, beta_shift, shift, lo, hi)
    return (narrow(value, 16),)


@kernel(*_STATS, _GAMMA, _BETA, *_TAIL, Param("out", "out", "int32", ("n",)), check=_check_norm_affine, fit=_fit)
def norm_affine_s32(
    x: Ints, n: int, inv_n: int, eps: int, eps_shift: int, gain: int, gain_shift: int,
    gamma: Ints, beta: Ints, beta_shift: int, shift: int, lo: int, hi: int,
) -> tuple[Ints, ...]:  # fmt: skip
    """As `norm_affine_s16`, keeping 32 bits: the arguments of a table."""
    return (_norm_affine(x, n, inv_n, eps, eps_shift, gain, gain_shift, gamma, beta, beta_shift, shift, lo, hi),)
