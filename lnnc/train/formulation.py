"""The formulation of battery forecasts in numbers: how block means become features, experts and a forecast.

Everything is linear in the last 20 block means but for the clips (`docs/forecast.md`); these are the matrices, for the
compiler's graph and for its float twin alike. Time t counts samples from the newest one, in units of one.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

Array = NDArray[np.float64]

WINDOW = HORIZON = 100
BLOCK, SUB = 10, 5  # samples of a step, and of one mean
MEANS = WINDOW // SUB
STEPS = WINDOW // BLOCK
UNIT = 0.01  # of SOH: what features and coefficients are measured in
LIMIT = 15.0  # of features and coefficients
CLIP = 4  # median absolute deviations that a sample may lie from the median of its block
SPAN = 50.0  # samples: the slope is fed as its rise over so many, in units
TERMS = 4
AGE_STEP = 0.01  # thousands of samples in a block
CENTRES = -2.0 - SUB * np.arange(MEANS)[::-1]  # t of each mean, oldest first


def line(count: int) -> Array:
    """(2, MEANS): level at t = 0 and slope of the least-squares line through the newest `count` means."""
    return _fit(count, 1)


def _fit(count: int, degree: int) -> Array:
    """(degree + 1, MEANS): coefficients of t^k of the least-squares polynomial through the newest `count` means."""
    found = np.zeros((degree + 1, MEANS))
    found[:, MEANS - count :] = np.linalg.pinv(CENTRES[MEANS - count :, None] ** np.arange(degree + 1))
    return found


def shifted(rows: Array, means: int) -> Array:
    """The same functions of the means as they were `means` means ago; the oldest stands in for those before it."""
    found = np.zeros_like(rows)
    found[:, : MEANS - means] = rows[:, means:]
    found[:, 0] += rows[:, :means].sum(axis=1)
    return found


def features() -> Array:
    """(3, MEANS): slope over `SPAN`, the newest block against the previous line, the block of t = -30 ... -21 against
    this line, all in units."""
    level, slope = line(4)
    before, steep = shifted(line(4), BLOCK // SUB)
    newest, older = _mean_of(0), _mean_of(4)
    middle = BLOCK - (BLOCK - 1) / 2  # of the newest block, seen from the end of the previous one
    return np.stack(
        [SPAN * slope, 3.0 * (newest - before - middle * steep), older - level - CENTRES[-6:-4].mean() * slope]
    ) / UNIT  # fmt: skip


def _mean_of(first: int) -> Array:
    """(MEANS,): mean of two means, the newest of which is `first` means old."""
    found = np.zeros(MEANS)
    found[MEANS - first - 2 : MEANS - first] = 0.5
    return found


def level() -> Array:
    """(1, 2): the mean of the newest block from its two means."""
    return np.full((1, 2), 0.5)


def places() -> Array:
    """(HORIZON,): tau of each step of a forecast, from -1 to 1."""
    return np.linspace(-1.0, 1.0, HORIZON)


def basis() -> Array:
    """(HORIZON, TERMS): Legendre polynomials at `places`."""
    return np.asarray(legendre.legvander(places(), TERMS - 1), np.float64)


def block_means() -> tuple[Array, Array]:
    """(STEPS,) and (STEPS, TERMS): means of t / SPAN and of the basis over each block of a forecast."""
    times = np.arange(1, HORIZON + 1).reshape(STEPS, BLOCK)
    return times.mean(axis=1) / SPAN, basis().reshape(STEPS, BLOCK, TERMS).mean(axis=1)


def monomials() -> Array:
    """(TERMS, 1 + TERMS): from the slope feature and the coefficients to those of s^j, s = tau / 2, in SOH.

    y(t) = anchor + sum_j k_j s^j, k = monomials @ [slope, coefficients].
    """
    from_legendre = np.stack(
        [np.pad(legendre.leg2poly(row), (0, TERMS - 1 - i)) for i, row in enumerate(np.eye(TERMS))]
    )
    rise = np.zeros(TERMS)  # t = (HORIZON + 1) / 2 + (HORIZON - 1) s
    rise[0], rise[1] = (HORIZON + 1) / 2 / SPAN, (HORIZON - 1) / 2 / SPAN
    columns = np.stack([rise, *from_legendre], axis=1)
    return np.asarray(columns * (UNIT * 2.0 ** np.arange(TERMS))[:, None])


def rivals() -> Array:
    """(5, MEANS): Legendre coefficients, around the anchor line and in units, of the longer line (2) and of the
    parabola (3)."""
    longer = _around(_fit(MEANS // 2, 1), 2)
    parabola = _around(_fit(MEANS, 2), 3)
    return np.concatenate([longer, parabola])


def _around(fit: Array, terms: int) -> Array:
    """(terms, MEANS): Legendre coefficients of a polynomial in t less the anchor line, in units."""
    times = np.arange(1, HORIZON + 1.0)
    values = times[:, None] ** np.arange(len(fit)) @ fit - np.stack([np.ones(HORIZON), times], axis=1) @ line(4)
    return np.asarray(np.linalg.pinv(basis()[:, :terms]) @ values / UNIT)
