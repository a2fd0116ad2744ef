"""Small pure functions from program parts to lines of C."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from lnnc.ir.program import (
    Block,
    Buffer,
    Call,
    Constant,
    Program,
    ProgramPort,
    ProgramTime,
    by_width,
    struct_bytes,
)
from lnnc.ir.saved import members
from lnnc.kernels import KERNELS
from lnnc.kernels.registry import C_TYPES
from lnnc.resources import runtime_c
from lnnc.targets import Build

WIDTH = 100
COMMIT = "copy_s16"  # the kernel that commits a carried state
_CALLED = re.compile(r"\blnn_([a-z0-9_]+)\(")


def rename(text: str, name: str) -> str:
    """Runtime C under the model's own prefix, so that several models can share one translation unit."""
    return re.sub(r"\bLNN_", f"{name.upper()}_", re.sub(r"\blnn_", f"{name}_", text))


def prelude(name: str, build: Build | None = None) -> str:
    """What every generated file begins with: how tables are read, and which code paths there are."""
    build = build or Build()
    files = ["lnn_prelude.h", "lnn_ram.h" if build.weights == "ram" else "lnn_flash.h"]
    files += ["lnn_paths.h"] if build.processor.dsp else []
    return rename("\n".join(_runtime(file, build.processor.dsp) for file in (*files, "lnn_inline.h")), name)


def _runtime(file: str, dsp: bool) -> str:
    """A file of the C runtime, without what only a processor with DSP instructions compiles unless `dsp`."""
    text = runtime_c(file).strip()
    return text if dsp else plain_paths(text)


def plain_paths(text: str) -> str:
    """Runtime C as it is compiled where LNN_PATH is 0."""
    lines: list[str] = []
    kept: list[bool | None] = []  # of each open #if LNN_PATH, whether its lines are kept; None of any other #if
    for line in text.splitlines():
        word = line.split(" ")[0]
        if line.startswith("#if LNN_PATH"):
            kept.append(False)
        elif word == "#else" and kept[-1] is not None:
            kept[-1] = True
        elif word == "#endif" and kept[-1] is not None:
            kept.pop()
        else:
            kept += [None] if word in ("#if", "#ifdef", "#ifndef") else []
            lines += [line] if False not in kept else []
            kept = kept[:-1] if word == "#endif" else kept
    return "\n".join(lines).strip()


def comment(text: str) -> str:
    """Text that cannot end a comment, nor leave ASCII."""
    return text.replace("*/", "* /").encode("ascii", "replace").decode().replace("\n", " ")


def kernel_texts(kernels: Iterable[str], name: str, dsp: bool = True) -> list[str]:
    """Every kernel used and every function that one calls, callees first, each once."""
    texts: dict[str, str] = {}

    def add(function: str) -> None:
        if function in texts:
            return
        text = _runtime(f"lnn_{function}.c", dsp)
        for callee in _CALLED.findall(text):
            if callee != function:
                add(callee)
        texts[function] = text

    for kernel in sorted(set(kernels)):
        add(kernel)
    return [rename(text, name) for text in texts.values() if text]


def wrap(numbers: Sequence[int] | np.ndarray, indent: int = 4) -> str:
    """Comma-separated integers in lines of at most `WIDTH` columns."""
    lines: list[str] = []
    line: list[str] = []
    used = 0
    for text in map(str, np.asarray(numbers).tolist()):
        if line and used + len(text) + 2 > WIDTH - indent:
            lines.append(", ".join(line))
            line, used = [], 0
        line.append(text)
        used += len(text) + 2
    lines.append(", ".join(line))
    return ",\n".join(" " * indent + text for text in lines)


def aligned(program: Program) -> set[str]:
    """The tables that a kernel reads word by word."""
    return {
        str(dict(call.args)[p.name]) for call in program.calls() for p in KERNELS[call.kernel].params if p.align > 1
    }  # fmt: skip


def table(constant: Constant, name: str, memory: str = "flash", align: bool = False) -> dict[str, object]:
    """One static array for the template: constant in flash, or a variable, lest GCC moves it there, in RAM."""
    where = [f"{name.upper()}_{memory.upper()}", *([f"{name.upper()}_ALIGNED"] if align else [])]
    shape = " x ".join(map(str, constant.shape))
    note = f"{constant.name}: {constant.dtype} [{shape}]" + (f", {constant.note}" if constant.note else "")
    return {
        "comment": comment(note), "type": C_TYPES[constant.dtype], "name": f"{name}_{constant.name}",
        "size": constant.data.size, "rows": wrap(constant.data), "const": memory == "flash", "where": " ".join(where),
    }  # fmt: skip


