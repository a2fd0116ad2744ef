"""The ops of a Graph as ONNX nodes, float32, opset 18; every tensor is (batch, size)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lnnc.errors import LnncError
from lnnc.frontend.onnx_read import NODES_MAX, Constant, require_onnx
from lnnc.ir.graph import (
    INPUT,
    Act,
    Add,
    Blend,
    Concat,
    Div,
    Gather,
    Graph,
    Linear,
    Mean,
    Mul,
    Norm,
    Op,
    Scale,
    State,
    Timed,
    Window,
)

DATA, RESULT, TIME, NEXT = "x", "y", "T", "_next"
_ACTS = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "abs": "Abs", "exp": "Exp"}


class Writer:
    """Nodes and initializers so far.

    Attributes:
        states: name and size of every state input; `<name>_next` is its output.
        time: the name of the input T, or None where T is a constant.
    """

    def __init__(self, graph: Graph, time_input: bool) -> None:
        self.helper = require_onnx().helper
        self.to_tensor = require_onnx().numpy_helper.from_array
        self.graph, self.sizes = graph, graph.sizes()
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.states: dict[str, int] = {}
        self.time = TIME if time_input else None
        self.names = {INPUT: DATA}
        self._taken = {DATA, RESULT, TIME}

    def name(self, hint: str) -> str:
        number, found = 1, hint
        while found in self._taken or f"{found}{NEXT}" in self._taken:
            number += 1
            found = f"{hint}_{number}"
        self._taken.add(found)
        return found

    def state(self, hint: str, size: int) -> str:
        """Add a state input; the name of its next value is taken with it."""
        name = self.name(hint)
        self._taken.add(f"{name}{NEXT}")
        self.states[name] = size
        return name

    def const(self, value: Any, hint: str = "c") -> str:
        array = np.asarray(value)
        name = self.name(hint)
        array = array.astype(np.float32) if array.dtype.kind == "f" else array.astype(np.int64)
        self.constants.append(self.to_tensor(array, name))
        return name

    def node(self, kind: str, *inputs: str | Constant | float, hint: str = "", **attributes: Any) -> str:
        """Add a node; numbers become initializers. Returns the name of its result."""
        if len(self.nodes) >= NODES_MAX:
            raise LnncError(f"the step takes more than {NODES_MAX} ONNX nodes", "export", "take fewer Euler steps")
        hint = hint or kind.lower()
        out = self.name(hint)
        names = [entry if isinstance(entry, str) else self.const(entry, f"{hint}.c") for entry in inputs]
        self.nodes.append(self.helper.make_node(kind, names, [out], name=out, **attributes))
        return out

    def step_time(self, steps: int) -> str | float:
        """T / steps: a number, or the name of a (batch, 1) tensor."""
        if self.time is None:
            return self.graph.time / steps
        return self.node("Mul", self.time, 1.0 / steps, hint="dt") if steps > 1 else self.time


def end(w: Writer, tensor: str, output: str) -> None:
    """An output of the step."""
    w.nodes.append(w.helper.make_node("Identity", [tensor], [output], name=f"{output}_out"))


def _scale(w: Writer, op: Scale) -> str:
    return w.node("Add", w.node("Mul", w.names[op.x], op.scale, hint=f"{op.out}.gain"), op.offset, hint=op.out)


def _window(w: Writer, op: Window) -> str:
    """The state is the whole window: (old without its oldest sample, x)."""
    if op.length == 1:
        return w.names[op.x]
    size, features = w.sizes[op.out], w.sizes[op.x]
    name = w.state(op.out, size)
    kept = w.node("Slice", name, np.array([features]), np.array([size]), np.array([1]), hint=f"{op.out}.kept")
    moved = w.node("Concat", kept, w.names[op.x], hint=f"{op.out}.moved", axis=1)
    end(w, moved, f"{name}{NEXT}")
    return moved


def _state(w: Writer, op: State) -> str:
    return w.state(op.out, op.size)


def _linear(w: Writer, op: Linear) -> str:
    return w.node("Gemm", w.names[op.x], op.weight, op.bias, hint=op.out, transB=1)


def _norm(w: Writer, op: Norm) -> str:
    x = w.names[op.x]
    return w.node("LayerNormalization", x, op.gamma, op.beta, hint=op.out, axis=-1, epsilon=op.epsilon)


def _act(w: Writer, op: Act) -> str:
    x = w.names[op.x]
    if op.fn in _ACTS:
        return w.node(_ACTS[op.fn], x, hint=op.out)
    assert op.fn == "phi"
    erf = w.node("Erf", w.node("Mul", x, math.sqrt(0.5), hint=f"{op.out}.argument"), hint=f"{op.out}.erf")
    return w.node("Mul", w.node("Add", erf, 1.0, hint=f"{op.out}.sum"), 0.5, hint=op.out)


def _mean(w: Writer, op: Mean) -> str:
    mean = w.node("ReduceMean", w.names[op.x], np.array([1]), hint=f"{op.out}.mean", keepdims=1)
    return w.node("Add", w.node("Mul", mean, op.gain, hint=f"{op.out}.gain"), op.offset, hint=op.out)


def _add(w: Writer, op: Add) -> str:
    a, b = w.names[op.a], w.names[op.b]
    if op.gain in (1.0, -1.0):
        return w.node("Add" if op.gain == 1.0 else "Sub", a, b, hint=op.out)
    return w.node("Add", a, w.node("Mul", b, op.gain, hint=f"{op.out}.gain"), hint=op.out)


def _concat(w: Writer, op: Concat) -> str:
    return w.node("Concat", *(w.names[part] for part in op.parts), hint=op.out, axis=1)


def _gather(w: Writer, op: Gather) -> str:
    return w.node("Gather", w.names[op.x], op.index, hint=op.out, axis=1)


def _mul(w: Writer, op: Mul) -> str:
    return w.node("Mul", w.names[op.a], w.names[op.b], hint=op.out)


def _div(w: Writer, op: Div) -> str:
    return w.node("Div", w.names[op.a], w.names[op.b], hint=op.out)


def _blend(w: Writer, op: Blend) -> str:
    a, b, t = (w.names[name] for name in (op.a, op.b, op.t))
    way = w.node("Mul", w.node("Sub", b, a, hint=f"{op.out}.way"), t, hint=f"{op.out}.part")
    return w.node("Add", a, way, hint=op.out)


def _timed(w: Writer, op: Timed) -> str:
    grown = w.node("Mul", w.names[op.a], w.step_time(1), hint=f"{op.out}.grown")
    return w.node("Add", grown, w.names[op.b], hint=op.out)


PLAIN: dict[type[Op], Callable[[Writer, Any], str]] = {
    Scale: _scale, Window: _window, Linear: _linear, Norm: _norm, Act: _act, Mean: _mean, Add: _add, State: _state,
    Concat: _concat, Gather: _gather, Mul: _mul, Div: _div, Blend: _blend, Timed: _timed,
}  # fmt: skip
