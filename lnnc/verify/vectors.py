"""Inputs that a generated model is verified on: calibration, random, corners, and streams with resets in the middle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lnnc.codegen.emit import Golden
from lnnc.ir.graph import Array
from lnnc.ir.program import Program, ProgramTime
from lnnc.kernels import KERNELS
from lnnc.kernels.fixed import Ints
from lnnc.reference.interp import Machine as Reference
from lnnc.reference.quantio import to_raw

INT16 = (-32_768, 32_767)
BLOCKS = 12  # blocks of samples that a stream which works in blocks has more
RESETS_AT = 0.6  # a stream is reset again after this part of it


@dataclass(frozen=True, eq=False)
class Group:
    """Sequences of raw inputs that step together, `resets` telling before which steps the model is reset.

    Attributes:
        kinds: what each sequence is, for the report.
        inputs: (sequences, steps, inputs) raw int16 values.
        times: (sequences, steps) the raw argument dt of each step, for a model that takes one; what is out of range
            is so in every sequence.
        keeps: before which steps the state is got, set, saved and loaded.
        starts: before which steps the state is set to legal numbers of any kind.
    """

    kinds: tuple[str, ...]
    inputs: Ints
    resets: tuple[int, ...]
    times: Ints | None = None
    keeps: tuple[int, ...] = ()
    starts: tuple[int, ...] = ()

    @property
    def steps(self) -> int:
        return int(self.inputs.shape[0] * self.inputs.shape[1])


def make_groups(program: Program, calibration: Array | None, count: int, seed: int = 0) -> list[Group]:
    """Vectors for a model: about `count` of a window; of what has a state, streams of about `count` / 3 each.

    A stream is as long as it takes to fill windows, to be reset, and to fill them again, however small `count` is.

    Args:
        calibration: real inputs, (N, inputs) or (N, T, features) for streams; None where the model carries ranges only.
    """
    rng = np.random.default_rng(seed)
    if program.of_kind("state"):
        groups = _stream_groups(program, calibration, count, rng)
    else:
        groups = _window_groups(program, calibration, count, rng)
    if program.time is None:
        return groups
    return [replace(g, times=wild_times(program.time, g.inputs.shape[:2], rng)) for g in groups]


def fewer(groups: Sequence[Group], count: int) -> list[Group]:
    """Of each group as many whole sequences as make up its share of `count` steps, for slow lines."""
    return [_thinned(group, count * group.steps // sum(g.steps for g in groups)) for group in groups]


def _thinned(group: Group, count: int) -> Group:
    rows, steps = group.inputs.shape[:2]
    pick = np.unique(np.linspace(0, rows - 1, min(rows, max(1, -(-count // steps)))).astype(int))
    times = None if group.times is None else group.times[pick]
    return replace(group, kinds=tuple(group.kinds[i] for i in pick), inputs=group.inputs[pick], times=times)


def wild_times(time: ProgramTime, shape: tuple[int, ...], rng: np.random.Generator) -> Ints:
    """Raw times for (sequences, steps): legal ones, both ends often; every eighth step is out of range for all."""
    times = rng.integers(time.lo, time.hi, size=shape, endpoint=True)
    ends = rng.integers(0, 4, size=shape)
    times = np.where(ends == 0, time.lo, np.where(ends == 1, time.hi, times))
    illegal = np.array([time.lo - 1, min(time.hi + 1, 2**31 - 1), 0, -1, -(2**31), 2**31 - 1])
    illegal = illegal[(illegal < time.lo) | (illegal > time.hi)]
    refused = np.arange(shape[1]) % 8 == 5
    return np.where(refused, rng.choice(illegal, size=shape), times)


def recurrent(program: Program) -> bool:
    """Whether the state is more than a window that slides over the samples."""
    waiting = [dict(call.args).values() for call in program.calls() if KERNELS[call.kernel].waits]
    window = {arg for args in waiting for arg in args}
    return any(b.name not in window for b in program.of_kind("state"))


def _window_groups(program: Program, calibration: Array | None, count: int, rng: np.random.Generator) -> list[Group]:
    corners = corner_rows(program)
    rest = max(count - len(corners), 4)
    known = calibration_rows(program, calibration, rest // 2, rng)
    smooth = smooth_rows(program, max(rest // 4, rest // 2 - len(known)), rng)
    wild = rng.integers(*INT16, size=(rest // 4, program.input_size), endpoint=True)
    parts = (("corner", corners), ("calibration", known), ("smooth", smooth), ("random", wild))
    kinds = tuple(kind for kind, rows in parts for _ in rows)
    rows = np.concatenate([rows for _, rows in parts])
    pick = rng.integers(0, len(rows), size=(2, 6))
    return [Group(kinds, rows[:, None, :], (0,)), Group(("sequence", "sequence"), rows[pick], (0, 3), keeps=(2, 3))]


def _stream_groups(program: Program, calibration: Array | None, count: int, rng: np.random.Generator) -> list[Group]:
    after = max(16, count // 8) + BLOCKS * (program.every - 1)
    steps = max(int((program.warmup + after) / (1.0 - RESETS_AT)) + 1, 64 if recurrent(program) else 0)
    again = int(steps * RESETS_AT)
    resets, keeps = (0, again), tuple(sorted({0, 1, program.warmup, again - 1, again, steps - 2}))
    starts = (again // 2, (again + steps) // 2) if recurrent(program) else ()  # windows fill together
    n = program.input_size
    streams: list[tuple[str, Ints]] = []
    if calibration is not None:
        for row in calibration[rng.integers(0, len(calibration), size=3)]:
            raw = to_raw(row.reshape(-1, n), program.inputs)
            streams.append(("calibration", np.resize(raw, (steps, n))))
    for _ in range(2):
        streams.append(("smooth", smooth_rows(program, n, rng, steps).T.copy()))
        streams.append(("random", rng.integers(*INT16, size=(steps, n), endpoint=True)))
    streams.append(("corner", np.resize(corner_rows(program), (steps, n))))
    return [
        Group(
            tuple(kind for kind, _ in streams),
            np.stack([raw for _, raw in streams]),
            resets,
            keeps=keeps,
            starts=starts,
        )
    ]


def corner_rows(program: Program) -> Ints:
    """Constants, alternations, steps and single peaks at the ends of int16 and of the declared ranges."""
    n = program.input_size
    low, high = port_limits(program)
    alternate, half = np.arange(n) % 2 == 0, np.arange(n) < n // 2
    rows = [np.full(n, v) for v in (*INT16, -32_640, 32_640, 0, 1, -1)] + [low, high, (low + high) // 2]
    for a, b in ((np.full(n, INT16[0]), np.full(n, INT16[1])), (low, high)):
        rows += [np.where(alternate, a, b), np.where(alternate, b, a), np.where(half, a, b), np.where(half, b, a)]
    for index in (0, n // 2, n - 1):
        peak = (low + high) // 2
        peak[index] = INT16[1]
        rows.append(peak)
    return np.array(rows, dtype=np.int64)


def port_limits(program: Program) -> tuple[Ints, Ints]:
    """Raw declared range of each input element; +-2^14 where none is declared."""
    bounds = []
    for p in program.inputs:
        reach = 2.0 ** (14 - p.frac)
        bounds += [(p.lo, p.hi) if p.lo is not None and p.hi is not None else (-reach, reach)] * p.size
    low_raw, high_raw = (to_raw(np.array(side), program.inputs) for side in zip(*bounds, strict=True))
    return low_raw, high_raw


def calibration_rows(program: Program, calibration: Array | None, count: int, rng: np.random.Generator) -> Ints:
    """Rows of the calibration data, all of them or a seeded choice."""
    if calibration is None or count == 0:
        return np.empty((0, program.input_size), dtype=np.int64)
    rows = calibration.reshape(-1, program.input_size)
    pick = rng.permutation(len(rows))[:count]
    return to_raw(rows[np.sort(pick)], program.inputs)


def smooth_rows(program: Program, count: int, rng: np.random.Generator, length: int = 0) -> Ints:
    """Slow curves with a little noise inside the declared ranges: (count, length), by default a row of inputs each."""
    n = length or program.input_size
    low, high = port_limits(program)
    lows, highs = (np.resize(side, n) if n != len(side) else side for side in (low, high))
    t = np.linspace(0.0, 1.0, n)
    start, slope, bend = rng.uniform(0.1, 0.9, (3, count, 1))
    curve = start + 0.5 * (slope - 0.5) * t + 0.3 * (bend - 0.5) * t * t + rng.normal(0.0, 0.005, (count, n))
    return np.asarray(np.round(lows + np.clip(curve, 0.0, 1.0) * (highs - lows)), dtype=np.int64)


def synthetic_golden(program: Program, seed: int = 1) -> Ints:
    """Input steps for the self-test in the generated C, (steps, inputs): synthetic, so that no data is shipped."""
    rng = np.random.default_rng(seed)
    n = program.input_size
    if program.warmup > 1 or recurrent(program):
        more = (7 if recurrent(program) else 3) if program.every == 1 else 2 * program.every
        rows = smooth_rows(program, n, rng, program.warmup + more).T.copy()
        rows[-1] = rng.integers(*INT16, size=n, endpoint=True)
        return rows
    count = max(2, min(6, 8192 // (n + program.output_size)))
    wild = rng.integers(*INT16, size=(count // 2, n), endpoint=True)
    return np.concatenate([smooth_rows(program, count - count // 2, rng), wild])


def synthetic_times(time: ProgramTime, steps: int, seed: int = 2) -> Ints:
    """The argument dt of the steps of `synthetic_golden`, (steps,): both ends, then anything between."""
    rng = np.random.default_rng(seed)
    return np.concatenate([[time.lo, time.hi], rng.integers(time.lo, time.hi, size=steps, endpoint=True)])[:steps]


def make_golden(program: Program) -> Golden:
    """Synthetic steps for the self-test, and the reference's outputs for them."""
    inputs = synthetic_golden(program)
    times = None if program.time is None else synthetic_times(program.time, len(inputs))
    reference, outputs = Reference(program), []
    for t, values in enumerate(inputs):
        _, out = reference.step(values[None], None if times is None else int(times[t]))
        outputs += [] if out is None else [out[0]]
    return Golden(inputs, np.array(outputs), times)
