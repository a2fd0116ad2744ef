"""Random networks of liquid cells: any cell, wiring, depth and mixture with feed-forward layers.

The seed alone decides what a network is. Weights have the magnitudes that ncps and torch initialise with; `wild`
networks have some negative conductances besides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lnnc.frontend import cells
from lnnc.frontend.checkpoint import Checkpoint, PortSpec
from lnnc.frontend.layers import Dense, Net, activation_layer, linear_layer, norm_layer
from lnnc.frontend.network import Network, network_checkpoint

Reals = NDArray[np.float64]
CELLS = ("cfc", "no_gate", "pure", "wired_cfc", "ltc", "wired_ltc", "euler_ltc", "mixed_cfc", "mixed_ltc",
         "gru", "lstm", "elman", "liquid", "ctrnn")  # fmt: skip
STREAMS, SAMPLES = 4, 160


def dense(rng: np.random.Generator, outputs: int, inputs: int, density: float = 1.0, gain: float = 1.0) -> Dense:
    """Weights as Xavier initialisation draws them, some absent."""
    limit = gain * np.sqrt(6.0 / (inputs + outputs))
    mask = rng.random((outputs, inputs)) < density
    return Dense(rng.uniform(-limit, limit, (outputs, inputs)) * mask, rng.uniform(-0.2, 0.2, outputs))


def cfc_cell(
    rng: np.random.Generator, inputs: int, units: int, mode: str, density: float = 1.0, depth: int | None = None
) -> cells.CfcCell:
    """A CfC cell with a backbone of 0 ... 2 layers; `density` < 1 masks ff1 and ff2."""
    layers, width = [], inputs + units
    for k in range(int(rng.integers(0, 3)) if depth is None else depth):
        size = int(rng.integers(4, 40))
        layers.append((f"backbone.{k}", dense(rng, size, width)))
        width = size
    names = ("ff1",) if mode == "pure" else ("ff1", "ff2", "time_a", "time_b")
    heads = {name: dense(rng, units, width, density if name.startswith("ff") else 1.0) for name in names}
    extra = (rng.uniform(0.3, 1.2, units), rng.uniform(0.0, 1.0, units)) if mode == "pure" else (None, None)
    return cells.CfcCell(mode, str(rng.choice(cells.BACKBONES)), tuple(layers), heads, *extra)


def lstm_cell(rng: np.random.Generator, inputs: int, units: int) -> cells.LstmCell:
    """Gates of an LSTM."""
    return cells.LstmCell({name: dense(rng, units, inputs + units) for name in "ifgo"})


def ltc_cell(
    rng: np.random.Generator, inputs: int, units: int, density: float, explicit: bool, wild: bool
) -> cells.LtcCell:
    """An LTC with the ranges that ncps initialises; wild ones have some negative conductances."""

    def block(rows: int) -> Any:
        w = rng.uniform(0.001, 1.0, (rows, units))
        if wild:
            w[rng.random(w.shape) < 0.05] *= -0.1
        mask = (rng.random(w.shape) < density).astype(float)
        erev = rng.choice([-1.0, 1.0], w.shape) * rng.uniform(0.7, 1.3, w.shape)
        return cells.synapses(w, rng.uniform(3, 8, w.shape), rng.uniform(0.3, 0.8, w.shape), erev, mask)

    leak = rng.uniform(0.2 if wild else 0.001, 1.0, units)
    outputs = int(rng.integers(1, units + 1))
    inflow = 40.0 if explicit else 1.0  # an explicit step must be short
    return cells.LtcCell(
        inputs, block(inputs), block(units), leak, leak * rng.uniform(-0.2, 0.2, units),
        rng.uniform(0.4, 0.6, units) * inflow, int(rng.choice([1, 3, 6, 12])), explicit, outputs,
        rng.uniform(0.5, 2.0, outputs), rng.uniform(-0.5, 0.5, outputs),
    )  # fmt: skip


def liquid_cell(rng: np.random.Generator, inputs: int, units: int, leaky: bool) -> cells.LiquidCell:
    """DLNet's neuron with memory, or a leaky integrator with beta = alpha."""
    alpha = rng.uniform(0.05, 1.0, units)
    beta = alpha if leaky else rng.normal(0, 1, units)
    weight = dense(rng, units, units).weight
    return cells.LiquidCell(dense(rng, units, inputs), weight, alpha, beta, int(rng.integers(1, 7)))


