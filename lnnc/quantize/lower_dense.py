"""Lowering of Linear, means and scalers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lnnc.errors import LnncError
from lnnc.ir.graph import Act, Array, Linear, Mean, Scale
from lnnc.ir.program import DType
from lnnc.kernels.euler import PRE_MAX
from lnnc.kernels.fixed import A_MAX, ARG_MAX, ARG_Q, INT32_MAX, Ints
from lnnc.kernels.sparse import COLUMN_MAX, pack
from lnnc.quantize.context import Lowering, affine, identifier
from lnnc.quantize.deliver import choose, limits_of, scales_of
from lnnc.quantize.formats import Format, activation
from lnnc.quantize.lower_act import ARGUMENT, lower_table
from lnnc.quantize.weights import SHIFT_MAX, W16_MAX, W_MAX, Misfit, Quantized, dequantize, quantize_linear

SCALE_TRIES = 80


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
    fmt = fmt if act is None else replace(fmt, lo=0)
    fmt = fitting(low, op, fmt) if out != low.graph.result else fmt
    name = low.define(out, fmt)
    dense(low, op, "linear_s16", low.out_scale(out), name, (fmt.lo, fmt.hi), " and ReLU" if act else "")


def fitting(low: Lowering, op: Linear, fmt: Format) -> Format:
    """The format, its scale doubled until the accumulators fit: calibration may have seen a dead tensor only."""
    for _ in range(SCALE_TRIES):
        if isinstance(_integers(low, op, np.full(len(op.bias), fmt.scale)), Quantized):
            break
        fmt = replace(fmt, scale=fmt.scale * 2.0)
    return fmt


def _integers(low: Lowering, op: Linear, out_scale: Array) -> Quantized | Misfit:
    weight, bias, x, means = _one_scale(low, op)
    w_max = W16_MAX if low.weight_bits(op.src) == 16 else W_MAX
    return quantize_linear(weight, bias, x, out_scale, means, w_max)


def _one_scale(low: Lowering, op: Linear) -> tuple[Array, Array, Format, Array | None]:
    """(weight, bias, format of x, means of x) of a layer; the scales of parts of x become a part of its weights.

    With x = q scale + center for each column, W x + b = (W scale / unit) (q unit) + (b + W center).
    """
    means = low.stats[op.x].means if op.x in low.stats else None
    if op.x not in low.columns:
        return op.weight, op.bias, low.formats[op.x], means
    scale, center = low.columns[op.x]
    unit = float(scale.max())
    x = Format(unit, *limits_of(low, op.x))
    seen = None if means is None else (means - center) * unit / scale
    return op.weight * scale / unit, op.bias + op.weight @ center, x, seen


def dense(
    low: Lowering, op: Linear, kernel: str, out_scale: np.ndarray, out: str, limits: tuple[int, int], note: str = ""
) -> None:
    """Quantize a Linear layer, record the numbers that its integers stand for, and append its call.

    kernel: linear_s16 or linear_s32; wider weights and rows with few weights take another form of the same.
    """
    q = _integers(low, op, out_scale)
    if isinstance(q, Misfit):
        raise LnncError(
            f"layer '{op.src}', {q}", low.builder.where,
            "retrain it with weight decay; or, before an output, declare a wider range or fewer --output-frac bits",
        )  # fmt: skip
    if op.out:  # the inside of a liquid neuron has no tensor of its own
        low.exact[op.out] = _exact(low, op, q, out_scale)
    rows, cols = op.weight.shape
    name, bits = identifier(op.src), low.weight_bits(op.src)
    form, tables = _tables(low, name, q.weight, bits)
    low.builder.call(
        f"{form}_{'w16_' * (bits == 16)}{kernel.removeprefix('linear_')}", op.src, f"{cols} -> {rows}{note}",
        x=low.names[op.x], n_in=cols, n_out=rows, shift=q.shift, **tables,
        bias=low.constant(f"{name}_bias", "int32", q.bias),
        mult=low.constant(f"{name}_mult", "int32", q.mult, note="acc * mult / 2^32"),
        lo=limits[0], hi=limits[1], out=out,
    )  # fmt: skip


def _exact(low: Lowering, op: Linear, q: Quantized, out_scale: Array) -> Linear:
    """The layer with the real weights and biases that its integers stand for."""
    weight, bias = dequantize(q, _one_scale(low, op)[2], out_scale)
    if op.x in low.columns:
        scale, center = scales_of(low, op.x)
        weight = weight * scale.max() / scale
        bias = bias - weight @ center
    return replace(op, weight=weight, bias=bias)


def _tables(low: Lowering, name: str, weight: Ints, bits: int) -> tuple[str, dict[str, str | int]]:
    """("linear", its table), or ("sparse", its tables) where that takes less flash: a zero weight is no synapse."""
    dtype: DType = "int16" if bits == 16 else "int8"
    rows, cols = weight.shape
    count, column, packed = pack(weight)
    size, nnz = bits // 8, len(packed)
    few = nnz * (size + 1) + rows < rows * cols * size
    if nnz == 0 or not few or cols > COLUMN_MAX + 1 or count.max() > COLUMN_MAX:
        return "linear", {"weight": low.constant(f"{name}_weight", dtype, weight, (rows, cols), "one scale per row")}
    return "sparse", {
        "count": low.constant(f"{name}_count", "uint8", count, note="weights of each row that are not zero"),
        "column": low.constant(f"{name}_column", "uint8", column, note="the input of each"),
        "weight": low.constant(f"{name}_weight", dtype, packed, note="one scale per row"),
        "nnz": nnz,
    }


def _linear_arg(low: Lowering, op: Linear, act: Act) -> tuple[str, int]:
    """Arguments of the table, Q16 or as many fraction bits as the accumulators allow; and 16 minus those bits."""
    half, up = ARGUMENT[act.fn], 0
    while up < ARG_Q - 4 and isinstance(_integers(low, op, np.full(len(op.bias), 2.0 ** (up - ARG_Q) / half)), Misfit):
        up += 1
    scale, limit = np.full(len(op.bias), 2.0 ** (up - ARG_Q) / half), ARG_MAX >> up
    arg = low.builder.buffer(
        f"{identifier(act.out)}_arg", "int32", len(op.bias), (-limit, limit), note=f"Q{ARG_Q - up}"
    )
    dense(low, op, "linear_s32", scale, arg, (-limit, limit))
    return arg, up


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
        target = low.formats.get(op.out) or activation(low.stats[op.out], 16, False, _bound_at_rest(low, op))
    out = low.define(op.out, target)
    offset = op.offset + op.scale * fmt.center
    affine(
        low, op.src, "scaler", low.names[op.x], np.full(n, fmt.scale), op.scale, offset, low.out_scale(op.out), out,
        (-A_MAX, A_MAX),
    )  # fmt: skip


def _bound_at_rest(low: Lowering, op: Scale) -> float:
    """What a scaled tensor can be where calibration saw it at rest only; no bound elsewhere."""
    if low.stats[op.out].absmax:
        return np.inf
    fmt = low.formats[op.x]
    reach = fmt.scale * max(-fmt.lo, fmt.hi) + abs(fmt.center)
    return float((np.abs(op.scale) * reach + np.abs(op.offset)).max())
