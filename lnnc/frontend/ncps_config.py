"""`lnnc import ncps`: a bare state_dict and a JSON file that says what the state_dict cannot."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lnnc.errors import Findings, LnncError
from lnnc.files import readable
from lnnc.frontend.cells import BACKBONES
from lnnc.frontend.checkpoint import STEPS_MAX
from lnnc.frontend.fields import is_number, shown, unknown_keys
from lnnc.frontend.layers import ACTIVATIONS, activation_layer, layer_name, norm_layer
from lnnc.frontend.ncps_weights import CellConfig, Part, Weights, read_cell, read_linear
from lnnc.frontend.network import TIME_MAX
from lnnc.ir.graph import Array

_COMMON = ("cell", "timespan", "mixed_memory", "before", "after", "inputs", "outputs")
KEYS = {
    "cfc": (*_COMMON, "mode", "activation"),
    "ltc": (
        *_COMMON, "ode_unfolds", "implicit_param_constraints", "epsilon", "input_mapping", "output_mapping",
        "output_size",
    ),
}  # fmt: skip
_MAPPINGS = {"affine": ("w", "b"), "linear": ("w",), None: ()}
_ANCHORS = {"cfc": re.compile(r"(.*?)(?:layer_\d+\.)?ff1\.weight"), "ltc": re.compile(r"(.*?)sensory_sigma")}
_EPSILON_MAX = 1e-6  # what may be dropped from a denominator
_EXAMPLE = '{"cell": "ltc", "ode_unfolds": 6, "implicit_param_constraints": true, "timespan": 1.0}'


@dataclass(frozen=True)
class Cell:
    """Where a state_dict holds its cell: its kind and the prefix of its names."""

    kind: str
    prefix: str


@dataclass(frozen=True)
class Imported:
    """A state_dict and its configuration, read together.

    Attributes:
        parts: the layers in their order.
        timespan: the time between samples, in the unit that the network was trained with.
        inputs, outputs: ports as the configuration gives them, or None.
    """

    parts: list[Part]
    timespan: float
    inputs: Any
    outputs: Any


def read_config(path: str | Path) -> dict[str, Any]:
    """The JSON object of a configuration file.

    Raises:
        LnncError: the file cannot be read, is no JSON object, or gives a key twice.
    """
    file = readable(path, f"write a JSON file such as {_EXAMPLE}")
    try:
        document = json.loads(file.read_text(encoding="utf-8-sig"), object_pairs_hook=partial(_object, where=str(path)))
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, numbers of thousands of digits, deep nesting
        raise LnncError(f"not JSON ({str(error)[:160]})", str(path), f"for example {_EXAMPLE}") from error
    if not isinstance(document, dict):
        raise LnncError(f"expected a JSON object, found {shown(document)}", str(path), f"for example {_EXAMPLE}")
    return document


def _object(pairs: list[tuple[str, Any]], where: str) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise LnncError(f"key {', '.join(map(shown, twice))} is given twice", where, "give it once")
    return dict(pairs)


def read_weights(tensors: Mapping[str, Array], config: Mapping[str, Any], where: str) -> tuple[Imported, list[str]]:
    """The layers that weights and configuration describe, and the questions that both leave open.

    Raises:
        LnncError: everything that is wrong in either; tensors that are missing, misshaped or of no layer.
    """
    cell = find_cell(tensors, where)
    found = Findings(where)
    unknown_keys(config, KEYS[cell.kind], f"config of a {cell.kind}", found)
    weights = Weights(tensors, found)
    questions: list[str] = []
    settings = _cell_config(config, cell, weights.below(cell.prefix), found, questions)
    timespan = _timespan(config, found, questions)
    parts = [
        *_forward(weights, config.get("before", []), "before", found),
        *read_cell(weights, cell.prefix, settings),
        *_forward(weights, config.get("after", []), "after", found),
    ]
    _check_memory(config, any(key.endswith("lstm.input_map.weight") for key in weights.used), found)
    for key in weights.unused():
        found.add(f"tensor '{key}' {tensors[key].shape} belongs to no layer")
    hint = 'name Linear layers and activations round the cell in the config, e.g. "after": ["relu", "head"]'
    found.raise_if_any(hint if weights.unused() else "")
    return Imported(parts, timespan, config.get("inputs"), config.get("outputs")), questions


def find_cell(tensors: Mapping[str, Array], where: str) -> Cell:
    """The one cell of a state_dict.

    Raises:
        LnncError: there is none, or there are several.
    """
    cells = sorted({(kind, m[1]) for kind, anchor in _ANCHORS.items() for m in map(anchor.fullmatch, tensors) if m})
    if not cells:
        raise LnncError(
            "no ncps cell in it: found neither 'ff1.weight' (CfC) nor 'sensory_sigma' (LTC)", where,
            "export it with torch.save(model.state_dict(), 'weights.pth')",
        )  # fmt: skip
    if len(cells) > 1:
        names = ", ".join(f"'{prefix}' ({kind})" for kind, prefix in cells)
        raise LnncError(
            f"several cells: {names}; their order is not in the weights", where,
            "use lnnc.from_torch([first, second, ...], example_input) in Python",
        )  # fmt: skip
    return Cell(*cells[0])


def _choice(
    config: Mapping[str, Any], key: str, choices: Sequence[Any], found: Findings, questions: list[str], why: str
) -> Any:
    """An answer of the configuration; a question where it is missing."""
    listed = ", ".join(json.dumps(choice) for choice in choices)
    if key not in config:
        questions.append(f'"{key}": {why}: {listed}')
    elif not any(config[key] is c or (config[key] == c and isinstance(config[key], str)) for c in choices):
        found.add(f"config.{key}: expected one of {listed}, found {shown(config[key])}")
    else:
        return config[key]
    return choices[0]


def _cell_config(
    config: Mapping[str, Any], cell: Cell, weights: Weights, found: Findings, questions: list[str]
) -> CellConfig:
    kind = config.get("cell", cell.kind)
    if kind != cell.kind:
        found.add(f'config.cell: the weights are those of a "{cell.kind}", found {shown(kind)}')
    return (_cfc_config if cell.kind == "cfc" else _ltc_config)(config, weights, found, questions)


def _cfc_config(config: Mapping[str, Any], weights: Weights, found: Findings, questions: list[str]) -> CellConfig:
    names = weights.names()
    pure = any(re.fullmatch(r"(layer_\d+\.)?w_tau", name) for name in names)
    if pure and "mode" not in config:
        config = {**config, "mode": "pure"}  # the weights tell this one
    modes = ("pure",) if pure else ("default", "no_gate")
    mode = _choice(config, "mode", modes, found, questions, "which form? default and no_gate have the same weights")
    activation = BACKBONES[0]
    if "activation" in config or any(name.startswith("backbone.") for name in names):
        why = "what stands behind each backbone layer?"
        activation = _choice(config, "activation", BACKBONES, found, questions, why)
    return CellConfig("cfc", mode, activation)


def _ltc_config(config: Mapping[str, Any], weights: Weights, found: Findings, questions: list[str]) -> CellConfig:
    why = "are w, cm and gleak taken through softplus? LTC's own default is true, LTCCell's false"
    implicit = _choice(config, "implicit_param_constraints", (True, False), found, questions, why)
    unfolds = config.get("ode_unfolds")
    if "ode_unfolds" not in config:
        questions.append('"ode_unfolds": how many solver steps for each sample? ncps\' default is 6')
    elif type(unfolds) is not int or not 1 <= unfolds <= STEPS_MAX:
        found.add(f"config.ode_unfolds: expected 1 ... {STEPS_MAX}, found {shown(unfolds)}")
    epsilon = config.get("epsilon", 0.0)
    if not is_number(epsilon) or not 0 <= epsilon <= _EPSILON_MAX:
        found.add(f"config.epsilon: expected 0 ... {_EPSILON_MAX:g} (it is left out), found {shown(epsilon)}")
    for side in ("input", "output"):
        _check_mapping(config, side, weights, found)
    outputs = _output_size(config, weights, found, questions)
    return CellConfig("ltc", unfolds=unfolds if type(unfolds) is int else 6, implicit=implicit, outputs=outputs)


def _check_mapping(config: Mapping[str, Any], side: str, weights: Weights, found: Findings) -> None:
    """A mapping that is stated must be the one that the weights have."""
    key = f"{side}_mapping"
    if key not in config:
        return
    given = config[key]
    if not (given is None or isinstance(given, str)) or given not in _MAPPINGS:
        found.add(f'config.{key}: expected "affine", "linear" or null, found {shown(given)}')
        return
    have = tuple(n for n in "wb" if weights.has(f"{side}_{n}"))
    if have != _MAPPINGS[given]:
        names = " and ".join(f"{side}_{n}" for n in have) or "none"
        found.add(f"config.{key}: {shown(given)}, but of {side}_w and {side}_b the weights hold {names}")


def _output_size(config: Mapping[str, Any], weights: Weights, found: Findings, questions: list[str]) -> int | None:
    size = config.get("output_size")
    have = weights.length("output_w") if weights.has("output_w") else None
    units = weights.length("gleak", "vleak", "cm")
    if "output_size" not in config:
        if have is None:
            questions.append(f'"output_size": how many motor neurons, 1 ... {units}? There is no output_w to tell')
        return have
    if type(size) is not int or not 1 <= size <= units or have not in (None, size):
        want = f"{have}, as output_w has" if have else f"1 ... {units}"
        found.add(f"config.output_size: expected {want}, found {shown(size)}")
        return have
    return size


def _timespan(config: Mapping[str, Any], found: Findings, questions: list[str]) -> float:
    value = config.get("timespan", 1.0)
    if "timespan" not in config:
        questions.append('"timespan": which time lies between two samples? 1.0 if it was trained without timespans')
    if not is_number(value) or not 0 < value <= TIME_MAX:
        found.add(f"config.timespan: expected a number in (0, {TIME_MAX:g}], found {shown(value)}")
        return 1.0
    return float(value)


def _check_memory(config: Mapping[str, Any], have: bool, found: Findings) -> None:
    given = config.get("mixed_memory", have)
    if given is not have:
        found.add(f"config.mixed_memory: the weights {'hold an' if have else 'hold no'} LSTM, found {shown(given)}")


def _forward(weights: Weights, entries: Any, label: str, found: Findings) -> list[Part]:
    """Layers without memory: activations by name, Linear and LayerNorm by their prefix in the state_dict."""
    if not isinstance(entries, list) or not all(isinstance(entry, str) and entry for entry in entries):
        found.add(f"config.{label}: expected a list of layer names and activations, found {shown(entries)}")
        return []
    parts: list[Part] = []
    for index, entry in enumerate(entries):
        array = weights.tensors.get(f"{entry}.weight")
        if entry in ACTIVATIONS and array is None:
            parts.append(Part(None, partial(activation_layer, src=f"{label}.{index}", fn=entry)))
        elif array is not None and array.ndim == 1:
            gamma = weights.take(f"{entry}.weight", None)
            beta = weights.take(f"{entry}.bias", len(gamma))
            src = layer_name(entry)
            append = partial(norm_layer, src=src, gamma=gamma, beta=beta, epsilon=1e-5)
            parts.append(Part(len(gamma), append))
        elif array is not None:
            parts.append(read_linear(weights, entry))
        else:
            found.add(f"config.{label}[{index}]: no tensor '{entry}.weight'; activations: {', '.join(ACTIVATIONS)}")
    return parts
