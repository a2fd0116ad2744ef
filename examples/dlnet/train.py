"""Trains `student.pt`: the last 100 state-of-health values of a battery cell in, the next 100 out.

Run `python examples/dlnet/train.py --data CAPACITIES.npz`. The file holds one array per cell: discharge
capacity in Ah, one value per cycle (here raw capacities of MATR cells). README.md says what came out.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from torch import Tensor, nn

from lnnc.errors import LnncError
from lnnc.files import write_atomically
from lnnc.frontend.build import build_graph
from lnnc.frontend.parse import parse_checkpoint
from lnnc.frontend.storage import load_checkpoint
from lnnc.quantize.calibrate import ranges_of_checkpoint

Array = npt.NDArray[np.float64]
Cells = npt.NDArray[np.int64]  # the cell of each window, 0 ... cells - 1
Predictor = Callable[[Array], Array]

WINDOW = 100  # cycles in, and cycles out
NOMINAL_AH = 1.1  # SOH = discharge capacity / nominal capacity
HIDDEN = 10  # liquid units
STEPS, DT = 4, 0.25  # Euler steps; dt is a power of two, so dt costs no rounding in fixed point
ALPHA_MIN = 0.05  # the leak stays positive and alpha * dt <= 1: the Euler step cannot overshoot
TRAIN_STRIDE, TEST_STRIDE = 5, 39  # cycles between the starts of two windows of one cell
SPLIT_SEED = 0
TEST_SHARE, VALIDATION_SHARE = 0.20, 0.16  # of the cells: validation chooses the seed, test chooses nothing
LEARNING_RATE = 1e-2

ARCHITECTURE: dict[str, Any] = {
    "family": "dlnet",
    "mode": "window",
    "window": WINDOW,
    "features": 1,
    "encoder": [
        {"op": "linear", "key": "encoder.0"},
        {"op": "norm", "key": "encoder.1", "epsilon": 1e-5},
        {"op": "tanh"},
    ],
    "dynamics": {"key": "dynamics", "recurrence": "full", "steps": STEPS, "dt": DT, "drive": "mean"},
    "residual": "residual_weight",
    "decoder": [{"op": "linear", "key": "decoder.0"}],
}


# ---------------------------------------------------------------- data


@dataclass(frozen=True)
class Windows:
    """Inputs and targets in SOH, each (windows, 100), and the number of the cell of each window."""

    inputs: Array
    targets: Array
    cell: Cells

    @property
    def cells(self) -> int:
        return len(np.unique(self.cell))


@dataclass(frozen=True)
class Split:
    """Windows of disjoint sets of cells."""

    train: Windows
    validation: Windows
    test: Windows


def read_soh(path: Path) -> dict[str, Array]:
    """Read SOH per cycle of every cell; cells too short for one window are left out by `windows_of`."""
    try:
        with np.load(path, allow_pickle=False) as file:
            cells = {name: np.asarray(file[name], np.float64) / NOMINAL_AH for name in sorted(file.files)}
    except (OSError, ValueError) as error:
        hint = "pass --data an .npz with one array of capacities (Ah) per cell"
        raise LnncError(str(error), str(path), hint) from error
    bad = [name for name, soh in cells.items() if soh.ndim != 1 or not np.isfinite(soh).all()]
    if bad:
        raise LnncError(f"cells {bad}: expected finite 1-D arrays", str(path), "repair or remove them")
    return cells


def windows_of(cells: Sequence[Array], stride: int) -> Windows:
    """Cut (100 in, 100 out) windows, `stride` cycles apart, from each cell."""
    long = [soh for soh in cells if soh.size >= 2 * WINDOW]
    rows = [np.lib.stride_tricks.sliding_window_view(soh, 2 * WINDOW)[::stride] for soh in long]
    if not rows:
        raise LnncError(f"no cell has {2 * WINDOW} cycles", hint="use a file with longer cells")
    joined, cell = np.concatenate(rows), np.repeat(np.arange(len(rows)), [len(r) for r in rows])
    return Windows(joined[:, :WINDOW].copy(), joined[:, WINDOW:].copy(), cell)


def shuffled(cells: dict[str, Array]) -> list[str]:
    """Cell names in an order that depends on `SPLIT_SEED` only."""
    names = sorted(cells)
    return [names[i] for i in np.random.default_rng(SPLIT_SEED).permutation(len(names))]


def split_by_cell(cells: dict[str, Array]) -> Split:
    """Deal whole cells to test, validation and training: no cell is in two sets."""
    order = shuffled(cells)
    test, validation = round(TEST_SHARE * len(order)), round(VALIDATION_SHARE * len(order))

    def cut(names: list[str], stride: int) -> Windows:
        return windows_of([cells[name] for name in names], stride)

    return Split(
        train=cut(order[test + validation :], TRAIN_STRIDE),
        validation=cut(order[test : test + validation], TEST_STRIDE),
        test=cut(order[:test], TEST_STRIDE),
    )


# ---------------------------------------------------------------- baselines


def clip_outliers(soh: Array) -> Array:
    """Clip each sample to the median of its 5-cycle block +- 4 MAD; nothing outside the window is used."""
    medians = np.repeat(np.median(soh.reshape(-1, WINDOW // 5, 5), axis=2), 5, axis=1)
    mad = np.median(np.abs(soh - medians), axis=1, keepdims=True)
    return np.clip(soh, medians - 4 * mad, medians + 4 * mad)


def extrapolate(soh: Array, last: int, degree: int) -> Array:
    """Fit a polynomial to the last `last` cycles by least squares and continue it for 100 cycles."""
    past, future = np.arange(-last, 0) / WINDOW, np.arange(WINDOW) / WINDOW
    matrix = np.vander(future, degree + 1) @ np.linalg.pinv(np.vander(past, degree + 1))
    return soh[:, -last:] @ matrix.T


BASELINES: dict[str, Predictor] = {
    "persistence": lambda soh: np.repeat(soh[:, -1:], WINDOW, axis=1),
    "line through the last 20": lambda soh: extrapolate(soh, 20, 1),
    "line through the last 50": lambda soh: extrapolate(soh, 50, 1),
    "quadratic through 100": lambda soh: extrapolate(soh, 100, 2),
    "median-clipped quadratic through 100": lambda soh: extrapolate(clip_outliers(soh), 100, 2),
}


def errors(predict: Predictor, windows: Windows) -> Array:
    """Mean absolute error in SOH of each window."""
    per_window: Array = np.abs(predict(windows.inputs) - windows.targets).mean(axis=1)
    return per_window


def mae(predict: Predictor, windows: Windows) -> float:
    """Mean absolute error in SOH over all windows and all 100 predicted cycles."""
    return float(errors(predict, windows).mean())


def paired_interval(difference: Array, cell: Cells) -> str:
    """Mean difference over windows; 95 % interval from drawing whole cells with replacement 10,000 times."""
    sums, counts = np.bincount(cell, difference), np.bincount(cell)
    drawn = np.random.default_rng(0).integers(len(counts), size=(10_000, len(counts)))
    low, high = np.percentile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), [2.5, 97.5])
    return f"{difference.mean():+.5f}, 95 % interval over cells {low:+.5f} ... {high:+.5f}"


def against_best(baselines: dict[str, Array], student: Array, cell: Cells) -> str:
    """The student against the baseline that is best on the same windows; all are errors per window."""
    best = min(baselines, key=lambda name: float(baselines[name].mean()))
    return f"student - {best}: {paired_interval(student - baselines[best], cell)}"


# ---------------------------------------------------------------- network


class Liquid(nn.Module):
    """`STEPS` times x <- x + dt * (-alpha x + beta tanh(W x + drive)); x is (batch, HIDDEN)."""

    def __init__(self) -> None:
        super().__init__()
        self.W = nn.Linear(HIDDEN, HIDDEN, bias=False)
        nn.init.normal_(self.W.weight, std=HIDDEN**-0.5)
        self.alpha = nn.Parameter(torch.full((HIDDEN,), 0.5))
        self.beta = nn.Parameter(torch.full((HIDDEN,), 0.3))

    def forward(self, x: Tensor, drive: Tensor) -> Tensor:
        for _ in range(STEPS):
            x = x + DT * (-self.alpha * x + self.beta * torch.tanh(self.W(x) + drive))
        return x

    @torch.no_grad()
    def keep_stable(self) -> None:
        """Put alpha back into its legal interval after an optimiser step."""
        self.alpha.clamp_(ALPHA_MIN, 1 / DT)


class Student(nn.Module):
    """A small DLNet: encoder, one liquid neuron driven by the mean of the window, residual, decoder."""

    def __init__(self, offset: float, scale: float) -> None:
        super().__init__()
        self.offset, self.scale = offset, scale
        self.encoder = nn.Sequential(nn.Linear(WINDOW, HIDDEN), nn.LayerNorm(HIDDEN), nn.Tanh())
        self.dynamics = Liquid()
        self.residual_weight = nn.Parameter(torch.tensor(0.5))
        self.decoder = nn.Sequential(nn.Linear(HIDDEN, WINDOW))
        self._let_the_level_through()

    @torch.no_grad()
    def _let_the_level_through(self) -> None:
        """LayerNorm forgets levels; beside a spread bias, though, small inputs pass almost linearly."""
        first, last = self.encoder[0], self.decoder[-1]
        assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
        first.weight.mul_(0.3)
        first.bias.copy_(torch.linspace(-1, 1, HIDDEN)[torch.randperm(HIDDEN)])
        last.weight.mul_(0.3)

    def forward(self, u: Tensor) -> Tensor:
        """Scaled window (batch, 100) to scaled forecast (batch, 100)."""
        encoded = self.encoder(u)
        x = self.dynamics(encoded, u.mean(dim=1, keepdim=True))
        forecast: Tensor = self.decoder(x + self.residual_weight * encoded)
        return forecast

    def to_network(self, soh: Array) -> Tensor:
        """SOH to what the network sees."""
        return torch.tensor((soh - self.offset) / self.scale, dtype=torch.float32)

    @torch.no_grad()
    def predict(self, soh: Array) -> Array:
        """SOH (windows, 100) to SOH (windows, 100)."""
        scaled: Array = self(self.to_network(soh)).numpy().astype(np.float64)
        return scaled * self.scale + self.offset

    def size(self) -> int:
        """Number of trained values."""
        return sum(p.numel() for p in self.parameters())


def fit(windows: Windows, seed: int, steps: int, tick: Callable[[], None]) -> Student:
    """Train one student on the windows (L1, AdamW, OneCycle); the same seed gives the same weights."""
    torch.manual_seed(seed)
    student = Student(float(windows.inputs.mean()), float(windows.inputs.std()))
    inputs, targets = student.to_network(windows.inputs), student.to_network(windows.targets)
    optimizer = torch.optim.AdamW(student.parameters(), lr=LEARNING_RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=LEARNING_RATE, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(inputs), (256,))
        loss = nn.functional.l1_loss(student(inputs[rows]), targets[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        student.dynamics.keep_stable()
        tick()
    return student


# ---------------------------------------------------------------- results


@dataclass(frozen=True)
class Trained:
    """One student and its MAE in SOH."""

    seed: int
    student: Student
    validation: float
    test: float


def progress_bar(console: Console) -> Progress:
    """A bar with the steps done and the time left."""
    bar = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*bar, console=console)


def train_all(split: Split, seeds: Sequence[int], steps: int, console: Console) -> list[Trained]:
    """Train one student per seed, with a progress bar."""
    results = []
    with progress_bar(console) as progress:
        task = progress.add_task("", total=steps * len(seeds))
        for seed in seeds:
            student = fit(split.train, seed, steps, lambda: progress.advance(task))
            validation, test = mae(student.predict, split.validation), mae(student.predict, split.test)
            results.append(Trained(seed, student, validation, test))
    return results


def table_of(split: Split, results: Sequence[Trained], chosen: Trained) -> Table:
    """Every seed, their mean and spread, and the baselines, on the same windows."""
    title = (
        f"MAE in SOH on {len(split.test.inputs)} windows of {split.test.cells} test cells; "
        f"student of {chosen.student.size()} parameters"
    )
    table = Table("predictor", "validation", "test", title=title)
    for name, predict in BASELINES.items():
        table.add_row(name, f"{mae(predict, split.validation):.5f}", f"{mae(predict, split.test):.5f}")
    table.add_section()
    for trained in results:
        mark = ", kept" if trained is chosen else ""
        name = f"student, seed {trained.seed}{mark}"
        table.add_row(name, f"{trained.validation:.5f}", f"{trained.test:.5f}")
    if len(results) > 1:
        columns = np.array([(t.validation, t.test) for t in results]).T
        spread = (f"{column.mean():.5f} +- {column.std(ddof=1):.5f}" for column in columns)
        table.add_row(f"mean of {len(results)} seeds +- standard deviation", *spread)
    return table


def cross_validate(cells: dict[str, Array], folds: int, seed: int, steps: int, console: Console) -> None:
    """Train one student per fold and test it on that fold's cells, so that every cell is tested once."""
    names = shuffled(cells)
    tested, student = [], []
    with progress_bar(console) as progress:
        task = progress.add_task("", total=steps * folds)
        for held_out in (set(names[fold::folds]) for fold in range(folds)):
            training = windows_of([cells[n] for n in names if n not in held_out], TRAIN_STRIDE)
            trained = fit(training, seed, steps, lambda: progress.advance(task))
            tested.append(windows_of([cells[n] for n in sorted(held_out)], TEST_STRIDE))
            student.append(errors(trained.predict, tested[-1]))
    baselines = {name: np.concatenate([errors(f, w) for w in tested]) for name, f in BASELINES.items()}
    starts = np.cumsum([0, *(w.cells for w in tested)])
    cell = np.concatenate([w.cell + start for w, start in zip(tested, starts, strict=False)])
    joined = np.concatenate(student)
    table = Table("predictor", "MAE", title=f"{folds}-fold by cell: {starts[-1]} cells, {len(cell)} windows")
    for name, values in {**baselines, f"student, seed {seed}": joined}.items():
        table.add_row(name, f"{values.mean():.5f}")
    console.print(table)
    console.print(against_best(baselines, joined, cell), soft_wrap=True)


