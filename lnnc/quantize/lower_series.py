"""Lowering of the ops of forecasts (`ir/series.py`)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lnnc.errors import LnncError
from lnnc.ir.graph import INPUT, Array, Graph, Linear, Op, State, reads
from lnnc.ir.program import DType, StateView
from lnnc.ir.series import (
    Clamp,
    Collect,
    Count,
    Gated,
    History,
    Polynomial,
    Robust,
    Slide,
    Spread,
    Trust,
)
from lnnc.kernels.fixed import A_MAX, INT32_MAX
from lnnc.kernels.forecast import COEFFICIENT_MAX
from lnnc.kernels.gated import interleave
from lnnc.kernels.series import COUNT_LIMIT, mean_mult
from lnnc.quantize.context import Lowering, identifier
from lnnc.quantize.deliver import centred, choose, limits_of
from lnnc.quantize.formats import Format
from lnnc.quantize.lower_dense import dense
from lnnc.quantize.weights import W16_MAX, Misfit, quantize_linear

HIDDEN = Format(2.0**-15)  # state of a gated cell
CLAMP_HI = 30_000  # a clamped tensor, and a count at its limit
FINE = 12  # fraction bits of a forecast beyond those of the output port
ANCHOR_UP_MAX = 15


def plain_input(graph: Graph, tensor: str = INPUT) -> bool:
    """Whether a series is read from the port as it comes: those that read it take any int16 and move no zero point."""
    users = graph.users(tensor)
    return bool(users) and all(
        isinstance(op, Spread | Robust) or (isinstance(op, Collect) and plain_input(graph, op.out)) for op in users
    )


def remembered(graph: Graph) -> set[str]:
    """Tensors that are made before the states take their next values: all that those depend on, and what reads a state.

    The others are made for the outputs alone.
    """
    makers = {op.out: op for op in graph.ops}
    states = {state.out for state in graph.states}
    waiting = [op.out for op in graph.ops if _keeps(op) or states & set(reads(op))] + [s.next for s in graph.states]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in makers and name not in found:
            found.add(name)
            waiting += reads(makers[name])
    return found


def _keeps(op: Op) -> bool:
    return isinstance(op, Collect | History | Count | Trust | State) or (isinstance(op, Gated) and op.memory)


def choose_formats(low: Lowering) -> None:
    """Formats that do not come from calibration: clamped tensors have their own, anchors and levels the port's."""
    port = Format(2.0 ** -low.inputs[0].frac)
    for op in low.graph.ops:
        match op:
            case Clamp():
                fmt = Format(op.limit / CLAMP_HI, -CLAMP_HI, CLAMP_HI)
                low.formats[op.out] = fmt
                if _clamps_alone(low, op):
                    low.formats[op.x] = fmt
            case Polynomial():
                low.formats[op.anchor] = port
            case Trust():
                low.formats[op.anchor] = low.formats[op.level] = port


def _clamps_alone(low: Lowering, op: Clamp) -> bool:
    """Whether the Linear layer before a clamp can saturate at its limits itself."""
    return isinstance(low.graph.producer(op.x), Linear | Slide) and len(low.graph.users(op.x)) == 1


def lower_collect(low: Lowering, op: Collect) -> None:
    """The samples of a block, and the wait until they are all there."""
    b, fmt, n = low.builder, low.formats[op.x], low.sizes[op.x]
    size = low.sizes[op.out]
    samples = b.buffer("samples", "int16", size, (fmt.lo, fmt.hi), "state", note=f"a block of {op.length} samples")
    missing = b.buffer("missing", "int32", 1, (0, op.length), "state", note="samples still missing", reset=op.length)
    low.formats[op.out], low.names[op.out] = fmt, samples
    low.views += [StateView(samples, fmt.scale, fmt.center), StateView(missing, 1.0)]
    b.call(
        "collect_s16", op.src, "one more sample of the block", x=low.names[op.x], n=n, length=size, samples=samples,
        missing=missing,
    )  # fmt: skip
    b.close_block(op.src)
    low.done.add(op.out)


def lower_spread(low: Lowering, op: Spread) -> None:
    """Spreads in units of the series."""
    out, x = low.define(op.out, Format(low.formats[op.x].scale, 0, A_MAX)), low.formats[op.x]
    low.names[_middle(op)] = low.builder.buffer(identifier(_middle(op)), "int16", low.sizes[op.out], (x.lo, x.hi))
    low.builder.call(
        "spread_s16", op.src, f"spread of each {op.length} values", x=low.names[op.x], length=op.length,
        n=low.sizes[op.out], out=out, middle=low.names[_middle(op)],
    )  # fmt: skip


