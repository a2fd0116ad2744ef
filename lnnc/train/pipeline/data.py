"""The first stages: files become a data set, the data set is split, and naive forecasters are scored on the split."""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from lnnc.data.dataset import Dataset, load_dataset, save_dataset
from lnnc.data.importing import import_data
from lnnc.data.intervals import cell_bootstrap
from lnnc.data.reading import ImportOptions
from lnnc.data.splits import folds, load_folds, save_folds
from lnnc.errors import LnncError
from lnnc.files import write_atomically
from lnnc.train.pipeline.battery import BatteryProblem
from lnnc.train.pipeline.config import Config
from lnnc.train.pipeline.config_tables import BatteryData, BatteryTask, SequenceTask
from lnnc.train.pipeline.generic import SequenceProblem
from lnnc.train.pipeline.measure import baseline_errors, mean_of
from lnnc.train.pipeline.problem import Problem
from lnnc.train.pipeline.stages import Stage, Workspace, file_digest
from lnnc.train.sequences.task import Task, columns_of
from lnnc.train.students.soh import soh_series

DATASET, FOLDS, PROBLEM, REPORT, BASELINES = "dataset.h5", "folds.json", "problem.json", "report.txt", "baselines.csv"
KEYS = {"columns": "inputs", "cell-column": "sequence"}  # whose names differ from those of the options
FEW = 5  # files that are named while they are read: large ones, most often


# ---------------------------------------------------------------- data


def data_stage(config: Config) -> Stage:
    """Import the files.

    Raises:
        LnncError: a file that is not there.
    """
    files = data_files(config)
    digests = {path.name: file_digest(path) for path in files}

    def work(workspace: Workspace) -> Sequence[str]:
        dataset = _imported(config, files, workspace)
        save_dataset(dataset, workspace.folder / DATASET)
        _write(workspace.folder / REPORT, "\n".join(dataset.report) + "\n")
        rows = sum(len(sequence.values) for sequence in dataset.sequences)
        said = f"{len(dataset.sequences)} sequences, {rows:,} rows of {', '.join(dataset.columns)}"
        return (said, f"licence: {dataset.licence}; {len(dataset.report)} lines in {REPORT}")

    return Stage("data", (), {"data": config.section("data"), "files": digests}, work)


