"""Matrix-vector products by Winograd's identity: blocks of four rows, four columns at a time.

    w0 x0 + w2 x2 = (x0 + w2)(x2 + w0) - x0 x2 - w0 w2

A Cortex-M4 widens two int8 weights and adds two activations in one instruction (SXTAB16), and multiplies two pairs in
one (SMLAD): four products take one load and three instructions. The sum of x0 x2 is one pass for all rows, the sum of
w0 w2 is inside the bias. Intermediate sums wrap; modulo 2^32 the result is the sum of equation (2), which is proved to
fit. Source: S. Winograd, "A New Algorithm for Inner Product", IEEE Trans. Computers C-17 (1968).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from lnnc.kernels.dense import SIZE_MAX, fit_rows, linear, rows_fault
from lnnc.kernels.fixed import Ints, narrow
from lnnc.kernels.registry import Args, Param, Ranges, kernel

ROWS, COLUMNS = 4, 4
ORDER = (2, 0, 3, 1)  # the bytes of a group: SXTAB16 adds bytes 0 and 2 to x0 and x1, bytes 1 and 3 to x2 and x3


def blocks_of(rows: int) -> int:
    """How many blocks hold so many rows; the last one is filled up with zeros."""
    return -(-rows // ROWS)


def pack(weight: Ints) -> Ints:
    """The bytes of a matrix (rows, inputs), block by block.

    Of a block: for each whole group of four columns the four rows' four weights in `ORDER`, then for each column that
    is left the four rows' weights.
    """
    rows, n_in = weight.shape
    padded = np.zeros((blocks_of(rows) * ROWS, n_in), np.int64)
    padded[:rows] = weight
    blocks = padded.reshape(-1, ROWS, n_in)
    whole = n_in - n_in % COLUMNS
    groups = blocks[:, :, :whole].reshape(len(blocks), ROWS, -1, COLUMNS)[..., list(ORDER)].transpose(0, 2, 1, 3)
    rest = blocks[:, :, whole:].transpose(0, 2, 1)
    return np.concatenate([groups.reshape(len(blocks), -1), rest.reshape(len(blocks), -1)], axis=1).reshape(-1)


def unpack(packed: Ints, n_in: int) -> Ints:
    """The matrix (4 blocks, n_in) that `pack` took apart."""
    blocks = packed.reshape(-1, ROWS * n_in)
    whole = n_in - n_in % COLUMNS
    groups = blocks[:, : ROWS * whole].reshape(len(blocks), -1, ROWS, COLUMNS)[..., list(np.argsort(ORDER))]
    rest = blocks[:, ROWS * whole :].reshape(len(blocks), -1, ROWS)
    found = np.concatenate(
        [groups.transpose(0, 2, 1, 3).reshape(len(blocks), ROWS, -1), rest.transpose(0, 2, 1)], axis=2
    )
    return found.reshape(-1, n_in)


def cross(values: Ints) -> Ints:
    """Sum of w0 w2 + w1 w3 over the whole groups of the last axis: what the identity adds to each inner product."""
    whole = values.shape[-1] - values.shape[-1] % COLUMNS
    groups = values[..., :whole].reshape(*values.shape[:-1], -1, COLUMNS)
    return np.asarray((groups[..., :2] * groups[..., 2:]).sum(axis=(-1, -2)))


def wrap(value: Ints) -> Ints:
    """The int32 that is equal modulo 2^32."""
    return np.asarray(((value + 2**31) & 0xFFFF_FFFF) - 2**31)


def pack_bias(bias: Ints, weight: Ints) -> Ints:
    """The biases of all rows of all blocks, less the sum of the products of weights."""
    return fill(wrap(bias - cross(weight)))


def fill(values: Ints) -> Ints:
    """Values of rows, zeros for the rows that fill the last block."""
    return np.concatenate([values, np.zeros(-len(values) % ROWS, np.int64)])


class _Same:
    """An array as a key: equal to itself alone. Tables of a program are never written."""

    def __init__(self, array: Ints) -> None:
        self.array = array

    def __hash__(self) -> int:
        return id(self.array)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.array is other.array


@lru_cache(maxsize=64)
def _rows(weight: _Same, bias: _Same, n_in: int, n_out: int) -> tuple[Ints, Ints]:
    """(weight, bias) of equation (2) of the rows that there are, unpacked once for all steps of a stream."""
    matrix = unpack(weight.array, n_in)
    return matrix[:n_out], wrap(bias.array + cross(matrix))[:n_out]


def _check(args: Args, ranges: Ranges) -> str:
    if args["blocks"] != blocks_of(args["n_out"]):
        return f"{args['n_out']} rows in {args['blocks']} blocks"
    weight, bias = _rows(_Same(args["weight"]), _Same(args["bias"]), args["n_in"], args["n_out"])
    return rows_fault(weight, {**args, "bias": bias}, ranges)


def _fit(args: Args, rng: np.random.Generator) -> Args:
    """Random rows with biases and a shift as a dense layer has them, packed."""
    rows, n_in = args["n_out"], args["n_in"]
    weight = np.resize(args["weight"], (rows, n_in))
    dense = fit_rows({**args, "weight": weight.reshape(-1)}, rng)
    bias = pack_bias(dense["bias"], weight)
    return {
        **dense, "blocks": blocks_of(rows), "weight": pack(weight), "bias": np.maximum(bias, 1 - 2**31),
        "mult": fill(np.resize(args["mult"], rows)),
    }  # fmt: skip


def _params(out: str) -> tuple[Param, ...]:
    return (
        Param("x", "in", "int16", ("n_in",)),
        Param("n_in", "int", lo=1, hi=SIZE_MAX),
        Param("weight", "const", "int8", ("blocks", ROWS, "n_in"), align=4),
        Param("bias", "const", "int32", ("blocks", ROWS)),
        Param("mult", "const", "int32", ("blocks", ROWS)),
        Param("n_out", "int", lo=1, hi=SIZE_MAX),
        Param("blocks", "int", lo=1, hi=SIZE_MAX // ROWS),
        Param("shift", "int", lo=0, hi=15),
        Param("lo", "int"),
        Param("hi", "int"),
        Param("out", "out", out, ("n_out",)),
    )


@kernel(*_params("int16"), check=_check, fit=_fit)
def packed_s16(
    x: Ints, n_in: int, weight: Ints, bias: Ints, mult: Ints, n_out: int, blocks: int, shift: int, lo: int, hi: int
) -> tuple[Ints, ...]:
    """out[r] = clamp(requant((bias[r] + sum_c weight[r][c] x[c]) << shift, mult[r]), lo, hi); equation (2).

    With the bias that is meant: the table holds it less the sum of the products of weights.
    """
    return (narrow(_packed(x, n_in, weight, bias, mult, n_out, shift, lo, hi), 16),)


@kernel(*_params("int32"), check=_check, fit=_fit)
def packed_s32(
    x: Ints, n_in: int, weight: Ints, bias: Ints, mult: Ints, n_out: int, blocks: int, shift: int, lo: int, hi: int
) -> tuple[Ints, ...]:
    """As `packed_s16`, keeping 32 bits: the arguments of a table or of a liquid neuron."""
    return (_packed(x, n_in, weight, bias, mult, n_out, shift, lo, hi),)


def _packed(x: Ints, n_in: int, weight: Ints, bias: Ints, mult: Ints, n_out: int, shift: int, lo: int, hi: int) -> Ints:
    rows, biases = _rows(_Same(weight), _Same(bias), n_in, n_out)
    return linear(x, rows, biases, mult[:n_out], shift, lo, hi)
