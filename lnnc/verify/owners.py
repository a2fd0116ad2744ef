"""Which kernel call an instruction of a step belongs to, from the debug information of the very code that is measured.

Compilers write the same code with debug information as without. A generated step prints each kernel call as a
paragraph with a trace hook in it; the line table tells the paragraph of an instruction, and where a kernel was inlined,
the record of the inlining does.
Source: DWARF Debugging Information Format, version 4, sections 2.17 (ranges), 3.3.8 (inlined subroutines), 6.2 (lines).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lnnc.errors import LnncError

DEBUG_FLAGS = ("-gdwarf-4", "-gno-variable-location-views")
GLUE = -1  # entry and return of the step: no call's


def line_owners(c_text: str, name: str) -> dict[int, int]:
    """The number of the kernel call of each line of a step's body; GLUE for its frame."""
    lines = c_text.splitlines()
    start = next((i for i, line in enumerate(lines, 1) if re.match(rf"int {name}_step\(", line)), None)
    if start is None:
        raise LnncError("the C file does not define this function", f"{name}_step")
    end = next(i for i in range(start, len(lines) + 1) if lines[i - 1] == "}")
    owners: dict[int, int] = {}
    waiting: list[int] = []  # lines whose call is still to come
    owner = GLUE
    for number in range(start, end + 1):
        text = lines[number - 1]
        if not text:
            owner = GLUE
        hook = re.match(rf"\s*{name.upper()}_TRACE\((\d+),", text)
        if hook:
            owner = int(hook.group(1))
            owners.update(dict.fromkeys(waiting, owner))
            waiting = []
        owners[number] = owner
        if owner == GLUE and number > start + 1:
            waiting.append(number)
        if text == "    return 0;":
            owner = owners[number] = GLUE
    return owners


def instruction_owners(image: Path, c_text: str, name: str) -> dict[int, int]:
    """The number of the kernel call of each halfword of <name>_step in an image built with DEBUG_FLAGS."""
    from elftools.elf.elffile import ELFFile

    by_line = line_owners(c_text, name)
    with image.open("rb") as file:
        dwarf = ELFFile(file).get_dwarf_info()
        for unit in dwarf.iter_CUs():
            for die in unit.iter_DIEs():
                if die.tag == "DW_TAG_subprogram" and _text(die, "DW_AT_name") == f"{name}_step" and _ranges(die):
                    return _owners(die, by_line)
    raise LnncError("the image has no debug information of it", f"{name}_step")


def _owners(step: Any, by_line: dict[int, int]) -> dict[int, int]:
    found: dict[int, int | None] = {
        address: None for start, end in _ranges(step) for address in range(start, end, 2)
    }  # fmt: skip
    for start, end, line in _line_table(step.cu):
        for address in range(start, end, 2):
            if address in found:
                found[address] = by_line.get(line)
    for inlined in _inlined(step):
        owner = by_line.get(inlined.attributes["DW_AT_call_line"].value)
        for start, end in _ranges(inlined):
            found.update(dict.fromkeys(range(start, end, 2), owner))
    owners: dict[int, int] = {}
    last = GLUE
    for address in sorted(found):  # what the compiler made out of several lines stays with what stands before it
        here = found[address]
        last = owners[address] = last if here is None else here
    return owners


def _line_table(unit: Any) -> Iterator[tuple[int, int, int]]:
    """(start, end, line) of every row of a unit's line table."""
    before = None
    for entry in unit.dwarfinfo.line_program_for_CU(unit).get_entries():
        if entry.state is None:
            continue
        if before is not None:
            yield before[0], entry.state.address, before[1]
        before = None if entry.state.end_sequence else (entry.state.address, entry.state.line)


def _inlined(die: Any) -> Iterator[Any]:
    """The functions inlined into a function, not those inlined into them."""
    for child in die.iter_children():
        if child.tag == "DW_TAG_inlined_subroutine":
            yield child
        elif child.tag == "DW_TAG_lexical_block":
            yield from _inlined(child)


def _ranges(die: Any) -> list[tuple[int, int]]:
    """Addresses that a function or an inlined one takes."""
    attributes = die.attributes
    if "DW_AT_ranges" in attributes:
        base = die.cu.get_top_DIE().attributes.get("DW_AT_low_pc")
        base = 0 if base is None else base.value
        listed = die.cu.dwarfinfo.range_lists().get_range_list_at_offset(attributes["DW_AT_ranges"].value)
        return [(base + each.begin_offset, base + each.end_offset) for each in listed]
    if "DW_AT_low_pc" not in attributes or "DW_AT_high_pc" not in attributes:
        return []
    low, high = attributes["DW_AT_low_pc"].value, attributes["DW_AT_high_pc"]
    return [(low, high.value if high.form == "DW_FORM_addr" else low + high.value)]


def _text(die: Any, attribute: str) -> str:
    found = die.attributes.get(attribute)
    return "" if found is None else found.value.decode()
