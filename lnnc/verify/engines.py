"""Batch evaluation in real units on any engine: float graph, integer reference, host C, emulated Cortex-M4."""

from __future__ import annotations

import numpy as np

from lnnc.errors import LnncError
from lnnc.files import work_folder
from lnnc.ir.evaluate import evaluate
from lnnc.ir.graph import Array, Graph
from lnnc.ir.program import Program
from lnnc.kernels.fixed import Ints
from lnnc.reference.interp import Machine as Reference
from lnnc.reference.quantio import to_raw, to_real
from lnnc.verify.check import observe
from lnnc.verify.machine import Machine
from lnnc.verify.model_run import build_model
from lnnc.verify.script import step_records
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


def run_float(graph: Graph, streams: Array, times: Array | None = None) -> Array:
    """The float64 graph on streams: (streams, steps, outputs), NaN where no output is due.

    times: (streams, steps), the time since the last sample; by default the graph's constant.
    """
    count, steps, _ = streams.shape
    if graph.collect is not None:
        every = graph.collect.length
        out = np.full((count, steps, graph.output_size), np.nan)
        if steps >= every:
            out[:, every - 1 :: every] = evaluate(graph, streams)[graph.result].reshape(count, steps // every, -1)
        return out
    if graph.remembers or (graph.timed and times is not None):
        return evaluate(graph, streams, times)[graph.result].reshape(count, steps, -1)
    window = graph.window
    if window is None:
        rows = evaluate(graph, streams.reshape(count * steps, -1))[graph.result]
        return rows.reshape(count, steps, -1)
    out = np.full((count, steps, graph.output_size), np.nan)
    if steps >= window.length:
        rows = evaluate(graph, streams)[graph.result]
        out[:, window.length - 1 :] = rows.reshape(count, steps - window.length + 1, -1)
    return out


def run_reference(program: Program, streams: Array, times: Array | None = None) -> Array:
    """The integer reference in real units; shapes as `run_float`.

    Raises:
        LnncError: no times where the program takes them, times where it takes none, or one that is out of range.
    """
    group = _group(program, streams, times)
    reference, rows = Reference(program, len(streams)), []
    for t in range(streams.shape[1]):
        _, out = reference.step(group.inputs[:, t], None if group.times is None else group.times[:, t : t + 1])
        empty = np.full((len(streams), program.output_size), np.nan)
        rows.append(empty if out is None else to_real(out, program.outputs))
    return np.stack(rows, axis=1)


def run_machine(
    program: Program, files: tuple[str, str], name: str, machine: Machine, streams: Array, times: Array | None = None
) -> Array:
    """Generated C (source, header) on a machine, in real units; shapes and errors as `run_reference`."""
    group = _group(program, streams, times)
    with work_folder() as folder:
        image = build_model(machine, *files, name, folder)
        rows = observe(program, machine, image, [step_records(group, row) for row in range(len(streams))])
    steps = [[event for event in row if event.kind == "S"] for row in rows]
    out = to_real(np.array([[event.out for event in row] for row in steps], np.int64), program.outputs)
    out[np.array([[event.ret for event in row] for row in steps]) != 0] = np.nan
    return out


def _group(program: Program, streams: Array, times: Array | None) -> Group:
    raw = raw_times(program, times, streams.shape[:2])
    return Group(("data",) * len(streams), to_raw(streams, program.inputs), (0,), raw)


def raw_times(program: Program, times: Array | None, shape: tuple[int, ...]) -> Ints | None:
    """Times (streams, steps) as the argument dt, to nearest.

    Raises:
        LnncError: as `run_reference`.
    """
    time = program.time
    if (time is None) != (times is None):
        problem = "the model takes no times" if time is None else "the model takes the time since the last sample"
        hint = "compile it with --runtime-dt MIN:MAX" if time is None else "give one for each sample"
        raise LnncError(problem, "times", hint)
    if time is None or times is None:
        return None
    raw = np.broadcast_to(times, shape) * 2.0**time.frac
    legal = (raw >= time.lo - 1) & (raw <= time.hi + 1)  # NaN is not; an end may have been rounded
    if not legal.all():
        row, step = np.argwhere(~legal)[0]
        low, high = time.lo * 2.0**-time.frac, time.hi * 2.0**-time.frac
        found = np.broadcast_to(times, shape)[row, step]
        raise LnncError(f"stream {row}, step {step}: {found:.6g} is not in {low:.6g} ... {high:.6g}", "times")
    return np.clip(np.floor(raw + 0.5), time.lo, time.hi).astype(np.int64)
