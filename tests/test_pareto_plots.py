"""Plots: the same data gives the same bytes, and what matters is drawn."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from test_pareto_front import FAMILY

from lnnc.errors import LnncError
from lnnc.train.pareto.plots import Forecast, plot_forecasts, plot_front, plot_horizon

pytestmark = pytest.mark.needs("matplotlib")
STEPS = np.arange(30.0)
LIFE = 1.0 - 0.001 * STEPS


def front_plot(path: Path) -> None:
    plot_front(path, FAMILY, {"persistence": 0.007, "line 20": 0.0028}, chosen="b", unit="SOH", title="all of it")


def forecast_plot(path: Path) -> None:
    forecasts = {"model": LIFE[20:] + 0.001, "persistence": np.full(10, LIFE[19])}
    drawn = [Forecast(f"cell {n}", LIFE[:20], LIFE[20:], forecasts) for n in range(4)]
    plot_forecasts(path, drawn, unit="SOH", step="cycle")


def horizon_plot(path: Path) -> None:
    plot_horizon(path, {"model": 0.0001 * STEPS, "line 20": 0.0002 * STEPS}, unit="SOH", step="cycles ahead")


PLOTS = {"front": front_plot, "forecast": forecast_plot, "horizon": horizon_plot}
WORDS = {
    "front": {"distil", "prune", "front", "persistence: 0.007", "line 20: 0.0028", "chosen", "all of it"},
    "forecast": {"seen", "truth", "model", "persistence", "cell 3"},
    "horizon": {"model", "line 20", "cycles ahead", "mean |error| / SOH"},
}


@pytest.mark.parametrize("name", PLOTS)
def test_the_same_data_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    for file in ("a.svg", "b.svg"):
        PLOTS[name](tmp_path / file)
    first = (tmp_path / "a.svg").read_bytes()
    assert first == (tmp_path / "b.svg").read_bytes()
    ElementTree.fromstring(first)
    text = first.decode()
    assert {word for word in WORDS[name] if f">{word}<" not in text} == set()


def bad_suffix(folder: Path) -> None:
    plot_horizon(folder / "plot.png", {"model": STEPS})


def bad_folder(folder: Path) -> None:
    plot_horizon(folder / "none" / "plot.svg", {"model": STEPS})


def nothing(folder: Path) -> None:
    plot_forecasts(folder / "plot.svg", [])


@pytest.mark.parametrize(
    ("call", "says"), [(bad_suffix, "ends in .svg"), (bad_folder, "does not exist"), (nothing, "no forecast to draw")]
)
def test_what_cannot_be_drawn_is_refused(call: Callable[[Path], None], says: str, tmp_path: Path) -> None:
    with pytest.raises(LnncError, match=says):
        call(tmp_path)


def test_without_matplotlib_the_error_tells_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(LnncError, match=r"lnnc\[train\]"):
        horizon_plot(tmp_path / "plot.svg")
