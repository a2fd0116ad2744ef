"""Candidates that were measured, and which of them nothing beats: Pareto fronts in NumPy alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lnnc.ir.graph import Array

OBJECTIVES = ("error", "flash", "ram", "cycles")  # less is better in each
UNITS = {"error": "", "flash": " bytes of flash", "ram": " bytes of RAM", "cycles": " cycles"}


@dataclass(frozen=True)
class Measured:
    """What a compiled model is worth, measured on the real thing.

    Attributes:
        error: mean absolute error of the integer path, in units of the target.
        flash: bytes of code and tables on the target.
        ram: bytes of state, scratch and ports, without stack.
        cycles: modelled cycles of the worst step.
        more: what else was measured, e.g. the float network's error, parameters.
    """

    error: float
    flash: int
    ram: int
    cycles: int
    more: Mapping[str, float] = field(default_factory=dict)

    def costs(self, objectives: Sequence[str] = OBJECTIVES) -> tuple[float, ...]:
        """The objectives as numbers, less is better."""
        return tuple(float(getattr(self, name)) for name in objectives)


@dataclass(frozen=True)
class Candidate:
    """A model that could be chosen.

    Attributes:
        name: unique among the candidates.
        stage: what made it: "distil", "scratch", "prune", "recover", "search", "rival" ...
        params: what it was made with.
        model: its file, relative to the file of candidates; "" where it was not kept.
    """

    name: str
    stage: str
    measured: Measured
    params: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""


def front_mask(costs: Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which rows no other row dominates; of equal rows the first. A row that is not finite is never on the front.

    Row a dominates b if a <= b in every column and a < b in one. In lexicographic order a row can only be dominated by
    one before it, and if so then by one that is on the front itself.

    Args:
        costs: (N, M), less is better.

    Source: Kung, Luccio & Preparata, "On finding the maxima of a set of vectors", JACM 22, 1975.
    """
    kept: list[int] = []
    for row in np.lexsort(costs.T[::-1]):
        finite = np.isfinite(costs[row]).all()
        if finite and not (costs[kept] <= costs[row]).all(axis=1).any():
            kept.append(int(row))
    mask = np.zeros(len(costs), bool)
    mask[kept] = True
    return mask


def front(candidates: Sequence[Candidate], objectives: Sequence[str] = OBJECTIVES) -> tuple[Candidate, ...]:
    """The candidates that none of the others beats, deduplicated, from the smallest error up."""
    if not candidates:
        return ()
    costs = np.array([candidate.measured.costs(objectives) for candidate in candidates])
    kept = [candidate for candidate, best in zip(candidates, front_mask(costs), strict=True) if best]
    return tuple(sorted(kept, key=lambda candidate: candidate.measured.costs(objectives)))


def fronts(candidates: Sequence[Candidate], objectives: Sequence[str] = OBJECTIVES) -> dict[str, tuple[Candidate, ...]]:
    """The front of each stage alone, in the order in which the stages appear, and "all" of them together."""
    stages = dict.fromkeys(candidate.stage for candidate in candidates)
    table = {stage: front([c for c in candidates if c.stage == stage], objectives) for stage in stages}
    return {**table, "all": front(candidates, objectives)}


def normalised(costs: Array) -> Array:
    """Each column scaled to 0 ... 1 over its rows; a column of equal values is 0."""
    low, high = costs.min(axis=0), costs.max(axis=0)
    scaled: Array = (costs - low) / np.where(high > low, high - low, 1.0)
    return scaled
