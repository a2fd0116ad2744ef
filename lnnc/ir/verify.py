"""Invariants of the two IRs, checked after every pass and after lowering. A failure here is our own bug."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from lnnc.ir.graph import INPUT, Add, Euler, Graph, Linear, Norm, Op, Scale, out_size, reads
from lnnc.ir.program import Program


def verify_graph(graph: Graph) -> Graph:
    """Assert that tensors are defined once and before use, that shapes agree and that numbers are finite."""
    sizes = {INPUT: graph.input_size}
    for op in graph.ops:
        assert all(name in sizes for name in reads(op)), f"{op.src}: reads {reads(op)} before definition"
        assert op.out not in sizes, f"{op.src}: {op.out} is defined twice"
        _verify_op(op, sizes)
        sizes[op.out] = out_size(op, sizes)
    assert sizes.get(graph.result) == graph.output_size, "the result does not fill the output ports"
    return graph


def _verify_op(op: Op, sizes: dict[str, int]) -> None:
    arrays = [getattr(op, f.name) for f in fields(op) if isinstance(getattr(op, f.name), np.ndarray)]
    assert all(np.isfinite(a).all() for a in arrays), f"{op.src}: NaN or Inf"
    match op:
        case Linear():
            assert op.weight.shape == (len(op.bias), sizes[op.x]), op.src
        case Norm():
            assert op.gamma.shape == op.beta.shape == (sizes[op.x],), op.src
        case Scale():
            assert op.scale.shape == op.offset.shape == (sizes[op.x],), op.src
        case Add():
            assert sizes[op.a] == sizes[op.b], op.src
        case Euler():
            assert op.alpha.shape == op.beta.shape == (sizes[op.x],), op.src
            assert op.weight is not None or (op.diag is not None and op.left is not None), op.src
        case _:
            pass


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
