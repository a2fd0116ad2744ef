"""The paper's table beside ours, what has to be known to read it, and the CSV of every network."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np

from lnnc.files import write_atomically
from lnnc.report.render import columns
from lnnc.train.dlnet.plan import Record

HEADER = ("network", "parameters", "tables", "published", "float", "int16", "int8", "before recovery", "from scratch")
# (stage, h, percent) -> the published file's error on the segments, measured from it; the paper's own words in brackets
PUBLISHED = {
    ("teacher", 128, 0): "0.00646 (0.0078)",
    ("distilled", 64, 0): "0.00669",
    ("recovered", 16, 90): "0.02014",
    ("recovered", 4, 10): "0.00629 (0.0066)",
}
At = tuple[int, str, int]  # hidden, loss, percent


def table(records: Sequence[Record]) -> str:
    """One line for each network over all seeds: mean, and half of what lies between the best and the worst seed."""
    lines = [_line("teacher", records, at, "teacher, h 128", None, None) for at in _places(records, "teacher")]
    for at in _places(records, "distilled"):
        name = f"student h {at[0]}, {at[1]}"
        lines.append(_line("distilled", records, at, name, None, _held(records, "scratch", (at[0], "", 0))))
    for at in _places(records, "recovered"):
        name = f"student h {at[0]}, {at[1]}, {at[2]} % pruned"
        before, rival = _held(records, "cut", at), _held(records, "rival", at)
        lines.append(_line("recovered", records, at, name, before, rival))
    lines += [_line("anchored", records, at, "anchored student, by cell", None, None)
              for at in _places(records, "anchored")]  # fmt: skip
    return columns(HEADER, lines)


def _places(records: Sequence[Record], stage: str) -> list[At]:
    return list(dict.fromkeys((r.hidden, r.loss, r.percent) for r in records if r.stage == stage))


def _held(records: Sequence[Record], stage: str, at: At) -> list[Record]:
    return [r for r in records if r.stage == stage and (r.hidden, r.loss, r.percent) == at]


def _line(
    stage: str, records: Sequence[Record], at: At, name: str, before: Sequence[Record] | None,
    rival: Sequence[Record] | None,
) -> tuple[str, ...]:  # fmt: skip
    own = _held(records, stage, at)
    sizes = sorted({r.parameters for r in own})
    parameters = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,}-{sizes[-1]:,}"
    return (
        name, parameters, f"{np.mean([r.tables for r in own]) / 1024:.1f} KB", PUBLISHED.get((stage, at[0], at[2]), ""),
        spread([r.mae for r in own]), spread([r.mae_int16 for r in own]), spread([r.mae_int8 for r in own]),
        spread([r.mae for r in before or ()]), spread([r.mae for r in rival or ()]),
    )  # fmt: skip


def spread(errors: Sequence[float]) -> str:
    """Mean and half of the range; "" of none."""
    if not errors:
        return ""
    half = (max(errors) - min(errors)) / 2
    return f"{np.mean(errors):.5f}" + (f" ± {half:.5f}" if len(errors) > 1 else "")


def csv_text(records: Sequence[Record], naive: Mapping[str, float]) -> str:
    """One line for each network and seed, then the forecasts that need none."""
    out = io.StringIO()
    names = [f.name for f in fields(Record)]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    for record in records:
        writer.writerow([_cell(value) for value in asdict(record).values()])
    for name, error in naive.items():
        held = {"stage": name, "parameters": 0, "mae": f"{error:.3g}"}
        writer.writerow([held.get(column, "") for column in names])
    return out.getvalue()


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.6f}"
    return str(value)


def write_csv(path: Path, records: Sequence[Record], naive: Mapping[str, float]) -> None:
    """Replace the file by what is known so far, whole or not at all."""
    text = csv_text(records, naive)
    write_atomically(path, lambda temporary: _write(temporary, text))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def writer(path: Path, naive: Mapping[str, float]) -> Callable[[Sequence[Record]], None]:
    """What a stage calls at its end."""
    return lambda records: write_csv(path, records, naive)
