"""The naive baselines and the learned linear model on measured cells: MAE in SOH, with 95 % intervals over cells.

    python benchmarks/baselines.py --data DIR [--format text|markdown|csv]

Windows start every 39 cycles; streaming origins lie every 40 cycles from cycle 100 on. The learned linear model is
fitted on other cells (5 folds by cell), and on XJTU and TJU also on MATR alone. Figures on the smoothed curves are
reproductions only: they measure arithmetic, not forecasting.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lnnc.data.baselines import BEST_NAIVE, extrapolation, forecasts, polynomial
from lnnc.data.linear import LearnedLinear, cross_fit, fit_linear, linear_forecast
from lnnc.data.splits import folds
from lnnc.data.table import Table, score_table, scores
from lnnc.data.windows import Array, Batch, gather, stream_batch, window_batch
from lnnc.report.render import columns

RAW = {  # data set -> file, nominal capacity in Ah
    "MATR": ("matr_raw_capacity_ah.npz", 1.1),
    "XJTU": ("xjtu_raw_capacity_ah.npz", 2.0),
    "TJU": ("tju_raw_capacity_ah.npz", 3.5),
}
SMOOTHED, SEGMENTS = "matr_smoothed_soh.npz", "dlnet_segments.json"
DISCLOSURE = (
    "REPRODUCTION ONLY. The smoothed SOH of {exact} of {cells} cells is one degree-8 polynomial over the cell's whole\n"
    "life (residual < 1e-10): continuing it is arithmetic, not forecasting."
)


def load(folder: Path, file: str, nominal: float = 1.0) -> dict[str, Array]:
    """SOH = capacity / nominal of every cell of a file."""
    with np.load(folder / file) as cells:
        return {name: cells[name] / nominal for name in cells.files}


def segments(folder: Path, cells: Mapping[str, Array]) -> Batch:
    """The paper's 16 test segments as a batch."""
    origins: dict[str, list[int]] = {}
    for pick in json.loads((folder / SEGMENTS).read_text(encoding="utf-8")):
        origins.setdefault(pick["cell"], []).append(pick["start"] + 100)
    return gather(cells, {name: np.array(o) for name, o in origins.items()})


def polynomials(inputs: Array) -> dict[str, Array]:
    """The extrapolations that show what a figure on the smoothed data is worth."""
    level = inputs[:, -1:].astype(np.float32)
    matrix = extrapolation(6, 100, 100).T.astype(np.float32)
    return {
        "cubic 100": polynomial(inputs, 100, 3, 100),
        "degree 6, one fixed float32 matrix": level + (inputs.astype(np.float32) - level) @ matrix,
        "degree 8 100": polynomial(inputs, 100, 8, 100),
    }


def exact_cells(cells: Mapping[str, Array], degree: int = 8, bound: float = 1e-10) -> int:
    """How many whole lives are one polynomial of this degree."""
    return sum(_residual(life, degree) < bound for life in cells.values())


def _residual(life: Array, degree: int) -> float:
    basis = np.polynomial.legendre.legvander(np.linspace(-1.0, 1.0, len(life)), degree)
    return float(np.abs(basis @ np.linalg.lstsq(basis, life, rcond=None)[0] - life).max())


def table(batch: Batch, learned: Mapping[str, LearnedLinear], more: Mapping[str, Array], digits: bool = False) -> Table:
    """All baselines of a batch and `more`, each compared with the median-clipped quadratic."""
    found = scores(batch, {**forecasts(batch, learned), **more}, against=BEST_NAIVE)
    made = score_table(found, BEST_NAIVE)
    if not digits:
        return made
    exact = (f"{s.mae.mean:.1e}" for s in found)  # 2e-11 is no 0.00000
    return Table((*made.header, "MAE, exponent"), tuple((*row, e) for row, e in zip(made.rows, exact, strict=True)))


def show(title: str, made: Table, form: str) -> None:
    print(f"\n{title}")
    text = columns(made.header, list(made.rows)) if form == "text" else made.csv() if form == "csv" else made.markdown()
    print(text)


def _size(batch: Batch) -> str:
    return f"{len(batch)} forecasts of {len(batch.names) - len(batch.unscored)} of {len(batch.names)} cells"


def raw_tables(folder: Path, form: str) -> None:
    of_matr = fit_linear(load(folder, *RAW["MATR"]))
    for name, (file, nominal) in RAW.items():
        cells = load(folder, file, nominal)
        learned = cross_fit(cells, folds(cells))
        for kind, batch in (("windows", window_batch(cells)), ("streaming origins", stream_batch(cells))):
            more = {} if name == "MATR" else {"learned linear, of MATR": linear_forecast(of_matr, batch.inputs)}
            show(f"{name}, raw, nominal {nominal} Ah, {kind}: {_size(batch)}", table(batch, learned, more), form)


def smoothed_tables(folder: Path, form: str) -> None:
    cells = load(folder, SMOOTHED)
    learned = cross_fit(cells, folds(cells))
    print("\n" + DISCLOSURE.format(exact=exact_cells(cells), cells=len(cells)))
    for kind, batch in (("windows", window_batch(cells)), ("the paper's 16 segments", segments(folder, cells))):
        made = table(batch, learned, polynomials(batch.inputs), digits=True)
        show(f"MATR, smoothed, {kind} (reproduction only): {_size(batch)}", made, form)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the .npz files")
    parser.add_argument("--format", choices=("text", "markdown", "csv"), default="text")
    arguments = parser.parse_args()
    raw_tables(arguments.data, arguments.format)
    smoothed_tables(arguments.data, arguments.format)


if __name__ == "__main__":
    main()
