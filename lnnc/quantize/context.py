"""What the lowering functions share: the options, the work in progress, and the element-by-element scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from lnnc.errors import LnncError
from lnnc.ir.graph import Act, Array, Graph, Op, State
from lnnc.ir.program import DType, ProgramPort, ProgramTime, StateView
from lnnc.kernels.fixed import A_MAX, INT32_MAX
from lnnc.quantize.builder import Builder
from lnnc.quantize.calibrate import Stats
from lnnc.quantize.formats import Format

IN, OUT = "in", "out"
ACTIVATIONS = ("int16", "int8")
FUSED = ("relu", "tanh", "sigmoid", "phi")  # activations that a layer computes together with itself
WEIGHT_BITS = ("8", "16", "auto")
TIME_MIN, TIME_MAX, TIME_RATIO = 2.0**-15, 2.0**20, 2.0**14  # a Q format of 30 keeps 16 bits of the shortest


@dataclass(frozen=True)
class Options:
    """What the user may decide about the arithmetic.

    Attributes:
        activations: "int16", or "int8" for the tensors between layers (ports, states and statistics stay wide).
        input_frac, output_frac: fraction bits of the ports, or None for the rule of `port_format`.
        weight_bits: "8" or "16" for the weights of every Linear layer, "auto" for the fewest 16-bit layers that keep
            the outputs close to the trained network; None for what the checkpoint says of each layer, else 8.
        runtime_dt: (MIN, MAX) of the time between two samples, then an argument of every step; None: a constant.

    Raises:
        LnncError: another width, fraction bits that are no whole number, or times that 30 bits do not resolve.
    """

    activations: str = "int16"
    input_frac: int | None = None
    output_frac: int | None = None
    weight_bits: str | None = None
    runtime_dt: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.activations not in ACTIVATIONS:
            raise LnncError(f"expected {' or '.join(ACTIVATIONS)}, found {self.activations!r}", "activations")
        for name in ("input_frac", "output_frac"):
            if type(getattr(self, name)) not in (int, type(None)):
                raise LnncError(f"expected a whole number, found {getattr(self, name)!r}", name)
        if self.weight_bits not in (*WEIGHT_BITS, None):
            raise LnncError(f"expected {', '.join(WEIGHT_BITS)}, found {self.weight_bits!r}", "weight_bits")
        if self.runtime_dt is not None:
            object.__setattr__(self, "runtime_dt", checked_times(self.runtime_dt))


def checked_times(value: object) -> tuple[float, float]:
    """(MIN, MAX) of --runtime-dt: 2^-15 <= MIN < MAX <= 2^20, within what a Q format of 30 bits resolves."""
    pair = tuple(value) if isinstance(value, list | tuple) else ()
    numbers = len(pair) == 2 and all(isinstance(v, int | float) and not isinstance(v, bool) for v in pair)
    if numbers and TIME_MIN <= pair[0] < pair[1] <= TIME_MAX and pair[1] <= TIME_RATIO * pair[0]:
        return float(pair[0]), float(pair[1])
    raise LnncError(
        f"expected {TIME_MIN:g} <= MIN < MAX <= {TIME_MAX:g} and MAX / MIN <= {TIME_RATIO:g}, found {value!r}",
        "--runtime-dt", "--runtime-dt 0.5:2",
    )  # fmt: skip


@dataclass(frozen=True)
class Argument:
    """A tensor that is lowered to int32 arguments of a table: gain * real in Q(16 - up), at most limit >> up in size.

    Attributes:
        up_max: fraction bits that it may lose where its accumulators do not fit otherwise.
        name: its buffer, once it is lowered.
    """

    gain: float
    limit: int
    up_max: int = 12
    up: int = 0
    name: str = ""


@dataclass(frozen=True)
class Gate:
    """A CfC's gate whose tables are inside the kernel: f1 + (f2 - f1) s, or f1 + f2 s where it is `open`.

    a, b, t: the tensors whose tanh, tanh and sigmoid are f1, f2 and s.
    """

    a: str
    b: str
    t: str
    open: bool


@dataclass
class Lowering:
    """One lowering in progress: the graph, what calibration saw, and the integers so far."""

    graph: Graph
    stats: dict[str, Stats]
    options: Options
    builder: Builder
    inputs: tuple[ProgramPort, ...]
    outputs: tuple[ProgramPort, ...]
    sizes: dict[str, int] = field(default_factory=dict)
    formats: dict[str, Format] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)  # tensor -> buffer
    columns: dict[str, tuple[Array, Array]] = field(default_factory=dict)  # (scale, center) of each element, where
    # a tensor of several parts, which Linear layers alone read, has no single format
    done: set[str] = field(default_factory=set)  # ops lowered together with the one before
    wide: dict[str, str] = field(default_factory=dict)  # State tensor -> its int32 buffer, where it has one
    exact: dict[str, Op] = field(default_factory=dict)  # op.out -> the op with the numbers that its integers stand for
    views: list[StateView] = field(default_factory=list)
    rules: dict[str, str] = field(default_factory=dict)  # State tensor -> how its range was found, in words
    warnings: list[str] = field(default_factory=list)  # what the user should know of this model
    arguments: dict[str, Argument] = field(default_factory=dict)  # tensors that are no int16 activations
    gates: dict[str, Gate] = field(default_factory=dict)  # result of a gate -> what its kernel reads
    time: ProgramTime | None = None  # format of the argument dt; None: time is the constant graph.time
    bits_of: Mapping[str, int] = field(default_factory=dict)  # layers whose weights are not 8 bits wide

    def weight_bits(self, src: str) -> int:
        """8 or 16: the width of a Linear layer's weights."""
        given = self.options.weight_bits
        return int(given) if given in ("8", "16") else self.bits_of.get(src, 8)

    @property
    def bits(self) -> int:
        return 8 if self.options.activations == "int8" else 16

    def next_act(self, tensor: str) -> Act | None:
        """The activation that alone reads a tensor: it is lowered together with the layer before it."""
        users = self.graph.users(tensor)
        kept = tensor == self.graph.result or any(state.next == tensor for state in self.graph.states)
        if len(users) != 1 or kept:
            return None
        return users[0] if isinstance(users[0], Act) and users[0].fn in FUSED else None

    def integrated(self, start: str, cell: str) -> str | None:
        """The int32 buffer of the state `start`, if it is the one that `cell` makes and may update in place.

        Another cell that begins with the same state reads its int16 copy.
        """
        state = self.graph.producer(start)
        return self.wide.get(start) if isinstance(state, State) and state.next == cell else None

    def constant(self, name: str, dtype: DType, data: object, shape: tuple[int, ...] = (), note: str = "") -> str:
        return self.builder.constant(identifier(name), dtype, data, shape, note)

    def define(self, tensor: str, fmt: Format, note: str = "") -> str:
        """The int16 buffer of a tensor; the result's is the output port."""
        self.formats[tensor] = fmt
        if tensor == self.graph.result:
            self.names[tensor] = OUT
            return OUT
        note = note or f"real = q * {fmt.scale:.6g}" + (f" + {fmt.center:.6g}" if fmt.center else "")
        name = identifier(tensor)
        self.names[tensor] = self.builder.buffer(name, "int16", self.sizes[tensor], (fmt.lo, fmt.hi), note=note)
        return self.names[tensor]

    def out_scale(self, tensor: str) -> Array:
        """Real value of one unit of each element of a defined tensor."""
        if tensor == self.graph.result:
            return np.concatenate([np.full(p.size, 2.0**-p.frac) for p in self.outputs])
        return np.full(self.sizes[tensor], self.formats[tensor].scale)


