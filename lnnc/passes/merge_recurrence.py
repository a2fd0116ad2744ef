"""Chooses the cheaper form of a low-rank recurrence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lnnc.ir.graph import Euler, Graph, Op


def merge_recurrence(graph: Graph) -> Graph:
    """diag + U V^T becomes one (h, h) matrix where that takes no more products: h <= 2 rank + 1."""
    return replace(graph, ops=tuple(_merge(op) for op in graph.ops))


def _merge(op: Op) -> Op:
    if not isinstance(op, Euler) or op.left is None or op.right is None or op.diag is None:
        return op
    hidden, rank = op.left.shape
    if hidden > 2 * rank + 1:
        return op
    weight = np.diag(op.diag) + op.left @ op.right.T
    return replace(op, weight=weight, diag=None, left=None, right=None)
