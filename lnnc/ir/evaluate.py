"""Float64 meaning of a Graph, for calibration and for `--engine float`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lnnc.ir.graph import INPUT, Act, Add, Array, Euler, Graph, Linear, Mean, Norm, Op, Scale, Window

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0.0),
    "tanh": np.tanh,
    "sigmoid": lambda x: 0.5 + 0.5 * np.tanh(0.5 * x),
}


def evaluate(graph: Graph, inputs: Array) -> dict[str, Array]:
    """Run a graph on a batch of inputs and return every tensor.

    Args:
        inputs: (batch, inputs) in real units; for a graph with a `Window` op
            (streams, samples, features): consecutive samples of each stream.

    Returns:
        tensor name -> (rows, size). For streams a row is one full window: (streams * (samples - length + 1), size).
        A liquid neuron adds `<out>.pre`, the arguments of its tanh, `<out>.path`, its state at every step, and
        for a low-rank recurrence `<out>.low`, the projected state; these are (rows, steps * size).
    """
    values: dict[str, Array] = {INPUT: inputs}
    for op in graph.ops:
        if isinstance(op, Euler):
            values.update(_euler(op, values))
        else:
            values[op.out] = _apply(op, values)
    return values


def _apply(op: Op, values: dict[str, Array]) -> Array:
    match op:
        case Scale():
            return values[op.x] * op.scale + op.offset
        case Linear():
            return np.asarray(values[op.x] @ op.weight.T + op.bias)
        case Norm():
            x = values[op.x]
            spread = np.sqrt(x.var(axis=-1, keepdims=True) + op.epsilon)
            return np.asarray(op.gamma * (x - x.mean(axis=-1, keepdims=True)) / spread + op.beta)
        case Act():
            return ACTIVATIONS[op.fn](values[op.x])
        case Mean():
            return np.asarray(op.gain * values[op.x].mean(axis=-1, keepdims=True) + op.offset)
        case Add():
            return values[op.a] + op.gain * values[op.b]
        case Window():
            return sliding(values[op.x], op.length)
        case _:
            raise TypeError(type(op))


def sliding(samples: Array, length: int) -> Array:
    """Every full window of each stream: (streams, samples, features) -> (rows, length * features)."""
    streams, count, features = samples.shape
    if count < length:
        return np.empty((0, length * features))
    windows = np.lib.stride_tricks.sliding_window_view(samples, length, axis=1)  # (streams, rows, features, length)
    return windows.transpose(0, 1, 3, 2).reshape(-1, length * features)


def recurrent_product(op: Euler, x: Array) -> Array:
    """W x of a liquid neuron; x: (rows, h)."""
    if op.weight is not None:
        return x @ op.weight.T
    assert op.diag is not None and op.left is not None and op.right is not None
    return x * op.diag + (x @ op.right) @ op.left.T


def _euler(op: Euler, values: dict[str, Array]) -> dict[str, Array]:
    x = values[op.x]
    drive = values[op.drive] if op.drive else np.zeros((len(x), 1))
    pre, path, low = [], [x], []
    for _ in range(op.steps):
        pre.append(recurrent_product(op, x) + drive)
        if op.right is not None and op.weight is None:
            low.append(x @ op.right)
        x = x + op.dt * (-op.alpha * x + op.beta * np.tanh(pre[-1]))
        path.append(x)
    found = {op.out: x, f"{op.out}.pre": np.hstack(pre), f"{op.out}.path": np.hstack(path)}
    if low:
        found[f"{op.out}.low"] = np.hstack(low)
    return found
