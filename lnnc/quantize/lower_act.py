"""Lowering of activations: tables after a layer or alone, ReLU, size, exp."""

from __future__ import annotations

import math

import numpy as np

from lnnc.errors import LnncError
from lnnc.ir.graph import Act, Linear
from lnnc.kernels.fixed import ARG_MAX, ARG_Q, EXP_MAX, TANH_Q
from lnnc.quantize.context import Lowering, affine, identifier
from lnnc.quantize.deliver import begin, centred, choose, finish, scales_of, wanted
from lnnc.quantize.formats import Format

# What the table's argument is of x: sigmoid(x) = (1 + tanh(x / 2)) / 2, and the normal distribution of x is
# (1 + erf(u / 2)) / 2 with u = sqrt(2) x
ARGUMENT = {"tanh": 1.0, "sigmoid": 0.5, "phi": math.sqrt(2.0)}
KERNEL = {"tanh": ("tanh_s16", "tanh"), "sigmoid": ("sigmoid_s16", "tanh"), "phi": ("sigmoid_s16", "erf")}
EXP_FORMAT = Format(2.0**-14, 0, 2**14)


def lower_table(low: Lowering, act: Act, arg: str, up: int) -> None:
    """tanh, sigmoid or the normal distribution of int32 arguments with 16 - up fraction bits."""
    fmt, n = wanted(low, act.out), low.sizes[act.out]
    if fmt is None or not _of_table(fmt):
        fmt = _table_format(low, act)
    shift = TANH_Q + round(math.log2(fmt.scale))
    kernel, table = KERNEL[act.fn]
    scale, center = np.full(n, fmt.scale), np.zeros(n)
    out = begin(low, act.out, scale, center, (fmt.lo, fmt.hi))
    low.builder.call(
        kernel, act.src, f"{act.fn} by table, Q{TANH_Q - shift}", arg=arg, n=n, up=up,
        table=low.builder.table(table), shift=shift, lo=fmt.lo, hi=fmt.hi, out=out,
    )  # fmt: skip
    finish(low, act.out, act.src, out, scale, center)
    low.done.add(act.out)


def _of_table(fmt: Format) -> bool:
    """Whether a format is one that a table's Q15 values reach by a shift."""
    shift = TANH_Q + math.log2(fmt.scale)
    return shift == round(shift) and 0 <= shift <= 30


def _table_format(low: Lowering, act: Act) -> Format:
    """Q14 for int16 (32,767 would leave the legal range), Q7 or unsigned Q8 for 8-bit tensors."""
    users = low.graph.users(act.out)
    if low.bits == 8 and users and all(isinstance(op, Linear) for op in users):
        return Format(2.0**-7, -127, 127) if act.fn == "tanh" else Format(2.0**-8, 0, 255)
    return Format(2.0**-14, -(2**14) if act.fn == "tanh" else 0, 2**14)


def lower_act(low: Lowering, op: Act) -> None:
    """An activation that no layer could take along."""
    match op.fn:
        case "relu":
            _lower_relu(low, op)
        case "abs":
            _lower_abs(low, op)
        case "exp":
            _lower_exp(low, op)
        case _:
            arg = _argument(low, op, ARGUMENT[op.fn], (-ARG_MAX, ARG_MAX))
            lower_table(low, op, arg, 0)


def _argument(low: Lowering, op: Act, gain: float, limits: tuple[int, int]) -> str:
    """gain * x in Q16, the argument of a table."""
    units, offset = scales_of(low, op.x)
    n = len(units)
    arg = low.builder.buffer(f"{identifier(op.out)}_arg", "int32", n, limits, note=f"Q{ARG_Q}")
    affine(
        low, op.src, "argument of the table", low.names[op.x], units, np.full(n, gain), offset * gain,
        np.full(n, 2.0**-ARG_Q), arg, limits, "affine_s32",
    )  # fmt: skip
    return arg


def _lower_relu(low: Lowering, op: Act) -> None:
    x, n = low.formats[op.x], low.sizes[op.x]
    bound = abs(x.center) + x.scale * max(abs(x.lo), abs(x.hi))
    fmt = low.formats.get(op.out) or choose(low, op.out, True, bound)
    out = low.define(op.out, Format(fmt.scale, 0, fmt.hi))
    affine(
        low, op.src, "ReLU", low.names[op.x], np.full(n, x.scale), np.ones(n), np.full(n, x.center),
        low.out_scale(op.out), out, (0, fmt.hi),
    )  # fmt: skip


def _lower_abs(low: Lowering, op: Act) -> None:
    """|x|, in the format of x."""
    x, n = centred(low, op.x), low.sizes[op.x]
    scale, center = np.full(n, x.scale), np.zeros(n)
    out = begin(low, op.out, scale, center, (0, max(abs(x.lo), abs(x.hi))))
    low.builder.call("abs_s16", op.src, "size", x=low.names[op.x], n=n, out=out)
    finish(low, op.out, op.src, out, scale, center)


def _lower_exp(low: Lowering, op: Act) -> None:
    """exp(x) of arguments that are never positive, by a table of exp(-z).

    Raises:
        LnncError: calibration saw a positive argument.
    """
    seen, n = low.stats[op.x].max, low.sizes[op.x]
    if seen > 2.0**-ARG_Q:
        raise LnncError(
            f"layer '{op.src}': the argument of its exp reaches {seen:.4g} on the calibration data", low.builder.where,
            "exp is supported for arguments that are never positive: scale the layer so that they are not",
        )  # fmt: skip
    arg = _argument(low, op, -1.0, (0, EXP_MAX))
    scale, center = np.full(n, EXP_FORMAT.scale), np.zeros(n)
    out = begin(low, op.out, scale, center, (EXP_FORMAT.lo, EXP_FORMAT.hi))
    low.builder.call(
        "exp_s16", op.src, "exp by table, Q14", arg=arg, n=n, up=0, table=low.builder.exp(), shift=1,
        lo=EXP_FORMAT.lo, hi=EXP_FORMAT.hi, out=out,
    )  # fmt: skip
    finish(low, op.out, op.src, out, scale, center)