def provenance_of(chosen: Trained, split: Split, steps: int) -> dict[str, str | float]:
    """Where the student comes from, as plain strings and numbers."""
    baselines = {f"test MAE, {name}": mae(predict, split.test) for name, predict in BASELINES.items()}
    return {
        "data": "raw discharge capacities of 100 MATR cells, SOH = capacity / 1.1 Ah",
        "data licence": "CC BY 4.0",
        "attribution": "K. A. Severson et al., Data-driven prediction of battery cycle life before capacity "
        "degradation, Nature Energy 4, 383-391 (2019), doi:10.1038/s41560-019-0356-8",
        "script": "examples/dlnet/train.py",
        "seed": chosen.seed,
        "seed chosen by": "validation MAE (cells that neither train nor test)",
        "split seed": SPLIT_SEED,
        "optimiser steps": steps,
        "training cells": split.train.cells,
        "validation cells": split.validation.cells,
        "test cells": split.test.cells,
        "parameters": chosen.student.size(),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "validation MAE": chosen.validation,
        "test MAE": chosen.test,
        **baselines,
    }


def document_of(chosen: Trained, split: Split, steps: int) -> dict[str, Any]:
    """The checkpoint as plain types and tensors; its calibration is tensor ranges, not rows of the data."""
    student = chosen.student
    port = {
        "name": "soh",
        "size": WINDOW,
        "unit": "1",
        "range": [0.0, 1.5],
        "offset": student.offset,
        "scale": student.scale,
    }
    tensors = {key: value.detach().clone() for key, value in student.state_dict().items()}
    document: dict[str, Any] = {
        "format": "lnnc-checkpoint",
        "version": 1,
        "architecture": ARCHITECTURE,
        "state_dict": tensors,
        "inputs": [port],
        "outputs": [dict(port)],
        "provenance": provenance_of(chosen, split, steps),
    }
    arrays = {key: value.numpy() for key, value in tensors.items()}
    with_inputs = {**document, "state_dict": arrays, "calibration": {"inputs": split.train.inputs}}
    ranges = ranges_of_checkpoint(parse_checkpoint(with_inputs, "student"))
    return {**document, "calibration": {"ranges": ranges}}


