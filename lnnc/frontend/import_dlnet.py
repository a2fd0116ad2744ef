"""`lnnc import dlnet`: a published DLNet state_dict becomes a checkpoint; what the file cannot tell is asked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lnnc.errors import Findings, LnncError
from lnnc.frontend.build import build_graph
from lnnc.frontend.checkpoint import (
    DT_MAX,
    FORMAT,
    STEPS_MAX,
    Architecture,
    Checkpoint,
    Dynamics,
    Layer,
    PortSpec,
    checkpoint_document,
)
from lnnc.frontend.fields import finite, shown
from lnnc.frontend.parse import calibration_faults, parse_checkpoint
from lnnc.frontend.storage import read_document
from lnnc.ir.graph import Array

_LAYER = re.compile(r"^(encoder|decoder)\.(\d{1,6})\.(weight|bias)$")
_LOW_RANK = ("dynamics.w_diag", "dynamics.U", "dynamics.V")
_FULL = "dynamics.W.weight"
_NESTED = ("state_dict", "model_state_dict")
_WRAPPERS = ("module.", "_orig_mod.")
_EXPORT = "export it with torch.save(model.state_dict(), 'weights.pth'), from a network that did not diverge"
_CELL = ("dynamics.alpha", "dynamics.beta")
_NAMES = (
    "expected encoder.N, decoder.N (Linear or LayerNorm), dynamics.{w_diag,U,V or W.weight}, "
    "dynamics.{alpha,beta} and residual_weight, as model.state_dict() names them"
)
_OWN = "describe the layers in a checkpoint of your own (docs/checkpoint.md)"
_FREE_MAX = 2  # indices without weights between two blocks: a ReLU, or a ReLU and a Dropout
_TITLES = {"norm": "LayerNorm", "relu": "ReLU"}


def read_state_dict(path: str | Path) -> dict[str, Array]:
    """The tensors of a bare state_dict, checked to be finite.

    Raises:
        LnncError: not a state_dict, or it holds NaN or Inf.
    """
    document = read_document(path)
    if isinstance(document, Mapping) and document.get("format") == FORMAT:
        raise LnncError("already an lnnc checkpoint", str(path), f"lnnc compile {path} -o lnn.c")
    document = _weights_of(document)
    if not isinstance(document, Mapping) or not document:
        found_kind = "an empty dictionary" if isinstance(document, Mapping) else shown(document)
        raise LnncError(f"expected a state_dict, found {found_kind}", str(path), _EXPORT)
    found = Findings(str(path))
    tensors = {}
    for name, value in _without_wrapper(document).items():
        if not isinstance(value, np.ndarray):
            found.add(f"'{name}': expected a tensor, found {type(value).__name__}")
            continue
        tensors[str(name)] = finite(value, str(name), found)
    found.raise_if_any(_EXPORT)
    return tensors


def _weights_of(document: Any) -> Any:
    """The state_dict of a training checkpoint, which keeps it beside the optimizer's; anything else as it is."""
    if not isinstance(document, Mapping):
        return document
    nested = [document[key] for key in _NESTED if isinstance(document.get(key), Mapping)]
    return nested[0] if len(nested) == 1 else document


