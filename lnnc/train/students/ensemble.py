"""Several small networks of one kind as one: the mean of their coefficients, in one state and under one head.

Their recurrent weights become blocks on a diagonal, so the whole is a student like any other and compiles like one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lnnc.ir.graph import Array
from lnnc.train.students.student import HEADS

Arrays = Mapping[str, Array]


def merged(kind: str, members: Sequence[Arrays], inputs: int, skip: bool) -> dict[str, Array]:
    """Arrays of the network whose coefficients are the mean of its members', (before they are clipped).

    members: arrays of a `Student` of this kind, all of the same shapes.
    """
    if len(members) == 1:
        return dict(members[0])
    if kind in HEADS and kind != "leaky":
        found = _layers_of_both(members, HEADS[kind], inputs)
    elif kind == "mlp":
        found = _hidden_layers(members)
    else:  # leaky, ltc, linear: arrays of inputs are stacked, those of the state lie on the diagonal
        found = {name: _placed(name, members) for name in members[0] if not name.startswith("head.")}
    return found | _head(members, inputs if skip else 0, shared=kind == "linear")


def _all(members: Sequence[Arrays], name: str) -> list[Array]:
    return [member[name] for member in members]


def _head(members: Sequence[Arrays], skipped: int, shared: bool) -> dict[str, Array]:
    """shared: all read the same values."""
    weights, bias = _all(members, "head.weight"), np.mean(_all(members, "head.bias"), 0)
    if shared:
        return {"head.weight": np.mean(weights, 0), "head.bias": bias}
    seen = [np.mean([w[:, :skipped] for w in weights], 0)] if skipped else []
    hidden = [w[:, skipped:] / len(members) for w in weights]
    return {"head.weight": np.hstack([*seen, *hidden]), "head.bias": bias}


def _layers_of_both(members: Sequence[Arrays], layers: Sequence[str], inputs: int) -> dict[str, Array]:
    """Layers of (x, h): x is the same for all, h is each one's own."""
    found = {}
    for layer in layers:
        weights = _all(members, f"{layer}.weight")
        own = _diagonal([w[:, inputs:] for w in weights])
        found[f"{layer}.weight"] = np.hstack([np.vstack([w[:, :inputs] for w in weights]), own])
        found[f"{layer}.bias"] = np.concatenate(_all(members, f"{layer}.bias"))
    return found


def _hidden_layers(members: Sequence[Arrays]) -> dict[str, Array]:
    found, n = {}, 0
    while f"layers.{n}.weight" in members[0]:
        weights = _all(members, f"layers.{n}.weight")
        found[f"layers.{n}.weight"] = _diagonal(weights) if n else np.vstack(weights)
        found[f"layers.{n}.bias"] = np.concatenate(_all(members, f"layers.{n}.bias"))
        n += 1
    return found


def _placed(name: str, members: Sequence[Arrays]) -> Array:
    """An array of a leaky or LTC cell, which are (units,), (units, inputs), (inputs, units) or (units, units)."""
    arrays = _all(members, name)
    if arrays[0].ndim == 1 or name == "drive.weight":
        return np.concatenate(arrays)
    return np.hstack(arrays) if name.startswith("sensory_") else _diagonal(arrays)


def _diagonal(blocks: Sequence[Array]) -> Array:
    """The blocks on the diagonal of a matrix of zeros."""
    rows, columns = np.cumsum([(0, 0), *(b.shape for b in blocks)], 0).T
    found = np.zeros((rows[-1], columns[-1]))
    for block, row, column in zip(blocks, rows, columns, strict=False):
        found[row : row + len(block), column : column + block.shape[1]] = block
    return found
