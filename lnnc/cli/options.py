"""Options that several commands share, and what their values mean."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
PORT_OPTIONS = ("port", "unit", "range")
ARITHMETIC_OPTIONS = ("activations", "input_frac", "output_frac", "weight_bits", "runtime_dt")
BUILD_OPTIONS = ("target", "weights", "packing")


class _Finite:
    """What click takes as a float and no comparison refuses, NaN and Inf, is no number here."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)  # type: ignore[misc]
        if not math.isfinite(number):
            raise click.BadParameter(f"expected a finite number, found {value!r}", ctx, param)
        return number


class Number(_Finite, click.types.FloatParamType):
    """A finite number; the type of every option that takes one."""


class NumberRange(_Finite, click.FloatRange):
    """A finite number between limits."""


def span(_: click.Context, __: click.Parameter, value: str | None) -> tuple[float, float] | None:
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


def with_options(command: Any, options: Sequence[Callable[[Any], Any]]) -> Any:
    """The command with these options, which --help shows in this order."""
    for option in reversed(options):
        command = option(command)
    return command


def compile_options(command: F) -> F:
    """The options that decide about the generated C: the same for compile, verify, run, inspect and profile.

    The command gets what was given of `ARITHMETIC_OPTIONS` as `given`, and of `BUILD_OPTIONS`, which change no result,
    as `built`.
    """
    from lnnc.targets import PACKINGS, TARGETS, WEIGHTS

    options = (
        click.option(
            "--name",
            help="Prefix of every public C name, e.g. soh for soh_step (default: the name of the .c file or of the "
            "layout's folder, else lnn).",
        ),
        click.option(
            "--activations",
            type=click.Choice(["int16", "int8"]),
            help="Width of the tensors between layers (default: int16).",
        ),
        click.option("--input-frac", type=int, help="Fraction bits of the input ports: real = q / 2^FRAC."),
        click.option("--output-frac", type=int, help="Fraction bits of the output ports."),
        click.option(
            "--weight-bits", type=click.Choice(["8", "16", "auto"]),
            help="Width of the weights; auto: the fewest 16-bit layers that keep the outputs within 0.5 % of the "
            "trained network on its calibration data (default: what the model says of each layer, else 8).",
        ),
        click.option(
            "--runtime-dt", callback=span, metavar="MIN:MAX",
            help="Make the time between two samples an argument of the step, for irregularly sampled data "
            "(liquid cells; default: the constant that the model carries).",
        ),
        click.option(
            "--target", type=click.Choice(list(TARGETS)),
            help="Processor: cortex-m4 and -m7 get DSP code beside plain C, which runs anywhere; it is also the one "
            "that costs are told for (default: cortex-m4).",
        ),
        click.option(
            "--weights", type=click.Choice(WEIGHTS),
            help="Memory of the weights; ram: copied at start-up, faster where flash has wait states (default: flash).",
        ),
        click.option(
            "--packing", type=click.Choice(PACKINGS),
            help="How dense weights lie there: blocks are faster and take a kilobyte of code, rows are plain (default: "
            "auto, whichever pays). Results do not change.",
        ),
    )  # fmt: skip

    @wraps(command)
    def call(*args: Any, name: str | None, **rest: Any) -> Any:
        given, built = (
            {key: value for key in keys if (value := rest.pop(key)) is not None}
            for keys in (ARITHMETIC_OPTIONS, BUILD_OPTIONS)
        )
        return command(*args, name=name, given=given, built=built, **rest)

    return with_options(call, options)  # type: ignore[no-any-return]


def layout_option(command: F) -> F:
    """How the generated files are laid out."""
    from lnnc.targets import LAYOUTS, PAIR

    return click.option(
        "--layout", type=click.Choice(LAYOUTS), default=PAIR, show_default=True,
        help="pair: two files and the self-test's vectors; else a folder: a library for Arduino (and its zip) or "
        "PlatformIO, a CMake project, a Zephyr module.",
    )(command)  # fmt: skip


def opt_option(command: F) -> F:
    """How the generated C is compiled to see what it costs."""
    return click.option(
        "--opt", type=click.Choice(["-Os", "-O2", "-O3"]), default="-Os", show_default=True,
        help="Optimisation of the C compiler that costs are told for.",
    )(command)  # fmt: skip


def vector_options(command: F) -> F:
    """How many steps a verification runs, and which."""
    options = (
        click.option(
            "--vectors", type=click.IntRange(1, 100_000), metavar="N", default=128, show_default=True,
            help="About N steps of a window model, or on a device. Else 5 streams (8 with calibration data) of about "
            "N/3 steps each, and long enough to fill windows and to see resets.",
        ),
        click.option(
            "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the random vectors."
        ),
    )  # fmt: skip
    return with_options(command, options)  # type: ignore[no-any-return]