def write_student(document: dict[str, Any], path: Path) -> None:
    """Save the document; through an open file, because a path's name would go into the bytes of the file."""

    def write(part: Path) -> None:
        with part.open("wb") as file:
            torch.save(document, file)

    write_atomically(path, write)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help=".npz: per cell, capacities in Ah")
    parser.add_argument("--out", type=Path, default=Path("student.pt"), help="checkpoint to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, nargs="+", help="train several, keep the best by validation")
    parser.add_argument("--steps", type=int, default=3000, help="optimiser steps per seed")
    parser.add_argument("--folds", type=int, help="cross-validate over all cells instead; writes nothing")
    return parser.parse_args(argv)


def publish(options: argparse.Namespace, split: Split, console: Console) -> None:
    """Train the seeds, print the table, write the student that is best on the validation cells."""
    results = train_all(split, options.seeds or [options.seed], options.steps, console)
    chosen = min(results, key=lambda trained: trained.validation)
    console.print(table_of(split, results, chosen))
    baselines = {name: errors(predict, split.test) for name, predict in BASELINES.items()}
    versus = against_best(baselines, errors(chosen.student.predict, split.test), split.test.cell)
    console.print(f"test: {versus}", soft_wrap=True)
    write_student(document_of(chosen, split, options.steps), options.out)
    written = load_checkpoint(options.out)
    build_graph(written)  # raises where the file just written is not a model that compiles
    console.print(f"wrote {options.out}: seed {chosen.seed}, model digest {written.digest()[:16]}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0 when done, 2 on bad input."""
    options = arguments(argv)
    torch.set_num_threads(1)  # the order of the sums, and so the weights, must not depend on the core count
    console = Console()
    try:
        cells = read_soh(options.data)
        if options.folds:
            cross_validate(cells, options.folds, options.seed, options.steps, console)
        else:
            publish(options, split_by_cell(cells), console)
    except (LnncError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
