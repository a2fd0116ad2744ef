"""The paper's networks as torch modules: teacher, students, and what a pruned file of theirs describes.

Equations (Kannan et al. 2026, arXiv:2601.06227), u the window after the min/max scaler, (N, window):

    e = encoder(u)                        Linear, LayerNorm, ReLU, ... Linear, LayerNorm, tanh
    dx/dt = -alpha x + beta tanh(W x + mean(u)),  x(0) = e
    y = decoder(x(end) + residual_weight e)

Teacher: W full, 9 Euler steps of 1/9. Student: one Euler step of 0.05, W = diag(w_diag) + U V^T / rank.
The tensors have the names of the published files, so `lnnc import dlnet` reads what is trained here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from lnnc.errors import Findings, LnncError
from lnnc.frontend.import_dlnet import infer_architecture
from lnnc.ir.graph import Array

TEACHER_STEPS, TEACHER_DT = 9, 1.0 / 9.0
STUDENT_STEPS, STUDENT_DT = 1, 0.05
SOLVERS = ("euler", "rk4")
ALPHA, BETA, RESIDUAL, SPREAD = 0.5, 0.2, 0.1, 0.2  # at the start: near the published values at the end


@dataclass(frozen=True)
class Shape:
    """Widths and time grid of a network.

    Attributes:
        window, horizon: values in, values out.
        encoder, decoder: widths of the hidden layers before and after the liquid neuron.
        hidden: h, its neurons.
        recurrence: "full" or "low_rank".
        rank: columns of U and V; 0: as many as `hidden`, as in the paper.
        steps, dt: of the solver.
        solver: "euler", or "rk4" (the classical Runge-Kutta method), which lnnc does not compile.
        dropout: probability in training, after a ReLU.

    Raises:
        LnncError: a value that makes no network.
    """

    window: int = 100
    horizon: int = 100
    encoder: tuple[int, ...] = (256,)
    hidden: int = 128
    decoder: tuple[int, ...] = (256, 128)
    recurrence: str = "full"
    rank: int = 0
    steps: int = TEACHER_STEPS
    dt: float = TEACHER_DT
    solver: str = "euler"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        found = Findings("shape of a DLNet network")
        sizes = (self.window, self.horizon, *self.encoder, self.hidden, *self.decoder, self.steps)
        if min(sizes) < 1 or self.rank < 0:
            found.add(f"widths and steps of at least 1 are expected, found {sizes} and rank {self.rank}")
        if self.recurrence not in ("full", "low_rank"):
            found.add(f'recurrence "full" or "low_rank" is expected, found {self.recurrence!r}')
        if self.solver not in SOLVERS:
            found.add(f"solver {' or '.join(SOLVERS)} is expected, found {self.solver!r}")
        if not (0 < self.dt <= 100 and 0 <= self.dropout < 1):
            found.add(f"0 < dt <= 100 and 0 <= dropout < 1 are expected, found {self.dt} and {self.dropout}")
        found.raise_if_any("the paper's: Shape() is its teacher, student_shape(h) its students")


def student_shape(hidden: int) -> Shape:
    """The paper's student of h = `hidden`."""
    return Shape(hidden=hidden, recurrence="low_rank", steps=STUDENT_STEPS, dt=STUDENT_DT)


class Liquid(nn.Module):
    """The liquid neuron: dx/dt = -alpha x + beta tanh(W x + drive), `steps` steps of `dt`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, rank = shape.hidden, shape.rank or shape.hidden
        self.steps, self.dt, self.solver = shape.steps, shape.dt, shape.solver
        self.full = shape.recurrence == "full"
        self.alpha = nn.Parameter(torch.full((width,), ALPHA))
        self.beta = nn.Parameter(torch.full((width,), BETA))
        if self.full:
            self.W = nn.Linear(width, width, bias=False)
        else:
            self.w_diag = nn.Parameter(torch.randn(width) * SPREAD)
            self.U = nn.Parameter(torch.randn(width, rank) * SPREAD)
            self.V = nn.Parameter(torch.randn(width, rank) * SPREAD)

    def slope(self, x: Tensor, drive: Tensor) -> Tensor:
        """dx/dt at x, (N, h); drive (N, 1)."""
        if self.full:
            recurrent = self.W(x)
        else:
            recurrent = x * self.w_diag + x @ self.V @ self.U.T / self.U.shape[1]
        return -self.alpha * x + self.beta * torch.tanh(recurrent + drive)

    def trajectory(self, x: Tensor, drive: Tensor) -> Tensor:
        """The states at 0, dt, ... steps dt: (steps + 1, N, h)."""
        states, advance = [x], self._rk4 if self.solver == "rk4" else self._euler
        for _ in range(self.steps):
            states.append(advance(states[-1], drive))
        return torch.stack(states)

    def forward(self, x: Tensor, drive: Tensor) -> Tensor:
        """The state at the end, (N, h)."""
        return self.trajectory(x, drive)[-1]

    def _euler(self, x: Tensor, drive: Tensor) -> Tensor:
        return x + self.dt * self.slope(x, drive)

    def _rk4(self, x: Tensor, drive: Tensor) -> Tensor:
        k1 = self.slope(x, drive)
        k2 = self.slope(x + self.dt / 2 * k1, drive)
        k3 = self.slope(x + self.dt / 2 * k2, drive)
        k4 = self.slope(x + self.dt * k3, drive)
        return x + self.dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


class DLNet(nn.Module):
    """Scaled windows (N, window) to scaled forecasts (N, horizon). Its weights come from torch's generator."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.residual_weight = nn.Parameter(torch.tensor(RESIDUAL))
        self.encoder = nn.Sequential(
            *_hidden_layers((shape.window, *shape.encoder), shape.dropout, after_last=True),
            nn.Linear((shape.window, *shape.encoder)[-1], shape.hidden),
            nn.LayerNorm(shape.hidden),
            nn.Tanh(),
        )
        self.dynamics = Liquid(shape)
        self.decoder = nn.Sequential(
            *_hidden_layers((shape.hidden, *shape.decoder), shape.dropout, after_last=False),
            nn.Linear((shape.hidden, *shape.decoder)[-1], shape.horizon),
        )

    def states(self, u: Tensor) -> Tensor:
        """The liquid neuron's trajectory, (steps + 1, N, h); its first state is the encoded window."""
        return self.dynamics.trajectory(self.encoder(u), u.mean(dim=-1, keepdim=True))

    def decode(self, states: Tensor) -> Tensor:
        """The forecast that a trajectory leads to, (N, horizon)."""
        forecast: Tensor = self.decoder(states[-1] + self.residual_weight * states[0])
        return forecast

    def forward(self, u: Tensor) -> Tensor:
        """The forecast, (N, horizon)."""
        return self.decode(self.states(u))


