"""The configuration of a pipeline: a TOML file of which every key is checked. docs/pipeline.md lists the keys.

`kind` decides what [data] and [task] hold: "battery" forecasts the state of health of cells, "sequences" any columns
of any sequences. The rest is the same for both; what is left out has a default.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lnnc.errors import Findings, LnncError
from lnnc.files import readable
from lnnc.train.pareto.space import Space
from lnnc.train.pipeline.config_tables import (
    BatteryData,
    BatteryTask,
    CompileConfig,
    DistilConfig,
    ParetoConfig,
    PruneConfig,
    QatConfig,
    RecoverConfig,
    SelectConfig,
    SequenceData,
    SequenceTask,
    SplitConfig,
    TeacherConfig,
    TrainConfig,
    in_units,
)
from lnnc.train.pipeline.problem import parse_spec
from lnnc.train.pipeline.search_axes import BATTERY_ONLY, read_space
from lnnc.train.pipeline.tables import key, read_table
from lnnc.train.sequences.networks import KINDS as SEQUENCE_KINDS
from lnnc.train.students.inputs import INPUTS
from lnnc.train.students.student import HOPS
from lnnc.train.students.student import KINDS as BATTERY_KINDS

BATTERY, SEQUENCES = "battery", "sequences"
NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")


@dataclass(frozen=True, kw_only=True)
class _Tables:
    """What every kind of pipeline has."""

    split: SplitConfig
    train: TrainConfig
    teacher: TeacherConfig
    distil: DistilConfig
    prune: PruneConfig
    recover: RecoverConfig
    qat: QatConfig
    pareto: ParetoConfig
    select: SelectConfig
    compile: CompileConfig
    name: str
    kind: str = key(BATTERY, choices=(BATTERY, SEQUENCES))
    seed: int = key(0, least=0)


@dataclass(frozen=True, kw_only=True)
class _Battery(_Tables):
    data: BatteryData
    task: BatteryTask
    name: str = "soh"


@dataclass(frozen=True, kw_only=True)
class _Sequences(_Tables):
    data: SequenceData
    task: SequenceTask
    name: str = "model"


@dataclass(frozen=True, kw_only=True)
class Config(_Tables):
    """A pipeline. `where`: the folder that relative paths start from."""

    data: BatteryData | SequenceData
    task: BatteryTask | SequenceTask
    where: Path

    @property
    def battery(self) -> bool:
        return self.kind == BATTERY

    def section(self, name: str) -> dict[str, Any]:
        """A table as JSON types, with every default."""
        table = getattr(self, name)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(table).items()}

    @property
    def space(self) -> Space:
        """What the search varies."""
        return read_space(self.pareto.space, cells_of(self.kind), Findings())


# What differs between the kinds where nothing is said.
DEFAULTS: dict[str, dict[str, dict[str, Any]]] = {
    BATTERY: {
        "teacher": {"models": ["mlp-64-64+all"]},
        "distil": {"students": ["gated-4", "gated-8", "gated-16"], "rivals": ["linear", "mlp-8+all", "mlp-16-8+all"]},
        "pareto": {"space": {"kind": ["gated"], "units": [2, 3, 4, 6, 8, 10, 12, 16, 20]}},
        "select": {"max_flash": "8k", "max_ram": "2k"},
    },
    SEQUENCES: {
        "teacher": {"models": ["cfc-32"], "steps": 1000},
        "train": {"steps": 1000, "batch": 32, "peak_lr": 1e-2},
        "distil": {"students": ["cfc-4", "cfc-8", "cfc-16"], "rivals": ["linear", "mlp-16"]},
        "recover": {"steps": 300},
        "pareto": {"space": {"kind": ["cfc", "leaky"], "units": [2, 3, 4, 6, 8, 12, 16], "weight_bits": [8, 16]}},
        "select": {"max_flash": "8k", "max_ram": "2k"},
    },
}


def load_config(path: str | Path) -> Config:
    """Read and check a configuration.

    Raises:
        LnncError: the file cannot be read or is no TOML; every key and value that is wrong, and what was meant.
    """
    file = readable(path, "give the .toml of a pipeline")
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LnncError(f"not valid TOML ({error})", str(path), "docs/pipeline.md shows examples") from error
    return read_config(document, file.parent.resolve(), str(path))


def read_config(document: Mapping[str, Any], where: Path, label: str = "config") -> Config:
    """A configuration from a document; `where`: the folder that its paths start from. Raises as `load_config`."""
    found = Findings(label)
    kind = document.get("kind", BATTERY)
    if kind not in DEFAULTS:
        found.add(f"kind: expected {' or '.join(DEFAULTS)}, found {kind!r}")
        found.raise_if_any("docs/pipeline.md shows examples")
    filled = _filled(document, DEFAULTS[kind])
    tables: type[_Battery] | type[_Sequences] = _Battery if kind == BATTERY else _Sequences
    read = read_table(tables, filled, "", found)
    if read is not None:
        _check(read, found)
    found.raise_if_any("docs/pipeline.md lists the keys")
    assert read is not None
    return Config(**{**vars(read), "where": where})


def _filled(document: Mapping[str, Any], defaults: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The document with the defaults of its kind below what it says; what is no table is left to `read_table`."""
    filled = dict(document)
    for name, table in defaults.items():
        given = filled.get(name, {})
        filled[name] = {**table, **given} if isinstance(given, Mapping) else given
    filled.setdefault("task", {})
    filled.setdefault("data", {})
    return filled


