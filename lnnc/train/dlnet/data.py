"""What the paper's figures are measured on: random windows of smoothed cells, 16 segments; what is wrong there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lnnc.data.dataset import load_dataset
from lnnc.errors import Findings, LnncError
from lnnc.files import readable
from lnnc.ir.graph import Array
from lnnc.train.dlnet.networks import Scaler

PAST, WHOLE = 100, 200  # cycles in, cycles in and out
FIRST, EVERY = 1, 10  # windows begin at cycles 1, 11, 21, ... of a cell, as those of the published segments do
SHARE = 0.8  # of the windows that is trained on
_SEGMENTS = 'a list of {"cell": name, "start": first cycle}'


@dataclass(frozen=True, eq=False)
class Material:
    """Cells, windows and segments.

    Attributes:
        cells: name -> state of health for each cycle.
        windows: (N, 200), every tenth of all cells.
        origin: (N, 2), the number of a window's cell and its first cycle.
        picks: cell and first cycle of each test segment.
        segments: (S, 200).
    """

    cells: Mapping[str, Array]
    windows: Array
    origin: NDArray[np.int64]
    picks: tuple[tuple[str, int], ...]
    segments: Array

    def digest(self) -> str:
        """SHA-256 of the cells and the picks."""
        hasher = hashlib.sha256(json.dumps([list(self.cells), self.picks]).encode())
        for values in self.cells.values():
            hasher.update(np.ascontiguousarray(values, "<f8").tobytes())
        return hasher.hexdigest()


def load_cells(path: str | Path) -> dict[str, Array]:
    """State of health for each cycle of each cell: a .npz with one array per cell, or a file of `lnnc data import`.

    Raises:
        LnncError: the file cannot be read, or holds something else.
    """
    file = readable(path, "give the .npz of the smoothed cells, or a dataset made by lnnc data import")
    if file.suffix != ".npz":
        dataset = load_dataset(file)
        column = dataset.columns.index("soh") if "soh" in dataset.columns else 0
        return {sequence.name: sequence.values[:, column] for sequence in dataset.sequences}
    found = Findings(str(path))
    try:
        with np.load(file, allow_pickle=False) as archive:
            held = {name: np.asarray(archive[name]) for name in archive.files}
    except Exception as error:  # numpy raises many kinds, and would advise to load the file unsafely
        raise LnncError("not a readable .npz file", str(path), "save it with numpy.savez") from error
    for name, values in held.items():
        if values.ndim != 1 or values.dtype.kind not in "fiu" or not np.isfinite(values).all():
            found.add(f"'{name}': one finite number for each cycle is expected")
    found.raise_if_any("one array for each cell, its state of health per cycle")
    return {name: values.astype(np.float64) for name, values in held.items()}


def load_segments(path: str | Path) -> tuple[tuple[str, int], ...]:
    """Cell and first cycle of each test segment.

    Raises:
        LnncError: the file cannot be read, or holds something else.
    """
    file = readable(path, f"give a JSON file with {_SEGMENTS}")
    try:
        held: Any = json.loads(file.read_text(encoding="utf-8"))
        picks = tuple((str(entry["cell"]), int(entry["start"])) for entry in held)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise LnncError(f"expected {_SEGMENTS}", str(path), "take dlnet_segments.json as it is") from error
    if not picks:
        raise LnncError("it names no segment", str(path), f"expected {_SEGMENTS}")
    return picks


def gather(cells: Mapping[str, Array], picks: Sequence[tuple[str, int]], every: int = EVERY) -> Material:
    """Windows of all cells, and the test segments.

    Raises:
        LnncError: a segment that is not in the cells; no cell is long enough for a window.
    """
    found = Findings("segments")
    for name, start in picks:
        if name not in cells:
            found.add(f"no cell '{name}' in the data")
        elif not 0 <= start <= len(cells[name]) - WHOLE:
            found.add(f"'{name}' has {len(cells[name])} cycles, not {WHOLE} from cycle {start} on")
    found.raise_if_any("give the segments that belong to this data")
    starts = [(number, i) for number, values in enumerate(cells.values())
              for i in range(FIRST, len(values) - WHOLE + 1, every)]  # fmt: skip
    if not starts:
        raise LnncError(f"no cell has {WHOLE + FIRST} cycles", "data", "give longer cells")
    values = list(cells.values())
    return Material(
        cells, np.array([values[number][i : i + WHOLE] for number, i in starts]), np.array(starts, np.int64),
        tuple(picks), np.array([cells[name][i : i + WHOLE] for name, i in picks]),
    )  # fmt: skip


def random_rows(material: Material, seed: int, share: float = SHARE) -> NDArray[np.int64]:
    """The paper's split: a random share of all windows but the test segments themselves, whatever cell they are of."""
    tested = set(material.picks)
    names = list(material.cells)
    allowed = [row for row, (number, i) in enumerate(material.origin.tolist()) if (names[number], i) not in tested]
    drawn = np.random.default_rng(seed).permutation(allowed)
    return np.sort(drawn[: max(1, round(share * len(allowed)))])


