"""The losses of `material` with a teacher: lambda |student - truth| + (1 - lambda) D(student, teacher).

Both are compared as forecasts around the anchor line, in units of 0.01, on the same drawn cycles of the horizon.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from lnnc.ir.graph import Array
from lnnc.train.distill import Distillation, distance
from lnnc.train.material import SPARSE, Drawn, Lives, Samples, WholeLives
from lnnc.train.models import Network
from lnnc.train.signal import BASIS, BOUND

_CURVES = torch.from_numpy(BASIS.astype(np.float32))


def coefficients_of(networks: Sequence[Network], features: Sequence[Tensor], counts: Sequence[int]) -> Tensor:
    """The mean of the teachers' coefficients, (F, rows, 4), clipped as a student's are, without gradient."""
    with torch.no_grad():
        said = [
            net(seen[None] if seen.ndim == 2 else seen, counts).clamp(-BOUND, BOUND)
            for net, seen in zip(networks, features, strict=True)
        ]
    return torch.stack(said).mean(dim=0)


def _some_cycles(generator: torch.Generator) -> slice:
    """Every fifth cycle of the horizon, from one that is drawn."""
    return slice(int(torch.randint(SPARSE, (1,), generator=generator)), None, SPARSE)


class TaughtLives(WholeLives):
    """`WholeLives` with a teacher's coefficients for each phase, (F, rows, 4)."""

    def __init__(
        self, phases: Sequence[Lives], train: Array, taught: Sequence[Tensor], how: Distillation, steps: int
    ) -> None:
        super().__init__(phases, train)
        self.taught, self.how, self.steps = taught, how, steps

    def __call__(self, model: nn.Module, step: int, generator: torch.Generator) -> Tensor:
        pick = int(torch.randint(len(self.phases), (1,), generator=generator))
        lives, part = self.phases[pick], _some_cycles(generator)
        q = model(lives.features[None], lives.counts)
        said, told = q @ _CURVES[part].T, self.taught[pick] @ _CURVES[part].T
        truth = lives.residual[:, part].expand_as(said)
        return _mixed(said, truth, told, self.weights[pick], self.how, self.how.truth_weight(step, self.steps))


class TaughtDrawn(Drawn):
    """`Drawn` with a teacher's coefficients for each sample, (F, samples, 4)."""

    def __init__(
        self, samples: Samples, train: Array, batch: int, taught: Tensor, how: Distillation, steps: int
    ) -> None:
        super().__init__(samples, train, batch)
        self.taught, self.how, self.steps = taught, how, steps

    def __call__(self, model: nn.Module, step: int, generator: torch.Generator) -> Tensor:
        drawn = [rows[torch.randint(len(rows), (self.batch,), generator=generator)] for rows in self.rows]
        index, part = torch.stack(drawn), _some_cycles(generator)  # (F, batch)
        features = self.features[index].transpose(1, 2)  # (F, steps, batch, inputs): packed step by step
        q = model(features.flatten(1, 2), (self.batch,) * features.shape[1])[:, -self.batch :]
        told = torch.gather(self.taught, 1, index[..., None].expand(-1, -1, self.taught.shape[2]))
        weight = torch.full(index.shape, 1.0 / self.batch)
        truth = self.residual[index][..., part]
        share = self.how.truth_weight(step, self.steps)
        return _mixed(q @ _CURVES[part].T, truth, told @ _CURVES[part].T, weight, self.how, share)


def _mixed(said: Tensor, truth: Tensor, told: Tensor, weight: Tensor, how: Distillation, share: float) -> Tensor:
    """Summed over the F networks, as the losses without a teacher are: weight (F, rows) sums to one in each of them."""
    models = len(said)
    return models * (
        share * distance(how.truth, said, truth, weight) + (1.0 - share) * distance(how.divergence, said, told, weight)
    )