def state_fields(program: Program) -> list[str]:
    """Members of the state structure."""
    fields = [f"{C_TYPES[b.dtype]} {b.name}[{b.size}]; /* {comment(b.note)} */" for b in members(program)]
    return fields or ["uint8_t unused; /* this model keeps nothing between steps; C has no empty structures */"]


def slots(program: Program) -> list[Buffer]:
    """One buffer for each array of the scratch structure, as large as the largest tensor that it holds.

    int16 arrays have even sizes, so that the next one begins at a word too: kernels read two values at once.
    """
    largest: dict[str, Buffer] = {}
    for b in program.of_kind("scratch"):
        if b.slot not in largest or largest[b.slot].size < b.size:
            largest[b.slot] = b
    return by_width(replace(b, size=b.size + b.size % 2 * (b.dtype == "int16")) for b in largest.values())


def scratch_fields(program: Program) -> list[str]:
    """Members of the scratch structure."""
    fields = [f"{C_TYPES[b.dtype]} {b.slot}[{b.size}];" for b in slots(program)]
    return fields or ["uint8_t unused;"]


def state_bytes(program: Program) -> int:
    """sizeof the state structure on a 32-bit machine."""
    return struct_bytes(program.of_kind("state"))[1]


def scratch_bytes(program: Program) -> int:
    """sizeof the scratch structure on a 32-bit machine."""
    return struct_bytes(slots(program))[1]


def ram_text(program: Program, weights: str) -> str:
    """Bytes of RAM by what they are for, without the ports. weights: which memory holds the tables."""
    tables = f"tables {sum(c.bytes for c in program.constants)} + " if weights == "ram" else ""
    return f"{tables}state {state_bytes(program)} + scratch {scratch_bytes(program)}"


def count_bytes(number: int) -> str:
    """A number of bytes in words."""
    return f"{number} byte{'s' * (number != 1)}"


def place(buffer: Buffer) -> str:
    """Where a buffer stands in the generated step function."""
    if buffer.kind == "scratch":
        return f"scratch->{buffer.slot}"
    return f"state->{buffer.name}" if buffer.kind == "state" else buffer.name


def value(buffer: Buffer) -> str:
    """The one element of a buffer; the time is passed to the step by value already."""
    return buffer.name if buffer.kind == "time" else f"{place(buffer)}[0]"


def reset_lines(program: Program) -> list[str]:
    """Body of the reset function."""
    lines = []
    states = members(program)
    if any(b.size > 1 for b in states):
        lines.append("int32_t i;")
    for b in states:
        if b.size > 1:
            lines.append(f"for (i = 0; i < {b.size}; i++)")
            lines.append(f"    state->{b.name}[i] = {b.reset};")
        else:
            lines.append(f"state->{b.name}[0] = {b.reset};")
    return lines or ["state->unused = 0;"]


def step_lines(program: Program, name: str) -> list[str]:
    """Body of the step function: one commented call for each kernel call of the program."""
    waits = any(KERNELS[c.kernel].waits for c in program.calls())
    loops = any(block.repeat > 1 for block in program.blocks)
    lines = ["    int32_t missing;"] if waits else []
    lines += ["    int32_t step;"] if loops else []
    lines += ["    (void)state;"] if not program.of_kind("state") else []
    lines += ["    (void)scratch;"] if not program.of_kind("scratch") else []
    if program.time:
        lines += [f"    if (dt < {name.upper()}_DT_MIN || dt > {name.upper()}_DT_MAX)"]
        lines += [f"        return {name.upper()}_BAD_DT;"]
    index = 0
    for block in program.blocks:
        if block.for_outputs:
            lines += ["", "    if (!out) /* nobody wants the outputs */", "        return 0;"]
        lines += _block(program, block, index, name)
        index += len(block.calls)
    return lines


