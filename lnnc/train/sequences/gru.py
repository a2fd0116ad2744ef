"""Gated recurrent units side by side: a rival that is no liquid network."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lnnc.train.learn.recurrence import unroll
from lnnc.train.students.models import Network


class Gru(Network):
    """F gated recurrent units as torch computes them, see `frontend.cells.GruCell`.

    r, z = sigmoid of layers of (x, h),    n = tanh(new_x x + r * new_h h),    h <- (1 - z) n + z h
    """

    def __init__(self, inputs: int, units: int, models: int, generator: torch.Generator) -> None:
        super().__init__(models, inputs, units, False, generator)
        bound = 1.0 / math.sqrt(units)
        for name, size in (("seen", inputs), ("held", units)):
            uniform = torch.rand(models, 3 * units, size, generator=generator)
            self.register_parameter(f"{name}_weight", nn.Parameter(bound * (2.0 * uniform - 1.0)))
            self.register_parameter(f"{name}_bias", nn.Parameter(torch.zeros(models, 3 * units)))

    def own_parameters(self) -> dict[str, nn.Parameter]:
        """Everything but the head: rows of r, z and n, in this order."""
        return {name: self.get_parameter(name) for name in ("seen_weight", "seen_bias", "held_weight", "held_bias")}

    def own(self, model: int) -> dict[str, Tensor]:
        return dict(self.own_parameters())

    def hidden(self, features: Tensor, counts: Sequence[int]) -> Tensor:
        p = self.own_parameters()
        drive = features @ p["seen_weight"].mT + p["seen_bias"][:, None]

        def step(seen: Tensor, h: Tensor) -> Tensor:
            held = torch.baddbmm(p["held_bias"][:, None], h, p["held_weight"].mT)
            (r_x, z_x, n_x), (r_h, z_h, n_h) = seen.chunk(3, -1), held.chunk(3, -1)
            gate = torch.sigmoid(z_x + z_h)
            return torch.lerp(torch.tanh(n_x + torch.sigmoid(r_x + r_h) * n_h), h, gate)

        return unroll(step, drive, self.head.shape[1], counts)