def identifier(name: str) -> str:
    """A tensor or layer name as a C identifier."""
    text = "".join(c if c.isascii() and c.isalnum() else "_" for c in name)
    return text if text[:1].isalpha() else f"t_{text}"


def affine(
    low: Lowering, src: str, does: str, x: str, x_scale: Array, gain: Array, offset: Array, out_scale: Array,
    out: str, limits: tuple[int, int] = (-A_MAX, A_MAX), kernel: str = "affine_s16",
) -> None:  # fmt: skip
    """out = gain * real(x) + offset, element by element, through `affine_s16` or `affine_s32`."""
    found = _affine_integers(x_scale * gain / out_scale, offset / out_scale)
    if found is None:
        raise LnncError(
            f"layer '{src}' ({does}): its scales and offsets differ too much to share one int32 format",
            low.builder.where,
            "check the units: ranges, offsets and scales of the ports, --input-frac and --output-frac",
        )
    shift, bias, mult = found
    n = len(gain)
    low.builder.call(
        kernel, src, does, x=x, n=n, shift=shift, lo=limits[0], hi=limits[1], out=out,
        bias=low.constant(f"{out}_offset", "int32", bias), mult=low.constant(f"{out}_mult", "int32", mult),
    )  # fmt: skip


def _affine_integers(slope: Array, offset: Array) -> tuple[int, Array, Array] | None:
    """(shift, bias, mult) with ((q << shift) + bias) * mult / 2^32 ~ slope * q + offset; both in output units.

    An offset that leaves the output saturated for every q is cut short, and a slope so small that it moves the output
    by less than 2^-14 of the offset over the whole range of q is raised to where the offset fits. None where the slopes
    and offsets of the elements differ too much for one shift.
    """
    reach = 2.0**20 + np.abs(slope) * 2.0**15
    offset = np.clip(offset, -reach, reach)
    floor = np.maximum(np.abs(offset) * 2.0**-29, 2.0**-30)
    slope = np.where(np.abs(slope) < floor, np.copysign(floor, slope), slope)
    for shift in range(15, -1, -1):
        bias, mult = np.round(offset / slope * 2.0**shift), np.round(slope * 2.0 ** (32 - shift))
        if (np.abs(bias) + 2.0 ** (15 + shift) <= INT32_MAX).all() and np.abs(mult).max() <= INT32_MAX:
            return shift, bias, mult
    return None