def line_options(command: F) -> F:
    """How a board is reached; the command gets it as `line`, None where nothing was said of it."""
    options = (
        click.option(
            "--port",
            help="Of a device: a serial port, a URL such as socket://127.0.0.1:4000, or auto, the only board here "
            "(default: auto).",
        ),
        click.option("--baud", type=click.IntRange(300), help="Of a device (default: 115200)."),
        click.option(
            "--timeout", "patience", type=NumberRange(0.05, 600), metavar="SECONDS",
            help="That a device may take for an answer; then it is asked again, three times (default: 2).",
        ),
    )  # fmt: skip

    @wraps(command)
    def call(*args: Any, **rest: Any) -> Any:
        said = {key: value for key in ("port", "baud", "patience") if (value := rest.pop(key)) is not None}
        if not said:
            return command(*args, line=None, **rest)
        from lnnc.verify.device.run import Line

        return command(*args, line=Line(**said), **rest)

    return with_options(call, options)  # type: ignore[no-any-return]


def budget_options(command: F) -> F:
    """The most that a model may cost on the target; they arrive as one argument `budgets`."""
    limits = (
        ("flash", "BYTES", 1024, "code and tables take more flash than this, e.g. 32k (1k = 1024, 1M)."),
        ("ram", "BYTES", 1024, "state, scratch and ports take more RAM than this (the stack not counted)."),
        ("cycles", "N", 1000, "a step takes more cycles than this at zero wait states, an estimate (1k = 1000)."),
    )

    @wraps(command)
    def call(*args: Any, **rest: Any) -> Any:
        budgets = {name: rest.pop(f"max_{name}") for name, *_ in limits}
        return command(*args, budgets=budgets, **rest)

    options = [
        click.option(f"--max-{name}", metavar=metavar, callback=quantity(kilo), help=f"Fail where {text}")
        for name, metavar, kilo, text in limits
    ]
    return with_options(call, options)  # type: ignore[no-any-return]


def quantity(kilo: int) -> Callable[[click.Context, click.Parameter, str | None], int | None]:
    """A whole number above 0, with a suffix k or M for `kilo` or its square."""

    def read(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
        if value is None:
            return None
        found = re.fullmatch(r"(\d{1,12})([kKmM]?)", value.strip())
        if found is None or int(found.group(1)) == 0:
            raise click.BadParameter(f"expected a whole number above 0 such as 4096, 32k or 1M, found {value!r}")
        return int(found.group(1)) * {"": 1, "k": kilo, "m": kilo * kilo}[found.group(2).lower()]

    return read


def make_options(given: dict[str, Any]) -> Any:
    """The compiler's options from those that were given."""
    from lnnc.quantize.context import Options

    return Options(**given)


def make_build(built: dict[str, Any]) -> Any:
    """Processor, memory and packing from what was given."""
    from lnnc.targets import Build

    return Build(**built)


def prefix_of(name: str | None) -> str:
    """The prefix of the C names where no output file suggests one."""
    return "lnn" if name is None else name


def split_targets(text: str) -> list[str]:
    """The machines of --on, each once."""
    return list(dict.fromkeys(target.strip() for target in text.split(",") if target.strip()))


def fraction(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """A number, or a fraction such as 1/9."""
    if value is None:
        return None
    top, slash, bottom = value.partition("/")
    try:
        return float(top) / (float(bottom) if slash else 1.0)
    except (ValueError, ZeroDivisionError):
        raise click.BadParameter(f"expected a number or a fraction such as 1/9, found {value!r}") from None


def import_options(command: F) -> F:
    """What every import of a network for streams asks; the command gets what was said of `inputs` and `outputs`."""
    options = (
        click.option(
            "--calibration", help=".npz or .npy with typical inputs in real units: (T, features) or (N, T, features)."
        ),
        click.option(
            "--weight-bits", type=click.Choice(["8", "16", "auto"]), default="auto", show_default=True,
            help="Width of the weights; auto: the fewest 16-bit layers that keep the outputs close.",
        ),
        click.option(
            "--keep", type=click.Choice(["inputs", "ranges"]), default="inputs", show_default=True,
            help="Store the calibration inputs, or only the range of every tensor.",
        ),
        click.option("--in-port", help="Name of the input values (default: as in the file, else x)."),
        click.option("--in-unit", help="Their unit (default: 1)."),
        click.option("--in-range", callback=span, help="Their declared range LOW:HIGH (default: by the calibration)."),
        click.option("--out-port", help="Name of the output values (default: as in the file, else y)."),
        click.option("--out-unit", help="Their unit (default: 1)."),
        click.option("--out-range", callback=span, help="Their declared range LOW:HIGH (default: by the calibration)."),
        click.option("-o", "--output", help="The .pt or .safetensors to write."),
    )  # fmt: skip

    @wraps(command)
    def call(*args: Any, weight_bits: str, **rest: Any) -> Any:
        inputs, outputs = (_port(*(rest.pop(f"{end}_{key}") for key in PORT_OPTIONS)) for end in ("in", "out"))
        bits = weight_bits if weight_bits == "auto" else int(weight_bits)
        return command(*args, inputs=inputs, outputs=outputs, weight_bits=bits, **rest)

    return with_options(call, options)  # type: ignore[no-any-return]


def _port(name: str | None, unit: str | None, limits: tuple[float, float] | None) -> dict[str, Any] | None:
    """What was said of a port; None where nothing was."""
    given = {"name": name, "unit": unit, "range": limits}
    return {key: value for key, value in given.items() if value is not None} or None
