"""Graph: the float64 meaning of one step of a network, as a flat tuple of frozen ops.

The whole grammar is on this screen. Every op has `out`, the tensor it defines, and `src`, the layer of
the checkpoint it came from: `src` is what error messages name and what the generated C says beside each call.
Shapes below leave out the batch axis.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

INPUT = "input"  # the tensor that holds the ports of one step, in real units


@dataclass(frozen=True)
class Port:
    """Consecutive elements of the model's input or output that share a name, a unit and a range.

    Attributes:
        name: what the values are, for example "soh".
        size: number of elements.
        unit: unit of the real values ("1" for ratios).
        lo, hi: declared range in that unit, or None where the checkpoint declares none.
    """

    name: str
    size: int
    unit: str
    lo: float | None = None
    hi: float | None = None


@dataclass(frozen=True, eq=False)
class Scale:
    """y[i] = x[i] * scale[i] + offset[i]; the scaler of a port. scale, offset: (n,)."""

    out: str
    x: str
    scale: Array
    offset: Array
    src: str


@dataclass(frozen=True, eq=False)
class Window:
    """y = the last `length` samples of x, oldest first, flattened: (length * features,). Keeps state."""

    out: str
    x: str
    length: int
    src: str


@dataclass(frozen=True, eq=False)
class Linear:
    """y = weight @ x + bias; weight: (outputs, inputs), bias: (outputs,)."""

    out: str
    x: str
    weight: Array
    bias: Array
    src: str


@dataclass(frozen=True, eq=False)
class Norm:
    """LayerNorm: y = gamma * (x - mean(x)) / sqrt(var(x) + epsilon) + beta, biased variance (Ba et al. 2016)."""

    out: str
    x: str
    gamma: Array
    beta: Array
    epsilon: float
    src: str


@dataclass(frozen=True, eq=False)
class Act:
    """y = fn(x) for each element; fn is one of "relu", "tanh", "sigmoid"."""

    out: str
    x: str
    fn: str
    src: str


@dataclass(frozen=True, eq=False)
class Mean:
    """y = gain * mean(x) + offset, one scalar: (1,)."""

    out: str
    x: str
    gain: float
    offset: float
    src: str


@dataclass(frozen=True, eq=False)
class Add:
    """y = a + gain * b for each element (a residual connection)."""

    out: str
    a: str
    b: str
    gain: float
    src: str


@dataclass(frozen=True, eq=False)
class Euler:
    """Liquid neuron of DLNet, `steps` explicit Euler steps from x(0) = x:

        x <- x + dt * (-alpha * x + beta * tanh(W x + drive))

    W is `weight` (h, h), or diag(`diag`) + `left` @ `right`.T with left, right: (h, rank), when weight is None.
    alpha, beta: (h,). `drive` names a scalar tensor, or is "" for none.
    """

    out: str
    x: str
    drive: str
    weight: Array | None
    diag: Array | None
    left: Array | None
    right: Array | None
    alpha: Array
    beta: Array
    dt: float
    steps: int
    src: str


Op = Scale | Window | Linear | Norm | Act | Mean | Add | Euler


@dataclass(frozen=True, eq=False)
class Graph:
    """One step of a network: ports in, ops in order of execution, ports out.

    Attributes:
        inputs, outputs: the ports, in the order of their elements.
        ops: every op reads `INPUT` or the `out` of an earlier op.
        result: the tensor that the output ports carry, in real units.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    ops: tuple[Op, ...]
    result: str

    @property
    def input_size(self) -> int:
        return sum(port.size for port in self.inputs)

    @property
    def output_size(self) -> int:
        return sum(port.size for port in self.outputs)

    @property
    def window(self) -> Window | None:
        """The op that gathers samples, or None for a model that takes its whole window in one step."""
        return next((op for op in self.ops if isinstance(op, Window)), None)

    def sizes(self) -> dict[str, int]:
        """Number of elements of every tensor, by name."""
        found = {INPUT: self.input_size}
        for op in self.ops:
            found[op.out] = out_size(op, found)
        return found

    def users(self, tensor: str) -> tuple[Op, ...]:
        """The ops that read a tensor."""
        return tuple(op for op in self.ops if tensor in reads(op))

    def producer(self, tensor: str) -> Op | None:
        """The op that defines a tensor, or None for the input."""
        return next((op for op in self.ops if op.out == tensor), None)


def reads(op: Op) -> tuple[str, ...]:
    """Names of the tensors that an op reads."""
    match op:
        case Add():
            return (op.a, op.b)
        case Euler():
            return (op.x, op.drive) if op.drive else (op.x,)
        case _:
            return (op.x,)


def rename(op: Op, old: str, new: str) -> Op:
    """The same op with every read of `old` replaced by `new`."""
    slots = ("x", "a", "b", "drive")
    names = {f.name for f in fields(op)}
    changes = {s: new for s in slots if s in names and getattr(op, s) == old}
    return replace(op, **changes) if changes else op  # type: ignore[arg-type]


def out_size(op: Op, sizes: dict[str, int]) -> int:
    """Number of elements that an op defines."""
    match op:
        case Linear():
            return int(op.weight.shape[0])
        case Mean():
            return 1
        case Window():
            return op.length * sizes[op.x]
        case Add():
            return sizes[op.a]
        case _:
            return sizes[op.x]
