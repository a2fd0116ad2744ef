"""The anchored formulation: a network sees no absolute level, and corrects a line instead of giving one.

For windows x of W samples, t = 0 at the newest, block means mu of the window:

    a + s t       least-squares line through the newest `last` samples
    f             (mu - (a + s t)) / unit at the blocks' centres, then s horizon / 2 / unit
    y(t)          a + s t + unit * sum_k q_k P_k(tau),  q = network(f),  tau from -1 at t = 1 to 1 at t = horizon

P_k are Legendre polynomials. Nothing is fitted on data; all around the network is linear, so all of it compiles.
Source: measured on the smoothed cells, where anchoring alone divides the error of the paper's h = 16 student by nine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lnnc.errors import Findings
from lnnc.ir.graph import Array


@dataclass(frozen=True)
class Anchor:
    """The fixed part of an anchored network.

    Attributes:
        window, horizon: samples in and out.
        block: samples whose mean is one feature; it divides the window.
        last: newest samples that the line goes through.
        unit: what the network's numbers are counted in.
        terms: Legendre polynomials of the deviation from the line.

    Raises:
        LnncError: values that do not fit together.
    """

    window: int = 100
    horizon: int = 100
    block: int = 5
    last: int = 20
    unit: float = 0.01
    terms: int = 4

    def __post_init__(self) -> None:
        found = Findings("anchor")
        if min(self.window, self.horizon, self.block, self.terms) < 1 or self.window % self.block:
            found.add(f"blocks of {self.block} samples do not divide a window of {self.window}")
        if not 2 <= self.last <= self.window:
            found.add(f"a line needs 2 ... {self.window} samples, found {self.last}")
        if not self.unit > 0:
            found.add(f"a unit above 0 is expected, found {self.unit}")
        found.raise_if_any("the default: Anchor()")

    @property
    def features(self) -> int:
        """Numbers that the network sees."""
        return self.window // self.block + 1

    def line(self) -> Array:
        """(2, window): a and s * horizon from a window."""
        t = np.arange(1 - self.window, 1.0)
        newest = t[-self.last :]
        centred = newest - newest.mean()
        slope = np.zeros(self.window)
        slope[-self.last :] = centred / (centred**2).sum()
        level = np.zeros(self.window)
        level[-self.last :] = 1.0 / self.last
        return np.stack([level - newest.mean() * slope, slope * self.horizon])

    def inputs(self) -> Array:
        """(features, window): f from a window."""
        level, rise = self.line()
        blocks = np.kron(np.eye(self.window // self.block), np.full(self.block, 1.0 / self.block))
        centres = blocks @ np.arange(1 - self.window, 1.0)
        deviation = blocks - level - centres[:, None] * rise / self.horizon
        return np.vstack([deviation, rise / 2]) / self.unit

    def outputs(self) -> Array:
        """(horizon, 2 + terms): the forecast from a, s * horizon and unit * q."""
        t = np.arange(1.0, self.horizon + 1)
        tau = (2 * t - self.horizon - 1) / max(self.horizon - 1, 1)
        curves = np.polynomial.legendre.legvander(tau, self.terms - 1)
        return np.hstack([np.ones((self.horizon, 1)), t[:, None] / self.horizon, curves])


class Anchored(nn.Module):
    """Real windows (N, window) to real forecasts (N, horizon) around a network (N, features) -> (N, terms)."""

    def __init__(self, network: nn.Module, anchor: Anchor) -> None:
        super().__init__()
        self.network, self.anchor = network, anchor
        for name in ("line", "inputs", "outputs"):
            matrix = torch.as_tensor(getattr(anchor, name)(), dtype=torch.float64)
            self.register_buffer(f"_{name}", matrix, persistent=False)

    def forward(self, window: Tensor) -> Tensor:
        """The forecast in real units, computed in float64 around the network: f is a small difference of large sums."""
        wide = window.double()
        weights = next(self.network.parameters())
        q = self.network((wide @ self.get_buffer("_inputs").T).to(weights.dtype)).double() * self.anchor.unit
        curves = torch.cat([wide @ self.get_buffer("_line").T, q], dim=-1)
        return (curves @ self.get_buffer("_outputs").T).to(window.dtype)