def other_cells(material: Material, every: int = 5) -> Material:
    """The cells that no segment is of: what a fair split may train on. The segments stay."""
    tested = {name for name, _ in material.picks}
    left = {name: values for name, values in material.cells.items() if name not in tested}
    if not any(len(values) >= WHOLE + FIRST for values in left.values()):
        raise LnncError("every cell long enough has a test segment", "data", "give more cells")
    gathered = gather(left, (), every)
    return replace(gathered, picks=material.picks, segments=material.segments)


def scaler_of(windows: Array) -> Scaler:
    """The min/max scaler of the windows that are trained on."""
    return Scaler(float(windows.min()), float(windows.max()))


def leak(material: Material, rows: NDArray[np.int64]) -> float:
    """The share of the segments' target cycles that lie in a training window of the same cell."""
    names = list(material.cells)
    seen = {name: np.zeros(len(values), bool) for name, values in material.cells.items()}
    for number, i in material.origin[rows].tolist():
        seen[names[number]][i : i + WHOLE] = True
    return float(np.mean([seen[name][i + PAST : i + WHOLE].mean() for name, i in material.picks]))


def extrapolate(windows: Array, degree: int, last: int = PAST) -> Array:
    """(N, 100): the polynomial through the newest `last` inputs, continued."""
    t = (np.arange(WHOLE) - PAST / 2) / (PAST / 2)
    basis = np.polynomial.chebyshev.chebvander(t, degree)
    past = basis[PAST - last : PAST]
    coefficients, *_ = np.linalg.lstsq(past, windows[:, PAST - last : PAST].T, rcond=None)
    return np.asarray((basis[PAST:] @ coefficients).T)


def naive_errors(windows: Array) -> dict[str, float]:
    """The mean |error| of forecasts that know nothing but their window."""
    truth = windows[:, PAST:]
    guesses = {
        "persistence": np.broadcast_to(windows[:, PAST - 1 : PAST], truth.shape),
        "line through the last 20": extrapolate(windows, 1, 20),
        "quadratic through 100": extrapolate(windows, 2),
        "cubic through 100": extrapolate(windows, 3),
        "degree 8 through 100": extrapolate(windows, 8),
    }
    return {name: float(np.abs(guess - truth).mean()) for name, guess in guesses.items()}


def polynomial_cells(cells: Mapping[str, Array], degree: int = 8, limit: float = 1e-10) -> tuple[int, int]:
    """How many cells one polynomial of this degree describes over their whole life, and of how many."""
    count = 0
    for values in cells.values():
        t = np.linspace(-1, 1, len(values))
        basis = np.polynomial.chebyshev.chebvander(t, degree)
        fit, *_ = np.linalg.lstsq(basis, values, rcond=None)
        count += bool(np.abs(basis @ fit - values).max() < limit)
    return count, len(cells)
