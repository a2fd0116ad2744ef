"""Element-by-element ops: centring of ports, per-element scales, weighted sums, the diagonal of a recurrence."""

from __future__ import annotations

import numpy as np

from lnnc.kernels.dense import SIZE_MAX
from lnnc.kernels.fixed import A_MAX, INT32_MAX, Ints, clamp, narrow, requant, rounded_shift
from lnnc.kernels.registry import Args, Param, Ranges, kernel

PORT = (-32_768, 32_767)


@kernel(
    Param("x", "in", "int16", ("n",), *PORT),
    Param("n", "int", lo=1, hi=SIZE_MAX),
    Param("center", "int", lo=-32_768, hi=32_767),
    Param("out", "out", "int16", ("n",)),
)
def center_s16(x: Ints, n: int, center: int) -> tuple[Ints, ...]:
    """out[i] = clamp(x[i] - center, +-32,640): an input port, moved to the mean of its calibration data."""
    return (clamp(x - center, -A_MAX, A_MAX),)


def _check_affine(args: Args, ranges: Ranges) -> str:
    low, high = ranges["x"]
    bound = (max(abs(low), abs(high)) << args["shift"]) + int(np.abs(args["bias"]).max())
    return "" if bound <= INT32_MAX else f"an element can reach {bound}, beyond int32"


def _fit_affine(args: Args, rng: np.random.Generator) -> Args:
    shift = int(rng.integers(0, 16))
    room = INT32_MAX - (32_768 << shift)
    return {**args, "shift": shift, "bias": rng.integers(-room, room + 1, size=args["n"])}


def _affine_params(out: str) -> tuple[Param, ...]:
    return (
        Param("x", "in", "int16", ("n",), *PORT),
        Param("n", "int", lo=1, hi=SIZE_MAX),
        Param("shift", "int", lo=0, hi=15),
        Param("bias", "const", "int32", ("n",)),
        Param("mult", "const", "int32", ("n",)),
        Param("lo", "int"),
        Param("hi", "int"),
        Param("out", "out", out, ("n",)),
    )


@kernel(*_affine_params("int16"), check=_check_affine, fit=_fit_affine, inplace="x")
def affine_s16(x: Ints, n: int, shift: int, bias: Ints, mult: Ints, lo: int, hi: int) -> tuple[Ints, ...]:
    """out[i] = clamp(requant((x[i] << shift) + bias[i], mult[i]), lo, hi): a scale and an offset per element."""
    return (narrow(clamp(requant((x << shift) + bias, mult), lo, hi), 16),)


@kernel(*_affine_params("int32"), check=_check_affine, fit=_fit_affine)
def affine_s32(x: Ints, n: int, shift: int, bias: Ints, mult: Ints, lo: int, hi: int) -> tuple[Ints, ...]:
    """As `affine_s16`, keeping 32 bits: the arguments of a table."""
    return (clamp(requant((x << shift) + bias, mult), lo, hi),)


@kernel(
    Param("a", "in", "int16", ("n",)),
    Param("b", "in", "int16", ("n",)),
    Param("n", "int", lo=1, hi=SIZE_MAX),
    Param("a_gain", "int"),
    Param("b_gain", "int"),
    Param("shift", "int", lo=0, hi=31),
    Param("lo", "int"),
    Param("hi", "int"),
    Param("out", "out", "int16", ("n",)),
    inplace="a",
)
def add_s16(a: Ints, b: Ints, n: int, a_gain: int, b_gain: int, shift: int, lo: int, hi: int) -> tuple[Ints, ...]:
    """out[i] = clamp((a_gain a[i] + b_gain b[i] + 2^(shift-1)) >> shift, lo, hi) in 64 bits; equation (3)."""
    return (narrow(clamp(rounded_shift(a_gain * a + b_gain * b, shift), lo, hi), 16),)


def _check_muladd(args: Args, ranges: Ranges) -> str:
    low, high = ranges["acc"]
    bound = max(abs(low), abs(high)) + (2**30 >> (15 - args["shift"]))
    return "" if bound <= INT32_MAX else f"the sum can reach {bound}, beyond int32"


@kernel(
    Param("x", "in", "int16", ("n",)),
    Param("n", "int", lo=1, hi=SIZE_MAX),
    Param("shift", "int", lo=0, hi=15),
    Param("mult", "const", "int32", ("n",)),
    Param("lo", "int"),
    Param("hi", "int"),
    Param("acc", "inout", "int32", ("n",), -(2**29), 2**29),
    check=_check_muladd,
)
def muladd_s32(x: Ints, n: int, shift: int, mult: Ints, lo: int, hi: int, acc: Ints) -> tuple[Ints, ...]:
    """acc[i] = clamp(acc[i] + requant(x[i] << shift, mult[i]), lo, hi): the diagonal of a recurrence."""
    return (clamp(narrow(acc + requant(x << shift, mult)), lo, hi),)
