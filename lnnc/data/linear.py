"""The learned linear baseline: what a model without any nonlinearity but the clip makes of the same inputs.

x: the window after `median_clip`. (a, s): the line through its last 20 samples. u: the unit, 0.01 of SOH.

    f = [block means of (x - line) / u,  50 s / u,  1]          22 features for a window of 100
    q = W^T f                                                   4 coefficients: W has 88 numbers
    y(t) = a + s t + u sum_k q_k P_k(tau),  tau in [-1, 1] over t = 1 ... horizon,  P_k Legendre

W minimises the mean |error| by iteratively reweighted least squares, with a small ridge on all but the last row. On
held-out MATR cells this scores .00184, plain least squares .00235.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from lnnc.data.robust import BLOCK, block_means, line_through, median_clip
from lnnc.data.splits import Folds
from lnnc.data.windows import HORIZON, TRAIN_STRIDE, WINDOW, Array, window_batch
from lnnc.errors import LnncError

DEGREE = 3
LINE = 20  # samples under the anchor line
UNIT = 0.01
RIDGE = 0.01  # per row, in units squared; chosen among 0 ... 3, flat between 0.01 and 0.1
ROUNDS = 10  # of reweighting; 40 give the same MAE
SMALLEST = 0.05  # units: an error below this is weighted like this


@dataclass(frozen=True, eq=False)
class LearnedLinear:
    """A fitted model.

    Args:
        weights: W (features, 4).
        window, horizon: of the task it was fitted for.
        unit: u.
        fitted_on: every sequence that W has seen.
    """

    weights: Array
    window: int
    horizon: int
    unit: float
    fitted_on: frozenset[str]


def linear_forecast(model: LearnedLinear, inputs: Array) -> Array:
    """y of the module's equations; (N, window) -> (N, horizon).

    Raises:
        LnncError: inputs of another window.
    """
    if inputs.shape[1] != model.window:
        raise LnncError(
            f"fitted for windows of {model.window} values, found {inputs.shape[1]}", "learned linear", "fit it again"
        )
    features, line = _anchored(inputs, model.horizon, model.unit)
    return np.asarray(line + model.unit * (features @ model.weights) @ _basis(model.horizon).T)


def fit_linear(
    series: Mapping[str, Array], window: int = WINDOW, horizon: int = HORIZON, stride: int = TRAIN_STRIDE,
    unit: float = UNIT,
) -> LearnedLinear:  # fmt: skip
    """Fit W on every window of these sequences.

    Raises:
        LnncError: a window shorter than the anchor line, or sequences without a single window.
    """
    if window < LINE:
        raise LnncError(f"expected a window of {LINE} values or more, found {window}", "learned linear", "a longer one")
    batch = window_batch(series, window, horizon, stride)
    features, line = _anchored(batch.inputs, horizon, unit)
    weights = _least_absolute(features, (batch.targets - line) / unit, _basis(horizon))
    return LearnedLinear(weights, window, horizon, unit, frozenset(series))


def cross_fit(
    series: Mapping[str, Array], split: Folds, window: int = WINDOW, horizon: int = HORIZON, stride: int = TRAIN_STRIDE,
    unit: float = UNIT,
) -> dict[str, LearnedLinear]:  # fmt: skip
    """Cell -> the model that was fitted without it: one fit per fold on its training cells.

    Raises:
        LnncError: as `fit_linear`.
    """
    models = [fit_linear(_only(series, split.train(i)), window, horizon, stride, unit) for i in range(len(split))]
    return {name: models[i] for name, i in split.fold_of().items()}


def _only(series: Mapping[str, Array], names: Iterable[str]) -> dict[str, Array]:
    return {name: series[name] for name in names}


def _anchored(inputs: Array, horizon: int, unit: float) -> tuple[Array, Array]:
    """f (N, features), and the anchor line over the horizon (N, horizon)."""
    x = median_clip(inputs)
    level, slope = line_through(x, LINE)
    past = level[:, None] + slope[:, None] * np.arange(1.0 - x.shape[1], 1.0)
    means = block_means((x - past) / unit, BLOCK)
    features = np.column_stack([means, 50.0 * slope / unit, np.ones(len(x))])
    return features, level[:, None] + slope[:, None] * np.arange(1.0, horizon + 1.0)


def _basis(horizon: int) -> Array:
    """P_0 ... P_3 at tau(1) ... tau(horizon); (horizon, 4)."""
    tau = np.linspace(-1.0, 1.0, horizon) if horizon > 1 else np.zeros(1)
    return np.asarray(np.polynomial.legendre.legvander(tau, DEGREE))


def _least_absolute(features: Array, targets: Array, basis: Array) -> Array:
    """argmin_W sum |targets - features W basis^T| + ridge; (N, F), (N, H), (H, 4) -> (F, 4)."""
    importance = np.ones_like(targets)
    for _ in range(ROUNDS):
        weights = _weighted_squares(features, targets, basis, importance)
        importance = 1.0 / np.maximum(np.abs(targets - features @ weights @ basis.T), SMALLEST)
    return weights


def _weighted_squares(features: Array, targets: Array, basis: Array, importance: Array) -> Array:
    """argmin_W sum importance * (targets - features W basis^T)^2 + ridge.

    The normal equations are built from products of two basis functions, F^T diag(importance @ (P_i P_j)) F, which needs
    no matrix of N * H rows.
    """
    count, size = features.shape
    terms = basis.shape[1]
    normal = np.zeros((terms, size, terms, size))
    for i in range(terms):
        for j in range(i + 1):
            block = features.T @ ((importance @ (basis[:, i] * basis[:, j]))[:, None] * features)
            normal[i, :, j] = normal[j, :, i] = block
    ridge = np.tile(np.append(np.full(size - 1, RIDGE * count), 1e-9 * count), terms)
    right = (features.T @ ((importance * targets) @ basis)).T.ravel()
    solved = np.linalg.solve(normal.reshape(terms * size, -1) + np.diag(ridge), right)
    return np.asarray(solved.reshape(terms, size).T)
