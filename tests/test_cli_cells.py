"""The command line on recurrent networks: widths of weights, time as an argument, states, warnings."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from liquid import SPAN, liquid_checkpoint, ltc_cell_of, network
from recurrent import add_cell, random_network
from small import Result, document, lnnc, save

from lnnc.frontend import cells
from lnnc.frontend.layers import Dense, Net, linear_layer
from lnnc.frontend.storage import save_checkpoint
from lnnc.ir.graph import Gather

TIME = ("--runtime-dt", f"{SPAN[0]}:{SPAN[1]}")
SAMPLES = 30


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """cfc.pt, leaky.pt, ltc.pt and timed.pt, without the options that tests/liquid.py has for them."""
    for name in ("cfc", "leaky", "ltc", "timed"):
        save_checkpoint(liquid_checkpoint(name)[0], tmp_path / f"{name}.pt")
    return tmp_path


def compiled(folder: Path, name: str, *options: str) -> Result:
    result = lnnc("compile", folder / f"{name}.pt", "-o", folder / f"{name}.c", *options)
    assert result.code == 0, result.err
    return result


def table_bytes(result: Result) -> int:
    return int(result.out.split("flash: ")[1].split()[0])


def manifest(path: Path) -> Any:
    return json.loads(path.read_text().split("lnnc-manifest: ")[1].splitlines()[0])["options"]


def inspected(folder: Path, name: str, *options: str) -> Any:
    result = lnnc("inspect", folder / f"{name}.pt", "--json", *options)
    assert result.code == 0, result.err
    return json.loads(result.out)


# --- widths of weights ---


def test_wider_weights_take_more_flash_and_auto_is_between(folder: Path) -> None:
    sizes = {}
    for bits in ("8", "auto", "16"):
        sizes[bits] = table_bytes(compiled(folder, "cfc", "--weight-bits", bits))
        assert manifest(folder / "cfc.c")["weight_bits"] == bits
        assert ("_w16_" in (folder / "cfc.c").read_text()) == (sizes[bits] > sizes["8"])
    assert sizes["8"] <= sizes["auto"] < sizes["16"]


@pytest.mark.parametrize("bits", ["12", "0", "many", ""])
def test_no_other_width_is_taken(folder: Path, bits: str) -> None:
    result = lnnc("compile", folder / "cfc.pt", "-o", folder / "cfc.c", "--weight-bits", bits)
    assert result.code == 2
    assert "--weight-bits" in result.err and "auto" in result.err
    assert not (folder / "cfc.c").exists()


# --- time as an argument ---


def test_the_time_is_an_argument_of_the_step(folder: Path) -> None:
    compiled(folder, "timed", *TIME)
    header = (folder / "timed.h").read_text()
    assert "int timed_step(timed_state *state, timed_scratch *scratch, const int16_t *in, int32_t dt" in header
    assert "#define TIMED_DT_MIN 268435456" in header  # 0.5 in Q29
    assert manifest(folder / "timed.c")["runtime_dt"] == list(SPAN)
    compiled(folder, "timed")
    assert "int32_t dt" not in (folder / "timed.h").read_text()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2:0.5", "LOW < HIGH"),
        ("1:1", "LOW < HIGH"),
        ("abc", "LOW:HIGH"),
        ("1:", "LOW:HIGH"),
        ("1:2:3", "LOW:HIGH"),
        ("nan:1", "both finite"),
        ("1:inf", "both finite"),
        ("0:1", "<= MIN < MAX"),
        ("-1:2", "<= MIN < MAX"),
        ("1e-9:1e9", "MAX / MIN <= 16384"),
    ],
)
def test_a_wrong_span_is_refused(folder: Path, text: str, words: str) -> None:
    for command in (("compile", folder / "timed.pt", "-o", folder / "t.c"), ("inspect", folder / "timed.pt")):
        result = lnnc(*command, "--runtime-dt", text)
        assert result.code == 2
        assert words in result.err and "--runtime-dt" in result.err
    assert not (folder / "t.c").exists()


def test_a_model_without_time_takes_no_span(tmp_path: Path) -> None:
    result = lnnc("compile", save(document(), tmp_path / "w.pt"), "-o", tmp_path / "w.c", *TIME)
    assert result.code == 2
    assert "no notion of time" in result.err and "without --runtime-dt" in result.err
    assert not (tmp_path / "w.c").exists()


@pytest.fixture
def data(folder: Path) -> Path:
    """x.npz with the samples; dt, late and few .npz with their times."""
    rng = np.random.default_rng(0)
    arrays = {
        "x": rng.normal(0.25, 1.0, (SAMPLES, 2)), "dt": rng.uniform(*SPAN, SAMPLES), "late": np.full(SAMPLES, 3.0),
        "few": np.ones(SAMPLES - 1), "one": np.ones(SAMPLES),
    }  # fmt: skip
    for name, array in arrays.items():
        np.savez(folder / f"{name}.npz", array)
    return folder


def evaluate(data: Path, *options: Any) -> np.ndarray:
    result = lnnc("run", data / "timed.pt", "--data", data / "x.npz", "-o", data / "y.npz", *options)
    assert result.code == 0, result.err
    with np.load(data / "y.npz") as made:
        return np.asarray(made["output"])


@pytest.mark.needs("cc")
def test_run_takes_a_time_for_each_sample(data: Path) -> None:
    times = ("--times", data / "dt.npz", "--weight-bits", "16")
    runs = [evaluate(data, *TIME, *times, "--engine", engine) for engine in ("float", "reference", "host")]
    assert np.array_equal(runs[1], runs[2])
    assert np.abs(runs[0] - runs[1]).max() < 0.01 * np.abs(runs[0]).max()
    regular = evaluate(data, *TIME, "--times", data / "one.npz", "--engine", "float")
    assert np.allclose(regular, evaluate(data, "--engine", "float"), atol=1e-12), "the time that the model carries"
    assert np.abs(regular - runs[0]).max() > 0.01 * np.abs(runs[0]).max(), "the times matter"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((*TIME,), "give one for each sample"),
        ((*TIME, "--times", "late"), "3 is not in 0.5 ... 2"),
        ((*TIME, "--times", "few"), "expected one time for each sample"),
        (("--times", "dt"), "takes no times"),
    ],
)
def test_wrong_times_are_refused(data: Path, options: tuple[str, ...], words: str) -> None:
    given = [str(data / f"{o}.npz") if o in ("late", "few", "dt") else o for o in options]
    result = lnnc("run", data / "timed.pt", "--data", data / "x.npz", *given)
    assert result.code == 2
    assert words in result.err.replace("\n", " ")


# --- verify ---


@pytest.mark.needs("cc")
@pytest.mark.parametrize(
    ("name", "options"),
    [("timed", (*TIME, "--weight-bits", "16")), ("cfc", ("--weight-bits", "auto")), ("ltc", ("--activations", "int8"))],
)
def test_verify_reads_the_options_from_the_file(folder: Path, name: str, options: tuple[str, ...]) -> None:
    compiled(folder, name, *options)
    for more in ((), options):
        result = lnnc("verify", folder / f"{name}.pt", folder / f"{name}.c", "--vectors", 20, *more)
        assert result.code == 0, result.err
        assert result.last == "PASS: every byte equal on host"


@pytest.mark.needs("cc")
@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--runtime-dt", "0.5:3", "runtime_dt (0.5, 2.0), asked for (0.5, 3.0)"),
        ("--weight-bits", "8", "weight_bits 16, asked for 8"),
        ("--activations", "int8", "activations int16, asked for int8"),
    ],
)
def test_verify_refuses_other_options_than_the_files(folder: Path, option: str, value: str, words: str) -> None:
    compiled(folder, "timed", *TIME, "--weight-bits", "16")
    result = lnnc("verify", folder / "timed.pt", folder / "timed.c", option, value)
    assert result.code == 2
    assert words in result.err and "leave the option out" in result.err


@pytest.mark.needs("cc")
def test_verify_finds_a_wrong_state(folder: Path) -> None:
    compiled(folder, "leaky")
    source = folder / "leaky.c"
    text = source.read_text()
    source.write_text(text.replace("state->gru_h[i] = 0;", "state->gru_h[i] = 1;"))
    assert source.read_text() != text
    result = lnnc("verify", folder / "leaky.pt", source, "--vectors", 20)
    assert result.code == 1
    assert "gru" in result.out and result.last.startswith("FAIL")


# --- inspect ---


def test_inspect_shows_what_is_remembered(folder: Path) -> None:
    """Each state with its size, how its range was found, and how often calibration drove it into its limits."""
    states = {row["state"]: row for row in inspected(folder, "leaky")["states"]}
    assert {name: (row["size"], row["dtype"]) for name, row in states.items()} == {
        "euler.x": (6, "int32"),
        "gru.h": (4, "int16"),
    }
    assert "|x| <= 1" in states["gru.h"]["rule"]
    for row in states.values():
        hits, of = map(int, row["saturated"].split(" of "))
        assert hits == 0 and of == 3 * 80 * row["size"]
    text = lnnc("inspect", folder / "leaky.pt").out
    for name, row in states.items():
        line = next(line for line in text.splitlines() if line.startswith(f"{name} ") and row["dtype"] in line)
        assert row["rule"] in line and row["saturated"] in line


@pytest.mark.parametrize("name", ["cfc", "leaky", "ltc", "timed"])
def test_every_state_says_where_its_range_is_from(folder: Path, name: str) -> None:
    rows = inspected(folder, name)["states"]
    assert rows and all(len(row["rule"]) > 10 and row["range"] > 0 for row in rows), rows


def test_inspect_shows_the_width_of_each_layers_weights(folder: Path) -> None:
    save_checkpoint(network(cancelling), folder / "fine.pt")
    table = inspected(folder, "fine", "--weight-bits", "auto")
    assert table["weight bits"] == {"difference": 16, "elman.xh_h": 8}
    for bits in (8, 16):
        assert set(inspected(folder, "fine", "--weight-bits", str(bits))["weight bits"].values()) == {bits}
    assert set(inspected(folder, "fine")["weight bits"].values()) == {8}
    assert "16-bit weights: difference\n" in lnnc("inspect", folder / "fine.pt", "--weight-bits", "auto").out
    assert "16-bit weights" not in lnnc("inspect", folder / "fine.pt").out


def cancelling(net: Net, rng: np.random.Generator) -> None:
    """A layer whose two weights nearly cancel, which 8 bits cannot say; the cell behind it has no such need."""
    net.tensor = net.add(Gather("twice", net.tensor, np.array([0, 0]), "twice"))
    linear_layer(net, "difference", Dense(np.array([[8.0, -7.84]]), np.zeros(1)))
    add_cell(net, rng, "elman", "elman", 2, False)


# --- warnings ---


def unbounded() -> cells.LtcCell:
    """An LTC that training has left with one negative conductance, beyond the leak of its neuron."""
    cell = ltc_cell_of(np.random.default_rng(7), 2, 5, 1.0, False, 6, 2)
    conductance = cell.recurrent.conductance.copy()
    conductance[np.flatnonzero(cell.recurrent.post == 3)[0]] = -cell.leak[3] - 0.1
    return replace(cell, recurrent=replace(cell.recurrent, conductance=conductance))


def test_warnings_go_to_stderr_and_into_json(tmp_path: Path) -> None:
    def layers(net: Net, _: np.random.Generator) -> None:
        cells.ltc(net, "wild", unbounded())

    save_checkpoint(network(layers), tmp_path / "wild.pt")
    result = compiled(tmp_path, "wild")
    assert "wild" in result.err and "negative" in result.err
    assert "negative" not in result.out
    shown = lnnc("inspect", tmp_path / "wild.pt")
    assert shown.err == result.err
    (warning,) = inspected(tmp_path, "wild")["warnings"]
    assert " ".join(warning.split()) in " ".join(result.err.split())


def test_no_warning_without_a_reason(folder: Path) -> None:
    for name in ("cfc", "leaky", "ltc", "timed"):
        assert compiled(folder, name).err == ""
        assert inspected(folder, name)["warnings"] == []


def test_verify_takes_the_widths_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What auto chose stands in the file: it is not searched for again, here or on another machine."""
    from lnnc import pipeline

    save_checkpoint(random_network((26, 3), "cfc", 8, wild=False).checkpoint, tmp_path / "m.pt")
    assert lnnc("compile", tmp_path / "m.pt", "-o", tmp_path / "m.c", "--weight-bits", "auto").code == 0
    assert '"wide": [' in (tmp_path / "m.c").read_text()
    monkeypatch.setattr(pipeline, "choose_weight_bits", None)
    result = lnnc("verify", tmp_path / "m.pt", tmp_path / "m.c")
    assert result.code == 0, result
