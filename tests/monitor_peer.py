"""What stands behind the page's links in tests: the monitor's C, and what can go wrong on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from monitor_device import Device

Mangle = Callable[[int, bytes], bytes]  # the number of a line since the beginning, and the line


def as_it_is(number: int, line: bytes) -> bytes:
    return line


@dataclass
class SerialPeer:
    """A board at the end of a cable.

    Attributes:
        hears, says: what becomes of the lines on their way to and from the board.
        chunk: bytes that arrive together; 0: all of them.
        vanish_at: the line to the board at which the cable is pulled, together with its power.
        told: lines as the board sent them, before anything happened to them.
    """

    device: Device
    hears: Mangle = as_it_is
    says: Mangle = as_it_is
    chunk: int = 0
    vanish_at: int = -1
    told: list[str] = field(default_factory=list)
    heard: int = 0
    said: int = 0
    rest: bytes = b""

    def __call__(self, source: object, data: Sequence[int]) -> dict[str, object]:
        """Called by the page: what the port receives after it has sent these bytes."""
        *lines, self.rest = (self.rest + bytes(data)).split(b"\n")
        for line in lines:
            self.heard += 1
            if self.heard == self.vanish_at:
                self.device.start()
                return {"chunks": [list(b"ok 1 q14=1")], "vanish": True}
            self.device.receive(self.hears(self.heard, line) + b"\n")
        return {"chunks": self.chunks(), "vanish": False}

    def chunks(self) -> list[list[int]]:
        lines = self.device.sent().splitlines(keepends=True)
        self.told += [line.decode("ascii").strip() for line in lines]
        out = b""
        for line in lines:
            self.said += 1
            out += self.says(self.said, line)
        size = self.chunk or max(len(out), 1)
        return [list(out[at : at + size]) for at in range(0, len(out), size)]

    def last(self, kind: str) -> str:
        """The last line of a kind that the board sent, without its checksum."""
        return next(line for line in reversed(self.told) if line.startswith(f"{kind} ")).partition("*")[0]

    def integers(self, kind: str) -> list[int]:
        return [int(q) for q in self.last(kind).partition("q14=")[2].split(",")]


@dataclass
class BluetoothPeer:
    """A board in the air: it notifies as ble_nano.h does."""

    device: Device
    origin: bytes = b""

    def __call__(self, source: object, write: tuple[int, Sequence[int]]) -> list[tuple[int, list[int]]]:
        """Called by the page: what is notified after a write."""
        characteristic, data = write
        result = self.device.write(characteristic, bytes(data))
        values: list[tuple[int, bytes]] = []
        blocks = self.device.value(4)[5]
        if blocks and (characteristic == 2 or self.device.value(5)[:4] != self.origin):
            values += [(4, self.device.value(4, block)) for block in range(blocks)]
            values += [(5, self.device.value(5)), (6, self.device.value(6))]
        self.origin = self.device.value(5)[:4]
        return [(number, list(value)) for number, value in [*values, (3, self.device.value(3, result))]]
