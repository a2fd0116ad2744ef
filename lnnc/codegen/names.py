"""Names that generated C may carry."""

from __future__ import annotations

import re

from lnnc.errors import LnncError
from lnnc.ir.reserved import is_word

# Headers that others include by these names: one of ours on their include path would hide them, on a file system
# without case also <SPI.h>. Of C and POSIX; of Arduino's cores and best-known libraries.
_HEADERS = """
assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg stdatomic
stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype
alloca dirent endian fcntl features getopt malloc memory newlib poll pthread reent sched semaphore stdfix strings
termios unistd
"""
_ARDUINO = """
arduino wprogram wstring wcharacter wiring wiring_private binary client common compat hardwareserial
hardwareserial_private hardwarei2c hardwarespi interrupts ipaddress itoa new pins_arduino pluggableusb print printable
ringbuffer server stream udp usbapi usbcore usbdesc
mbed rtos events drivers cmsis device nrf nrfx
eeprom ethernet firmata hid keyboard liquidcrystal mouse pdm sd servo softwareserial spi stepper wifi wire
"""
_CMAKE = """
all all_build clean edit_cache help install package package_source preinstall rebuild_cache run_tests test zero_check
c m dl rt pthread
"""
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")


def check_name(name: str) -> str:
    """A model name that is safe as the prefix of every public C and C++ name.

    Raises:
        LnncError: not an identifier of at most 32 letters, digits and underscores, a C or C++ keyword, or a name that
            Arduino.h or the C library defines.
    """
    hint = "choose another, for example --name soh"
    if not _IDENTIFIER.fullmatch(name):
        raise LnncError(
            f"{name[:60]!r} cannot prefix C names: expected a letter, then at most 31 letters, digits or '_'",
            "--name",
            hint,
        )
    if is_word(name):
        raise LnncError(f"'{name}' is a C or C++ keyword or a name that Arduino.h defines", "--name", hint)
    return name


def hides_header(stem: str, arduino: bool = False) -> bool:
    """Whether others include a header of this name: of C and POSIX, or of Arduino."""
    return stem.lower() in _HEADERS.split() + (_ARDUINO.split() if arduino else [])


def check_header(stem: str, option: str, hint: str, arduino: bool = False) -> None:
    """Refuse a file name whose header would hide one that others include.

    Raises:
        LnncError: with what to choose instead.
    """
    if hides_header(stem, arduino):
        raise LnncError(f"its header '{stem}.h' would hide another of this name", option, hint)


def check_layout_name(name: str, stem: str, layout: str) -> None:
    """Refuse a prefix or file name that would hide a header, or that a build system keeps for itself.

    Raises:
        LnncError: with what to choose instead.
    """
    hint = "choose another, for example --name soh"
    check_header(stem, "--name", hint, arduino=layout in ("arduino", "platformio"))
    if layout == "arduino" and stem.lower().startswith("arduino"):
        raise LnncError("libraries whose names begin with 'arduino' are Arduino's own", "--name", hint)
    if layout == "cmake" and name.lower() in _CMAKE.split():
        raise LnncError(f"CMake has a target or library '{name}' already", "--name", hint)
