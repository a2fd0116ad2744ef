"""The C that reads, writes, saves and restores the state of a model; docs/generated-c.md has the layout."""

from __future__ import annotations

import numpy as np

from lnnc.ir.program import Buffer, Program, StateView
from lnnc.ir.saved import CRC_BYTES, HEAD, LAYOUT, MAGIC, members, save_bytes, view_of
from lnnc.kernels.registry import C_TYPES

INT32 = (-(2**31), 2**31 - 1)


def state_count(program: Program) -> int:
    """How many numbers the state holds."""
    return sum(b.size for b in members(program))


def head(program: Program, model: bytes) -> list[str]:
    """What every saved state of this model begins with: the rows of a table."""
    data = HEAD.pack(MAGIC, LAYOUT, save_bytes(program) - HEAD.size - CRC_BYTES, model)
    rows = (data[:5], data[5:9], data[9:])
    return [", ".join(f"0x{byte:02X}" for byte in row) for row in rows]


def _places(program: Program) -> list[str]:
    """Number i of the state as an element of each member.

    Where there are several, *(member + i) and not member[i]: GCC 12 takes a[i] and b[i - 4], members of one type
    behind each other, for one expression, a[i], and then warns that i leaves a, or even counts on it that it does not.
    """
    parts, ends = members(program), [0]
    for buffer in parts:
        ends.append(ends[-1] + buffer.size)
    if len(parts) == 1:
        return [f"state->{parts[0].name}[i]"]
    indices = [f"(i - {start})" if start else "i" for start in ends]
    return [f"*(state->{buffer.name} + {index})" for buffer, index in zip(parts, indices, strict=False)]


def _chain(program: Program, statements: list[str]) -> list[str]:
    """The statement of each member as a chain of ifs over i."""
    text, end = [], 0
    parts = members(program)
    for buffer, statement in zip(parts, statements, strict=True):
        end += buffer.size
        if buffer is parts[-1]:
            text.append(f"    {statement}")
        else:
            text += [f"    if (i < {end})", f"        {statement}"]
    return text


def at_lines(program: Program) -> list[str]:
    """Body of the function that gives number i of the state."""
    return _chain(program, [f"return {place};" for place in _places(program)])


def put_lines(program: Program) -> list[str]:
    """Body of the function that sets number i of the state."""
    text, end = [], 0
    parts = members(program)
    for buffer, place in zip(parts, _places(program), strict=True):
        cast = "" if buffer.dtype == "int32" else f"({C_TYPES[buffer.dtype]})"
        if end:
            text.append("    else" if buffer is parts[-1] else f"    else if (i < {end + buffer.size})")
        elif buffer is not parts[-1]:
            text.append(f"    if (i < {buffer.size})")
        text.append(f"    {'    ' * (len(parts) > 1)}{place} = {cast}q;")
        end += buffer.size
    return text


def allows_lines(program: Program) -> list[str]:
    """Body of the function that tells whether q is legal for number i."""
    one = ["    (void)i;"] if len(members(program)) == 1 else []
    found = [_within(b) for b in members(program)]
    free = ["    (void)q;"] if not any("q" in text for text in found) else []
    return [*one, *free, *_chain(program, [f"return {text};" for text in found])]


def _within(buffer: Buffer) -> str:
    """The range of a member as a condition on the int32_t q, without what is true of every int32_t."""
    tests = [f"q >= {buffer.lo}"] if buffer.lo > INT32[0] else []
    tests += [f"q <= {buffer.hi}"] if buffer.hi < INT32[1] else []
    return " && ".join(tests) or "1"


def width_lines(program: Program) -> list[str]:
    """Body of the function that tells how many bytes number i takes."""
    ends, end = {}, 0  # width in bytes -> the first number that is narrower
    for buffer in members(program):
        end += buffer.size
        ends[np.dtype(buffer.dtype).itemsize] = end
    *wider, narrowest = ends or [1]
    lines = [line for width in wider for line in (f"    if (i < {ends[width]})", f"        return {width};")]
    return [*([] if lines else ["    (void)i;"]), *lines, f"    return {narrowest};"]


def float_literal(value: float) -> str:
    """A float32 as C writes it."""
    return f"{float(np.float32(value))!r}f"


def get_real_lines(program: Program) -> list[str]:
    """Body of the function that gives the state in real units."""
    lines, end = [], 0
    for buffer in members(program):
        view = view_of(program, buffer)
        text = f"(float)state->{buffer.name}[i] * {float_literal(view.scale)}"
        text += f" + {float_literal(view.center)}" if view.center else ""
        lines += [f"    for (i = 0; i < {buffer.size}; i++)", f"        real[{_plus(end)}] = {text};"]
        end += buffer.size
    return ["    int32_t i;", *lines] if lines else ["    (void)state;", "    (void)real;"]


def set_real_lines(program: Program, name: str) -> list[str]:
    """Body of the function that sets the state in real units: one turn that only looks, one that writes."""
    lines, end = [], 0
    for buffer in members(program):
        cast = "" if buffer.dtype == "int32" else f"({C_TYPES[buffer.dtype]})"
        raw = _raw(view_of(program, buffer), f"real[{_plus(end)}]")
        lines += [
            f"        for (i = 0; i < {buffer.size}; i++) {{",
            f"            if (!{name}_nearest({raw}, {buffer.lo}, {buffer.hi}, &q))",
            "                return -1;",
            "            if (turn == 1)",
            f"                state->{buffer.name}[i] = {cast}q;",
            "        }",
        ]
        end += buffer.size
    if not lines:
        return ["    (void)real;", "    state->unused = 0;", "    return 0;"]
    return [
        "    int32_t i, q;",
        "    int turn;",
        "    for (turn = 0; turn < 2; turn++) { /* the second writes what the first has found legal */",
        *lines,
        "    }",
        "    return 0;",
    ]


def _plus(start: int) -> str:
    return f"{start} + i" if start else "i"


def _raw(view: StateView, real: str) -> str:
    shifted = f"({real} - {float_literal(view.center)})" if view.center else real
    return f"{shifted} * {float_literal(1.0 / view.scale)}"
