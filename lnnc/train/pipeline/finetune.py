"""Quantization-aware training of a pipeline's models: `qat.Quantized` over sequences and over lives.

The loss sees what the compiled program says, the gradient goes through the float network. Members of a set are trained
one after the other, for each has a program of its own; every update compiles it anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lnnc.data.windows import TRAIN_STRIDE, window_batch
from lnnc.ir.graph import Array
from lnnc.quantize.context import Options
from lnnc.train.learn.loop import Loss, Schedule, fit
from lnnc.train.learn.qat import Quantized, ToCheckpoint
from lnnc.train.students.models import Network
from lnnc.train.students.signal import BLOCK, HORIZON, UNIT

BEGINNING = 400  # cycles of a life that are trained on


@dataclass(frozen=True, eq=False)
class Material:
    """What one model is trained on, in real units.

    Attributes:
        inputs: (N, T, features), as its program takes them; (N, window) for one that takes whole windows.
        truth: (N, K, outputs) at the K steps at which the program gives an output.
        weight: (N, K), 0 where nothing is scored.
        scale: (outputs,) what errors are divided by.
    """

    inputs: Tensor
    truth: Tensor
    weight: Tensor
    scale: Tensor


def finetune(
    twin: nn.Module, to_checkpoint: ToCheckpoint, material: Material, schedule: Schedule, options: Options, *,
    file: Path | None = None, label: str = "", show: bool = False, about: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    """Train the twin in place so that its program forecasts better. Raises as `qat.Quantized` and `loop.fit`."""
    fit(
        Quantized(twin, to_checkpoint, options), _loss(material, schedule.batch), schedule, checkpoint=file,
        label=label, show=show, about=about,
    )  # fmt: skip


def _loss(material: Material, batch: int) -> Loss:
    def loss(model: nn.Module, step: int, generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(material.inputs), (min(batch, len(material.inputs)),), generator=generator)
        said = model(material.inputs[rows])
        due = said[:, None] if said.ndim == 2 else said
        errors = ((due - material.truth[rows]) / material.scale).abs().mean(-1)
        weight = material.weight[rows]
        total: Tensor = (errors * weight).sum() / weight.sum().clamp_min(1e-9)
        return total

    return loss


def life_material(lives: Sequence[Array], mode: str) -> Material:
    """Beginnings of lives, scored at every block with a whole horizon behind it; or windows of every life."""
    unit = torch.full((HORIZON,), UNIT)
    if mode == "window":
        batch = window_batch({str(i): life for i, life in enumerate(lives)}, stride=TRAIN_STRIDE)
        return Material(_single(batch.inputs), _single(batch.targets)[:, None], torch.ones(len(batch), 1), unit)
    length = min(BEGINNING, max(map(len, lives)) - HORIZON) // BLOCK * BLOCK
    blocks = np.arange(BLOCK, length + 1, BLOCK)
    padded = np.stack([np.pad(life, (0, max(0, length + HORIZON - len(life))), "edge") for life in lives])
    truth = padded[:, blocks[:, None] + np.arange(HORIZON)]
    weight = np.array([[float(end + HORIZON <= len(life)) for end in blocks] for life in lives])
    return Material(_single(padded[:, :length, None]), _single(truth), _single(weight), unit)


def _single(x: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))


class SequenceTwin(nn.Module):
    """A cell in real units: (N, T, inputs) -> (N, T, outputs), from a state of rest."""

    def __init__(self, network: Network, seen: tuple[Tensor, Tensor], wanted: tuple[Tensor, Tensor]) -> None:
        super().__init__()
        self.network, self.seen, self.wanted = network, seen, wanted

    def forward(self, inputs: Tensor) -> Tensor:
        count, length, width = inputs.shape
        rows = ((inputs - self.seen[0]) / self.seen[1]).transpose(0, 1).reshape(1, length * count, width)
        said = self.network(rows, (count,) * length).reshape(length, count, -1).transpose(0, 1)
        forecast: Tensor = said * self.wanted[1] + self.wanted[0]
        return forecast
