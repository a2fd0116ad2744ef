"""`lnnc data`: cycling files and other sequences become one dataset."""

from __future__ import annotations

from typing import Any

import click

from lnnc.cli.options import Number
from lnnc.cli.terminal import say, waiting, warn


@click.group("data")
def data_group() -> None:
    """Turn cycling files, or any tables of sequences, into one dataset (.h5) to train on.

    \b
    lnnc data where                                        where published data are, and their licences
    lnnc data synth -o synthetic.mat                       invented cells in the shape of the MATR files
    lnnc data import 2017*.mat 2018*.mat -o soh.h5         the original MATR batches
    lnnc data import cells/ --nominal 2.0 -o soh.h5        a folder of CSV, one file a cell
    lnnc data import runs/ --columns current,temperature -o runs.h5
    lnnc data describe soh.h5 -o cells.svg                 what is in it
    """


def _names(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...]:
    """NAME,NAME,..."""
    return () if value is None else tuple(name.strip() for name in value.split(","))


@data_group.command("import")
@click.argument("paths", nargs=-1, metavar="PATH...")
@click.option("-o", "--output", help="The .h5 to write.")
@click.option("--nominal", type=Number(),
              help="Nominal capacity in Ah; SOH = capacity / nominal (known for MATR: 1.1).")  # fmt: skip
@click.option("--already-soh", is_flag=True, help="The values are SOH (about 1 when new), not Ah.")
@click.option("--licence", help="Licence of the data, kept in the file (known for MATR: CC BY 4.0).")
@click.option("--columns", callback=_names, metavar="NAME,...",
              help="Keep these columns as they are instead of capacities: for data of no battery.")  # fmt: skip
@click.option("--units", callback=_names, metavar="UNIT,...",
              help="Units of --columns (default: as headers such as 'Temperature / degC' say).")  # fmt: skip
@click.option("--capacity-column", metavar="NAME", help="Column of the capacity or SOH (default: by its name).")
@click.option("--cycle-column", metavar="NAME", help="Column of the cycle (default: by its name, else row by row).")
@click.option("--cell-column", metavar="NAME",
              help="Column that names the cell (default: by its name, else the file).")  # fmt: skip
@click.option("--batch", "batches", type=click.IntRange(1, 4), multiple=True,
              help="Number of the MATR batch of each .mat file, in their order (default: as they say).")  # fmt: skip
@click.option("--keep-noisy", is_flag=True, help="Keep the six noisy cells of MATR batch 3.")
@click.option("--keep-unfinished", is_flag=True, help="Keep the five cells of MATR batch 1 that never reach 80 %.")
@click.option("--no-join", is_flag=True, help="Leave the five cells that MATR batch 2 continues apart.")
@click.option("--no-repair", is_flag=True, help="Leave spikes, zeros and values that are not positive as they are.")
@click.option("--skip-bad", is_flag=True, help="Leave out files and cells that cannot be read, and report them.")
def import_command(paths: tuple[str, ...], output: str | None, no_join: bool, no_repair: bool, **rest: Any) -> None:
    """Import files and folders: MATR .mat (v7.3), CSV, Battery Data Format CSV, .npz.

    What a file is, is seen from its content. All that is joined, left out or changed is printed and kept in the
    dataset. If one file cannot be read, every fault is listed and nothing is written. The originals are only read.

    \b
    CSV: one row a cycle (or many: then the largest capacity of each cycle), one file a cell or a column
    that names it; columns are found by names such as cycle, cycle_count, capacity_ah, soh, cell_id.
    .npz: one array for each cell.
    """
    from pathlib import Path

    from lnnc.data.dataset import save_dataset
    from lnnc.data.describe import summary
    from lnnc.data.importing import UNSTATED, import_data
    from lnnc.data.reading import ImportOptions
    from lnnc.data.recognise import check_output
    from lnnc.files import check_target

    check_output(output, paths)
    check_target(Path(str(output)))
    options = ImportOptions(join=not no_join, repair=not no_repair, **rest)
    with waiting("reading") as status:
        dataset = import_data(paths, options, lambda file: status.update(f"reading {file}"))
    save_dataset(dataset, str(output))
    for line in dataset.report:
        say(line)
    say(f"{output}: {summary(dataset)}")
    if dataset.licence == UNSTATED:
        warn([f"{output}: the licence of the data is not stated; give --licence"])


@data_group.command("synth")
@click.option("-o", "--output", help="The .mat to write; its name holds 'synthetic'.")
@click.option("--batch", type=click.IntRange(1, 3), default=1, show_default=True,
              help="Which MATR batch it takes after; cells of 1 go on in 2.")  # fmt: skip
@click.option("--cells", type=click.IntRange(1), help="Number of cells (default: as many as the real batch has).")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Another seed, other cells.")
def synth_command(output: str | None, batch: int, cells: int | None, seed: int) -> None:
    """Write invented cells in the shape and with the traps of a MATR batch file.

    For tests, and to try things without the real data. The file, and every dataset made of it, says that it is
    synthetic. With the same seed the three batches fit together: 41 + 43 + 40 cells after the import.

    \b
    lnnc data synth --batch 1 -o synthetic_1.mat
    lnnc data import synthetic_1.mat -o synthetic.h5
    """
    from lnnc.data.synthetic import synthetic_cells, write_batch
    from lnnc.errors import LnncError

    if output is None:
        raise LnncError("where shall the file go?", "--output", "-o synthetic.mat")
    made = synthetic_cells(batch, cells, seed)
    write_batch(output, batch, made)
    say(f"{output}: {len(made)} synthetic cells in the shape of MATR batch {batch}, no measurement")


@data_group.command("describe")
@click.argument("dataset")
@click.option("-o", "--output", help="The .svg to draw the sequences into.")
def describe_command(dataset: str, output: str | None) -> None:
    """Show what is in a dataset: sequences, licence, where it came from, what was changed on the way.

    \b
    lnnc data describe soh.h5 -o cells.svg
    """
    from lnnc.data.dataset import load_dataset
    from lnnc.data.describe import describe, plot

    loaded = load_dataset(dataset)
    if output is not None:
        plot(loaded, output)
    say(describe(loaded))
    if output is not None:
        say(f"{output}: drawn")


@data_group.command("where")
def where_command() -> None:
    """Print where published cycling data are, and under which licence; nothing is downloaded."""
    from lnnc.data.sources import where_text

    say(where_text())
