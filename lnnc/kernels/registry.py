"""The `@kernel` decorator: from one record come the C call, the prototype check, the test harness and the proofs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lnnc.kernels.fixed import A_MAX, INT32_MAX

Ints = NDArray[np.int64]
Role = Literal["in", "inout", "out", "const", "int", "value"]
Ranges = Mapping[str, tuple[int, int]]
Args = dict[str, Any]

LIMITS = {"uint8": (0, 255), "int8": (-127, 127), "int16": (-A_MAX, A_MAX), "int32": (-INT32_MAX, INT32_MAX)}
C_TYPES = {"uint8": "uint8_t", "int8": "int8_t", "int16": "int16_t", "int32": "int32_t"}


@dataclass(frozen=True)
class Param:
    """One parameter of a kernel.

    Attributes:
        name: the same word in Python, C and SEMANTICS.md.
        role: "in", "inout", "out": an array in RAM; "const": a table in flash; "int": a number known at compile
            time; "value": element 0 of a buffer of one, or a number, passed by value.
        dtype: element type.
        size: names of "int" parameters, sums of them ("n_a+n_b") or numbers; their product is the number of elements
            (arrays only).
        lo, hi: legal range of an element; by default 0 ... 255, +-127, +-32,640 and +-(2^31 - 1).
        align: bytes that the address of a table is a multiple of, where a kernel reads it faster so.
    """

    name: str
    role: Role
    dtype: str = "int32"
    size: tuple[str | int, ...] = ()
    lo: int | None = None
    hi: int | None = None
    align: int = 1

    @property
    def range(self) -> tuple[int, int]:
        low, high = LIMITS[self.dtype]
        return (low if self.lo is None else self.lo, high if self.hi is None else self.hi)

    @property
    def is_array(self) -> bool:
        return self.role in ("in", "inout", "out", "const")

    def count(self, args: Mapping[str, Any]) -> int:
        """Number of elements, given the values of the "int" parameters."""
        factors = (sum(args[name] for name in s.split("+")) if isinstance(s, str) else s for s in self.size)
        return math.prod(factors)

    def size_names(self) -> set[str]:
        """The "int" parameters that the size is made of."""
        return {name for s in self.size if isinstance(s, str) for name in s.split("+")}

    def c_decl(self) -> str:
        """The parameter as C declares it."""
        kind = C_TYPES[self.dtype]
        if not self.is_array:
            return f"{kind} {self.name}"
        const = "const " if self.role in ("in", "const") else ""
        return f"{const}{kind} *{self.name}"


@dataclass(frozen=True, eq=False)
class Kernel:
    """An integer op.

    Attributes:
        name: `linear_s16` for the C function `lnn_linear_s16`.
        eval: integer meaning on a batch: arrays in RAM are (batch, size) int64, tables (size,) int64, "value"
            parameters (batch, 1) int64 or int. Returns the "out" and "inout" arrays in order of the parameters.
        check: overflow proof; gets tables, numbers and the ranges of the buffers, returns "" or what fails.
        fit: turns random arguments into legal ones, for the differential test.
        inplace: the "in" parameter that `out` may overlap exactly, or "".
        waits: returns how many samples are still missing; a step ends early while that is positive.
    """

    name: str
    params: tuple[Param, ...]
    eval: Callable[..., tuple[Ints, ...]]
    check: Callable[[Args, Ranges], str]
    fit: Callable[[Args, np.random.Generator], Args]
    inplace: str = ""
    waits: bool = False

    def prototype(self) -> str:
        """The declaration that `runtime_c/lnn_<name>.c` must carry."""
        returns = "int32_t" if self.waits else "void"
        return f"static {returns} lnn_{self.name}({', '.join(p.c_decl() for p in self.params)})"

    def written(self) -> tuple[Param, ...]:
        return tuple(p for p in self.params if p.role in ("out", "inout"))


KERNELS: dict[str, Kernel] = {}


def _always_legal(args: Args, ranges: Ranges) -> str:
    return ""


def _as_drawn(args: Args, rng: np.random.Generator) -> Args:
    return args


def kernel(
    *params: Param,
    check: Callable[[Args, Ranges], str] = _always_legal,
    fit: Callable[[Args, np.random.Generator], Args] = _as_drawn,
    inplace: str = "",
    waits: bool = False,
) -> Callable[[Callable[..., tuple[Ints, ...]]], Callable[..., tuple[Ints, ...]]]:
    """Register the decorated NumPy function as the meaning of a kernel of the same name."""

    def register(meaning: Callable[..., tuple[Ints, ...]]) -> Callable[..., tuple[Ints, ...]]:
        name = meaning.__name__
        KERNELS[name] = Kernel(name, params, meaning, check, fit, inplace, waits)
        return meaning

    return register


def param_ranges(entry: Kernel) -> dict[str, tuple[int, int]]:
    """The legal range of every parameter, for proofs that hold whatever buffer is passed."""
    return {p.name: p.range for p in entry.params}
