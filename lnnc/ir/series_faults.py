"""What can be wrong with the ops of `ir/series.py`: shapes, sizes and numbers."""

from __future__ import annotations

from collections.abc import Mapping

from lnnc.ir.series import (
    EXPERTS,
    PENDING,
    TERMS,
    Clamp,
    Collect,
    Count,
    Gated,
    History,
    Polynomial,
    Robust,
    SeriesOp,
    Slide,
    Spread,
    Trust,
)

BLOCK_MAX = 15  # values of which a kernel finds the median
SPREADS_MAX = 64
LENGTH_MAX = 4096  # of a block, a history or a forecast
STEPS_MAX = 1000
COUNT_MAX = 1500
RIVALS = 5  # terms of a line and of a parabola
SLIDE_MAX = 16  # values that a sliding layer looks at


def series_shapes(op: SeriesOp, sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """The shape that each array of an op must have."""
    match op:
        case Gated():
            n, steps = op.gate_bias.size, max(op.steps, 1)
            matrix = (n, sizes[op.x] // steps + n)
            return {"gate": matrix, "candidate": matrix, "gate_bias": (n,), "candidate_bias": (n,)}
        case Slide():
            shape = op.weight.shape if op.weight.ndim == 2 and op.weight.size else (1, 1)
            return {"weight": shape, "bias": (shape[0],)}
        case Trust():
            return {"middle": (PENDING,), "basis": (PENDING, TERMS), "prior": (EXPERTS,)}
    return {}


def series_faults(op: SeriesOp, sizes: Mapping[str, int]) -> list[str]:
    """What is wrong with the numbers of an op and the sizes of what it reads."""
    match op:
        case Collect() | History() | Polynomial() if not 1 <= op.length <= LENGTH_MAX:
            return [f"length: expected 1 ... {LENGTH_MAX}, found {op.length}"]
        case History() if sizes[op.x] > op.length:
            return [f"length {op.length} is less than the {sizes[op.x]} values that come in a step"]
        case Polynomial() if sizes[op.anchor] != 1 or sizes[op.x] != TERMS or op.length < 3:
            return [f"expected {TERMS} coefficients, one anchor and a length of at least 3"]
        case Slide() if (
            op.weight.shape[1] > SLIDE_MAX or not 1 <= op.hop <= LENGTH_MAX or not 1 <= op.count <= STEPS_MAX
        ):
            return [f"expected at most {SLIDE_MAX} columns, a hop and a count of at least 1"]
        case Spread() | Robust():
            return _block_faults(op, sizes)
        case Count() if not (op.step > 0 and op.limit > 0 and _whole(op.limit / op.step) and op.limit / op.step < 1501):
            return [f"limit: expected a whole multiple of step, at most {COUNT_MAX}; found {op.limit} and {op.step}"]
        case Clamp() if not op.limit > 0:
            return [f"limit: expected a number above 0, found {op.limit}"]
        case Gated() if not 1 <= op.steps <= STEPS_MAX or sizes[op.x] % op.steps:
            return [f"steps: expected 1 ... {STEPS_MAX}, a divisor of the {sizes[op.x]} values of '{op.x}'"]
        case Trust():
            return _trust_faults(op, sizes)
    return []


def _whole(value: float) -> bool:
    return abs(value - round(value)) < 1e-6


def _block_faults(op: Spread | Robust, sizes: Mapping[str, int]) -> list[str]:
    if op.length % 2 == 0 or not 1 <= op.length <= BLOCK_MAX:
        return [f"length: expected an odd number of 1 ... {BLOCK_MAX}, found {op.length}"]
    if sizes[op.x] % op.length:
        return [f"'{op.x}' has {sizes[op.x]} values, which is no multiple of length {op.length}"]
    if isinstance(op, Robust) and not (1 <= op.factor <= 100 and sizes[op.spreads] <= SPREADS_MAX):
        return [f"expected a factor of 1 ... 100 and at most {SPREADS_MAX} spreads"]
    return []


def _trust_faults(op: Trust, sizes: Mapping[str, int]) -> list[str]:
    wanted = {op.network: TERMS, op.rivals: RIVALS, op.anchor: 1, op.slope: 1, op.level: 1}
    found = [
        f"'{name}' has {sizes[name]} values, expected {size}" for name, size in wanted.items() if sizes[name] != size
    ]
    whole = 1 <= op.most <= 16 and _whole(op.most)
    if not (op.unit > 0 and 0 < op.keep < 1 and op.floor > 0 and whole and 0 < op.rate < 0.5):
        found.append("expected unit > 0, 0 < keep < 1, floor > 0, most a whole number of 1 ... 16, 0 < rate < 0.5")
    return found