def _middle(op: Spread | Robust) -> str:
    """Name of the medians of the blocks of a tensor, which `Spread` finds and `Robust` clips around."""
    return f"{op.x}.middle{op.length}"


def lower_robust(low: Lowering, op: Robust) -> None:
    """Robust means in the format of the series."""
    if _middle(op) not in low.names:
        raise LnncError(
            f"layer '{op.src}': no spread of '{op.x}' in blocks of {op.length} stands before it", low.builder.where,
            "a robust mean clips around the medians that a spread op of the same tensor and length finds",
        )  # fmt: skip
    out = low.define(op.out, replace(low.formats[op.x], lo=-A_MAX, hi=A_MAX))
    low.builder.call(
        "robust_s16", op.src, f"mean of each {op.length} values, outliers clipped", x=low.names[op.x],
        length=op.length, n=low.sizes[op.out], middle=low.names[_middle(op)], spreads=low.names[op.spreads],
        k=low.sizes[op.spreads], factor=op.factor, mult=mean_mult(op.length), out=out,
    )  # fmt: skip


def lower_history(low: Lowering, op: History) -> None:
    """A state in the format of what it remembers."""
    b, fmt, name = low.builder, low.formats[op.x], identifier(op.out)
    lo, hi = limits_of(low, op.x)
    note = f"the last {op.length}: real = q * {fmt.scale:.6g}"
    past = b.buffer(name, "int16", op.length, (lo, hi), "state", note=note, reset=max(0, lo))
    seen = b.buffer(f"{name}_seen", "int16", 1, (0, 1), "state", note="whether there was anything")
    low.formats[op.out], low.names[op.out] = Format(fmt.scale, lo, hi, fmt.center), past
    low.views += [StateView(past, fmt.scale, fmt.center), StateView(seen, 1.0)]
    b.call(
        "history_s16", op.src, f"the last {op.length}", x=low.names[op.x], n=low.sizes[op.x], past=past,
        length=op.length, seen=seen,
    )  # fmt: skip


def lower_count(low: Lowering, op: Count) -> None:
    """A count in units as fine as its limit allows."""
    most = round(op.limit / op.step)
    step = COUNT_LIMIT // most
    fmt = Format(op.step / step, 0, step * most)
    count = low.builder.buffer(identifier(op.out), "int16", 1, (0, fmt.hi), "state", note=f"real = q * {fmt.scale:.6g}")
    low.formats[op.out], low.names[op.out] = fmt, count
    low.views.append(StateView(count, fmt.scale))
    low.builder.call("count_s16", op.src, "one step more", count=count, step=step, limit=fmt.hi)


def lower_clamp(low: Lowering, op: Clamp) -> None:
    """The layer before has saturated there already."""
    if not _clamps_alone(low, op):
        raise LnncError(
            f"layer '{op.src}': a clamp of '{op.x}', which no Linear layer alone makes for it", low.builder.where,
            "clamp the result of a linear op that nothing else reads",
        )  # fmt: skip
    low.formats[op.out], low.names[op.out] = low.formats[op.x], low.names[op.x]


