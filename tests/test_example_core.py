"""examples/core_temperature: training runs, main.c streams what the reference computes, README.md's figures hold."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from lnnc.frontend.storage import load_checkpoint
from lnnc.ir.graph import Array
from lnnc.output import write_pair
from lnnc.pipeline import Compiled, Options, compile_model
from lnnc.report.size import measure
from lnnc.verify.engines import run_float, run_reference

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "examples" / "core_temperature"
MODEL = FOLDER / "core.pt"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic", "-Werror")
DT = (0.2, 2.0)
DRIVE = 5

both_samplings = pytest.mark.parametrize("sampling", ["regular", "irregular"])


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example's generator of data, imported as its scripts import it."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("cells")


def compiled(sampling: str) -> Compiled:
    return compile_model(MODEL, "core", Options(runtime_dt=DT if sampling == "irregular" else None))


def run_script(script: str, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    command = [sys.executable, str(FOLDER / script), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# --- main.c ---


def estimates(model: Compiled, drive: Array) -> Array:
    """Core temperatures that the reference computes from the lines that main.c reads, as it prints them."""
    read = drive.astype(np.float32)
    times = None if model.options.runtime_dt is None else (read[None, :, 0] / np.float32(5)).astype(np.float64)
    rise = run_reference(model.program, read[None, :, 1:4].astype(np.float64), times)[0, :, 0]
    return (read[:, 2] + rise.astype(np.float32)).astype(np.float32)


@pytest.mark.needs("gcc")
@both_samplings
def test_main_prints_what_the_reference_computes(sampling: str, tmp_path: Path) -> None:
    """To the last digit, though the program loses its RAM every 60 samples."""
    model = compiled(sampling)
    write_pair(model.files, tmp_path / "core.c")
    command = ["gcc", *WARNINGS, "-I", str(tmp_path), str(tmp_path / "core.c"), str(FOLDER / "main.c"), "-o", "program"]
    subprocess.run(command, cwd=tmp_path, check=True)
    text = run_script("cells.py", "--drive", str(DRIVE), *(["--irregular"] if sampling == "irregular" else []))
    done = subprocess.run([str(tmp_path / "program")], input=text, capture_output=True, text=True, check=True)
    *printed, last = done.stdout.splitlines()
    drive = np.array([line.split() for line in text.splitlines()], np.float64)
    expected = estimates(model, drive)
    assert len(printed) > 600
    assert printed == [f"{value:.3f}" for value in expected]
    assert f"{np.abs(expected - drive[:, 4]).mean():.3f} K" in last
    assert sampling == "irregular" or f"`{last}`" in README


@pytest.mark.needs("gcc")
def test_a_time_that_it_was_not_compiled_for_ends_main(tmp_path: Path) -> None:
    write_pair(compiled("irregular").files, tmp_path / "core.c")
    sources = [str(tmp_path / "core.c"), str(FOLDER / "main.c")]
    subprocess.run(["gcc", *WARNINGS, "-I", str(tmp_path), *sources, "-o", "program"], cwd=tmp_path, check=True)
    lines = "5 1 20 20 20\n60 1 20 20 20\n"
    done = subprocess.run([str(tmp_path / "program")], input=lines, capture_output=True, text=True)
    assert done.returncode == 1
    assert "sample 1: 60 s" in done.stderr


def test_the_readme_shows_code_of_main() -> None:
    shown = "".join(re.findall(r"^```c\n(.*?)^```$", README, re.MULTILINE | re.DOTALL))
    assert "core_step" in shown and "core_save" in shown
    main = {line.strip() for line in (FOLDER / "main.c").read_text(encoding="utf-8").splitlines()}
    assert [line for line in shown.splitlines() if line.strip() and line.strip() not in main] == []


# --- README.md's figures ---


def row(*figures: float) -> str:
    return " | ".join(f"{figure:.3f}" for figure in figures)


@pytest.mark.slow
def test_the_readme_gives_the_errors_of_the_baselines(cells: ModuleType) -> None:
    split = {name: cells.simulate(name) for name in ("train", "test")}
    for name, make in cells.BASELINES.items():
        figures = []
        for sampling in ("regular", "irregular"):
            train, test = (getattr(streams, sampling)() for streams in split.values())
            figures.append(float(np.abs(make(train)(test) - test.rise).mean()))
        assert f"| {name} | {row(*figures)} |" in README


@pytest.mark.slow
def test_the_readme_gives_the_distance_to_the_best_baselines(cells: ModuleType) -> None:
    train, test = (cells.simulate(name).regular() for name in ("train", "test"))
    rise = run_float(compiled("regular").graph, test.samples)[..., 0]
    quoted = re.findall(r"^CfC - (.*?): (.*)$", README, re.MULTILINE)
    assert [name for name, _ in quoted] == list(cells.BASELINES)[-3:]
    for name, text in quoted:
        assert cells.minus(rise, cells.BASELINES[name](train)(test), test) == text


def test_the_readme_gives_the_errors_of_the_network(cells: ModuleType) -> None:
    """Those of core.pt in float and integers are computed anew, those of the other seeds are noted in core.pt."""
    test = cells.simulate("test")
    real, integer = [], []
    for sampling in ("regular", "irregular"):
        streams, model = getattr(test, sampling)(), compiled(sampling)
        times = np.tile(streams.gaps, (len(streams.rise), 1)) if sampling == "irregular" else None
        for run, network, out in ((run_float, model.graph, real), (run_reference, model.program, integer)):
            out.append(float(np.abs(run(network, streams.samples, times)[..., 0] - streams.rise).mean()))
    assert f"kept** | **{'** | **'.join(f'{figure:.3f}' for figure in real)}** |" in README
    assert f"as integers (the C) | {row(*integer)} |" in README
    noted = {k: v for k, v in load_checkpoint(MODEL).provenance.items() if k.startswith("test error, ")}
    assert len(noted) == 3
    for figures in noted.values():
        assert str(figures).split()[0] in README and str(figures).split()[1] in README
    columns = np.array([str(figures).split() for figures in noted.values()], np.float64).T
    spread = re.search(r"standard deviation \| ([\d.]+) \+- ([\d.]+) \| ([\d.]+) \+- ([\d.]+) \|", README)
    assert spread
    expected = [f(c) for c in columns for f in (np.mean, lambda c: np.std(c, ddof=1))]
    np.testing.assert_allclose([float(figure) for figure in spread.groups()], expected, atol=0.0011)


@pytest.mark.needs("arm-none-eabi-gcc", "elftools")
@both_samplings
def test_the_readme_gives_the_sizes_that_are_measured(sampling: str) -> None:
    files = compiled(sampling).files
    got = measure(files.source, files.header, "core")
    assert f"| {got.flash:,} | {got.ram} | {got.stack} |" in README


# --- train.py ---


@pytest.mark.needs("ncps")
def test_training_runs(tmp_path: Path) -> None:
    out = run_script("train.py", "--quick", "--seeds", "3", "4", "--out", str(tmp_path / "core.pt"))
    assert "mean of 2 seeds" in out
    made, kept = load_checkpoint(tmp_path / "core.pt"), load_checkpoint(MODEL)
    assert made.inputs == kept.inputs
    assert made.architecture.network is not None and kept.architecture.network is not None
    assert made.architecture.network.ops == kept.architecture.network.ops


def test_the_bundled_model_is_small() -> None:
    assert MODEL.stat().st_size < 60_000
