"""Graph to Program: the ports, then one function per op, in order; every number becomes an integer here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lnnc.errors import LnncError
from lnnc.ir import series
from lnnc.ir.graph import (
    INPUT,
    Act,
    Add,
    Blend,
    Concat,
    Div,
    Euler,
    Gather,
    Graph,
    Leaky,
    Linear,
    Ltc,
    Mean,
    Mul,
    Norm,
    Pure,
    Scale,
    State,
    Timed,
    Window,
)
from lnnc.ir.program import Program, ProgramPort, StateView
from lnnc.ir.verify import verify_program
from lnnc.kernels.fixed import A_MAX
from lnnc.quantize import (
    lower_act,
    lower_argument,
    lower_cells,
    lower_dense,
    lower_elementwise,
    lower_gates,
    lower_leaky,
    lower_ltc,
    lower_norm,
    lower_pure,
    lower_series,
    lower_state,
    ltc_bounds,
)
from lnnc.quantize.builder import Builder
from lnnc.quantize.calibrate import Stats
from lnnc.quantize.context import IN, OUT, Lowering, Options, affine
from lnnc.quantize.formats import HEADROOM, Format, port_format, time_format, wide
from lnnc.quantize.plan import plan_memory

LOWERINGS: dict[type, Callable[[Lowering, Any], None]] = {
    Linear: lower_argument.lower_linear,
    Norm: lower_norm.lower_norm,
    Act: lower_act.lower_act,
    Mean: lower_dense.lower_mean,
    Scale: lower_dense.lower_scale,
    Add: lower_gates.lower_add,
    Euler: lower_cells.lower_euler,
    Window: lambda low, op: None,  # entered with the port
    State: lower_state.lower_state,
    Concat: lower_elementwise.lower_concat,
    Gather: lower_elementwise.lower_gather,
    Mul: lower_elementwise.lower_mul,
    Div: lower_elementwise.lower_div,
    Blend: lower_gates.lower_blend,
    Timed: lower_gates.lower_timed,
    Pure: lower_pure.lower_pure,
    Leaky: lower_leaky.lower_leaky,
    Ltc: lower_ltc.lower_ltc,
    series.Collect: lower_series.lower_collect,
    series.Spread: lower_series.lower_spread,
    series.Robust: lower_series.lower_robust,
    series.History: lower_series.lower_history,
    series.Count: lower_series.lower_count,
    series.Clamp: lower_series.lower_clamp,
    series.Gated: lower_series.lower_gated,
    series.Slide: lower_series.lower_slide,
    series.Trust: lower_series.lower_trust,
    series.Polynomial: lower_series.lower_polynomial,
}


@dataclass(frozen=True, eq=False)
class Lowered:
    """A program and what is known of it.

    Attributes:
        exact: the float64 graph with the numbers that the integers stand for, in place of the trained ones.
        held: state tensor -> the buffer that keeps it.
        rules: state tensor -> how its range was found, in words.
        warnings: what the user should know.
    """

    program: Program
    exact: Graph
    held: Mapping[str, str] = field(default_factory=dict)
    rules: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def lower(
    graph: Graph, stats: dict[str, Stats], options: Options, where: str, bits_of: Mapping[str, int] | None = None
) -> Lowered:
    """The integer program of a graph after its passes.

    Args:
        bits_of: layers whose weights have another width than 8 bits.

    Raises:
        LnncError: an accumulator cannot be proved free of overflow; the message names the layer.
    """
    inputs = _ports(graph, stats[INPUT], options.input_frac, True, where)
    outputs = _ports(graph, stats[graph.result], options.output_frac, False, where)
    b = Builder(where)
    low = Lowering(graph, stats, options, b, inputs, outputs, graph.sizes(), bits_of=bits_of or {})
    b.buffer(IN, "int16", graph.input_size, (-32_768, 32_767), "input", note="input port")
    b.buffer(OUT, "int16", graph.output_size, (-A_MAX, A_MAX), "output", note="output port")
    _take_time(low)
    lower_gates.fused_gates(low)
    _choose_states(low)
    _enter(low)
    _lower_ops(low)
    window, collect = graph.window, graph.collect
    program = Program(
        inputs, outputs, tuple(b.buffers.values()), tuple(b.constants.values()), tuple(b.blocks),
        window.length if window else collect.length if collect else 1, tuple(low.views), low.time,
        collect.length if collect else 1,
    )  # fmt: skip
    exact = replace(graph, ops=tuple(low.exact.get(op.out, op) for op in graph.ops))
    held = {state.out: low.wide.get(state.out, low.names[state.out]) for state in graph.states}
    return Lowered(verify_program(plan_memory(program)), exact, held, low.rules, tuple(low.warnings))


def _lower_ops(low: Lowering) -> None:
    """Op by op; of a model that works in blocks, what the outputs alone need comes after the commit of its states."""
    ops = [op for op in low.graph.ops if op.out not in low.done]
    kept = lower_series.remembered(low.graph) if low.graph.collect else {op.out for op in ops}
    for part in ([op for op in ops if op.out in kept], [op for op in ops if op.out not in kept]):
        for op in part:
            if op.out not in low.done:
                LOWERINGS[type(op)](low, op)
        if part and part[0].out in kept:
            lower_state.commit_states(low)
        low.builder.close_block("", for_outputs=bool(part) and part[0].out not in kept)


def check_cells(graph: Graph, times: tuple[float, float] | None, where: str) -> None:
    """Refuse cells that no step of this length can integrate, before calibration merely finds that they diverge.

    Args:
        times: shortest and longest time between two samples, or None for the graph's constant.

    Raises:
        LnncError: naming the layer, the neuron and the longest stable time.
    """
    longest = graph.time if times is None else times[1]
    for op in graph.ops:
        if isinstance(op, Ltc):
            ltc_bounds.check_cell(op, longest, where)
        elif isinstance(op, Leaky):
            lower_leaky.check_cell(op, longest, where)


def _take_time(low: Lowering) -> None:
    """The argument dt of a step, where the options ask for one."""
    if low.options.runtime_dt is None:
        return
    if not low.graph.timed:
        raise LnncError(
            "this network has no notion of time between its samples", low.builder.where, "compile without --runtime-dt"
        )
    low.time = time_format(*low.options.runtime_dt)
    low.builder.buffer("dt", "int32", 1, (low.time.lo, low.time.hi), "time", note=f"Q{low.time.frac}")


def _ports(graph: Graph, stats: Stats, frac: int | None, is_input: bool, where: str) -> tuple[ProgramPort, ...]:
    option = "--input-frac" if is_input else "--output-frac"
    ports = graph.inputs if is_input else graph.outputs
    starts = np.cumsum([0, *(port.size for port in ports)])
    peaks = stats.peaks if stats.peaks is not None else np.full(starts[-1], stats.absmax)
    return tuple(
        port_format(port, float(peaks[start : start + port.size].max()), frac, option, where)
        for port, start in zip(ports, starts, strict=False)
    )


def _choose_states(low: Lowering) -> None:
    """Formats that a later op demands of an earlier one: the start of a liquid neuron is in its state's format."""
    lower_state.choose_states(low)
    lower_series.choose_formats(low)
    lower_series.leave_coefficients(low)
    for op in low.graph.ops:
        if isinstance(op, Euler):
            low.formats[op.x] = low.formats[op.out] = lower_cells.state_format(low, op)