def lower_gated(low: Lowering, op: Gated) -> None:
    """All units and steps in one call; 16-bit weights, since inputs and state share one scale."""
    b, x, n, name = low.builder, low.formats[op.x], len(op.gate_bias), identifier(op.out)
    features = op.gate.shape[1] - n
    pad, unit = -op.gate.shape[1] % 4, max(x.scale, HIDDEN.scale)
    columns = np.concatenate([np.full(n, HIDDEN.scale), np.full(features, x.scale)])
    weight = np.roll(np.stack([op.gate, op.candidate], axis=1).reshape(2 * n, -1), n, axis=1)  # [h; x]
    bias = np.stack([op.gate_bias, op.candidate_bias], axis=1).reshape(-1) + weight[:, n:].sum(axis=1) * x.center
    out_scale = np.tile([2.0**-15, 2.0**-16], n)  # half the argument of a sigmoid, the argument of a tanh
    q = quantize_linear(weight * columns / unit, bias, Format(unit), out_scale, None, W16_MAX)
    if isinstance(q, Misfit):
        raise LnncError(f"layer '{op.src}', {q}", b.where, "train it with weight decay, or scale its inputs")
    whole = np.pad(q.weight, ((0, 0), (0, pad)))
    note = "gate and candidate in pairs; one scale per row"
    shape = (n, op.gate.shape[1] + pad, 2)
    table = low.constant(f"{op.src}_weight", "int16", interleave(whole[::2], whole[1::2]).reshape(-1), shape, note)
    tables = {
        "bias": low.constant(f"{op.src}_bias", "int32", q.bias),
        "mult": low.constant(f"{op.src}_mult", "int32", q.mult, note="acc * mult / 2^32"),
    }
    limits = (HIDDEN.lo, HIDDEN.hi)
    h = b.buffer(name, "int16", n, limits, "state" if op.memory else "scratch", note="Q15")
    low.formats[op.out], low.names[op.out] = HIDDEN, h
    if op.memory:
        low.views.append(StateView(h, HIDDEN.scale))
    else:
        b.call("zero_s16", op.src, "begins at rest", n=n, out=h)
    steps = f", {op.steps} steps" if op.steps > 1 else ""
    b.call(
        "gated_s16", op.src, f"gated cell, {features} inputs, {n} units{steps}", x=low.names[op.x], n_x=features,
        steps=op.steps, weight=table, shift=q.shift, table=b.tanh(), n=n, pad=pad,
        h=h, z=b.buffer(f"{name}_z", "int16", n + features + pad, (-A_MAX, A_MAX)), **tables,
    )  # fmt: skip


def lower_slide(low: Lowering, op: Slide) -> None:
    """A Linear layer whose rows are quantized once and used at every place; 16-bit weights."""
    x, fmt = low.formats[op.x], low.formats.get(op.out) or choose(low, op.out, nonnegative=False)
    rows, width = op.weight.shape
    typical = np.full(width, low.stats[op.x].mean)  # what rounding the weights leaves there goes into the bias
    q = quantize_linear(op.weight, op.bias, x, np.full(rows, fmt.scale), typical, W16_MAX)
    if isinstance(q, Misfit):
        raise LnncError(f"layer '{op.src}', {q}", low.builder.where, "scale its weights down")
    out = low.define(op.out, fmt)
    low.builder.call(
        "slide_s16", op.src, f"{width} -> {rows} at {op.count} places", x=low.names[op.x], length=low.sizes[op.x],
        n_in=width, hop=op.hop, count=op.count, n_out=rows, shift=q.shift, lo=fmt.lo, hi=fmt.hi, out=out,
        weight=low.constant(f"{op.src}_weight", "int16", q.weight, q.weight.shape, "one scale per row"),
        bias=low.constant(f"{op.src}_bias", "int32", q.bias), mult=low.constant(f"{op.src}_mult", "int32", q.mult),
    )  # fmt: skip


def lower_polynomial(low: Lowering, op: Polynomial) -> None:
    """A forecast in the format of the output port, its coefficients in 12 bits more.

    Raises:
        LnncError: the anchor's format is too coarse or too fine for the output's; the coefficients come from no layer.
    """
    b, maker = low.builder, low.graph.producer(op.x)
    assert isinstance(maker, Linear), "see leave_coefficients"
    _check_on_port(low, op.anchor, op.src)
    frac = low.outputs[0].frac if op.out == low.graph.result else low.inputs[0].frac
    up = frac + FINE - low.inputs[0].frac
    if not 0 <= up <= ANCHOR_UP_MAX or len(low.outputs) != 1:
        raise LnncError(
            f"layer '{op.src}': a forecast needs one output port, of {low.inputs[0].frac - FINE} ... "
            f"{low.inputs[0].frac + ANCHOR_UP_MAX - FINE} fraction bits; found {len(low.outputs)}, of {frac}",
            b.where, "choose them by --input-frac and --output-frac",
        )  # fmt: skip
    scale = np.full(low.sizes[op.x], 2.0 ** -(frac + FINE))
    terms = b.buffer(identifier(op.x), "int32", len(scale), (-COEFFICIENT_MAX, COEFFICIENT_MAX), note=f"Q{frac + FINE}")
    dense(low, maker, "linear_s32", scale, terms, (-COEFFICIENT_MAX, COEFFICIENT_MAX))
    out = low.define(op.out, Format(2.0**-frac))
    half = INT32_MAX
    b.call(
        "cubic_s16", op.src, f"forecast of {op.length} values", x=terms, anchor=low.names[op.anchor],
        up=up, start=-half, step=2 * half // (op.length - 1), length=op.length, shift=FINE, lo=-A_MAX, hi=A_MAX,
        out=out,
    )  # fmt: skip


