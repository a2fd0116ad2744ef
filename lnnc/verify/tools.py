"""The programs and packages that lnnc can use besides its own dependencies: what for, where, which version.

Nothing here is imported or run until asked for: `import lnnc` and `lnnc --help` stay fast on a bare machine.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lnnc.errors import LnncError


@dataclass(frozen=True)
class Tool:
    """One outside tool: found as a command on PATH or as an importable Python module.

    Attributes:
        name: how lnnc speaks of it; for a module, the name of its distribution.
        purpose: what lnnc uses it for.
        commands: names to look for on PATH, the first that exists wins (empty for a module).
        module: the Python module, when it is a package rather than a program.
        apt: Debian package that brings it ("" if none).
        pip: lnnc extra that brings it ("" if none; a module then comes by its own name).
    """

    name: str
    purpose: str
    commands: tuple[str, ...] = ()
    module: str = ""
    apt: str = ""
    pip: str = ""

    @property
    def how_to_get(self) -> str:
        """The command that installs it."""
        by_apt = f"apt install {self.apt}" if self.apt else ""
        package = f'"lnnc[{self.pip}]"' if self.pip else self.name if self.module else ""
        by_pip = f"pip install {package}" if package else ""
        return " or ".join(way for way in (by_apt, by_pip) if way)


TOOLS: tuple[Tool, ...] = (
    Tool("cc", "compile and run generated C on this machine", ("cc", "gcc", "clang"), apt="gcc"),
    Tool("g++", "check that generated C is C++ too", ("g++",), apt="g++"),
    Tool("clang", "check that a second compiler agrees", ("clang",), apt="clang"),
    Tool(
        "arm-none-eabi-gcc",
        "compile for Cortex-M4; measure flash, RAM and stack",
        ("arm-none-eabi-gcc",),
        apt="gcc-arm-none-eabi",
    ),
    Tool(
        "arm-none-eabi-g++",
        "compile sketches for the emulated Cortex-M4",
        ("arm-none-eabi-g++",),
        apt="gcc-arm-none-eabi",
    ),
    Tool("qemu-system-arm", "emulate a Cortex-M4 board", ("qemu-system-arm",), apt="qemu-system-arm"),
    Tool("avr-gcc", "check generated C on an 8-bit machine with a 16-bit int", ("avr-gcc",), apt="gcc-avr"),
    Tool("simavr", "emulate an Uno and a Mega", ("simavr",), apt="simavr"),
    Tool("arduino-builder", "build sketches for Arduino's AVR boards", ("arduino-builder",), apt="arduino-builder"),
    Tool("chromium", "run the page of examples/monitor in tests", ("chromium",), apt="chromium"),
    Tool("cmake", "build what --layout cmake writes", ("cmake",), apt="cmake"),
    Tool("unicorn", "emulate a Cortex-M4 where QEMU is not installed; count cycles", module="unicorn", pip="emulate"),
    Tool("capstone", "read machine code, to model its cycles", module="capstone", pip="emulate"),
    Tool("ziglang", "compile where no C compiler is installed", module="ziglang", pip="emulate"),
    Tool("pyelftools", "read the sizes in object files", module="elftools", pip="emulate"),
    Tool("pyserial", "talk to boards over a serial line", module="serial", pip="device"),
    Tool("playwright", "drive Chromium in tests", module="playwright", pip="test"),
    Tool("torch", "read .pt checkpoints; train", module="torch"),
    Tool("safetensors", "read .safetensors checkpoints", module="safetensors"),
)
_BY_NAME = {tool.name: tool for tool in TOOLS}
_ALIASES = {"gcc": "cc", "zig": "ziglang", "qemu": "qemu-system-arm"}


@dataclass(frozen=True)
class ToolStatus:
    """Where a tool was found on this machine (`path` None: it was not) and its version ("" if unknown)."""

    tool: Tool
    path: Path | None
    version: str


def tool(name: str) -> Tool:
    """The table's row of this name. Raises KeyError for a name that is not in the table (a bug of ours)."""
    return _BY_NAME[_ALIASES.get(name, name)]


def find_tool(name: str) -> Path | None:
    """Path of the program or of the module's file, None if not installed. Nothing is run or imported."""
    wanted = tool(name)
    if wanted.module:
        return _find_module(wanted.module)
    for command in wanted.commands:
        found = shutil.which(command)
        if found:
            return Path(found)
    return None


def require_tool(name: str) -> Path:
    """Like `find_tool`, but raises LnncError with the line that installs it."""
    found = find_tool(name)
    if found is None:
        wanted = tool(name)
        message = f"{wanted.name} is not installed (needed to {wanted.purpose})"
        raise LnncError(message, hint=wanted.how_to_get)
    return found


def version_of(name: str) -> str:
    """Version such as "12.2.1", "" when the tool is absent or does not tell."""
    wanted = tool(name)
    path = find_tool(name)
    if path is None:
        return ""
    return _package_version(wanted.name) if wanted.module else command_version(str(path))


def status() -> list[ToolStatus]:
    """Every tool of the table with what this machine has of it."""
    return [ToolStatus(each, find_tool(each.name), version_of(each.name)) for each in TOOLS]


@cache
def command_version(command: str) -> str:
    """Version from the first line of `command --version`, "" if it cannot be run or shows none."""
    try:
        asked = [command, "--version"]
        shown = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    first = shown.stdout.partition("\n")[0]
    outside_brackets = re.sub(r"\([^)]*\)", "", first)
    found = re.search(r"\d+(\.\d+)+", outside_brackets)
    return found.group() if found else ""


def _find_module(module: str) -> Path | None:
    spec = importlib.util.find_spec(module)
    if spec is None:
        return None
    return Path(spec.origin) if spec.origin else Path(module)


def _package_version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
