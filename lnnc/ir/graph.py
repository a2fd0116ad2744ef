"""Graph: the float64 meaning of one step of a network, as a flat tuple of frozen ops.

The whole grammar is on this screen, but for the ops of forecasts, which stand in `ir/series.py`. Every op has `out`,
the tensor it defines, and `src`, the layer of the checkpoint it came from: `src` is what error messages name and what
the generated C says beside each call.
Shapes below leave out the batch axis.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from lnnc.ir.series import Collect, Count, Gated, History, SeriesOp, Trust, series_reads, series_size

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

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
    """y = fn(x) for each element; fn is a key of `evaluate.ACTIVATIONS`.

    "phi" is the distribution function of the normal distribution (GELU is x phi(x)).
    """

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


@dataclass(frozen=True, eq=False)
class State:
    """y = what the tensor `next`, which a later op defines, was after the previous step; 0 after a reset: (size,)."""

    out: str
    size: int
    next: str
    src: str


@dataclass(frozen=True, eq=False)
class Concat:
    """y = the parts, one behind the other."""

    out: str
    parts: tuple[str, ...]
    src: str


@dataclass(frozen=True, eq=False)
class Gather:
    """y[i] = x[index[i]]; index: (n,) whole numbers. A slice is one whose indices count up."""

    out: str
    x: str
    index: Indices
    src: str


@dataclass(frozen=True, eq=False)
class Mul:
    """y = a * b for each element."""

    out: str
    a: str
    b: str
    src: str


@dataclass(frozen=True, eq=False)
class Div:
    """y = a / b for each element; b is above 0 on all calibration data (lowering clamps it there)."""

    out: str
    a: str
    b: str
    src: str


@dataclass(frozen=True, eq=False)
class Blend:
    """y = a + (b - a) * t for each element, t in [0, 1]: the gate of CfC and GRU."""

    out: str
    a: str
    b: str
    t: str
    src: str


@dataclass(frozen=True, eq=False)
class Timed:
    """y = a * T + b for each element, T the time since the last step: the argument of a CfC's time gate."""

    out: str
    a: str
    b: str
    src: str


@dataclass(frozen=True, eq=False)
class Pure:
    """The closed form of CfC without gates (Hasani et al. 2022; ncps `CfCCell`, mode "pure"):

        y = amplitude - amplitude * exp(-T * (rate + |x|)) * x

    amplitude, rate >= 0: (n,); T the time since the last step.
    """

    out: str
    x: str
    amplitude: Array
    rate: Array
    src: str


@dataclass(frozen=True, eq=False)
class Leaky:
    """Liquid neuron of DLNet as a cell with memory; leaky integrator and CTRNN are the case beta = alpha = 1 / tau.

    `steps` explicit Euler steps of T / steps from the state x, the drive held:

        x <- x + (T / steps) * (-alpha * x + beta * tanh(W x + drive))

    weight: (n, n); alpha, beta: (n,); drive: a tensor of n values.
    """

    out: str
    x: str
    drive: str
    weight: Array
    alpha: Array
    beta: Array
    steps: int
    src: str


@dataclass(frozen=True, eq=False)
class Synapses:
    """m synapses of conductance g = conductance * sigmoid(slope * x[pre] + offset) and current g * reversal,

    kept as current = conductance * reversal. In terms of ncps: slope = sigma, offset = -sigma * mu, conductance = w,
    current = w * erev. `pre`, `post` are whole numbers; every array is (m,). Sorted by post, then pre.
    """

    pre: Indices
    post: Indices
    slope: Array
    offset: Array
    conductance: Array
    current: Array


@dataclass(frozen=True, eq=False)
class Ltc:
    """Liquid time-constant cell (Hasani et al. 2021; ncps `LTCCell`): n neurons, state v.

        G = leak + sum of conductances          I = leak_current + sum of currents         (per neuron)

    sensory synapses read x and are held over the step, recurrent synapses read v. `unfolds` steps of D = T / unfolds:

        fused (semi-implicit):  v <- (capacitance / D * v + I) / (capacitance / D + G)
        explicit Euler:         v <- v + D / capacitance * (I - G v)

    leak, leak_current (= gleak * vleak), capacitance: (n,).
    """

    out: str
    x: str
    v: str
    sensory: Synapses
    recurrent: Synapses
    leak: Array
    leak_current: Array
    capacitance: Array
    unfolds: int
    explicit: bool
    src: str


