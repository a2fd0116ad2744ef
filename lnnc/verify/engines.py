"""Batch evaluation in real units on any engine: float graph, integer reference, host C, emulated Cortex-M4."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from lnnc.errors import LnncError
from lnnc.ir.evaluate import evaluate
from lnnc.ir.graph import Array, Graph
from lnnc.ir.program import Program
from lnnc.reference.quantio import to_raw, to_real
from lnnc.verify.check import Trace, expect, observe
from lnnc.verify.machine import Machine
from lnnc.verify.model_run import build_model
from lnnc.verify.vectors import Group


def as_streams(data: Array, inputs: int, grid: tuple[int, int] | None, where: str) -> Array:
    """Data as (streams, steps, inputs).

    A window model (grid = its samples and features) takes independent rows: (N, inputs), (N, T, inputs), (N, samples,
    features), or one row.
    A stream model takes consecutive samples, (T, inputs), or several streams, (N, T, inputs).

    Raises:
        LnncError: another shape.
    """
    shape = data.shape
    if grid is not None:
        if data.ndim == 1 and len(data) == inputs:
            return data.reshape(1, 1, inputs)
        if data.ndim in (2, 3) and data.size and (shape[-1] == inputs or shape[1:] == grid):
            return data.reshape(-1, 1, inputs)
        want = f"(N, {inputs}): one window in each row"
    else:
        if data.ndim == 1 and inputs == 1 and len(data):
            return data.reshape(1, -1, 1)
        if data.ndim == 2 and len(data) and shape[1] == inputs:
            return data[None]
        if data.ndim == 3 and data.size and shape[2] == inputs:
            return data
        want = f"(T, {inputs}): consecutive samples, or (N, T, {inputs}): several streams"
    raise LnncError(f"expected data of shape {want}; found {tuple(shape)}", where)


def run_float(graph: Graph, streams: Array) -> Array:
    """The float64 graph on streams: (streams, steps, outputs), NaN where no output is due."""
    window = graph.window
    if window is None:
        return evaluate(graph, streams[:, 0])[graph.result][:, None]
    count, steps, _ = streams.shape
    out = np.full((count, steps, graph.output_size), np.nan)
    if steps >= window.length:
        rows = evaluate(graph, streams)[graph.result]
        out[:, window.length - 1 :] = rows.reshape(count, steps - window.length + 1, -1)
    return out


def run_reference(program: Program, streams: Array) -> Array:
    """The integer reference in real units; shapes as `run_float`."""
    return _real(program, expect(program, _group(program, streams)))


def run_machine(program: Program, files: tuple[str, str], name: str, machine: Machine, streams: Array) -> Array:
    """Generated C (source, header) on a machine, in real units; shapes as `run_float`."""
    with tempfile.TemporaryDirectory(prefix="lnnc-") as folder:
        image = build_model(machine, *files, name, Path(folder))
        return _real(program, observe(program, machine, image, _group(program, streams)))


def _group(program: Program, streams: Array) -> Group:
    return Group(("data",) * len(streams), to_raw(streams, program.inputs), (0,))


def _real(program: Program, trace: Trace) -> Array:
    out = to_real(trace.out.astype(np.int64), program.outputs)
    out[trace.ret != 0] = np.nan
    return out
