"""A series of samples: gathered into blocks, cleaned of outliers, remembered."""

from __future__ import annotations

import numpy as np

from lnnc.ir.series_faults import BLOCK_MAX, LENGTH_MAX, SPREADS_MAX
from lnnc.kernels.dense import SIZE_MAX
from lnnc.kernels.fixed import A_MAX, Ints, clamp, requant
from lnnc.kernels.registry import Args, Param, Ranges, kernel

COUNT_LIMIT = 30_000
RAW = (-32_768, 32_767)  # a port as it comes


def _check_collect(args: Args, ranges: Ranges) -> str:
    return "" if args["length"] % args["n"] == 0 else "the block is not a whole number of samples"


def _fit_collect(args: Args, rng: np.random.Generator) -> Args:
    count = int(rng.choice([1, 2, 3, 40]))
    length = args["n"] * count
    samples = rng.integers(-A_MAX, A_MAX + 1, size=(len(args["x"]), length))
    return {**args, "length": length, "samples": samples, "missing": np.abs(args["missing"]) % (count + 1)}


@kernel(
    Param("x", "in", "int16", ("n",), *RAW),
    Param("n", "int", lo=1, hi=SIZE_MAX),
    Param("length", "int", lo=1, hi=SIZE_MAX),
    Param("samples", "inout", "int16", ("length",), *RAW),
    Param("missing", "inout", "int32", (1,), 0, SIZE_MAX),
    check=_check_collect,
    fit=_fit_collect,
    waits=True,
)
def collect_s16(x: Ints, n: int, length: int, samples: Ints, missing: Ints) -> tuple[Ints, ...]:
    """Puts x behind the samples that are there, first of all where none is missing; equation (37).

    Returns how many are still missing.
    """
    count = length // n
    left = np.where(missing == 0, count, np.minimum(missing, count))
    place = (count - left) * n + np.arange(n)
    samples = samples.copy()
    np.put_along_axis(samples, place, x, axis=1)
    return samples, left - 1


def _blocks(x: Ints, length: int) -> Ints:
    return x.reshape(len(x), -1, length)


def _median(parts: Ints) -> Ints:
    """Element (length - 1) // 2 in order, of each row."""
    return np.sort(parts, axis=-1)[..., [(parts.shape[-1] - 1) // 2]]


def _check_length(args: Args, ranges: Ranges) -> str:
    return "" if args["length"] % 2 else "a block has an odd number of values"


def _fit_length(args: Args, rng: np.random.Generator) -> Args:
    """An odd length, the values of the blocks, and a spread that clips some of them."""
    length = 2 * int(rng.integers(0, (BLOCK_MAX + 1) // 2)) + 1
    x = np.resize(args["x"], (len(args["x"]), args["n"] * length))
    fitted = {**args, "length": length, "x": x}
    return fitted | ({"spreads": args["spreads"] >> int(rng.integers(0, 14))} if "spreads" in args else {})


@kernel(
    Param("x", "in", "int16", ("n", "length"), *RAW),
    Param("length", "int", lo=1, hi=BLOCK_MAX),
    Param("n", "int", lo=1, hi=SIZE_MAX // BLOCK_MAX),
    Param("out", "out", "int16", ("n",), 0, A_MAX),
    Param("middle", "out", "int16", ("n",), *RAW),
    check=_check_length,
    fit=_fit_length,
)
def spread_s16(x: Ints, length: int, n: int) -> tuple[Ints, ...]:
    """middle[b] = median of block b, out[b] = min(median of |x - middle[b]| there, 32,640); equation (38)."""
    parts = _blocks(x, length)
    middle = _median(parts)
    found = _median(np.abs(parts - middle))[..., 0]
    return np.minimum(found, A_MAX), middle[..., 0]


@kernel(
    Param("x", "in", "int16", ("n", "length"), *RAW),
    Param("length", "int", lo=1, hi=BLOCK_MAX),
    Param("n", "int", lo=1, hi=SIZE_MAX // BLOCK_MAX),
    Param("middle", "in", "int16", ("n",), *RAW),
    Param("spreads", "in", "int16", ("k",), 0, A_MAX),
    Param("k", "int", lo=1, hi=SPREADS_MAX),
    Param("factor", "int", lo=1, hi=100),
    Param("mult", "int", lo=1),
    Param("out", "out", "int16", ("n",)),
    check=lambda args, ranges: _check_length(args, ranges) or _check_mean(args),
    fit=lambda args, rng: _with_mean(_fit_length(args, rng)),
)
def robust_s16(
    x: Ints, length: int, n: int, middle: Ints, spreads: Ints, k: int, factor: int, mult: int
) -> tuple[Ints, ...]:  # fmt: skip
    """out[b] = requant(sum of x clipped to middle[b] +- factor * lower median of spreads, mult);

    mult = 2^32 / length, a block of one value is its own mean; within +-32,640. Equation (39).
    """
    parts, reach = _blocks(x, length), factor * _median(spreads)[:, :, None]
    total = np.clip(parts, middle[:, :, None] - reach, middle[:, :, None] + reach).sum(axis=-1)
    mean = total if length == 1 else requant(total, mult)
    return (clamp(mean, -A_MAX, A_MAX),)


def mean_mult(length: int) -> int:
    """The multiplier of `robust_s16`."""
    return 1 if length == 1 else round(2**32 / length)


def _check_mean(args: Args) -> str:
    return "" if args["mult"] == mean_mult(args["length"]) else "mult is not 2^32 / length"


def _with_mean(args: Args) -> Args:
    return {**args, "mult": mean_mult(args["length"])}


def _fit_history(args: Args, rng: np.random.Generator) -> Args:
    n = min(args["n"], args["length"])
    return {**args, "n": n, "x": args["x"][:, :n]}


@kernel(
    Param("x", "in", "int16", ("n",)),
    Param("n", "int", lo=1, hi=LENGTH_MAX),
    Param("past", "inout", "int16", ("length",)),
    Param("length", "int", lo=1, hi=LENGTH_MAX),
    Param("seen", "inout", "int16", (1,), 0, 1),
    check=lambda args, ranges: "" if args["n"] <= args["length"] else "more values than the history holds",
    fit=_fit_history,
)
def history_s16(x: Ints, n: int, past: Ints, length: int, seen: Ints) -> tuple[Ints, ...]:
    """Drops the n oldest values and appends x; where nothing was seen yet x[0] fills it first; equation (40)."""
    past = np.where(seen == 0, x[:, :1], past)
    return np.concatenate([past, x], axis=1)[:, n:], np.ones_like(seen)


@kernel(
    Param("count", "inout", "int16", (1,), 0, COUNT_LIMIT),
    Param("step", "int", lo=1, hi=COUNT_LIMIT),
    Param("limit", "int", lo=1, hi=COUNT_LIMIT),
)
def count_s16(count: Ints, step: int, limit: int) -> tuple[Ints, ...]:
    """count = min(count + step, limit): how many steps there have been; equation (41)."""
    return (np.minimum(count + step, limit),)


@kernel(
    Param("n", "int", lo=1, hi=SIZE_MAX),
    Param("out", "out", "int16", ("n",)),
)
def zero_s16(n: int) -> tuple[Ints, ...]:
    """out[i] = 0."""
    return (np.zeros((1, n), np.int64),)
