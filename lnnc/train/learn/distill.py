"""Distillation: a student learns from the truth and from a teacher's forecasts, the truth counting more and more.

    loss(step) = lambda * MSE(student, truth) + (1 - lambda) * D(student, teacher),  lambda rising linearly 0.1 -> 0.9

D is the mean squared or absolute error, or 1 - cosine of the angle between the two forecasts (Kannan et al. 2026).
Teachers may be many: their mean forecast teaches. Any module serves, windows in and forecasts out; where a student
gives something else (coefficients of a curve, for every block of a life), `forward` turns it into the forecast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from lnnc.errors import Findings, LnncError
from lnnc.ir.graph import Array
from lnnc.train.learn.loop import Loss, Schedule, fit

Forward = Callable[[nn.Module, Tensor], Tensor]  # (student, inputs) -> forecasts
DIVERGENCES = ("mse", "l1", "cosine")


@dataclass(frozen=True)
class Distillation:
    """What a student is taught by.

    Attributes:
        divergence: D, "mse", "l1" or "cosine" (over the last axis).
        truth: the error against the truth, "mse" or "l1".
        start, end: lambda at the first and the last step; both 1: the truth alone, without a teacher.
        matching: weight of the hidden states' mean squared error; 0: they are not compared.

    Raises:
        LnncError: an unknown name, or a weight outside its range.
    """

    divergence: str = "mse"
    truth: str = "mse"
    start: float = 0.1
    end: float = 0.9
    matching: float = 0.0

    def __post_init__(self) -> None:
        found = Findings("distillation")
        if self.divergence not in DIVERGENCES:
            found.add(f"divergence {', '.join(DIVERGENCES)} are known, found {self.divergence!r}")
        if self.truth not in ("mse", "l1"):
            found.add(f"an error mse or l1 against the truth is expected, found {self.truth!r}")
        if not (0 <= self.start <= 1 and 0 <= self.end <= 1 and self.matching >= 0):
            found.add(f"weights in 0 ... 1 are expected, found {self.start}, {self.end}; matching {self.matching}")
        found.raise_if_any("the paper's: Distillation()")

    @property
    def alone(self) -> bool:
        """Whether no teacher has a say."""
        return self.start == self.end == 1.0 and self.matching == 0.0

    def truth_weight(self, step: int, steps: int) -> float:
        """lambda at step 0 ... steps - 1."""
        return self.start + (self.end - self.start) * step / max(steps - 1, 1)


ALONE = Distillation(start=1.0, end=1.0)


@dataclass(frozen=True, eq=False)
class Examples:
    """What a student is trained on; the first axis counts the examples.

    Attributes:
        inputs: what the student reads.
        truth: (N, ..., horizon).
        taught: the teacher's forecasts, as truth; None where there is no teacher.
        weight: (N, ...), of each forecast, 0 for one that does not count; None: all count the same.
        states: the teacher's hidden states, (N, ..., its neurons), for matching.

    Raises:
        LnncError: the tensors do not fit together.
    """

    inputs: Tensor
    truth: Tensor
    taught: Tensor | None = None
    weight: Tensor | None = None
    states: Tensor | None = None

    def __post_init__(self) -> None:
        found = Findings("examples")
        shape = tuple(self.truth.shape)
        if not len(self.truth) or len(self.inputs) != len(self.truth):
            found.add(f"as many inputs as forecasts are expected, found {len(self.inputs)} and {len(self.truth)}")
        if self.taught is not None and tuple(self.taught.shape) != shape:
            found.add(f"the teacher gives {tuple(self.taught.shape)}, the truth has {shape}")
        if self.weight is not None and tuple(self.weight.shape) != shape[:-1]:
            found.add(f"a weight for each forecast is expected, {shape[:-1]}, found {tuple(self.weight.shape)}")
        if self.states is not None and len(self.states) != len(self.truth):
            found.add(f"as many states as forecasts are expected, found {len(self.states)} and {len(self.truth)}")
        found.raise_if_any("one row of each tensor for each example")

    def take(self, rows: Tensor) -> Examples:
        """Some of the examples."""
        return Examples(self.inputs[rows], self.truth[rows], *(
            None if part is None else part[rows] for part in (self.taught, self.weight, self.states)
        ))  # fmt: skip


def distances(kind: str, one: Tensor, other: Tensor) -> Tensor:
    """The "mse", "l1" or "cosine" distance of each pair of forecasts (..., horizon): (...)."""
    if kind == "cosine":
        return 1.0 - functional.cosine_similarity(one, other, dim=-1)
    return ((one - other).abs() if kind == "l1" else (one - other).square()).mean(dim=-1)


def distance(kind: str, one: Tensor, other: Tensor, weight: Tensor | None = None) -> Tensor:
    """The mean of `distances`; a weight (...) for each pair."""
    each = distances(kind, one, other)
    return each.mean() if weight is None else (each * weight).sum() / weight.sum().clamp_min(1e-12)


def call(student: nn.Module, inputs: Tensor) -> Tensor:
    """The forecast of a module that gives it as it is."""
    forecast: Tensor = student(inputs)
    return forecast


def teach(teachers: Sequence[nn.Module], inputs: Tensor, forward: Forward = call, rows: int = 1024) -> Tensor:
    """The teachers' mean forecast, without gradient, `rows` examples at a time.

    Raises:
        LnncError: no teacher.
    """
    if not teachers:
        raise LnncError("no teacher", "distillation", "give one, or several for their mean")
    return torch.stack([_evaluated(teacher, inputs, forward, rows) for teacher in teachers]).mean(dim=0)


def _evaluated(module: nn.Module, inputs: Tensor, forward: Forward, rows: int) -> Tensor:
    was = module.training
    module.eval()
    try:
        with torch.no_grad():
            return torch.cat([forward(module, part) for part in torch.split(inputs, rows)])
    finally:
        module.train(was)


class Matched(nn.Module):
    """A student and the learned linear map from its hidden states to its teacher's."""

    def __init__(self, student: nn.Module, neurons: int, teacher_neurons: int) -> None:
        super().__init__()
        self.student = student
        self.map = nn.Linear(neurons, teacher_neurons)


