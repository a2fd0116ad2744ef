"""Lowering of gates: CfC's with their tables inside one kernel, any other Blend, and Timed."""

from __future__ import annotations

import numpy as np

from lnnc.errors import LnncError
from lnnc.ir.graph import Act, Add, Blend, Leaky, Mul, Op, Pure, Timed
from lnnc.kernels.euler import PRE_MAX
from lnnc.kernels.fixed import A_MAX, ARG_MAX, ARG_Q, INT32_MAX
from lnnc.kernels.gates import GATE_Q
from lnnc.quantize import lower_cells
from lnnc.quantize.context import Argument, Gate, Lowering, affine, identifier
from lnnc.quantize.deliver import limits_of, scales_of
from lnnc.quantize.formats import HEADROOM, Format, power_of_two, wide
from lnnc.quantize.lower_act import ARGUMENT, lower_table
from lnnc.quantize.lower_argument import DRIVE, alone, define, take, time_factor, want
from lnnc.quantize.lower_pure import pure_argument, pure_format
from lnnc.quantize.produce import made_in, write

UNIT = Format(1.0 / A_MAX)
GATE = Format(2.0**-GATE_Q, 0, 2**GATE_Q)
HEAD = Argument(1.0, ARG_MAX)
TIME = Argument(ARGUMENT["sigmoid"], ARG_MAX)


def fused_gates(low: Lowering) -> None:
    """Before any op is lowered: find the gates that become one kernel, and the tensors that become arguments."""
    for op in low.graph.ops:
        match op:
            case Blend() | Add():
                _find_gate(low, op)
            case Pure():
                want(low, op.x, pure_argument(low))
            case Leaky():
                want(low, op.drive, DRIVE)
            case _:
                pass
    for op in low.graph.ops:
        if isinstance(op, Timed):
            _find_timed(low, op)


def _find_gate(low: Lowering, op: Blend | Add) -> None:
    """A Blend of two tanh by a sigmoid, or tanh + tanh * sigmoid (mode no_gate of ncps), that alone reads them all."""
    parts = (op.a, op.b, op.t) if isinstance(op, Blend) else _open_parts(low, op)
    acts = [_act(low, part, fn) for part, fn in zip(parts, ("tanh", "tanh", "sigmoid"), strict=False)]
    if not acts:
        return
    a, b, t = (act.x if act else "" for act in acts)
    if not (a and b and t):
        return
    low.gates[op.out] = Gate(a, b, t, isinstance(op, Add))
    low.done |= {act.out for act in acts if act}
    if isinstance(op, Add):
        low.done |= {x for x in (op.a, op.b) if isinstance(low.graph.producer(x), Mul)}
    for tensor, argument in ((a, HEAD), (b, HEAD), (t, TIME)):
        want(low, tensor, argument)


def _act(low: Lowering, tensor: str, fn: str) -> Act | None:
    """The activation that makes a tensor, if one op alone reads it."""
    op = low.graph.producer(tensor)
    return op if alone(low, tensor) and isinstance(op, Act) and op.fn == fn else None


def _open_parts(low: Lowering, op: Add) -> tuple[str, ...]:
    """f1, f2 and s of f1 + f2 s, in whichever order the graph has them; () for any other sum."""
    if op.gain != 1.0:
        return ()
    for f1, product in ((op.a, op.b), (op.b, op.a)):
        mul = low.graph.producer(product)
        if _act(low, f1, "tanh") and isinstance(mul, Mul) and alone(low, product):
            swap = _act(low, mul.a, "sigmoid") is not None
            return (f1, mul.b, mul.a) if swap else (f1, mul.a, mul.b)
    return ()


def bounded_format(low: Lowering, op: Op | None) -> tuple[Format, str] | None:
    """(format, rule in words) of what a CfC makes, from its proved bound; None for other ops."""
    if isinstance(op, Pure):
        return pure_format(low, op)
    if op is None or op.out not in low.gates:
        return None
    if low.gates[op.out].open:
        return Format(2.0 / A_MAX), "|x| <= 2: two values within +-1, one of them gated"
    return UNIT, "|x| <= 1: a gate between values within +-1"


def lower_add(low: Lowering, op: Add) -> None:
    """A sum, or the gate that it is the end of."""
    if op.out in low.gates:
        _lower_gate(low, op, low.gates[op.out])
    else:
        lower_cells.lower_add(low, op)


def lower_blend(low: Lowering, op: Blend) -> None:
    """y = a + (b - a) t: one kernel with its tables, or from tensors that others read too."""
    if op.out in low.gates:
        _lower_gate(low, op, low.gates[op.out])
        return
    fmt = made_in(low, op, _blend_format(low, op))
    common = Format(max(float(scales_of(low, x)[0].max()) for x in (op.a, op.b)))
    a, b, t = (_in_format(low, x, f, op.src) for x, f in ((op.a, common), (op.b, common), (op.t, GATE)))
    mult = _multiplier(low, op, common.scale / fmt.scale * 2.0**-GATE_Q)
    write(low, op, "blend_s16", "gate", fmt, a=a, b=b, t=t, mult=mult)


