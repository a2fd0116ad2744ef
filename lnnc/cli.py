"""The command line. Every import that costs time stays inside the command that needs it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

from lnnc._version import __version__
from lnnc.errors import LnncError

F = TypeVar("F", bound=Callable[..., Any])
OK, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
STAGES = ("checkpoint", "graph", "passes", "calibrate", "program", "code")


def main() -> None:
    """Entry point: one place turns errors into exit codes."""
    try:
        code = cli.main(prog_name="lnnc", standalone_mode=False)
    except LnncError as error:
        _complain(str(error))
        sys.exit(BAD_INPUT)
    except click.ClickException as error:
        error.show()
        sys.exit(BAD_INPUT)
    except (click.Abort, KeyboardInterrupt):
        _complain("interrupted; nothing was left half-written")
        sys.exit(INTERRUPTED)
    sys.exit(code if isinstance(code, int) else OK)


def _complain(text: str) -> None:
    text = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)  # no terminal commands
    first, _, rest = text.partition("\n")
    click.echo(click.style("error: ", fg="red", bold=True) + first + (f"\n{rest}" if rest else ""), err=True)


def say(text: str = "") -> None:
    """Text for people: coloured by rich on a terminal (NO_COLOR is honoured), plain when piped."""
    import errno

    try:
        if sys.stdout.isatty():
            _show(text)
        else:
            click.echo(text)
        sys.stdout.flush()
    except OSError as error:
        _discard_output()  # what could not be written would be tried again at the end
        if error.errno != errno.EPIPE:  # a reader that has seen enough, such as head, is no fault
            raise LnncError(f"cannot write the output ({error.strerror})", "standard output") from error


def _discard_output() -> None:
    """Let the rest of the output go nowhere; the exit code still tells the result."""
    import os

    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _show(text: str) -> None:
    from rich.console import Console
    from rich.highlighter import ReprHighlighter
    from rich.text import Text

    Console().print(ReprHighlighter()(Text.from_ansi(text)), soft_wrap=True)


def waiting(text: str) -> Any:
    """A spinner on a terminal's stderr while something long runs; nothing when piped."""
    from rich.console import Console

    return Console(stderr=True).status(text)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="lnnc")
def cli() -> None:
    """Compile a trained liquid neural network to fixed-point C that is bit-exact with a NumPy reference.

    \b
    lnnc demo                                        the bundled battery model, compiled and verified
    lnnc import dlnet weights.pth ... -o student.pt  a state_dict becomes a checkpoint
    lnnc compile student.pt -o soh.c                 a checkpoint becomes soh.c and soh.h
    lnnc verify student.pt soh.c --on host,m4        every byte against the reference
    lnnc run student.pt --data X.npz --engine m4 -o Y.npz
    lnnc inspect student.pt                          layers, ranges, scales, sizes
    lnnc doctor                                      which tools are here, and how to get the others

    Exit codes: 0 ok, 1 verification failed, 2 bad input or usage.
    """


def compile_options(command: F) -> F:
    """The options that decide about the generated arithmetic: the same for compile, verify, run and inspect."""
    options = (
        click.option(
            "--name",
            help="Prefix of every public C name, e.g. soh for soh_step (default: the stem of the .c file, else lnn).",
        ),
        click.option(
            "--activations",
            type=click.Choice(["int16", "int8"]),
            help="Width of the tensors between layers (default: int16).",
        ),
        click.option("--input-frac", type=int, help="Fraction bits of the input ports: real = q / 2^FRAC."),
        click.option("--output-frac", type=int, help="Fraction bits of the output ports."),
    )

    @wraps(command)
    def call(
        *args: Any,
        name: str | None,
        activations: str | None,
        input_frac: int | None,
        output_frac: int | None,
        **rest: Any,
    ) -> Any:
        given = {"activations": activations, "input_frac": input_frac, "output_frac": output_frac}
        return command(*args, name=name, given={k: v for k, v in given.items() if v is not None}, **rest)

    wrapped: Any = call
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[no-any-return]


def _options(given: dict[str, Any]) -> Any:
    from lnnc.quantize.context import Options

    return Options(**given)


