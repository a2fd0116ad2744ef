"""Modelled cycles of a step on a Cortex-M4: what an emulated core executed, at the prices of `cycle_rules`.

One image is built, run and priced: the code that a board gets. `owners` tells which kernel call an instruction of the
step belongs to; what a kernel executes belongs to the call. Entry and return of the step are called glue.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lnnc.errors import LnncError
from lnnc.files import work_folder
from lnnc.ir.graph import Array
from lnnc.ir.program import Program
from lnnc.kernels.fixed import Ints
from lnnc.reference.quantio import to_raw
from lnnc.targets import Target
from lnnc.verify.cycle_rules import Instruction, block_cycles, decode, taken_cycles
from lnnc.verify.emulate import M4Machine, input_file, package_env
from lnnc.verify.machine import check_run, run_process
from lnnc.verify.model_run import Garbage, Record, Reset, Step, build_model, encode_records
from lnnc.verify.owners import DEBUG_FLAGS, GLUE, instruction_owners
from lnnc.verify.tools import find_tool, tool
from lnnc.verify.vectors import INT16, calibration_rows, recurrent, smooth_rows

NEEDED = ("arm-none-eabi-gcc", "unicorn", "capstone", "pyelftools")
TYPICAL, STEADY = 4, 6  # inputs of a window model; steps of a stream after its warm-up


@dataclass(frozen=True)
class Cost:
    """What a stretch of code costs.

    Attributes:
        instructions: executed, those included that IT skipped.
        cycles: modelled, without wait states.
        reads: words that were loaded from flash as data.
    """

    instructions: int = 0
    cycles: int = 0
    reads: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.instructions + other.instructions, self.cycles + other.cycles, self.reads + other.reads)

    def waiting(self, wait: int) -> int:
        """Cycles where every data load from flash takes `wait` cycles longer."""
        return self.cycles + wait * self.reads


@dataclass(frozen=True)
class CallCost:
    """One call of the function that is measured: its result, its stack in bytes, its cost by owner."""

    ret: int
    stack: int
    parts: dict[int, Cost]

    @property
    def total(self) -> Cost:
        return sum(self.parts.values(), Cost())


@dataclass(frozen=True)
class StepCost:
    """The most expensive of several steps.

    Attributes:
        calls: of each kernel call, by its number.
        glue: entry and return.
        stack: bytes of stack that the deepest step used.
        steps: how many it was chosen from.
        inputs: what they were, in words.
        between: the most expensive step that gave no output, only took a sample; nothing where all gave some.
    """

    calls: dict[int, Cost]
    glue: Cost
    stack: int
    steps: int
    inputs: str
    between: Cost = field(default_factory=Cost)

    @property
    def total(self) -> Cost:
        return sum(self.calls.values(), self.glue)


def require_cycle_tools() -> None:
    """Raises LnncError naming every tool of the cycle model that is missing, and how to get each."""
    missing = [name for name in NEEDED if find_tool(name) is None]
    if missing:
        ways = dict.fromkeys(tool(name).how_to_get for name in missing)
        raise LnncError(f"modelling cycles needs {', '.join(missing)}: not installed", hint="; ".join(ways))


@dataclass(frozen=True)
class Counted:
    """What `cycle_runner` counted: a record for each call, and the harness's output."""

    calls: list[dict[str, Any]]
    output: bytes


def count(image: Path, data: bytes, entry: str) -> Counted:
    """Run an image with an input and count every call of a function in it.

    Raises:
        LnncError: the image crashes, or a tool is missing.
    """
    require_cycle_tools()
    where = "counting instructions with unicorn"
    with work_folder() as folder:
        blob, out = input_file(data, folder), folder / "counts.json"
        command = [sys.executable, "-m", "lnnc.verify.cycle_runner", str(image), str(blob), entry, str(out)]
        check_run(run_process(command, where, timeout=600, env=package_env()), where)
        found = json.loads(out.read_text(encoding="ascii"))
    return Counted(found["calls"], bytes.fromhex(found["output"]))


class PriceBook:
    """The instructions of an image, decoded block by block as they are asked for."""

    def __init__(self, image: Path, owners: Mapping[int, int] | None = None) -> None:
        from elftools.elf.elffile import ELFFile

        with image.open("rb") as file:
            self.segments = [(each["p_paddr"], each.data()) for each in ELFFile(file).iter_segments("PT_LOAD")]
        self.owners = owners or {}
        self.blocks: dict[tuple[int, int], list[Instruction]] = {}

    def price(self, call: Mapping[str, Any]) -> CallCost:
        """What a call costs, from the record of `cycle_runner`."""
        parts: defaultdict[int, Cost] = defaultdict(Cost)
        for site, before, before_size, at, size, times in call["blocks"]:
            block = self._block(at, size)
            last = self._block(before, before_size)[-1] if before_size else None
            for one, cycles in zip(block, block_cycles(block, last), strict=True):
                parts[self._owner(site or one.at)] += Cost(times, times * cycles)
        for site, at, size, target, times in call["taken"]:
            branch = self._block(at, size)[-1]
            parts[self._owner(site or branch.at)] += Cost(cycles=times * taken_cycles(branch, self._first(target)))
        for site, words in call["reads"]:
            parts[self._owner(site)] += Cost(reads=words)
        return CallCost(call["ret"], call["stack"], dict(parts))

    def _owner(self, site: int) -> int:
        return self.owners.get(site, GLUE)

    def _block(self, at: int, size: int) -> list[Instruction]:
        if (at, size) not in self.blocks:
            self.blocks[at, size] = decode(self._code(at, size), at)
        return self.blocks[at, size]

    def _first(self, at: int) -> Instruction:
        """The instruction at an address."""
        half = int.from_bytes(self._code(at, 2), "little")
        wide = half >> 11 in (0b11101, 0b11110, 0b11111)  # Armv7-M Architecture Reference Manual, A5.1
        return self._block(at, 4 if wide else 2)[0]

    def _code(self, at: int, size: int) -> bytes:
        for start, data in self.segments:
            if start <= at < start + len(data):
                return bytes(data[at - start : at - start + size])
        raise LnncError("code outside the image", f"address {at:#x}")


