"""Small problems for tests of the pipeline: sequences that are made here, trained in a moment."""

from __future__ import annotations

import numpy as np

from lnnc.data.dataset import Dataset, Sequence
from lnnc.data.splits import folds
from lnnc.ir.graph import Array
from lnnc.train.learn.distill import ALONE, Distillation
from lnnc.train.learn.loop import Schedule
from lnnc.train.pipeline.battery import BatteryProblem
from lnnc.train.pipeline.generic import SequenceProblem
from lnnc.train.pipeline.problem import Lesson
from lnnc.train.sequences.task import Task

COLUMNS = ("u", "y", "z")


def machine(number: int, length: int = 90) -> Array:
    """(T, 3): an input in steps, a leaky integral of it, and a slower one in other units."""
    rng = np.random.default_rng(number)
    u = np.repeat(rng.uniform(-1.0, 1.0, length // 10 + 1), 10)[:length]
    y, z = np.zeros(length), np.full(length, 500.0)
    for t in range(1, length):
        y[t] = 0.8 * y[t - 1] + 0.5 * u[t - 1]
        z[t] = 0.95 * z[t - 1] + 0.05 * (500.0 + 100.0 * y[t - 1])
    return np.stack([u, y, z], axis=1)


def dataset(count: int = 6, length: int = 90) -> Dataset:
    sequences = tuple(Sequence(f"run{n}", machine(n, length + 3 * n)) for n in range(count))
    return Dataset(COLUMNS, ("V", "m", "Pa"), sequences, "CC0-1.0", (), ())


def sequence_problem(data: Dataset | None = None, **task: object) -> SequenceProblem:
    found = data or dataset()
    asked = {"inputs": ("u", "y"), "targets": ("y",), "window": 8, "horizon": 3, "every": 4, **task}
    return SequenceProblem(found, Task(**asked), folds([s.name for s in found.sequences], 2, 0), piece=32)  # type: ignore[arg-type]


def cell(number: int) -> Array:
    """A life of 230 to 320 cycles: capacity that falls faster and faster, with noise and a few outliers."""
    rng = np.random.default_rng([7, number])
    t = np.arange(230 + 30 * (number % 4)) / 400.0
    life = 1.0 - 0.05 * t - (0.1 + 0.05 * rng.random()) * t**3 + rng.normal(0.0, 5e-4, len(t))
    life[rng.integers(20, len(t), 3)] += 0.02
    return np.asarray(life)


def battery_problem(mode: str = "stream", gate: bool = True, count: int = 6) -> BatteryProblem:
    series = {f"cell{n}": cell(n) for n in range(count)}
    return BatteryProblem(series, folds(series, 2, 0), mode, gate, (("data", "made for a test"),))


def lesson(steps: int = 4, how: Distillation = ALONE, **rest: object) -> Lesson:
    return Lesson(Schedule(steps=steps, peak_lr=1e-2, batch=8), how, **rest)  # type: ignore[arg-type]
