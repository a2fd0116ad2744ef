"""Reference against generated C: every return value, output and state byte of every step."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lnnc.errors import LnncError
from lnnc.ir.program import Buffer, Call, Program, by_width, struct_bytes
from lnnc.kernels.fixed import Ints
from lnnc.reference.interp import Machine as Reference
from lnnc.verify.machine import Machine
from lnnc.verify.model_run import (
    SENTINEL,
    Event,
    Garbage,
    Record,
    Reset,
    Step,
    build_model,
    decode_output,
    encode_records,
)
from lnnc.verify.vectors import Group


@dataclass(frozen=True, eq=False)
class Trace:
    """What a run of one group gave: ret (B, T), out (B, T, outputs), state and reset state (B, T, bytes)."""

    ret: Ints
    out: NDArray[np.int16]
    state: NDArray[np.uint8]
    fresh: NDArray[np.uint8]


@dataclass(frozen=True)
class Report:
    """Result of one verification.

    Attributes:
        target: "host", "m4", or "text" for the comparison of a given file with what its model generates.
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


def state_bytes(program: Program, reference: Reference) -> NDArray[np.uint8]:
    """The state structure of each copy of the model as bytes: (batch, bytes)."""
    parts = [
        np.ascontiguousarray(reference.state[b.name], dtype=f"<i{np.dtype(b.dtype).itemsize}").view(np.uint8)
        for b in by_width(program.of_kind("state"))
    ]
    empty = np.zeros((reference.batch, 1), dtype=np.uint8)  # the `unused` byte
    return np.concatenate(parts, axis=1) if parts else empty


def expect(program: Program, group: Group) -> Trace:
    """What the reference says of a group."""
    reference = Reference(program, len(group.inputs))
    rets, outs, states, fresh = [], [], [], []
    for t in range(group.inputs.shape[1]):
        if t in group.resets:
            reference.reset()
            fresh.append(state_bytes(program, reference))
        missing, out = reference.step(group.inputs[:, t])
        rets.append(np.full(reference.batch, missing))
        untouched = np.full((reference.batch, program.output_size), SENTINEL, dtype=np.int16)
        outs.append(untouched if out is None else out.astype(np.int16))
        states.append(state_bytes(program, reference))
    return Trace(*(np.stack(part, axis=1) for part in (rets, outs, states, fresh)))


def records(group: Group, row: int) -> list[Record]:
    """The harness records of one sequence: garbage in state and scratch first, every other step at odd halfwords."""
    found: list[Record] = [Garbage()]
    for t, values in enumerate(group.inputs[row]):
        if t in group.resets:
            found.append(Reset())
        found.append(Step(values.astype(np.int16), odd=(row + t) % 2 == 1))
    return found


def observe(program: Program, machine: Machine, image: Path, group: Group) -> Trace:
    """What the generated C says of a group."""
    data = encode_records(r for row in range(len(group.inputs)) for r in records(group, row))
    used, size = struct_bytes(program.of_kind("state"))
    events = decode_output(machine.run(image, data, timeout=600), program.output_size, size)
    rows, steps = group.inputs.shape[:2]
    stepped = [e for e in events if e.kind == "S"]
    fresh = [e for e in events if e.kind == "R"]
    if len(stepped) != rows * steps or len(fresh) != rows * len(group.resets):
        raise LnncError(f"{machine.name}: {len(stepped)} steps came back, {rows * steps} were sent")
    return Trace(
        np.array([e.ret for e in stepped], dtype=np.int64).reshape(rows, steps),
        np.stack([e.out for e in stepped]).reshape(rows, steps, -1),
        _states(stepped, used).reshape(rows, steps, used),
        _states(fresh, used).reshape(rows, len(group.resets), used),
    )


def _states(events: Sequence[Event], used: int) -> NDArray[np.uint8]:
    return np.stack([np.frombuffer(e.state[:used], np.uint8) for e in events])


