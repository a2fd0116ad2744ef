"""What a reader of files gives, what it is asked, and the order of cycles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lnnc.data.dataset import Array, Sequence

SHOWN = 12  # cells or cycles named in one line of a report
LATE = 10  # a sequence that begins at a later cycle lacks a part of its life


@dataclass(frozen=True)
class ImportOptions:
    """What the user says about files that are to be imported.

    Args:
        nominal: nominal capacity in Ah, SOH = capacity / nominal; None: known of MATR cells only.
        already_soh: the values are SOH, not Ah.
        licence: of the data; None: known of MATR cells only.
        columns: keep these columns of tables as they are, of whatever they tell; empty: capacities of cells.
        units: of `columns`; empty: as the headers say.
        batches: number of the MATR batch of each .mat file, in their order; empty: as the files say.
        keep_noisy, keep_unfinished: keep MATR cells that the data's authors leave out.
        join: append the five MATR cells that batch 2 continues to their beginning in batch 1.
        repair: mend samples that cannot be measurements.
        skip_bad: leave out what cannot be read, and say so, instead of refusing everything.
        capacity_column, cycle_column, cell_column: names of columns that are not found by themselves.
    """

    nominal: float | None = None
    already_soh: bool = False
    licence: str | None = None
    columns: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    batches: tuple[int, ...] = ()
    keep_noisy: bool = False
    keep_unfinished: bool = False
    join: bool = True
    repair: bool = True
    skip_bad: bool = False
    capacity_column: str | None = None
    cycle_column: str | None = None
    cell_column: str | None = None


@dataclass(frozen=True, eq=False)
class Reading:
    """The content of one file.

    Args:
        origin: "MATR", "synthetic", "table" or "npz".
        sequences: raw values, which may be NaN: capacities (T, 1), or the columns asked for.
        unit: of the capacities, "Ah" or "1"; "" where columns were asked for.
        faults: what could not be read, without the file's name; such cells are not among the sequences.
        notes: what was decided, for the report.
        units: of the columns asked for.
    """

    origin: str
    sequences: tuple[Sequence, ...]
    unit: str
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    units: tuple[str, ...] = ()


def in_order(name: str, cycles: Array, values: Array) -> tuple[Array, list[str]]:
    """One row for each cycle, in the order of cycles, and notes about what was not so.

    Rows of one cycle become one with the largest value of each column: a counter that is reset every cycle, as cyclers
    write it, ends at the capacity.

    Args:
        cycles: (T,), whole numbers.
        values: (T, C).
    """
    notes = []
    if (np.diff(cycles) < 0).any():
        notes.append(f"{name}: the rows were sorted by cycle")
        order = np.argsort(cycles, kind="stable")
        cycles, values = cycles[order], values[order]
    first = np.flatnonzero(np.diff(cycles, prepend=cycles[0] - 1))
    if len(first) < len(cycles):
        notes.append(f"{name}: {len(cycles)} rows of {len(first)} cycles: the largest value of each cycle is taken")
        values = np.fmax.reduceat(values, first, axis=0)
    if cycles[0] > LATE:
        notes.append(f"{name}: begins at cycle {cycles[0]:.0f}: its age is counted from there")
    return values, notes + _gaps(name, cycles[first])


def _gaps(name: str, cycles: Array) -> list[str]:
    """Which cycle numbers are missing; the rows are numbered on without a gap."""
    after = np.flatnonzero(np.diff(cycles) > 1)
    if not len(after):
        return []
    missing = int((np.diff(cycles)[after] - 1).sum())
    places = ", ".join(str(int(cycles[i])) for i in after[:SHOWN]) + (" ..." if len(after) > SHOWN else "")
    return [f"{name}: {missing} cycle numbers are missing (after {places}); its cycles are numbered on without a gap"]
