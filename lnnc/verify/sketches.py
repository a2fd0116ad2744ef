"""Sketches as images for boards.

Uno, Mega, Leonardo: by `arduino-builder` with Arduino's own AVR core. Cortex-M4: the same sketch with a small Arduino.h
(`firmware/arduino_shim`) and the compiler flags of the Nano 33 BLE's core.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lnnc.errors import LnncError
from lnnc.resources import firmware_text
from lnnc.targets import TARGETS
from lnnc.verify.machine import compile_image, compiler_command, run_process, shown
from lnnc.verify.tools import require_tool

HARDWARE = ("/usr/share/arduino/hardware", "/usr/share/arduino-builder")  # where Debian's packages put cores and tools
# How the Nano 33 BLE's core (mbed) compiles sketches and libraries.
_NANO = ("-Os", "-funsigned-char", "-ffunction-sections", "-fdata-sections", "-DARDUINO=10815", "-Wall", "-Wextra")
_NANO_CXX = ("-std=gnu++14", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics")
_BARE = ("mps2/board.c", "mps2/board.h", "harness/m4_startup.c", "harness/m4_io.h", "harness/harness.h",
         "harness/mps2_an386.ld")  # fmt: skip
_SHIM = ("arduino_shim/Arduino.h", "arduino_shim/Arduino.cpp")
_M4_LINK = ("-nostdlib", "-Wl,--gc-sections", "-Wl,--entry=Reset_Handler", "-lc", "-lgcc")


@dataclass(frozen=True)
class Avr:
    """A board of Arduino's AVR core.

    Attributes:
        fqbn: its name in that core.
        chip: simavr's name of its processor.
        ram_start, ram: where its memory for variables and stack begins, and its bytes.
        hertz: its clock.
    """

    name: str
    fqbn: str
    chip: str
    ram_start: int
    ram: int
    hertz: int = 16_000_000


AVR = {
    "uno": Avr("uno", "arduino:avr:uno", "atmega328p", 0x100, 2048),
    "mega": Avr("mega", "arduino:avr:mega:cpu=atmega2560", "atmega2560", 0x200, 8192),
    "leonardo": Avr("leonardo", "arduino:avr:leonardo", "atmega32u4", 0x100, 2560),  # no emulator has its USB
}
LARGER = "a larger board (mega, cortex-m4) or a smaller model; leave out --weights ram"


@dataclass(frozen=True)
class Built:
    """An image for a board.

    Attributes:
        elf: the image.
        sizes: flash and RAM in words, as the builder tells them.
        messages: what the compilers said.
    """

    elf: Path
    sizes: str
    messages: str


def build_sketch(
    board: str, library: Mapping[str, str], sketch: str, workdir: Path, flags: Sequence[str] = ()
) -> Built:
    """Build an example of a library for a board.

    Args:
        board: a name of `AVR`, or "cortex-m4".
        library: {path: text} of an Arduino library.
        sketch: one of its examples.
        workdir: a folder to work in.
        flags: further options of the C compiler, not of the sketch's.

    Raises:
        LnncError: a tool is missing, or the code does not build or fit.
    """
    root = workdir / "libraries" / "model"
    for path, text in library.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8", newline="\n")
    file = root / "examples" / sketch / f"{sketch}.ino"
    if board in AVR:
        return build_avr(AVR[board], file, workdir, flags)
    units = [root / path for path in library if path.startswith("src/") and path.endswith(".c")]
    return build_m4(file.read_text(encoding="utf-8"), units, workdir / "m4", flags)


def build_avr(board: Avr, sketch: Path, workdir: Path, flags: Sequence[str] = ()) -> Built:
    """Build a sketch with Arduino's builder; libraries are looked for in `workdir`/libraries."""
    builder = str(require_tool("arduino-builder"))
    places = [word for folder in HARDWARE for word in ("-hardware", folder)]
    tools = ["-tools", "/usr/bin", "-tools", HARDWARE[1]]
    libraries = workdir / "libraries"
    libraries.mkdir(exist_ok=True)
    out = workdir / f"build-{board.name}"
    out.mkdir(exist_ok=True)
    # Debian's core asks for a macro that its avr-gcc defines under another name only.
    options = ["-prefs", "compiler.cpp.extra_flags=-DDECIMAL_DIG=__DECIMAL_DIG__"]
    options += ["-prefs", f"compiler.c.extra_flags={' '.join(flags)}"] if flags else []
    command = [builder, "-compile", *places, *tools, "-libraries", str(libraries), "-fqbn", board.fqbn]
    command += ["-warnings", "all", *options, "-build-path", str(out), str(sketch)]
    where = f"building {sketch.name} for {board.name}"
    done = run_process(command, where, 600)
    text = done.stderr.decode("utf-8", "replace") + done.stdout.decode("utf-8", "replace")
    if done.returncode != 0:
        if missing := _too_large(text, board):
            raise LnncError(f"it does not fit: {missing}", where, LARGER)
        raise LnncError(f"it does not build\n{shown(text.encode())}", where)
    return Built(out / f"{sketch.name}.elf", _avr_sizes(text), text)


