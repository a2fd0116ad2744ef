"""Whole pipelines on small sequences: what they leave, what is done again, interruption, refusals."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from problems import machine
from small import lnnc

from lnnc.errors import LnncError
from lnnc.train.pareto.candidates import read_candidates
from lnnc.train.pareto.front import Measured
from lnnc.train.pipeline import end as pipeline_end
from lnnc.train.pipeline import families, search_measure
from lnnc.train.pipeline import report as pipeline_report
from lnnc.train.pipeline.config import Config, read_config
from lnnc.train.pipeline.generic import SequenceProblem
from lnnc.train.pipeline.measure import Errors, Making, cross_errors, mean_of, parameters
from lnnc.train.pipeline.problem import Problem, Trained
from lnnc.train.pipeline.run import Runtime, pipeline, run_pipeline
from lnnc.train.pipeline.stages import status
from lnnc.verify.check import Report

pytestmark = pytest.mark.needs("optuna", "matplotlib", "h5py")

TOML = """
name = "tank"
kind = "sequences"
[data]
files = ["runs/*.csv"]
inputs = ["u", "y"]
targets = ["y"]
[task]
window = 8
horizon = 3
every = 4
[split]
folds = 2
[train]
steps = 6
[teacher]
models = ["leaky-6"]
steps = 6
[distil]
students = ["leaky-2", "leaky-4"]
rivals = ["linear"]
[prune]
of = ["leaky-4"]
[recover]
steps = 3
[pareto]
trials = 2
space = { kind = ["leaky"], units = [3], weight_bits = [8, 16] }
method = "grid"
[compile]
on = ["host"]
vectors = 16
"""


class Counter:
    """Counts trainings and measurements; the cost of a set is told from its size, without a cross compiler."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.trained: list[str] = []
        self.measured: list[str] = []
        self.stop_at = ""
        train = SequenceProblem.train

        def counted(problem: SequenceProblem, spec: Any, lesson: Any) -> Trained:
            self.trained.append(lesson.label)
            return train(problem, spec, lesson)

        monkeypatch.setattr(SequenceProblem, "train", counted)
        monkeypatch.setattr(families, "measure_set", self.measure)
        monkeypatch.setattr(search_measure, "measure_set", self.measure)

    def measure(self, problem: Problem, trained: Trained, making: Making) -> tuple[Measured, Errors]:
        if trained.spec.name == self.stop_at:
            self.stop_at = ""
            raise KeyboardInterrupt
        self.measured.append(trained.spec.name)
        errors = cross_errors(problem, trained, making.options, "float")
        wide = 2 if making.options.weight_bits == "16" else 1
        size = parameters(trained)
        return Measured(mean_of(errors), 500 + wide * size, 10 * size, 100 * size, {"parameters": float(size)}), errors

    def clear(self) -> None:
        self.trained.clear()
        self.measured.clear()


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Counter:
    found = Counter(monkeypatch)
    monkeypatch.setattr(pipeline_report, "check_budgets", lambda *_: None)
    return found


