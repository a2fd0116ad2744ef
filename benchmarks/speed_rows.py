"""The rows of `speed.py`: lnnc's, the peers', and those that were recorded elsewhere and are not run here."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from networks import Case
from peer_image import Sources, build_image, linked_size, most_cycles, run_image
from peers import Code, Peer, find_python

from lnnc import __version__
from lnnc.errors import LnncError
from lnnc.ir.graph import Array
from lnnc.output import write_pair
from lnnc.pipeline import Compiled, compile_model, run_model
from lnnc.profiling import profile_model
from lnnc.quantize.context import Options
from lnnc.targets import TARGETS

TARGET = TARGETS["cortex-m4"]
LNNC = f"lnnc {__version__}"
PATHS = ("plain C", "intrinsics", "assembly")  # values of LNN_PATH
ACTIVATIONS = ("int16", "int8")
LEVELS = ("-O2", "-Os")
ARDUINO = ("-Os", "-funsigned-char", "-mfloat-abi=softfp", "-std=gnu11")
STACK_WORD = 4
RESET, MEASURE = 1, 2  # flags of a record of peer_harness.c


@dataclass(frozen=True)
class Row:
    """A line of a table. What is None is not known.

    Attributes:
        network: key of the case.
        tool, variant, flags: who, with what arithmetic and kernels, compiled how.
        cycles: of the most expensive of the steps, an estimate without wait states.
        flash: bytes of code, tables and library that a step needs.
        ram: bytes of variables, state, scratch or arena, and ports, without the stack.
        stack: bytes that a step used, by painting.
        error: largest |difference| to the float64 network as a part of the output's range.
        why: what the peer cannot do, or what is to be known of the row.
        recorded: typed from the design notes.
    """

    network: str
    tool: str
    variant: str
    flags: str = ""
    cycles: int | None = None
    flash: int | None = None
    ram: int | None = None
    stack: int | None = None
    error: float | None = None
    why: str = ""
    recorded: bool = False

    @property
    def own(self) -> bool:
        return self.tool == LNNC


Job = Callable[[], list[Row]]


@dataclass(frozen=True)
class Setting:
    """How lnnc's C is compiled: a code path, an optimisation, and other options."""

    path: int
    level: str
    flags: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        return " ".join((self.level, *self.flags))


SETTINGS = (
    *(Setting(path, level) for path in reversed(range(len(PATHS))) for level in LEVELS),
    Setting(2, ARDUINO[0], ARDUINO[1:]),
)


def lnnc_jobs(case: Case, folder: Path) -> list[tuple[str, Job]]:
    """What is measured of lnnc on a network: every width of activations x code path x optimisation."""
    jobs: list[tuple[str, Job]] = []
    for activations in ACTIVATIONS:
        made = Lnnc(case, activations, folder / f"{case.key}-{activations}")
        jobs += [
            (f"{case.key}: lnnc {activations} {PATHS[setting.path]} {setting.words}", made.job(setting))
            for setting in SETTINGS
        ]
    return jobs


class Lnnc:
    """A network compiled by lnnc once, and measured in several settings."""

    def __init__(self, case: Case, activations: str, folder: Path) -> None:
        self.case, self.activations, self.folder = case, activations, folder
        self.compiled: Compiled | None = None
        self.lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        self.error = 0.0

    def job(self, setting: Setting) -> Job:
        """Measures one setting when it is called."""
        return lambda: [self.measure(setting)]

    def prepare(self) -> Compiled:
        """Compile, and take the error on the emulated core; whoever comes first does it."""
        with self.lock:
            if self.compiled is None:
                options = Options(self.activations)
                compiled = compile_model(self.case.checkpoint, options=options)
                write_pair(compiled.files, self.folder / "lnn.c")
                self.error = lnnc_error(self.case, options)
                self.compiled = compiled
            return self.compiled

    def measure(self, setting: Setting) -> Row:
        """One row."""
        compiled = self.prepare()
        flags = (f"-DLNN_PATH={setting.path}", *setting.flags)
        found = profile_model(compiled, setting.level, flags=flags)
        assert found.step is not None
        options = (*TARGET.cflags, "-std=c99", "-ffreestanding", setting.level, *flags)
        work = self.folder / f"{setting.path}{setting.level}{len(setting.flags)}"
        linked = linked_size(Sources((self.folder / "lnn.c",)), ("lnn_step", "lnn_reset"), options, work)
        given = found.size.state + found.size.scratch + found.size.ports
        return Row(
            self.case.key, LNNC, f"{self.activations}, {PATHS[setting.path]}", setting.words,
            found.step.total.cycles, linked.flash, linked.static + given, found.step.stack, self.error,
        )  # fmt: skip


def lnnc_error(case: Case, options: Options) -> float:
    """`Case.error` of the C on the emulated core.

    Raises:
        LnncError: it is not equal to the integer reference.
    """
    data = case.samples[:, 0] if case.window else case.samples
    core, reference = (run_model(case.checkpoint, data, engine, options=options) for engine in ("m4", "reference"))
    if not np.array_equal(core, reference):
        raise LnncError("the C on the emulated core differs from the reference", case.key, "lnnc verify tells where")
    return case.error(core)


