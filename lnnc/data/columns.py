"""Columns of a table: their names, their units, and which of them is the capacity, the cycle, the cell."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lnnc.data.reading import ImportOptions
from lnnc.errors import LnncError, did_you_mean

# In order of preference. BDF's `discharging_capacity_ah` is not here: it counts over the whole test.
CAPACITY = ("cycle_discharging_capacity", "cycle_discharge_capacity", "discharge_capacity", "qdischarge", "q_discharge",
            "qd", "capacity")  # fmt: skip
SOH = ("soh", "state_of_health")
CYCLE = ("cycle_count", "cycle", "cycle_number", "cycle_index", "cycle_id", "cycles")
CELL = ("cell", "cell_id", "cell_name", "battery", "battery_id", "battery_name", "barcode")
TO_AH = {"": 1.0, "ah": 1.0, "ampere_hour": 1.0, "mah": 1e-3, "milliampere_hour": 1e-3}


@dataclass(frozen=True)
class Column:
    """A column by its place, with the name and unit of its header: "Cycle Count / 1" is cycle_count in 1."""

    place: int
    header: str
    key: str
    unit: str


@dataclass(frozen=True)
class Layout:
    """Which columns of a table are read.

    Args:
        values: the capacity or SOH, or all columns that were asked for.
        scale: factor of the values.
        unit: "Ah" or "1" of a capacity or SOH; "" where columns were asked for.
        cycle, cell: None where the table has none.
    """

    values: tuple[Column, ...]
    scale: float
    unit: str
    cycle: Column | None
    cell: Column | None


def split_header(place: int, header: str) -> Column:
    """Name and unit of "Q discharge/mA.h", "Temperature [degC]", "Time (s)", "capacity_ah"."""
    text = header.strip()
    found = re.fullmatch(r"(.+?)\s*(?:/\s*([^/]+)|\[(.*)\]|\((.*)\))", text)
    name, unit = (found[1], next((g for g in found.groups()[1:] if g), "")) if found else (text, "")
    key = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    ending = re.fullmatch(r"(.+?)_(?:in_)?(ah|mah|ampere_hour|milliampere_hour)", key)
    if ending and not unit:
        key, unit = ending[1], {"ah": "Ah", "mah": "mAh"}.get(ending[2], ending[2])
    return Column(place, text, key, unit.strip())


def layout(headers: list[str], options: ImportOptions, where: str) -> Layout:
    """Find the columns.

    Raises:
        LnncError: a column that is missing, or there twice; a unit that is no capacity.
    """
    columns = [split_header(place, header) for place, header in enumerate(headers)]
    if options.columns:
        cell = _named(columns, options.cell_column, where) if options.cell_column else None
        cycle = _named(columns, options.cycle_column, where) if options.cycle_column else None
        return Layout(tuple(_named(columns, name, where) for name in options.columns), 1.0, "", cycle, cell)
    cell = _named(columns, options.cell_column, where) if options.cell_column else _first(columns, CELL, where)
    cycle = _named(columns, options.cycle_column, where) if options.cycle_column else _first(columns, CYCLE, where)
    value, scale, unit = _capacity(columns, options, where)
    return Layout((value,), scale, unit, cycle, cell)


def _capacity(columns: list[Column], options: ImportOptions, where: str) -> tuple[Column, float, str]:
    """The column of the capacity or the SOH, its factor and its unit."""
    soh = _first(columns, SOH, where)
    if options.capacity_column:
        chosen = _named(columns, options.capacity_column, where)
    else:
        chosen = _known(columns, soh, options.nominal is not None, where)
    if chosen is soh or options.already_soh:
        return chosen, 0.01 if chosen.unit == "%" else 1.0, "1"
    unit = re.sub(r"[^a-z]+", "", chosen.unit.lower().replace("_", ""))
    factors = {key.replace("_", ""): factor for key, factor in TO_AH.items()}
    if unit not in factors:
        hint = "name a column of Ah or mAh: --capacity-column NAME; of SOH: --already-soh"
        raise LnncError(f"column '{chosen.header}': expected a capacity in Ah or mAh, found {chosen.unit}", where, hint)
    return chosen, factors[unit], "Ah"


def _known(columns: list[Column], soh: Column | None, capacity_first: bool, where: str) -> Column:
    """The column whose name says that it is a capacity or an SOH; of both, the one that the options fit."""
    capacity = _first(columns, CAPACITY, where)
    found = (capacity or soh) if capacity_first else (soh or capacity)
    if found is None:
        message = f"no column is known as a capacity ({CAPACITY[0]}_ah, capacity_ah ...) or soh; it has {_all(columns)}"
        raise LnncError(message, where, "--capacity-column NAME; for data of no battery: --columns NAME,NAME")
    return found


def _first(columns: list[Column], keys: tuple[str, ...], where: str) -> Column | None:
    """The column of the most preferred key."""
    for key in keys:
        fitting = [column for column in columns if column.key == key]
        if len(fitting) > 1:
            raise LnncError(f"columns {_all(fitting)} mean the same", where, "rename or remove one of them")
        if fitting:
            return fitting[0]
    return None


def _named(columns: list[Column], name: str, where: str) -> Column:
    """The column of this header, or of this name without its unit; capitals and spaces do not matter."""
    exact = [column for column in columns if column.header == name.strip()]
    key = split_header(0, name).key
    fitting = exact or [c for c in columns if key in (c.key, re.sub(r"[^a-z0-9]+", "_", c.header.lower()).strip("_"))]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise LnncError(f"'{name}' fits columns {_all(fitting)}", where, "write the whole header, or rename one")
    question = f" ({meant})" if (meant := did_you_mean(key, (column.key for column in columns))) else ""
    raise LnncError(f"it has no column '{name}'{question}; it has {_all(columns)}", where, "name one of these columns")


def _all(columns: list[Column]) -> str:
    shown = ", ".join(f"'{column.header}'" for column in columns[:12])
    return shown + (" ..." if len(columns) > 12 else "")
