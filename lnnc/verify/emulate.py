"""The Cortex-M4 machine: a cross compiler and an emulator, from Debian packages or from Python packages.

The image is the same for both emulators: Arm MPS2 AN386 memory (see `firmware/harness/mps2_an386.ld`), input
placed at 0x21000000 by the loader, output by semihosting. Nothing listens on a socket.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lnnc.errors import LnncError
from lnnc.files import work_folder
from lnnc.resources import firmware_text
from lnnc.targets import TARGETS
from lnnc.verify.machine import (
    check_run,
    compile_image,
    compiler_command,
    environment,
    run_process,
    write_files,
)
from lnnc.verify.tools import find_tool, require_tool, tool, version_of

_RUNTIME = ("harness.h", "m4_io.h", "m4_io.c", "m4_memory.c", "m4_startup.c")
_LINKER_SCRIPT = "mps2_an386.ld"
INPUT_ADDRESS = 0x21000000
ROUTES = ("auto", "debian", "pip")

# No float crosses a call, so zig's plain EABI is the same as gcc's softfp.
_TARGET = {
    "arm-none-eabi-gcc": TARGETS["cortex-m4"].cflags,
    # zig adds UBSan by itself at -O0, and there is no runtime for it here
    "zig": ("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m4", "-fno-sanitize=all"),
}
_NO_UNALIGNED = {
    "arm-none-eabi-gcc": ("-mno-unaligned-access",),
    "zig": ("-mcpu=cortex_m4+strict_align",),  # zig drops -mno-unaligned-access without a word
}
_FREESTANDING = ("-std=c99", "-ffreestanding", "-ffunction-sections", "-fdata-sections")
_LINK = ("-nostdlib", "-T", _LINKER_SCRIPT, "-Wl,--gc-sections", "-Wl,--entry=Reset_Handler", "-lgcc")


@dataclass(frozen=True)
class M4Machine:
    """A Cortex-M4 that is not there.

    Attributes:
        compiler: "arm-none-eabi-gcc" or "zig".
        emulator: "qemu" or "unicorn".
        trap_unaligned: fault on any unaligned word or halfword access (SCB CCR.UNALIGN_TRP), with the
            compiler told not to make such accesses itself. False: exactly the code a board gets, where only
            LDRD, LDM and their like fault. unicorn faults on neither: only QEMU proves anything here.
    """

    compiler: str = "arm-none-eabi-gcc"
    emulator: str = "qemu"
    trap_unaligned: bool = True

    @property
    def name(self) -> str:
        """Always "m4"."""
        return "m4"

    def describe(self) -> str:
        """Such as "arm-none-eabi-gcc 12.2.1 + QEMU 7.2.22 mps2-an386"."""
        cc = f"{self.compiler} {version_of(self.compiler)}"
        if self.emulator == "qemu":
            return f"{cc} + QEMU {version_of('qemu-system-arm')} mps2-an386"
        return f"{cc} + unicorn {version_of('unicorn')} cortex-m4"

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
        script = firmware_text(f"harness/{_LINKER_SCRIPT}")
        (workdir / _LINKER_SCRIPT).write_text(script, encoding="utf-8")
        unaligned = _NO_UNALIGNED[self.compiler] if self.trap_unaligned else ("-DM4_ALLOW_UNALIGNED",)
        target = [*_TARGET[self.compiler], *unaligned, *_FREESTANDING]
        options = [opt, *(f"-D{each}" for each in defines), *flags]
        command = [*compiler_command(self.compiler), *target, *options, *units, *_LINK]
        return compile_image(command, workdir, "image.elf")

    def run(self, image: Path, data: bytes, timeout: float = 120) -> bytes:
        """See `Machine.run`."""
        where = f"running on {self.describe()}"
        with work_folder() as folder:
            blob = input_file(data, folder)
            if self.emulator == "qemu":
                return check_run(run_process(_qemu_command(image, blob), where, timeout), where)
            out = folder / "output.bin"
            command = _unicorn_command(image, blob, out)
            check_run(run_process(command, where, timeout, env=package_env()), where)
            return out.read_bytes()


def _qemu_command(image: Path, blob: Path) -> list[str]:
    loader = f"loader,file={_option_value(blob)},addr={INPUT_ADDRESS:#x},force-raw=on"
    quiet = ["-display", "none", "-serial", "none", "-monitor", "none"]
    semihosting = ["-semihosting-config", "enable=on,target=native"]
    board = [str(require_tool("qemu-system-arm")), "-M", "mps2-an386"]
    return [*board, *quiet, *semihosting, "-kernel", str(image), "-device", loader]


def _option_value(path: Path) -> str:
    return str(path).replace(",", ",,")  # QEMU's way to write a comma inside an option


def _unicorn_command(image: Path, blob: Path, out: Path) -> list[str]:
    require_tool("unicorn")
    return [sys.executable, "-m", "lnnc.verify.unicorn_runner", str(image), str(blob), str(out)]


def input_file(data: bytes, folder: Path) -> Path:
    """The harness input as the emulator's loader wants it: a length word in front."""
    blob = folder / "input.bin"
    blob.write_bytes(struct.pack("<I", len(data)) + data)
    return blob


def package_env() -> dict[str, str]:
    """Lets the subprocess import this very lnnc, however this process found it."""
    here = str(Path(__file__).resolve().parents[2])
    path = os.environ.get("PYTHONPATH")
    return environment(PYTHONPATH=os.pathsep.join([here, path] if path else [here]))


def find_m4(route: str | None = None) -> M4Machine:
    """A Cortex-M4 machine from what is installed.

    Args:
        route: "debian" (arm-none-eabi-gcc and QEMU), "pip" (ziglang and unicorn), or "auto": Debian's, and
            for a part that is missing the Python package's. None reads the variable LNNC_M4, else "auto".

    Raises:
        LnncError: a part is missing (the hint installs it), or the route is none of the three.
    """
    wanted = route or os.environ.get("LNNC_M4") or "auto"
    if wanted not in ROUTES:
        raise LnncError(f"unknown Cortex-M4 route {wanted!r}", hint=f"choose one of {', '.join(ROUTES)}")
    compiler = _first_found(wanted, "arm-none-eabi-gcc", "ziglang")
    emulator = _first_found(wanted, "qemu-system-arm", "unicorn")
    return M4Machine(
        compiler="zig" if compiler == "ziglang" else compiler,
        emulator="qemu" if emulator == "qemu-system-arm" else emulator,
    )


def _first_found(route: str, debian: str, pip: str) -> str:
    choices = {"auto": (debian, pip), "debian": (debian,), "pip": (pip,)}[route]
    for name in choices:
        if find_tool(name):
            return name
    raise LnncError(
        f"cannot emulate a Cortex-M4: {' and '.join(choices)} not installed",
        hint=" or ".join(tool(name).how_to_get for name in choices),
    )
