"""What a search may vary, without Optuna: lists of values and spans of numbers."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lnnc.errors import LnncError

GRID_MAX = 10_000
Scalar = int | float | str | bool


@dataclass(frozen=True)
class Values:
    """One of a list, in its order."""

    values: tuple[Scalar, ...]

    def plain(self) -> list[Scalar]:
        return list(self.values)


@dataclass(frozen=True)
class Span:
    """A number from low to high, both included; whole if both are; log: uniform in the logarithm."""

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def plain(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high, "log": self.log}


Space = Mapping[str, Values | Span]


def space_plain(space: Space) -> dict[str, Any]:
    """As JSON types, to compare two spaces."""
    return {name: axis.plain() for name, axis in sorted(space.items())}


def params_key(params: Mapping[str, Any]) -> str:
    """The same text for the same parameters, whatever their order."""
    return json.dumps(dict(params), sort_keys=True)


def grid(space: Space) -> Iterator[dict[str, Scalar]]:
    """Every combination, the last axis fastest.

    Raises:
        LnncError: an axis that is a span of real numbers, or more than `GRID_MAX` combinations.
    """
    axes = {name: _points(name, axis) for name, axis in space.items()}
    count = 1
    for values in axes.values():
        count *= len(values)
    if count > GRID_MAX:
        raise LnncError(f"a grid of {count:,} combinations", "search.space", f"at most {GRID_MAX:,}; or method nsga2")
    for combination in itertools.product(*axes.values()):
        yield dict(zip(axes, combination, strict=True))


def _points(name: str, axis: Values | Span) -> tuple[Scalar, ...]:
    if isinstance(axis, Values):
        return axis.values
    if axis.whole:
        return tuple(range(int(axis.low), int(axis.high) + 1))
    raise LnncError(
        f"a grid needs a list of values, found the span {axis.low:g} ... {axis.high:g}", f"search.space.{name}",
        "list the values, or use method nsga2",
    )  # fmt: skip
