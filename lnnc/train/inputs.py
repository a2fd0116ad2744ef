"""What a network may see of a step: named sets of numbers, all causal and all within +-15."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lnnc.ir.graph import Array
from lnnc.train.signal import BOUND, HISTORY, Signal


@dataclass(frozen=True)
class Inputs:
    """A set of `size` numbers: `see` gives them for every step, (N, K, size)."""

    size: int
    see: Callable[[Signal], Array]


def _means(signal: Signal) -> Array:
    """The last 20 means around the anchor line, oldest first, and its slope."""
    deviations = np.clip(signal.deviations, -BOUND, BOUND)
    return np.concatenate([deviations, signal.features[..., :1]], -1)


INPUTS = {
    "features": Inputs(4, lambda signal: signal.features),  # what a cell with a state needs
    "means": Inputs(HISTORY + 1, _means),  # what a network without one needs
}
