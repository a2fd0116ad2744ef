"""`lnnc simulate`: a board for those who have none."""

from __future__ import annotations

import contextlib
import threading
from contextlib import ExitStack
from typing import Any

import click

from lnnc.cli.model import report_verification
from lnnc.cli.options import NumberRange, compile_options, make_options, prefix_of, vector_options
from lnnc.cli.terminal import progressing, say, waiting


@click.command()
@click.argument("board", metavar="uno|mega|cortex-m4")
@click.argument("model")
@compile_options
@vector_options
@click.option(
    "--timeout", type=NumberRange(0.05, 600), default=5.0, show_default=True,
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
    from lnnc.simulation import board_library, plan_board, prove, virtual_board

    compiled = plan_board(board, model, prefix_of(name), make_options(given), built)
    with ExitStack() as stack:
        with waiting(f"building for {board}"):
            running = stack.enter_context(virtual_board(board, board_library(compiled)))
        say(f"{board}: {running.machine}" + (f"; the sketch: {running.built.sizes}" if running.built.sizes else ""))
        with progressing(f"verifying on {board}", "vectors") as progress:
            report = prove(board, running, compiled, vectors, seed, timeout, progress)
        if used := running.stack():
            say(f"stack: {used.used} bytes at most, of {used.room} that the variables leave")
        code = report_verification([report])
        if keep:
            _keep(running.port)
    ctx.exit(code)


def _keep(port: str) -> None:
    """Wait for Ctrl-C, which is how it is meant to end."""
    with contextlib.suppress(KeyboardInterrupt):
        say(f"the board runs on at {port}; Ctrl-C ends it")
        threading.Event().wait()
