"""The pipeline's problem for sequences of any kind: columns of CSV files in, a compiled network out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from lnnc.data.dataset import Dataset
from lnnc.data.splits import Folds
from lnnc.errors import LnncError
from lnnc.frontend.checkpoint import Checkpoint, PortSpec
from lnnc.frontend.network import network_checkpoint
from lnnc.ir.graph import Array
from lnnc.pipeline import run_model
from lnnc.quantize.context import Options
from lnnc.train.learn.distill import Examples, distill, teach
from lnnc.train.learn.prune import prune
from lnnc.train.pipeline.finetune import Material, SequenceTwin, finetune
from lnnc.train.pipeline.problem import Lesson, Spec, Trained, Weights
from lnnc.train.sequences.networks import CELLS, FEEDFORWARD, cell_neurons, restore, sequence_networks, sequence_ops
from lnnc.train.sequences.task import Columns, Scaling, Task, baselines, columns_of, scalings, wanted_at
from lnnc.train.students.models import Network

KEPT, KEPT_SAMPLES = 8, 400  # streams that a checkpoint carries to calibrate on
MARGIN = 0.25  # of a port's range beyond what was seen in training, on both sides
PIECE = 100  # samples of a sequence that training goes back through; at least twice the window


@dataclass(frozen=True, eq=False)
class SequenceProblem:
    """See `problem.Problem`.

    Attributes:
        piece: longest stretch of a sequence that training goes back through.
    """

    dataset: Dataset
    task: Task
    split: Folds
    piece: int = PIECE

    @cached_property
    def columns(self) -> Columns:
        return columns_of(self.dataset, self.task)

    @cached_property
    def scalings(self) -> list[Scaling]:
        return scalings(self.columns, self.split)

    @property
    def unit(self) -> str:
        return self.columns.units[1][0] if len(self.task.targets) == 1 else "standard deviations"

    @cached_property
    def digest(self) -> str:
        parts = [self.dataset.digest(), asdict(self.task), self.split.groups, self.piece]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def scale(self) -> Array:
        return np.ones(1) if len(self.task.targets) == 1 else self.scalings[-1].wanted[1]

    # ---------------------------------------------------------------- training

    def train(self, spec: Spec, lesson: Lesson) -> Trained:
        network = self._networks(spec, lesson.schedule.seed)
        if lesson.start is not None:
            restore(network, lesson.start.weights)
        distill(
            network, self._examples(spec, lesson), lesson.distillation, lesson.schedule, forward=_forward,
            checkpoint=lesson.file, label=lesson.label, show=lesson.show, about={"problem": self.digest},
        )  # fmt: skip
        spent = lesson.start.steps if lesson.start else 0
        members = range(len(self.split) + 1)
        return Trained(spec, tuple(network.arrays(i) for i in members), spent + lesson.schedule.steps)

    def _networks(self, spec: Spec, seed: int) -> Network:
        width = len(self.task.inputs) * (self.task.window if spec.kind in FEEDFORWARD else 1)
        return sequence_networks(spec.kind, width, spec.units, self.task.outputs, len(self.split) + 1, seed)

    def _examples(self, spec: Spec, lesson: Lesson) -> Examples:
        """Inputs (N, L, F, I), truth (N, L, F, outputs), weight (N, L, F): F sees its own scaling and its own training
        sequences."""
        examples = self._rows() if spec.kind in FEEDFORWARD else self._pieces()
        teachers = [t for t in lesson.teacher if (t.spec.kind in FEEDFORWARD) == (spec.kind in FEEDFORWARD)]
        if len(teachers) < len(lesson.teacher):
            raise LnncError(f"a teacher of another form than '{spec.kind}'", "distillation", "a cell teaches cells")
        if not teachers:
            return examples
        networks = [self._restored(trained) for trained in teachers]
        taught = teach(networks, examples.inputs, _forward, rows=64)
        return Examples(examples.inputs, examples.truth, taught, examples.weight)

    def _restored(self, trained: Trained) -> Network:
        network = self._networks(trained.spec, 0)
        restore(network, trained.weights)
        return network

    def _pieces(self) -> Examples:
        """Stretches of sequences from a state of rest, scored once a window has been seen; windows: at their end."""
        task, parts = self.task, []
        length = task.window if task.mode == "window" else self._stretch()
        for name, seen in self.columns.seen.items():
            end = len(seen) - task.horizon  # samples that can be scored
            if task.mode == "window":
                starts = self.columns.origins(name) + 1 - task.window
            else:
                starts = np.arange(0, max(end - task.window + 1, 1), max(length - task.window + 1, 1))
            parts += [self._piece(name, int(start), length, end) for start in starts]
        return self._stacked(parts)

    def _stretch(self) -> int:
        return min(max(self.piece, 2 * self.task.window), max(map(len, self.columns.seen.values())))

    def _piece(self, name: str, start: int, length: int, end: int) -> tuple[str, Array, Array, Array]:
        """Inputs, what is wanted and which count, of `length` samples; behind the end the last is repeated."""
        rows = np.minimum(np.arange(start, start + length), end - 1)
        last_only = self.task.mode == "window"
        counts = np.arange(length) >= (length if last_only else self.task.window) - 1
        counts &= np.arange(start, start + length) < end
        wanted = wanted_at(self.columns.wanted[name], rows, self.task)
        return name, self.columns.seen[name][rows], wanted, counts.astype(np.float64)

    def _rows(self) -> Examples:
        """Windows as single rows, for networks without a state."""
        parts = []
        for name in self.columns.seen:
            windows, truth = self.columns.windows(name, self.task.window), self.columns.truth(name)
            parts += [(name, w, t[None], np.ones(1)) for w, t in zip(windows, truth, strict=True)]
        return self._stacked(parts, flat=True)

    def _stacked(self, parts: Sequence[tuple[str, Array, Array, Array]], flat: bool = False) -> Examples:
        names = [part[0] for part in parts]
        seen, wanted, counts = (np.stack([part[i] for part in parts]) for i in (1, 2, 3))
        groups = [self.split.train(fold) for fold in range(len(self.split))] + [self.split.names]
        member = np.array([[name in set(group) for group in groups] for name in names])  # (N, F)
        x = np.stack([(seen - s.seen[0]) / s.seen[1] for s in self.scalings], axis=2)  # (N, L, F, I)
        y = np.stack([(wanted - s.wanted[0]) / s.wanted[1] for s in self.scalings], axis=2)  # (N, L, F, steps, targets)
        if flat:
            x = np.moveaxis(x, 2, 1).reshape(len(x), 1, len(groups), -1)
        weight = counts[:, :, None] * member[:, None]
        y = np.swapaxes(y, -1, -2).reshape(*y.shape[:3], -1)  # a target's steps one behind the other, as the ports
        return Examples(_single(x), _single(y), None, _single(weight))

    # ---------------------------------------------------------------- smaller

    def prune(self, trained: Trained, fraction: float) -> Trained:
        if trained.spec.kind not in CELLS:
            raise LnncError(f"neurons of '{trained.spec.kind}' are not pruned", "pruning", "prune a cell")
        cut = [prune(w, [cell_neurons(trained.spec.kind, w)], fraction).tensors for w in trained.weights]
        units = (int(cut[0]["head.weight"].shape[1]),)
        return Trained(Spec(trained.spec.kind, units, trained.spec.more), tuple(cut), trained.steps)

    def finetune(self, trained: Trained, lesson: Lesson, options: Options) -> Trained:
        if trained.spec.kind not in CELLS:
            raise LnncError(f"'{trained.spec.kind}' is not trained through its program", "qat", "train a cell so")
        weights = [self._finetuned(trained, member, lesson, options) for member in range(len(trained.weights))]
        return Trained(trained.spec, tuple(weights), trained.steps + lesson.schedule.steps)

    def _finetuned(self, trained: Trained, member: int, lesson: Lesson, options: Options) -> Weights:
        width = len(self.task.inputs)
        network = sequence_networks(trained.spec.kind, width, trained.spec.units, self.task.outputs, 1, 0)
        restore(network, [trained.weights[member]])
        scaling, steps = self.scalings[member], self.task.steps
        wanted = [np.repeat(each, steps) for each in scaling.wanted]  # a target's steps one behind the other
        twin = SequenceTwin(network, _pair(*scaling.seen), _pair(*wanted))

        def to_checkpoint(_: nn.Module) -> Checkpoint:
            now = {member: network.arrays(0)}
            return self.checkpoint(replace(trained, weights=tuple(now.get(i, {}) for i in range(member + 1))), member)

        scale = _single(np.repeat(scaling.wanted[1], steps))
        finetune(
            twin, to_checkpoint, self._material(member, scale), lesson.schedule, options, label=lesson.label,
            file=lesson.file and lesson.file.with_suffix(f".{member}{lesson.file.suffix}"), show=lesson.show,
            about={"problem": self.digest, "member": str(member)},
        )  # fmt: skip
        return network.arrays(0)

    def _material(self, member: int, scale: Tensor) -> Material:
        """The pieces of training in real units."""
        examples, scaling = self._pieces(), self.scalings[member]
        inputs = examples.inputs[:, :, member] * _single(scaling.seen[1]) + _single(scaling.seen[0])
        offset = _single(np.repeat(scaling.wanted[0], self.task.steps))
        assert examples.weight is not None
        return Material(inputs, examples.truth[:, :, member] * scale + offset, examples.weight[:, :, member], scale)

    # ---------------------------------------------------------------- compiled

    def checkpoint(self, trained: Trained, member: int) -> Checkpoint:
        task, scaling = self.task, self.scalings[member]
        group = self.split.train(member) if member < len(self.split) else self.split.names
        ops = sequence_ops(trained.spec.kind, trained.weights[member], len(task.inputs), task.window)
        provenance = {
            "data": self.dataset.digest(), "licence": self.dataset.licence, "kind": trained.spec.name,
            "steps": trained.steps, "trained on": f"{len(group)} sequences",
        }  # fmt: skip
        return network_checkpoint(
            ops, where=trained.spec.name, inputs=self._inputs(scaling), outputs=self._outputs(scaling),
            calibration=self._calibration(group), provenance=provenance,
        )  # fmt: skip

    def _inputs(self, scaling: Scaling) -> list[PortSpec]:
        named = zip(self.task.inputs, self.columns.units[0], *scaling.seen, scaling.ranges, strict=True)
        return [
            PortSpec(name, 1, unit, _wider(*limits), float(offset), float(scale))
            for name, unit, offset, scale, limits in named
        ]

    def _outputs(self, scaling: Scaling) -> list[PortSpec]:
        suffix = " change" if self.task.change else " forecast" if self.task.horizon else ""
        named = zip(self.task.targets, self.columns.units[1], *scaling.wanted, strict=True)
        return [
            PortSpec(f"{name}{suffix}", self.task.steps, unit, None, float(offset), float(scale))
            for name, unit, offset, scale in named
        ]

    def _calibration(self, group: Sequence[str]) -> Array:
        """(streams, samples, inputs): beginnings of some training sequences, or windows of them."""
        chosen = [self.columns.seen[name] for name in group][:: max(1, len(group) // KEPT)][:KEPT]
        shortest = min(len(seen) for seen in chosen)
        if self.task.mode == "window":
            starts = np.linspace(0, shortest - self.task.window, KEPT).astype(int)
            return np.stack([seen[s : s + self.task.window] for seen in chosen for s in starts])
        return np.stack([seen[: min(shortest, KEPT_SAMPLES)] for seen in chosen])

    def forecasts(
        self, checkpoint: Checkpoint, names: Sequence[str], options: Options, engine: str
    ) -> dict[str, Array]:
        if self.task.mode == "window":
            streams = np.concatenate([self.columns.windows(name, self.task.window) for name in names])
            counts = np.cumsum([len(self.columns.origins(name)) for name in names])[:-1]
            last = run_model(checkpoint, streams, engine, options=options)[:, -1]
            return dict(zip(names, map(self._shaped, np.split(last, counts)), strict=True))
        longest = max(len(self.columns.seen[name]) for name in names)
        padded = [
            np.pad(self.columns.seen[n], ((0, longest - len(self.columns.seen[n])), (0, 0)), "edge") for n in names
        ]
        said = run_model(checkpoint, np.stack(padded), engine, options=options)
        return {name: self._shaped(row[self.columns.origins(name)]) for name, row in zip(names, said, strict=True)}

    def _shaped(self, rows: Array) -> Array:
        """(n, outputs) as (n, steps, targets)."""
        return np.swapaxes(rows.reshape(len(rows), len(self.task.targets), self.task.steps), 1, 2)

    # ---------------------------------------------------------------- truth and rivals

    def truth(self, name: str) -> Array:
        return self.columns.truth(name)

    def seen(self, name: str, origin: int, count: int) -> Array:
        at = int(self.columns.origins(name)[origin])
        past = self.columns.wanted[name][max(0, at + 1 - count) : at + 1]
        return np.asarray(past - past[-1] if self.task.change else past)

    def place(self, name: str, origin: int) -> str:
        return f"{name} after sample {int(self.columns.origins(name)[origin]) + 1}"

    def baselines(self) -> dict[str, dict[str, Array]]:
        return baselines(self.columns, self.split)


def _forward(network: nn.Module, inputs: Tensor) -> Tensor:
    """(n, L, F, I) -> (n, L, F, outputs): packed step by step, all sequences equally long."""
    count, length, models, width = inputs.shape
    rows = inputs.permute(2, 1, 0, 3).reshape(models, length * count, width)
    said: Tensor = network(rows, (count,) * length)
    return said.reshape(models, length, count, -1).permute(2, 1, 0, 3)


def _wider(low: float, high: float) -> tuple[float, float]:
    room = MARGIN * (high - low) or max(abs(high), 1.0) * MARGIN
    return float(low - room), float(high + room)


def _pair(offset: Array, scale: Array) -> tuple[Tensor, Tensor]:
    return _single(offset), _single(scale)


def _single(x: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))
