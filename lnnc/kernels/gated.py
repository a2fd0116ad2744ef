"""The minimal gated cell, all steps and units of it in one call."""

from __future__ import annotations

import numpy as np

from lnnc.ir.series_faults import STEPS_MAX
from lnnc.kernels.dense import SIZE_MAX, product, row_fit, rows_fault
from lnnc.kernels.fixed import A_MAX, INT32_MAX, Ints, clamp, narrow, requant, tanh_q15
from lnnc.kernels.lut import TABLE
from lnnc.kernels.registry import Args, Param, Ranges, kernel


def interleave(gate: Ints, candidate: Ints) -> Ints:
    """Rows (n, cols) as `pairs_s16` reads them: (n, cols / 4, 2 pairs, gate and candidate, 2 elements)."""
    n, cols = gate.shape
    return np.stack([gate.reshape(n, cols // 4, 2, 2), candidate.reshape(n, cols // 4, 2, 2)], axis=3)


def rows_of(weight: Ints, n: int) -> Ints:
    """(2 n, cols): gate and candidate of each unit in turn, from the interleaved weights."""
    return weight.reshape(n, -1, 2, 2, 2).transpose(0, 3, 1, 2, 4).reshape(2 * n, -1)


def _check(args: Args, ranges: Ranges) -> str:
    if (args["n"] + args["n_x"] + args["pad"]) % 4:
        return "the columns are no multiple of four"
    low, high = min(ranges["x"][0], -A_MAX), max(ranges["x"][1], A_MAX)
    return rows_fault(rows_of(args["weight"], args["n"]), args, {**ranges, "x": (low, high)})


def _fit(args: Args, rng: np.random.Generator) -> Args:
    """Rows small enough for some bias, and multipliers that bring the sums into the table's range."""
    n, n_x, steps = (min(args[name], most) for name, most in (("n", 40), ("n_x", 80), ("steps", 12)))
    pad = -(n + n_x) % 4
    weight = row_fit(rng.choice(args["weight"], size=(2 * n, n + n_x + pad)) >> int(rng.integers(0, 8)))
    room = INT32_MAX - np.abs(weight).sum(axis=1) * A_MAX
    bias = (room * rng.choice([-0.5, -0.01, 0.0, 0.01, 0.5], size=2 * n)).astype(np.int64)
    mult = np.maximum(1, np.abs(args["mult"][: 2 * n]) >> int(rng.integers(0, 16)))
    return {
        **args, "n": n, "n_x": n_x, "steps": steps, "pad": pad, "x": args["x"][:, : steps * n_x], "shift": 0,
        "h": args["h"][:, :n], "weight": interleave(weight[::2], weight[1::2]).reshape(-1), "bias": bias, "mult": mult,
    }  # fmt: skip


@kernel(
    Param("x", "in", "int16", ("steps", "n_x")),
    Param("n_x", "int", lo=1, hi=SIZE_MAX),
    Param("steps", "int", lo=1, hi=STEPS_MAX),
    Param("weight", "const", "int16", (2, "n", "n+n_x+pad")),
    Param("bias", "const", "int32", (2, "n")),
    Param("mult", "const", "int32", (2, "n")),
    Param("shift", "int", lo=0, hi=15),
    TABLE,
    Param("n", "int", lo=1, hi=SIZE_MAX),
    Param("pad", "int", lo=0, hi=3),
    Param("h", "inout", "int16", ("n",)),
    Param("z", "out", "int16", ("n+n_x+pad",)),
    check=_check,
    fit=_fit,
)
def gated_s16(
    x: Ints, n_x: int, steps: int, weight: Ints, bias: Ints, mult: Ints, shift: int, table: Ints, n: int, pad: int,
    h: Ints,
) -> tuple[Ints, ...]:  # fmt: skip
    """h <- clamp(h + ((c - h) g + 2^14 >> 15), +-32,640) for each of `steps` rows of x; equation (42).

    The weights give half the argument of the gate g = sigmoid, and that of the candidate c = tanh, both Q16, from
    z = [h; x; zeros]; g, c and h are Q15.
    """
    matrix = rows_of(weight, n)
    for row in x.reshape(len(x), steps, n_x).swapaxes(0, 1):
        z = np.concatenate([h, row, np.zeros((len(x), pad), np.int64)], axis=1)
        value = tanh_q15(requant(narrow(narrow(product(z, matrix) + bias) << shift), mult), table)
        gate, candidate = (32_769 + value[:, ::2]) >> 1, value[:, 1::2]
        h = clamp(h + (narrow((candidate - h) * gate + 16_384) >> 15), -A_MAX, A_MAX)
    return h, z
