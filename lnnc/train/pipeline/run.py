"""The pipeline as a column of stages: data, split, teacher, distil, prune, recover, pareto, select, compile.

Every stage reads the folders of those before it and writes files of its own; see `stages` for when it is run again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lnnc.errors import LnncError
from lnnc.quantize.context import Options
from lnnc.targets import Build
from lnnc.train.learn.distill import ALONE, Distillation
from lnnc.train.learn.loop import Schedule
from lnnc.train.pareto.candidates import read_candidates
from lnnc.train.pareto.front import Candidate, front
from lnnc.train.pipeline.config import Config
from lnnc.train.pipeline.data import data_stage, load_problem, split_stage
from lnnc.train.pipeline.end import compile_stage, pareto_stage, select_stage
from lnnc.train.pipeline.families import CANDIDATES, MODELS, Member, make_family, summary_of
from lnnc.train.pipeline.measure import Making
from lnnc.train.pipeline.problem import Lesson, Problem, Spec, load_trained, parse_spec
from lnnc.train.pipeline.qat_stage import qat_stage
from lnnc.train.pipeline.stages import Made, Say, Stage, Workspace, run_stages

LEAST_UNITS = 4  # a student with fewer is not pruned unless it is named
STATE = (f"{MODELS}/*.training.pt",)


@dataclass(frozen=True)
class Runtime:
    """What changes no result: processes, where a study lives, which stage is the last."""

    jobs: int = 1
    storage: str | None = None


def pipeline(config: Config, runtime: Runtime | None = None) -> tuple[Stage, ...]:
    """The stages of a configuration.

    Raises:
        LnncError: data files that are not there.
    """
    run = runtime or Runtime()
    return (
        data_stage(config),
        split_stage(config),
        _stage(config, run, "teacher", ("data", "split"), ("teacher", "train", "compile"), _teachers),
        _stage(config, run, "distil", ("data", "split", "teacher"), ("distil", "train", "compile"), _family),
        _stage(config, run, "prune", ("data", "split", "distil"), ("prune", "compile"), _pruned),
        _stage(config, run, "recover", ("data", "split", "teacher", "distil", "prune"),
               ("recover", "distil", "train", "compile"), _recovered),
        qat_stage(config, making_of(config), schedule_of(config), run.jobs),
        pareto_stage(config, making_of(config), schedule_of(config), distillation_of(config), run.jobs, run.storage),
        select_stage(config),
        compile_stage(config, making_of(config)),
    )  # fmt: skip


def run_pipeline(
    config: Config, folder: Path, say: Say, runtime: Runtime | None = None, until: str | None = None
) -> dict[str, Made]:
    """Run a pipeline in a folder, as far as it is not done yet. Raises as `run_stages`."""
    return run_stages(pipeline(config, runtime), folder, say, until)


def making_of(config: Config) -> Making:
    """How every candidate is compiled and measured."""
    bits = config.compile.weight_bits
    options = Options(config.compile.activations, weight_bits=None if bits is None else str(bits))
    return Making(options, Build(target=config.compile.target), config.compile.opt)


def schedule_of(config: Config) -> Schedule:
    """How students are trained."""
    train = config.train
    return Schedule(train.steps, train.peak_lr, train.weight_decay, train.batch, config.seed, train.clip)


def distillation_of(config: Config) -> Distillation:
    """How a teacher counts; without one, the truth alone."""
    how = config.distil
    if not config.teacher.models:
        return replace(ALONE, truth=how.truth)
    return Distillation(how.divergence, how.truth, how.start, how.end)


def _alone(config: Config) -> Distillation:
    return replace(ALONE, truth=config.distil.truth)


Members = Callable[[Config, Workspace, Problem], Sequence[Member]]


def _stage(
    config: Config, run: Runtime, name: str, needs: tuple[str, ...], sections: Sequence[str], members: Members
) -> Stage:
    """A stage that makes and measures sets of models."""

    def work(workspace: Workspace) -> Sequence[str]:
        problem = load_problem(workspace.inputs)
        wanted = members(config, workspace, problem)
        if not wanted:
            return ("none",)
        objectives = config.pareto.objectives
        made = make_family(problem, wanted, workspace, making_of(config), run.jobs, objectives)
        return summary_of(made, problem.unit, objectives)

    settings: Mapping[str, Any] = {"seed": config.seed, **{section: config.section(section) for section in sections}}
    return Stage(name, needs, settings, work, scratch=STATE)


def _teachers(config: Config, work: Workspace, problem: Problem) -> list[Member]:
    schedule = replace(schedule_of(config), steps=config.teacher.steps)
    lesson = Lesson(schedule, _alone(config))
    return [Member(name, "teacher", parse_spec(name), lesson) for name in config.teacher.models]


def teacher_files(config: Config, inputs: Mapping[str, Path]) -> tuple[Path, ...]:
    """The sets that teach."""
    return tuple(inputs["teacher"] / MODELS / f"{name}.npz" for name in config.teacher.models)


def _family(config: Config, work: Workspace, problem: Problem) -> list[Member]:
    """Students taught; the same from scratch in as many steps; rivals, which nobody teaches."""
    schedule, teachers = schedule_of(config), teacher_files(config, work.inputs)
    alone = Lesson(schedule, _alone(config))
    found = []
    if teachers:
        taught = Lesson(schedule, distillation_of(config))
        found = [Member(name, "distil", parse_spec(name), taught, teachers) for name in config.distil.students]
    if config.distil.scratch or not teachers:
        found += [Member(f"{n}-scratch", "scratch", parse_spec(n), alone) for n in config.distil.students]
    return found + [Member(f"{n}-rival", "rival", parse_spec(n), alone) for n in config.distil.rivals]


def _pruned(config: Config, work: Workspace, problem: Problem) -> list[Member]:
    return [
        Member(_cut_name(source, fraction), "prune", _spec_of(source), None, (), _file(work, source), fraction,
               {"fraction": fraction, "of": source.params["model"]})
        for source in _sources(config, work)
        for fraction in config.prune.fractions
    ]  # fmt: skip


def _sources(config: Config, work: Workspace) -> list[Candidate]:
    """The students to prune: those that are named, else the best cells of some size on the front."""
    students = [c for c in read_candidates(work.inputs["distil"] / CANDIDATES) if c.stage in ("distil", "scratch")]
    stage = "distil" if config.teacher.models else "scratch"
    own = [candidate for candidate in students if candidate.stage == stage]
    if config.prune.of:
        return [candidate for candidate in own if _spec_of(candidate).name in config.prune.of]
    best = front(own, config.pareto.objectives)
    large = [c for c in best if _spec_of(c).kind not in ("mlp", "linear") and _spec_of(c).units[0] >= LEAST_UNITS]
    return large[: config.prune.most]


def _spec_of(candidate: Candidate) -> Spec:
    return parse_spec(str(candidate.params["model"]))


def _cut_name(source: Candidate, fraction: float) -> str:
    return f"{_spec_of(source).name}-less{round(100 * fraction)}"


def _file(work: Workspace, source: Candidate) -> Path:
    return work.inputs["distil"] / source.model


def _recovered(config: Config, work: Workspace, problem: Problem) -> list[Member]:
    """Every pruned set taught once more; beside it the same shape from scratch in as many steps in all."""
    if not (work.inputs["prune"] / CANDIDATES).exists():
        return []
    schedule, teachers = schedule_of(config), teacher_files(config, work.inputs)
    again = Lesson(replace(schedule, steps=config.recover.steps), distillation_of(config))
    found = []
    for cut in read_candidates(work.inputs["prune"] / CANDIDATES):
        file = work.inputs["prune"] / cut.model
        name, spec = Path(cut.model).stem, load_trained(file).spec
        more = {key: cut.params[key] for key in ("fraction", "of")}
        found.append(Member(name, "recover", spec, again, teachers, file, more=more))
        if config.recover.scratch:
            whole = replace(schedule, steps=schedule.steps + config.recover.steps)
            found.append(Member(f"{name}-scratch", "scratch", spec, Lesson(whole, _alone(config)), more=more))
    return found


def check_stage(name: str | None, stages: Sequence[Stage]) -> None:
    """Raise an `LnncError` unless there is a stage of this name."""
    names = [stage.name for stage in stages]
    if name is not None and name not in names:
        raise LnncError(f"no stage '{name}'", "--until", f"one of {', '.join(names)}")
