"""The configuration: defaults, and every mistake named with what was probably meant."""

from __future__ import annotations

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from lnnc.errors import LnncError
from lnnc.train.pareto.select import Limits
from lnnc.train.pareto.space import Span, Values
from lnnc.train.pipeline import config_tables as t
from lnnc.train.pipeline.config import Config, load_config, read_config
from lnnc.train.pipeline.problem import Spec, parse_spec

HERE = Path("somewhere")
BATTERY: dict[str, Any] = {"data": {"files": ["cells.npz"]}}
SEQUENCES: dict[str, Any] = {"kind": "sequences", "data": {"files": ["*.csv"], "inputs": ["u"], "targets": ["y"]}}


def read(document: dict[str, Any]) -> Config:
    return read_config(document, HERE)


def faults(document: dict[str, Any]) -> str:
    with pytest.raises(LnncError) as caught:
        read(document)
    return str(caught.value)


def test_the_files_alone_are_a_battery_pipeline() -> None:
    config = read(BATTERY)
    assert config.battery and config.name == "soh" and config.task.mode == "stream"
    assert config.teacher.models == ("mlp-64-64+all",)
    assert config.distil.students == ("gated-4", "gated-8", "gated-16")
    assert config.select.limits == Limits(flash=8192, ram=2048)
    assert config.space == {"kind": Values(("gated",)), "units": Values((2, 3, 4, 6, 8, 10, 12, 16, 20))}


def test_the_columns_alone_are_a_pipeline_of_sequences() -> None:
    config = read(SEQUENCES)
    assert not config.battery and config.name == "model"
    assert config.teacher.models == ("cfc-32",) and config.train.batch == 32


def test_a_table_changes_what_it_names_and_nothing_else() -> None:
    config = read({**BATTERY, "train": {"steps": 10}, "distil": {"students": ["cfc-3"]}, "select": {"rule": "knee"}})
    assert (config.train.steps, config.train.peak_lr) == (10, 6e-3)
    assert config.distil.rivals == ("linear", "mlp-8+all", "mlp-16-8+all")
    assert config.select.rule == "knee" and config.select.max_flash == "8k"


def test_whole_numbers_serve_as_numbers() -> None:
    assert read({**BATTERY, "train": {"peak_lr": 1}}).train.peak_lr == 1.0


def test_a_space_of_lists_and_spans() -> None:
    space = {
        "units": {"low": 2, "high": 9},
        "peak_lr": {"low": 1e-4, "high": 1e-2, "log": True},
        "weight_bits": [8, "auto"],
    }
    config = read({**BATTERY, "pareto": {"space": space}})
    assert config.space == {
        "units": Span(2, 9), "peak_lr": Span(1e-4, 1e-2, True), "weight_bits": Values((8, "auto")),
    }  # fmt: skip


