"""The file of candidates: a CSV that people can read, sort and edit, and that `lnnc select` chooses from."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from lnnc.errors import Findings, LnncError
from lnnc.files import readable, write_atomically
from lnnc.train.pareto.front import OBJECTIVES, Candidate, Measured, front

FIXED = ("name", "stage", *OBJECTIVES, "front", "model", "params")
MARK = "*"  # in the column "front"


def candidates_csv(candidates: Sequence[Candidate], objectives: Sequence[str] = OBJECTIVES) -> str:
    """One line for each candidate, `FIXED` columns and then whatever else was measured. Same candidates, same bytes."""
    best = {candidate.name for candidate in front(candidates, objectives)}
    more = list(dict.fromkeys(key for candidate in candidates for key in candidate.measured.more))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*FIXED, *more])
    for candidate in candidates:
        writer.writerow(_row(candidate, candidate.name in best, more))
    return text.getvalue()


def _row(candidate: Candidate, best: bool, more: Sequence[str]) -> list[str]:
    measured = candidate.measured
    return [
        candidate.name, candidate.stage, f"{measured.error:.9g}",
        str(measured.flash), str(measured.ram), str(measured.cycles),
        MARK if best else "", candidate.model, json.dumps(dict(candidate.params), sort_keys=True),
        *(f"{measured.more[key]:.9g}" if key in measured.more else "" for key in more),
    ]  # fmt: skip


def write_candidates(candidates: Sequence[Candidate], path: Path, objectives: Sequence[str] = OBJECTIVES) -> None:
    """Write the file of candidates; it appears whole or not at all."""
    text = candidates_csv(candidates, objectives)
    write_atomically(path, lambda temporary: _write_text(temporary, text))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def read_candidates(path: str | Path) -> tuple[Candidate, ...]:
    """The candidates of a file.

    Raises:
        LnncError: it cannot be read, has no candidate, lacks a column, or holds what is no number; two of one name.
    """
    file = readable(path, "give the candidates.csv that `lnnc pareto` wrote")
    found = Findings(str(path))
    try:
        with file.open(encoding="utf-8", newline="") as text:
            reader = csv.DictReader(text)
            rows, columns = list(reader), reader.fieldnames or ()
    except (UnicodeDecodeError, csv.Error) as error:
        raise LnncError(f"not a readable CSV file ({str(error)[:80]})", str(path)) from error
    for column in ("name", *OBJECTIVES):
        if column not in columns:
            found.add(f"the column '{column}' is missing")
    found.raise_if_any("give the candidates.csv that `lnnc pareto` wrote")
    read = [_candidate(row, f"line {number}", found) for number, row in enumerate(rows, 2)]
    names = [candidate.name for candidate in read]
    for name in sorted({name for name in names if names.count(name) > 1}):
        found.add(f"several candidates are named '{name}'")
    if not read:
        found.add("it holds no candidate")
    found.raise_if_any("correct the file, or write it again with `lnnc pareto`")
    return tuple(read)


def _candidate(row: Mapping[str, str | None], where: str, found: Findings) -> Candidate:
    values = {name: _number(row.get(name), f"{where}, {name}", found) for name in OBJECTIVES}
    more = {key: value for key, value in row.items() if key and key not in FIXED and value}
    measured = Measured(
        values["error"], int(values["flash"]), int(values["ram"]), int(values["cycles"]),
        {key: _number(value, f"{where}, {key}", found) for key, value in more.items()},
    )  # fmt: skip
    params = _params(row.get("params"), where, found)
    return Candidate(row["name"] or "", row.get("stage") or "", measured, params, row.get("model") or "")


def _number(text: str | None, where: str, found: Findings) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if math.isfinite(value) and value >= 0.0:
        return value
    found.add(f"{where}: expected a finite number of at least 0, found {text!r}")
    return 0.0


def _params(text: str | None, where: str, found: Findings) -> dict[str, object]:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        value = None
    if isinstance(value, dict):
        return value
    found.add(f"{where}, params: expected a JSON object, found {text!r}")
    return {}
