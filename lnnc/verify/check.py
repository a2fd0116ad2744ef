"""Reference against generated C: every return value, output, state byte and saved byte of every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from lnnc.codegen.emit import read_manifest
from lnnc.errors import LnncError
from lnnc.files import NoRoomError, work_folder
from lnnc.ir.program import Buffer, Call, Program, struct_bytes
from lnnc.ir.saved import members, model_id
from lnnc.kernels.fixed import Ints
from lnnc.reference.interp import Machine as Reference
from lnnc.reference.persist import set_state_raw
from lnnc.verify.machine import Machine
from lnnc.verify.model_run import Event, Garbage, Record, build_model, decode_output, encode_records
from lnnc.verify.script import Script, legal_state, make_script
from lnnc.verify.vectors import Group

_CALLS = {"R": "reset", "S": "step", "G": "get_state_raw", "P": "set_state_raw", "V": "save", "L": "load"}


@dataclass(frozen=True)
class Report:
    """Result of one verification.

    Attributes:
        target: "host", "m4", "device", a virtual board, or "text" for the comparison of a given file with what its
            model generates.
        machine: what ran it.
        vectors: steps run.
        compared: bytes compared.
        difference: the first difference in words, "" if there is none.
    """

    target: str
    machine: str
    vectors: int
    compared: int
    difference: str = ""

    @property
    def passed(self) -> bool:
        return not self.difference


def model_of(program: Program, c_text: str) -> bytes:
    """What the saved states of a generated file must carry, from its manifest."""
    manifest = read_manifest(c_text)
    if manifest is None:
        raise LnncError("the generated file carries no lnnc-manifest line")
    return model_id(program, str(manifest["model"]), manifest["options"])


def observe(program: Program, machine: Machine, image: Path, rows: Sequence[Sequence[Record]]) -> list[list[Event]]:
    """What the generated C answers to the records of each sequence."""
    data = encode_records(record for row in rows for record in row)
    size = struct_bytes(program.of_kind("state"))[1]
    events = decode_output(machine.run(image, data, timeout=600), program.output_size, size)
    counts = [sum(not isinstance(record, Garbage) for record in row) for row in rows]
    if len(events) != sum(counts):
        raise LnncError(f"{machine.name}: {len(events)} answers came back, {sum(counts)} were due")
    ends = np.cumsum([0, *counts])
    return [events[start:end] for start, end in pairwise(ends)]


def first_difference(want: Sequence[Sequence[Event]], got: Sequence[Sequence[Event]]) -> tuple[int, int] | None:
    """(sequence, event) of the first difference, sequence by sequence, or None."""
    for row, (expected, found) in enumerate(zip(want, got, strict=True)):
        for index, pair in enumerate(zip(expected, found, strict=True)):
            if not _same(*pair):
                return row, index
    return None


def _same(want: Event, got: Event) -> bool:
    """Whether two events agree; padding at the end of the state structure means nothing."""
    state = got.state[: len(want.state)]
    return (want.kind, want.ret, want.data, want.state) == (got.kind, got.ret, got.data, state) and np.array_equal(
        want.out, got.out
    )


def compared_bytes(script: Script) -> int:
    """Bytes that a comparison with a script's events covers."""
    return sum(4 + len(e.state) + len(e.data) + e.out.nbytes for row in script.events for e in row)


def check_model(
    program: Program, c_text: str, h_text: str, name: str, machine: Machine, groups: Sequence[Group],
    target: str = "", opt: str = "-O2", flags: Sequence[str] = (),
) -> Report:  # fmt: skip
    """Build a generated pair for a machine, run every group, compare every byte.

    Code that does not compile, or crashes, is a difference too.
    """
    vectors = compared = 0
    try:
        with work_folder() as folder:
            image = build_model(machine, c_text, h_text, name, folder, opt=opt, flags=flags)
            for group in groups:
                script = make_script(program, group, model_of(program, c_text))
                got = observe(program, machine, image, script.records)
                vectors += group.steps
                compared += compared_bytes(script)
                at = first_difference(script.events, got)
                if at is not None:
                    text = _locate(program, (c_text, h_text, name), machine, group, at, (script, got), opt, flags)
                    return Report(target, machine.describe(), vectors, compared, text)
    except NoRoomError:
        raise
    except LnncError as error:
        return Report(target, machine.describe(), vectors, compared, f"it does not build or run: {error}")
    return Report(target, machine.describe(), vectors, compared)


