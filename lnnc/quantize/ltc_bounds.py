"""Bounds of a liquid time-constant cell: what its conductances, denominators and states can reach, neuron by neuron.

Every gate lies in (0, 1); nothing is assumed of which gates are open together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lnnc.errors import LnncError
from lnnc.ir.graph import Array, Ltc, State
from lnnc.quantize.context import Lowering
from lnnc.quantize.formats import HEADROOM
from lnnc.quantize.lower_argument import time_ends

FARTHEST = 2.0**28  # a state beyond it has no int16 format
FAR = 4.0 * HEADROOM  # a proved bound beyond this many times what calibration saw costs more bits than it is worth


@dataclass(frozen=True, eq=False)
class Reach:
    """How far the states of a cell go.

    Attributes:
        bound: |v| of every neuron stays below it, or saturates there.
        proved: which neurons the equations bound (not all of `bound` comes from them if it is `calibrated`).
        calibrated: the bound is `HEADROOM` times what calibration saw.
    """

    bound: float
    proved: tuple[bool, ...]
    calibrated: bool


def arriving(op: Ltc, neuron: int) -> tuple[Array, Array]:
    """(conductances, currents) of all synapses of a neuron."""
    both = [(s, s.post == neuron) for s in (op.sensory, op.recurrent)]
    return (
        np.concatenate([s.conductance[here] for s, here in both]),
        np.concatenate([s.current[here] for s, here in both]),
    )


def conductance_ends(op: Ltc) -> tuple[Array, Array]:
    """Least and largest conductance of each neuron, its leak included, over all gates in [0, 1]: 2 x (n,)."""
    least, most = op.leak.copy(), op.leak.copy()
    for synapses in (op.sensory, op.recurrent):
        np.add.at(least, synapses.post, np.minimum(synapses.conductance, 0.0))
        np.add.at(most, synapses.post, np.maximum(synapses.conductance, 0.0))
    return least, most


def largest_ratio(current: Array, conductance: Array, leak_current: float, leak: float) -> float:
    """Largest (leak_current + sum s current) / (leak + sum s conductance) over gates s in [0, 1].

    A ratio of linear functions is largest at a corner; `leak + sum min(conductance, 0)` must be positive. The corner
    is found by repeated improvement (Dinkelbach 1967): with the best ratio r so far, open the gates whose current
    exceeds r times their conductance. With conductances >= 0 that opens them in the order of their reversal potentials.
    """
    best = leak_current / leak
    while True:
        opened = current > best * conductance
        ratio = (leak_current + current[opened].sum()) / (leak + conductance[opened].sum())
        if ratio <= best:
            return float(best)
        best = ratio


def equilibrium_ends(op: Ltc, neuron: int, least: float) -> tuple[float, float] | None:
    """Between which values I / G of a neuron lies, or None where nothing bounds it."""
    conductance, current = arriving(op, neuron)
    leak, leak_current = float(op.leak[neuron]), float(op.leak_current[neuron])
    if least > 0.0:
        high = largest_ratio(current, conductance, leak_current, leak)
        return -largest_ratio(-current, conductance, -leak_current, leak), high
    if least < 0.0 or leak_current != 0.0 or current[conductance == 0.0].any():
        return None
    live = conductance > 0.0  # no leak: a mean of the reversal potentials, or no change at all
    reversal = current[live] / conductance[live]
    return float(reversal.min(initial=0.0)), float(reversal.max(initial=0.0))


def check_cell(op: Ltc, longest: float, where: str) -> None:
    """Refuse what no arithmetic can step.

    Args:
        longest: the longest time of a step.

    Raises:
        LnncError: a capacitance or a denominator that is not positive, an unstable explicit step; with the neuron.
    """
    for i, capacitance in enumerate(op.capacitance):
        if not capacitance > 0.0:
            raise LnncError(
                f"layer '{op.src}', neuron {i}: expected a capacitance above 0, found {capacitance:.6g}",
                where, "check that the file is a trained cell (ncps: cm, after softplus if implicit; without implicit "
                "constraints apply_weight_constraints() after each training step)",
            )  # fmt: skip
    inertia = op.capacitance * op.unfolds / longest
    least, most = conductance_ends(op)
    (_check_explicit if op.explicit else _check_fused)(op, inertia, most if op.explicit else least, where)


def _check_fused(op: Ltc, inertia: Array, least: Array, where: str) -> None:
    i = int(np.argmin(inertia + least))
    if inertia[i] + least[i] > 0.0:
        return
    safe = op.capacitance[i] * op.unfolds / -least[i]
    raise LnncError(
        f"layer '{op.src}', neuron {i}: the denominator of its step can reach {inertia[i] + least[i]:.4g}; its "
        f"negative conductances sum to {least[i] - op.leak[i]:.4g}, its leak is {op.leak[i]:.4g}",
        where,
        f"a time below {safe:.4g} between two steps, more unfolds, or conductances trained to be >= 0",
    )  # fmt: skip


def _check_explicit(op: Ltc, inertia: Array, most: Array, where: str) -> None:
    i = int(np.argmax(most / inertia))
    if most[i] <= 2.0 * inertia[i]:
        return
    safe = 2.0 * op.capacitance[i] * op.unfolds / most[i]
    raise LnncError(
        f"layer '{op.src}', neuron {i}: the explicit step is unstable, D G / capacitance reaches "
        f"{most[i] / inertia[i]:.4g}, beyond 2",
        where, f"a time of at most {safe:.4g} between two steps, more unfolds, or the fused step",
    )  # fmt: skip


def reach_of(low: Lowering, op: Ltc) -> Reach:
    """How far the states go: the hull of start and I / G where a step is a mean of v and I / G, else calibration."""
    seen, start = low.stats[f"{op.out}.path"].absmax, _start(low, op)
    least, most = conductance_ends(op)
    inertia = op.capacitance * op.unfolds / time_ends(low)[1]
    proved, bound = [], start
    for i in range(len(op.leak)):
        ends = equilibrium_ends(op, i, float(least[i]))
        mean = ends is not None and not (op.explicit and most[i] > inertia[i])
        proved.append(mean)
        bound = max(bound, *map(abs, ends)) if mean and ends else bound
    if all(proved) and (bound <= FAR * seen or seen == 0.0):
        return Reach(bound, tuple(proved), False)
    if not seen < FARTHEST:
        raise LnncError(
            f"layer '{op.src}': its state reaches {seen:.3g} on the calibration inputs: it diverges", low.builder.where,
            "check the weights and the time between two steps against the training code",
        )  # fmt: skip
    return Reach(HEADROOM * seen or 1.0, tuple(proved), True)


def _start(low: Lowering, op: Ltc) -> float:
    """|v| at the start of a step that is not the cell's own doing."""
    maker = low.graph.producer(op.v)
    own = isinstance(maker, State) and maker.next == op.out
    return 0.0 if own else HEADROOM * low.stats[op.v].absmax


def warn_unbounded(low: Lowering, op: Ltc, reach: Reach) -> None:
    """Name the neurons whose state no equation bounds."""
    loose = [i for i, proved in enumerate(reach.proved) if not proved]
    if not loose:
        return
    names = ", ".join(map(str, loose[:12])) + (f" and {len(loose) - 12} more" if len(loose) > 12 else "")
    why = "negative conductances outweigh the leak, or a current has no conductance"
    if op.explicit:
        why = "the explicit step overshoots, or " + why
    low.warnings.append(
        f"layer '{op.src}', neuron {names}: nothing bounds the state ({why}); it saturates at {reach.bound:.4g}, "
        f"{HEADROOM:g} times what calibration saw"
    )
