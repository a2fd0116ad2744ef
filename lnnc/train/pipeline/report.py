"""The chosen model as files to use and to read: checkpoint, C, verdict of the proof, plots, report.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lnnc.data.intervals import Interval, paired_bootstrap
from lnnc.errors import LnncError
from lnnc.files import write_atomically
from lnnc.frontend.storage import save_checkpoint
from lnnc.ir.graph import Array
from lnnc.output import write_pair
from lnnc.pipeline import compile_model
from lnnc.profiling import Budgets, check_budgets
from lnnc.train.pareto.candidates import read_candidates
from lnnc.train.pareto.front import Candidate
from lnnc.train.pareto.plots import Forecast, plot_forecasts, plot_front, plot_horizon
from lnnc.train.pipeline.data import load_problem
from lnnc.train.pipeline.families import CANDIDATES, MODELS, load_errors
from lnnc.train.pipeline.measure import Errors, Making, baseline_errors, cross_errors, mean_of
from lnnc.train.pipeline.problem import Problem, Trained, load_trained
from lnnc.train.pipeline.report_text import Facts, per_forecast, report_text
from lnnc.verification import verify_model
from lnnc.verify.check import Report

if TYPE_CHECKING:
    from lnnc.train.pipeline.config import Config
    from lnnc.train.pipeline.stages import Workspace

DRAWN = 6  # forecasts in the plot
PAST, PAST_MIN = 2, 30  # horizons of the past that it shows, and samples at least
RIVALS = 3  # naive forecasters in the plots


@dataclass(frozen=True, eq=False)
class _Result:
    """The chosen set on its problem."""

    problem: Problem
    trained: Trained
    making: Making
    chosen: Mapping[str, Any]
    errors: Errors
    naive: Mapping[str, Errors]
    candidates: tuple[Candidate, ...]

    @property
    def name(self) -> str:
        return str(self.chosen["name"])

    @property
    def best_naive(self) -> list[str]:
        """Naive forecasters, the best first."""
        return sorted(self.naive, key=lambda name: mean_of(self.naive[name]))


def write_report(config: Config, making: Making, chosen: Mapping[str, Any], work: Workspace) -> list[str]:
    """All files of the stage "compile"; what came out in a few lines.

    Raises:
        LnncError: the C differs from the reference, or is over a limit of [select] after all.
    """
    problem, trained = load_problem(work.inputs), load_trained(work.inputs["select"] / "chosen.npz")
    reports = _compile(config, making, problem, trained, work.folder)
    errors = cross_errors(problem, trained, making.options, "reference")
    candidates = read_candidates(work.inputs["pareto"] / CANDIDATES)
    result = _Result(problem, trained, making, chosen, errors, baseline_errors(problem), candidates)
    _plots(config.name, result, work.folder)
    target = f"{config.compile.target}, {config.compile.opt}"
    facts = Facts(
        config.name, problem.unit, target, chosen, errors, result.naive, candidates, pairs_of(work.inputs), reports,
        config.pareto.objectives,
    )  # fmt: skip
    _write(work.folder / "report.md", report_text(facts))
    best = result.best_naive[0]
    return [
        f"{config.name}.c, {config.name}.h, {config.name}.pt, report.md: {result.name}, error {mean_of(errors):.6g} "
        f"{problem.unit}",
        f"minus {best}: {paired_bootstrap(per_forecast(errors), per_forecast(result.naive[best]))}",
        *(f"every byte equal on {report.target}: {report.machine}" for report in reports),
    ]


def _compile(config: Config, making: Making, problem: Problem, trained: Trained, folder: Path) -> list[Report]:
    """Checkpoint and C of the model trained on all, checked against the limits and against the reference."""
    model, limits = folder / f"{config.name}.pt", config.select.limits
    save_checkpoint(problem.checkpoint(trained, len(problem.split)), model)
    compiled = compile_model(model, config.name, making.options, config.name, making.build)
    check_budgets(compiled, Budgets(limits.flash, limits.ram, limits.cycles), making.opt)
    source = write_pair(compiled.files, folder / f"{config.name}.c")[0]
    reports = verify_model(model, source, config.compile.on, vectors=config.compile.vectors, seed=config.seed)
    bad = [f"{report.target}: {report.difference}" for report in reports if not report.passed]
    if bad:
        hint = "this is a fault of lnnc: report it"
        raise LnncError(f"the C and the reference differ: {'; '.join(bad)}", config.name, hint)
    return [report for report in reports if report.vectors]


def pairs_of(inputs: Mapping[str, Path]) -> list[tuple[str, float, float, Interval]]:
    """Every student that was taught beside the one from scratch in as many steps, from the stages' own errors."""
    found = []
    for stage in ("distil", "recover"):
        for file in sorted((inputs[stage] / MODELS).glob("*-scratch-errors.npz")):
            name = file.name.removesuffix("-scratch-errors.npz")
            taught = file.with_name(f"{name}-errors.npz")
            if taught.exists():
                own, rival = load_errors(taught), load_errors(file)
                difference = paired_bootstrap(per_forecast(own), per_forecast(rival))
                found.append((f"{stage} {name}", mean_of(own), mean_of(rival), difference))
    return found


# ---------------------------------------------------------------- plots


def _plots(label: str, result: _Result, folder: Path) -> None:
    best, unit = result.best_naive[:RIVALS], result.problem.unit
    levels = {name: mean_of(each) for name, each in result.naive.items()}
    plot_front(folder / "front.svg", result.candidates, levels, chosen=result.name, unit=unit, title=label)
    by_step = {result.name: _by_step(result.errors), **{name: _by_step(result.naive[name]) for name in best}}
    plot_horizon(folder / "horizon.svg", by_step, unit, title=f"{label}: error by horizon")
    title = f"{label}: sequences that the model was not trained on"
    plot_forecasts(folder / "forecasts.svg", _forecasts(result, best), unit, title=title)


def _by_step(errors: Errors) -> Array:
    """Mean |error| of each step ahead."""
    return np.asarray(np.concatenate(list(errors.values())).mean(axis=0))


def _forecasts(result: _Result, rivals: Sequence[str]) -> list[Forecast]:
    """The middle forecast of some test sequences of the first fold, by the integer program; of the first target."""
    problem, naive = result.problem, result.problem.baselines()
    names = [name for name in problem.split.test(0) if name in result.errors][:DRAWN]
    said = problem.forecasts(problem.checkpoint(result.trained, 0), names, result.making.options, "reference")
    found = []
    for sequence in names:
        truth = problem.truth(sequence)
        at = len(truth) // 2
        past = problem.seen(sequence, at, max(PAST * truth.shape[1], PAST_MIN))
        own = {result.name: said[sequence][at, :, 0]}
        drawn = {**own, **{rival: naive[rival][sequence][at, :, 0] for rival in rivals}}
        found.append(Forecast(problem.place(sequence, at), past[:, 0], truth[at, :, 0], drawn))
    return found


def _write(path: Path, text: str) -> None:
    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8", newline="\n")

    write_atomically(path, write)
