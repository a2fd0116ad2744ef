"""Questions to a board and their answers: numbered, repeated when nothing comes, never waited for without an end."""

from __future__ import annotations

import secrets
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lnnc.errors import LnncError
from lnnc.kernels.fixed import Ints
from lnnc.verify.device.frames import ANSWER, LONGEST, REFUSAL, Frame, Kind, Splitter, Why, encode
from lnnc.verify.device.link import Link

VERSION = 1
HELLO_EVERY = 0.25  # a board that is still starting hears none of the first
GOLDEN_PATIENCE, BENCHMARK_PATIENCE = 10.0, 5.0  # both run longer than a step
TRIES = 4
_HELLO = struct.Struct("<IBBHHII")
_HAS_DT, _HAS_GOLDEN = 1, 2
_CABLE = "check its cable and power, press its reset button, and verify again"
_UPLOAD = "upload the sketch Verify of the library that `lnnc compile MODEL --layout arduino` makes"

_REFUSALS = {
    Why.SAY_HELLO: "the board restarted in the middle",
    Why.RESET_FIRST: "the board lost its state in the middle",
    Why.OUT_OF_ORDER: "the board and this program lost count of each other's messages",
    Why.UNKNOWN: "the board does not know this request",
    Why.WRONG_LENGTH: "the board expects a request of another length",
    Why.NOT_BUILT_IN: "the self-test is not built into this firmware",
}


@dataclass(frozen=True)
class Hello:
    """What the firmware says of itself.

    Attributes:
        arithmetic, digest: what the model was compiled with, and its SHA-256.
        board: name of the board.
        inputs, outputs, save_bytes: as the C's macros.
        has_dt: a step takes the time.
        has_golden: the self-test is built in.
        hz: ticks a second of its clock, 0 where it measures nothing.
    """

    arithmetic: str
    digest: str
    board: str
    inputs: int
    outputs: int
    save_bytes: int
    has_dt: bool
    has_golden: bool
    hz: int


@dataclass(frozen=True)
class Stepped:
    """A step on the board: what it returned, its outputs (none unless it returned 0), how many ticks it took."""

    ret: int
    out: Ints
    ticks: int


@dataclass(frozen=True)
class Timing:
    """Ticks of the steps of a benchmark."""

    worst: int
    total: int


