"""`lnnc reproduce`: a published experiment, trained again by this pipeline, beside the published figures."""

from __future__ import annotations

import click

from lnnc.cli.terminal import say


@click.group("reproduce")
def reproduce_group() -> None:
    """Train a published experiment again and print its table beside ours."""


@reproduce_group.command("dlnet")
@click.option("--data", required=True, help="The smoothed cells: a .npz with an array for each, or an imported .h5.")
@click.option("--segments", required=True, help="JSON list of the test segments, cell and start of each.")
@click.option("--published", help="Folder of the published state_dicts, to measure them too.")
@click.option("-o", "--output", default="reproduce-dlnet", show_default=True,
              help="Folder for the networks and dlnet.csv.")  # fmt: skip
@click.option("--seeds", type=click.IntRange(1, 100), default=3, show_default=True,
              help="Complete experiments, for the spread.")  # fmt: skip
@click.option("--quick", is_flag=True, help="Few, small, hardly trained networks: shows in a minute that it runs.")
def reproduce_dlnet(data: str, segments: str, published: str | None, output: str, seeds: int, quick: bool) -> None:
    """Teacher, students, pruning, recovery and int8 of DLNet (arXiv:2601.06227), by its protocol and on its data.

    Every network is kept in the output folder as a checkpoint that lnnc compiles. A run that is interrupted goes on
    where it was; finished networks are not trained again.

    \b
    lnnc reproduce dlnet --data matr_smoothed_soh.npz --segments dlnet_segments.json -o out
    """
    from pathlib import Path

    from lnnc.train.dlnet.data import gather, load_cells, load_segments
    from lnnc.train.dlnet.run import Sources, run

    material = gather(load_cells(data), load_segments(segments))
    run(material, Sources(Path(output), None if published is None else Path(published)), seeds, quick, say)