def _block(program: Program, block: Block, first: int, name: str) -> list[str]:
    lines, indent = [], "    "
    if block.repeat > 1:
        lines += ["", f"    /* {comment(block.src)}: {block.repeat} steps */"]
        lines.append(f"    for (step = 0; step < {block.repeat}; step++) {{")
        indent = "        "
    for offset, call in enumerate(block.calls):
        lines += _call(program, call, first + offset, name, indent)
    for source, size, target in commits(program, block):
        lines.append(f"{indent}{name}_{COMMIT}({source}, {size}, {target});")
    if block.repeat > 1:
        lines.append("    }")
    return lines


def commits(program: Program, block: Block) -> list[tuple[str, int, str]]:
    """(next state, elements, state) of every carried pair that the memory plan did not put in one place."""
    pairs = [(program.buffer(following), program.buffer(state)) for state, following in block.carry]
    return [(place(a), b.size, place(b)) for a, b in pairs if place(a) != place(b)]


def used_kernels(program: Program) -> set[str]:
    """Every kernel that the step calls, that of the commits included."""
    called = {call.kernel for call in program.calls()}
    return called | {COMMIT for block in program.blocks if commits(program, block)}


def _call(program: Program, call: Call, index: int, name: str, indent: str) -> list[str]:
    entry = KERNELS[call.kernel]
    buffers = {b.name: b for b in program.buffers}
    texts, out = [], None
    for p in entry.params:
        arg = dict(call.args)[p.name]
        if isinstance(arg, int):
            texts.append(str(arg))
        elif arg in buffers:
            texts.append(value(buffers[arg]) if p.role == "value" else place(buffers[arg]))
            out = buffers[arg] if p.role in ("out", "inout") and out is None else out
        else:
            texts.append(f"{name}_{arg}")
    assert out is not None
    head = f"{indent}{'missing = ' if entry.waits else ''}{name}_{call.kernel}("
    does = f"{call.src}: {call.does} -> {out.name}" + (f" ({out.note})" if out.note else "")
    lines = ["", f"{indent}/* {comment(does)} */", *_arguments(head, texts, len(indent) + 4)]
    lines.append(f"{indent}{name.upper()}_TRACE({index}, {place(out)}, {out.bytes});")
    if entry.waits:
        lines += [f"{indent}if (missing > 0)", f"{indent}    return (int)missing;"]
    return lines


def _arguments(head: str, texts: list[str], indent: int) -> list[str]:
    """A call wrapped at `WIDTH` columns."""
    lines, line = [], head
    for i, text in enumerate(texts):
        piece = text + (", " if i + 1 < len(texts) else ");")
        if len(line) + len(piece.rstrip()) > WIDTH:
            lines.append(line.rstrip())
            line = " " * indent
        line += piece
    return [*lines, line]


def frac_macros(ports: tuple[ProgramPort, ...], label: str) -> list[str]:
    """SOH_INPUT_FRAC where all elements agree, else SOH_INPUT_FRAC_<i>."""
    bits = [p.frac for p in ports for _ in range(p.size)]
    what = "; ".join(dict.fromkeys(port_text(p) for p in ports))
    if len(set(bits)) == 1:
        return [f"#define {label}_FRAC ({bits[0]}) /* {comment(what)} */"]
    return [f"/* {comment(what)} */", *(f"#define {label}_FRAC_{i} ({f})" for i, f in enumerate(bits))]


def port_text(port: ProgramPort) -> str:
    """A port in words."""
    limits = f", declared {port.lo:.6g} ... {port.hi:.6g}" if port.lo is not None and port.hi is not None else ""
    return f"{port.size} x {port.name} [{port.unit}], q / 2^{port.frac}{limits}"


def time_text(time: ProgramTime) -> str:
    """The argument dt in words; its unit is the one that the model was trained with."""
    low, high = (f"{raw * 2.0**-time.frac:.6g}" for raw in (time.lo, time.hi))
    return f"dt, the time since the last sample, q / 2^{time.frac}, {low} ... {high}"


def power_expression(ports: tuple[ProgramPort, ...], sign: int) -> str:
    """2^(sign * frac) of element i as a C float expression."""
    values = [(p.size, f"{float(2.0 ** (sign * p.frac))!r}f") for p in ports]
    if len({v for _, v in values}) == 1:
        return values[0][1]
    text, end = "", 0
    for size, value in values[:-1]:
        end += size
        text += f"i < {end} ? {value} : "
    return f"({text}{values[-1][1]})"