def _without_wrapper(document: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Names without the prefix that DataParallel or torch.compile put before each of them."""
    for prefix in _WRAPPERS:
        if all(isinstance(name, str) and name.startswith(prefix) for name in document):
            return {name.removeprefix(prefix): value for name, value in document.items()}
    return document


def infer_architecture(
    tensors: Mapping[str, Array], where: str, dt: float, steps: int, features: int, mode: str
) -> Architecture:
    """Layers and shapes of a DLNet network from the names and shapes of its weights.

    Linear layers are the two-dimensional weights, LayerNorms the one-dimensional; as in the paper a ReLU (and perhaps
    a Dropout) follows every block but the last, and a tanh the last block of the encoder.

    Raises:
        LnncError: unknown or missing keys; indices between which something else than in the paper must stand.
    """
    found = Findings(where)
    recurrence = _recurrence(tensors, found)
    unknown = [k for k in tensors if not _LAYER.match(k) and k not in (*_LOW_RANK, _FULL, *_CELL, "residual_weight")]
    for key in sorted(unknown):
        found.add(f"key '{key}' is not part of a DLNet network")
    for key in _CELL:
        if key not in tensors:
            found.add(f"key '{key}' is missing")
    gaps = Findings(where)
    encoder = _part(tensors, "encoder", "tanh", found, gaps)
    decoder = _part(tensors, "decoder", "", found, gaps)
    first = tensors.get(f"{encoder[0].key}.weight") if encoder else None
    hint = "; ".join(text for text, faults in ((_NAMES, found.faults), (_OWN, gaps.faults)) if faults)
    found.faults.extend(gaps.faults)
    found.raise_if_any(hint)
    assert first is not None
    if first.shape[1] % features:
        found.add(f"--features {features} does not divide the {first.shape[1]} inputs of {encoder[0].key}")
    found.raise_if_any()
    cell = Dynamics("dynamics", recurrence, steps, dt, "mean")
    residual = "residual_weight" if "residual_weight" in tensors else ""
    return Architecture("dlnet", mode, first.shape[1] // features, features, encoder, cell, residual, decoder)


def _recurrence(tensors: Mapping[str, Array], found: Findings) -> str:
    full, low = _FULL in tensors, [key for key in _LOW_RANK if key in tensors]
    if full and low:
        found.add(f"both {_FULL} and {', '.join(low)} are present: which recurrence is meant? Remove the other")
    elif not full and len(low) < 3:
        missing = [key for key in _LOW_RANK if key not in tensors]
        found.add(f"no recurrence: expected {_FULL}, or {', '.join(_LOW_RANK)} (missing: {', '.join(missing)})")
    elif not full and all(tensors[k].ndim == 2 for k in _LOW_RANK[1:]):
        left, right = tensors["dynamics.U"].shape, tensors["dynamics.V"].shape
        if left != right:
            turned = " (V looks transposed: save V.T)" if left == right[::-1] else ""
            found.add(f"dynamics.U is {left} and dynamics.V is {right}: expected the same (hidden, rank){turned}")
    return "full" if full else "low_rank"


def _part(tensors: Mapping[str, Array], part: str, last: str, found: Findings, gaps: Findings) -> tuple[Layer, ...]:
    """Linear and LayerNorm layers in order of their index, with the activations between."""
    indices = sorted({int(m[2]) for m in map(_LAYER.match, tensors) if m and m[1] == part})
    blocks = [(index, _weighted(tensors, f"{part}.{index}", found)) for index in indices]
    if not blocks or blocks[0] not in ((0, "linear"), (0, "")):
        stands = f": which layer stands before {part}.{indices[0]}?" if indices and indices[0] else ""
        gaps.add(f"{part}: expected it to begin with a Linear layer '{part}.0.weight'{stands}")
    layers: list[Layer] = []
    for number, (index, op) in enumerate(blocks):
        if number:
            gaps.faults.extend(_gap(part, blocks[number - 1], (index, op)))
        if op == "linear" and layers:
            layers.append(Layer("relu"))
        layers.append(Layer(op, f"{part}.{index}"))
    return (*layers, Layer(last)) if last else tuple(layers)


def _weighted(tensors: Mapping[str, Array], key: str, found: Findings) -> str:
    """The op of a layer with weights; "" where they do not tell it."""
    missing = [f"{key}.{n}" for n in ("weight", "bias") if f"{key}.{n}" not in tensors]
    if missing:
        found.add(f"key '{missing[0]}' is missing")
    if f"{key}.weight" not in tensors:
        return ""
    rank = tensors[f"{key}.weight"].ndim
    if rank not in (1, 2):
        found.add(f"tensor '{key}.weight': expected a matrix (Linear) or a vector (LayerNorm), found {rank}-d")
    return {1: "norm", 2: "linear"}.get(rank, "")


def _gap(part: str, before: tuple[int, str], after: tuple[int, str]) -> list[str]:
    """What is asked about two neighbours with weights whose indices are not the paper's.

    There a LayerNorm directly follows its Linear, and one or two layers without weights (ReLU; ReLU and Dropout) lie
    before the next Linear.
    """
    (first, one), (second, two) = before, after
    free, pair = second - first - 1, f"{part}.{first} and {part}.{second}"
    if not one or not two:
        return []
    if two == "norm" and free:
        stand = "stands a layer" if free == 1 else f"stand {free} layers"
        return [f"between {pair} {stand} without weights before the LayerNorm: which?"]
    if two == "norm" and one == "norm":
        return [f"{pair} are LayerNorms, one directly after the other: which Linear layer does the second belong to?"]
    if two == "linear" and not free:
        return [f"between {pair} stands no layer, expected a ReLU: does the Linear layer follow without activation?"]
    if two == "linear" and free > _FREE_MAX:
        return [f"between {pair} stand {free} layers without weights, expected a ReLU, or a ReLU and a Dropout: which?"]
    return []


def described(architecture: Architecture, tensors: Mapping[str, Array]) -> str:
    """The layers on one line, for people: what names and shapes of weights were taken for."""
    arch, cell = architecture, architecture.dynamics
    parts = [_listed("encoder", arch.encoder, tensors)]
    if cell is not None:
        hidden, kind = tensors[f"{cell.key}.alpha"].size, cell.recurrence.replace("_", " ")
        around = ", residual" if arch.residual else ""
        parts.append(f"liquid neuron {hidden}, {kind}, {cell.steps} x dt {cell.dt:.6g}{around}")
    parts.append(_listed("decoder", arch.decoder, tensors))
    epsilons = sorted({layer.epsilon for layer in (*arch.encoder, *arch.decoder) if layer.op == "norm"})
    if epsilons:
        parts.append(f"LayerNorm epsilon {', '.join(f'{epsilon:g}' for epsilon in epsilons)}")
    return "; ".join(parts)


def _listed(part: str, layers: tuple[Layer, ...], tensors: Mapping[str, Array]) -> str:
    names = []
    for layer in layers:
        if layer.op == "linear":
            outputs, inputs = tensors[f"{layer.key}.weight"].shape
            names.append(f"Linear {inputs}->{outputs}")
        else:
            names.append(_TITLES.get(layer.op, layer.op))
    return f"{part}: {', '.join(names)}"


def import_dlnet(
    path: str | Path,
    *,
    dt: float | None = None,
    steps: int | None = None,
    scaler: tuple[float, float] | None = None,
    calibration: Array | Callable[[], Array] | None = None,
    output: str | None = "",
    features: int = 1,
    mode: str = "window",
    port: str = "soh",
    unit: str = "1",
    port_range: tuple[float, float] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """A checkpoint from a DLNet state_dict.

    Args:
        scaler: (minimum, maximum) of the min/max scaler: the network sees (real - minimum) / (maximum - minimum).
        calibration: inputs in real units, (N, window), or (N, T, features) in stream mode; or what reads them, called
            only once the weights are found good.
        output: None asks for the file to write among the other questions.
        port_range: declared range of the ports; by default 0 ... 1.5 for a scaler that lies inside it (a ratio such as
            SOH), else the scaler's range widened by its span on both sides.

    Raises:
        LnncError: everything that is wrong, missing or ambiguous in the file; then every question still open.
    """
    where = str(path)
    tensors = read_state_dict(path)
    _check_values(dt, steps, scaler)
    arch = infer_architecture(tensors, where, 1.0 if dt is None else dt, 1 if steps is None else steps, features, mode)
    _check_shapes(where, tensors, arch, port, unit)
    data = calibration() if callable(calibration) else calibration
    found = Findings(where)
    found.faults.extend(_questions(dt, steps, scaler, data, output))
    if data is not None:
        found.faults.extend(calibration_faults(data, arch))
    found.raise_if_any()
    assert scaler and data is not None
    low, high = scaler
    limits = port_range or _default_range(low, high)
    checkpoint = _assemble(where, tensors, arch, (port, unit, limits, low, high - low), data, provenance or {})
    return parse_checkpoint(checkpoint_document(checkpoint), where)


def _check_values(dt: float | None, steps: int | None, scaler: tuple[float, float] | None) -> None:
    """Answers that cannot be right, whatever the weights are."""
    if dt is not None and not 0 < dt <= DT_MAX:
        raise LnncError(f"expected a time step in (0, {DT_MAX}], found {dt}", "--dt", "the paper's students: 0.05")
    if steps is not None and not 1 <= steps <= STEPS_MAX:
        raise LnncError(f"expected 1 ... {STEPS_MAX} Euler steps, found {steps}", "--steps", "the paper's students: 1")
    if scaler is not None and not (np.isfinite(scaler).all() and scaler[0] < scaler[1]):
        raise LnncError(
            f"expected --scaler-min < --scaler-max, both finite, found {scaler[0]} and {scaler[1]}", "--scaler-min",
            "give the extremes of the data that the scaler was fitted to",
        )  # fmt: skip


def _questions(
    dt: float | None, steps: int | None, scaler: tuple[float, float] | None, data: Array | None, output: str | None
) -> list[str]:
    """What the weights cannot tell, and nobody has said yet."""
    asked = (
        (dt, "which time step was it trained with? A state_dict carries none: give --dt (the paper's students: 0.05)"),
        (steps, "how many Euler steps does it take? A state_dict carries none: give --steps (the paper's students: 1)"),
        (scaler, "which min/max scaler was it trained with? Give --scaler-min and --scaler-max, or --no-scaler"),
        (data, "what are typical inputs? Give --calibration X.npz in real units, (N, window)"),
        (output, "where shall the checkpoint go? Give -o student.pt"),
    )
    return [question for answer, question in asked if answer is None]


def _default_range(low: float, high: float) -> tuple[float, float]:
    return (0.0, 1.5) if low >= 0 and high <= 1.5 else (low - (high - low), high + (high - low))


def _check_shapes(where: str, tensors: Mapping[str, Array], arch: Architecture, port: str, unit: str) -> None:
    """Check every shape before options are asked for."""
    build_graph(_assemble(where, tensors, arch, (port, unit, None, 0.0, 1.0), None, {}))


def _assemble(
    where: str,
    tensors: Mapping[str, Array],
    arch: Architecture,
    port: tuple[str, str, tuple[float, float] | None, float, float],
    calibration: Array | None,
    provenance: Mapping[str, Any],
) -> Checkpoint:
    name, unit, limits, offset, scale = port
    outputs = _last_width(tensors, arch)
    taken = arch.features if arch.mode == "stream" else arch.width
    inputs = (PortSpec(name, taken, unit, limits, offset, scale),)
    return Checkpoint(
        where,
        arch,
        inputs,
        (PortSpec(name, outputs, unit, limits, offset, scale),),
        tensors,
        calibration,
        None,
        provenance,
    )


def _last_width(tensors: Mapping[str, Array], arch: Architecture) -> int:
    last = next(layer for layer in reversed(arch.decoder) if layer.op == "linear")
    return int(tensors[f"{last.key}.weight"].shape[0])
