"""Where forecasts are made and scored: origins, and the values before and after them.

A forecast made at origin o of a sequence x sees x[o - window : o] and is scored against x[o : o + horizon]: the origin
is the index of the first target. Windowed and streaming models have origins of their own; baselines are computed on
whichever set the model of the table is scored on. Sequences are plain arrays by name: one value per cycle, (T,), or
several, (T, C).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lnnc.errors import Findings, LnncError

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

WINDOW, HORIZON = 100, 100  # cycles seen, cycles forecast (the paper's task)
STRIDE, TRAIN_STRIDE = 39, 5  # between scored windows, between those that are trained on
FIRST, EVERY = 100, 40  # streaming: the first scored cycle, cycles between scored block ends


@dataclass(frozen=True, eq=False)
class Batch:
    """N forecasts to make: what is seen, what follows, and whose life it is.

    Args:
        names: the sequences, those without a row included.
        inputs: (N, window) or (N, window, C).
        targets: (N, horizon) or (N, horizon, C).
        cell: (N,) index into `names`.
        origin: (N,) index of the first target in its sequence.
    """

    names: tuple[str, ...]
    inputs: Array
    targets: Array
    cell: Ints
    origin: Ints

    def __len__(self) -> int:
        return len(self.cell)

    def rows_of(self, names: Collection[str]) -> NDArray[np.bool_]:
        """(N,) which rows belong to these sequences."""
        return np.isin(self.cell, [i for i, name in enumerate(self.names) if name in names])

    @property
    def unscored(self) -> tuple[str, ...]:
        """Sequences without a single row: most often they are too short."""
        used = set(self.cell.tolist())
        return tuple(name for i, name in enumerate(self.names) if i not in used)


def windows(length: int, window: int = WINDOW, horizon: int = HORIZON, stride: int = STRIDE) -> Ints:
    """Origins of windowed scoring: windows start at 0, stride, 2 stride, ... while window + horizon values remain.

    Raises:
        LnncError: a window, horizon or stride below 1.
    """
    _check_positive(window=window, horizon=horizon, stride=stride)
    return np.arange(window, length - horizon + 1, stride, dtype=np.int64)


def stream_origins(length: int, horizon: int = HORIZON, first: int = FIRST, every: int = EVERY) -> Ints:
    """Origins of streaming scoring: after `first` values of a life, then every `every`, while horizon values remain.

    Raises:
        LnncError: one of the numbers is below 1.
    """
    _check_positive(horizon=horizon, first=first, every=every)
    return np.arange(first, length - horizon + 1, every, dtype=np.int64)


def _check_positive(**numbers: int) -> None:
    found = Findings("task")
    for name, value in numbers.items():
        if value < 1:
            found.add(f"{name}: expected 1 or more, found {value}")
    found.raise_if_any("give numbers of samples")


def gather(
    series: Mapping[str, Array], origins: Mapping[str, Ints], window: int = WINDOW, horizon: int = HORIZON
) -> Batch:
    """Collect the rows of all sequences, in the order of `series`.

    Args:
        series: name -> (T,) or (T, C).
        origins: name -> its origins; sequences without an entry have none.

    Raises:
        LnncError: no row at all; values that are not finite; an origin without its whole window or horizon.
    """
    _check_positive(window=window, horizon=horizon)
    _check_series(series, origins, window, horizon)
    names = tuple(series)
    of_cell = [np.asarray(origins.get(name, ()), dtype=np.int64) for name in names]
    if not sum(map(len, of_cell)):
        raise LnncError(
            f"none of {len(names)} sequences has {window} + {horizon} values", "task", "shorten window or horizon"
        )
    cell = np.repeat(np.arange(len(names)), [len(o) for o in of_cell])
    return Batch(
        names, _slices(series, of_cell, -window, 0), _slices(series, of_cell, 0, horizon), cell, np.concatenate(of_cell)
    )


def _slices(series: Mapping[str, Array], origins: list[Ints], begin: int, end: int) -> Array:
    """Values begin ... end - 1 relative to every origin."""
    steps = np.arange(begin, end)
    parts = [x[o[:, None] + steps] for x, o in zip(series.values(), origins, strict=True) if len(o)]
    return np.concatenate(parts).astype(np.float64, copy=False)


def _check_series(series: Mapping[str, Array], origins: Mapping[str, Ints], window: int, horizon: int) -> None:
    found = Findings("task")
    for name in sorted(set(origins) - set(series)):
        found.add(f"origins are given for '{name}', which is no sequence")
    for name, x in series.items():
        if not np.isfinite(x).all():
            found.add(f"'{name}' holds {int((~np.isfinite(x)).sum())} values that are not finite")
        o = np.asarray(origins.get(name, ()))
        for bad in o[(o < window) | (o > len(x) - horizon)]:
            found.add(f"'{name}', {len(x)} values: origin {bad} lacks some of its {window} inputs or {horizon} targets")
    found.raise_if_any("repair the sequences, or choose origins with `windows` or `stream_origins`")


def window_batch(
    series: Mapping[str, Array], window: int = WINDOW, horizon: int = HORIZON, stride: int = STRIDE
) -> Batch:
    """Rows of windowed scoring (stride 39) or training (stride 5). Raises as `windows` and `gather`."""
    return gather(series, {n: windows(len(x), window, horizon, stride) for n, x in series.items()}, window, horizon)


def stream_batch(
    series: Mapping[str, Array], window: int = WINDOW, horizon: int = HORIZON, first: int = FIRST, every: int = EVERY
) -> Batch:
    """Rows of streaming scoring, for models that need a window too (the baselines). Raises as `gather`.

    A streaming model sees a life from its first value; a baseline the last `window` values, hence first >= window.
    """
    return gather(
        series, {n: stream_origins(len(x), horizon, first, every) for n, x in series.items()}, window, horizon
    )
