"""One explicit Euler step of a liquid neuron."""

from __future__ import annotations

from lnnc.kernels.dense import SIZE_MAX
from lnnc.kernels.fixed import ARG_MAX, Ints, clamp, narrow, rounded_shift, tanh_q15
from lnnc.kernels.lut import TABLE
from lnnc.kernels.registry import Param, kernel

PRE_MAX = 2**29  # |W x| and |drive| saturate at 8192 in Q16: far enough that one may cancel the other


@kernel(
    Param("x", "in", "int16", ("n",)),
    Param("pre", "in", "int32", ("n",), -PRE_MAX, PRE_MAX),
    Param("drive", "value", "int32", lo=-PRE_MAX, hi=PRE_MAX),
    Param("n", "int", lo=1, hi=SIZE_MAX),
    TABLE,
    Param("decay", "const", "int32", ("n",)),
    Param("gain", "const", "int32", ("n",)),
    Param("shift", "int", lo=16, hi=30),
    Param("lo", "int"),
    Param("hi", "int"),
    Param("out", "out", "int16", ("n",)),
    inplace="x",
)
def euler_s16(
    x: Ints, pre: Ints, drive: Ints | int, n: int, table: Ints, decay: Ints, gain: Ints,
    shift: int, lo: int, hi: int,
) -> tuple[Ints, ...]:  # fmt: skip
    """out[i] = clamp((decay[i] x[i] + gain[i] tanh(pre[i] + drive) + half) >> shift, lo, hi); equation (11).

    decay = 1 - dt alpha and gain = dt beta in Q(shift); the sum is kept in 64 bits. The state is int16 in every
    mode: with an int8 state most Euler increments round to nothing.
    """
    arg = clamp(pre + drive, -ARG_MAX, ARG_MAX)
    value = rounded_shift(decay * x + gain * tanh_q15(arg, table), shift)
    return (narrow(clamp(value, lo, hi), 16),)
