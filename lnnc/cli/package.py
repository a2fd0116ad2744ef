"""`lnnc package`: a trained student and all that surrounds it become a checkpoint."""

from __future__ import annotations

import click

from lnnc.cli.terminal import say


@click.command()
@click.argument("student", metavar="STUDENT.npz")
@click.option("--data", required=True, metavar="DATA.h5", help="Series to calibrate on: those it was trained on.")
@click.option("-o", "--output", required=True, metavar="STUDENT.pt", help="The checkpoint (.pt or .safetensors).")
@click.option("--keep", type=click.Choice(["inputs", "ranges"]), default="inputs", show_default=True,
              help="What the checkpoint carries of the series: samples of them, or no more than the range of each "
              "tensor.")  # fmt: skip
@click.option("--name", default="soh", show_default=True, help="Name of the input port.")
def package(student: str, data: str, output: str, keep: str, name: str) -> None:
    """Turn a student that `lnnc train` made into a checkpoint that compiles.

    Robust means, anchor line, features, network, trust gate and forecast become ops of it: the C takes raw values of a
    series and returns the forecast (docs/forecast.md).

    \b
    lnnc package student.npz --data soh.h5 -o student.pt
    lnnc compile student.pt --name soh -o soh.c
    """
    from pathlib import Path

    from lnnc.data.dataset import load_dataset
    from lnnc.frontend.storage import check_checkpoint_target, save_checkpoint
    from lnnc.pipeline import plan_model, with_ranges
    from lnnc.train.students.package import student_checkpoint
    from lnnc.train.students.soh import soh_series
    from lnnc.train.students.student import load_student

    check_checkpoint_target(output, student, data)
    trained = load_student(student)
    lives = list(soh_series(load_dataset(data)).values())
    checkpoint = student_checkpoint(trained, lives, output, name)
    checkpoint = with_ranges(checkpoint) if keep == "ranges" else checkpoint
    warnings = plan_model(checkpoint).lowered.warnings  # what cannot be compiled is told now
    save_checkpoint(checkpoint, output)
    for warning in warnings:
        say(f"warning: {warning}")
    say(f"{output}: {trained.kind}, {trained.parameters} parameters; calibrated on {len(lives)} series of {Path(data)}")
