"""The reproduction as one column of calls: what to read first, the time it takes, the stages, the table."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from lnnc.train.dlnet.anchored import anchored_students
from lnnc.train.dlnet.data import Material, naive_errors
from lnnc.train.dlnet.experiment import reproduce, students, teachers
from lnnc.train.dlnet.measure import record_of
from lnnc.train.dlnet.networks import Shape, build, student_shape
from lnnc.train.dlnet.plan import QUICK, Bench, Plan, Record
from lnnc.train.dlnet.shelf import TOGETHER, Shelf
from lnnc.train.dlnet.stack import Lesson, Stack, stack_loss
from lnnc.train.dlnet.table import table, writer
from lnnc.train.dlnet.text import anchored_text, disclosure, findings, published
from lnnc.train.learn.distill import ALONE, Distillation, Examples
from lnnc.train.learn.loop import Schedule, fit

_TRIED, _WARM = 6, 2  # steps that the estimate is taken from, and those before them
Say = Callable[[str], None]


@dataclass(frozen=True)
class Sources:
    """Where the networks and the CSV go, and where the published files are, if they are."""

    folder: Path
    published: Path | None = None


def plan_of(seeds: int, quick: bool) -> Plan:
    """The whole experiment with so many seeds, or the quick one with one."""
    return QUICK if quick else replace(Plan(), seeds=tuple(range(seeds)))


def run(material: Material, sources: Sources, seeds: int, quick: bool, say: Say) -> list[Record]:
    """Print everything; the records of all networks.

    Raises:
        LnncError: a folder that cannot be made or written, a published file that cannot be read, a failed training.
    """
    bench = Bench(material, plan_of(seeds, quick), Shelf(sources.folder), show=True)
    naive, path = naive_errors(material.segments), sources.folder / "dlnet.csv"
    write = writer(path, naive)
    say(disclosure(bench, naive) + "\n")
    if sources.published is not None:
        say(published(sources.published, material) + "\n")
    say(f"{'quick: far too little training to mean anything; ' if quick else ''}{expected(bench)}\n")
    anchored = anchored_students(bench)
    first = [record_of(kept) for kept in anchored]
    records = [*reproduce(bench, lambda found: write([*found, *first])), *first]
    write(records)
    say(f"{table(records)}\n")
    say(f"{findings(bench, students(bench, teachers(bench)))}\n")
    say(f"{anchored_text(anchored, records)}\n")
    say("published: of the published file, on its 16 segments; in brackets what the paper says")
    say(f"errors: mean |error| of SOH on {len(material.segments)} segments, mean ± half the range over the seeds")
    say(f"{path}: {len(records)} lines of networks, then the forecasts without one")
    return records


def expected(bench: Bench) -> str:
    """The estimate, from a few steps of a teacher stack and of a student stack."""
    teacher = _second([build(Shape(), 0)] * len(bench.plan.seeds), bench)
    student = _second([build(student_shape(16), 0)] * TOGETHER, bench)
    seconds = estimate(bench.plan, teacher, student, bench.recovery_steps)
    said = f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"
    return f"about {said} from nothing, on one thread; what is there already is not trained again"


def estimate(plan: Plan, teacher_second: float, student_second: float, recovery_steps: int) -> float:
    """Seconds of the whole reproduction, from those of one step of a teacher stack and of a stack of students.

    About six of the students are pruned, to decoders of half the size, which costs about 0.7.
    """
    seeds = len(plan.seeds)
    students = len(plan.widths) * (len(plan.losses) + 1) * seeds
    cut = min(6, len(plan.widths) * len(plan.losses)) * len(plan.percents) * seeds
    steps = students * plan.student_steps + 0.7 * cut * (plan.student_steps + 2 * recovery_steps)
    return plan.teacher_steps * teacher_second + steps / TOGETHER * student_second


def _second(models: list[torch.nn.Module], bench: Bench) -> float:
    """Of one step of such a stack."""
    split = next(iter(bench.splits.values()))
    lesson = Lesson(Examples(split.inputs, split.truth, split.truth), Distillation() if len(models) > 1 else ALONE, 0)
    stack = Stack(models)  # type: ignore[arg-type]
    loss = stack_loss([lesson] * len(models), _TRIED, bench.plan.batch)
    fit(stack, loss, Schedule(_WARM, 1e-4, batch=bench.plan.batch))
    start = time.perf_counter()
    fit(stack, loss, Schedule(_TRIED, 1e-4, batch=bench.plan.batch))
    return (time.perf_counter() - start) / _TRIED
