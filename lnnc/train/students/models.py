"""The networks: features of each step -> four coefficients. F of them side by side, one for each fold.

Rows are packed step by step as in `recurrence`. Weights carry F in front, so that five folds cost little more than one,
and no fold sees another. `arrays` gives one network's weights under the names that a `Student` keeps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from lnnc.errors import LnncError
from lnnc.ir.graph import Array
from lnnc.train.learn.recurrence import CELLS, scan, unroll
from lnnc.train.students.signal import COEFFICIENTS
from lnnc.train.students.student import HEADS, KINDS, LTC_UNFOLDS

_GATES = ("gate", "time")  # heads under a sigmoid, which `scan` computes as a tanh of half the argument
SLOWEST, FASTEST = -2.5, 1.0  # biases of the gates at the start: time constants from 13 blocks to 1
_LTC_LOW, _LTC_HIGH = 1e-3, 1.0  # conductances at the start, as in ncps


def networks(kind: str, inputs: int, units: Sequence[int], skip: bool, models: int, seed: int) -> Network:
    """F untrained networks; the seed and F decide every weight.

    units: of the hidden layers; exactly one for a cell, none for "linear".
    skip: whether the head reads the features too.

    Raises:
        LnncError: an unknown kind, or a number of layers that it cannot have.
    """
    if kind not in KINDS:
        raise LnncError(f"unknown kind of network '{kind}'", "model", f"choose one of {', '.join(KINDS)}")
    fits = {"linear": len(units) == 0 and not skip, "mlp": len(units) > 0}.get(kind, len(units) == 1)
    if not fits or min(units, default=1) < 1:
        raise LnncError(
            f"'{kind}' cannot have hidden layers of {list(units)}", "model", "a cell has one, linear none and no skip"
        )
    generator = torch.Generator().manual_seed(seed)
    if kind in HEADS:
        return Recurrent(kind, inputs, units[0], skip, models, generator)
    if kind == "ltc":
        return Ltc(inputs, units[0], skip, models, generator)
    return Feedforward(inputs, units, skip, models, generator)


class Network(nn.Module):
    """What they share: a linear head that starts near zero, so that training starts at the anchor line.

    skip: the head reads (features, hidden values), not the hidden values alone.
    """

    def __init__(self, models: int, inputs: int, hidden: int, skip: bool, generator: torch.Generator) -> None:
        super().__init__()
        self.skip = nn.Parameter(torch.zeros(models, inputs, COEFFICIENTS)) if skip else None
        self.head = nn.Parameter(0.01 * torch.randn(models, hidden, COEFFICIENTS, generator=generator))
        self.head_bias = nn.Parameter(torch.zeros(models, 1, COEFFICIENTS))

    def hidden(self, features: Tensor, counts: Sequence[int]) -> Tensor:
        """(F or 1, rows, inputs) -> (F, rows, units)."""
        raise NotImplementedError

    def forward(self, features: Tensor, counts: Sequence[int]) -> Tensor:
        """(F or 1, rows, inputs) -> (F, rows, 4), not yet clipped."""
        q = torch.baddbmm(self.head_bias, self.hidden(features, counts), self.head)
        return q if self.skip is None else q + features @ self.skip

    def arrays(self, model: int) -> dict[str, Array]:
        """The weights of one of the F networks, float64, a layer's as (out, in)."""
        found = {name: value[model].detach().double().numpy() for name, value in self.own(model).items()}
        head = self.head if self.skip is None else torch.cat([self.skip, self.head], 1)
        return found | {"head.weight": _double(head[model].T), "head.bias": _double(self.head_bias[model, 0])}

    def own(self, model: int) -> dict[str, Tensor]:
        """What `arrays` holds beside the head, with F in front."""
        raise NotImplementedError


def _double(x: Tensor) -> Array:
    return x.detach().double().numpy()


