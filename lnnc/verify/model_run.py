"""Talks to `firmware/harness/model_harness.c`: builds it with a model, encodes records, decodes events.

The protocol stands in that file's header comment. All numbers on the wire are little endian.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lnnc.errors import LnncError
from lnnc.resources import firmware_text
from lnnc.verify.machine import Machine

Int16Array = NDArray[np.int16]
SENTINEL = np.int16(0x5A5A)  # what the harness puts in `out` before each step
_NO_PORTS: Int16Array = np.zeros(0, np.int16)


@dataclass(frozen=True)
class Reset:
    """Call the model's reset."""


@dataclass(frozen=True)
class Garbage:
    """Fill state and scratch with 0xA5."""


@dataclass(frozen=True)
class Step:
    """Call the model's step with `values` (INPUTS int16); `odd`: ports at address % 4 == 2.

    dt: the raw time, for a model that takes one.
    """

    values: Int16Array
    odd: bool = False
    dt: int | None = None


@dataclass(frozen=True)
class GetState:
    """Call get_state_raw."""


@dataclass(frozen=True)
class SetState:
    """Call set_state_raw with these numbers (STATES int32)."""

    numbers: NDArray[np.int64]


@dataclass(frozen=True)
class Save:
    """Call save."""


@dataclass(frozen=True)
class Load:
    """Call load with these bytes."""

    data: bytes


Record = Reset | Garbage | Step | GetState | SetState | Save | Load


@dataclass(frozen=True, slots=True)
class Event:
    """One thing the harness reported.

    Attributes:
        kind: "R" after a reset, "S" after a step, "T" a traced buffer inside the step whose "S" follows; "G", "P",
            "V", "L" after the state was got, put, saved, loaded.
        ret: what was returned ("S", "P", "L").
        out: the output ports after the step ("S"); all SENTINEL when step left them alone.
        state: the state struct's bytes (all but "T").
        trace_id: the trace hook's number ("T").
        data: the traced buffer ("T"), the numbers got as int32 ("G"), the bytes saved ("V").
    """

    kind: str
    ret: int = 0
    out: Int16Array = field(default_factory=lambda: _NO_PORTS)
    state: bytes = b""
    trace_id: int = -1
    data: bytes = b""


@dataclass(frozen=True)
class Steps:
    """The "S" events of a run as arrays: ret (N,), out (N, OUTPUTS), state (N, bytes of state) uint8."""

    ret: NDArray[np.int32]
    out: Int16Array
    state: NDArray[np.uint8]


def encode_records(records: Iterable[Record]) -> bytes:
    """The harness input for these records."""
    return b"".join(_encode(record) for record in records)


def _encode(record: Record) -> bytes:
    match record:
        case Reset():
            return b"\x00"
        case Garbage():
            return b"\x03"
        case GetState():
            return b"\x04"
        case SetState():
            return b"\x05" + np.asarray(record.numbers, "<i4").tobytes()
        case Save():
            return b"\x06"
        case Load():
            return b"\x07" + struct.pack("<I", len(record.data)) + record.data
        case Step():
            dt = b"" if record.dt is None else struct.pack("<i", record.dt)
            return (b"\x02" if record.odd else b"\x01") + dt + np.asarray(record.values, "<i2").tobytes()


def encode_windows(windows: Int16Array, odd: NDArray[np.bool_] | bool = False) -> bytes:
    """Harness input for independent rows (N, INPUTS): a reset and a step each. `odd`: one or (N,)."""
    count, inputs = windows.shape
    rows = np.zeros(count, np.dtype([("reset", "u1"), ("step", "u1"), ("values", "<i2", (inputs,))]))
    rows["step"] = np.where(odd, 2, 1)
    rows["values"] = windows
    return rows.tobytes()


