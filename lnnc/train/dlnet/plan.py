"""How much of the paper's experiment is run, on which windows, and what is recorded of each network."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lnnc.train.dlnet.data import PAST, Material, random_rows, scaler_of
from lnnc.train.dlnet.networks import Scaler
from lnnc.train.dlnet.shelf import Shelf
from lnnc.train.learn.recover import EPOCHS, epochs_to_steps


@dataclass(frozen=True)
class Plan:
    """How much is trained.

    Attributes:
        widths, losses: h and D of the students.
        percents: of the prunable neurons that leave.
        seeds: of the split, the first weights and the draws, one complete experiment each.
        teacher_steps, student_steps, recovery_epochs, batch: how long.
        teacher_lr, student_lr, recovery_lr: highest learning rates.
        always: widths that are pruned even if their students are not on the front: those of published files.
        anchored_steps: of the student that is trained by cell.
    """

    widths: tuple[int, ...] = (2, 4, 8, 16, 32, 64, 128)
    losses: tuple[str, ...] = ("mse", "cosine")
    percents: tuple[int, ...] = (10, 20, 30, 40, 50, 60, 70, 80, 90)
    seeds: tuple[int, ...] = (0, 1, 2)
    teacher_steps: int = 6000
    student_steps: int = 6000
    recovery_epochs: float = EPOCHS
    batch: int = 64
    teacher_lr: float = 1e-3
    student_lr: float = 1e-3
    recovery_lr: float = 1e-3
    always: tuple[int, ...] = (4, 16)
    anchored_steps: int = 5000


QUICK = Plan((2, 4), ("mse", "cosine"), (50,), (0,), 30, 40, 0.3, 64, always=(4,), anchored_steps=250)


@dataclass(frozen=True)
class Record:
    """One network of one seed.

    Attributes:
        stage: "teacher", "distilled", "scratch", "cut" (before recovery), "recovered", "rival" or "anchored".
        loss: D that it was distilled with, "" without.
        percent: of its prunable neurons that left.
        steps: updates that its weights have seen in all.
        tables: bytes of the integer program's tables, int8 weights.
        mae, mae_int16, mae_int8: on the segments; NaN where it was not measured.
    """

    stage: str
    hidden: int
    loss: str
    percent: int
    seed: int
    parameters: int
    steps: int
    tables: int
    mae: float
    mae_int16: float
    mae_int8: float


@dataclass(frozen=True, eq=False)
class Split:
    """The windows that one seed trains on, scaled for the network."""

    seed: int
    rows: NDArray[np.int64]
    scaler: Scaler
    inputs: Tensor
    truth: Tensor


@dataclass(eq=False)
class Bench:
    """What every stage needs."""

    material: Material
    plan: Plan
    shelf: Shelf
    show: bool = False
    taught: dict[int, Tensor] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        return self.material.digest()

    @cached_property
    def splits(self) -> dict[int, Split]:
        return {seed: split_of(self.material, seed) for seed in self.plan.seeds}

    @cached_property
    def recovery_steps(self) -> int:
        rows = len(next(iter(self.splits.values())).rows)
        return epochs_to_steps(self.plan.recovery_epochs, rows, self.plan.batch)


def split_of(material: Material, seed: int) -> Split:
    """A seed's random windows."""
    rows = random_rows(material, seed)
    windows = material.windows[rows]
    scaler = scaler_of(windows)
    scaled = torch.as_tensor((windows - scaler.low) / scaler.span, dtype=torch.float32)
    return Split(seed, rows, scaler, scaled[:, :PAST].contiguous(), scaled[:, PAST:].contiguous())
