"""What every machine that runs generated C has in common: files in, image out, bytes in, bytes out.

A machine compiles the given files together with its own runtime (`firmware/harness`), which calls the
`harness_run` that one of the files defines. See `firmware/harness/harness.h` for that seam.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from lnnc.errors import LnncError
from lnnc.resources import firmware_text
from lnnc.verify.tools import require_tool

# The exit codes of harness.h, in words.
HARNESS_FAULT = 92
_HARNESS_STATUS = {
    90: "the harness refused its input (a record of unknown kind, or one cut short)",
    91: "the code wrote outside `out`, its state or its scratch, or changed `in`",
    HARNESS_FAULT: "the processor took a fault",
    93: "the harness could not hold its input or deliver its output",
}
_SHOWN_LINES = 40


class Machine(Protocol):
    """A compiler and something that runs what it makes."""

    @property
    def name(self) -> str:
        """Short name, as in `--on host,m4`."""

    def describe(self) -> str:
        """Tools and versions, for a report."""

    def build(
        self,
        sources: Mapping[str, str],
        workdir: Path,
        defines: Sequence[str] = (),
        flags: Sequence[str] = (),
        opt: str = "-O2",
    ) -> Path:
        """Write `sources` (file name -> text) and the runtime into `workdir`; compile the .c files.

        Args:
            sources: one of them defines `harness_run`; `harness.h` is there without being asked for.
            workdir: made if absent; two builds at the same time need two folders.
            defines: "NAME" or "NAME=value", without -D.
            flags: further compiler options.
            opt: optimisation level.

        Returns:
            The image, to be given to `run`.

        Raises:
            LnncError: the compiler is absent or refused the files; its output is in the message.
        """

    def run(self, image: Path, data: bytes, timeout: float = 120) -> bytes:
        """Give `data` to the harness and return all that it wrote.

        Raises:
            LnncError: crash, sanitizer report, processor fault, harness error, or `timeout` seconds passed.
        """


def write_files(sources: Mapping[str, str], runtime: Iterable[str], workdir: Path) -> list[str]:
    """Write sources and runtime files into `workdir`; returns the names of the .c files among them."""
    workdir.mkdir(parents=True, exist_ok=True)
    texts = {name: firmware_text(f"harness/{name}") for name in runtime} | dict(sources)
    for name, text in texts.items():
        (workdir / name).write_text(text, encoding="utf-8", newline="\n")
    return [name for name in texts if name.endswith(".c")]


def compiler_command(name: str) -> list[str]:
    """How to call a C compiler of the tool table, "zig" included, or any command by its name or path."""
    if name == "zig":
        require_tool("ziglang")
        return [sys.executable, "-m", "ziglang", "cc"]
    if name in ("cc", "gcc", "clang", "g++", "arm-none-eabi-gcc", "arm-none-eabi-g++", "avr-gcc"):
        return [str(require_tool(name))]
    return [name]


def compile_image(command: Sequence[str], workdir: Path, image: str, timeout: float = 300) -> Path:
    """Run a compiler in `workdir` (so that its messages name bare files) and return the image it made."""
    where = f"compiling with {Path(command[0]).name if command[0] != sys.executable else 'zig'}"
    done = run_process([*command, "-o", image], where, timeout, cwd=workdir)
    if done.returncode != 0:
        raise LnncError(f"the compiler refused the code\n{shown(done.stderr)}", where)
    return workdir.resolve() / image


def run_process(
    command: Sequence[str],
    where: str,
    timeout: float,
    data: bytes = b"",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """`subprocess.run` with captured output; LnncError when it cannot start or takes too long."""
    try:
        return subprocess.run(command, input=data, capture_output=True, timeout=timeout, cwd=cwd, env=env, check=False)
    except subprocess.TimeoutExpired as late:
        raise LnncError(f"no end after {timeout:g} s{_so_far(late.stderr)}", where) from late
    except OSError as fault:
        raise LnncError(f"cannot start {command[0]}: {fault.strerror}", where) from fault


def check_run(done: subprocess.CompletedProcess[bytes], where: str) -> bytes:
    """The run's stdout, or LnncError saying how it ended and what it printed on stderr."""
    if done.returncode == 0:
        return done.stdout
    raise LnncError(f"{_ending(done.returncode)}{_so_far(done.stderr)}", where)


def _ending(code: int) -> str:
    if code in _HARNESS_STATUS:
        return _HARNESS_STATUS[code]
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _so_far(stderr: bytes | None) -> str:
    text = shown(stderr or b"")
    return f"\n{text}" if text else ""


def shown(output: bytes) -> str:
    """The first lines of a tool's output, as text."""
    lines = output.decode("utf-8", "replace").strip().splitlines()
    more = [] if len(lines) <= _SHOWN_LINES else [f"... and {len(lines) - _SHOWN_LINES} more lines"]
    return "\n".join(lines[:_SHOWN_LINES] + more)


def environment(**changes: str) -> dict[str, str]:
    """This process's environment with some variables set."""
    return {**os.environ, **changes}