def _enter(low: Lowering) -> None:
    """The input port: centred on its calibration mean, or rescaled element by element; then the window of a stream."""
    first = low.graph.ops[0]
    tensor = first.out if isinstance(first, Scale) and first.x == INPUT else INPUT
    if lower_series.plain_input(low.graph):
        low.formats[INPUT], low.names[INPUT] = Format(2.0 ** -low.inputs[0].frac, -32_768, 32_767), IN
    elif tensor == INPUT:
        _center(low)
    elif first.out != low.graph.result:
        assert isinstance(first, Scale)
        _rescale(low, first)
    window = low.graph.window
    if window is not None:
        _gather(low, window)
    if low.graph.collect is not None:
        lower_series.lower_collect(low, low.graph.collect)


def _center(low: Lowering) -> None:
    frac = low.inputs[0].frac
    center = _center_of(low, frac)
    fmt = Format(2.0**-frac, center=center * 2.0**-frac)
    name = low.builder.buffer(
        "centered", "int16", low.graph.input_size, (fmt.lo, fmt.hi), note=f"real = (q + {center}) * 2^-{frac}"
    )
    low.formats[INPUT], low.names[INPUT] = fmt, name
    low.builder.call(
        "center_s16", "input", f"minus the calibration mean {fmt.center:.6g}",
        x=IN, n=low.graph.input_size, center=center, out=name,
    )  # fmt: skip


def _center_of(low: Lowering, frac: int) -> int:
    """The calibration mean in raw units, moved so that the declared range (else calibration's) does not saturate."""
    port, seen = low.inputs[0], low.stats[INPUT]
    ends = (seen.min, seen.max) if port.lo is None or port.hi is None else (port.lo, port.hi)
    lowest, highest = (float(np.clip(end * 2.0**frac, -A_MAX, A_MAX)) for end in ends)
    return int(np.clip(round(seen.mean * 2.0**frac), np.ceil(highest) - A_MAX, np.floor(lowest) + A_MAX))


def _rescale(low: Lowering, scale: Scale) -> None:
    """Ports of several units: each element gets its own offset and multiplier into one common format."""
    fmt = low.formats.get(scale.out) or wide(HEADROOM * low.stats[scale.out].absmax)
    units = np.concatenate([np.full(p.size, 2.0**-p.frac) for p in low.inputs])
    out = low.define(scale.out, fmt)
    affine(low, scale.src, "input scaler", IN, units, scale.scale, scale.offset, np.full(len(units), fmt.scale), out)
    low.done.add(scale.out)


def _gather(low: Lowering, window: Window) -> None:
    """The state of a stream: the last samples, oldest first, and how many are still missing."""
    b, fmt = low.builder, low.formats[window.x]
    length = low.sizes[window.out]
    b.buffer("window", "int16", length, (fmt.lo, fmt.hi), "state", note=f"the last {window.length} samples")
    b.buffer("missing", "int32", 1, (0, window.length), "state", note="samples still missing", reset=window.length)
    low.formats[window.out], low.names[window.out] = fmt, "window"
    low.views += [StateView("window", fmt.scale, fmt.center), StateView("missing", 1.0)]
    b.call(
        "push_s16", window.src, "newest sample in, oldest out",
        x=low.names[window.x], n=low.sizes[window.x], length=length, window="window", missing="missing",
    )  # fmt: skip
    b.close_block(window.src)
