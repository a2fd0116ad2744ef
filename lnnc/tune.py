"""Chooses which layers need 16-bit weights: the fewest with which the outputs stay close to the trained network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from lnnc.frontend.build import build_graph
from lnnc.frontend.checkpoint import Checkpoint
from lnnc.ir.graph import Array, Graph, Linear
from lnnc.passes import run_passes
from lnnc.quantize.calibrate import calibrate, irregular, shaped
from lnnc.quantize.context import Options
from lnnc.quantize.lower import lower
from lnnc.verify.engines import run_float, run_reference

LIMIT = 0.005  # mean error of the outputs, as a part of their largest value
ALL_SUBSETS = 5  # layers up to which every choice is tried, the smallest first
STREAMS, ROWS = 16, 1024  # of the calibration data that one try runs on: streams of a network, windows of a DLNet


@dataclass(frozen=True)
class Choice:
    """Widths of weights.

    Attributes:
        bits: layer -> 16; the others have 8.
        error: mean error of the outputs with them, as a part of the largest output.
        why: the search in lines of text.
    """

    bits: Mapping[str, int]
    error: float
    why: tuple[str, ...]


def choose_weight_bits(checkpoint: Checkpoint, options: Options | None = None, limit: float = LIMIT) -> Choice:
    """The fewest layers with 16-bit weights that keep the integer program within `limit` of the float network.

    The error is measured on calibration inputs: mean |integer - float| of each output port over its largest |float|,
    the worst port. Without calibration inputs (a checkpoint that carries ranges) every layer gets 16 bits.
    """
    options = replace(options or Options(), weight_bits=None)
    graph = run_passes(build_graph(checkpoint), constant_time=options.runtime_dt is None)
    layers = list(dict.fromkeys(op.src for op in graph.ops if isinstance(op, Linear)))
    if checkpoint.calibration is None:
        why = "16-bit weights everywhere: the checkpoint carries ranges only, so no error can be measured"
        return Choice(dict.fromkeys(layers, 16), float("nan"), (why,))
    trial = _trial(checkpoint, graph, options)
    return _search(layers, trial, limit)


def _trial(checkpoint: Checkpoint, graph: Graph, options: Options) -> Callable[[Sequence[str]], float]:
    """The error as a function of the layers that have 16 bits."""
    assert checkpoint.calibration is not None
    data = shaped(checkpoint, checkpoint.calibration)
    streams = data[:, None] if data.ndim == 2 else data
    streams = streams[:: max(1, -(-len(streams) // (STREAMS if data.ndim == 3 else ROWS)))]
    stats = calibrate(graph, checkpoint, options.runtime_dt)
    times = None if options.runtime_dt is None else irregular(streams, options.runtime_dt)
    want = run_float(graph, streams, times)

    def error(wide: Sequence[str]) -> float:
        program = lower(graph, stats, options, checkpoint.where, dict.fromkeys(wide, 16)).program
        return port_error(graph, run_reference(program, streams, times), want)

    return error


def port_error(graph: Graph, got: Array, want: Array) -> float:
    """Mean |got - want| of each output port over its largest |want|; the worst port. (streams, samples, outputs)."""
    due = ~np.isnan(want).any(axis=-1)
    worst, start = 0.0, 0
    for port in graph.outputs:
        part = slice(start, start + port.size)
        start += port.size
        full = max(float(np.abs(want[due][:, part]).max(initial=0.0)), 1e-12)
        worst = max(worst, float(np.abs(got[due][:, part] - want[due][:, part]).mean()) / full)
    return worst


def _search(layers: Sequence[str], error: Callable[[Sequence[str]], float], limit: float) -> Choice:
    none = error(())
    if none <= limit:
        return Choice({}, none, (f"8-bit weights everywhere: mean output error {none:.3%}",))
    if not layers:
        why_not = "no layer has weights of 8 bits, so it is not the weights' error"
        return Choice({}, none, (f"mean output error {none:.3%}, the limit is {limit:.1%}; {why_not}",))
    why = [f"8-bit weights alone: mean output error {none:.3%}, the limit is {limit:.1%}"]
    everywhere = error(layers)
    if everywhere > limit:
        why.append(f"16-bit weights everywhere: {everywhere:.3%}; the rest is not the weights' error")
        return Choice(dict.fromkeys(layers, 16), everywhere, tuple(why))
    wide, found = _smallest(layers, error, limit) if len(layers) <= ALL_SUBSETS else _greedy(layers, error, limit)
    why.append(f"16-bit weights in {', '.join(wide)}: {found:.3%}; no choice of fewer layers that was tried is enough")
    return Choice(dict.fromkeys(wide, 16), found, tuple(why))


def _smallest(
    layers: Sequence[str], error: Callable[[Sequence[str]], float], limit: float
) -> tuple[tuple[str, ...], float]:
    """The best choice of the smallest size that meets the limit."""
    for size in range(1, len(layers)):
        found, wide = min((error(wide), wide) for wide in combinations(layers, size))
        if found <= limit:
            return wide, found
    return tuple(layers), error(layers)


def _greedy(
    layers: Sequence[str], error: Callable[[Sequence[str]], float], limit: float
) -> tuple[tuple[str, ...], float]:
    """The layer that helps most, again and again, until the limit is met; then without those that are not needed."""
    wide: list[str] = []
    found = float("inf")
    while found > limit and len(wide) < len(layers):
        found, layer = min((error([*wide, layer]), layer) for layer in layers if layer not in wide)
        wide.append(layer)
    for layer in wide[:-1]:
        fewer = [other for other in wide if other != layer]
        without = error(fewer)
        if without <= limit:
            wide, found = fewer, without
    return tuple(wide), found
