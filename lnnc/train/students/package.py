"""A trained student of the forecast formulation as a checkpoint: what is before and after its network is compiled too.

samples -> blocks -> robust means -> line, features -> network -> (trust gate) -> forecast of `HORIZON` samples
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lnnc.data.windows import WINDOW
from lnnc.errors import LnncError
from lnnc.frontend.checkpoint import Checkpoint, PortSpec
from lnnc.frontend.network import SCALED, Network, network_checkpoint
from lnnc.ir.graph import Array, Concat, Gather, Linear, Op
from lnnc.ir.series import Clamp, Collect, Count, History, Polynomial, Robust, Slide, Spread, Trust
from lnnc.train.students import formulation as f
from lnnc.train.students import gate
from lnnc.train.students.package_cells import cell_ops, gated_op, layer_ops
from lnnc.train.students.signal import BLOCK, BOUND, CENTRES, CLIP, HISTORY, HORIZON, SUB, UNIT
from lnnc.train.students.student import Student

PORT_RANGE = (0.0, 1.5)
LIVES, LENGTH = 48, 1000  # calibration: so many series, of at most so many samples
REACH = 8  # means that the features of a step are made of: six, and two of no weight, since layers multiply fours
FIXED = ("features", "deviations", "rivals", "anchor", "level", "forecast", "network")  # layers of 16-bit weights


def student_checkpoint(student: Student, lives: Sequence[Array], where: str, name: str = "soh") -> Checkpoint:
    """A student with everything around it, ready to compile.

    A student of mode "stream", and a cell of mode "window" that remembers, becomes a model that takes one sample a step
    and forecasts with every `BLOCK`th; a windowed one is reset before each window. "gated" cells and networks without
    memory of mode "window" become a model that takes the whole window in one step.

    Args:
        lives: real series for calibration, each from its first sample on.

    Raises:
        LnncError: no series is long enough to calibrate on.
    """
    ops = windowed_ops(student) if student.whole else streaming_ops(student)
    calibration = _windows(lives, where) if student.whole else _streams(lives, where)
    size = calibration.shape[-1]
    return network_checkpoint(
        Network(ops, "forecast"), where=where, inputs=[PortSpec(name, size, "1", PORT_RANGE)],
        outputs=[PortSpec(f"{name} forecast", HORIZON, "1", PORT_RANGE)], calibration=calibration,
        provenance=dict(student.provenance), weight_bits={op.src: 16 for op in ops if op.src in FIXED},
    )  # fmt: skip


def streaming_ops(student: Student) -> tuple[Op, ...]:
    """One step for each block of samples; the state lives as long as the series does."""
    cell = student.kind not in ("mlp", "linear")
    seen = {"features": _features, "ageless": _shapes, "means": _deviations, "all": _everything}[student.inputs]()
    ops = (
        Collect("block", SCALED, BLOCK, "block"),
        Spread("spread", "block", SUB, "spread"),
        History("spreads", "spread", HISTORY, "spreads"),
        Robust("mean", "block", "spreads", SUB, round(CLIP), "means"),
        History("means", "mean", HISTORY, "means"),
        _part("recent", "means", HISTORY - REACH, REACH),
        _linear("anchor", "recent", f.line(4)[:1, -REACH:]),
        *seen,
        *(cell_ops(student, "observed") if cell else layer_ops(student, "observed")),
        *_head(student),
    )
    if not student.gate:
        return (*ops, *_forecast("network"))
    blend = (_linear("level", "mean", f.level()), *_clamped("rivals", "means", f.rivals()), _trust())
    return (*ops, *blend, *_forecast("trust"))


def windowed_ops(student: Student) -> tuple[Op, ...]:
    """All in one step that takes a window: a cell, from rest, sees its blocks one by one."""
    means = (
        Spread("spreads", SCALED, SUB, "spread"),
        Robust("means", SCALED, "spreads", SUB, round(CLIP), "means"),
        _linear("anchor", "means", f.line(4)[:1]),
    )
    if student.kind != "gated":
        return (
            *means,
            *_window_inputs(student),
            *layer_ops(student, "observed"),
            *_head(student),
            *_forecast("network"),
        )
    student = _ageless(student)
    rows = f.features()[:, -REACH:]
    steps = WINDOW // student.hop
    return (
        *means,
        Slide("features.free", "means", rows, np.zeros(len(rows)), student.hop // SUB, steps, "features"),
        Clamp("features", "features.free", BOUND, "features"),
        gated_op(student, "features", steps, memory=False),
        *([_part("observed", "features", (steps - 1) * len(rows), len(rows))] if student.skip else []),
        *_head(student),
        _part("slope", "features", (steps - 1) * len(rows), 1),
        *_forecast("network"),
    )


def _ageless(student: Student) -> Student:
    """The cell without its fourth input: how old a series is a window does not tell, so it was always 0."""
    if student.inputs == "ageless":
        return student
    age = len(f.features())
    arrays = dict(student.arrays)
    for name in ("gate.weight", "candidate.weight", *(["head.weight"] if student.skip else [])):
        arrays[name] = np.delete(arrays[name], age, axis=1)
    return replace(student, arrays=arrays)


def _shapes() -> tuple[Op, ...]:
    """`observed`: slope, surprise, bend."""
    return (*_clamped("observed", "recent", f.features()[:, -REACH:], "features"), _part("slope", "observed", 0, 1))


def _features() -> tuple[Op, ...]:
    """`observed`: slope, surprise, bend, age."""
    return (
        *_clamped("features", "recent", f.features()[:, -REACH:]),
        Count("age", SCALED, f.AGE_STEP, BOUND, "age"),
        Concat("observed", ("features", "age"), "features"),
        _part("slope", "features", 0, 1),
    )


def _deviations() -> tuple[Op, ...]:
    """`observed`: the means around the anchor line, in units, then its slope."""
    rows = np.concatenate([_around(), f.features()[:1]])
    return (*_clamped("observed", "means", rows, "deviations"), _part("slope", "observed", HISTORY, 1))


def _everything() -> tuple[Op, ...]:
    """`observed`: the means around the anchor line, slope, surprise, bend, age."""
    return (
        *_clamped("deviations", "means", np.concatenate([_around(), f.features()])),
        Count("age", SCALED, f.AGE_STEP, BOUND, "age"),
        Concat("observed", ("deviations", "age"), "deviations"),
        _part("slope", "deviations", HISTORY, 1),
    )


def _window_inputs(student: Student) -> tuple[Op, ...]:
    """As the stream's; how old a series is, a window does not tell: that row stays 0."""
    if student.inputs == "means":
        return _deviations()
    around = [_around()] if student.inputs == "all" else []
    age = [] if student.inputs == "ageless" else [np.zeros((1, HISTORY))]
    rows = np.concatenate([*around, f.features(), *age])
    slope = HISTORY * len(around)
    return (*_clamped("observed", "means", rows, "deviations"), _part("slope", "observed", slope, 1))