def _check(config: _Tables, found: Findings) -> None:
    """What depends on more than one key."""
    if not NAME.fullmatch(config.name):
        found.add(f"name: expected a C prefix of small letters, digits and _, found {config.name!r}")
    _check_models(config, found)
    for limit in ("max_flash", "max_ram", "max_cycles"):
        if (value := getattr(config.select, limit)) is not None and in_units(value, 1) is None:
            found.add(f'select.{limit}: expected a whole number above 0 such as 4096 or "8k", found {value!r}')
    if config.select.rule == "weights" and not config.select.weights:
        found.add('select.weights: the rule "weights" needs some, such as { error = 1, flash = 0.5 }')
    _check_search(config, found)


def _check_models(config: _Tables, found: Findings) -> None:
    named = {
        "teacher.models": config.teacher.models, "distil.students": config.distil.students,
        "distil.rivals": config.distil.rivals, "prune.of": config.prune.of,
    }  # fmt: skip
    for section, names in named.items():
        for name in names:
            _check_spec(name, section, kinds_of(config.kind), found)
    for name in config.prune.of:
        if name not in config.distil.students:
            found.add(f"prune.of: '{name}' is not among distil.students")


def _check_search(config: _Tables, found: Findings) -> None:
    space = config.pareto.space
    if config.pareto.trials and "units" not in space:
        found.add("pareto.space: a search needs the axis units; or trials = 0")
    read_space(space, cells_of(config.kind), found)
    for axis in () if config.kind == BATTERY else BATTERY_ONLY:
        if axis in space:
            found.add(f"pareto.space.{axis}: only students of batteries have it")


def kinds_of(kind: str) -> tuple[str, ...]:
    """Networks that a kind of pipeline knows."""
    return BATTERY_KINDS if kind == BATTERY else SEQUENCE_KINDS


def cells_of(kind: str) -> tuple[str, ...]:
    """Those of them that a search may vary: one number says how large they are."""
    return tuple(name for name in kinds_of(kind) if name not in ("mlp", "linear"))


def _check_spec(name: str, where: str, kinds: tuple[str, ...], found: Findings) -> None:
    try:
        spec = parse_spec(name)
    except LnncError as error:
        found.add(f"{where}: {error.message}")
        return
    layers = {"linear": len(spec.units) == 0, "mlp": len(spec.units) > 0}.get(spec.kind, len(spec.units) == 1)
    battery = kinds == BATTERY_KINDS
    bad = [key for key, known in (("inputs", tuple(INPUTS)), ("hop", HOPS))
           if key in spec.more and spec.more[key] not in known]  # fmt: skip
    if spec.kind not in kinds:
        found.add(f"{where}: unknown network '{name}', expected one of {', '.join(kinds)} with its units, as cfc-8")
    elif not layers:
        found.add(
            f"{where}: '{name}': expected such as {spec.kind}" + {"linear": "", "mlp": "-32-16"}.get(spec.kind, "-8")
        )
    elif bad or (spec.more and not battery):
        options = f"+skip, +hopN (N of {', '.join(map(str, HOPS))}), +{', +'.join(INPUTS)}" if battery else "no options"
        found.add(f"{where}: '{name}': expected {options} behind its units")