def _locate(
    program: Program, files: tuple[str, str, str], machine: Machine, group: Group, at: tuple[int, int],
    found: tuple[Script, list[list[Event]]], opt: str, flags: Sequence[str],
) -> str:  # fmt: skip
    """The first difference in words, by layer: the sequence is run once more with the trace hooks on."""
    row, index = at
    script, got = found
    want = script.events[row]
    step = sum(e.kind == "S" for e in want[:index])
    layer = ""
    if want[index].kind in "RS":
        with work_folder() as folder:
            image = build_model(machine, *files, folder, trace=True, opt=opt, flags=flags)
            data = encode_records(script.records[row])
            size = struct_bytes(program.of_kind("state"))[1]
            events = decode_output(machine.run(image, data, timeout=600), program.output_size, size)
        layer = _first_layer(program, group, row, step, events)
    text = layer or event_difference(program, want[index], got[row][index])
    return f"{group.kinds[row]} vector {row}, step {step}: {text}"


def event_difference(program: Program, want: Event, got: Event) -> str:
    """What differs between two events."""
    call = _CALLS[want.kind]
    if (want.kind, want.ret) != (got.kind, got.ret):
        return f"{_CALLS.get(got.kind, got.kind)} returned {got.ret}, expected {want.ret} from {call}"
    if not np.array_equal(want.out, got.out):
        at = int(np.flatnonzero(want.out != got.out)[0])
        return f"out[{at}] is {got.out[at]}, expected {want.out[at]}"
    if want.data != got.data:
        at = next(i for i, pair in enumerate(zip(want.data, got.data, strict=True)) if pair[0] != pair[1])
        return f"{call} gave {got.data[at]:#04x} in byte {at}, expected {want.data[at]:#04x}"
    return _state_difference(program, want, got)


def _state_difference(program: Program, want: Event, got: Event) -> str:
    """The first member of the state that differs after a call."""
    start = 0
    for buffer in members(program):
        part = slice(start, start + buffer.bytes)
        start += buffer.bytes
        if want.state[part] != got.state[part]:
            values = (side.state[part].hex()[:32] for side in (got, want))
            return "'{}' of the state after {}: bytes {}, expected {}".format(buffer.name, _CALLS[want.kind], *values)
    return f"the state's bytes differ after {_CALLS[want.kind]}"


def _first_layer(program: Program, group: Group, row: int, step: int, events: Sequence[Event]) -> str:
    expected: list[tuple[int, Call, Buffer, Ints]] = []

    def watch(index: int, call: Call, written: dict[str, Ints]) -> None:
        name, array = next(iter(written.items()))
        expected.append((index, call, program.buffer(name), array[0]))

    reference = Reference(program, 1, watch)
    for t in range(step + 1):
        if t in group.resets:
            reference.reset()
        if t in group.starts:
            set_state_raw(reference, legal_state(program, len(group.inputs), t)[row : row + 1])
        expected.clear()
        reference.step(group.inputs[row : row + 1, t], None if group.times is None else int(group.times[row, t]))
    ends = [i for i, e in enumerate(events) if e.kind == "S"]
    begin = ends[step - 1] + 1 if step else 0
    traced = [e for e in events[begin : ends[step]] if e.kind == "T"]
    for (index, call, buffer, array), event in zip(expected, traced, strict=False):
        if event.trace_id != index:
            return f"call {event.trace_id} ran where layer '{call.src}' ({call.kernel}, call {index}) was due"
        got = np.frombuffer(event.data, f"<i{np.dtype(buffer.dtype).itemsize}").astype(np.int64)
        if len(got) != len(array):
            return f"layer '{call.src}' ({call.kernel}) wrote {len(got)} values, expected {len(array)}"
        if (got != array).any():
            at = int(np.flatnonzero(got != array)[0])
            return f"first at layer '{call.src}' ({call.kernel}), element {at}: {got[at]}, expected {array[at]}"
    if len(expected) != len(traced):
        return f"{len(traced)} kernel calls ran, expected {len(expected)}"
    return ""
