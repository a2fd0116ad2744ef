"""Formats of a liquid time-constant cell: the scale of each neuron, and how a step divides."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lnnc.errors import LnncError
from lnnc.ir.graph import Array, Indices, Ltc, Synapses
from lnnc.kernels.fixed import A_MAX, INT32_MAX
from lnnc.kernels.ltc import BITS_MAX, MORE_MAX, SHIFT_MAX, SHIFT_MIN
from lnnc.kernels.synapse import GATE_ONE
from lnnc.quantize.context import Lowering
from lnnc.quantize.lower_argument import time_ends
from lnnc.quantize.ltc_bounds import conductance_ends

FULL = 15  # an int16 state in Q(frac) has the full scale 2^(15 - frac)
ROOM = (INT32_MAX - 1) / GATE_ONE  # what |weights| of one neuron may sum to, its leak included
SPLITS = np.arange(1, 64) / 64.0  # parts of the room that leak and sensory synapses may take
LEAST = 1e-12  # conductances below it count as none
TOP = 28.9  # log2 of the largest divisor, where all its bits come from one division
SPREAD_MAX = 44.0  # log2 of the largest scale of a neuron that hardly anything flows into
GOALS = ((11, 10), (10, 9), (9, 8), (8, 7), (7, 6), (5, 4), (3, 2), (1, 0))  # (bits of a divisor, least bits of v)


@dataclass(frozen=True, eq=False)
class CellFormat:
    """Integers of a cell's neurons.

    Attributes:
        frac: fraction bits of the int16 state; the full scale is 2^(15 - frac).
        bits: further bits of the int32 state.
        scale: S 2^15 of each neuron, the unit of its sums: conductance G is G S 2^15.
        shift: by how much each neuron's conductance is shifted before it divides.
    """

    frac: int
    bits: int
    scale: Array
    shift: Indices

    @property
    def full(self) -> float:
        return 2.0 ** (FULL - self.frac)


def cell_format(low: Lowering, op: Ltc, frac: int) -> CellFormat:
    """Scales as large as the sums allow, then the most bits of state with which every divisor is precise.

    Raises:
        LnncError: a denominator comes too close to 0.
    """
    full = 2.0 ** (FULL - frac)
    shortest, longest = (op.capacitance * op.unfolds / t for t in time_ends(low))
    scale = np.minimum(_sum_scales(op, full), 2.0**SPREAD_MAX / np.maximum(shortest, 1e-30))
    if op.explicit:
        return CellFormat(frac, BITS_MAX, scale, np.zeros(len(scale), np.int64))
    least, most = conductance_ends(op)
    small, large = np.log2(scale * (longest + least)), np.log2(scale * (shortest + most))
    for wanted, goal in GOALS:
        for bits in range(BITS_MAX, goal - 1, -1):
            shift = _shifts(large, bits)
            if (small - shift >= wanted).all() and (shift <= min(SHIFT_MAX, bits + 16)).all():
                return CellFormat(frac, bits, scale, shift)
    i = int(np.argmin(small - large))
    raise LnncError(
        f"layer '{op.src}', neuron {i}: the denominator of its step is anything from {longest[i] + least[i]:.3g} to "
        f"{shortest[i] + most[i]:.3g}, too much for 32 bits",
        low.builder.where, "a narrower range of times (--runtime-dt), or conductances trained to be >= 0",
    )  # fmt: skip


def _shifts(large: Array, bits: int) -> Indices:
    """The least shift of each neuron that leaves its divisor below 2^(TOP - more), more = bits + 16 - shift."""
    shift = np.ceil((large + bits + 16 - TOP) / 2.0)
    return np.maximum(shift, max(SHIFT_MIN, bits + 16 - MORE_MAX)).astype(np.int64)


def _sum_scales(op: Ltc, full: float) -> Array:
    """S 2^15 of each neuron: no weight beyond int16, no sum beyond int32.

    Leak and sensory synapses together take a part of the room, recurrent ones the rest: the same part for all
    neurons, since the proof of a kernel knows one range for all of them. It is the part that leaves most bits overall.
    """
    first = _needs(op.sensory, op.leak, op.leak_current, full)
    second = _needs(op.recurrent, np.zeros_like(op.leak), np.zeros_like(op.leak), full)
    single = np.maximum(_largest(op.sensory, len(op.leak), full), _largest(op.recurrent, len(op.leak), full))
    splits = SPLITS if len(op.recurrent.post) else np.ones(1)
    choices = [
        np.minimum.reduce([_scale(first, split * ROOM), _scale(second, (1.0 - split) * ROOM), A_MAX / single])
        for split in splits
    ]
    best = max(choices, key=lambda scale: float(np.log2(scale).sum()))
    return np.asarray(best * GATE_ONE)


def _scale(needs: tuple[Array, Array], room: float) -> Array:
    """S with which `size` fits the room, each of `count` weights half a unit larger; no limit where nothing flows."""
    size, count = needs
    return np.where(size > LEAST, np.maximum(room - 0.5 * count - 1.0, LEAST) / size, np.inf)


def _needs(synapses: Synapses, leak: Array, leak_current: Array, full: float) -> tuple[Array, Array]:
    """(the larger of the sums of |conductance| and |current|, synapses) of each neuron."""
    n = len(leak)
    total = np.abs(leak) + np.bincount(synapses.post, np.abs(synapses.conductance), n)
    driven = np.abs(leak_current) + np.bincount(synapses.post, np.abs(synapses.current), n)
    return np.maximum(np.maximum(total, driven / full), LEAST), np.bincount(synapses.post, minlength=n).astype(float)


def _largest(synapses: Synapses, n: int, full: float) -> Array:
    found = np.full(n, LEAST)
    np.maximum.at(found, synapses.post, np.maximum(np.abs(synapses.conductance), np.abs(synapses.current) / full))
    return found


def octaves(value: float) -> int:
    """floor(log2(value)), value > 0."""
    return math.frexp(value)[1] - 1
