"""`lnnc profile` and the budgets of `lnnc compile` as a user meets them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small import Result, document, lnnc, save

from lnnc.pipeline import compile_model
from lnnc.report.profile import BAR, bar_of
from lnnc.verify import cycles, tools

ROOT = Path(__file__).resolve().parent.parent
NEEDS = pytest.mark.needs("arm-none-eabi-gcc", "unicorn", "capstone", "elftools")
KEYS = {"cycles", "instructions", "flash", "ram", "stack", "ms", "energy_uj", "layers"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(document(), tmp_path_factory.mktemp("profile") / "m.pt")


def table(model: Path, *options: str) -> dict[str, Any]:
    shown = lnnc("profile", model, "--json", *options)
    assert shown.code == 0, shown.err
    return dict(json.loads(shown.out))


def whole(shown: Result) -> str:
    return " ".join(shown.err.split())


# --- the profile ---


@NEEDS
def test_json_has_the_promised_keys_and_adds_up(model: Path) -> None:
    found = table(model)
    assert set(found) >= KEYS
    assert sum(layer["cycles"] for layer in found["layers"]) == found["cycles"]
    assert sum(layer["instructions"] for layer in found["layers"]) == found["instructions"]
    assert sum(layer["board_cycles"] for layer in found["layers"]) == found["board"]["cycles"]
    tables = sum(constant.bytes for constant in compile_model(model).program.constants)
    assert sum(layer["tables"] for layer in found["layers"]) + found["shared_tables"] == tables
    assert found["rodata"] <= tables + 4, "a compiler may turn a short table into code"
    assert found["flash"] == found["text"] + found["rodata"] + found["data"]
    assert found["ram"] == found["state"] + found["scratch"] + found["ports"]
    assert found["instructions"] <= found["cycles"] < found["board"]["cycles"]


@NEEDS
def test_time_and_energy_follow_from_the_cycles(model: Path) -> None:
    found = table(model)
    for part in (found, found["board"]):
        assert part["ms"] == pytest.approx(part["cycles"] / 64e3)
        assert part["energy_uj"] == pytest.approx(part["ms"] * 3.3 * 3.0)
    assert found["estimate"] is True
    assert (found["error"], found["board"]["error"]) == (0.05, 0.15)


@NEEDS
def test_text_names_layers_bands_and_totals(model: Path) -> None:
    shown = lnnc("profile", model, "--opt", "-O2", "--name", "soh")
    assert shown.code == 0, shown.err
    for part in (
        "soh: dlnet", "cortex-m4, arm-none-eabi-gcc", "-O2", "encoder.0", "decoder.0", "(glue)", "total",
        "estimates of a model, not measured", "cycles +-5 %", "nRF52840 +-15 %", "64 MHz", "3.3 mA", ".rodata", "stack",
    ):  # fmt: skip
        assert part in shown.out
    for line in shown.out.splitlines():
        if line.startswith(("time", "energy")):
            assert line.count("+-5 %") == 1
            assert line.count("+-15 %") == 1
    assert "warning" not in shown.err


@NEEDS
def test_takes_the_options_of_compile(model: Path) -> None:
    wide, narrow = table(model), table(model, "--activations", "int8", "--weight-bits", "16")
    assert "activations int16" in wide["model"]
    assert "activations int8" in narrow["model"]
    assert narrow["rodata"] > wide["rodata"]
    assert table(model, "--opt", "-O2")["cycles"] != wide["cycles"]


@NEEDS
@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"PYTHONIOENCODING": "ascii"}, {"FORCE_COLOR": "1"}])
def test_pipes_get_plain_text(model: Path, variables: dict[str, str]) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **variables}
    command = [sys.executable, "-m", "lnnc", "profile", str(model)]
    shown = subprocess.run(command, capture_output=True, env=env, timeout=120, check=True).stdout
    assert b"\x1b" not in shown
    assert ("#" * BAR if "PYTHONIOENCODING" in variables else "█" * BAR).encode() in shown


def test_bars() -> None:
    assert (bar_of(0.0, plain=False), bar_of(1.0, plain=False)) == ("", "█" * BAR)
    assert bar_of(0.5, plain=True) == "#" * (BAR // 2)
    assert len(bar_of(0.51, plain=False)) == BAR // 2 + 1


@NEEDS
@pytest.mark.parametrize("target", ["cortex-m0", "cortex-m7"])
def test_sizes_without_a_model_of_cycles(model: Path, target: str) -> None:
    shown = lnnc("profile", model, "--target", target)
    assert shown.code == 0
    assert "not modelled" in shown.out
    assert "MHz" not in shown.out
    found = table(model, "--target", target)
    assert [found[key] for key in ("cycles", "instructions", "ms", "energy_uj")] == [None] * 4
    assert found["flash"] > 0
    assert found["stack"] > 0
    assert found["not_modelled"]


@pytest.mark.parametrize("target", ["avr", "generic"])
def test_refuses_what_it_cannot_profile(model: Path, target: str) -> None:
    shown = lnnc("profile", model, "--target", target)
    assert shown.code == 2
    assert f"cannot profile for {target}" in shown.err
    assert "--target cortex-m4" in shown.err


def test_missing_tools_are_named_with_how_to_get_them(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    have = tools.find_tool
    monkeypatch.setattr(cycles, "find_tool", lambda name: None if name in ("unicorn", "capstone") else have(name))
    shown = lnnc("profile", model)
    assert shown.code == 2
    assert "unicorn, capstone" in shown.err
    assert 'pip install "lnnc[emulate]"' in shown.err
    assert whole(lnnc("compile", model, "-o", model.parent / "x.c", "--max-cycles", "1M")) == whole(shown)


def test_wrong_inputs(model: Path, tmp_path: Path) -> None:
    assert lnnc("profile", tmp_path / "none.pt").code == 2
    assert lnnc("profile", model, "--target", "z80").code == 2
    assert lnnc("profile", model, "--opt", "-O9").code == 2
    assert lnnc("profile", model, "--name", "int").code == 2


# --- budgets ---


@NEEDS
def test_within_budget_the_files_are_those_without(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert lnnc("compile", model, "-o", tmp_path / "a" / "m.c").code == 0
    budgets = ("--max-flash", "1M", "--max-ram", "64k", "--max-cycles", "1M")
    shown = lnnc("compile", model, "-o", tmp_path / "b" / "m.c", *budgets)
    assert shown.code == 0, shown.err
    assert (tmp_path / "a" / "m.c").read_bytes() == (tmp_path / "b" / "m.c").read_bytes()


@NEEDS
@pytest.mark.parametrize(
    ("option", "key", "layer_key"), [("flash", "flash", "tables"), ("ram", "ram", "working_ram"), ("cycles",) * 3]
)
def test_over_budget_names_the_largest_layer_and_the_excess(
    model: Path, tmp_path: Path, option: str, key: str, layer_key: str
) -> None:
    found = table(model)
    limit = found[key] - 7
    largest = max(found["layers"], key=lambda layer: layer[layer_key])
    shown = lnnc("compile", model, "-o", tmp_path / "m.c", f"--max-{option}", limit)
    assert shown.code == 2
    assert list(tmp_path.iterdir()) == []
    said = whole(shown)
    for part in (f"--max-{option}", f"{found[key]:,}", f"7 more than {limit:,}", f"'{largest['layer']}'", "by 7"):
        assert part in said
    assert ("estimates" in said) == (option == "cycles")
    assert lnnc("compile", model, "-o", tmp_path / "m.c", f"--max-{option}", found[key]).code == 0


@NEEDS
def test_every_budget_is_told_at_once(model: Path, tmp_path: Path) -> None:
    shown = lnnc("compile", model, "-o", tmp_path / "m.c", "--max-flash", "1", "--max-ram", "1", "--max-cycles", "1")
    assert shown.code == 2
    assert re.findall(r"--max-\w+", shown.err) == ["--max-flash", "--max-ram", "--max-cycles"]
    assert "alone is not enough" in shown.err


@NEEDS
def test_size_budgets_need_no_model_of_cycles(model: Path, tmp_path: Path) -> None:
    base = ("compile", model, "-o", tmp_path / "m.c", "--target", "cortex-m0")
    assert lnnc(*base, "--max-flash", "64k").code == 0
    shown = lnnc(*base, "--max-cycles", "1M")
    assert shown.code == 2
    assert "no cycle model for cortex-m0" in shown.err


@pytest.mark.parametrize("value", ["0", "-5", "1.5k", "32kb", "k", "", "1e5"])
def test_refuses_what_is_no_budget(model: Path, value: str) -> None:
    shown = lnnc("compile", model, f"--max-flash={value}")
    assert shown.code == 2
    assert "whole number above 0" in shown.err


def test_suffixes() -> None:
    from lnnc.cli.options import quantity

    read: Any = quantity(1024)
    assert [read(None, None, text) for text in (None, "7", "32k", "32K", "1M")] == [None, 7, 32768, 32768, 1 << 20]
    cycles_of: Any = quantity(1000)
    assert [cycles_of(None, None, text) for text in ("125k", "1m")] == [125_000, 1_000_000]


def test_a_budget_contradicts_stopping_early(model: Path) -> None:
    shown = lnnc("compile", model, "--stop-after", "code", "--max-flash", "1k")
    assert shown.code == 2
    assert "--stop-after" in shown.err


@NEEDS
def test_tables_in_ram_count_as_ram(model: Path) -> None:
    """The whole tables move from flash to RAM and stay in flash as what start-up code copies."""
    flash, ram = table(model), table(model, "--weights", "ram")
    tables = sum(constant.bytes for constant in compile_model(model).program.constants)
    assert tables <= ram["data"] <= tables + 8 and ram["data"] == ram["ram"] - flash["ram"]
    assert flash["data"] == 0
    own = [layer["tables"] for layer in ram["layers"]]
    more = [b["working_ram"] - a["working_ram"] for a, b in zip(flash["layers"], ram["layers"], strict=True)]
    assert more == own
    assert ram["board"]["cycles"] < flash["board"]["cycles"], "no load waits for flash"


@NEEDS
def test_every_report_counts_tables_in_ram(model: Path, tmp_path: Path) -> None:
    command = (model, "--weights", "ram")
    tables = sum(constant.bytes for constant in compile_model(model).program.constants)
    data = table(*command)["data"]
    shown = lnnc("compile", *command, "-o", tmp_path / "m.c").out
    assert f"RAM: tables {tables} + state" in shown
    assert f"RAM        tables {tables} + state" in (tmp_path / "m.h").read_text(encoding="utf-8")
    assert f"RAM: tables {tables} + state" in lnnc("compile", *command, "--stop-after", "program").out
    inspected = lnnc("inspect", *command, "--measure").out
    assert f"RAM: tables {tables} + state" in inspected
    assert re.search(rf"code, {data} tables\)\nRAM: .* ports \d+, tables {data}\)", inspected)
    assert re.search(rf"RAM .*, tables {data:,}\)", lnnc("profile", *command).out)
    refused = whole(lnnc("compile", *command, "-o", tmp_path / "m.c", "--max-ram", "1"))
    assert f"the tables {data:,}: --weights flash leaves those out" in refused


@NEEDS
@pytest.mark.parametrize("path", ["plain", "intrinsics", "assembly"])
def test_every_code_path_can_be_profiled(model: Path, path: str) -> None:
    found = table(model, "--packing", "blocks", "--path", path)
    kernels = {kernel for layer in found["layers"] for kernel in layer["kernels"]}
    assert {"packed_s16"} <= kernels
    assert f"_PATH={('plain', 'intrinsics', 'assembly').index(path)}" in found["compiler"]
