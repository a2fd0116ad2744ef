"""Program: the integer form of one step. The reference runs it, the code generator prints it.

No float, no C text: every number that the two arms need is an integer made by `quantize.lower`. `note` fields are
prose for people (units, scales); nothing may depend on them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["input", "output", "state", "scratch", "time"]
DType = Literal["uint8", "int8", "int16", "int32"]  # uint8: tables only

ARITHMETIC = "lnnc-arith-1"  # names the rounding, saturation and tables of runtime_c/SEMANTICS.md


@dataclass(frozen=True)
class Buffer:
    """`size` integers of one type that live as long as `kind` says.

    Attributes:
        lo, hi: no element ever leaves this range (proofs rest on it).
        reset: value of every element after a reset (state only).
        slot: name of the array in the scratch structure that holds it ("" before planning, and for other kinds).
    """

    name: str
    dtype: DType
    size: int
    kind: Kind
    lo: int
    hi: int
    note: str = ""
    reset: int = 0
    slot: str = ""

    @property
    def bytes(self) -> int:
        return self.size * np.dtype(self.dtype).itemsize


def by_width(buffers: Iterable[Buffer]) -> list[Buffer]:
    """The order of a C structure's members: wide elements first, so that there is no padding between them."""
    return sorted(buffers, key=lambda b: -np.dtype(b.dtype).itemsize)


def struct_bytes(buffers: Sequence[Buffer]) -> tuple[int, int]:
    """(bytes of the members, sizeof the structure where it aligns to its widest element); at least one byte."""
    used = sum(b.bytes for b in buffers) or 1
    align = max((np.dtype(b.dtype).itemsize for b in buffers), default=1)
    return used, -(-used // align) * align


@dataclass(frozen=True, eq=False)
class Constant:
    """A table in flash. `shape` is for the reader: data is flat."""

    name: str
    dtype: DType
    data: NDArray[np.int64]
    shape: tuple[int, ...]
    note: str = ""

    @property
    def bytes(self) -> int:
        return int(self.data.size) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Call:
    """One kernel call: `args` maps every parameter to a buffer name, a constant name or an integer.

    Attributes:
        src: the layer it comes from, and what it computes there.
    """

    kernel: str
    args: tuple[tuple[str, str | int], ...]
    src: str
    does: str = ""


@dataclass(frozen=True)
class Block:
    """`calls` in order, `repeat` times; after each repetition every `carry` pair (state, next) is committed.

    Attributes:
        for_outputs: nothing that is remembered depends on it: a step whose outputs nobody wants ends before it.
    """

    calls: tuple[Call, ...]
    repeat: int = 1
    carry: tuple[tuple[str, str], ...] = ()
    src: str = ""
    for_outputs: bool = False


@dataclass(frozen=True)
class ProgramPort:
    """One port element group of the public interface: real = q / 2^frac."""

    name: str
    size: int
    unit: str
    frac: int
    lo: float | None
    hi: float | None


@dataclass(frozen=True)
class ProgramTime:
    """The argument `dt` of a step, the time since the last one: T = q / 2^frac, lo <= q <= hi, 0 < lo."""

    frac: int
    lo: int
    hi: int


@dataclass(frozen=True)
class StateView:
    """How the elements of a state buffer read in real units: real = q * scale + center. No arithmetic depends on it."""

    buffer: str
    scale: float
    center: float = 0.0


@dataclass(frozen=True, eq=False)
class Program:
    """One step of a network in integers.

    Attributes:
        warmup: samples needed before the first output.
        views: what the state means, in the order of `states()`.
        time: the format of the argument `dt`, or None where time is a constant.
        every: samples from one output to the next.
    """

    inputs: tuple[ProgramPort, ...]
    outputs: tuple[ProgramPort, ...]
    buffers: tuple[Buffer, ...]
    constants: tuple[Constant, ...]
    blocks: tuple[Block, ...]
    warmup: int = 1
    views: tuple[StateView, ...] = ()
    time: ProgramTime | None = None
    every: int = 1

    def buffer(self, name: str) -> Buffer:
        return next(b for b in self.buffers if b.name == name)

    def constant(self, name: str) -> Constant:
        return next(c for c in self.constants if c.name == name)

    def of_kind(self, kind: Kind) -> tuple[Buffer, ...]:
        return tuple(b for b in self.buffers if b.kind == kind)

    def calls(self) -> tuple[Call, ...]:
        """Every printed call, in order; its index is the id of the trace hook."""
        return tuple(call for block in self.blocks for call in block.calls)

    @property
    def skippable(self) -> bool:
        """Whether a step can end before its outputs are made."""
        return any(block.for_outputs for block in self.blocks)

    @property
    def input_size(self) -> int:
        return sum(p.size for p in self.inputs)

    @property
    def output_size(self) -> int:
        return sum(p.size for p in self.outputs)
