"""Recovery: a compressed student is distilled once more, and beside it a rival learns from scratch in as many steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor, nn

from lnnc.train.learn.distill import ALONE, Distillation, Examples, Forward, call, distill, teach
from lnnc.train.learn.loop import Schedule

EPOCHS = 20  # of the recovery, in the paper


@dataclass(frozen=True, eq=False)
class Recovered:
    """A compressed student, and what the same network is without all that.

    Attributes:
        student: the compressed network after recovery.
        rival: the same shape, trained from scratch on the truth alone.
        steps: updates that each of them has seen in its life.
    """

    student: nn.Module
    rival: nn.Module
    steps: int


def epochs_to_steps(epochs: float, examples: int, batch: int) -> int:
    """Updates in so many passes over the examples, at least one."""
    return max(1, round(epochs * examples / (batch or examples)))


def recover(
    student: nn.Module, fresh: nn.Module, examples: Examples, schedule: Schedule, spent: int, *,
    config: Distillation | None = None, forward: Forward = call, checkpoint: Callable[[str], Path] | None = None,
    label: str = "", show: bool = False, about: Mapping[str, str] | None = None,
) -> Recovered:  # fmt: skip
    """Train a compressed student again by distillation, and its rival on the truth for as many steps in all.

    Args:
        student: after pruning; trained in place for `schedule.steps`.
        fresh: the same shape with new weights; trained in place for `spent + schedule.steps`.
        spent: steps that the student's weights had seen before.
        checkpoint: from "recovered" or "scratch" to the file that the training resumes from.

    Raises:
        LnncError: as `distill`.
    """

    def path(name: str) -> Path | None:
        return checkpoint(name) if checkpoint else None

    distill(
        student, examples, config or Distillation(), schedule, forward=forward, checkpoint=path("recovered"),
        label=f"{label} recovered".strip(), show=show, about=about,
    )  # fmt: skip
    steps = spent + schedule.steps
    distill(
        fresh, examples, ALONE, replace(schedule, steps=steps), forward=forward, checkpoint=path("scratch"),
        label=f"{label} from scratch".strip(), show=show, about=about,
    )  # fmt: skip
    return Recovered(student, fresh, steps)


def mean_absolute_error(
    student: nn.Module, inputs: Tensor, truth: Tensor, weight: Tensor | None = None, forward: Forward = call
) -> float:
    """The mean |error| over forecasts and their steps, in the forecasts' unit."""
    error = (teach([student], inputs, forward) - truth).abs().mean(dim=-1)
    return float(error.mean() if weight is None else (error * weight).sum() / weight.sum())
