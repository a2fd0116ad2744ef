"""Chooses how the weights of each dense layer lie in flash: row by row, or in blocks. No integer changes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import count

from lnnc.ir.program import Call, Constant, Program
from lnnc.ir.verify import verify_program
from lnnc.kernels import KERNELS
from lnnc.kernels.fixed import Ints
from lnnc.kernels.packed import COLUMNS, ROWS, blocks_of, fill, pack, pack_bias
from lnnc.targets import Build

PACKED = {"linear_s16": "packed_s16", "linear_s32": "packed_s32"}
TABLES = ("weight", "bias", "mult")

# Modelled cycles of a Cortex-M4: a row by row product takes ROW_MAC for each weight and ROW_FIX for each row; a block
# of four rows BLOCK_MAC for each weight (filled up with zeros) and BLOCK_FIX, and CROSS for each input of the layer.
ROW_MAC, ROW_FIX = 3.3, 22.0
BLOCK_MAC, BLOCK_FIX, CROSS, CALL_FIX = 1.3, 75.0, 1.5, 60.0
SAVED_MIN = 6_000  # cycles of a step that are worth the kilobyte of code of one block kernel


def lay_out(program: Program, build: Build) -> Program:
    """The program with the weights of its dense layers laid out as `build.packing` says.

    "auto" is rows on a processor without DSP instructions. On another it is blocks where that saves cycles, if all
    layers that use the same block kernel save `SAVED_MIN` in a step together.
    """
    if build.packing == "rows" or (build.packing == "auto" and not build.processor.dsp):
        return program
    dense = _dense(program)
    if build.packing == "auto":
        gains = {index: _gain(program, index) for index in dense}
        dense = [index for kernel in PACKED for index in _worth(program, kernel, gains)]
    return verify_program(_repacked(program, set(dense)))


def _worth(program: Program, kernel: str, gains: dict[int, float]) -> list[int]:
    """The calls of a kernel that gain, if they gain enough together."""
    calls = program.calls()
    chosen = [index for index, gain in gains.items() if calls[index].kernel == kernel and gain > 0]
    return chosen if sum(gains[index] for index in chosen) >= SAVED_MIN else []


def _dense(program: Program) -> list[int]:
    """The calls whose tables can be packed: they alone read them, and the bias that they then need fits."""
    users = Counter(arg for call in program.calls() for _, arg in call.args)

    def packable(call: Call) -> bool:
        own = all(users[dict(call.args)[name]] == 1 for name in TABLES)
        return own and bool(_bias(program, call).min() > -(2**31))

    return [index for index, call in enumerate(program.calls()) if call.kernel in PACKED and packable(call)]


def _matrix(program: Program, call: Call) -> Ints:
    """The weights of a dense call, (rows, inputs)."""
    args = dict(call.args)
    return program.constant(str(args["weight"])).data.reshape(int(args["n_out"]), int(args["n_in"]))


def _bias(program: Program, call: Call) -> Ints:
    return pack_bias(program.constant(str(dict(call.args)["bias"])).data, _matrix(program, call))


def _gain(program: Program, index: int) -> float:
    """Modelled cycles of a step that blocks save."""
    rows, columns = map(int, _matrix(program, program.calls()[index]).shape)
    by_row = rows * (ROW_MAC * columns + ROW_FIX)
    by_block = blocks_of(rows) * (BLOCK_MAC * ROWS * columns + BLOCK_FIX) + CROSS * columns + CALL_FIX
    return (by_row - by_block) * _times(program, index)


def _times(program: Program, index: int) -> int:
    """How often a call runs in a step."""
    repeats = [block.repeat for block in program.blocks for _ in block.calls]
    return repeats[index]


def _repacked(program: Program, chosen: set[int]) -> Program:
    constants = {c.name: c for c in program.constants}
    numbers = count()
    blocks = []
    for block in program.blocks:
        calls = []
        for call in block.calls:
            packed = next(numbers) in chosen
            if packed:
                constants.update({c.name: c for c in _tables(program, call)})
            calls.append(_call(call) if packed else call)
        blocks.append(replace(block, calls=tuple(calls)))
    return replace(program, blocks=tuple(blocks), constants=tuple(constants.values()))


def _tables(program: Program, call: Call) -> list[Constant]:
    """The tables of a dense call, packed."""
    args, weight = dict(call.args), _matrix(program, call)
    rows, columns = weight.shape
    old = [program.constant(str(args[name])) for name in TABLES]
    data = (pack(weight), fill(_bias(program, call)), fill(old[2].data))
    note = f"{rows} x {columns} in blocks of {ROWS} rows, groups of {COLUMNS} columns w2, w0, w3, w1; one scale per row"
    notes = (note, f"{old[1].note}less w0 w2 + w1 w3 of each group", old[2].note)
    shapes = ((blocks_of(rows), columns, ROWS), (len(data[1]),), (len(data[2]),))
    return [
        replace(constant, data=values, shape=shape, note=text)
        for constant, values, shape, text in zip(old, data, shapes, notes, strict=True)
    ]


def _call(call: Call) -> Call:
    """The call of the packed kernel."""
    kernel = PACKED[call.kernel]
    args = {**dict(call.args), "blocks": blocks_of(int(dict(call.args)["n_out"]))}
    ordered = tuple((p.name, args[p.name]) for p in KERNELS[kernel].params)
    return replace(call, kernel=kernel, args=ordered, does=f"{call.does}, in blocks of {ROWS} rows")
