"""The rows of `speed.py` as plain text, as Markdown, and as a chart."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from speed_rows import Row

from lnnc.errors import LnncError

HEAD = ("tool", "arithmetic, code", "compiled", "cycles", "per MAC", "flash B", "RAM B", "stack B", "largest error")
LEFT = 3  # columns of text
NOTE = "Cycles are estimates of a model, +-5 %, memory without wait states"
RECORDED = "recorded in 2026-11, not run here"
BEGIN, END = "<!-- printed by benchmarks/speed.py: begin -->", "<!-- printed by benchmarks/speed.py: end -->"
OWN_COLOUR, PEER_COLOUR = "#1b6ca8", "#c0792a"
SALT = "lnnc"
ROW_INCHES, GAP_INCHES, TOP_INCHES, BOTTOM_INCHES = 0.165, 0.42, 0.25, 0.6  # of the chart


def number(value: int | None) -> str:
    """With commas, or nothing."""
    return "" if value is None else f"{value:,}"


def cells(row: Row, macs: int) -> tuple[str, ...]:
    """A row as text, HEAD's columns."""
    if row.cycles is None:
        return row.tool, row.variant, row.flags, row.why, "", "", "", "", ""
    error = "" if row.error is None else _percent(row.error)
    return (
        row.tool + (" *" if row.recorded else ""), row.variant, row.flags, number(row.cycles),
        f"{row.cycles / macs:.2f}", number(row.flash), number(row.ram), number(row.stack), error,
    )  # fmt: skip


def _percent(part: float) -> str:
    return f"{part:.2%}" if part >= 5e-5 else f"{part:.0e}"


def ordered(rows: Iterable[Row]) -> list[Row]:
    """lnnc's and the peers' in the order of their jobs, then what was recorded."""
    return sorted(rows, key=lambda row: row.recorded)


def text_table(label: str, macs: int, rows: Sequence[Row]) -> str:
    """A network's table for a terminal."""
    lines = [HEAD, *(cells(row, macs) for row in ordered(rows))]
    full = [line for line, row in zip(lines[1:], ordered(rows), strict=True) if row.cycles is not None]
    counted = [[HEAD, *(lines[1:] if column < LEFT else full)] for column in range(len(HEAD))]
    widths = [max(len(line[column]) for line in column_lines) for column, column_lines in enumerate(counted)]
    return "\n".join([f"{label}: {macs:,} MAC", *(_aligned(line, widths) for line in lines)])


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    texts = [cell.ljust(width) for cell, width in zip(line[:LEFT], widths, strict=False)]
    if not any(line[LEFT + 1 :]):  # a reason, as long as it is
        return "  ".join(["", *texts, line[LEFT]])
    numbers = [cell.rjust(width) for cell, width in zip(line[LEFT:], widths[LEFT:], strict=True)]
    return "  ".join(["", *texts, *numbers]).rstrip()


def markdown_table(label: str, macs: int, rows: Sequence[Row]) -> str:
    """A network's table for a document."""
    marks = ["---"] * LEFT + ["---:"] * (len(HEAD) - LEFT)
    lines = [HEAD, marks, *(cells(row, macs) for row in ordered(rows))]
    return "\n".join([f"### {label}: {macs:,} MAC", "", *(f"| {' | '.join(line)} |" for line in lines)])


def write_markdown(path: Path, body: str) -> None:
    """Write the tables, between two marks where a file holds these; otherwise the file is the tables.

    Raises:
        LnncError: the file is there, and the marks are not.
    """
    old = path.read_text(encoding="utf-8") if path.exists() else f"{BEGIN}\n{END}\n"
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise LnncError("is there, and has no place for the tables", str(path), f"put {BEGIN} and {END} into it")
    path.write_text(f"{before}{BEGIN}\n\n{body}\n\n{END}{after}", encoding="utf-8", newline="\n")


def shown(rows: Sequence[Row]) -> list[Row]:
    """What a chart has room for: lnnc's code paths at -O2 and its int8, every peer's fastest, what was recorded."""
    own = [row for row in rows if row.own and row.flags == "-O2" and _charted(row.variant)]
    fastest: dict[tuple[str, str], Row] = {}
    for row in rows:
        if row.own or row.cycles is None or row.recorded:
            continue
        key = (row.tool, row.variant)
        fastest[key] = min(fastest.get(key, row), row, key=lambda each: each.cycles or 0)
    return [*own, *fastest.values(), *(row for row in rows if row.recorded and row.tool != "bakeNN")]


def _charted(variant: str) -> bool:
    return variant.startswith("int16") or variant == "int8, assembly"


def pyplot() -> Any:
    """matplotlib, without a display.

    Raises:
        LnncError: it is not installed.
    """
    try:
        matplotlib: Any = importlib.import_module("matplotlib")
    except ImportError as missing:
        raise LnncError("matplotlib is not installed", "-o", "pip install matplotlib, or leave out -o") from missing
    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": SALT, "svg.fonttype": "none", "font.size": 8, "hatch.linewidth": 0.5}
    return importlib.import_module("matplotlib.pyplot")


def write_chart(path: Path, tables: Sequence[tuple[str, int, Sequence[Row]]]) -> None:
    """Bars of cycles, a panel for each network: lnnc in one colour, peers in another, recorded figures hatched."""
    plt = pyplot()
    panels = [(label, macs, shown(rows)) for label, macs, rows in tables]
    heights = [ROW_INCHES * (len(rows) + 0.4) for _, _, rows in panels]
    gaps = GAP_INCHES * (len(panels) - 1)
    total = TOP_INCHES + sum(heights) + gaps + BOTTOM_INCHES
    figure, axes = plt.subplots(len(panels), 1, figsize=(8.2, total), height_ratios=heights, squeeze=False)
    # fixed places: a layout that measures text is not the same on every machine
    figure.subplots_adjust(
        left=0.32, right=0.97, bottom=BOTTOM_INCHES / total, top=1 - TOP_INCHES / total,
        hspace=GAP_INCHES * len(panels) / sum(heights),
    )  # fmt: skip
    for axis, (label, macs, rows) in zip(axes[:, 0], panels, strict=True):
        draw_panel(axis, f"{label} ({macs:,} MAC)", rows)
    words = f"thousands of cycles of one step on a Cortex-M4; blue: lnnc, orange: others, hatched: {RECORDED}\n{NOTE}"
    figure.text(0.5, 0.08 / total, words, fontsize=7, ha="center", va="bottom")
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)


def draw_panel(axis: Any, title: str, rows: Sequence[Row]) -> None:
    """One network's bars, from 0, each with its number."""
    thousands = [(row.cycles or 0) / 1000 for row in rows]
    labels = [" ".join((f"{row.tool}: {row.variant}", row.flags)).strip() for row in rows]
    bars = axis.barh(range(len(rows)), thousands, color=[OWN_COLOUR if row.own else PEER_COLOUR for row in rows])
    for bar, row in zip(bars, rows, strict=True):
        if row.recorded:
            bar.set(hatch="////", facecolor="white", edgecolor=PEER_COLOUR)
    axis.bar_label(bars, [f"{value:,.1f}" if value < 100 else f"{value:,.0f}" for value in thousands], padding=2)
    axis.set_yticks(range(len(rows)), labels)
    axis.invert_yaxis()
    axis.margins(x=0.1)
    axis.set_title(title, loc="left", fontsize=8, fontweight="bold")
    axis.spines[["top", "right"]].set_visible(False)
