"""Boards that are not there: the emulator that runs a sketch's image behind a serial port.

Uno and Mega run on simavr, whose UART is a pseudo-terminal; a Cortex-M4 on QEMU, whose UART is a TCP port of 127.0.0.1.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lnnc.errors import LnncError
from lnnc.resources import firmware_text
from lnnc.verify.machine import compile_image, compiler_command, shown
from lnnc.verify.sketches import AVR, LARGER, Avr
from lnnc.verify.tools import require_tool, version_of

BOARDS = ("uno", "mega", "cortex-m4")
_OVERRUN = rb"the stack ran into the variables: they leave it (\d+) bytes"  # as firmware/simavr/board.c says it


@dataclass(frozen=True)
class Stack:
    """Bytes of RAM that the stack has used so far, and that the variables leave it."""

    used: int
    room: int


@dataclass(frozen=True, eq=False)
class Running:
    """A board that runs.

    Attributes:
        port: where its serial line is reached.
        stack: asks the emulator for the stack so far; None where it cannot tell.
    """

    port: str
    stack: Callable[[], Stack | None] = lambda: None


def describe_board(board: str) -> str:
    """What runs the image."""
    if board in AVR:
        return f"simavr, {AVR[board].chip} at {AVR[board].hertz // 1_000_000} MHz"
    return f"QEMU {version_of('qemu-system-arm')} mps2-an386"


@contextmanager
def boot(board: str, image: Path, workdir: Path) -> Iterator[Running]:
    """Run an image, and end it afterwards.

    Raises:
        LnncError: it does not start; or, instead of an LnncError of what is done meanwhile, why it ended by itself.
    """
    starter = _boot_avr(AVR[board], image, workdir) if board in AVR else _boot_m4(image)
    with starter as running:
        yield running


@contextmanager
def _boot_avr(board: Avr, image: Path, workdir: Path) -> Iterator[Running]:
    program = avr_emulator(workdir)
    command = [str(program), board.chip, str(board.hertz), str(image)]
    with _process(board.name, command) as process:
        port = _line(process)
        if not port:
            process.wait(timeout=10)
            raise LnncError("it did not start", "simavr")
        yield Running(port, lambda: _stack(process))


def _line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()


def _stack(process: subprocess.Popen[bytes]) -> Stack | None:
    """What the emulator answers to a byte; None when it has ended."""
    assert process.stdin is not None
    try:
        process.stdin.write(b"?")
        process.stdin.flush()
    except BrokenPipeError:
        return None
    found = re.fullmatch(r"(\d+) (\d+)", _line(process))
    return Stack(int(found[1]), int(found[2])) if found else None


def avr_emulator(workdir: Path) -> Path:
    """`firmware/simavr/board.c`, compiled."""
    require_tool("simavr")
    (workdir / "board_simavr.c").write_text(firmware_text("simavr/board.c"), encoding="utf-8")
    try:
        return compile_image([*compiler_command("cc"), "-O2", "board_simavr.c", "-lsimavr", "-lelf"], workdir, "board")
    except LnncError as fault:
        if not re.search(r"simavr/\w+\.h: No such|-lsimavr|-lelf", str(fault)):
            raise
        hint = "apt install libsimavr-dev libelf-dev"
        raise LnncError("simavr's library is not installed", "simavr", hint) from fault


@contextmanager
def _boot_m4(image: Path) -> Iterator[Running]:
    """QEMU gets a port that listens already: who connects at once waits, and nobody can take the number meanwhile."""
    if os.name == "nt":
        raise LnncError("a Cortex-M4 is simulated on Linux and macOS only", "simulate", "use WSL")
    qemu = str(require_tool("qemu-system-arm"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        line = f"socket,id=line,server=on,wait=off,nodelay=on,fd={listener.fileno()}"
        quiet = ["-display", "none", "-monitor", "none", "-chardev", line, "-serial", "chardev:line"]
        command = [qemu, "-M", "mps2-an386", *quiet, "-kernel", str(image)]
        with _process("cortex-m4", command, keep=(listener.fileno(),)):
            listener.close()  # now it is QEMU's alone: where that does not start, nobody answers
            yield Running(f"socket://127.0.0.1:{port}")


@contextmanager
def _process(board: str, command: Sequence[str], keep: Sequence[int] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own (Ctrl-C is ours to handle), ended when the block ends, however it ends."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, pass_fds=keep, start_new_session=True)
    try:
        yield process
    except LnncError as fault:
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.5)  # it may be about to end
        if process.poll() is None or process.stderr is None:
            raise
        said = process.stderr.read()
        if room := re.search(_OVERRUN, said):
            message = f"the stack ran into the variables, which leave it {int(room[1])} bytes of RAM"
            raise LnncError(message, board, LARGER) from fault
        raise LnncError(f"the emulator ended\n{shown(said)}", board) from fault
    finally:
        process.kill()
        process.communicate()
