"""`lnnc simulate`: a board for those who have none."""

from __future__ import annotations

from typing import Any

import click

from lnnc.cli.model import report_verification
from lnnc.cli.options import compile_options, prefix_of
from lnnc.cli.terminal import progressing, say


@click.command()
@click.argument("board", metavar="uno|mega|cortex-m4")
@click.argument("model")
@compile_options
@click.option(
    "--vectors", type=click.IntRange(1, 100_000), default=128, show_default=True, help="About how many steps."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the random vectors.")
@click.option(
    "--timeout", type=click.FloatRange(0.05, 600), default=5.0, show_default=True,
    help="Seconds that the board may take for an answer; then it is asked again, three times.",
)  # fmt: skip
@click.option("--keep", is_flag=True, help="Keep the board running at its port afterwards, until Ctrl-C.")
@click.pass_context
def simulate(
    ctx: click.Context, board: str, model: str, name: str | None, given: dict[str, Any], built: dict[str, Any],
    vectors: int, seed: int, timeout: float, keep: bool,
) -> None:  # fmt: skip
    """Build an Arduino sketch with MODEL, boot it on a virtual board, prove it over its serial line.

    The sketch is the example Verify of the library that `lnnc compile --layout arduino` makes; it is told what
    `lnnc verify --on device` tells a real board. uno and mega are simavr behind a pseudo-terminal (they need
    arduino-builder and simavr), cortex-m4 is QEMU behind a TCP port of 127.0.0.1, with the compiler flags of the
    Nano 33 BLE. The last line says PASS or FAIL.

    \b
    lnnc simulate uno student.pt
    """
    from contextlib import ExitStack

    from lnnc.simulation import simulated

    with ExitStack() as stack:
        with progressing(f"simulating {board}", "vectors") as progress:
            running = simulated(
                board, model, name=prefix_of(name), options=given, build=built, vectors=vectors, seed=seed,
                timeout=timeout, progress=progress,
            )  # fmt: skip
            report, place = stack.enter_context(running)
        say(f"{board}: {place.machine}" + (f"; the sketch: {place.built.sizes}" if place.built.sizes else ""))
        code = report_verification([report])
        if keep:
            _keep(place.port)
    ctx.exit(code)


def _keep(port: str) -> None:
    """Wait for Ctrl-C, which is how it is meant to end."""
    import contextlib
    import threading

    say(f"the board runs on at {port}; Ctrl-C ends it")
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
