"""Removes ops whose result nobody reads."""

from __future__ import annotations

from dataclasses import replace

from lnnc.ir.graph import Graph, Op, reads


def drop_unused(graph: Graph) -> Graph:
    """The graph without dead ops (a mean that no neuron takes as its drive, for example)."""
    needed = {graph.result}
    kept: list[Op] = []
    for op in reversed(graph.ops):
        if op.out in needed:
            kept.append(op)
            needed.update(reads(op))
    return replace(graph, ops=tuple(reversed(kept)))
