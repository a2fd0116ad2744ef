"""Cells of ncps and of our own torch modules from their named weights; nothing of torch or ncps is imported.

Names and shapes are those of ncps 1.0.1 (`CfC`, `LTC`, their wirings and `mixed_memory`). What a state_dict cannot tell
stands in a `CellConfig`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from lnnc.errors import Findings
from lnnc.frontend.cells import CfcCell, LiquidCell, LstmCell, LtcCell, cfc, liquid, ltc, softplus, synapses
from lnnc.frontend.checkpoint import WIDTH_MAX
from lnnc.frontend.layers import Dense, Net, layer_name, linear_layer
from lnnc.ir.graph import Array, Synapses

_LAYER = re.compile(r"layer_(\d{1,6})\.ff1\.weight")
_BACKBONE = re.compile(r"backbone\.(\d{1,6})\.weight")


@dataclass(frozen=True)
class CellConfig:
    """What the weights of a cell do not tell.

    Attributes:
        cell: "cfc", "ltc" or "liquid".
        mode, activation: of a CfC; the activation matters where there is a backbone.
        unfolds: steps of an LTC or liquid neuron for each sample.
        implicit: an LTC's w, cm and gleak go through softplus.
        explicit: an LTC takes explicit Euler steps.
        outputs: neurons that an LTC gives out, or None for as many as output_w has.
        dt: step of a liquid neuron as a part of the time between samples.
    """

    cell: str
    mode: str = "default"
    activation: str = "lecun_tanh"
    unfolds: int = 6
    implicit: bool = False
    explicit: bool = False
    outputs: int | None = None
    dt: float = 1.0


class Weights:
    """Named arrays, taken one by one with their shape checked.

    Args:
        tensors: the arrays by their full name.
        found: takes the faults.
        prefix: what stands before every name that is asked for.
    """

    def __init__(self, tensors: Mapping[str, Array], found: Findings, prefix: str = "") -> None:
        self.tensors, self.found, self.prefix = tensors, found, prefix
        self.used: set[str] = set()

    def below(self, prefix: str) -> Weights:
        """The same arrays under a longer prefix; what is taken there counts here."""
        inner = Weights(self.tensors, self.found, self.prefix + prefix)
        inner.used = self.used
        return inner

    def names(self) -> list[str]:
        """What there is below the prefix, without it."""
        return [key.removeprefix(self.prefix) for key in self.tensors if key.startswith(self.prefix)]

    def has(self, name: str) -> bool:
        return self.prefix + name in self.tensors

    def length(self, *names: str) -> int:
        """Rows of the first of these arrays that is there; 1 where none is, which `take` then says."""
        arrays = (self.tensors.get(self.prefix + name) for name in names)
        return next((len(array) for array in arrays if array is not None and array.ndim and len(array)), 1)

    def take(self, name: str, *shape: int | None) -> Array:
        """An array of a known shape, None for any length; what does not fit is noted, and ones stand in for it."""
        key = self.prefix + name
        self.used.add(key)
        array = self.tensors.get(key)
        want = f"({', '.join('any' if n is None else str(n) for n in shape)}{',' * (len(shape) == 1)})"
        if array is None:
            self.found.add(f"key '{key}' is missing")
        elif array.ndim != len(shape) or any(w not in (None, n) for w, n in zip(shape, array.shape, strict=True)):
            self.found.add(f"tensor '{key}': expected shape {want}, found {array.shape}")
        elif not array.size or max(array.shape) > WIDTH_MAX:
            self.found.add(f"tensor '{key}': expected sides of 1 ... {WIDTH_MAX}, found {array.shape}")
        else:
            return array
        return np.ones(tuple(n or 1 for n in shape))

    def dense(self, name: str, outputs: int | None = None, inputs: int | None = None) -> Dense:
        """Weight and bias of a Linear layer."""
        outputs = outputs or self.length(f"{name}.bias", f"{name}.weight")
        return Dense(self.take(f"{name}.weight", outputs, inputs), self.take(f"{name}.bias", outputs))

    def unused(self) -> list[str]:
        return sorted(set(self.tensors) - self.used)


@dataclass(frozen=True)
class Part:
    """A layer that has been read: how many values it takes (None: any number), and what appends it to a network."""

    inputs: int | None
    append: Callable[[Net], None]


def read_cell(weights: Weights, prefix: str, config: CellConfig, src: str = "") -> list[Part]:
    """One recurrent layer: its cell under `prefix`, and beside it ncps' memory (lstm) and projection (fc), if any.

    Args:
        prefix: of the cell's own names, for example "rnn_cell." or "".
        src: name of the layer in messages, by default from the prefix.
    """
    src = src or layer_name((weights.prefix + prefix).rstrip(".") or "cell")
    inner = weights.below(prefix)
    if config.cell == "liquid":
        neuron = liquid_cell(inner, config)
        return [Part(neuron.drive.weight.shape[1], partial(liquid, src=src, cell=neuron))]
    beside = f".{prefix}".endswith(".rnn_cell.")
    root = weights.below(prefix.removesuffix("rnn_cell.") if beside else prefix)
    mixed = beside and root.has("lstm.input_map.weight")
    name = layer_name(f"{root.prefix}lstm")
    if config.cell == "ltc":
        cell = ltc_cell(inner, config)
        memory = memory_cell(root, cell.inputs, len(cell.leak)) if mixed else None
        return [Part(cell.inputs, partial(ltc, src=src, cell=cell, memory=memory, memory_src=name))]
    layers = cfc_layers(inner, src, config)
    memory = memory_cell(root, layers[0][1].inputs, sum(cell.units for _, cell in layers)) if mixed else None
    parts = [Part(layers[0][1].inputs, partial(cfc, layers=layers, memory=memory, memory_src=name))]
    if beside and root.has("fc.weight"):
        parts.append(read_linear(root, "fc"))
    return parts


def read_linear(weights: Weights, name: str) -> Part:
    """A Linear layer, with or without bias."""
    if not weights.has(f"{name}.bias"):
        weight = weights.take(f"{name}.weight", None, None)
        dense = Dense(weight, np.zeros(len(weight)))
    else:
        dense = weights.dense(name)
    return Part(dense.weight.shape[1], partial(linear_layer, src=layer_name(f"{weights.prefix}{name}"), dense=dense))


def memory_cell(weights: Weights, inputs: int, units: int) -> LstmCell:
    """The LSTM of `mixed_memory`: its rows are tanh input, input gate, forget gate (one is added), output gate."""
    seen = weights.dense("lstm.input_map", 4 * units, inputs)
    held = weights.take("lstm.recurrent_map.weight", 4 * units, units)
    weight, bias = np.hstack([seen.weight, held]), seen.bias
    gates = {gate: Dense(weight[k * units :][:units], bias[k * units :][:units]) for k, gate in enumerate("gifo")}
    gates["f"] = Dense(gates["f"].weight, gates["f"].bias + 1.0)
    return LstmCell(gates)


def cfc_layers(weights: Weights, src: str, config: CellConfig) -> list[tuple[str, CfcCell]]:
    """The cells of a wired CfC with their names, or the one of a plain CfC."""
    indices = sorted(int(m[1]) for m in map(_LAYER.fullmatch, weights.names()) if m)
    if not indices:
        return [(src, cfc_cell(weights, config))]
    layers = []
    inputs = None
    for index in range(indices[-1] + 1):
        name = f"layer_{index}"
        cell = cfc_cell(weights.below(f"{name}."), config, inputs, wired=True)
        layers.append((f"{src}.{name}", cell))
        inputs = cell.units
    return layers


def cfc_cell(weights: Weights, config: CellConfig, inputs: int | None = None, wired: bool = False) -> CfcCell:
    """One CfC cell. A mask applies to ff1 and ff2 only, as in ncps."""
    units = weights.length("ff1.bias", "ff1.weight")
    backbone = []
    wide = None if inputs is None else inputs + units
    for index in sorted(int(m[1]) for m in map(_BACKBONE.fullmatch, weights.names()) if m):
        dense = weights.dense(f"backbone.{index}", inputs=wide)
        backbone.append((f"backbone.{index}", dense))
        wide = len(dense.bias)
    names = ("ff1",) if config.mode == "pure" else ("ff1", "ff2", "time_a", "time_b")
    heads = {}
    for name in names:
        heads[name] = weights.dense(name, units, wide)
        wide = wide or heads[name].weight.shape[1]
    if wired or weights.has("sparsity_mask"):
        mask = weights.take("sparsity_mask", units, wide)
        heads.update({n: Dense(heads[n].weight * mask, heads[n].bias) for n in ("ff1", "ff2") if n in heads})
    amplitude = rate = None
    if config.mode == "pure":
        amplitude, rate = weights.take("A", 1, units)[0], np.abs(weights.take("w_tau", 1, units)[0])
    cell = CfcCell(config.mode, config.activation, tuple(backbone), heads, amplitude, rate)
    if cell.inputs < 1 and not weights.found.faults:
        weights.found.add(f"'{weights.prefix}': its first layer reads {cell.inputs + units} values, not even its state")
    return cell


def ltc_cell(weights: Weights, config: CellConfig) -> LtcCell:
    """An LTC cell. Epsilon (1e-8 in the denominator) is dropped: it is far below one step of any integer."""
    units = weights.length("gleak", "vleak", "cm")
    positive = softplus if config.implicit else np.asarray
    sensory = [weights.take(f"sensory_{name}", None, units) for name in _SYNAPSE]
    inputs = len(sensory[0])
    sensory = [sensory[0], *(weights.take(f"sensory_{name}", inputs, units) for name in _SYNAPSE[1:])]
    inner = [weights.take(name, units, units) for name in _SYNAPSE]
    leak, capacitance = (positive(weights.take(name, units)) for name in ("gleak", "cm"))
    maps = _affine(weights, "input", inputs)
    outputs, gain, offset = _output_map(weights, config, units)
    return LtcCell(
        inputs, _connect(positive, sensory, *maps), _connect(positive, inner), leak,
        leak * weights.take("vleak", units), capacitance, config.unfolds, config.explicit, outputs, gain, offset,
    )  # fmt: skip


_SYNAPSE = ("w", "sigma", "mu", "erev", "sparsity_mask")


def _connect(
    positive: Callable[[Array], Array], arrays: Sequence[Array], gain: Array | None = None, offset: Array | None = None
) -> Synapses:
    w, sigma, mu, erev, mask = arrays
    return synapses(positive(w), sigma, mu, erev, mask, gain, offset)


def _output_map(weights: Weights, config: CellConfig, units: int) -> tuple[int, Array, Array]:
    """Number of motor neurons, and the affine map of their potentials."""
    outputs = config.outputs or (weights.length("output_w") if weights.has("output_w") else units)
    if outputs > units:
        weights.found.add(f"'{weights.prefix}': {outputs} outputs of {units} neurons")
    return outputs, *_affine(weights, "output", outputs)


def _affine(weights: Weights, side: str, size: int) -> tuple[Array, Array]:
    """Gain and offset of a map: "affine" has both, "linear" the gain; ncps has no map with an offset alone."""
    gain, offset = np.ones(size), np.zeros(size)
    if weights.has(f"{side}_b"):
        offset = weights.take(f"{side}_b", size)
    if weights.has(f"{side}_w") or weights.has(f"{side}_b"):
        gain = weights.take(f"{side}_w", size)
    return gain, offset


def liquid_cell(weights: Weights, config: CellConfig) -> LiquidCell:
    """The neuron of `torch_cells.Liquid`: a step of dt is a part of T, so alpha and beta take the rest."""
    units = weights.length("alpha")
    alpha, weight = weights.take("alpha", units), weights.take("weight", units, units)
    beta = weights.take("beta", units) if weights.has("beta") else alpha
    pace = config.dt * config.unfolds
    return LiquidCell(weights.dense("drive", units), weight, alpha * pace, beta * pace, config.unfolds)
