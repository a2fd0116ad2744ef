"""The streaming formulation in float64: blocks of raw values -> robust means -> anchor line, features, forecast.

Time runs in blocks of ten cycles; step k is the end of block k. Everything here is causal and fixed: nothing is fitted
on data. N lives are processed together, padded at their ends to K blocks; what stands behind the end of a life is
never read by the steps before it. Shapes: N lives, K steps, 20 means in a history (oldest first), 4 coefficients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.polynomial import legendre

from lnnc.errors import LnncError
from lnnc.ir.graph import Array

BLOCK, SUB = 10, 5  # cycles of a block and of a mean
HISTORY = 20  # means, and spreads, that are remembered
HORIZON = 100  # cycles of a forecast
COEFFICIENTS = 4  # Legendre polynomials of the deviation from the anchor line
UNIT = 0.01  # of SOH: what coefficients and features are counted in
CLIP = 4.0  # half-width of the band around a median, in MADs
BOUND = 15.0  # of features and coefficients
AGE_LIMIT = 1500  # blocks
FEATURES = ("slope", "surprise", "bend", "age")

CENTRES = -2.0 - SUB * np.arange(HISTORY - 1, -1, -1.0)  # of the means, t = 0 at the newest cycle
TIMES = np.arange(1.0, HORIZON + 1.0)
_ANCHOR = 4  # newest means that the anchor line is fitted to
_MIDDLE = float(CENTRES[-_ANCHOR:].mean())
_LEVER = (CENTRES[-_ANCHOR:] - _MIDDLE) / np.sum((CENTRES[-_ANCHOR:] - _MIDDLE) ** 2)


def basis(t: Array) -> Array:
    """P_k(tau), tau = (t - 50.5) / 49.5, k = 0 ... 3; (len(t), 4)."""
    return np.asarray(legendre.legvander((t - 50.5) / 49.5, COEFFICIENTS - 1))


BASIS = basis(TIMES)  # (100, 4)


@dataclass(frozen=True, eq=False)
class Signal:
    """What one step knows, for every step of every life.

    Attributes:
        steps: blocks of each life, (N,).
        means: the last 20 means, oldest first, (N, K, 20).
        anchor, slope: the line a + s t through the last four means, (N, K); s is bounded with its feature.
        features: slope, surprise, bend, age, each within +-15, (N, K, 4).
    """

    steps: Array
    means: Array
    anchor: Array
    slope: Array
    features: Array

    @property
    def valid(self) -> Array:
        """Steps before the end of their life, (N, K)."""
        return np.asarray(np.arange(self.anchor.shape[1]) < self.steps[:, None])

    @property
    def newest(self) -> Array:
        """Mean of the newest block, (N, K)."""
        return np.asarray(self.means[..., -2:].mean(-1))

    @property
    def deviations(self) -> Array:
        """The means as deviations from the anchor line, in units, (N, K, 20)."""
        line = self.anchor[..., None] + self.slope[..., None] * CENTRES
        return np.asarray((self.means - line) / UNIT)


def observe(lives: Sequence[Array], whole: bool = False) -> Signal:
    """Lives of raw values, one per cycle from the first on, as what each of their steps knows.

    A window is a life of 100 values: its last step is the one that forecasts. Taken `whole`, as by a student that sees
    all of a window at once, it is clipped by the spreads of all of it, and its age, which it does not tell, is 0.

    Raises:
        LnncError: a life that is shorter than a block, or holds a value that is not finite.
    """
    blocks, steps = _padded(lives)
    history = _histories(_robust_means(blocks, whole))
    anchor, slope = _anchor_line(history)
    features = _features(history, anchor, slope)
    if whole:
        features[..., FEATURES.index("age")] = 0.0
    return Signal(steps, history, anchor, slope, features)


def _padded(lives: Sequence[Array]) -> tuple[Array, Array]:
    """(N, K, 10) with the last block of each life repeated behind its end, and the blocks of each life."""
    for number, life in enumerate(lives):
        if len(life) < BLOCK or not np.isfinite(life).all():
            what = f"{len(life)} values" if len(life) < BLOCK else "a value that is not finite"
            raise LnncError(f"life {number} has {what}; {BLOCK} finite values or more are needed", "signal")
    steps = np.array([len(life) // BLOCK for life in lives])
    index = np.minimum(np.arange(steps.max()), steps[:, None] - 1)  # (N, K)
    cut = [np.reshape(life[: n * BLOCK], (n, BLOCK)) for life, n in zip(lives, steps, strict=True)]
    return np.stack([blocks[k] for blocks, k in zip(cut, index, strict=True)]), steps


def _robust_means(blocks: Array, whole: bool) -> Array:
    """Means of five values each, clipped to median +- 4 MAD: (N, K, 10) -> (N, 2 K).

    MAD: lower median of the last 20 spreads, the newest two among them; before there are 20 the first stands in. Of a
    whole window it is that of the last step.
    """
    parts = blocks.reshape(len(blocks), -1, SUB)
    medians = np.median(parts, -1)
    spreads = np.median(np.abs(parts - medians[..., None]), -1)
    mad = np.sort(_histories(spreads), -1)[..., (HISTORY - 1) // 2]  # (N, K)
    mad = np.repeat(mad[:, -1:], mad.shape[1], 1) if whole else mad
    half = CLIP * np.repeat(mad, 2, 1)
    return np.asarray(np.clip(parts, (medians - half)[..., None], (medians + half)[..., None]).mean(-1))


def _histories(values: Array) -> Array:
    """The last 20 of two values per step, padded in front with the first: (N, 2 K) -> (N, K, 20)."""
    padded = np.concatenate([np.repeat(values[:, :1], HISTORY - 2, 1), values], 1)
    return sliding_window_view(padded, HISTORY, 1)[:, ::2]


def _anchor_line(history: Array) -> tuple[Array, Array]:
    """Least squares through the last four means; 50 s / u within +-15, and a = mean + 9.5 s with that s."""
    recent = history[..., -_ANCHOR:]
    limit = BOUND * UNIT / 50.0
    slope = np.clip(recent @ _LEVER, -limit, limit)
    return recent.mean(-1) - _MIDDLE * slope, slope


def _features(history: Array, anchor: Array, slope: Array) -> Array:
    """(N, K, 4): 50 s; 3 (newest block - last step's line there); block -3 - line; units; age in 1,000 cycles."""
    expected = np.concatenate([history[:, :1, 0], (anchor + 5.5 * slope)[:, :-1]], 1)
    surprise = 3.0 * (history[..., -2:].mean(-1) - expected)
    bend = history[..., -6:-4].mean(-1) - (anchor - 24.5 * slope)
    age = np.minimum(np.arange(1, anchor.shape[1] + 1), AGE_LIMIT) * 0.01
    columns = (50.0 * slope / UNIT, surprise / UNIT, bend / UNIT, np.broadcast_to(age, anchor.shape))
    return np.asarray(np.clip(np.stack(columns, -1), -BOUND, BOUND))


def forecast(signal: Signal, coefficients: Array) -> Array:
    """y(t) = a + s t + u sum_k q_k P_k(tau), t = 1 ... 100: (N, K, 4) -> (N, K, 100)."""
    line = signal.anchor[..., None] + signal.slope[..., None] * TIMES
    return np.asarray(line + UNIT * (coefficients @ BASIS.T))


def targets(lives: Sequence[Array], signal: Signal) -> Array:
    """What came after each step, (N, K, 100); NaN behind the end of a life."""
    length = signal.anchor.shape[1] * BLOCK + HORIZON
    padded = np.full((len(lives), length), np.nan)
    for row, life in zip(padded, lives, strict=True):
        row[: len(life)] = life
    return sliding_window_view(padded[:, BLOCK:], HORIZON, 1)[:, ::BLOCK]


def residuals(lives: Sequence[Array], signal: Signal) -> Array:
    """What the coefficients have to explain: (target - anchor line) / u, (N, K, 100)."""
    return (targets(lives, signal) - forecast(signal, np.zeros(COEFFICIENTS))) / UNIT
