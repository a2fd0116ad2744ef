"""Sums over lists of synapses: conductances and currents that arrive at each neuron of an LTC cell."""

from __future__ import annotations

from typing import Any

import numpy as np

from lnnc.kernels.dense import SIZE_MAX
from lnnc.kernels.fixed import A_MAX, INT32_MAX, Ints, clamp, narrow, tanh_q15
from lnnc.kernels.lut import TABLE
from lnnc.kernels.registry import Args, Param, Ranges, Role, kernel

GATE_ONE = 2**15  # a gate that is open: sigmoid = 1 in Q15
SYNAPSES_MAX = 2**20


def gate_q15(x: Ints, slope: Ints, offset: Ints, shift: int, table: Ints) -> Ints:
    """Sigmoid of a synapse in Q15, 0 ... 2^15 - 1: (2^15 + tanh_q15((slope x + offset) >> shift)) >> 1.

    The argument is half the sigmoid's, in Q16; `offset` holds the half unit that makes `>>` round. The result is
    rounded down, so that a closed gate is 0 and no current leaks through many of them. Equation (30).
    """
    arg = narrow(slope * x + offset) >> shift
    return np.asarray((GATE_ONE + tanh_q15(arg, table)) >> 1)


def per_neuron(values: Ints, count: Ints) -> Ints:
    """Sums of consecutive values, count[i] of them for neuron i: (..., m) -> (..., n)."""
    ends = np.cumsum(count)
    sums = np.concatenate([np.zeros((*values.shape[:-1], 1), np.int64), np.cumsum(values, axis=-1)], axis=-1)
    return np.asarray(sums[..., ends] - sums[..., ends - count])


def _check(args: Args, ranges: Ranges) -> str:
    pre, count, n_x = args["pre"], args["count"], args["n_x"]
    if int(count.sum()) != args["m"] or int(pre.max()) >= n_x:
        return f"{int(count.sum())} synapses of {args['m']}, from value {int(pre.max())} of {n_x}"
    x_max = max(abs(end) for end in ranges["x"])
    reach = np.abs(args["slope"]) * x_max + np.abs(args["offset"])
    if int(reach.max()) > INT32_MAX:
        return f"the argument of synapse {int(reach.argmax())} can reach {int(reach.max())}, beyond int32"
    for name, first in (("conductance", 0), ("current", 1)):
        total = per_neuron(np.abs(args[name]), count) * GATE_ONE + _start_size(args, ranges, first)
        if int(total.max()) > INT32_MAX:
            return f"the {name} of neuron {int(total.argmax())} can reach {int(total.max())}, beyond int32"
    return ""


def _start_size(args: Args, ranges: Ranges, first: int) -> Any:
    """Largest size of what the sums begin with: of the very values where they are known, else of their range."""
    if "start" in args:
        return np.abs(args["start"].reshape(-1)[first::2])
    return max(abs(end) for end in ranges["start"])


def _fit(args: Args, rng: np.random.Generator) -> Args:
    """Random lists, their weights cut to what the sums can take, and arguments of which most do not saturate."""
    m, n, n_x = args["m"], args["n"], args["n_x"]
    count = rng.multinomial(m, rng.dirichlet(np.full(n, 0.7)))
    pre = rng.integers(0, min(n_x, 256), size=m)
    shift = args["shift"]
    slope = args["slope"] >> int(rng.integers(0, max(1, 12 - shift)))
    room = INT32_MAX - np.abs(slope) * A_MAX
    offset = np.clip(args["offset"] >> int(rng.integers(0, 13)), -room, room)
    start = np.clip(args["start"], -(2**30), 2**30)
    fitted: Args = {"count": count, "pre": pre, "slope": slope, "offset": offset, "start": start}
    for name, first in (("conductance", 0), ("current", 1)):
        free = (INT32_MAX - np.abs(start.reshape(-1)[first::2])) // GATE_ONE
        total = np.maximum(per_neuron(np.abs(args[name]), count), 1)
        part = np.repeat(np.minimum(1.0, free / total), count)
        fitted[name] = np.trunc(args[name] * part).astype(np.int64)
    return {**args, **fitted}


def _params(index: str, start: Role) -> tuple[Param, ...]:
    return (
        Param("x", "in", "int16", ("n_x",)),
        Param("n_x", "int", lo=1, hi=SIZE_MAX),
        Param("pre", "const", index, ("m",), 0, 255 if index == "uint8" else SIZE_MAX - 1),
        Param("slope", "const", "int16", ("m",)),
        Param("offset", "const", "int32", ("m",)),
        Param("conductance", "const", "int16", ("m",)),
        Param("current", "const", "int16", ("m",)),
        Param("m", "int", lo=1, hi=SYNAPSES_MAX),
        Param("count", "const", "int16", ("n",), 0, SIZE_MAX),
        Param("n", "int", lo=1, hi=SIZE_MAX),
        TABLE,
        Param("shift", "int", lo=0, hi=30),
        Param("lo", "int"),
        Param("hi", "int"),
        Param("start", start, "int32", (2, "n")),
        Param("out", "out", "int32", (2, "n")),
    )


def _sums(
    x: Ints, n_x: int, pre: Ints, slope: Ints, offset: Ints, conductance: Ints, current: Ints, m: int, count: Ints,
    n: int, table: Ints, shift: int, lo: int, hi: int, start: Ints,
) -> tuple[Ints, ...]:  # fmt: skip
    gate = gate_q15(x[:, pre], slope, offset, shift, table)
    out = np.empty((len(x), 2 * n), np.int64)
    for first, weight in enumerate((conductance, current)):
        out[:, first::2] = narrow(start[..., first::2] + per_neuron(weight * gate, count))
    return (clamp(out, lo, hi),)


@kernel(*_params("uint8", "in"), check=_check, fit=_fit, inplace="start")
def synapse_s32(**args: Any) -> tuple[Ints, ...]:
    """Conductance and current of each neuron, in turn: (out[2 i], out[2 i + 1]); equation (31).

    Neuron i has the next count[i] of m synapses. Synapse k reads x[pre[k]], its gate s is equation (30), and it adds
    conductance[k] s and current[k] s to what `start` holds.
    """
    return _sums(**args)


@kernel(*_params("int16", "in"), check=_check, fit=_fit, inplace="start")
def synapse_far_s32(**args: Any) -> tuple[Ints, ...]:
    """As `synapse_s32`, with indices of 16 bits: for more than 256 values x."""
    return _sums(**args)


@kernel(*_params("uint8", "const"), check=_check, fit=_fit)
def sensory_s32(**args: Any) -> tuple[Ints, ...]:
    """As `synapse_s32`, the sums beginning with constants: those of the leak."""
    return _sums(**args)


@kernel(*_params("int16", "const"), check=_check, fit=_fit)
def sensory_far_s32(**args: Any) -> tuple[Ints, ...]:
    """As `sensory_s32`, with indices of 16 bits."""
    return _sums(**args)
