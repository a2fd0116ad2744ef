"""`lnnc demo` and `lnnc doctor`: what a newcomer tries first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lnnc.cli.model import report_verification
from lnnc.cli.options import split_targets
from lnnc.cli.terminal import say, waiting
from lnnc.errors import LnncError

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
def doctor() -> None:
    """Show which tools are here, what each is for, and how to get the others."""
    from lnnc.report.render import columns
    from lnnc.verify.tools import status

    rows: list[tuple[str, ...]] = []
    for entry in status():
        here = f"{entry.version}" if entry.path else "missing"
        rows.append((entry.tool.name, here, entry.tool.purpose, "" if entry.path else entry.tool.how_to_get))
    say(columns(("tool", "found", "for", "to get it"), rows))


@click.command()
@click.option("--out", "folder", default="lnnc-demo", show_default=True, help="Folder for the generated files.")
@click.option("--on", "targets", help="Where to verify (default: host, and m4 where its tools are here).")
@click.pass_context
def demo(ctx: click.Context, folder: str, targets: str | None) -> None:
    """Compile the bundled battery state-of-health student, verify it bit-exactly, print the report."""
    from pathlib import Path

    from lnnc.codegen.emit import avr_refusal
    from lnnc.frontend.storage import load_checkpoint
    from lnnc.inspection import inspection
    from lnnc.output import check_pair, write_pair
    from lnnc.pipeline import compile_model
    from lnnc.report.render import layers_text
    from lnnc.resources import example_path
    from lnnc.verification import verify_model

    model = example_path("soh/student.pt")
    checkpoint = load_checkpoint(model)
    compiled = compile_model(checkpoint, "soh")
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LnncError(f"cannot create the folder ({error.strerror})", folder, "--out FOLDER") from error
    check_pair(Path(folder) / "soh.c")
    source, header, _ = write_pair(compiled.files, Path(folder) / "soh.c")
    table = inspection(compiled, measure=True, optional=True)
    say(f"{table['model']}\n")
    say(layers_text(table["layers"]) + "\n")
    for key, value in checkpoint.provenance.items():
        say(f"{key}: {value:.5g}" if isinstance(value, float) else f"{key}: {value}")
    say(f"\n{_scores(example_path('soh/scores.csv'))}")
    say(f"{source}, {header.name}: {compiled.name}_step")
    for key, value in (table.get("measured") or {}).items():
        say(f"{key}: {value}")
    if refusal := avr_refusal(compiled.program):
        say(f"not for AVR: {refusal}")
    say()
    on = split_targets(targets) if targets else _demo_targets()
    with waiting("verifying"):
        reports = verify_model(checkpoint, source, on)
    ctx.exit(report_verification(reports))


PAPER = ("the DLNet paper, on smoothed curves that a polynomial fits", "0.00660")


def _scores(file: Path) -> str:
    """The student beside the naive forecasters, on cells that it has not seen: what `examples/soh/train.py` wrote."""
    import csv

    from lnnc.report.render import columns

    with file.open(encoding="utf-8", newline="") as text:
        header, *rows = csv.reader(text)
    cells: list[tuple[str, ...]] = [(row[0], row[1]) for row in rows]
    cells.append(PAPER)
    return f"Mean absolute error of SOH over the next 100 cycles:\n{columns((header[0], header[1]), cells)}\n"


def _demo_targets() -> list[str]:
    """host, and m4 where it can run; says what is missing where it cannot."""
    from lnnc.verify.emulate import find_m4

    try:
        find_m4()
    except LnncError as error:
        say(f"m4 skipped: {error}")
        return ["host"]
    return ["host", "m4"]
