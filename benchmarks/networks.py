"""The networks of `speed.py`: how each is made, its multiplications, the inputs it is run on, its step as ONNX.

Trained weights are there for one of them only. The others have random weights of a fixed seed: what a step costs does
not depend on what the weights say, and a peer has to reproduce these very numbers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ncps.torch import LTC, CfC  # type: ignore[import-untyped]
from ncps.wirings import AutoNCP  # type: ignore[import-untyped]
from published import MODELS, SCALER, load_windows
from torch import nn

from lnnc.convert import from_torch
from lnnc.errors import LnncError
from lnnc.frontend.checkpoint import Checkpoint
from lnnc.frontend.import_dlnet import import_dlnet
from lnnc.frontend.onnx_check import run_file, runner
from lnnc.frontend.onnx_export import Exported, export_onnx, save_onnx
from lnnc.frontend.onnx_write import DATA, NEXT, RESULT
from lnnc.ir.graph import Array, Euler, Graph, Linear, Ltc
from lnnc.pipeline import Compiled, plan_model
from lnnc.quantize.calibrate import shaped
from lnnc.reference.quantio import to_real
from lnnc.verify.cycles import steady_records
from lnnc.verify.engines import run_float
from lnnc.verify.model_run import Reset, Step

WINDOWS, SAMPLES = 32, 64  # of the calibration data, that errors are taken on
SAME = 1e-4  # of the output's range: more than float32 explains
CHAIN = (100, 256, 16, 145, 39, 100)
FEATURES, UNITS, MOTORS = 4, 32, 4


@dataclass(frozen=True, eq=False)
class Case:
    """A network that is measured.

    Attributes:
        key: short name, also of its files.
        label: what it is, for a heading.
    """

    key: str
    label: str
    checkpoint: Checkpoint

    @cached_property
    def plan(self) -> Compiled:
        """lnnc's pipeline with its default options."""
        return plan_model(self.checkpoint)

    @cached_property
    def macs(self) -> int:
        """Multiplications by a weight in a step of the network as it was trained; see `count_macs`."""
        return count_macs(self.plan.graph)

    @property
    def window(self) -> bool:
        """Each input is a row of its own, not a sample of a stream."""
        return self.checkpoint.architecture.mode == "window"

    @cached_property
    def samples(self) -> Array:
        """The inputs that errors are taken on, real units: (streams, samples, features)."""
        data = self.checkpoint.calibration
        assert data is not None
        if self.window:
            return data[:: max(1, len(data) // WINDOWS)][:WINDOWS].reshape(-1, 1, self.plan.graph.input_size)
        return data[:1, :SAMPLES]

    @cached_property
    def wanted(self) -> Array:
        """Outputs of the float64 network as it was trained for `samples`."""
        return run_float(self.plan.graph, self.samples)

    def error(self, outputs: Array) -> float:
        """Largest |difference| to `wanted` over the range (largest minus smallest) of all outputs."""
        return float(np.abs(outputs.reshape(self.wanted.shape) - self.wanted).max() / np.ptp(self.wanted))

    @cached_property
    def steady(self) -> list[tuple[bool, Array]]:
        """What lnnc's cycle model runs a step on, for everyone: whether a stream begins, inputs in real units."""
        data = self.checkpoint.calibration
        assert data is not None
        found, first = [], True
        for record in steady_records(self.plan.program, shaped(self.checkpoint, data))[0]:
            if isinstance(record, Step):
                found.append((first, to_real(record.values.astype(np.int64), self.plan.program.inputs)))
            first = isinstance(record, Reset) or (first and not isinstance(record, Step))
        return found

    @cached_property
    def exported(self) -> Exported:
        """One step as ONNX, after the folds that lnnc makes in float: nobody is slower for want of those."""
        return export_onnx(self.plan.optimized, self.key, self.checkpoint.calibration)

    @cached_property
    def onnx_error(self) -> float:
        """`error` of the ONNX file in onnxruntime.

        Raises:
            LnncError: it is not the same network.
        """
        exported = self.exported
        states = {name: (f"{name}{NEXT}", (1, size)) for name, size in exported.states.items()}
        outputs = tuple(value.name for value in exported.model.graph.output)
        shape = (1, self.plan.graph.input_size)
        found = self.error(
            run_file(runner(exported.model), self.samples, (DATA, shape), states, outputs, (RESULT,), {})
        )
        if not found <= SAME:
            raise LnncError(f"the ONNX file differs from the network by {found:.2g} of the output's range", self.key)
        return found

    def write_onnx(self, folder: Path) -> Path:
        """The file that peers read, checked."""
        assert self.onnx_error <= SAME
        path = folder / f"{self.key}.onnx"
        save_onnx(self.exported, path)
        return path


def count_macs(graph: Graph) -> int:
    """Multiplications by a weight in one step: weights that are not 0, two for each synapse of an LTC and unfold.

    Gains, scalers, LayerNorm and what is multiplied element by element are not counted.
    """
    total = 0
    for op in graph.ops:
        if isinstance(op, Linear):
            total += int(np.count_nonzero(op.weight))
        elif isinstance(op, Euler):
            matrices = (op.left, op.right) if op.weight is None else (op.weight,)
            total += op.steps * sum(int(np.count_nonzero(each)) for each in matrices if each is not None)
        elif isinstance(op, Ltc):
            total += 2 * (len(op.sensory.pre) + op.unfolds * len(op.recurrent.pre))
    return total


def cases(data: Path, models: Path) -> list[Case]:
    """All networks, in the order of the tables."""
    makers: list[tuple[str, str, Callable[[], Checkpoint]]] = [
        (
            "deployed",
            "DLNet student as published, 100-256-LN-4-liquid-233-LN-112-LN-100",
            lambda: deployed(data, models),
        ),
        ("chain", "five Linear layers, 100-256-16-145-39-100, ReLU and one tanh", chain),
        ("cfc_wired", f"ncps CfC, AutoNCP({UNITS}, {MOTORS}), {FEATURES} inputs", lambda: stream(CfC, wired())),
        ("cfc_dense", f"ncps CfC, {UNITS} units, backbone of 128, {FEATURES} inputs", lambda: stream(CfC, UNITS)),
        ("ltc_wired", f"ncps LTC, AutoNCP({UNITS}, {MOTORS}), {FEATURES} inputs", lambda: stream(LTC, wired())),
    ]
    return [Case(key, label, make()) for key, label, make in makers]


def deployed(data: Path, models: Path) -> Checkpoint:
    """The published network that the paper ran on its board."""
    file, dt, steps = MODELS["student_deployed_h4"]
    calibration = load_windows(data)[2]
    return import_dlnet(models / file, dt=dt, steps=steps, scaler=SCALER, calibration=calibration, output="")


def chain() -> Checkpoint:
    """Linear layers alone, random weights and inputs: what matrix products cost."""
    torch.manual_seed(0)
    between: list[nn.Module] = [nn.ReLU(), nn.Tanh(), nn.ReLU(), nn.ReLU()]
    layers: list[nn.Module] = [nn.Linear(m, n) for m, n in pairwise(CHAIN)]
    parts = [part for pair in zip(layers, between, strict=False) for part in pair]
    return from_torch(nn.Sequential(*parts, layers[-1]), normal_rows(CHAIN[0])).checkpoint


def stack(width: int, layers: int) -> Checkpoint:
    """Linear layers width -> width with ReLUs between, 8-bit weights: the networks of `growth.py`."""
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    for _ in range(layers):
        parts += [nn.Linear(width, width), nn.ReLU()]
    return from_torch(nn.Sequential(*parts[:-1]), normal_rows(width), weight_bits=8).checkpoint


def normal_rows(features: int) -> Array:
    """(64, features) of the standard normal distribution."""
    return np.asarray(np.random.default_rng(0).standard_normal((64, features)).astype(np.float32))


def wired() -> Any:
    """ncps' sparse wiring."""
    return AutoNCP(UNITS, MOTORS)


def stream(cell: Any, size: Any) -> Checkpoint:
    """A recurrent cell on four random walks, each scaled to +-1."""
    torch.manual_seed(0)
    walk = np.cumsum(np.random.default_rng(0).standard_normal((200, FEATURES)), axis=0)
    example = (walk / np.abs(walk).max(axis=0)).astype(np.float32)
    return from_torch(cell(FEATURES, size), example).checkpoint


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Where a run keeps its files."""
    return tempfile.TemporaryDirectory(prefix="lnnc-speed-")
