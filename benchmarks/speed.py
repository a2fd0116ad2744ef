"""What a step costs in lnnc's C and in that of other tools: the same networks, the same emulated core, one run.

    python benchmarks/speed.py --data DIR --models DIR [-o docs/speed.svg] [--markdown docs/speed.md]
    python benchmarks/speed.py --growth          # lnnc alone: cycles over multiplications

DIRs are those of `published.py`. Needs ncps, onnxruntime, arm-none-eabi-gcc with newlib, unicorn and capstone; -o needs
matplotlib. Peers are installed by pip into a folder for temporary files unless a Python that has them is given. A peer
that cannot be installed, or cannot compile a network, has a row that says why.

Every cycle figure is an estimate of lnnc's model (docs/profile.md): +-5 %, memory without wait states.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from growth import growth, growth_text
from networks import Case, cases, temporary_folder
from peers import PEERS
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from speed_report import NOTE, RECORDED, markdown_table, pyplot, text_table, write_chart, write_markdown
from speed_rows import Job, Row, lnnc_jobs, peer_jobs, recorded

from lnnc.errors import LnncError
from lnnc.verify.cycles import NEEDED, require_cycle_tools
from lnnc.verify.tools import version_of

Say = Callable[[str], None]


class Reporter:
    """Progress on stderr: a bar on a terminal, a line for each finished job elsewhere."""

    def __init__(self, total: int) -> None:
        self.console = Console(stderr=True, highlight=False)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self.bar = Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal)
        self.task = self.bar.add_task("measuring", total=total)

    def say(self, text: str) -> None:
        """A line of its own."""
        self.console.print(text, markup=False, soft_wrap=True)

    def finished(self, name: str) -> None:
        """One job less."""
        self.bar.advance(self.task)
        if not self.console.is_terminal:
            self.say(name)


def measure(found: Sequence[Case], python: str | None, folder: Path, workers: int) -> dict[str, list[Row]]:
    """All rows of all networks, by their key."""
    jobs: list[tuple[str, str, Job]] = []
    reporter = Reporter(0)
    for case in found:
        named = lnnc_jobs(case, folder) + peer_jobs(case, python, folder, reporter.say, PEERS)
        jobs += [(case.key, name, job) for name, job in named]
    reporter.bar.update(reporter.task, total=len(jobs))
    for case in found:  # what several jobs share is made once, before any of them starts
        _ = case.onnx_error, case.steady
    with reporter.bar, ThreadPoolExecutor(workers) as pool:
        futures = [(key, pool.submit(_run, name, job, reporter)) for key, name, job in jobs]
        rows = gathered(futures)
    for row in recorded():
        rows[row.network].append(row)
    return rows


def _run(name: str, job: Job, reporter: Reporter) -> list[Row]:
    rows = job()
    reporter.finished(name)
    return rows


def gathered(futures: Sequence[tuple[str, Future[list[Row]]]]) -> dict[str, list[Row]]:
    """The rows in the order of their jobs; the first fault of lnnc's own rows ends the run."""
    rows: dict[str, list[Row]] = {}
    try:
        for key, future in futures:
            rows.setdefault(key, []).extend(future.result())
    except BaseException:
        for _, future in futures:
            future.cancel()
        raise
    return rows


def legend(found: Sequence[Case]) -> str:
    """What has to be said below the tables."""
    onnx = max(case.onnx_error for case in found)
    tools = ", ".join(f"{name} {version_of(name)}" for name in NEEDED if version_of(name))
    return "\n".join((
        f"{NOTE}; the most expensive of several steps, the same inputs for everyone.",
        "MAC: multiplications by a weight that is not 0, as trained. Flash: code, tables and library of a step.",
        "RAM: variables, state, scratch or arena, ports. Stack: painted. Largest error: of all outputs, against the",
        "float64 network, as a part of the range of its outputs.",
        f"The ONNX files that peers read differ from the networks by {onnx:.0e} of that range.",
        f"* {RECORDED}: docs/speed.md.",
        f"Tools: {tools}.",
    ))  # fmt: skip


def compare(arguments: argparse.Namespace) -> None:
    """Measure everything; print, and write what was asked for."""
    if arguments.output:
        pyplot()  # a missing package shows before the work, not after it
    with temporary_folder() as folder:
        found = cases(arguments.data, arguments.models)
        rows = measure(found, arguments.peers_python, Path(folder), arguments.jobs)
        tables = [(case.label, case.macs, rows[case.key]) for case in found]
        notes = legend(found)
    print("\n\n".join([*(text_table(*table) for table in tables), notes]))
    if arguments.markdown:
        write_markdown(arguments.markdown, "\n\n".join([*(markdown_table(*table) for table in tables), notes]))
    if arguments.output:
        write_chart(arguments.output, tables)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the smoothed data (published.py)")
    parser.add_argument("--models", type=Path, help="folder of the published checkpoints")
    parser.add_argument("--growth", action="store_true", help="only lnnc: cycles over multiplications, with a line")
    parser.add_argument("-o", "--output", type=Path, help="write a bar chart (SVG)")
    parser.add_argument("--markdown", type=Path, help="write the tables as Markdown, between the marks of a file")
    parser.add_argument("--peers-python", metavar="PATH", help="a Python that has the peers (default: made by pip)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at the same time (%(default)s)")
    found = parser.parse_args()
    if not found.growth and None in (found.data, found.models):
        parser.error("give --data and --models, or --growth")
    return found


def main() -> int:
    """Run the benchmark; returns the exit status."""
    arguments = parse_arguments()
    begin = time.perf_counter()
    console = Console(stderr=True, highlight=False)
    try:
        require_cycle_tools()
        if arguments.growth:
            print(growth_text(growth(lambda text: console.print(text, markup=False, soft_wrap=True))))
            print(f"{NOTE}; int16 activations, 8-bit weights, -O2.")
        else:
            compare(arguments)
    except LnncError as error:
        console.print(f"error: {error}", markup=False, soft_wrap=True)
        return 2
    console.print(f"{time.perf_counter() - begin:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
