"""`lnnc profile`: what a model costs on a microcontroller."""

from __future__ import annotations

from typing import Any

import click

from lnnc.cli.options import compile_options, make_build, make_options, opt_option, prefix_of
from lnnc.cli.terminal import say, takes, waiting, warn

PATHS = ("plain", "intrinsics", "assembly")  # the values of <NAME>_PATH in the generated C


@click.command()
@click.argument("model")
@compile_options
@opt_option
@click.option(
    "--path",
    type=click.Choice(PATHS),
    help="Code path to measure: plain C, DSP intrinsics, or those and assembly (default: the fastest of the target).",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def profile(
    model: str, name: str | None, given: dict[str, Any], built: dict[str, Any], opt: str, path: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Show what a step costs on a microcontroller: cycles by layer, time, energy, flash, RAM, stack.

    The code is compiled with arm-none-eabi-gcc and run on an emulated core. Cycles are modelled, not measured: every
    figure is an estimate, within 5 % at zero wait states and within 15 % on an nRF52840 that reads its weights from
    flash. The worst of several steady steps is shown.

    \b
    lnnc profile student.pt --activations int8 --opt -O2
    """
    import json

    from lnnc.pipeline import compile_model
    from lnnc.profiling import profile_model
    from lnnc.report.profile import EIGHTHS, profile_json, profile_text

    with waiting("profiling"):
        compiled = compile_model(model, prefix_of(name), make_options(given), build=make_build(built))
        flags = () if path is None else (f"-D{compiled.name.upper()}_PATH={PATHS.index(path)}",)
        found = profile_model(compiled, opt, flags=flags)
    if as_json:
        say(json.dumps(profile_json(found), indent=2))
        return
    say(profile_text(found, plain=not takes(EIGHTHS)))
    warn(compiled.lowered.warnings)
