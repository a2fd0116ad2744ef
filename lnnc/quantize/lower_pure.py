"""Lowering of CfC's closed form without gates."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from lnnc.ir.graph import Array, Pure
from lnnc.kernels.fixed import A_MAX, ARG_Q, EXP_MAX, INT32_MAX
from lnnc.kernels.gates import PURE_MAX
from lnnc.quantize.context import Argument, Lowering, identifier
from lnnc.quantize.formats import HEADROOM, Format, wide
from lnnc.quantize.lower_argument import TimeFactor, take, time_ends, time_factor
from lnnc.quantize.produce import made_in, write

SHORT = 0.5  # a constant time below this stays out of x, which would lose bits that y = A - A x exp(...) needs
DT_BITS = 30


def pure_factor(low: Lowering) -> TimeFactor:
    """How x and the rate are scaled: by a constant T (then dt is 1), else by a power of two of at least 1."""
    if low.time is None and low.graph.time >= SHORT:
        return TimeFactor(low.graph.time, 1, 0)
    if low.time is None:
        bits = DT_BITS - 1 - math.floor(math.log2(low.graph.time))
        return TimeFactor(1.0, min(2**DT_BITS, round(low.graph.time * 2.0**bits)), bits)
    factor = time_factor(low)
    gain = max(1.0, factor.gain)
    return TimeFactor(gain, factor.dt, factor.shift + round(math.log2(gain / factor.gain)))


def pure_argument(low: Lowering) -> Argument:
    """What x becomes."""
    return Argument(pure_factor(low).gain, PURE_MAX)


def pure_bound(low: Lowering, op: Pure) -> Array:
    """Bound of |y| for each neuron: |A| (1 + max |x| exp(-T (rate + |x|))), where |x| exp(-T |x|) <= 1 / (e T)."""
    shortest = time_ends(low)[0]
    return np.asarray(np.abs(op.amplitude) * (1.0 + np.exp(-1.0 - shortest * op.rate) / shortest))


def pure_format(low: Lowering, op: Pure) -> tuple[Format, str]:
    """(format, rule in words): the proved bound, or twice what calibration saw.

    At least as coarse as the multipliers of the kernel need.
    """
    bound, seen = float(pure_bound(low, op).max()), HEADROOM * low.stats[op.out].absmax
    reach = min(bound, seen or bound)
    least = float(np.abs(op.amplitude).max()) / pure_factor(low).gain * 2.0 ** (_bits(low)[1] - 29.9)
    proved = f"|x| <= {bound:.4g}: |A| (1 + exp(-1 - T rate) / T)"
    rule = proved if reach == bound else f"calibration: {HEADROOM:g} times the largest value seen, saturating"
    return wide(max(reach, least * A_MAX)), rule


def _bits(low: Lowering) -> tuple[int, int]:
    """(limit, down): where the exponential is 0, and how far the product with it is shifted down to fit int32."""
    gain, shortest = pure_factor(low).gain, time_ends(low)[0]
    limit = min(PURE_MAX, math.ceil((EXP_MAX + 1) * gain / shortest))
    down = next(d for d in range(1, 32) if (limit << 15 >> d) + gain * 2.0 ** (31 - d) <= INT32_MAX - 2)
    return limit, down


def lower_pure(low: Lowering, op: Pure) -> None:
    """y = A / g (g - exp(-z) v) with v = g x and z = T / g (|v| + g rate), g the gain of `pure_factor`."""
    factor, name = pure_factor(low), identifier(op.out)
    fmt = made_in(low, op, pure_format(low, op)[0])
    x = take(low, op.x, pure_argument(low), op.src)
    limit, down = _bits(low)
    unit = 2.0 ** (31 - down) * factor.gain * fmt.scale
    mult = np.round(op.amplitude / unit * 2.0**32)
    rate = np.minimum(np.round(op.rate * factor.gain * 2.0**ARG_Q), PURE_MAX)
    low.exact[op.out] = replace(op, amplitude=mult * unit * 2.0**-32, rate=rate * 2.0**-ARG_Q / factor.gain)
    time: dict[str, str | int] = {"dt": factor.dt, "shift": factor.shift} if factor.shift else {}
    note = f"amplitude over {factor.gain:.6g}, in units of the result"
    write(
        low, op, "pure_dt_s16" if time else "pure_s16", "A - A exp(-T (rate + |x|)) x", fmt, x=x.name, up=x.up,
        rate=low.constant(f"{name}_rate", "int32", rate, note=f"{factor.gain:.6g} times the rate, Q{ARG_Q}"), **time,
        table=low.builder.exp(), limit=limit, down=down, one=round(factor.gain * 2.0 ** (31 - down)),
        mult=low.constant(f"{name}_mult", "int32", mult, note=note),
    )  # fmt: skip
