"""Scores of several forecasts on the same rows, and tables of them as Markdown and CSV.

Aligned plain text is `lnnc.report.render.columns(table.header, table.rows)`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass

from lnnc.data.intervals import Interval, absolute_errors, cell_bootstrap, paired_bootstrap
from lnnc.data.windows import Array, Batch
from lnnc.errors import LnncError


@dataclass(frozen=True)
class Score:
    """MAE of one forecaster, and its paired difference to the one of comparison (None: it is that one)."""

    name: str
    mae: Interval
    difference: Interval | None = None


@dataclass(frozen=True)
class Table:
    """A header and rows of the same length, all text."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """A table of Markdown; all but the first column to the right."""
        marks = ("---", *["---:"] * (len(self.header) - 1))
        lines = [self.header, marks, *self.rows]
        return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines) + "\n"

    def csv(self) -> str:
        """CSV as RFC 4180, but with plain line feeds."""
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([self.header, *self.rows])
        return out.getvalue()


def scores(batch: Batch, forecasts: Mapping[str, Array], against: str | None = None, seed: int = 0) -> list[Score]:
    """Score every forecast on the rows of a batch, with cell-bootstrap intervals.

    Args:
        forecasts: name -> (N, horizon).
        against: the forecaster that all others are compared with.

    Raises:
        LnncError: `against` is none of them; a forecast of a wrong shape or not finite.
    """
    if against is not None and against not in forecasts:
        raise LnncError(f"'{against}' is not among {', '.join(forecasts)}", "scores", "compare with one of these")
    errors = {name: absolute_errors(batch, forecast) for name, forecast in forecasts.items()}
    return [
        Score(
            name, cell_bootstrap(e, seed),
            None if against is None or name == against else paired_bootstrap(e, errors[against], seed),
        )
        for name, e in errors.items()
    ]  # fmt: skip


def score_table(found: list[Score], against: str | None = None) -> Table:
    """Rows "name, MAE, 95 % interval, minus `against`, its 95 % interval"; the last two only where there is one."""
    header = ("forecast", "MAE", "95 %")
    if against is None:
        return Table(header, tuple((s.name, *_cells(s.mae)) for s in found))
    rows = ((s.name, *_cells(s.mae), *(_cells(s.difference) if s.difference else ("", ""))) for s in found)
    return Table((*header, f"minus {against}", "95 %"), tuple(rows))


def _cells(interval: Interval) -> tuple[str, str]:
    bounds = "one cell" if interval.low != interval.low else f"{interval.low:.5f} ... {interval.high:.5f}"
    return f"{interval.mean:.5f}", bounds
