"""What the networks are trained on: lives as packed rows, windows as short lives, and the losses over them.

Every loss is the mean |error| of the forecast in units of 0.01, over folds summed, so that folds do not change each
other's gradients. A step looks at every fifth cycle of the horizon, from a cycle that is drawn: the mean over steps is
the mean over all cycles, at a fifth of the cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lnnc.data.windows import WINDOW, Batch
from lnnc.errors import LnncError
from lnnc.ir.graph import Array
from lnnc.train.students.inputs import INPUTS, every
from lnnc.train.students.signal import BASIS, BLOCK, COEFFICIENTS, HORIZON, UNIT, forecast, observe, residuals

SPARSE = 5  # every fifth cycle of the horizon
FADE_CYCLES = 30.0, 400.0  # least and largest tau of a fade


@dataclass(frozen=True, eq=False)
class Lives:
    """Steps with a whole horizon behind them, packed as `recurrence` wants them.

    Attributes:
        features: (rows, inputs); residual: (rows, 100) in units.
        life: (rows,) whose step it is; counts: lives of each step.
    """

    features: Tensor
    residual: Tensor
    life: Tensor
    counts: tuple[int, ...]


def pack(lives: Sequence[Array], inputs: str) -> Lives:
    """All steps of all lives.

    Raises:
        LnncError: no life is long enough for a forecast and its target.
    """
    lasting = np.array([max(len(life) - HORIZON, 0) // BLOCK for life in lives])  # steps with a whole horizon
    order = [i for i in np.argsort(-lasting, kind="stable").tolist() if lasting[i]]
    if not order:
        raise LnncError(f"no life has {BLOCK} + {HORIZON} values", "training", "give longer lives")
    counts = [int((lasting > k).sum()) for k in range(lasting.max())]
    row = np.concatenate([np.arange(n) for n in counts])  # in `order`
    step = np.repeat(np.arange(len(counts)), counts)
    used = [lives[i] for i in order]
    signal = observe(used)
    seen, wanted = INPUTS[inputs].see(signal)[row, step], residuals(used, signal)[row, step]
    return Lives(_single(seen), _single(wanted), torch.tensor(order)[torch.from_numpy(row)], tuple(counts))


def in_phases(lives: Sequence[Array], phases: int, fade: float = 0.0, seed: int = 0) -> list[list[Array]]:
    """The lives, and again without their first 1 ... 9 cycles, so that other cycles fall into a block.

    Augmentation: with `fade` every second time they also lose a (1 - exp(-t / tau)) by cycle t, a = fade * normal,
    another a and tau for each life. So do cells whose first loss slows down, as a growing surface film lets it, or
    that gain at first; a network that saw only cells which lose little at first takes a steep start for the end.
    """
    rng, (least, most) = np.random.default_rng([seed, phases]), np.log(FADE_CYCLES)

    def faded(life: Array) -> Array:
        size, tau = fade * rng.standard_normal(), np.exp(rng.uniform(least, most))
        return np.asarray(life - size * (1.0 - np.exp(-np.arange(len(life)) / tau)))

    cut = [[life[round(BLOCK * p / phases) :] for life in lives] for p in range(phases)]
    return [[faded(life) for life in some] if fade and p % 2 else some for p, some in enumerate(cut)]


def _single(x: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))


def _some(allowed: Tensor) -> Tensor:
    """The mask (F, rows), unless one of the F networks would have nothing to learn from."""
    if not allowed.any(1).all():
        raise LnncError(
            "a group of cells to train on has no life with a whole horizon", "training", "fewer folds, or longer lives"
        )
    return allowed


def _every_fifth(generator: torch.Generator) -> slice:
    return slice(int(torch.randint(SPARSE, (1,), generator=generator)), None, SPARSE)


_BASIS = _single(BASIS)


class Scaling:
    """Augmentation: what bends more or less than the lives that are there bends on in proportion.

    Deviations are multiplied by a factor exp(spread * normal), the forecast is divided by it before it is scored, so
    that every sample keeps its weight. On held-out cells this is worth more than twice the parameters.
    """

    def __init__(self, inputs: str, spread: float) -> None:
        self.spread = spread
        self.proportional = torch.tensor(INPUTS[inputs].proportional)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """(count,) factors."""
        if not self.spread:
            return torch.ones(count)
        return torch.exp(self.spread * torch.randn(count, generator=generator))

    def of(self, features: Tensor, factor: Tensor) -> Tensor:
        return torch.where(self.proportional, features * factor, features)


class WholeLives:
    """Loss of networks with a state: all lives from their first cycle, full back-propagation.

    Each step of the training takes one of the phases (packed from `in_phases`).
    """

    def __init__(self, phases: Sequence[Lives], train: Array, scaling: Scaling) -> None:
        """train: (F, N), which life each network may learn from."""
        self.phases, self.scaling = phases, scaling
        self.cells = train.shape[1]
        chosen = torch.from_numpy(train.astype(np.float32))
        weights = [_some(chosen[:, phase.life]) for phase in self.phases]
        self.weights = [w / w.sum(1, keepdim=True) for w in weights]  # (F, rows)

    def __call__(self, model: nn.Module, step: int, generator: torch.Generator) -> Tensor:
        pick = int(torch.randint(len(self.phases), (1,), generator=generator))
        lives, part = self.phases[pick], _every_fifth(generator)
        factor = self.scaling.draw(self.cells, generator)[lives.life][:, None]
        q = model(self.scaling.of(lives.features, factor)[None], lives.counts)
        errors = torch.abs(q / factor @ _BASIS[part].T - lives.residual[:, part]).mean(-1)
        return (self.weights[pick] * errors).sum()


@dataclass(frozen=True, eq=False)
class Samples:
    """features: (samples, steps, inputs); residual: (samples, 100) in units; life: (samples,) whose it is."""

    features: Tensor
    residual: Tensor
    life: Tensor


def window_samples(batch: Batch, inputs: str, hop: int, whole: bool) -> Samples:
    """The steps of every window, `hop` cycles apart; one alone, of all 100, for a network without a state.

    whole: as `signal.observe`.

    Raises:
        LnncError: windows or horizons that are not 100 values long.
    """
    if batch.inputs.shape[1:] != (WINDOW,) or batch.targets.shape[1:] != (HORIZON,):
        raise LnncError(f"windows of {WINDOW} values and horizons of {HORIZON} are needed", "training")
    signal = observe(list(batch.inputs), whole)
    line = forecast(signal, np.zeros(COEFFICIENTS))[:, -1]
    features = every(INPUTS[inputs].see(signal), hop)
    return Samples(_single(features), _single((batch.targets - line) / UNIT), torch.from_numpy(batch.cell))


def step_samples(phases: Sequence[Lives]) -> Samples:
    """Every step of every life as a sample of its own, for networks without a state."""
    features = torch.cat([lives.features for lives in phases])[:, None]
    return Samples(features, torch.cat([p.residual for p in phases]), torch.cat([p.life for p in phases]))


class Drawn:
    """Loss over a batch of separate samples, drawn for each fold from what it may learn from.

    A sample is a window of ten steps from h = 0, of which only the last forecast counts, or one step of a life for
    networks without a state.
    """

    def __init__(self, samples: Samples, train: Array, batch: int, scaling: Scaling) -> None:
        """train: (F, N), which life each network may learn from."""
        self.scaling = scaling
        self.features, self.residual, self.batch = samples.features, samples.residual, batch
        allowed = _some(torch.from_numpy(train)[:, samples.life])  # (F, samples)
        self.rows = [torch.nonzero(mask)[:, 0] for mask in allowed]

    def __call__(self, model: nn.Module, step: int, generator: torch.Generator) -> Tensor:
        drawn = [rows[torch.randint(len(rows), (self.batch,), generator=generator)] for rows in self.rows]
        index, part = torch.stack(drawn), _every_fifth(generator)
        factor = self.scaling.draw(index.numel(), generator).reshape(*index.shape, 1)
        features = self.scaling.of(self.features[index], factor[..., None])
        features = features.transpose(1, 2)  # (F, steps, batch, inputs): packed step by step
        q = model(features.flatten(1, 2), (self.batch,) * features.shape[1])[:, -self.batch :]
        errors = torch.abs(q / factor @ _BASIS[part].T - self.residual[index][..., part])
        return errors.mean((1, 2)).sum()
