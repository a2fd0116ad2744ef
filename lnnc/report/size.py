"""Flash, RAM and stack of a generated model on a Cortex-M4, from the object that arm-none-eabi-gcc makes.

Sections and struct sizes are read from ELF files with pyelftools; the stack is the deepest path through the
call graph that gcc writes (`-fstack-usage`, `-fcallgraph-info=su`: GCC manual, "Developer Options").
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lnnc.errors import LnncError
from lnnc.files import work_folder
from lnnc.verify.machine import compile_image, compiler_command
from lnnc.verify.model_run import header_name
from lnnc.verify.tools import require_tool

CFLAGS = ("-mcpu=cortex-m4", "-mthumb", "-Os", "-ffreestanding")

# Bytes allowed for each function that is not in the object. Read from the disassembly of Debian's gcc 12.2 libraries
# for v7e-m: __aeabi_ldivmod and __aeabi_uldivmod 16 + 32 (in __udivmoddi4), memmove 16, memset 12, memcpy 0. An
# allowance, not a measurement, for any other function: `Measured.external` names what was called.
EXTERNAL_STACK = 48

# As Arduino and most projects link: what is not called (saving the state, say) takes no flash.
_SECTIONS = ("-ffunction-sections", "-fdata-sections")

_WRITE, _ALLOCATE, _EXECUTE = 1, 2, 4  # ELF section flags


@dataclass(frozen=True)
class Measured:
    """Bytes of one generated model.

    Attributes:
        text: machine code.
        rodata: constants (weights, tables).
        data: initialised variables (0 for generated code; they take flash and RAM).
        bss: zeroed variables (0 for generated code).
        state, scratch: the two structs that the caller provides.
        ports: the `in` and `out` arrays together.
        stack: deepest use below <name>_step or <name>_reset.
        external: functions called that the object does not hold; `stack` allows each EXTERNAL_STACK bytes.
    """

    text: int
    rodata: int
    data: int
    bss: int
    state: int
    scratch: int
    ports: int
    stack: int
    external: tuple[str, ...] = ()

    @property
    def flash(self) -> int:
        """Bytes of flash: code, constants and initial values."""
        return self.text + self.rodata + self.data

    @property
    def ram(self) -> int:
        """Bytes of RAM for one instance: variables, state, scratch and ports, without the stack."""
        return self.data + self.bss + self.state + self.scratch + self.ports


@dataclass(frozen=True)
class Node:
    """A function of the call graph: its frame in bytes (None: outside the object) and the titles it calls."""

    frame: int | None
    calls: tuple[str, ...]


def measure(c_text: str, h_text: str, name: str, cflags: Sequence[str] = CFLAGS) -> Measured:
    """Compile a generated pair for the Cortex-M4 and measure it (the self-test is not compiled in).

    Args:
        c_text, h_text: the pair.
        name: the model's prefix, as in <name>_step.
        cflags: target and optimisation options for arm-none-eabi-gcc.

    Raises:
        LnncError: arm-none-eabi-gcc or pyelftools is absent, the code is refused, or its stack has no bound.
    """
    compiler = compiler_command("arm-none-eabi-gcc")
    require_tool("pyelftools")
    header = header_name(c_text)
    with work_folder() as work:
        (work / header).write_text(h_text, encoding="utf-8")
        (work / "model.c").write_text(c_text, encoding="utf-8")
        (work / "sizes.c").write_text(_sizes_source(header, name), encoding="utf-8")
        command = [*compiler, "-std=c99", *cflags, "-c"]
        watch = ["-fstack-usage", "-fcallgraph-info=su"]
        compile_image([*command, *watch, *_SECTIONS, "model.c"], work, "model.o")
        structs = symbol_sizes(compile_image([*command, "sizes.c"], work, "sizes.o"))
        graph = parse_call_graph((work / "model.ci").read_text(encoding="utf-8"), assembly_pushes(c_text))
        entries = (f"{name}_step", f"{name}_reset")
        stack = max(deepest(graph, entry) for entry in entries)
        text, rodata, data, bss = section_sizes(compile_image([*compiler, *_keep(entries), "model.o"], work, "kept.o"))
    return Measured(
        text=text,
        rodata=rodata,
        data=data,
        bss=bss,
        state=structs["size_of_state"],
        scratch=structs["size_of_scratch"],
        ports=structs["size_of_ports"],
        stack=stack,
        external=tuple(sorted(_reached_outside(graph, entries))),
    )


def _keep(functions: Sequence[str]) -> list[str]:
    """Linker options that leave these functions and what they need."""
    return ["-r", "-nostdlib", "-Wl,--gc-sections", f"-Wl,-e,{functions[0]}", *(f"-Wl,-u,{f}" for f in functions)]


def _sizes_source(header: str, name: str) -> str:
    """C whose symbols are as large as what is asked for: no DWARF needed, and no program to run."""
    ports = f"({name.upper()}_INPUTS + {name.upper()}_OUTPUTS) * sizeof(int16_t)"
    sizes = {"state": f"sizeof({name}_state)", "scratch": f"sizeof({name}_scratch)", "ports": ports}
    return f'#include "{header}"\n' + "".join(f"char size_of_{part}[{size}];\n" for part, size in sizes.items())


def section_sizes(path: Path) -> tuple[int, int, int, int]:
    """Bytes of text, rodata, data and bss in an ELF object."""
    from elftools.elf.elffile import ELFFile

    sizes = dict.fromkeys(("text", "rodata", "data", "bss"), 0)
    with path.open("rb") as file:
        for section in ELFFile(file).iter_sections():
            kind = _section_kind(section["sh_flags"], section["sh_type"])
            if kind:
                sizes[kind] += section["sh_size"]
    return sizes["text"], sizes["rodata"], sizes["data"], sizes["bss"]


def _section_kind(flags: int, sh_type: str) -> str:
    if not flags & _ALLOCATE:
        return ""
    if flags & _EXECUTE:
        return "text"
    if not flags & _WRITE:
        return "rodata"
    return "bss" if sh_type == "SHT_NOBITS" else "data"


def symbol_sizes(path: Path) -> dict[str, int]:
    """Size in bytes of every named symbol of an ELF object."""
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    with path.open("rb") as file:
        tables = [each for each in ELFFile(file).iter_sections() if isinstance(each, SymbolTableSection)]
        symbols = [symbol for table in tables for symbol in table.iter_symbols()]
        return {symbol.name: int(symbol["st_size"]) for symbol in symbols if symbol.name}


def assembly_pushes(c_text: str) -> dict[str, int]:
    """Bytes that inline assembly pushes, by function: the compiler does not count them."""
    pushed: dict[str, int] = {}
    function = ""
    for line in c_text.splitlines():
        start = re.match(r"(?:static|[A-Z]+_[A-Z]+) [^;=]*?(\w+)\([^;]*$", line)
        function = start.group(1) if start else function
        for registers in re.findall(r"\bpush \{([^}]*)\}", line):
            pushed[function] = pushed.get(function, 0) + 4 * len(registers.split(","))
    return pushed


def parse_call_graph(text: str, pushed: Mapping[str, int] | None = None) -> dict[str, Node]:
    r"""Read the VCG file of `-fcallgraph-info=su`.

    Its lines are `node: { title: "lnn.c:f" label: "f\nlnn.c:3:5\n16 bytes (static)..." }`, the same without bytes
    for functions outside the file, and `edge: { sourcename: "a" targetname: "b" ... }`.

    Args:
        pushed: bytes that come on top of a function's frame, see `assembly_pushes`.

    Raises:
        LnncError: a function's frame has no fixed bound (a variable-length array).
    """
    calls: dict[str, list[str]] = {}
    for source, target in re.findall(r'^edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"', text, re.MULTILINE):
        calls.setdefault(source, []).append(target)
    graph = {}
    for title, label in re.findall(r'^node: \{ title: "([^"]+)" label: "([^"]*)"', text, re.MULTILINE):
        frame, more = _frame(title, label), (pushed or {}).get(title.rpartition(":")[2].partition(".")[0], 0)
        graph[title] = Node(None if frame is None else frame + more, tuple(dict.fromkeys(calls.get(title, []))))
    return graph


def _frame(title: str, label: str) -> int | None:
    found = re.search(r"(\d+) bytes \(([^)]*)\)", label)
    if found is None:
        return None
    if found.group(2) == "dynamic":
        raise LnncError("its stack use has no bound (a variable-length array)", title)
    return int(found.group(1))


def deepest(graph: Mapping[str, Node], entry: str, above: tuple[str, ...] = ()) -> int:
    """Bytes of stack below a call of `entry`, its own frame included.

    Raises:
        LnncError: there is no such function, or the calls form a circle, or go through a pointer.
    """
    if entry in above:
        raise LnncError(f"recursion: {' calls '.join([*above, entry])}; its stack has no bound")
    if entry not in graph:
        raise LnncError("the C file does not define this function", entry, "check --name")
    if entry == "__indirect_call":
        raise LnncError("a call through a pointer: its stack cannot be told", above[-1])
    node = graph[entry]
    frame = EXTERNAL_STACK if node.frame is None else node.frame
    return frame + max((deepest(graph, each, (*above, entry)) for each in node.calls), default=0)


def _reached_outside(graph: Mapping[str, Node], entries: Sequence[str]) -> set[str]:
    seen: set[str] = set()
    waiting = list(entries)
    while waiting:
        title = waiting.pop()
        if title not in seen:
            seen.add(title)
            waiting.extend(graph[title].calls)
    return {title for title in seen if graph[title].frame is None}
