"""Lowering of the liquid neuron and of residual connections."""

from __future__ import annotations

import math

import numpy as np

from lnnc.errors import LnncError
from lnnc.ir.graph import Act, Add, Array, Euler, Linear
from lnnc.kernels.euler import PRE_MAX
from lnnc.kernels.fixed import A_MAX, ARG_Q, INT32_MAX, TANH_Q
from lnnc.quantize.context import Lowering, affine, identifier
from lnnc.quantize.formats import HEADROOM, Format, activation, power_of_two, wide
from lnnc.quantize.lower_dense import dense, fitting

STATE_Q_MAX = 14  # tanh in Q15 would touch 32,767


def state_bound(low: Lowering, op: Euler) -> float:
    """Bound of |x| over all steps: |x'| <= |1 - dt alpha| |x| + |dt beta|, from the proved or calibrated |x(0)|."""
    producer = low.graph.producer(op.x)
    saturates = isinstance(producer, Act) and producer.fn in ("tanh", "sigmoid")
    start = 1.0 if saturates else HEADROOM * low.stats[op.x].absmax
    bound = np.full(len(op.alpha), start)
    largest = start
    for _ in range(op.steps):
        bound = np.abs(1.0 - op.dt * op.alpha) * bound + np.abs(op.dt * op.beta)
        largest = max(largest, float(bound.max()))
        if not math.isfinite(largest):
            break
    return largest


def state_format(low: Lowering, op: Euler) -> Format:
    """Q format of the state: the proved bound, or twice the calibrated range where the bound is far beyond it."""
    bound, seen = state_bound(low, op), low.stats[f"{op.out}.path"].absmax
    reach = bound if bound <= 4.0 * HEADROOM * seen else max(HEADROOM * seen, min(bound, 1.0))
    return Format(2.0 ** -power_of_two(reach, STATE_Q_MAX))


def lower_euler(low: Lowering, op: Euler) -> None:
    """`steps` repetitions of: arguments = W x, next = decay x + gain tanh(arguments + drive), commit."""
    fmt, n, b = low.formats[op.out], len(op.alpha), low.builder
    name = identifier(op.out)
    start = _start(low, op, fmt)
    b.close_block(op.src)
    low.names[f"{op.out}.x"], low.formats[f"{op.out}.x"] = start, fmt
    arg = b.buffer(f"{name}_arg", "int32", n, (-PRE_MAX, PRE_MAX), note="Q16")
    _recurrence(low, op, f"{op.out}.x", arg)
    out = low.define(op.out, fmt, f"state, Q{round(-math.log2(fmt.scale))}")
    decay, gain, shift = _coefficients(low, op, fmt)
    b.call(
        "euler_s16", op.src, f"Euler step, dt {op.dt:.6g}", x=start, pre=arg, n=n, table=b.tanh(),
        drive=low.names[op.drive] if op.drive else 0, shift=shift, lo=fmt.lo, hi=fmt.hi, out=out,
        decay=low.constant(f"{name}_decay", "int32", decay, note=f"1 - dt alpha, Q{shift}"),
        gain=low.constant(f"{name}_gain", "int32", gain, note="dt beta in units of the state"),
    )  # fmt: skip
    b.close_block(op.src, op.steps, ((start, out),) if op.steps > 1 else ())


def _start(low: Lowering, op: Euler, fmt: Format) -> str:
    """The buffer that holds x: the start itself, or a copy where others still need the start (or it is no int16)."""
    have = low.formats[op.x]
    shared = op.steps > 1 and len(low.graph.users(op.x)) > 1
    shared = shared or low.builder.buffers[low.names[op.x]].kind != "scratch"
    if have.scale == fmt.scale and not have.center and not shared:
        low.builder.widen(low.names[op.x], (min(have.lo, fmt.lo), max(have.hi, fmt.hi)))
        return low.names[op.x]
    n = len(op.alpha)
    x = low.builder.buffer(f"{identifier(op.out)}_x", "int16", n, (fmt.lo, fmt.hi), note="state before the step")
    if have.scale == fmt.scale and not have.center:
        low.builder.call("copy_s16", op.src, "start of the state", x=low.names[op.x], n=n, out=x)
    else:
        affine(
            low, op.src, "start of the state", low.names[op.x], np.full(n, have.scale), np.ones(n),
            np.full(n, have.center), np.full(n, fmt.scale), x,
        )  # fmt: skip
    return x