def first_difference(want: Trace, got: Trace) -> tuple[int, int] | None:
    """(sequence, step) of the first difference, sequence by sequence, or None."""
    steps = want.ret.shape[1]
    wrong = (want.ret != got.ret) | (want.out != got.out).any(axis=2) | (want.state != got.state).any(axis=2)
    wrong[:, 0] |= (want.fresh != got.fresh).any(axis=(1, 2))
    where = np.flatnonzero(wrong)
    return None if not len(where) else (int(where[0]) // steps, int(where[0]) % steps)


def check_model(
    program: Program, c_text: str, h_text: str, name: str, machine: Machine, groups: Sequence[Group],
    target: str = "", opt: str = "-O2", flags: Sequence[str] = (),
) -> Report:  # fmt: skip
    """Build a generated pair for a machine, run every group, compare every byte.

    Code that does not compile, or crashes, is a difference too.
    """
    vectors = compared = 0
    try:
        with tempfile.TemporaryDirectory(prefix="lnnc-") as folder:
            image = build_model(machine, c_text, h_text, name, Path(folder), opt=opt, flags=flags)
            for group in groups:
                want, got = expect(program, group), observe(program, machine, image, group)
                vectors += group.steps
                compared += sum(a.nbytes for a in (want.out, want.state, want.fresh)) + 4 * want.ret.size
                at = first_difference(want, got)
                if at is not None:
                    text = _locate(program, (c_text, h_text, name), machine, group, at, (want, got), opt, flags)
                    return Report(target, machine.describe(), vectors, compared, text)
    except LnncError as error:
        return Report(target, machine.describe(), vectors, compared, f"it does not build or run: {error}")
    return Report(target, machine.describe(), vectors, compared)


def _locate(
    program: Program, files: tuple[str, str, str], machine: Machine, group: Group, at: tuple[int, int],
    traces: tuple[Trace, Trace], opt: str, flags: Sequence[str],
) -> str:  # fmt: skip
    """The first difference in words, by layer: the sequence is run once more with the trace hooks on."""
    row, step = at
    head = f"{group.kinds[row]} vector {row}, step {step}: "
    want, got = traces
    with tempfile.TemporaryDirectory(prefix="lnnc-") as folder:
        image = build_model(machine, *files, Path(folder), trace=True, opt=opt, flags=flags)
        data = encode_records(records(group, row))
        events = decode_output(
            machine.run(image, data, timeout=600), program.output_size, struct_bytes(program.of_kind("state"))[1]
        )
    found = _first_layer(program, group, row, step, events)
    if found:
        return head + found
    if want.ret[row, step] != got.ret[row, step]:
        return f"{head}step returned {got.ret[row, step]}, expected {want.ret[row, step]}"
    if (want.out[row, step] != got.out[row, step]).any():
        index = int(np.flatnonzero(want.out[row, step] != got.out[row, step])[0])
        return f"{head}out[{index}] is {got.out[row, step, index]}, expected {want.out[row, step, index]}"
    return head + _state_difference(program, want, got, at)


def _state_difference(program: Program, want: Trace, got: Trace, at: tuple[int, int]) -> str:
    """The first member of the state that differs, after a reset or after the step."""
    row, step = at
    pairs = [("after a reset", a, b) for a, b in zip(want.fresh[row], got.fresh[row], strict=True)]
    for when, expected, found in [*pairs, ("after the step", want.state[row, step], got.state[row, step])]:
        start = 0
        for buffer in by_width(program.of_kind("state")):
            part = slice(start, start + buffer.bytes)
            start += buffer.bytes
            if (expected[part] != found[part]).any():
                values = (bytes(side[part]).hex()[:32] for side in (found, expected))
                return "state->{} {}: bytes {}, expected {}".format(buffer.name, when, *values)
    return "the state's bytes differ"


def _first_layer(program: Program, group: Group, row: int, step: int, events: Sequence[Event]) -> str:
    expected: list[tuple[int, Call, Buffer, Ints]] = []

    def watch(index: int, call: Call, written: dict[str, Ints]) -> None:
        name, array = next(iter(written.items()))
        expected.append((index, call, program.buffer(name), array[0]))

    reference = Reference(program, 1, watch)
    for t in range(step + 1):
        if t in group.resets:
            reference.reset()
        expected.clear()
        reference.step(group.inputs[row : row + 1, t])
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
