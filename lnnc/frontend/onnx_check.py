"""An imported network against its file: onnxruntime, or the reference evaluator of onnx, on the same streams."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lnnc.errors import LnncError
from lnnc.frontend.network import SCALED, Network
from lnnc.frontend.onnx_read import Constant, Step
from lnnc.frontend.onnx_states import Roles
from lnnc.ir.evaluate import evaluate
from lnnc.ir.graph import INPUT, Array, Graph, Port, Scale, out_size
from lnnc.ir.verify import verify_graph

TOLERANCE = 1e-5
STREAMS, SAMPLES = 4, 24
Runner = Callable[[Mapping[str, Constant]], list[Constant]]


def graph_of(network: Network, features: int, size: int) -> Graph:
    """A network between ports without a scaler."""
    enter = Scale(SCALED, INPUT, np.ones(features), np.zeros(features), "input")
    ports = (Port("x", features, "1"),), (Port("y", size, "1"),)
    return verify_graph(Graph(*ports, (enter, *network.ops), network.result, network.time))


def result_size(network: Network, features: int) -> int:
    """Values that a network gives."""
    sizes = {SCALED: features}
    for op in network.ops:
        sizes[op.out] = out_size(op, sizes)
    return sizes[network.result]


def run_graph(graph: Graph, streams: Array) -> Array:
    """The result for every sample: (streams, samples, size)."""
    rows = streams if graph.states else streams.reshape(-1, streams.shape[-1])
    return evaluate(graph, rows)[graph.result].reshape(*streams.shape[:2], -1)


def runner(model: Any) -> Runner:
    """What runs a model: onnxruntime where it is installed, else the reference evaluator.

    Raises:
        Exception: the model is none that the interpreter takes.
    """
    try:
        import onnxruntime
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        evaluator = ReferenceEvaluator(model)
        return lambda feeds: list(evaluator.run(None, dict(feeds)))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, ["CPUExecutionProvider"], enable_fallback=0
    )
    return lambda feeds: list(session.run(None, dict(feeds)))


def run_file(
    run: Runner, streams: Array, data: tuple[str, tuple[int, ...]], states: Mapping[str, tuple[str, tuple[int, ...]]],
    outputs: tuple[str, ...], results: tuple[str, ...], fixed: Mapping[str, Constant],
) -> Array:  # fmt: skip
    """Streams through one step after another; states begin at 0. Shapes as the file declares them."""
    found = np.zeros((*streams.shape[:2], 0))
    rows = []
    for stream in streams.astype(np.float32):
        held = {name: np.zeros(shape, np.float32) for name, (_, shape) in states.items()}
        for sample in stream:
            values = dict(zip(outputs, run({data[0]: sample.reshape(data[1]), **held, **fixed}), strict=True))
            held = {
                name: np.asarray(values[after], np.float32).reshape(shape) for name, (after, shape) in states.items()
            }
            rows.append(np.concatenate([np.ravel(values[name]) for name in results]))
    return np.array(rows, np.float64).reshape(*found.shape[:2], -1)


def check_against_file(
    step: Step, network: Network, roles: Roles, fixed: Mapping[str, float], samples: Array | None
) -> float:
    """The largest difference between a network and its file.

    Inputs are rounded to float32; what one unit in their last place changes is no difference.

    Raises:
        LnncError: they differ by more than 1e-5 of the largest output, or the file cannot be run.
    """
    streams = _streams(roles.data.size, samples)
    states = {name: (output, step.input(name).shape) for name, output in roles.states.items()}
    held = {name: np.full(step.input(name).shape, value, np.float32) for name, value in fixed.items()}
    try:
        run = runner(step.model)
        data = (roles.data.name, roles.data.shape)
        want = run_file(run, streams, data, states, step.outputs, roles.results, held)
    except Exception as error:  # both interpreters raise kinds of their own
        text = (str(error).splitlines() or [type(error).__name__])[0]
        raise LnncError(f"the file cannot be run to check the import ({text[:200]})", step.where, _AGAIN) from error
    graph = graph_of(network, roles.data.size, result_size(network, roles.data.size))
    if graph.output_size != want.shape[-1]:
        message = f"the file gives {want.shape[-1]} values, the imported network {graph.output_size}"
        raise LnncError(message, step.where, _AGAIN)
    with np.errstate(all="ignore"):
        have, near = run_graph(graph, streams), run_graph(graph, streams * (1.0 + 2.0**-23))
    if not np.isfinite(have).all() or not np.isfinite(want).all():
        raise LnncError("its outputs are not finite on the check's inputs: it diverges", step.where, _AGAIN)
    difference = float(np.abs(have - want).max())
    allowed = max(TOLERANCE * max(1.0, float(np.abs(want).max())), 16.0 * float(np.abs(near - have).max()))
    if difference > allowed:
        raise LnncError(
            f"the imported network differs from the file by {difference:.3g} (allowed {allowed:.3g})", step.where,
            "please report this with the file: it should not happen",
        )  # fmt: skip
    return difference


_AGAIN = "check the network in the framework that trained it, and export one step again"


def _streams(features: int, samples: Array | None) -> Array:
    """Streams of float32 numbers: of the calibration where there is one, else random."""
    if samples is None:
        streams = np.random.default_rng(0).normal(size=(STREAMS, SAMPLES, features))
    else:
        streams = samples[:: max(1, len(samples) // STREAMS)][:STREAMS, :SAMPLES]
    return streams.astype(np.float32).astype(np.float64)
