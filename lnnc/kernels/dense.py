"""Matrix-vector products: int8 or int16 weights, int16 activations, int32 accumulators, one multiplier per row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lnnc.kernels.fixed import A_MAX, INT32_MAX, Ints, clamp, narrow, requant
from lnnc.kernels.registry import Args, Param, Ranges, kernel

Floats = NDArray[np.float64]
SIZE_MAX = 8192


def accumulator_bound(weight: Ints | Floats, bias: Ints | Floats, lo: int, hi: int) -> Ints | Floats:
    """Largest |sum| that each row can reach, at any moment of its sum, for inputs anywhere in [lo, hi].

    The bias is added first, so a partial sum is bounded by |bias| + sum |w| * max |x|. weight: (rows, inputs).
    """
    return np.asarray(np.abs(bias) + np.abs(weight).sum(axis=1) * max(abs(lo), abs(hi)))


def product(x: Ints, weight: Ints) -> Ints:
    """x @ weight.T, exactly: the sums are below 2^53, so float64 BLAS gives the integers themselves."""
    return (x.astype(np.float64) @ weight.T.astype(np.float64)).astype(np.int64)


def _check(args: Args, ranges: Ranges) -> str:
    return rows_fault(np.reshape(args["weight"], (args["n_out"], args["n_in"])), args, ranges)


def rows_fault(weight: Ints, args: Args, ranges: Ranges) -> str:
    """Which row of a weight matrix (rows, inputs), dense or sparse in flash, its accumulator cannot hold; or ""."""
    bound = accumulator_bound(weight, args["bias"], *ranges["x"])
    row = int(np.argmax(bound))
    if int(bound[row]) << args["shift"] > INT32_MAX:
        return f"row {row} can reach {int(bound[row])} << {args['shift']}, beyond int32"
    return ""


def fit_rows(args: Args, rng: np.random.Generator) -> Args:
    """Random biases as large as the accumulator allows, and a shift that uses what is left."""
    weight = args["weight"].reshape(args["n_out"], args["n_in"])
    room = INT32_MAX - accumulator_bound(weight, np.zeros(len(weight), np.int64), -32_640, 32_640)
    part = rng.choice([0.0, 0.01, 0.5, 1.0], size=len(weight)) * rng.choice([-1, 1], size=len(weight))
    bias = (room * part).astype(np.int64)
    bound = int(accumulator_bound(weight, bias, -32_640, 32_640).max())
    shift = int(rng.integers(0, 1 + min(15, max(0, 31 - bound.bit_length()))))
    return {**args, "bias": bias, "shift": shift}


def _fit_wide(args: Args, rng: np.random.Generator) -> Args:
    """As `fit_rows`, after the rows of int16 weights have been made small enough for some bias."""
    weight = row_fit(args["weight"].reshape(args["n_out"], args["n_in"]))
    return fit_rows({**args, "weight": weight.reshape(-1)}, rng)


def row_fit(weight: Ints) -> Ints:
    """Rows of (rows, inputs) scaled towards zero so that x anywhere in +-32,640 leaves room in an int32 sum."""
    room = INT32_MAX // A_MAX - 1
    total = np.maximum(np.abs(weight).sum(axis=1, keepdims=True), 1)
    return np.asarray(np.sign(weight) * (np.abs(weight) * np.minimum(total, room) // total))


def _params(out: str, weight: str = "int8") -> tuple[Param, ...]:
    return (
        Param("x", "in", "int16", ("n_in",)),
        Param("n_in", "int", lo=1, hi=SIZE_MAX),
        Param("weight", "const", weight, ("n_out", "n_in")),
        Param("bias", "const", "int32", ("n_out",)),
        Param("mult", "const", "int32", ("n_out",)),
        Param("n_out", "int", lo=1, hi=SIZE_MAX),
        Param("shift", "int", lo=0, hi=15),
        Param("lo", "int"),
        Param("hi", "int"),
        Param("out", "out", out, ("n_out",)),
    )


def linear(x: Ints, weight: Ints, bias: Ints, mult: Ints, shift: int, lo: int, hi: int) -> Ints:
    """Equation (2) in 64 bits; weight: (rows, inputs), flat or not."""
    acc = narrow(product(x, weight.reshape(len(bias), -1)) + bias)
    return clamp(requant(acc << shift, mult), lo, hi)


@kernel(*_params("int16"), check=_check, fit=fit_rows)
def linear_s16(
    x: Ints, n_in: int, weight: Ints, bias: Ints, mult: Ints, n_out: int, shift: int, lo: int, hi: int
) -> tuple[Ints, ...]:
    """out[r] = clamp(requant((bias[r] + sum_c weight[r][c] x[c]) << shift, mult[r]), lo, hi); equation (2)."""
    return (narrow(linear(x, weight, bias, mult, shift, lo, hi), 16),)


@kernel(*_params("int32"), check=_check, fit=fit_rows)
def linear_s32(
    x: Ints, n_in: int, weight: Ints, bias: Ints, mult: Ints, n_out: int, shift: int, lo: int, hi: int
) -> tuple[Ints, ...]:
    """As `linear_s16`, keeping 32 bits: the arguments of a table or of a liquid neuron."""
    return (linear(x, weight, bias, mult, shift, lo, hi),)


@kernel(*_params("int16", "int16"), check=_check, fit=_fit_wide)
def linear_w16_s16(
    x: Ints, n_in: int, weight: Ints, bias: Ints, mult: Ints, n_out: int, shift: int, lo: int, hi: int
) -> tuple[Ints, ...]:
    """As `linear_s16`, with int16 weights."""
    return (narrow(linear(x, weight, bias, mult, shift, lo, hi), 16),)


@kernel(*_params("int32", "int16"), check=_check, fit=_fit_wide)
def linear_w16_s32(
    x: Ints, n_in: int, weight: Ints, bias: Ints, mult: Ints, n_out: int, shift: int, lo: int, hi: int
) -> tuple[Ints, ...]:
    """As `linear_s32`, with int16 weights."""
    return (linear(x, weight, bias, mult, shift, lo, hi),)


def _check_sum(args: Args, ranges: Ranges) -> str:
    low, high = ranges["x"]
    bound = (abs(args["bias"]) + args["n"] * max(abs(low), abs(high))) << args["shift"]
    return "" if bound <= INT32_MAX else f"the sum can reach {bound}, beyond int32"


def _fit_sum(args: Args, rng: np.random.Generator) -> Args:
    room = INT32_MAX - args["n"] * 32_640
    bias = int(rng.integers(-room, room + 1) * rng.choice([0.0, 0.001, 1.0]))
    bound = abs(bias) + args["n"] * 32_640
    return {**args, "bias": bias, "shift": int(rng.integers(0, 1 + max(0, min(15, 31 - bound.bit_length()))))}


@kernel(
    Param("x", "in", "int16", ("n",)),
    Param("n", "int", lo=1, hi=SIZE_MAX),
    Param("bias", "int"),
    Param("mult", "int"),
    Param("shift", "int", lo=0, hi=15),
    Param("lo", "int"),
    Param("hi", "int"),
    Param("out", "out", "int32", (1,)),
    check=_check_sum,
    fit=_fit_sum,
)
def sum_s32(x: Ints, n: int, bias: int, mult: int, shift: int, lo: int, hi: int) -> tuple[Ints, ...]:
    """out[0] = clamp(requant((bias + sum_i x[i]) << shift, mult), lo, hi): a mean, with 1/n inside mult."""
    acc = narrow(x.sum(axis=1, keepdims=True) + bias)
    return (clamp(requant(acc << shift, mult), lo, hi),)


SLIDE_MAX = 16  # values that a sliding layer looks at


def _fit_slide(args: Args, rng: np.random.Generator) -> Args:
    hop = 1 + args["hop"] % 8
    return {**_fit_wide(args, rng), "hop": hop, "count": args["count"]}


@kernel(
    Param("x", "in", "int16", ("length",)),
    Param("length", "int", lo=1, hi=SIZE_MAX),
    Param("n_in", "int", lo=1, hi=SLIDE_MAX),
    Param("hop", "int", lo=1, hi=SIZE_MAX),
    Param("count", "int", lo=1, hi=1000),
    *_params("int16", "int16")[2:-1],
    Param("out", "out", "int16", ("count", "n_out")),
    check=_check,
    fit=_fit_slide,
)
def slide_s16(
    x: Ints, length: int, n_in: int, hop: int, count: int, weight: Ints, bias: Ints, mult: Ints, n_out: int, shift: int,
    lo: int, hi: int,
) -> tuple[Ints, ...]:  # fmt: skip
    """`linear_w16_s16` at `count` places of a series, `hop` apart, the last at its end; equation (45).

    x[0] stands for what was before the series. out: (count, n_out).
    """
    first = length - n_in - hop * np.arange(count)[::-1]
    places = np.maximum(first[:, None] + np.arange(n_in), 0)
    seen = x[:, places].reshape(-1, n_in)
    return (narrow(linear(seen, weight, bias, mult, shift, lo, hi), 16).reshape(len(x), -1),)
