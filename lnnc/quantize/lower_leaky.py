"""Lowering of the leaky cell: an int32 state that takes Euler steps, and the int16 copy that its weights read."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from lnnc.errors import LnncError
from lnnc.ir.graph import Array, Leaky, Linear, State
from lnnc.kernels.euler import PRE_MAX
from lnnc.kernels.fixed import A_MAX, ARG_Q, INT32_MAX
from lnnc.kernels.leaky import LEAKY_MAX, UP_MAX
from lnnc.quantize.context import Lowering, affine, identifier
from lnnc.quantize.deliver import finish, scales_of
from lnnc.quantize.formats import HEADROOM, Format, power_of_two
from lnnc.quantize.lower_argument import DRIVE, alone, take, time_ends
from lnnc.quantize.lower_dense import dense

FAR = 4.0 * HEADROOM  # a bound that many times what calibration saw would waste the int16 copy's bits
MARGIN = 2**18  # room for roundings in the proof of one step


def state_bounds(low: Lowering, op: Leaky) -> Array:
    """Bound of |x| for each neuron, whatever the input; inf where alpha <= 0. With r = alpha T / steps, T the longest:

        0 < r <= 1: |x| <= max(|x(0)|, |beta| / alpha), a convex mix of x and beta tanh / alpha
        1 < r < 2:  |x| <= max(|x(0)|, (T / steps) |beta| / (2 - r)), since |x'| <= (r - 1) |x| + (T / steps) |beta|

    Raises:
        LnncError: r >= 2 for some neuron: the state oscillates and grows.
    """
    check_cell(op, time_ends(low)[1], low.builder.where)
    rate = time_ends(low)[1] / op.steps * op.alpha
    decaying = op.alpha > 0.0
    alpha, rate = np.where(decaying, op.alpha, 1.0), np.where(decaying, rate, 0.0)
    bound = np.abs(op.beta) / alpha * np.where(rate > 1.0, rate / (2.0 - rate), 1.0)
    return np.asarray(np.where(decaying, np.maximum(bound, _start_bound(low, op)), math.inf))


def check_cell(op: Leaky, longest: float, where: str) -> None:
    """Refuse what diverges.

    Args:
        longest: the longest time of a step.

    Raises:
        LnncError: alpha T / steps >= 2 for some neuron, which it names, with the longest stable time.
    """
    rate = longest / op.steps * op.alpha
    if rate.max() < 2.0:
        return
    neuron, stable = int(np.argmax(rate)), 2.0 * op.steps / float(op.alpha.max())
    raise LnncError(
        f"layer '{op.src}': unstable step size: neuron {neuron} has alpha dt = {rate[neuron]:.4g}, expected below 2",
        where,
        f"keep the time between samples below {stable:.6g}, or take more than "
        f"{math.floor(op.steps * float(rate.max()) / 2.0)} steps for each",
    )


def _start_bound(low: Lowering, op: Leaky) -> float:
    """|x(0)|: 0 for a state of its own, which begins there; twice what calibration saw of any other tensor."""
    producer = low.graph.producer(op.x)
    own = isinstance(producer, State) and producer.next == op.out
    return 0.0 if own else HEADROOM * low.stats[op.x].absmax


def _range(low: Lowering, op: Leaky) -> tuple[float, bool]:
    """(reach, whether it is the proved bound)."""
    bound, seen = float(state_bounds(low, op).max()), low.stats[f"{op.out}.path"].absmax
    if bound <= FAR * seen:
        return bound, True
    return max(HEADROOM * seen, min(bound, 1.0)), bound <= 1.0


def state_rule(low: Lowering, op: Leaky) -> str:
    """How the range of the state was found, in words."""
    reach, proved = _range(low, op)
    if proved:
        return f"|x| <= {reach:.4g}: |beta| / alpha, or dt |beta| / (2 - dt alpha)"
    unbounded = np.flatnonzero(np.isinf(state_bounds(low, op)))
    why = f"; alpha <= 0 in neuron {', '.join(map(str, unbounded[:8]))}" if len(unbounded) else ""
    return f"calibration: {HEADROOM:g} times the largest value seen, saturating at {reach:.4g}{why}"


def state_format(low: Lowering, op: Leaky) -> tuple[Format, int]:
    """Format of the int16 copy, a power of two, and the fraction bits of the int32 state: at most 16 more.

    The int32 state leaves as much room as one step can move it, so that the sum needs no 64 bits.
    """
    reach, _ = _range(low, op)
    frac = power_of_two(reach, 20)
    limit = min(A_MAX, max(1, math.ceil(reach * 2.0**frac)))  # a state that nothing drives stays at 0
    held = limit * 2.0**-frac
    dt = time_ends(low)[1] / op.steps
    moved = float((held * (1.0 + np.abs(dt * op.alpha)) + np.abs(dt * op.beta)).max())
    bits = min(math.floor(math.log2((INT32_MAX - MARGIN) / moved)), math.floor(math.log2(LEAKY_MAX / held)))
    return Format(2.0**-frac, -limit, limit), min(frac + 16, max(frac, bits))


def lower_leaky(low: Lowering, op: Leaky) -> None:
    """`steps` repetitions of: arguments = W x, x <- x + dt (-alpha x + beta tanh(arguments + drive))."""
    fmt, bits = state_format(low, op)
    b, n, name = low.builder, len(op.alpha), identifier(op.out)
    shift = bits - fraction_bits(fmt)
    drive = take(low, op.drive, DRIVE, op.src)
    x, copy = _start(low, op, fmt, bits)
    b.close_block(op.src)
    inner = f"{op.out}.x"
    low.names[inner], low.formats[inner] = copy, fmt
    pre = b.buffer(f"{name}_pre", "int32", n, (-PRE_MAX, PRE_MAX), note="Q16")
    recurrent = Linear(f"{op.out}.W", inner, op.weight, np.zeros(n), op.src)
    dense(low, recurrent, "linear_s32", np.full(n, 2.0**-ARG_Q), pre, (-PRE_MAX, PRE_MAX), " recurrent")
    limits = fmt.lo << shift, fmt.hi << shift
    b.call(
        "leaky_s32" if low.time is None else "leaky_dt_s32", op.src, f"Euler step, Q{bits}", x=x, pre=pre,
        drive=drive.name, n=n, table=b.tanh(), **_coefficients(low, op, bits), lo=limits[0], hi=limits[1], shift=shift,
        out=copy,
    )  # fmt: skip
    b.close_block(op.src, op.steps)
    _deliver(low, op, copy, fmt)
    _warn(low, op)


def _start(low: Lowering, op: Leaky, fmt: Format, bits: int) -> tuple[str, str]:
    """The int32 state and the buffer of its int16 copy, which each step writes anew.

    The copy made at the start of the step serves, unless others need it after the cell.
    """
    n, name, shift = len(op.alpha), identifier(op.out), bits - fraction_bits(fmt)
    limits = fmt.lo << shift, fmt.hi << shift
    held = low.integrated(op.x, op.out)
    if held is not None:
        low.builder.widen(held, limits)
        if alone(low, op.x):
            return held, low.names[op.x]
    copy = low.builder.buffer(f"{name}_16", "int16", n, (fmt.lo, fmt.hi), note=f"Q{bits - shift}")
    if held is not None:
        low.builder.call("copy_s16", op.src, "16 bits of the state", x=low.names[op.x], n=n, out=copy)
        return held, copy
    x = low.builder.buffer(f"{name}_state", "int32", n, limits, note=f"Q{bits}")
    scale, center = scales_of(low, op.x)
    affine(
        low, op.src, "start of the state", low.names[op.x], scale, np.ones(n), center, np.full(n, fmt.scale), copy,
        (fmt.lo, fmt.hi),
    )  # fmt: skip
    low.builder.call("widen_s32", op.src, "32 bits of the state", x=copy, n=n, shift=shift, out=x)
    return x, copy


def fraction_bits(fmt: Format) -> int:
    """f of a scale of 2^-f."""
    return round(-math.log2(fmt.scale))


def _coefficients(low: Lowering, op: Leaky, bits: int) -> dict[str, str | int]:
    """decay, gain and how they are applied; records the numbers that they stand for.

    With the time as an argument they are those of the time that dt << norm = 2^32 would stand for.
    """
    time: dict[str, str | int] = {}
    dt = low.graph.time / op.steps
    if low.time is not None:
        norm = INT32_MAX.bit_length() - low.time.hi.bit_length()
        time = {"dt": "dt", "norm": norm}
        dt = 2.0 ** (32 - norm - low.time.frac) / op.steps
    decay, gain = dt * op.alpha * 2.0**32, dt * op.beta * 2.0 ** (bits + 1)
    top = max(float(np.abs(decay).max()), float(np.abs(gain).max()), 1.0)
    up = max(0, math.ceil(math.log2((top + 1.0) / INT32_MAX)))
    assert up <= UP_MAX
    decay, gain = np.round(decay * 2.0**-up), np.round(gain * 2.0**-up)
    exact = low.exact.pop(f"{op.out}.W")
    assert isinstance(exact, Linear)
    low.exact[op.out] = replace(
        op, weight=exact.weight, alpha=decay * 2.0 ** (up - 32) / dt, beta=gain * 2.0 ** (up - 1 - bits) / dt
    )
    name, unit = identifier(op.out), "dt" if low.time is None else "2^32 units of dt"
    return time | {
        "up": up,
        "decay": low.constant(f"{name}_decay", "int32", decay, note=f"{unit} times alpha, Q{32 - up}"),
        "gain": low.constant(f"{name}_gain", "int32", gain, note=f"{unit} times beta in units of the state"),
    }


def _deliver(low: Lowering, op: Leaky, copy: str, fmt: Format) -> None:
    """The last copy is the result, where its readers take it as it is."""
    have = low.formats.get(op.out)
    if op.out != low.graph.result and have in (None, fmt):
        low.names[op.out], low.formats[op.out] = copy, fmt
        return
    n = len(op.alpha)
    finish(low, op.out, op.src, copy, np.full(n, fmt.scale), np.zeros(n))


def _warn(low: Lowering, op: Leaky) -> None:
    unbounded = np.flatnonzero(op.alpha <= 0.0)
    if len(unbounded):
        low.warnings.append(
            f"layer '{op.src}': alpha <= 0 in neuron {', '.join(map(str, unbounded[:8]))}: "
            "no bound of the state is proved, it saturates at twice what calibration saw"
        )
