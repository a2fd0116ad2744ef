"""Moving samples and states: the sliding window of a stream, and the commit of a recurrence."""

from __future__ import annotations

import numpy as np

from lnnc.kernels.dense import SIZE_MAX
from lnnc.kernels.fixed import Ints
from lnnc.kernels.registry import Args, Param, Ranges, kernel


def _check(args: Args, ranges: Ranges) -> str:
    return "" if args["length"] % args["n"] == 0 else "the window is not a whole number of samples"


def _fit(args: Args, rng: np.random.Generator) -> Args:
    length = args["n"] * int(rng.integers(1, 6))
    window = rng.integers(-32_640, 32_641, size=(len(args["x"]), length))
    return {**args, "length": length, "window": window, "missing": np.minimum(args["missing"], 5)}


@kernel(
    Param("x", "in", "int16", ("n",)),
    Param("n", "int", lo=1, hi=SIZE_MAX),
    Param("length", "int", lo=1, hi=SIZE_MAX),
    Param("window", "inout", "int16", ("length",)),
    Param("missing", "inout", "int32", (1,), 0, SIZE_MAX),
    check=_check,
    fit=_fit,
    waits=True,
)
def push_s16(x: Ints, n: int, length: int, window: Ints, missing: Ints) -> tuple[Ints, ...]:
    """Drops the oldest sample of the window, appends x, and returns how many samples are still missing."""
    return np.concatenate([window[:, n:], x], axis=1), np.maximum(missing - 1, 0)


@kernel(
    Param("x", "in", "int16", ("n",)),
    Param("n", "int", lo=1, hi=SIZE_MAX),
    Param("out", "out", "int16", ("n",)),
)
def copy_s16(x: Ints, n: int) -> tuple[Ints, ...]:
    """out[i] = x[i]: commits the next state of a recurrence."""
    return (x,)
