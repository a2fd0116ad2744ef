"""Gates of CfC and GRU: blends of two tensors, time gates, and the closed form without gates."""

from __future__ import annotations

import numpy as np

from lnnc.kernels.dense import SIZE_MAX
from lnnc.kernels.euler import PRE_MAX
from lnnc.kernels.fixed import (
    ARG_MAX,
    INT32_MAX,
    Ints,
    clamp,
    exp_q15,
    narrow,
    requant,
    rounded_shift,
    tanh_q15,
)
from lnnc.kernels.leaky import DT
from lnnc.kernels.lut import EXP_TABLE, TABLE
from lnnc.kernels.registry import Args, Param, Ranges, kernel

GATE_Q = 14  # fraction bits of a gate between layers, 0 ... 2^14
PURE_MAX = 2**30 - 1  # |x| and rate of `pure_*`, Q16

N = Param("n", "int", lo=1, hi=SIZE_MAX)
LO, HI = Param("lo", "int"), Param("hi", "int")
OUT = Param("out", "out", "int16", ("n",))


def _fit_gate(args: Args, rng: np.random.Generator) -> Args:
    """A multiplier of any size."""
    return {**args, "mult": max(1, args["mult"] >> int(rng.integers(0, 24)))}


@kernel(
    Param("a", "in", "int16", ("n",)),
    Param("b", "in", "int16", ("n",)),
    Param("t", "in", "int16", ("n",), 0, 2**GATE_Q),
    N,
    Param("mult", "int", lo=1),
    LO,
    HI,
    OUT,
    fit=_fit_gate,
    inplace="a",
)
def blend_s16(a: Ints, b: Ints, t: Ints, n: int, mult: int, lo: int, hi: int) -> tuple[Ints, ...]:
    """out[i] = clamp(requant((a[i] << 14) + (b[i] - a[i]) t[i], mult), lo, hi); a, b of one format; equation (20)."""
    acc = narrow((a << GATE_Q) + narrow((b - a) * t))
    return (narrow(clamp(requant(acc, mult), lo, hi), 16),)


def _cfc_params() -> tuple[Param, ...]:
    heads = (Param(name, "in", "int32", ("n",), -ARG_MAX, ARG_MAX) for name in ("a", "b", "t"))
    ups = (Param(f"{name}_up", "int", lo=0, hi=12) for name in ("a", "b", "t"))
    return (*heads, N, *ups, TABLE, Param("mult", "int", lo=1), LO, HI, OUT)


def _heads(a: Ints, b: Ints, t: Ints, a_up: int, b_up: int, t_up: int, table: Ints) -> tuple[Ints, Ints, Ints]:
    """tanh(a), tanh(b) and sigmoid(2 t), all Q15."""
    f1, f2 = tanh_q15(narrow(a << a_up), table), tanh_q15(narrow(b << b_up), table)
    return f1, f2, rounded_shift(32_768 + tanh_q15(narrow(t << t_up), table), 1)


@kernel(*_cfc_params(), fit=_fit_gate)
def cfc_s16(
    a: Ints, b: Ints, t: Ints, n: int, a_up: int, b_up: int, t_up: int, table: Ints, mult: int, lo: int, hi: int
) -> tuple[Ints, ...]:
    """out[i] = clamp(requant((f1 << 15) + (f2 - f1) s, mult), lo, hi); equation (21).

    f1 = tanh(a[i]), f2 = tanh(b[i]) and s = sigmoid, of which t[i] is half the argument, in Q15 from one table: a CfC's
    gate with a single rounding (Hasani et al. 2022, equation 10).
    """
    f1, f2, s = _heads(a, b, t, a_up, b_up, t_up, table)
    acc = narrow((f1 << 15) + narrow((f2 - f1) * s))
    return (narrow(clamp(requant(acc, mult), lo, hi), 16),)


@kernel(*_cfc_params(), fit=_fit_gate)
def cfc_open_s16(
    a: Ints, b: Ints, t: Ints, n: int, a_up: int, b_up: int, t_up: int, table: Ints, mult: int, lo: int, hi: int
) -> tuple[Ints, ...]:
    """out[i] = clamp(requant((f1 << 15) + f2 s, mult), lo, hi), as `cfc_s16`: no gate on the first; equation (22)."""
    f1, f2, s = _heads(a, b, t, a_up, b_up, t_up, table)
    return (narrow(clamp(requant(narrow((f1 << 15) + f2 * s), mult), lo, hi), 16),)


