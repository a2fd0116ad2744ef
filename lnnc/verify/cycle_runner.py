"""Counts what one function of a Cortex-M4 image executes: `python -m lnnc.verify.cycle_runner IMAGE INPUT ENTRY OUT`.

A program of its own because unicorn is GPL version 2 (see `unicorn_runner`). It only counts; `cycles` reads OUT and
puts a price on it. OUT is JSON, a list with one record for each call of ENTRY:

    ret      what it returned, r0 as int32
    stack    bytes below its stack pointer that it wrote, by painting
    blocks   [site, before, before_size, block, size, times]: `before` is the block that ran into this one without a
             branch, else 0. site: 0 for code of ENTRY itself, else an address in the instruction of ENTRY that called
    taken    [site, block, size, target, times]: branches taken from a block's last instruction
    reads    [site, words]: data loads from flash; here the site of ENTRY's own loads is the load

Counted are blocks, not instructions: no hook fires for an instruction that IT skips, which takes its cycle too.
"""

# unicorn ships no types
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from unicorn import UC_HOOK_BLOCK, UC_HOOK_MEM_READ, Uc  # type: ignore[attr-defined]
from unicorn.arm_const import UC_ARM_REG_LR, UC_ARM_REG_PC, UC_ARM_REG_R0, UC_ARM_REG_SP, UC_ARM_REG_XPSR

from lnnc.verify.unicorn_runner import FLASH, FLASH_ROOM, Board

IT_STATE = 0x0600FC00  # of XPSR: Armv7-M Architecture Reference Manual, B1.4.2
PAINT, PAINTED = 0xA5, 8192  # a step of generated code uses a few hundred bytes
Block = tuple[int, int]  # address, size
NOWHERE: Block = (0, 0)
IDLE = -1  # no call is under way


class Counting:
    """The hooks that count between the entry of a function and its return."""

    def __init__(self, uc: Uc, entry: int, size: int) -> None:
        self.uc, self.entry, self.end = uc, entry, entry + size
        self.calls: list[dict[str, Any]] = []
        self.back = self.stack = IDLE  # return address and stack pointer of the call that is under way
        self.block, self.site = NOWHERE, 0
        self.blocks: Counter[tuple[int, Block, Block]] = Counter()
        self.taken: Counter[tuple[int, Block, int]] = Counter()
        self.reads: Counter[int] = Counter()
        uc.hook_add(UC_HOOK_BLOCK, self._on_block)
        uc.hook_add(UC_HOOK_MEM_READ, self._on_flash_read, None, FLASH, FLASH + FLASH_ROOM - 1)

    def _on_block(self, uc: Uc, address: int, size: int, _user: object) -> None:
        if self.back == IDLE:
            if address == self.entry:
                self._enter(uc)
                self._run(NOWHERE, (address, size))
            return
        last, end = self.block, sum(self.block)
        if address != end:
            self.taken[self.site, last, address] += 1
        if address == self.back and uc.reg_read(UC_ARM_REG_SP) == self.stack:
            self._leave(uc)
            return
        if self.entry <= address < self.end:
            self.site = 0
        elif self.site == 0:
            self.site = end - 2
        self._run(last if address == end else NOWHERE, (address, size))

    def _run(self, before: Block, block: Block) -> None:
        self.blocks[self.site, before, block] += 1
        self.block = block

    def _on_flash_read(self, uc: Uc, _access: int, _address: int, size: int, _value: int, _user: object) -> None:
        """A data load.

        unicorn leaves the IT state behind that it saved for this hook, and the next block would run as if it stood
        inside the IT (its issue 2309): hence it is cleared here.
        """
        status = uc.reg_read(UC_ARM_REG_XPSR)
        if status & IT_STATE:
            uc.reg_write(UC_ARM_REG_XPSR, status & ~IT_STATE)
        if self.back != IDLE:
            self.reads[self.site or uc.reg_read(UC_ARM_REG_PC)] += (size + 3) // 4

    def _enter(self, uc: Uc) -> None:
        self.back, self.stack = uc.reg_read(UC_ARM_REG_LR) & ~1, uc.reg_read(UC_ARM_REG_SP)
        self.blocks, self.taken, self.reads = Counter(), Counter(), Counter()
        self.site = 0
        uc.mem_write(self.stack - PAINTED, bytes([PAINT]) * PAINTED)

    def _leave(self, uc: Uc) -> None:
        below = bytes(uc.mem_read(self.stack - PAINTED, PAINTED))
        ret = uc.reg_read(UC_ARM_REG_R0)
        self.calls.append({
            "ret": ret - (1 << 32) if ret >> 31 else ret,
            "stack": len(below.lstrip(bytes([PAINT]))),
            "blocks": [[site, *before, *block, n] for (site, before, block), n in sorted(self.blocks.items())],
            "taken": [[site, *block, target, n] for (site, block, target), n in sorted(self.taken.items())],
            "reads": [list(read) for read in sorted(self.reads.items())],
        })  # fmt: skip
        self.back = IDLE


def find_function(image: Path, name: str) -> Block:
    """Address, without the Thumb bit, and size of a function."""
    with image.open("rb") as file:
        tables = [each for each in ELFFile(file).iter_sections() if isinstance(each, SymbolTableSection)]
        found = next(each for table in tables for each in table.iter_symbols() if each.name == name)
        return found["st_value"] & ~1, found["st_size"]


def main(arguments: list[str]) -> int:
    """Run IMAGE with INPUT, count every call of ENTRY, write the counts into OUT; returns the image's exit status."""
    image, blob, entry, out = Path(arguments[0]), Path(arguments[1]), arguments[2], Path(arguments[3])
    board = Board(image, blob.read_bytes())
    counting = Counting(board.uc, *find_function(image, entry))
    status = board.run()
    out.write_text(json.dumps({"calls": counting.calls, "output": board.output.hex()}), encoding="ascii")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
