"""Training of students on lives of batteries: one for each fold at once, or one on all cells for shipping."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from lnnc.data.dataset import Dataset
from lnnc.data.splits import Folds
from lnnc.data.windows import WINDOW, window_batch
from lnnc.errors import Findings, LnncError
from lnnc.ir.graph import Array
from lnnc.train.learn.loop import Loss, Schedule, fit
from lnnc.train.students.ensemble import merged
from lnnc.train.students.inputs import INPUTS
from lnnc.train.students.material import Drawn, Scaling, WholeLives, in_phases, pack, step_samples, window_samples
from lnnc.train.students.models import Network, networks
from lnnc.train.students.signal import BLOCK
from lnnc.train.students.student import KINDS, MODES, RECURRENT, Student, takes_whole

PEAK_LR = 6e-3
_TAIL = 100  # steps whose mean loss stands in the provenance


@dataclass(frozen=True)
class Recipe:
    """What to train.

    Attributes:
        kind, units, mode, gate, skip: see `student.Student`; units of the hidden layers, () for "linear".
        inputs: "" for what suits the kind: "features" with a state, "means" without.
        members: networks that are trained apart, from other weights, and whose mean is the student (`ensemble`).
        hop: cycles from one step of a cell in a window to the next, 10, 20, 50 or 100.
        phases: 1 ... 10, ways of cutting a life into blocks that are trained on; windows start every 10 / phases.
        scale: spread of the logarithm of the factors of `material.Scaling`; 0: none.
        fade: spread of the SOH that lives of every second phase lose to a fade that slows down (`material.in_phases`).

    Raises:
        LnncError: a combination that cannot be trained.
    """

    kind: str = "gated"
    units: tuple[int, ...] = (8,)
    mode: str = "stream"
    gate: bool = True
    inputs: str = ""
    skip: bool = False
    members: int = 1
    hop: int = BLOCK
    phases: int = 10
    scale: float = 0.3
    fade: float = 0.0
    schedule: Schedule = field(default_factory=lambda: Schedule(peak_lr=PEAK_LR))

    def __post_init__(self) -> None:
        found = Findings("recipe")
        for name, known in (("kind", KINDS), ("mode", MODES), ("inputs", ("", *INPUTS))):
            if getattr(self, name) not in known:
                found.add(f"{name}: expected one of {', '.join(filter(None, known))}, found '{getattr(self, name)}'")
        if self.hop % BLOCK or WINDOW % max(self.hop, 1) or (self.hop != BLOCK and not self.whole):
            found.add(f"hop: expected {BLOCK}, or 20, 50 or 100 of a cell that takes whole windows, found {self.hop}")
        if not 1 <= self.phases <= 10:
            found.add(f"phases: expected 1 ... 10, found {self.phases}")
        if self.members < 1:
            found.add(f"members: expected 1 or more, found {self.members}")
        if not 0.0 <= self.scale <= 3.0:
            found.add(f"scale: expected 0 ... 3, found {self.scale}")
        if not 0.0 <= self.fade <= 1.0:
            found.add(f"fade: expected 0 ... 1, found {self.fade}")
        if self.fade and (self.mode == "window" or self.phases < 2):
            found.add("fade: it comes with a cell's age: of streams, in two phases or more")
        if self.schedule.batch < 1 and not self.whole_lives:
            found.add("batch: expected 1 or more, as samples are drawn")
        found.raise_if_any()

    @property
    def whole(self) -> bool:
        return takes_whole(self.kind, self.mode)

    @property
    def whole_lives(self) -> bool:
        return self.mode == "stream" and self.kind in RECURRENT

    @property
    def sees(self) -> str:
        return self.inputs or ("features" if self.kind in RECURRENT else "means")


def soh_series(dataset: Dataset) -> dict[str, Array]:
    """Name -> (T,) of a dataset's only column, or of its column "soh".

    Raises:
        LnncError: several columns, and none is called "soh".
    """
    if len(dataset.columns) > 1 and "soh" not in dataset.columns:
        raise LnncError(
            f"no column 'soh' among {', '.join(dataset.columns)}", "dataset", "import it with a column of that name"
        )
    index = dataset.columns.index("soh") if "soh" in dataset.columns else 0
    return {sequence.name: sequence.values[:, index] for sequence in dataset.sequences}


def train_groups(
    series: Mapping[str, Array],
    groups: Sequence[Collection[str]],
    recipe: Recipe,
    *,
    checkpoint: Path | None = None,
    label: str = "students",
    show: bool = False,
    threads: int = 1,
    about: Mapping[str, str] | None = None,
) -> tuple[Network, Array]:
    """Train the members of each group of cells, all at once, and none on a cell outside its group.

    Returns the networks, those of a group together, and the losses, (steps,): mean over networks of the mean |error|,
    in units of SOH.

    Raises:
        LnncError: cells without enough cycles; and as `loop.fit`.
    """
    train = np.repeat([[name in group for name in series] for group in groups], recipe.members, 0)
    model = networks(recipe.kind, INPUTS[recipe.sees].size, recipe.units, recipe.skip, len(train), recipe.schedule.seed)
    loss = _loss(series, train, recipe)
    facts = {**_settings(recipe), **(about or {})}
    losses = fit(
        model, loss, recipe.schedule, checkpoint=checkpoint, label=label, show=show, threads=threads, about=facts
    )
    return model, losses / (100 * len(train))


def _settings(recipe: Recipe) -> dict[str, str]:
    names = ("kind", "mode", "sees", "skip", "members", "hop", "phases", "scale", "fade")
    return {name: str(getattr(recipe, name)) for name in names}


def _loss(series: Mapping[str, Array], train: Array, recipe: Recipe) -> Loss:
    scaling = Scaling(recipe.sees, recipe.scale)
    if recipe.mode == "window":
        hop = recipe.hop if recipe.kind in RECURRENT else WINDOW
        batch = window_batch(series, stride=round(BLOCK / recipe.phases))
        samples = window_samples(batch, recipe.sees, hop, recipe.whole)
        return Drawn(samples, train, recipe.schedule.batch, scaling)
    lives = in_phases(list(series.values()), recipe.phases, recipe.fade, recipe.schedule.seed)
    phases = [pack(some, recipe.sees) for some in lives]
    if recipe.whole_lives:
        return WholeLives(phases, train, scaling)
    return Drawn(step_samples(phases), train, recipe.schedule.batch, scaling)


def cross_train(
    series: Mapping[str, Array],
    split: Folds,
    recipe: Recipe,
    *,
    digest: str = "",
    checkpoint: Path | None = None,
    show: bool = False,
    threads: int = 1,
) -> tuple[Student, ...]:
    """One student for each fold, trained on the cells of all others. Raises as `train_groups`."""
    groups = [split.train(fold) for fold in range(len(split))]
    model, losses = train_groups(
        series, groups, recipe, checkpoint=checkpoint, show=show, threads=threads, about={"data": digest}
    )
    told = [
        {"data": digest, "fold": f"{fold} of {len(split)}", "split seed": str(split.seed)} for fold in range(len(split))
    ]
    return tuple(_student(model, fold, recipe, losses, told[fold], len(groups[fold])) for fold in range(len(split)))


def train_final(
    series: Mapping[str, Array],
    recipe: Recipe,
    held_out: Collection[str],
    *,
    digest: str = "",
    checkpoint: Path | None = None,
    show: bool = False,
    threads: int = 1,
) -> tuple[Student, Student]:
    """A student of all cells, to be shipped, and its twin: the same training without the cells that are held out.

    The twin's error on those cells tells what to expect of the other; an error on cells that were trained on would not.

    Raises:
        LnncError: a cell to hold out that is not there, or all of them; and as `train_groups`.
    """
    unknown = sorted(set(held_out) - set(series))
    if unknown or not set(series) - set(held_out):
        what = f"unknown cells {', '.join(unknown)}" if unknown else "no cell is left to train on"
        raise LnncError(what, "held-out cells", "name some of the data's cells, a fifth of them for instance")
    groups = [tuple(series), tuple(name for name in series if name not in held_out)]
    model, losses = train_groups(
        series, groups, recipe, checkpoint=checkpoint, show=show, threads=threads, about={"data": digest}
    )
    told = ({"data": digest}, {"data": digest, "held out": ", ".join(sorted(held_out))})
    whole, twin = (_student(model, i, recipe, losses, told[i], len(groups[i])) for i in range(2))
    return whole, twin


def _student(model: Network, index: int, recipe: Recipe, losses: Array, told: Mapping[str, str], cells: int) -> Student:
    made = asdict(recipe.schedule) | {name: getattr(recipe, name) for name in ("members", "phases", "scale", "fade")}
    loss = f"{losses[-_TAIL:].mean():.6f}"
    facts = {**told, "cells": str(cells), **{name: str(value) for name, value in made.items()}, "loss": loss}
    members = [model.arrays(index * recipe.members + i) for i in range(recipe.members)]
    arrays = merged(recipe.kind, members, INPUTS[recipe.sees].size, recipe.skip)
    return Student(
        recipe.kind, recipe.mode, recipe.gate, recipe.sees, recipe.skip, arrays, tuple(facts.items()), recipe.hop
    )