def distillation_loss(
    examples: Examples, config: Distillation, schedule: Schedule, forward: Forward = call,
    states: Forward | None = None,
) -> Loss:  # fmt: skip
    """What `fit` minimises, on `schedule.batch` examples drawn with replacement at each step (0: all of them).

    Args:
        states: a student's hidden states, (N, ..., its neurons), for matching; the module is then a `Matched`.

    Raises:
        LnncError: a teacher's forecasts or states are needed and not there.
    """
    _check(examples, config, states)

    def loss(module: nn.Module, step: int, generator: torch.Generator) -> Tensor:
        part = _drawn(examples, schedule.batch, generator)
        student = module.student if isinstance(module, Matched) else module
        forecast = forward(student, part.inputs)
        share = config.truth_weight(step, schedule.steps)
        total = share * distance(config.truth, forecast, part.truth, part.weight)
        if part.taught is not None and share < 1:
            total = total + (1 - share) * distance(config.divergence, forecast, part.taught, part.weight)
        if states is not None and part.states is not None and isinstance(module, Matched):
            mapped = module.map(states(student, part.inputs))
            total = total + config.matching * (mapped - part.states).square().mean()
        return total

    return loss


def _check(examples: Examples, config: Distillation, states: Forward | None) -> None:
    found = Findings("distillation")
    if examples.taught is None and not (config.start == config.end == 1.0):
        found.add("no forecasts of a teacher among the examples")
    if config.matching and (examples.states is None or states is None):
        found.add("matching compares hidden states, and those of teacher and student are not given")
    found.raise_if_any("Examples(..., taught=teach([teacher], inputs)); or Distillation(start=1, end=1) without one")


def _drawn(examples: Examples, batch: int, generator: torch.Generator) -> Examples:
    if not batch or batch >= len(examples.truth):
        return examples
    return examples.take(torch.randint(len(examples.truth), (batch,), generator=generator))


def distill(
    student: nn.Module, examples: Examples, config: Distillation, schedule: Schedule, *, forward: Forward = call,
    states: Forward | None = None, checkpoint: Path | None = None, label: str = "", show: bool = False,
    about: Mapping[str, str] | None = None,
) -> Array:  # fmt: skip
    """Train a student in place; the loss of every step.

    Args:
        forward: the student's forecast of inputs; by default what it gives.
        states: its hidden states, for `config.matching`: as many, in the same order, as the teacher's in `examples`.

    Raises:
        LnncError: what is needed is not given; the loss is not finite; a checkpoint of another training.
    """
    loss = distillation_loss(examples, config, schedule, forward, states)
    module = student
    if config.matching and states is not None and examples.states is not None:
        neurons = states(student, examples.inputs[:1]).shape[-1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(schedule.seed)
            module = Matched(student, neurons, examples.states.shape[-1])
    return fit(module, loss, schedule, checkpoint=checkpoint, label=label, show=show, about=about)


def gradients(model: nn.Module, loss: Loss, batches: int, seed: int = 0) -> list[dict[str, Array]]:
    """The gradient of every weight on so many batches of a loss: what importance "taylor" of `prune` is made of."""
    generator, found = torch.Generator().manual_seed(seed), []
    for step in range(batches):
        model.zero_grad()
        loss(model, step, generator).backward()  # type: ignore[no-untyped-call]
        found.append({name: _gradient(weight) for name, weight in model.named_parameters()})
    model.zero_grad()
    return found


def _gradient(weight: nn.Parameter) -> Array:
    grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
    return grad.detach().double().numpy().copy()
