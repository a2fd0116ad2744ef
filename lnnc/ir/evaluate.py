"""Float64 meaning of a Graph, for calibration and for `--engine float`."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from lnnc.ir.graph import (
    INPUT,
    Act,
    Add,
    Array,
    Blend,
    Concat,
    Div,
    Euler,
    Gather,
    Graph,
    Leaky,
    Linear,
    Ltc,
    Mean,
    Mul,
    Norm,
    Op,
    Pure,
    Scale,
    State,
    Synapses,
    Timed,
    Window,
)
from lnnc.ir.series import SeriesOp
from lnnc.ir.series_eval import Memory, apply

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0.0),
    "tanh": np.tanh,
    "sigmoid": lambda x: sigmoid(x),
    "phi": lambda x: normal_cdf(x),
    "abs": np.abs,
    "exp": np.exp,
}


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * x))


def normal_cdf(x: Array) -> Array:
    """(1 + erf(x / sqrt 2)) / 2."""
    flat = [0.5 * math.erfc(-value / math.sqrt(2.0)) for value in np.ravel(x)]
    return np.array(flat).reshape(np.shape(x))


def evaluate(graph: Graph, inputs: Array, times: Array | None = None) -> dict[str, Array]:
    """Run a graph on a batch of inputs and return every tensor.

    Args:
        inputs: (batch, inputs) in real units; for a graph with a `Window` or with states
            (streams, samples, features): consecutive samples of each stream, which begins after a reset. So where
            `times` are given; a graph that remembers nothing takes streams as rows one behind the other.
        times: (streams, samples), the time since the last sample; by default `graph.time` everywhere.

    Returns:
        tensor name -> (rows, size). A row of a stream is one full window: (streams * (samples - length + 1), size);
        of a graph with states one sample: (streams * samples, size), stream by stream; of one that collects samples
        one block of them, the samples of an unfinished block left out.
        Cells add what happens inside: `<out>.pre`, arguments of an Euler's tanh, `<out>.path`, the state at every
        Euler step or unfold, and for a low-rank recurrence `<out>.low`, the projected state; these are
        (rows, steps * size), the path with its start in front.
    """
    if graph.remembers or (graph.timed and times is not None):
        return _rollout(graph, inputs, times)
    if graph.window is None:
        inputs = inputs.reshape(-1, inputs.shape[-1])
    return _step(graph, {INPUT: inputs}, np.array(graph.time), {})


def _step(graph: Graph, values: dict[str, Array], time: Array, memory: Memory) -> dict[str, Array]:
    """Every tensor of one step, given the inputs and what the states and other ops remember. time: () or (batch, 1)."""
    for op in graph.ops:
        match op:
            case _ if isinstance(op, SeriesOp):
                values.update(apply(op, values, memory))
            case Euler():
                values.update(_euler(op, values))
            case Leaky():
                values.update(_leaky(op, values, time))
            case Ltc():
                values.update(_ltc(op, values, time))
            case Timed():
                values[op.out] = values[op.a] * time + values[op.b]
            case Pure():
                decay = np.exp(-time * (op.rate + np.abs(values[op.x])))
                values[op.out] = op.amplitude - op.amplitude * decay * values[op.x]
            case State():
                assert op.out in values
            case _:
                values[op.out] = _apply(op, values)
    return values


def _rollout(graph: Graph, inputs: Array, times: Array | None) -> dict[str, Array]:
    steps = _steps(graph, inputs)
    held = {op.out: np.zeros((len(inputs), op.size)) for op in graph.states}
    rows: list[dict[str, Array]] = []
    memory: Memory = {}
    for k, now in enumerate(steps):
        time = np.array(graph.time) if times is None else times[:, k : k + 1]
        rows.append(_step(graph, {INPUT: now, **held}, time, memory))
        held = {op.out: rows[-1][op.next] for op in graph.states}
    names = rows[0] if rows else {}
    return {name: _joined([row[name] for row in rows]) for name in names}


def _steps(graph: Graph, inputs: Array) -> list[Array]:
    """The inputs of each step: (streams, features), or the block (streams, length, features) that it collects."""
    if graph.collect is None:
        return list(inputs.swapaxes(0, 1))
    length = graph.collect.length
    ends = range(length, inputs.shape[1] + 1, length)
    return [inputs[:, end - length : end] for end in ends]


def _joined(rows: list[Array]) -> Array:
    """A tensor of all steps, stream by stream: (streams * steps, size)."""
    return np.stack(rows, axis=1).reshape(-1, rows[0].shape[-1])


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
        case Window():
            return sliding(values[op.x], op.length)
        case _:
            return _combine(op, values)


def _combine(op: Op, values: dict[str, Array]) -> Array:
    """Ops that move elements or work on several tensors, element by element."""
    match op:
        case Concat():
            return np.concatenate([values[part] for part in op.parts], axis=-1)
        case Gather():
            return values[op.x][..., op.index]
        case Add():
            return values[op.a] + op.gain * values[op.b]
        case Mul():
            return values[op.a] * values[op.b]
        case Div():
            return values[op.a] / values[op.b]
        case Blend():
            return np.asarray(values[op.a] + (values[op.b] - values[op.a]) * values[op.t])
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


def _leaky(op: Leaky, values: dict[str, Array], time: Array) -> dict[str, Array]:
    x, drive, dt = values[op.x], values[op.drive], time / op.steps
    path = [x]
    for _ in range(op.steps):
        x = x + dt * (-op.alpha * x + op.beta * np.tanh(x @ op.weight.T + drive))
        path.append(x)
    return {op.out: x, f"{op.out}.path": np.hstack(path)}


def conduct(synapses: Synapses, x: Array, n: int) -> tuple[Array, Array]:
    """Sums of the conductances and currents that arrive at each of n neurons: 2 x (rows, n)."""
    gate = sigmoid(synapses.slope * x[:, synapses.pre] + synapses.offset)
    reached, first = np.unique(synapses.post, return_index=True)  # synapses are sorted by post
    sums = np.zeros((2, len(x), n))
    if len(reached):
        sums[0][:, reached] = np.add.reduceat(gate * synapses.conductance, first, axis=1)
        sums[1][:, reached] = np.add.reduceat(gate * synapses.current, first, axis=1)
    return sums[0], sums[1]


def _ltc(op: Ltc, values: dict[str, Array], time: Array) -> dict[str, Array]:
    v, n = values[op.v], len(op.leak)
    inflow = op.capacitance / (time / op.unfolds)  # capacitance / D: () or (rows, 1) times broadcast to (rows, n)
    held = conduct(op.sensory, values[op.x], n)
    path = [v]
    for _ in range(op.unfolds):
        conductance, current = conduct(op.recurrent, v, n)
        total, driven = op.leak + held[0] + conductance, op.leak_current + held[1] + current
        v = v + (driven - total * v) / inflow if op.explicit else (inflow * v + driven) / (inflow + total)
        path.append(v)
    return {op.out: v, f"{op.out}.path": np.hstack(path)}
