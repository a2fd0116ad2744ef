"""Networks on sequences of any kind: F side by side to train, each as ops that compile, its neurons to prune."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import nn

from lnnc.errors import LnncError
from lnnc.frontend import cells
from lnnc.frontend.cells import CfcCell, GruCell, LiquidCell, LtcCell
from lnnc.frontend.layers import Dense, Net, activation_layer, linear_layer
from lnnc.frontend.network import Network as Ops
from lnnc.ir.graph import Array, Synapses
from lnnc.ir.series import History
from lnnc.train.learn.prune import Neurons, Slot
from lnnc.train.sequences.gru import Gru
from lnnc.train.students.models import Network, networks
from lnnc.train.students.pruning import load_weights, student_neurons
from lnnc.train.students.student import LTC_UNFOLDS, Student

CELLS = ("cfc", "leaky", "ltc", "gru")
FEEDFORWARD = ("mlp", "linear")
KINDS = (*CELLS, *FEEDFORWARD)
Weights = Mapping[str, Array]


def sequence_networks(kind: str, inputs: int, units: Sequence[int], outputs: int, models: int, seed: int) -> Network:
    """F untrained networks with a head of any size.

    inputs: values of a sample for a cell, of the whole window for a network without a state.

    Raises:
        LnncError: as `models.networks`.
    """
    generator = torch.Generator().manual_seed(seed)
    if kind == "gru":
        if len(units) != 1:
            raise LnncError(f"'gru' cannot have hidden layers of {list(units)}", "model", "a cell has one")
        made: Network = Gru(inputs, units[0], models, generator)
    else:
        made = networks(kind, inputs, units, False, models, seed)
    hidden = made.head.shape[1]
    made.head = nn.Parameter(0.01 * torch.randn(models, hidden, outputs, generator=generator))
    made.head_bias = nn.Parameter(torch.zeros(models, 1, outputs))
    return made


# ---------------------------------------------------------------- ops


def sequence_ops(kind: str, weights: Weights, features: int, window: int) -> Ops:
    """The network as ops that read one sample: a network without a state keeps the last `window` samples itself."""
    net = Net(features)
    if kind in FEEDFORWARD:
        net.tensor = net.add(History("past", net.tensor, window * features, "past"))
        for index in range(sum(name.endswith(".weight") for name in weights) - 1):
            linear_layer(net, f"layer{index}", _dense(weights, f"layers.{index}"))
            activation_layer(net, f"layer{index}", "relu")
    else:
        append_cell(net, kind, weights)
    linear_layer(net, "head", _dense(weights, "head"))
    return Ops(tuple(net.ops), net.tensor)


def append_cell(net: Net, kind: str, weights: Weights) -> None:
    """A cell behind what the network has; its state is then what the next layer reads."""
    _APPEND[kind](net, weights)


def _dense(weights: Weights, name: str) -> Dense:
    return Dense(weights[f"{name}.weight"], weights[f"{name}.bias"])


def _cfc(net: Net, weights: Weights) -> None:
    """The two time heads of a CfC are one where the time between samples is constant."""
    time = _dense(weights, "time")
    still = Dense(np.zeros_like(time.weight), np.zeros_like(time.bias))
    heads = {"ff1": _dense(weights, "ff1"), "ff2": _dense(weights, "ff2"), "time_a": still, "time_b": time}
    cells.cfc(net, [("cfc", CfcCell("default", "tanh", (), heads))])


def _leaky(net: Net, weights: Weights) -> None:
    drive = _dense(weights, "drive")
    cells.liquid(net, "leaky", LiquidCell(drive, weights["weight"], weights["alpha"], weights["beta"], 1))


def _ltc(net: Net, weights: Weights) -> None:
    sensory, recurrent = (_synapses(weights, prefix) for prefix in ("sensory_", ""))
    leak, units = weights["gleak"], len(weights["gleak"])
    cell = LtcCell(
        len(weights["sensory_w"]), sensory, recurrent, leak, leak * weights["vleak"], weights["cm"], LTC_UNFOLDS,
        False, units, np.ones(units), np.zeros(units),
    )  # fmt: skip
    cells.ltc(net, "ltc", cell)


def _synapses(weights: Weights, prefix: str) -> Synapses:
    w, sigma, mu, erev = (weights[f"{prefix}{name}"] for name in ("w", "sigma", "mu", "erev"))
    return cells.synapses(w, sigma, mu, erev, np.ones_like(w))


def _gru(net: Net, weights: Weights) -> None:
    seen, held = (
        [
            Dense(w, b)
            for w, b in zip(np.split(weights[f"{n}_weight"], 3), np.split(weights[f"{n}_bias"], 3), strict=True)
        ]
        for n in ("seen", "held")
    )
    reset, update = (
        Dense(np.hstack([x.weight, h.weight]), x.bias + h.bias) for x, h in zip(seen[:2], held[:2], strict=True)
    )
    cells.gru(net, "gru", GruCell(reset, update, seen[2], held[2]))


_APPEND: dict[str, Callable[[Net, Weights], None]] = {"cfc": _cfc, "leaky": _leaky, "ltc": _ltc, "gru": _gru}


# ---------------------------------------------------------------- neurons


def cell_neurons(kind: str, weights: Weights) -> Neurons:
    """The state of a cell: what makes it, what reads it, what goes with it."""
    if kind != "gru":
        return student_neurons(Student(kind, "stream", False, "features", False, weights))[0]
    units = int(weights["head.weight"].shape[1])
    thirds = (2 * units, units, 0)  # the last first: cutting one moves those behind it
    parts = [f"{name}_{part}" for name in ("seen", "held") for part in ("weight", "bias")]
    made = tuple(Slot(part, 0, first) for part in parts for first in thirds)
    return Neurons("state", units, made, (Slot("held_weight", 1), Slot("head.weight", 1)))


def restore(network: Network, arrays: Sequence[Weights]) -> None:
    """Give each of the F networks the weights that `arrays` lists: the inverse of `Network.arrays`."""
    with torch.no_grad():
        for index, weights in enumerate(arrays):
            tensors = {name: torch.as_tensor(array) for name, array in weights.items()}
            load_weights(network, index, tensors)
            if isinstance(network, Gru):
                for name, parameter in network.own_parameters().items():
                    parameter[index] = tensors[name]
