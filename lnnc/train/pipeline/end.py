"""The last stages: a search beyond the families, the choice, and the chosen model compiled, verified and reported."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lnnc.errors import LnncError
from lnnc.files import write_atomically
from lnnc.train.learn.distill import Distillation
from lnnc.train.learn.loop import Schedule
from lnnc.train.pareto.candidates import read_candidates, write_candidates
from lnnc.train.pareto.front import Candidate, fronts
from lnnc.train.pareto.plots import plot_front
from lnnc.train.pareto.search import Search, Trial, candidates_of
from lnnc.train.pareto.select import Choice, Limits, select
from lnnc.train.pipeline.config import Config
from lnnc.train.pipeline.data import load_baselines, load_problem
from lnnc.train.pipeline.families import CANDIDATES, MODELS, line_of
from lnnc.train.pipeline.measure import Making
from lnnc.train.pipeline.problem import Problem, load_trained, save_trained
from lnnc.train.pipeline.report import write_report
from lnnc.train.pipeline.search_axes import TRAINED
from lnnc.train.pipeline.search_measure import SearchMeasure
from lnnc.train.pipeline.stages import Stage, Workspace

FAMILIES = ("teacher", "distil", "prune", "recover", "qat")
SEARCH, JOURNAL, FRONTS, PLOT, CHOSEN = "search", "study.journal", "fronts.csv", "front.svg", "chosen"
SETS, KEY = "sets", 12


# ---------------------------------------------------------------- pareto


def pareto_stage(
    config: Config, making: Making, schedule: Schedule, how: Distillation, jobs: int, storage: str | None
) -> Stage:
    """Search, then one table and the fronts of all that was measured so far."""
    sections = ("pareto", "train", "distil", "teacher", "compile")
    settings = {"seed": config.seed, **{section: config.section(section) for section in sections}}

    def work(workspace: Workspace) -> Sequence[str]:
        problem = load_problem(workspace.inputs)
        found = _families(workspace)
        if config.pareto.trials:
            search = _search(config, problem, settings)
            if storage is None:  # a journal of our own holds a study for each space; on a shared storage all must agree
                search = replace(search, name=f"{search.name}-{_short(search.identity())}")
            folder = workspace.run / SEARCH / search.problem
            folder.mkdir(parents=True, exist_ok=True)
            measure = _measure(config, making, schedule, how, workspace, problem, folder / SETS)
            found += _searched(search, measure, storage or str(folder / JOURNAL), jobs, workspace)
        return _tables(config, problem, found, workspace)

    return Stage("pareto", ("data", "split", *FAMILIES), settings, work)


def _families(work: Workspace) -> list[Candidate]:
    """The candidates of the stages before, their files as seen from this stage's folder."""
    found = []
    for stage in FAMILIES:
        file = work.inputs[stage] / CANDIDATES
        if file.exists():
            at = os.path.relpath(work.inputs[stage], work.folder)
            found += [replace(c, model=f"{at}/{c.model}") for c in read_candidates(file)]
    return found


def _search(config: Config, problem: Problem, settings: Mapping[str, Any]) -> Search:
    """Machines that share a study agree on data, task and settings; teachers' last bits may differ."""
    known = {key: value for key, value in settings.items() if key != "pareto"}
    return Search(
        config.name, config.space, config.pareto.trials, config.pareto.method, config.pareto.objectives, config.seed,
        config.pareto.population, _short([problem.digest, known]),
    )  # fmt: skip


def _short(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:KEY]


def _measure(
    config: Config, making: Making, schedule: Schedule, how: Distillation, work: Workspace, problem: Problem,
    sets: Path,
) -> SearchMeasure:  # fmt: skip
    teacher = tuple(work.inputs["teacher"] / MODELS / f"{name}.npz" for name in config.teacher.models)
    kind = config.distil.students[0].partition("-")[0]
    return SearchMeasure(problem, kind, schedule, how, teacher, making, sets)


def _searched(search: Search, measure: SearchMeasure, place: str, jobs: int, work: Workspace) -> list[Candidate]:
    from lnnc.train.pareto.workers import run_study

    def tick(done: int, total: int) -> None:
        if done > seen[0]:
            seen[0] = done
            work.say(f"  {done} of {total} trials")

    seen = [0]
    trials = run_study(search, measure, place, jobs, tick)
    for text in _faults(trials):
        work.say(f"  {text}")
    return [_kept(candidate, measure, work) for candidate in candidates_of(trials, SEARCH)]


