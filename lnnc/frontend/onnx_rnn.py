"""The recurrent operators of ONNX, one step long, in ops of a Graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lnnc.frontend.onnx_draft import Draft, Value, View, as_numbers
from lnnc.frontend.onnx_fold import UnsupportedError
from lnnc.ir.graph import Add as Sum
from lnnc.ir.graph import Array, Blend, Mul

RECURRENT = ("GRU", "LSTM", "RNN")
_GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}
_USUAL = {"GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"], "RNN": ["Tanh"]}
_ORDINARY = ("hidden_size", "direction", "activations", "layout", "linear_before_reset", "input_forget")


def recurrent(
    draft: Draft, kind: str, given: Mapping[str, Any], inputs: Sequence[Value | None], hint: str
) -> Sequence[Value]:
    """Y and the last states of a GRU, LSTM or RNN of sequence length 1; inputs as ONNX orders them."""
    inputs = [*inputs, *[None] * (8 - len(inputs))]
    _check_attributes(kind, given)
    x, h = inputs[0], inputs[5]
    if not isinstance(x, View) or not isinstance(h, View):
        raise UnsupportedError("its input and its initial state must both be inputs of the step")
    if x.shape[:-1] != (1, 1):
        raise UnsupportedError(f"its sequence is of shape {list(x.shape)}, expected one step (1, 1, inputs)")
    if any(value is not None for value in (inputs[4], inputs[7])):
        raise UnsupportedError("sequence_lens and peepholes are not supported")
    weights = _weights(kind, inputs, x.index.size, h.index.size)
    gates = _Gates(draft, x, h, weights, hint)
    if kind == "LSTM":
        c = inputs[6]
        if not isinstance(c, View):
            raise UnsupportedError("its initial cell must be an input of the step")
        y, cell = _lstm(gates, c)
        return _outputs(y, h, cell)
    y = _gru(gates, bool(given.get("linear_before_reset", 0))) if kind == "GRU" else gates.act(gates.joint(0), "tanh")
    return _outputs(y, h, None)


def _check_attributes(kind: str, given: Mapping[str, Any]) -> None:
    activations = [name.decode() if isinstance(name, bytes) else str(name) for name in given.get("activations", [])]
    direction = given.get("direction", b"forward")
    unusual = [name for name in given if name not in _ORDINARY]
    if direction not in (b"forward", "forward") or given.get("layout", 0) or given.get("input_forget", 0):
        raise UnsupportedError("only direction forward, layout 0 and separate gates are")
    if unusual or (activations and activations != _USUAL[kind]):
        raise UnsupportedError(
            f"only activations {', '.join(_USUAL[kind])} are, without {', '.join(unusual) or 'clip'}"
        )


def _weights(kind: str, inputs: Sequence[Value | None], features: int, units: int) -> tuple[Array, Array, Array]:
    """W (gates, units, features), R (gates, units, units), biases (2, gates, units)."""
    gates = _GATES[kind]
    wanted = {1: (gates, units, features), 2: (gates, units, units), 3: (2, gates, units)}
    found = []
    for position, shape in wanted.items():
        value = inputs[position]
        if value is None and position == 3:
            found.append(np.zeros(shape))
            continue
        if value is None or isinstance(value, View) or np.size(value) != np.prod(shape):
            raise UnsupportedError(f"its input {position}: expected a constant of {int(np.prod(shape))} numbers")
        found.append(as_numbers(value).reshape(shape))
    return found[0], found[1], found[2]


class _Gates:
    """The sums before the gates, as Linear layers, and the ops behind them."""

    def __init__(self, draft: Draft, x: View, h: View, weights: tuple[Array, Array, Array], hint: str) -> None:
        self.draft, self.x, self.hint = draft, x, hint
        self.h = draft.whole(draft.flat(h), (h.index.size,))
        self.w, self.r, self.b = weights
        self.units = h.index.size

    def joint(self, gate: int, h: View | None = None) -> View:
        """W x + R h + both biases of one gate."""
        both = self.draft.concat((self.x, h or self.h), f"{self.hint}_xh")
        weight, bias = np.hstack([self.w[gate], self.r[gate]]), self.b[0, gate] + self.b[1, gate]
        return self.draft.linear(both, weight, bias, (self.units,), f"{self.hint}_gate{gate}")

    def apart(self, gate: int, of_state: bool) -> View:
        """W x + b, or R h + b."""
        value, weights = (self.h, self.r) if of_state else (self.x, self.w)
        hint = f"{self.hint}_gate{gate}_{'h' if of_state else 'x'}"
        return self.draft.linear(value, weights[gate], self.b[int(of_state), gate], (self.units,), hint)

    def act(self, value: View, fn: str) -> View:
        return self.draft.act(value, fn, f"{value.tensor}_{fn}")

    def mul(self, a: View, b: View) -> View:
        name = self.draft.name(f"{self.hint}_mul")
        return self.draft.push(Mul(name, self.draft.flat(a), self.draft.flat(b), name), (self.units,))

    def add(self, a: View, b: View) -> View:
        name = self.draft.name(f"{self.hint}_add")
        return self.draft.push(Sum(name, self.draft.flat(a), self.draft.flat(b), 1.0, name), (self.units,))


def _gru(gates: _Gates, before: bool) -> View:
    """h' = (1 - z) n + z h; n = tanh(W x + r (R h + b)) as torch has it (before), or tanh(W x + R (r h))."""
    z, r = (gates.act(gates.joint(gate), "sigmoid") for gate in (0, 1))
    if before:
        inner = gates.add(gates.apart(2, False), gates.mul(r, gates.apart(2, True)))
    else:
        inner = gates.joint(2, gates.mul(r, gates.h))
    n = gates.act(inner, "tanh")
    name = gates.draft.name(f"{gates.hint}_blend")
    return gates.draft.push(Blend(name, n.tensor, gates.h.tensor, z.tensor, name), (gates.units,))


def _lstm(gates: _Gates, c: View) -> tuple[View, View]:
    """c' = f c + i tanh(...), h' = o tanh(c'); ONNX orders the gates i, o, f, c."""
    i, o, f = (gates.act(gates.joint(gate), "sigmoid") for gate in (0, 1, 2))
    cell = gates.add(gates.mul(f, c), gates.mul(i, gates.act(gates.joint(3), "tanh")))
    return gates.mul(o, gates.act(cell, "tanh")), cell


def _outputs(y: View, h: View, cell: View | None) -> Sequence[Value]:
    units = y.index.size
    found = [View(y.tensor, y.index.reshape(1, 1, 1, units)), View(y.tensor, y.index.reshape(h.shape))]
    return found if cell is None else [*found, View(cell.tensor, cell.index.reshape(h.shape))]
