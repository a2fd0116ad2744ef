"""What an instruction costs on a Cortex-M4 without wait states: the rules, one table and four functions.

Source: Arm "Cortex-M4 Technical Reference Manual" r0p1 (DDI 0439), 3.3.1 "Cortex-M4 instructions" and 3.3.3
"Load/store timings". Where the manual gives a range, the figure is the one that measured boards agree with: P, the
refill of the pipeline after a taken branch, is 1 where the target is in the instruction, 2 where it is in a register,
and 1 more where the target is a 32-bit instruction that crosses a word; a division takes 2 to 12 cycles, here 7.

Not modelled: unaligned data, contention of literal loads with fetching, wait states of instruction fetch, interrupts.
An instruction that fails its condition is priced as if it ran, which for a load is one cycle too much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from lnnc.errors import LnncError


@dataclass(frozen=True)
class Rule:
    """Cycles of a kind of instruction: `cycles` + `each` for every register that it transfers."""

    kind: str
    names: str
    cycles: int
    each: int = 0


# What is not named here takes one cycle: arithmetic, MUL, MLA, UMULL, SMLAD, SMLAL, SMMULR, SSAT, SXTB16, PKHBT, ...
RULES = (
    Rule("load", "ldr ldrb ldrh ldrsb ldrsh ldrt ldrbt ldrht ldrsbt ldrsht ldrex ldrexb ldrexh vldr", 2),
    Rule("store", "str strb strh strt strbt strht strex strexb strexh vstr", 1),  # 2 with a register offset
    Rule("pair", "ldrd strd", 3),
    Rule("block", "ldm ldmdb stm stmdb push pop vldm vldmia vldmdb vstm vstmia vstmdb vpush vpop", 1, each=1),
    Rule("table", "tbb tbh", 6),  # its branch included
    Rule("branch", "b bl cbz cbnz bx blx", 1),  # not taken; see `taken_cycles`
    Rule("it", "it itt ite ittt itte itet itee itttt ittte ittet ittee itett itete iteet iteee", 1),
    Rule("divide", "sdiv udiv", 7),
    Rule("system", "mrs msr", 2),
    Rule("barrier", "dsb dmb isb", 4),
    Rule("float", "vmla vmls vfma vfms vfnma vfnms vnmla vnmls", 3),
    Rule("float", "vdiv vsqrt", 14),
)
PLAIN = Rule("plain", "", 1)
LOAD_PC = 5  # a load into the program counter, its branch included
DIRECT, INDIRECT, CROSSING = 1, 2, 1  # refills
_BASED = ("ldm", "ldmdb", "stm", "stmdb", "vldm", "vldmia", "vldmdb", "vstm", "vstmia", "vstmdb")
_RULE = {name: rule for rule in RULES for name in rule.names.split()}


@dataclass(frozen=True)
class Instruction:
    """What of an instruction decides its cycles.

    Attributes:
        text: for people.
        size: bytes, 2 or 4.
        rule: its row of the table.
        name: mnemonic without condition and width.
        writes: registers written.
        address: registers that a load or store computes its address from.
        indexed: the address has a register offset.
        transfers: registers in its list (block transfers), counted in words.
        to_pc: it writes the program counter.
    """

    at: int
    text: str
    size: int
    rule: Rule
    name: str
    writes: frozenset[str]
    address: frozenset[str]
    indexed: bool
    transfers: int
    to_pc: bool

    @property
    def kind(self) -> str:
        return self.rule.kind

    @property
    def crosses(self) -> bool:
        """32 bits at address % 4 == 2: fetching it takes two words."""
        return self.size == 4 and self.at % 4 == 2


def cycles_of(one: Instruction, before: Instruction | None) -> int:
    """Cycles of an instruction after the one that ran before it (None: a taken branch led here).

    The refill of a branch that is taken is not in it.
    """
    fed = before is not None and bool(before.writes & one.address)
    if one.kind == "it":
        return 0 if before is not None and before.size == 2 else 1  # folded into a 16-bit neighbour
    if one.kind == "load" and one.to_pc:
        cycles = LOAD_PC
    else:
        cycles = one.rule.cycles + one.rule.each * one.transfers
        cycles += one.kind == "store" and one.indexed
        if before is not None and before.kind == "load" and not fed and cycles == 2 and one.kind in ("load", "store"):
            cycles = 1  # the address phase overlaps the data phase of the load before it
    if fed and before is not None and before.kind not in ("load", "store", "pair", "block"):
        cycles += 1  # an address has to wait for the register bank
    return cycles


def taken_cycles(one: Instruction, target: Instruction) -> int:
    """Cycles that a branch takes longer when it is taken: the refill of the pipeline."""
    crossing = CROSSING if target.crosses else 0
    if one.kind == "table" or (one.kind == "load" and one.to_pc):
        return crossing
    direct = one.name in ("b", "bl", "cbz", "cbnz")
    return (DIRECT if direct else INDIRECT) + crossing


def decode(code: bytes, at: int) -> list[Instruction]:
    """The instructions of a piece of Thumb code.

    Raises:
        LnncError: bytes that are no instruction.
    """
    found = [_instruction(each) for each in _disassembler().disasm(code, at)]
    done = sum(each.size for each in found)
    if done != len(code):
        raise LnncError(f"no instruction: {code[done : done + 4].hex()}", f"address {at + done:#x}")
    return found


@cache
def _disassembler() -> Any:
    import capstone

    made = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
    made.detail = True
    return made


@cache
def _conditions() -> dict[int, str]:
    from capstone import arm_const

    names = ("eq", "ne", "hs", "lo", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le")
    return {getattr(arm_const, f"ARM_CC_{name.upper()}"): name for name in names}


def _instruction(raw: Any) -> Instruction:
    from capstone import CS_OP_MEM, CS_OP_REG

    name = raw.mnemonic.partition(".")[0]
    name = name if name.startswith("it") else name.removesuffix(_conditions().get(raw.cc, ""))
    rule = _RULE.get(name, PLAIN)
    memory = [operand.mem for operand in raw.operands if operand.type == CS_OP_MEM]
    listed = [raw.reg_name(operand.reg) for operand in raw.operands if operand.type == CS_OP_REG]
    moved = listed[1:] if name in _BASED else listed
    written = {raw.reg_name(register) for register in raw.regs_access()[1]}
    return Instruction(
        at=raw.address, text=f"{raw.mnemonic} {raw.op_str}".strip(), size=raw.size, rule=rule, name=name,
        writes=frozenset(written),
        address=frozenset(raw.reg_name(r) for mem in memory for r in (mem.base, mem.index) if r),
        indexed=any(mem.index for mem in memory),
        transfers=sum(2 if register.startswith("d") else 1 for register in moved) if rule.each else 0,
        to_pc="pc" in written,
    )  # fmt: skip


def block_cycles(block: Sequence[Instruction], before: Instruction | None) -> list[int]:
    """Cycles of each instruction of a block; `before` ran into it without a branch."""
    pairs = zip(block, [before, *block[:-1]], strict=True)
    return [cycles_of(one, previous) for one, previous in pairs]
