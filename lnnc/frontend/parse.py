"""From a document to a checked `Checkpoint`: every field, type, shape and number, all faults reported at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from lnnc.errors import Findings, LnncError
from lnnc.frontend.checkpoint import (
    DLNET,
    DT_MAX,
    FORMAT,
    LAYERS_MAX,
    NETWORK,
    OPS,
    PORT_MAX,
    PORT_MIN,
    STEPS_MAX,
    VERSION,
    WIDTH_MAX,
    Architecture,
    Checkpoint,
    Dynamics,
    Layer,
    PortSpec,
)
from lnnc.frontend.fields import finite, get, interval, is_number, plain, range_entry, shown, text, unknown_keys
from lnnc.frontend.network import parse_network
from lnnc.ir.graph import Array

_REQUIRED = ("architecture", "state_dict", "inputs", "outputs", "calibration")
_ENVELOPE = ("format", "version", *_REQUIRED, "provenance")
_CALIBRATION = ("inputs", "ranges")


def parse_checkpoint(document: Any, where: str) -> Checkpoint:
    """Turn a document (tensors already NumPy arrays) into a checked `Checkpoint`.

    Raises:
        LnncError: naming every missing key, wrong type, disagreeing shape and non-finite number at once.
    """
    found = Findings(where)
    _check_envelope(document, where, found)
    architecture = _architecture(document["architecture"], found)
    inputs = _ports(document["inputs"], "inputs", found)
    outputs = _ports(document["outputs"], "outputs", found)
    tensors = _tensors(document["state_dict"], found)
    calibration, ranges = _calibration(document["calibration"], found)
    provenance = _provenance(document.get("provenance"), found)
    found.raise_if_any("see docs/checkpoint.md for the format, or import the weights again")
    calibration = None if calibration is None else as_streams(calibration, architecture)
    checkpoint = Checkpoint(where, architecture, inputs, outputs, tensors, calibration, ranges, provenance)
    _check_widths(checkpoint, found)
    found.raise_if_any("give calibration as the ports declare it: their width, their unit, their range")
    return checkpoint


def _provenance(value: Any, found: Findings) -> dict[str, Any]:
    if value is None:
        return {}
    if isinstance(value, Mapping) and all(isinstance(k, str) and plain(v) for k, v in value.items()):
        return dict(value)
    found.add(f"provenance: expected a dictionary of texts and finite numbers, found {shown(value)}")
    return {}


def _check_envelope(document: Any, where: str, found: Findings) -> None:
    if not isinstance(document, Mapping):
        raise LnncError(f"expected a dictionary, found {_kind(document)}", where, "see docs/checkpoint.md")
    version, form = document.get("version"), document.get("format")
    if not isinstance(form, str) or form != FORMAT:
        raise _not_a_checkpoint(document, where)
    if type(version) is not int or version != VERSION:
        raise LnncError(
            f"checkpoint version {shown(version)}; this lnnc reads version {VERSION}",
            where,
            "install the lnnc that wrote it, or import the weights again",
        )
    unknown_keys(document, _ENVELOPE, "checkpoint", found)
    missing = [key for key in _REQUIRED if document.get(key) is None]
    found.faults.extend(f'key "{key}" is missing' for key in missing)
    if missing:
        found.raise_if_any(
            "a model needs calibration: inputs in real units, or the ranges of every tensor"
            if "calibration" in missing
            else "see docs/checkpoint.md"
        )


def _kind(value: Any) -> str:
    return "a single tensor" if isinstance(value, np.ndarray) else type(value).__name__


def _not_a_checkpoint(document: Mapping[Any, Any], where: str) -> LnncError:
    """Why a dictionary is no checkpoint: usually it holds only weights, bare or nested."""
    tables = [document, *(value for value in document.values() if isinstance(value, Mapping))]
    if "format" not in document and any(isinstance(value, np.ndarray) for table in tables for value in table.values()):
        return LnncError(
            "this is a bare state_dict: it carries no architecture, time step, scaling or calibration",
            where,
            f"lnnc import dlnet {where} --dt ... --steps ... --scaler-min ... --scaler-max ... "
            "--calibration X.npz -o student.pt",
        )
    found = f"found {shown(document['format'])}" if "format" in document else "found no such key"
    return LnncError(f'expected "format": "{FORMAT}", {found}', where, "see docs/checkpoint.md")


def _layers(value: Any, label: str, found: Findings) -> tuple[Layer, ...]:
    if (value is not None and not isinstance(value, list | tuple)) or len(value or ()) > LAYERS_MAX:
        found.add(f"{label}: expected a list of at most {LAYERS_MAX} layers, found {shown(value)}")
        return ()
    layers = (_layer(item, f"{label}[{index}]", found) for index, item in enumerate(value or ()))
    return tuple(layer for layer in layers if layer)


def _layer(item: Any, label: str, found: Findings) -> Layer | None:
    op = item.get("op") if isinstance(item, Mapping) else None
    if not isinstance(op, str) or op not in OPS:
        found.add(f"{label}: expected an op of {', '.join(OPS)}, found {shown(item)}")
        return None
    unknown_keys(item, _names(Layer), label, found)
    key = get(item, "key", str, label, found) if op in ("linear", "norm") else ""
    epsilon = item.get("epsilon", 1e-5)
    if not is_number(epsilon) or not 0 < epsilon < 1:
        found.add(f"{label}.epsilon: expected a number in (0, 1), found {shown(epsilon)}")
        epsilon = 1e-5
    return Layer(op, key, float(epsilon))


def _table(value: Any, label: str, found: Findings) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    found.add(f"{label}: expected a dictionary, found {shown(value)}")
    return {}


def _names(kind: type[Layer | Dynamics | Architecture | PortSpec]) -> tuple[str, ...]:
    """Keys of a table: the fields of what it becomes, which are also what a saved checkpoint holds."""
    return tuple(field.name for field in fields(kind))


def _choice(value: Any, choices: tuple[str, ...], label: str, found: Findings) -> str:
    if isinstance(value, str) and value in choices:
        return value
    expected = " or ".join(f'"{choice}"' for choice in choices)
    found.add(f"{label}: expected {expected}, found {shown(value)}")
    return choices[0]


def _architecture(value: Any, found: Findings) -> Architecture:
    label = "architecture"
    table = _table(value, label, found)
    family = _choice(table.get("family"), (DLNET, NETWORK), f"{label}.family", found)
    if family == NETWORK:
        return parse_network(table, found)
    unknown_keys(table, [name for name in _names(Architecture) if name != "network"], label, found)
    mode = _choice(table.get("mode"), ("window", "stream"), f"{label}.mode", found)
    window = get(table, "window", int, label, found)
    features = get(table, "features", int, label, found)
    if not (window > 0 and features > 0 and window * features <= WIDTH_MAX):
        found.add(f"{label}: window * features must be 1 ... {WIDTH_MAX}, found {shown(window)} * {shown(features)}")
    dynamics = _dynamics(table.get("dynamics"), found)
    residual = "" if table.get("residual") is None else get(table, "residual", str, label, found)
    if residual and dynamics is None:
        found.add(f"{label}.residual: there is no liquid neuron to go round")
    encoder = _layers(table.get("encoder"), f"{label}.encoder", found)
    decoder = _layers(table.get("decoder"), f"{label}.decoder", found)
    if not encoder and not decoder and dynamics is None:
        found.add(f"{label}: no layers (expected encoder, dynamics, decoder)")
    return Architecture(family, mode, window, features, encoder, dynamics, residual, decoder)


def _dynamics(value: Any, found: Findings) -> Dynamics | None:
    if value is None:
        return None
    label = "architecture.dynamics"
    table = _table(value, label, found)
    unknown_keys(table, _names(Dynamics), label, found)
    key = get(table, "key", str, label, found)
    recurrence = _choice(table.get("recurrence"), ("full", "low_rank"), f"{label}.recurrence", found)
    drive = _choice(table.get("drive", "mean"), ("mean", "none"), f"{label}.drive", found)
    steps = get(table, "steps", int, label, found)
    dt = float(get(table, "dt", float, label, found))
    if not 1 <= steps <= STEPS_MAX:
        found.add(f"{label}.steps: expected 1 ... {STEPS_MAX}, found {shown(steps)}")
    if not 0 < dt <= DT_MAX:
        found.add(f"{label}.dt: expected a time step in (0, {DT_MAX}], found {dt}")
    return Dynamics(key, recurrence, steps, dt, drive)


def _ports(value: Any, label: str, found: Findings) -> tuple[PortSpec, ...]:
    items = value if isinstance(value, list | tuple) else ()
    if not items or len(items) > WIDTH_MAX:
        found.add(f"{label}: expected a list of ports, found {shown(value)}")
        return ()
    return tuple(_port(item, f"{label}[{i}]", found) for i, item in enumerate(items))


def _port(item: Any, label: str, found: Findings) -> PortSpec:
    table = _table(item, label, found)
    unknown_keys(table, _names(PortSpec), label, found)
    size = get(table, "size", int, label, found)
    offset, scale = table.get("offset", 0.0), table.get("scale", 1.0)
    if not is_number(offset) or not is_number(scale) or scale == 0:
        found.add(f"{label}: offset and scale must be finite and scale not 0, found {shown(offset)}, {shown(scale)}")
        offset, scale = 0.0, 1.0
    limits = interval(table.get("range"), f"{label}.range", found)
    if limits and not PORT_MIN <= max(map(abs, limits)) <= PORT_MAX:
        found.add(
            f"{label}.range: an int16 port holds magnitudes of {PORT_MIN:g} ... {PORT_MAX:g}, "
            f"found {limits[0]:g} ... {limits[1]:g}: choose another unit"
        )
    if not 1 <= size <= WIDTH_MAX:
        found.add(f"{label}.size: expected 1 ... {WIDTH_MAX}, found {shown(size)}")
    name, unit = (text(table, key, label, found) for key in ("name", "unit"))
    return PortSpec(name, size, unit, limits, float(offset), float(scale))


def _tensors(value: Any, found: Findings) -> dict[str, Array]:
    if not isinstance(value, Mapping):
        found.add(f"state_dict: expected a dictionary of tensors, found {type(value).__name__}")
        return {}
    for name in value:
        if not isinstance(name, str):
            found.add(f"state_dict: expected texts as keys, found {shown(name)}")
    return {str(name): finite(array, str(name), found) for name, array in value.items()}


def _calibration(value: Any, found: Findings) -> tuple[Array | None, dict[str, dict[str, Any]] | None]:
    given = [key for key in _CALIBRATION if isinstance(value, Mapping) and value.get(key) is not None]
    if isinstance(value, Mapping):
        unknown_keys(value, _CALIBRATION, "calibration", found)
    if len(given) != 1:
        what = "both" if given else shown(value)
        found.add(f'calibration: expected {{"inputs": tensor}} or {{"ranges": {{...}}}}, found {what}')
        return None, None
    if given == ["inputs"]:
        return finite(value["inputs"], "calibration.inputs", found), None
    ranges: dict[str, dict[str, Any]] = {}
    for name, entry in _table(value["ranges"], "calibration.ranges", found).items():
        checked = range_entry(entry, f"calibration.ranges['{name}']", found)
        if checked:
            ranges[str(name)] = checked
    return None, ranges


def _check_widths(checkpoint: Checkpoint, found: Findings) -> None:
    """Ports and calibration against the window."""
    arch = checkpoint.architecture
    expected = arch.features if arch.mode == "stream" else arch.width
    total = sum(port.size for port in checkpoint.inputs)
    if total != expected:
        found.add(f"inputs: the ports hold {total} values, the {arch.mode} model takes {expected}")
        return
    data = checkpoint.calibration
    if data is not None:
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
        grid = data.shape[1:] == (arch.window, arch.features)
        if data.ndim in (2, 3) and data.size and (grid or data.shape[-1] == arch.width):
            return []
        also = f" or (N, {arch.window}, {arch.features})" if arch.features > 1 else ""
        return [f"calibration: expected inputs of shape (N, {arch.width}){also}, found {tuple(data.shape)}"]
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
