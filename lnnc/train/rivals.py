"""The ops of battery students of every kind: the formulation of `package`, with another network in its middle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from lnnc.errors import LnncError
from lnnc.frontend.layers import Dense, Net, activation_layer, linear_layer
from lnnc.ir.graph import Array, Linear, Op
from lnnc.ir.series import Clamp, Gated
from lnnc.train import formulation as f
from lnnc.train.package import streaming_ops, windowed_ops
from lnnc.train.sequence_networks import FEEDFORWARD, append_cell

CELL, OBSERVED = "cell", "observed"  # what `package` calls the network's state, and what the network reads
AGE = 3  # the feature that a window does not tell


def student_ops(kind: str, weights: Mapping[str, Array], mode: str, gate: bool) -> tuple[Op, ...]:
    """The whole program of a student, from samples to the forecast.

    weights: as `Network.arrays` names them. Those of a cell on windows do not look at the age.

    Raises:
        LnncError: a kind that has no program of this mode.
    """
    if kind == "gated" and mode == "stream":
        return streaming_ops(weights, gate)
    if kind == "gated":
        seen = {key: np.delete(weights[key], AGE, axis=1) for key in ("gate.weight", "candidate.weight")}
        return windowed_ops({**weights, **seen})
    if mode == "window" and kind not in FEEDFORWARD:
        raise LnncError(
            f"no program of a '{kind}' cell over a window", "compile", "gated cells, mlp and linear have one"
        )
    frame = streaming_ops(_placeholder(weights), gate) if mode == "stream" else windowed_ops(_placeholder(weights, 3))
    middle, result = _feedforward(weights) if kind in FEEDFORWARD else _cell(kind, weights)
    return _with_network(frame, middle, result)


def _placeholder(weights: Mapping[str, Array], features: int = 4) -> dict[str, Array]:
    """A gated cell of one unit for `package` to build its program around, with the head as it is."""
    still = {f"{gate}.{part}": np.zeros(shape) for gate in ("gate", "candidate")
             for part, shape in (("weight", (1, features + 1)), ("bias", (1,)))}  # fmt: skip
    return {**still, "head.weight": weights["head.weight"], "head.bias": weights["head.bias"]}


def _with_network(frame: tuple[Op, ...], middle: tuple[Op, ...], result: str) -> tuple[Op, ...]:
    """The program with `middle` in place of its cell, and its head on what that gives."""
    ops: list[Op] = []
    for op in frame:
        if isinstance(op, Gated):
            ops += middle
        elif isinstance(op, Linear) and op.x == CELL:
            ops.append(replace(op, x=result))
        else:
            ops.append(op)
    return tuple(ops)


def _cell(kind: str, weights: Mapping[str, Array]) -> tuple[tuple[Op, ...], str]:
    net = Net(0)
    net.sizes[OBSERVED], net.tensor = 4, OBSERVED
    append_cell(net, kind, weights)
    return tuple(net.ops), net.tensor


def _feedforward(weights: Mapping[str, Array]) -> tuple[tuple[Op, ...], str]:
    """Layers over the last 20 means around the anchor line, and its slope: `inputs.INPUTS["means"]`."""
    level, slope = f.line(4)
    around = (np.eye(f.MEANS) - level - f.CENTRES[:, None] * slope) / f.UNIT
    rise = f.SPAN * slope[None] / f.UNIT
    matrix = np.concatenate([around, rise])
    net = Net(0)
    net.sizes["means"], net.tensor = f.MEANS, "means"
    net.tensor = net.add(Linear("seen.free", "means", matrix, np.zeros(len(matrix)), "seen"))
    net.tensor = net.add(Clamp("seen", net.tensor, f.LIMIT, "seen"))
    for index in range(sum(name.startswith("layers.") for name in weights) // 2):
        linear_layer(net, f"layer{index}", Dense(weights[f"layers.{index}.weight"], weights[f"layers.{index}.bias"]))
        activation_layer(net, f"layer{index}", "relu")
    return tuple(net.ops), net.tensor