def _hidden_layers(widths: tuple[int, ...], dropout: float, *, after_last: bool) -> list[nn.Module]:
    """Linear, LayerNorm, ReLU and Dropout for every pair of widths, in the places of the published files.

    There the decoder's last hidden layer has no Dropout.
    """
    layers: list[nn.Module] = []
    for taken, given in pairwise(widths):
        layers += [nn.Linear(taken, given), nn.LayerNorm(given), nn.ReLU(), nn.Dropout(dropout)]
    return layers if after_last or not layers else layers[:-1]


def build(shape: Shape, seed: int) -> DLNet:
    """A network whose first weights depend on the seed alone; torch's own generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DLNet(shape)


def ends(model: nn.Module, u: Tensor) -> Tensor:
    """The liquid neuron's first and last state, (N, 2, h): what `distill` matches between teacher and student."""
    assert isinstance(model, DLNet)
    states = model.states(u)
    return torch.stack([states[0], states[-1]], dim=1)


def shape_of(tensors: Mapping[str, Array], steps: int, dt: float, where: str = "state_dict") -> Shape:
    """What the tensors of a state_dict describe; a pruned one too.

    Raises:
        LnncError: they are not a DLNet network's, or their layers stand in other places than in the published files.
    """
    arch = infer_architecture(tensors, where, dt, steps, 1, "window")
    assert arch.dynamics is not None
    encoder, decoder = (
        [tensors[f"{layer.key}.weight"].shape[0] for layer in part if layer.op == "linear"]
        for part in (arch.encoder, arch.decoder)
    )
    low = arch.dynamics.recurrence == "low_rank"
    rank = tensors["dynamics.U"].shape[1] if low else 0
    window = tensors[f"{arch.encoder[0].key}.weight"].shape[1]
    return Shape(
        window, decoder[-1], tuple(encoder[:-1]), encoder[-1], tuple(decoder[:-1]), arch.dynamics.recurrence, rank,
        steps, dt,
    )  # fmt: skip


def from_tensors(tensors: Mapping[str, Array], steps: int, dt: float, where: str = "state_dict") -> DLNet:
    """A network with these weights.

    Raises:
        LnncError: as `shape_of`.
    """
    model = build(shape_of(tensors, steps, dt, where), 0)
    held = {name: torch.as_tensor(array, dtype=torch.float32) for name, array in tensors.items()}
    missing, unknown = set(model.state_dict()) - set(held), set(held) - set(model.state_dict())
    shapes = {name for name in set(held) - unknown if held[name].numel() != model.state_dict()[name].numel()}
    if missing or unknown or shapes:
        odd = ", ".join(sorted(missing | unknown | shapes))
        raise LnncError(
            f"not built as the paper's networks are: {odd}", where, "train it with lnnc.train.dlnet.networks"
        )
    model.load_state_dict({name: held[name].reshape(p.shape) for name, p in model.state_dict().items()})
    return model


def to_tensors(model: nn.Module) -> dict[str, Array]:
    """The state_dict as float64 arrays."""
    return {name: tensor.detach().double().numpy().copy() for name, tensor in model.state_dict().items()}


@dataclass(frozen=True)
class Scaler:
    """The min/max scaler: a network sees (real - low) / (high - low).

    Raises:
        LnncError: low is not below high.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise LnncError(f"low < high is expected, found {self.low} and {self.high}", "scaler")

    @property
    def span(self) -> float:
        return self.high - self.low


class Scaled(nn.Module):
    """A network between its scalers: real values in, real values out."""

    def __init__(self, network: nn.Module, scaler: Scaler) -> None:
        super().__init__()
        self.network, self.scaler = network, scaler

    def forward(self, window: Tensor) -> Tensor:
        """The forecast in real units."""
        scaled = (window - self.scaler.low) / self.scaler.span
        forecast: Tensor = self.network(scaled) * self.scaler.span + self.scaler.low
        return forecast
