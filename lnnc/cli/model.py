"""Commands on a checkpoint: compile, verify, run, inspect."""

from __future__ import annotations

from typing import Any

import click

from lnnc.cli.options import (
    budget_options,
    compile_options,
    layout_option,
    line_options,
    make_build,
    make_options,
    opt_option,
    prefix_of,
    split_targets,
    vector_options,
)
from lnnc.cli.terminal import FAILED, OK, progressing, say, waiting, warn
from lnnc.errors import LnncError

STAGES = ("checkpoint", "graph", "passes", "calibrate", "program", "code")


@click.command("compile")
@click.argument("model")
@click.option(
    "-o",
    "--output",
    help="The .c file to write, its .h beside it (default: lnn.c); of another layout the folder (default: lnn).",
)
@layout_option
@compile_options
@budget_options
@opt_option
@click.option("--stop-after", type=click.Choice(STAGES), help="Print one stage of the pipeline and write nothing.")
def compile_command(
    model: str, output: str | None, layout: str, name: str | None, given: dict[str, Any], built: dict[str, Any],
    budgets: dict[str, Any], opt: str, stop_after: str | None,
) -> None:  # fmt: skip
    """Compile a checkpoint to one .c and one .h file without dependencies.

    MODEL is a .pt or .safetensors checkpoint (see `lnnc import`). Beside the pair stands <stem>_golden.h with vectors
    for the self-test, compiled in only under <NAME>_SELFTEST. Over a budget nothing is written, and the error names the
    layer to shrink. A layout puts the files into a folder as a build system wants them, with examples; a folder
    that lnnc wrote before is replaced.

    \b
    lnnc compile student.pt -o soh.c --activations int8 --max-flash 32k --max-cycles 125k
    lnnc compile student.pt --layout arduino -o soh       # and soh.zip, for the Arduino IDE
    """
    from lnnc.frontend.storage import load_checkpoint
    from lnnc.inspection import describe_stage
    from lnnc.output import check_output, left_behind, make_output, write_output
    from lnnc.pipeline import plan_model

    if stop_after and any(budgets.values()):
        raise LnncError("it stops before there is code to measure", "--stop-after", "leave out the budgets")
    checkpoint = load_checkpoint(model)
    place = make_output(output, name, layout)
    if not stop_after:
        check_output(place)
    compiled = plan_model(checkpoint, place.name, make_options(given), place.stem, make_build(built))
    if stop_after:
        say(describe_stage(compiled, stop_after).rstrip("\n"))
        return
    _keep_to(compiled, budgets, opt)
    written = write_output(compiled, place)
    from lnnc.codegen.emit import avr_refusal
    from lnnc.report.render import memory

    more = "".join(f", {file.name}" for file in written[1:])
    say(f"{written[0]}{more}: {compiled.name}_step, {compiled.options.activations}")
    say(memory(compiled.program, compiled.build.weights))
    warn([*compiled.lowered.warnings, *left_behind(place)])
    if refusal := avr_refusal(compiled.program):
        say(f"not for AVR: {refusal}")


def _keep_to(compiled: Any, budgets: dict[str, Any], opt: str) -> None:
    """Refuse a model that is over budget. Without a budget nothing is compiled or run."""
    if not any(budgets.values()):
        return
    from lnnc.profiling import Budgets, check_budgets

    with waiting("checking the budgets"):
        check_budgets(compiled, Budgets(**budgets), opt)


@click.command()
@click.argument("model")
@click.argument("source", required=False)
@click.option(
    "--on",
    "targets",
    default="host",
    show_default=True,
    help="Where to run: host, m4, device, or several, as host,m4. A device is a board that runs the sketch Verify of "
    "`lnnc compile MODEL --layout arduino`.",
)
@compile_options
@line_options
@vector_options
@click.option(
    "--m4-route", type=click.Choice(["auto", "debian", "pip"]),
    help="Tools for m4: arm-none-eabi-gcc and QEMU (debian), ziglang and unicorn (pip), or what is here (auto).",
)  # fmt: skip
@click.pass_context
def verify(
    ctx: click.Context, model: str, source: str | None, targets: str, name: str | None, given: dict[str, Any],
    built: dict[str, Any], line: Any, vectors: int, seed: int, m4_route: str | None,
) -> None:  # fmt: skip
    """Prove generated C equal to the NumPy reference, byte for byte.

    SOURCE is a file that `lnnc compile` wrote from MODEL (it carries its own options); without it a fresh one is
    generated. Vectors are calibration data, seeded random values over the full int16 range, corners, and sequences
    with resets. The last line says PASS or FAIL.

    \b
    lnnc verify student.pt soh.c --on host,m4
    lnnc verify student.pt --on device --port /dev/ttyACM0
    """
    from lnnc.verification import verify_model

    on = split_targets(targets)
    if line is not None and "device" not in on:
        raise LnncError("--port, --baud and --timeout are those of a device", "--on", f"--on {targets},device")
    with progressing("verifying", "vectors") as progress:
        reports = verify_model(
            model, source, on, name=name, options=given,
            vectors=vectors, seed=seed, route=m4_route, build=built, line=line, progress=progress,
        )  # fmt: skip
    ctx.exit(report_verification(reports))


