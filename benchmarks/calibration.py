"""The model of Cortex-M4 cycles against a board: the workloads whose cycles bakeNN 1.0.0 publishes for an nRF52840.

    python benchmarks/calibration.py [--peers-python PATH]

bakeNN's source package holds the results of its authors' runs on FIT IoT-LAB's nRF52840DK (Cortex-M4F, 64 MHz, Zephyr
2.7.5): the median of 101 calls by Zephyr's cycle counter, every input byte at its zero point. Its fixtures, fetched by
pip for each run and not part of lnnc, are compiled by bakeNN again and run on the emulated core. The outputs have to be
the recorded ones.

Three networks, five counts; flags as recorded there: -O2, sections, --gc-sections, arm-zephyr-eabi-gcc 10.3.0.

- "fitted": a 32 -> 16 -> 4 network, int8, ReLU fused into the first layer, by CMSIS-NN 4.0.0 and by portable C.
- "not fitted": the same shape with other numbers, by portable C and by bakeNN's own kernel for this core; and a 3 x 3
  convolution 4x4x1 -> 4x4x2 with ReLU, by portable C. That one's fixture is not in the package. Here it has weights of
  our own, which an input at its zero point multiplies by 0, and biases of our own that give the recorded output (of
  which the board's log holds the beginning); three choices of these lay within 1 % of each other.

What this says and what it does not:

- The +3 cycles for a load of data from flash (`NRF52840.flash_wait`) were FITTED to the two counts called "fitted".
  That these agree says nothing about the band of the nRF52840. Three that were not fitted say something, but they are
  small programs of one author, kind and chip. They fit its instruction cache; whether that was on is not recorded.
- Compilers differ (10.3.0 there, whatever is installed here), and so may bakeNN: the board ran a revision before its
  1.0.0 with changes that were not committed. How much of a deviation is rounding by these is unknown. Zephyr adds flags
  that were not recorded; the rows with -ffreestanding and -fno-strict-overflow show what two that it usually adds move.
- -Os is not what the board ran: it shows how much a wrong guess of the optimisation would have mattered.
- The board's counts hold the call and a read of the counter, some cycles of each; the model's hold the function alone.
- NOT checked: any other board, any memory without wait states (the +-5 % band stands on AES routines measured
  elsewhere), a program whose code waits for flash (docs/profile.md names one, 10 to 16 % above the model), floats.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from networks import temporary_folder
from peer_image import build_image
from peers import BAKENN, bakenn_code, find_python
from rich.console import Console
from speed_rows import TARGET, read_records, records

from lnnc.errors import LnncError
from lnnc.targets import NRF52840
from lnnc.verify.cycles import Cost, PriceBook, count, require_cycle_tools
from lnnc.verify.tools import version_of

RECORDED_FLAGS = ("-O2",)
FLAGS = (RECORDED_FLAGS, ("-O2", "-ffreestanding", "-fno-strict-overflow"), ("-Os",))
RESULTS = "benchmarks/tflm_compare/results"  # in bakeNN's source package
TIMEOUT = 600
WAITS = f"+{NRF52840.flash_wait} a load"
HEAD = ("workload", "kernels", "count", "compiled", "board", "no waits", "", WAITS, "")
LEFT = 4  # columns of text


@dataclass(frozen=True)
class Workload:
    """What was measured on the board.

    Attributes:
        fixture: key of GRAPHS in `GENERATE`.
        policy, cmsis: bakeNN's kernels.
        inputs: bytes of the input port.
        output: as recorded.
        cycles: median on the board.
        source: file in `RESULTS`.
        fitted: flash_wait was chosen by it.
    """

    words: str
    kernels: str
    fixture: str
    policy: str
    cmsis: bool
    inputs: int
    output: tuple[int, ...]
    cycles: int
    source: str
    fitted: bool = False


MLP, OTHER, CONVOLUTION = "32 -> 16 -> 4", "32 -> 16 -> 4, other numbers", "conv 3x3, 4x4x1 -> 4x4x2"
FIRST, SECOND, THIRD = "iotlab_447626_direct_cmsis_fc.md", "iotlab_447609.md", "iotlab_447609_conv.md"
WORKLOADS = (
    Workload(MLP, "CMSIS-NN", "mlp", "STATIC_PRIORITY", True, 32, (-5, -4, -4, -4), 3786, FIRST, True),
    Workload(MLP, "portable C", "mlp", "PORTABLE", False, 32, (-5, -4, -4, -4), 8706, FIRST, True),
    Workload(OTHER, "portable C", "smoke", "PORTABLE", False, 32, (-8, 10, -15, 3), 8508, SECOND),
    Workload(OTHER, "its Cortex-M4 kernel", "smoke", "STATIC_PRIORITY", False, 32, (-8, 10, -15, 3), 8872, SECOND),
    Workload(CONVOLUTION, "portable C", "convolution", "PORTABLE", False, 16, (1,) * 32, 24610, THIRD),
)

# Run by the Python that has bakeNN, and perhaps no lnnc: source package, folder, fixture, policy, "cmsis" or "".
GENERATE = """
import runpy, sys
from pathlib import Path
import bakenn, numpy as np
from bakenn.ir import Conv2DOp, DType, Layout, PerAxisQParams, PerTensorQParams, QuantizedGraph, TensorType

