"""Kernels that write a tensor in whichever scale is wanted."""

from __future__ import annotations

import numpy as np

from lnnc.ir.graph import Op
from lnnc.quantize.context import Lowering
from lnnc.quantize.deliver import begin, finish, wanted
from lnnc.quantize.formats import Format


def made_in(low: Lowering, op: Op, otherwise: Format) -> Format:
    """The format that a kernel of any scale writes: what others demand, where that has room for it."""
    fmt = wanted(low, op.out)
    return fmt if fmt is not None and not fmt.center else otherwise


def write(low: Lowering, op: Op, kernel: str, does: str, fmt: Format, **args: str | int) -> None:
    """Call a kernel that makes `op.out` in any one format."""
    n = low.sizes[op.out]
    scale, center = np.full(n, fmt.scale), np.zeros(n)
    out = begin(low, op.out, scale, center, (fmt.lo, fmt.hi))
    low.builder.call(kernel, op.src, does, n=n, lo=fmt.lo, hi=fmt.hi, out=out, **args)
    finish(low, op.out, op.src, out, scale, center)