def _blend_format(low: Lowering, op: Blend) -> Format:
    """A mean of a and b: it stays within what they can be."""
    bound = max(_reach(low, x) for x in (op.a, op.b))
    return wide(min(bound, HEADROOM * low.stats[op.out].absmax or bound))


def _reach(low: Lowering, tensor: str) -> float:
    """The largest size that a tensor's integers can stand for."""
    (scale, center), (lo, hi) = scales_of(low, tensor), limits_of(low, tensor)
    return float((scale * max(-lo, hi) + np.abs(center)).max())


def _in_format(low: Lowering, tensor: str, fmt: Format, src: str) -> str:
    """The buffer of a tensor in a given format, a copy where it has another."""
    (scale, center), (lo, hi) = scales_of(low, tensor), limits_of(low, tensor)
    if (scale == fmt.scale).all() and not center.any() and fmt.lo <= lo and hi <= fmt.hi:
        return low.names[tensor]
    n, note = len(scale), "in the format of a gate"
    name = low.builder.buffer(f"{identifier(tensor)}_same", "int16", n, (fmt.lo, fmt.hi), note=note)
    affine(
        low, src, "to the format of the gate", low.names[tensor], scale, np.ones(n), center, np.full(n, fmt.scale),
        name, (fmt.lo, fmt.hi),
    )  # fmt: skip
    return name


def _multiplier(low: Lowering, op: Op, ratio: float) -> int:
    """ratio * 2^32 as a positive int32."""
    mult = round(ratio * 2.0**32)
    if 1 <= mult <= INT32_MAX:
        return mult
    raise LnncError(
        f"layer '{op.src}': its result and what it is made of differ {ratio * 2.0**GATE_Q:.3g}-fold in scale",
        low.builder.where, "calibrate with typical inputs",
    )  # fmt: skip


def _lower_gate(low: Lowering, op: Blend | Add, gate: Gate) -> None:
    """Three tensors of arguments, one kernel with one rounding."""
    a, b, t = (take(low, name, part, op.src) for name, part in ((gate.a, HEAD), (gate.b, HEAD), (gate.t, TIME)))
    made = bounded_format(low, op)
    assert made is not None
    fmt = made_in(low, op, made[0])
    write(
        low, op, "cfc_open_s16" if gate.open else "cfc_s16", "tanh, tanh, sigmoid and their gate", fmt,
        a=a.name, b=b.name, t=t.name, a_up=a.up, b_up=b.up, t_up=t.up, table=low.builder.tanh(),
        mult=_multiplier(low, op, 2.0**-30 / fmt.scale),
    )  # fmt: skip


def _find_timed(low: Lowering, op: Timed) -> None:
    """a and b of a T + b as arguments, scaled for the table that reads the sum."""
    act = low.next_act(op.out)
    half = ARGUMENT.get(act.fn, 1.0) if act else 1.0
    for tensor, argument in _timed_parts(low, op, half):
        want(low, tensor, argument)


def _timed_parts(low: Lowering, op: Timed, half: float) -> tuple[tuple[str, Argument], tuple[str, Argument]]:
    return (op.a, Argument(half * time_factor(low).gain, PRE_MAX)), (op.b, Argument(half, PRE_MAX))


def lower_timed(low: Lowering, op: Timed) -> None:
    """a T + b as arguments of the table that alone reads it, else as an int16 tensor."""
    act = low.next_act(op.out)
    half = ARGUMENT.get(act.fn) if act else None
    limit = PRE_MAX if half is None else ARG_MAX
    argument = define(low, op.out, Argument(half or 1.0, limit))
    factor = time_factor(low)
    a, b = (take(low, name, part, op.src) for name, part in _timed_parts(low, op, half or 1.0))
    low.builder.call(
        "timed_s32", op.src, "a T + b", a=a.name, b=b.name, dt=factor.dt, n=low.sizes[op.out],
        shift=factor.shift - a.up, up=b.up, lo=-limit, hi=limit, out=argument.name,
    )  # fmt: skip
    if act is None or half is None:
        del low.arguments[op.out]
        _narrowed(low, op, argument.name)
    elif act.out not in low.done:
        lower_table(low, act, argument.name, 0)


def _narrowed(low: Lowering, op: Timed, arg: str) -> None:
    """The int16 tensor of Q16 arguments."""
    frac = max(0, power_of_two(HEADROOM * low.stats[op.out].absmax, 14))
    write(low, op, "narrow_s16", "16 bits of it", Format(2.0**-frac), x=arg, shift=ARG_Q - frac)
