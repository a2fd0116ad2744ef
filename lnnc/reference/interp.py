"""Runs a Program on a batch of independent models, each with its own state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from lnnc.ir.program import Block, Call, Program
from lnnc.kernels import KERNELS
from lnnc.kernels.fixed import Ints

Observer = Callable[[int, Call, dict[str, Ints]], None]
BAD_DT = -1  # what a step returns for a time outside its range


@dataclass
class Machine:
    """`batch` copies of the model that step together.

    Attributes:
        state: persistent buffers, (batch, size).
        observe: called after each kernel call with its index, the call and the arrays that it wrote.
    """

    program: Program
    batch: int = 1
    observe: Observer | None = None
    state: dict[str, Ints] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._tables = {c.name: c.data for c in self.program.constants}
        self.reset()

    def reset(self) -> None:
        """The state after `<name>_reset`."""
        self.state = {
            b.name: np.full((self.batch, b.size), b.reset, dtype=np.int64) for b in self.program.of_kind("state")
        }

    def step(self, inputs: Ints, dt: int | Ints | None = None) -> tuple[int, Ints | None]:
        """One step on raw port values (batch, inputs).

        Args:
            dt: raw time since the last sample, one for all or (batch, 1), where the program takes one.

        Returns:
            (0, outputs), (samples still missing, None), or (BAD_DT, None) with the state as it was when dt is out
            of range, which it must then be for every copy of the batch.
        """
        memory: dict[str, Ints] = {**self.state, self.program.of_kind("input")[0].name: np.asarray(inputs, np.int64)}
        if not self._take_time(dt, memory):
            return BAD_DT, None
        first, missing = 0, 0
        for block in self.program.blocks:
            missing = self._block(block, first, memory)
            first += len(block.calls)
            if missing:
                break
        self.state = {name: memory[name] for name in self.state}
        return missing, None if missing else memory[self.program.of_kind("output")[0].name]

    def _take_time(self, dt: int | Ints | None, memory: dict[str, Ints]) -> bool:
        """Whether dt is legal; it is then in the memory."""
        time = self.program.time
        assert (dt is None) == (time is None), "a program with an argument dt needs it, another takes none"
        if time is None or dt is None:
            return True
        raw = np.broadcast_to(np.asarray(dt, np.int64), (self.batch, 1))
        legal = (raw >= time.lo) & (raw <= time.hi)
        assert legal.all() or not legal.any(), "the copies of a batch share their fate"
        memory[self.program.of_kind("time")[0].name] = raw
        return bool(legal.all())

    def _block(self, block: Block, first: int, memory: dict[str, Ints]) -> int:
        for _ in range(block.repeat):
            for index, call in enumerate(block.calls):
                self._call(first + index, call, memory)
                if KERNELS[call.kernel].waits:
                    missing = int(memory[str(dict(call.args)["missing"])].max())
                    if missing:
                        return missing
            memory.update({state: memory[following] for state, following in block.carry})
        return 0

    def _call(self, index: int, call: Call, memory: dict[str, Ints]) -> None:
        entry, args = KERNELS[call.kernel], dict(call.args)
        values = {p.name: self._value(args[p.name], memory) for p in entry.params if p.role != "out"}
        results = entry.eval(**values)
        whole = (np.broadcast_to(r, (self.batch, r.shape[-1])) for r in results)  # a kernel may read no array
        written = {str(args[p.name]): r for p, r in zip(entry.written(), whole, strict=True)}
        for name, array in written.items():
            buffer = self.program.buffer(name)
            assert array.shape == (self.batch, buffer.size), (call.kernel, name, array.shape)
            assert array.size == 0 or (array.min() >= buffer.lo and array.max() <= buffer.hi), (call.kernel, name)
        memory.update(written)
        if self.observe:
            self.observe(index, call, written)

    def _value(self, arg: str | int, memory: dict[str, Ints]) -> Ints | int:
        if isinstance(arg, int):
            return arg
        return self._tables[arg] if arg in self._tables else memory[arg]