def decode_windows(output: bytes, outputs: int, state_bytes: int) -> Steps:
    """The steps of a run of `encode_windows` without trace. LnncError when the output has another shape."""
    step = [("tag", "S1"), ("ret", "<i4"), ("out", "<i2", (outputs,)), ("state", "u1", (state_bytes,))]
    reset = [("reset_tag", "S1"), ("reset_state", "u1", (state_bytes,))]
    layout = np.dtype([*reset, *step])
    if len(output) % layout.itemsize:
        raise LnncError(f"the harness wrote {len(output)} bytes, not a multiple of {layout.itemsize}")
    rows = np.frombuffer(output, layout)
    if not (np.all(rows["reset_tag"] == b"R") and np.all(rows["tag"] == b"S")):
        raise LnncError("the harness output is out of step: a record does not begin with its letter")
    return Steps(rows["ret"].astype(np.int32), rows["out"].astype(np.int16), rows["state"].copy())


def decode_output(output: bytes, outputs: int, state_bytes: int) -> list[Event]:
    """The events of a run, in order.

    Args:
        output: what `Machine.run` returned.
        outputs: the model's OUTPUTS.
        state_bytes: sizeof(<name>_state).

    Raises:
        LnncError: the bytes do not follow the protocol (wrong sizes, or output cut short).
    """
    events: list[Event] = []
    at = 0
    while at < len(output):
        event, at = _decode_one(output, at, outputs, state_bytes)
        events.append(event)
    return events


def _decode_one(output: bytes, at: int, outputs: int, state_bytes: int) -> tuple[Event, int]:
    tag = output[at : at + 1]
    head = at + 1
    if tag == b"R":
        end = head + state_bytes
        event = Event("R", state=output[head:end])
    elif tag == b"S":
        ports = _upto(head + 4, output)
        end = ports + 2 * outputs + state_bytes
        values = np.frombuffer(output, "<i2", min(outputs, (len(output) - ports) // 2), ports)
        ret = int.from_bytes(output[head:ports], "little", signed=True)
        event = Event("S", ret, values.astype(np.int16), output[ports + 2 * outputs : end])
    elif tag == b"T":
        trace_id, count = struct.unpack_from("<HI", output, _upto(head + 6, output) - 6)
        end = head + 6 + count
        event = Event("T", trace_id=trace_id, data=output[head + 6 : end])
    elif tag in (b"G", b"P", b"V", b"L"):
        ret, count = struct.unpack_from("<iI", output, _upto(head + 8, output) - 8)
        data = head + 8
        end = data + count + state_bytes
        event = Event(tag.decode(), ret, state=output[data + count : end], data=output[data : data + count])
    else:
        raise LnncError(f"the harness output is out of step at byte {at}: {tag!r} is no record")
    return event, _upto(end, output)


def _upto(end: int, output: bytes) -> int:
    if end > len(output):
        raise LnncError(f"the harness output ends at byte {len(output)}, inside a record that needs {end}")
    return end


def build_model(
    machine: Machine,
    c_text: str,
    h_text: str,
    name: str,
    workdir: Path,
    trace: bool = False,
    opt: str = "-O2",
    flags: Sequence[str] = (),
) -> Path:
    """Build a generated pair with the model harness; `trace` sets its <NAME>_TRACE hook."""
    header = header_name(c_text)
    sources = {
        Path(header).stem + ".c": c_text,
        header: h_text,
        "model_harness.c": firmware_text("harness/model_harness.c"),
    }
    defines = [f'LNN_HEADER="{header}"', f"LNN_MODEL={name}", f"LNN_MODEL_UPPER={name.upper()}"]
    defines += abilities(h_text, name)
    if trace:
        defines.append(f"{name.upper()}_TRACE=harness_trace")
        flags = ("-include", "harness.h", *flags)
    return machine.build(sources, workdir, defines, flags, opt)


def abilities(h_text: str, name: str) -> list[str]:
    """The macros that tell the harness what a model can do, read from its header."""
    marks = {"LNN_HAS_DT": "DT_FRAC", "LNN_HAS_SAVE": "SAVE_BYTES"}
    return [macro for macro, mark in marks.items() if f"#define {name.upper()}_{mark} " in h_text]


def header_name(c_text: str) -> str:
    """The header that a generated .c file includes as its own: its first quoted #include, else "lnn.h"."""
    found = re.search(r'^\s*#\s*include\s+"([^"/\\]+)"', c_text, re.MULTILINE)
    return found.group(1) if found else "lnn.h"
