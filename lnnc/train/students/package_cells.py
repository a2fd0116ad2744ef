"""The networks of students as ops: `observed` -> `cell`."""

from __future__ import annotations

import numpy as np

from lnnc.ir.graph import Act, Array, Blend, Concat, Leaky, Linear, Ltc, Op, State, Synapses
from lnnc.ir.series import Gated
from lnnc.train.students.student import LTC_UNFOLDS, Student


def cell_ops(student: Student, x: str) -> tuple[Op, ...]:
    """A cell with memory that reads `x`; its new state is `cell`."""
    return {"gated": _gated, "cfc": _cfc, "leaky": _leaky, "ltc": _ltc}[student.kind](student, x)


def layer_ops(student: Student, x: str) -> tuple[Op, ...]:
    """Hidden layers with ReLU, the last of which is `cell`; none for a linear student."""
    ops: list[Op] = []
    for n in range(len(student.arrays)):
        if f"layers.{n}.weight" not in student.arrays:
            break
        last = f"layers.{n + 1}.weight" not in student.arrays
        out = "cell" if last else f"hidden.{n}"
        ops += [_layer(student, f"layers.{n}", x, f"layer.{n}"), Act(out, f"layer.{n}", "relu", f"layers.{n}")]
        x = out
    return tuple(ops)


def _layer(student: Student, name: str, x: str, out: str) -> Linear:
    return Linear(out, x, student.arrays[f"{name}.weight"], student.arrays[f"{name}.bias"], name)


def gated_op(student: Student, x: str, steps: int, memory: bool) -> Gated:
    """The minimal gated cell of a student."""
    a = student.arrays
    return Gated(
        "cell", x, a["gate.weight"], a["gate.bias"], a["candidate.weight"], a["candidate.bias"], steps, memory, "cell"
    )


def _gated(student: Student, x: str) -> tuple[Op, ...]:
    return (gated_op(student, x, 1, memory=True),)


def _cfc(student: Student, x: str) -> tuple[Op, ...]:
    """As ncps writes it: h <- f1 (1 - t) + f2 t."""
    heads = (("ff1", "tanh"), ("ff2", "tanh"), ("time", "sigmoid"))
    layers = [
        op
        for name, fn in heads
        for op in (_layer(student, name, "sensed", f"{name}.arg"), Act(name, f"{name}.arg", fn, name))
    ]
    return (
        State("h", student.units, "cell", "cell"),
        Concat("sensed", (x, "h"), "cell"),
        *layers,
        Blend("cell", "ff1", "ff2", "time", "cell"),
    )


def _leaky(student: Student, x: str) -> tuple[Op, ...]:
    a = student.arrays
    return (
        State("h", student.units, "cell", "cell"),
        _layer(student, "drive", x, "drive"),
        Leaky("cell", "h", "drive", a["weight"], a["alpha"], a["beta"], 1, "cell"),
    )


def _ltc(student: Student, x: str) -> tuple[Op, ...]:
    a = student.arrays
    return (
        State("h", student.units, "cell", "cell"),
        Ltc(
            "cell", x, "h", _synapses(a["sensory_w"], a["sensory_sigma"], a["sensory_mu"], a["sensory_erev"]),
            _synapses(a["w"], a["sigma"], a["mu"], a["erev"]), a["gleak"], a["gleak"] * a["vleak"], a["cm"],
            LTC_UNFOLDS, False, "cell",
        ),
    )  # fmt: skip


def _synapses(w: Array, sigma: Array, mu: Array, erev: Array) -> Synapses:
    """All pairs of (pre, post), sorted by post: arrays (pre, post) as ncps keeps them."""
    pre, post = (index.T.reshape(-1) for index in np.indices(w.shape))
    flat = [np.asarray(part.T.reshape(-1), np.float64) for part in (sigma, -sigma * mu, w, w * erev)]
    return Synapses(pre.astype(np.int64), post.astype(np.int64), *flat)
