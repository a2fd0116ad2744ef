"""Invariants of the two IRs, checked after every pass and after lowering. A failure here is our own bug."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

import numpy as np

from lnnc.ir.graph import (
    INPUT,
    Add,
    Blend,
    Div,
    Euler,
    Gather,
    Graph,
    Leaky,
    Linear,
    Ltc,
    Mul,
    Norm,
    Op,
    Pure,
    Scale,
    Synapses,
    Timed,
    out_size,
    reads,
)
from lnnc.ir.program import Program
from lnnc.ir.series import SeriesOp
from lnnc.ir.series_faults import series_faults, series_shapes


def verify_graph(graph: Graph) -> Graph:
    """Assert that tensors are defined once and before use, that shapes agree and that numbers are finite."""
    sizes = {INPUT: graph.input_size}
    for op in graph.ops:
        assert all(name in sizes for name in reads(op)), f"{op.src}: reads {reads(op)} before definition"
        assert op.out not in sizes, f"{op.src}: {op.out} is defined twice"
        assert not (faults := op_faults(op, sizes)), f"{op.src}: {faults}"
        sizes[op.out] = out_size(op, sizes)
    assert all(sizes.get(state.next) == state.size for state in graph.states), "a state and its next value differ"
    assert not graph.remembers or graph.window is None, "a window beside other states"
    assert sizes.get(graph.result) == graph.output_size, "the result does not fill the output ports"
    return graph


def op_faults(op: Op, sizes: Mapping[str, int]) -> list[str]:
    """What is wrong with an op's own numbers and shapes, given the sizes of the tensors that it reads."""
    arrays = {f.name: getattr(op, f.name) for f in fields(op) if isinstance(getattr(op, f.name), np.ndarray)}
    faults = [f"{name} holds NaN or Inf" for name, a in arrays.items() if not np.isfinite(a).all()]
    for name, want in _shapes(op, sizes).items():
        if name in arrays and arrays[name].shape != want:
            faults.append(f"{name}: expected shape {want}, found {arrays[name].shape}")
    return faults or _relation_faults(op, sizes)


def _shapes(op: Op, sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """The shape that each array of an op must have."""
    if isinstance(op, SeriesOp):
        return series_shapes(op, sizes)
    match op:
        case Linear():
            rows = op.weight.shape[0] if op.weight.ndim else 0
            return {"weight": (rows, sizes[op.x]), "bias": (rows,)}
        case Norm():
            return dict.fromkeys(("gamma", "beta"), (sizes[op.x],))
        case Scale():
            return dict.fromkeys(("scale", "offset"), (sizes[op.x],))
        case Pure():
            return dict.fromkeys(("amplitude", "rate"), (sizes[op.x],))
        case Euler() | Leaky():
            n = sizes[op.x]
            return {"alpha": (n,), "beta": (n,), "weight": (n, n)}
        case Ltc():
            return dict.fromkeys(("leak", "leak_current", "capacitance"), (sizes[op.v],))
    return {}


def _relation_faults(op: Op, sizes: Mapping[str, int]) -> list[str]:
    """What is wrong between the tensors that an op reads, or with its indices."""
    if isinstance(op, SeriesOp):
        return series_faults(op, sizes)
    match op:
        case Add() | Mul() | Div() | Timed() if sizes[op.a] != sizes[op.b]:
            return [f"'{op.a}' has {sizes[op.a]} values, '{op.b}' {sizes[op.b]}"]
        case Blend() if not sizes[op.a] == sizes[op.b] == sizes[op.t]:
            return [f"'{op.a}' has {sizes[op.a]} values, '{op.b}' {sizes[op.b]}, '{op.t}' {sizes[op.t]}"]
        case Leaky() if sizes[op.drive] != sizes[op.x]:
            return [f"'{op.x}' has {sizes[op.x]} values, its drive '{op.drive}' {sizes[op.drive]}"]
        case Gather() if op.index.ndim != 1 or not op.index.size or op.index.min() < 0 or op.index.max() >= sizes[op.x]:
            return [f"index: expected places of 0 ... {sizes[op.x] - 1}"]
        case Euler() if op.weight is None and (op.diag is None or op.left is None or op.right is None):
            return ["neither weight nor diag, left and right"]
        case Ltc():
            n = sizes[op.v]
            return [*_synapse_faults(op.sensory, sizes[op.x], n), *_synapse_faults(op.recurrent, n, n)]
    return []


def _synapse_faults(synapses: Synapses, before: int, after: int) -> list[str]:
    arrays = [getattr(synapses, f.name) for f in fields(synapses)]
    if len({a.shape for a in arrays}) != 1 or arrays[0].ndim != 1:
        return ["the arrays of its synapses differ in shape"]
    if not all(np.isfinite(a).all() for a in arrays):
        return ["its synapses hold NaN or Inf"]
    if (np.diff(synapses.post) < 0).any():
        return ["its synapses are not sorted by post"]
    if len(arrays[0]) and (synapses.pre.max() >= before or synapses.post.max() >= after):
        return [f"a synapse from neuron {synapses.pre.max()} of {before} to {synapses.post.max()} of {after}"]
    return []


def verify_program(program: Program) -> Program:
    """Assert unique names, sizes that agree and constants inside their types."""
    names = [b.name for b in program.buffers] + [c.name for c in program.constants]
    assert len(names) == len(set(names)), "a buffer or constant is defined twice"
    for constant in program.constants:
        info = np.iinfo(constant.dtype)
        assert int(np.prod(constant.shape)) == constant.data.size, constant.name
        assert constant.data.min() >= info.min and constant.data.max() <= info.max, constant.name
    for block in program.blocks:
        assert block.repeat >= 1, block.src
        for state, following in block.carry:
            assert program.buffer(state).size == program.buffer(following).size, state
    assert program.of_kind("input")[0].size == program.input_size
    assert program.of_kind("output")[0].size == program.output_size
    return program
