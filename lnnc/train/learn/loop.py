"""One training loop for everything: AdamW under a one-cycle learning rate, deterministic, resumable at any step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lnnc.errors import Findings, LnncError
from lnnc.ir.graph import Array
from lnnc.train.learn.checkpoint import Saver, identity, restore
from lnnc.train.learn.progress import Bar, progress

Loss = Callable[[nn.Module, int, torch.Generator], Tensor]  # (model, step, generator) -> scalar


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    Attributes:
        steps: updates of the weights.
        peak_lr: highest learning rate of the one-cycle policy (Smith & Topin 2018, torch `OneCycleLR`).
        weight_decay: of AdamW (Loshchilov & Hutter 2019), on every parameter.
        batch: samples per step, for the loss to draw; 0: all of them.
        seed: of the generator that the loss gets, and of torch's own.
        clip: largest norm of the gradient over all parameters; 0: no limit.

    Raises:
        LnncError: a value that makes no sense.
    """

    steps: int = 3000
    peak_lr: float = 4e-3
    weight_decay: float = 1e-4
    batch: int = 256
    seed: int = 0
    clip: float = 0.0

    def __post_init__(self) -> None:
        found = Findings("training schedule")
        for name, least in (("steps", 1), ("batch", 0), ("seed", 0), ("weight_decay", 0.0), ("clip", 0.0)):
            value = getattr(self, name)
            if not least <= value < math.inf:
                found.add(f"{name} is {value}, expected a finite number of at least {least}")
        if not 0.0 < self.peak_lr < math.inf:
            found.add(f"peak_lr is {self.peak_lr}, expected a finite number above 0")
        found.raise_if_any("correct the schedule; 3,000 steps with a peak of 0.004 are a start")


def fit(
    model: nn.Module,
    loss: Loss,
    schedule: Schedule,
    *,
    checkpoint: Path | None = None,
    label: str = "",
    show: bool = False,
    about: Mapping[str, str] | None = None,
    threads: int = 1,
    every: float = 5.0,
) -> Array:
    """Train `model` in place; the loss of every step, (steps,).

    The same model, loss, schedule and number of threads give the same weights, bit for bit, whether or not the run was
    interrupted: with `checkpoint` the whole state is written there every `every` seconds, at the end, and on Ctrl-C or
    SIGTERM; a file that is there already is resumed, and when it is complete nothing is trained.

    Args:
        model: its values on entry are where training starts, and part of what a checkpoint is recognised by.
        loss: draws what it needs from the generator and from nothing else that changes.
        label: what is trained, for the progress bar and for errors.
        show: a progress bar, if stderr is a terminal.
        about: what else a checkpoint must agree with, such as {"data": digest}; the loss itself cannot be compared.
        threads: of torch, while this runs.

    Raises:
        LnncError: the loss or the gradient is not finite, or the checkpoint belongs to something else.
        KeyboardInterrupt, SystemExit: Ctrl-C, SIGTERM; the checkpoint then holds every step that was finished.
    """
    with _seeded(schedule.seed, threads):
        run = _Run(model, loss, schedule, label)
        known = identity(model, schedule, label, about or {})
        run.load(restore(checkpoint, known))
        with (
            Saver(checkpoint, known, run.state, every) as saver,
            progress(label, schedule.steps, run.step, show) as bar,
        ):
            _train(run, saver, bar)
        return run.losses


def _train(run: _Run, saver: Saver, bar: Bar) -> None:
    run.model.train()
    while run.step < run.schedule.steps:
        value = run.advance()
        bar(run.step, value)
        saver.after_step()


class _Run:
    """Everything that changes while a model is trained."""

    def __init__(self, model: nn.Module, loss: Loss, schedule: Schedule, label: str) -> None:
        self.model, self.loss, self.schedule, self.label = model, loss, schedule, label
        self.weights = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.weights, lr=schedule.peak_lr, weight_decay=schedule.weight_decay)
        self.rate = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, max_lr=schedule.peak_lr, total_steps=schedule.steps
        )
        self.generator = torch.Generator().manual_seed(schedule.seed)
        self.losses: Array = np.full(schedule.steps, np.nan)
        self.step = 0

    def advance(self) -> float:
        """One update; the loss before it."""
        self.optimizer.zero_grad(set_to_none=True)
        value = self.loss(self.model, self.step, self.generator)
        self._check(float(value.detach()), "loss")
        value.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.weights, self.schedule.clip or math.inf)
        self._check(float(norm), "norm of the gradient")
        self.optimizer.step()
        self.rate.step()
        self.losses[self.step] = float(value.detach())
        self.step += 1
        return float(value.detach())

    def _check(self, value: float, what: str) -> None:
        if math.isfinite(value):
            return
        at = f"step {self.step + 1} of {self.schedule.steps}, learning rate {self.optimizer.param_groups[0]['lr']:.3g}"
        raise LnncError(
            f"the {what} is {value} at {at}",
            self.label or "training",
            f"train with a lower peak_lr (now {self.schedule.peak_lr:g}) or with clip=1.0; at step 1, look for huge "
            "values in the data",
        )

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rate": self.rate.state_dict(),
            "generator": self.generator.get_state(),
            "torch_generator": torch.get_rng_state(),
            "losses": torch.from_numpy(self.losses),
        }

    def load(self, held: Mapping[str, Any] | None) -> None:
        """Go on from a checkpoint; None: from the beginning."""
        if held is None:
            return
        self.model.load_state_dict(held["model"])
        self.optimizer.load_state_dict(held["optimizer"])
        self.rate.load_state_dict(held["rate"])
        self.generator.set_state(held["generator"])
        torch.set_rng_state(held["torch_generator"])
        self.losses = held["losses"].numpy()
        self.step = held["step"]


@contextmanager
def _seeded(seed: int, threads: int) -> Iterator[None]:
    """Torch with this seed and number of threads, and afterwards as it was before."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before)
