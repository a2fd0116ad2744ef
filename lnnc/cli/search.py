"""`lnnc pipeline`, `lnnc pareto`, `lnnc select`: from a configuration to a chosen, compiled, verified model."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lnnc.cli.options import Number, quantity, with_options
from lnnc.cli.terminal import say
from lnnc.errors import LnncError

if TYPE_CHECKING:
    from pathlib import Path

    from lnnc.train.pipeline.config import Config

F = TypeVar("F", bound=Callable[..., Any])
RULES, COSTS = ("error", "knee", "weights"), ("flash", "ram", "cycles")  # of train.select, without its imports


def run_options(command: F) -> F:
    """What `pipeline` and `pareto` share."""
    options = (
        click.argument("config", metavar="CONFIG.toml"),
        click.option("--run", "folder", metavar="DIR",
                     help="Folder of the stages' files (default: beside CONFIG, named like it)."),
        click.option("--jobs", type=click.IntRange(1), default=1, show_default=True,
                     help="Processes that train and measure at the same time."),
        click.option("--storage", metavar="URL",
                     help="Optuna storage of the search, e.g. postgresql://..., sqlite:///study.db, or a journal file; "
                     "machines that name the same work on one study (default: a journal in the run's folder)."),
    )  # fmt: skip

    @wraps(command)
    def call(*args: Any, **rest: Any) -> Any:
        return command(*args, **rest)

    return with_options(call, options)  # type: ignore[no-any-return]


@click.command()
@run_options
@click.option("--until", metavar="STAGE", help="The last stage to run.")
@click.option("--status", "only_status", is_flag=True, help="Show how far it is, and run nothing.")
def pipeline(
    config: str, folder: str | None, jobs: int, storage: str | None, until: str | None, only_status: bool
) -> None:  # fmt: skip
    """Run a whole pipeline: data, split, teacher, distil, prune, recover, qat, pareto, select, compile.

    CONFIG.toml says what on: cells of batteries, or any CSV of sequences (docs/pipeline.md). A stage that was done with
    the same settings and files is not done again; after Ctrl-C or a crash the same command goes on. What a stage made
    stands in DIR/<stage>.

    \b
    lnnc pipeline soh.toml --jobs 2
    lnnc pipeline soh.toml --status
    """
    from lnnc.train.pipeline.run import Runtime, check_stage
    from lnnc.train.pipeline.run import pipeline as stages_of
    from lnnc.train.pipeline.stages import run_stages, status, status_text

    read, run = _config(config, folder)
    stages = stages_of(read, Runtime(jobs, storage))
    check_stage(until, stages)
    if only_status:
        say(status_text(status(stages, run)))
        return
    made = run_stages(stages, run, say, until)
    if "compile" in made:
        say(f"the result: {run / 'compile'}")


def _part(name: str, stage: str, does: str) -> click.Command:
    """A command that runs a pipeline as far as one stage."""

    @click.command(name, short_help=does)
    @run_options
    def command(config: str, folder: str | None, jobs: int, storage: str | None) -> None:
        from lnnc.train.pipeline.run import Runtime, run_pipeline

        read, run = _config(config, folder)
        made = run_pipeline(read, run, say, Runtime(jobs, storage), until=stage)
        say(f"the result: {made[stage].folder}")

    command.help = f"""{does}

    The stages before are run where they are not done yet; what CONFIG.toml says of them: docs/pipeline.md.

    \b
    lnnc {name} soh.toml --jobs 2"""
    return command


PARTS = (
    _part("distill", "distil", "Train the family of students under their teachers, and from scratch beside them."),
    _part("prune", "prune", "Remove a part of the neurons of the distilled students."),
    _part("recover", "recover", "Teach the pruned students again, beside the same shapes from scratch."),
    _part("qat", "qat", "Train the best cell on through its integer program."),
)


@click.command()
@run_options
@click.option(
    "--trials", type=click.IntRange(0), help="Trials of the search, over all workers (default: as CONFIG says)."
)
def pareto(config: str, folder: str | None, jobs: int, storage: str | None, trials: int | None) -> None:
    """Search models of small error and small cost, and show the front.

    The stages before are run where they are not done yet. Every candidate is measured on the real thing: the error of
    its integer program on sequences that it never saw, flash, RAM and modelled cycles of its compiled C. Start the same
    command on other machines with the same --storage, and they share the trials; a worker that is killed loses the
    trial that it was at, which another then measures. Ctrl-C, and the same command later, goes on.

    \b
    lnnc pareto soh.toml --jobs 2
    lnnc pareto soh.toml --storage postgresql://user@host/studies --trials 100
    """
    from dataclasses import replace

    from lnnc.report.render import columns
    from lnnc.train.pareto.candidates import read_candidates
    from lnnc.train.pareto.front import front
    from lnnc.train.pipeline.families import CANDIDATES
    from lnnc.train.pipeline.run import Runtime, run_pipeline

    read, run = _config(config, folder)
    if trials is not None:
        read = replace(read, pareto=replace(read.pareto, trials=trials))
    made = run_pipeline(read, run, say, Runtime(jobs, storage), until="pareto")
    file = made["pareto"].folder / CANDIDATES
    best = front(read_candidates(file), read.pareto.objectives)
    rows: list[tuple[str, ...]] = [
        (c.name, f"{c.measured.error:.6g}", f"{c.measured.flash:,}", f"{c.measured.ram:,}", f"{c.measured.cycles:,}")
        for c in best
    ]
    say("\n" + columns(("on the front", "error", "flash B", "RAM B", "cycles"), rows))
    say(f"\n{run / 'pareto' / CANDIDATES}: all of them, for lnnc select")


def _config(path: str, folder: str | None) -> tuple[Config, Path]:
    """The configuration, and the folder to run in."""
    from pathlib import Path

    from lnnc.train.pipeline.config import load_config

    read = load_config(path)
    return read, Path(folder) if folder is not None else Path(path).with_suffix("")


def _weights(_: click.Context, __: click.Parameter, value: str | None) -> dict[str, float] | None:
    """error=1,flash=0.5"""
    if value is None:
        return None
    found = {}
    for part in value.split(","):
        name, _equals, number = part.partition("=")
        try:
            found[name.strip()] = float(number)
        except ValueError:
            raise click.BadParameter(f"expected such as error=1,flash=0.5, found {value!r}") from None
    return found


@click.command()
@click.argument("candidates", metavar="CANDIDATES.csv")
@click.option("--max-flash", metavar="BYTES", callback=quantity(1024),
              help="Code and tables take no more flash than this, e.g. 8k (1k = 1024).")  # fmt: skip
@click.option("--max-ram", metavar="BYTES", callback=quantity(1024), help="State, scratch and ports take no more RAM.")
@click.option("--max-cycles", metavar="N", callback=quantity(1000),
              help="The worst step takes no more modelled cycles, e.g. 10k (1k = 1000).")  # fmt: skip
@click.option("--max-error", type=Number(), help="The error is no larger.")
@click.option("--rule", type=click.Choice(RULES), help="Of those that fit: the smallest error (default), the knee of "
              "the front of error and --cost, the smallest weighted sum.")  # fmt: skip
@click.option(
    "--cost", type=click.Choice(COSTS), default="flash", show_default=True, help="What the knee is found with."
)
@click.option("--weights", callback=_weights, metavar="NAME=W,...",
              help="Weights of error, flash, ram and cycles, each scaled to 0 ... 1 over the front.")  # fmt: skip
@click.option("-o", "--output", metavar="FILE.npz", help="Copy the set of models of the chosen one here.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def select(
    candidates: str, max_flash: int | None, max_ram: int | None, max_cycles: int | None, max_error: float | None,
    rule: str | None, cost: str, weights: dict[str, float] | None, output: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Choose a model from the candidates that `lnnc pareto` measured.

    Where none fits, the nearest is named with what it takes. In a pipeline, [select] of CONFIG.toml does the same.

    \b
    lnnc select soh/pareto/candidates.csv --max-flash 8k --max-ram 1k --max-cycles 10k
    lnnc select soh/pareto/candidates.csv --rule knee
    lnnc select soh/pareto/candidates.csv --weights error=1,flash=0.5
    """
    import json

    from lnnc.train.pareto.candidates import read_candidates
    from lnnc.train.pareto.select import Limits
    from lnnc.train.pareto.select import select as choose
    from lnnc.train.pipeline.end import chosen_plain
    from lnnc.train.pipeline.families import line_of

    limits = Limits(max_flash, max_ram, max_cycles, max_error)
    how = _rule(rule, weights)
    choice = choose(read_candidates(candidates), limits, how, cost=cost, weights=weights)
    if output is not None:
        _copy(candidates, choice.candidate.model, output)
    if as_json:
        say(json.dumps(chosen_plain(choice), indent=2))
        return
    say(line_of(choice.candidate))
    say(choice.why)
    if choice.candidate.model:
        say(f"its set of models: {output or choice.candidate.model}")


def _rule(rule: str | None, weights: dict[str, float] | None) -> str:
    if weights is not None and rule not in (None, "weights"):
        raise LnncError(f"--weights and --rule {rule} contradict each other", "--rule", "give one of them")
    if rule == "weights" and weights is None:
        raise LnncError("which weights?", "--rule weights", "--weights error=1,flash=0.5")
    return rule or ("error" if weights is None else "weights")


def _copy(candidates: str, model: str, output: str) -> None:
    from pathlib import Path

    from lnnc.files import check_target, readable, write_atomically

    if Path(output).suffix != ".npz":
        raise LnncError(f"expected a name that ends in .npz, found '{output}'", "--output", "-o chosen.npz")
    if not model:
        raise LnncError("the chosen one has no file in the table: another machine trained it", candidates)
    check_target(Path(output))
    source = readable(Path(candidates).parent / model, "run `lnnc pareto` again").read_bytes()

    def write(temporary: Path) -> None:
        temporary.write_bytes(source)

    write_atomically(Path(output), write)
