"""The leaky cell, whose state is int32: an int16 state would lose what a small alpha dt moves."""

from __future__ import annotations

import numpy as np

from lnnc.kernels.dense import SIZE_MAX
from lnnc.kernels.euler import PRE_MAX
from lnnc.kernels.fixed import A_MAX, ARG_MAX, INT32_MAX, Ints, clamp, narrow, requant, rounded_shift, tanh_q15
from lnnc.kernels.lut import TABLE
from lnnc.kernels.registry import Args, Param, Ranges, kernel

WIDE_MAX = A_MAX << 16  # an int32 state whose upper halfword is a legal int16 activation
LEAKY_MAX = 2**30  # |x| of a leaky cell: as much again is left for what one step moves it
TANH_MAX = 32_767 << 16
UP_MAX = 15
DT = Param("dt", "value", "int32", lo=1, hi=2**30)  # time since the last step


@kernel(
    Param("x", "in", "int16", ("n",)),
    Param("n", "int", lo=1, hi=SIZE_MAX),
    Param("shift", "int", lo=0, hi=16),
    Param("out", "out", "int32", ("n",)),
)
def widen_s32(x: Ints, n: int, shift: int) -> tuple[Ints, ...]:
    """out[i] = x[i] << shift: an int16 state with `shift` more fraction bits; equation (28)."""
    return (narrow(x << shift),)


@kernel(
    Param("x", "in", "int32", ("n",), -WIDE_MAX, WIDE_MAX),
    Param("n", "int", lo=1, hi=SIZE_MAX),
    Param("shift", "int", lo=0, hi=16),
    Param("lo", "int"),
    Param("hi", "int"),
    Param("out", "out", "int16", ("n",)),
)
def narrow_s16(x: Ints, n: int, shift: int, lo: int, hi: int) -> tuple[Ints, ...]:
    """out[i] = clamp((x[i] + 2^(shift-1)) >> shift, lo, hi): the int16 copy of a state; equation (29)."""
    return (clamp(narrow(rounded_shift(x, shift)), lo, hi),)


def _largest_change(decay: Ints, gain: Ints, reach: int) -> Ints:
    """Bound of |requant(tanh, gain) - requant(x, decay)| for |x| <= reach, each neuron."""
    driven, decayed = requant(np.abs(gain), TANH_MAX), requant(np.abs(decay), reach)
    return np.asarray(driven + decayed + 2)


def _check_leaky(args: Args, ranges: Ranges) -> str:
    reach = max(abs(end) for end in ranges["x"])
    change = _largest_change(args["decay"], args["gain"], reach)
    if "norm" in args:
        most = args.get("dt", ranges["dt"][1]) << args["norm"]
        if most > INT32_MAX:
            return f"dt << {args['norm']} can reach {most}, beyond int32"
        change = requant(np.minimum(change, INT32_MAX), most) + 1
    bound = reach + (int(change.max()) << args["up"])
    if bound > INT32_MAX:
        return f"neuron {int(np.argmax(change))}: its state can reach {bound} in one step, beyond int32"
    fits = max(abs(args["lo"]), abs(args["hi"])) <= A_MAX << args["shift"]
    return "" if fits else f"the state >> {args['shift']} does not fit int16"


def _fit_leaky(args: Args, rng: np.random.Generator) -> Args:
    """Coefficients as large as one step allows, and limits that an int16 copy holds."""
    up, shift = int(rng.integers(0, 4)), int(rng.integers(15, 17))
    part = 2.0 ** -(up + 1)
    limit = min(LEAKY_MAX, A_MAX << shift)
    lo, hi = sorted(int(v) for v in clamp(np.array([args["lo"], args["hi"]]), -limit, limit))
    fitted = {**args, "up": up, "shift": shift, "lo": lo, "hi": hi}
    if "norm" in args:
        norm = int(rng.integers(0, 12))
        fitted |= {"norm": norm, "dt": max(1, args["dt"] >> norm)}
    return fitted | {name: (args[name] * part).astype(np.int64) for name in ("decay", "gain")}


def _leaky_params(*time: Param) -> tuple[Param, ...]:
    return (
        Param("x", "inout", "int32", ("n",), -LEAKY_MAX, LEAKY_MAX),
        Param("pre", "in", "int32", ("n",), -PRE_MAX, PRE_MAX),
        Param("drive", "in", "int32", ("n",), -PRE_MAX, PRE_MAX),
        Param("n", "int", lo=1, hi=SIZE_MAX),
        TABLE,
        Param("decay", "const", "int32", ("n",)),
        Param("gain", "const", "int32", ("n",)),
        *time,
        Param("up", "int", lo=0, hi=UP_MAX),
        Param("lo", "int", lo=-LEAKY_MAX, hi=LEAKY_MAX),
        Param("hi", "int", lo=-LEAKY_MAX, hi=LEAKY_MAX),
        Param("shift", "int", lo=0, hi=16),
        Param("out", "out", "int16", ("n",)),
    )


def _change(x: Ints, pre: Ints, drive: Ints, table: Ints, decay: Ints, gain: Ints) -> Ints:
    arg = clamp(narrow(pre + drive), -ARG_MAX, ARG_MAX)
    return narrow(requant(tanh_q15(arg, table) << 16, gain) - requant(x, decay))


def _moved(x: Ints, change: Ints, up: int, lo: int, hi: int, shift: int) -> tuple[Ints, Ints]:
    moved = clamp(narrow(x + narrow(change << up)), lo, hi)
    return moved, narrow(rounded_shift(moved, shift), 16)


@kernel(*_leaky_params(), check=_check_leaky, fit=_fit_leaky)
def leaky_s32(
    x: Ints, pre: Ints, drive: Ints, n: int, table: Ints, decay: Ints, gain: Ints, up: int, lo: int, hi: int, shift: int
) -> tuple[Ints, ...]:
    """x[i] = clamp(x[i] + (requant(tanh << 16, gain[i]) - requant(x[i], decay[i])) << up, lo, hi); equation (26).

    tanh = tanh_q15(pre[i] + drive[i]); decay = dt alpha and gain = dt beta in units of the state, both in Q(32 - up).
    out is the int16 copy of x: `shift` fewer fraction bits. An increment below one unit of int16 is not lost.
    """
    return _moved(x, _change(x, pre, drive, table, decay, gain), up, lo, hi, shift)


@kernel(
    *_leaky_params(DT, Param("norm", "int", lo=0, hi=30)),
    check=_check_leaky,
    fit=_fit_leaky,
)
def leaky_dt_s32(
    x: Ints, pre: Ints, drive: Ints, n: int, table: Ints, decay: Ints, gain: Ints, dt: Ints | int, norm: int, up: int,
    lo: int, hi: int, shift: int,
) -> tuple[Ints, ...]:  # fmt: skip
    """As `leaky_s32` with the change of (26) times (dt << norm) / 2^32 before it is shifted up; equation (27).

    decay and gain are those of the time that dt << norm = 2^32 would stand for.
    """
    change = _change(x, pre, drive, table, decay, gain)
    return _moved(x, requant(change, narrow(np.asarray(dt) << norm)), up, lo, hi, shift)
