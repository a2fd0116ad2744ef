"""Tables as text: one file for each cell, or one file with a column that names the cell; Battery Data Format.

A table has one row for each cycle; or many, when a counter is logged that is reset every cycle: then the largest value
of each cycle is its capacity. Separated by comma, semicolon or tab; decimal commas only with the latter two.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lnnc.data.columns import Column, Layout, layout
from lnnc.data.dataset import Array, Sequence
from lnnc.data.reading import ImportOptions, Reading, in_order
from lnnc.errors import LnncError

MISSING = {"", "nan", "na", "n/a", "null", "none", "-"}
FAULTS_MAX = 20  # of one file; more tell nothing new


def read_table(file: Path, options: ImportOptions) -> Reading:
    """Capacities, SOH, or the columns asked for, of every cell in a table.

    Raises:
        LnncError: no table, no header, or a column that is missing.
    """
    for encoding in _encodings(file):
        try:
            return _read(file, options, encoding)
        except UnicodeDecodeError:
            continue
        except csv.Error as error:
            raise LnncError(f"not a table of text ({error})", str(file), "save it as CSV again") from error
    raise LnncError("not a table of text: it is neither UTF-8 nor UTF-16", str(file), "save it as CSV in UTF-8")


def _encodings(file: Path) -> tuple[str, ...]:
    with file.open("rb") as stream:
        wide = stream.read(2) in (b"\xff\xfe", b"\xfe\xff")
    return ("utf-16",) if wide else ("utf-8-sig", "cp1252")


@dataclass
class _Rows:
    """The texts of one cell's rows, with the lines that they stand in."""

    lines: list[int] = field(default_factory=list)
    cycles: list[str] = field(default_factory=list)
    values: list[list[str]] = field(default_factory=list)

    def add(self, line: int, row: list[str], plan: Layout) -> None:
        """Take what the plan reads of a row."""
        self.lines.append(line)
        self.cycles.append(row[plan.cycle.place] if plan.cycle else "")
        self.values.append([row[column.place] for column in plan.values])


def _read(file: Path, options: ImportOptions, encoding: str) -> Reading:
    with file.open(encoding=encoding, newline="") as stream:
        delimiter, headers, rows = _open_table(stream, file)
        plan = layout(headers, options, str(file))
        cells, faults = _collect(rows, plan, len(headers), file.stem)
    parser = _Parser(plan, delimiter != ",", bool(options.columns))
    sequences = []
    for name, texts in cells.items():
        values = parser.sequence(name, texts)
        if values is not None:
            sequences.append(Sequence(name, values, file.name))
    if not cells and not faults:
        raise LnncError("it has a header, but no row", str(file), "give a table with data")
    units = options.units or tuple(column.unit or "1" for column in plan.values) if options.columns else ()
    notes = (f"{file.name}: {_said(plan)}", *parser.notes)
    return Reading("table", tuple(sequences), plan.unit, (*faults, *parser.faults), notes, units)


def _said(plan: Layout) -> str:
    """Which columns were read as what."""
    what = {"Ah": "capacity", "1": "SOH", "": "values"}[plan.unit]
    read = f"{what} from {', '.join(repr(column.header) for column in plan.values)}"
    cell = f", cells from '{plan.cell.header}'" if plan.cell else ""
    if plan.cycle:
        return f"{read}, cycles from '{plan.cycle.header}'{cell}"
    return f"{read}, one row a cycle{cell}" if plan.unit else f"{read}{cell}"


def _open_table(stream: Iterator[str], file: Path) -> tuple[str, list[str], Iterator[tuple[int, list[str]]]]:
    """The separator, the headers, and the rows with their line numbers."""
    skipped = 0
    for line in stream:
        skipped += 1
        if line.strip() and not line.lstrip().startswith("#"):
            break
    else:
        raise LnncError("it holds no header", str(file), "give a table whose first line names the columns")
    delimiter = max((";", "\t", ","), key=line.count)
    headers = next(csv.reader([line], delimiter=delimiter))
    if all(_number(text, delimiter != ",") is not None for text in headers):
        hint = "add a line such as cycle,capacity_ah before the first row"
        raise LnncError(f"line {skipped}: expected the names of the columns, found numbers", str(file), hint)
    reader = csv.reader(stream, delimiter=delimiter)
    return delimiter, headers, ((skipped + reader.line_num, row) for row in reader if any(map(str.strip, row)))


