"""The line to a board: a serial port or any URL that pyserial opens. The only module that knows pyserial."""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from lnnc.errors import LnncError

try:
    from termios import error as _TerminalError
except ImportError:  # there are none on Windows
    _TerminalError = OSError  # type: ignore[assignment, misc]

BAUD = 115_200
QUIET = 2.0  # seconds; boards that restart when their port is opened listen for an upload first, and to nothing else
_SLICE = 0.05  # seconds of one wait: some ports set themselves up anew when it changes
_TOUCH = 1200  # opening a native-USB board's port at this rate restarts it into its bootloader

# USB vendors of boards, and of the serial chips that stand on boards.
VENDORS = {
    0x2341: "Arduino", 0x2A03: "Arduino", 0x1B4F: "SparkFun", 0x239A: "Adafruit", 0x16C0: "Teensy",
    0x2E8A: "Raspberry Pi", 0x2886: "Seeed", 0x0483: "STMicroelectronics", 0x1366: "SEGGER", 0x0D28: "Arm DAPLink",
    0x303A: "Espressif", 0x1A86: "CH340", 0x0403: "FTDI", 0x10C4: "CP210x",
}  # fmt: skip


class Link(Protocol):
    """Bytes to and from a board, with a clock.

    Attributes:
        quiet: seconds for which nothing may be sent after it was opened.
    """

    quiet: float

    def write(self, data: bytes) -> None:
        """Send all of it. Raises LnncError when the line is gone."""

    def read(self, timeout: float) -> bytes:
        """What has arrived, at least a byte unless `timeout` seconds pass. Raises LnncError when the line is gone."""

    def now(self) -> float:
        """Seconds on a clock that only goes forward."""

    def close(self) -> None:
        """Give the line back; more than once does no harm."""


class SerialLink:
    """A port opened by pyserial."""

    def __init__(self, port: str, baud: int = BAUD) -> None:
        self.port = port
        self.quiet = 0.0 if _is_virtual(port) else QUIET
        self._serial = _open(port, baud)

    def write(self, data: bytes) -> None:
        import serial

        try:
            self._serial.write(data)  # and no flush, which may wait for ever
        except serial.SerialTimeoutException as fault:
            hint = "press its reset button, and verify again"
            raise LnncError("the board takes no more bytes", self.port, hint) from fault
        except (OSError, _TerminalError) as fault:  # pyserial's own are OSErrors, what it lets through may not be
            raise _gone(self.port) from fault

    def read(self, timeout: float) -> bytes:
        end = self.now() + timeout
        try:
            while not (first := self._serial.read(1)):
                if self.now() >= end:
                    return b""
            waiting = self._serial.in_waiting
            return bytes(first + self._serial.read(min(waiting, 4096)) if waiting else first)
        except (OSError, _TerminalError, TypeError) as fault:  # TypeError: pyserial, closed under its hands
            raise _gone(self.port) from fault

    def now(self) -> float:
        return time.monotonic()

    def close(self) -> None:
        with contextlib.suppress(Exception):  # a dead line may refuse; what it still holds would be waited for
            self._serial.reset_output_buffer()
        self._serial.close()


def _is_virtual(port: str) -> bool:
    """Whether no board restarts when the port is opened: a URL, a pseudo-terminal."""
    return "://" in port or port.startswith("/dev/pts/")


def _gone(port: str) -> LnncError:
    return LnncError("the line was closed in the middle", port, "plug the board in again, and verify again")


def _open(port: str, baud: int) -> Any:
    """The opened port.

    Raises:
        LnncError: pyserial is missing, no such port, it is in use, or the rate would restart boards.
    """
    if baud == _TOUCH:
        raise LnncError("1200 baud puts boards with native USB into their bootloader", "--baud", f"--baud {BAUD}")
    try:
        import serial
    except ImportError:
        raise LnncError("pyserial is not installed", "--on device", 'pip install "lnnc[device]"') from None
    more: dict[str, Any] = {} if port.startswith("rfc2217:") else {"write_timeout": 5}
    if "://" not in port:
        more["exclusive"] = True  # else a serial monitor that is open takes half of the bytes
    _check_address(port)
    try:
        return serial.serial_for_url(port, baudrate=baud, timeout=_SLICE, **more)
    except (OSError, ValueError, NotImplementedError, _TerminalError) as fault:
        raise LnncError(f"cannot open it ({_reason(fault)})", port, _advice(port, fault)) from fault


