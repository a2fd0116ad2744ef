"""The axes that a pipeline's search may vary, from its configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lnnc.errors import Findings
from lnnc.train.pareto.space import Span, Values
from lnnc.train.students.inputs import INPUTS
from lnnc.train.students.student import HOPS

TRAINED = (
    "kind",
    "units",
    "skip",
    "inputs",
    "hop",
    "steps",
    "peak_lr",
    "weight_decay",
)  # axes that need a training of their own
BUILT = ("weight_bits", "activations")  # axes that only need a compilation
AXES = (*TRAINED, *BUILT)
BATTERY_ONLY = ("skip", "inputs", "hop")


def read_space(table: Mapping[str, Any], kinds: Sequence[str], found: Findings) -> dict[str, Values | Span]:
    """The space of a search: lists of values, or { low, high, log }; faults are noted.

    kinds: networks that may be named.
    """
    space: dict[str, Values | Span] = {}
    for name, axis in table.items():
        where = f"pareto.space.{name}"
        if name not in AXES:
            found.add(f"{where}: unknown axis, expected {', '.join(AXES)}")
        elif isinstance(axis, list) and axis:
            space[name] = Values(tuple(axis))
            _check_axis(name, axis, where, kinds, found)
        elif isinstance(axis, Mapping) and {"low", "high"} <= set(axis) <= {"low", "high", "log"}:
            span = Span(axis["low"], axis["high"], bool(axis.get("log", False)))
            space[name] = span
            _check_axis(name, [span.low, span.high], where, kinds, found)
        else:
            found.add(f"{where}: expected a list of values, or {{ low = 2, high = 16 }}, found {axis!r}")
    return space


def _check_axis(name: str, values: list[Any], where: str, kinds: Sequence[str], found: Findings) -> None:
    fits: Callable[[Any], bool] = {
        "kind": lambda v: v in kinds,
        "units": lambda v: _whole(v) and 1 <= v <= 9999,
        "skip": lambda v: isinstance(v, bool),
        "inputs": lambda v: v in INPUTS,
        "hop": lambda v: v in HOPS and _whole(v),
        "steps": lambda v: _whole(v) and v >= 1,
        "peak_lr": lambda v: _number(v) and 0 < v <= 10,
        "weight_decay": lambda v: _number(v) and v >= 0,
        "weight_bits": lambda v: v in (8, 16, "auto") and not isinstance(v, bool),
        "activations": lambda v: v in ("int16", "int8"),
    }[name]
    bad = [value for value in values if not fits(value)]
    if bad:
        found.add(f"{where}: {', '.join(map(repr, bad))} cannot be a value of it")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
