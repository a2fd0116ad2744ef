"""Collects the buffers, constants and calls of a Program while ops are lowered, and proves each call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lnnc.errors import LnncError
from lnnc.ir.program import Block, Buffer, Call, Constant, DType, Kind
from lnnc.ir.reserved import is_reserved
from lnnc.kernels import KERNELS
from lnnc.kernels.fixed import Ints, erf_table, exp_table, tanh_table

TABLES: dict[str, tuple[Callable[[], Ints], str]] = {
    "tanh": (tanh_table, "tanh on [0, 8], 256 segments, Q15"),
    "erf": (erf_table, "erf(u / 2) on [0, 8], 256 segments, Q15"),
    "exp": (exp_table, "exp(-z) on [0, 16], 256 segments, Q15"),
}


@dataclass
class Builder:
    """State of one lowering. `where` names the file for messages."""

    where: str
    buffers: dict[str, Buffer] = field(default_factory=dict)
    constants: dict[str, Constant] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    pending: list[Call] = field(default_factory=list)

    def buffer(
        self, name: str, dtype: DType, size: int, limits: tuple[int, int], kind: Kind = "scratch",
        note: str = "", reset: int = 0,
    ) -> str:  # fmt: skip
        """Declare a buffer and return its name: a state is a member of a C structure."""
        name = self._unused(f"{name}_" if kind == "state" and is_reserved(name) else name)
        self.buffers[name] = Buffer(name, dtype, size, kind, *limits, note=note, reset=reset)
        return name

    def constant(self, name: str, dtype: DType, data: Any, shape: tuple[int, ...] = (), note: str = "") -> str:
        """Declare a table and return its name."""
        name = self._unused(name)
        array = np.asarray(data, dtype=np.int64)
        self.constants[name] = Constant(name, dtype, array.reshape(-1), shape or array.shape, note)
        return name

    def _unused(self, name: str) -> str:
        """The name, or a longer one: layers whose keys differ in a dot only would share C identifiers."""
        while name in self.buffers or name in self.constants:
            name += "_"
        return name

    def tanh(self) -> str:
        """The shared half-table of tanh."""
        return self.table("tanh")

    def exp(self) -> str:
        """The shared table of exp(-z)."""
        return self.table("exp")

    def table(self, fn: str) -> str:
        """The one table of a function of `TABLES`: tanh_table, erf_table or exp_table."""
        name = f"{fn}_table"
        if name in self.constants:
            return name
        make, note = TABLES[fn]
        return self.constant(name, "int16", make(), note=note)

    def call(self, kernel: str, src: str, does: str, **args: str | int) -> None:
        """Append a kernel call after proving that it cannot overflow.

        Raises:
            LnncError: the proof fails; the message names the layer.
        """
        entry = KERNELS[kernel]
        missing = {p.name for p in entry.params} ^ set(args)
        assert not missing, f"{kernel}: {missing}"
        ordered = tuple((p.name, args[p.name]) for p in entry.params)
        fault = self._fault(kernel, dict(ordered))
        if fault:
            raise LnncError(
                f"layer '{src}': {fault}", self.where,
                "the layer's numbers are too large for int32 arithmetic at this scale: retrain it with weight decay, "
                "or widen the declared range of the port that it feeds",
            )  # fmt: skip
        self.pending.append(Call(kernel, ordered, src, does))

    def _fault(self, kernel: str, args: dict[str, str | int]) -> str:
        entry = KERNELS[kernel]
        values: dict[str, Any] = {}
        ranges = {}
        for p in entry.params:
            arg = args[p.name]
            low, high = p.range
            if p.role == "const":
                values[p.name] = self.constants[str(arg)].data
                low_seen, high_seen = int(values[p.name].min()), int(values[p.name].max())
            elif isinstance(arg, str):
                buffer = self.buffers[arg]
                ranges[p.name] = low_seen, high_seen = buffer.lo, buffer.hi
            else:
                values[p.name] = low_seen = high_seen = arg
                ranges[p.name] = (arg, arg)
            if p.role != "out" and not (low <= low_seen and high_seen <= high):
                return f"{kernel}.{p.name} would be {low_seen} ... {high_seen}, legal is {low} ... {high}"
        return entry.check(values, ranges)

    def close_block(
        self, src: str, repeat: int = 1, carry: Iterable[tuple[str, str]] = (), for_outputs: bool = False
    ) -> None:
        """End the current block of calls."""
        if self.pending:
            self.blocks.append(Block(tuple(self.pending), repeat, tuple(carry), src, for_outputs))
            self.pending = []

    def widen(self, name: str, limits: tuple[int, int]) -> None:
        """Change the proved range of a buffer (a loop-carried one, once its body is known)."""
        self.buffers[name] = replace(self.buffers[name], lo=limits[0], hi=limits[1])
