"""Train the demo student: a gated cell of 8 units behind its trust gate, fed from the first cycle of life.

    python examples/soh/train.py --data CAPACITIES.npz --out examples/soh

CAPACITIES.npz holds one array per cell, raw discharge capacity in Ah per cycle. Five students, each on four fifths of
the cells, tell the error (scores.csv: the integers that the C computes, beside every naive forecaster on the same
origins); the student that is shipped learns from all cells (student.pt). It holds weights, the ranges of tensors and
provenance, and no row of the data.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from lnnc.data.baselines import BEST_NAIVE
from lnnc.data.baselines import forecasts as baselines
from lnnc.data.linear import cross_fit
from lnnc.data.splits import folds
from lnnc.data.table import score_table, scores
from lnnc.files import write_atomically
from lnnc.frontend.storage import save_checkpoint
from lnnc.pipeline import with_ranges
from lnnc.train.learn.loop import Schedule
from lnnc.train.students.evaluate import GATED_NAIVE, batch_of, student_forecasts
from lnnc.train.students.integer import integer_forecasts
from lnnc.train.students.package import student_checkpoint
from lnnc.train.students.soh import Recipe, cross_train, train_final

NOMINAL_AH = 1.1
# Without the age: it is worth a twentieth of the error on these cells, and misleads on cells that were used before.
# With fades: they cost nothing here and help on other chemistries (docs/forecast.md).
RECIPE = Recipe(
    inputs="ageless", skip=True, scale=0.2, fade=0.03, schedule=Schedule(steps=2500, peak_lr=1.5e-2, seed=0)
)
ORIGIN = {
    "data": "raw discharge capacities of MATR cells / 1.1 Ah, one value a cycle",
    "source": "Severson et al. 2019, doi:10.1038/s41560-019-0356-8, CC BY 4.0",
    "script": "examples/soh/train.py",
}
STUDENT = "this student: {} parameters, integers of the C"


def main() -> None:
    """Score, train, write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    with np.load(given.data) as cells:
        series = {name: cells[name] / NOMINAL_AH for name in cells.files}
    split, batch = folds(series), batch_of(series, "stream")
    students = cross_train(series, split, RECIPE, show=True)
    chosen = {name: students[fold] for name, fold in split.fold_of().items()}
    found = {
        **baselines(batch, cross_fit(series, split)),
        GATED_NAIVE: student_forecasts(series, batch, chosen)[GATED_NAIVE],
        STUDENT.format(students[0].parameters): integer_forecasts(series, batch, chosen),
    }
    table = score_table(scores(batch, found, against=BEST_NAIVE), BEST_NAIVE)
    print(table.markdown())
    write_atomically(given.out / "scores.csv", lambda file: file.write_text(table.csv(), encoding="utf-8"))
    student, _ = train_final(series, RECIPE, split.test(0), show=True)
    checkpoint = student_checkpoint(student, list(series.values()), "student.pt")
    checkpoint = replace(checkpoint, provenance={**checkpoint.provenance, **ORIGIN})
    save_checkpoint(with_ranges(checkpoint), given.out / "student.pt")


if __name__ == "__main__":
    main()