def leave_coefficients(low: Lowering) -> None:
    """Layers that a polynomial lowers itself, to 32 bits."""
    for op in low.graph.ops:
        if isinstance(op, Polynomial):
            maker = low.graph.producer(op.x)
            if not isinstance(maker, Linear) or len(low.graph.users(op.x)) != 1:
                raise LnncError(
                    f"layer '{op.src}': the coefficients of a forecast come from a linear op that nothing else reads",
                    low.builder.where,
                )
            low.done.add(maker.out)


def lower_trust(low: Lowering, op: Trust) -> None:
    """Scores and weights are states, so that they can be read."""
    b, unit = low.builder, centred(low, op.network).scale
    _check_units(low, op, unit)
    scale = round(low.formats[op.level].scale / op.unit / unit * 2.0**10)
    name = identifier(op.out)
    past = b.buffer(f"{name}_past", "int16", 110, (-A_MAX, A_MAX), "state", note="10 forecasts, the newest first")
    count = b.buffer(f"{name}_count", "int16", 1, (0, 10), "state", note="forecasts there are")
    scores = b.buffer(f"{name}_scores", "int32", 4, (0, 2**23), "state", note="how badly each expert did, Q12")
    weights = b.buffer(f"{name}_weights", "int16", 4, (0, 2**14), "state",
                       note="trust in the network, the line, the longer line, the parabola; Q14")  # fmt: skip
    low.views += [
        StateView(past, 1.0), StateView(count, 1.0), StateView(scores, 2.0**-12), StateView(weights, 2.0**-14)
    ]  # fmt: skip
    fmt = low.formats[op.network]
    tables = {
        key: low.constant(f"{name}_{key}", dtype, np.round(values * 2.0**bits), values.shape, note)
        for key, dtype, values, bits, note in _tables(op)
    }
    b.call(
        "trust_s16", op.src, "blend of four forecasts by what they said before", network=low.names[op.network],
        rivals=low.names[op.rivals], anchor=low.names[op.anchor], slope=low.names[op.slope], level=low.names[op.level],
        scale=scale, floor=max(1, round(op.floor / unit)), most=round(op.most), loss=round((1 - op.keep) * 2.0**32),
        rate=round(op.rate * 2.0**32), table=b.tanh(), past=past, count=count, scores=scores, weights=weights,
        out=low.define(op.out, fmt), **tables,
    )  # fmt: skip


def _tables(op: Trust) -> tuple[tuple[str, DType, Array, int, str], ...]:
    return (
        ("middle", "int16", op.middle, 10, "Q10"),
        ("basis", "int16", op.basis, 10, "Q10"),
        ("prior", "int32", op.prior, 16, "Q16"),
    )


def _check_units(low: Lowering, op: Trust, unit: float) -> None:
    """All that a gate compares is in one format, and levels are in the port's.

    Raises:
        LnncError: they are not.
    """
    for name in (op.anchor, op.level):
        _check_on_port(low, name, op.src)
    others = [name for name in (op.rivals, op.slope) if low.formats[name].scale != unit]
    if others:
        raise LnncError(
            f"layer '{op.src}': '{others[0]}' and '{op.network}' have different scales", low.builder.where,
            "clamp the network's terms, the rivals' and the slope to one limit",
        )  # fmt: skip


def _check_on_port(low: Lowering, tensor: str, src: str) -> None:
    """An anchor or a level counts in units of the input port, around 0.

    Raises:
        LnncError: it does not: its layer's sums were too large for that, or it comes from no layer of the series.
    """
    fmt, port = low.formats[tensor], 2.0 ** -low.inputs[0].frac
    if (fmt.scale, fmt.center) != (port, 0.0):
        raise LnncError(
            f"layer '{src}': '{tensor}' is resolved to {fmt.scale:.3g}, expected the {port:.3g} of the input port",
            low.builder.where, "an anchor or a level is a weighted mean of the series: weights that add up to one",
        )  # fmt: skip
