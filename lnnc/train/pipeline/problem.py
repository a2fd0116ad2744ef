"""What a pipeline needs to know of a problem: how to train on it, what its models cost, how wrong they are.

Models are trained in sets: one for each fold, on the sequences of the others, and last one on all of them, which is
the one that is shipped. Errors come from the models of the folds, each on sequences that it never saw.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lnnc.data.splits import Folds
from lnnc.errors import LnncError
from lnnc.files import readable, write_atomically
from lnnc.frontend.checkpoint import Checkpoint
from lnnc.ir.graph import Array
from lnnc.quantize.context import Options
from lnnc.train.learn.distill import Distillation
from lnnc.train.learn.loop import Schedule

FORMAT = "lnnc models 1"
_SPEC = re.compile(r"([a-z]+)((?:-[1-9][0-9]{0,3})*)((?:\+(?:hop[1-9][0-9]{1,2}|[a-z]+))*)")
Weights = Mapping[str, Array]


@dataclass(frozen=True)
class Spec:
    """The shape of a model, e.g. kind "cfc" with units (8,); `more`: other fields of a battery's `soh.Recipe`."""

    kind: str
    units: tuple[int, ...]
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Such as "cfc-8", "mlp-32-16+all", "gated-8+hop20+skip"; `parse_spec` reads it back."""
        said = {"hop": f"+hop{self.more.get('hop')}", "inputs": f"+{self.more.get('inputs')}",
                "skip": "+skip" if self.more.get("skip") else ""}  # fmt: skip
        return "-".join([self.kind, *map(str, self.units)]) + "".join(said[key] for key in sorted(self.more))


def parse_spec(name: str) -> Spec:
    """The shape that a name stands for.

    Raises:
        LnncError: it stands for none.
    """
    match = _SPEC.fullmatch(name)
    if match is None:
        raise LnncError(f"expected a network such as cfc-8, mlp-32-16 or linear, found {name!r}", "model", "cfc-8")
    more: dict[str, Any] = {}
    for option in filter(None, match[3].split("+")):
        hop = option.removeprefix("hop")
        more |= {"skip": True} if option == "skip" else {"hop": int(hop)} if hop.isdigit() else {"inputs": option}
    return Spec(match[1], tuple(int(part) for part in match[2].split("-") if part), more)


@dataclass(frozen=True, eq=False)
class Trained:
    """A set of models of one shape.

    Attributes:
        weights: of each fold's model, then of the one trained on all.
        steps: updates that they have seen in their life.
    """

    spec: Spec
    weights: tuple[Weights, ...]
    steps: int


@dataclass(frozen=True)
class Lesson:
    """How to train a set.

    Attributes:
        teacher: sets whose mean forecast teaches; none: the truth alone.
        start: weights to go on from; None: new ones.
        file: to resume from after an interruption.
    """

    schedule: Schedule
    distillation: Distillation
    teacher: tuple[Trained, ...] = ()
    start: Trained | None = None
    file: Path | None = None
    label: str = ""
    show: bool = False


class Problem(Protocol):
    """A task on a data set, split into folds."""

    @property
    def split(self) -> Folds: ...

    @property
    def unit(self) -> str:
        """Of errors."""
        ...

    @property
    def digest(self) -> str:
        """Of data, split and task: what a measured error depends on besides the model."""
        ...

    def train(self, spec: Spec, lesson: Lesson) -> Trained:
        """A trained set.

        Raises:
            LnncError: the spec cannot be trained, the loss is not finite, the file is of another training.
        """
        ...

    def prune(self, trained: Trained, fraction: float) -> Trained:
        """The set with that fraction of its neurons removed, the least important of each model.

        Raises:
            LnncError: it has no neurons that can leave.
        """
        ...

    def finetune(self, trained: Trained, lesson: Lesson, options: Options) -> Trained:
        """The set after quantization-aware training by the lesson's schedule.

        Raises:
            LnncError: networks of this kind are not trained so.
        """
        ...

    def checkpoint(self, trained: Trained, member: int) -> Checkpoint:
        """One model of the set, to compile."""
        ...

    def forecasts(
        self, checkpoint: Checkpoint, names: Sequence[str], options: Options, engine: str
    ) -> dict[str, Array]:
        """Name -> (n, steps, targets) at the origins of `truth`, by the "float" graph or the integer "reference"."""
        ...

    def truth(self, name: str) -> Array:
        """(n, steps, targets)."""
        ...

    def seen(self, name: str, origin: int, count: int) -> Array:
        """(count, targets) the values of the targets before origin number `origin`, for plots."""
        ...

    def place(self, name: str, origin: int) -> str:
        """Which forecast that is, for a title."""
        ...

    def scale(self) -> Array:
        """(targets,) what errors are divided by: ones for a single target."""
        ...

    def baselines(self) -> dict[str, dict[str, Array]]:
        """Naive forecasters: name -> sequence -> as `truth`."""
        ...


def save_trained(trained: Trained, path: Path) -> None:
    """Write a set as .npz, whole or not at all; the same set gives the same bytes."""
    about = {
        "format": FORMAT, "kind": trained.spec.kind, "units": trained.spec.units, "more": dict(trained.spec.more),
        "steps": trained.steps, "members": len(trained.weights),
    }  # fmt: skip
    arrays: dict[str, Any] = {
        "about": np.array(json.dumps(about, sort_keys=True)),
    }
    for member, weights in enumerate(trained.weights):
        arrays |= {f"{member}/{name}": array for name, array in weights.items()}
    write_atomically(path, lambda temporary: np.savez(temporary, **arrays))


def load_trained(path: Path) -> Trained:
    """Read a set.

    Raises:
        LnncError: it cannot be read, or is no such file.
    """
    try:
        with np.load(readable(path, "run the pipeline's stage that makes it"), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        about = json.loads(str(arrays.pop("about")))
        if about["format"] != FORMAT:
            raise ValueError(about["format"])
        weights: list[dict[str, Array]] = [{} for _ in range(about["members"])]
        for name, array in arrays.items():
            member, _, key = name.partition("/")
            weights[int(member)][key] = array
    except (ValueError, KeyError, IndexError, OSError, EOFError) as error:
        raise LnncError(
            f"it is no set of models ({type(error).__name__})", str(path), "run the pipeline again"
        ) from error
    return Trained(Spec(about["kind"], tuple(about["units"]), about["more"]), tuple(weights), about["steps"])
