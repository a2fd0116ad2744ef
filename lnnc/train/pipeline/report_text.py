"""report.md of a pipeline: the chosen model, naive forecasters, what teaching brought, the front, what was proved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lnnc.data.intervals import Interval, cell_bootstrap, paired_bootstrap
from lnnc.ir.graph import Array
from lnnc.train.pareto.front import OBJECTIVES, Candidate, front
from lnnc.train.pipeline.measure import Errors, mean_of
from lnnc.verify.check import Report


@dataclass(frozen=True, eq=False)
class Facts:
    """All that a report tells.

    Attributes:
        chosen: as `chosen.json` has it.
        target: processor and optimisation.
        errors, naive: of the chosen model and of every naive forecaster, at the same origins.
        pairs: (what, error, rival's error, paired difference) of students taught and from scratch.
    """

    name: str
    unit: str
    target: str
    chosen: Mapping[str, Any]
    errors: Errors
    naive: Mapping[str, Errors]
    candidates: Sequence[Candidate]
    pairs: Sequence[tuple[str, float, float, Interval]]
    reports: Sequence[Report]
    objectives: Sequence[str] = OBJECTIVES


def report_text(facts: Facts) -> str:
    """The whole report; the same facts give the same text."""
    parts = [_head(facts), _naive(facts), _taught(facts), _front(facts), _proved(facts)]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _head(facts: Facts) -> list[str]:
    chosen, measured = facts.chosen, facts.chosen["measured"]
    count = sum(map(len, facts.errors.values()))
    return [
        f"# {facts.name}: {chosen['name']}", "", f"Chosen for the {chosen['why']}.", "",
        f"Error {mean_of(facts.errors):.6g} {facts.unit} (float network {measured['more'].get('float_error', 0):.6g}):",
        f"mean |error| of the integer program over {count:,} forecasts of {len(facts.errors)} sequences,",
        "each by a model that never saw it. The model that is compiled was trained on all of them.", "",
        f"Flash {measured['flash']:,} B, RAM {measured['ram']:,} B, {measured['cycles']:,} modelled cycles of the",
        f"worst step ({facts.target}).",
    ]  # fmt: skip


def _naive(facts: Facts) -> list[str]:
    order = sorted(facts.naive, key=lambda name: mean_of(facts.naive[name]))
    head = ["| naive forecaster | error | 95 % | chosen minus it | 95 % |", "|---|---:|---:|---:|---:|"]
    rows = [_naive_row(name, facts.naive[name], facts.errors) for name in order]
    return [*head, *rows, "", "Intervals: bootstrap over sequences, differences paired."]


def _naive_row(name: str, each: Errors, errors: Errors) -> str:
    own, difference = cell_bootstrap(per_forecast(each)), paired_bootstrap(per_forecast(errors), per_forecast(each))
    return (
        f"| {name} | {own.mean:.6g} | {own.low:.6g} ... {own.high:.6g} | {difference.mean:+.6g} | "
        f"{difference.low:+.6g} ... {difference.high:+.6g} |"
    )


def per_forecast(errors: Errors) -> dict[str, Array]:
    """One error for each forecast of each sequence."""
    return {name: np.asarray(each.mean(axis=1)) for name, each in errors.items() if len(each)}


def _taught(facts: Facts) -> list[str]:
    if not facts.pairs:
        return []
    head = ["## Taught against from scratch in as many steps", "",
            "| student | taught | from scratch | difference | 95 % |", "|---|---:|---:|---:|---:|"]  # fmt: skip
    rows = [
        f"| {what} | {own:.6g} | {rival:.6g} | {d.mean:+.6g} | {d.low:+.6g} ... {d.high:+.6g} |"
        for what, own, rival, d in facts.pairs
    ]
    sure = sum(d.high < 0 for *_, d in facts.pairs)
    return [*head, *rows, "", f"Surely better when taught: {sure} of {len(facts.pairs)}."]


def _front(facts: Facts) -> list[str]:
    best = front(facts.candidates, facts.objectives)
    head = ["## Front", "", "| candidate | error | flash B | RAM B | cycles | parameters |",
            "|---|---:|---:|---:|---:|---:|"]  # fmt: skip
    return [*head, *map(_front_row, best), "", f"{len(best)} of {len(facts.candidates)} candidates."]


def _front_row(candidate: Candidate) -> str:
    m = candidate.measured
    parameters = m.more.get("parameters", 0)
    return f"| {candidate.name} | {m.error:.6g} | {m.flash:,} | {m.ram:,} | {m.cycles:,} | {parameters:,.0f} |"


def _proved(facts: Facts) -> list[str]:
    rows = [f"- {r.target}, {r.machine}: {r.vectors} vectors, {r.compared:,} bytes equal" for r in facts.reports]
    return ["## Proved equal to the integer reference", "", *rows]
