"""Samples that cannot be measurements: NaN, zero, and spikes that stand away from both sides.

A sample x_i is compared with the level that the samples before it and those after it predict,

    level(side) = m1 + (i - t1) (m1 - m2) / (t1 - t2),

m1, t1 the median value and position of the nearest 5 sound samples of that side, m2, t2 those of the next 5 (without
them, level = m1). It is a spike where it is off every side's level in the same direction by more than

    max(0.05 level, 10 * 1.4826 * MAD),     MAD = median over the life of |x - median of its 5 neighbours|.

A step, a knee and a slow drift agree with one side, so they stay. Within 3 samples of an end only one side counts. The
new value is the level of the samples BEFORE it (of those after it only at the very beginning): no value is taken from
the future, though the judgement looks at both sides.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from lnnc.data.dataset import Array

SIDE = 5  # samples of a median
ENOUGH = 3  # samples that make a side
SHARE = 0.05  # of the level: what no cell loses and regains in a cycle
SPREADS = 10.0  # robust standard deviations
BAD_MAX = 0.1  # of all samples: with more, the sequence is no measurement
REACH = 10  # samples over which a slope is trusted
Indices = NDArray[np.intp]


def repair(values: Array) -> tuple[Array, list[tuple[int, float, float, str]]]:
    """Mend a sequence (T,) of positive values.

    Returns:
        the mended copy, and (index, old, new, reason) of every changed sample.

    Raises:
        ValueError: more than a tenth of the samples is bad, or fewer than 3 are sound.
    """
    reasons = {int(i): "NaN" for i in np.flatnonzero(~np.isfinite(values))}
    reasons |= {int(i): "not positive" for i in np.flatnonzero(np.isfinite(values) & (values <= 0))}
    sound = np.setdiff1d(np.arange(len(values)), list(reasons))
    _check(len(reasons), len(values))
    reasons |= dict.fromkeys(_spikes(values, sound), "spike")
    sound = np.setdiff1d(sound, list(reasons))
    _check(len(reasons), len(values))
    mended = values.copy()
    for index in sorted(reasons):
        before, after = _levels(values, sound, index)
        mended[index] = before if before is not None else after
    return mended, [(i, float(values[i]), float(mended[i]), reasons[i]) for i in sorted(reasons)]


def _check(bad: int, count: int) -> None:
    if count - bad < ENOUGH:
        raise ValueError(f"{count - bad} of {count} samples are sound, expected at least {ENOUGH}")
    if bad > max(1.0, BAD_MAX * count):
        raise ValueError(f"{bad} of {count} samples are NaN, not positive or spikes: too many to mend")


def _spikes(values: Array, sound: Indices) -> list[int]:
    """Indices of spikes among the sound samples."""
    if len(sound) < SIDE:
        return []
    padded = np.pad(values[sound], SIDE // 2, mode="reflect")
    off = np.abs(values[sound] - np.median(sliding_window_view(padded, SIDE), axis=1))
    spread = SPREADS * 1.4826 * float(np.median(off))
    suspects = off > SHARE / 2 * float(np.median(values[sound]))
    suspects[:ENOUGH] = suspects[-ENOUGH:] = True
    return [int(i) for i in sound[suspects] if _is_spike(values, sound, int(i), spread)]


def _is_spike(values: Array, sound: Indices, index: int, spread: float) -> bool:
    levels = [level for level in _levels(values, sound, index) if level is not None]
    away = [float(values[index]) - level for level in levels]
    far = all(abs(a) > max(SHARE * abs(level), spread) for a, level in zip(away, levels, strict=True))
    return bool(levels) and far and len({a > 0 for a in away}) == 1


def _levels(values: Array, sound: Indices, index: int) -> tuple[float | None, float | None]:
    """What the samples before and those after predict at `index`; None with fewer than 3 on that side."""
    before = sound[sound < index][::-1][: 2 * SIDE]
    after = sound[sound > index][: 2 * SIDE]
    return _level(values, before, index), _level(values, after, index)


def _level(values: Array, side: Indices, index: int) -> float | None:
    """The level of up to 10 samples of one side, the nearest first."""
    if len(side) < ENOUGH:
        return None
    near, far = side[:SIDE], side[SIDE:]
    m1, t1 = float(np.median(values[near])), float(np.median(near))
    if len(far) < ENOUGH or abs(index - t1) > REACH:
        return m1
    return m1 + (index - t1) * (m1 - float(np.median(values[far]))) / (t1 - float(np.median(far)))
