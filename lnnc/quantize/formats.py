"""How a tensor's real values become integers: formats, and the rules that choose them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lnnc.errors import LnncError
from lnnc.ir.graph import Port
from lnnc.ir.program import ProgramPort, ProgramTime
from lnnc.kernels.fixed import A_MAX
from lnnc.quantize.calibrate import Stats

HEADROOM = 2.0  # int16 tensors cover twice what calibration saw: one bit of fifteen against clipping the unseen
FRAC_MIN, FRAC_MAX = -15, 30


@dataclass(frozen=True)
class Format:
    """real = q * scale + center, q in [lo, hi]."""

    scale: float
    lo: int = -A_MAX
    hi: int = A_MAX
    center: float = 0.0

    @property
    def bits(self) -> int:
        return 8 if max(-self.lo, self.hi) <= 255 else 16


def wide(absmax: float, low: int = -A_MAX) -> Format:
    """An int16 format that covers [-absmax, absmax] (or [0, absmax] with low = 0)."""
    return Format(max(absmax, 1e-9) / A_MAX, low, A_MAX)


def activation(stats: Stats, bits: int, nonnegative: bool, bound: float = math.inf) -> Format:
    """Format of a tensor between layers.

    16 bits: `HEADROOM` times the largest value seen, or the proved `bound` where that is smaller.
    8 bits: the 99.95 % percentile over 127, or over 255 where values cannot be negative; zero point 0.
    A tensor that calibration saw at rest (a dead ReLU) takes the bound.
    """
    least = 0.0 if math.isinf(bound) else bound * (2.0**-14 if stats.absmax else 1.0)
    if bits == 16:
        return wide(max(min(HEADROOM * stats.absmax, bound), least), 0 if nonnegative else -A_MAX)
    top = 255 if nonnegative else 127
    reach = max(min(stats.percentile or stats.absmax, bound), least)
    return Format(max(reach, 1e-9) / top, 0 if nonnegative else -top, top)


def power_of_two(absmax: float, most: int = FRAC_MAX) -> int:
    """The most fraction bits with which an int16 activation holds `absmax`."""
    return max(FRAC_MIN, min(most, math.floor(math.log2(A_MAX / max(absmax, 1e-12)))))


def port_format(port: Port, peak: float, frac: int | None, option: str, where: str) -> ProgramPort:
    """Scale of a port: `frac` if given, else its declared range, else twice the largest value that calibration saw.

    Raises:
        LnncError: `frac` is outside -15 ... 30.
    """
    if frac is None:
        declared = None if port.lo is None or port.hi is None else max(abs(port.lo), abs(port.hi))
        frac = power_of_two(declared or 2.0 * peak or 1.0)  # a port that calibration saw at rest: some plain scale
    if not FRAC_MIN <= frac <= FRAC_MAX:
        raise LnncError(f"{option} {frac}: expected {FRAC_MIN} ... {FRAC_MAX} fraction bits", where)
    return ProgramPort(port.name, port.size, port.unit, frac, port.lo, port.hi)


def mantissa(value: float, bits: int) -> tuple[int, int]:
    """(m, e) with value ~ m * 2^e and 2^(bits-1) <= m < 2^bits, for value > 0."""
    exponent = math.floor(math.log2(value)) + 1 - bits
    m = round(value * 2.0**-exponent)
    return (m >> 1, exponent + 1) if m >> bits else (m, exponent)


def time_format(shortest: float, longest: float) -> ProgramTime:
    """Format of the argument dt: the most fraction bits, at most 30, with which 2^30 holds the longest time."""
    frac = min(30, math.floor(30 - math.log2(longest)))
    return ProgramTime(frac, max(1, math.ceil(shortest * 2.0**frac)), math.floor(longest * 2.0**frac))
