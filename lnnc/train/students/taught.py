"""Distillation of students over lives and windows: the losses of `material`, with a teacher's word beside the truth.

A teacher is another student, or several: its coefficients stand for a deviation from the same anchor line, so they are
a target like the truth. Each group of cells has teachers of its own, which must not have seen the group's test cells.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lnnc.data.windows import WINDOW, window_batch
from lnnc.errors import LnncError
from lnnc.ir.graph import Array
from lnnc.train.learn.distill import Distillation, distances
from lnnc.train.learn.loop import Loss, fit
from lnnc.train.students.inputs import INPUTS
from lnnc.train.students.material import (
    SPARSE,
    Drawn,
    Lives,
    Scaling,
    WholeLives,
    in_phases,
    pack,
    step_samples,
    window_samples,
)
from lnnc.train.students.models import networks
from lnnc.train.students.pruning import restored, widths
from lnnc.train.students.run import coefficients
from lnnc.train.students.signal import BASIS, BLOCK, Signal, observe
from lnnc.train.students.soh import Recipe
from lnnc.train.students.student import RECURRENT, Student

Teachers = Sequence[Sequence[Student]]  # for each group of cells one or more, whose mean teaches
_BASIS = torch.from_numpy(BASIS.astype(np.float32))


@dataclass(frozen=True)
class Mix:
    """How truth and teacher are weighed at each of `steps` steps."""

    config: Distillation
    steps: int

    def __call__(self, step: int, curve: Tensor, truth: Tensor, taught: Tensor) -> Tensor:
        """The distance of each forecast (..., part of the horizon): (...)."""
        share = self.config.truth_weight(step, self.steps)
        return share * distances(self.config.truth, curve, truth) + (1 - share) * distances(
            self.config.divergence, curve, taught
        )


class TaughtLives:
    """`material.WholeLives` with a teacher; taught: for each phase its coefficients, (F, rows, 4)."""

    def __init__(self, lives: WholeLives, taught: Sequence[Tensor], mix: Mix) -> None:
        self.lives, self.taught, self.mix = lives, taught, mix

    def __call__(self, model: nn.Module, step: int, generator: torch.Generator) -> Tensor:
        pick = int(torch.randint(len(self.lives.phases), (1,), generator=generator))
        phase, basis = self.lives.phases[pick], _part(generator)
        factor = self.lives.scaling.draw(self.lives.cells, generator)[phase.life][:, None]
        q = model(self.lives.scaling.of(phase.features, factor)[None], phase.counts)
        truth, taught = phase.residual[:, basis[0]], self.taught[pick] @ basis[1].T
        return (self.lives.weights[pick] * self.mix(step, q / factor @ basis[1].T, truth, taught)).sum()


class TaughtDrawn:
    """`material.Drawn` with a teacher; taught: its coefficients for every sample, (F, samples, 4)."""

    def __init__(self, drawn: Drawn, taught: Tensor, mix: Mix) -> None:
        self.drawn, self.taught, self.mix = drawn, taught, mix

    def __call__(self, model: nn.Module, step: int, generator: torch.Generator) -> Tensor:
        drawn = self.drawn
        rows = [allowed[torch.randint(len(allowed), (drawn.batch,), generator=generator)] for allowed in drawn.rows]
        index, basis = torch.stack(rows), _part(generator)
        factor = drawn.scaling.draw(index.numel(), generator).reshape(*index.shape, 1)
        features = drawn.scaling.of(drawn.features[index], factor[..., None]).transpose(1, 2)
        q = model(features.flatten(1, 2), (drawn.batch,) * features.shape[1])[:, -drawn.batch :]
        taught = torch.stack([own[some] for own, some in zip(self.taught, rows, strict=True)]) @ basis[1].T
        truth = drawn.residual[index][..., basis[0]]
        return self.mix(step, q / factor @ basis[1].T, truth, taught).mean(1).sum()


def _part(generator: torch.Generator) -> tuple[slice, Tensor]:
    """Every fifth cycle of the horizon from one that is drawn, and the Legendre polynomials there."""
    part = slice(int(torch.randint(SPARSE, (1,), generator=generator)), None, SPARSE)
    return part, _BASIS[part]


def distill_students(
    series: Mapping[str, Array], groups: Sequence[Collection[str]], recipe: Recipe, teachers: Teachers,
    config: Distillation, *, start: Sequence[Student] = (), digest: str = "", checkpoint: Path | None = None,
    label: str = "distillation", show: bool = False, threads: int = 1,
) -> tuple[Student, ...]:  # fmt: skip
    """A student for each group of cells, taught by the group's teachers and by the truth of its cells.

    Args:
        recipe: of the students; its units are ignored where `start` is given.
        start: students to train on, pruned ones for instance: recovery. Without them training begins anew.

    Raises:
        LnncError: teachers or students that do not fit; and as `loop.fit`.
    """
    _check(groups, recipe, teachers, config, start)
    train = np.array([[name in group for name in series] for group in groups])
    units = widths(start[0]) if start else recipe.units
    model = restored(start) if start else networks(
        recipe.kind, INPUTS[recipe.sees].size, units, recipe.skip, len(groups), recipe.schedule.seed
    )  # fmt: skip
    loss = taught_loss(series, train, recipe, teachers, config)
    about = {"data": digest, **{name: str(value) for name, value in asdict(config).items()},
             **{name: str(getattr(recipe, name)) for name in ("phases", "scale", "fade", "mode")}}  # fmt: skip
    losses = fit(
        model, loss, recipe.schedule, checkpoint=checkpoint, label=label, show=show, threads=threads, about=about
    )
    told = {
        **about,
        "steps": str(recipe.schedule.steps),
        "seed": str(recipe.schedule.seed),
        "loss": f"{losses[-1]:.6f}",
    }
    before = [student.provenance for student in start] or [()] * len(groups)
    return tuple(
        Student(
            recipe.kind, recipe.mode, recipe.gate, recipe.sees, recipe.skip, model.arrays(i),
            (*before[i], *((f"distillation {what}", value) for what, value in told.items())), recipe.hop,
        )
        for i in range(len(groups))
    )  # fmt: skip


def _check(
    groups: Sequence[Collection[str]], recipe: Recipe, teachers: Teachers, config: Distillation,
    start: Sequence[Student],
) -> None:  # fmt: skip
    if len(teachers) != len(groups) or not all(teachers) or (start and len(start) != len(groups)):
        found = f"{len(groups)} groups of cells, {len(teachers)} of teachers, {len(start)} students to begin with"
        raise LnncError(found, "distillation", "give one or more teachers, and one student or none, for each group")
    if config.matching:
        raise LnncError("hidden states of students are not matched", "distillation", "Distillation(matching=0)")
    for teacher in (one for some in teachers for one in some):
        if (teacher.mode, teacher.whole) != (recipe.mode, recipe.whole):
            what = f"a {teacher.mode} {teacher.kind} sees other blocks than a {recipe.mode} {recipe.kind}"
            hint = f"teachers of mode {recipe.mode}" + (" that take windows whole" if recipe.whole else "")
            raise LnncError(what, "distillation", hint)
    for student in start:
        own = (student.kind, student.inputs, student.skip, student.hop)
        if own != (recipe.kind, recipe.sees, recipe.skip, recipe.hop):
            raise LnncError(
                "the students to begin with are not of the recipe's kind", "distillation", "the same Recipe"
            )


def taught_loss(
    series: Mapping[str, Array], train: Array, recipe: Recipe, teachers: Teachers, config: Distillation
) -> Loss:
    """The loss that `distill_students` minimises; train: (F, N), which life each network may learn from."""
    scaling, mix = Scaling(recipe.sees, recipe.scale), Mix(config, recipe.schedule.steps)
    if recipe.mode == "window":
        hop = recipe.hop if recipe.kind in RECURRENT else WINDOW
        batch = window_batch(series, stride=round(BLOCK / recipe.phases))
        taught = _of_groups(teachers, observe(list(batch.inputs), recipe.whole))[:, :, -1]
        samples = window_samples(batch, recipe.sees, hop, recipe.whole)
        drawn = Drawn(samples, train, recipe.schedule.batch, scaling)
        return TaughtDrawn(drawn, taught, mix)
    lives = in_phases(list(series.values()), recipe.phases, recipe.fade, recipe.schedule.seed)
    phases = [pack(some, recipe.sees) for some in lives]
    taught_rows = [_of_lives(teachers, some, phase) for some, phase in zip(lives, phases, strict=True)]
    if recipe.whole_lives:
        return TaughtLives(WholeLives(phases, train, scaling), taught_rows, mix)
    drawn = Drawn(step_samples(phases), train, recipe.schedule.batch, scaling)
    return TaughtDrawn(drawn, torch.cat(taught_rows, 1), mix)


def _of_lives(teachers: Teachers, lives: Sequence[Array], packed: Lives) -> Tensor:
    """The teachers' coefficients in the rows of packed lives, (F, rows, 4)."""
    life = packed.life.numpy()
    used = np.unique(life)
    step = np.repeat(np.arange(len(packed.counts)), packed.counts)
    return _of_groups(teachers, observe([lives[i] for i in used]))[:, np.searchsorted(used, life), step]


def _of_groups(teachers: Teachers, signal: Signal) -> Tensor:
    """The mean coefficients of each group's teachers, (F, N, K, 4)."""
    known = {id(one): coefficients(one, signal) for some in teachers for one in some}
    means = [np.mean([known[id(one)] for one in some], axis=0) for some in teachers]
    return torch.from_numpy(np.stack(means).astype(np.float32))
