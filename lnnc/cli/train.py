"""`lnnc train`: a dataset becomes a student, or one student for each fold and a table of scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lnnc.cli.options import Number, NumberRange
from lnnc.cli.terminal import say

if TYPE_CHECKING:
    from pathlib import Path

    from lnnc.data.splits import Folds
    from lnnc.ir.graph import Array
    from lnnc.train.students.soh import Recipe

KINDS = ("gated", "cfc", "leaky", "ltc", "mlp", "linear")  # train.student.KINDS, without its imports
PARTS = 5  # folds; without --folds a fifth of the cells is held out from the twin


def _units(_: click.Context, __: click.Parameter, value: str) -> tuple[int, ...]:
    """8, or 32-16 for several hidden layers."""
    if value in ("", "0"):
        return ()
    try:
        return tuple(int(part) for part in value.split("-"))
    except ValueError:
        raise click.BadParameter(f"expected a number, or numbers such as 32-16, found {value!r}") from None


@click.command()
@click.argument("dataset", metavar="DATA.h5")
@click.option("-o", "--output", required=True, metavar="STUDENT.npz",
              help="The student; with --folds STUDENT_0.npz ... STUDENT_folds.json, STUDENT_scores.csv.")  # fmt: skip
@click.option(
    "--kind", type=click.Choice(KINDS), default="gated", show_default=True, help="Cell, or rival without one."
)
@click.option("--units", callback=_units, default="8", show_default=True, metavar="N[-N...]",
              help="Units of the cell; of each hidden layer of an mlp.")  # fmt: skip
@click.option("--mode", type=click.Choice(["stream", "window"]), default="stream", show_default=True,
              help="Fed from the first cycle of life, or reset and fed the last 100.")  # fmt: skip
@click.option("--gate/--no-gate", default=True, show_default=True,
              help="Blend with naive forecasts by what each has said of the last 100 cycles.")  # fmt: skip
@click.option("--inputs", type=click.Choice(["features", "ageless", "means", "all"]),
              help="What it sees of a block (default: features for a cell, means without one).")  # fmt: skip
@click.option("--skip/--no-skip", default=False, show_default=True, help="The head reads the inputs too.")
@click.option("--members", type=click.IntRange(1), default=1, show_default=True,
              help="Networks trained apart; the student is their mean.")  # fmt: skip
@click.option("--phases", type=click.IntRange(1, 10), default=10, show_default=True,
              help="Ways of cutting a life into blocks to train on.")  # fmt: skip
@click.option("--scale", type=NumberRange(0.0, 3.0), default=0.3, show_default=True,
              help="Spread of the factors that lives are bent by, 0: none.")  # fmt: skip
@click.option("--fade", type=NumberRange(0.0, 1.0), default=0.0, show_default=True,
              help="Spread of the SOH lost at first to fades that slow down, added to every second phase of a stream: "
                   "for cells unlike those that it learns from.")  # fmt: skip
@click.option("--folds", type=click.IntRange(2), metavar="K",
              help="Train K students, each without the cells that it is scored on.")  # fmt: skip
@click.option("--folds-from", metavar="FOLDS.json", help="Take these folds.")
@click.option("--steps", type=click.IntRange(1), default=3000, show_default=True, help="Updates of the weights.")
@click.option("--peak-lr", type=Number(), help="Highest learning rate (default: 0.006).")
@click.option("--weight-decay", type=Number(), default=1e-4, show_default=True, help="Of AdamW.")
@click.option("--batch", type=click.IntRange(0), default=256, show_default=True,
              help="Samples of a step; whole lives are always taken all.")  # fmt: skip
@click.option("--clip", type=Number(), default=0.0, help="Largest norm of the gradient (default: no limit).")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of weights, draws and folds.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Of torch.")
def train(dataset: str, output: str, folds: int | None, folds_from: str | None, threads: int, **given: Any) -> None:
    """Train a student that forecasts the next 100 cycles of a battery from those before.

    Without --folds it learns from all cells, and a twin without a fifth of them shows what to expect on others. The
    state of the training is kept in STUDENT.training.pt until it is finished: after Ctrl-C or a crash the same command
    goes on where it stopped, to the same weights.

    \b
    lnnc train soh.h5 -o student.npz
    lnnc train soh.h5 -o runs/mlp.npz --kind mlp --units 32-16 --folds 5
    """
    from lnnc.data.dataset import load_dataset
    from lnnc.train.students.soh import soh_series

    target = _checked(output)
    data = load_dataset(dataset)
    checkpoint = target.with_suffix(".training.pt")
    run: dict[str, Any] = {"digest": data.digest(), "checkpoint": checkpoint, "show": True, "threads": threads}
    series, recipe = soh_series(data), _recipe(given)
    if folds is None and folds_from is None:
        _final(series, recipe, target, run, _split(series, PARTS, None, recipe))
    else:
        _folds(series, recipe, target, run, _split(series, folds, folds_from, recipe))
    checkpoint.unlink(missing_ok=True)


def _checked(output: str) -> Path:
    """The path of the student, before any work is done for it."""
    from pathlib import Path

    from lnnc.errors import LnncError
    from lnnc.files import check_target

    if Path(output).suffix != ".npz":
        raise LnncError("expected a path that ends in .npz", output, "-o student.npz")
    return check_target(Path(output))


def _recipe(given: dict[str, Any]) -> Recipe:
    from lnnc.train.learn.loop import Schedule
    from lnnc.train.students.soh import PEAK_LR, Recipe

    schedule = {name: given.pop(name) for name in ("steps", "peak_lr", "weight_decay", "batch", "clip", "seed")}
    if schedule["peak_lr"] is None:
        schedule["peak_lr"] = PEAK_LR
    given["inputs"] = given["inputs"] or ""
    if given["kind"] == "linear":
        given |= {"units": (), "skip": False}
    return Recipe(**given, schedule=Schedule(**schedule))


def _split(series: dict[str, Array], count: int | None, file: str | None, recipe: Recipe) -> Folds:
    from lnnc.data.splits import folds, load_folds
    from lnnc.errors import LnncError

    if count is not None and file is not None:
        raise LnncError("folds are given twice", "--folds, --folds-from", "give one of them")
    if file is not None:
        return load_folds(file, series)
    return folds(series, count or PARTS, recipe.schedule.seed)


def _final(series: dict[str, Array], recipe: Recipe, target: Path, run: dict[str, Any], split: Folds) -> None:
    from lnnc.train.students.evaluate import score
    from lnnc.train.students.soh import train_final
    from lnnc.train.students.student import save_student

    student, twin = train_final(series, recipe, split.test(0), **run)
    save_student(target, student)
    held_out = {name: series[name] for name in split.test(0)}
    say(f"A twin that has not seen {len(held_out)} of the {len(series)} cells, on those cells:")
    _tell(score(held_out, dict.fromkeys(held_out, twin)))
    say(f"{target}: {recipe.kind}, {student.parameters} parameters, trained on all cells")


def _folds(series: dict[str, Array], recipe: Recipe, target: Path, run: dict[str, Any], split: Folds) -> None:
    from lnnc.data.baselines import BEST_NAIVE
    from lnnc.data.splits import save_folds
    from lnnc.data.table import score_table
    from lnnc.files import write_atomically
    from lnnc.train.students.evaluate import score_folds
    from lnnc.train.students.soh import cross_train
    from lnnc.train.students.student import save_student

    students = cross_train(series, split, recipe, **run)
    found = score_folds(series, split, students)
    for fold, student in enumerate(students):
        save_student(target.with_stem(f"{target.stem}_{fold}"), student)
    save_folds(split, target.with_name(f"{target.stem}_folds.json"))
    text = score_table(found, BEST_NAIVE).csv()
    write_atomically(target.with_name(f"{target.stem}_scores.csv"), lambda file: _write(file, text))
    _tell(found)
    say(f"{target.with_stem(target.stem + '_0')} ...: {recipe.kind}, {students[0].parameters} parameters each")


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8", newline="\n")


def _tell(found: list[Any]) -> None:
    from lnnc.data.baselines import BEST_NAIVE
    from lnnc.data.table import score_table
    from lnnc.report.render import columns

    table = score_table(found, BEST_NAIVE)
    say(columns(table.header, list(table.rows)))
