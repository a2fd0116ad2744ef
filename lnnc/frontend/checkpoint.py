"""The checkpoint: what a trained network must carry to be compiled, as frozen data, checked on entry.

A checkpoint document holds plain types and tensors only (docs/checkpoint.md). This module knows its grammar and
its checks; `storage` reads and writes files, `dlnet` gives the numbers their meaning.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from lnnc.errors import Findings, LnncError
from lnnc.ir.graph import Array, Port

FORMAT = "lnnc-checkpoint"
VERSION = 1
OPS = ("linear", "norm", "relu", "tanh", "sigmoid")
WIDTH_MAX = 8192
RANGE_KEYS = ("min", "max", "mean", "percentile", "means")


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
class Architecture:
    """What the weights are for. `window` samples of `features` values make one input of the network."""

    family: str
    mode: str
    window: int
    features: int
    encoder: tuple[Layer, ...]
    dynamics: Dynamics | None
    residual: str
    decoder: tuple[Layer, ...]

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
        ranges: tensor name -> {"min", "max", "mean", "percentile", "means"} where calibration is None.
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
            "architecture": asdict(self.architecture),
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


def parse_checkpoint(document: Any, where: str) -> Checkpoint:
    """Turn a document (tensors already NumPy arrays) into a checked `Checkpoint`.

    Raises:
        LnncError: naming every missing key, wrong type, disagreeing shape and non-finite number at once.
    """
    _check_envelope(document, where)
    found = Findings(where)
    architecture = _architecture(document["architecture"], found)
    inputs = _ports(document["inputs"], "inputs", found)
    outputs = _ports(document["outputs"], "outputs", found)
    tensors = _tensors(document["state_dict"], found)
    found.raise_if_any("see docs/checkpoint.md for the format, or import the weights again")
    calibration, ranges = _calibration(document["calibration"], found)
    calibration = None if calibration is None else as_streams(calibration, architecture)
    provenance = document.get("provenance") or {}
    if not isinstance(provenance, Mapping) or not all(type(v) in (str, int, float, bool) for v in provenance.values()):
        found.add("provenance: expected a dictionary of texts and numbers")
        provenance = {}
    checkpoint = Checkpoint(where, architecture, inputs, outputs, tensors, calibration, ranges, dict(provenance))
    _check_widths(checkpoint, found)
    found.raise_if_any("see docs/checkpoint.md for the format, or import the weights again")
    return checkpoint


def _check_envelope(document: Any, where: str) -> None:
    if not isinstance(document, Mapping):
        raise LnncError(f"expected a dictionary, found {type(document).__name__}", where)
    if document.get("format") != FORMAT:
        if any(isinstance(value, np.ndarray) for value in document.values()):
            raise LnncError(
                "this is a bare state_dict: it carries no architecture, time step, scaling or calibration",
                where,
                f"lnnc import dlnet {where} --dt ... --steps ... --scaler-min ... --scaler-max ... "
                "--calibration X.npz -o student.pt",
            )
        raise LnncError(f'expected "format": "{FORMAT}", found {document.get("format")!r}', where)
    if document.get("version") != VERSION:
        raise LnncError(
            f"checkpoint version {document.get('version')!r}; this lnnc reads version {VERSION}",
            where,
            "install the lnnc that wrote it, or import the weights again",
        )
    found = Findings(where)
    for key in ("architecture", "state_dict", "inputs", "outputs", "calibration"):
        if document.get(key) is None:
            found.add(f'key "{key}" is missing')
    found.raise_if_any(
        "a model needs calibration: inputs in real units, or the ranges of every tensor"
        if document.get("calibration") is None
        else "see docs/checkpoint.md"
    )


def _get(table: Mapping[str, Any], key: str, kind: type | tuple[type, ...], label: str, found: Findings) -> Any:
    """A typed value, or a noted fault and a harmless stand-in."""
    value = table.get(key)
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if isinstance(value, bool) or not isinstance(value, kinds):
        found.add(f"{label}.{key}: expected {' or '.join(k.__name__ for k in kinds)}, found {value!r}")
        return {str: "", int: 1, float: 1.0, list: [], tuple: ()}.get(kinds[0], {})
    return value


def _layers(value: Any, label: str, found: Findings) -> tuple[Layer, ...]:
    layers = []
    for index, item in enumerate(value if isinstance(value, list | tuple) else ()):
        name = f"{label}[{index}]"
        if not isinstance(item, Mapping) or item.get("op") not in OPS:
            found.add(f"{name}: expected an op of {', '.join(OPS)}, found {item!r}")
            continue
        key = _get(item, "key", str, name, found) if item["op"] in ("linear", "norm") else ""
        epsilon = item.get("epsilon", 1e-5)
        if not isinstance(epsilon, float | int) or not 0 < epsilon < 1:
            found.add(f"{name}.epsilon: expected a number in (0, 1), found {epsilon!r}")
            epsilon = 1e-5
        layers.append(Layer(str(item["op"]), key, float(epsilon)))
    return tuple(layers)


def _architecture(value: Any, found: Findings) -> Architecture:
    table = value if isinstance(value, Mapping) else {}
    label = "architecture"
    family = _get(table, "family", str, label, found)
    mode = _get(table, "mode", str, label, found)
    window = _get(table, "window", int, label, found)
    features = _get(table, "features", int, label, found)
    if family != "dlnet":
        found.add(f'architecture.family: expected "dlnet", found {family!r}')
    if mode not in ("window", "stream"):
        found.add(f'architecture.mode: expected "window" or "stream", found {mode!r}')
    if not (window > 0 and features > 0 and window * features <= WIDTH_MAX):
        found.add(f"architecture: window * features must be 1 ... {WIDTH_MAX}, found {window} * {features}")
    dynamics = _dynamics(table.get("dynamics"), found)
    residual = table.get("residual") or ""
    if residual and dynamics is None:
        found.add("architecture.residual: there is no liquid neuron to go round")
    encoder = _layers(table.get("encoder"), f"{label}.encoder", found)
    decoder = _layers(table.get("decoder"), f"{label}.decoder", found)
    if not encoder and not decoder and dynamics is None:
        found.add("architecture: no layers (expected encoder, dynamics, decoder)")
    return Architecture(family, mode, window, features, encoder, dynamics, str(residual), decoder)


def _dynamics(value: Any, found: Findings) -> Dynamics | None:
    if value is None:
        return None
    table, label = (value if isinstance(value, Mapping) else {}), "architecture.dynamics"
    key = _get(table, "key", str, label, found)
    recurrence = _get(table, "recurrence", str, label, found)
    steps = _get(table, "steps", int, label, found)
    dt = float(_get(table, "dt", (float, int), label, found))
    drive = table.get("drive", "mean")
    if recurrence not in ("full", "low_rank"):
        found.add(f'{label}.recurrence: expected "full" or "low_rank", found {recurrence!r}')
    if not 1 <= steps <= 10_000:
        found.add(f"{label}.steps: expected 1 ... 10000, found {steps}")
    if not (math.isfinite(dt) and 0 < dt <= 100):
        found.add(f"{label}.dt: expected a time step in (0, 100], found {dt}")
    if drive not in ("mean", "none"):
        found.add(f'{label}.drive: expected "mean" or "none", found {drive!r}')
    return Dynamics(key, recurrence, steps, dt, str(drive))


def _ports(value: Any, label: str, found: Findings) -> tuple[PortSpec, ...]:
    items = value if isinstance(value, list | tuple) else ()
    if not items:
        found.add(f"{label}: expected a list of ports, found {value!r}")
    return tuple(_port(item, f"{label}[{i}]", found) for i, item in enumerate(items))


def _port(item: Any, label: str, found: Findings) -> PortSpec:
    table = item if isinstance(item, Mapping) else {}
    size = _get(table, "size", int, label, found)
    offset, scale = table.get("offset", 0.0), table.get("scale", 1.0)
    numbers = [offset, scale, *(table.get("range") or ())]
    if not all(isinstance(n, float | int) and math.isfinite(n) for n in numbers) or scale == 0:
        found.add(f"{label}: offset, scale and range must be finite numbers and scale not 0, found {numbers}")
        offset, scale = 0.0, 1.0
    limits = table.get("range")
    if limits is not None and not (len(limits) == 2 and limits[0] < limits[1]):
        found.add(f"{label}.range: expected [low, high], found {limits!r}")
        limits = None
    if size < 1:
        found.add(f"{label}.size: expected at least 1, found {size}")
    name, unit = _get(table, "name", str, label, found), _get(table, "unit", str, label, found)
    span = (float(limits[0]), float(limits[1])) if limits is not None else None
    return PortSpec(name, size, unit, span, float(offset), float(scale))


def _tensors(value: Any, found: Findings) -> dict[str, Array]:
    if not isinstance(value, Mapping):
        found.add(f"state_dict: expected a dictionary of tensors, found {type(value).__name__}")
        return {}
    return {str(name): finite(array, str(name), found) for name, array in value.items()}


def finite(value: Any, name: str, found: Findings) -> Array:
    """A float64 array, or a noted fault: not numeric, NaN or Inf."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        found.add(f"tensor '{name}': expected numbers, found {array.dtype}")
        return np.zeros(array.shape)
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        bad = np.argwhere(~np.isfinite(np.atleast_1d(array)))[0].tolist()
        found.add(f"tensor '{name}': {np.count_nonzero(~np.isfinite(array))} NaN or Inf, the first at {bad}")
        return np.zeros(array.shape)
    return array


