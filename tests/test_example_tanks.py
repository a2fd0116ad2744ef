"""examples/two_tanks: the runs are what they are everywhere, the configuration holds, README.md's figures too."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from lnnc.train.pipeline.config import load_config
from lnnc.train.pipeline.run import run_pipeline

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "examples" / "two_tanks"
README = (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def tanks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.delitem(sys.modules, "tanks", raising=False)
    return importlib.import_module("tanks")


@pytest.fixture
def runs(tanks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the configuration and the runs, as README.md says."""
    monkeypatch.setattr(sys, "argv", ["tanks.py", "--out", str(tmp_path / "runs")])
    tanks.main()
    (tmp_path / "tanks.toml").write_bytes((FOLDER / "tanks.toml").read_bytes())
    return tmp_path


def test_a_run_is_two_tanks(tanks: ModuleType) -> None:
    table = tanks.run(3)
    assert table.shape == (240, 4) and (table == tanks.run(3)).all() and (table != tanks.run(4)).any()
    time, pump, upper, lower = table.T
    assert (np.diff(time) == 5.0).all() and pump.min() >= 15.0 and pump.max() <= 95.0
    assert min(upper.min(), lower.min()) > -0.3 and max(upper.max(), lower.max()) < 60.0
    inflow = 0.18 * np.sqrt(np.maximum(upper[:-1], 0)) - 0.16 * np.sqrt(np.maximum(lower[:-1], 0))
    assert np.corrcoef(np.diff(lower), inflow)[0, 1] > 0.8


@pytest.mark.needs("h5py")
def test_the_configuration_runs_and_the_naive_figures_are_those_of_the_readme(runs: Path) -> None:
    config = load_config(runs / "tanks.toml")
    run_pipeline(config, runs / "tanks", print, until="split")
    rows = (runs / "tanks" / "split" / "baselines.csv").read_text().splitlines()[1:]
    for name, error, low, high in (row.split(",") for row in rows):
        assert f"| {name} | {float(error):.3f} |" in README, (name, error)
        assert float(low) < float(error) < float(high)
    assert "1,290 forecasts" in README


def test_the_readme_says_how(runs: Path) -> None:
    for command in ("tanks.py --out runs", "lnnc pipeline tanks.toml --jobs 2"):
        assert command in README
    assert len(list((runs / "runs").glob("*.csv"))) == 30
