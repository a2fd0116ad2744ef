"""What a set of models is worth, measured on the real thing: the integer program on sequences that it never saw, and
the compiled C of the model that is shipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from lnnc.data.intervals import cell_bootstrap
from lnnc.errors import LnncError
from lnnc.ir.graph import Array
from lnnc.pipeline import plan_model
from lnnc.profiling import profile_model
from lnnc.quantize.context import Options
from lnnc.targets import Build
from lnnc.train.pareto.front import Measured
from lnnc.train.pipeline.problem import Problem, Trained

Errors = dict[str, Array]  # sequence -> (n, steps), mean over the targets


@dataclass(frozen=True)
class Making:
    """How models are compiled.

    Attributes:
        opt: optimisation of the C compiler that costs are told for.
        cost: a step of a streaming model costs more at some samples than at others; the worst is measured.
    """

    options: Options = field(default_factory=Options)
    build: Build = field(default_factory=Build)
    opt: str = "-Os"


def errors_of(problem: Problem, said: Mapping[str, Array]) -> Errors:
    """|said - truth| of each sequence, in units of `problem.unit`.

    Raises:
        LnncError: a forecast that is not finite.
    """
    found = {}
    for name, values in said.items():
        errors = np.abs(values - problem.truth(name)) / problem.scale()
        if not np.isfinite(errors).all():
            raise LnncError(f"a forecast of '{name}' is not finite", "scores", "look at the training's losses")
        found[name] = errors.mean(axis=2)
    return found


def cross_errors(problem: Problem, trained: Trained, options: Options, engine: str) -> Errors:
    """Each sequence by the model that was trained without it."""
    found: Errors = {}
    for fold in range(len(problem.split)):
        checkpoint = problem.checkpoint(trained, fold)
        said = problem.forecasts(checkpoint, problem.split.test(fold), options, engine)
        found |= errors_of(problem, said)
    return found


def mean_of(errors: Errors) -> float:
    """Over all forecasts and their steps."""
    return float(np.concatenate([each.ravel() for each in errors.values()]).mean())


def measure_set(problem: Problem, trained: Trained, making: Making) -> tuple[Measured, Errors]:
    """Error of the integer programs of the folds; flash, RAM and modelled cycles of the program of the last model.

    Raises:
        LnncError: a model that cannot be compiled, or a tool that is missing.
    """
    errors = cross_errors(problem, trained, making.options, "reference")
    real = mean_of(cross_errors(problem, trained, making.options, "float"))
    shipped = problem.checkpoint(trained, len(problem.split))
    profile = profile_model(plan_model(shipped, options=making.options, build=making.build), making.opt)
    assert profile.step is not None  # `Config` takes targets with a cycle model only
    interval = cell_bootstrap(errors)
    more = {
        "low": interval.low, "high": interval.high, "float_error": real, "parameters": float(parameters(trained)),
        "stack": float(profile.stack), "steps": float(trained.steps),
    }  # fmt: skip
    known = {key: value for key, value in more.items() if np.isfinite(value)}  # no interval of a single sequence
    return Measured(interval.mean, profile.size.flash, profile.size.ram, profile.step.total.cycles, known), errors


def parameters(trained: Trained) -> int:
    """Trained numbers of one model."""
    return sum(array.size for array in trained.weights[-1].values())


def baseline_errors(problem: Problem) -> dict[str, Errors]:
    """Errors of every naive forecaster at the same origins."""
    return {name: errors_of(problem, said) for name, said in problem.baselines().items()}
