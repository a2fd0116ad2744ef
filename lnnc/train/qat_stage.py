"""Quantization-aware training as a stage: the students on the front so far go on through their integer programs."""

from __future__ import annotations

from collections.abc import Sequence

from lnnc.train.config import Config
from lnnc.train.measure import Making
from lnnc.train.stages import Stage, Workspace


def qat_stage(config: Config, making: Making, jobs: int) -> Stage:
    """Nothing unless [qat] steps is above 0."""

    def work(workspace: Workspace) -> Sequence[str]:
        return ("none",)

    settings = {"seed": config.seed, "qat": config.section("qat"), "compile": config.section("compile")}
    return Stage("qat", ("data", "split", "distil", "recover"), settings, work)
