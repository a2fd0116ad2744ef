"""Many networks of one kind trained at once: their tensors are stacked and padded with zeros to the widest.

One small network keeps a core busy with overhead: nine at a time cost about as much as two. Padding is exact: padded
neurons give 0 and get no gradient, so their weights stay 0, and a LayerNorm counts only the neurons that are there.
Each network draws its own examples, from its own seed and the step alone, so it does not matter what it is stacked with
(but for the rounding of float32 sums).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lnnc.errors import LnncError
from lnnc.train.dlnet.networks import DLNet
from lnnc.train.learn.distill import Distillation, Examples
from lnnc.train.learn.loop import Loss

EPSILON = 1e-5  # of every LayerNorm, as torch's default
_PRIME = 1_000_003  # seeds of neighbouring steps and networks must differ


class Stack(nn.Module):
    """Networks with the same number of layers and the same solver, as one module.

    Raises:
        LnncError: none, or networks that differ in more than widths and rank.
    """

    def __init__(self, models: Sequence[DLNet]) -> None:
        super().__init__()
        kinds = {_kind(model) for model in models}
        if len(kinds) != 1:
            raise LnncError(f"networks of one kind are expected, found {len(kinds)}", "stack", "group them by shape")
        self.shapes = [model.shape for model in models]
        first = self.shapes[0]
        self.steps, self.dt, self.low = first.steps, first.dt, first.recurrence == "low_rank"
        self.encoder_layers, self.decoder_layers = len(first.encoder), len(first.decoder)
        self.sizes = [{name: tuple(t.shape) for name, t in model.state_dict().items()} for model in models]
        for name in self.sizes[0]:
            self.register_parameter(_attribute(name), nn.Parameter(_padded([m.state_dict()[name] for m in models])))
        for name in self.sizes[0]:
            if _is_norm(name, self.sizes[0]):
                self.register_buffer(f"count_{_attribute(name)}", self._counts(name), persistent=False)
        ranks = [float(shape.rank or shape.hidden) for shape in self.shapes]
        self.register_buffer("rank", torch.tensor(ranks)[:, None, None], persistent=False)

    def _counts(self, name: str) -> Tensor:
        """(S, 1, 1 + width): how many neurons each network has in a LayerNorm, then 1 for each, 0 for padding."""
        counts = [sizes[name][0] for sizes in self.sizes]
        mask = (torch.arange(max(counts)) < torch.tensor(counts)[:, None]).float()
        return torch.cat([torch.tensor(counts)[:, None].float(), mask], dim=1)[:, None]

    def get(self, name: str) -> Tensor:
        """A stacked tensor by its name in the state_dict of one network: (S, ...)."""
        return self.get_parameter(_attribute(name))

    def forward(self, u: Tensor) -> Tensor:
        """Scaled windows (S, B, window), for each network its own, to forecasts (S, B, horizon)."""
        encoded = self._hidden("encoder", u, self.encoder_layers)
        last = 4 * self.encoder_layers
        encoded = torch.tanh(self._norm(f"encoder.{last + 1}", self._linear(f"encoder.{last}", encoded)))
        x, drive = encoded, u.mean(dim=-1, keepdim=True)
        for _ in range(self.steps):
            x = x + self.dt * self._slope(x, drive)
        x = x + self.get("residual_weight")[:, None, None] * encoded
        return self._linear(
            f"decoder.{max(4 * self.decoder_layers - 1, 0)}", self._hidden("decoder", x, self.decoder_layers)
        )

    def _hidden(self, part: str, x: Tensor, layers: int) -> Tensor:
        for index in range(layers):
            x = torch.relu(self._norm(f"{part}.{4 * index + 1}", self._linear(f"{part}.{4 * index}", x)))
        return x

    def _linear(self, key: str, x: Tensor) -> Tensor:
        return torch.baddbmm(self.get(f"{key}.bias")[:, None], x, self.get(f"{key}.weight").transpose(1, 2))

    def _norm(self, key: str, x: Tensor) -> Tensor:
        counts = self.get_buffer(f"count_{_attribute(f'{key}.weight')}")
        size, mask = counts[..., :1], counts[..., 1:]
        own = x * mask  # padded neurons are 0, but their weights would get a gradient through the mean
        centred = own - own.sum(-1, keepdim=True) / size * mask
        scale = torch.rsqrt(centred.square().sum(-1, keepdim=True) / size + EPSILON)
        return centred * scale * self.get(f"{key}.weight")[:, None] + self.get(f"{key}.bias")[:, None]

    def _slope(self, x: Tensor, drive: Tensor) -> Tensor:
        if self.low:
            right = torch.bmm(x, self.get("dynamics.V"))
            recurrent = x * self.get("dynamics.w_diag")[:, None] + torch.bmm(
                right, self.get("dynamics.U").transpose(1, 2)
            ) / self.get_buffer("rank")
        else:
            recurrent = torch.bmm(x, self.get("dynamics.W.weight").transpose(1, 2))
        change = self.get("dynamics.beta")[:, None] * torch.tanh(recurrent + drive)
        return change - self.get("dynamics.alpha")[:, None] * x

    def network(self, index: int) -> DLNet:
        """One of the networks, with its present weights."""
        model = DLNet(self.shapes[index])
        held = {}
        for name, size in self.sizes[index].items():
            tensor = self.get(name)[index].detach()
            held[name] = tensor[_corner(size)].clone()
        model.load_state_dict(held)
        return model


def _kind(model: DLNet) -> tuple[Any, ...]:
    shape = model.shape
    if shape.solver != "euler" or shape.dropout:
        raise LnncError("stacked networks have Euler steps and no dropout", "stack", "train it alone")
    return (shape.window, shape.horizon, len(shape.encoder), len(shape.decoder), shape.recurrence, shape.steps,
            shape.dt)  # fmt: skip


def _attribute(name: str) -> str:
    return name.replace(".", "_")


def _is_norm(name: str, sizes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a name is that of a LayerNorm's gamma."""
    return name.endswith(".weight") and name.startswith(("encoder", "decoder")) and len(sizes[name]) == 1


