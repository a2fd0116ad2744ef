"""Numbers of a liquid time-constant cell as integers, and the real numbers that those stand for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lnnc.ir.graph import Array, Indices, Ltc, Synapses
from lnnc.kernels.fixed import A_MAX, ARG_Q, INT32_MAX
from lnnc.kernels.synapse import GATE_ONE
from lnnc.quantize.context import Lowering
from lnnc.quantize.formats import Format
from lnnc.quantize.ltc_formats import FULL, CellFormat, octaves

FAR = 2.0**19  # beyond 8 in Q16 the table is at its end
GATE_SHIFT_MAX = 30
RATE_SHIFT_MAX = 46
RECIPROCAL_MAX = 60


@dataclass(frozen=True, eq=False)
class Inflow:
    """Synapses in integers, in the order of their neurons.

    Attributes:
        slope, offset, shift: of the gate's argument, (slope x + offset) >> shift.
        size: what the sums of conductance and current can reach, what they begin with included: (n, 2).
        exact: the synapses that the integers stand for.
    """

    pre: Indices
    slope: Array
    offset: Array
    shift: int
    conductance: Array
    current: Array
    count: Indices
    size: Array
    exact: Synapses


@dataclass(frozen=True, eq=False)
class Leaks:
    """What the sums begin with: (conductance, current) of each neuron, (n, 2), and the real numbers of these."""

    start: Array
    leak: Array
    leak_current: Array


@dataclass(frozen=True, eq=False)
class Times:
    """The numbers in which the time of a step enters.

    Attributes:
        table: inertia, or rate of an explicit step, of each neuron; where time is an argument, their multipliers.
        power: the reciprocal of time is 2^power / dt (only where time is an argument).
        shift: of the explicit step's rate.
        capacitance: what the integers stand for.
    """

    table: Array
    capacitance: Array
    power: int = 0
    shift: int = 0


def leaks_of(op: Ltc, cell: CellFormat) -> Leaks:
    """Leak and leak current in the unit of each neuron's sums."""
    leak, current = np.round(op.leak * cell.scale), np.round(op.leak_current / cell.full * cell.scale)
    return Leaks(np.stack([leak, current], axis=1), leak / cell.scale, current * cell.full / cell.scale)


def inflow_of(synapses: Synapses, cell: CellFormat, x: Format, size: Array) -> Inflow:
    """Synapses that read a tensor of format `x`. size: (n, 2), of what the sums begin with."""
    order = np.argsort(synapses.post, kind="stable")
    pre, post = synapses.pre[order], synapses.post[order]
    unit = cell.scale[post] / GATE_ONE
    conductance = np.round(synapses.conductance[order] * unit)
    current = np.round(synapses.current[order] / cell.full * unit)
    slope, offset, shift = _gate(synapses.slope[order], synapses.offset[order], x)
    half = 2.0 ** (shift - 1) if shift else 0.0
    step = 2.0 ** -(ARG_Q + shift - 1)  # of the sigmoid's argument
    exact = Synapses(
        pre, post, slope * step / x.scale, offset * step - slope * step / x.scale * x.center,
        conductance / unit, current * cell.full / unit,
    )  # fmt: skip
    n = len(size)
    total = [np.bincount(post, np.abs(weight), n) * GATE_ONE for weight in (conductance, current)]
    size = size + np.stack(total, axis=1)
    return Inflow(pre, slope, offset + half, shift, conductance, current, np.bincount(post, minlength=n), size, exact)


def _gate(slope: Array, offset: Array, x: Format) -> tuple[Array, Array, int]:
    """Integers of slope x + offset, halved, in Q(16 + shift), with the largest shift that fits.

    A slope with which the gate opens within a unit of x is cut, its middle kept; an offset that no x overcomes is cut.
    """
    reach = max(abs(x.lo), abs(x.hi))
    steep = slope * x.scale * 2.0 ** (ARG_Q - 1)
    base = (offset + slope * x.center) * 2.0 ** (ARG_Q - 1)
    part = np.minimum(1.0, A_MAX / np.maximum(np.abs(steep), 1e-30))
    steep, base = steep * part, base * part
    far = np.abs(steep) * reach + FAR
    base = np.clip(base, -far, far)
    for shift in range(GATE_SHIFT_MAX, 0, -1):
        a, c = np.round(steep * 2.0**shift), np.round(base * 2.0**shift)
        largest = (np.abs(a) * reach + np.abs(c) + 2.0**shift).max(initial=0.0)
        if np.abs(a).max(initial=0.0) <= A_MAX and largest <= INT32_MAX:
            return a, c, shift
    steep = np.round(steep)
    room = INT32_MAX - np.abs(steep) * reach
    return steep, np.asarray(np.round(np.clip(base, -room, room))), 0


def times_of(low: Lowering, op: Ltc, cell: CellFormat) -> Times:
    """How the step's time enters: the inertia of a fused step, the rate of an explicit one."""
    return (_explicit_times if op.explicit else _fused_times)(low, op, cell)


def _fused_times(low: Lowering, op: Ltc, cell: CellFormat) -> Times:
    """inertia = capacitance unfolds / T in units of the divisor; where T = dt 2^-frac varies, all but 1 / dt."""
    unit = cell.scale * 2.0**-cell.shift
    if low.time is None:
        inertia = np.maximum(np.round(op.capacitance * op.unfolds / low.graph.time * unit), 1.0)
        return Times(inertia, inertia / unit * low.graph.time / op.unfolds)
    power = min(RECIPROCAL_MAX, octaves(float(low.time.lo) * (INT32_MAX - 1)))
    gain = 2.0 ** (low.time.frac + 32 - power) * op.unfolds * unit
    mult = np.round(op.capacitance * gain)
    return Times(mult, mult / gain, power)


def _explicit_times(low: Lowering, op: Ltc, cell: CellFormat) -> Times:
    """rate = T / unfolds / capacitance in Q(shift) and units of (state / pull); where T varies, all but dt."""
    unit = 2.0 ** (FULL + 1 + cell.bits) / (op.unfolds * cell.scale)
    unit *= low.graph.time if low.time is None else 2.0 ** (32 - low.time.frac)
    rate = unit / op.capacitance
    shift = min(RATE_SHIFT_MAX, octaves(INT32_MAX / float(rate.max())))
    table = np.maximum(np.round(rate * 2.0**shift), 1.0)
    return Times(table, unit * 2.0**shift / table, 0, shift)
