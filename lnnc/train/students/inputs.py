"""What a network may see of a step: named sets of numbers, all causal and all within +-15."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lnnc.ir.graph import Array
from lnnc.train.students.signal import BLOCK, BOUND, HISTORY, Signal


@dataclass(frozen=True)
class Inputs:
    """A set of numbers: `see` gives them for every step, (N, K, size).

    `proportional` says which of them grow with the deviations from the anchor line; the others tell the age.
    """

    proportional: tuple[bool, ...]
    see: Callable[[Signal], Array]

    @property
    def size(self) -> int:
        return len(self.proportional)


def every(steps: Array, hop: int) -> Array:
    """Of the steps of a life or a window, (N, K, ...), those `hop` cycles apart, the last of 100 among them."""
    stride = hop // BLOCK
    return steps[:, stride - 1 :: stride]


def _means(signal: Signal) -> Array:
    """The last 20 means around the anchor line, oldest first, and its slope."""
    deviations = np.clip(signal.deviations, -BOUND, BOUND)
    return np.concatenate([deviations, signal.features[..., :1]], -1)


def _all(signal: Signal) -> Array:
    """The last 20 means around the anchor line, and the features."""
    deviations = np.clip(signal.deviations, -BOUND, BOUND)
    return np.concatenate([deviations, signal.features], -1)


INPUTS = {
    "features": Inputs((True, True, True, False), lambda signal: signal.features),  # what a cell with a state needs
    "ageless": Inputs((True, True, True), lambda signal: signal.features[..., :3]),  # the same, whatever the age
    "all": Inputs((True,) * (HISTORY + 3) + (False,), _all),
    "means": Inputs((True,) * (HISTORY + 1), _means),  # what a network without one needs
}
