"""The state of a running model as raw numbers, as real numbers and as saved bytes: what the generated C must do too.

In a batch every copy of the model gets values of its own, but all must meet the same fate: accepted, or refused alike.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lnnc.ir.program import Program
from lnnc.ir.saved import CRC_BYTES, HEAD, LAYOUT, MAGIC, members, save_bytes, view_of
from lnnc.kernels.fixed import Ints
from lnnc.reference.interp import Machine

Reals = NDArray[np.float32]

OK, REFUSED = 0, -1
LOAD_SIZE, LOAD_FORMAT, LOAD_CRC, LOAD_MODEL, LOAD_RANGE = -1, -2, -3, -4, -5


def limits(program: Program) -> tuple[Ints, Ints]:
    """The range that each number of the state was proved to keep: 2 x (states,)."""
    ends = np.array([(b.lo, b.hi) for b in members(program) for _ in range(b.size)], np.int64).reshape(-1, 2)
    return ends[:, 0], ends[:, 1]


def get_state_raw(machine: Machine) -> Ints:
    """(batch, states)."""
    empty = np.zeros((machine.batch, 0), np.int64)
    return np.concatenate([empty, *(machine.state[b.name] for b in members(machine.program))], axis=1)


def set_state_raw(machine: Machine, q: Ints) -> int:
    """0, or -1 with the state as it was when a number of q (batch, states) is out of range."""
    low, high = limits(machine.program)
    if not _agree((q >= low) & (q <= high)):
        return REFUSED
    _write(machine, q)
    return OK


def _agree(legal: NDArray[np.bool_]) -> bool:
    """Whether all numbers (batch, states) are legal."""
    copies = {bool(row.all()) for row in legal}
    assert len(copies) == 1, "the copies of a batch share their fate"
    return copies.pop()


def _write(machine: Machine, q: Ints) -> None:
    start = 0
    for b in members(machine.program):
        machine.state[b.name] = q[:, start : start + b.size].astype(np.int64)
        start += b.size


# --- real units, in float32 as the C header computes ---


def _views(program: Program) -> tuple[Reals, Reals, Reals]:
    """(scale, center, 1 / scale) of each number."""
    views = [(view_of(program, b), b.size) for b in members(program)]
    rows = [(v.scale, v.center, 1.0 / v.scale) for v, size in views for _ in range(size)]
    table = np.array(rows, np.float64).reshape(-1, 3).astype(np.float32)
    return table[:, 0], table[:, 1], table[:, 2]


def get_state(machine: Machine) -> Reals:
    """The state in real units: (batch, states)."""
    scale, center, _ = _views(machine.program)
    return np.asarray(get_state_raw(machine).astype(np.float32) * scale + center, np.float32)


def set_state(machine: Machine, real: Reals) -> int:
    """0, or -1 with the state as it was when a value of real (batch, states) is NaN or out of range."""
    low, high = limits(machine.program)
    _, center, inverse = _views(machine.program)
    q = (real.astype(np.float32) - center) * inverse
    if not _agree((q >= low.astype(np.float32)) & (q <= high.astype(np.float32))):
        return REFUSED
    exact = q.astype(np.float64)
    nearest = np.copysign(np.floor(np.abs(exact) + 0.5), exact)
    _write(machine, np.clip(nearest.astype(np.int64), low, high))
    return OK


# --- bytes ---


def save(machine: Machine, model: bytes) -> list[bytes]:
    """The saved state of each copy."""
    parts = [machine.state[b.name].astype(f"<i{np.dtype(b.dtype).itemsize}") for b in members(machine.program)]
    return [pack(b"".join(part[row].tobytes() for part in parts), model) for row in range(machine.batch)]


def pack(numbers: bytes, model: bytes) -> bytes:
    """A saved state around its numbers."""
    text = HEAD.pack(MAGIC, LAYOUT, len(numbers), model) + numbers
    return text + struct.pack("<I", zlib.crc32(text))


def load(machine: Machine, model: bytes, buffers: Sequence[bytes]) -> int:
    """0, or a LOAD_ code with the state as it was; one buffer for each copy."""
    read = [unpack(machine.program, model, buffer) for buffer in buffers]
    codes = {code for code, _ in read}
    assert len(codes) == 1, "the copies of a batch share their fate"
    code = codes.pop()
    if code == OK:
        _write(machine, np.stack([numbers for _, numbers in read]))
    return code


def unpack(program: Program, model: bytes, buffer: bytes) -> tuple[int, Ints]:
    """(0, the numbers) of a saved state, or (code, nothing)."""
    nothing = np.zeros(0, np.int64)
    code = _envelope(program, model, buffer)
    if code != OK:
        return code, nothing
    found = numbers_of(program, buffer[HEAD.size : -CRC_BYTES])
    low, high = limits(program)
    legal = ((found >= low) & (found <= high)).all()
    return (OK, found) if legal else (LOAD_RANGE, nothing)


def numbers_of(program: Program, body: bytes) -> Ints:
    """The numbers that a saved state holds between its head and its CRC."""
    start, parts = 0, [np.zeros(0, np.int64)]
    for b in members(program):
        parts.append(np.frombuffer(body, f"<i{np.dtype(b.dtype).itemsize}", b.size, start).astype(np.int64))
        start += b.bytes
    return np.concatenate(parts)


def body_of(program: Program, numbers: Ints) -> bytes:
    """Numbers as a saved state holds them; what does not fit its member loses its upper bits."""
    body, start = b"", 0
    for b in members(program):
        body += numbers[start : start + b.size].astype(f"<i{np.dtype(b.dtype).itemsize}").tobytes()
        start += b.size
    return body


def _envelope(program: Program, model: bytes, buffer: bytes) -> int:
    """What is wrong with all but the numbers."""
    if len(buffer) < HEAD.size + CRC_BYTES:
        return LOAD_SIZE
    magic, layout, size, owner = HEAD.unpack_from(buffer)
    if (magic, layout) != (MAGIC, LAYOUT):
        return LOAD_FORMAT
    if size != len(buffer) - HEAD.size - CRC_BYTES:
        return LOAD_SIZE
    if struct.unpack("<I", buffer[-CRC_BYTES:])[0] != zlib.crc32(buffer[:-CRC_BYTES]):
        return LOAD_CRC
    return OK if (owner, len(buffer)) == (model, save_bytes(program)) else LOAD_MODEL
