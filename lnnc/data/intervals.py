"""How sure a mean error is: bootstrap over cells.

Windows of one cell resemble each other, so cells are drawn, with replacement, and each brings all its windows:

    m* = sum_c n_c S_c / sum_c n_c W_c,   n ~ multinomial(C; 1/C, ..., 1/C)

S_c is the sum of the errors of cell c, W_c their number. The interval holds the middle 95 % of m*. Two models on the
same windows are compared by their difference (paired): it is far surer than either mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lnnc.data.windows import Array, Batch
from lnnc.errors import LnncError

DRAWS = 10_000
MIDDLE = (2.5, 97.5)  # percentiles


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval; low and high are NaN where there is only one cell."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        if np.isnan(self.low):
            return f"{self.mean:.5f} [one cell]"
        return f"{self.mean:.5f} [{self.low:.5f}, {self.high:.5f}]"


def absolute_errors(batch: Batch, forecast: Array) -> dict[str, Array]:
    """Cell -> mean |error| over the horizon of each of its rows, (n,). Cells without rows are left out.

    Raises:
        LnncError: a forecast of another shape, or one that is not finite.
    """
    if forecast.shape != batch.targets.shape:
        raise LnncError(f"expected a forecast of shape {batch.targets.shape}, found {forecast.shape}", "scores")
    if not np.isfinite(forecast).all():
        raise LnncError("the forecast holds values that are not finite", "scores", "look at the training's losses")
    errors = np.abs(forecast - batch.targets).reshape(len(batch), -1).mean(axis=1)
    return {batch.names[i]: errors[batch.cell == i] for i in np.unique(batch.cell)}


def cell_bootstrap(errors_by_cell: Mapping[str, Array], seed: int = 0, draws: int = DRAWS) -> Interval:
    """The mean over all values, and its 95 % interval over cells.

    Args:
        errors_by_cell: cell -> its errors, of any shape; every value weighs the same.

    Raises:
        LnncError: no values.
    """
    return _bootstrap([np.asarray(e) for e in errors_by_cell.values() if np.size(e)], seed, draws)


def paired_bootstrap(a: Mapping[str, Array], b: Mapping[str, Array], seed: int = 0, draws: int = DRAWS) -> Interval:
    """The mean of a - b, and its 95 % interval: wholly below zero means that a is better.

    Raises:
        LnncError: a and b are not of the same cells and windows.
    """
    if a.keys() != b.keys() or any(np.shape(a[name]) != np.shape(b[name]) for name in a):
        raise LnncError("errors of different cells or windows cannot be paired", "scores", "score both on one batch")
    return cell_bootstrap({name: np.asarray(a[name]) - np.asarray(b[name]) for name in a}, seed, draws)


def _bootstrap(cells: list[Array], seed: int, draws: int) -> Interval:
    if not cells:
        raise LnncError("there are no errors to average", "scores", "give cells that are long enough for a window")
    sums, sizes = np.array([c.sum() for c in cells]), np.array([float(c.size) for c in cells])
    mean = float(sums.sum() / sizes.sum())
    if len(cells) == 1:
        return Interval(mean, float("nan"), float("nan"))
    times = np.random.default_rng(seed).multinomial(len(cells), np.full(len(cells), 1 / len(cells)), size=draws)
    low, high = np.percentile((times @ sums) / (times @ sizes), MIDDLE)
    return Interval(mean, float(low), float(high))
