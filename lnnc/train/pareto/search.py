"""What a study searches, what its trials say, and which of them count: all that needs no Optuna."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lnnc.train.pareto.front import OBJECTIVES, Candidate, Measured
from lnnc.train.pareto.space import Space, grid, params_key, space_plain

DONE, RUNNING, WAITING = "done", "running", "waiting"
FAULT, LOST, INTERRUPTED, SURPLUS = "fault", "lost", "interrupted", "surplus"  # why a trial failed
METHODS = ("nsga2", "grid")
Measure = Callable[[Mapping[str, Any]], Measured]
Tick = Callable[[int, int], None]  # (trials done, trials in all)


@dataclass(frozen=True)
class Search:
    """What is searched, the same for every worker of a study.

    Attributes:
        trials: how many to measure, over all workers; for a grid the number of its combinations.
        method: "nsga2" (Deb, Pratap, Agarwal & Meyarivan 2002) or "grid".
        problem: digest of the data and of everything else that the measuring depends on.
        beat: seconds between two renewals of a lease; grace: seconds without one until a trial counts as lost.
        retries: how often a lost trial is tried again.
    """

    name: str
    space: Space
    trials: int
    method: str = "nsga2"
    objectives: tuple[str, ...] = OBJECTIVES
    seed: int = 0
    population: int = 16
    problem: str = ""
    beat: float = 5.0
    grace: float = 60.0
    retries: int = 2

    def identity(self) -> dict[str, Any]:
        """What the workers of one study must have in common."""
        return {
            "space": space_plain(self.space), "method": self.method, "objectives": list(self.objectives),
            "problem": self.problem,
        }  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """A trial as it stands: DONE, RUNNING, WAITING, or why it failed: FAULT, LOST, INTERRUPTED, SURPLUS."""

    number: int
    state: str
    params: Mapping[str, Any]
    measured: Measured | None = None
    why: str = ""


def whole(search: Search) -> Search:
    """The search with the number of trials that a grid has."""
    return replace(search, trials=sum(1 for _ in grid(search.space))) if search.method == "grid" else search


def spent(trials: Sequence[Trial]) -> int:
    """How many of the trials that were asked for are behind us."""
    return sum(trial.state in (DONE, FAULT) for trial in trials)


def is_surplus(search: Search, number: int, params: Mapping[str, Any], trials: Sequence[Trial]) -> bool:
    """Whether this trial is one too many: enough count before it, or, in a grid, one of them has its parameters."""
    before = [trial for trial in trials if trial.number < number and trial.state in (DONE, FAULT, RUNNING)]
    twice = search.method == "grid" and any(params_key(t.params) == params_key(params) for t in before)
    return twice or len(before) >= search.trials


def missing_points(search: Search, trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """The combinations of a grid that have to be queued: those that no trial ever stood for; and once nothing waits or
    runs, those that no trial finished, for a worker may have died between giving one up and queueing it again.
    """
    if search.method != "grid":
        return []
    idle = not any(trial.state in (RUNNING, WAITING) for trial in trials)
    known = {params_key(trial.params) for trial in trials if not idle or trial.state in (DONE, FAULT)}
    return [point for point in grid(search.space) if params_key(point) not in known]


def has_work(search: Search, trials: Sequence[Trial]) -> bool:
    """Whether a worker should ask for a trial now; in a grid only for one that waits."""
    waits = search.method != "grid" or any(trial.state == WAITING for trial in trials)
    return waits and sum(trial.state in (DONE, FAULT, RUNNING) for trial in trials) < search.trials


def times_lost(params: Mapping[str, Any], trials: Sequence[Trial]) -> int:
    """How often a worker died over these parameters."""
    key = params_key(params)
    return sum(trial.state == LOST and params_key(trial.params) == key for trial in trials)


def known_result(params: Mapping[str, Any], trials: Sequence[Trial]) -> Measured | None:
    """What the same parameters gave before: measuring them again would give the same."""
    key = params_key(params)
    return next((t.measured for t in trials if t.measured is not None and params_key(t.params) == key), None)


def candidates_of(trials: Sequence[Trial], stage: str = "search") -> tuple[Candidate, ...]:
    """Every combination of parameters that was measured, once, named by its first trial."""
    first: dict[str, Candidate] = {}
    for trial in trials:
        if trial.measured is not None:
            name = f"{stage}-{trial.number:03d}"
            first.setdefault(params_key(trial.params), Candidate(name, stage, trial.measured, dict(trial.params)))
    return tuple(first.values())
