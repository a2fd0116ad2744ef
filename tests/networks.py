"""Random but plausible checkpoint documents: any shape, unit and magnitude that a user might bring.

`random_document(rng)` draws from everything the format allows, awkward corners included; `sane=True` stays with what
training leaves behind (moderate weights, standardised ports), so that closeness to float means something.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lnnc.frontend.build import build_graph
from lnnc.frontend.checkpoint import FORMAT, VERSION
from lnnc.frontend.parse import parse_checkpoint
from lnnc.ir.evaluate import evaluate
from lnnc.quantize.calibrate import ranges_of_checkpoint

Document = dict[str, Any]
Reals = NDArray[np.float64]

# name, unit, typical value, spread
UNITS = (
    ("soh", "1", 0.9, 0.05),
    ("temperature", "K", 285.0, 12.0),
    ("celsius", "degC", 21.0, 9.0),
    ("current", "mA", 1800.0, 1100.0),
    ("voltage", "V", 3.6, 0.25),
    ("charge", "C", 2e-5, 4e-6),
    ("energy", "J", 3e5, 1e5),
    ("angle", "rad", 0.0, 1.5),
)
SANE_UNITS = UNITS[:1] + UNITS[2:5] + UNITS[7:]
ROWS = 48


@dataclass
class _Draft:
    """A network in the making: the generator of numbers, what it may draw, tensors so far."""

    rng: np.random.Generator
    sane: bool
    tensors: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def wild(self, probability: float) -> bool:
        """A chance that only networks which need not be sane get."""
        return self.chance(probability) and not self.sane

    def width(self) -> int:
        if self.wild(0.02):
            return 300
        return int(self.rng.integers(1, 61)) if self.chance(0.7) else int(self.rng.integers(1, 9))

    def pick(self, *choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def put(self, key: str, values: Any) -> None:
        self.tensors[key] = np.asarray(values, dtype=np.float32)


def random_document(
    rng: np.random.Generator, *, mode: str = "", sane: bool = False, ranges: bool | None = None
) -> Document:
    """A checkpoint document with NumPy arrays.

    Args:
        mode: "window", "stream", or "" for either.
        sane: only what training plausibly leaves behind.
        ranges: calibration as the ranges of every tensor (True), as inputs (False), or either (None).
    """
    draft = _Draft(rng, sane)
    mode = mode or draft.pick("window", "window", "stream")
    features = int(rng.integers(1, 5)) if draft.chance(0.4) else 1
    window = _window_length(draft, mode)
    taken = features if mode == "stream" else window * features
    inputs = _ports(draft, taken, "x")
    data = _calibration(draft, inputs, mode, window, features)
    architecture, width = _architecture(draft, mode, window, features)
    document: Document = {
        "format": FORMAT,
        "version": VERSION,
        "architecture": architecture,
        "state_dict": draft.tensors,
        "inputs": inputs,
        "outputs": _ports(draft, width, "y"),
        "calibration": {"inputs": data.astype(np.float32)},
        "provenance": {"made by": "tests/networks.py"},
    }
    _declare_ranges(draft, document)
    if draft.chance(0.25) if ranges is None else ranges:
        checkpoint = parse_checkpoint(document, "random")
        document["calibration"] = {"ranges": ranges_of_checkpoint(checkpoint)}
    return document


def fresh_inputs(document: Document, rng: np.random.Generator, rows: int = ROWS) -> Reals:
    """More inputs like those of the calibration, for a document that `random_document` made."""
    arch = document["architecture"]
    return _calibration(
        _Draft(rng, True), document["inputs"], arch["mode"], arch["window"], arch["features"], rows
    ).astype(np.float64)


def _window_length(draft: _Draft, mode: str) -> int:
    if mode == "stream":
        return int(draft.rng.integers(1, 13))
    return int(draft.rng.integers(1, 25)) if draft.chance(0.85) else int(draft.rng.integers(25, 110))


# --- ports and calibration ---


def _ports(draft: _Draft, total: int, prefix: str) -> list[Document]:
    """Ports that hold `total` elements together, of one unit or of several."""
    cuts = 0 if draft.chance(0.65) else int(draft.rng.integers(1, 4))
    edges = sorted({0, total, *(int(c) for c in draft.rng.integers(1, total + 1, size=cuts))})
    units = SANE_UNITS if draft.sane else UNITS
    sizes = [b - a for a, b in pairwise(edges)]
    return [
        _port(draft, size, units[int(draft.rng.integers(len(units)))], f"{prefix}{i}") for i, size in enumerate(sizes)
    ]


def _port(draft: _Draft, size: int, unit: tuple[str, str, float, float], name: str) -> Document:
    label, symbol, center, spread = unit
    port: Document = {"name": f"{name}_{label}", "size": size, "unit": symbol, "offset": center, "scale": spread}
    if draft.chance(0.15):
        port["scale"] = -spread
    if draft.wild(0.1):  # a port that was never standardised: the net sees the unit itself
        port["offset"], port["scale"] = 0.0, 1.0
    if draft.wild(0.1):  # or by another's statistics
        port["scale"] *= draft.pick(0.1, 20.0)
    # where its values lie; taken out again before the document is done
    port["_center"], port["_spread"] = center, spread
    return port


def _calibration(
    draft: _Draft, ports: list[Document], mode: str, window: int, features: int, rows: int = ROWS
) -> Reals:
    """(rows, width), (rows, window, features) or, for streams, (streams, samples, features)."""
    width = sum(port["size"] for port in ports)
    center = np.repeat([_typical(p)[0] for p in ports], [p["size"] for p in ports])
    spread = np.repeat([_typical(p)[1] for p in ports], [p["size"] for p in ports])
    if mode == "stream":
        steps = window + int(draft.rng.integers(4, 20))
        walk = np.cumsum(draft.rng.normal(0, 0.3, (max(4, rows // 8), steps, width)), axis=1)
        return center + spread * np.tanh(walk + draft.rng.normal(0, 0.5, (len(walk), 1, width)))
    level = draft.rng.normal(0, 0.6, (rows, 1))
    curve = level + draft.rng.normal(0, 0.4, (rows, 1)) * np.linspace(-1, 1, width)
    data = center + spread * (curve + draft.rng.normal(0, 0.25, (rows, width)))
    return data.reshape(rows, window, features) if draft.chance(0.2) else data


def _typical(port: Document) -> tuple[float, float]:
    """(center, spread) of a port's values, from its name."""
    label = port["name"].split("_", 1)[1]
    return next((center, spread) for name, _, center, spread in UNITS if name == label)


