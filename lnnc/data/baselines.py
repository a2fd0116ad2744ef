"""Naive forecasts, vectorised: (N, window) -> (N, horizon). No figure of a model is shown without them.

t = 0 is the newest value, t = 1 ... horizon are forecast. All of these but the learned linear model know nothing but
their window; that one is fitted on training cells only (`lnnc.data.linear`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial

import numpy as np

from lnnc.data.linear import LearnedLinear, linear_forecast
from lnnc.data.robust import BLOCK, block_means, line_through, median_clip
from lnnc.data.windows import Array, Batch
from lnnc.errors import Findings

Forecaster = Callable[[Array, int], Array]  # (N, window), horizon -> (N, horizon)

LINEAR = "learned linear"
BEST_NAIVE = "median-clipped quadratic 100"  # on raw MATR capacities; what a model has to beat


def persistence(inputs: Array, horizon: int) -> Array:
    """y(t) = x(0)."""
    return np.repeat(inputs[:, -1:], horizon, axis=1)


def polynomial(inputs: Array, horizon: int, degree: int, count: int) -> Array:
    """Least-squares polynomial through the last `count` values, continued.

    y = M x with M = V_future V_past^+; V holds Legendre polynomials. The newest value is taken off first and added
    again: with high degrees this saves digits.
    """
    level = inputs[:, -1:]
    return np.asarray(level + (inputs[:, -count:] - level) @ extrapolation(degree, count, horizon).T)


@lru_cache(maxsize=64)
def extrapolation(degree: int, count: int, horizon: int) -> Array:
    """M (horizon, count) of `polynomial`, by QR; read-only."""
    assert 0 <= degree < count
    t = np.arange(1 - count, horizon + 1) / max(count, horizon)
    basis = np.polynomial.legendre.legvander(t, degree)
    q, r = np.linalg.qr(basis[:count])
    matrix = np.asarray(basis[count:] @ np.linalg.solve(r, q.T), dtype=np.float64)
    matrix.flags.writeable = False
    return matrix


def clipped(inputs: Array, horizon: int, degree: int, count: int) -> Array:
    """`polynomial` through the last `count` values after `median_clip` of the whole window."""
    return polynomial(median_clip(inputs), horizon, degree, count)


def block_line(inputs: Array, horizon: int, count: int) -> Array:
    """Least-squares line through the means of the last `count` // 5 blocks of 5 after `median_clip`.

    Nearly `clipped`, but a pattern with a period of 5 cycles (a rate that rotates) cancels out. Also what a streaming
    model anchors to.
    """
    level, slope = line_through(block_means(median_clip(inputs)), count // BLOCK)
    step = (np.arange(1.0, horizon + 1.0) + (BLOCK - 1) / 2) / BLOCK  # from the newest block's centre, in blocks
    return np.asarray(level[:, None] + slope[:, None] * step)


def forecasters(window: int) -> dict[str, Forecaster]:
    """Every baseline that needs no training, by its name in tables; the numbers are values fitted to.

    Lines through 20 and 50 values, parabola through the whole window, raw and median-clipped; a line through means.
    Those that a short window cannot carry are left out.
    """
    found: dict[str, Forecaster] = {"persistence": persistence}
    for prefix, make in (("", polynomial), ("median-clipped ", clipped)):
        for kind, degree, count in (("line", 1, 20), ("line", 1, 50), ("quadratic", 2, window)):
            fits = degree < count <= window and (make is polynomial or window >= BLOCK)
            if fits:
                found[f"{prefix}{kind} {count}"] = partial(make, degree=degree, count=count)
    if window >= 20:
        found["block-mean line 20"] = partial(block_line, count=20)
    return found


def naive_forecasts(inputs: Array, horizon: int) -> dict[str, Array]:
    """Name -> (N, horizon) of every untrained baseline on inputs (N, window)."""
    return {name: forecast(inputs, horizon) for name, forecast in forecasters(inputs.shape[1]).items()}


def forecasts(batch: Batch, learned: Mapping[str, LearnedLinear] | None = None) -> dict[str, Array]:
    """Name -> (N, horizon) of every baseline on the rows of a batch, so that a table shows all on the same origins.

    Args:
        learned: cell -> the linear model that forecasts it: `cross_fit`, or one model of another data set for all.
            None leaves that row out.

    Raises:
        LnncError: a cell has no linear model, or one that was fitted on it.
    """
    found = naive_forecasts(batch.inputs, batch.targets.shape[1])
    if learned is not None:
        found[LINEAR] = _learned(batch, learned)
    return found


def _learned(batch: Batch, learned: Mapping[str, LearnedLinear]) -> Array:
    horizon = batch.targets.shape[1]
    used = [batch.names[i] for i in np.unique(batch.cell)]
    found = Findings(LINEAR)
    for name in used:
        if name not in learned:
            found.add(f"no model for cell '{name}'")
        elif name in learned[name].fitted_on:
            found.add(f"the model for cell '{name}' was fitted on it")
        elif learned[name].horizon != horizon:
            found.add(f"the model for cell '{name}' forecasts {learned[name].horizon} values, not {horizon}")
    found.raise_if_any("fit it with `cross_fit`, or on other cells")
    out = np.empty_like(batch.targets)
    for name in used:
        rows = batch.rows_of({name})
        out[rows] = linear_forecast(learned[name], batch.inputs[rows])
    return out
