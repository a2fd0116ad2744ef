"""The DLNet family: from a checked checkpoint to a Graph.

Equations (the paper's teacher and students):

    u = (input - offset) / scale                          e = encoder(u),  x(0) = e
    x <- x + dt (-alpha x + beta tanh(W x + mean(u)))     W full, or diag(w_diag) + U V^T / rank
    y = decoder(x + residual_weight e) * scale + offset

Layers are Linear, LayerNorm, ReLU, tanh and sigmoid.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from lnnc.errors import Findings
from lnnc.frontend.checkpoint import WIDTH_MAX, Checkpoint, Dynamics, Layer
from lnnc.frontend.network import port_elements
from lnnc.ir.graph import INPUT, Act, Add, Array, Euler, Graph, Linear, Mean, Norm, Op, Scale, Window
from lnnc.ir.verify import verify_graph

_KEY = re.compile(r"^[A-Za-z][A-Za-z0-9_.]{0,63}$")
_RESERVED = ("in", "out", "input", "output", "scaled", "window", "missing", "centered", "drive", "residual")


@dataclass
class _Builder:
    """Ops so far, the tensor and width that the next layer reads, keys not yet used, faults."""

    tensors: Mapping[str, Array]
    found: Findings
    ops: list[Op] = field(default_factory=list)
    tensor: str = INPUT
    width: int = 0
    used: set[str] = field(default_factory=set)

    def take(self, key: str, shape: tuple[int | None, ...]) -> Array:
        """A tensor of the state_dict with a checked shape; None stands for any length."""
        self.used.add(key)
        array = self.tensors.get(key)
        if array is None:
            self.found.add(f"key '{key}' is missing from the state_dict")
        elif not _fits(array.shape, shape):
            want = str(tuple("any" if n is None else n for n in shape)).replace("'any'", "any")
            turned = " (transposed?)" if array.ndim == 2 and _fits(array.shape[::-1], shape) else ""
            self.found.add(f"tensor '{key}': expected shape {want}, found {array.shape}{turned}")
        elif not array.size:
            self.found.add(f"tensor '{key}': expected numbers, found an empty tensor of shape {array.shape}")
        elif max(array.shape, default=1) > WIDTH_MAX:
            self.found.add(f"tensor '{key}': a side longer than {WIDTH_MAX}, found {array.shape}")
        else:
            return array
        return np.ones(tuple(n or 1 for n in shape))

    def outputs(self, key: str) -> int | None:
        """Outputs of a Linear layer: its rows, or where they do not fit, what its bias says (one fault, not many)."""
        weight, bias = (self.tensors.get(f"{key}.{name}") for name in ("weight", "bias"))
        if weight is not None and weight.size and _fits(weight.shape, (None, self.width)):
            return None
        return len(bias) if bias is not None and bias.ndim == 1 and 0 < len(bias) <= WIDTH_MAX else None

    def push(self, op: Op, width: int) -> None:
        self.ops.append(op)
        self.tensor, self.width = op.out, width


def _fits(shape: tuple[int, ...], want: tuple[int | None, ...]) -> bool:
    """Whether a shape is the wanted one; None stands for any length."""
    return len(shape) == len(want) and all(w in (None, n) for w, n in zip(want, shape, strict=True))


def build_dlnet(checkpoint: Checkpoint) -> Graph:
    """The float meaning of a checkpoint.

    Raises:
        LnncError: naming every missing or unused key and every shape that disagrees.
    """
    arch = checkpoint.architecture
    inputs = tuple(port.port() for port in checkpoint.inputs)
    outputs = tuple(port.port() for port in checkpoint.outputs)
    b = _Builder(checkpoint.tensors, Findings(checkpoint.where))
    scale = port_elements(checkpoint.inputs, "scale")
    offset = -port_elements(checkpoint.inputs, "offset") / scale
    b.push(Scale("scaled", INPUT, 1.0 / scale, offset, "input scaler"), len(scale))
    if arch.mode == "stream":
        b.push(Window("window", b.tensor, arch.window, "window"), arch.width)
    drive = "drive" if arch.dynamics and arch.dynamics.drive == "mean" else ""
    if drive:
        b.ops.append(Mean(drive, b.tensor, 1.0, 0.0, "mean of inputs"))
    _layers(b, arch.encoder, "encoder")
    if arch.dynamics:
        _liquid(b, arch.dynamics, drive, arch.residual)
    _layers(b, arch.decoder, "decoder")
    size = sum(port.size for port in checkpoint.outputs)
    if size != b.width:
        b.found.add(f"outputs: the ports hold {size} values, the network gives {b.width}")
        b.found.raise_if_any("declare one port element per output of the last layer")
    for key in sorted(set(checkpoint.tensors) - b.used):
        b.found.add(f"key '{key}' of the state_dict belongs to no layer of the architecture")
    b.found.raise_if_any("the architecture and the state_dict must describe the same network")
    out_scale, out_offset = (port_elements(checkpoint.outputs, name) for name in ("scale", "offset"))
    b.push(Scale("output", b.tensor, out_scale, out_offset, "output scaler"), size)
    return verify_graph(Graph(inputs, outputs, tuple(b.ops), "output"))


def _layers(b: _Builder, layers: tuple[Layer, ...], part: str) -> None:
    for index, layer in enumerate(layers):
        if layer.key and not _fresh(b, layer.key):
            continue
        if layer.op == "linear":
            weight = b.take(f"{layer.key}.weight", (b.outputs(layer.key), b.width))
            bias = b.take(f"{layer.key}.bias", (len(weight),))
            b.push(Linear(layer.key, b.tensor, weight, bias, layer.key), len(weight))
        elif layer.op == "norm":
            gamma, beta = (b.take(f"{layer.key}.{name}", (b.width,)) for name in ("weight", "bias"))
            b.push(Norm(layer.key, b.tensor, gamma, beta, layer.epsilon, layer.key), b.width)
        else:
            name = f"{part}.{layer.op}{index}"
            b.push(Act(name, b.tensor, layer.op, name), b.width)


def _fresh(b: _Builder, key: str) -> bool:
    """Whether a layer's key can name a tensor of its own (and a C table, and stand in a C comment)."""
    if not _KEY.match(key) or key in _RESERVED:
        b.found.add(f"layer key {key!r}: expected letters, digits, '_' and '.', and none of {', '.join(_RESERVED)}")
        return False
    if key.replace(".", "_") in {op.out.replace(".", "_") for op in b.ops}:
        b.found.add(f"layer key '{key}' is used twice")
        return False
    return True


def _liquid(b: _Builder, cell: Dynamics, drive: str, residual: str) -> None:
    encoded, width, key = b.tensor, b.width, cell.key
    if not _fresh(b, key):
        return
    weight = diag = left = right = None
    if cell.recurrence == "full":
        weight = b.take(f"{key}.W.weight", (width, width))
    else:
        diag = b.take(f"{key}.w_diag", (width,))
        factor = b.take(f"{key}.U", (width, None))
        right = b.take(f"{key}.V", (width, factor.shape[1]))
        left = factor / factor.shape[1]
    alpha, beta = (b.take(f"{key}.{name}", (width,)) for name in ("alpha", "beta"))
    op = Euler(key, encoded, drive, weight, diag, left, right, alpha, beta, cell.dt, cell.steps, key)
    b.push(op, width)
    if residual:
        one = (1,) if b.tensors.get(residual, np.zeros(())).shape == (1,) else ()
        gain = b.take(residual, one)
        b.push(Add("residual", b.tensor, encoded, float(gain.reshape(-1)[0]), residual), width)