def _collect(
    rows: Iterator[tuple[int, list[str]]], plan: Layout, width: int, stem: str
) -> tuple[dict[str, _Rows], list[str]]:
    """The texts that matter, by cell; a cell with a row that is too short or too long is left out."""
    cells: dict[str, _Rows] = {}
    broken: set[str | None] = set()
    faults: list[str] = []
    for line, row in rows:
        name = _name(row, plan, stem)
        if len(row) < width or any(map(str.strip, row[width:])):  # more: perhaps decimal commas
            faults += [f"line {line}: expected {width} values, found {len(row)}"][: FAULTS_MAX - len(faults)]
            broken.add(name)
        elif not name:
            faults += [f"line {line}: expected the name of a cell, found nothing"][: FAULTS_MAX - len(faults)]
            broken.add(None)
        else:
            cells.setdefault(name, _Rows()).add(line, row, plan)
    return {name: texts for name, texts in cells.items() if name not in broken and None not in broken}, faults


def _name(row: list[str], plan: Layout, stem: str) -> str | None:
    """The cell of a row; None where the row is too short to tell."""
    if plan.cell is None:
        return stem
    return row[plan.cell.place].strip() if plan.cell.place < len(row) else None


class _Parser:
    """Turns texts into numbers and notes every fault with its line and column."""

    def __init__(self, plan: Layout, comma: bool, complete: bool) -> None:
        self.plan, self.comma, self.complete = plan, comma, complete
        self.name, self.count = "", 0
        self.faults: list[str] = []
        self.notes: list[str] = []

    def sequence(self, name: str, rows: _Rows) -> Array | None:
        """The values (T, C) of one cell in the order of its cycles; None, and faults, where a number is none."""
        self.name, before = name, self.count
        columns = [
            self._numbers([row[i] for row in rows.values], column, rows.lines, self.complete)
            for i, column in enumerate(self.plan.values)
        ]
        values = np.stack(columns, axis=1) * self.plan.scale
        if self.plan.cycle is None:
            return values if self.count == before else None
        cycles = self._numbers(rows.cycles, self.plan.cycle, rows.lines, True)
        broken = np.isfinite(cycles) & (cycles != np.round(cycles))
        for i in np.flatnonzero(broken)[:1]:
            self._fault(rows.lines[i], self.plan.cycle, "a whole number", rows.cycles[i])
        if self.count > before:
            return None
        values, notes = in_order(name, cycles, values)
        self.notes += notes
        return values

    def _numbers(self, texts: list[str], column: Column, lines: list[int], complete: bool) -> Array:
        """float64 (T,); a missing value is NaN, and a fault where the column must be complete."""
        numbers = np.full(len(texts), np.nan)
        for i, text in enumerate(texts):
            number = math.nan if text.strip().lower() in MISSING else _number(text, self.comma)
            if number is None or math.isinf(number) or (complete and math.isnan(number)):
                self._fault(lines[i], column, "a number", text)
            else:
                numbers[i] = number
        return numbers

    def _fault(self, line: int, column: Column, expected: str, text: str) -> None:
        self.count += 1
        if len(self.faults) < FAULTS_MAX:
            cell = f" of cell '{self.name}'" if self.plan.cell else ""
            self.faults.append(f"line {line}, column '{column.header}'{cell}: expected {expected}, found {text[:40]!r}")


def _number(text: str, comma: bool) -> float | None:
    """A number, or None; `comma`: a decimal comma is taken too."""
    try:
        return float(text.replace(",", ".") if comma else text)
    except ValueError:
        return None
