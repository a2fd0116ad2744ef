"""Causal cleaning of a window of a noisy curve: nothing is fitted to data, nothing outside the window is seen."""

from __future__ import annotations

import numpy as np

from lnnc.data.windows import Array

BLOCK, CLIP = 5, 4.0


def median_clip(inputs: Array, block: int = BLOCK, factor: float = CLIP) -> Array:
    """Clip every sample to m +- factor * MAD; (N, window) -> (N, window).

    m is the median of the sample's block of 5 (blocks are counted from the newest sample; older samples that fill no
    block use the oldest block's m). MAD is the median over the window of |x - m|.
    """
    rest = inputs.shape[1] % block
    medians = np.median(inputs[:, rest:].reshape(len(inputs), -1, block), axis=2)
    centre = np.repeat(medians, block, axis=1)
    centre = np.concatenate([np.repeat(centre[:, :1], rest, axis=1), centre], axis=1)
    spread = factor * np.median(np.abs(inputs - centre), axis=1, keepdims=True)
    return np.clip(inputs, centre - spread, centre + spread)


def block_means(values: Array, block: int = BLOCK) -> Array:
    """Means of whole blocks counted from the newest sample; (N, window) -> (N, window // block), newest last."""
    rest = values.shape[1] % block
    return np.asarray(values[:, rest:].reshape(len(values), -1, block).mean(axis=2))


def line_through(values: Array, count: int) -> tuple[Array, Array]:
    """Least-squares line a + s t through the last `count` samples, t = 0 at the newest: (a, s), each (N,)."""
    t = np.arange(1.0 - count, 1.0)
    t_mean = t.mean()
    slope = values[:, -count:] @ (t - t_mean) / ((t - t_mean) ** 2).sum()
    return values[:, -count:].mean(axis=1) - slope * t_mean, slope