def _uniform(generator: torch.Generator, bound: float, *shape: int) -> nn.Parameter:
    return nn.Parameter(bound * (2.0 * torch.rand(*shape, generator=generator) - 1.0))


class Recurrent(Network):
    """gated, cfc (T = 1, its two time heads folded into one) and leaky cells.

        gated:  h <- h + g (c - h),           g = sigmoid(gate (x, h)),  c = tanh(candidate (x, h))
        cfc:    h <- f1 (1 - t) + f2 t,       f = tanh(ff (x, h)),  t = sigmoid(time (x, h))
        leaky:  h <- h - alpha h + beta tanh(weight h + drive x),  0 < alpha < 1

    Sources: minimal gated unit without its reset (Zhou et al. 2016); Hasani et al. 2022; one Euler step of DLNet's
    neuron with memory.
    """

    def __init__(self, kind: str, inputs: int, units: int, skip: bool, models: int, generator: torch.Generator) -> None:
        super().__init__(models, inputs, units, skip, generator)
        self.heads, self.units = HEADS[kind], units
        self.cell, columns, bound = CELLS[kind], len(HEADS[kind]) * units, 1.0 / math.sqrt(inputs + units)
        self.kind = kind
        self.input = _uniform(generator, bound, models, inputs, columns)
        self.recurrent = _uniform(generator, bound, models, units, columns)
        self.bias = _uniform(generator, bound, models, 1, columns)
        spread = torch.linspace(SLOWEST, FASTEST, units)
        halves = [torch.full((units,), 0.5 if head in _GATES else 1.0) for head in self.heads]
        self.register_buffer("factor", torch.cat(halves), persistent=False)
        if kind == "gated":
            self.bias.data[..., :units] = spread
        if kind == "leaky":
            self.rate = nn.Parameter(spread.expand(models, 1, units).clone())  # alpha = sigmoid(rate)
            self.gain = nn.Parameter(torch.sigmoid(spread).expand(models, 1, units).clone())

    def hidden(self, features: Tensor, counts: Sequence[int]) -> Tensor:
        factor = self.get_buffer("factor")
        drive = (features @ self.input + self.bias) * factor
        if self.kind == "leaky":
            constant = torch.cat([torch.sigmoid(self.rate), self.gain], -1)
            drive = torch.cat([drive, constant.expand(-1, drive.shape[1], -1)], -1)
        return scan(self.cell, drive, self.recurrent * factor, counts)

    def own(self, model: int) -> dict[str, Tensor]:
        if self.kind == "leaky":
            return {
                "drive.weight": self.input.mT, "drive.bias": self.bias[:, 0], "weight": self.recurrent.mT,
                "alpha": torch.sigmoid(self.rate[:, 0]), "beta": self.gain[:, 0],
            }  # fmt: skip
        weights = torch.cat([self.input, self.recurrent], 1).mT.chunk(len(self.heads), 1)
        biases = self.bias[:, 0].chunk(len(self.heads), -1)
        named = zip(self.heads, weights, biases, strict=True)
        return {f"{head}.{part}": x for head, w, b in named for part, x in (("weight", w), ("bias", b))}


