"""A board in this process: the firmware's C core in a shared library, behind links that behave or misbehave.

Time on these links is their own: a read that has nothing to give lets it pass at once.
"""

from __future__ import annotations

import ctypes
import random
import re
import subprocess
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from test_generated_c import change_last_number

from lnnc.codegen.emit import Files
from lnnc.errors import LnncError
from lnnc.resources import firmware_text

HOST = Path(__file__).with_name("device_host.c")


class Firmware:
    """The core with a model, compiled for this machine."""

    def __init__(self, files: Files, folder: Path, flags: tuple[str, ...] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        texts = {"lnn.c": files.source, "lnn.h": files.header, "lnn_golden.h": files.golden,
                 "device_host.c": HOST.read_text(encoding="utf-8"),
                 **{name: firmware_text(f"device/{name}") for name in ("lnn_device.c", "lnn_device.h")}}  # fmt: skip
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        units = [name for name in texts if name.endswith(".c")]
        options = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", *flags]
        subprocess.run(["cc", *options, *units, "-o", "board.so"], cwd=folder, check=True)
        self._library = ctypes.CDLL(str(folder / "board.so"))
        self._library.answer_bytes.restype = ctypes.POINTER(ctypes.c_uint8)
        self.restart()

    def restart(self) -> None:
        self._library.restart()

    def take(self, data: bytes) -> bytes:
        count = self._library.take(data, len(data))
        return ctypes.string_at(self._library.answer_bytes(), count)


def with_another_weight(source: str) -> str:
    """Generated C with a single weight of its last layer changed."""
    tables = re.findall(r"\b(\w+_weight\[\d+\]) \w+_FLASH", source)
    return change_last_number(source, tables[-1])


class DirectLink:
    """A perfect line. `reads` counts how often something was waited for."""

    quiet = 0.0

    def __init__(self, firmware: Firmware) -> None:
        self.firmware, self.time, self.reads = firmware, 0.0, 0
        self._here = bytearray()

    def write(self, data: bytes) -> None:
        self._here += self.firmware.take(data)

    def read(self, timeout: float) -> bytes:
        self.reads += 1
        found, self._here = bytes(self._here), bytearray()
        self.time += 0.001 if found else timeout
        return found

    def now(self) -> float:
        return self.time

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class Faults:
    """What goes wrong on a line, and how often: chances for each byte, but for the last three.

    Attributes:
        drop, duplicate, corrupt, noise: a byte is lost, comes twice, has a bit flipped, has a stranger before it.
        hold: the rest of a piece comes up to `late` seconds later.
        close_at, silent_at, restart_at: the byte with which the line is closed, dies, or the board restarts; 0: never.
    """

    drop: float = 0.0
    duplicate: float = 0.0
    corrupt: float = 0.0
    noise: float = 0.0
    hold: float = 0.0
    late: float = 0.0
    close_at: int = 0
    silent_at: int = 0
    restart_at: int = 0


class FaultyLink(DirectLink):
    """A line in both directions of which the same faults happen. Bytes keep their order, as on any wire."""

    def __init__(self, firmware: Firmware, faults: Faults, seed: int) -> None:
        super().__init__(firmware)
        self.faults, self.random, self.passed, self.happened = faults, random.Random(seed), 0, 0
        self._coming: deque[tuple[float, bytes]] = deque()

    def write(self, data: bytes) -> None:
        for _, piece in self._through(data):  # what waits for a request is the asker's own time out
            self._answer(self.firmware.take(piece))

    def _answer(self, data: bytes) -> None:
        for held, piece in self._through(data):
            last = self._coming[-1][0] if self._coming else self.time
            self._coming.append((max(last, self.time + held), piece))

    def read(self, timeout: float) -> bytes:
        self.reads += 1
        self._alive()
        if not self._coming or self._coming[0][0] > self.time + timeout:
            self.time += timeout
            return b""
        due, piece = self._coming.popleft()
        self.time = max(self.time, due) + 0.0005
        return piece

    def _alive(self) -> None:
        if self.faults.close_at and self.passed >= self.faults.close_at:
            raise LnncError("the line was closed in the middle", "faulty", "plug the board in again")

    def _through(self, data: bytes) -> list[tuple[float, bytes]]:
        """What of some bytes arrives, in pieces, each held up for some seconds."""
        self._alive()
        pieces, piece, held = [], bytearray(), 0.0
        for byte in data:
            self.passed += 1
            if self.passed == self.faults.restart_at:
                self.firmware.restart()
                self.happened += 1
            if self.faults.silent_at and self.passed >= self.faults.silent_at:
                continue
            if self._chance(self.faults.hold):
                pieces.append((held, bytes(piece)))
                piece, held = bytearray(), self.random.uniform(0, self.faults.late)
            piece += self._one(byte)
        return [*pieces, (held, bytes(piece))]

    def _one(self, byte: int) -> bytes:
        """A byte as it comes out."""
        if self._chance(self.faults.drop):
            return b""
        if self._chance(self.faults.corrupt):
            byte ^= 1 << self.random.randrange(8)
        before = bytes([self.random.randrange(256)]) if self._chance(self.faults.noise) else b""
        return before + bytes([byte]) * (2 if self._chance(self.faults.duplicate) else 1)

    def _chance(self, of_one: float) -> bool:
        hit = of_one > 0.0 and self.random.random() < of_one
        self.happened += hit
        return hit


def random_faults(seed: int) -> Faults:
    """A schedule: some kinds of faults, from rare to frequent, and sometimes an end of the line."""
    rng = random.Random(seed)

    def rate() -> float:
        return 10.0 ** rng.uniform(-5, -1.5) if rng.random() < 0.4 else 0.0

    def at(chance: float) -> int:
        return rng.randrange(1, 4_000) if rng.random() < chance else 0

    return Faults(rate(), rate(), rate(), rate(), rate(), rng.choice([0.1, 1.0, 5.0, 30.0]), at(0.15), at(0.1), at(0.1))