def _wired_cfc(net: Net, rng: np.random.Generator, name: str, units: int) -> None:
    layers, width = [], net.width
    for k in range(3):
        size = max(1, units // (k + 1))
        layers.append((f"{name}.layer_{k}", cfc_cell(rng, width, size, "default", 0.5, depth=0)))
        width = size
    cells.cfc(net, layers)


def add_cell(net: Net, rng: np.random.Generator, kind: str, name: str, units: int, wild: bool) -> None:
    """Append one recurrent layer."""
    x = net.width
    makers: dict[str, Callable[[], None]] = {
        "cfc": lambda: cells.cfc(net, [(name, cfc_cell(rng, x, units, "default"))]),
        "no_gate": lambda: cells.cfc(net, [(name, cfc_cell(rng, x, units, "no_gate"))]),
        "pure": lambda: cells.cfc(net, [(name, cfc_cell(rng, x, units, "pure"))]),
        "wired_cfc": lambda: _wired_cfc(net, rng, name, units),
        "mixed_cfc": lambda: cells.cfc(
            net, [(name, cfc_cell(rng, x, units, "default"))], lstm_cell(rng, x, units), f"{name}.lstm"
        ),
        "ltc": lambda: cells.ltc(net, name, ltc_cell(rng, x, units, 1.0, False, wild)),
        "wired_ltc": lambda: cells.ltc(net, name, ltc_cell(rng, x, units, 0.3, False, wild)),
        "euler_ltc": lambda: cells.ltc(net, name, ltc_cell(rng, x, units, 0.5, True, False)),
        "mixed_ltc": lambda: cells.ltc(
            net, name, ltc_cell(rng, x, units, 0.5, False, wild), lstm_cell(rng, x, units), f"{name}.lstm"
        ),
        "gru": lambda: cells.gru(
            net, name, cells.GruCell(dense(rng, units, x + units), dense(rng, units, x + units), dense(rng, units, x),
                                     dense(rng, units, units))
        ),
        "lstm": lambda: cells.lstm(net, name, lstm_cell(rng, x, units)),
        "elman": lambda: cells.elman(net, name, dense(rng, units, x + units), "tanh"),
        "liquid": lambda: cells.liquid(net, name, liquid_cell(rng, x, units, leaky=False)),
        "ctrnn": lambda: cells.liquid(net, name, liquid_cell(rng, x, units, leaky=True)),
    }  # fmt: skip
    makers[kind]()


@dataclass(frozen=True)
class Recurrent:
    """A drawn network and what it is."""

    label: str
    checkpoint: Checkpoint


def random_network(seed: tuple[int, ...], kind: str = "", units: int = 0, wild: bool = True) -> Recurrent:
    """One to two recurrent layers, perhaps with feed-forward layers around them."""
    rng = np.random.default_rng(seed)
    inputs = int(rng.integers(1, 5))
    net = Net(inputs)
    kinds = [kind or str(rng.choice(CELLS))]
    if not kind and rng.random() < 0.3:
        kinds.append(str(rng.choice(CELLS)))
    if rng.random() < 0.3:
        linear_layer(net, "enter", dense(rng, int(rng.integers(2, 9)), net.width))
        if rng.random() < 0.5:
            norm_layer(net, "norm", rng.uniform(0.5, 1.5, net.width), rng.uniform(-0.2, 0.2, net.width), 1e-5)
        activation_layer(net, "enter_act", str(rng.choice(["relu", "tanh", "sigmoid", "silu", "gelu"])))
    for k, each in enumerate(kinds):
        add_cell(net, rng, each, f"rnn{k}", units or int(rng.integers(2, 17)), wild)
    if rng.random() < 0.5:
        linear_layer(net, "head", dense(rng, int(rng.integers(1, 4)), net.width))
    offset, scale = (0.0, 1.0) if rng.random() < 0.5 else (float(rng.normal()), float(rng.uniform(0.2, 3.0)))
    ports = [PortSpec("x", inputs, "1", None, offset, scale)], [PortSpec("y", net.width, "1", None)]
    data = signals(rng, STREAMS, SAMPLES, inputs) * scale + offset
    checkpoint = network_checkpoint(
        Network(tuple(net.ops), net.tensor, float(rng.choice([1.0, 0.5, 0.1]))), where=f"network {seed}",
        inputs=ports[0], outputs=ports[1], calibration=data,
    )  # fmt: skip
    return Recurrent("+".join(kinds), checkpoint)


def signals(rng: np.random.Generator, streams: int, samples: int, features: int) -> Reals:
    """Chirp + slow cosine + square wave + a little noise, of different phases: (streams, samples, features)."""
    t = np.arange(samples)[None, :, None] / 200.0
    phase, rate = rng.uniform(0, 2 * np.pi, (2, streams, 1, features))
    chirp = np.sin(2 * np.pi * (0.5 + 1.5 * rate / 6.3) * t * (1.0 + t / 5.0) + phase)
    slow, square = np.cos(0.7 * t + phase), np.sign(np.sin(2 * np.pi * t * (1.0 + rate / 6.3) + phase))
    return np.asarray(0.5 * chirp + 0.4 * slow + 0.3 * square + rng.normal(0, 0.02, (streams, samples, features)))
