"""Lowering of LayerNorm: constants of the fused integer pass, with the bounds that keep it inside int32."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lnnc.errors import LnncError
from lnnc.ir.graph import Array, Norm
from lnnc.kernels.fixed import ARG_MAX, ARG_Q, INT32_MAX
from lnnc.quantize.context import Lowering, identifier
from lnnc.quantize.deliver import choose
from lnnc.quantize.formats import Format, mantissa
from lnnc.quantize.lower_act import ARGUMENT, lower_table

B_MAX = 32_767


@dataclass(frozen=True)
class _Fixed:
    """Fixed-point form of one LayerNorm: `unit` is 2^unit_q, results carry `shift` extra bits."""

    unit_q: float
    shift: int
    beta_shift: int


def lower_norm(low: Lowering, op: Norm) -> None:
    """A LayerNorm, together with the activation that alone reads it."""
    act = low.next_act(op.out)
    if act is not None and act.fn != "relu":
        arg, up = _norm_arg(low, op, ARGUMENT[act.fn], f"{identifier(act.out)}_arg")
        lower_table(low, act, arg, up)
        return
    out = act.out if act else op.out
    if act:
        low.done.add(act.out)
    reach = float(np.max(np.abs(op.gamma))) * math.sqrt(max(len(op.gamma) - 1, 1)) + float(np.abs(op.beta).max())
    fmt = low.formats.get(out) or choose(low, out, act is not None, reach)
    fmt = fmt if act is None else Format(fmt.scale, 0, fmt.hi)
    does = f"LayerNorm of {len(op.gamma)}" + (" and ReLU" if act else "")
    if (op.gamma == 1.0).all():
        _plain(low, op, fmt, out, does)
    else:
        _affine(low, op, fmt, out, does)


def _stats_args(low: Lowering, op: Norm, unit: float) -> dict[str, int | str]:
    """The statistics' arguments: epsilon in units of n^2 x^2, and the mantissa of unit * n."""
    n, x = len(op.gamma), low.formats[op.x]
    eps = max(1.0, n * n * op.epsilon / x.scale**2)
    eps_m, eps_e = (round(eps), 0) if eps < INT32_MAX else mantissa(eps, 31)
    gain, exponent = mantissa(unit * n, 31)
    return {
        "x": low.names[op.x], "n": n, "inv_n": min(round(2**31 / n), INT32_MAX), "eps": eps_m,
        "eps_shift": eps_e, "gain": gain, "gain_shift": 46 - exponent,
    }  # fmt: skip


def _unit_limit(low: Lowering, op: Norm) -> float:
    """log2 of the largest unit whose scale unit * 2^16 / sigma fits int32 for every sigma that matters.

    sigma >= sqrt(epsilon) in real units; below one unit of x the input's own rounding is louder than its signal and
    the scale may saturate.
    """
    x = low.formats[op.x]
    sigma = max(math.sqrt(op.epsilon) / x.scale, 1.0)
    return min(15.0 + math.log2(sigma) - 0.01, 29.0 - 0.5 * math.log2(max(len(op.gamma) - 1, 1)))


def _plain(low: Lowering, op: Norm, fmt: Format, out: str, does: str) -> None:
    """gamma is one: unit = 2^shift / scale of the result."""
    for _ in range(24):
        beta = op.beta / fmt.scale
        top = max(float(np.abs(beta).max()), 1.0)
        inverse = -math.log2(fmt.scale)
        reach = math.log2(math.sqrt(max(len(op.gamma) - 1, 1)) / fmt.scale + top)
        shift = math.floor(min(15.0, _unit_limit(low, op) - inverse, 29.9 - reach))
        if shift >= 0:
            beta_shift = max(0, shift + math.ceil(math.log2(top * 1.001)) - 15)
            args = _stats_args(low, op, 2.0**shift / fmt.scale)
            _call(low, op, "norm_s16", args, _Fixed(0, shift, beta_shift), beta, fmt, out, does)
            return
        fmt = Format(fmt.scale * 2.0, fmt.lo, fmt.hi)
    raise _too_steep(low, op)