Op = (
    Scale | Window | Linear | Norm | Act | Mean | Add | Euler
    | State | Concat | Gather | Mul | Div | Blend | Timed | Pure | Leaky | Ltc | SeriesOp
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Graph:
    """One step of a network: ports in, ops in order of execution, ports out.

    Attributes:
        inputs, outputs: the ports, in the order of their elements.
        ops: every op reads `INPUT` or the `out` of an earlier op.
        result: the tensor that the output ports carry, in real units.
        time: T of the ops that integrate over time, where it is a constant.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    ops: tuple[Op, ...]
    result: str
    time: float = 1.0

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

    @property
    def collect(self) -> Collect | None:
        """The op that gathers samples into blocks, or None for a model that steps with every sample."""
        return next((op for op in self.ops if isinstance(op, Collect)), None)

    @property
    def remembers(self) -> bool:
        """Whether a step depends on those before it by more than a window that slides."""
        kept = any(isinstance(op, Collect | History | Count | Trust) for op in self.ops)
        return kept or bool(self.states) or any(isinstance(op, Gated) and op.memory for op in self.ops)

    @property
    def states(self) -> tuple[State, ...]:
        """The tensors that a recurrent model remembers, besides a window."""
        return tuple(op for op in self.ops if isinstance(op, State))

    @property
    def timed(self) -> bool:
        """Whether the time since the last step means anything to it."""
        return any(isinstance(op, Timed | Pure | Leaky | Ltc) for op in self.ops)

    def sizes(self) -> dict[str, int]:
        """Number of elements of every tensor, by name."""
        found = {INPUT: self.input_size}
        for op in self.ops:
            found[op.out] = out_size(op, found)
        return found

    def users(self, tensor: str) -> tuple[Op, ...]:
        """The ops that read a tensor; a state reads its next value."""
        return tuple(op for op in self.ops if tensor in reads(op) or (isinstance(op, State) and op.next == tensor))

    def producer(self, tensor: str) -> Op | None:
        """The op that defines a tensor, or None for the input."""
        return next((op for op in self.ops if op.out == tensor), None)


def reads(op: Op) -> tuple[str, ...]:
    """Names of the tensors that an op reads."""
    if isinstance(op, SeriesOp):
        return series_reads(op)
    match op:
        case Add() | Mul() | Div() | Timed():
            return (op.a, op.b)
        case Blend():
            return (op.a, op.b, op.t)
        case Euler():
            return (op.x, op.drive) if op.drive else (op.x,)
        case Leaky():
            return (op.x, op.drive)
        case Ltc():
            return (op.x, op.v)
        case Concat():
            return op.parts
        case State():
            return ()
        case _:
            return (op.x,)


def rename(op: Op, old: str, new: str) -> Op:
    """The same op with every read of `old` replaced by `new`."""
    if isinstance(op, Concat):
        return replace(op, parts=tuple(new if part == old else part for part in op.parts))
    slots = ("x", "a", "b", "t", "v", "drive", "next", "spreads", "network", "rivals", "anchor", "slope", "level")
    names = {f.name for f in fields(op)}
    changes = {s: new for s in slots if s in names and getattr(op, s) == old}
    return replace(op, **changes) if changes else op  # type: ignore[arg-type]


def out_size(op: Op, sizes: dict[str, int]) -> int:
    """Number of elements that an op defines."""
    if isinstance(op, SeriesOp):
        return series_size(op, sizes)
    match op:
        case Linear():
            return int(op.weight.shape[0])
        case Mean():
            return 1
        case Window():
            return op.length * sizes[op.x]
        case Add() | Mul() | Div() | Blend() | Timed():
            return sizes[op.a]
        case State():
            return op.size
        case Concat():
            return sum(sizes[part] for part in op.parts)
        case Gather():
            return len(op.index)
        case Ltc():
            return len(op.leak)
        case _:
            return sizes[op.x]