package, folder, fixture, policy, cmsis = sys.argv[1:]

def given(file, name):
    return lambda: runpy.run_path(str(Path(package) / file))[name]()

def convolution():
    scales, ports = (0.125, 0.25), (PerTensorQParams(0.25, -3), PerTensorQParams(0.5, 1))
    rows = PerAxisQParams(scales, (0, 0), 0), PerAxisQParams(tuple(0.25 * each for each in scales), (0, 0), 0)
    weight = np.arange(-9, 9, dtype=np.int8).reshape(2, 3, 3, 1)
    values = {
        "x": TensorType((1, 4, 4, 1), DType.INT8, Layout.NHWC, ports[0]),
        "w": TensorType(weight.shape, DType.INT8, Layout.OHWI, rows[0]),
        "b": TensorType((2,), DType.INT32, Layout.C, rows[1]),
        "y": TensorType((1, 4, 4, 2), DType.INT8, Layout.NHWC, ports[1]),
    }
    layer = Conv2DOp("layer", "x", "w", "b", "y", padding=(1, 1, 1, 1), activation_min=ports[1].zero_point)
    constants = {"w": weight, "b": np.array([2, -5], np.int32)}
    return QuantizedGraph("convolution", values, constants, (layer,), ("x",), ("y",))

GRAPHS = {
    "mlp": given("benchmarks/tflm_compare/model_fixtures.py", "cmsis_mlp_graph"),
    "smoke": given("examples/targets/generate_smoke.py", "smoke_graph"),
    "convolution": convolution,
}
options = bakenn.CBackendOptions(
    kernel_policy=bakenn.KernelPolicy[policy], enable_cmsis_nn=bool(cmsis), target=bakenn.CORTEX_M4
)
made = bakenn.compile(
    GRAPHS[fixture](), folder, model_name="peer", target=bakenn.CORTEX_M4, backend_options=options
)
plan = made.plan
zeros = np.zeros(plan.tensors[plan.inputs[0]].tensor_type.shape, np.float32)
np.save(Path(folder) / "reference.npy", bakenn.run_reference(plan, bakenn.quantize_input(plan, zeros)))
"""


def run(command: list[str], where: str, hint: str = "") -> None:
    """Run a program.

    Raises:
        LnncError: it failed; its last line says why.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise LnncError(str(fault), where, hint) from fault
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise LnncError(lines[-1], where, hint)


