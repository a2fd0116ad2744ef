"""What is measured of every network of the reproduction: its float error, and the errors of its integers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from lnnc.frontend.checkpoint import Checkpoint
from lnnc.pipeline import plan_model
from lnnc.quantize.context import Options
from lnnc.train.dlnet.checkpoints import dlnet_checkpoint
from lnnc.train.dlnet.data import PAST, Material
from lnnc.train.dlnet.networks import DLNet, Scaled, Scaler
from lnnc.train.dlnet.plan import Bench, Record
from lnnc.train.dlnet.shelf import Job, Kept
from lnnc.verify.engines import run_reference

CALIBRATION = 256  # windows of the training set


def finish(bench: Bench, job: Job, model: DLNet) -> tuple[Checkpoint, Mapping[str, Any]]:
    """A trained network's checkpoint, and its figures on the segments."""
    split = bench.splits[job.seed]
    calibration = bench.material.windows[split.rows][:: max(1, len(split.rows) // CALIBRATION), :PAST]
    checkpoint = dlnet_checkpoint(model, split.scaler, calibration, where=job.name)
    figures = {"parameters": count(model), "mae": float_error(model, split.scaler, bench.material)}
    return checkpoint, {**figures, **integer_errors(checkpoint, bench.material)}


def count(model: nn.Module) -> int:
    """Trained numbers."""
    return sum(weight.numel() for weight in model.parameters())


def float_error(model: DLNet, scaler: Scaler, material: Material) -> float:
    """The mean |error| of the float32 network on the segments, in SOH."""
    with torch.no_grad():
        forecast = Scaled(model, scaler)(torch.as_tensor(material.segments[:, :PAST], dtype=torch.float32))
    return float(np.abs(forecast.double().numpy() - material.segments[:, PAST:]).mean())


def integer_errors(checkpoint: Checkpoint, material: Material) -> dict[str, Any]:
    """The same of the compiled program with int16 and with int8 activations, and the bytes of its tables."""
    found: dict[str, Any] = {}
    for width in ("int16", "int8"):
        program = plan_model(checkpoint, options=Options(width)).program
        forecast = run_reference(program, material.segments[:, None, :PAST])[:, 0]
        found[f"mae {width}"] = float(np.abs(forecast - material.segments[:, PAST:]).mean())
        found["tables"] = sum(table.bytes for table in program.constants)
    return found


def record_of(kept: Kept) -> Record:
    """A network's figures from its file."""
    notes = kept.figures
    return Record(
        str(notes["stage"]), int(notes["hidden"]), str(notes["loss"]), int(notes["percent"]), int(notes["seed"]),
        int(notes["parameters"]), int(notes["steps"]) + int(notes["spent"]), int(notes["tables"]),
        float(notes["mae"]), float(notes["mae int16"]), float(notes["mae int8"]),
    )  # fmt: skip


def front(records: Sequence[Record]) -> list[tuple[int, str]]:
    """(hidden, loss) of the distilled students that no other beats in both mean error and parameters."""
    points: dict[tuple[int, str], list[Record]] = {}
    for record in records:
        if record.stage == "distilled":
            points.setdefault((record.hidden, record.loss), []).append(record)
    cost = {at: (float(np.mean([r.mae for r in held])), held[0].parameters) for at, held in points.items()}
    return [at for at, (error, size) in cost.items()
            if not any(e <= error and s <= size and (e, s) != (error, size) for e, s in cost.values())]  # fmt: skip
