"""The formulation of battery forecasts as matrices: how block means become features, experts and a forecast.

Everything is linear in the last 20 block means but for the clips (`docs/forecast.md`). The compiler's graph is made of
these; `signal` and `gate` say the same without them, and own the numbers. Time t counts samples from the newest one.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial import legendre

from lnnc.data.windows import WINDOW
from lnnc.ir.graph import Array
from lnnc.train.students.signal import (
    AGE_LIMIT,
    BASIS,
    BLOCK,
    BOUND,
    CENTRES,
    COEFFICIENTS,
    HISTORY,
    HORIZON,
    SUB,
    TIMES,
    UNIT,
)

STEPS = WINDOW // BLOCK
SPAN = 50.0  # samples: the slope is fed as its rise over so many, in units
AGE_STEP = BOUND / AGE_LIMIT  # thousands of samples in a block


def line(count: int) -> Array:
    """(2, HISTORY): level at t = 0 and slope of the least-squares line through the newest `count` means."""
    return _fit(count, 1)


def _fit(count: int, degree: int) -> Array:
    """(degree + 1, HISTORY): coefficients of t^k of the least-squares polynomial through the newest `count` means."""
    found = np.zeros((degree + 1, HISTORY))
    found[:, HISTORY - count :] = np.linalg.pinv(CENTRES[HISTORY - count :, None] ** np.arange(degree + 1))
    return found


def features() -> Array:
    """(3, HISTORY): slope over `SPAN`, the newest block against the previous line, the block of t = -30 ... -21 against
    this line, all in units."""
    level, slope = line(4)
    before, steep = np.roll(line(4), -(BLOCK // SUB), axis=1)  # as it was a block ago
    newest, older = _mean_of(0), _mean_of(4)
    middle = BLOCK - (BLOCK - 1) / 2  # of the newest block, seen from the end of the previous one
    return np.stack(
        [SPAN * slope, 3.0 * (newest - before - middle * steep), older - level - CENTRES[-6:-4].mean() * slope]
    ) / UNIT  # fmt: skip


def _mean_of(first: int) -> Array:
    """(HISTORY,): mean of two means, the newest of which is `first` means old."""
    found = np.zeros(HISTORY)
    found[HISTORY - first - 2 : HISTORY - first] = 0.5
    return found


def level() -> Array:
    """(1, 2): the mean of the newest block from its two means."""
    return np.full((1, 2), 0.5)


def block_means() -> tuple[Array, Array]:
    """(STEPS,) and (STEPS, COEFFICIENTS): means of t / SPAN and of the basis over each block of a forecast."""
    times = TIMES.reshape(STEPS, BLOCK)
    return times.mean(axis=1) / SPAN, BASIS.reshape(STEPS, BLOCK, COEFFICIENTS).mean(axis=1)


def monomials() -> Array:
    """(COEFFICIENTS, 1 + COEFFICIENTS): from slope feature and coefficients to those of s^j, s = tau / 2, in SOH.

    y(t) = anchor + sum_j k_j s^j, k = monomials @ [slope, coefficients].
    """
    from_legendre = np.stack(
        [np.pad(legendre.leg2poly(row), (0, COEFFICIENTS - 1 - i)) for i, row in enumerate(np.eye(COEFFICIENTS))]
    )
    rise = np.zeros(COEFFICIENTS)  # t = (HORIZON + 1) / 2 + (HORIZON - 1) s
    rise[0], rise[1] = (HORIZON + 1) / 2 / SPAN, (HORIZON - 1) / 2 / SPAN
    columns = np.stack([rise, *from_legendre], axis=1)
    return np.asarray(columns * (UNIT * 2.0 ** np.arange(COEFFICIENTS))[:, None])


def rivals() -> Array:
    """(5, HISTORY): Legendre coefficients, around the anchor line and in units, of the longer line (2) and of the
    parabola (3)."""
    longer = _around(_fit(HISTORY // 2, 1), 2)
    parabola = _around(_fit(HISTORY, 2), 3)
    return np.concatenate([longer, parabola])


def _around(fit: Array, terms: int) -> Array:
    """(terms, HISTORY): Legendre coefficients of a polynomial in t less the anchor line, in units."""
    values = TIMES[:, None] ** np.arange(len(fit)) @ fit - np.stack([np.ones(HORIZON), TIMES], axis=1) @ line(4)
    return np.asarray(np.linalg.pinv(BASIS[:, :terms]) @ values / UNIT)
