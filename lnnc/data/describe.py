"""A dataset as a table and as a plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lnnc.data.dataset import Dataset, Sequence
from lnnc.data.lives import END_OF_LIFE, end_of_life
from lnnc.errors import LnncError
from lnnc.files import write_atomically

LEGEND_MAX = 12


def is_battery(dataset: Dataset) -> bool:
    """Whether its sequences are lives of cells."""
    return dataset.columns == ("soh",)


def describe(dataset: Dataset) -> str:
    """Table of the sequences, totals, licence, provenance and report."""
    rows = _cells(dataset) if is_battery(dataset) else _runs(dataset)
    return "\n".join([*_aligned(rows), "", *_totals(dataset), "", "report:", *(f"  {line}" for line in dataset.report)])


def summary(dataset: Dataset) -> str:
    """One line: counts, licence, digest."""
    what, rows = ("cells", "cycles") if is_battery(dataset) else ("sequences", "rows")
    count = sum(len(s.values) for s in dataset.sequences)
    return (f"{len(dataset.sequences)} {what}, {count:,} {rows}, licence: {dataset.licence}, "
            f"digest {dataset.digest()[:16]}...")  # fmt: skip


def changed(dataset: Dataset, sequence: Sequence) -> int:
    """How many samples of a sequence were changed when it was imported."""
    return sum(line.startswith(f"{sequence.name}: changed: ") for line in dataset.report)


def _cells(dataset: Dataset) -> list[tuple[str, ...]]:
    head = ("cell", "cycles", "first SOH", "last SOH", "cycles to 80 %", "changed")
    return [head, *(_cell(dataset, sequence) for sequence in dataset.sequences)]


def _cell(dataset: Dataset, cell: Sequence) -> tuple[str, ...]:
    soh, end = cell.values[:, 0], end_of_life(cell)
    return (cell.name, str(len(soh)), f"{soh[0]:.4f}", f"{soh[-1]:.4f}", str(end or "-"), str(changed(dataset, cell)))


def _runs(dataset: Dataset) -> list[tuple[str, ...]]:
    spans = [f"{name} ({unit})" for name, unit in zip(dataset.columns, dataset.units, strict=True)]
    rows = [("sequence", "rows", *spans)]
    for run in dataset.sequences:
        low, high = run.values.min(axis=0), run.values.max(axis=0)
        rows.append((run.name, str(len(run.values)), *(f"{a:.6g} ... {b:.6g}" for a, b in zip(low, high, strict=True))))
    return rows


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """The first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rest = [[text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True)] for row in rows]
    return ["  ".join([row[0].ljust(widths[0]), *texts]) for row, texts in zip(rows, rest, strict=True)]


def _totals(dataset: Dataset) -> list[str]:
    lines = [summary(dataset)]
    if is_battery(dataset):
        ends = [end for s in dataset.sequences if (end := end_of_life(s)) is not None]
        span = f", after {min(ends)} ... {max(ends)} cycles, median {np.median(ends):.0f}" if ends else ""
        mended = sum(changed(dataset, s) for s in dataset.sequences)
        lines.append(f"{len(ends)} of {len(dataset.sequences)} cells fall below 80 %{span}; {mended} samples changed")
    return lines + [f"{what}: {value}" for what, value in dataset.provenance]


def plot(dataset: Dataset, path: str | Path) -> None:
    """Draw every sequence as SVG, one panel for each column; the same dataset gives the same bytes.

    Raises:
        LnncError: matplotlib is missing, another suffix, or a path that cannot be written.
    """
    file = Path(path)
    if file.suffix != ".svg":
        raise LnncError(f"expected a name that ends in .svg, found '{file.name}'", "--output", "-o cells.svg")
    try:
        from matplotlib import rc_context
    except ImportError as error:
        hint = "pip install 'lnnc[train]'"
        raise LnncError("plots need matplotlib, which is not installed", "matplotlib", hint) from error
    with rc_context({"svg.hashsalt": "lnnc", "svg.fonttype": "none", "font.size": 9, "path.simplify_threshold": 0.5}):
        figure = _figure(dataset)
        write_atomically(file, lambda temporary: figure.savefig(temporary, format="svg", metadata={"Date": None}))


def _figure(dataset: Dataset) -> Any:
    from matplotlib.figure import Figure

    rows = len(dataset.columns)
    figure = Figure(figsize=(8, 1.5 + 3 * rows), layout="constrained")
    panels = figure.subplots(rows, 1, squeeze=False, sharex=True)[:, 0]
    for column, panel in enumerate(panels):
        _panel(dataset, column, panel)
    panels[-1].set_xlabel("cycle" if is_battery(dataset) else "row")
    if len(dataset.sequences) <= LEGEND_MAX:
        panels[0].legend(fontsize=7)
    figure.suptitle(_title(dataset), fontsize=9)
    return figure


def _panel(dataset: Dataset, column: int, panel: Any) -> None:
    from matplotlib import colormaps

    lengths = np.array([len(s.values) for s in dataset.sequences])
    shades = colormaps["viridis"](0.9 * lengths.argsort().argsort() / max(1, len(lengths) - 1))  # by length of life
    for sequence, shade in zip(dataset.sequences, shades, strict=True):
        rows = np.arange(1, len(sequence.values) + 1)
        panel.plot(rows, sequence.values[:, column], color=shade, linewidth=0.7, label=sequence.name)
    if is_battery(dataset):
        panel.axhline(END_OF_LIFE, color="0.5", linewidth=0.8, linestyle="--")
    unit = "" if dataset.units[column] == "1" else f" ({dataset.units[column]})"
    panel.set_ylabel("state of health" if is_battery(dataset) else dataset.columns[column] + unit)


def _title(dataset: Dataset) -> str:
    synthetic = "SYNTHETIC, no measurement: " if "synthetic" in dict(dataset.provenance) else ""
    what = "cells" if is_battery(dataset) else "sequences"
    return f"{synthetic}{len(dataset.sequences)} {what}; licence of the data: {dataset.licence[:60]}"