def _recurrence(low: Lowering, op: Euler, x: str, arg: str) -> None:
    """arg = W x in Q16, through one matrix or through the two factors and the diagonal."""
    limits, unit = (-PRE_MAX, PRE_MAX), np.full(len(op.alpha), 2.0**-ARG_Q)
    zero = np.zeros(len(op.alpha))
    if op.weight is not None:
        dense(low, Linear("", x, op.weight, zero, op.src), "linear_s32", unit, arg, limits, " recurrent")
        return
    assert op.left is not None and op.right is not None and op.diag is not None
    rank = op.left.shape[1]
    inner, fmt = f"{op.out}.low", wide(HEADROOM * low.stats[f"{op.out}.low"].absmax)
    low.sizes[inner] = rank
    into = Linear("", x, op.right.T, np.zeros(rank), f"{op.src}.V")
    fmt = fitting(low, into, fmt)
    out = low.define(inner, fmt)
    dense(low, into, "linear_s16", np.full(rank, fmt.scale), out, (fmt.lo, fmt.hi), " recurrent")
    dense(low, Linear("", inner, op.left, zero, f"{op.src}.U"), "linear_s32", unit, arg, limits, " recurrent")
    _diagonal(low, op, x, arg)


def _diagonal(low: Lowering, op: Euler, x: str, arg: str) -> None:
    """arg += diag(w) x."""
    assert op.diag is not None
    slope = op.diag * low.formats[x].scale * 2.0**ARG_Q
    shift = next((s for s in range(16) if np.abs(slope).max() * 2.0 ** (32 - s) <= INT32_MAX), None)
    if shift is None:
        raise LnncError(f"layer '{op.src}': its diagonal is too large", low.builder.where, "retrain with weight decay")
    low.builder.call(
        "muladd_s32", op.src, "diagonal of the recurrence", x=low.names[x], n=len(op.alpha), shift=shift,
        mult=low.constant(f"{op.src}_diag", "int32", np.round(slope * 2.0 ** (32 - shift))),
        lo=-PRE_MAX, hi=PRE_MAX, acc=arg,
    )  # fmt: skip


def _coefficients(low: Lowering, op: Euler, fmt: Format) -> tuple[Array, Array, int]:
    """decay and gain with the most fraction bits, at most 30, that int32 holds."""
    decay = 1.0 - op.dt * op.alpha
    gain = op.dt * op.beta * 2.0**-TANH_Q / fmt.scale
    top = max(float(np.abs(decay).max()), float(np.abs(gain).max()), 1e-9)
    shift = min(30, math.floor(math.log2(INT32_MAX / top)))
    if shift < 16:
        raise LnncError(
            f"layer '{op.src}': 1 - dt alpha or dt beta reaches {top:.3g} in units of the state", low.builder.where,
            "the step is far from stable: import it with a smaller dt and more steps",
        )  # fmt: skip
    return np.round(decay * 2.0**shift), np.round(gain * 2.0**shift), shift


def lower_add(low: Lowering, op: Add) -> None:
    """a + gain b. It carries a state, so it stays int16 in both modes."""
    a, b = low.formats[op.a], low.formats[op.b]
    bound = A_MAX * (a.scale + abs(op.gain) * b.scale)
    fmt = low.formats.get(op.out) or activation(low.stats[op.out], 16, False, bound)
    if op.out == low.graph.result:
        raise AssertionError("the output scaler follows every layer")
    gains = a.scale / fmt.scale, op.gain * b.scale / fmt.scale
    shift = min(31, math.floor(math.log2(INT32_MAX / max(abs(gains[0]), abs(gains[1])))))
    low.builder.call(
        "add_s16", op.src, f"residual, gain {op.gain:.6g}", a=low.names[op.a], b=low.names[op.b],
        n=low.sizes[op.out], a_gain=round(gains[0] * 2.0**shift), b_gain=round(gains[1] * 2.0**shift),
        shift=shift, lo=fmt.lo, hi=fmt.hi, out=low.define(op.out, fmt),
    )  # fmt: skip
