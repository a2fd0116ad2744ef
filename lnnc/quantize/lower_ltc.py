"""Lowering of the liquid time-constant cell.

Each neuron has a scale S of its own for all that flows into it: conductances in units of 1 / S, currents in units of
2^f / S with 2^f the full scale of the state. S cancels in the quotient of the step.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lnnc.ir.graph import Ltc, Synapses
from lnnc.kernels.fixed import A_MAX, INT32_MAX
from lnnc.kernels.ltc import INERTIA_MAX
from lnnc.quantize.context import Lowering, affine, identifier
from lnnc.quantize.formats import HEADROOM, Format, power_of_two
from lnnc.quantize.lower_argument import time_ends
from lnnc.quantize.ltc_bounds import Reach, check_cell, reach_of, warn_unbounded
from lnnc.quantize.ltc_formats import CellFormat, cell_format
from lnnc.quantize.ltc_integers import Inflow, Times, inflow_of, leaks_of, times_of

FRAC_MAX = 24
NEAR = 256  # values that a uint8 index reaches


def state_format(low: Lowering, op: Ltc) -> tuple[Format, int]:
    """Format of the int16 copy of the state, 2^-frac, and the fraction bits of the int32 state itself."""
    cell = _cell(low, op, reach_of(low, op))
    return _format(cell), cell.frac + cell.bits


def state_rule(low: Lowering, op: Ltc) -> str:
    """How the range of the state was found, in words."""
    reach = reach_of(low, op)
    if not reach.calibrated:
        return f"|v| <= {reach.bound:.4g}: each step is a mean of v and I / G"
    loose = [str(i) for i, proved in enumerate(reach.proved) if not proved]
    why = f"; nothing bounds neuron {', '.join(loose[:8])}" if loose else ""
    return f"calibration: {HEADROOM:g} times the largest value seen{why}"


def _cell(low: Lowering, op: Ltc, reach: Reach) -> CellFormat:
    check_cell(op, time_ends(low)[1], low.builder.where)
    return cell_format(low, op, power_of_two(reach.bound, FRAC_MAX))


def _format(cell: CellFormat) -> Format:
    return Format(2.0**-cell.frac)


def lower_ltc(low: Lowering, op: Ltc) -> None:
    """Sensory sums; then `unfolds` repetitions of recurrent sums and one step of the state."""
    assert op.out != low.graph.result, "the output scaler follows every layer"
    reach = reach_of(low, op)
    warn_unbounded(low, op, reach)
    cell = _cell(low, op, reach)
    v, v16 = _state(low, op, cell)
    leaks, times = leaks_of(op, cell), times_of(low, op, cell)
    some = op if len(op.sensory.post) or len(op.recurrent.post) else replace(op, sensory=_silent())
    sensory = inflow_of(some.sensory, cell, low.formats[op.x], np.abs(leaks.start))
    recurrent = inflow_of(some.recurrent, cell, _format(cell), sensory.size)
    name = identifier(op.out)
    sums = low.constant(f"{name}_leak", "int32", leaks.start, note="leak, leak current")
    if len(sensory.pre):
        sums = _sum(low, op, "sensory", sensory, op.x, low.names[op.x], sums)
    pace = _pace(low, op, times)
    low.builder.close_block(op.src)
    if len(recurrent.pre):
        sums = _sum(low, op, "recurrent", recurrent, op.v, v16, sums)
    _step(low, op, cell, times, {"sums": sums, "rate" if op.explicit else "inertia": pace, "v": v, "out": v16})
    low.builder.close_block(op.src, op.unfolds)
    low.exact[op.out] = replace(
        op, leak=leaks.leak, leak_current=leaks.leak_current, capacitance=times.capacitance,
        sensory=sensory.exact, recurrent=recurrent.exact,
    )  # fmt: skip


def _silent() -> Synapses:
    """One synapse that carries nothing: the sums of a cell of leaks alone begin with it."""
    none, zero = np.zeros(1, np.int64), np.zeros(1)
    return Synapses(none, none, zero, zero, zero, zero)


def _state(low: Lowering, op: Ltc, cell: CellFormat) -> tuple[str, str]:
    """(int32 state, its int16 copy): both are updated in place, and the copy becomes the cell's output."""
    n, fmt, b = len(op.leak), _format(cell), low.builder
    note = f"Q{cell.frac}, {cell.bits} bits less than the state"
    held = low.integrated(op.v, op.out)
    if held is not None:
        if not _read_later(low, op):
            low.names[op.out], low.formats[op.out] = low.names[op.v], fmt
        else:
            low.define(op.out, fmt, note)
            b.call("copy_s16", op.src, "start of the state", x=low.names[op.v], n=n, out=low.names[op.out])
        return held, low.names[op.out]
    limit, have = fmt.hi << cell.bits, low.formats[op.v]
    v = b.buffer(f"{identifier(op.out)}_v", "int32", n, (-limit, limit), note=f"Q{cell.frac + cell.bits}")
    out = low.define(op.out, fmt, note)
    affine(
        low, op.src, "start of the state", low.names[op.v], np.full(n, have.scale), np.ones(n), np.full(n, have.center),
        np.full(n, fmt.scale), out, (fmt.lo, fmt.hi),
    )  # fmt: skip
    b.call("widen_s32", op.src, "32 bits of the state", x=out, n=n, shift=cell.bits, out=v)
    return v, out


