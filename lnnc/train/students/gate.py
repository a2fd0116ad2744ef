"""The trust gate: whom to believe, by what each forecaster has said of the cycles that have come since.

Experts, all as four coefficients around the same anchor line: the network, the line through the last 20 cycles (the
anchor line itself), the line through the last 50, the parabola through the last 100. Nothing is trained.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial import legendre

from lnnc.ir.graph import Array
from lnnc.train.students.signal import BLOCK, BOUND, CENTRES, COEFFICIENTS, HISTORY, UNIT, Signal, basis

EXPERTS = ("network", "line 20", "line 50", "quadratic 100")
PENDING = 10  # blocks after which a forecast is forgotten
DECAY = 0.9  # of the regret, per block
SHARPNESS = 0.4
FLOOR = 0.05  # added to the smallest error, in units
MOST = 16.0  # largest regret of one block
PRIOR = np.array([1.5, 0.0, 0.0, 0.0])


def _fit(means: int, degree: int) -> Array:
    """Coefficients of the least-squares polynomial through the newest means, (20, 4), to multiply deviations by."""
    tau = (CENTRES[-means:] - 50.5) / 49.5
    operator = np.zeros((HISTORY, COEFFICIENTS))
    operator[-means:, : degree + 1] = np.linalg.pinv(legendre.legvander(tau, degree)).T
    return operator


LINE_50, QUADRATIC_100 = _fit(10, 1), _fit(20, 2)


def naive_experts(signal: Signal) -> Array:
    """Line 20, line 50, quadratic 100, each coefficient within +-15: (N, K, 3, 4)."""
    fitted = (signal.deviations @ LINE_50, signal.deviations @ QUADRATIC_100)
    return np.asarray(np.clip(np.stack((np.zeros_like(fitted[0]), *fitted), -2), -BOUND, BOUND))


def block_errors(signal: Signal, experts: Array) -> Array:
    """e_i = mean over the pending forecasts of |mean of the newest block - what was forecast for it|, in units.

    experts: (N, K, E, 4). Returns (N, K, E); NaN at the first step, where nothing is pending.
    """
    lives, steps, kinds, _ = experts.shape
    total = np.zeros((lives, steps, kinds))
    for j in range(1, min(PENDING, steps - 1) + 1):
        ahead = BLOCK * (j - 1) + np.arange(1.0, BLOCK + 1.0)  # the newest block, as the forecast counted it
        line = signal.anchor[:, :-j] + signal.slope[:, :-j] * ahead.mean()
        missed = (signal.newest[:, j:] - line) / UNIT
        total[:, j:] += np.abs(missed[..., None] - experts[:, :-j] @ basis(ahead).mean(0))
    pending = np.minimum(np.arange(steps), PENDING)[:, None]
    return np.divide(total, pending, out=np.full_like(total, np.nan), where=pending > 0)


def trust(errors: Array, prior: Array = PRIOR) -> Array:
    """Weights of the experts: r = min((e - min e) / (0.05 + min e), 16), A <- 0.9 A + r, softmax(prior - 0.4 A).

    errors: (N, K, E) of `block_errors`; the same shape.
    """
    best = errors.min(-1, keepdims=True)
    regrets = np.nan_to_num(np.minimum((errors - best) / (FLOOR + best), MOST))
    held = np.zeros_like(regrets[:, 0])
    weights: Array = np.empty_like(regrets)
    for k in range(regrets.shape[1]):
        held = DECAY * held + regrets[:, k]
        score = np.exp(prior - SHARPNESS * held)
        weights[:, k] = score / score.sum(-1, keepdims=True)
    return weights


def gated(signal: Signal, coefficients: Array) -> tuple[Array, Array]:
    """The network's coefficients (N, K, 4) blended with the naive experts', and the weights (N, K, 4 experts)."""
    experts = np.concatenate([coefficients[..., None, :], naive_experts(signal)], -2)
    weights = trust(block_errors(signal, experts))
    return np.asarray(np.einsum("nke,nkec->nkc", weights, experts)), weights