def source_package(python: str, folder: Path) -> Path:
    """bakeNN's source package, fetched and unpacked: its fixtures are not in the wheel.

    Raises:
        LnncError: pip cannot fetch it.
    """
    requirement = BAKENN.requirements[-1]
    command = [python, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
    hint = "it needs the package index that pip is set up for"
    run([*command, "--no-binary", BAKENN.module, "-d", str(folder), requirement], f"pip download {requirement}", hint)
    archive = next(folder.glob("*.tar.gz"))
    shutil.unpack_archive(archive, folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def check_recorded(package: Path) -> None:
    """Raises LnncError where a count of `WORKLOADS` is not in the file that it is said to stand in."""
    for each in WORKLOADS:
        text = (package / RESULTS / each.source).read_text(encoding="utf-8")
        if not re.search(rf"\b{each.cycles:,}\b", text):
            raise LnncError(f"{each.cycles:,} cycles are not in it", f"{package.name}/{RESULTS}/{each.source}")


def modelled(workload: Workload, python: str, package: Path, folder: Path) -> Iterator[tuple[str, Cost]]:
    """Flags, and what a call costs with them.

    Raises:
        LnncError: bakeNN or the compiler refuses, or the output is not the recorded one.
    """
    made = folder / "made"
    policy = [workload.fixture, workload.policy, "cmsis" if workload.cmsis else ""]
    run([python, "-c", GENERATE, str(package), str(made), *policy], f"bakeNN, {workload.words}")
    code = bakenn_code(made)
    for number, flags in enumerate(FLAGS):
        image = build_image(code.sources, code.glue, (*TARGET.cflags, *flags), folder / f"build{number}")
        counted = count(image, records(code, [True], np.zeros((1, workload.inputs))), code.entry)
        output = read_records(counted.output, code)[0][0]
        if output != code.reference or tuple(np.frombuffer(output, np.int8)) != workload.output:
            raise LnncError(f"its output is not the recorded {workload.output}", workload.words)
        yield " ".join(flags), PriceBook(image).price(counted.calls[0]).total


def cells(workload: Workload, flags: str, cost: Cost) -> tuple[str, ...]:
    """A line of the table."""
    fitted = "fitted" if workload.fitted else "not fitted"
    figures = [(cycles, cycles / workload.cycles - 1) for cycles in (cost.cycles, cost.waiting(NRF52840.flash_wait))]
    priced = [text for cycles, off in figures for text in (f"{cycles:,}", f"{off:+.1%}")]
    return workload.words, workload.kernels, fitted, flags, f"{workload.cycles:,}", *priced


def table(lines: list[tuple[str, ...]]) -> str:
    """Columns of text to the left, of figures to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place < LEFT else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def notes() -> str:
    """What has to be said below the table."""
    sources = dict.fromkeys(f"  {each.source}: {each.words}" for each in WORKLOADS)
    return "\n".join((
        "Board: IoT-LAB nRF52840DK, 64 MHz; recorded, not run here. It stands in the source package of",
        f"{BAKENN.requirements[-1]}, {RESULTS}:",
        *sources,
        f"There: {' '.join(RECORDED_FLAGS)}, gcc 10.3.0. Here: arm-none-eabi-gcc {version_of('arm-none-eabi-gcc')}.",
        "The outputs are the recorded ones.",
        f"{WAITS}: so many cycles more for every load of data from flash. It was fitted to the two",
        "counts that are marked: these say nothing about the error. No other board was compared.",
    ))  # fmt: skip


def compare(python: str | None, console: Console) -> None:
    """Measure and print."""
    found = find_python(BAKENN, python, lambda text: console.print(text, markup=False, soft_wrap=True))
    lines: list[tuple[str, ...]] = [HEAD]
    with temporary_folder() as name:
        package = source_package(found, Path(name))
        check_recorded(package)
        for number, workload in enumerate(WORKLOADS):
            folder = Path(name) / str(number)
            folder.mkdir()
            lines += [cells(workload, *priced) for priced in modelled(workload, found, package, folder)]
    print(f"{table(lines)}\n\n{notes()}")


def main() -> int:
    """Run the comparison; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers-python", metavar="PATH", help="a Python with bakeNN and pip (default: made by pip)")
    console = Console(stderr=True, highlight=False)
    arguments = parser.parse_args()
    try:
        require_cycle_tools()
        compare(arguments.peers_python, console)
    except LnncError as error:
        console.print(f"error: {error}", markup=False, soft_wrap=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
