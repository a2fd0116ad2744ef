"""Students of random weights and lives of synthetic batteries: what the tests of compiled forecasts share."""

from __future__ import annotations

import numpy as np

from lnnc.ir.graph import Array
from lnnc.train.students.inputs import INPUTS
from lnnc.train.students.student import HEADS, Student

KINDS = ("gated", "cfc", "leaky", "ltc", "mlp", "linear")
BOLD = 1.0  # coefficients that such a student forecasts, roughly


def lives(count: int, length: int, seed: int) -> list[Array]:
    """Fade with a knee, noise, and now and then a sample that is wrong."""
    rng = np.random.default_rng(seed)
    t = np.arange(length)
    found = []
    for _ in range(count):
        knee, steep = rng.uniform(0.3, 1.2) * length, rng.uniform(2e-5, 3e-4)
        fade = 1.07 - steep * t - 2e-3 * np.exp(np.clip((t - knee) / (0.1 * length), None, 4.0))
        noise = rng.normal(0.0, rng.uniform(1e-4, 1e-3), length)
        wrong = rng.random(length) < 0.01
        found.append(fade + noise + np.where(wrong, rng.normal(0.0, 0.1, length), 0.0))
    return found


def random_student(kind: str, mode: str, gate: bool, seed: int) -> Student:
    """A student whose coefficients are of the size of real ones."""
    rng = np.random.default_rng([7, seed])
    units, inputs = int(rng.integers(1, 12)), "means" if kind in ("mlp", "linear") else "features"
    size = INPUTS[inputs].size
    hidden = {"linear": size}.get(kind, units)
    arrays = _body(kind, size, units, rng) | {
        "head.weight": rng.normal(0.0, BOLD / hidden**0.5, (4, hidden)) / (3.0 if kind == "linear" else 1.0),
        "head.bias": rng.normal(0.0, 0.2, 4),
    }
    return Student(kind, mode, gate, inputs, False, arrays, (("seed", str(seed)),))


def _body(kind: str, size: int, units: int, rng: np.random.Generator) -> dict[str, Array]:
    def layer(name: str, rows: int, cols: int) -> dict[str, Array]:
        weight = rng.normal(0.0, cols**-0.5, (rows, cols))
        return {f"{name}.weight": weight, f"{name}.bias": rng.normal(0.0, 0.3, rows)}

    if kind == "linear":
        return {}
    if kind == "mlp":
        return layer("layers.0", units, size) | layer("layers.1", units, units)
    if kind == "leaky":
        alpha = rng.uniform(0.05, 0.9, units)
        square = rng.normal(0.0, units**-0.5, (units, units))
        return layer("drive", units, size) | {"weight": square, "alpha": alpha, "beta": alpha}
    if kind == "ltc":
        return _synapses(size, units, rng)
    return {key: value for head in HEADS[kind] for key, value in layer(head, units, size + units).items()}


def _synapses(size: int, units: int, rng: np.random.Generator) -> dict[str, Array]:
    found = {"cm": rng.uniform(1, 8, units), "gleak": rng.uniform(0.5, 1, units), "vleak": rng.normal(0, 0.2, units)}
    for prefix, pre in (("sensory_", size), ("", units)):
        shape = (pre, units)
        found |= {
            f"{prefix}w": rng.uniform(0.01, 1, shape), f"{prefix}sigma": rng.uniform(1, 3, shape),
            f"{prefix}mu": rng.normal(0, 0.5, shape), f"{prefix}erev": rng.choice([-1.0, 1.0], shape),
        }  # fmt: skip
    return found
