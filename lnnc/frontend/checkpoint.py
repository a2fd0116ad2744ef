"""The checkpoint: what a trained network must carry to be compiled, as frozen data.

A checkpoint document holds plain types and tensors only (docs/checkpoint.md). `parse` checks one, `storage` reads and
writes files, `dlnet` gives the numbers their meaning.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from lnnc.ir.graph import Array, Port

FORMAT = "lnnc-checkpoint"
DLNET, NETWORK = "dlnet", "network"  # families
VERSION = 1
OPS = ("linear", "norm", "relu", "tanh", "sigmoid")
WIDTH_MAX = 8192
LAYERS_MAX = 256
STEPS_MAX, DT_MAX = 10_000, 100
PORT_MIN, PORT_MAX = 1e-6, 1e9  # what an int16 port of -15 ... 30 fraction bits can resolve and hold


@dataclass(frozen=True)
class Layer:
    """One layer of the encoder or decoder; `key` is its prefix in the state_dict ("" for activations)."""

    op: str
    key: str = ""
    epsilon: float = 1e-5


@dataclass(frozen=True)
class Dynamics:
    """The liquid neuron: `steps` Euler steps of `dt`; `recurrence` "full" or "low_rank"; `drive` "mean" or "none"."""

    key: str
    recurrence: str
    steps: int
    dt: float
    drive: str = "mean"


@dataclass(frozen=True)
class NetworkSpec:
    """The plain part of a network of the family "network"; see `network.Network`.

    Attributes:
        ops: one record for each op, as `network.KINDS` names them; their arrays are in the state_dict.
        result: the tensor that the output ports carry.
        time: the time between two samples.
        weight_bits: layers whose weights have another width than 8 bits.
    """

    ops: tuple[Mapping[str, Any], ...]
    result: str
    time: float
    weight_bits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Architecture:
    """What the weights are for. `window` samples of `features` values make one input of the network.

    The family "dlnet" is described by encoder, dynamics, residual and decoder, the family "network" by `network`.
    """

    family: str
    mode: str
    window: int
    features: int
    encoder: tuple[Layer, ...]
    dynamics: Dynamics | None
    residual: str
    decoder: tuple[Layer, ...]
    network: NetworkSpec | None = None

    @property
    def weight_bits(self) -> Mapping[str, int]:
        """Layers whose weights have another width than 8 bits."""
        return self.network.weight_bits if self.network else {}

    def plain(self) -> dict[str, Any]:
        """The document's entry."""
        table = asdict(self)
        spec = table.pop("network")
        return table if spec is None else {"family": self.family, "mode": self.mode, "features": self.features, **spec}

    @property
    def width(self) -> int:
        """Values that the network sees at once."""
        return self.window * self.features


@dataclass(frozen=True)
class PortSpec:
    """A declared port: the network sees (real - offset) / scale, and gives (real - offset) / scale."""

    name: str
    size: int
    unit: str
    range: tuple[float, float] | None
    offset: float = 0.0
    scale: float = 1.0

    def port(self) -> Port:
        lo, hi = self.range or (None, None)
        return Port(self.name, self.size, self.unit, lo, hi)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checked model.

    Attributes:
        where: the file it came from, for messages.
        inputs, outputs: ports in the order of their elements.
        tensors: the state_dict as float64 arrays.
        calibration: inputs in real units, (N, width), or (N, T, features) for streams; or None.
        ranges: tensor name -> {"min", "max", "mean", "percentile", "means", "peaks"} where calibration is None.
        provenance: who trained it, on what, under which licence.
    """

    where: str
    architecture: Architecture
    inputs: tuple[PortSpec, ...]
    outputs: tuple[PortSpec, ...]
    tensors: Mapping[str, Array]
    calibration: Array | None = None
    ranges: Mapping[str, Mapping[str, Any]] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def header(self) -> dict[str, Any]:
        """Everything but tensors and provenance, as plain types."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "architecture": self.architecture.plain(),
            "inputs": [asdict(port) for port in self.inputs],
            "outputs": [asdict(port) for port in self.outputs],
        }

    def digest(self) -> str:
        """SHA-256 of all that decides the generated code (not of the file: its bytes depend on its name)."""
        hasher = hashlib.sha256()
        ranges = {name: dict(r) for name, r in (self.ranges or {}).items()}
        hasher.update(json.dumps([self.header(), ranges], sort_keys=True).encode())
        arrays = dict(self.tensors)
        if self.calibration is not None:
            arrays["calibration"] = self.calibration
        for name in sorted(arrays):
            array = np.ascontiguousarray(arrays[name], dtype="<f8")
            hasher.update(f"{name}{array.shape}".encode() + array.tobytes())
        return hasher.hexdigest()


def checkpoint_document(checkpoint: Checkpoint) -> dict[str, Any]:
    """The document that `parse_checkpoint` reads back: plain types and float32 arrays."""
    calibration: dict[str, Any]
    if checkpoint.calibration is not None:
        calibration = {"inputs": np.asarray(checkpoint.calibration, np.float32)}
    else:
        calibration = {"ranges": {name: dict(r) for name, r in (checkpoint.ranges or {}).items()}}
    return {
        **_plain(checkpoint.header()),
        "state_dict": {name: np.asarray(array, np.float32) for name, array in checkpoint.tensors.items()},
        "calibration": calibration,
        "provenance": dict(checkpoint.provenance),
    }


def _plain(value: Any) -> Any:
    """Tuples as lists, so that every reader of weights_only files accepts them."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
