"""C of any tool as an image for the emulated Cortex-M4: built, run and measured alike for everyone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lnnc.errors import LnncError
from lnnc.report.size import section_sizes
from lnnc.resources import firmware_text
from lnnc.verify.cycles import PriceBook, count
from lnnc.verify.emulate import M4Machine
from lnnc.verify.machine import compile_image, compiler_command, write_files

# As M4Machine's, without its memcpy and memset: another tool's C may use the C library's.
RUNTIME = ("harness.h", "m4_io.h", "m4_io.c", "m4_startup.c")
SCRIPT = "mps2_an386.ld"
# GNU C, not C99: only there may the compiler contract a * b + c into one VFMA. newlib-nano is what Arduino cores link.
LANGUAGE = ("-std=gnu11",)
SECTIONS = ("-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-nostartfiles")
LIBRARIES = ("--specs=nano.specs", "--specs=nosys.specs", "-lm")
HARNESS = Path(__file__).with_name("peer_harness.c")


@dataclass(frozen=True)
class Sources:
    """C files on disk, and the options that they need besides those of the processor."""

    files: tuple[Path, ...]
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Linked:
    """Bytes of a linked step: `flash` code, tables, initial values and library; `static` variables in RAM."""

    flash: int
    static: int


def linked_size(sources: Sources, entries: Sequence[str], flags: Sequence[str], folder: Path) -> Linked:
    """Link functions and all that they need, C library included, and nothing else; read the sections.

    Raises:
        LnncError: the compiler or the linker refuses.
    """
    roots = [f"-Wl,--entry={entries[0]}", *(f"-Wl,--undefined={entry}" for entry in entries)]
    files = [str(file.resolve()) for file in sources.files]
    command = [*compiler_command("arm-none-eabi-gcc"), *flags, *sources.flags, *SECTIONS, *roots, *files, *LIBRARIES]
    folder.mkdir(parents=True, exist_ok=True)
    text, rodata, data, bss = section_sizes(compile_image(command, folder, "linked.elf"))
    return Linked(text + rodata + data, data + bss)


def build_image(sources: Sources, glue: str, flags: Sequence[str], folder: Path) -> Path:
    """An image with peer_harness.c around a peer's C.

    Args:
        glue: text of peer_glue.h.
        flags: options of the processor and optimisation.
    """
    texts = {"peer_harness.c": HARNESS.read_text(encoding="utf-8"), "peer_glue.h": glue}
    units = write_files(texts, RUNTIME, folder)
    (folder / SCRIPT).write_text(firmware_text(f"harness/{SCRIPT}"), encoding="utf-8")
    files = [*units, *(str(file.resolve()) for file in sources.files)]
    options = [*flags, *LANGUAGE, "-DM4_ALLOW_UNALIGNED", *sources.flags]
    link = [*SECTIONS, "-T", SCRIPT, "-Wl,--entry=Reset_Handler"]
    command = [*compiler_command("arm-none-eabi-gcc"), *options, *link, *files, *LIBRARIES]
    return compile_image(command, folder, "image.elf")


def run_image(image: Path, data: bytes) -> bytes:
    """What an image writes for an input."""
    return M4Machine("arm-none-eabi-gcc", "unicorn", trap_unaligned=False).run(image, data)


def most_cycles(image: Path, data: bytes, entry: str, calls: int) -> int:
    """Modelled cycles of the most expensive call of a function.

    Raises:
        LnncError: it was not called as often as it should be.
    """
    counted = count(image, data, entry)
    if len(counted.calls) != calls:
        raise LnncError(f"{entry} was called {len(counted.calls)} times, expected {calls}", "counting cycles")
    book = PriceBook(image)
    return max(book.price(call).total.cycles for call in counted.calls)
