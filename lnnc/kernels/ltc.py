"""Updates of an LTC cell from the conductances and currents of `synapse`, and what depends on the time of a step.

Per neuron, with S its own scale, c = capacitance / D and the state's full scale 2^f:

    sums[2 i] = S 2^15 (sum of conductances)      sums[2 i + 1] = S 2^15 2^-f (sum of currents)
    v = state in Q(15 - f + bits)                 inertia = S 2^(15 - shift) c
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lnnc.kernels.dense import SIZE_MAX
from lnnc.kernels.fixed import A_MAX, INT32_MAX, Ints, clamp, narrow, requant, rounded_shift
from lnnc.kernels.registry import Args, Param, Ranges, Role, kernel

BITS_MAX = 14  # bits of the state below those of its int16 copy: |v| < 2^29, and twice that is left for a change
CHANGE_MAX = 2**30
INERTIA_MAX = 2**30
SHIFT_MIN, SHIFT_MAX = 2, 30
MORE_MAX = 28  # bits of the second division: its dividend stays below 2^31


def divide(a: Ints, b: Ints) -> Ints:
    """a / b as C divides: toward zero."""
    return np.asarray(np.sign(a) * (np.abs(a) // b))


def pull_of(v: Ints, sums: Ints, bits: int) -> Ints:
    """(current >> 1) - requant(conductance, v << (16 - bits)) = S 2^(14 - f) (I - G v); equation (32)."""
    return narrow((sums[..., 1::2] >> 1) - requant(sums[..., 0::2], narrow(v << (16 - bits))))


def fuse(v: Ints, sums: Ints, inertia: Ints, shift: Ints, bits: int) -> Ints:
    """The state after one fused step, before it is clamped; equation (33).

    The change pull / (inertia + conductance) is divided twice: quotient, then `more` further bits of the remainder.
    """
    pull, more = pull_of(v, sums, bits), bits + 16 - shift
    below = np.minimum(rounded_shift_each(sums[..., 0::2], shift) + inertia, 1 << (30 - more))
    below = np.maximum(below, 1)
    whole = divide(pull, below)
    rest = narrow((pull - whole * below) << more)
    part = divide(narrow(rest + np.where(rest < 0, -(below >> 1), below >> 1)), below)
    limit = CHANGE_MAX >> more
    return narrow(v + narrow(np.clip(whole, -limit, limit) << more) + part)


def rounded_shift_each(value: Ints, shift: Ints) -> Ints:
    """((value >> (shift - 1)) + 1) >> 1: a rounded shift whose sum cannot leave int32; a shift >= 2 for each neuron."""
    return np.asarray(((value >> (shift - 1)) + 1) >> 1)


def _check(args: Args, ranges: Ranges) -> str:
    """The state fits its int16 copy: then nothing of (32), (33) and (34) leaves int32."""
    seen = (int(np.abs(args["v"]).max()),) if "v" in args else ranges["v"]
    reach, limit = max(abs(end) for end in (*seen, args["lo"], args["hi"])), A_MAX << args["bits"]
    return "" if reach <= limit else f"the state can reach {reach}, its int16 copy holds {limit}"


def _check_fused(args: Args, ranges: Ranges) -> str:
    more = args["bits"] + 16 - args["shift"]
    if int(more.min()) < 0 or int(more.max()) > MORE_MAX:
        return f"a shift lies outside {args['bits'] + 16 - MORE_MAX} ... {args['bits'] + 16}"
    return _check(args, ranges)


def _fit(args: Args, rng: np.random.Generator) -> Args:
    """A state and its limits that go with `bits`."""
    bits = args["bits"]
    lo, hi = sorted(end >> (16 - bits) for end in (args["lo"], args["hi"]))
    limit = A_MAX << bits
    fitted: Args = {
        "v": np.clip(args["v"] >> (16 - bits), -limit, limit),
        "lo": max(lo, -limit),
        "hi": min(hi, limit),
    }
    return {**args, **fitted}


def _fit_fused(args: Args, rng: np.random.Generator) -> Args:
    """As `_fit`, and shifts that leave room for the rest of the division."""
    bits = args["bits"]
    return {**_fit(args, rng), "shift": np.clip(args["shift"], max(SHIFT_MIN, bits + 16 - MORE_MAX), bits + 16)}


def _fused_params(inertia: Role) -> tuple[Param, ...]:
    return (
        Param("sums", "in", "int32", (2, "n")),
        Param("inertia", inertia, "int32", ("n",), 1, INERTIA_MAX),
        Param("shift", "const", "uint8", ("n",), SHIFT_MIN, SHIFT_MAX),
        Param("n", "int", lo=1, hi=SIZE_MAX),
        Param("bits", "int", lo=0, hi=BITS_MAX),
        Param("lo", "int"),
        Param("hi", "int"),
        Param("v", "inout", "int32", ("n",)),
        Param("out", "out", "int16", ("n",)),
    )


def _copied(v: Ints, bits: int, lo: int, hi: int) -> tuple[Ints, ...]:
    """The clamped state and its int16 copy."""
    kept = clamp(v, lo, hi)
    return kept, narrow(rounded_shift(kept, bits), 16)


@kernel(*_fused_params("const"), check=_check_fused, fit=_fit_fused)
def fused_s16(
    sums: Ints, inertia: Ints, shift: Ints, n: int, bits: int, lo: int, hi: int, v: Ints
) -> tuple[Ints, ...]:  # fmt: skip
    """One fused (semi-implicit) step of the state v, in place, and its int16 copy `out`; equation (33).

    v += (I - G v) / (c + G), which is v <- (c v + I) / (c + G) without its loss of small differences.
    """
    return _copied(fuse(v, sums, inertia, shift, bits), bits, lo, hi)


@kernel(*_fused_params("in"), check=_check_fused, fit=_fit_fused)
def fused_dt_s16(**args: Any) -> tuple[Ints, ...]:
    """As `fused_s16`, with an inertia that the step has computed from its time."""
    return fused_s16(**args)


def _explicit_params(rate: Role) -> tuple[Param, ...]:
    return (
        Param("sums", "in", "int32", (2, "n")),
        Param("rate", rate, "int32", ("n",), 0),
        Param("shift", "int", lo=1, hi=46),
        Param("n", "int", lo=1, hi=SIZE_MAX),
        Param("bits", "int", lo=0, hi=BITS_MAX),
        Param("lo", "int"),
        Param("hi", "int"),
        Param("v", "inout", "int32", ("n",)),
        Param("out", "out", "int16", ("n",)),
    )


@kernel(*_explicit_params("const"), check=_check, fit=_fit)
def explicit_s16(
    sums: Ints, rate: Ints, shift: int, n: int, bits: int, lo: int, hi: int, v: Ints
) -> tuple[Ints, ...]:  # fmt: skip
    """One explicit Euler step of the state v, in place, and its int16 copy `out`; equation (34).

    v += D / capacitance (I - G v), the factor kept as rate 2^-shift.
    """
    change = clamp(rounded_shift(pull_of(v, sums, bits) * rate, shift), -CHANGE_MAX, CHANGE_MAX)
    return _copied(narrow(v + change), bits, lo, hi)


@kernel(*_explicit_params("in"), check=_check, fit=_fit)
def explicit_dt_s16(**args: Any) -> tuple[Ints, ...]:
    """As `explicit_s16`, with rates that the step has computed from its time."""
    return explicit_s16(**args)


def _check_inertia(args: Args, ranges: Ranges) -> str:
    least = args.get("dt", ranges["dt"][0])
    largest = ((1 << args["power"]) + least // 2) // least
    return "" if largest <= INT32_MAX else f"2^{args['power']} / {least} leaves int32"


def _fit_inertia(args: Args, rng: np.random.Generator) -> Args:
    return {**args, "power": int(rng.integers(0, min(60, args["dt"].bit_length() + 29) + 1))}


def _time_params(*power: Param) -> tuple[Param, ...]:
    return (
        Param("dt", "value", "int32", lo=1),
        *power,
        Param("mult", "const", "int32", ("n",), 0),
        Param("n", "int", lo=1, hi=SIZE_MAX),
        Param("out", "out", "int32", ("n",)),
    )


@kernel(*_time_params(Param("power", "int", lo=0, hi=60)), check=_check_inertia, fit=_fit_inertia)
def inertia_s32(dt: Ints | int, power: int, mult: Ints, n: int) -> tuple[Ints, ...]:
    """out[i] = max(requant((2^power + (dt >> 1)) / dt, mult[i]), 1): capacitance / D of a time dt; equation (35)."""
    time = np.asarray(dt, np.int64).reshape(-1, 1)
    return (np.maximum(requant(narrow(((1 << power) + (time >> 1)) // time), mult), 1),)


@kernel(*_time_params())
def rate_s32(dt: Ints | int, mult: Ints, n: int) -> tuple[Ints, ...]:
    """out[i] = requant(dt, mult[i]): D / capacitance of a time dt; equation (36)."""
    return (requant(np.asarray(dt, np.int64).reshape(-1, 1), mult),)
