"""The minimal gated cell, all steps and units of it in one call."""

from __future__ import annotations

import numpy as np

from lnnc.ir.series_faults import STEPS_MAX
from lnnc.kernels.dense import SIZE_MAX, product, row_fit, rows_fault
from lnnc.kernels.fixed import A_MAX, ARG_MAX, INT32_MAX, Ints, clamp, narrow, requant, tanh_q15
from lnnc.kernels.lut import TABLE
from lnnc.kernels.registry import Args, Param, Ranges, kernel


def _check(args: Args, ranges: Ranges) -> str:
    low = min(ranges["x"][0], -A_MAX)
    high = max(ranges["x"][1], A_MAX)
    return rows_fault(args["weight"].reshape(2 * args["n"], -1), args, {**ranges, "x": (low, high)})


def _fit(args: Args, rng: np.random.Generator) -> Args:
    """Rows small enough for some bias, and multipliers that bring the sums into the table's range."""
    n, n_x, steps = (min(args[name], most) for name, most in (("n", 40), ("n_x", 80), ("steps", 12)))
    sizes = {"n": n, "n_x": n_x, "steps": steps, "x": args["x"][:, : steps * n_x], "h": args["h"][:, :n]}
    args = {**args, **sizes, "weight": args["weight"][: 2 * n * (n_x + n)], "mult": args["mult"][: 2 * n]}
    weight = row_fit(args["weight"].reshape(2 * n, -1) >> int(rng.integers(0, 8)))
    room = INT32_MAX - np.abs(weight).sum(axis=1) * A_MAX
    bias = (room * rng.choice([-0.5, -0.01, 0.0, 0.01, 0.5], size=2 * n)).astype(np.int64)
    mult = np.maximum(1, np.abs(args["mult"]) >> int(rng.integers(0, 16)))
    return {**args, "weight": weight.reshape(-1), "bias": bias, "mult": mult, "shift": 0}


@kernel(
    Param("x", "in", "int16", ("steps", "n_x")),
    Param("n_x", "int", lo=1, hi=SIZE_MAX),
    Param("steps", "int", lo=1, hi=STEPS_MAX),
    Param("weight", "const", "int16", (2, "n", "n+n_x")),
    Param("bias", "const", "int32", (2, "n")),
    Param("mult", "const", "int32", (2, "n")),
    Param("shift", "int", lo=0, hi=15),
    TABLE,
    Param("n", "int", lo=1, hi=SIZE_MAX),
    Param("h", "inout", "int16", ("n",)),
    Param("z", "out", "int16", ("n+n_x",)),
    check=_check,
    fit=_fit,
)
def gated_s16(
    x: Ints, n_x: int, steps: int, weight: Ints, bias: Ints, mult: Ints, shift: int, table: Ints, n: int, h: Ints
) -> tuple[Ints, ...]:  # fmt: skip
    """h <- clamp(h + ((c - h) g + 2^14 >> 15), +-32,640) for each of `steps` rows of x. Equation (31).

    Rows 0 ... n - 1 of the weights give half the argument of the gate g = sigmoid, the others that of the candidate
    c = tanh, both Q16, from z = [h; x]; g, c and h are Q15.
    """
    matrix = weight.reshape(2 * n, n_x + n)
    for row in x.reshape(len(x), steps, n_x).swapaxes(0, 1):
        z = np.concatenate([h, row], axis=1)
        acc = narrow(product(z, matrix) + bias)
        value = tanh_q15(clamp(requant(narrow(acc << shift), mult), -ARG_MAX, ARG_MAX), table)
        gate, candidate = (32_769 + value[:, :n]) >> 1, value[:, n:]
        h = clamp(h + (narrow((candidate - h) * gate + 16_384) >> 15), -A_MAX, A_MAX)
    return h, z
