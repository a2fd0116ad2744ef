"""How far the integer program is from float64: from the same numbers in float, and from the trained network.

Two questions that are easily mixed up. *Arithmetic*: the program against the float64 graph with the numbers that its
integers stand for, state by state over whole streams: tables, rounding and saturation. *Quantization*: the outputs
against the network as it was trained: all of that and the rounding of the weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lnnc.ir.evaluate import evaluate
from lnnc.ir.graph import Array, Graph
from lnnc.ir.program import Program
from lnnc.quantize.lower import Lowered
from lnnc.reference.interp import Machine as Reference
from lnnc.reference.quantio import to_raw, to_real
from lnnc.verify.engines import raw_times

LAST = 100  # samples at the end of a stream, looked at apart: errors that build up show there


@dataclass(frozen=True)
class Error:
    """|difference| over a stream as a part of the largest |value| of the float run, and its signed mean."""

    mean: float
    last: float
    bias: float
    p999: float
    max: float


@dataclass(frozen=True)
class Deviation:
    """Errors of the states (arithmetic) and of the outputs (against the dequantized and the trained network)."""

    states: dict[str, Error]
    arithmetic: Error
    outputs: Error

    @property
    def state(self) -> Error:
        """The worst state, by its mean; the outputs where a network has none."""
        return max(self.states.values(), key=lambda e: e.mean, default=self.arithmetic)


def deviation(lowered: Lowered, trained: Graph, streams: Array, times: Array | None = None) -> Deviation:
    """Run streams (count, samples, features) through the program and both float graphs.

    Args:
        trained: the graph as trained (before or after passes).
        times: (count, samples) time since the last sample, for a program that takes it.
    """
    count, samples = streams.shape[:2]
    outputs, states = _integers(lowered, streams, times)
    exact = evaluate(lowered.exact, _as_ports(lowered.program, streams), times)
    original = evaluate(trained, streams, times)

    def shaped(values: Array) -> Array:
        return values.reshape(count, samples, -1)

    return Deviation(
        {name: error(states[name], shaped(exact[op.next])) for op in lowered.exact.states for name in (op.out,)},
        error(outputs, shaped(exact[lowered.exact.result])),
        error(outputs, shaped(original[trained.result])),
    )


def _as_ports(program: Program, streams: Array) -> Array:
    """The inputs as the ports hold them: their rounding is not the arithmetic's."""
    return to_real(to_raw(streams, program.inputs), program.inputs)


def _integers(lowered: Lowered, streams: Array, times: Array | None) -> tuple[Array, dict[str, Array]]:
    """Outputs and states after every sample, in real units: (count, samples, size)."""
    program = lowered.program
    machine = Reference(program, len(streams))
    views = {view.buffer: view for view in program.views}
    buffers = {op.out: views[lowered.held[op.out]] for op in lowered.exact.states}
    outputs: list[Array] = []
    states: dict[str, list[Array]] = {name: [] for name in buffers}
    spans = raw_times(program, times, streams.shape[:2])
    for k in range(streams.shape[1]):
        raw = to_raw(streams[:, k], program.inputs)
        _, out = machine.step(raw, None if spans is None else spans[:, k : k + 1])
        assert out is not None
        outputs.append(to_real(out, program.outputs))
        for name, view in buffers.items():
            states[name].append(np.asarray(machine.state[view.buffer] * view.scale + view.center, np.float64))
    return np.stack(outputs, axis=1), {name: np.stack(rows, axis=1) for name, rows in states.items()}


def error(got: Array, want: Array) -> Error:
    """Statistics of got - want, (count, samples, size), over the largest |want|."""
    full = max(float(np.abs(want).max()), 1e-12)
    difference = (got - want) / full
    size = np.abs(difference)
    return Error(
        float(size.mean()), float(size[:, -LAST:].mean()), float(difference.mean()),
        float(np.percentile(size, 99.9)), float(size.max()),
    )  # fmt: skip
