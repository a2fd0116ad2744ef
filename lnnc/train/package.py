"""A trained student of the forecast formulation as a checkpoint: what is before and after its network is compiled too.

samples -> blocks -> robust means -> line, features -> network -> (trust gate) -> forecast of `HORIZON` samples
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lnnc.frontend.checkpoint import Checkpoint, PortSpec
from lnnc.frontend.network import SCALED, Network, network_checkpoint
from lnnc.ir.graph import Array, Concat, Gather, Linear, Op
from lnnc.ir.series import Clamp, Collect, Count, Gated, History, Polynomial, Robust, Slide, Spread, Trust
from lnnc.train import formulation as f

PORT_RANGE = (0.0, 1.5)
# The gate: bias towards the network, memory of the scores, and how sharply they decide
PRIOR, KEEP, FLOOR, MOST, RATE = 1.5, 0.9, 0.05, 16.0, 0.4
REACH = 8  # means that the features of a step are made of: six, and two of no weight, since layers multiply fours


def streaming_ops(weights: Mapping[str, Array], gate: bool) -> tuple[Op, ...]:
    """One step for each block of samples; the state lives as long as the series does.

    Args:
        weights: "gate.weight" (n, 4 + n), "gate.bias", "candidate.weight", "candidate.bias", "head.weight" (4, n),
            "head.bias".
        gate: blend the network with naive forecasts by how well each has done.
    """
    said = "network"
    ops: list[Op] = [
        Collect("block", SCALED, f.BLOCK, "block"),
        Spread("spread", "block", f.SUB, "spread"),
        History("spreads", "spread", f.MEANS, "spreads"),
        Robust("mean", "block", "spreads", f.SUB, f.CLIP, "means"),
        History("means", "mean", f.MEANS, "means"),
        _part("recent", "means", f.MEANS - REACH, REACH),
        _linear("anchor", "recent", f.line(4)[:1, -REACH:]),
        *_clamped("features", "recent", f.features()[:, -REACH:]),
        Count("age", SCALED, f.AGE_STEP, f.LIMIT, "age"),
        Concat("observed", ("features", "age"), "features"),
        _gated("cell", "observed", weights, 1, memory=True),
        *_head(weights),
        _part("slope", "features", 0, 1),
    ]
    if gate:
        ops += [_linear("level", "mean", f.level()), *_clamped("rivals", "means", f.rivals()), _trust()]
        said = "trust"
    return (*ops, *_forecast(said))


def windowed_ops(weights: Mapping[str, Array], hop: int = f.BLOCK) -> tuple[Op, ...]:
    """All in one step that takes a window: the cell, from rest, sees its blocks one by one, `hop` samples apart.

    weights: as `streaming_ops`, with gates over three features: how old a series is, a window does not tell.
    """
    rows = f.features()[:, -REACH:]
    steps = f.WINDOW // hop
    return (
        Spread("spreads", SCALED, f.SUB, "spread"),
        Robust("means", SCALED, "spreads", f.SUB, f.CLIP, "means"),
        _linear("anchor", "means", f.line(4)[:1]),
        Slide("features.free", "means", rows, np.zeros(len(rows)), hop // f.SUB, steps, "features"),
        Clamp("features", "features.free", f.LIMIT, "features"),
        _gated("cell", "features", weights, steps, memory=False),
        *_head(weights),
        _part("slope", "features", (steps - 1) * len(rows), 1),
        *_forecast("network"),
    )


def student_checkpoint(
    ops: tuple[Op, ...], calibration: Array, where: str, provenance: Mapping[str, str | float], name: str = "soh"
) -> Checkpoint:
    """The checkpoint of a student's ops.

    Args:
        calibration: real series, (N, T, 1) for a streaming student, (N, 1, WINDOW) for a windowed one.
    """
    size = calibration.shape[-1]
    bits = dict.fromkeys([op.src for op in ops if isinstance(op, Linear)], 16)
    return network_checkpoint(
        Network(ops, "forecast"), where=where, inputs=[PortSpec(name, size, "1", PORT_RANGE)],
        outputs=[PortSpec(f"{name} forecast", f.HORIZON, "1", PORT_RANGE)], calibration=calibration,
        provenance=provenance, weight_bits=bits,
    )  # fmt: skip


def _linear(out: str, x: str, weight: Array) -> Linear:
    return Linear(out, x, weight, np.zeros(len(weight)), out)


def _clamped(out: str, x: str, weight: Array, bias: Array | None = None) -> tuple[Op, Op]:
    bias = np.zeros(len(weight)) if bias is None else bias
    return Linear(f"{out}.free", x, weight, bias, out), Clamp(out, f"{out}.free", f.LIMIT, out)


def _head(weights: Mapping[str, Array]) -> tuple[Op, Op]:
    return _clamped("network", "cell", weights["head.weight"], weights["head.bias"])


def _gated(out: str, x: str, weights: Mapping[str, Array], steps: int, memory: bool) -> Gated:
    return Gated(
        out, x, weights["gate.weight"], weights["gate.bias"], weights["candidate.weight"], weights["candidate.bias"],
        steps, memory, out,
    )  # fmt: skip


def _part(out: str, x: str, start: int, n: int) -> Gather:
    return Gather(out, x, np.arange(start, start + n), x)


def _trust() -> Trust:
    middle, basis = f.block_means()
    prior = np.array([PRIOR, 0.0, 0.0, 0.0])
    return Trust(
        "trust", "network", "rivals", "anchor", "slope", "level", middle, basis, prior, f.UNIT, KEEP, FLOOR, MOST, RATE,
        "trust",
    )  # fmt: skip


def _forecast(said: str) -> tuple[Op, ...]:
    return (
        Concat("terms", ("slope", said), "forecast"),
        _linear("powers", "terms", f.monomials()),
        Polynomial("forecast", "powers", "anchor", f.HORIZON, "forecast"),
    )
