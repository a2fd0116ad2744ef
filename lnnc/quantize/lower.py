"""Graph to Program: the ports, then one function per op, in order; every number becomes an integer here."""

from __future__ import annotations

import numpy as np

from lnnc.ir.graph import INPUT, Act, Add, Euler, Graph, Linear, Mean, Norm, Op, Scale, Window
from lnnc.ir.program import Program, ProgramPort
from lnnc.ir.verify import verify_program
from lnnc.kernels.fixed import A_MAX
from lnnc.quantize import lower_cells, lower_dense, lower_norm
from lnnc.quantize.builder import Builder
from lnnc.quantize.calibrate import Stats
from lnnc.quantize.context import IN, OUT, Lowering, Options, affine
from lnnc.quantize.formats import HEADROOM, Format, port_format, wide
from lnnc.quantize.plan import plan_memory


def lower(graph: Graph, stats: dict[str, Stats], options: Options, where: str) -> Program:
    """The integer program of a graph after its passes.

    Raises:
        LnncError: an accumulator cannot be proved free of overflow; the message names the layer.
    """
    inputs = _ports(graph, stats[INPUT], options.input_frac, True, where)
    outputs = _ports(graph, stats[graph.result], options.output_frac, False, where)
    b = Builder(where)
    low = Lowering(graph, stats, options, b, inputs, outputs, graph.sizes())
    b.buffer(IN, "int16", graph.input_size, (-32_768, 32_767), "input", note="input port")
    b.buffer(OUT, "int16", graph.output_size, (-A_MAX, A_MAX), "output", note="output port")
    _choose_states(low)
    _enter(low)
    for op in graph.ops:
        if op.out not in low.done:
            _lower_op(low, op)
    b.close_block("")
    window = graph.window
    program = Program(
        inputs, outputs, tuple(b.buffers.values()), tuple(b.constants.values()), tuple(b.blocks),
        window.length if window else 1,
    )  # fmt: skip
    return verify_program(plan_memory(program))


def _ports(graph: Graph, stats: Stats, frac: int | None, is_input: bool, where: str) -> tuple[ProgramPort, ...]:
    option = "--input-frac" if is_input else "--output-frac"
    ports = graph.inputs if is_input else graph.outputs
    starts = np.cumsum([0, *(port.size for port in ports)])
    peaks = stats.peaks if stats.peaks is not None else np.full(starts[-1], stats.absmax)
    return tuple(
        port_format(port, float(peaks[start : start + port.size].max()), frac, option, where)
        for port, start in zip(ports, starts, strict=False)
    )


def _lower_op(low: Lowering, op: Op) -> None:
    match op:
        case Linear():
            lower_dense.lower_linear(low, op)
        case Norm():
            lower_norm.lower_norm(low, op)
        case Act():
            lower_dense.lower_act(low, op)
        case Mean():
            lower_dense.lower_mean(low, op)
        case Scale():
            lower_dense.lower_scale(low, op)
        case Add():
            lower_cells.lower_add(low, op)
        case Euler():
            lower_cells.lower_euler(low, op)
        case Window():
            pass  # entered with the port


def _choose_states(low: Lowering) -> None:
    """Formats that a later op demands of an earlier one: the start of a liquid neuron is in its state's format."""
    for op in low.graph.ops:
        if isinstance(op, Euler):
            low.formats[op.x] = low.formats[op.out] = lower_cells.state_format(low, op)


def _enter(low: Lowering) -> None:
    """The input port: centred on its calibration mean, or rescaled element by element; then the window of a stream."""
    first = low.graph.ops[0]
    tensor = first.out if isinstance(first, Scale) and first.x == INPUT else INPUT
    if tensor == INPUT:
        _center(low)
    elif first.out != low.graph.result:
        assert isinstance(first, Scale)
        _rescale(low, first)
    window = low.graph.window
    if window is not None:
        _gather(low, window)


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
    b.call(
        "push_s16", window.src, "newest sample in, oldest out",
        x=low.names[window.x], n=low.sizes[window.x], length=length, window="window", missing="missing",
    )  # fmt: skip
    b.close_block(window.src)
