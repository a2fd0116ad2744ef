"""Choosing one candidate: by budget, at the knee of the front, or by weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lnnc.errors import LnncError
from lnnc.ir.graph import Array
from lnnc.train.pareto.front import OBJECTIVES, UNITS, Candidate, front, normalised

RULES = ("error", "knee", "weights")


@dataclass(frozen=True)
class Limits:
    """The most that the chosen model may cost; None: no limit."""

    flash: int | None = None
    ram: int | None = None
    cycles: int | None = None
    error: float | None = None

    def items(self) -> list[tuple[str, float]]:
        """The limits that there are, by objective."""
        return [(name, limit) for name in OBJECTIVES if (limit := getattr(self, name)) is not None]


@dataclass(frozen=True)
class Choice:
    """The chosen candidate and why it is the one, in a sentence."""

    candidate: Candidate
    why: str


def select(
    candidates: Sequence[Candidate], limits: Limits | None = None, rule: str = "error", *,
    cost: str = "flash", weights: Mapping[str, float] | None = None,
) -> Choice:  # fmt: skip
    """The candidate that fits the limits and is the best of those by a rule.

    Args:
        rule: "error": the smallest error, of equals the cheapest. "knee": `knee` of the front of error and `cost`.
            "weights": the smallest weighted sum of the objectives, each scaled to 0 ... 1 over the front.

    Raises:
        LnncError: no candidate fits; the message names the nearest. Weights that make no sense.
    """
    chosen = weights_of(weights) if rule == "weights" else {}
    inside = fitting(candidates, limits or Limits())
    among = f"of {len(inside)} candidates" + (f" that fit {_limits_text(limits)}" if limits and limits.items() else "")
    if rule == "knee":
        return Choice(knee(inside, cost), f"knee of error against {cost} {among}")
    if rule == "weights":
        shown = ", ".join(f"{name} {weight:g}" for name, weight in chosen.items())
        return Choice(weighted(inside, chosen), f"smallest weighted sum ({shown}) {among}")
    assert rule == "error", rule
    return Choice(front(inside)[0], f"smallest error {among}")


def fitting(candidates: Sequence[Candidate], limits: Limits) -> tuple[Candidate, ...]:
    """The candidates within every limit.

    Raises:
        LnncError: there is none; the message names the nearest and what it would take.
    """
    usable = [candidate for candidate in candidates if np.isfinite(candidate.measured.error)]
    if not usable:
        raise LnncError("there is no candidate to choose from", "select", "run the stages before it")
    inside = tuple(candidate for candidate in usable if not excess(candidate, limits))
    if inside:
        return inside
    nearest = min(usable, key=lambda candidate: (_worst(candidate, limits), candidate.measured.costs()))
    over = excess(nearest, limits)
    parts = [f"{_amount(name, getattr(nearest.measured, name))}, {_plain(by)} too many" for name, by in over]
    raise LnncError(
        f"none of {len(usable)} candidates fits {_limits_text(limits)}; the nearest, '{nearest.name}' "
        f"(error {nearest.measured.error:.6g}), takes {'; '.join(parts)}",
        "select",
        "allow " + ", ".join(f"--max-{name} {_plain(getattr(nearest.measured, name))}" for name, _ in over)
        + ", or search smaller models",
    )  # fmt: skip


def excess(candidate: Candidate, limits: Limits) -> list[tuple[str, float]]:
    """By how much a candidate is over each limit that it is over."""
    found = [(name, getattr(candidate.measured, name) - limit) for name, limit in limits.items()]
    return [(name, by) for name, by in found if by > 0]


def _worst(candidate: Candidate, limits: Limits) -> float:
    """Largest value / limit."""
    return max(float(getattr(candidate.measured, name)) / limit for name, limit in limits.items())


def knee(candidates: Sequence[Candidate], cost: str = "flash") -> Candidate:
    """The point of the front of (error, cost) that lies farthest below the chord between its ends.

    With both axes scaled to 0 ... 1 the chord is x + y = 1 and the depth is (1 - x - y) / sqrt(2). A front of one or
    two points has no knee: the one of smaller error is taken.

    Source: Branke, Deb, Dierolf & Osswald, "Finding knees in multi-objective optimization", PPSN 2004.
    """
    points = front(candidates, ("error", cost))
    scaled = normalised(_costs(points, ("error", cost)))
    return points[int(np.argmin(np.round(scaled.sum(axis=1), 12)))]


def weighted(candidates: Sequence[Candidate], weights: Mapping[str, float]) -> Candidate:
    """The smallest weighted sum of the objectives that have a weight, each scaled to 0 ... 1 over their front."""
    names = tuple(weights)
    points = front(candidates, names)
    sums = normalised(_costs(points, names)) @ np.array([weights[name] for name in names])
    return points[int(np.argmin(np.round(sums, 12)))]


def weights_of(weights: Mapping[str, float] | None) -> dict[str, float]:
    """The weights above 0, by objective.

    Raises:
        LnncError: an unknown objective, a negative weight, or none above 0.
    """
    given = dict(weights or {})
    bad = [f"{name}={value:g}" for name, value in given.items() if name not in OBJECTIVES or not 0 <= value < np.inf]
    kept = {name: float(given[name]) for name in OBJECTIVES if given.get(name, 0.0) > 0.0}
    if bad or not kept:
        expected = f"expected weights of at least 0 for {', '.join(OBJECTIVES)}, one of them above 0"
        raise LnncError(f"{expected}, found {', '.join(bad) or 'none'}", "--weights", "--weights error=1,flash=0.5")
    return kept


def _costs(points: Sequence[Candidate], names: Sequence[str]) -> Array:
    return np.array([point.measured.costs(names) for point in points])


def _limits_text(limits: Limits) -> str:
    return " ".join(f"--max-{name} {_plain(limit)}" for name, limit in limits.items())


def _plain(value: float) -> str:
    return f"{int(value)}" if float(value).is_integer() else f"{value:.6g}"


def _amount(name: str, value: float) -> str:
    return f"{value:.6g} of error" if name == "error" else f"{value:,.0f}{UNITS[name]}"