def test_shapes_of_networks() -> None:
    assert parse_spec("cfc-8") == Spec("cfc", (8,))
    assert parse_spec("mlp-32-16") == Spec("mlp", (32, 16))
    assert parse_spec("linear") == Spec("linear", ())
    for name in ("mlp-32-16", "linear", "gated-8+hop20+skip", "mlp-8+all", "cfc-4+means+skip"):
        assert parse_spec(name).name == name
    assert parse_spec("gated-8+skip+hop20") == Spec("gated", (8,), {"skip": True, "hop": 20})
    for wrong in ("", "8", "cfc-0", "mlp-8-x", "gated 8", "gated-8+"):
        with pytest.raises(LnncError, match="expected a network such as"):
            parse_spec(wrong)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"trian": {}}, "trian: unknown key; did you mean 'train'?"),
        ({"train": {"step": 3}}, "train.step: unknown key; did you mean 'steps'?"),
        ({"train": {"colour": 3}}, "train.colour: unknown key; [train] has steps, peak_lr, weight_decay, batch, clip"),
        ({"train": {"steps": "many"}}, "train.steps: expected a whole number, found 'many'"),
        ({"train": {"steps": True}}, "train.steps: expected a whole number, found True"),
        ({"train": {"steps": 0}}, "train.steps: expected at least 1, found 0"),
        ({"train": {"peak_lr": float("nan")}}, "train.peak_lr: expected a number, found nan"),
        ({"train": 3}, "train: expected a table, found 3"),
        ({"data": {}}, "data.files: missing, and it has no default"),
        ({"data": {"files": []}}, "data.files: expected something"),
        ({"data": {"files": "x.csv"}}, "data.files: expected a list, each a text"),
        ({"data": {"files": ["x"], "nominal": -1.0}}, "data.nominal: expected at least"),
        ({"kind": "batery"}, "kind: expected battery or sequences, found 'batery'"),
        ({"name": "SOH forecast"}, "name: expected a C prefix of small letters"),
        ({"task": {"mode": "strem"}}, "task.mode: expected stream, window, found 'strem'; did you mean 'stream'?"),
        ({"task": {"window": 50}}, "task.window: unknown key"),
        ({"distil": {"students": []}}, "distil.students: expected something"),
        ({"distil": {"students": ["gatted-8"]}}, "distil.students: unknown network 'gatted-8'"),
        ({"distil": {"students": ["gated"]}}, "distil.students: 'gated': expected such as gated-8"),
        ({"distil": {"rivals": ["linear-8"]}}, "distil.rivals: 'linear-8': expected such as linear"),
        ({"distil": {"rivals": ["mlp-8-x"]}}, "distil.rivals: expected a network such as cfc-8"),
        ({"distil": {"rivals": ["mlp"]}}, "distil.rivals: 'mlp': expected such as mlp-32-16"),
        ({"distil": {"students": ["gated-8+hop30"]}}, "'gated-8+hop30': expected +skip, +hopN (N of 10, 20, 50, 100)"),
        ({"pareto": {"space": {"units": [2], "skip": [1]}}}, "pareto.space.skip: 1 cannot be a value of it"),
        ({"teacher": {"models": ["gru-8"]}}, "teacher.models: unknown network 'gru-8'"),
        ({"distil": {"divergence": "kl"}}, "distil.divergence: expected l1, mse, cosine, found 'kl'"),
        ({"prune": {"fractions": [0.5, 1.0]}}, "prune.fractions: expected 0.01 ... 0.99, found 1.0"),
        ({"prune": {"of": ["gated-5"]}}, "prune.of: 'gated-5' is not among distil.students"),
        ({"pareto": {"space": {"unit": [1]}}}, "pareto.space.unit: unknown axis"),
        ({"pareto": {"space": {"kind": ["mlp"], "units": [2]}}}, "pareto.space.kind: 'mlp' cannot be a value of it"),
        ({"pareto": {"space": {"units": [0, 2.5, True]}}}, "pareto.space.units: 0, 2.5, True cannot be a value of it"),
        ({"pareto": {"space": {"units": 4}}}, "pareto.space.units: expected a list of values"),
        ({"pareto": {"space": {"peak_lr": [1e-3]}}}, "pareto.space: a search needs the axis units"),
        ({"pareto": {"objectives": ["speed"]}}, "pareto.objectives: expected error, flash, ram, cycles"),
        ({"select": {"max_flash": "8 kilobytes"}}, "select.max_flash: expected a whole number above 0 such as 4096"),
        ({"select": {"max_ram": 0}}, "select.max_ram: expected a whole number above 0"),
        ({"select": {"rule": "weights"}}, 'select.weights: the rule "weights" needs some'),
        ({"compile": {"target": "avr"}}, "compile.target: expected"),
        ({"compile": {"weight_bits": 12}}, "compile.weight_bits: expected 8, 16, auto, found 12"),
        ({"compile": {"on": []}}, "compile.on: expected something"),
    ],
)  # fmt: skip
def test_a_mistake_is_named(table: dict[str, Any], says: str) -> None:
    assert says in faults({**BATTERY, **table})