def data_files(config: Config) -> list[Path]:
    """The files that the patterns of [data] name, relative to the configuration.

    Raises:
        LnncError: a pattern that names none.
    """
    found: list[Path] = []
    for pattern in config.data.files:
        paths = sorted(Path(name) for name in glob.glob(str(config.where / pattern)))
        files = [file for path in paths for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
        if not files:
            hint = f"paths start from {config.where}; `lnnc data where` tells where published data are"
            raise LnncError(f"'{pattern}' names no file", "data.files", hint)
        found += [file for file in files if file.is_file() and not file.name.startswith(".")]
    return list(dict.fromkeys(found))


def _imported(config: Config, files: Sequence[Path], work: Workspace) -> Dataset:
    if [file.suffix for file in files] == [".h5"]:
        return load_dataset(files[0])
    read = (lambda name: work.say(f"  {Path(name).name}")) if len(files) <= FEW else (lambda name: None)
    try:
        return import_data(tuple(files), _options(config), read)
    except LnncError as error:
        known = {field.name for field in fields(config.data)}
        raise LnncError(_as_keys(error.message, known), error.where, _as_keys(error.hint, known)) from error


def _as_keys(text: str, known: Collection[str]) -> str:
    """Options of `lnnc data import` as the keys of [data] that stand for them; those without one name the command."""

    def key(found: re.Match[str]) -> str:
        name = KEYS.get(found[1], found[1].replace("-", "_"))
        return f"data.{name}" if name in known else f"`lnnc data import {found[0]}`"

    return re.sub(r"--([a-z]+(?:-[a-z]+)*)", key, text)


def _options(config: Config) -> ImportOptions:
    data = config.data
    if isinstance(data, BatteryData):
        return ImportOptions(
            nominal=data.nominal, already_soh=data.already_soh, licence=data.licence, keep_noisy=data.keep_noisy,
            keep_unfinished=data.keep_unfinished,
        )  # fmt: skip
    columns = tuple(dict.fromkeys((*data.inputs, *data.targets)))
    return ImportOptions(columns=columns, units=data.units, cell_column=data.sequence, licence=data.licence)


# ---------------------------------------------------------------- split


def split_stage(config: Config) -> Stage:
    """Deal the folds, write down the task, score the naive forecasters."""
    file = None if config.split.file is None else config.where / config.split.file
    if file is not None and not file.is_file():
        raise LnncError("no such file", f"split.file = {config.split.file}", f"paths start from {config.where}")
    settings = {
        "kind": config.kind, "seed": config.seed, "split": config.section("split"), "task": _task(config),
        "file": file_digest(file) if file else None,
    }  # fmt: skip

    def work(workspace: Workspace) -> Sequence[str]:
        dataset = load_dataset(workspace.inputs["data"] / DATASET)
        names = _usable(config, dataset)
        split = load_folds(file, names) if file else folds(names, config.split.folds, config.seed)
        save_folds(split, workspace.folder / FOLDS)
        _write(workspace.folder / PROBLEM, json.dumps({"kind": config.kind, "task": _task(config)}, indent=1) + "\n")
        problem = load_problem({"data": workspace.inputs["data"], "split": workspace.folder})
        return _scored(problem, workspace.folder / BASELINES, len(dataset.sequences))

    return Stage("split", ("data",), settings, work)


def _task(config: Config) -> dict[str, Any]:
    """The task as JSON types; of sequences with the columns."""
    task = config.section("task")
    columns = {} if config.battery else {key: config.section("data")[key] for key in ("inputs", "targets")}
    return {**columns, **task}


def _usable(config: Config, dataset: Dataset) -> list[str]:
    """Names of the sequences that are split; a short life cannot be scored, but trained on."""
    if isinstance(config.task, BatteryTask):
        return list(soh_series(dataset))
    return list(columns_of(dataset, task_of(_task(config))).seen)


def task_of(table: Mapping[str, Any]) -> Task:
    """The task of a table that `split_stage` wrote."""
    said = SequenceTask(**{key: table[key] for key in asdict(SequenceTask())})
    return Task(
        tuple(table["inputs"]), tuple(table["targets"]), said.mode, said.window, said.horizon, said.every,
        said.predict == "change",
    )  # fmt: skip


def _scored(problem: Problem, file: Path, given: int) -> list[str]:
    errors = baseline_errors(problem)
    intervals = {name: cell_bootstrap(each) for name, each in errors.items()}
    lines = [f"{name},{i.mean:.9g},{i.low:.9g},{i.high:.9g}" for name, i in intervals.items()]
    _write(file, "\n".join(["forecaster,error,low,high", *lines]) + "\n")
    best = min(errors, key=lambda name: mean_of(errors[name]))
    scored = next(iter(errors.values()))
    short = given - len(scored)
    left = f"; {short} sequences are too short to be scored" if short else ""
    return [
        f"{len(problem.split)} folds of {len(problem.split.names)} sequences, {sum(map(len, scored.values())):,} "
        f"forecasts{left}",
        f"best naive forecaster: {best}, error {intervals[best]} {problem.unit}",
    ]


def load_problem(inputs: Mapping[str, Path]) -> Problem:
    """The problem that the folders of the stages data and split describe."""
    dataset = load_dataset(inputs["data"] / DATASET)
    table = json.loads((inputs["split"] / PROBLEM).read_text(encoding="utf-8"))
    if table["kind"] == "battery":
        series = soh_series(dataset)
        split = load_folds(inputs["split"] / FOLDS, series)
        about = (("data", dataset.digest()), ("licence of the data", dataset.licence))
        return BatteryProblem(series, split, table["task"]["mode"], table["task"]["gate"], about)
    task = task_of(table["task"])
    return SequenceProblem(dataset, task, load_folds(inputs["split"] / FOLDS, columns_of(dataset, task).seen))


def load_baselines(folder: Path) -> dict[str, float]:
    """Errors of the naive forecasters."""
    rows = [line.split(",") for line in (folder / BASELINES).read_text(encoding="utf-8").splitlines()[1:]]
    return {row[0]: float(row[1]) for row in rows}


def _write(path: Path, text: str) -> None:
    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8", newline="\n")

    write_atomically(path, write)
