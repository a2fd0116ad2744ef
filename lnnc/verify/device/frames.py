"""Frames of the verification protocol: type, number, length, payload, CRC-32, escaped as in RFC 1055 (SLIP).

The device's side is `firmware/device/lnn_device.c`; docs/device.md specifies both.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

END, ESCAPE, ESCAPED_END, ESCAPED_ESCAPE = 0xC0, 0xDB, 0xDC, 0xDD
_HEAD = struct.Struct("<BBH")
_CRC = struct.Struct("<I")
LONGEST = 65535  # bytes of a payload
_ROOM = 2 * (_HEAD.size + LONGEST + _CRC.size)  # of a frame, every byte of it escaped


class Kind(IntEnum):
    """Types of requests; an answer has 0x80 added."""

    HELLO = 1
    RESET = 2
    STEP = 3
    GET = 4
    SET = 5
    GOLDEN = 6
    BENCHMARK = 7


ANSWER = 0x80
REFUSAL = 0xFF


class Why(IntEnum):
    """What a refusal says."""

    SAY_HELLO = 1
    RESET_FIRST = 2
    OUT_OF_ORDER = 3
    UNKNOWN = 4
    WRONG_LENGTH = 5
    NOT_BUILT_IN = 6


@dataclass(frozen=True)
class Frame:
    """One frame: what it is, the number of the request, what it carries."""

    kind: int
    number: int
    payload: bytes = b""


def encode(frame: Frame) -> bytes:
    """A frame as bytes on the line. It begins with an END too, which closes whatever noise came before it."""
    body = _HEAD.pack(frame.kind, frame.number, len(frame.payload)) + frame.payload
    body += _CRC.pack(zlib.crc32(body))
    escape = bytes([ESCAPE])
    body = body.replace(escape, escape + bytes([ESCAPED_ESCAPE]))
    body = body.replace(bytes([END]), escape + bytes([ESCAPED_END]))
    return bytes([END]) + body + bytes([END])


def decode(body: bytes) -> Frame | None:
    """The frame whose escaped bytes stood between two ENDs, or None where they are damaged."""
    escape = bytes([ESCAPE])
    body = body.replace(escape + bytes([ESCAPED_END]), bytes([END]))
    body = body.replace(escape + bytes([ESCAPED_ESCAPE]), escape)
    if len(body) < _HEAD.size + _CRC.size:
        return None
    kind, number, length = _HEAD.unpack_from(body)
    payload, crc = body[_HEAD.size : -_CRC.size], _CRC.unpack(body[-_CRC.size :])[0]
    if len(payload) != length or zlib.crc32(body[: -_CRC.size]) != crc:
        return None
    return Frame(kind, number, payload)


class Splitter:
    """Finds whole frames in what arrives, however it is cut.

    Attributes:
        damaged: how many pieces were no frame.
    """

    def __init__(self) -> None:
        self._held = bytearray()
        self.damaged = 0

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that end in `data`."""
        *bodies, rest = (bytes(self._held) + data).split(bytes([END]))
        self._held = bytearray(rest[-_ROOM:])  # noise without an end must not fill the memory
        found = [decode(body) for body in bodies if body]
        self.damaged += sum(frame is None for frame in found)
        return [frame for frame in found if frame is not None]
