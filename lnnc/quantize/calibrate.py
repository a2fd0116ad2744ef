"""Ranges of every tensor, from a float64 run over calibration inputs or from a checkpoint that carries them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lnnc.errors import LnncError
from lnnc.frontend.build import build_graph
from lnnc.frontend.checkpoint import NETWORK, Checkpoint
from lnnc.ir.evaluate import evaluate
from lnnc.ir.graph import INPUT, Array, Euler, Graph, Leaky, Linear, Ltc
from lnnc.passes import run_passes

PERCENTILE = 99.95  # of |x|: what an 8-bit tensor covers
ROWS_MAX = 8192  # calibration rows beyond this many are thinned evenly
PIECE, SAMPLES_MAX = 2048, 1 << 16  # samples of one calibration rollout, and of all together


@dataclass(frozen=True, eq=False)
class Stats:
    """What calibration saw of one tensor.

    Attributes:
        percentile: `PERCENTILE` of |x|.
        means: mean of each element, where known.
        peaks: largest |x| of each element, where known (input and result: their ports have scales of their own).
    """

    min: float
    max: float
    mean: float
    percentile: float
    means: Array | None = None
    peaks: Array | None = None

    @property
    def absmax(self) -> float:
        return max(abs(self.min), abs(self.max))


def calibrate(graph: Graph, checkpoint: Checkpoint, times: tuple[float, float] | None = None) -> dict[str, Stats]:
    """Statistics of every tensor of a graph.

    Args:
        times: shortest and longest time between two samples, where that is an argument of the step.

    Raises:
        LnncError: the checkpoint holds ranges, and one for a tensor of this graph is missing.
    """
    if checkpoint.calibration is not None:
        inputs = shaped(checkpoint, checkpoint.calibration)
        found = measure(graph, inputs, None if times is None else irregular(inputs, times))
        _check_telling(found, checkpoint.where)
        return found
    return _declared(graph, checkpoint)


def _check_telling(found: Mapping[str, Stats], where: str) -> None:
    if found[INPUT].min == found[INPUT].max:
        raise LnncError(
            f"the calibration inputs are all {found[INPUT].min:g}: they tell nothing of any range", where,
            "give typical inputs, in real units",
        )  # fmt: skip
    for name, stats in found.items():
        if not np.isfinite([stats.min, stats.max, stats.mean, stats.percentile]).all():
            raise LnncError(
                f"tensor '{name}' is not finite on the calibration inputs: the network diverges", where,
                "check the weights, dt and steps of the model against its training code",
            )  # fmt: skip


def shaped(checkpoint: Checkpoint, data: Array) -> Array:
    """Inputs as `evaluate` takes them: rows of a window model flat, at most `ROWS_MAX` rows."""
    if checkpoint.architecture.mode == "window":
        data = data.reshape(-1, checkpoint.architecture.width)
    if checkpoint.architecture.family == NETWORK:
        return pieces(data)
    step = -(-len(data) // ROWS_MAX)
    return data[::step]


def pieces(streams: Array) -> Array:
    """Streams (N, T, features) cut into pieces of at most `PIECE` samples, at most `SAMPLES_MAX` samples in all.

    A rollout is sequential in time: many short streams take a fraction of the time of a long one.
    """
    count, samples, features = streams.shape
    if samples > PIECE:
        parts = samples // PIECE
        streams = streams[:, : parts * PIECE].reshape(count * parts, PIECE, features)
    step = -(-streams.shape[0] * streams.shape[1] // SAMPLES_MAX)
    return streams[:: max(1, step)]


def irregular(inputs: Array, times: tuple[float, float]) -> Array:
    """Times for calibration: a third of the streams at the shortest, a third at the longest, the others between.

    Of fewer than three streams it is every third sample.
    """
    rng = np.random.default_rng(0)
    count, samples = inputs.shape[:2]
    shortest, longest = np.log(times)
    drawn = np.exp(rng.uniform(shortest, longest, size=(count, samples)))
    turn = np.arange(samples) if count < 3 else np.arange(count)[:, None]
    return np.where(turn % 3 == 0, times[0], np.where(turn % 3 == 1, times[1], drawn))


def measure(graph: Graph, inputs: Array, times: Array | None = None) -> dict[str, Stats]:
    """Statistics of every tensor over a batch of inputs."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        values = evaluate(graph, inputs, times)
    with_means = {op.x for op in graph.ops if isinstance(op, Linear)}
    ports = (INPUT, graph.result)
    return {name: _stats(array, name in with_means, name in ports) for name, array in values.items()}


def _stats(array: Array, with_means: bool, with_peaks: bool) -> Stats:
    rows = array.reshape(-1, array.shape[-1])
    means = rows.mean(axis=0) if with_means else None
    peaks = np.abs(rows).max(axis=0) if with_peaks else None
    percentile = float(np.percentile(np.abs(array), PERCENTILE))
    return Stats(float(array.min()), float(array.max()), float(array.mean()), percentile, means, peaks)


def _declared(graph: Graph, checkpoint: Checkpoint) -> dict[str, Stats]:
    ranges = checkpoint.ranges or {}
    needed = tensors_of(graph)
    missing = [name for name in needed if name not in ranges]
    if missing:
        raise LnncError(
            f"calibration.ranges lacks tensor {', '.join(repr(m) for m in missing[:8])}",
            checkpoint.where,
            "record ranges with `lnnc import ... --keep ranges`, or store calibration inputs",
        )
    sizes = graph.sizes()
    return {name: _entry(ranges[name], sizes.get(name), name, checkpoint.where) for name in needed}


def tensors_of(graph: Graph) -> list[str]:
    """Names of the tensors whose ranges a compilation needs, liquid internals included."""
    names = [INPUT]
    for op in graph.ops:
        names.append(op.out)
        if isinstance(op, Euler):
            names += [f"{op.out}.pre", f"{op.out}.path"]
            names += [f"{op.out}.low"] if op.weight is None else []
        if isinstance(op, Leaky | Ltc):
            names.append(f"{op.out}.path")
    return names


def _entry(entry: Mapping[str, Any], size: int | None, name: str, where: str) -> Stats:
    low, high = float(entry["min"]), float(entry["max"])
    lists = {key: entry.get(key) for key in ("means", "peaks")}
    for key, values in lists.items():
        if values is not None and size is not None and len(values) != size:
            raise LnncError(f"calibration.ranges['{name}'].{key}: expected {size} values, found {len(values)}", where)
    return Stats(
        low,
        high,
        float(entry.get("mean", (low + high) / 2)),
        float(entry.get("percentile", max(abs(low), abs(high)))),
        *(None if values is None else np.asarray(values, np.float64) for values in lists.values()),
    )


def ranges_of_checkpoint(checkpoint: Checkpoint) -> dict[str, dict[str, Any]]:
    """The ranges of every tensor, before and after the passes, as a checkpoint stores them in place of its inputs.

    Ranges say nothing of single rows, so a model trained on data that may not be passed on can carry them.
    """
    graph = build_graph(checkpoint)
    ranges: dict[str, dict[str, Any]] = {}
    for form in (graph, run_passes(graph, constant_time=False), run_passes(graph)):
        for name, stats in calibrate(form, checkpoint).items():
            entry: dict[str, Any] = {
                "min": stats.min, "max": stats.max, "mean": stats.mean, "percentile": stats.percentile,
            }  # fmt: skip
            for key, values in (("means", stats.means), ("peaks", stats.peaks)):
                if values is not None:
                    entry[key] = [float(f"{v:.7g}") for v in values]
            ranges[name] = entry
    return ranges