class Ltc(Network):
    """Liquid time-constant cell (Hasani et al. 2021, ncps `LTCCell`), T = 1, semi-implicit steps of 1 / unfolds.

    v <- (cm / D v + I) / (cm / D + G),   G = gleak + sum w s,   I = gleak vleak + sum w erev s,
    s = sigmoid(sigma (x - mu)) over all inputs and all neurons; w, gleak, cm > 0 by a softplus.
    """

    POSITIVE = ("gleak", "cm", "w", "sensory_w")

    def __init__(self, inputs: int, units: int, skip: bool, models: int, generator: torch.Generator) -> None:
        super().__init__(models, inputs, units, skip, generator)
        for prefix, pre in (("sensory_", inputs), ("", units)):
            shape = (models, pre, units)
            uniform = torch.rand(*shape, generator=generator)
            self._add(f"{prefix}w", _inverse_softplus(_LTC_LOW + (_LTC_HIGH - _LTC_LOW) * uniform))
            self._add(f"{prefix}sigma", 1.0 + 2.0 * torch.rand(*shape, generator=generator))
            self._add(f"{prefix}mu", 0.5 * torch.randn(*shape, generator=generator))
            self._add(f"{prefix}erev", 2.0 * torch.randint(2, shape, generator=generator) - 1.0)
        slow = torch.logspace(0.0, 1.1, units).expand(models, units)  # time constants of 1 to 13 blocks
        self._add("cm", _inverse_softplus(slow.clone()))
        self._add("gleak", _inverse_softplus(torch.full((models, units), 1.0)))
        self._add("vleak", torch.zeros(models, units))

    def _add(self, name: str, value: Tensor) -> None:
        setattr(self, name, nn.Parameter(value))

    def named(self) -> dict[str, Tensor]:
        """The parameters as the equations have them, F in front."""
        given = {name: p for name, p in self.named_parameters() if name not in ("head", "head_bias", "skip")}
        return {name: nn.functional.softplus(p) if name in self.POSITIVE else p for name, p in given.items()}

    def hidden(self, features: Tensor, counts: Sequence[int]) -> Tensor:
        p = self.named()
        held = torch.cat(_conduct(p, "sensory_", features), -1)
        inflow = p["cm"][:, None] * LTC_UNFOLDS
        leak, leak_current = p["gleak"][:, None], (p["gleak"] * p["vleak"])[:, None]

        def step(drive: Tensor, v: Tensor) -> Tensor:
            sensed, driven = drive.chunk(2, -1)
            for _ in range(LTC_UNFOLDS):
                conductance, current = _conduct(p, "", v)
                v = (inflow * v + leak_current + driven + current) / (inflow + leak + sensed + conductance)
            return v

        return unroll(step, held, self.head.shape[1], counts)

    def own(self, model: int) -> dict[str, Tensor]:
        return self.named()


def _inverse_softplus(x: Tensor) -> Tensor:
    return x + torch.log(-torch.expm1(-x))


def _conduct(p: dict[str, Tensor], prefix: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of conductances and currents that arrive at each neuron: x (F or 1, rows, pre) -> 2 x (F, rows, units)."""
    sigma, mu, w, erev = (p[f"{prefix}{name}"][:, None] for name in ("sigma", "mu", "w", "erev"))
    open_ = w * torch.sigmoid(sigma * (x[..., None] - mu))
    return open_.sum(2), (open_ * erev).sum(2)


class Feedforward(Network):
    """Rivals without memory of their own: y = head relu(layers.n ... relu(layers.0 x)); "linear" is the head alone."""

    def __init__(self, inputs: int, units: Sequence[int], skip: bool, models: int, generator: torch.Generator) -> None:
        sizes = [inputs, *units]
        super().__init__(models, inputs, sizes[-1], skip, generator)
        pairs = list(pairwise(sizes))
        bounds = [1.0 / math.sqrt(size) for size, _ in pairs]
        self.weights = nn.ParameterList(
            _uniform(generator, b, models, *pair) for b, pair in zip(bounds, pairs, strict=True)
        )
        self.biases = nn.ParameterList(
            _uniform(generator, b, models, 1, pair[1]) for b, pair in zip(bounds, pairs, strict=True)
        )

    def hidden(self, features: Tensor, counts: Sequence[int]) -> Tensor:
        x = features.expand(self.head.shape[0], -1, -1)
        for weight, bias in zip(self.weights, self.biases, strict=True):
            x = torch.relu(torch.baddbmm(bias, x, weight))
        return x

    def own(self, model: int) -> dict[str, Tensor]:
        layers = enumerate(zip(self.weights, self.biases, strict=True))
        return {f"layers.{n}.{part}": x for n, (w, b) in layers for part, x in (("weight", w.mT), ("bias", b[:, 0]))}
