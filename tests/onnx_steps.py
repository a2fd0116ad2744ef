"""One-step graphs as exporters of torch print them (Gemm with transB, Split, Unsqueeze ...), made with onnx.helper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]


class Step:
    """Collects nodes and initializers; every call returns the name of the result."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.count = 0

    def const(self, value: Any, name: str = "") -> str:
        self.count += 1
        name = name or f"onnx::const_{self.count}"
        array = np.asarray(value)
        array = array.astype(np.float32) if array.dtype.kind == "f" else array.astype(np.int64)
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def op(self, kind: str, *inputs: Any, out: str = "", outputs: int = 1, **attributes: Any) -> Any:
        self.count += 1
        names = [entry if isinstance(entry, str) else self.const(entry) for entry in inputs]
        made = [out or f"/cell/{kind}_{self.count}_output_{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(kind, names, made, name=f"/cell/{kind}_{self.count}", **attributes))
        return made[0] if outputs == 1 else made

    def linear(self, x: str, weight: Array, bias: Array) -> str:
        return str(self.op("Gemm", x, weight, bias, transB=1, alpha=1.0, beta=1.0))

    def model(self, inputs: dict[str, Any], outputs: dict[str, Any], opset: int = 17) -> Any:
        made = [
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in table.items()]
            for table in (inputs, outputs)
        ]
        graph = helper.make_graph(self.nodes, "main_graph", *made, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)

    def save(self, path: Path, inputs: dict[str, Any], outputs: dict[str, Any], opset: int = 17) -> Path:
        model = self.model(inputs, outputs, opset)
        onnx.checker.check_model(model)
        path.write_bytes(model.SerializeToString())
        return path


def numbers(module: Any) -> dict[str, Array]:
    return {name: tensor.detach().numpy() for name, tensor in module.state_dict().items()}


def cfc(path: Path, cell: Any, ts: float = 1.0) -> Path:
    """An ncps CfCCell at a fixed timespan, lecun_tanh backbone."""
    w, s = numbers(cell), Step()
    z = s.op("Concat", "x", "h", axis=1)
    for layer in range(cell.backbone_layers):
        z = s.linear(z, w[f"backbone.{2 * layer}.weight"], w[f"backbone.{2 * layer}.bias"])
        z = s.op("Mul", s.op("Tanh", s.op("Mul", z, np.array(0.666))), np.array(1.7159))
    ff1 = s.linear(z, w["ff1.weight"], w["ff1.bias"])
    if cell.mode == "pure":
        sums = s.op("Add", s.op("Abs", w["w_tau"]), s.op("Abs", ff1))
        decay = s.op("Exp", s.op("Mul", np.array(-ts), sums))
        s.op("Add", s.op("Mul", s.op("Mul", s.op("Neg", w["A"]), decay), ff1), w["A"], out="h_next")
    else:
        ff1, ff2 = s.op("Tanh", ff1), s.op("Tanh", s.linear(z, w["ff2.weight"], w["ff2.bias"]))
        ta, tb = (s.linear(z, w[f"{name}.weight"], w[f"{name}.bias"]) for name in ("time_a", "time_b"))
        t = s.op("Sigmoid", s.op("Add", s.op("Mul", ta, np.array(ts)), tb))
        if cell.mode == "default":
            ff1 = s.op("Mul", ff1, s.op("Sub", np.array(1.0), t))
        s.op("Add", ff1, s.op("Mul", t, ff2), out="h_next")
    s.op("Identity", "h_next", out="y")
    n = cell.hidden_size
    return s.save(
        path, {"x": ["batch", cell.input_size], "h": ["batch", n]}, {"y": ["batch", n], "h_next": ["batch", n]}
    )


def ltc(path: Path, cell: Any, ts: float = 1.0, opset: int = 17) -> Path:
    """An ncps LTCCell, unrolled."""
    w, s = numbers(cell), Step()
    positive = (lambda name: s.op("Softplus", w[name])) if cell._implicit_param_constraints else (lambda name: w[name])

    def gate(v: str, kind: str) -> str:
        wide = s.op("Unsqueeze", v, np.array([-1]))
        pre = s.op("Mul", w[f"{kind}sigma"], s.op("Sub", wide, w[f"{kind}mu"]))
        return str(s.op("Mul", s.op("Mul", positive(f"{kind}w"), s.op("Sigmoid", pre)), w[f"{kind}sparsity_mask"]))

    x = s.op("Add", s.op("Mul", "x", w["input_w"]), w["input_b"])
    sensory = gate(x, "sensory_")
    above = s.op("ReduceSum", s.op("Mul", sensory, w["sensory_erev"]), np.array([1]), keepdims=0)
    below = s.op("ReduceSum", sensory, np.array([1]), keepdims=0)
    cm = s.op("Div", positive("cm"), np.array(ts / cell._ode_unfolds))
    v = "h"
    for _ in range(cell._ode_unfolds):
        g = gate(v, "")
        i = s.op("Add", s.op("ReduceSum", s.op("Mul", g, w["erev"]), np.array([1]), keepdims=0), above)
        c = s.op("Add", s.op("ReduceSum", g, np.array([1]), keepdims=0), below)
        leak = s.op("Mul", positive("gleak"), w["vleak"])
        i = s.op("Add", s.op("Add", s.op("Mul", cm, v), leak), i)
        c = s.op("Add", s.op("Add", cm, positive("gleak")), c)
        v = s.op("Div", i, s.op("Add", c, np.array(1e-8)))
    s.op("Identity", v, out="h_next")
    y = s.op("Slice", "h_next", np.array([0]), np.array([cell.motor_size]), np.array([1]))
    s.op("Add", s.op("Mul", y, w["output_w"]), w["output_b"], out="y")
    return s.save(
        path, {"x": [1, cell.sensory_size], "h": [1, cell.state_size]},
        {"y": [1, cell.motor_size], "h_next": [1, cell.state_size]}, opset,
    )  # fmt: skip


