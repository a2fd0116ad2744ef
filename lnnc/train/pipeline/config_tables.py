"""The tables of a pipeline's configuration, their keys, defaults and ranges."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from lnnc.targets import TARGETS
from lnnc.train.pareto.front import OBJECTIVES
from lnnc.train.pareto.search import METHODS
from lnnc.train.pareto.select import RULES, Limits
from lnnc.train.pipeline.tables import key
from lnnc.train.students.student import MODES

QUANTITY = re.compile(r"(\d{1,12})([kKmM]?)")


@dataclass(frozen=True)
class BatteryData:
    """Cycling files, as `lnnc data import` reads them, or one .h5 that it wrote."""

    files: tuple[str, ...] = key(some=True)
    nominal: float | None = key(None, least=1e-9)
    already_soh: bool = False
    licence: str | None = None
    keep_noisy: bool = False
    keep_unfinished: bool = False


@dataclass(frozen=True)
class SequenceData:
    """Tables with one row for each sample; a file is a sequence, or a column says which one a row belongs to."""

    files: tuple[str, ...] = key(some=True)
    inputs: tuple[str, ...] = key(some=True)
    targets: tuple[str, ...] = key(some=True)
    units: tuple[str, ...] = ()
    sequence: str | None = None
    licence: str | None = None


@dataclass(frozen=True)
class BatteryTask:
    """What is asked of a student of a battery's life; see `train.student.Student`."""

    mode: str = key("stream", choices=MODES)
    gate: bool = True


@dataclass(frozen=True)
class SequenceTask:
    """What is asked of a model of sequences; see `train.sequences.Task`."""

    mode: str = key("stream", choices=MODES)
    window: int = key(20, least=1, most=4096)
    horizon: int = key(1, least=0, most=1024)
    every: int = key(1, least=1)
    predict: str = key("value", choices=("value", "change"))


@dataclass(frozen=True)
class SplitConfig:
    """Folds by cell or sequence: dealt by the seed, or read from a file that `save_folds` wrote."""

    folds: int = key(5, least=2)
    file: str | None = None


@dataclass(frozen=True)
class TrainConfig:
    """The schedule of students and rivals; see `train.loop.Schedule`."""

    steps: int = key(2000, least=1)
    peak_lr: float = key(6e-3, least=1e-9, most=10.0)
    weight_decay: float = key(1e-4, least=0.0)
    batch: int = key(256, least=1)
    clip: float = key(0.0, least=0.0)


@dataclass(frozen=True)
class TeacherConfig:
    """Models whose mean forecast teaches; none: no distillation, and students learn from the truth alone."""

    models: tuple[str, ...] = ()
    steps: int = key(3000, least=1)


@dataclass(frozen=True)
class DistilConfig:
    """The family of students, networks without a teacher beside them, and how the teacher counts."""

    students: tuple[str, ...] = key(some=True)
    rivals: tuple[str, ...] = ()
    scratch: bool = True
    divergence: str = key("l1", choices=("l1", "mse", "cosine"))
    truth: str = key("l1", choices=("l1", "mse"))
    start: float = key(0.1, least=0.0, most=1.0)
    end: float = key(0.9, least=0.0, most=1.0)


@dataclass(frozen=True)
class PruneConfig:
    """`of`: the students to prune; none: the `most` best of those on the front that have 4 units or more."""

    fractions: tuple[float, ...] = key((0.5,), least=0.01, most=0.99)
    of: tuple[str, ...] = ()
    most: int = key(1, least=0)


@dataclass(frozen=True)
class RecoverConfig:
    """Distillation after pruning, and the same shapes from scratch in as many steps in all."""

    steps: int = key(700, least=1)
    scratch: bool = True


@dataclass(frozen=True)
class QatConfig:
    """Training through the integer program; 0 steps: none."""

    steps: int = key(0, least=0)
    peak_lr: float = key(1e-4, least=1e-9, most=10.0)
    batch: int = key(16, least=1)


@dataclass(frozen=True)
class ParetoConfig:
    """`trials`: to be searched beyond the families of the stages before; 0: no search."""

    method: str = key("nsga2", choices=METHODS)
    trials: int = key(8, least=0)
    population: int = key(8, least=2)
    objectives: tuple[str, ...] = key(OBJECTIVES, choices=OBJECTIVES, some=True)
    space: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SelectConfig:
    """Which candidate is chosen; see `train.select.select`. Limits may be written "8k"."""

    rule: str = key("error", choices=RULES)
    cost: str = key("flash", choices=OBJECTIVES[1:])
    weights: dict[str, Any] = field(default_factory=dict)
    max_flash: int | str | None = None
    max_ram: int | str | None = None
    max_cycles: int | str | None = None
    max_error: float | None = None

    @property
    def limits(self) -> Limits:
        return Limits(
            quantity(self.max_flash, 1024),
            quantity(self.max_ram, 1024),
            quantity(self.max_cycles, 1000),
            self.max_error,
        )


@dataclass(frozen=True)
class CompileConfig:
    """How the chosen model is compiled, measured and verified; candidates are measured the same way."""

    activations: str = key("int16", choices=("int16", "int8"))
    weight_bits: int | str | None = key(None, choices=(8, 16, "auto"))
    target: str = key("cortex-m4", choices=tuple(name for name, target in TARGETS.items() if not target.unmodelled))
    opt: str = key("-Os", choices=("-Os", "-O2", "-O3"))
    on: tuple[str, ...] = key(("host", "m4"), choices=("host", "m4"), some=True)
    vectors: int = key(128, least=1, most=100_000)


def quantity(value: int | str | None, kilo: int) -> int | None:
    """A whole number, "8k" or "1M" as a number; None as None."""
    return None if value is None else in_units(value, kilo)


def in_units(value: int | str, kilo: int) -> int | None:
    """A whole number above 0, "8k" or "1M"; None where it is none."""
    if isinstance(value, int):
        return value if value > 0 and not isinstance(value, bool) else None
    match = QUANTITY.fullmatch(value.strip())
    if match is None or int(match[1]) == 0:
        return None
    return int(match[1]) * {"": 1, "k": kilo, "m": kilo * kilo}[match[2].lower()]
