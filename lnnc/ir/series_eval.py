"""Float64 meaning of the ops of `ir/series.py`; batches are rows."""

from __future__ import annotations

import numpy as np

from lnnc.ir.series import (
    EXPERTS,
    PENDING,
    TERMS,
    Array,
    Clamp,
    Collect,
    Count,
    Gated,
    History,
    Polynomial,
    Robust,
    SeriesOp,
    Slide,
    Spread,
    Trust,
)

Memory = dict[str, Array]  # op.out -> what the op remembers, (batch, ...); absent before the first step


def blocks(x: Array, length: int) -> Array:
    """(batch, n) -> (batch, n / length, length)."""
    return x.reshape(len(x), -1, length)


def lower_median(x: Array) -> Array:
    """Element (k - 1) // 2 of the k sorted values of each row: (batch, 1)."""
    return np.sort(x, axis=-1)[:, [(x.shape[-1] - 1) // 2]]


def spread(x: Array, length: int) -> Array:
    """Median absolute deviation of each block: (batch, n / length)."""
    parts = blocks(x, length)
    return np.asarray(np.median(np.abs(parts - np.median(parts, axis=-1, keepdims=True)), axis=-1))


def robust_mean(x: Array, spreads: Array, length: int, factor: float) -> Array:
    """Mean of each block after the clip of `Robust`."""
    parts, reach = blocks(x, length), factor * lower_median(spreads)[:, :, None]
    middle = np.median(parts, axis=-1, keepdims=True)
    return np.asarray(np.clip(parts, middle - reach, middle + reach).mean(axis=-1))


def powers(length: int) -> Array:
    """(length, TERMS): s_t^j of a `Polynomial`."""
    return np.asarray(np.linspace(-0.5, 0.5, length)[:, None] ** np.arange(TERMS))


def slide(op: Slide, x: Array) -> Array:
    """(batch, count * rows)."""
    width = op.weight.shape[1]
    first = x.shape[1] - width - op.hop * np.arange(op.count)[::-1]
    seen = x[:, np.maximum(first[:, None] + np.arange(width), 0)]
    return np.asarray(seen @ op.weight.T + op.bias).reshape(len(x), -1)


def apply(op: SeriesOp, values: dict[str, Array], memory: Memory) -> dict[str, Array]:
    """The tensors that an op defines; what it remembers is replaced in `memory`."""
    match op:
        case Gated():
            return _gated(op, values[op.x], memory)
        case Trust():
            return _trust(op, values, memory)
        case History() | Count():
            return {op.out: _remembered(op, values[op.x], memory)}
    return {op.out: _plain(op, values)}


def _plain(op: SeriesOp, values: dict[str, Array]) -> Array:
    """Ops that remember nothing."""
    match op:
        case Collect():
            return values[op.x].reshape(len(values[op.x]), -1)
        case Spread():
            return spread(values[op.x], op.length)
        case Robust():
            return robust_mean(values[op.x], values[op.spreads], op.length, op.factor)
        case Clamp():
            return np.clip(values[op.x], -op.limit, op.limit)
        case Polynomial():
            return np.asarray(values[op.anchor] + values[op.x] @ powers(op.length).T)
        case Slide():
            return slide(op, values[op.x])
    raise TypeError(type(op))


def _remembered(op: History | Count, x: Array, memory: Memory) -> Array:
    if isinstance(op, History):
        past = memory.get(op.out, np.repeat(x[:, :1], op.length, axis=1))
        memory[op.out] = np.concatenate([past, x], axis=1)[:, -op.length :]
    else:
        memory[op.out] = np.minimum(memory.get(op.out, np.zeros((len(x), 1))) + op.step, op.limit)
    return memory[op.out]


def _gated(op: Gated, x: Array, memory: Memory) -> dict[str, Array]:
    n = len(op.gate_bias)
    h = memory.get(op.out, np.zeros((len(x), n)))
    for x_t in x.reshape(len(x), op.steps, -1).swapaxes(0, 1):
        z = np.concatenate([x_t, h], axis=1)
        gate = 0.5 + 0.5 * np.tanh(0.5 * (z @ op.gate.T + op.gate_bias))
        h = h + gate * (np.tanh(z @ op.candidate.T + op.candidate_bias) - h)
    if op.memory:
        memory[op.out] = h
    return {op.out: h}


def experts(network: Array, rivals: Array) -> Array:
    """The coefficients of all experts: (batch, EXPERTS, TERMS)."""
    found = np.zeros((len(network), EXPERTS, TERMS))
    found[:, 0] = network
    found[:, 2, :2], found[:, 3, :3] = rivals[:, :2], rivals[:, 2:]
    return found


def _trust(op: Trust, values: dict[str, Array], memory: Memory) -> dict[str, Array]:
    """Rows of the memory: anchor, slope and the experts' coefficients of a forecast, newest first; then the scores."""
    anchor, slope = values[op.anchor], values[op.slope]
    now = experts(values[op.network], values[op.rivals])
    batch, width = len(anchor), 2 + EXPERTS * TERMS
    past = memory.get(op.out, np.zeros((batch, 0, width)))
    scores = memory.get(f"{op.out}.scores", np.zeros((batch, EXPERTS)))
    if past.shape[1]:
        scores = op.keep * scores + _ratios(op, values[op.level], past)
    logits = op.prior - op.rate * scores
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    row = np.concatenate([anchor, slope, now.reshape(batch, -1)], axis=1)
    memory[op.out] = np.concatenate([row[:, None], past], axis=1)[:, :PENDING]
    memory[f"{op.out}.scores"] = scores
    return {op.out: np.einsum("be,bek->bk", weights, now), f"{op.out}.weights": weights}


def _ratios(op: Trust, level: Array, past: Array) -> Array:
    """How much worse than the best each expert has been: (batch, EXPERTS)."""
    count = past.shape[1]
    target = (level - past[:, :, 0]) / op.unit - past[:, :, 1] * op.middle[:count]
    said = np.einsum("bjek,jk->bje", past[:, :, 2:].reshape(len(past), count, EXPERTS, TERMS), op.basis[:count])
    errors = np.abs(target[:, :, None] - said).mean(axis=1)
    least = errors.min(axis=1, keepdims=True)
    return np.asarray(np.minimum((errors - least) / (op.floor + least), op.most))
