"""What a search measures: parameters in, a set trained by distillation, compiled and measured out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lnnc.quantize.context import Options
from lnnc.train.learn.distill import Distillation
from lnnc.train.learn.loop import Schedule
from lnnc.train.pareto.front import Measured
from lnnc.train.pipeline.families import save_errors
from lnnc.train.pipeline.measure import Making, measure_set
from lnnc.train.pipeline.problem import Lesson, Problem, Spec, Trained, load_trained, save_trained
from lnnc.train.pipeline.search_axes import BATTERY_ONLY, BUILT, TRAINED

SCHEDULED = ("steps", "peak_lr", "weight_decay")


@dataclass(frozen=True)
class SearchMeasure:
    """A picklable objective; a set that was trained for one trial serves every other that only builds it differently.

    Attributes:
        kind: of network where the space does not vary it.
        teacher: files of sets.
        folder: sets/<digest>.npz stand here.
    """

    problem: Problem
    kind: str
    schedule: Schedule
    distillation: Distillation
    teacher: tuple[Path, ...]
    making: Making
    folder: Path

    def __call__(self, params: Mapping[str, Any]) -> Measured:
        measured, errors = measure_set(self.problem, self.train(params), self.made(params))
        save_errors(errors, self.file(params, (*TRAINED, *BUILT)).with_suffix(".errors.npz"))
        return measured

    def train(self, params: Mapping[str, Any]) -> Trained:
        """The set of these parameters, from its file if it is there."""
        file = self.file(params, TRAINED)
        if file.exists():
            return load_trained(file)
        schedule = replace(self.schedule, **{name: params[name] for name in SCHEDULED if name in params})
        more = {key: params[key] for key in BATTERY_ONLY if key in params}
        spec = Spec(str(params.get("kind", self.kind)), (int(params["units"]),), more)
        lesson = Lesson(
            schedule, self.distillation, tuple(map(load_trained, self.teacher)), label=f"search {spec.name}"
        )
        trained = self.problem.train(spec, lesson)
        file.parent.mkdir(parents=True, exist_ok=True)
        save_trained(trained, file)
        return trained

    def made(self, params: Mapping[str, Any]) -> Making:
        """How these parameters are compiled."""
        options: Options = self.making.options
        if "activations" in params:
            options = replace(options, activations=str(params["activations"]))
        if "weight_bits" in params:
            options = replace(options, weight_bits=str(params["weight_bits"]))
        return replace(self.making, options=options)

    def file(self, params: Mapping[str, Any], axes: tuple[str, ...]) -> Path:
        """The file of what these axes of the parameters decide."""
        chosen = {name: params[name] for name in axes if name in params}
        parts = [chosen, self.kind, asdict(self.schedule), asdict(self.distillation), self.problem.digest]
        return self.folder / f"{hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]}.npz"