class Session:
    """A conversation with one board over a link.

    Args:
        patience: seconds to wait for an answer before asking again; after `TRIES` times that, it is given up.
        where: the port, for messages.
    """

    def __init__(self, link: Link, where: str, patience: float = 2.0) -> None:
        self.link, self.where, self.patience = link, where, patience
        self.number = secrets.randbelow(256)
        self._splitter = Splitter()
        self._heard = 0  # bytes
        self._said: Hello | None = None

    def hello(self, wait: float = 6.0) -> Hello:
        """Ask until the board answers: one that has just been opened may still be starting.

        Raises:
            LnncError: silence, noise, or an answer that is no hello of this protocol's version.
        """
        self._said = None
        self._listen(self.link.quiet)
        token = secrets.token_bytes(4)
        self._next()  # one number for all: a slow answer is as good as a quick one
        end = self.link.now() + wait
        while self.link.now() < end:
            self._send(Kind.HELLO, token)
            found = self._answer(Kind.HELLO, min(self.link.now() + HELLO_EVERY, end))
            if found is not None and found[:4] == token:
                self._said = self._parse_hello(found)
                return self._said
        raise self._silence(f"no answer within {wait:g} s")

    def _listen(self, seconds: float) -> None:
        """Send nothing for a while; what comes is no answer."""
        end = self.link.now() + seconds
        while (left := end - self.link.now()) > 0:
            self._heard += len(self.link.read(left))

    def reset(self) -> None:
        self._ask(Kind.RESET)

    def step(self, values: ArrayLike, dt: int = 0) -> Stepped:
        payload = self._ask(Kind.STEP, _inputs(values, dt))
        ret, ticks = struct.unpack_from("<iI", payload) if len(payload) >= 8 else (0, 0)
        outputs = self._said.outputs if self._said and ret == 0 else 0
        if len(payload) != 8 + 2 * outputs:
            raise self._broken("step")
        return Stepped(ret, np.frombuffer(payload, "<i2", offset=8).astype(np.int64), ticks)

    def get(self) -> bytes:
        """The saved state."""
        saved = self._ask(Kind.GET)
        if self._said and len(saved) != self._said.save_bytes:
            raise self._broken("get")
        return saved

    def set(self, saved: bytes) -> int:
        """Load a saved state; the C's return code."""
        return self._number(Kind.SET, saved)

    def golden(self) -> int:
        """Run the built-in self-test: 0, or 1 + the first step that differs. Forgets the state."""
        return self._number(Kind.GOLDEN)

    def benchmark(self, values: ArrayLike, dt: int, steps: int) -> Timing:
        """Steps one after the other without the line between them. Changes the state."""
        payload = self._ask(Kind.BENCHMARK, _inputs(values, dt) + struct.pack("<H", steps), patience=BENCHMARK_PATIENCE)
        if len(payload) != 12:
            raise self._broken("benchmark")
        _, worst, total = struct.unpack("<III", payload)
        return Timing(worst, total)

    def _number(self, kind: Kind, payload: bytes = b"") -> int:
        found = self._ask(kind, payload, patience=GOLDEN_PATIENCE if kind is Kind.GOLDEN else None)
        if len(found) != 4:
            raise self._broken(kind.name.lower())
        return int(struct.unpack("<i", found)[0])

    def _next(self) -> None:
        self.number = (self.number + 1) % 256

    def _send(self, kind: Kind, payload: bytes) -> None:
        self.link.write(encode(Frame(kind, self.number, payload)))

    def _ask(self, kind: Kind, payload: bytes = b"", patience: float | None = None) -> bytes:
        """Send a request until its answer comes.

        Raises:
            LnncError: none came, the board refused, or the line is gone.
        """
        if len(payload) > LONGEST:
            raise LnncError(f"{len(payload)} bytes do not fit a frame of {LONGEST}", self.where)
        wait = self.patience if patience is None else max(patience, self.patience)
        self._next()
        for _ in range(TRIES):
            self._send(kind, payload)
            found = self._answer(kind, self.link.now() + wait)
            if found is not None:
                return found
        raise self._silence(f"no answer to {kind.name.lower()}, asked {TRIES} times")

    def _answer(self, kind: Kind, end: float) -> bytes | None:
        """The payload of the answer to the request just sent, None when `end` comes first."""
        while (left := end - self.link.now()) > 0:
            data = self.link.read(left)
            self._heard += len(data)
            for frame in self._splitter.feed(data):
                if frame.number != self.number:
                    continue  # an answer to something older
                if frame.kind == kind | ANSWER:
                    return frame.payload
                if frame.kind == REFUSAL and len(frame.payload) == 1 and kind is not Kind.HELLO:
                    raise self._refused(frame.payload[0])
        return None

    def _parse_hello(self, payload: bytes) -> Hello:
        if len(payload) > 4 and payload[4] != VERSION:
            message = f"its firmware speaks version {payload[4]} of the protocol, not {VERSION}"
            raise LnncError(message, self.where, _UPLOAD)
        texts = payload[_HELLO.size :].split(b"\0")
        if len(payload) < _HELLO.size or len(texts) != 4:
            raise self._broken("hello")
        _, _, flags, inputs, outputs, save_bytes, hz = _HELLO.unpack_from(payload)
        arithmetic, digest, board = (
            "".join(filter(str.isprintable, text.decode("ascii", "replace"))) for text in texts[:3]
        )
        return Hello(
            arithmetic, digest, board, inputs, outputs, save_bytes, bool(flags & _HAS_DT), bool(flags & _HAS_GOLDEN), hz
        )

    def _refused(self, code: int) -> LnncError:
        known = code in Why.__members__.values()
        said = _REFUSALS[Why(code)] if known else f"the board refuses, for a reason {code} that is not known here"
        return LnncError(said, self.where, f"{_CABLE}; a stack without room does this too, which `lnnc simulate` tells")

    def _broken(self, what: str) -> LnncError:
        return LnncError(f"its answer to {what} has another form than this protocol's", self.where, _UPLOAD)

    def _silence(self, what: str) -> LnncError:
        """A board that had answered, nothing at all, or noise only: different faults."""
        damaged = self._splitter.damaged
        if self._said is not None:
            noise = f"; {damaged} damaged pieces came" if damaged else ""
            return LnncError(f"the board stopped answering ({what}{noise})", self.where, _CABLE)
        if self._heard == 0:
            return LnncError(f"{what}: the board is silent", self.where, f"{_UPLOAD}; and check that this is its port")
        heard = f"{self._heard} bytes came, {damaged} damaged pieces among them"
        return LnncError(f"{what} ({heard})", self.where, f"check cable and baud rate; {_UPLOAD}")


def _inputs(values: ArrayLike, dt: int) -> bytes:
    return np.asarray(values, "<i2").tobytes() + struct.pack("<i", dt)
