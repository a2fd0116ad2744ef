"""Arguments of tables: tensors that only a gate or a cell reads keep 32 bits, and never become int16 activations."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from lnnc.ir.graph import Linear, reads
from lnnc.kernels.euler import PRE_MAX
from lnnc.kernels.fixed import ARG_Q
from lnnc.quantize import lower_dense
from lnnc.quantize.context import Argument, Lowering, affine, identifier
from lnnc.quantize.deliver import scales_of
from lnnc.quantize.weights import Misfit

DRIVE = Argument(1.0, PRE_MAX, up_max=0)  # of a leaky cell; it is added to Q16 products


@dataclass(frozen=True)
class TimeFactor:
    """How a kernel multiplies by T: its argument has been multiplied by `gain`, and argument * dt >> shift = value * T.

    Attributes:
        dt: the buffer of the argument dt, or a number where time is a constant.
    """

    gain: float
    dt: str | int
    shift: int


def time_factor(low: Lowering) -> TimeFactor:
    """The constant T goes into the weights; of an argument dt the power of two above the longest time does."""
    if low.time is None:
        return TimeFactor(low.graph.time, 1 << ARG_Q, ARG_Q)
    above = math.ceil(math.log2(low.time.hi)) - low.time.frac
    return TimeFactor(2.0**above, "dt", low.time.frac + above)


def time_ends(low: Lowering) -> tuple[float, float]:
    """Shortest and longest time between two samples."""
    if low.time is None:
        return low.graph.time, low.graph.time
    return low.time.lo * 2.0**-low.time.frac, low.time.hi * 2.0**-low.time.frac


def want(low: Lowering, tensor: str, argument: Argument) -> None:
    """Have a Linear layer lowered to arguments, if one op alone reads it (else `take` converts the activation)."""
    if alone(low, tensor) and isinstance(low.graph.producer(tensor), Linear):
        low.arguments[tensor] = argument


def alone(low: Lowering, tensor: str) -> bool:
    """Whether one op reads a tensor, once, and nothing else needs it: it is no result and no state's next value."""
    users = low.graph.users(tensor)
    return tensor != low.graph.result and len(users) == 1 and reads(users[0]).count(tensor) == 1


def take(low: Lowering, tensor: str, argument: Argument, src: str) -> Argument:
    """The arguments of a tensor: those that its layer left, or converted from its int16 activations."""
    if tensor in low.arguments:
        return low.arguments[tensor]
    scale, center = scales_of(low, tensor)
    n, name = len(scale), _buffer(low, tensor, argument)
    affine(
        low, src, "arguments of a table", low.names[tensor], scale, np.full(n, argument.gain), argument.gain * center,
        np.full(n, 2.0**-ARG_Q), name, (-argument.limit, argument.limit), "affine_s32",
    )  # fmt: skip
    return replace(argument, name=name)


def define(low: Lowering, tensor: str, argument: Argument) -> Argument:
    """The buffer of a tensor that is lowered to arguments."""
    low.arguments[tensor] = replace(argument, name=_buffer(low, tensor, argument))
    return low.arguments[tensor]


def _buffer(low: Lowering, tensor: str, argument: Argument) -> str:
    limit = argument.limit >> argument.up
    note = f"{argument.gain:.6g} x in Q{ARG_Q - argument.up}" if argument.gain != 1.0 else f"Q{ARG_Q - argument.up}"
    return low.builder.buffer(f"{identifier(tensor)}_arg", "int32", low.sizes[tensor], (-limit, limit), note=note)


def lower_linear(low: Lowering, op: Linear) -> None:
    """A Linear layer: to arguments where the op that reads it wants those, else as any layer."""
    if op.out not in low.arguments:
        lower_dense.lower_linear(low, op)
        return
    argument = define(low, op.out, _fitting(low, op, low.arguments[op.out]))
    limit = argument.limit >> argument.up
    lower_dense.dense(low, op, "linear_s32", _scale(op, argument), argument.name, (-limit, limit))


def _fitting(low: Lowering, op: Linear, argument: Argument) -> Argument:
    """The argument with as many fraction bits as the accumulators allow."""
    while argument.up < argument.up_max and isinstance(lower_dense._integers(low, op, _scale(op, argument)), Misfit):
        argument = replace(argument, up=argument.up + 1)
    return argument


def _scale(op: Linear, argument: Argument) -> np.ndarray:
    return np.full(len(op.bias), 2.0 ** (argument.up - ARG_Q) / argument.gain)
