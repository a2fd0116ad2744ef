"""Real values of the ports to raw int16 and back."""

from __future__ import annotations

import numpy as np

from lnnc.ir.graph import Array
from lnnc.ir.program import ProgramPort
from lnnc.kernels.fixed import Ints


def fracs(ports: tuple[ProgramPort, ...]) -> Ints:
    """Fraction bits of every port element."""
    return np.concatenate([np.full(p.size, p.frac, dtype=np.int64) for p in ports])


def to_raw(real: Array, ports: tuple[ProgramPort, ...]) -> Ints:
    """round(real * 2^frac) to nearest (halves away from zero, as the C header does), saturated to int16."""
    scaled = real * 2.0 ** fracs(ports)
    rounded = np.copysign(np.floor(np.abs(scaled) + 0.5), scaled)
    return np.clip(rounded, -32_768, 32_767).astype(np.int64)


def to_real(raw: Ints, ports: tuple[ProgramPort, ...]) -> Array:
    """raw / 2^frac."""
    return np.asarray(raw * 2.0 ** -fracs(ports).astype(np.float64))
