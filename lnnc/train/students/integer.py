"""Forecasts of students as the generated C makes them: compiled, and run on whole lives or windows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from lnnc.data.windows import Batch, Ints
from lnnc.frontend.checkpoint import Checkpoint
from lnnc.ir.graph import Array
from lnnc.pipeline import Compiled, plan_model, run_model
from lnnc.quantize.context import Options
from lnnc.train.students.package import student_checkpoint
from lnnc.train.students.student import Student


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
            checkpoint = student_checkpoint(student, others, "student")
            found[rows] = run_rows(checkpoint, series, batch, rows, student.mode, options)
    return found


def run_rows(
    checkpoint: Checkpoint, series: Mapping[str, Array], batch: Batch, rows: Ints, mode: str,
    options: Options | None = None, engine: str = "reference",
) -> Array:  # fmt: skip
    """(rows, HORIZON) of one packaged student: on whole lives, or (mode "window") on each window after a reset.

    engine: as `pipeline.run_model`.
    """
    run = _on_lives if mode == "stream" else _on_windows
    return run(batch, rows, series, partial(run_model, checkpoint, engine=engine, options=options), checkpoint)


def _on_lives(
    batch: Batch, rows: Ints, series: Mapping[str, Array], run: Callable[[Array], Array], _: Checkpoint
) -> Array:
    """Each life from its first sample to its last origin; what comes after says nothing of the forecast there."""
    cells, lane = np.unique(batch.cell[rows], return_inverse=True)
    ends = [int(batch.origin[rows[lane == i]].max()) for i in range(len(cells))]
    lives = [series[batch.names[cell]][:end] for cell, end in zip(cells, ends, strict=True)]
    padded = np.stack([np.pad(life, (0, max(ends) - len(life)), mode="edge") for life in lives])
    return np.asarray(run(padded[:, :, None])[lane, batch.origin[rows] - 1])


def _on_windows(
    batch: Batch, rows: Ints, _: Mapping[str, Array], run: Callable[[Array], Array], checkpoint: Checkpoint
) -> Array:
    """Each window after a reset, whole or sample by sample; the forecast at its end."""
    inputs = batch.inputs[rows]
    return np.asarray(run(inputs[:, :, None] if checkpoint.inputs[0].size == 1 else inputs[:, None])[:, -1])
