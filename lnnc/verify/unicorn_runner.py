"""Runs a Cortex-M4 test image in unicorn: `python -m lnnc.verify.unicorn_runner IMAGE INPUT OUTPUT`.

A program of its own because unicorn is GPL version 2: lnnc never imports it, it only starts this.
The exit status is the image's; faults and what the image writes to stderr go to stderr.
Source: "Semihosting for AArch32 and AArch64", Arm, 2.0.
"""

# unicorn ships no types
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import struct
import sys
from pathlib import Path

from elftools.elf.elffile import ELFFile
from unicorn import (  # type: ignore[attr-defined]
    UC_ARCH_ARM,
    UC_HOOK_INTR,
    UC_MODE_MCLASS,
    UC_MODE_THUMB,
    UC_PROT_ALL,
    UC_PROT_EXEC,
    UC_PROT_READ,
    Uc,
    UcError,
)
from unicorn.arm_const import (
    UC_ARM_REG_FPEXC,
    UC_ARM_REG_LR,
    UC_ARM_REG_PC,
    UC_ARM_REG_R0,
    UC_ARM_REG_R1,
    UC_ARM_REG_SP,
    UC_CPU_ARM_CORTEX_M4,
)

FLASH, FLASH_ROOM = 0x00000000, 4 << 20
RAM, RAM_ROOM = 0x20000000, 4 << 20
INPUT, INPUT_ROOM = 0x21000000, 16 << 20
SYSTEM, SYSTEM_ROOM = 0xE0000000, 1 << 20  # only so that the startup's writes to the SCB land somewhere
FAULT = 92  # HARNESS_FAULT

SYS_OPEN, SYS_WRITE, SYS_EXIT, SYS_EXIT_EXTENDED = 0x01, 0x05, 0x18, 0x20
STDOUT, STDERR = 1, 2
BKPT_SEMIHOSTING = b"\xab\xbe"


class Board:
    """The memory and semihosting of the MPS2 AN386 board, as far as the test image uses them."""

    def __init__(self, image: Path, blob: bytes) -> None:
        self.output = bytearray()
        self.status = FAULT
        self.ended = False
        self.uc = Uc(UC_ARCH_ARM, UC_MODE_THUMB | UC_MODE_MCLASS)
        self.uc.ctl_set_cpu_model(UC_CPU_ARM_CORTEX_M4)
        self._map(image, blob)
        self.uc.reg_write(UC_ARM_REG_FPEXC, 0x40000000)  # unicorn has no CPACR: this is what turns the FPU on
        self.uc.hook_add(UC_HOOK_INTR, self._on_exception)

    def _map(self, image: Path, blob: bytes) -> None:
        self.uc.mem_map(FLASH, FLASH_ROOM, UC_PROT_READ | UC_PROT_EXEC)
        for start, room in ((RAM, RAM_ROOM), (INPUT, INPUT_ROOM), (SYSTEM, SYSTEM_ROOM)):
            self.uc.mem_map(start, room, UC_PROT_ALL)
        with image.open("rb") as file:
            for segment in ELFFile(file).iter_segments("PT_LOAD"):
                self.uc.mem_write(segment["p_paddr"], segment.data())
        self.uc.mem_write(INPUT, blob)

    def run(self) -> int:
        """From the reset vector to the image's exit; returns its status."""
        stack, entry = struct.unpack("<II", self.uc.mem_read(FLASH, 8))
        self.uc.reg_write(UC_ARM_REG_SP, stack)
        try:
            self.uc.emu_start(entry | 1, 0xFFFFFFFE)
        except UcError as error:
            self._report(str(error))
        return self.status

    def _report(self, what: str) -> None:
        pc, lr = self.uc.reg_read(UC_ARM_REG_PC), self.uc.reg_read(UC_ARM_REG_LR)
        print(f"HardFault at pc {pc:#010x}\ncalled from lr {lr:#010x}\n{what}", file=sys.stderr)

    def _on_exception(self, uc: Uc, number: int, _user: object) -> None:
        pc = uc.reg_read(UC_ARM_REG_PC)
        if bytes(uc.mem_read(pc, 2)) != BKPT_SEMIHOSTING:
            self._report(f"exception {number}")
            uc.emu_stop()
            return
        result = self._semihost(uc.reg_read(UC_ARM_REG_R0), uc.reg_read(UC_ARM_REG_R1))
        if self.ended:
            uc.emu_stop()
            return
        uc.reg_write(UC_ARM_REG_R0, result & 0xFFFFFFFF)
        uc.reg_write(UC_ARM_REG_PC, (pc + 2) | 1)

    def _semihost(self, operation: int, block: int) -> int:
        if operation == SYS_OPEN:
            _name, mode, _length = self._words(block, 3)
            return STDERR if mode >= 8 else STDOUT
        if operation == SYS_WRITE:
            handle, at, count = self._words(block, 3)
            self._write(handle, bytes(self.uc.mem_read(at, count)))
            return 0
        if operation in (SYS_EXIT, SYS_EXIT_EXTENDED):
            self.status = self._words(block, 2)[1] if operation == SYS_EXIT_EXTENDED else 0
            self.ended = True
            return 0
        return -1

    def _write(self, handle: int, data: bytes) -> None:
        if handle == STDERR:
            sys.stderr.write(data.decode("latin-1"))
        else:
            self.output += data

    def _words(self, at: int, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}I", self.uc.mem_read(at, 4 * count))


def main(arguments: list[str]) -> int:
    """Run IMAGE with INPUT (length word included), write what it wrote to stdout into OUTPUT."""
    image, blob, out = (Path(each) for each in arguments)
    board = Board(image, blob.read_bytes())
    status = board.run()
    out.write_bytes(board.output)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
