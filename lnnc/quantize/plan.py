"""Memory plan: tensors that do not live at the same time share one array of the scratch structure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lnnc.ir.program import Buffer, Call, Program
from lnnc.kernels import KERNELS

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass
class _Slot:
    dtype: str
    size: int
    free_from: int  # first call at which it may be taken again


def plan_memory(program: Program) -> Program:
    """The program with a slot for every scratch buffer.

    A buffer lives from its first write to its last read; inside a repeated block it lives through the whole block if
    it is carried or read before it is written. Slots are typed arrays, so no two types ever overlay.
    """
    calls = program.calls()
    spans = _spans(program)
    slots: list[_Slot] = []
    chosen: dict[str, int] = {}
    for buffer in sorted(program.of_kind("scratch"), key=lambda b: spans[b.name]):
        start, end = spans[buffer.name]
        index = _inherit(calls[start], buffer, chosen, spans, slots)
        if index is None:
            index = _best(slots, buffer, start)
        if index is None:
            slots.append(_Slot(buffer.dtype, 0, 0))
            index = len(slots) - 1
        slots[index].size = max(slots[index].size, buffer.size)
        slots[index].free_from = end + 1
        chosen[buffer.name] = index
    names = _slot_names(slots)
    planned = (replace(b, slot=names[chosen[b.name]]) if b.kind == "scratch" else b for b in program.buffers)
    return replace(program, buffers=tuple(planned))


def _spans(program: Program) -> dict[str, tuple[int, int]]:
    """(first call, last call) of every buffer, stretched over a repeated block that its value survives."""
    spans: dict[str, tuple[int, int]] = {}
    first = 0
    for block in program.blocks:
        last = first + len(block.calls) - 1
        for offset, call in enumerate(block.calls):
            for _, arg in call.args:
                if isinstance(arg, str):
                    low, high = spans.get(arg, (first + offset, first + offset))
                    spans[arg] = (low, max(high, first + offset))
        if block.repeat > 1:
            for name, (low, high) in list(spans.items()):
                if low < first <= high:  # made before the loop and read inside: needed by every repetition
                    spans[name] = (low, max(high, last))
            for state, following in block.carry:
                spans[state] = (min(spans[state][0], first), last)
                spans[following] = (spans[following][0], max(spans[following][1], last))
        first = last + 1
    return spans


def _inherit(
    call: Call, buffer: Buffer, chosen: dict[str, int], spans: dict[str, tuple[int, int]], slots: list[_Slot]
) -> int | None:
    """The slot of the input that the defining call may overwrite in place, if that input dies there."""
    entry = KERNELS[call.kernel]
    source = dict(call.args).get(entry.inplace) if entry.inplace else None
    if not isinstance(source, str) or source not in chosen or dict(call.args).get("out") != buffer.name:
        return None
    slot = slots[chosen[source]]
    dies = spans[source][1] == spans[buffer.name][0]
    return chosen[source] if dies and slot.dtype == buffer.dtype else None


def _best(slots: list[_Slot], buffer: Buffer, start: int) -> int | None:
    """The free slot that fits best: the smallest that is large enough, else the largest, which then grows."""
    free = [i for i, s in enumerate(slots) if s.dtype == buffer.dtype and s.free_from <= start]
    large = [i for i in free if slots[i].size >= buffer.size]
    if large:
        return min(large, key=lambda i: slots[i].size)
    return max(free, key=lambda i: slots[i].size, default=None)


def _slot_names(slots: list[_Slot]) -> list[str]:
    """a, b, c ... for int16 arrays, arg_a, arg_b ... for int32: short names, since every call shows its tensor."""
    counts: dict[str, int] = {}
    names = []
    for slot in slots:
        index = counts.get(slot.dtype, 0)
        counts[slot.dtype] = index + 1
        letter = LETTERS[index % 26] * (1 + index // 26)
        names.append(letter if slot.dtype == "int16" else f"wide_{letter}")
    return names