def _corner(size: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(n) for n in size)


def _padded(tensors: Sequence[Tensor]) -> Tensor:
    """(S, ...), each in the corner of the smallest box that holds all."""
    box = [max(sizes) for sizes in zip(*(t.shape for t in tensors), strict=True)]
    stacked = torch.zeros(len(tensors), *box)
    for index, tensor in enumerate(tensors):
        stacked[index][_corner(tensor.shape)] = tensor.detach()
    return stacked


@dataclass(frozen=True, eq=False)
class Lesson:
    """What one network of a stack is trained on.

    Attributes:
        examples: its windows, the truth and, unless it learns from the truth alone, what it is taught.
        config: how it is taught; MSE against the truth, no matching of states.
        seed: of its draws.
    """

    examples: Examples
    config: Distillation
    seed: int


def stack_loss(lessons: Sequence[Lesson], steps: int, batch: int) -> Loss:
    """The sum of the networks' own losses, each on `batch` of its examples drawn with replacement.

    Raises:
        LnncError: a lesson that needs more than MSE and a teacher's forecasts: such a network is trained alone.
    """
    for lesson in lessons:
        _check(lesson)
    kinds = [lesson.config.divergence for lesson in lessons]
    cosine = torch.tensor([kind == "cosine" for kind in kinds])
    l1 = torch.tensor([kind == "l1" for kind in kinds])

    def loss(module: nn.Module, step: int, generator: torch.Generator) -> Tensor:
        drawn = [(lesson.examples, _draw(lesson, step, batch)) for lesson in lessons]
        x = torch.stack([held.inputs[rows] for held, rows in drawn])
        y = torch.stack([held.truth[rows] for held, rows in drawn])
        taught = torch.stack([(held.truth if held.taught is None else held.taught)[rows] for held, rows in drawn])
        share = torch.tensor([lesson.config.truth_weight(step, steps) for lesson in lessons])
        forecast = module(x)
        apart = _divergences(forecast, taught, cosine, l1)
        total: Tensor = (share * (forecast - y).square().mean(dim=(1, 2)) + (1 - share) * apart).sum()
        return total

    return loss


def _check(lesson: Lesson) -> None:
    config, examples = lesson.config, lesson.examples
    if config.truth != "mse" or config.matching or examples.weight is not None:
        raise LnncError("stacked networks learn by plain MSE, without matching of states", "stack", "use distill()")
    if examples.taught is None and not config.alone:
        raise LnncError("no forecasts of a teacher among the examples", "stack", "Examples(..., taught=...)")


def _draw(lesson: Lesson, step: int, batch: int) -> Tensor:
    generator = torch.Generator().manual_seed((lesson.seed + 1) * _PRIME + step)
    return torch.randint(len(lesson.examples.truth), (batch,), generator=generator)


def _divergences(forecast: Tensor, taught: Tensor, cosine: Tensor, l1: Tensor) -> Tensor:
    """Each network's own distance to its teacher, (S,)."""
    difference = forecast - taught
    apart = difference.square().mean(dim=(1, 2))
    if bool(l1.any()):
        apart = torch.where(l1, difference.abs().mean(dim=(1, 2)), apart)
    if bool(cosine.any()):
        angle = 1.0 - nn.functional.cosine_similarity(forecast, taught, dim=-1).mean(dim=1)
        apart = torch.where(cosine, angle, apart)
    return apart
