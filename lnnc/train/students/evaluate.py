"""Scores of students in float64: on the same origins as every baseline, each cell by a student that never saw it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lnnc.data.baselines import BEST_NAIVE
from lnnc.data.baselines import forecasts as baselines
from lnnc.data.linear import LearnedLinear, cross_fit
from lnnc.data.splits import Folds
from lnnc.data.table import Score, scores
from lnnc.data.windows import Batch, Ints, stream_batch, window_batch
from lnnc.errors import LnncError
from lnnc.ir.graph import Array
from lnnc.train.students.gate import block_errors, gated, naive_experts, trust
from lnnc.train.students.run import coefficients
from lnnc.train.students.signal import BLOCK, Signal, forecast, observe
from lnnc.train.students.student import Student

NETWORK, GATED, GATED_NAIVE = "network alone", "network behind the gate", "gate over naive forecasters alone"


def batch_of(series: Mapping[str, Array], mode: str) -> Batch:
    """The rows that students of this mode are scored on."""
    return stream_batch(series) if mode == "stream" else window_batch(series)


def score_folds(series: Mapping[str, Array], split: Folds, students: Sequence[Student]) -> list[Score]:
    """Student i on the cells of fold i, with and without its gate, among all baselines; differences to the best naive.

    Raises:
        LnncError: another number of students than of folds; and as `data.baselines.forecasts`.
    """
    if len(students) != len(split):
        raise LnncError(
            f"{len(students)} students for {len(split)} folds", "scores", "give one for each fold, in order"
        )
    chosen = {name: students[fold] for name, fold in split.fold_of().items()}
    return score(series, chosen, cross_fit(series, split))


def score(
    series: Mapping[str, Array], students: Mapping[str, Student], learned: Mapping[str, LearnedLinear] | None = None
) -> list[Score]:
    """Every cell by its student: cell -> student, all of one mode; `learned` as in `data.baselines.forecasts`."""
    batch = batch_of(series, next(iter(students.values())).mode)
    found = baselines(batch, learned) | student_forecasts(series, batch, students)
    return scores(batch, found, against=BEST_NAIVE)


def student_forecasts(series: Mapping[str, Array], batch: Batch, students: Mapping[str, Student]) -> dict[str, Array]:
    """Name -> (rows, 100): network alone, behind the gate, and the gate without a network.

    Raises:
        LnncError: a cell without a student, students of different modes, or an origin inside a block.
    """
    used = [batch.names[i] for i in np.unique(batch.cell)]
    _check(batch, students, used)
    found = {name: np.empty_like(batch.targets) for name in (NETWORK, GATED, GATED_NAIVE)}
    for student in {id(students[name]): students[name] for name in used}.values():
        rows = np.flatnonzero(batch.rows_of({name for name in used if students[name] is student})).astype(np.int64)
        for name, values in _of_rows(student, series, batch, rows).items():
            found[name][rows] = values
    return found


def _check(batch: Batch, students: Mapping[str, Student], used: Sequence[str]) -> None:
    missing = [name for name in used if name not in students]
    if missing:
        raise LnncError(f"no student for {', '.join(missing)}", "scores", "give one for each cell")
    modes = {students[name].mode for name in used}
    if len(modes) > 1:
        raise LnncError("streaming and windowed students are scored on different origins", "scores", "score them apart")
    if modes == {"stream"} and (batch.origin % BLOCK).any():
        raise LnncError(f"a streaming student forecasts every {BLOCK} cycles", "scores", "score it on `stream_batch`")


def _of_rows(student: Student, series: Mapping[str, Array], batch: Batch, rows: Ints) -> dict[str, Array]:
    """The three forecasts of `student_forecasts` for some rows."""
    signal, life, step = _observed(student, series, batch, rows)
    q, naive = coefficients(student, signal), naive_experts(signal)
    alone = np.einsum("nke,nkec->nkc", trust(block_errors(signal, naive), np.zeros(naive.shape[2])), naive)
    blends = {NETWORK: q, GATED: gated(signal, q)[0], GATED_NAIVE: alone}
    return {name: forecast(signal, blend)[life, step] for name, blend in blends.items()}


def _observed(student: Student, series: Mapping[str, Array], batch: Batch, rows: Ints) -> tuple[Signal, Ints, Ints]:
    """The signal of these rows, and which life and which step of it each is."""
    if student.mode == "window":
        signal = observe(list(batch.inputs[rows]), student.whole)
        return signal, np.arange(len(rows), dtype=np.int64), np.full(len(rows), -1, np.int64)
    cells, life = np.unique(batch.cell[rows], return_inverse=True)
    signal = observe([series[batch.names[cell]] for cell in cells])
    return signal, life.astype(np.int64), batch.origin[rows] // BLOCK - 1
