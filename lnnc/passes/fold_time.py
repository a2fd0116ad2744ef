"""Folds a constant time between samples into the layers that make the argument of a time gate."""

from __future__ import annotations

from dataclasses import replace

from lnnc.ir.graph import Graph, Linear, Op, Timed


def fold_time(graph: Graph) -> Graph:
    """a T + b with a = A x + c and b = B x + d becomes one Linear: (T A + B) x + (T c + d).

    Only where T is a constant; the two layers go where nothing else reads them (`drop_unused`).
    """
    return replace(graph, ops=tuple(_folded(graph, op) for op in graph.ops))


def _folded(graph: Graph, op: Op) -> Op:
    if not isinstance(op, Timed):
        return op
    a, b = graph.producer(op.a), graph.producer(op.b)
    if not isinstance(a, Linear) or not isinstance(b, Linear) or a.x != b.x:
        return op
    return Linear(op.out, a.x, graph.time * a.weight + b.weight, graph.time * a.bias + b.bias, op.src)
