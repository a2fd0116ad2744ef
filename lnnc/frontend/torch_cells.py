"""Torch modules of the cells that ncps does not have, to train and then to compile with `lnnc.from_torch`.

Both take (B, T, features) and give (y, state), like ncps' modules; timespans (B, T) are the times since the last
sample, 1 where none are given.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Liquid(nn.Module):
    """Liquid neurons of DLNet that remember, `steps` explicit Euler steps for each sample u:

        x <- x + T dt (-alpha * x + beta * tanh(weight @ x + drive(u)))

    Args:
        dt: step as a part of the time T between samples; by default 1 / steps.
        ctrnn: beta = alpha = 1 / tau, which is the leaky integrator or CTRNN.
    """

    def __init__(
        self, input_size: int, units: int, steps: int = 1, dt: float | None = None, ctrnn: bool = False
    ) -> None:
        super().__init__()
        self.units, self.steps, self.dt = units, steps, 1.0 / steps if dt is None else dt
        self.drive = nn.Linear(input_size, units)
        self.weight = nn.Parameter(torch.randn(units, units) / units**0.5)
        self.alpha = nn.Parameter(torch.empty(units).uniform_(0.1, 0.9))
        self.beta = None if ctrnn else nn.Parameter(torch.empty(units).uniform_(0.1, 0.9))

    def forward(self, u: Tensor, hx: Tensor | None = None, timespans: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Every x of a sequence, and the last one."""
        x = u.new_zeros(len(u), self.units) if hx is None else hx
        beta = self.alpha if self.beta is None else self.beta
        drive = self.drive(u)
        out = []
        for k in range(u.shape[1]):
            dt = self.dt if timespans is None else self.dt * timespans[:, k : k + 1]
            for _ in range(self.steps):
                x = x + dt * (beta * torch.tanh(x @ self.weight.T + drive[:, k]) - self.alpha * x)
            out.append(x)
        return torch.stack(out, dim=1), x


class EulerLtc(nn.Module):
    """Liquid time-constant neurons in explicit Euler steps (Hasani et al. 2021, eq. 1), all connected to all:

        v <- v + D / cm * (gleak (vleak - v) + sum of w * sigmoid(sigma (source - mu)) * (erev - v)),    D = T / unfolds

    Sources are the inputs (sensory_*) and the neurons. Names and shapes are those of ncps' `LTCCell`; w, gleak and cm
    are used as they are, so keep them above 0.
    """

    def __init__(self, input_size: int, units: int, unfolds: int = 6) -> None:
        super().__init__()
        self.units, self.unfolds = units, unfolds
        self.gleak, self.vleak = _uniform(0.01, 1.0, units), _uniform(-0.2, 0.2, units)
        self.cm = _uniform(0.8, 1.2, units)
        for prefix, sources in (("sensory_", input_size), ("", units)):
            for name, low, high in (("w", 0.001, 1.0 / sources), ("sigma", 3.0, 8.0), ("mu", 0.3, 0.8)):
                self.register_parameter(prefix + name, _uniform(low, high, sources, units))
            self.register_parameter(f"{prefix}erev", nn.Parameter(torch.randn(sources, units).sign()))
            self.register_buffer(f"{prefix}sparsity_mask", torch.ones(sources, units))

    def forward(self, u: Tensor, hx: Tensor | None = None, timespans: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Every v of a sequence, and the last one."""
        v = u.new_zeros(len(u), self.units) if hx is None else hx
        out = []
        for k in range(u.shape[1]):
            step = 1.0 / self.unfolds if timespans is None else timespans[:, k : k + 1] / self.unfolds
            held, driven = self._conduct("sensory_", u[:, k])
            for _ in range(self.unfolds):
                conductance, current = self._conduct("", v)
                leak = self.gleak + held + conductance
                v = v + step / self.cm * (self.gleak * self.vleak + driven + current - leak * v)
            out.append(v)
        return torch.stack(out, dim=1), v

    def _conduct(self, prefix: str, x: Tensor) -> tuple[Tensor, Tensor]:
        """Sums of conductances and of currents that arrive at each neuron."""
        w, sigma, mu, erev, mask = (getattr(self, prefix + n) for n in ("w", "sigma", "mu", "erev", "sparsity_mask"))
        gate = w * mask * torch.sigmoid(sigma * (x.unsqueeze(-1) - mu))
        return gate.sum(dim=1), (gate * erev).sum(dim=1)


def _uniform(low: float, high: float, *shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(*shape).uniform_(low, high))
