"""Sets of models trained and measured one by one or several at a time; what is there already is not made again.

In the folder of a stage: models/<name>.npz the weights, models/<name>.json what was measured, models/<name>-errors.npz
the errors of each sequence, models/<name>.training.pt the state of a training that is not finished.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lnnc.errors import LnncError
from lnnc.files import readable, write_atomically
from lnnc.ir.graph import Array
from lnnc.quantize.context import Options
from lnnc.train.pareto.candidates import write_candidates
from lnnc.train.pareto.front import OBJECTIVES, Candidate, Measured, front
from lnnc.train.pareto.pool import run_jobs
from lnnc.train.pipeline.measure import Errors, Making, measure_set
from lnnc.train.pipeline.problem import Lesson, Problem, Spec, Trained, load_trained, save_trained
from lnnc.train.pipeline.stages import Workspace

MODELS = "models"
CANDIDATES = "candidates.csv"


@dataclass(frozen=True)
class Member:
    """A set to make and to measure.

    Attributes:
        name: unique in its folder; its files are named so.
        stage: as `Candidate.stage`; a candidate is named "<stage>-<name>".
        teacher, start: files of sets; start: weights to go on from.
        fraction: of the neurons of `start` that leave first; 0: none.
        lesson: None: it is not trained, only cut.
        through: options of the integer program that `start` is trained through; None: an ordinary training.
    """

    name: str
    stage: str
    spec: Spec
    lesson: Lesson | None = None
    teacher: tuple[Path, ...] = ()
    start: Path | None = None
    fraction: float = 0.0
    more: Mapping[str, Any] | None = None
    through: Options | None = None


@dataclass(frozen=True)
class _Task:
    """A member with all that a worker needs."""

    problem: Problem
    member: Member
    folder: Path
    making: Making
    show: bool


def make_family(
    problem: Problem, members: Sequence[Member], work: Workspace, making: Making, processes: int,
    objectives: Sequence[str] = OBJECTIVES,
) -> tuple[Candidate, ...]:  # fmt: skip
    """Train and measure all, write the stage's candidates.csv; in the order of `members`.

    Raises:
        LnncError: a set that cannot be trained, compiled or measured.
    """
    folder = work.folder / MODELS
    folder.mkdir(exist_ok=True)
    tasks = [_Task(problem, member, folder, making, processes == 1) for member in members]
    found: dict[int, Candidate] = {}
    began = time.monotonic()
    for index, measured in run_jobs(_make, tasks, processes):
        member = members[index]
        file = f"{MODELS}/{member.name}.npz"
        params = {"model": member.spec.name, **(member.more or {})}
        name = f"{member.stage}-{member.name.removesuffix(f'-{member.stage}')}"
        found[index] = Candidate(name, member.stage, measured, params, file)
        left = (time.monotonic() - began) / len(found) * (len(members) - len(found))
        work.say(f"  {len(found)} of {len(members)}, about {left:.0f} s left: {line_of(found[index], problem.unit)}")
    candidates = tuple(found[index] for index in range(len(members)))
    write_candidates(candidates, work.folder / CANDIDATES, objectives)
    return candidates


def line_of(candidate: Candidate, unit: str = "") -> str:
    """A candidate in words."""
    m, unit = candidate.measured, f" {unit}" if unit and unit != "1" else ""
    return f"{candidate.name}: error {m.error:.6g}{unit}, flash {m.flash:,} B, RAM {m.ram:,} B, {m.cycles:,} cycles"


def summary_of(candidates: Sequence[Candidate], unit: str, objectives: Sequence[str] = OBJECTIVES) -> list[str]:
    """How many, and the ends of their front."""
    best = front(candidates, objectives)
    smallest = min(candidates, key=lambda c: (c.measured.flash, c.measured.error))
    lines = [f"{len(candidates)} candidates, {len(best)} on the front"]
    return [*lines, f"best {line_of(best[0], unit)}", f"smallest {line_of(smallest, unit)}"]


def _make(task: _Task) -> Measured:
    """Train if that was not done, measure if that was not done."""
    base = task.folder / task.member.name
    file, record = base.with_name(f"{base.name}.npz"), base.with_name(f"{base.name}.json")
    if not file.exists():
        save_trained(_trained(task, base.with_name(f"{base.name}.training.pt")), file)
    if not record.exists():
        measured, errors = measure_set(task.problem, load_trained(file), task.making)
        save_errors(errors, base.with_name(f"{base.name}-errors.npz"))
        save_measured(measured, record)
    return load_measured(record)


def _trained(task: _Task, state: Path) -> Trained:
    member = task.member
    start = None if member.start is None else load_trained(member.start)
    if start is not None and member.fraction:
        start = task.problem.prune(start, member.fraction)
    if member.lesson is None:
        assert start is not None
        return start
    spec = start.spec if start else member.spec
    lesson = replace(
        member.lesson, teacher=tuple(map(load_trained, member.teacher)), start=start, file=state, show=task.show,
        label=f"{member.stage} {member.name}",
    )  # fmt: skip
    if member.through is not None:
        assert start is not None
        return task.problem.finetune(start, lesson, member.through)
    trained = task.problem.train(spec, lesson)
    state.unlink(missing_ok=True)
    return trained


def save_measured(measured: Measured, path: Path) -> None:
    """As JSON, whole or not at all."""
    text = json.dumps({**vars(measured), "more": dict(measured.more)}, indent=1) + "\n"
    write_atomically(path, lambda temporary: _write(temporary, text))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def load_measured(path: Path) -> Measured:
    """What `save_measured` wrote.

    Raises:
        LnncError: it is no such file.
    """
    try:
        return Measured(**json.loads(readable(path, "run the pipeline again").read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise LnncError("it holds no measurement", str(path), "delete it, and run the pipeline again") from error


def save_errors(errors: Errors, path: Path) -> None:
    """Sequence -> (n, steps) as .npz, float32: they are drawn and compared, not computed with further."""
    arrays: dict[str, Any] = {name: each.astype(np.float32) for name, each in errors.items()}
    write_atomically(path, lambda temporary: np.savez(temporary, **arrays))


def load_errors(path: Path) -> Errors:
    """What `save_errors` wrote."""
    with np.load(readable(path, "run the pipeline again"), allow_pickle=False) as archive:
        return {name: _double(archive[name]) for name in archive.files}


def _double(values: Array) -> Array:
    return np.asarray(values, np.float64)
