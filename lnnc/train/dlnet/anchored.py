"""The row that the paper's table lacks: an anchored student of 725 parameters, trained without the cells of its test.

It sees windows as the processor does, rounded to its port's 2^-14, without which it would learn to trust differences
that the integers do not have. 20 means of five cycles and a slope go in as 21 numbers, four Legendre coefficients of
the deviation from a line come out; the maps around it are fixed and are no parameters.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lnnc.ir.graph import Array
from lnnc.pipeline import run_model
from lnnc.train.dlnet.anchor import Anchor, Anchored
from lnnc.train.dlnet.checkpoints import anchored_checkpoint
from lnnc.train.dlnet.data import EVERY, PAST, WHOLE, Material, other_cells
from lnnc.train.dlnet.measure import count, integer_errors
from lnnc.train.dlnet.networks import DLNet, Shape, build
from lnnc.train.dlnet.plan import Bench
from lnnc.train.dlnet.shelf import Kept
from lnnc.train.learn.distill import Distillation, Examples, distill
from lnnc.train.learn.loop import Schedule

ANCHOR = Anchor()
SHAPE = Shape(ANCHOR.features, ANCHOR.terms, (16,), 8, (), "low_rank", 0, 1, 0.05)
TRAINING = Distillation(truth="l1", start=1.0, end=1.0)
PEAK_LR, BATCH = 6e-3, 256
FRACTION = 14  # bits of the input port, which serves 0 ... 1.5
HELD_EVERY = 20  # of the windows of the cells that are held out
CALIBRATE_EVERY = 50


@dataclass(frozen=True, eq=False)
class Held:
    """What the anchored students are trained on, and the windows of the cells that they never see."""

    windows: Array
    unseen: Array


def held(material: Material) -> Held:
    """Windows of the cells without a segment; every twentieth window of the cells with one."""
    tested = {name for name, _ in material.picks}
    unseen = [values[i : i + WHOLE] for name, values in material.cells.items() if name in tested
              for i in range(0, len(values) - WHOLE + 1, HELD_EVERY)]  # fmt: skip
    return Held(other_cells(material, EVERY // 2).windows, np.array(unseen))


def as_examples(windows: Array) -> Examples:
    """Features of windows as the port gives them, and the deviation of what follows from their line, in units."""
    past = np.round(windows[:, :PAST] * 2.0**FRACTION) / 2.0**FRACTION
    line = past @ ANCHOR.line().T @ ANCHOR.outputs()[:, :2].T
    features = torch.as_tensor(past @ ANCHOR.inputs().T, dtype=torch.float32)
    return Examples(features, torch.as_tensor((windows[:, PAST:] - line) / ANCHOR.unit, dtype=torch.float32))


def anchored_students(bench: Bench) -> list[Kept]:
    """One for each seed, trained unless it is on the shelf; its figures hold errors on segments and unseen cells."""
    data = held(bench.material)
    examples = as_examples(data.windows)
    return [_kept(bench, seed, data, examples) for seed in bench.plan.seeds]


def _kept(bench: Bench, seed: int, data: Held, examples: Examples) -> Kept:
    name, schedule = f"anchored seed {seed}", Schedule(bench.plan.anchored_steps, PEAK_LR, batch=BATCH, seed=seed)
    known = [asdict(ANCHOR), asdict(SHAPE), asdict(TRAINING), asdict(schedule), bench.digest, 1]
    key = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
    found = bench.shelf.get(name, key)
    if found is not None:
        return found
    model, unfinished = build(SHAPE, seed), bench.shelf.folder / f"training-{key[:12]}.part"
    distill(model, examples, TRAINING, schedule, forward=curve, checkpoint=unfinished, label=name, show=bench.show,
            about={"network": key})  # fmt: skip
    checkpoint = anchored_checkpoint(Anchored(model.eval(), ANCHOR), data.windows[::CALIBRATE_EVERY, :PAST], where=name)
    figures = {"stage": "anchored", "hidden": SHAPE.hidden, "loss": "", "percent": 0, "seed": seed, "spent": 0,
               "steps": schedule.steps, **_figures(model, bench.material, data)}  # fmt: skip
    done = bench.shelf.put(name, key, checkpoint, {**figures, **integer_errors(checkpoint, bench.material),
                                                   "mae int16 unseen": _unseen(checkpoint, data)})  # fmt: skip
    unfinished.unlink(missing_ok=True)
    return done


def curve(model: nn.Module, features: Tensor) -> Tensor:
    """The deviation from the line, in units, that a network's coefficients stand for."""
    basis = torch.as_tensor(ANCHOR.outputs()[:, 2:].T, dtype=features.dtype)
    deviation: Tensor = model(features) @ basis
    return deviation


def _figures(model: DLNet, material: Material, data: Held) -> dict[str, Any]:
    errors = {}
    for name, windows in (("mae", material.segments), ("mae unseen", data.unseen)):
        with torch.no_grad():
            forecast = Anchored(model, ANCHOR)(torch.as_tensor(windows[:, :PAST])).numpy()
        errors[name] = float(np.abs(forecast - windows[:, PAST:]).mean())
    return {"parameters": count(model), **errors}


def _unseen(checkpoint: Any, data: Held) -> float:
    """The integers' mean |error| on the windows of unseen cells."""
    forecast = run_model(checkpoint, data.unseen[:, None, :PAST], "reference")[:, 0]
    return float(np.abs(forecast - data.unseen[:, PAST:]).mean())