def _avr_sizes(text: str) -> str:
    """What the builder says of flash and RAM."""
    flash = re.search(r"Sketch uses (\d+) bytes", text)
    ram = re.search(r"Global variables use (\d+) bytes", text)
    return f"flash {flash[1]} bytes, RAM {ram[1]} bytes and the stack" if flash and ram else ""


def _too_large(text: str, board: Avr) -> str:
    """What a board has too little of, as far as the linker or the builder say it, else ""."""
    if over := re.search(r"region `text' overflowed by (\d+) bytes", text):
        return f"{int(over[1]):,} bytes more than the flash"
    ends = [int(end, 16) for end in re.findall(r"address 0x80([0-9a-f]{4}) of \S+ section `\.\w+' is not within", text)]
    if ends:
        return f"{max(ends) - board.ram_start:,} bytes of variables, and the RAM has {board.ram:,}"
    return next((line for line in text.splitlines() if re.match("Sketch too big|Not enough memory", line)), "")


def build_m4(sketch: str, units: Sequence[Path], workdir: Path, flags: Sequence[str] = ()) -> Built:
    """Build a sketch for the emulated Cortex-M4, with the flags of the Nano 33 BLE's core."""
    workdir.mkdir(parents=True, exist_ok=True)
    file = workdir / "sketch.cpp"
    file.write_text(f"#include <Arduino.h>\n{sketch}", encoding="utf-8")
    return link_m4([file, *units], workdir, flags, _SHIM)


def link_m4(units: Sequence[Path], workdir: Path, flags: Sequence[str] = (), more: Sequence[str] = ()) -> Built:
    """Compile and link a program for the emulated board.

    Args:
        units: its .c and .cpp files; one of them has main(). Their folders come first on the include path.
        flags: further options of the C compiler.
        more: files of the firmware besides those of the bare board.
    """
    board = workdir / "board"
    board.mkdir(parents=True, exist_ok=True)
    for name in (*_BARE, *more):
        (board / Path(name).name).write_text(firmware_text(name), encoding="utf-8")
    folders = dict.fromkeys(str(unit.parent.resolve()) for unit in units)
    shared = [*TARGETS["cortex-m4"].cflags, *_NANO, "-DM4_ALLOW_UNALIGNED"]
    shared += [f"-I{folder}" for folder in (*folders, str(board.resolve()))]
    messages, objects = "", []
    sources = [unit.resolve() for unit in (*units, *sorted(board.glob("*.c*")))]
    for number, source in enumerate(sources):
        compiler = ["arm-none-eabi-g++", *_NANO_CXX] if source.suffix == ".cpp" else ["arm-none-eabi-gcc", "-std=gnu11"]
        options = [*shared, *([] if source.suffix == ".cpp" else flags), *compiler[1:]]
        objects.append(f"{number}.o")  # a model may have the name of one of our files
        messages += _compile([*compiler_command(compiler[0]), *options, "-c", str(source), "-o", objects[-1]], workdir)
    script = ["-T", str((board / "mps2_an386.ld").resolve())]
    linker = [*compiler_command("arm-none-eabi-g++"), *TARGETS["cortex-m4"].cflags, *objects, *script, *_M4_LINK]
    return Built(compile_image(linker, workdir, "image.elf"), "", messages)


def _compile(command: Sequence[str], workdir: Path) -> str:
    """What a compiler says of a file that it takes."""
    where = "building for cortex-m4"
    done = run_process(command, where, 300, cwd=workdir)
    if done.returncode != 0:
        raise LnncError(f"it does not build\n{shown(done.stderr)}", where)
    return done.stderr.decode("utf-8", "replace")
