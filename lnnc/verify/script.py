"""What is asked of a generated model in one verification, and what the reference answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lnnc.ir.program import Program
from lnnc.ir.saved import CRC_BYTES, HEAD, members
from lnnc.kernels import KERNELS
from lnnc.kernels.fixed import Ints
from lnnc.reference import persist
from lnnc.reference.interp import Machine as Reference
from lnnc.verify.model_run import SENTINEL, Event, Garbage, GetState, Load, Record, Reset, Save, SetState, Step
from lnnc.verify.vectors import Group

GARBAGE = 0xA5  # what the harness fills state and scratch with
_STRANGER = bytes(range(16))


@dataclass
class Script:
    """Records for the harness and the events that must come back, sequence by sequence."""

    records: list[list[Record]] = field(default_factory=list)
    events: list[list[Event]] = field(default_factory=list)

    @property
    def flat(self) -> list[Record]:
        """All records in the order in which they run."""
        return [record for row in self.records for record in row]


def state_bytes(program: Program, reference: Reference) -> NDArray[np.uint8]:
    """The state structure of each copy of the model as bytes: (batch, bytes)."""
    parts = [
        np.ascontiguousarray(reference.state[b.name], dtype=f"<i{np.dtype(b.dtype).itemsize}").view(np.uint8)
        for b in members(program)
    ]
    empty = np.zeros((reference.batch, 1), dtype=np.uint8)  # the `unused` byte
    return np.concatenate(parts, axis=1) if parts else empty


def step_of(group: Group, row: int, t: int) -> Step:
    """One step; every other one has its ports at odd halfwords."""
    dt = None if group.times is None else int(group.times[row, t])
    return Step(group.inputs[row, t].astype(np.int16), (row + t) % 2 == 1, dt)


def step_records(group: Group, row: int) -> list[Record]:
    """Garbage in state and scratch, then the resets and steps of one sequence and nothing else."""
    found: list[Record] = [Garbage()]
    for t in range(group.inputs.shape[1]):
        found += [Reset()] if t in group.resets else []
        found.append(step_of(group, row, t))
    return found


def make_script(program: Program, group: Group, model: bytes) -> Script:
    """The sequences of a group, with their state saved, lost and loaded before the steps of `group.keeps`.

    Args:
        model: what the saved states carry, see `saved.model_id`.
    """
    play = _Play(program, group, model)
    play.ask([Garbage()] * play.batch)
    for t in range(group.inputs.shape[1]):
        if t in group.resets:
            play.reset()
        if t in group.starts:
            play.start(t)
        if t in group.keeps:
            play.keep(t)
        play.step(t)
    return Script(play.records, play.events)


def legal_state(program: Program, batch: int, t: int) -> Ints:
    """Numbers that a state may hold, others at each t: random, in the first two sequences ends of their ranges.

    How many samples a block still lacks is the same everywhere: all sequences end their steps alike.
    """
    low, high = persist.limits(program)
    rng = np.random.default_rng(t)
    numbers = rng.integers(low, high, size=(batch, len(low)), endpoint=True)
    numbers[:2] = np.where(rng.integers(0, 2, size=(2, len(low))), low, high)[:batch]
    waiting = np.array([b.name in _waits(program) for b in members(program) for _ in range(b.size)], bool)
    return np.where(waiting, numbers[:1], numbers)


def _waits(program: Program) -> set[str]:
    """The buffers that say how many samples are missing."""
    return {str(dict(call.args)["missing"]) for call in program.calls() if KERNELS[call.kernel].waits}


class _Play:
    """Runs the reference and writes down what the C is asked and must answer."""

    def __init__(self, program: Program, group: Group, model: bytes) -> None:
        self.program, self.group, self.model = program, group, model
        self.batch = len(group.inputs)
        self.reference = Reference(program, self.batch)
        self.records: list[list[Record]] = [[] for _ in range(self.batch)]
        self.events: list[list[Event]] = [[] for _ in range(self.batch)]

    def ask(self, records: Iterable[Record]) -> None:
        for row, record in zip(self.records, records, strict=True):
            row.append(record)

    def answer(self, kind: str, ret: int = 0, data: Sequence[bytes] = (), out: Ints | None = None) -> None:
        """An event for each sequence, with the state as the reference has it."""
        states = state_bytes(self.program, self.reference)
        ports = np.zeros((self.batch, 0)) if out is None else out
        for row, events in enumerate(self.events):
            state = states[row].tobytes()
            events.append(Event(kind, ret, ports[row].astype(np.int16), state, data=data[row] if data else b""))

    def reset(self) -> None:
        self.reference.reset()
        self.ask([Reset()] * self.batch)
        self.answer("R")

    def step(self, t: int) -> None:
        times = None if self.group.times is None else self.group.times[:, t : t + 1]
        missing, out = self.reference.step(self.group.inputs[:, t], times)
        self.ask(step_of(self.group, row, t) for row in range(self.batch))
        untouched = np.full((self.batch, self.program.output_size), SENTINEL, np.int64)
        self.answer("S", missing, out=untouched if out is None else out)

    def start(self, t: int) -> None:
        """Any legal state: all that is proved must hold from there."""
        numbers = legal_state(self.program, self.batch, t)
        self.ask(SetState(row) for row in numbers)
        self.answer("P", persist.set_state_raw(self.reference, numbers))

    def keep(self, t: int) -> None:
        """Get and save the state, lose it, see damaged ones refused, load it; lose it again, set it."""
        numbers = persist.get_state_raw(self.reference)
        saved = persist.save(self.reference, self.model)
        self.ask([GetState()] * self.batch)
        self.answer("G", data=[row.astype("<i4").tobytes() for row in numbers])
        self.ask([Save()] * self.batch)
        self.answer("V", data=saved)
        wrong = self._illegal(numbers, t)
        if wrong is not None:
            self.ask(SetState(row) for row in wrong)
            self.answer("P", persist.set_state_raw(self.reference, wrong))
        self.ask([Garbage()] * self.batch)
        for row, buffer in enumerate(saved):
            damaged = _damaged(buffer, t + 31 * row)
            damaged += [] if wrong is None else [persist.pack(persist.body_of(self.program, wrong[row]), self.model)]
            self._load_into_garbage(row, damaged)
        self.ask(Load(buffer) for buffer in saved)
        self.answer("L", persist.load(self.reference, self.model, saved))
        self.ask([Garbage()] * self.batch)
        self.ask(SetState(row) for row in numbers)
        self.answer("P", persist.set_state_raw(self.reference, numbers))

    def _load_into_garbage(self, row: int, buffers: Sequence[bytes]) -> None:
        """Load all that is to be refused: a number that lost its upper bits may be legal again."""
        size = state_bytes(self.program, self.reference).shape[1]
        for buffer in buffers:
            code, _ = persist.unpack(self.program, self.model, buffer)
            if code != persist.OK:
                self.records[row].append(Load(buffer))
                self.events[row].append(Event("L", code, state=bytes([GARBAGE]) * size))

    def _illegal(self, numbers: Ints, t: int) -> Ints | None:
        """The numbers with one of them, another one at each t, just outside its range; None without a state."""
        low, high = persist.limits(self.program)
        if not len(low):
            return None
        wrong, at = numbers.copy(), t % len(low)
        wrong[:, at] = high[at] + 1 if t % 2 and high[at] < 2**31 - 1 else max(low[at] - 1, -(2**31))
        return wrong


def _damaged(buffer: bytes, salt: int) -> list[bytes]:
    """A bit flipped, cut short, too long, of another model."""
    flipped = bytearray(buffer)
    bit = salt * 2_654_435_761 % (8 * len(buffer))
    flipped[bit // 8] ^= 1 << bit % 8
    numbers = buffer[HEAD.size : -CRC_BYTES]
    return [bytes(flipped), buffer[: salt % len(buffer)], buffer + b"\0", persist.pack(numbers, _STRANGER)]
