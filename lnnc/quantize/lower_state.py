"""Lowering of what a recurrent model remembers: where its states live, how a step begins and how it ends.

A state is read by the ops of a step and replaced when they are all done. Most are int16 buffers that the step reads in
place and copies at its end. The state of a cell that integrates in small increments (Leaky, Ltc) is *wide*: int32,
updated by the cell itself, with an int16 copy made at the start of the step for whoever multiplies it by weights.
"""

from __future__ import annotations

import math

import numpy as np

from lnnc.ir.graph import Act, Blend, Leaky, Ltc, Mul, Op, State
from lnnc.ir.program import StateView
from lnnc.kernels.fixed import A_MAX
from lnnc.quantize import lower_gates, lower_leaky, lower_ltc
from lnnc.quantize.context import Lowering, affine, identifier
from lnnc.quantize.formats import HEADROOM, Format, wide

CALIBRATED = f"calibration: {HEADROOM:g} times the largest value seen, saturating"
UNIT = Format(1.0 / A_MAX)  # a state within +-1 uses every code of an int16 activation
INT32 = (-(2**31) + 1, 2**31 - 1)


def choose_states(low: Lowering) -> None:
    """Formats of all states, before any op is lowered: the op that makes the next value writes it in that format."""
    for state in low.graph.states:
        maker = low.graph.producer(state.next)
        fmt = state_format(low, state, maker)
        low.formats[state.out] = fmt
        if isinstance(maker, Blend | Leaky | Ltc):
            low.formats[state.next] = fmt


def state_format(low: Lowering, state: State, maker: Op | None) -> Format:
    """Format of a state from the op that makes it: a proved bound, else twice what calibration saw."""
    match maker:
        case Leaky():
            low.rules[state.out] = lower_leaky.state_rule(low, maker)
            return lower_leaky.state_format(low, maker)[0]
        case Ltc():
            low.rules[state.out] = lower_ltc.state_rule(low, maker)
            return lower_ltc.state_format(low, maker)[0]
    made = lower_gates.bounded_format(low, maker)
    if made is not None:
        fmt, low.rules[state.out] = made
        return fmt
    if within_one(low, state.next):
        low.rules[state.out] = "|x| <= 1: gates between values within +-1"
        return UNIT
    low.rules[state.out] = CALIBRATED
    return wide(HEADROOM * low.stats[state.next].absmax or 1.0)  # one that calibration saw at rest: some plain scale


def within_one(low: Lowering, tensor: str, seen: frozenset[str] = frozenset()) -> bool:
    """Whether |x| <= 1 follows from the ops: tables, gates between bounded values, and states that stay what they are.

    A state is bounded if its next value is, assuming that it is: it begins at 0.
    """
    if tensor in seen:
        return True
    op, seen = low.graph.producer(tensor), seen | {tensor}
    match op:
        case Act():
            return op.fn in ("tanh", "sigmoid", "phi")
        case Blend():
            return all(within_one(low, part, seen) for part in (op.a, op.b, op.t)) and low.stats[op.t].min >= 0.0
        case State():
            return within_one(low, op.next, seen)
        case Mul():
            return within_one(low, op.a, seen) and within_one(low, op.b, seen)
    return False


def lower_state(low: Lowering, op: State) -> None:
    """The buffer that keeps a state, and what the ops of the step read."""
    b, name, fmt = low.builder, identifier(op.out), low.formats[op.out]
    maker = low.graph.producer(op.next)
    if not integrates(maker, op):
        kept = b.buffer(name, "int16", op.size, (fmt.lo, fmt.hi), "state", note=f"real = q * {fmt.scale:.6g}")
        low.names[op.out] = kept
        low.views.append(StateView(kept, fmt.scale))
        return
    assert isinstance(maker, Leaky | Ltc)
    bits = (lower_leaky if isinstance(maker, Leaky) else lower_ltc).state_format(low, maker)[1]
    shift = bits - round(-math.log2(fmt.scale))
    limit = min(INT32[1], fmt.hi << shift)
    kept = b.buffer(name, "int32", op.size, (-limit, limit), "state", note=f"Q{bits}")
    low.wide[op.out] = kept
    low.views.append(StateView(kept, 2.0**-bits))
    low.names[op.out] = b.buffer(f"{name}_16", "int16", op.size, (fmt.lo, fmt.hi), note=f"Q{bits - shift}")
    b.call(
        "narrow_s16", op.src, "16 bits of the state", x=kept, n=op.size, shift=shift, lo=fmt.lo, hi=fmt.hi,
        out=low.names[op.out],
    )  # fmt: skip


def integrates(maker: Op | None, state: State) -> bool:
    """Whether the cell that makes the next value starts from this very state, so that it can update it in place."""
    match maker:
        case Leaky():
            return maker.x == state.out
        case Ltc():
            return maker.v == state.out
    return False


def commit_states(low: Lowering) -> None:
    """End of the step: every state takes its next value.

    A next value that is itself a state is set aside first: the other may be replaced before it is read.
    """
    plain = [s for s in low.graph.states if s.out not in low.wide]
    kept = {low.names[s.out] for s in plain}
    sources = {s.out: _set_aside(low, s) if low.names[s.next] in kept else low.names[s.next] for s in plain}
    for s in plain:
        _commit(low, s, sources[s.out])


def _set_aside(low: Lowering, state: State) -> str:
    fmt = low.formats[state.next]
    name = low.builder.buffer(f"{identifier(state.out)}_next", "int16", state.size, (fmt.lo, fmt.hi))
    low.builder.call("copy_s16", state.src, "set aside", x=low.names[state.next], n=state.size, out=name)
    return name


def _commit(low: Lowering, state: State, source: str) -> None:
    have, want, n = low.formats[state.next], low.formats[state.out], state.size
    target = low.names[state.out]
    if have.scale == want.scale and have.center == want.center and want.lo <= have.lo and have.hi <= want.hi:
        low.builder.call("copy_s16", state.src, "the new state", x=source, n=n, out=target)
        return
    affine(
        low, state.src, "the new state", source, np.full(n, have.scale), np.ones(n), np.full(n, have.center),
        np.full(n, want.scale), target, (want.lo, want.hi),
    )  # fmt: skip
