"""Moves the scalers of the ports into the layers beside them, so that the C takes and returns real units."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lnnc.ir.graph import INPUT, Graph, Linear, Mean, Op, Scale, Window, rename
from lnnc.ir.series import Polynomial, SeriesOp


def fold_input_scale(graph: Graph) -> Graph:
    """u = a x + b disappears into the Linear and Mean ops that read u.

    Only where a and b are the same for all elements of one port: elements of different units keep their scaler, or
    the unit with the largest numbers would take the weight scale for itself.
    """
    scale = next((op for op in graph.ops if isinstance(op, Scale) and op.x == INPUT), None)
    if scale is None or len(graph.inputs) != 1 or np.ptp(scale.scale) or np.ptp(scale.offset):
        return graph
    series = all(isinstance(op, SeriesOp) for op in graph.users(scale.out))
    if _identity(scale) and series and graph.result != scale.out:
        ops = (rename(op, scale.out, INPUT) for op in graph.ops if op is not scale)
        return replace(graph, ops=tuple(ops))
    readers = _readers(graph, scale.out)
    if graph.result == scale.out or not all(isinstance(op, Linear | Mean) for op in readers):
        return graph
    gain, offset = float(scale.scale[0]), float(scale.offset[0])
    folded = {op.out: _absorb(op, gain, offset) for op in readers}
    ops = (folded.get(op.out, op) for op in graph.ops if op is not scale)
    return replace(graph, ops=tuple(rename(op, scale.out, INPUT) for op in ops))


def _identity(scale: Scale) -> bool:
    return bool((scale.scale == 1.0).all() and not scale.offset.any())


def _readers(graph: Graph, tensor: str) -> list[Op]:
    """Ops that read a tensor, looking through the window of a stream."""
    found: list[Op] = []
    for op in graph.users(tensor):
        found.extend(_readers(graph, op.out) if isinstance(op, Window) else [op])
    return found


def _absorb(op: Op, gain: float, offset: float) -> Op:
    if isinstance(op, Linear):
        return replace(op, weight=op.weight * gain, bias=op.bias + op.weight.sum(axis=1) * offset)
    assert isinstance(op, Mean)
    return replace(op, gain=op.gain * gain, offset=op.offset + op.gain * offset)


def fold_output_scale(graph: Graph) -> Graph:
    """y = a v + b with v = W x + c becomes one Linear with weight a W and bias a c + b; so does a plain forecast."""
    scale = graph.producer(graph.result)
    if not isinstance(scale, Scale):
        return graph
    linear = graph.producer(scale.x)
    if isinstance(linear, Polynomial) and _identity(scale) and len(graph.users(linear.out)) == 1:
        forecast = replace(linear, out=scale.out)
        return replace(graph, ops=tuple(forecast if op is linear else op for op in graph.ops if op is not scale))
    if not isinstance(linear, Linear) or len(graph.users(linear.out)) != 1:
        return graph
    weight = linear.weight * scale.scale[:, None]
    merged = replace(linear, out=scale.out, weight=weight, bias=linear.bias * scale.scale + scale.offset)
    ops = tuple(merged if op is linear else op for op in graph.ops if op is not scale)
    return replace(graph, ops=ops)