def peer_jobs(
    case: Case, python: str | None, folder: Path, say: Callable[[str], None], all_peers: Sequence[Peer]
) -> list[tuple[str, Job]]:
    """What is measured of the peers on a network, one job for each."""

    def job(peer: Peer, work: Path) -> Job:
        return lambda: peer_rows(case, peer, python, work, say)

    return [
        (f"{case.key}: {peer.name}, {peer.variant}", job(peer, folder / f"{case.key}-peer{index}"))
        for index, peer in enumerate(all_peers)
    ]


def peer_rows(case: Case, peer: Peer, python: str | None, folder: Path, say: Callable[[str], None]) -> list[Row]:
    """A row for each optimisation, or one that says why there is none."""
    empty = Row(case.key, peer.name, peer.variant)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        code = peer.compile(case, find_python(peer.package, python, say), folder)
    except LnncError as refusal:
        return [replace(empty, why=refusal.message)]
    rows = []
    for level in peer.levels:
        try:
            rows.append(measure_peer(case, code, level, replace(empty, flags=level), folder / level))
        except LnncError as fault:
            rows.append(replace(empty, flags=level, why=fault.message))
    return rows


def measure_peer(case: Case, code: Code, level: str, row: Row, folder: Path) -> Row:
    """Build a peer's C, check its outputs, count its cycles.

    Raises:
        LnncError: it cannot be built or run, or its outputs are wrong.
    """
    flags = (*TARGET.cflags, level)
    image = build_image(code.sources, code.glue, flags, folder)
    firsts = [step == 0 for _ in case.samples for step in range(case.samples.shape[1])]
    rows = case.samples.reshape(len(firsts), -1)
    out, deep = read_records(run_image(image, records(code, firsts, rows, MEASURE)), code)
    error = case.error(np.stack([code.ports.decode(each) for each in out]))
    if code.reference is not None and b"".join(out) != code.reference:
        raise LnncError(f"wrong: its C differs from its own reference (error {error:.2g} of the output's range)")
    if not error <= code.limit:
        raise LnncError(f"wrong: error {error:.2g} of the output's range")
    steady = records(code, [first for first, _ in case.steady], np.array([values for _, values in case.steady]))
    cycles = most_cycles(image, steady, code.entry, len(case.steady))
    linked = linked_size(code.sources, (code.entry,), (*flags, "-std=gnu11"), folder)
    return replace(
        row, cycles=cycles, flash=linked.flash, ram=linked.static + code.ram, stack=deep, error=error,
    )  # fmt: skip


def records(code: Code, firsts: Sequence[bool], rows: Array, flags: int = 0) -> bytes:
    """Input of peer_harness.c: before the first sample of a stream the state is cleared."""
    pairs = zip(firsts, rows, strict=True)
    return b"".join(struct.pack("<I", flags | RESET * first) + code.ports.encode(row) for first, row in pairs)


def read_records(data: bytes, code: Code) -> tuple[list[bytes], int]:
    """Output of peer_harness.c: the output port of every step, and the deepest stack."""
    size = STACK_WORD + code.ports.out_bytes
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    deepest = max(struct.unpack("<I", part[:STACK_WORD])[0] for part in parts)
    return [part[STACK_WORD:] for part in parts], deepest


def recorded() -> list[Row]:
    """Figures that are NOT run here.

    Taken in 2026-11 for lnnc's design notes with the same cycle model and emulator (unicorn), gcc-arm-none-eabi 12.2,
    flash and RAM of whole images; those tools need more than a package index to install. The paper's row is what the
    paper measured on its board (21 ms at 64 MHz), runtime not included in its flash.
    """
    deployed = (
        ("the paper", "int8, on its board", "", 1_344_000, 96_392, 25_000),
        ("TFLM", "int8, reference kernels", "-O2", 1_265_000, 163_808, 11_300),
        ("TFLM + CMSIS-NN", "int8", "-O2", 742_000, 179_028, 11_500),
        ("TFLM + CMSIS-NN", "int8", "-O3", 730_000, 198_164, 11_500),
        ("the paper's Arduino library", "int8", "-Os softfp", 1_130_000, 167_544, 12_200),
        ("onnx2c", "float32", "-O3", 700_000, 271_536, 4_000),
    )
    chain = (
        ("TFLM", "int8, reference kernels", "-O2", 458_800, 113_516, None),
        ("TFLM + CMSIS-NN", "int8", "-O2", 134_600, 128_736, None),
        ("bakeNN", "int8, portable C", "", 385_000, 49_980, None),
        ("bakeNN", "int8, CMSIS-NN", "", 133_600, 45_900, None),
    )
    return [
        Row(key, tool, variant, flags, cycles, flash, ram, recorded=True)
        for key, rows in (("deployed", deployed), ("chain", chain))
        for tool, variant, flags, cycles, flash, ram in rows
    ]
