"""The pipeline's problem for batteries: raw state of health in, the next 100 cycles out, all of it in the C."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from lnnc.data import baselines as naive
from lnnc.data.linear import cross_fit
from lnnc.data.splits import Folds
from lnnc.data.windows import TRAIN_STRIDE, WINDOW, Batch, window_batch
from lnnc.errors import LnncError
from lnnc.frontend.checkpoint import Checkpoint
from lnnc.ir.graph import Array
from lnnc.pipeline import run_model
from lnnc.quantize.context import Options
from lnnc.train.evaluate import batch_of
from lnnc.train.inputs import INPUTS
from lnnc.train.loop import Loss, fit
from lnnc.train.material import WINDOW_STEPS, Drawn, Lives, Samples, WholeLives, in_phases, step_samples, window_samples
from lnnc.train.models import Network, networks
from lnnc.train.package import student_checkpoint
from lnnc.train.problem import Lesson, Spec, Trained, Weights
from lnnc.train.prune import prune
from lnnc.train.restore import restore
from lnnc.train.rivals import AGE, student_ops
from lnnc.train.sequence_networks import cell_neurons
from lnnc.train.signal import BLOCK
from lnnc.train.student import RECURRENT
from lnnc.train.taught import TaughtDrawn, TaughtLives, coefficients_of

PHASES = 10  # ways of cutting a life into blocks that are trained on
KEPT, KEPT_CYCLES = 8, 600  # lives that a checkpoint carries to calibrate on
SHOWN = 60  # windows of each life that a windowed checkpoint is calibrated on, at most


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

    def scale(self) -> Array:
        return np.ones(1)

    # ---------------------------------------------------------------- training

    def train(self, spec: Spec, lesson: Lesson) -> Trained:
        network = self._networks(spec, lesson.schedule.seed)
        if lesson.start is not None:
            restore(network, lesson.start.weights)
        about = {
            "problem": self.digest,
            "spec": spec.name,
            "teacher": _names(lesson),
            "lesson": str(lesson.distillation),
        }
        losses = fit(
            network, self._loss(spec, lesson), lesson.schedule, checkpoint=lesson.file, label=lesson.label,
            show=lesson.show, about=about,
        )  # fmt: skip
        spent = lesson.start.steps if lesson.start else 0
        weights = tuple(self._weights(network, spec, i) for i in range(len(self.split) + 1))
        return Trained(spec, weights, spent + lesson.schedule.steps, losses / (100 * len(weights)))

    def _networks(self, spec: Spec, seed: int) -> Network:
        return networks(spec.kind, INPUTS[_sees(spec)].size, spec.units, len(self.split) + 1, seed)

    def _weights(self, network: Network, spec: Spec, member: int) -> Weights:
        """A window does not tell the age: those weights are never trained, and said to be zero."""
        found = network.arrays(member)
        if self.mode == "window" and spec.kind == "gated":
            for key in ("gate.weight", "candidate.weight"):
                found[key] = found[key].copy()
                found[key][:, AGE] = 0.0
        return found

    def _loss(self, spec: Spec, lesson: Lesson) -> Loss:
        groups = [self.split.train(fold) for fold in range(len(self.split))] + [self.split.names]
        train = np.array([[name in set(group) for name in self.series] for group in groups])
        whole, batch = self.mode == "stream" and spec.kind in RECURRENT, lesson.schedule.batch
        if whole:
            phases = self._phases(_sees(spec))
            if not lesson.teacher:
                return WholeLives(phases, train)
            taught = self._taught_phases(lesson.teacher)
            return TaughtLives(phases, train, taught, lesson.distillation, lesson.schedule.steps)
        samples = self._samples(spec)
        if not lesson.teacher:
            return Drawn(samples, train, batch)
        said = self._taught_samples(lesson.teacher)
        return TaughtDrawn(samples, train, batch, said, lesson.distillation, lesson.schedule.steps)

    def _phases(self, sees: str) -> list[Lives]:
        return in_phases(list(self.series.values()), sees, PHASES)

    def _samples(self, spec: Spec) -> Samples:
        """Separate samples: windows, or the steps of lives for a network without a state."""
        if self.mode == "stream":
            return step_samples(self._phases(_sees(spec)))
        steps = WINDOW_STEPS if spec.kind in RECURRENT else 1
        samples = window_samples(window_batch(self.series, stride=TRAIN_STRIDE), _sees(spec), steps)
        if spec.kind in RECURRENT:
            samples.features[..., AGE] = 0.0
        return samples

    def _taught_phases(self, teachers: Sequence[Trained]) -> list[torch.Tensor]:
        """The teachers' mean coefficients for each phase; rows stand in the same order whatever they see."""
        nets, seen = self._restored(teachers), [self._phases(_sees(t.spec)) for t in teachers]
        return [
            coefficients_of(nets, [phases[i].features for phases in seen], seen[0][i].counts) for i in range(PHASES)
        ]

    def _taught_samples(self, teachers: Sequence[Trained]) -> torch.Tensor:
        if self.mode == "stream":
            return torch.cat(self._taught_phases(teachers), dim=1)
        parts = []
        for teacher, net in zip(teachers, self._restored(teachers), strict=True):
            features = self._samples(teacher.spec).features  # (samples, steps, inputs)
            count, steps, _ = features.shape
            packed = features.transpose(0, 1).reshape(steps * count, -1)
            parts.append(coefficients_of([net], [packed], (count,) * steps)[:, -count:])
        return torch.stack(parts).mean(dim=0)

    def _restored(self, teachers: Sequence[Trained]) -> list[Network]:
        found = []
        for teacher in teachers:
            network = self._networks(teacher.spec, 0)
            restore(network, teacher.weights)
            found.append(network)
        return found

    def prune(self, trained: Trained, fraction: float) -> Trained:
        if trained.spec.kind not in RECURRENT:
            raise LnncError(f"neurons of '{trained.spec.kind}' are not pruned", "pruning", "prune a cell")
        cut = [prune(w, [cell_neurons(trained.spec.kind, w)], fraction).tensors for w in trained.weights]
        units = (int(cut[0]["head.weight"].shape[1]),)
        return Trained(Spec(trained.spec.kind, units, trained.spec.more), tuple(cut), trained.steps, trained.losses)

    # ---------------------------------------------------------------- compiled

    def checkpoint(self, trained: Trained, member: int) -> Checkpoint:
        group = self.split.train(member) if member < len(self.split) else self.split.names
        ops = student_ops(trained.spec.kind, trained.weights[member], self.mode, self.gate)
        provenance: dict[str, str | float] = {
            **dict(self.about), "student": trained.spec.name, "steps": trained.steps, "cells": len(group),
        }  # fmt: skip
        return student_checkpoint(ops, self._calibration(group), trained.spec.name, provenance)

    def _calibration(self, group: Sequence[str]) -> Array:
        """Beginnings of some lives, (n, T, 1); or windows of them, (n, 1, 100)."""
        chosen = [self.series[name] for name in group if len(self.series[name]) >= WINDOW][
            :: max(1, len(group) // KEPT)
        ]
        lives = chosen[:KEPT]
        if self.mode == "stream":
            length = min(*map(len, lives), KEPT_CYCLES) // BLOCK * BLOCK
            return np.stack([life[:length] for life in lives])[..., None]
        starts = [np.linspace(0, len(life) - WINDOW, SHOWN).astype(int) for life in lives]
        return np.stack([life[s : s + WINDOW] for life, own in zip(lives, starts, strict=True) for s in own])[:, None]

    def forecasts(
        self, checkpoint: Checkpoint, names: Sequence[str], options: Options, engine: str
    ) -> dict[str, Array]:
        batch, rows = self._batch, {name: self._rows[name] for name in names if name in self._rows}
        if not rows:
            return {}
        if self.mode == "window":
            index = np.concatenate(list(rows.values()))
            said = run_model(checkpoint, batch.inputs[index][:, None], engine, options=options)[:, 0]
            parts = np.split(said, np.cumsum([len(r) for r in rows.values()])[:-1])
            return {name: part[..., None] for name, part in zip(rows, parts, strict=True)}
        lives = [self.series[name] for name in rows]
        longest = max(batch.origin[r].max() for r in rows.values())  # what comes after the last origin says nothing
        padded = np.stack([np.pad(life[:longest], (0, max(0, longest - len(life))), "edge") for life in lives])
        said = run_model(checkpoint, padded[..., None], engine, options=options)
        return {name: row[batch.origin[r] - 1][..., None] for row, (name, r) in zip(said, rows.items(), strict=True)}

    # ---------------------------------------------------------------- truth and rivals

    @cached_property
    def _batch(self) -> Batch:
        return batch_of(self.series, self.mode)

    @cached_property
    def _rows(self) -> dict[str, np.ndarray[tuple[int], np.dtype[np.int64]]]:
        """Rows of the batch of each cell that has any."""
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


def _sees(spec: Spec) -> str:
    return "features" if spec.kind in RECURRENT else "means"


def _names(lesson: Lesson) -> str:
    return ", ".join(teacher.spec.name for teacher in lesson.teacher) or "none"
