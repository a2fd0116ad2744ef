"""Lowering of Linear, activations, means and scalers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lnnc.errors import LnncError
from lnnc.ir.graph import Act, Array, Linear, Mean, Norm, Op, Scale
from lnnc.kernels.euler import PRE_MAX
from lnnc.kernels.fixed import A_MAX, ARG_MAX, ARG_Q, INT32_MAX, TANH_Q
from lnnc.quantize.context import Lowering, affine, identifier
from lnnc.quantize.formats import Format, activation
from lnnc.quantize.weights import SHIFT_MAX, Misfit, Quantized, quantize_linear

SCALE_TRIES = 80

HALF_ARGUMENT = {"tanh": 1.0, "sigmoid": 0.5}  # sigmoid(x) = (1 + tanh(x / 2)) / 2: its table argument is x / 2


def lower_linear(low: Lowering, op: Linear) -> None:
    """A Linear layer, together with the activation that alone reads it."""
    act = low.next_act(op.out)
    if act is not None and act.fn != "relu":
        lower_table(low, act, *_linear_arg(low, op, act))
        return
    out = act.out if act else op.out
    if act:
        low.done.add(act.out)
    fmt = low.formats.get(out) or choose(low, out, nonnegative=act is not None)
    fmt = fitting(low, op, fmt if act is None else replace(fmt, lo=0)) if out != low.graph.result else fmt
    name = low.define(out, fmt)
    dense(low, op, "linear_s16", low.out_scale(out), name, (fmt.lo, fmt.hi), " and ReLU" if act else "")


def choose(low: Lowering, tensor: str, nonnegative: bool, bound: float = np.inf) -> Format:
    """Format of a tensor between layers: 8 bits only where Linear layers alone read it (LayerNorm needs 12 bits)."""
    users = low.graph.users(tensor)
    narrow = low.bits == 8 and bool(users) and all(isinstance(op, Linear) for op in users)
    if tensor == low.graph.result:
        return Format(1.0)  # the ports' own scales apply
    fmt = activation(low.stats[tensor], 8 if narrow else 16, nonnegative, bound)
    return replace(fmt, scale=max(fmt.scale, _norm_floor(users)))


def _norm_floor(users: tuple[Op, ...]) -> float:
    """The finest scale with which n^2 (var + epsilon) of a LayerNorm that reads the tensor stays below 2^61."""
    norms = [op for op in users if isinstance(op, Norm)]
    return max((len(op.gamma) * op.epsilon**0.5 * 2.0**-30 for op in norms), default=0.0)


def fitting(low: Lowering, op: Linear, fmt: Format) -> Format:
    """The format, its scale doubled until the accumulators fit: calibration may have seen a dead tensor only."""
    for _ in range(SCALE_TRIES):
        if isinstance(_integers(low, op, np.full(len(op.bias), fmt.scale)), Quantized):
            break
        fmt = replace(fmt, scale=fmt.scale * 2.0)
    return fmt


def _integers(low: Lowering, op: Linear, out_scale: Array) -> Quantized | Misfit:
    means = low.stats[op.x].means if op.x in low.stats else None
    return quantize_linear(op.weight, op.bias, low.formats[op.x], out_scale, means)


def dense(
    low: Lowering, op: Linear, kernel: str, out_scale: np.ndarray, out: str, limits: tuple[int, int], note: str = ""
) -> None:
    """Quantize a Linear layer and append its call."""
    q = _integers(low, op, out_scale)
    if isinstance(q, Misfit):
        raise LnncError(
            f"layer '{op.src}', {q}", low.builder.where,
            "retrain it with weight decay; or, before an output, declare a wider range or fewer --output-frac bits",
        )  # fmt: skip
    rows, cols = op.weight.shape
    name = identifier(op.src)
    low.builder.call(
        kernel, op.src, f"{cols} -> {rows}{note}", x=low.names[op.x], n_in=cols, n_out=rows, shift=q.shift,
        weight=low.constant(f"{name}_weight", "int8", q.weight, (rows, cols), "one scale per row"),
        bias=low.constant(f"{name}_bias", "int32", q.bias),
        mult=low.constant(f"{name}_mult", "int32", q.mult, note="acc * mult / 2^32"),
        lo=limits[0], hi=limits[1], out=out,
    )  # fmt: skip


def _linear_arg(low: Lowering, op: Linear, act: Act) -> tuple[str, int]:
    """Arguments of the table, Q16 or as many fraction bits as the accumulators allow; and 16 minus those bits."""
    half, up = HALF_ARGUMENT[act.fn], 0
    while up < ARG_Q - 4 and isinstance(_integers(low, op, np.full(len(op.bias), 2.0 ** (up - ARG_Q) / half)), Misfit):
        up += 1
    scale, limit = np.full(len(op.bias), 2.0 ** (up - ARG_Q) / half), ARG_MAX >> up
    arg = low.builder.buffer(
        f"{identifier(act.out)}_arg", "int32", len(op.bias), (-limit, limit), note=f"Q{ARG_Q - up}"
    )
    dense(low, op, "linear_s32", scale, arg, (-limit, limit))
    return arg, up


def lower_table(low: Lowering, act: Act, arg: str, up: int) -> None:
    """tanh or sigmoid of int32 arguments with 16 - up fraction bits."""
    fmt = low.formats.get(act.out) or _table_format(low, act)
    shift = TANH_Q - round(-np.log2(fmt.scale))
    to_port = act.out == low.graph.result
    assert shift >= 0 and not to_port
    low.builder.call(
        f"{act.fn}_s16", act.src, f"{act.fn} by table, Q{TANH_Q - shift}", arg=arg, n=low.sizes[act.out], up=up,
        table=low.builder.tanh(), shift=shift, lo=fmt.lo, hi=fmt.hi, out=low.define(act.out, fmt),
    )  # fmt: skip
    low.done.add(act.out)


def _table_format(low: Lowering, act: Act) -> Format:
    """Q14 for int16 (32,767 would leave the legal range), Q7 or unsigned Q8 for 8-bit tensors."""
    users = low.graph.users(act.out)
    if low.bits == 8 and users and all(isinstance(op, Linear) for op in users):
        return Format(2.0**-8, 0, 255) if act.fn == "sigmoid" else Format(2.0**-7, -127, 127)
    return Format(2.0**-14, 0 if act.fn == "sigmoid" else -(2**14), 2**14)


def lower_act(low: Lowering, op: Act) -> None:
    """An activation that no layer could take along."""
    x, n = low.formats[op.x], low.sizes[op.x]
    units, ones = np.full(n, x.scale), np.ones(n)
    center = np.full(n, x.center)
    if op.fn == "relu":
        bound = abs(x.center) + x.scale * max(abs(x.lo), abs(x.hi))
        fmt = low.formats.get(op.out) or choose(low, op.out, True, bound)
        out = low.define(op.out, Format(fmt.scale, 0, fmt.hi))
        affine(low, op.src, "ReLU", low.names[op.x], units, ones, center, low.out_scale(op.out), out, (0, fmt.hi))
        return
    gain = ones * HALF_ARGUMENT[op.fn]
    arg = low.builder.buffer(f"{identifier(op.out)}_arg", "int32", n, (-ARG_MAX, ARG_MAX), note="Q16")
    affine(
        low, op.src, "argument of the table", low.names[op.x], units, gain, center * gain,
        np.full(n, 2.0**-ARG_Q), arg, (-ARG_MAX, ARG_MAX), "affine_s32",
    )  # fmt: skip
    lower_table(low, op, arg, 0)


def lower_mean(low: Lowering, op: Mean) -> None:
    """The mean of a vector as one Q16 number, the drive of a liquid neuron."""
    fmt, n = low.formats[op.x], low.sizes[op.x]
    step = fmt.scale * op.gain / n  # real value of one unit of the sum
    step = step if abs(step) > 1e-12 else 1e-12
    gain = step * 2.0**ARG_Q
    shift = max(0, int(np.ceil(np.log2(abs(gain)) + 1.0001)))
    if shift > SHIFT_MAX:
        raise LnncError(
            f"layer '{op.src}': one unit of its input moves the argument of the tanh by {abs(step):.3g}",
            low.builder.where, "the neuron's drive would saturate: give the ports the scaler it was trained with",
        )  # fmt: skip
    bias = int(np.clip(round((op.offset + op.gain * fmt.center) / step), -(2**62), 2**62))
    out = low.builder.buffer(identifier(op.out), "int32", 1, (-PRE_MAX, PRE_MAX), note="Q16")
    low.names[op.out] = out
    mult = min(round(gain * 2.0 ** (32 - shift)), INT32_MAX)
    low.builder.call(
        "sum_s32", op.src, f"mean of {n} values", x=low.names[op.x], n=n, bias=bias, mult=mult, shift=shift,
        lo=-PRE_MAX, hi=PRE_MAX, out=out,
    )  # fmt: skip


def lower_scale(low: Lowering, op: Scale) -> None:
    """A scaler that no Linear layer could take along, mostly the output's."""
    fmt, n = low.formats[op.x], low.sizes[op.x]
    if op.out == low.graph.result:
        target = Format(1.0)
    else:
        target = low.formats.get(op.out) or activation(low.stats[op.out], 16, nonnegative=False)
    out = low.define(op.out, target)
    offset = op.offset + op.scale * fmt.center
    affine(
        low, op.src, "scaler", low.names[op.x], np.full(n, fmt.scale), op.scale, offset, low.out_scale(op.out), out,
        (-A_MAX, A_MAX),
    )  # fmt: skip
