"""What has to be known to read the reproduced table, measured on the data at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from lnnc.frontend.import_dlnet import read_state_dict
from lnnc.report.render import columns
from lnnc.train.dlnet.data import Material, leak, polynomial_cells
from lnnc.train.dlnet.measure import float_error
from lnnc.train.dlnet.networks import DLNet, Scaler, from_tensors
from lnnc.train.dlnet.plan import Bench, Record
from lnnc.train.dlnet.shelf import Kept

DEPLOYED = Scaler(0.8178250862438334, 1.006409511628937)  # the scaler that the published student is deployed with
TRAINED = Scaler(0.77363, 1.01019)  # the one that it was trained with
GOAL, GOAL_PARAMETERS, STRETCH = 0.0013, 900, 0.0010
FILES = {  # published file -> Euler steps, dt
    "teacher_h128_state_dict.pth": (9, 1.0 / 9.0),
    "student_h64_state_dict.pth": (1, 0.05),
    "student_h16_pruned90_state_dict.pth": (1, 0.05),
    "student_deployed_h4_state_dict.pth": (1, 0.05),
}


def disclosure(bench: Bench, naive: Mapping[str, float]) -> str:
    """What the figures measure: polynomials, and windows that training has seen."""
    count, cells = polynomial_cells(bench.material.cells)
    leaks = [leak(bench.material, split.rows) for split in bench.splits.values()]
    rows = columns(("forecast without a network", "error"), [(name, _small(error)) for name, error in naive.items()])
    return f"""What this measures
* {count} of the {cells} smoothed cells ARE one polynomial of degree 8 over their whole life (residual below 1e-10).
  A figure on them measures arithmetic, not forecasting; smoothing has also looked ahead in time.
* A cubic through the window, without any training, scores {naive["cubic through 100"]:.5f}; the paper's deployed
  int8 student has 0.0066, its teacher 0.0078.
* The split is the paper's: random windows of the same cells. {np.mean(leaks):.0%} of the segments' target cycles lie
  in a training window of the same cell. Only the anchored student below is trained on other cells.
* The paper takes the epoch that is best on the test segments. Here the last one is taken.
* Learning rates, lengths and the ranking of neurons are not published; ours stand in docs/distillation.md.

{rows}"""


def _small(error: float) -> str:
    return f"{error:.5f}" if error >= 1e-5 else f"{error:.1e}"


def findings(bench: Bench, students: Sequence[Kept]) -> str:
    """What changes our own students' errors more than their architecture does: the scaler; and what hardly does."""
    networks = [(kept.network(), bench.splits[int(kept.figures["seed"])].scaler) for kept in students
                if kept.figures["stage"] == "distilled" and int(kept.figures["hidden"]) >= 4]  # fmt: skip
    if not networks:
        return ""
    right = float(np.mean([float_error(model, scaler, bench.material) for model, scaler in networks]))
    wrong = float(np.mean([float_error(model, DEPLOYED, bench.material) for model, _ in networks]))
    inert = float(np.mean([float_error(_without_liquid(model), scaler, bench.material) for model, scaler in networks]))
    return f"""Findings on our distilled students, h >= 4, mean of {len(networks)}
* Deployed with the published student's scaler {DEPLOYED.low:.5f} ... {DEPLOYED.high:.5f} instead of the one of their
  training: {right:.5f} -> {wrong:.5f}. The published student was trained with {TRAINED.low} ... {TRAINED.high}.
* With the liquid step deleted (alpha = beta = 0): {right:.5f} -> {inert:.5f}."""


def _without_liquid(model: DLNet) -> DLNet:
    with torch.no_grad():
        model.dynamics.alpha.zero_()
        model.dynamics.beta.zero_()
    return model


def published(folder: Path, material: Material) -> str:
    """The published files with the scaler of their deployment and with that of their training.

    Raises:
        LnncError: a file cannot be read.
    """
    rows = []
    for name, (steps, dt) in FILES.items():
        model = from_tensors(read_state_dict(folder / name), steps, dt, name)
        errors = (f"{float_error(model, scaler, material):.5f}" for scaler in (DEPLOYED, TRAINED))
        rows.append((name.removesuffix("_state_dict.pth"), *errors))
    return columns(("published file, float", "scaler of its deployment", "scaler of its training"), rows)


def anchored_text(kept: Sequence[Kept], records: Sequence[Record]) -> str:
    """Whether the anchored student reaches its goal."""
    own = [record for record in records if record.stage == "anchored"]
    worst, size = max(record.mae_int16 for record in own), max(record.parameters for record in own)
    unseen = [float(one.figures["mae int16 unseen"]) for one in kept]
    reached = worst <= GOAL and size <= GOAL_PARAMETERS
    verdict = ("reached" if reached else "NOT reached") + (", the stretch of 0.0010 too" if worst <= STRETCH else "")
    return f"""Anchored student, trained without the cells of the segments: {size} parameters, int16 activations
* segments, the worst of {len(own)} seeds: {worst:.5f}
* goal, at most {GOAL} with at most {GOAL_PARAMETERS} parameters: {verdict}
* all windows of the cells it never saw: {np.mean(unseen):.5f}"""
