"""The pipeline as one column of calls, and what the command line does with its products."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from lnnc.codegen.emit import Files, Identity, avr_refusal, emit
from lnnc.codegen.names import check_name
from lnnc.errors import LnncError
from lnnc.frontend.build import build_graph
from lnnc.frontend.checkpoint import Checkpoint
from lnnc.frontend.storage import load_checkpoint
from lnnc.ir.graph import Array, Graph, Linear, Timed
from lnnc.ir.program import Program
from lnnc.passes import run_passes
from lnnc.quantize.calibrate import Stats, calibrate, ranges_of_checkpoint
from lnnc.quantize.context import Options
from lnnc.quantize.layout import lay_out
from lnnc.quantize.lower import Lowered, check_cells, lower
from lnnc.targets import Build
from lnnc.tune import choose_weight_bits
from lnnc.verify.engines import as_streams, raw_times, run_float, run_machine, run_reference
from lnnc.verify.places import find_machine
from lnnc.verify.vectors import make_golden

COARSE = 0.02  # of the scale of a port: a unit larger than this is said to be coarse
SHOWN = ("ltc", "leaky", "pure", "blend", "linear", "state")  # ops that tell a network's kind


@dataclass(frozen=True, eq=False)
class Compiled:
    """The pipeline as a column: each stage from the one above it, made when it is first asked for.

    Attributes:
        name: prefix of every public C name.
        stem: name of the generated files without suffix.
        wide: what "auto" chose when a file was generated, so that it need not be searched for again.
    """

    checkpoint: Checkpoint
    name: str
    options: Options
    stem: str
    wide: tuple[str, ...] | None = None
    build: Build = field(default_factory=Build)

    @cached_property
    def graph(self) -> Graph:
        return build_graph(self.checkpoint)

    @cached_property
    def optimized(self) -> Graph:
        return run_passes(self.graph, constant_time=self.options.runtime_dt is None)

    @cached_property
    def stats(self) -> dict[str, Stats]:
        check_cells(self.optimized, self.options.runtime_dt, self.checkpoint.where)
        return calibrate(self.optimized, self.checkpoint, self.options.runtime_dt)

    @cached_property
    def lowered(self) -> Lowered:
        lowered = lower(self.optimized, self.stats, self.options, self.checkpoint.where, self.weight_bits)
        return replace(lowered, warnings=(*lowered.warnings, *doubts(self.checkpoint, lowered.program)))

    @cached_property
    def weight_bits(self) -> Mapping[str, int]:
        """Layers whose weights have another width than 8 bits."""
        if self.options.weight_bits == "auto":
            found = choose_weight_bits(self.checkpoint, self.options).bits if self.wide is None else self.wide
            return dict.fromkeys(found, 16)
        return with_time_layers(self.checkpoint.architecture.weight_bits, self.optimized)

    @cached_property
    def program(self) -> Program:
        return lay_out(self.lowered.program, self.build)

    @cached_property
    def files(self) -> Files:
        refusal = avr_refusal(self.program) if self.build.target == "avr" else ""
        if refusal:
            raise LnncError(refusal, "--target avr", "a smaller model; or another --target, for a larger processor")
        return emit(self.program, self.identity, make_golden(self.program))

    @property
    def identity(self) -> Identity:
        """What the files say of the model."""
        return Identity(
            self.name, self.stem, self.checkpoint.digest(), asdict(self.options), summary(self.checkpoint), self.build,
            tuple(self.weight_bits) if self.options.weight_bits == "auto" else None,
        )  # fmt: skip


def doubts(checkpoint: Checkpoint, program: Program) -> list[str]:
    """What may make a program worse than its network, seen from the checkpoint."""
    found = [
        f"input port '{spec.name}': one unit, 2^-{port.frac}, is {2.0**-port.frac / abs(spec.scale):.1%} of its scale "
        f"{spec.scale:.3g}, which is all that the network sees of it: let the firmware subtract the offset"
        for spec, port in zip(checkpoint.inputs, program.inputs, strict=True)
        if spec.offset != 0.0 and 2.0**-port.frac > COARSE * abs(spec.scale)
    ]
    arch = checkpoint.architecture
    if program.time is not None and checkpoint.calibration is None and arch.network is not None:
        known = f"the ranges of {checkpoint.where} were measured at the time {arch.network.time:g} between samples"
        found.append(f"{known}: other times may saturate; keep its inputs")
    return found


def with_time_layers(weight_bits: Mapping[str, int], graph: Graph) -> dict[str, int]:
    """The widths, those of a folded time gate also for the two layers that it has where time is an argument."""
    found = dict(weight_bits)
    for op in graph.ops:
        if isinstance(op, Timed) and op.src in found:
            layers = (graph.producer(op.a), graph.producer(op.b))
            found.update({layer.src: found[op.src] for layer in layers if isinstance(layer, Linear)})
    return found


def plan_model(
    model: str | Path | Checkpoint, name: str = "lnn", options: Options | None = None, stem: str = "",
    build: Build | None = None,
) -> Compiled:  # fmt: skip
    """A compilation of which nothing is done yet but the reading of the checkpoint. Arguments as `compile_model`."""
    checkpoint = model if isinstance(model, Checkpoint) else load_checkpoint(model)
    return Compiled(checkpoint, check_name(name), options or Options(), stem or name, build=build or Build())


def compile_model(
    model: str | Path | Checkpoint, name: str = "lnn", options: Options | None = None, stem: str = "",
    build: Build | None = None,
) -> Compiled:  # fmt: skip
    """From a checkpoint to C text.

    Args:
        model: a checkpoint, or the path of one.
        name: prefix of every public C name.
        options: activation width and port scales.
        stem: name of the generated files without suffix; by default the prefix.
        build: processor, memory and packing of the weights: what changes the C but no bit of its results.

    Raises:
        LnncError: everything that is wrong with the model or the options; the tables do not fit an AVR.
    """
    compiled = plan_model(model, name, options, stem, build)
    _ = compiled.files  # every stage now, so that errors show here
    return compiled


def summary(checkpoint: Checkpoint) -> str:
    """The network in one line, for the banner."""
    arch = checkpoint.architecture
    count = sum(a.size for a in checkpoint.tensors.values())
    if arch.network:
        kinds = Counter(str(record["op"]) for record in arch.network.ops)
        held = ", ".join(f"{n} {kind}" for kind, n in kinds.items() if kind in SHOWN)
        return f"network, a step for each sample of {arch.features}; {count} parameters; {held}"
    text = f"{arch.family}, {arch.mode} of {arch.window}" + (f" x {arch.features}" if arch.features > 1 else "")
    cell = arch.dynamics
    steps = f"; liquid neuron, {cell.steps} Euler step{'s' * (cell.steps > 1)} of {cell.dt:.6g}" if cell else ""
    return f"{text}; {count} parameters{steps}"


def run_model(
    model: str | Path | Checkpoint, data: Array, engine: str, name: str = "lnn", options: Options | None = None,
    where: str = "data", route: str | None = None, times: Array | None = None, build: Build | None = None,
) -> Array:  # fmt: skip
    """Evaluate a model in real units.

    Args:
        data: (N, inputs) for window models; (T, features) or (N, T, features) for streams.
        engine: "float" (float64 graph), "reference" (integers), "host" or "m4" (generated C).
        times: (T,) or (N, T), the time since the last sample, where it is an argument of the step.

    Returns:
        A row of outputs for each row or sample, NaN where none was due; 3-D for several streams.
    """
    compiled = plan_model(model, name, options, build=build)
    program = compiled.program  # for every engine, so that none takes a model that cannot be compiled
    arch = compiled.checkpoint.architecture
    window = arch.mode == "window"
    grid = (arch.window, arch.features) if window else None
    streams = as_streams(data, compiled.graph.input_size, grid, where)
    spans = as_times(times, program, streams)
    if engine == "float":
        result = run_float(compiled.graph, streams, spans)
    elif engine == "reference":
        result = run_reference(program, streams, spans)
    else:
        files = compiled.files.source, compiled.files.header
        result = run_machine(program, files, name, find_machine(engine, route), streams, spans)
    if window:
        rows = result[:, 0]
        return rows.reshape(*data.shape[:2], -1) if len(rows) != len(data) and data.ndim == 3 else rows
    return result if data.ndim == 3 else result[0]


def as_times(times: Array | None, program: Program, streams: Array) -> Array | None:
    """Times as (streams, samples), as many as there are samples and where the program takes them.

    Raises:
        LnncError: another shape, no times where the program takes them, or one that is out of range.
    """
    shape = streams.shape[:2]
    if times is not None:
        if times.size not in (shape[1], shape[0] * shape[1]):
            raise LnncError(f"expected one time for each sample, {shape}, found {times.shape}", "--times")
        times = np.broadcast_to(times.reshape(-1, shape[1]), shape)
    raw_times(program, times, shape)
    return times


def with_ranges(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with the ranges of its tensors in place of its calibration inputs."""
    return replace(checkpoint, ranges=ranges_of_checkpoint(checkpoint), calibration=None)
