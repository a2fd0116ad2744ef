"""Recurrent cells as Graph ops, from plain arrays: the only place that knows their equations.

Every cell reads `net.tensor` (x), remembers its states between samples, and leaves `net.tensor` at its output.
T is the time since the last sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lnnc.frontend.layers import Dense, Net, affine_layer
from lnnc.ir.graph import Array, Blend, Leaky, Ltc, Pure, Scale, Synapses, Timed

MODES = ("default", "no_gate", "pure")
BACKBONES = ("lecun_tanh", "tanh", "relu", "silu", "gelu")
_LECUN_IN, _LECUN_OUT = 0.666, 1.7159  # lecun_tanh(x) = 1.7159 tanh(0.666 x)


@dataclass(frozen=True, eq=False)
class CfcCell:
    """Closed-form continuous-time cell (Hasani et al. 2022; ncps `CfCCell`); z = backbone(x, h):

        default:  f1 = tanh(ff1 z), f2 = tanh(ff2 z), t = sigmoid(time_a(z) T + time_b(z)),  h <- f1 (1 - t) + f2 t
        no_gate:  the same, but                                                             h <- f1 + f2 t
        pure:     f = ff1 z,   h <- A - A exp(-T (|w_tau| + |f|)) f

    Attributes:
        backbone: layers with their names, each followed by `activation`; empty: z = (x, h).
        heads: ff1 and, except in mode pure, ff2, time_a and time_b; masks already applied.
        amplitude, rate: A and |w_tau| of mode pure, (units,).
    """

    mode: str
    activation: str
    backbone: tuple[tuple[str, Dense], ...]
    heads: Mapping[str, Dense]
    amplitude: Array | None = None
    rate: Array | None = None

    @property
    def units(self) -> int:
        return len(self.heads["ff1"].bias)

    @property
    def inputs(self) -> int:
        first = self.backbone[0][1] if self.backbone else self.heads["ff1"]
        return int(first.weight.shape[1]) - self.units


@dataclass(frozen=True, eq=False)
class LstmCell:
    """Long short-term memory (Hochreiter & Schmidhuber 1997, as torch and ncps compute it); gates of (x, h):

    c <- sigmoid(f) c + sigmoid(i) tanh(g),    h <- sigmoid(o) tanh(c)
    """

    gates: Mapping[str, Dense]  # i, f, g, o

    @property
    def units(self) -> int:
        return len(self.gates["i"].bias)

    @property
    def inputs(self) -> int:
        return int(self.gates["i"].weight.shape[1]) - self.units


@dataclass(frozen=True, eq=False)
class GruCell:
    """Gated recurrent unit as torch computes it:

    r, z = sigmoid of layers of (x, h),    n = tanh(new_x x + r * new_h h),    h <- (1 - z) n + z h
    """

    reset: Dense
    update: Dense
    new_x: Dense
    new_h: Dense

    @property
    def inputs(self) -> int:
        return int(self.new_x.weight.shape[1])


@dataclass(frozen=True, eq=False)
class LtcCell:
    """Liquid time-constant cell, see `ir.graph.Ltc`; its output is gain * (the first `outputs` of v) + offset."""

    inputs: int
    sensory: Synapses
    recurrent: Synapses
    leak: Array
    leak_current: Array
    capacitance: Array
    unfolds: int
    explicit: bool
    outputs: int
    gain: Array
    offset: Array


@dataclass(frozen=True, eq=False)
class LiquidCell:
    """Liquid neuron of DLNet with memory, see `ir.graph.Leaky`; drive = a layer of x."""

    drive: Dense
    weight: Array
    alpha: Array
    beta: Array
    steps: int


def synapses(
    w: Array, sigma: Array, mu: Array, erev: Array, mask: Array, gain: Array | None = None, offset: Array | None = None
) -> Synapses:
    """The synapses that exist, in the terms of `ir.graph.Synapses`. Every array is (pre, post).

    gain, offset: (pre,): the affine map of the inputs, sigma (gain x + offset - mu) = slope x + offset. A gain of 0
    is allowed: the conductance is then constant.
    """
    ones, zeros = np.ones(len(w)), np.zeros(len(w))
    gain, offset = ones if gain is None else gain, zeros if offset is None else offset
    conductance = w * mask
    post, pre = np.nonzero(conductance.T)  # sorted by post, then pre
    slope, shift = sigma * gain[:, None], sigma * (offset[:, None] - mu)
    chosen = (array[pre, post] for array in (slope, shift, conductance, conductance * erev))
    return Synapses(pre, post, *chosen)


def softplus(x: Array) -> Array:
    """log(1 + exp(x)), without overflow."""
    return np.asarray(np.logaddexp(0.0, x))


def lstm_step(net: Net, src: str, cell: LstmCell, x: str, h: str, c: str) -> tuple[str, str]:
    """One step from the state (h, c) to the next."""
    both = net.concat(src, "xh", (x, h))
    functions = {"i": "sigmoid", "f": "sigmoid", "g": "tanh", "o": "sigmoid"}
    gate = {
        name: net.act(src, net.linear(f"{src}.{name}", both, cell.gates[name]), fn) for name, fn in functions.items()
    }
    kept, written = net.product(src, "kept", gate["f"], c), net.product(src, "written", gate["i"], gate["g"])
    memory = net.sum(src, "c_next", kept, written)
    return net.product(src, "h_next", gate["o"], net.act(src, memory, "tanh")), memory


def lstm(net: Net, src: str, cell: LstmCell) -> None:
    """A layer of `LstmCell`."""
    net.expect(src, cell.inputs)
    h, c = net.state(src, "h", cell.units), net.state(src, "c", cell.units)
    new, memory = lstm_step(net, src, cell, net.tensor, h, c)
    net.remember(h, new)
    net.remember(c, memory)
    net.tensor = new


def gru(net: Net, src: str, cell: GruCell) -> None:
    """A layer of `GruCell`."""
    net.expect(src, cell.inputs)
    x, h = net.tensor, net.state(src, "h", len(cell.new_h.bias))
    both = net.concat(src, "xh", (x, h))
    reset = net.act(src, net.linear(f"{src}.r", both, cell.reset), "sigmoid")
    update = net.act(src, net.linear(f"{src}.z", both, cell.update), "sigmoid")
    seen, held = net.linear(f"{src}.n_x", x, cell.new_x), net.linear(f"{src}.n_h", h, cell.new_h)
    new = net.act(src, net.sum(src, "n", seen, net.product(src, "r_n_h", reset, held)), "tanh")
    net.tensor = net.add(Blend(f"{src}.h_next", new, h, update, src))
    net.remember(h, net.tensor)


def elman(net: Net, src: str, dense: Dense, fn: str) -> None:
    """h <- fn(dense(x, h)), fn tanh or relu (torch `RNN`)."""
    units = len(dense.bias)
    net.expect(src, dense.weight.shape[1] - units)
    h = net.state(src, "h", units)
    net.tensor = net.act(src, net.linear(f"{src}.xh_h", net.concat(src, "xh", (net.tensor, h)), dense), fn)
    net.remember(h, net.tensor)


def cfc(
    net: Net, layers: Sequence[tuple[str, CfcCell]], memory: LstmCell | None = None, memory_src: str = "lstm"
) -> None:
    """CfC cells one behind the other, each reading the new h of the one before; the last h is the output.

    layers: the cells with their names; one for a plain CfC. memory: an LSTM over x and all h, whose new h the cells
    then take for theirs (ncps `mixed_memory`); each state h holds what its cell made of it.
    """
    net.expect(layers[0][0], layers[0][1].inputs)
    x = net.tensor
    states = tuple(net.state(name, "h", cell.units) for name, cell in layers)
    held = _remembered(net, memory_src, memory, x, states) if memory else states
    for (name, cell), state, h in zip(layers, states, held, strict=True):
        x = _cfc_step(net, name, cell, x, h)
        net.remember(state, x)
    net.tensor = x


def _remembered(net: Net, src: str, memory: LstmCell, x: str, states: tuple[str, ...]) -> tuple[str, ...]:
    """What an LSTM makes of the states, cut up as they are."""
    c = net.state(src, "c", memory.units)
    new, cell = lstm_step(net, src, memory, x, net.concat(src, "h", states), c)
    net.remember(c, cell)
    ends = np.cumsum([net.sizes[state] for state in states]).tolist()
    starts = [0, *ends[:-1]]
    return tuple(
        net.part(src, f"h_{k}", new, start, stop) for k, (start, stop) in enumerate(zip(starts, ends, strict=True))
    )


def _cfc_step(net: Net, src: str, cell: CfcCell, x: str, h: str) -> str:
    """The new h of one cell."""
    z, gain = _backbone(net, src, cell, net.concat(src, "xh", (x, h)))
    head = {name: net.linear(f"{src}.{name}", z, dense.scaled(gain, 1.0)) for name, dense in cell.heads.items()}
    if cell.mode == "pure":
        return _pure(net, src, cell, head["ff1"])
    first, second = (net.act(src, head[name], "tanh") for name in ("ff1", "ff2"))
    gate = net.act(src, net.add(Timed(f"{src}.time", head["time_a"], head["time_b"], f"{src}.time")), "sigmoid")
    if cell.mode == "no_gate":
        return net.sum(src, "h_next", first, net.product(src, "gated", second, gate))
    return net.add(Blend(f"{src}.h_next", first, second, gate, src))


def _backbone(net: Net, src: str, cell: CfcCell, x: str) -> tuple[str, float]:
    """The features, and the factor that they still lack: it goes into the weights of the layers that read them."""
    lecun = cell.activation == "lecun_tanh"
    gain = 1.0
    for name, dense in cell.backbone:
        made = net.linear(f"{src}.{name}", x, dense.scaled(gain, _LECUN_IN if lecun else 1.0))
        x = net.act(src, made, "tanh" if lecun else cell.activation)
        gain = _LECUN_OUT if lecun else 1.0
    return x, gain


def _pure(net: Net, src: str, cell: CfcCell, x: str) -> str:
    """A - A exp(...) x; an amplitude below 0, which training may leave, is a sign on the result."""
    assert cell.amplitude is not None and cell.rate is not None
    made = net.add(Pure(f"{src}.h_next", x, np.abs(cell.amplitude), cell.rate, src))
    if (cell.amplitude >= 0).all():
        return made
    return net.add(Scale(f"{src}.h_signed", made, np.where(cell.amplitude < 0, -1.0, 1.0), np.zeros(cell.units), src))


def ltc(net: Net, src: str, cell: LtcCell, memory: LstmCell | None = None, memory_src: str = "lstm") -> None:
    """A layer of `LtcCell`; memory as in `cfc`."""
    net.expect(src, cell.inputs)
    x, v = net.tensor, net.state(src, "v", len(cell.leak))
    held = _remembered(net, memory_src, memory, x, (v,))[0] if memory else v
    new = net.add(
        Ltc(
            f"{src}.v_next", x, held, cell.sensory, cell.recurrent, cell.leak, cell.leak_current, cell.capacitance,
            cell.unfolds, cell.explicit, src,
        )
    )  # fmt: skip
    net.remember(v, new)
    net.tensor = net.part(src, "motor", new, 0, cell.outputs)
    affine_layer(net, f"{src}.output", cell.gain, cell.offset)


def liquid(net: Net, src: str, cell: LiquidCell) -> None:
    """A layer of `LiquidCell`."""
    net.expect(src, cell.drive.weight.shape[1])
    x = net.state(src, "x", len(cell.alpha))
    drive = net.linear(f"{src}.drive", net.tensor, cell.drive)
    net.tensor = net.add(Leaky(f"{src}.x_next", x, drive, cell.weight, cell.alpha, cell.beta, cell.steps, src))
    net.remember(x, net.tensor)