def _declare_ranges(draft: _Draft, document: Document) -> None:
    """Declared ranges for most ports: of the inputs from their units, of the outputs from a float run."""
    for port in document["inputs"] + document["outputs"]:
        center, spread = port.pop("_center"), port.pop("_spread")
        port["range"] = [center - 5 * spread, center + 5 * spread] if draft.chance(0.6) else None
    checkpoint = parse_checkpoint(document, "random")
    graph = build_graph(checkpoint)
    data = checkpoint.calibration
    assert data is not None
    if checkpoint.architecture.mode == "window":
        data = data.reshape(len(data), -1)
    result, start = evaluate(graph, data)[graph.result], 0
    for port in document["outputs"]:
        part = result[:, start : start + port["size"]]
        start += port["size"]
        room = float(np.ptp(part)) + 1e-3 * float(np.abs(part).max()) + 2e-6
        port["range"] = [float(part.min()) - room, float(part.max()) + room] if draft.chance(0.5) else None


# --- layers ---


def _architecture(draft: _Draft, mode: str, window: int, features: int) -> tuple[Document, int]:
    """The architecture, with its tensors put into the draft, and the width of its last layer."""
    encoder, width = _blocks(draft, "encoder", window * features, int(draft.rng.integers(0, 5)))
    dynamics, residual = None, None
    if draft.chance(0.85) or not encoder:
        if not draft.sane or _bounded(encoder):
            dynamics = _liquid(draft, width)
            if draft.chance(0.5):
                residual = "residual_weight"
                draft.put(
                    residual, draft.rng.normal(0, 1) * (draft.pick(1.0, 1.0, 0.0, 30.0) if not draft.sane else 0.5)
                )
        elif not encoder:
            encoder, width = _blocks(draft, "encoder", width, 1)
    decoder, width = _blocks(draft, "decoder", width, int(draft.rng.integers(0, 5)))
    if draft.sane and decoder and decoder[-1]["op"] != "linear":
        width = _linear(draft, "decoder.last", width, draft.width())
        decoder.append({"op": "linear", "key": "decoder.last"})
    architecture = {
        "family": "dlnet", "mode": mode, "window": window, "features": features, "encoder": encoder,
        "dynamics": dynamics, "residual": residual, "decoder": decoder,
    }  # fmt: skip
    return architecture, width


def _bounded(layers: list[Document]) -> bool:
    """Whether the last layer keeps its values within a few units, as the start of a liquid neuron wants."""
    return bool(layers) and layers[-1]["op"] in ("tanh", "sigmoid", "norm")


