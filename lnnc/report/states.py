"""What a recurrent model remembers, and how often calibration drove it into its limits."""

from __future__ import annotations

from typing import Any

import numpy as np

from lnnc.ir.graph import Array
from lnnc.ir.program import Program
from lnnc.quantize.lower import Lowered
from lnnc.reference.interp import Machine as Reference
from lnnc.reference.quantio import to_raw

SAMPLES = 2048  # calibration samples that one stream contributes


def state_rows(lowered: Lowered, streams: Array | None) -> list[dict[str, Any]]:
    """One record for each state of a network.

    Args:
        streams: calibration inputs (streams, samples, features), or None where the model carries ranges.
    """
    program = lowered.program
    counts = None if streams is None else saturation(program, streams[:, :SAMPLES])
    scales = {view.buffer: view.scale for view in program.views}
    rows = []
    for tensor, rule in lowered.rules.items():
        buffer = program.buffer(lowered.held[tensor])
        hits = None if counts is None else counts[buffer.name]
        rows.append({
            "state": tensor, "size": buffer.size, "dtype": buffer.dtype, "range": buffer.hi * scales[buffer.name],
            "rule": rule, "saturated": "not measured" if hits is None else f"{hits[0]} of {hits[1]}",
        })  # fmt: skip
    return rows


def saturation(program: Program, streams: Array) -> dict[str, tuple[int, int]]:
    """State buffer -> (values at a limit of its range, values), over the integer reference's run of the streams."""
    machine = Reference(program, len(streams))
    states = program.of_kind("state")
    hits = dict.fromkeys((b.name for b in states), 0)
    time = None if program.time is None else program.time.hi
    for k in range(streams.shape[1]):
        raw = to_raw(streams[:, k], program.inputs)
        machine.step(raw, time)
        for b in states:
            held = machine.state[b.name]
            hits[b.name] += int(np.count_nonzero((held <= b.lo) | (held >= b.hi)))
    total = streams.shape[0] * streams.shape[1]
    return {b.name: (hits[b.name], total * b.size) for b in states}