def _check_address(port: str) -> None:
    """Refuse what pyserial would answer with its own insides: no name, or an address without the number of its port."""
    if not port:
        raise LnncError("it names no port", "--port", f"ports that are here: {known_ports()}")
    if not _is_remote(port):
        return
    try:
        number = urlsplit(port).port
    except ValueError:  # no number, or one above 65535
        number = None
    if not number:
        scheme = port.partition(":")[0]
        expected = f"expected {scheme}://HOST:PORT with a number of 1 to 65535 for PORT"
        raise LnncError(expected, port, f"--port {scheme}://127.0.0.1:4000")


def _is_remote(port: str) -> bool:
    """Whether it is the address of something that listens."""
    return port.lower().startswith(("socket://", "rfc2217://"))


def _root(fault: BaseException) -> BaseException:
    """What the system raised, before pyserial wrapped it."""
    return fault if fault.__context__ is None else _root(fault.__context__)


def _reason(fault: Exception) -> str:
    """The system's words, without pyserial's wrapping."""
    root = _root(fault)
    if isinstance(root, OSError | _TerminalError) and root.args[:1] == (errno.ENOTTY,):
        return "it is no serial port"
    return (root.strerror if isinstance(root, OSError) else None) or str(fault)


def _advice(port: str, fault: Exception) -> str:
    """What to do about a port that does not open."""
    text = str(fault).lower()
    if "permission" in text or "denied" in text:
        return "close what uses it; on Linux add yourself to the group 'dialout' and log in again"
    if "busy" in text or "lock" in text:
        return "close the serial monitor or whatever else has it open"
    if _is_remote(port) and isinstance(_root(fault), OSError):
        return "start the other side first, and check its address: --port socket://127.0.0.1:4000, say"
    return f"ports that are here: {known_ports()}; or --port socket://HOST:PORT"


@dataclass(frozen=True)
class Port:
    """A serial port that the system shows, and whose board it may be ("" if nobody's that is known)."""

    device: str
    vendor: str
    text: str


def list_ports() -> list[Port]:
    """The serial ports of this machine."""
    try:
        from serial.tools import list_ports as tools
    except ImportError:
        raise LnncError("pyserial is not installed", "--on device", 'pip install "lnnc[device]"') from None
    found = sorted(tools.comports(), key=lambda port: str(port.device))
    return [Port(str(p.device), VENDORS.get(p.vid or 0, ""), str(p.description or "")) for p in found]


def known_ports() -> str:
    """The ports in words."""
    ports = list_ports()
    return ", ".join(f"{port.device} ({port.vendor or port.text})" for port in ports) or "none"


def choose_port(asked: str, ports: Sequence[Port] | None = None) -> str:
    """The port to open: the one asked for, or under "auto" the only one that has a board's USB id.

    Raises:
        LnncError: there is none, or more than one.
    """
    if asked != "auto":
        return asked
    seen = list_ports() if ports is None else ports
    boards = [port for port in seen if port.vendor]
    if len(boards) == 1:
        return boards[0].device
    shown = ", ".join(f"{port.device} ({port.vendor or port.text})" for port in (boards or seen)) or "none"
    if boards:
        raise LnncError(f"{len(boards)} boards are plugged in: {shown}", "--port auto", f"--port {boards[0].device}")
    hint = "plug the board in with a cable that carries data, or name its port: --port /dev/ttyACM0"
    raise LnncError(f"no board found by its USB id; ports here: {shown}", "--port auto", hint)
