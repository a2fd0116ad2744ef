"""Students against the naive forecasters, as the generated C computes them: error, flash, RAM, cycles.

    python benchmarks/students.py --data DIR --runs DIR [--seeds 0 1 2] [--only NAME ...] [--format text|markdown|csv]

Raw MATR capacities, 5 folds by cell: every cell is scored by a student that has not seen it. Windowed ones on windows
of stride 39, streaming students fed from the first cycle on and scored every 40 cycles from cycle 100 on; baselines on
the same origins. "Integers" is the reference that the C equals. Then, trained on MATR alone, XJTU and TJU, of
other chemistries. Trained students are kept in --runs and not trained again.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from baselines import RAW, load

from lnnc.data.baselines import BEST_NAIVE
from lnnc.data.baselines import forecasts as baselines
from lnnc.data.intervals import absolute_errors, cell_bootstrap, paired_bootstrap
from lnnc.data.linear import cross_fit
from lnnc.data.splits import Folds, folds
from lnnc.data.table import Table
from lnnc.data.windows import Array, Batch
from lnnc.profiling import profile_model
from lnnc.quantize.context import Options
from lnnc.report.render import columns
from lnnc.train.learn.loop import Schedule
from lnnc.train.students.evaluate import GATED, GATED_NAIVE, NETWORK, batch_of, student_forecasts
from lnnc.train.students.integer import compile_student, integer_forecasts, run_rows
from lnnc.train.students.package import student_checkpoint
from lnnc.train.students.soh import Recipe, cross_train, train_final
from lnnc.train.students.student import Student, load_student, save_student

HEADER = (
    "student", "parameters", "seed", "MAE float", "MAE int8", "MAE integers", "95 %", f"minus {BEST_NAIVE}", "95 %",
    "loss", "flash", "RAM", "stack", "cycles", "block", "forecast",
)  # fmt: skip
LEVEL = "-O2"


@dataclass(frozen=True)
class Entry:
    """A row of the table: what to train, and the options it is compiled with."""

    name: str
    recipe: Recipe
    options: Options = field(default_factory=Options)


def entries() -> list[Entry]:
    """What is compared."""
    long, fast, wide = Schedule(4000, 1e-2), Schedule(2500, 1.5e-2), Schedule(2500, 1e-2)
    window = Recipe(mode="window", gate=False, skip=True, scale=0.0, schedule=long)
    stream = Recipe(inputs="ageless", skip=True, scale=0.2, fade=0.03, schedule=fast)
    return [
        Entry("gated 8, window", window),
        Entry("gated 6, window, 5 steps", replace(window, units=(6,), hop=20)),
        Entry("linear, window", replace(window, kind="linear", units=(), skip=False)),
        Entry("mlp 16-8, window", replace(window, kind="mlp", units=(16, 8), skip=False)),
        Entry("gated 4, stream, trust", replace(stream, units=(4,))),
        Entry("gated 8, stream, trust", stream),
        Entry("gated 8 and age, stream, trust", replace(stream, inputs="features")),
        Entry("gated 8 without fades, stream, trust", replace(stream, fade=0.0)),
        Entry("gated 16, stream, trust", replace(stream, units=(16,), schedule=wide)),
        Entry("gated 16 and age, stream, trust", replace(stream, units=(16,), inputs="features", schedule=wide)),
        Entry("gated 3 x 8, stream, trust", replace(stream, members=3)),
        Entry("cfc 6, stream, trust", replace(stream, kind="cfc", units=(6,))),
        Entry("leaky 8, stream, trust", replace(stream, kind="leaky")),
        Entry("ltc 4, stream, trust", replace(stream, kind="ltc", units=(4,))),
        Entry("linear, stream, trust", Recipe(kind="linear", units=())),
        Entry("mlp 16-8, stream, trust", Recipe(kind="mlp", units=(16, 8))),
        Entry("mlp 32-16, stream, trust", Recipe(kind="mlp", units=(32, 16))),
    ]


def trained(entry: Entry, seed: int, series: Mapping[str, Array], split: Folds, runs: Path) -> tuple[Student, ...]:
    """One student for each fold, from `runs` where they are there."""
    stem = f"{entry.name.replace(', ', '_').replace(' ', '-')}_{seed}"
    files = [runs / f"{stem}_{fold}.npz" for fold in range(len(split))]
    if not all(file.exists() for file in files):
        students = cross_train(series, split, seeded(entry.recipe, seed), checkpoint=runs / f"{stem}.pt", show=True)
        for file, student in zip(files, students, strict=True):
            save_student(file, student)
        (runs / f"{stem}.pt").unlink(missing_ok=True)
    return tuple(load_student(file) for file in files)


def seeded(recipe: Recipe, seed: int) -> Recipe:
    """The recipe with another seed of its schedule."""
    return replace(recipe, schedule=replace(recipe.schedule, seed=seed))


def row(entry: Entry, seed: int, series: Mapping[str, Array], split: Folds, runs: Path) -> tuple[str, ...]:
    """Train or load, run in float and in integers, compile and measure."""
    students = trained(entry, seed, series, split, runs)
    chosen = {name: students[fold] for name, fold in split.fold_of().items()}
    batch = batch_of(series, entry.recipe.mode)
    exact = student_forecasts(series, batch, chosen)[GATED if entry.recipe.gate else NETWORK]
    integers = integer_forecasts(series, batch, chosen, entry.options)
    narrow = integer_forecasts(series, batch, chosen, Options("int8"))
    return tuple(map(str, (
        entry.name, students[0].parameters, seed, f"{mae(batch, exact):.5f}", f"{mae(batch, narrow):.5f}",
        *measured(batch, integers, series), f"{mae(batch, integers) / mae(batch, exact) - 1:+.2%}",
        *cost(students[0], series, split, entry.options),
    )))  # fmt: skip


def mae(batch: Batch, forecast: Array) -> float:
    return float(np.abs(forecast - batch.targets).mean())


def measured(batch: Batch, forecast: Array, series: Mapping[str, Array]) -> tuple[str, ...]:
    """MAE, its interval, the paired difference to the best naive forecaster of MATR, its interval."""
    errors = absolute_errors(batch, forecast)
    naive = absolute_errors(batch, baselines(batch)[BEST_NAIVE])
    own, paired = cell_bootstrap(errors), paired_bootstrap(errors, naive)
    return (
        f"{own.mean:.5f}", f"{own.low:.5f} ... {own.high:.5f}",
        f"{paired.mean:.5f}", f"{paired.low:.5f} ... {paired.high:.5f}",
    )  # fmt: skip


def cost(student: Student, series: Mapping[str, Array], split: Folds, options: Options) -> tuple[object, ...]:
    """Flash of code and tables, RAM without the stack, stack, modelled cycles of a step that gives a forecast.

    Then those of a block of samples without its forecast, and of the forecast alone.
    """
    compiled = compile_student(student, [series[name] for name in split.train(0)], options=options)
    found = profile_model(compiled, LEVEL)
    assert found.step is not None
    ram = found.size.state + found.size.scratch + found.size.ports
    total = found.step.total.cycles
    alone = sum(layer.cost.cycles for layer in found.layers if layer.name == "forecast" and layer.cost)
    block = total - alone + (compiled.program.every - 1) * found.step.between.cycles
    return found.size.text + found.size.rodata, ram, found.step.stack, total, block, alone


def transfer(entry: Entry, seed: int, folder: Path, runs: Path) -> list[tuple[str, ...]]:
    """A student of all MATR cells on the cells of others, behind its gate, beside every naive forecaster."""
    file = runs / f"{entry.name.replace(', ', '_').replace(' ', '-')}_{seed}_all.npz"
    known = load(folder, *RAW["MATR"])
    if not file.exists():
        student, _ = train_final(known, seeded(entry.recipe, seed), sorted(known)[:20], show=True)
        save_student(file, student)
    student = load_student(file)
    rows = []
    for name in ("XJTU", "TJU"):
        series = load(folder, *RAW[name])
        batch = batch_of(series, entry.recipe.mode)
        naive = {what: mae(batch, forecast) for what, forecast in baselines(batch).items()}
        best = min(naive, key=naive.__getitem__)
        exact = student_forecasts(series, batch, dict.fromkeys(series, student))
        own = student_checkpoint(student, list(known.values()), "student")
        integers = run_rows(own, series, batch, np.arange(len(batch.targets)), entry.recipe.mode)
        for what, forecast in ((NETWORK, exact[NETWORK]), (GATED, exact[GATED]), ("integers", integers),
                               (GATED_NAIVE, exact[GATED_NAIVE])):  # fmt: skip
            error = mae(batch, forecast)
            rows.append((name, entry.name, str(seed), what, f"{error:.5f}", best, f"{naive[best]:.5f}",
                         f"{error / naive[best] - 1:+.1%}"))  # fmt: skip
    return rows


def naive_rows(series: Mapping[str, Array], split: Folds) -> list[tuple[str, ...]]:
    """Every baseline on both kinds of origins."""
    learned = cross_fit(series, split)
    rows = []
    for mode in ("window", "stream"):
        batch = batch_of(series, mode)
        for name, forecast in baselines(batch, learned).items():
            rows.append((f"{name}, {mode}", "0", "", f"{mae(batch, forecast):.5f}", "", "",
                         *measured(batch, forecast, series)[1:], *[""] * 7))  # fmt: skip
    return rows


def shown(header: Sequence[str], rows: Sequence[tuple[str, ...]], form: str) -> str:
    table = Table(tuple(header), tuple(rows))
    return columns(header, rows) if form == "text" else table.markdown() if form == "markdown" else table.csv()


def main() -> None:
    """Print the table as it grows, then the transfer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("--format", choices=("text", "markdown", "csv"), default="text")
    given = parser.parse_args()
    given.runs.mkdir(parents=True, exist_ok=True)
    series = load(given.data, *RAW["MATR"])
    split = folds(series)
    chosen = [e for e in entries() if not given.only or e.name in given.only]
    rows = naive_rows(series, split)
    rows += [row(entry, seed, series, split, given.runs) for entry in chosen for seed in given.seeds]
    print(shown(HEADER, rows, given.format))
    gated = [entry for entry in chosen if entry.recipe.gate]
    moved = [line for entry in gated for seed in given.seeds for line in transfer(entry, seed, given.data, given.runs)]
    if moved:
        head = ("cells", "student", "seed", "forecast", "MAE", "best naive there", "its MAE", "against it")
        print(shown(head, moved, given.format))


if __name__ == "__main__":
    main()