def test_all_mistakes_are_told_at_once() -> None:
    text = faults({"trian": {}, "train": {"steps": 0}, "data": {"files": [3]}})
    assert text.startswith("config: 3 faults:")
    assert "fix: docs/pipeline.md" in text


def test_what_only_the_other_kind_has() -> None:
    assert "data.inputs: missing" in faults({"kind": "sequences", "data": {"files": ["x.csv"]}})
    assert "task.gate: unknown key" in faults({**SEQUENCES, "task": {"gate": True}})
    assert "unknown network 'gated-8'" in faults({**SEQUENCES, "distil": {"students": ["gated-8"]}})
    assert "'cfc-8+skip': expected no options" in faults({**SEQUENCES, "distil": {"students": ["cfc-8+skip"]}})
    assert "space.hop: only students" in faults({**SEQUENCES, "pareto": {"space": {"units": [2], "hop": [20]}}})
    assert read({**SEQUENCES, "task": {"window": 50, "horizon": 0}}).task == read(SEQUENCES).task.__class__(
        window=50, horizon=0
    )


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text('[data]\nfiles = ["cells.npz"]\n')
    assert load_config(path).where == tmp_path
    path.write_text("[data\n")
    with pytest.raises(LnncError, match="not valid TOML"):
        load_config(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(LnncError, match="not valid TOML"):
        load_config(path)
    with pytest.raises(LnncError, match="no such file"):
        load_config(tmp_path / "none.toml")


def test_a_section_is_plain_and_complete() -> None:
    section = read(BATTERY).section("recover")
    assert section == {"steps": 700, "scratch": True}
    assert read(BATTERY).section("prune") == {"fractions": [0.5], "of": [], "most": 1}


# --- docs/pipeline.md ---

PAGE = Path(__file__).resolve().parent.parent / "docs" / "pipeline.md"


def test_the_configurations_of_the_page_are_valid() -> None:
    blocks = PAGE.read_text(encoding="utf-8").split("```toml\n")[1:]
    found = [read(tomllib.loads(block.split("```")[0])) for block in blocks]
    assert [config.kind for config in found] == ["battery", "battery", "sequences"]
    assert found[1].pareto.trials == 40 and found[2].task.predict == "change"


def test_the_page_names_every_key() -> None:
    text = PAGE.read_text(encoding="utf-8").split("## Keys")[1]
    tables = (
        t.BatteryData, t.SequenceData, t.BatteryTask, t.SequenceTask, t.SplitConfig, t.TrainConfig, t.TeacherConfig,
        t.DistilConfig, t.PruneConfig, t.RecoverConfig, t.QatConfig, t.ParetoConfig, t.SelectConfig, t.CompileConfig,
    )  # fmt: skip
    keys = {f.name for table in tables for f in fields(table)}
    assert {key for key in keys if f"`{key}`" not in text} == set()


def test_the_page_tells_the_defaults() -> None:
    text = PAGE.read_text(encoding="utf-8").split("## Keys")[1]
    battery, other = read(BATTERY), read(SEQUENCES)
    for said in (
        f"{battery.train.steps} / {other.train.steps}", f"{battery.teacher.steps} / {other.teacher.steps}",
        f"{battery.recover.steps} / {other.recover.steps}", f"{battery.train.batch} / {other.train.batch}",
        str(list(battery.distil.students)).replace("'", '"'), str(list(other.distil.rivals)).replace("'", '"'),
        f'`"{battery.pareto.method}"`, {battery.pareto.trials}, {battery.pareto.population}',
        f'`"{battery.select.max_flash}"`, `"{battery.select.max_ram}"`',
        f"{battery.qat.steps}, 1e-4, {battery.qat.batch}",
    ):  # fmt: skip
        assert said in text, said
