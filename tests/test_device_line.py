"""`lnnc verify --on device` over sockets and terminals whose other side behaves badly: a message, a code, an end."""

from __future__ import annotations

import os
import pty
import random
import socket
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from boards import Firmware
from small import document, lnnc, save

from lnnc.pipeline import compile_model

Answer = Callable[[socket.socket, Firmware], None]
pytestmark = pytest.mark.needs("cc", "serial")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(document("stream"), tmp_path_factory.mktemp("model") / "m.pt")


@pytest.fixture(scope="module")
def firmware(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Firmware:
    return Firmware(compile_model(model, "lnn").files, tmp_path_factory.mktemp("firmware"))


@contextmanager
def peer(answer: Answer, firmware: Firmware) -> Iterator[str]:
    """A TCP port behind which `answer` handles one connection."""
    firmware.restart()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                line, _ = listener.accept()
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with line:
                    answer(line, firmware)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"socket://127.0.0.1:{listener.getsockname()[1]}"
    thread.join(timeout=10)
    assert not thread.is_alive()


def well(line: socket.socket, firmware: Firmware) -> None:
    while data := line.recv(4096):
        line.sendall(firmware.take(data))


def a_byte_at_a_time(line: socket.socket, firmware: Firmware) -> None:
    while data := line.recv(1):
        for byte in firmware.take(data):
            line.sendall(bytes([byte]))


def unplugged(line: socket.socket, firmware: Firmware) -> None:
    for _ in range(25):
        line.sendall(firmware.take(line.recv(4096)))


def garbage(line: socket.socket, firmware: Firmware) -> None:
    noise = random.Random(3)
    while True:
        line.sendall(noise.randbytes(64))
        time.sleep(0.01)


def silence(line: socket.socket, firmware: Firmware) -> None:
    while line.recv(4096):
        pass


def another_sketch(line: socket.socket, firmware: Firmware) -> None:
    """Blink with a print, say."""
    line.recv(4096)
    line.sendall(b"Hello, world!\r\n")
    silence(line, firmware)


def stops_answering(line: socket.socket, firmware: Firmware) -> None:
    for _ in range(25):
        line.sendall(firmware.take(line.recv(4096)))
    silence(line, firmware)


@pytest.mark.parametrize("answer", [well, a_byte_at_a_time])
def test_it_passes_however_the_bytes_come(answer: Answer, model: Path, firmware: Firmware) -> None:
    with peer(answer, firmware) as port:
        result = lnnc("verify", model, "--on", "device", "--port", port, "--vectors", 30)
    assert result.code == 0, result
    assert result.last == "PASS: every byte equal on device"


@pytest.mark.parametrize(("answer", "said"), [
    (unplugged, "the line was closed in the middle"), (garbage, "damaged pieces among them"),
    (silence, "the board is silent"), (another_sketch, "15 bytes came"),
    (stops_answering, "the board stopped answering"),
])  # fmt: skip
def test_trouble_is_told_in_time(answer: Answer, said: str, model: Path, firmware: Firmware) -> None:
    start = time.monotonic()
    with peer(answer, firmware) as port:
        result = lnnc("verify", model, "--on", "device", "--port", port, "--timeout", 0.3)
    assert result.code == 2, result
    assert said in result.err
    assert port in result.err
    assert "fix: " in result.err
    assert result.out == ""
    assert time.monotonic() - start < 15


def test_a_terminal_that_hangs_up(model: Path, firmware: Firmware) -> None:
    """As a USB cable that is pulled out: the device file stays, the line is dead."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    firmware.restart()

    def serve() -> None:
        for _ in range(25):
            os.write(ours, firmware.take(os.read(ours, 4096)))
        os.close(theirs)
        os.close(ours)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    result = lnnc("verify", model, "--on", "device", "--port", os.ttyname(theirs), "--timeout", 0.3)
    thread.join(timeout=10)
    assert result.code == 2, result
    assert "the line was closed in the middle" in result.err


@pytest.mark.parametrize(("words", "said"), [
    (("--port", "/dev/ttyNOTHERE"), "cannot open it (No such file or directory)"),
    (("--port", "socket://127.0.0.1:9"), "start the other side first"),
    (("--port", "loop://", "--baud", 1200), "bootloader"),
    (("--port", "nonsense://x"), "protocol 'nonsense' not known"),
    (("--port", "/dev/null"), "cannot open it (it is no serial port)"),
    (("--port", "spy:///dev/null"), "cannot open it (it is no serial port)"),
    (("--port", ""), "--port: it names no port"),
    (("--port", "socket://127.0.0.1"), "expected socket://HOST:PORT with a number of 1 to 65535"),
    (("--port", "socket://"), "expected socket://HOST:PORT"),
    (("--port", "socket://127.0.0.1:99999"), "expected socket://HOST:PORT"),
    (("--port", "rfc2217://127.0.0.1:x"), "expected rfc2217://HOST:PORT"),
    (("--port", "socket://127.0.0.1:9"), "cannot open it (Connection refused)"),
])  # fmt: skip
def test_ports_that_do_not_open_are_told(words: tuple[object, ...], said: str, model: Path) -> None:
    result = lnnc("verify", model, "--on", "device", *words)
    assert result.code == 2
    assert said in result.err, result.err
    assert "fix: " in result.err
    assert ("start the other side" in result.err) == ("socket://127.0.0.1:9" in words)


def test_a_port_without_a_device_is_a_mistake(model: Path) -> None:
    """Else the host's PASS would be taken for the board's."""
    result = lnnc("verify", model, "--port", "/dev/ttyACM0")
    assert result.code == 2
    assert "--on host,device" in result.err


def test_what_is_missing_is_told_before_anything_runs(model: Path) -> None:
    result = lnnc("verify", model, "--on", "host,device", "--port", "socket://127.0.0.1:9")
    assert result.code == 2
    assert result.out == ""


def test_a_board_is_one_of_several_places(model: Path, firmware: Firmware) -> None:
    with peer(well, firmware) as port:
        result = lnnc("verify", model, "--on", "host,device", "--port", port, "--vectors", 30)
    assert result.last == "PASS: every byte equal on host, device", result
    assert "--on takes host, m4 and device, found moon" in lnnc("verify", model, "--on", "moon").err
