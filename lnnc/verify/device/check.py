"""Reference against a board: the scripts of `lnnc verify`, trajectories with resets, played over a serial line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lnnc.errors import LnncError
from lnnc.ir.program import ARITHMETIC, Program
from lnnc.ir.saved import CRC_BYTES, HEAD, members, save_bytes
from lnnc.reference import persist
from lnnc.verify.check import Report, event_difference
from lnnc.verify.device.session import Hello, Session
from lnnc.verify.model_run import SENTINEL, Event, Garbage, GetState, Load, Record, Reset, Save, SetState, Step
from lnnc.verify.script import Script, make_script
from lnnc.verify.vectors import Group

Progress = Callable[[int, int], None]  # vectors done, of how many
_AGAIN = "compile the model again, build the sketch Verify with it, upload it, and verify again"
_BENCHMARK_SECONDS = 1.0


@dataclass(frozen=True)
class Model:
    """What the firmware must have been built from.

    Attributes:
        digest: SHA-256 of the model.
        meaning: what its saved states carry, see `saved.model_id`: options and arithmetic besides.
    """

    program: Program
    digest: str
    meaning: bytes


def check_board(
    model: Model, session: Session, groups: Sequence[Group], progress: Progress | None = None, wait: float = 6.0
) -> Report:
    """Say hello, refuse a stale firmware, play every group, compare every byte.

    Raises:
        LnncError: another model's firmware, or trouble on the line. A difference is no error, but a report that failed.
    """
    hello = session.hello(wait)
    check_hello(hello, model, session.where)
    session.reset()
    _check_meaning(session.get(), model, session.where)
    player, where = _Player(model, session), f"{hello.board} at {session.where}"
    total = sum(group.steps for group in groups)
    for group in groups:
        script = make_script(model.program, group, model.meaning)
        for row, kind in enumerate(group.kinds):
            text = player.play(script, row, lambda: progress(player.vectors, total) if progress else None)
            if text:
                found = f"{kind} vector {row}, {text}"
                return Report("device", where, player.vectors, player.compared, found)
    failed = _golden(hello, session)
    if not failed:
        where += ", self-test passed" * hello.has_golden + _timing(hello, session, groups, player)
    return Report("device", where, player.vectors, player.compared, failed)


def check_hello(hello: Hello, model: Model, where: str) -> None:
    """Refuse a firmware that was built from something else.

    Raises:
        LnncError: another arithmetic, another model, ports or a state of another size.
    """
    if hello.arithmetic != ARITHMETIC:
        message = f"the board runs arithmetic {hello.arithmetic}, this lnnc has {ARITHMETIC}: its firmware is stale"
        raise LnncError(message, where, _AGAIN)
    if hello.digest != model.digest:
        found, given = (f"{digest[:12]}..." for digest in (hello.digest, model.digest))
        raise LnncError(f"the board runs another model (sha256 {found}, the model given is {given})", where, _AGAIN)
    program = model.program
    have = (hello.inputs, hello.outputs, hello.save_bytes, hello.has_dt)
    due = (program.input_size, program.output_size, save_bytes(program), program.time is not None)
    if have != due:
        raise LnncError(_other_options("ports or state of other sizes"), where, _AGAIN)


def _check_meaning(saved: bytes, model: Model, where: str) -> None:
    """Refuse the same model compiled with other options, which the first bytes of a saved state tell."""
    if HEAD.unpack_from(saved)[3] != model.meaning:
        raise LnncError(_other_options("its states say so"), where, _AGAIN)


def _other_options(why: str) -> str:
    return f"the board runs this model compiled with other options ({why}); give the same options, or the generated .c"


class _Player:
    """Plays the records of one sequence after the other, and compares."""

    def __init__(self, model: Model, session: Session) -> None:
        self.model, self.session = model, session
        self.vectors = self.compared = 0
        self.body = b""  # of the saved state that is known to be on the board
        self.ticks: list[int] = []

    def play(self, script: Script, row: int, done: Callable[[], None]) -> str:
        """The first difference of a sequence in words, "" if there is none."""
        events, step = iter(script.events[row]), 0
        for record in script.records[row]:
            if isinstance(record, Garbage):
                continue  # nothing like it on a board; what was there before stays
            want = next(events)
            text = self._compare(record, want)
            if text:
                return f"step {step}: {text}"
            if isinstance(record, Step):
                step += 1
                self.vectors += 1
                done()
        return ""

    def _compare(self, record: Record, want: Event) -> str:
        """Do what the record says and compare; a refused load must have left the state alone."""
        if isinstance(record, SetState):
            if want.ret != persist.OK:
                return ""  # what a saved state cannot say; loads of such states are in the script too
            body = persist.body_of(self.model.program, np.asarray(record.numbers, np.int64))
            record, want = Load(persist.pack(body, self.model.meaning)), replace(want, kind="L")
        if isinstance(record, Load) and len(record.data) > save_bytes(self.model.program):
            return ""
        got = self._ask(record, want)
        if isinstance(record, Load) and want.ret != persist.OK:
            want = replace(want, state=self.body)
        want = replace(want, state=want.state if members(self.model.program) else b"")
        came = want.out.nbytes if want.ret == 0 else 0  # else no outputs cross the line
        self.compared += 4 + len(want.state) + len(want.data) + came
        if (got.ret, got.data, got.state) != (want.ret, want.data, want.state) or not np.array_equal(got.out, want.out):
            return event_difference(self.model.program, want, replace(got, kind=want.kind))
        self.body = want.state
        return ""

    def _ask(self, record: Record, want: Event) -> Event:
        """What the board answers to a record, its state as saved afterwards."""
        got = Event(want.kind)
        match record:
            case Reset():
                self.session.reset()
            case Step():
                stepped = self.session.step(record.values, record.dt or 0)
                self.ticks.append(stepped.ticks)
                untouched = np.full(self.model.program.output_size, SENTINEL)
                out = stepped.out if stepped.ret == 0 else untouched
                got = replace(got, ret=stepped.ret, out=out.astype(np.int16))
            case Load():
                got = replace(got, ret=self.session.set(record.data))
        saved = self.session.get()
        body = saved[HEAD.size : -CRC_BYTES]
        if persist.pack(body, self.model.meaning) != saved:
            raise LnncError("a saved state from the board is damaged in itself", self.session.where, _AGAIN)
        if isinstance(record, GetState):
            got = replace(got, data=persist.numbers_of(self.model.program, body).astype("<i4").tobytes())
        elif isinstance(record, Save):
            got = replace(got, data=saved)
        return replace(got, state=body)


def _golden(hello: Hello, session: Session) -> str:
    """What the built-in self-test finds, "" if nothing or where it is not built in."""
    if not hello.has_golden:
        return ""
    first = session.golden()
    return "" if first == 0 else f"the self-test on the board failed at its step {first - 1}"


def _timing(hello: Hello, session: Session, groups: Sequence[Group], player: _Player) -> str:
    """What steps take, where the board measures it: of every vector played, and one after the other."""
    if hello.hz == 0 or not player.ticks:
        return ""
    worst = max(player.ticks)
    steps = int(min(max(_BENCHMARK_SECONDS * hello.hz / max(worst, 1), 1), 1000))
    session.reset()
    group = groups[0]
    dt = 0 if group.times is None else int(group.times[0, 0])
    timing = session.benchmark(group.inputs[0, 0], dt, steps)
    mean, most = timing.total / steps, max(worst, timing.worst)
    return f"; a step takes {_time(mean, hello.hz)} on average, {_time(most, hello.hz)} at most"


def _time(ticks: float, hz: int) -> str:
    """Ticks as time; as cycles too, where the clock is that of a processor."""
    shown = f"{1e3 * ticks / hz:.3f} ms"
    return f"{ticks:,.0f} cycles ({shown})" if hz > 2_000_000 else shown
