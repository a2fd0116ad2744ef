"""Small recurrent models which together use every kernel of the recurrent networks, each of another kind."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from recurrent import add_cell, cfc_cell, dense, lstm_cell, ltc_cell, signals

from lnnc.frontend import cells
from lnnc.frontend.checkpoint import Checkpoint, PortSpec
from lnnc.frontend.layers import Net, activation_layer, affine_layer, linear_layer, norm_layer
from lnnc.frontend.network import Network, network_checkpoint
from lnnc.ir.graph import Array, Div, Gather
from lnnc.pipeline import Compiled, Options, compile_model

STREAMS, SAMPLES = 3, 80
SPAN = (0.5, 2.0)  # of the models whose time is an argument
Layers = Callable[[Net, np.random.Generator], None]


def network(
    layers: Layers, inputs: int = 2, seed: int = 0, time: float = 1.0, calibration: Array | None = None
) -> Checkpoint:
    """The checkpoint of a network whose layers `layers` appends."""
    rng, net = np.random.default_rng(seed), Net(inputs)
    layers(net, rng)
    ports = [PortSpec("x", inputs, "1", None, 0.25, 1.5)], [PortSpec("y", net.width, "1", None)]
    data = signals(rng, STREAMS, SAMPLES, inputs) * 1.5 + 0.25 if calibration is None else calibration
    return network_checkpoint(
        Network(tuple(net.ops), net.tensor, time), where=f"network {seed}", inputs=ports[0], outputs=ports[1],
        calibration=data,
    )  # fmt: skip


def _cfc(net: Net, rng: np.random.Generator) -> None:
    """Two cells one behind the other: a backbone and heads of few synapses; then a layer of few weights."""
    linear_layer(net, "enter", dense(rng, 5, net.width))
    activation_layer(net, "enter", "silu")
    first = cfc_cell(rng, net.width, 6, "default", depth=1)
    pair = [("near", first), ("far", cfc_cell(rng, 6, 5, "default", 0.3, depth=0))]
    cells.cfc(net, pair)
    linear_layer(net, "head", dense(rng, 4, net.width, 0.4))
    activation_layer(net, "head", "relu")
    linear_layer(net, "last", dense(rng, 2, net.width))


def _ltc(net: Net, rng: np.random.Generator) -> None:
    """Six fused steps of seven neurons, and a layer of few 8-bit weights."""
    cells.ltc(net, "wired", ltc_cell_of(rng, net.width, 7, 0.5, False, 6, 4))
    linear_layer(net, "head", dense(rng, 9, net.width, 0.3))


def _leaky(net: Net, rng: np.random.Generator) -> None:
    """Leaky integrators with steps of their own, then a GRU, whose gate is no CfC's."""
    cells.liquid(net, "euler", cells.LiquidCell(dense(rng, 6, net.width), dense(rng, 6, 6).weight,
                                                rng.uniform(0.1, 0.9, 6), rng.normal(0, 1, 6), 3))  # fmt: skip
    add_cell(net, rng, "gru", "gru", 4, False)


def _timed(net: Net, rng: np.random.Generator) -> None:
    """Every cell that takes the time of its step."""
    add_cell(net, rng, "wired_cfc", "cfc", 4, False)
    add_cell(net, rng, "pure", "pure", 3, False)
    cells.ltc(net, "ltc", ltc_cell_of(rng, net.width, 4, 0.6, False, 2, 3))
    cells.ltc(net, "short", ltc_cell_of(rng, net.width, 3, 0.6, True, 3, 3))
    add_cell(net, rng, "ctrnn", "leaky", 3, False)


