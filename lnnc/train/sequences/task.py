"""Forecasting or estimating columns of any sequences: what is seen, what is wanted, where it is scored, naive rivals.

A sequence is (T, C). At sample t a model has seen the input columns up to t and says the target columns at
t + 1 ... t + horizon, or at t itself where the horizon is 0 (an estimator). With `change` it says by how much they will
differ from their value at t. Scored are the samples t = window - 1, window - 1 + every, ...
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lnnc.data.dataset import Dataset
from lnnc.data.splits import Folds
from lnnc.errors import Findings, LnncError
from lnnc.ir.graph import Array

LINE = 20  # samples that the naive line is drawn through, if the window has as many
Series = Mapping[str, Array]


@dataclass(frozen=True)
class Task:
    """What is asked.

    Attributes:
        inputs, targets: names of columns.
        mode: "stream": the state is carried from the beginning of a sequence; "window": each time reset and fed
            `window` samples.
        horizon: samples ahead; 0: the targets at the newest sample.
        change: targets as differences from their newest value, which then has to be known: an input.
    """

    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    mode: str = "stream"
    window: int = 20
    horizon: int = 1
    every: int = 1
    change: bool = False

    @property
    def steps(self) -> int:
        """Values of each target that a model gives."""
        return max(self.horizon, 1)

    @property
    def outputs(self) -> int:
        return self.steps * len(self.targets)

    def known(self) -> list[int]:
        """The position of each target among the inputs; fewer where some are not."""
        return [self.inputs.index(name) for name in self.targets if name in self.inputs]


@dataclass(frozen=True, eq=False)
class Columns:
    """The columns of a task.

    Attributes:
        seen: name -> (T, inputs); wanted: name -> (T, targets).
        units: of the inputs and of the targets.
    """

    task: Task
    seen: Series
    wanted: Series
    units: tuple[tuple[str, ...], tuple[str, ...]]

    def origins(self, name: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Samples at which a sequence is scored."""
        last = len(self.seen[name]) - self.task.horizon
        return np.arange(self.task.window - 1, last, self.task.every, dtype=np.int64)

    def windows(self, name: str, width: int) -> Array:
        """The last `width` samples seen at each origin, (n, width, inputs)."""
        return np.asarray(self.seen[name][self.origins(name)[:, None] + np.arange(1 - width, 1)])

    def truth(self, name: str) -> Array:
        """What is wanted at each origin, (n, steps, targets)."""
        return wanted_at(self.wanted[name], self.origins(name), self.task)


def wanted_at(values: Array, origins: Array | np.ndarray[tuple[int], np.dtype[np.int64]], task: Task) -> Array:
    """(T, targets) -> (n, steps, targets): what a model should say at each origin."""
    ahead = np.arange(1, task.horizon + 1) if task.horizon else np.zeros(1, np.int64)
    found = values[np.asarray(origins, np.int64)[:, None] + ahead]
    return np.asarray(found - values[np.asarray(origins, np.int64), None] if task.change else found)


def columns_of(dataset: Dataset, task: Task) -> Columns:
    """The columns of a task in a data set.

    Raises:
        LnncError: a column that is not there, a change of what is not seen, no sequence that is long enough.
    """
    found = Findings("task")
    for name in (*task.inputs, *task.targets):
        if name not in dataset.columns:
            found.add(f"no column '{name}'; there are {', '.join(dataset.columns)}")
    if task.change and len(task.known()) < len(task.targets):
        found.add("a change can only be forecast from targets that are inputs too")
    found.raise_if_any('name columns of the data; predict = "value"')
    seen, wanted = ([dataset.columns.index(name) for name in names] for names in (task.inputs, task.targets))
    units = tuple(tuple(dataset.units[i] for i in chosen) for chosen in (seen, wanted))
    long = [s for s in dataset.sequences if len(s.values) >= task.window + max(task.horizon, 1)]
    if not long:
        longest = max(len(s.values) for s in dataset.sequences)
        raise LnncError(
            f"no sequence has {task.window} + {max(task.horizon, 1)} samples; the longest has {longest}", "task",
            "shorten the window or the horizon",
        )  # fmt: skip
    return Columns(
        task, {s.name: s.values[:, seen] for s in long}, {s.name: s.values[:, wanted] for s in long},
        (units[0], units[1]),
    )  # fmt: skip


# ---------------------------------------------------------------- scaling


@dataclass(frozen=True, eq=False)
class Scaling:
    """(real - offset) / scale of the inputs (I,) and of what is wanted (targets,), from training sequences alone.

    Attributes:
        ranges: (I, 2) smallest and largest input there.
    """

    seen: tuple[Array, Array]
    wanted: tuple[Array, Array]
    ranges: Array


def scaling_of(columns: Columns, names: Sequence[str]) -> Scaling:
    """Mean and standard deviation over the samples of these sequences; a constant column keeps the scale 1."""
    seen = np.concatenate([columns.seen[name] for name in names])
    wanted = np.concatenate([columns.truth(name).reshape(-1, len(columns.task.targets)) for name in names])
    return Scaling(_moments(seen), _moments(wanted), np.stack([seen.min(axis=0), seen.max(axis=0)], axis=1))


def _moments(values: Array) -> tuple[Array, Array]:
    deviation = values.std(axis=0)
    return values.mean(axis=0), np.where(deviation > 0, deviation, 1.0)


def scalings(columns: Columns, split: Folds) -> list[Scaling]:
    """One for each fold, of its training sequences, and one of all sequences."""
    groups = [split.train(fold) for fold in range(len(split))]
    return [scaling_of(columns, group) for group in (*groups, split.names)]


# ---------------------------------------------------------------- naive


def baselines(columns: Columns, split: Folds) -> dict[str, dict[str, Array]]:
    """Name of the forecaster -> sequence -> (n, steps, targets), as `Columns.truth`.

    "mean": of the training sequences of a fold. "persistence", "line N" (least squares through the last N samples): of
    targets that are inputs too.
    """
    fold = split.fold_of()
    means = [scaling.wanted[0] for scaling in scalings(columns, split)]
    found = {"mean of training": {name: np.broadcast_to(means[fold[name]], columns.truth(name).shape)
                                  for name in split.names}}  # fmt: skip
    task = columns.task
    if task.horizon and len(task.known()) == len(task.targets):
        found["persistence"] = {name: _line(columns, name, 1) for name in split.names}
        count = min(LINE, task.window)
        if count > 1:
            found[f"line {count}"] = {name: _line(columns, name, count) for name in split.names}
    return found


def _line(columns: Columns, name: str, count: int) -> Array:
    """The least-squares line through the last `count` samples, continued; of one sample: the sample."""
    task = columns.task
    past = columns.windows(name, count)[..., task.known()]  # (n, count, targets)
    times, ahead = np.arange(1.0 - count, 1.0), np.arange(1.0, task.horizon + 1.0)
    centred = times - times.mean()
    slope = np.einsum("k,nkc->nc", centred, past) / max(float(centred @ centred), 1.0)
    said = past.mean(axis=1)[:, None] + slope[:, None] * (ahead - times.mean())[None, :, None]
    return np.asarray(said - past[:, -1:] if task.change else said)