def measure_step(
    program: Program, files: tuple[str, str], name: str, target: Target, opt: str, calibration: Array | None,
    flags: Sequence[str] = (),
) -> StepCost:  # fmt: skip
    """The most expensive steady step of a generated pair (source, header) on several inputs.

    Raises:
        LnncError: no cycle model for the target, a tool is missing, or the code does not run.
    """
    if target.unmodelled:
        raise LnncError(f"no cycle model for {target.name}: {target.unmodelled}", "--target", "--target cortex-m4")
    require_cycle_tools()
    records, inputs = steady_records(program, calibration)
    with work_folder() as folder:
        image = build_profiled(files, name, target, opt, folder, flags)
        book = PriceBook(image, instruction_owners(image, files[0], name))
        counted = count(image, encode_records(records), f"{name}_step")
        calls = [book.price(call) for call in counted.calls]
    due = [call for call in calls if call.ret == 0]
    wait = target.board.flash_wait if target.board else 0
    worst = max(due, key=lambda call: call.total.waiting(wait))
    kernels = {owner: cost for owner, cost in sorted(worst.parts.items()) if owner != GLUE}
    glue = worst.parts.get(GLUE, Cost())
    others = [call.total for call in calls if call.ret > 0] or [Cost()]
    between = max(others, key=lambda cost: cost.waiting(wait))
    return StepCost(kernels, glue, max(call.stack for call in calls), len(due), inputs, between)


def build_profiled(
    files: tuple[str, str], name: str, target: Target, opt: str, folder: Path, flags: Sequence[str] = ()
) -> Path:
    """The image that is measured: what a board gets, with debug information."""
    machine = M4Machine("arm-none-eabi-gcc", "unicorn", trap_unaligned=False)
    return build_model(machine, *files, name, folder, opt=opt, flags=(*target.cflags, *DEBUG_FLAGS, *flags))


def steady_records(program: Program, calibration: Array | None) -> tuple[list[Record], str]:
    """What is run to find the cost of a step, and the same in words.

    A window model takes typical rows and one of random int16 numbers; a stream the same, each for its warm-up and
    `STEADY` steps more. Typical: of the calibration data, or curves within the declared ranges where it holds none.
    """
    rng = np.random.default_rng(0)
    stream = program.warmup > 1 or recurrent(program)
    known = calibration is not None and len(calibration) > 0
    source = "calibration inputs" if known else "smooth curves"
    n, steps = program.input_size, program.warmup - 1 + STEADY
    wild = rng.integers(*INT16, size=(steps if stream else 1, n), endpoint=True)
    if stream:
        rows = _typical_stream(program, calibration if known else None, steps, rng)
        warm = f" after {program.warmup - 1} of warm-up" if program.warmup > 1 else ""
        words = f"{STEADY}{warm} on {source}, {STEADY}{warm} on random numbers"
        return [*_played(program, rows, stream), *_played(program, wild, stream)], words
    rows = calibration_rows(program, calibration, TYPICAL, rng) if known else smooth_rows(program, TYPICAL, rng)
    words = f"{len(rows)} windows of {source}, one of random numbers"
    return [*_played(program, rows, stream), *_played(program, wild, stream)], words


def _typical_stream(program: Program, calibration: Array | None, steps: int, rng: np.random.Generator) -> Ints:
    if calibration is None:
        return smooth_rows(program, program.input_size, rng, steps).T
    rows = calibration[0].reshape(-1, program.input_size)
    return np.resize(to_raw(rows, program.inputs), (steps, program.input_size))


def _played(program: Program, rows: Sequence[Ints] | Ints, stream: bool) -> list[Record]:
    """Records for the harness: a reset before a stream, or before every window; times take turns at both ends."""
    records: list[Record] = [Garbage(), Reset()]
    time = program.time
    for index, row in enumerate(rows):
        records += [Reset()] if index and not stream else []
        dt = None if time is None else (time.lo, time.hi)[index % 2]
        records.append(Step(np.asarray(row, np.int16), dt=dt))
    return records
