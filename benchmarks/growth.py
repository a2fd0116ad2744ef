"""Cycles over multiplications: lnnc on networks of two layers, n -> n -> n, from 1 k to 400 k MAC."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from networks import count_macs, two_layers
from numpy.typing import NDArray

from lnnc.pipeline import compile_model
from lnnc.profiling import profile_model
from lnnc.quantize.context import Options
from lnnc.targets import Build

WIDTHS = (24, 36, 50, 72, 100, 144, 200, 256, 320, 384, 450)
FIXED_LIMIT = 2000  # cycles


@dataclass(frozen=True)
class Way:
    """How lnnc's C is made: packing of the weights (see `lnnc.targets.Build`) and code path (LNN_PATH)."""

    words: str
    packing: str
    path: int


WAYS = (Way("assembly", "blocks", 2), Way("intrinsics", "blocks", 1), Way("assembly, auto packing", "auto", 2))


@dataclass(frozen=True)
class Line:
    """cycles = slope * MAC + fixed.

    Attributes:
        deviation: of the point that is farthest from the line, as a part of the line there.
        farthest: width n of that point.
    """

    slope: float
    fixed: float
    deviation: float
    farthest: int


@dataclass(frozen=True)
class Family:
    """What all widths cost in one way.

    Attributes:
        plain: the least-squares line, which the largest networks decide.
        relative: the line with the least squares of relative deviations, to which every size counts alike.
    """

    words: str
    macs: tuple[int, ...]
    cycles: tuple[int, ...]
    plain: Line
    relative: Line


def growth(say: Callable[[str], None]) -> list[Family]:
    """All widths in each way: int16 activations, 8-bit weights, -O2."""
    macs: list[int] = []
    cycles: dict[Way, list[int]] = {way: [] for way in WAYS}
    for width in WIDTHS:
        checkpoint = two_layers(width)
        for way in WAYS:
            compiled = compile_model(checkpoint, options=Options("int16"), build=Build(packing=way.packing))
            found = profile_model(compiled, "-O2", flags=(f"-DLNN_PATH={way.path}",)).step
            assert found is not None
            cycles[way].append(found.total.cycles)
        macs.append(count_macs(compiled.graph))
        say(f"{width}-{width}-{width}: {macs[-1]:,} MAC, {', '.join(f'{n[-1]:,}' for n in cycles.values())} cycles")
    return [family(way.words, macs, counts) for way, counts in cycles.items()]


def family(words: str, macs: Sequence[int], cycles: Sequence[int]) -> Family:
    """The lines through the points."""
    return Family(words, tuple(macs), tuple(cycles), fit(macs, cycles), fit(macs, cycles, 1.0 / np.array(cycles)))


def fit(macs: Sequence[int], cycles: Sequence[int], weights: NDArray[np.float64] | None = None) -> Line:
    """The least-squares line through the points; weights: of each residual before it is squared."""
    slope, fixed = np.polyfit(macs, cycles, 1, w=weights)
    apart = np.abs(np.array(cycles) / (slope * np.array(macs) + fixed) - 1.0)
    return Line(float(slope), float(fixed), float(apart.max()), WIDTHS[int(apart.argmax())])


def growth_text(lines: Sequence[Family]) -> str:
    """The points, and what the lines say of them."""
    head = ("n", "MAC", *(f"{line.words}: cycles  per MAC" for line in lines))
    rows = [head]
    for index, width in enumerate(WIDTHS):
        mac = lines[0].macs[index]
        costs = [line.cycles[index] for line in lines]
        rows.append((str(width), f"{mac:,}", *(f"{cost:,}  {cost / mac:7.2f}" for cost in costs)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    text = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([*text, "", *(verdict(line) for line in lines)])


def verdict(found: Family) -> str:
    """What the lines say."""
    lines = (("least squares", found.plain), ("least squares of relative deviations", found.relative))
    return "\n".join([f"{found.words}:", *(f"    {words}: {described(line)}" for words, line in lines)])


def described(line: Line) -> str:
    """A line in words."""
    kept = "within" if abs(line.fixed) <= FIXED_LIMIT else "ABOVE"
    return (
        f"{line.slope:.3f} cycles/MAC + {line.fixed:,.0f} cycles ({kept} {FIXED_LIMIT:,}); "
        f"largest deviation {line.deviation:.1%}, at n = {line.farthest}"
    )
