"""One record per integer op: parameters, legal ranges, NumPy meaning and overflow proof.

Importing the package fills the registry; `runtime_c/lnn_<kernel>.c` is the C twin of each record.
"""

from lnnc.kernels import (
    affine,
    dense,
    elementwise,
    euler,
    forecast,
    gated,
    gates,
    layernorm,
    leaky,
    ltc,
    lut,
    packed,
    series,
    sparse,
    stream,
    synapse,
)
from lnnc.kernels.registry import KERNELS, Kernel, Param

__all__ = [
    "KERNELS",
    "Kernel",
    "Param",
    "affine",
    "dense",
    "elementwise",
    "euler",
    "forecast",
    "gated",
    "gates",
    "layernorm",
    "leaky",
    "ltc",
    "lut",
    "packed",
    "series",
    "sparse",
    "stream",
    "synapse",
]