@pytest.fixture
def blank(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots as empty files: tests/test_pareto_plots.py looks at them."""
    for module, name in (
        (pipeline_end, "plot_front"), (pipeline_report, "plot_front"), (pipeline_report, "plot_horizon"),
        (pipeline_report, "plot_forecasts"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, lambda path, *_, **__: Path(path).write_text("<svg/>"))


fast = pytest.mark.usefixtures("blank")


@pytest.fixture
def where(tmp_path: Path) -> Path:
    """A folder with six runs."""
    (tmp_path / "runs").mkdir()
    for number in range(6):
        table = machine(number)
        np.savetxt(tmp_path / "runs" / f"r{number}.csv", table, "%.6f", ",", header="u / V,y / m,z / Pa", comments="")
    return tmp_path


def config(where: Path, **changes: dict[str, Any]) -> Config:
    import tomllib

    document = tomllib.loads(TOML)
    for section, table in changes.items():
        document[section] = {**document.get(section, {}), **table}
    return read_config(document, where)


def run(where: Path, **changes: dict[str, Any]) -> list[str]:
    said: list[str] = []
    run_pipeline(config(where, **changes), where / "run", said.append)
    return said


def test_a_pipeline_leaves_what_it_promises(counter: Counter, where: Path) -> None:
    said = run(where)
    folder = where / "run"
    assert counter.trained == [
        "teacher leaky-6", "distil leaky-2", "distil leaky-4", "scratch leaky-2-scratch", "scratch leaky-4-scratch",
        "rival linear-rival", "recover leaky-4-less50", "scratch leaky-4-less50-scratch", "search leaky-3",
    ]  # fmt: skip
    candidates = read_candidates(folder / "pareto" / "candidates.csv")
    stages = [candidate.stage for candidate in candidates]
    assert stages == [
        "teacher",
        *["distil"] * 2,
        *["scratch"] * 2,
        "rival",
        "prune",
        "recover",
        "scratch",
        *["search"] * 2,
    ]
    assert len({candidate.name for candidate in candidates}) == len(candidates)
    for candidate in candidates:
        assert (folder / "pareto" / candidate.model).is_file(), candidate.name
    chosen = json.loads((folder / "select" / "chosen.json").read_text())
    assert chosen["measured"]["error"] == min(c.measured.error for c in candidates if c.stage != "teacher")
    names = {path.name for path in (folder / "compile").iterdir()}
    assert {
        "tank.c",
        "tank.h",
        "tank_golden.h",
        "tank.pt",
        "report.md",
        "front.svg",
        "horizon.svg",
        "forecasts.svg",
    } <= names
    report = (folder / "compile" / "report.md").read_text()
    for text in ("persistence", "line 8", "## Front", "recover leaky-4-less50", "host, cc", chosen["name"]):
        assert text in report
    assert any("every byte equal on host" in line for line in said)
    fronts = (folder / "pareto" / "fronts.csv").read_text()
    assert {line.split(",")[0] for line in fronts.splitlines()[1:]} == {*stages, "all"}


@fast
def test_what_is_done_is_not_done_again(counter: Counter, where: Path) -> None:
    run(where)
    counter.clear()
    said = run(where)
    assert all("as before" in line for line in said)
    run(where, select={"max_flash": 540})
    assert counter.trained == [] and counter.measured == []
    chosen = json.loads((where / "run" / "select" / "chosen.json").read_text())
    assert chosen["measured"]["flash"] <= 540
    run(where, prune={"fractions": [0.5, 0.25]})
    assert counter.trained == [
        "recover leaky-4-less50", "scratch leaky-4-less50-scratch", "recover leaky-4-less25",
        "scratch leaky-4-less25-scratch",
    ]  # fmt: skip


@fast
def test_a_search_that_is_extended_keeps_what_it_has(counter: Counter, where: Path) -> None:
    run(where)
    counter.clear()
    space = {"kind": ["leaky"], "units": [3], "weight_bits": [8, 16]}
    run(where, pareto={"trials": 6, "method": "nsga2", "space": space})
    assert counter.trained == []  # another study, the same set of models
    assert len(list((where / "run" / "search").iterdir())) == 1


@fast
@pytest.mark.parametrize("at", ["leaky-4", "leaky-3"])
def test_ctrl_c_anywhere_and_the_run_goes_on(counter: Counter, where: Path, at: str) -> None:
    counter.stop_at = at
    with pytest.raises(KeyboardInterrupt):
        run(where)
    states = {entry.name: entry.state for entry in status(pipeline(config(where)), where / "run")}
    assert list(states.values()).count("stopped") == 1
    run(where)
    assert len(counter.trained) == len(set(counter.trained)) == 9  # nothing was trained twice
    assert not list((where / "run").rglob("*.training.pt"))


@pytest.mark.slow
@pytest.mark.needs("arm-none-eabi-gcc", "unicorn")
def test_several_processes_give_the_same_files(where: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Two workers train and measure for real; what they leave is what one leaves."""
    small = {"distil": {"students": ["leaky-2"], "rivals": []}, "prune": {"of": []}}
    found = []
    for jobs in (1, 2):
        said: list[str] = []
        made = run_pipeline(
            config(where, **small), tmp_path_factory.mktemp("run"), said.append, Runtime(jobs), "distil"
        )
        found.append({name: each.digest for name, each in made.items()})
    assert found[0] == found[1]


@pytest.mark.slow
@pytest.mark.needs("arm-none-eabi-gcc", "unicorn")
def test_three_workers_train_and_one_is_killed(where: Path) -> None:
    """The real thing: workers that train, compile and measure; one dies in the middle of its trial."""
    text = TOML.replace("steps = 6\n[teacher]", "steps = 200\n[teacher]").replace("trials = 2", "trials = 6")
    text = text.replace("units = [3], weight_bits = [8, 16]", "units = [2, 3, 4, 5, 6, 7]")
    (where / "tank.toml").write_text(text.replace('students = ["leaky-2", "leaky-4"]', 'students = ["leaky-4"]'))
    command = [sys.executable, "-m", "lnnc", "pareto", str(where / "tank.toml"), "--jobs", "3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        victim = _some_worker(where / "tank" / "search", process)
        os.kill(victim, signal.SIGKILL)
        said, _ = process.communicate(timeout=500)
    assert process.returncode == 0, said
    (journal,) = (where / "tank" / "search").glob("*/study.journal")
    (study,) = optuna_studies(journal)
    states = [trial.state.name for trial in study.trials]
    lost = [t for t in study.trials if t.state.name == "FAIL" and t.user_attrs["reason"] == "lost"]
    assert states.count("COMPLETE") == 6 and len(lost) == 1
    assert {t.params["units"] for t in study.trials if t.state.name == "COMPLETE"} == {2, 3, 4, 5, 6, 7}


def _some_worker(folder: Path, process: subprocess.Popen[str]) -> int:
    """The process of a worker that is in the middle of a trial."""
    until = time.monotonic() + 400
    while time.monotonic() < until and process.poll() is None:
        for journal in folder.glob("*/study.journal"):
            found = re.findall(r'"lease":\{"worker":"[^"]*","machine":"[^"]*","pid":(\d+)', journal.read_text())
            if len(found) >= 2:
                time.sleep(0.3)
                return int(found[1])
        time.sleep(0.05)
    raise AssertionError("no worker began a trial")


def optuna_studies(journal: Path) -> list[Any]:
    """The studies in a journal, by Optuna itself."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal)))
    return [optuna.load_study(study_name=name, storage=storage) for name in optuna.get_all_study_names(storage)]


@fast
def test_without_a_teacher_students_learn_from_the_truth(counter: Counter, where: Path) -> None:
    run(where, teacher={"models": []}, pareto={"trials": 0}, prune={"of": []})
    assert {label.split()[0] for label in counter.trained} == {"scratch", "rival", "recover"}
    report = (where / "run" / "compile" / "report.md").read_text()
    assert "| recover leaky-4-less50 |" in report and "| distil" not in report


@fast
def test_the_best_cell_so_far_is_trained_through_its_program(counter: Counter, where: Path) -> None:
    run(where, qat={"steps": 2, "batch": 4}, pareto={"trials": 0}, recover={"scratch": False})
    candidates = read_candidates(where / "run" / "pareto" / "candidates.csv")
    (tuned,) = [c for c in candidates if c.stage == "qat"]
    cells = [c for c in candidates if c.stage in ("distil", "scratch", "recover")]
    best = min(cells, key=lambda c: c.measured.error)
    assert tuned.params == {"model": best.params["model"], "of": best.name}
    assert tuned.name == f"qat-{best.name}"
    assert not list((where / "run").rglob("*.training*"))


@fast
def test_nothing_fits(counter: Counter, where: Path) -> None:
    with pytest.raises(LnncError) as caught:
        run(where, select={"max_flash": 100})
    assert caught.value.where == "stage select, select"
    assert "the nearest, 'rival-linear'" in str(caught.value) or "the nearest" in str(caught.value)
    assert not (where / "run" / "compile").exists()


@fast
def test_c_that_differs_from_the_reference_is_no_result(
    counter: Counter, where: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        pipeline_report, "verify_model", lambda *_, **__: [Report("host", "cc", 9, 9, "byte 3 differs")]
    )
    with pytest.raises(LnncError, match="the C and the reference differ: host: byte 3 differs"):
        run(where)
    assert not (where / "run" / "compile").exists()


def test_data_that_is_not_there(where: Path) -> None:
    with pytest.raises(LnncError, match=r"'none/\*\.csv' names no file"):
        run(where, data={"files": ["none/*.csv"]})
    with pytest.raises(LnncError, match=r"split\.file = folds\.json"):
        run(where, split={"file": "folds.json"})


def test_a_hint_of_the_import_names_the_configuration(tmp_path: Path) -> None:
    np.savez(tmp_path / "cells.npz", a=np.full(200, 1.9), b=np.full(200, 1.8))
    config = read_config({"data": {"files": ["cells.npz"]}}, tmp_path)
    with pytest.raises(LnncError, match="nominal capacity") as caught:
        run_pipeline(config, tmp_path / "run", print)
    assert "data.nominal" in caught.value.hint and "--" not in caught.value.hint


def test_a_hint_of_the_import_without_a_key_names_the_command(tmp_path: Path) -> None:
    (tmp_path / "cell.csv").write_text("a,b\n1,2\n3,4\n")
    config = read_config({"data": {"files": ["cell.csv"]}}, tmp_path)
    with pytest.raises(LnncError) as caught:
        run_pipeline(config, tmp_path / "run", print)
    assert "`lnnc data import --capacity-column`" in str(caught.value)


@fast
def test_changed_data_runs_everything_again(counter: Counter, where: Path) -> None:
    run(where, pareto={"trials": 0})
    counter.clear()
    (where / "runs" / "r0.csv").write_text((where / "runs" / "r0.csv").read_text().replace("0.5", "0.4"))
    run(where, pareto={"trials": 0})
    assert len(counter.trained) == 8


@pytest.fixture
def toml(where: Path) -> Path:
    path = where / "tank.toml"
    path.write_text(TOML)
    return path


@fast
def test_the_commands(counter: Counter, toml: Path) -> None:
    result = lnnc("pipeline", toml, "--status")
    assert result.code == 0 and result.out.count("to do") == 10
    result = lnnc("pareto", toml, "--trials", 1)
    assert result.code == 0, result.err
    assert "on the front" in result.out and "for lnnc select" in result.out
    result = lnnc("pipeline", toml)
    assert result.code == 0, result.err
    assert result.last.endswith("tank/compile")
    table = toml.with_suffix("") / "pareto" / "candidates.csv"
    result = lnnc("select", table, "--max-flash", "1k", "-o", toml.parent / "x.npz")
    assert result.code == 0, result.err
    assert "candidates that fit --max-flash 1024" in result.out
    assert (toml.parent / "x.npz").exists()
    result = lnnc("select", table, "--rule", "knee", "--cost", "cycles", "--json")
    assert "knee of error against cycles" in json.loads(result.out)["why"]
    result = lnnc("select", table, "--weights", "error=1,flash=1")
    assert "smallest weighted sum (error 1, flash 1)" in result.out
    assert lnnc("pipeline", toml, "--status").out.count("done") == 10


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--max-flash", "100"), "none of"),
        (("--max-flash", "many"), "expected a whole number above 0"),
        (("--weights", "error"), "expected such as error=1,flash=0.5"),
        (("--weights", "speed=1"), "expected weights of at least 0"),
        (("--weights", "error=1", "--rule", "knee"), "contradict each other"),
        (("--rule", "weights"), "which weights?"),
        (("-o", "x.pt"), "expected a name that ends in .npz"),
    ],
)
def test_choices_that_cannot_be_made(tmp_path: Path, options: tuple[str, ...], says: str) -> None:
    table = tmp_path / "candidates.csv"
    table.write_text("name,error,flash,ram,cycles\na,0.1,1000,100,1000\nb,0.2,900,90,900\n")
    result = lnnc("select", table, *options)
    assert result.code == 2 and says in result.err


def test_commands_on_files_that_are_wrong(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text('[data]\nfile = ["x"]\n')
    result = lnnc("pipeline", path)
    assert result.code == 2 and "did you mean 'files'?" in result.err
    result = lnnc("pareto", tmp_path / "none.toml")
    assert result.code == 2 and "no such file" in result.err
    path.write_text('[data]\nfiles = ["x.npz"]\n')
    assert "names no file" in lnnc("pipeline", path).err
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 nothing")
    result = lnnc("pipeline", path, "--until", "pareot")
    assert result.code == 2 and "no stage 'pareot'" in result.err
    result = lnnc("pipeline", path)
    assert result.code == 2 and "stage data" in result.err
