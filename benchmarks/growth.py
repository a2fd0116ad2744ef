"""Cycles over multiplications, 1 k to 400 k MAC: networks that grow wider, n -> n -> n, and that grow deeper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from networks import count_macs, stack
from numpy.typing import NDArray

from lnnc.pipeline import compile_model
from lnnc.profiling import profile_model
from lnnc.quantize.context import Options
from lnnc.targets import Build

WIDTHS = (24, 36, 50, 72, 100, 144, 200, 256, 320, 384, 450)
DEPTHS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 400)
FIXED_LIMIT = 2000  # cycles

# (width, layers) of each network. A row and an input cost something too, and a wider network has fewer of them for each
# MAC: its points lie on a slightly bent curve. Those of a deeper one have the same shape of layer throughout.
SHAPES = {"wider": [(width, 2) for width in WIDTHS], "deeper": [(32, layers) for layers in DEPTHS]}


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
        farthest: MAC of that point.
    """

    slope: float
    fixed: float
    deviation: float
    farthest: int


@dataclass(frozen=True)
class Family:
    """What all networks of a shape cost in one way.

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
    """All networks in each way: int16 activations, 8-bit weights, -O2."""
    return [found for kind, shapes in SHAPES.items() for found in grown(kind, shapes, say)]


def grown(kind: str, shapes: Sequence[tuple[int, int]], say: Callable[[str], None]) -> list[Family]:
    """The networks of one kind."""
    macs: list[int] = []
    cycles: dict[Way, list[int]] = {way: [] for way in WAYS}
    for width, layers in shapes:
        checkpoint = stack(width, layers)
        for way in WAYS:
            compiled = compile_model(checkpoint, options=Options("int16"), build=Build(packing=way.packing))
            found = profile_model(compiled, "-O2", flags=(f"-DLNN_PATH={way.path}",)).step
            assert found is not None
            cycles[way].append(found.total.cycles)
        macs.append(count_macs(compiled.graph))
        counts = ", ".join(f"{n[-1]:,}" for n in cycles.values())
        say(f"{kind}, {layers} x {width} -> {width}: {macs[-1]:,} MAC, {counts} cycles")
    return [family(f"{kind}, {way.words}", macs, counts) for way, counts in cycles.items()]


def family(words: str, macs: Sequence[int], cycles: Sequence[int]) -> Family:
    """The lines through the points."""
    return Family(words, tuple(macs), tuple(cycles), fit(macs, cycles), fit(macs, cycles, 1.0 / np.array(cycles)))


def fit(macs: Sequence[int], cycles: Sequence[int], weights: NDArray[np.float64] | None = None) -> Line:
    """The least-squares line through the points; weights: of each residual before it is squared."""
    slope, fixed = np.polyfit(macs, cycles, 1, w=weights)
    apart = np.abs(np.array(cycles) / (slope * np.array(macs) + fixed) - 1.0)
    return Line(float(slope), float(fixed), float(apart.max()), int(macs[int(apart.argmax())]))


def growth_text(lines: Sequence[Family]) -> str:
    """The points, and what the lines say of them."""
    return "\n\n".join(points(line) + "\n" + verdict(line) for line in lines)


def points(line: Family) -> str:
    """MAC, cycles and their ratio."""
    rows = [
        f"{mac:>9,} MAC {cost:>9,} cycles {cost / mac:6.2f}" for mac, cost in zip(line.macs, line.cycles, strict=True)
    ]
    return "\n".join([f"{line.words}:", *rows])


def verdict(found: Family) -> str:
    """What the lines say."""
    lines = (("least squares", found.plain), ("least squares of relative deviations", found.relative))
    return "\n".join(f"    {words}: {described(line)}" for words, line in lines)


def described(line: Line) -> str:
    """A line in words."""
    kept = "within" if abs(line.fixed) <= FIXED_LIMIT else "ABOVE"
    return (
        f"{line.slope:.3f} cycles/MAC + {line.fixed:,.0f} cycles ({kept} {FIXED_LIMIT:,}); "
        f"largest deviation {line.deviation:.1%}, at {line.farthest:,} MAC"
    )