def report_verification(reports: list[Any]) -> int:
    """Print one line for each machine and the verdict; return the exit code."""
    for report in reports:
        ran = f"{report.vectors} vectors, " if report.vectors else ""
        say(f"{report.target:5} {report.machine}: {ran}{report.compared} bytes compared")
        if not report.passed:
            say(f"      first difference: {report.difference}")
    failed = [report.target for report in reports if not report.passed]
    if failed:
        say(click.style("FAIL", fg="red", bold=True) + f": model and C differ on {', '.join(failed)}")
        return FAILED
    on = ", ".join(report.target for report in reports if report.vectors)
    say(click.style("PASS", fg="green", bold=True) + f": every byte equal on {on}")
    return OK


@click.command()
@click.argument("model")
@click.option("--data", help=".npz or .npy; the first array is read, in real units.")
@click.option("--times", help=".npz or .npy with the time since the last sample, one for each, under --runtime-dt.")
@click.option(
    "--engine",
    type=click.Choice(["float", "reference", "host", "m4"]),
    default="reference",
    show_default=True,
    help="What computes: the float64 graph, the integer reference, C on this machine, C on a Cortex-M4.",
)
@click.option("-o", "--output", help="The .npz to write, one array named 'output'; without it the range is printed.")
@compile_options
@click.option("--m4-route", type=click.Choice(["auto", "debian", "pip"]), help="Tools for m4, as in `lnnc verify`.")
def run(
    model: str,
    data: str | None,
    times: str | None,
    engine: str,
    output: str | None,
    name: str | None,
    given: dict[str, Any],
    built: dict[str, Any],
    m4_route: str | None,
) -> None:
    """Evaluate a model on a file of inputs, in real units, on any engine.

    A window model takes independent rows, (N, inputs) or (N, T, inputs). A stream model takes consecutive samples
    (T, features) and carries its state; a 3-D array holds several streams, each after a reset. The result has a row for
    each input row or sample, NaN where no output was due.
    """
    from pathlib import Path

    import numpy as np

    from lnnc.files import write_atomically
    from lnnc.frontend.storage import load_array, load_checkpoint
    from lnnc.pipeline import run_model
    from lnnc.report.render import finite_summary

    checkpoint = load_checkpoint(model)
    if data is None:
        raise LnncError("which inputs shall it run on?", "--data", "give --data X.npz, its first array in real units")
    if output is not None:
        _check_result_target(output, data)
    inputs = load_array(data)
    spans = None if times is None else load_array(times)
    with waiting(f"running on {engine}"):
        options, build = make_options(given), make_build(built)
        result = run_model(checkpoint, inputs, engine, prefix_of(name), options, data, m4_route, spans, build)
    if output is not None:
        write_atomically(Path(output), lambda temporary: np.savez(temporary, output=result))
    say(f"{engine}: {finite_summary(result)}" + (f" -> {output} {tuple(result.shape)}" if output else ""))


def _check_result_target(output: str, data: str) -> None:
    """Refuse, before any work, a result that cannot be written or would replace the inputs."""
    from pathlib import Path

    from lnnc.files import check_not_same, check_target

    if Path(output).suffix != ".npz":
        raise LnncError(f"expected a name that ends in .npz, found '{output}'", "--output", "-o Y.npz")
    check_not_same(output, data, "the inputs")
    check_target(Path(output))


@click.command()
@click.argument("model")
@compile_options
@click.option("--measure", is_flag=True, help="Compile for the Cortex-M4 (-Os) and show flash, RAM and stack.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect(
    model: str, name: str | None, given: dict[str, Any], built: dict[str, Any], measure: bool, as_json: bool
) -> None:  # fmt: skip
    """Show a model's layers, shapes, ranges, scales and sizes."""
    import json

    from lnnc.inspection import inspection
    from lnnc.pipeline import compile_model
    from lnnc.report import render

    compiled = compile_model(model, prefix_of(name), make_options(given), build=make_build(built))
    table = inspection(compiled, measure)
    if as_json:
        say(json.dumps(table, indent=2))
        return
    decided = {**table["options"], **table["build"]}
    chosen = ", ".join(f"{key} {value}" for key, value in decided.items() if value is not None)
    say(f"{table['model']}\nsha256 {table['digest']}\narithmetic {table['arithmetic']}, {chosen}\n")
    say(render.layers_text(table["layers"]) + "\n")
    say(render.program_text(compiled.program, compiled.build.weights))
    if wide := [layer for layer, bits in table.get("weight bits", {}).items() if bits == 16]:
        say(f"16-bit weights: {', '.join(wide)}")
    if table.get("states"):
        say("\n" + render.states_text(table["states"]))
    warn(compiled.lowered.warnings)
    for key, value in (table.get("measured") or {}).items():
        say(f"{key}: {value}")