@kernel(
    Param("a", "in", "int32", ("n",), -PRE_MAX, PRE_MAX),
    Param("b", "in", "int32", ("n",), -PRE_MAX, PRE_MAX),
    DT,
    N,
    Param("shift", "int", lo=0, hi=62),
    Param("up", "int", lo=0, hi=12),
    LO,
    HI,
    Param("out", "out", "int32", ("n",)),
    inplace="b",
)
def timed_s32(a: Ints, b: Ints, dt: Ints | int, n: int, shift: int, up: int, lo: int, hi: int) -> tuple[Ints, ...]:
    """out[i] = clamp(((a[i] dt + 2^(shift-1)) >> shift) + (b[i] << up), lo, hi) in 64 bits; equation (23)."""
    return (clamp(rounded_shift(a * dt, shift) + (b << up), lo, hi),)


def _check_pure(args: Args, ranges: Ranges) -> str:
    bound = (args["limit"] << 15 >> args["down"]) + 1 + abs(args["one"])
    return "" if bound <= INT32_MAX else f"a sum can reach {bound}, beyond int32"


def _fit_pure(args: Args, rng: np.random.Generator) -> Args:
    down = int(rng.integers(2, 16))
    limit = min(args["limit"] >> int(rng.integers(0, 12)), (2**30 << down) >> 15)
    x = clamp(args["x"], -2 * limit, 2 * limit) if rng.random() < 0.8 else args["x"]
    rate = args["rate"] >> int(rng.integers(0, 30))
    fitted = {**args, "down": down, "limit": max(1, limit), "x": x, "rate": rate, "one": args["one"] // 2}
    return fitted | ({"shift": int(rng.integers(0, 32))} if "shift" in args else {})


def _pure_params(*time: Param) -> tuple[Param, ...]:
    return (
        Param("x", "in", "int32", ("n",), -PURE_MAX, PURE_MAX),
        N,
        Param("up", "int", lo=0, hi=12),
        Param("rate", "const", "int32", ("n",), 0, PURE_MAX),
        *time,
        EXP_TABLE,
        Param("limit", "int", lo=1, hi=PURE_MAX),
        Param("down", "int", lo=1, hi=31),
        Param("one", "int"),
        Param("mult", "const", "int32", ("n",)),
        LO,
        HI,
        OUT,
    )


def _shifted(x: Ints, up: int) -> Ints:
    return clamp(x, -(PURE_MAX >> up), PURE_MAX >> up) << up


def _pure(x: Ints, decay: Ints, limit: int, down: int, one: int, mult: Ints) -> Ints:
    moved = narrow(rounded_shift(decay * clamp(x, -limit, limit), down))
    return requant(narrow(one - moved), mult)


@kernel(*_pure_params(), check=_check_pure, fit=_fit_pure)
def pure_s16(
    x: Ints, n: int, up: int, rate: Ints, table: Ints, limit: int, down: int, one: int, mult: Ints, lo: int, hi: int
) -> tuple[Ints, ...]:
    """out[i] = clamp(requant(one - w, mult[i]), lo, hi); equation (24).

    w = (exp_q15(|v| + rate[i]) clamp(v, +-limit) + half) >> down with v = x[i] << up, saturated below 2^30; v and rate
    in Q16, times the constant time. The exponential is 0 where the other clamp could matter.
    """
    x = _shifted(x, up)
    decay = exp_q15(narrow(np.abs(x) + rate), table)
    return (narrow(clamp(_pure(x, decay, limit, down, one, mult), lo, hi), 16),)


@kernel(*_pure_params(DT, Param("shift", "int", lo=0, hi=62)), check=_check_pure, fit=_fit_pure)
def pure_dt_s16(
    x: Ints, n: int, up: int, rate: Ints, dt: Ints | int, shift: int, table: Ints, limit: int, down: int, one: int,
    mult: Ints, lo: int, hi: int,
) -> tuple[Ints, ...]:  # fmt: skip
    """As `pure_s16` with exp_q15(((|v| + rate[i]) dt + half) >> shift), the product in 64 bits; equation (25)."""
    x = _shifted(x, up)
    z = clamp(rounded_shift(narrow(np.abs(x) + rate) * dt, shift), 0, INT32_MAX)
    return (narrow(clamp(_pure(x, exp_q15(z, table), limit, down, one, mult), lo, hi), 16),)
