"""Matrix-vector products whose zero weights are not stored: a wired network has few synapses.

The integers are those of the dense form, equation (2): a weight of zero adds nothing.
"""

from __future__ import annotations

import numpy as np

from lnnc.kernels.dense import SIZE_MAX, accumulator_bound, linear, row_fit, rows_fault
from lnnc.kernels.fixed import INT32_MAX, Ints, narrow
from lnnc.kernels.registry import Args, Param, Ranges, kernel

COLUMN_MAX = 255  # columns and counts are bytes
SYNAPSES_MAX = COLUMN_MAX * SIZE_MAX


def pack(weight: Ints) -> tuple[Ints, Ints, Ints]:
    """(count of each row, column and weight of each nonzero element) of a matrix (rows, inputs), row by row."""
    rows, columns = np.nonzero(weight)
    return np.bincount(rows, minlength=len(weight)).astype(np.int64), columns.astype(np.int64), weight[rows, columns]


def unpack(count: Ints, column: Ints, weight: Ints, n_in: int) -> Ints:
    """The matrix (rows, n_in) that `pack` took apart."""
    dense = np.zeros((len(count), n_in), np.int64)
    np.add.at(dense, (np.repeat(np.arange(len(count)), count), column), weight)
    return dense


def _check(args: Args, ranges: Ranges) -> str:
    count, column = args["count"], args["column"]
    if int(count.sum()) != args["nnz"] or len(column) != args["nnz"]:
        return f"the rows count {int(count.sum())} weights, there are {args['nnz']}"
    if int(column.max()) >= args["n_in"]:
        return f"column {int(column.max())} of {args['n_in']}"
    return rows_fault(unpack(count, column, np.abs(args["weight"]), args["n_in"]), args, ranges)


def _fit(args: Args, rng: np.random.Generator) -> Args:
    """Rows of random length over random columns, the weights small enough for some bias and shift."""
    count, n_in = np.minimum(args["count"], args["n_in"]), args["n_in"]
    count[0] = max(count[0], 1)
    weight = np.zeros((len(count), n_in), np.int64)
    for row, length in enumerate(count):
        chosen = rng.choice(args["weight"], size=length)
        weight[row, rng.permutation(n_in)[:length]] = np.where(chosen == 0, 1, chosen)
    weight = row_fit(weight)
    count, column, packed = pack(weight)
    room = INT32_MAX - accumulator_bound(weight, np.zeros(len(count), np.int64), -32_640, 32_640)
    bias = (room * rng.choice([-1.0, -0.5, -0.01, 0.0, 0.01, 0.5, 1.0], size=len(count))).astype(np.int64)
    top = int(accumulator_bound(weight, bias, -32_640, 32_640).max())
    shift = int(rng.integers(0, 1 + min(15, max(0, 31 - top.bit_length()))))
    return {
        **args,
        "count": count,
        "column": column,
        "weight": packed,
        "nnz": len(packed),
        "bias": bias,
        "shift": shift,
    }


def _params(weight: str, out: str) -> tuple[Param, ...]:
    return (
        Param("x", "in", "int16", ("n_in",)),
        Param("n_in", "int", lo=1, hi=COLUMN_MAX + 1),
        Param("count", "const", "uint8", ("n_out",)),
        Param("column", "const", "uint8", ("nnz",)),
        Param("weight", "const", weight, ("nnz",)),
        Param("nnz", "int", lo=1, hi=SYNAPSES_MAX),
        Param("bias", "const", "int32", ("n_out",)),
        Param("mult", "const", "int32", ("n_out",)),
        Param("n_out", "int", lo=1, hi=SIZE_MAX),
        Param("shift", "int", lo=0, hi=15),
        Param("lo", "int"),
        Param("hi", "int"),
        Param("out", "out", out, ("n_out",)),
    )


@kernel(*_params("int8", "int16"), check=_check, fit=_fit)
def sparse_s16(
    x: Ints, n_in: int, count: Ints, column: Ints, weight: Ints, nnz: int, bias: Ints, mult: Ints, n_out: int,
    shift: int, lo: int, hi: int,
) -> tuple[Ints, ...]:  # fmt: skip
    """out[r] = clamp(requant((bias[r] + sum_k weight[k] x[column[k]]) << shift, mult[r]), lo, hi); equation (14)."""
    return (narrow(linear(x, unpack(count, column, weight, n_in), bias, mult, shift, lo, hi), 16),)


@kernel(*_params("int8", "int32"), check=_check, fit=_fit)
def sparse_s32(
    x: Ints, n_in: int, count: Ints, column: Ints, weight: Ints, nnz: int, bias: Ints, mult: Ints, n_out: int,
    shift: int, lo: int, hi: int,
) -> tuple[Ints, ...]:  # fmt: skip
    """As `sparse_s16`, keeping 32 bits."""
    return (linear(x, unpack(count, column, weight, n_in), bias, mult, shift, lo, hi),)


@kernel(*_params("int16", "int16"), check=_check, fit=_fit)
def sparse_w16_s16(
    x: Ints, n_in: int, count: Ints, column: Ints, weight: Ints, nnz: int, bias: Ints, mult: Ints, n_out: int,
    shift: int, lo: int, hi: int,
) -> tuple[Ints, ...]:  # fmt: skip
    """As `sparse_s16`, with int16 weights."""
    return (narrow(linear(x, unpack(count, column, weight, n_in), bias, mult, shift, lo, hi), 16),)


@kernel(*_params("int16", "int32"), check=_check, fit=_fit)
def sparse_w16_s32(
    x: Ints, n_in: int, count: Ints, column: Ints, weight: Ints, nnz: int, bias: Ints, mult: Ints, n_out: int,
    shift: int, lo: int, hi: int,
) -> tuple[Ints, ...]:  # fmt: skip
    """As `sparse_s32`, with int16 weights."""
    return (linear(x, unpack(count, column, weight, n_in), bias, mult, shift, lo, hi),)
