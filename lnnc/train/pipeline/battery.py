"""The pipeline's problem for batteries: raw state of health in, the next 100 cycles out, all of it in the C."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from torch import nn

from lnnc.data import baselines as naive
from lnnc.data.linear import cross_fit
from lnnc.data.splits import Folds
from lnnc.data.windows import Batch
from lnnc.errors import LnncError
from lnnc.frontend.checkpoint import Checkpoint
from lnnc.ir.graph import Array
from lnnc.quantize.context import Options
from lnnc.train.learn.distill import ALONE
from lnnc.train.pipeline.finetune import finetune, life_material
from lnnc.train.pipeline.problem import Lesson, Spec, Trained, Weights
from lnnc.train.students.evaluate import batch_of
from lnnc.train.students.integer import run_rows
from lnnc.train.students.package import student_checkpoint
from lnnc.train.students.pruning import prune_student, widths
from lnnc.train.students.qat import StudentTwin
from lnnc.train.students.soh import Recipe, train_groups
from lnnc.train.students.student import RECURRENT, Student
from lnnc.train.students.taught import distill_students


@dataclass(frozen=True, eq=False)
class BatteryProblem:
    """See `problem.Problem`.

    Attributes:
        series: name -> (T,) state of health, one value per cycle.
        mode, gate: see `student.Student`.
        about: what a checkpoint says of the data: its digest, its licence.
    """

    series: Mapping[str, Array]
    split: Folds
    mode: str = "stream"
    gate: bool = True
    about: tuple[tuple[str, str], ...] = ()

    unit = "SOH"

    @cached_property
    def digest(self) -> str:
        parts = [list(self.about), self.split.groups, self.mode, self.gate]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def groups(self) -> list[tuple[str, ...]]:
        """The cells that each model of a set may learn from."""
        return [*(self.split.train(fold) for fold in range(len(self.split))), self.split.names]

    def scale(self) -> Array:
        return np.ones(1)

    # ---------------------------------------------------------------- training

    def train(self, spec: Spec, lesson: Lesson) -> Trained:
        recipe = Recipe(
            spec.kind, spec.units, self.mode, self.gate, schedule=lesson.schedule, **spec.more
        )  # fmt: skip
        if lesson.teacher or lesson.start:
            weights = [student.arrays for student in self._taught(recipe, lesson)]
        else:
            network, _ = train_groups(
                self.series, self.groups, recipe, checkpoint=lesson.file, label=lesson.label, show=lesson.show,
                about={"problem": self.digest},
            )  # fmt: skip
            weights = [network.arrays(member) for member in range(len(self.groups))]
        spent = lesson.start.steps if lesson.start else 0
        return Trained(spec, tuple(weights), spent + lesson.schedule.steps)

    def _taught(self, recipe: Recipe, lesson: Lesson) -> Sequence[Student]:
        """Students of their group's teachers. Those that only go on are their own, and do not listen to themselves."""
        members = range(len(self.groups))
        start = [self.student(lesson.start, i) for i in members] if lesson.start else []
        teachers = [[self.student(teacher, i) for teacher in lesson.teacher] or [start[i]] for i in members]
        how = lesson.distillation if lesson.teacher else replace(ALONE, truth=lesson.distillation.truth)
        return distill_students(
            self.series, self.groups, recipe, teachers, how, start=start, digest=self.digest, checkpoint=lesson.file,
            label=lesson.label, show=lesson.show,
        )  # fmt: skip

    def student(self, trained: Trained, member: int) -> Student:
        """One model of a set as `lnnc train` would have saved it."""
        spec = trained.spec
        recipe = Recipe(spec.kind, spec.units, self.mode, self.gate, **spec.more)
        told = (*self.about, ("steps", str(trained.steps)), ("cells", str(len(self.groups[member]))))
        return Student(
            spec.kind, self.mode, self.gate, recipe.sees, recipe.skip, trained.weights[member], told, recipe.hop
        )

    def prune(self, trained: Trained, fraction: float) -> Trained:
        if trained.spec.kind not in RECURRENT:
            raise LnncError(f"neurons of '{trained.spec.kind}' are not pruned", "pruning", "prune a cell")
        cut = [prune_student(self.student(trained, member), fraction) for member in range(len(trained.weights))]
        spec = replace(trained.spec, units=widths(cut[0]))
        return Trained(spec, tuple(student.arrays for student in cut), trained.steps)

    def finetune(self, trained: Trained, lesson: Lesson, options: Options) -> Trained:
        """Without the gate, which nothing is trained of; on lives from their first cycle, or on windows."""
        student = self.student(trained, 0)
        if (self.mode == "window" and not student.whole) or (self.mode == "stream" and student.kind not in RECURRENT):
            raise LnncError(f"'{trained.spec.kind}' is not trained through its program", "qat", "train a cell so")
        weights = [self._finetuned(trained, member, lesson, options) for member in range(len(trained.weights))]
        return Trained(trained.spec, tuple(weights), trained.steps + lesson.schedule.steps)

    def _finetuned(self, trained: Trained, member: int, lesson: Lesson, options: Options) -> Weights:
        twin = StudentTwin(self.student(trained, member))
        lives = [self.series[name] for name in self.groups[member]]

        def to_checkpoint(_: nn.Module) -> Checkpoint:
            return student_checkpoint(twin.now(), lives, trained.spec.name)

        finetune(
            twin, to_checkpoint, life_material(lives, self.mode), lesson.schedule, options,
            file=lesson.file and lesson.file.with_suffix(f".{member}{lesson.file.suffix}"), label=lesson.label,
            show=lesson.show, about={"problem": self.digest, "member": str(member)},
        )  # fmt: skip
        return twin.now().arrays

    # ---------------------------------------------------------------- compiled

    def checkpoint(self, trained: Trained, member: int) -> Checkpoint:
        lives = [self.series[name] for name in self.groups[member]]
        return student_checkpoint(self.student(trained, member), lives, trained.spec.name)

    def forecasts(
        self, checkpoint: Checkpoint, names: Sequence[str], options: Options, engine: str
    ) -> dict[str, Array]:
        rows = {name: self._rows[name] for name in names if name in self._rows}
        if not rows:
            return {}
        said = run_rows(
            checkpoint, self.series, self._batch, np.concatenate(list(rows.values())), self.mode, options, engine
        )
        parts = np.split(said, np.cumsum([len(own) for own in rows.values()])[:-1])
        return {name: values[..., None] for name, values in zip(rows, parts, strict=True)}

    # ---------------------------------------------------------------- truth and rivals

    @cached_property
    def _batch(self) -> Batch:
        return batch_of(self.series, self.mode)

    @cached_property
    def _rows(self) -> Rows:
        """Rows of the batch of each cell that has any, in the order of their origins."""
        cells = self._batch.cell
        return {self._batch.names[i]: np.flatnonzero(cells == i) for i in np.unique(cells).tolist()}

    def truth(self, name: str) -> Array:
        return self._batch.targets[self._rows[name]][..., None]

    def seen(self, name: str, origin: int, count: int) -> Array:
        end = int(self._batch.origin[self._rows[name]][origin])
        return self.series[name][max(0, end - count) : end, None]

    def place(self, name: str, origin: int) -> str:
        return f"{name} after cycle {int(self._batch.origin[self._rows[name]][origin])}"

    def baselines(self) -> dict[str, dict[str, Array]]:
        found = naive.forecasts(self._batch, cross_fit(self.series, self.split))
        return {
            label: {name: said[rows][..., None] for name, rows in self._rows.items()} for label, said in found.items()
        }


Rows = dict[str, np.ndarray[tuple[int], np.dtype[np.int64]]]
