"""Trained networks, each kept under the digest of all that made it: what is there is not trained again."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lnnc.errors import LnncError
from lnnc.frontend.checkpoint import Checkpoint
from lnnc.frontend.storage import load_checkpoint, save_checkpoint
from lnnc.pipeline import with_ranges
from lnnc.train.dlnet.networks import DLNet, Shape, from_tensors, to_tensors
from lnnc.train.dlnet.stack import Lesson, Stack, stack_loss
from lnnc.train.learn.distill import Distillation
from lnnc.train.learn.loop import Schedule, fit

TOGETHER = 9  # networks in a stack: three seeds of three losses
_RECIPE = 1  # raise it when a change of the code changes what is trained


@dataclass(frozen=True, eq=False)
class Job:
    """A network to train: everything that decides its weights.

    Attributes:
        name: for people, and the beginning of the file's name.
        start: the network with its first weights.
        config, steps, peak_lr, batch, seed: how it is trained.
        origin: what the examples are: digest of the data, split, key of the teacher.
        lesson: makes them when the network has to be trained.
        notes: kept in the file's provenance.
    """

    name: str
    start: DLNet
    config: Distillation
    steps: int
    peak_lr: float
    batch: int
    seed: int
    origin: Mapping[str, str]
    lesson: Callable[[], Lesson]
    notes: Mapping[str, Any] = field(default_factory=dict)

    def key(self) -> str:
        """SHA-256 of all that decides the weights."""
        text = [_RECIPE, asdict(self.start.shape), asdict(self.config), self.steps, self.peak_lr, self.batch, self.seed,
                dict(self.origin)]  # fmt: skip
        hasher = hashlib.sha256(json.dumps(text, sort_keys=True).encode())
        for name, tensor in sorted(to_tensors(self.start).items()):
            hasher.update(name.encode() + np.ascontiguousarray(tensor, "<f4").tobytes())
        return hasher.hexdigest()


@dataclass(frozen=True, eq=False)
class Kept:
    """A network on the shelf: its checkpoint, whose provenance holds the figures that were measured when it came."""

    key: str
    checkpoint: Checkpoint

    @property
    def figures(self) -> Mapping[str, Any]:
        return self.checkpoint.provenance

    def network(self) -> DLNet:
        """The torch module."""
        cell = self.checkpoint.architecture.dynamics
        assert cell is not None, "the paper's networks have a liquid neuron"
        return from_tensors(self.checkpoint.tensors, cell.steps, cell.dt, self.checkpoint.where)


class Shelf:
    """A folder of checkpoints named after what they are and the digest of what made them.

    Raises:
        LnncError: the folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LnncError(f"cannot create the folder ({error.strerror})", str(folder), "-o FOLDER") from error

    def path(self, name: str, key: str) -> Path:
        """The file of a network."""
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        return self.folder / f"{slug}-{key[:12]}.pt"

    def get(self, name: str, key: str) -> Kept | None:
        """What is there under this key; None where nothing is.

        Raises:
            LnncError: the file is there and cannot be read, or belongs to another key.
        """
        path = self.path(name, key)
        if not path.exists():
            return None
        checkpoint = load_checkpoint(path)
        if checkpoint.provenance.get("key") != key:
            raise LnncError("it is not what its name says", str(path), "delete it: it is trained again then")
        return Kept(key, checkpoint)

    def put(self, name: str, key: str, checkpoint: Checkpoint, figures: Mapping[str, Any]) -> Kept:
        """Keep a network, without a row of the data it was calibrated on."""
        held = with_ranges(replace(checkpoint, provenance={"network": name, **figures, "key": key}))
        save_checkpoint(held, self.path(name, key))
        return Kept(key, held)


Finish = Callable[[Job, DLNet], tuple[Checkpoint, Mapping[str, Any]]]  # a trained network's checkpoint and figures


def train_jobs(jobs: Sequence[Job], shelf: Shelf, finish: Finish, show: bool = False) -> list[Kept]:
    """Every job's network, trained unless it is on the shelf; interrupted at any point, the next call goes on.

    Raises:
        LnncError: a training fails, or what it left behind cannot be read.
    """
    keys = [job.key() for job in jobs]
    held = {key: shelf.get(job.name, key) for job, key in zip(jobs, keys, strict=True)}
    missing = {key: job for job, key in zip(jobs, keys, strict=True) if held[key] is None}
    for group in groups(missing):
        _train_group({key: missing[key] for key in group}, shelf, finish, held, show)
    found = [held[key] for key in keys]
    return [kept for kept in found if kept is not None]


def groups(jobs: Mapping[str, Job]) -> Iterator[list[str]]:
    """Keys of jobs that can be stacked, the most alike together, at most `TOGETHER`."""
    kinds: dict[str, list[str]] = {}
    for key, job in jobs.items():
        shape = job.start.shape
        kind = (shape.window, shape.horizon, shape.recurrence, shape.steps, shape.dt, len(shape.encoder),
                len(shape.decoder), job.steps, job.peak_lr, job.batch)  # fmt: skip
        kinds.setdefault(repr(kind), []).append(key)
    for keys in kinds.values():
        alike = sorted(keys, key=lambda key: _widths(jobs[key].start.shape))
        yield from (alike[i : i + TOGETHER] for i in range(0, len(alike), TOGETHER))


def _widths(shape: Shape) -> tuple[int, ...]:
    return (shape.hidden, *shape.decoder)


def _train_group(
    jobs: Mapping[str, Job], shelf: Shelf, finish: Finish, held: dict[str, Kept | None], show: bool
) -> None:
    first = next(iter(jobs.values()))
    group = hashlib.sha256("".join(jobs).encode()).hexdigest()
    unfinished = shelf.folder / f"training-{group[:12]}.part"
    stack = Stack([job.start for job in jobs.values()])
    loss = stack_loss([job.lesson() for job in jobs.values()], first.steps, first.batch)
    schedule = Schedule(first.steps, first.peak_lr, batch=first.batch, seed=0)
    label = first.name if len(jobs) == 1 else f"{first.name} and {len(jobs) - 1} more"
    fit(stack, loss, schedule, checkpoint=unfinished, label=label, show=show, about={"networks": group})
    for index, (key, job) in enumerate(jobs.items()):
        checkpoint, figures = finish(job, stack.network(index))
        held[key] = shelf.put(job.name, key, checkpoint, {**job.notes, **figures, "steps": job.steps})
    unfinished.unlink(missing_ok=True)