def _calibration(value: Any, found: Findings) -> tuple[Array | None, dict[str, dict[str, Any]] | None]:
    if not isinstance(value, Mapping) or ("inputs" not in value and "ranges" not in value):
        found.add('calibration: expected {"inputs": tensor} or {"ranges": {...}}')
        return None, None
    if value.get("inputs") is not None:
        return finite(value["inputs"], "calibration.inputs", found), None
    ranges: dict[str, dict[str, Any]] = {}
    for name, entry in dict(value["ranges"]).items():
        table = dict(zip(("min", "max"), entry, strict=False)) if isinstance(entry, list | tuple) else entry
        low, high = table.get("min"), table.get("max")
        if not _ordered(low, high) or set(table) - set(RANGE_KEYS):
            found.add(f"calibration.ranges['{name}']: expected min <= max, finite, found {entry!r:.80}")
            continue
        ranges[str(name)] = dict(table)
    return None, ranges


def _ordered(low: Any, high: Any) -> bool:
    numeric = all(isinstance(v, float | int) and math.isfinite(v) for v in (low, high))
    return numeric and bool(low <= high)


def _check_widths(checkpoint: Checkpoint, found: Findings) -> None:
    """Ports and calibration against the window."""
    arch = checkpoint.architecture
    expected = arch.features if arch.mode == "stream" else arch.width
    total = sum(port.size for port in checkpoint.inputs)
    if total != expected:
        found.add(f"inputs: the ports hold {total} values, the {arch.mode} model takes {expected}")
    data = checkpoint.calibration
    if data is None:
        return
    found.faults.extend(calibration_faults(data, arch) or range_faults(checkpoint))