def gru(path: Path, cell: Any) -> Path:
    """torch.nn.GRUCell as its exporter decomposes it."""
    w, s = numbers(cell), Step()
    gi, gh = s.linear("x", w["weight_ih"], w["bias_ih"]), s.linear("h", w["weight_hh"], w["bias_hh"])
    ri, zi, ni = s.op("Split", gi, outputs=3, axis=1)
    rh, zh, nh = s.op("Split", gh, outputs=3, axis=1)
    r, z = s.op("Sigmoid", s.op("Add", ri, rh)), s.op("Sigmoid", s.op("Add", zi, zh))
    n = s.op("Tanh", s.op("Add", ni, s.op("Mul", r, nh)))
    mixed = s.op("Add", n, s.op("Mul", z, s.op("Sub", "h", n)), out="hn")
    s.op("Identity", mixed, out="y")
    k = cell.hidden_size
    return s.save(path, {"x": [1, cell.input_size], "h": [1, k]}, {"y": [1, k], "hn": [1, k]})


def lstm(path: Path, cell: Any) -> Path:
    """torch.nn.LSTMCell as its exporter decomposes it."""
    w, s = numbers(cell), Step()
    gates = s.op("Add", s.linear("x", w["weight_ih"], w["bias_ih"]), s.linear("h", w["weight_hh"], w["bias_hh"]))
    i, f, g, o = s.op("Split", gates, outputs=4, axis=1)
    i, f, g, o = s.op("Sigmoid", i), s.op("Sigmoid", f), s.op("Tanh", g), s.op("Sigmoid", o)
    s.op("Add", s.op("Mul", f, "c"), s.op("Mul", i, g), out="c_next")
    s.op("Mul", o, s.op("Tanh", "c_next"), out="h_next")
    k = cell.hidden_size
    shape = ["batch", k]
    return s.save(path, {"x": ["batch", cell.input_size], "h": shape, "c": shape}, {"h_next": shape, "c_next": shape})


def operator(path: Path, module: Any) -> Path:
    """torch.nn.GRU, LSTM or RNN of one layer as one ONNX operator; h and c are (layers, batch, units)."""
    kind = type(module).__name__
    order = {"GRU": (1, 0, 2), "LSTM": (0, 3, 1, 2), "RNN": (0,)}[kind]
    w, s, k = numbers(module), Step(), module.hidden_size

    def turned(name: str) -> Array:
        return np.concatenate([np.split(w[name], len(order))[gate] for gate in order])[None]

    biases = np.concatenate([turned("bias_ih_l0"), turned("bias_hh_l0")], axis=1)
    states = ["h", "c"] if kind == "LSTM" else ["h"]
    extra = {"linear_before_reset": 1} if kind == "GRU" else {}
    weights = [turned("weight_ih_l0"), turned("weight_hh_l0"), biases]
    names = [entry if isinstance(entry, str) else s.const(entry) for entry in ("x", *weights)]
    outputs = ["Y", *(f"{state}n" for state in states)]
    s.nodes.append(helper.make_node(kind, [*names, "", *states], outputs, name="rnn", hidden_size=k, **extra))
    s.op("Squeeze", "Y", np.array([1]), out="y")
    shape = [1, 1, k]
    return s.save(
        path, {"x": [1, 1, module.input_size], **dict.fromkeys(states, shape)},
        {"y": shape, **{f"{state}n": shape for state in states}},
    )  # fmt: skip


def feed(path: Path, steps: Sequence[tuple[str, tuple[Any, ...], dict[str, Any]]], features: int, size: int) -> Path:
    """A chain of nodes on x, each after the one before ("" stands for it)."""
    s, last = Step(), "x"
    for position, (kind, inputs, attributes) in enumerate(steps):
        names = [last if isinstance(entry, str) and entry == "" else entry for entry in inputs]
        last = s.op(kind, *names, out="y" if position == len(steps) - 1 else "", **attributes)
    return s.save(path, {"x": ["batch", features]}, {"y": ["batch", size]})
