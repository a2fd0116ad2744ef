"""The host machine: the system's C compiler, the program run directly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lnnc.errors import LnncError
from lnnc.verify.machine import (
    check_run,
    compile_image,
    compiler_command,
    environment,
    run_process,
    write_files,
)
from lnnc.verify.tools import command_version, find_tool, tool, version_of

_RUNTIME = ("harness.h", "io_host.c")
_SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")


@dataclass(frozen=True)
class HostMachine:
    """Compiles as C99 and runs here.

    Attributes:
        cc: "cc" (the system's compiler), another command, or "zig".
        sanitize: build with AddressSanitizer and UndefinedBehaviorSanitizer; any report is an LnncError.
    """

    cc: str = "cc"
    sanitize: bool = False

    @property
    def name(self) -> str:
        """Always "host"."""
        return "host"

    def describe(self) -> str:
        """Such as "cc 12.2.0 with ASan and UBSan"."""
        version = version_of("ziglang") if self.cc == "zig" else command_version(compiler_command(self.cc)[0])
        return f"{self.cc} {version}".rstrip() + (" with ASan and UBSan" if self.sanitize else "")

    def build(
        self,
        sources: Mapping[str, str],
        workdir: Path,
        defines: Sequence[str] = (),
        flags: Sequence[str] = (),
        opt: str = "-O2",
    ) -> Path:
        """See `Machine.build`."""
        units = write_files(sources, _RUNTIME, workdir)
        sanitize = _SANITIZE if self.sanitize else ()
        options = ["-std=c99", opt, *sanitize, *(f"-D{each}" for each in defines), *flags]
        return compile_image([*compiler_command(self.cc), *options, *units], workdir, "image")

    def run(self, image: Path, data: bytes, timeout: float = 120) -> bytes:
        """See `Machine.run`."""
        # Leaks are of no interest, and LeakSanitizer cannot work in a container without ptrace.
        env = environment(ASAN_OPTIONS="detect_leaks=0", UBSAN_OPTIONS="print_stacktrace=1")
        where = f"running on {self.describe()}"
        return check_run(run_process([str(image)], where, timeout, data, env=env), where)


def find_host() -> HostMachine:
    """The system's compiler, else the ziglang package's; LnncError says what to install if neither."""
    if find_tool("cc"):
        return HostMachine()
    if find_tool("ziglang"):
        return HostMachine(cc="zig")
    raise LnncError(
        "no C compiler found", hint=f"{tool('cc').how_to_get}; or, without root, {tool('ziglang').how_to_get}"
    )