def as_streams(data: Array, arch: Architecture) -> Array:
    """Calibration of a stream model as (N, T, features): one stream (T, features), or rows (N, T) of one feature."""
    if arch.mode != "stream" or data.ndim != 2:
        return data
    if data.shape[1] == arch.features:
        return data[None]
    return data[:, :, None] if arch.features == 1 else data


def calibration_faults(data: Array, arch: Architecture) -> list[str]:
    """What is wrong with the shape of calibration inputs."""
    if arch.mode == "window":
        if data.ndim == 3 and data.shape[1] * data.shape[2] == arch.width:
            return []
        if data.ndim != 2 or data.shape[1] != arch.width or not len(data):
            return [f"calibration: expected inputs of shape (N, {arch.width}), found {tuple(data.shape)}"]
        return []
    data = as_streams(data, arch)
    if data.ndim != 3 or data.shape[2] != arch.features or data.shape[1] < arch.window or not len(data):
        want = f"(N, T >= {arch.window}, {arch.features})"
        return [f"calibration: expected streams of shape {want}, found {tuple(data.shape)}"]
    return []


def range_faults(checkpoint: Checkpoint) -> list[str]:
    """Calibration data that mostly lies outside the declared range is in another unit."""
    data = checkpoint.calibration
    if data is None:
        return []
    flat = data.reshape(-1, sum(port.size for port in checkpoint.inputs))
    faults, start = [], 0
    for port in checkpoint.inputs:
        part = flat[:, start : start + port.size]
        start += port.size
        low, high = port.range or (-math.inf, math.inf)
        outside = float(np.mean((part < low) | (part > high)))
        if outside > 0.5:
            faults.append(
                f"calibration: {outside:.0%} of port '{port.name}' lies outside its declared range "
                f"{low:g} ... {high:g} (it spans {part.min():.6g} ... {part.max():.6g}): another unit?"
            )
    return faults


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
