"""The monitor's C on this machine: built once with the bundled model, driven through ctypes."""

from __future__ import annotations

import ctypes
import functools
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from small import lnnc

from lnnc.data.matr import NOMINAL
from lnnc.data.synthetic import synthetic_cells
from lnnc.pipeline import Compiled, compile_model
from lnnc.resources import example_path

ROOT = Path(__file__).resolve().parent.parent
SKETCH = ROOT / "examples" / "monitor" / "SohMonitor"
STRICT = ("-Wall", "-Wextra", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-Wcast-qual", "-Wundef", "-Werror")
RAM, EEPROM, FLASH = 0, 1, 2  # storage_kind
PAGES = (FLASH, 4, 4096)  # a Nano's
HALVES = (EEPROM, 2, 512)  # an Uno's
ENOUGH = 10**9  # bytes that power lasts for


@functools.cache
def model() -> Compiled:
    return compile_model(example_path("soh/student.pt"), "soh")


def write_library(folder: Path) -> None:
    """The model as a library of the Arduino IDE, as the documentation says."""
    made = lnnc("compile", example_path("soh/student.pt"), "--name", "soh", "--layout", "arduino", "-o", folder / "soh")
    assert made.code == 0, made.err


@functools.cache
def library() -> bytes:
    """The compiled monitor as a shared library."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_library(folder)
        sources = [*sorted(SKETCH.glob("*.c")), folder / "soh" / "src" / "soh.c", ROOT / "tests" / "monitor_host.c"]
        command = ["gcc", "-std=c99", "-O1", "-pedantic", *STRICT, "-shared", "-fPIC", "-I", SKETCH]
        command += ["-I", folder / "soh" / "src", *sources, "-o", folder / "monitor.so"]
        subprocess.run([str(part) for part in command], check=True)
        return (folder / "monitor.so").read_bytes()


class Device:
    """A board with the monitor: a copy of the library of its own, whose variables are its RAM and its flash."""

    def __init__(self, memory: tuple[int, int, int] = PAGES) -> None:
        with tempfile.NamedTemporaryFile(suffix=".so") as file:
            file.write(library())
            file.flush()
            self.c = ctypes.CDLL(file.name)
        self.memory = memory
        self.c.host_memory.restype = ctypes.POINTER(ctypes.c_uint8)
        self.c.host_write.restype = self.c.host_value.restype = ctypes.c_uint8
        self.flash = np.ctypeslib.as_array(self.c.host_memory(), (65_536,))
        self.clear()

    def clear(self) -> None:
        """As it came from the factory."""
        self.flash[:] = 0xFF
        self.power(ENOUGH)
        self.start()

    def power(self, lasts: int) -> None:
        """How many bytes can still be written before power fails."""
        self.c.host_power(ctypes.c_long(lasts))

    def start(self) -> list[str]:
        """Power on; what it says by itself."""
        self.c.host_start(*self.memory)
        self.sent()
        self.c.host_hello()
        return self.sent().decode("ascii").splitlines()

    def receive(self, data: bytes) -> None:
        self.c.host_receive(data, len(data))

    def sent(self) -> bytes:
        room = ctypes.create_string_buffer(65_536)
        count = self.c.host_sent(room)
        return room.raw[:count]

    def ask(self, line: str) -> list[str]:
        """The lines that answer one, without their checksums, which are checked."""
        self.receive(f"{line}\n".encode("ascii"))
        return [unchecked(each) for each in self.sent().decode("ascii").splitlines()]

    def write(self, characteristic: int, data: bytes) -> int:
        return int(self.c.host_write(characteristic, data, len(data)))

    def value(self, characteristic: int, argument: int = 0) -> bytes:
        room = ctypes.create_string_buffer(64)
        count = self.c.host_value(characteristic, argument, room)
        return room.raw[:count]


def checked(text: str) -> str:
    """The line with its checksum."""
    return f"{text}*{functools.reduce(lambda a, b: a ^ b, text.encode('ascii'), 0):02X}"


def unchecked(line: str) -> str:
    """The line without its checksum, which must be right."""
    text, star, _ = line.rpartition("*")
    assert star and checked(text) == line, line
    return text


def capacities(batch: int = 2, index: int = 12) -> list[str]:
    """An invented cell's capacities in Ah, cycle 1 first, as a tester would print them."""
    values = synthetic_cells(batch)[index].capacity
    assert values is not None
    return [f"{value:.4f}" for value in values]


def raw(decimal: str, nominal: str = f"{NOMINAL:.6f}") -> int:
    """SOH in Q14, rounded to nearest, halves up, by whole numbers only."""
    part, whole = (round(float(each) * 1_000_000) for each in (decimal, nominal))
    return (2 * part * 16_384 + whole) // (2 * whole)


def reference(values: Sequence[int]) -> Iterator[tuple[int, list[int], list[int]]]:
    """Each forecast by the NumPy reference: the count of values so far, the outputs, the gate's weights."""
    from lnnc.reference.interp import Machine

    machine = Machine(model().program)
    for count, value in enumerate(values, 1):
        missing, outputs = machine.step(np.array([[value]]))
        if missing == 0 and outputs is not None:
            yield count, outputs[0].tolist(), machine.state["trust_weights"][0].tolist()
