"""A small graph lowered without a checkpoint, and its integers against the float64 graph that they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lnnc.codegen.emit import Files, Identity, emit
from lnnc.ir.evaluate import evaluate
from lnnc.ir.graph import INPUT, Array, Graph, Linear, Op, Port
from lnnc.passes import run_passes
from lnnc.quantize.calibrate import measure
from lnnc.quantize.context import Options
from lnnc.quantize.lower import Lowered, lower
from lnnc.reference.interp import Machine
from lnnc.verify.vectors import make_golden

WIDE = Options(weight_bits="16")


@dataclass(frozen=True, eq=False)
class Trial:
    """A lowered graph and what it made of one stream: `state` of its first state, `out`; and the float64 twins.

    exact_*: of the graph with the numbers that the integers stand for, on the inputs as the port rounds them.
    """

    lowered: Lowered
    state: Array
    out: Array
    exact_state: Array
    exact_out: Array

    @property
    def kernels(self) -> set[str]:
        return {call.kernel for call in self.lowered.program.calls()}

    @property
    def state_error(self) -> float:
        """Mean error of the state in percent of its largest size."""
        return percent(self.state, self.exact_state)

    @property
    def out_error(self) -> float:
        return percent(self.out, self.exact_out)


def percent(found: Array, exact: Array) -> float:
    return float(np.abs(found - exact).mean() / np.abs(exact).max() * 100.0)


def graph(ops: Sequence[Op], result: str, inputs: int, outputs: int, time: float = 1.0) -> Graph:
    return Graph((Port("u", inputs, "1"),), (Port("y", outputs, "1"),), tuple(ops), result, time)


def linear(out: str, x: str, shape: tuple[int, int], rng: np.random.Generator, gain: float = 1.0) -> Linear:
    weight = rng.normal(0, gain / np.sqrt(shape[1]), shape)
    return Linear(out, x, weight, rng.normal(0, 0.2, shape[0]), f"layer.{out}")


def stream(samples: int, features: int) -> Array:
    """Chirp, slow cosine, square wave: (1, samples, features)."""
    t = np.arange(samples)
    columns = [np.sin(2e-3 * t + 4e-5 * t * t), np.cos(t / 60.0), 0.8 * np.sign(np.sin(t / 25.0))]
    return np.stack([columns[i % 3] * (1.0 - 0.1 * (i // 3)) for i in range(features)], axis=-1)[None]


def irregular(samples: int, shortest: float, longest: float) -> Array:
    """Times between samples, (1, samples), both ends among them."""
    times = np.exp(np.random.default_rng(5).uniform(np.log(shortest), np.log(longest), (1, samples)))
    times[0, :2] = shortest, longest
    return times


def lowered(network: Graph, options: Options = WIDE, samples: int = 600, times: Array | None = None) -> Lowered:
    made = run_passes(network, constant_time=options.runtime_dt is None)
    return lower(made, measure(made, stream(samples, network.input_size), times), options, "test.pt")


def trial(network: Graph, options: Options = WIDE, samples: int = 600, times: Array | None = None) -> Trial:
    """Lower a graph, calibrated on the very stream, and run the integers."""
    found = lowered(network, options, samples, times)
    program = found.program
    raw = np.round(stream(samples, network.input_size) * 2.0 ** program.inputs[0].frac).astype(np.int64)
    ticks = None
    if times is not None and program.time is not None:
        ticks = np.clip(np.round(times * 2.0**program.time.frac), program.time.lo, program.time.hi).astype(np.int64)
    machine, states, outs = Machine(program), [], []
    for k in range(samples):
        _, out = machine.step(raw[:, k], None if ticks is None else ticks[:, k : k + 1])
        assert out is not None
        states.append([machine.state[view.buffer][0] * view.scale for view in program.views[:1]])
        outs.append(out[0] * 2.0 ** -program.outputs[0].frac)
    rounded = raw * 2.0 ** -program.inputs[0].frac
    real = None if ticks is None or program.time is None else ticks * 2.0**-program.time.frac
    exact = evaluate(found.exact, rounded if network.states else rounded[0], real)
    kept = exact[network.states[0].next] if network.states else np.ones((samples, 1))
    got = np.array(states).reshape(samples, -1) if network.states else np.ones((samples, 1))
    return Trial(found, got, np.array(outs), kept, exact[network.result])


def files(found: Lowered, name: str = "cell") -> Files:
    """The C of a lowered graph."""
    return emit(found.program, Identity(name, name, "00" * 32, {}, "test"), make_golden(found.program))


__all__ = ["INPUT", "WIDE", "Trial", "files", "graph", "irregular", "linear", "lowered", "percent", "stream", "trial"]