def _blocks(draft: _Draft, part: str, width: int, count: int) -> tuple[list[Document], int]:
    """`count` blocks of one to three layers, in the usual order or in any."""
    layers: list[Document] = []
    for _ in range(count):
        usual = (("linear", "norm", "relu"), ("linear", "norm", "tanh"), ("linear", "tanh"), ("linear", "relu"))
        ops = draft.pick(*usual, ("linear",), ("norm",))
        if draft.chance(0.3):
            ops = tuple(
                draft.pick("linear", "norm", "relu", "tanh", "sigmoid") for _ in range(draft.rng.integers(1, 4))
            )
        for op in ops:
            key = f"{part}.{len(layers)}"
            if op == "linear":
                width = _linear(draft, key, width, draft.width())
            elif op == "norm":
                if width < 3 and draft.sane:
                    continue  # two values normalise to +-1 whatever they are, one to 0: nothing to be close to
                _norm(draft, key, width)
            epsilon = {"epsilon": draft.pick(1e-5, 1e-5, 1e-3, 1e-6)} if op == "norm" else {}
            layers.append({"op": op, **({"key": key} if op in ("linear", "norm") else {}), **epsilon})
    return layers, width


def _linear(draft: _Draft, key: str, inputs: int, outputs: int) -> int:
    weight = draft.rng.normal(0, 1.2 / np.sqrt(inputs), (outputs, inputs))
    bias = draft.rng.normal(0, 0.3, outputs)
    if draft.wild(0.15):
        weight = weight * 10.0 ** draft.rng.uniform(-3, 1.5)
    if draft.wild(0.15):
        weight = weight * 10.0 ** draft.rng.uniform(-3, 1, (outputs, 1))  # rows of different magnitude
    if draft.wild(0.1):
        weight = weight * (draft.rng.random((outputs, inputs)) < 0.1)  # pruned
    if draft.chance(0.1):
        weight[draft.rng.integers(0, outputs, size=1 + outputs // 4)] = 0.0
    if draft.wild(0.03):
        weight = np.zeros_like(weight)
    if draft.wild(0.1):
        bias = bias * 10.0 ** draft.rng.uniform(0, 4)
    draft.put(f"{key}.weight", weight)
    draft.put(f"{key}.bias", bias)
    return outputs


def _norm(draft: _Draft, key: str, width: int) -> None:
    gamma = draft.rng.uniform(0.5, 1.5, width)
    beta = draft.rng.normal(0, 0.3, width)
    if draft.chance(0.25):
        gamma = gamma * draft.rng.choice([-1.0, 1.0], width)
    if draft.chance(0.2):
        gamma[draft.rng.integers(width)] = draft.pick(0.0, 1e-4, -1e-6, 0.02)
    if draft.wild(0.1):
        gamma = gamma * 10.0 ** draft.rng.uniform(-2, 1.5)
    if draft.wild(0.1):
        beta = beta * 10.0 ** draft.rng.uniform(0, 2)
    if draft.wild(0.02):
        gamma = np.zeros(width)
    draft.put(f"{key}.weight", gamma)
    draft.put(f"{key}.bias", beta)


def _liquid(draft: _Draft, width: int) -> Document:
    rng = draft.rng
    low_rank = draft.chance(0.55)
    if low_rank:
        # h <= 2 rank + 1 is merged into one matrix: draw on both sides of that
        rank = int(rng.integers(1, width + 1)) if draft.chance(0.5) else max(1, width // int(rng.integers(2, 5)))
        draft.put("dynamics.w_diag", rng.normal(0, 0.5, width) * (0.0 if draft.chance(0.05) else 1.0))
        draft.put("dynamics.U", rng.normal(0, 1, (width, rank)))
        draft.put("dynamics.V", rng.normal(0, 1, (width, rank)))
    else:
        weight = rng.normal(0, 1 / np.sqrt(width), (width, width))
        draft.put("dynamics.W.weight", weight * (0.0 if draft.wild(0.05) else draft.pick(0.3, 1.0, 2.0)))
    fast = 10.0 ** rng.uniform(0, 1.5) if draft.wild(0.1) else 1.0
    draft.put("dynamics.alpha", rng.uniform(0.1, 2.0, width) * fast * (-1.0 if draft.wild(0.03) else 1.0))
    draft.put("dynamics.beta", rng.normal(0, 1.0, width) * fast)
    steps = int(rng.integers(1, 13)) if draft.chance(0.6) else 1
    return {
        "key": "dynamics", "recurrence": "low_rank" if low_rank else "full", "steps": steps,
        "dt": draft.pick(0.05, 0.1, 1 / 9, 0.25, float(rng.uniform(0.01, 0.5))),
        "drive": draft.pick("mean", "mean", "none"),
    }  # fmt: skip


# --- four small models that use every kernel between them ---


def _chain(draft: _Draft, part: str, width: int, text: str) -> tuple[list[Document], int]:
    """Layers from words: a number is a Linear layer of so many outputs, the rest are ops by name."""
    layers: list[Document] = []
    for index, word in enumerate(text.split()):
        key = f"{part}.{index}"
        if word.isdigit():
            width = _linear(draft, key, width, int(word))
        elif word == "norm":
            _norm(draft, key, width)
        layers.append({"op": "linear", "key": key} if word.isdigit() else {"op": word})
        if word == "norm":
            layers[-1].update(key=key, epsilon=1e-5)
    return layers, width


def _model(
    seed: int, mode: str, window: int, inputs: list[Document], encoder: str, cell: Document, decoder: str,
    outputs: list[Document],
) -> Document:  # fmt: skip
    draft = _Draft(np.random.default_rng(seed), sane=True)
    features = sum(port["size"] for port in inputs) if mode == "stream" else 1
    front, width = _chain(draft, "encoder", window * features, encoder)
    dynamics = {**_liquid(draft, width), **cell} if cell else None
    if cell.get("recurrence") == "low_rank":
        for name, shape in (("w_diag", (width,)), ("U", (width, 2)), ("V", (width, 2))):
            draft.put(f"dynamics.{name}", draft.rng.normal(0, 0.6, shape))
        draft.tensors.pop("dynamics.W.weight", None)
    elif cell:
        for name in ("w_diag", "U", "V"):
            draft.tensors.pop(f"dynamics.{name}", None)
        draft.put("dynamics.W.weight", draft.rng.normal(0, 0.5, (width, width)))
    if cell:
        draft.put("residual_weight", 0.5)
    back, width = _chain(draft, "decoder", width, decoder)
    data = _calibration(draft, inputs, mode, window, features)
    architecture = {
        "family": "dlnet", "mode": mode, "window": window, "features": features, "encoder": front,
        "dynamics": dynamics, "residual": "residual_weight" if cell else None, "decoder": back,
    }  # fmt: skip
    return {
        "format": FORMAT, "version": VERSION, "architecture": architecture, "state_dict": draft.tensors,
        "inputs": inputs, "outputs": outputs, "calibration": {"inputs": data.astype(np.float32)},
        "provenance": {"made by": "tests/networks.py"},
    }  # fmt: skip


def _declared(name: str, size: int, limits: tuple[float, float] | None = None) -> Document:
    _, symbol, center, spread = next(unit for unit in UNITS if unit[0] == name)
    span = list(limits) if limits else None
    return {"name": f"x_{name}", "size": size, "unit": symbol, "offset": center, "scale": spread, "range": span}


def small_models() -> dict[str, tuple[Document, str]]:
    """name -> (document, activations): a window, a stream, ports of several units, and layers in unusual order."""
    soh = (0.0, 1.5)
    full, low_rank = {"recurrence": "full", "steps": 1, "drive": "mean"}, {"recurrence": "low_rank", "drive": "mean"}
    return {
        "soh": (
            _model(1, "window", 20, [_declared("soh", 20, soh)], "16 norm relu 4 norm tanh", full,
                   "12 norm relu 8 norm relu 20", [_declared("soh", 20, soh)]), "int16",
        ),
        "flow": (
            _model(2, "stream", 6, [_declared("celsius", 1), _declared("voltage", 1, (2.0, 4.5))], "8 norm tanh",
                   {**low_rank, "steps": 3, "dt": 0.1}, "10 tanh 2", [_declared("voltage", 2)]), "int8",
        ),
        "mixed": (
            _model(3, "window", 9, [_declared("temperature", 4, (250.0, 320.0)), _declared("current", 5, (0.0, 5e3))],
                   "10 relu 6 sigmoid", {**low_rank, "steps": 2, "dt": 0.25, "drive": "mean"}, "norm 5",
                   [_declared("temperature", 2), _declared("current", 3)]), "int16",
        ),
        "odd": (
            _model(4, "window", 7, [_declared("angle", 7)], "norm relu tanh norm", {}, "sigmoid norm tanh relu",
                   [_declared("angle", 7)]), "int8",
        ),
    }  # fmt: skip


def large_model(encoder: str = "300 norm relu 4 tanh") -> Document:
    """A model for no AVR: by default with a table that avr-gcc has no array for."""
    port = _declared("soh", 120, (0.0, 1.5))
    return _model(5, "window", 120, [port], encoder, {}, "2", [_declared("soh", 2)])
