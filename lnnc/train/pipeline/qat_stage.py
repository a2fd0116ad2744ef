"""Quantization-aware training as a stage: what would be chosen so far goes on through its integer program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lnnc.train.learn.distill import ALONE
from lnnc.train.learn.loop import Schedule
from lnnc.train.pareto.candidates import read_candidates
from lnnc.train.pareto.front import Candidate
from lnnc.train.pareto.select import select
from lnnc.train.pipeline.config import Config
from lnnc.train.pipeline.data import load_problem
from lnnc.train.pipeline.families import CANDIDATES, MODELS, Member, make_family, summary_of
from lnnc.train.pipeline.measure import Making
from lnnc.train.pipeline.problem import Lesson, parse_spec
from lnnc.train.pipeline.stages import Stage, Workspace

SOURCES = ("distil", "recover")
WITHOUT = ("mlp", "linear")  # kinds that are not trained so


def qat_stage(config: Config, making: Making, schedule: Schedule, jobs: int) -> Stage:
    """Nothing unless [qat] steps is above 0."""

    def work(workspace: Workspace) -> Sequence[str]:
        if not config.qat.steps:
            return ("none",)
        problem = load_problem(workspace.inputs)
        chosen = select(_cells(workspace), config.select.limits, "error").candidate
        stage = next(name for name in SOURCES if chosen.model.startswith(f"{name}/"))
        file = workspace.inputs[stage] / chosen.model.removeprefix(f"{stage}/")
        short = replace(schedule, steps=config.qat.steps, peak_lr=config.qat.peak_lr, batch=config.qat.batch)
        spec = parse_spec(str(chosen.params["model"]))
        member = Member(f"{chosen.name}-qat", "qat", spec, Lesson(short, ALONE), (), file, through=making.options,
                        more={"of": chosen.name})  # fmt: skip
        made = make_family(problem, [member], workspace, making, jobs, config.pareto.objectives)
        return summary_of(made, problem.unit, config.pareto.objectives)

    settings = {"seed": config.seed, **{key: config.section(key) for key in ("qat", "compile", "train")},
                "select": config.section("select") if config.qat.steps else None}  # fmt: skip
    needs = ("data", "split", *SOURCES)
    return Stage("qat", needs, settings, work, scratch=(f"{MODELS}/*.training*.pt",))


def _cells(work: Workspace) -> list[Candidate]:
    """Cells of the families so far, their files named by stage."""
    found = []
    for stage in SOURCES:
        if (work.inputs[stage] / CANDIDATES).exists():
            read = read_candidates(work.inputs[stage] / CANDIDATES)
            found += [replace(c, model=f"{stage}/{c.model}") for c in read]
    return [c for c in found if parse_spec(str(c.params["model"])).kind not in WITHOUT]
