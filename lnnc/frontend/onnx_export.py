"""`lnnc export onnx`: one step of a Graph as an ONNX file, checked against another interpreter before it is written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lnnc._version import __version__
from lnnc.errors import LnncError
from lnnc.files import write_atomically
from lnnc.frontend.onnx_check import run_file, run_graph, runner
from lnnc.frontend.onnx_read import require_onnx
from lnnc.frontend.onnx_write import DATA, NEXT, RESULT, TIME, Writer
from lnnc.frontend.onnx_write_cells import write_ops
from lnnc.ir.evaluate import evaluate
from lnnc.ir.graph import Array, Graph, Leaky, Ltc, Port, Pure, Timed
from lnnc.ir.series import SeriesOp

OPSET, IR_VERSION = 18, 8
TOLERANCE = 1e-4  # of the largest output
STREAMS, SAMPLES = 4, 32
_TIMES = (1.0, 0.6)  # of the graph's T, where T is an input


@dataclass(frozen=True, eq=False)
class Exported:
    """A step as ONNX.

    Attributes:
        model: the ModelProto; x (batch, features) and every state in, y and every `<state>_next` out.
        states: name and size of every state.
        warmup: steps whose result is not valid yet, while a window fills.
        difference: largest difference to the graph on the check's streams.
        largest: the largest output there.
    """

    model: Any
    states: dict[str, int]
    warmup: int
    difference: float
    largest: float


def export_onnx(graph: Graph, where: str, samples: Array | None = None, time_input: bool = False) -> Exported:
    """One step of a graph, in the real units of its ports.

    Args:
        samples: inputs in real units for the check, (rows, features) or (streams, T, features); by default random ones
            in the ports' declared ranges.
        time_input: make T an input, (batch, 1), of a graph with cells that integrate over time.

    Raises:
        LnncError: onnx is missing, the step is too long to unroll, T is asked for where nothing depends on it, or the
            result differs from the graph.
    """
    if time_input and not any(isinstance(op, Ltc | Leaky | Pure | Timed) for op in graph.ops):
        raise LnncError("nothing in this model depends on the time between samples", "--time-input", "leave it out")
    series = next((op for op in graph.ops if isinstance(op, SeriesOp)), None)
    if series is not None:
        what = f"layer '{series.src}': {type(series).__name__.lower()}, of a forecast, has no form in ONNX here"
        raise LnncError(what, where, "compile the checkpoint; networks without such ops can be exported")
    onnx = require_onnx()
    writer = Writer(graph, time_input)
    write_ops(writer)
    model = _model(onnx, writer)
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # onnx raises kinds of its own
        raise AssertionError(f"{where}: the exported model is not valid: {error}") from error
    window = graph.window
    warmup = window.length - 1 if window else 0
    difference, largest = _compare(writer, model, _streams(graph, samples, warmup), warmup)
    if not difference <= TOLERANCE * largest:
        raise LnncError(
            f"the exported step differs from the model by {difference:.3g}, largest output {largest:.3g}", where,
            "float32 does not hold this model's numbers: train it on scaled inputs",
        )  # fmt: skip
    return Exported(model, dict(writer.states), warmup, difference, largest)


def save_onnx(exported: Exported, path: str | Path) -> None:
    """Write the file; it appears whole or not at all."""
    data = exported.model.SerializeToString()

    def write(temporary: Path) -> None:
        temporary.write_bytes(data)

    write_atomically(Path(path), write)


def _model(onnx: Any, writer: Writer) -> Any:
    graph, helper = writer.graph, onnx.helper
    sizes = {DATA: graph.input_size, **writer.states, **({TIME: 1} if writer.time else {})}
    after = {RESULT: graph.output_size, **{f"{name}{NEXT}": size for name, size in writer.states.items()}}
    inputs, outputs = (
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", size]) for name, size in table.items()]
        for table in (sizes, after)
    )
    inputs[0].doc_string, outputs[0].doc_string = _described(graph.inputs), _described(graph.outputs)
    body = helper.make_graph(writer.nodes, "step", inputs, outputs, writer.constants)
    model = helper.make_model(
        body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="lnnc",
        producer_version=__version__,
    )  # fmt: skip
    ports = {"inputs": [asdict(p) for p in graph.inputs], "outputs": [asdict(p) for p in graph.outputs]}
    states = {name: f"{name}{NEXT}" for name in writer.states}
    window = graph.window
    helper.set_model_props(model, {
        "lnnc.ports": json.dumps(ports), "lnnc.states": json.dumps(states),
        "lnnc.warmup": str(window.length - 1 if window else 0), "lnnc.time": repr(graph.time),
    })  # fmt: skip
    return model


def _described(ports: Sequence[Port]) -> str:
    return ", ".join(f"{port.name} ({port.size}) in {port.unit}" for port in ports)


def _streams(graph: Graph, samples: Array | None, warmup: int) -> Array:
    """Streams for the check, rounded to float32; rows of a window model are streams of one sample."""
    if samples is None:
        ends = [(p.lo, p.hi) if p.lo is not None and p.hi is not None else (-1.0, 1.0) for p in graph.inputs]
        low, high = (
            np.concatenate([np.full(p.size, end[k]) for p, end in zip(graph.inputs, ends, strict=True)]) for k in (0, 1)
        )
        samples = np.random.default_rng(0).uniform(low, high, size=(STREAMS, SAMPLES + warmup, graph.input_size))
    samples = samples.reshape(len(samples), -1, graph.input_size) if samples.ndim == 3 else samples[:, None]
    if not (graph.states or graph.window):
        rows = samples.reshape(-1, 1, graph.input_size)
        samples = rows[:: max(1, len(rows) // (STREAMS * SAMPLES))]
    else:
        samples = samples[:: max(1, len(samples) // STREAMS)][:STREAMS, : SAMPLES + warmup]
    return samples.astype(np.float32).astype(np.float64)


def _compare(writer: Writer, model: Any, streams: Array, warmup: int) -> tuple[float, float]:
    """Largest difference and largest output, at every T of the check."""
    run = runner(model)
    states = {name: (f"{name}{NEXT}", (1, size)) for name, size in writer.states.items()}
    outputs = tuple(value.name for value in model.graph.output)
    difference = largest = 0.0
    for part in _TIMES if writer.time else (1.0,):
        graph = replace(writer.graph, time=writer.graph.time * part)
        fixed = {TIME: np.full((1, 1), graph.time, np.float32)} if writer.time else {}
        have = run_file(run, streams, (DATA, (1, graph.input_size)), states, outputs, (RESULT,), fixed)
        with np.errstate(all="ignore"):
            want = _evaluated(graph, streams)
        have = have[:, warmup:]
        difference = max(difference, float(np.abs(have - want).max(initial=0.0)))
        largest = max(largest, float(np.abs(want).max(initial=0.0)))
    return difference, max(largest, 1e-30)


def _evaluated(graph: Graph, streams: Array) -> Array:
    if graph.window:
        return evaluate(graph, streams)[graph.result].reshape(len(streams), -1, graph.output_size)
    return run_graph(graph, streams)
