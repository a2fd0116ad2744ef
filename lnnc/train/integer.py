"""Forecasts of students as the generated C makes them: compiled, and run in integers on whole lives or windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lnnc.data.windows import Batch, Ints
from lnnc.ir.graph import Array
from lnnc.pipeline import Compiled, plan_model
from lnnc.quantize.context import Options
from lnnc.train.package import student_checkpoint
from lnnc.train.student import Student
from lnnc.verify.engines import run_reference


def compile_student(
    student: Student, lives: Sequence[Array], where: str = "student", options: Options | None = None
) -> Compiled:
    """A student calibrated on lives that it was trained on. Nothing is lowered before it is asked for."""
    return plan_model(student_checkpoint(student, lives, where), "soh", options)


def integer_forecasts(
    series: Mapping[str, Array], batch: Batch, students: Mapping[str, Student], options: Options | None = None
) -> Array:
    """(rows of the batch, HORIZON) of the integer reference, every cell by its student, which calibrates on the others.

    Args:
        students: cell -> student. A student's own cells, those that it is scored on, are not calibrated on.
    """
    found = np.empty_like(batch.targets)
    for student in {id(s): s for s in students.values()}.values():
        own = {name for name, other in students.items() if other is student}
        rows = np.flatnonzero(batch.rows_of({batch.names[i] for i in np.unique(batch.cell)} & own)).astype(np.int64)
        if len(rows):
            others = [life for name, life in series.items() if name not in own] or list(series.values())
            compiled = compile_student(student, others, options=options)
            found[rows] = run_rows(compiled, series, batch, rows, student.mode)
    return found


def run_rows(compiled: Compiled, series: Mapping[str, Array], batch: Batch, rows: Ints, mode: str = "stream") -> Array:
    """(rows, HORIZON) of one compiled student: on whole lives, or (mode "window") on each window after a reset."""
    return (_streams if mode == "stream" else _windows)(compiled, series, batch, rows)


def _streams(compiled: Compiled, series: Mapping[str, Array], batch: Batch, rows: Ints) -> Array:
    """Each life from its first sample on; the forecast at a row's origin."""
    names = [batch.names[i] for i in np.unique(batch.cell[rows])]
    length = max(len(series[name]) for name in names)
    lives = np.stack([np.pad(series[name], (0, length - len(series[name])), mode="edge") for name in names])
    out = run_reference(compiled.program, lives[:, :, None])
    place = {name: i for i, name in enumerate(names)}
    lanes = np.array([place[batch.names[i]] for i in batch.cell[rows]])
    return np.asarray(out[lanes, batch.origin[rows] - 1])


def _windows(compiled: Compiled, series: Mapping[str, Array], batch: Batch, rows: Ints) -> Array:
    """Each window after a reset; the forecast at its end."""
    inputs = batch.inputs[rows]
    steps = inputs[:, :, None] if compiled.program.every > 1 else inputs[:, None, :]
    return np.asarray(run_reference(compiled.program, steps)[:, -1])
