"""The scalar functions: C against `lnnc.kernels.fixed`, and both against exact or float mathematics."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scalars import CHUNK, CLAMP, EXP, INT32_MIN, PRELUDE, RECORDS, REQUANT, SMLAW, STATS, TANH, TEXT, smlaw_fits

from lnnc.codegen.c_text import kernel_texts
from lnnc.kernels import KERNELS, fixed
from lnnc.kernels.fixed import ARG_MAX, INT32_MAX, Ints
from lnnc.kernels.registry import Args, Kernel
from lnnc.quantize.formats import mantissa
from lnnc.resources import runtime_c
from lnnc.verify.emulate import M4Machine
from lnnc.verify.host import HostMachine
from lnnc.verify.kernel_cases import Case, draw_cases
from lnnc.verify.kernel_run import build_kernels, compare, run_cases
from lnnc.verify.machine import Machine

TANH_TABLE, EXP_TABLE = fixed.tanh_table(), fixed.exp_table()
MACHINES = [
    pytest.param(HostMachine(), id="host", marks=pytest.mark.needs("cc")),
    pytest.param(HostMachine(sanitize=True), id="host-sanitized", marks=pytest.mark.needs("cc")),
    pytest.param(M4Machine(), id="m4", marks=pytest.mark.needs("arm-none-eabi-gcc", "qemu-system-arm")),
]


def call(kernel: Kernel, **arrays: Ints) -> list[Case]:
    """Arrays of any length as cases of at most CHUNK elements; tables go along whole."""
    tables = {p.name: arrays.pop(p.name) for p in kernel.params if p.role == "const"}
    length = len(next(iter(arrays.values())))
    cases = []
    for start in range(0, length, CHUNK):
        part = {name: array[None, start : start + CHUNK] for name, array in arrays.items()}
        n = min(CHUNK, length - start)
        cases.append(Case(kernel, {**part, **tables, "n": n}, False, False, f"from {start}"))
    return cases


def corners() -> Ints:
    """Values around every power of two and around the ends of int32 and int16."""
    powers = [sign * 2**k + d for k in range(31) for d in (-1, 0, 1) for sign in (-1, 1)]
    ends = [INT32_MIN, INT32_MIN + 1, INT32_MAX, INT32_MAX - 1, 32_640, -32_640, 0x5A5A_5A5A, -0x5A5A_5A5A]
    return np.array(sorted({*powers, *ends}), dtype=np.int64)


def grid(a: Ints, b: Ints) -> tuple[Ints, Ints]:
    return np.repeat(a, len(b)), np.tile(b, len(a))


def ties() -> tuple[Ints, Ints]:
    """Products that end in exactly one half."""
    rng = np.random.default_rng(4)
    low = rng.integers(1, 31, size=4000)  # acc = odd 2^low, mult = odd 2^(31 - low)
    acc = (2 * rng.integers(0, (2 ** (31 - low) // 2).clip(1)) + 1) << low
    mult = (2 * rng.integers(0, (2**low // 2).clip(1)) + 1) << (31 - low)
    keep = (acc <= INT32_MAX) & (mult <= INT32_MAX)
    sign = rng.choice([-1, 1], size=len(acc))
    assert ((acc * mult)[keep] % 2**32 == 2**31).all() and keep.sum() > 3000
    return (acc * sign)[keep], mult[keep]


def clamp_cases(rng: np.random.Generator) -> list[Case]:
    values, bounds = grid(corners(), corners()[1:])  # a bound is never INT32_MIN
    other = rng.permutation(bounds)
    return call(CLAMP, value=values, low=np.minimum(bounds, other), high=np.maximum(bounds, other))


def smlaw_cases(rng: np.random.Generator) -> list[Case]:
    a, b = grid(corners(), corners()[np.abs(corners()) <= 2**15])
    b = np.clip(b, -(2**15), 2**15 - 1)
    args = smlaw_fits({"a": a, "b": b, "c": rng.choice(corners(), size=len(a))}, rng)
    return call(SMLAW, **args)


def corner_cases() -> list[Case]:
    rng = np.random.default_rng(5)
    acc, mult = grid(corners(), corners()[1:])
    tied = ties()
    wide = rng.integers(INT32_MIN, 2**31, size=200_000), rng.integers(-INT32_MAX, 2**31, size=200_000)
    far = np.concatenate([corners()[1:], np.arange(-(2**20) - 5000, -(2**20)), np.arange(2**20, 2**20 + 5000)])
    return [
        *call(REQUANT, acc=acc, mult=mult),
        *call(REQUANT, acc=tied[0], mult=tied[1]),
        *call(REQUANT, acc=wide[0], mult=wide[1]),
        *clamp_cases(rng),
        *smlaw_cases(rng),
        *call(TANH, arg=far, table=TANH_TABLE),
        *call(TANH, arg=np.arange(-(2**20) + 1, 2**20), table=TANH_TABLE),
        *call(EXP, z=np.concatenate([corners(), np.arange(-5000, 2**20 + 5000)]), table=EXP_TABLE),
    ]


@pytest.mark.parametrize("machine", MACHINES)
def test_c_agrees_at_the_corners_and_at_random(machine: Machine, tmp_path: Path) -> None:
    drawn = [case for kernel in (SMLAW, TANH, EXP, STATS, REQUANT) for case in draw_cases(kernel, 150, 2)[0]]
    cases = [*corner_cases(), *drawn]
    image = build_kernels(machine, RECORDS, tmp_path, TEXT)
    found = compare(cases, run_cases(machine, image, RECORDS, cases))
    assert not found, "\n".join(text[:600] for text in found[:6])


def test_norm_stats_has_the_records_prototype() -> None:
    assert "".join(STATS.prototype().split()) in "".join(runtime_c("lnn_norm_stats.c").split())


# ---- requant -----------------------------------------------------------------------------------


def nearest(acc: int, mult: int) -> int:
    """acc * mult / 2^32 to the nearest integer, ties up, in exact rationals."""
    return math.floor(Fraction(acc * mult, 2**32) + Fraction(1, 2))


@given(st.integers(INT32_MIN, INT32_MAX), st.integers(-INT32_MAX, INT32_MAX))
def test_requant_is_the_nearest_integer(acc: int, mult: int) -> None:
    assert int(fixed.requant(np.array(acc), mult)) == nearest(acc, mult)


def test_requant_is_the_nearest_integer_at_corners_and_ties() -> None:
    for acc, mult in (grid(corners(), corners()[1:]), ties()):
        got = fixed.requant(acc, mult)
        assert np.abs(got).max() <= 2**30
        pairs = zip(acc.tolist(), mult.tolist(), got.tolist(), strict=True)
        wrong = [(a, m, g) for a, m, g in pairs if g != nearest(a, m)]
        assert not wrong, wrong[:3]


@given(st.integers(-(2**40), 2**40))
def test_narrow_hides_no_overflow(value: int) -> None:
    if INT32_MIN <= value <= INT32_MAX:
        assert int(fixed.narrow(np.array(value))) == value
    else:
        with pytest.raises(AssertionError, match="int32 overflow"):
            fixed.narrow(np.array(value))


EVERY_ACC = """\
#include "harness.h"
%s
/* For each int32 of the input: every `step`th accumulator against floor(p / 2^32 + 1/2) by division in 128 bits. */
__extension__ typedef __int128 wide;
int harness_run(const uint8_t *input, uint32_t length)
{
    uint32_t at, wrong = 0;
    for (at = 0; at + 8u <= length; at += 8u) {
        const int32_t mult = *(const int32_t *)(const void *)(input + at);
        const int64_t step = *(const int32_t *)(const void *)(input + at + 4u);
        int64_t acc;
        for (acc = INT32_MIN; acc <= INT32_MAX; acc += step) {
            const wide twice = (wide)acc * mult * 2 + ((wide)1 << 32);
            wide want = twice / ((wide)1 << 33);
            if (twice < 0 && want * ((wide)1 << 33) != twice)
                want--;
            wrong += lnn_requant((int32_t)acc, mult) != (int32_t)want;
        }
    }
    harness_write(&wrong, 4u);
    return HARNESS_OK;
}
"""


@pytest.mark.slow
@pytest.mark.needs("cc")
def test_requant_of_every_accumulator(tmp_path: Path) -> None:
    """All 2^32 accumulators for one multiplier, every 65,521st for a thousand."""
    rng = np.random.default_rng(6)
    many = [*corners()[1:].tolist(), *rng.integers(-INT32_MAX, 2**31, size=1000).tolist()]
    table = np.array([[1_908_874_353, 1], *([m, 65_521] for m in many)], dtype="<i4")
    source = EVERY_ACC % "\n".join([PRELUDE, *kernel_texts(["requant"], "lnn")])
    machine = HostMachine()
    output = machine.run(machine.build({"requant.c": source}, tmp_path), table.tobytes(), timeout=600)
    assert output == bytes(4), f"{int.from_bytes(output, 'little')} wrong results"


# ---- tanh --------------------------------------------------------------------------------------


def test_tanh_is_within_three_units_everywhere() -> None:
    """All arguments of the table and as many beyond it: measured 2.46 units of 2^-15 at most, .66 in the mean square.

    Linear interpolation alone leaves h^2 max |f''| / 16 = 1.54 units (h = 1/32); knot and result round by .5 each.
    """
    arg = np.arange(-(2**20) + 1, 2**20)
    got = fixed.tanh_q15(arg, TANH_TABLE)
    error = np.abs(got - 2**15 * np.tanh(arg / 2**16))
    assert error.max() <= 2.5, error.max()
    assert np.sqrt(np.mean(error[np.abs(arg) < 2**19] ** 2)) < 0.7
    assert (got == -got[::-1]).all(), "odd"
    assert (np.diff(got) >= 0).all(), "monotone"
    assert got[2**20 - 1] == 0 and np.abs(got).max() == 32_767


def test_tanh_saturates() -> None:
    far = np.array([ARG_MAX, ARG_MAX + 1, 2**24, INT32_MAX])
    assert (fixed.tanh_q15(far, TANH_TABLE) == fixed.tanh_q15(far[:1], TANH_TABLE)).all()
    assert (fixed.tanh_q15(-far, TANH_TABLE) == -fixed.tanh_q15(far[:1], TANH_TABLE)).all()


def test_erf_is_within_two_units_everywhere() -> None:
    """The second odd table: erf(u / 2), measured 1.39 units of 2^-15 at most."""
    arg = np.arange(2**20)
    got = fixed.tanh_q15(arg, fixed.erf_table())
    assert np.abs(got - 2**15 * np.array([math.erf(v / 2**17) for v in arg.tolist()])).max() <= 1.5
    assert (np.diff(got) >= 0).all() and got[0] == 0 and got[-1] == 32_767


def test_exp_is_within_nine_units_everywhere() -> None:
    """All arguments of the table and some on either side: measured 8.17 units of 2^-15 at most, at 0.

    Linear interpolation alone leaves h^2 max |f''| / 16 = 8 units (h = 1/16).
    """
    z = np.arange(-5000, 2**20 + 5000)
    got = fixed.exp_q15(z, EXP_TABLE)
    assert np.abs(got - 2**15 * np.exp(-np.maximum(z, 0) / 2**16)).max() <= 8.2
    assert (np.diff(got) <= 0).all(), "monotone"
    assert got[0] == got[5000] == 32_760 and got[-1] == 0


# ---- reciprocal square root and LayerNorm ------------------------------------------------------


def rsqrt_error(variance: int) -> float:
    """Relative error of y 2^(pairs - 62) against 1 / sqrt(variance), from exact integers."""
    y, pairs = (int(v) for v in fixed.rsqrt_q30(np.array(variance)))
    return abs(float(Fraction(y * y * variance, 1) / Fraction(2) ** (124 - 2 * pairs) - 1)) / 2


def test_rsqrt_is_good_to_27_bits() -> None:
    """Every power of two and its neighbours, both ends, and 20,000 values over all magnitudes; measured 2^-29.9."""
    rng = np.random.default_rng(7)
    edges = {2**k + d for k in range(63) for d in (-1, 0, 1)} | {2**63 - 1, 2**62 - 1, 3 * 2**60}
    spread = {int(2.0**e) for e in rng.uniform(0.0, 62.0, size=20_000)}
    worst = max((rsqrt_error(v), v) for v in edges | spread if 1 <= v < 2**63)
    assert worst[0] < 2**-27, worst


@given(st.integers(1, 2**63 - 1))
def test_rsqrt_of_anything(variance: int) -> None:
    assert rsqrt_error(variance) < 2**-27


def normalised(x: Ints, epsilon: float, unit: float, shift: int = 0) -> Ints:
    """`norm_s16` without beta on one vector; epsilon in units of x^2, `shift` extra bits inside."""
    n = len(x)
    eps = max(1.0, n * n * epsilon)
    eps_m, eps_shift = (round(eps), 0) if eps < INT32_MAX else mantissa(eps, 31)
    gain, exponent = mantissa(unit * 2.0**shift * n, 31)
    args: Args = {
        "x": x[None, :], "n": n, "inv_n": min(round(2**31 / n), INT32_MAX), "eps": eps_m, "eps_shift": eps_shift,
        "gain": gain, "gain_shift": 46 - exponent, "beta": np.zeros(n, np.int64), "beta_shift": 0, "shift": shift,
        "lo": -32_640, "hi": 32_640,
    }  # fmt: skip
    entry = KERNELS["norm_s16"]
    assert entry.check(args, {}) == ""
    return entry.eval(**args)[0][0]


def layer_norm(x: Ints, epsilon: float) -> np.ndarray:
    """In float64. The statistics keep at least one unit of n^2 variance, which matters for tiny n and sigma only."""
    values, epsilon = x.astype(np.float64), max(epsilon, 1.0 / len(x) ** 2)
    return (values - values.mean()) / np.sqrt(values.var() + epsilon)


def spreads() -> list[tuple[str, Ints, float]]:
    """(what, vector, epsilon): wide, narrow around a far mean, one peak, constant, lost below epsilon."""
    rng = np.random.default_rng(8)
    found: list[tuple[str, Ints, float]] = []
    for n in (2, 3, 16, 100, 256, 1000):
        found.append((f"wide, n={n}", rng.integers(-32_640, 32_641, size=n), 0.01))
        found.append((f"bell, n={n}", np.round(rng.normal(300, 2000, size=n)).astype(np.int64), 1.0))
        found.append((f"narrow, n={n}", 30_000 + rng.integers(-40, 41, size=n), 0.01))
        found.append((f"peak, n={n}", np.where(np.arange(n) == 0, 32_640, -5), 1.0))
        found.append((f"constant, n={n}", np.full(n, -32_640), 1.0))
        found.append((f"epsilon alone, n={n}", rng.integers(-20, 21, size=n), 1e7))
        found.append((f"epsilon and signal, n={n}", rng.integers(-500, 501, size=n), 9e4))
    return found


@pytest.mark.parametrize(("what", "x", "epsilon"), spreads(), ids=lambda v: v if isinstance(v, str) else "")
def test_norm_is_layer_norm(what: str, x: Ints, epsilon: float) -> None:
    """Within .6 of a unit that is 1/1024 or 1/256 of a standard deviation, epsilon included.

    And what rounding inv_n = 2^31 / n moves the mean: n |mean| 2^-32 input units, seen only where sigma is about one.
    """
    unit, shift = (1024.0, 4) if len(x) < 900 else (256.0, 4)
    want = unit * layer_norm(x, epsilon)
    error = np.abs(normalised(x, epsilon, unit, shift) - np.clip(want, -32_640, 32_640))
    sigma = math.sqrt(x.astype(np.float64).var() + max(epsilon, 1.0 / len(x) ** 2))
    assert error.max() <= 0.6 + unit * len(x) * abs(x.mean()) * 2.0**-32 / sigma, error.max()
