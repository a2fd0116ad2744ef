"""What a student forecasts, in float64 and without torch: the equations once more, apart from the training's."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from lnnc.ir.evaluate import sigmoid
from lnnc.ir.graph import Array
from lnnc.train.students.gate import gated
from lnnc.train.students.inputs import INPUTS, every
from lnnc.train.students.signal import BLOCK, BOUND, Signal, forecast
from lnnc.train.students.student import LTC_UNFOLDS, RECURRENT, Student


def coefficients(student: Student, signal: Signal) -> Array:
    """The network's coefficients at every step, each within +-15: (N, K, 4). No gate."""
    x = INPUTS[student.inputs].see(signal)
    stride = student.hop // BLOCK
    x = np.repeat(every(x, student.hop), stride, 1)  # a step between two others repeats the one that ends it
    hidden = (
        np.repeat(_states(student, x[:, ::stride]), stride, 1) if student.kind in RECURRENT else _layers(student, x)
    )
    seen = np.concatenate([x, hidden], -1) if student.skip else hidden
    return np.asarray(np.clip(_layer(student, "head", seen), -BOUND, BOUND))


def forecasts(student: Student, signal: Signal) -> Array:
    """The forecast at every step, behind the gate if the student has one: (N, K, 100)."""
    q = coefficients(student, signal)
    return forecast(signal, gated(signal, q)[0] if student.gate else q)


def _layer(student: Student, name: str, x: Array) -> Array:
    return np.asarray(x @ student.arrays[f"{name}.weight"].T + student.arrays[f"{name}.bias"])


def _layers(student: Student, x: Array) -> Array:
    for n in range(sum(name.startswith("layers.") for name in student.arrays) // 2):
        x = np.maximum(_layer(student, f"layers.{n}", x), 0.0)
    return x


def _states(student: Student, x: Array) -> Array:
    """h after every step from h = 0: (N, K, inputs) -> (N, K, units)."""
    step, h = _STEPS[student.kind], np.zeros((len(x), student.units))
    states = np.empty((*x.shape[:2], student.units))
    for k in range(x.shape[1]):
        states[:, k] = h = step(student, x[:, k], h)
    return states


def _gated(student: Student, x: Array, h: Array) -> Array:
    xh = np.hstack([x, h])
    return h + sigmoid(_layer(student, "gate", xh)) * (np.tanh(_layer(student, "candidate", xh)) - h)


def _cfc(student: Student, x: Array, h: Array) -> Array:
    xh = np.hstack([x, h])
    time = sigmoid(_layer(student, "time", xh))
    return np.asarray(np.tanh(_layer(student, "ff1", xh)) * (1.0 - time) + np.tanh(_layer(student, "ff2", xh)) * time)


def _leaky(student: Student, x: Array, h: Array) -> Array:
    driven = np.tanh(_layer(student, "drive", x) + h @ student.arrays["weight"].T)
    return np.asarray(h - student.arrays["alpha"] * h + student.arrays["beta"] * driven)


def _ltc(student: Student, x: Array, v: Array) -> Array:
    a = student.arrays
    sensed, driven = _conduct(a, "sensory_", x)
    for _ in range(LTC_UNFOLDS):
        conductance, current = _conduct(a, "", v)
        inflow = a["cm"] * LTC_UNFOLDS
        v = (inflow * v + a["gleak"] * a["vleak"] + driven + current) / (inflow + a["gleak"] + sensed + conductance)
    return v


def _conduct(a: Mapping[str, Array], prefix: str, x: Array) -> tuple[Array, Array]:
    opened = a[f"{prefix}w"] * sigmoid(a[f"{prefix}sigma"] * (x[..., None] - a[f"{prefix}mu"]))
    return opened.sum(1), (opened * a[f"{prefix}erev"]).sum(1)


_STEPS: dict[str, Callable[[Student, Array, Array], Array]] = {
    "gated": _gated,
    "cfc": _cfc,
    "leaky": _leaky,
    "ltc": _ltc,
}
