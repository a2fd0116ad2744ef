"""The verification protocol: frames, the conversation, what is refused, and a line on which everything goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from boards import DirectLink, FaultyLink, Firmware, random_faults, with_another_weight
from hypothesis import given
from hypothesis import strategies as st
from liquid import SPAN, liquid_checkpoint
from small import document
from test_generated_c import change_last_number

from lnnc.errors import LnncError
from lnnc.frontend.parse import parse_checkpoint
from lnnc.ir.program import ARITHMETIC
from lnnc.pipeline import Compiled, Options, compile_model
from lnnc.resources import example_path
from lnnc.verification import board_model
from lnnc.verify.check import Report
from lnnc.verify.device.check import check_board
from lnnc.verify.device.frames import ANSWER, END, REFUSAL, Frame, Kind, Splitter, Why, decode, encode
from lnnc.verify.device.link import BAUD, Port, SerialLink, choose_port
from lnnc.verify.device.session import TRIES, Session
from lnnc.verify.vectors import Group, fewer, make_groups

SCHEDULES = 1000
MODELS = ("window", "stream", "soh", "cfc", "ltc", "timed")
Board = Callable[[str], tuple[Compiled, Firmware]]
pytestmark = pytest.mark.needs("cc")


def compiled(name: str) -> Compiled:
    if name in ("window", "stream"):
        return compile_model(parse_checkpoint(document(name), name), "lnn")
    if name == "soh":
        return compile_model(example_path("soh/student.pt"), "lnn")
    return compile_model(liquid_checkpoint(name)[0], "lnn", liquid_checkpoint(name)[1])


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    """Return a function that builds the firmware with a model once, and gives it as it is after power-up."""
    made: dict[str, tuple[Compiled, Firmware]] = {}

    def get(name: str) -> tuple[Compiled, Firmware]:
        if name not in made:
            model = compiled(name)
            made[name] = model, Firmware(model.files, tmp_path_factory.mktemp(name))
        made[name][1].restart()
        return made[name]

    return get


def check(model: Compiled, link: DirectLink, count: int = 128) -> Report:
    groups = fewer(make_groups(model.program, None, count), count)
    return check_board(board_model(model), Session(link, "here"), groups)


# --- frames ---


@given(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=300), st.lists(st.integers(1, 40)))
def test_frames_arrive_however_they_are_cut(kind: int, number: int, payload: bytes, cuts: list[int]) -> None:
    frame, splitter, found = Frame(kind, number, payload), Splitter(), []
    line = b"noise before it" + encode(frame) + encode(frame)
    for size in cuts:
        found += splitter.feed(line[:size])
        line = line[size:]
    assert found + splitter.feed(line) == [frame, frame]
    assert splitter.damaged == 1


@given(st.binary(min_size=1, max_size=60), st.data())
def test_a_frame_with_a_changed_byte_is_no_frame(payload: bytes, data: st.DataObject) -> None:
    line = bytearray(encode(Frame(Kind.STEP, 7, payload)))
    at, mask = data.draw(st.integers(1, len(line) - 2)), data.draw(st.integers(1, 255))
    line[at] ^= mask
    assert Splitter().feed(bytes(line)) in ([], [Frame(Kind.STEP, 7, payload)])


def test_a_frame_has_the_bytes_that_the_specification_shows() -> None:
    assert encode(Frame(Kind.RESET, 5)).hex(" ") == "c0 02 05 00 00 7c d5 86 8d c0"
    assert decode(encode(Frame(Kind.GET, 0xC0, b"\xdb"))[1:-1]) == Frame(Kind.GET, 0xC0, b"\xdb")


def test_noise_without_an_end_does_not_fill_the_memory() -> None:
    splitter = Splitter()
    for _ in range(40):
        splitter.feed(b"\xa5" * 10_000)
    assert len(splitter._held) < 200_000
    assert splitter.feed(encode(Frame(Kind.GET, 1))) == [Frame(Kind.GET, 1)]


# --- a conversation ---


@pytest.mark.parametrize("name", MODELS)
def test_every_byte_of_whole_trajectories_agrees(name: str, board: Board) -> None:
    model, firmware = board(name)
    report = check(model, DirectLink(firmware))
    assert report.passed, report.difference
    assert report.vectors >= 100
    assert "a board in a library at here; a step takes" in report.machine


@pytest.mark.parametrize("name", MODELS)
def test_one_changed_weight_fails(name: str, board: Board, tmp_path: Path) -> None:
    model, _ = board(name)
    changed = replace(model.files, source=with_another_weight(model.files.source))
    report = check(model, DirectLink(Firmware(changed, tmp_path)))
    assert not report.passed
    assert "step" in report.difference


def test_the_self_test_runs_where_it_is_built_in(board: Board, tmp_path: Path) -> None:
    model, _ = board("cfc")
    link = DirectLink(Firmware(model.files, tmp_path / "good", ("-DLNN_SELFTEST",)))
    assert "self-test passed" in check(model, link).machine
    changed = replace(model.files, golden=change_last_number(model.files.golden, "golden_out"))
    report = check(model, DirectLink(Firmware(changed, tmp_path / "bad", ("-DLNN_SELFTEST",))))
    assert "the self-test on the board failed" in report.difference
    assert "passed" not in report.machine


def test_a_step_that_is_asked_for_again_is_not_run_again(board: Board) -> None:
    model, firmware = board("cfc")
    session = Session(DirectLink(firmware), "here")
    session.hello()
    session.reset()
    values = np.full(model.program.input_size, 1000)
    first = session.step(values)
    session.number -= 1
    again = session.step(values)
    np.testing.assert_array_equal(first.out, again.out)
    after = session.step(values)
    assert (after.out != first.out).any(), "a step of its own"


def refused(session: Session, ask: Callable[[], object]) -> str:
    with pytest.raises(LnncError) as caught:
        ask()
    return caught.value.message


def test_requests_out_of_turn_are_refused(board: Board) -> None:
    model, firmware = board("cfc")
    session, values = Session(DirectLink(firmware), "here"), np.zeros(model.program.input_size)
    assert "restarted in the middle" in refused(session, session.reset)
    session.hello()
    assert "lost its state" in refused(session, lambda: session.step(values.astype(int)))
    session.hello()
    session.reset()
    session.number += 5
    assert "lost count" in refused(session, session.get)
    session.hello()
    session.reset()
    assert "another length" in refused(session, lambda: session.step(np.zeros(1, int)))
    session.hello()
    assert "not built into" in refused(session, session.golden)
    assert "does not know" in refused(session, lambda: session._ask(9, b""))  # type: ignore[arg-type]


def test_an_answer_whose_room_was_overwritten_is_not_given_again(board: Board) -> None:
    """A damaged request to set the state may lie over the outputs of the last step."""
    model, firmware = board("cfc")
    session = Session(DirectLink(firmware), "here")
    session.hello()
    session.reset()
    values = np.zeros(model.program.input_size, int)
    session.step(values)
    firmware.take(encode(Frame(Kind.SET, 77, b"\x11" * 25))[:-3] + b"\x00" + bytes([END]))
    session.number -= 1
    assert "lost count" in refused(session, lambda: session.step(values))


@given(st.binary(max_size=400))
def test_no_bytes_disturb_a_board(noise: bytes) -> None:
    """Whatever comes before: the next request is heard."""
    firmware = _any_firmware()
    firmware.restart()
    firmware.take(noise)
    frames = Splitter().feed(firmware.take(encode(Frame(Kind.HELLO, 3, b"abcd"))))
    assert frames[-1].kind == Kind.HELLO | ANSWER
    assert frames[-1].payload[:4] == b"abcd"


_FIRMWARE: list[Firmware] = []


def _any_firmware() -> Firmware:
    return _FIRMWARE[0]


@pytest.fixture(autouse=True)
def _one_firmware(board: Board) -> None:
    if not _FIRMWARE:
        _FIRMWARE.append(board("cfc")[1])


# --- stale firmware ---


@pytest.mark.parametrize(("old", "new", "said"), [
    (f'LNN_ARITHMETIC "{ARITHMETIC}"', 'LNN_ARITHMETIC "lnnc-arith-0"', "its firmware is stale"),
    ('LNN_DIGEST "', 'LNN_DIGEST "0', "another model"),
])  # fmt: skip
def test_a_stale_firmware_is_refused_before_any_vector(
    old: str, new: str, said: str, board: Board, tmp_path: Path
) -> None:
    model, _ = board("cfc")
    assert old in model.files.header
    stale = replace(model.files, header=model.files.header.replace(old, new))
    link = DirectLink(Firmware(stale, tmp_path))
    steps: list[int] = []
    with pytest.raises(LnncError, match=said) as caught:
        check_board(board_model(model), Session(link, "here"), [], lambda done, total: steps.append(done))
    assert steps == []
    assert "upload it" in caught.value.hint


def test_the_same_model_with_other_options_is_refused(board: Board, tmp_path: Path) -> None:
    """Options that change the meaning of a state, and those that change its size."""
    model, _ = board("ltc")
    for options in (Options(activations="int8"), Options(runtime_dt=SPAN)):
        other = compile_model(model.checkpoint, "lnn", options)
        firmware = Firmware(other.files, tmp_path / str(options.runtime_dt is None))
        with pytest.raises(LnncError, match="compiled with other options"):
            check(model, DirectLink(firmware))


def test_another_version_of_the_protocol_is_refused(board: Board) -> None:
    model, firmware = board("cfc")

    class Other(DirectLink):
        def read(self, timeout: float) -> bytes:
            frames = Splitter().feed(super().read(timeout))
            return b"".join(encode(replace(f, payload=f.payload[:4] + b"\x02" + f.payload[5:])) for f in frames)

    with pytest.raises(LnncError, match="version 2 of the protocol, not 1"):
        check(model, Other(firmware))


# --- faults ---


class Mute(DirectLink):
    def write(self, data: bytes) -> None:
        pass


class Babbling(DirectLink):
    """Bytes without an end, whatever is said: each read gives some."""

    def read(self, timeout: float) -> bytes:
        self.time += 0.01
        return b"\xc0Guru Meditation\r\n"


class Garbled(DirectLink):
    """Whole frames whose payload is longer than a model of these sizes gives."""

    def write(self, data: bytes) -> None:
        for frame in Splitter().feed(self.firmware.take(data)):
            more = b"" if frame.kind == Kind.HELLO | ANSWER else b"\0\0"
            self._here += encode(replace(frame, payload=frame.payload + more))


class Refusing(DirectLink):
    """Refuses with a code that this program does not know."""

    def write(self, data: bytes) -> None:
        for frame in Splitter().feed(data):
            known = frame.kind == Kind.HELLO
            answer = self.firmware.take(data) if known else encode(Frame(REFUSAL, frame.number, b"\x63"))
            self._here += answer


@pytest.mark.parametrize(("kind", "said"), [
    (Mute, "no answer within 6 s: the board is silent"), (Babbling, "damaged pieces"), (Refusing, "reason 99"),
    (Garbled, "its answer to get has another form"),
])  # fmt: skip
def test_what_is_no_such_board_is_told_in_time(kind: type[DirectLink], said: str, board: Board) -> None:
    model, firmware = board("cfc")
    link = kind(firmware)
    with pytest.raises(LnncError, match=said):
        check(model, link)
    assert link.time < 10


def test_silence_in_the_middle_ends_after_the_tries(board: Board) -> None:
    model, firmware = board("cfc")
    link = DirectLink(firmware)
    session = Session(link, "here", patience=1.5)
    session.hello()
    session.reset()
    start = link.time
    link.write = lambda data: None  # type: ignore[method-assign]
    with pytest.raises(LnncError, match=f"the board stopped answering \\(no answer to get, asked {TRIES} times\\)"):
        session.get()
    assert link.time - start == pytest.approx(1.5 * TRIES)


class Slow(DirectLink):
    """Every answer takes longer than the pause between two hellos."""

    def write(self, data: bytes) -> None:
        self._late = [*getattr(self, "_late", []), (self.time + 0.7, self.firmware.take(data))]

    def read(self, timeout: float) -> bytes:
        due, answer = self._late[0] if self._late else (self.time + timeout + 1, b"")
        if due > self.time + timeout:
            self.time += timeout
            return b""
        self.time = max(self.time, due)
        del self._late[0]
        return answer


class Bootloader(DirectLink):
    """A Mega: what is said to it in its first second keeps it in its bootloader for ever."""

    quiet = 2.0

    def write(self, data: bytes) -> None:
        self.spoilt = getattr(self, "spoilt", False) or self.time < 1.0
        if not self.spoilt:
            super().write(data)


@pytest.mark.parametrize("kind", [Slow, Bootloader])
def test_slow_lines_and_boards_that_restart_are_waited_for(kind: type[DirectLink], board: Board) -> None:
    model, firmware = board("cfc")
    assert check(model, kind(firmware), 20).passed
    hasty = Bootloader(firmware)
    hasty.quiet = 0.0
    with pytest.raises(LnncError, match="the board is silent"):
        check(model, hasty)


def outcome(model: Compiled, link: FaultyLink, groups: list[Group]) -> Report | LnncError:
    try:
        return check_board(board_model(model), Session(link, "faulty"), groups)
    except LnncError as error:
        return error


def test_a_thousand_schedules_of_faults(board: Board, tmp_path: Path) -> None:
    """Dropped, doubled, changed, strange, late bytes; lines that close, die, boards that restart.

    A good model may pass or the trouble be told, but it never fails; one with a changed weight never passes.
    """
    model, good = board("stream")
    bad = Firmware(replace(model.files, source=with_another_weight(model.files.source)), tmp_path)
    group = make_groups(model.program, None, 1)[0]
    short = replace(group, kinds=("random",), inputs=group.inputs[1:2, :12], resets=(0, 2), keeps=(11,), starts=())
    passed = told = failed = 0
    for seed in range(SCHEDULES):
        firmware = bad if seed % 2 else good
        firmware.restart()
        link = FaultyLink(firmware, random_faults(seed), seed)
        end = outcome(model, link, [short])
        assert link.reads < 50_000
        assert link.time < 400  # seconds: every request of the script at its last try
        if isinstance(end, LnncError):
            told += 1
            assert end.where == "faulty"
            assert end.hint
            assert link.happened or link.faults.close_at or link.faults.silent_at, "no trouble without a fault"
            continue
        assert end.passed == (firmware is good), (seed, end.difference)
        passed += end.passed
        failed += not end.passed
    assert min(passed, failed) > 200, "many are mended"
    assert told > 100
    assert passed + told + failed == SCHEDULES


# --- ports ---

SEEN = [Port("/dev/ttyS0", "", "n/a"), Port("/dev/ttyACM0", "Arduino", "Nano 33 BLE"), Port("COM7", "CH340", "")]


def test_the_only_board_is_found() -> None:
    assert choose_port("auto", SEEN[:2]) == "/dev/ttyACM0"
    assert choose_port("/dev/ttyUSB9", SEEN) == "/dev/ttyUSB9"


@pytest.mark.parametrize(("ports", "said"), [
    ([], "ports here: none"), (SEEN[:1], "no board found by its USB id; ports here: /dev/ttyS0"),
    (SEEN, "2 boards are plugged in: /dev/ttyACM0 (Arduino), COM7 (CH340)"),
])  # fmt: skip
def test_no_board_or_several_are_told(ports: list[Port], said: str) -> None:
    with pytest.raises(LnncError) as caught:
        choose_port("auto", ports)
    assert said in caught.value.message
    assert "--port " in caught.value.hint


def test_1200_baud_is_never_opened() -> None:
    with pytest.raises(LnncError, match="bootloader") as caught:
        SerialLink("loop://", 1200)
    assert str(BAUD) in caught.value.hint


def test_refusals_have_the_numbers_of_the_firmware() -> None:
    from lnnc.resources import firmware_text

    text = firmware_text("device/lnn_device.c")
    assert f"enum {{ {', '.join([f'{Kind.HELLO.name} = 1', *(k.name for k in list(Kind)[1:])])} }};" in text
    assert f"enum {{ {', '.join([f'{Why.SAY_HELLO.name} = 1', *(k.name for k in list(Why)[1:])])} }};" in text
