"""Removes ops whose result nobody reads."""

from __future__ import annotations

from dataclasses import replace

from lnnc.ir.graph import Graph, State, reads


def drop_unused(graph: Graph) -> Graph:
    """The graph without dead ops: a mean that no neuron takes as its drive, a state that only its next value reads."""
    makers = {op.out: op for op in graph.ops}
    needed: set[str] = set()
    waiting = [graph.result]
    while waiting:
        name = waiting.pop()
        op = makers.get(name)
        if op is None or name in needed:
            continue
        needed.add(name)
        waiting += [*reads(op), op.next] if isinstance(op, State) else reads(op)
    return replace(graph, ops=tuple(op for op in graph.ops if op.out in needed))