def _around() -> Array:
    """(MEANS, MEANS): the means around the anchor line, in units."""
    return np.asarray((np.eye(HISTORY) - np.stack([np.ones(HISTORY), CENTRES], axis=1) @ f.line(4)) / UNIT)


def _linear(out: str, x: str, weight: Array, src: str = "") -> Linear:
    return Linear(out, x, weight, np.zeros(len(weight)), src or out)


def _clamped(out: str, x: str, weight: Array, src: str = "") -> tuple[Op, Op]:
    return _linear(f"{out}.free", x, weight, src or out), Clamp(out, f"{out}.free", BOUND, src or out)


def _head(student: Student) -> tuple[Op, ...]:
    """Coefficients from the hidden values, and from what the network sees where it skips them."""
    hidden = {"linear": "observed"}.get(student.kind, "cell")
    joined: tuple[Op, ...] = ()
    if student.skip:
        joined, hidden = (Concat("joined", ("observed", hidden), "network"),), "joined"
    layer = Linear("network.free", hidden, student.arrays["head.weight"], student.arrays["head.bias"], "network")
    return (*joined, layer, Clamp("network", "network.free", BOUND, "network"))


def _part(out: str, x: str, start: int, n: int) -> Gather:
    return Gather(out, x, np.arange(start, start + n), x)


def _trust() -> Trust:
    middle, basis = f.block_means()
    return Trust(
        "trust", "network", "rivals", "anchor", "slope", "level", middle, basis, gate.PRIOR, UNIT, gate.DECAY,
        gate.FLOOR, gate.MOST, gate.SHARPNESS, "trust",
    )  # fmt: skip


def _forecast(said: str) -> tuple[Op, ...]:
    return (
        Concat("terms", ("slope", said), "forecast"),
        _linear("powers", "terms", f.monomials(), "forecast"),
        Polynomial("forecast", "powers", "anchor", HORIZON, "forecast"),
    )


def _streams(lives: Sequence[Array], where: str) -> Array:
    """(N, T, 1): equally long beginnings, as many and as long as `LIVES` and `LENGTH` allow."""
    lengths = np.sort([min(len(life), LENGTH) for life in lives])[::-1] if lives else np.zeros(0, int)
    kept = np.arange(1, len(lengths) + 1) * lengths
    length = int(lengths[int(np.argmax(kept))]) // BLOCK * BLOCK if len(kept) else 0
    if length < WINDOW:
        raise LnncError(f"no series of {WINDOW} samples to calibrate on", where, "give longer series")
    chosen = [life[:length] for life in lives if len(life) >= length][:LIVES]
    return np.stack(chosen)[:, :, None]


def _windows(lives: Sequence[Array], where: str) -> Array:
    """(N, 1, WINDOW): windows that do not overlap, of all series."""
    rows = [life[start : start + WINDOW] for life in lives for start in range(0, len(life) - WINDOW + 1, WINDOW)]
    if not rows:
        raise LnncError(f"no series of {WINDOW} samples to calibrate on", where, "give longer series")
    return np.stack(rows)[:, None, :]
