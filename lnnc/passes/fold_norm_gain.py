"""Moves the gain of a LayerNorm into the Linear layers that follow it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lnnc.ir.graph import Act, Array, Graph, Linear, Norm, Op, rename

# A channel with a tiny gamma has a huge beta / gamma; beyond this its neighbours would lose resolution.
OFFSET_MAX = 8.0


def fold_norm_gain(graph: Graph) -> Graph:
    """W relu(gamma z + beta) = (W diag(gamma)) relu(z + beta / gamma) for gamma > 0; z is the normalised vector.

    Directly before a Linear, without a ReLU between, any gamma and beta fold: W (gamma z + beta).
    A LayerNorm that feeds anything else keeps its gain.
    """
    for norm in [op for op in graph.ops if isinstance(op, Norm)]:
        graph = _fold(graph, norm)
    return graph


def _fold(graph: Graph, norm: Norm) -> Graph:
    users = graph.users(norm.out)
    if graph.result == norm.out or not users:
        return graph
    if all(isinstance(op, Linear) for op in users):
        return _rewrite(graph, norm, None, np.zeros_like(norm.beta), norm.beta)
    relu = users[0]
    if len(users) != 1 or not isinstance(relu, Act) or relu.fn != "relu" or graph.result == relu.out:
        return graph
    if not all(isinstance(op, Linear) for op in graph.users(relu.out)) or norm.gamma.min() <= 0:
        return graph
    offset = norm.beta / norm.gamma
    if np.abs(offset).max() > OFFSET_MAX:
        return graph
    return _rewrite(graph, norm, relu, offset, np.zeros_like(norm.beta))


def _rewrite(graph: Graph, norm: Norm, relu: Act | None, beta: Array, into_bias: Array) -> Graph:
    """Unit gain in the norm; gamma in the columns and `into_bias` in the bias of every Linear that follows.

    Tensors whose values change get new names, so that a range recorded for the old one cannot be taken for it.
    """
    last = relu or norm
    new: dict[str, Op] = {norm.out: replace(norm, out=f"{norm.out}.unit", gamma=np.ones_like(norm.gamma), beta=beta)}
    if relu:
        new[relu.out] = replace(relu, out=f"{relu.out}.unit", x=f"{norm.out}.unit")
    for op in graph.users(last.out):
        assert isinstance(op, Linear)
        bias = op.bias + op.weight @ into_bias
        new[op.out] = rename(replace(op, weight=op.weight * norm.gamma, bias=bias), last.out, f"{last.out}.unit")
    return replace(graph, ops=tuple(new.get(op.out, op) for op in graph.ops))