def _open(net: Net, rng: np.random.Generator) -> None:
    """Cells without gates, memories before cells, and what ONNX models put between them."""
    net.tensor = net.add(Gather("picked", net.tensor, np.array([1, 0, 1]), "picked"))
    add_cell(net, rng, "no_gate", "no_gate", 4, False)
    add_cell(net, rng, "pure", "pure", 3, False)
    cells.ltc(net, "short", ltc_cell_of(rng, net.width, 3, 0.6, True, 3, 3))
    cells.ltc(net, "mixed", ltc_cell_of(rng, net.width, 3, 0.7, False, 2, 3), lstm_cell(rng, net.width, 3), "lstm")
    linear_layer(net, "around", dense(rng, 4, net.width))
    size = net.act("around", net.tensor, "abs")
    more = net.tensor
    net.tensor = size
    affine_layer(net, "below", np.ones(4), np.ones(4))
    below, net.tensor = net.tensor, size
    affine_layer(net, "falling", -np.ones(4), np.zeros(4))
    falling = net.act("falling", net.tensor, "exp")
    softsign = net.add(Div("softsign", more, below, "softsign"))
    net.tensor = net.product("bump", "bump", falling, softsign)
    add_cell(net, rng, "lstm", "memory", 3, False)


def _wide(net: Net, rng: np.random.Generator) -> None:
    """More inputs and neurons than a byte counts."""
    net.tensor = net.add(Gather("spread", net.tensor, np.arange(258) % 2, "spread"))
    cells.ltc(net, "wide", ltc_cell_of(rng, 258, 260, 0.004, False, 2, 2))


def _plain(net: Net, rng: np.random.Generator) -> None:
    """8-bit weights: two samples held back, a layer with its norm, an Elman cell, a CfC of few synapses."""
    _delays(net)
    linear_layer(net, "enter", dense(rng, 5, net.width))
    norm_layer(net, "norm", rng.uniform(0.5, 1.5, 5), rng.uniform(-0.2, 0.2, 5), 1e-5)
    activation_layer(net, "norm", "gelu")
    add_cell(net, rng, "elman", "elman", 4, False)
    cells.cfc(net, [("cfc", cfc_cell(rng, 4, 6, "default", 0.3, depth=0))])


def _delays(net: Net) -> None:
    """The sample with the two before it: the second state takes what the first one held."""
    x, first, second = net.tensor, net.state("delay", "once", net.width), net.state("delay", "twice", net.width)
    net.remember(first, x)
    net.remember(second, first)
    net.tensor = net.concat("delay", "held", (x, first, second))


def ltc_cell_of(
    rng: np.random.Generator, inputs: int, units: int, density: float, explicit: bool, unfolds: int, outputs: int
) -> cells.LtcCell:
    """`recurrent.ltc_cell` with so many steps and outputs."""
    drawn = ltc_cell(rng, inputs, units, density, explicit, False)
    gain, offset = rng.uniform(0.5, 2.0, outputs), rng.uniform(-0.5, 0.5, outputs)
    return cells.LtcCell(
        inputs, drawn.sensory, drawn.recurrent, drawn.leak, drawn.leak_current, drawn.capacitance, unfolds, explicit,
        outputs, gain, offset,
    )  # fmt: skip


TABLE: dict[str, tuple[Layers, dict[str, Any]]] = {
    "cfc": (_cfc, {"weight_bits": "16"}),
    "ltc": (_ltc, {}),
    "leaky": (_leaky, {"activations": "int8", "weight_bits": "16"}),
    "timed": (_timed, {"activations": "int8", "runtime_dt": SPAN}),
    "open": (_open, {}),
    "plain": (_plain, {}),
    "wide": (_wide, {}),
}
FOR_AN_UNO = ("cfc", "ltc", "leaky", "timed", "open", "plain")  # "wide" needs more than its 2 KB of RAM


def liquid_checkpoint(name: str) -> tuple[Checkpoint, Options]:
    """One model of the table, and the options it is compiled with."""
    layers, options = TABLE[name]
    return network(layers, seed=40 + list(TABLE).index(name)), Options(**options)


@functools.cache
def liquid_model(name: str) -> Compiled:
    """One model of the table, compiled under its own name."""
    checkpoint, options = liquid_checkpoint(name)
    return compile_model(checkpoint, name, options)
