"""Plots as SVG: the front with baselines and rivals, forecasts against the truth, error by horizon.

The same data gives the same bytes. matplotlib is imported only where something is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lnnc.errors import LnncError
from lnnc.files import write_atomically
from lnnc.ir.graph import Array
from lnnc.train.pareto.front import Candidate, front

SETTINGS: Any = {"svg.hashsalt": "lnnc", "svg.fonttype": "none", "font.size": 9, "path.simplify_threshold": 0.5}
AXES = {"flash": "flash / bytes", "ram": "RAM / bytes", "cycles": "modelled cycles of a step"}
TRUTH, CHOSEN, FRONT = "black", "#c0392b", "#1b6ca8"
LINES = ("--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))  # of baselines
PANEL = (3.6, 3.0)  # inches
COLUMNS = 3


@dataclass(frozen=True, eq=False)
class Forecast:
    """One forecast to draw.

    Attributes:
        title: whose, and from where on.
        past: (W,) what was seen, or its end; truth: (H,) what came.
        forecasts: (H,) by the name of who made it, the model first.
        marks: values of the experts' weights or the like, said in the title; may be empty.
    """

    title: str
    past: Array
    truth: Array
    forecasts: Mapping[str, Array]


def plot_front(
    path: str | Path, candidates: Sequence[Candidate], baselines: Mapping[str, float], *,
    chosen: str = "", unit: str = "", costs: Sequence[str] = ("flash", "cycles"), title: str = "",
) -> None:  # fmt: skip
    """Error against each cost: a mark for each stage, the front of all as a line, naive forecasters as levels.

    Args:
        baselines: name -> error; they cost nothing worth drawing.
        chosen: name of the candidate that was selected.

    Raises:
        LnncError: matplotlib is missing, another suffix than .svg, or a path that cannot be written.
    """

    def draw(figure: Any) -> None:
        panels = figure.subplots(1, len(costs), sharey=True, squeeze=False)[0]
        for cost, panel in zip(costs, panels, strict=True):
            _front_panel(panel, candidates, baselines, cost, chosen)
        panels[0].set_ylabel("mean |error|" + (f" / {unit}" if unit else ""))
        panels[0].set_ylim(*_levels(candidates, baselines))
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", fontsize=7, frameon=False)
        figure.suptitle(title, fontsize=9)

    _save(path, (PANEL[0] * len(costs) + 1.8, PANEL[1] + 0.6), draw)


def _levels(candidates: Sequence[Candidate], baselines: Mapping[str, float]) -> tuple[float, float]:
    """Errors to show: the fronts and the best naive forecaster; a poor one would squeeze them, and is only named."""
    shown = [c.measured.error for cost in AXES for c in front(candidates, ("error", cost))]
    shown += [min(baselines.values())] if baselines else []
    room = 0.15 * (max(shown) - min(shown)) or 0.1 * max(shown) or 1.0
    return max(0.0, min(shown) - room), max(shown) + room


def _front_panel(
    panel: Any, candidates: Sequence[Candidate], baselines: Mapping[str, float], cost: str, chosen: str
) -> None:
    for marker, stage in zip("osD^vPX*<>" * 9, dict.fromkeys(c.stage for c in candidates), strict=False):
        points = [c.measured for c in candidates if c.stage == stage]
        panel.plot([getattr(m, cost) for m in points], [m.error for m in points], marker, label=stage,
                   markersize=4, alpha=0.75, markeredgewidth=0)  # fmt: skip
    best = sorted(front(candidates, ("error", cost)), key=lambda c: float(getattr(c.measured, cost)))
    panel.step([getattr(c.measured, cost) for c in best], [c.measured.error for c in best], where="post", color=FRONT,
               linewidth=1, label="front")  # fmt: skip
    for style, (name, error) in zip(LINES * 9, baselines.items(), strict=False):
        panel.axhline(error, color="0.45", linewidth=0.8, linestyle=style, label=f"{name}: {error:.3g}")
    for candidate in candidates:
        if candidate.name == chosen:
            panel.plot(getattr(candidate.measured, cost), candidate.measured.error, "o", color=CHOSEN, label="chosen",
                       markersize=9, markerfacecolor="none", markeredgewidth=1.5)  # fmt: skip
    panel.set_xscale("log")
    panel.set_xlabel(AXES[cost])
    panel.grid(True, alpha=0.2, linewidth=0.5)


def plot_forecasts(
    path: str | Path, forecasts: Sequence[Forecast], unit: str = "", step: str = "step", title: str = ""
) -> None:
    """A panel for each forecast: what was seen, what came, what the model and the naive forecasters said.

    Raises:
        LnncError: as `plot_front`; nothing to draw.
    """
    if not forecasts:
        raise LnncError("no forecast to draw", str(path), "choose origins that have a whole horizon")
    rows = -(-len(forecasts) // COLUMNS)

    def draw(figure: Any) -> None:
        columns = min(COLUMNS, len(forecasts))
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for panel, forecast in zip(panels, forecasts, strict=False):
            _forecast_panel(panel, forecast, step, unit)
        for panel in panels[len(forecasts) :]:
            panel.set_axis_off()
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=7,
                      frameon=False)  # fmt: skip
        figure.suptitle(title, fontsize=9)

    _save(path, (PANEL[0] * min(COLUMNS, len(forecasts)), (PANEL[1] - 0.4) * rows + 0.8), draw)


def _forecast_panel(panel: Any, forecast: Forecast, step: str, unit: str) -> None:
    ahead = np.arange(1, len(forecast.truth) + 1)
    panel.plot(np.arange(1 - len(forecast.past), 1), forecast.past, color="0.6", linewidth=0.8, label="seen")
    panel.plot(ahead, forecast.truth, color=TRUTH, linewidth=1, marker="." if len(ahead) < 20 else None, label="truth")
    for index, (name, values) in enumerate(forecast.forecasts.items()):
        look = {"color": CHOSEN, "linewidth": 1.4} if index == 0 else {"linestyle": LINES[index % 4], "linewidth": 0.9}
        panel.plot(ahead, values, label=name, **look)
    panel.set_title(forecast.title, fontsize=8)
    panel.set_xlabel(step, fontsize=8)
    panel.set_ylabel(unit, fontsize=8)
    span = np.concatenate([forecast.past, forecast.truth])
    room = 0.25 * (float(np.ptp(span)) or 1.0)
    panel.set_ylim(float(span.min()) - room, float(span.max()) + room)  # a wild baseline does not squeeze the rest


def plot_horizon(
    path: str | Path, errors: Mapping[str, Array], unit: str = "", step: str = "step ahead", title: str = ""
) -> None:
    """Mean |error| of each step ahead, (H,) by the name of who forecast, the model first.

    Raises:
        LnncError: as `plot_front`.
    """

    def draw(figure: Any) -> None:
        panel = figure.subplots()
        for index, (name, error) in enumerate(errors.items()):
            look = (
                {"color": CHOSEN, "linewidth": 1.6} if index == 0 else {"linestyle": LINES[index % 4], "linewidth": 1}
            )
            panel.plot(np.arange(1, len(error) + 1), error, label=name, marker="." if len(error) < 20 else None, **look)
        panel.set_xlabel(step)
        panel.set_ylabel("mean |error|" + (f" / {unit}" if unit else ""))
        panel.set_ylim(bottom=0.0)
        panel.grid(True, alpha=0.2, linewidth=0.5)
        panel.legend(fontsize=7, frameon=False)
        panel.set_title(title, fontsize=9)

    _save(path, (1.5 * PANEL[0], PANEL[1] + 0.4), draw)


def _save(path: str | Path, size: tuple[float, float], draw: Any) -> None:
    """Draw on a new figure and write it, whole or not at all."""
    file = Path(path)
    if file.suffix != ".svg":
        raise LnncError(f"expected a name that ends in .svg, found '{file.name}'", str(path), "front.svg")
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        hint = "pip install 'lnnc[train]'"
        raise LnncError("plots need matplotlib, which is not installed", "matplotlib", hint) from error
    with rc_context(SETTINGS):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        write_atomically(file, lambda temporary: figure.savefig(temporary, format="svg", metadata={"Date": None}))