def _read_later(low: Lowering, op: Ltc) -> bool:
    """Whether something but this cell reads the state as it was before the step."""
    others = [user for user in low.graph.users(op.v) if user is not op]
    return bool(others) or any(state.next == op.v for state in low.graph.states)


def _sum(low: Lowering, op: Ltc, kind: str, flow: Inflow, tensor: str, x: str, start: str) -> str:
    """The call that adds the synapses of one kind to `start`, a table or a buffer."""
    b, n, m = low.builder, len(flow.count), len(flow.pre)
    name, n_x = f"{identifier(op.out)}_{kind}", low.sizes[tensor]
    limit = int(min(flow.size.max(), INT32_MAX))
    out = b.buffer(f"{name}_sums", "int32", 2 * n, (-limit, limit), note="conductance, current of each neuron")
    kernel = ("sensory" if start in b.constants else "synapse") + ("_s32" if n_x <= NEAR else "_far_s32")
    tables = {
        "slope": low.constant(f"{name}_slope", "int16", flow.slope),
        "offset": low.constant(f"{name}_offset", "int32", flow.offset, note=f"half arguments in Q{16 + flow.shift}"),
        "conductance": low.constant(f"{name}_conductance", "int16", flow.conductance, note="a scale for each neuron"),
        "current": low.constant(f"{name}_current", "int16", flow.current, note="conductance times reversal potential"),
        "count": low.constant(f"{name}_count", "int16", flow.count, note="synapses of each neuron"),
        "pre": low.constant(f"{name}_pre", "uint8" if n_x <= NEAR else "int16", flow.pre, note="where each begins"),
    }
    b.call(
        kernel, op.src, f"{m} {kind} synapses", x=x, n_x=n_x, m=m, n=n, table=b.tanh(), shift=flow.shift,
        lo=-limit, hi=limit, start=start, out=out, **tables,
    )  # fmt: skip
    return out


def _pace(low: Lowering, op: Ltc, times: Times) -> str:
    """Inertia or rate of each neuron: a table, or a buffer that a time of the step fills."""
    what = "rate" if op.explicit else "inertia"
    name, n = f"{identifier(op.out)}_{what}", len(times.table)
    if low.time is None:
        note = f"D / capacitance, 2^-{times.shift}" if op.explicit else "capacitance / D"
        return low.constant(name, "int32", times.table, note=note)
    mult = low.constant(f"{name}_mult", "int32", times.table)
    top = INT32_MAX if op.explicit else INERTIA_MAX
    out = low.builder.buffer(name, "int32", n, (0 if op.explicit else 1, top))
    power = {} if op.explicit else {"power": times.power}
    low.builder.call(f"{what}_s32", op.src, f"{what} of this step's time", dt="dt", mult=mult, n=n, out=out, **power)
    return out


def _step(low: Lowering, op: Ltc, cell: CellFormat, times: Times, args: dict[str, str]) -> None:
    """One step of the state from the sums."""
    b, n, limit = low.builder, len(op.leak), A_MAX << cell.bits
    shift: str | int = times.shift
    if not op.explicit:
        shift = low.constant(f"{identifier(op.out)}_shift", "uint8", cell.shift, note="of each divisor")
    b.call(
        f"{'explicit' if op.explicit else 'fused'}{'_s16' if low.time is None else '_dt_s16'}", op.src,
        f"{'explicit Euler' if op.explicit else 'fused'} step, 1 of {op.unfolds}", n=n, bits=cell.bits, shift=shift,
        lo=-limit, hi=limit, **args,
    )  # fmt: skip