def _faults(trials: Sequence[Trial]) -> list[str]:
    return [f"trial {t.number} {dict(t.params)}: {t.why or t.state}" for t in trials if t.state in ("fault", "lost")]


def _kept(candidate: Candidate, measure: SearchMeasure, work: Workspace) -> Candidate:
    """The candidate with its file, if it was trained here; on another machine the same can be trained again."""
    file = measure.file(candidate.params, TRAINED)
    return replace(candidate, model=os.path.relpath(file, work.folder)) if file.exists() else candidate


def _tables(config: Config, problem: Problem, found: Sequence[Candidate], work: Workspace) -> list[str]:
    """candidates.csv, fronts.csv and front.svg."""
    objectives = config.pareto.objectives
    write_candidates(found, work.folder / CANDIDATES, objectives)
    table = fronts(found, objectives)
    lines = [f"{stage},{c.name},{c.measured.error:.9g},{c.measured.flash},{c.measured.ram},{c.measured.cycles}"
             for stage, best in table.items() for c in best]  # fmt: skip
    _write(work.folder / FRONTS, "\n".join(["front,name,error,flash,ram,cycles", *lines]) + "\n")
    baselines = load_baselines(work.inputs["split"])
    plot_front(work.folder / PLOT, found, baselines, unit=problem.unit, title=f"{config.name}: all candidates")
    sizes = ", ".join(f"{stage} {len(best)}" for stage, best in table.items())
    return [f"{len(found)} candidates; on the fronts: {sizes}", *(line_of(c, problem.unit) for c in table["all"][:3])]


# ---------------------------------------------------------------- select


def select_stage(config: Config) -> Stage:
    """Choose by [select], and copy what was chosen."""

    def work(workspace: Workspace) -> Sequence[str]:
        candidates = [c for c in read_candidates(workspace.inputs["pareto"] / CANDIDATES) if c.stage != "teacher"]
        choice = choose(config, candidates)
        copy_chosen(choice, workspace)
        _write(workspace.folder / f"{CHOSEN}.json", json.dumps(chosen_plain(choice), indent=1, sort_keys=True) + "\n")
        return [line_of(choice.candidate, load_problem(workspace.inputs).unit), choice.why]

    return Stage("select", ("data", "split", "teacher", "pareto"), {"select": config.section("select")}, work)


def choose(config: Config, candidates: Sequence[Candidate]) -> Choice:
    """The choice that [select] describes. Raises as `select.select`."""
    chosen = config.select
    limits: Limits = chosen.limits
    return select(candidates, limits, chosen.rule, cost=chosen.cost, weights=chosen.weights)


def chosen_plain(choice: Choice) -> dict[str, Any]:
    """A choice as JSON types."""
    candidate = choice.candidate
    measured = {**vars(candidate.measured), "more": dict(candidate.measured.more)}
    return {"name": candidate.name, "stage": candidate.stage, "why": choice.why, "params": dict(candidate.params),
            "measured": measured}  # fmt: skip


def copy_chosen(choice: Choice, work: Workspace) -> None:
    """The set of models.

    Raises:
        LnncError: its file is not here: another machine trained it.
    """
    model = choice.candidate.model
    file = work.inputs["pareto"] / model
    if not model or not file.exists():
        hint = "copy its file from search/ of that machine's run, or add its shape to distil.students"
        raise LnncError(f"'{choice.candidate.name}' was trained on another machine", "select", hint)
    save_trained(load_trained(file), work.folder / f"{CHOSEN}.npz")


# ---------------------------------------------------------------- compile


def compile_stage(config: Config, making: Making) -> Stage:
    """Checkpoint, C, proof on every machine, plots, report."""
    settings = {"name": config.name, "compile": config.section("compile"), "select": config.section("select"),
                "pareto": config.section("pareto"), "teacher": config.section("teacher")}  # fmt: skip

    def work(workspace: Workspace) -> Sequence[str]:
        chosen = json.loads((workspace.inputs["select"] / f"{CHOSEN}.json").read_text(encoding="utf-8"))
        return write_report(config, _made_like(making, chosen["params"]), chosen, workspace)

    return Stage("compile", ("data", "split", "distil", "recover", "pareto", "select"), settings, work)


def _made_like(making: Making, params: Mapping[str, Any]) -> Making:
    """How the chosen candidate was measured."""
    options = making.options
    activations, bits = params.get("activations", options.activations), params.get("weight_bits", options.weight_bits)
    return replace(
        making, options=replace(options, activations=str(activations), weight_bits=None if bits is None else str(bits))
    )


def _write(path: Path, text: str) -> None:
    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8", newline="\n")

    write_atomically(path, write)
