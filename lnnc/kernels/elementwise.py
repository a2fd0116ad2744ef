"""Parts of vectors, products, quotients and sizes, element by element."""

from __future__ import annotations

import numpy as np

from lnnc.kernels.dense import SIZE_MAX
from lnnc.kernels.fixed import A_MAX, Ints, clamp, narrow, requant
from lnnc.kernels.registry import Args, Param, Ranges, kernel

SIZE = Param("n", "int", lo=1, hi=SIZE_MAX)
LO, HI = Param("lo", "int"), Param("hi", "int")
OUT = Param("out", "out", "int16", ("n",))


@kernel(
    Param("a", "in", "int16", ("n_a",)),
    Param("n_a", "int", lo=1, hi=SIZE_MAX),
    Param("b", "in", "int16", ("n_b",)),
    Param("n_b", "int", lo=1, hi=SIZE_MAX),
    Param("out", "out", "int16", ("n_a+n_b",)),
)
def concat_s16(a: Ints, n_a: int, b: Ints, n_b: int) -> tuple[Ints, ...]:
    """out = a, then b; each part keeps its format."""
    return (np.concatenate([a, b], axis=1),)


def _check_slice(args: Args, ranges: Ranges) -> str:
    end = args["start"] + args["n"]
    return "" if end <= args["n_x"] else f"elements up to {end} of {args['n_x']}"


def _fit_slice(args: Args, rng: np.random.Generator) -> Args:
    n = min(args["n"], args["n_x"])
    return {**args, "n": n, "start": int(rng.integers(0, args["n_x"] - n + 1))}


@kernel(
    Param("x", "in", "int16", ("n_x",)),
    Param("n_x", "int", lo=1, hi=SIZE_MAX),
    Param("start", "int", lo=0, hi=SIZE_MAX - 1),
    SIZE,
    OUT,
    check=_check_slice,
    fit=_fit_slice,
)
def slice_s16(x: Ints, n_x: int, start: int, n: int) -> tuple[Ints, ...]:
    """out[i] = x[start + i]; equation (17)."""
    return (x[:, start : start + n],)


def _check_gather(args: Args, ranges: Ranges) -> str:
    last = int(args["index"].max())
    return "" if last < args["n_x"] else f"element {last} of {args['n_x']}"


def _fit_gather(args: Args, rng: np.random.Generator) -> Args:
    return {**args, "index": args["index"] % args["n_x"]}


@kernel(
    Param("x", "in", "int16", ("n_x",)),
    Param("n_x", "int", lo=1, hi=SIZE_MAX),
    Param("index", "const", "int16", ("n",), 0, SIZE_MAX - 1),
    SIZE,
    OUT,
    check=_check_gather,
    fit=_fit_gather,
)
def gather_s16(x: Ints, n_x: int, index: Ints, n: int) -> tuple[Ints, ...]:
    """out[i] = x[index[i]]; equation (18)."""
    return (x[:, index],)


@kernel(
    Param("a", "in", "int16", ("n",)),
    Param("b", "in", "int16", ("n",)),
    SIZE,
    Param("mult", "int"),
    LO,
    HI,
    OUT,
    inplace="a",
)
def mul_s16(a: Ints, b: Ints, n: int, mult: int, lo: int, hi: int) -> tuple[Ints, ...]:
    """out[i] = clamp(requant(a[i] b[i], mult), lo, hi); b may be a. Equation (15)."""
    return (narrow(clamp(requant(narrow(a * b), mult), lo, hi), 16),)


@kernel(
    Param("a", "in", "int16", ("n",)),
    Param("b", "in", "int16", ("n",)),
    SIZE,
    Param("least", "int", lo=1, hi=A_MAX),
    Param("shift", "int", lo=0, hi=15),
    LO,
    HI,
    OUT,
    inplace="a",
)
def div_s16(a: Ints, b: Ints, n: int, least: int, shift: int, lo: int, hi: int) -> tuple[Ints, ...]:
    """out[i] = clamp((a[i] << shift) / max(b[i], least) to the nearest, ties away from zero, lo, hi); equation (16)."""
    below = np.maximum(b, least)
    size = narrow((np.abs(a) << shift) + (below >> 1)) // below
    return (narrow(clamp(np.where(a < 0, -size, size), lo, hi), 16),)


@kernel(Param("x", "in", "int16", ("n",)), SIZE, OUT, inplace="x")
def abs_s16(x: Ints, n: int) -> tuple[Ints, ...]:
    """out[i] = |x[i]|; equation (19)."""
    return (np.abs(x),)