@cli.command("compile")
@click.argument("model")
@click.option(
    "-o", "--output", default="lnn.c", show_default=True, help="The .c file to write; its .h stands beside it."
)
@compile_options
@click.option("--stop-after", type=click.Choice(STAGES), help="Print one stage of the pipeline and write nothing.")
def compile_command(model: str, output: str, name: str | None, given: dict[str, Any], stop_after: str | None) -> None:
    """Compile a checkpoint to one .c and one .h file without dependencies.

    MODEL is a .pt or .safetensors checkpoint (see `lnnc import`). Beside the pair stands <stem>_golden.h with vectors
    for the self-test, compiled in only under <NAME>_SELFTEST.

    \b
    lnnc compile student.pt -o soh.c --activations int8
    """
    from pathlib import Path

    from lnnc.frontend.storage import load_checkpoint
    from lnnc.pipeline import compile_model, describe_stage, write_files

    checkpoint = load_checkpoint(model)
    path = Path(output)
    if not stop_after:
        check_generated_targets(path)
    prefix = name if name is not None else _name_from(path, stop_after)
    compiled = compile_model(checkpoint, prefix, _options(given), path.stem)
    if stop_after:
        say(describe_stage(compiled, stop_after).rstrip("\n"))
        return
    written = write_files(compiled.files, path)
    from lnnc.codegen.emit import avr_refusal
    from lnnc.report.render import memory

    say(f"{written[0]}, {written[1].name}, {written[2].name}: {compiled.name}_step, {compiled.options.activations}")
    say(memory(compiled.program))
    if refusal := avr_refusal(compiled.program):
        say(f"not for AVR: {refusal}")


def check_generated_targets(source: Any) -> None:
    """Refuse, before any work, to write where it cannot be done or over a file that lnnc did not generate."""
    import re

    from lnnc.codegen.emit import read_manifest
    from lnnc.frontend.storage import check_target

    if source.suffix != ".c":
        raise LnncError(f"expected a name that ends in .c, found '{source}'", "--output", "-o lnn.c")
    if not re.fullmatch(r"[A-Za-z0-9_. +-]+", source.stem):  # it stands between the quotes of an #include
        expected = "expected a file name of ASCII letters, digits and _ . + -"
        raise LnncError(f"{expected}, found {source.name!r}", "--output", "-o lnn.c")
    for file in (source, source.with_suffix(".h"), source.with_name(f"{source.stem}_golden.h")):
        target = check_target(file)
        text = target.read_text(encoding="utf-8", errors="replace") if target.exists() else ""
        if text.strip() and read_manifest(text) is None:
            raise LnncError("exists, and lnnc did not generate it", str(file), "choose another name, or remove it")


def _name_from(path: Any, stop_after: str | None) -> str:
    """The prefix that a file name suggests."""
    return "lnn" if stop_after else str(path.stem)


@cli.command()
@click.argument("model")
@click.argument("source", required=False)
@click.option("--on", "targets", default="host", show_default=True, help="Where to run: host, m4, or host,m4.")
@compile_options
@click.option(
    "--vectors", type=click.IntRange(1, 100_000), default=128, show_default=True, help="About how many steps."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the random vectors.")
@click.option(
    "--m4-route", type=click.Choice(["auto", "debian", "pip"]),
    help="Tools for m4: arm-none-eabi-gcc and QEMU (debian), ziglang and unicorn (pip), or what is here (auto).",
)  # fmt: skip
@click.pass_context
def verify(
    ctx: click.Context, model: str, source: str | None, targets: str, name: str | None, given: dict[str, Any],
    vectors: int, seed: int, m4_route: str | None,
) -> None:  # fmt: skip
    """Prove generated C equal to the NumPy reference, byte for byte.

    SOURCE is a file that `lnnc compile` wrote from MODEL (it carries its own options); without it a fresh one is
    generated. Vectors are calibration data, seeded random values over the full int16 range, corners, and sequences
    with resets. The last line says PASS or FAIL.
    """
    from lnnc.pipeline import verify_model

    on = _targets(targets)
    with waiting("verifying"):
        reports = verify_model(
            model, source, on, name=name, options=given,
            vectors=vectors, seed=seed, route=m4_route,
        )  # fmt: skip
    ctx.exit(report_verification(on, reports))


def _targets(text: str) -> list[str]:
    """The machines of --on, each once."""
    return list(dict.fromkeys(target.strip() for target in text.split(",") if target.strip()))


def _prefix(name: str | None) -> str:
    return "lnn" if name is None else name


def report_verification(on: list[str], reports: list[Any]) -> int:
    """Print one line for each machine and the verdict; return the exit code."""
    for target, report in zip(on, reports, strict=True):
        say(f"{target:5} {report.machine}: {report.vectors} vectors, {report.compared} bytes compared")
        if not report.passed:
            say(f"      first difference: {report.difference}")
    failed = [target for target, report in zip(on, reports, strict=True) if not report.passed]
    if failed:
        say(click.style("FAIL", fg="red", bold=True) + f": reference and C differ on {', '.join(failed)}")
        return FAILED
    say(click.style("PASS", fg="green", bold=True) + f": every byte equal on {', '.join(on)}")
    return OK


@cli.command()
@click.argument("model")
@click.option("--data", help=".npz or .npy; the first array is read, in real units.")
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
    engine: str,
    output: str | None,
    name: str | None,
    given: dict[str, Any],
    m4_route: str | None,
) -> None:
    """Evaluate a model on a file of inputs, in real units, on any engine.

    A window model takes independent rows (N, inputs). A stream model takes consecutive samples (T, features) and
    carries its state; a 3-D array holds several streams, each after a reset. The result has a row for each input row
    or sample, NaN where no output was due.
    """
    from pathlib import Path

    import numpy as np

    from lnnc.frontend.import_dlnet import load_array
    from lnnc.frontend.storage import load_checkpoint, write_atomically
    from lnnc.pipeline import run_model
    from lnnc.report.render import finite_summary

    checkpoint = load_checkpoint(model)
    if data is None:
        raise LnncError("which inputs shall it run on?", "--data", "give --data X.npz, its first array in real units")
    if output is not None:
        _check_result_target(output, data)
    inputs = load_array(data)
    with waiting(f"running on {engine}"):
        result = run_model(checkpoint, inputs, engine, _prefix(name), _options(given), data, m4_route)
    if output is not None:
        write_atomically(Path(output), lambda temporary: np.savez(temporary, output=result))
    say(f"{engine}: {finite_summary(result)}" + (f" -> {output} {tuple(result.shape)}" if output else ""))


