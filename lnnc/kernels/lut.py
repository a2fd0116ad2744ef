"""tanh, sigmoid and the normal distribution of 32-bit arguments through odd tables on [0, 8); exp(-z) on [0, 16)."""

from __future__ import annotations

from lnnc.kernels.dense import SIZE_MAX
from lnnc.kernels.fixed import (
    ARG_MAX,
    EXP_MAX,
    EXP_SEGMENTS,
    TANH_SEGMENTS,
    Ints,
    clamp,
    exp_q15,
    narrow,
    rounded_shift,
    tanh_q15,
)
from lnnc.kernels.registry import Param, kernel

TABLE = Param("table", "const", "int16", (TANH_SEGMENTS + 1,), 0, 32_767)
EXP_TABLE = Param("table", "const", "int16", (EXP_SEGMENTS + 1,), 0, 32_767)


def _params(table: Param = TABLE, low: int = -ARG_MAX, high: int = ARG_MAX, up: int = 12) -> tuple[Param, ...]:
    return (
        Param("arg", "in", "int32", ("n",), low, high),
        Param("n", "int", lo=1, hi=SIZE_MAX),
        Param("up", "int", lo=0, hi=up),
        table,
        Param("shift", "int", lo=0, hi=30),
        Param("lo", "int"),
        Param("hi", "int"),
        Param("out", "out", "int16", ("n",)),
    )


@kernel(*_params())
def tanh_s16(arg: Ints, n: int, up: int, table: Ints, shift: int, lo: int, hi: int) -> tuple[Ints, ...]:
    """out[i] = clamp((tanh_q15(arg[i] << up) + 2^(shift-1)) >> shift, lo, hi); equation (9)."""
    value = tanh_q15(narrow(arg << up), table)
    return (narrow(clamp(rounded_shift(value, shift), lo, hi), 16),)


@kernel(*_params())
def sigmoid_s16(arg: Ints, n: int, up: int, table: Ints, shift: int, lo: int, hi: int) -> tuple[Ints, ...]:
    """out[i] = clamp((2^15 + tanh_q15(arg[i] << up) + 2^shift) >> (shift+1), lo, hi).

    sigmoid(x) = (1 + tanh(x / 2)) / 2; arg already holds x / 2. With the table of erf(u / 2) and arg = sqrt(2) x it
    is the normal distribution. Equation (10).
    """
    value = 32_768 + tanh_q15(narrow(arg << up), table)
    return (narrow(clamp(rounded_shift(value, shift + 1), lo, hi), 16),)


@kernel(*_params(EXP_TABLE, 0, EXP_MAX, 11))
def exp_s16(arg: Ints, n: int, up: int, table: Ints, shift: int, lo: int, hi: int) -> tuple[Ints, ...]:
    """out[i] = clamp((exp_q15(arg[i] << up) + 2^(shift-1)) >> shift, lo, hi): exp(-arg), arg >= 0; equation (13)."""
    value = exp_q15(narrow(arg << up), table)
    return (narrow(clamp(rounded_shift(value, shift), lo, hi), 16),)
