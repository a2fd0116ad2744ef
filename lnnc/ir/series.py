"""Ops of forecasts: a series comes in sample by sample, is cleaned, described by a few numbers, and extrapolated.

They belong to the grammar of `ir/graph.py` and keep their memory inside: a `Collect`, `History`, `Count` or `Trust`
remembers from step to step, a `Gated` cell where `memory` says so. Shapes leave out the batch axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

EXPERTS = 4  # network, line through the recent past (all zeros), a longer line, a parabola
PENDING = 10  # forecasts whose errors a gate remembers
TERMS = 4  # coefficients of a forecast: a cubic


@dataclass(frozen=True, eq=False)
class Collect:
    """y = the next `length` samples of x, gathered one by one: (length * features,).

    What follows runs once when all are there, then a new block begins. It reads the input or its scaler.
    """

    out: str
    x: str
    length: int
    src: str


@dataclass(frozen=True, eq=False)
class Spread:
    """y[b] = median of |x - median(x)| over block b of `length` (odd) values: (n / length,)."""

    out: str
    x: str
    length: int
    src: str


@dataclass(frozen=True, eq=False)
class Robust:
    """y[b] = mean over block b of x clipped to its median +- factor * mad: (n / length,).

    mad is the lower median (element (k - 1) // 2 in order) of `spreads`, (k,).
    """

    out: str
    x: str
    spreads: str
    length: int
    factor: int
    src: str


@dataclass(frozen=True, eq=False)
class History:
    """y = the last `length` values of the x seen so far, oldest first; until there are as many the first stands in."""

    out: str
    x: str
    length: int
    src: str


@dataclass(frozen=True, eq=False)
class Count:
    """y = min(step * k, limit) in the k-th step after a reset: (1,). limit / step is a whole number up to 1,500."""

    out: str
    x: str
    step: float
    limit: float
    src: str


@dataclass(frozen=True, eq=False)
class Clamp:
    """y = min(max(x, -limit), limit) for each element; its integers are units of limit / 30,000."""

    out: str
    x: str
    limit: float
    src: str


@dataclass(frozen=True, eq=False)
class Gated:
    """A minimal gated cell (a CfC whose first branch is its state), `steps` times over x: (steps * features,).

        g = sigmoid(W_g [x_t; h] + b_g)      c = tanh(W_c [x_t; h] + b_c)      h <- h + g (c - h)

    gate, candidate: (n, features + n); gate_bias, candidate_bias: (n,). y = the last h: (n,). With `memory` h is what
    the previous step of the model left, 0 after a reset; without, it begins at 0.
    """

    out: str
    x: str
    gate: Array
    gate_bias: Array
    candidate: Array
    candidate_bias: Array
    steps: int
    memory: bool
    src: str


@dataclass(frozen=True, eq=False)
class Slide:
    """A Linear layer over the last values of x at `count` places, `hop` values apart, the last at the end of x:

    y[p] = weight @ x[e - m + 1 ... e] + bias, e = n - 1 - hop (count - 1 - p); x[0] stands for what was before x.
    weight: (rows, m), m <= 16; y: (count * rows,).
    """

    out: str
    x: str
    weight: Array
    bias: Array
    hop: int
    count: int
    src: str


@dataclass(frozen=True, eq=False)
class Trust:
    """Blend of four forecasts by how well each has done: coefficients (`TERMS`,) around an anchor line.

    A forecast says level(t) = anchor + unit (slope t / span + sum_k c_k P_k(tau)), t samples ahead. The experts are
    `network` (TERMS,), the anchor line itself (c = 0), and those of `rivals` (5,): a line (2 terms), a parabola (3).
    In a step, `level` (1,) is the mean of the newest block; every forecast issued j <= 10 steps ago said of it

        e_ij = |(level - anchor_j) / unit - slope_j middle_j - sum_k c_ijk basis_jk|

    with `middle` (10,) and `basis` (10, TERMS), the means of t / span and P_k over its block j. With e_i the mean over
    j, A_i <- keep A_i + min((e_i - min e) / (floor + min e), most), w = softmax(prior - rate A), y = sum_i w_i c_i.
    The weights can be read from the state.
    """

    out: str
    network: str
    rivals: str
    anchor: str
    slope: str
    level: str
    middle: Array
    basis: Array
    prior: Array
    unit: float
    keep: float
    floor: float
    most: float
    rate: float
    src: str


@dataclass(frozen=True, eq=False)
class Polynomial:
    """y_t = anchor + sum_j x_j s_t^j, j = 0 ... 3: (length,).

    s_t goes from -1/2 (t = 1) to 1/2 (t = length) in equal steps.
    """

    out: str
    x: str
    anchor: str
    length: int
    src: str


SeriesOp = Collect | Spread | Robust | History | Count | Clamp | Gated | Slide | Trust | Polynomial


def series_reads(op: SeriesOp) -> tuple[str, ...]:
    """Names of the tensors that an op reads."""
    match op:
        case Robust():
            return (op.x, op.spreads)
        case Polynomial():
            return (op.x, op.anchor)
        case Trust():
            return (op.network, op.rivals, op.anchor, op.slope, op.level)
    return (op.x,)


def series_size(op: SeriesOp, sizes: Mapping[str, int]) -> int:
    """Number of elements that an op defines."""
    match op:
        case Collect():
            return op.length * sizes[op.x]
        case Spread() | Robust():
            return sizes[op.x] // op.length
        case History() | Polynomial():
            return op.length
        case Gated():
            return len(op.gate_bias)
        case Count():
            return 1
        case Slide():
            return op.count * len(op.bias)
        case Trust():
            return TERMS
    return sizes[op.x]