def _affine(low: Lowering, op: Norm, fmt: Format, out: str, does: str) -> None:
    """Any gamma: a normalised Q(unit_q) vector, then one more multiplication."""
    for _ in range(24):
        fixed = _affine_form(low, op, op.gamma / fmt.scale, op.beta / fmt.scale)
        if fixed is not None:
            args = _affine_args(low, op, op.gamma / fmt.scale, fixed)
            _call(low, op, "norm_affine_s16", args, fixed, op.beta / fmt.scale, fmt, out, does)
            return
        fmt = Format(fmt.scale * 2.0, fmt.lo, fmt.hi)
    raise _too_steep(low, op)


def _too_steep(low: Lowering, op: Norm) -> LnncError:
    return LnncError(
        f"layer '{op.src}': its gain cannot be held in 16 bits at any scale", low.builder.where,
        "retrain with weight decay on the LayerNorm, or with a larger epsilon",
    )  # fmt: skip


def _affine_form(low: Lowering, op: Norm, gamma: Array, beta: Array) -> _Fixed | None:
    """gamma * 2^(16 + shift - unit_q) must fit int16, and beta << shift 30 bits; None where no shift >= 0 does."""
    unit_q = _unit_limit(low, op)
    steep = math.log2(max(float(np.abs(gamma).max()), 1e-9) * 1.001)
    high = math.log2(max(float(np.abs(beta).max()), 1.0) * 1.001)
    shift = math.floor(min(15.0, 15.0 - 16.0 + unit_q - steep, 29.0 - high))
    if shift < 0:
        return None
    return _Fixed(unit_q, shift, max(0, shift + math.ceil(high) - 15))


def _affine_args(low: Lowering, op: Norm, gamma: Array, fixed: _Fixed) -> dict[str, int | str]:
    args = _stats_args(low, op, 2.0**fixed.unit_q)
    integers = np.clip(np.round(gamma * 2.0 ** (16 + fixed.shift - fixed.unit_q)), -B_MAX, B_MAX)
    return {**args, "gamma": low.constant(f"{op.src}_gamma", "int16", integers)}


def _call(
    low: Lowering, op: Norm, kernel: str, args: dict[str, int | str], fixed: _Fixed, beta: Array, fmt: Format,
    out: str, does: str,
) -> None:  # fmt: skip
    """Append the call; beta is in units of the result."""
    integers = np.clip(np.round(beta * 2.0 ** (fixed.shift - fixed.beta_shift)), -B_MAX, B_MAX)
    name = low.define(out, fmt)
    low.builder.call(
        kernel, op.src, does, **args, beta=low.constant(f"{op.src}_beta", "int16", integers),
        beta_shift=fixed.beta_shift, shift=fixed.shift, lo=fmt.lo, hi=fmt.hi, out=name,
    )  # fmt: skip


def _norm_arg(low: Lowering, op: Norm, half: float, name: str) -> tuple[str, int]:
    """Arguments of a table with as many fraction bits, at most 16, as gamma allows; and 16 minus those bits."""
    for frac in range(ARG_Q, 3, -1):
        gamma, beta = op.gamma * half * 2.0**frac, op.beta * half * 2.0**frac
        fixed = _affine_form(low, op, gamma, beta)
        if fixed is None:
            continue
        limit = ARG_MAX >> (ARG_Q - frac)
        arg = low.builder.buffer(name, "int32", len(gamma), (-limit, limit), note=f"Q{frac}")
        args = _affine_args(low, op, gamma, fixed)
        integers = np.clip(np.round(beta * 2.0 ** (fixed.shift - fixed.beta_shift)), -B_MAX, B_MAX)
        low.builder.call(
            "norm_affine_s32", op.src, f"LayerNorm of {len(gamma)}", **args,
            beta=low.constant(f"{op.src}_beta", "int16", integers), beta_shift=fixed.beta_shift, shift=fixed.shift,
            lo=-limit, hi=limit, out=arg,
        )  # fmt: skip
        return arg, ARG_Q - frac
    raise _too_steep(low, op)