def _check_result_target(output: str, data: str) -> None:
    """Refuse, before any work, a result that cannot be written or would replace the inputs."""
    from pathlib import Path

    from lnnc.frontend.storage import check_not_same, check_target

    if Path(output).suffix != ".npz":
        raise LnncError(f"expected a name that ends in .npz, found '{output}'", "--output", "-o Y.npz")
    check_not_same(output, data, "the inputs")
    check_target(Path(output))


@cli.command()
@click.argument("model")
@compile_options
@click.option("--measure", is_flag=True, help="Compile for the Cortex-M4 (-Os) and show flash, RAM and stack.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect(model: str, name: str | None, given: dict[str, Any], measure: bool, as_json: bool) -> None:
    """Show a model's layers, shapes, ranges, scales and sizes."""
    import json

    from lnnc.pipeline import compile_model, inspection
    from lnnc.report import render

    compiled = compile_model(model, _prefix(name), _options(given))
    table = inspection(compiled, measure)
    if as_json:
        say(json.dumps(table, indent=2))
        return
    chosen = ", ".join(f"{key} {value}" for key, value in table["options"].items() if value is not None)
    say(f"{table['model']}\nsha256 {table['digest']}\narithmetic {table['arithmetic']}, {chosen}\n")
    say(render.layers_text(table["layers"]) + "\n")
    say(render.program_text(compiled.program))
    for key, value in (table.get("measured") or {}).items():
        say(f"{key}: {value}")


@cli.group("import")
def import_group() -> None:
    """Turn weights from elsewhere into a checkpoint that `lnnc compile` takes."""


def _fraction(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """A number, or a fraction such as 1/9."""
    if value is None:
        return None
    top, slash, bottom = value.partition("/")
    try:
        return float(top) / (float(bottom) if slash else 1.0)
    except (ValueError, ZeroDivisionError):
        raise click.BadParameter(f"expected a number or a fraction such as 1/9, found {value!r}") from None


def _span(_: click.Context, __: click.Parameter, value: str | None) -> tuple[float, float] | None:
    """LOW:HIGH."""
    if value is None:
        return None
    low, _colon, high = value.partition(":")
    try:
        if -float("inf") < float(low) < float(high) < float("inf"):
            return float(low), float(high)
    except ValueError:
        pass
    raise click.BadParameter(f"expected LOW:HIGH with LOW < HIGH, both finite, found {value!r}")


@import_group.command("dlnet")
@click.argument("weights")
@click.option("--dt", callback=_fraction, help="Euler time step, a number or a fraction (1/9).")
@click.option("--steps", type=click.IntRange(1, 10_000), help="Euler steps of one inference.")
@click.option("--scaler-min", type=float, help="Minimum of the min/max scaler it was trained with.")
@click.option("--scaler-max", type=float, help="Maximum of that scaler.")
@click.option("--no-scaler", is_flag=True, help="It was trained on raw values.")
@click.option("--calibration", help=".npz or .npy with typical inputs in real units: (N, window), or (N, T, features).")
@click.option("--keep", type=click.Choice(["inputs", "ranges"]), default="inputs", show_default=True,
              help="Store the calibration inputs, or only the range of every tensor.")  # fmt: skip
@click.option("--mode", type=click.Choice(["window", "stream"]), default="window", show_default=True,
              help="A step takes the whole window, or one sample of it.")  # fmt: skip
@click.option("--features", type=click.IntRange(1), default=1, show_default=True, help="Values of one sample.")
@click.option("--port", default="soh", show_default=True, help="Name of the input and output values.")
@click.option("--unit", default="1", show_default=True, help="Their unit.")
@click.option("--port-range", callback=_span, help="Their declared range LOW:HIGH (default 0:1.5 for ratios).")
@click.option("-o", "--output", help="The .pt or .safetensors to write.")
def import_dlnet_command(
    weights: str, dt: float | None, steps: int | None, scaler_min: float | None, scaler_max: float | None,
    no_scaler: bool, calibration: str | None, keep: str, mode: str, features: int, port: str, unit: str,
    port_range: tuple[float, float] | None, output: str | None,
) -> None:  # fmt: skip
    """Import a DLNet state_dict (the paper's teacher and students).

    Shapes come from the weights; what a state_dict cannot tell is asked for.

    \b
    lnnc import dlnet student.pth --dt 0.05 --steps 1 --scaler-min 0.818 --scaler-max 1.006 \\
        --calibration X.npz -o student.pt
    """
    from lnnc.frontend.import_dlnet import import_dlnet, load_array
    from lnnc.frontend.storage import check_checkpoint_target, save_checkpoint
    from lnnc.pipeline import with_ranges

    if no_scaler and (scaler_min, scaler_max) != (None, None):
        raise LnncError("it contradicts --scaler-min and --scaler-max", "--no-scaler", "give one or the other")
    if output is not None:
        check_checkpoint_target(output, weights, calibration)
    scaler = (0.0, 1.0) if no_scaler else (scaler_min, scaler_max)
    checkpoint = import_dlnet(
        weights, dt=dt, steps=steps, features=features, mode=mode, port=port, unit=unit, port_range=port_range,
        scaler=None if None in scaler else scaler, output=output,  # type: ignore[arg-type]
        calibration=None if calibration is None else lambda: load_array(calibration),
    )  # fmt: skip
    assert output is not None
    checkpoint = with_ranges(checkpoint) if keep == "ranges" else checkpoint
    save_checkpoint(checkpoint, output)
    say(
        f"{output}: {sum(a.size for a in checkpoint.tensors.values())} parameters, sha256 {checkpoint.digest()[:16]}..."
    )


@cli.command()
def doctor() -> None:
    """Show which tools are here, what each is for, and how to get the others."""
    from lnnc.report.render import columns
    from lnnc.verify.tools import status

    rows: list[tuple[str, ...]] = []
    for entry in status():
        here = f"{entry.version}" if entry.path else "missing"
        rows.append((entry.tool.name, here, entry.tool.purpose, "" if entry.path else entry.tool.how_to_get))
    say(columns(("tool", "found", "for", "to get it"), rows))


@cli.command()
@click.option("--out", "folder", default="lnnc-demo", show_default=True, help="Folder for the generated files.")
@click.option("--on", "targets", help="Where to verify (default: host, and m4 where its tools are here).")
@click.pass_context
def demo(ctx: click.Context, folder: str, targets: str | None) -> None:
    """Compile the bundled battery state-of-health student, verify it bit-exactly, print the report."""
    from pathlib import Path

    from lnnc.codegen.emit import avr_refusal
    from lnnc.frontend.storage import load_checkpoint
    from lnnc.pipeline import compile_model, inspection, verify_model, write_files
    from lnnc.report.render import layers_text
    from lnnc.resources import example_path

    model = example_path("soh/student.pt")
    checkpoint = load_checkpoint(model)
    compiled = compile_model(checkpoint, "soh")
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LnncError(f"cannot create the folder ({error.strerror})", folder, "--out FOLDER") from error
    check_generated_targets(Path(folder) / "soh.c")
    source, header, _ = write_files(compiled.files, Path(folder) / "soh.c")
    table = inspection(compiled, measure=True, optional=True)
    say(f"{table['model']}\n")
    say(layers_text(table["layers"]) + "\n")
    for key, value in checkpoint.provenance.items():
        say(f"{key}: {value:.5g}" if isinstance(value, float) else f"{key}: {value}")
    say(f"\n{source}, {header.name}: {compiled.name}_step")
    for key, value in (table.get("measured") or {}).items():
        say(f"{key}: {value}")
    if refusal := avr_refusal(compiled.program):
        say(f"not for AVR: {refusal}")
    say()
    on = _targets(targets) if targets else _demo_targets()
    with waiting("verifying"):
        reports = verify_model(checkpoint, source, on)
    ctx.exit(report_verification(on, reports))


def _demo_targets() -> list[str]:
    """host, and m4 where it can run; says what is missing where it cannot."""
    from lnnc.verify.emulate import find_m4

    try:
        find_m4()
    except LnncError as error:
        say(f"m4 skipped: {error}")
        return ["host"]
    return ["host", "m4"]


if __name__ == "__main__":
    main()
