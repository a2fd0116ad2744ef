"""`lnnc import ncps`: what a state_dict tells, what the configuration must, and that the network is that of ncps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ncps_networks as nets
import numpy as np
import pytest
import torch
from ncps.torch import LTC, CfC, CfCCell, LTCCell
from ncps.wirings import AutoNCP, FullyConnected
from small import Result, lnnc
from torch import nn

from lnnc.frontend.build import build_graph
from lnnc.frontend.ncps_config import KEYS, read_weights
from lnnc.frontend.storage import load_checkpoint
from lnnc.frontend.torch_run import run_module
from lnnc.ir.evaluate import evaluate

CFC = {"cell": "cfc", "mode": "default", "activation": "lecun_tanh", "timespan": 1.0}
LTC_CONFIG = {"cell": "ltc", "ode_unfolds": 6, "implicit_param_constraints": True, "timespan": 1.0}
Config = dict[str, Any]


def arrays(module: nn.Module) -> dict[str, Any]:
    return {name: np.asarray(value.detach().double().numpy()) for name, value in module.state_dict().items()}


def config_of(case: nets.Case) -> Config:
    """What somebody who knows the network writes."""
    time = float(case.time) if case.time == "0.1" else 1.0
    if case.cell == "ltc":
        outputs = {} if case.output_mapping else {"output_size": nets.module_of(case).output_size}
        return {
            "timespan": time, "ode_unfolds": case.unfolds, "implicit_param_constraints": case.implicit,
            "input_mapping": case.input_mapping, "output_mapping": case.output_mapping, **outputs,
        }  # fmt: skip
    return {"timespan": time, "mode": case.mode, "activation": case.activation, "mixed_memory": case.mixed}


# --- the network ---


def difference(case: nets.Case) -> float:
    module, x, times = nets.module_of(case), nets.samples(), nets.spans(case)
    imported, questions = read_weights(arrays(module), config_of(case), "weights.pth")
    assert not questions
    graph = nets.graph_of(imported.parts, time=imported.timespan)
    given = times[None] if case.time == "irregular" and times is not None else None
    got = evaluate(graph, x[None], given)[graph.result]
    return float(np.abs(got - nets.ncps_outputs(module, x, times)).max())


@pytest.mark.parametrize("case", nets.sample(nets.cfc_cases(), 20, seed=5), ids=str)
def test_cfc_is_that_of_ncps(case: nets.Case) -> None:
    assert difference(case) <= 1e-5


@pytest.mark.parametrize("case", nets.sample(nets.ltc_cases(), 20, seed=6), ids=str)
def test_ltc_is_that_of_ncps(case: nets.Case) -> None:
    assert difference(case) <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
def test_every_network_is_that_of_ncps(part: int) -> None:
    """With one kind of time: reading knows no other; test_from_torch.py has them all."""
    cases = [case for case in (*nets.cfc_cases(), *nets.ltc_cases()) if case.time == "0.1"]
    for case in cases[part::8]:
        assert difference(case) <= 1e-5, case


class Around(nn.Module):
    """A cell in somebody's model, with layers before and behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(3, 4)
        self.net = nn.ModuleDict({"rnn": CfC(4, AutoNCP(9, 2), mixed_memory=True, proj_size=5)})
        self.norm, self.head = nn.LayerNorm(5), nn.Linear(5, 1, bias=False)


def test_a_cell_is_found_inside_a_model_and_its_neighbours_are_named() -> None:
    torch.manual_seed(0)
    model = Around().double()
    around = {"before": ["enter", "silu"], "after": ["norm", "relu", "head"]}
    imported, _ = read_weights(arrays(model), {"mode": "no_gate", "timespan": 1.0, **around}, "w.pth")
    graph = nets.graph_of(imported.parts)
    for layer in model.net["rnn"].rnn_cell._layers:
        layer.mode = "no_gate"
    parts = [model.enter, nn.SiLU(), model.net["rnn"], model.norm, nn.ReLU(), model.head]
    x = nets.samples()
    assert np.abs(evaluate(graph, x[None])[graph.result] - run_module(parts, x)).max() <= 1e-12
    assert "net.rnn.rnn_cell.layer_0.ff1" in {op.src for op in graph.ops}


@pytest.mark.parametrize(
    ("module", "config"),
    [
        (CfCCell(3, 5, backbone_units=8), {**CFC, "activation": "gelu"}),
        (LTCCell(FullyConnected(6, 2), 3), LTC_CONFIG),
    ],
    ids=["cfc", "ltc"],
)
def test_bare_cells(module: Any, config: Config) -> None:
    imported, questions = read_weights(arrays(module), config, "w.pth")
    assert not questions
    assert imported.parts[0].inputs == 3
    assert nets.graph_of(imported.parts).ops[1].src == "cell"


# --- the command ---


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    save(tmp_path, LTC(3, AutoNCP(10, 2)).state_dict(), LTC_CONFIG)
    np.savez(tmp_path / "X.npz", nets.samples(steps=200))
    return tmp_path


def save(folder: Path, state: Mapping[str, Any], config: Any) -> None:
    torch.save(dict(state), folder / "w.pth")
    (folder / "cell.json").write_text(config if isinstance(config, str) else json.dumps(config))


def run_import(folder: Path, *more: Any, **options: Any) -> Result:
    """`lnnc import ncps w.pth` with right answers; options replace them, None leaves one out."""
    given = {
        "config": folder / "cell.json", "calibration": folder / "X.npz", "output": folder / "m.pt", "weight-bits": "8",
        **{key.replace("_", "-"): value for key, value in options.items()},
    }  # fmt: skip
    args = [part for key, value in given.items() if value is not None for part in (f"--{key}", value)]
    result = lnnc("import", "ncps", folder / "w.pth", *args, *more)
    assert "Traceback" not in result.err
    if result.code:
        assert result.code == 2
        assert not (folder / "m.pt").exists()
    return result


def test_the_command_writes_a_checkpoint_that_computes_the_same(folder: Path) -> None:
    torch.manual_seed(1)
    module = LTC(3, AutoNCP(10, 2))
    assert run_import(folder, in_port="current", in_unit="A", in_range="-9:9", out_port="charge").code == 0
    checkpoint = load_checkpoint(folder / "m.pt")
    x = nets.samples(steps=200)
    graph = build_graph(checkpoint)
    assert np.abs(evaluate(graph, x[None])["output"] - run_module(module, x)).max() < 1e-5
    port = checkpoint.inputs[0]
    assert (port.name, port.unit, port.range, port.size) == ("current", "A", (-9.0, 9.0), 3)
    assert (checkpoint.outputs[0].name, checkpoint.outputs[0].size) == ("charge", 2)


def test_auto_says_which_layers_have_16_bits_and_why(folder: Path) -> None:
    torch.manual_seed(2)
    save(folder, CfC(3, 6, backbone_units=8).state_dict(), CFC)
    result = run_import(folder, weight_bits="auto")
    assert result.code == 0
    assert "mean output error" in result.out
    assert "sha256" in result.out


@pytest.mark.needs("gcc")
def test_ports_and_ranges_and_the_whole_way_to_c(folder: Path) -> None:
    ports = [{"name": "current", "range": [-8, 8], "scale": 2.0}, {"name": "voltage", "unit": "V", "size": 2}]
    save(folder, LTC(3, AutoNCP(10, 2)).state_dict(), {**LTC_CONFIG, "inputs": ports, "outputs": [{"name": "soc"}]})
    assert run_import(folder, keep="ranges").code == 0
    checkpoint = load_checkpoint(folder / "m.pt")
    assert [(p.name, p.size, p.scale) for p in checkpoint.inputs] == [("current", 1, 2.0), ("voltage", 2, 1.0)]
    assert checkpoint.calibration is None
    assert lnnc("verify", folder / "m.pt").code == 0


def test_a_single_feature_may_come_as_rows(folder: Path) -> None:
    save(folder, CfC(1, 4, backbone_layers=0).state_dict(), {**CFC, "activation": "tanh"})
    np.savez(folder / "X.npz", np.random.default_rng(0).normal(size=(5, 40)))
    assert run_import(folder).code == 0
    assert load_checkpoint(folder / "m.pt").calibration.shape == (5, 40, 1)  # type: ignore[union-attr]


# --- what is asked ---


def test_every_missing_answer_is_listed_at_once_with_its_choices(folder: Path) -> None:
    save(folder, CfC(3, 4, backbone_units=5).state_dict(), {})
    text = run_import(folder, calibration=None, output=None).err
    for words in ('"mode"', '"default", "no_gate"', '"activation"', '"silu"', '"timespan"', "--calibration", "-o"):
        assert words in text
    assert "5 faults" in text


def test_ltc_questions(folder: Path) -> None:
    save(folder, LTC(3, 5, output_mapping=None).state_dict(), {})
    text = run_import(folder).err
    for words in ('"ode_unfolds"', '"implicit_param_constraints"', "true, false", '"output_size"', "1 ... 5"):
        assert words in text


def test_without_a_config_the_questions_are_the_same(folder: Path) -> None:
    text = run_import(folder, config=None).err
    assert text.startswith("error: --config: 3 faults") or "--config: 3 faults" in text
    assert '"ode_unfolds"' in text


def test_pure_is_told_by_the_weights(folder: Path) -> None:
    save(folder, CfC(3, AutoNCP(9, 2), mode="pure").state_dict(), {"timespan": 0.5})
    assert run_import(folder).code == 0
    assert load_checkpoint(folder / "m.pt").architecture.network.time == 0.5  # type: ignore[union-attr]


# --- what is refused ---


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{", "not JSON"),
        ("[1]", "expected a JSON object"),
        ('{"timespan": 1, "timespan": 2}', "'timespan' is given twice"),
        ("[" * 100000, "not JSON"),
        ({**LTC_CONFIG, "ode_unfold": 3}, "did you mean 'ode_unfolds'"),
        ({**LTC_CONFIG, "mode": "default"}, "unknown key 'mode'"),
        ({**LTC_CONFIG, "cell": "cfc"}, 'the weights are those of a "ltc"'),
        ({**LTC_CONFIG, "cell": ["ltc"]}, "config.cell"),
        ({**LTC_CONFIG, "ode_unfolds": 0}, "config.ode_unfolds: expected 1 ..."),
        ({**LTC_CONFIG, "ode_unfolds": True}, "config.ode_unfolds"),
        ({**LTC_CONFIG, "implicit_param_constraints": 1}, "expected one of true, false, found 1"),
        ({**LTC_CONFIG, "timespan": 0}, "config.timespan"),
        ({**LTC_CONFIG, "timespan": "1"}, "config.timespan"),
        ('{"timespan": NaN}', "config.timespan"),
        ({**LTC_CONFIG, "epsilon": 0.1}, "config.epsilon"),
        ({**LTC_CONFIG, "input_mapping": None}, "the weights hold input_w and input_b"),
        ({**LTC_CONFIG, "output_mapping": "cubic"}, 'expected "affine", "linear" or null'),
        ({**LTC_CONFIG, "output_mapping": []}, "config.output_mapping"),
        ({**LTC_CONFIG, "output_size": 3}, "expected 2, as output_w has"),
        ({**LTC_CONFIG, "mixed_memory": True}, "the weights hold no LSTM"),
        ({**LTC_CONFIG, "after": "head"}, "config.after: expected a list"),
        ({**LTC_CONFIG, "after": ["head"]}, "no tensor 'head.weight'"),
        ({**LTC_CONFIG, "inputs": [{"nmae": "a"}]}, "did you mean 'name'"),
        ({**LTC_CONFIG, "inputs": 5}, "inputs: expected a dictionary, found 5"),
        ({**LTC_CONFIG, "inputs": []}, "the ports hold 0 values"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_bad_configurations_are_refused(folder: Path, config: Any, words: str) -> None:
    (folder / "cell.json").write_text(config if isinstance(config, str) else json.dumps(config))
    assert words in run_import(folder).err


def test_nothing_that_was_read_is_overwritten(folder: Path) -> None:
    (folder / "cell.json").rename(folder / "m.pt")
    assert "would overwrite the configuration" in lnnc(
        "import", "ncps", folder / "w.pth", "--config", folder / "m.pt", "-o", folder / "m.pt"
    ).err  # fmt: skip


def test_no_such_config(folder: Path) -> None:
    assert "no such file" in run_import(folder, config=folder / "other.json").err


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rnn_cell.mu": None}, "key 'rnn_cell.mu' is missing"),
        ({"rnn_cell.mu": torch.ones(10, 9)}, "tensor 'rnn_cell.mu': expected shape (10, 10), found (10, 9)"),
        ({"rnn_cell.sensory_mu": torch.ones(10, 3)}, "expected shape (3, 10), found (10, 3)"),
        ({"rnn_cell.output_w": torch.ones(11)}, "11 outputs of 10 neurons"),
        ({"rnn_cell.cm": torch.tensor(1.0)}, "tensor 'rnn_cell.cm': expected shape (10,), found ()"),
        ({"head.weight": torch.ones(1, 2)}, "tensor 'head.weight' (1, 2) belongs to no layer"),
        ({"head.weight": torch.ones(1, 2)}, '"after"'),
        ({"rnn_cell.w": torch.full((10, 10), float("inf"))}, "NaN or Inf"),
        ({"other.sensory_sigma": torch.ones(3, 10)}, "several cells: 'other.' (ltc), 'rnn_cell.' (ltc)"),
        ({"rnn_cell.sensory_sigma": None}, "no ncps cell in it"),
        ({"rnn_cell.input_w": None}, "key 'rnn_cell.input_w' is missing"),
    ],
)  # fmt: skip
def test_bad_weights_are_named(folder: Path, changes: Mapping[str, Any], words: str) -> None:
    torch.manual_seed(1)
    state = {**LTC(3, AutoNCP(10, 2)).state_dict(), **changes}
    save(folder, {key: value for key, value in state.items() if value is not None}, LTC_CONFIG)
    assert words in run_import(folder).err


def test_layers_of_a_wired_cell_must_follow_each_other(folder: Path) -> None:
    state = dict(CfC(3, AutoNCP(10, 2)).state_dict())
    del state["rnn_cell.layer_1.ff1.weight"], state["rnn_cell.layer_1.ff1.bias"]
    save(folder, state, CFC)
    assert "key 'rnn_cell.layer_1.ff1.weight' is missing" in run_import(folder).err


def test_a_wired_cell_must_have_its_mask(folder: Path) -> None:
    state = dict(CfC(3, AutoNCP(10, 2)).state_dict())
    del state["rnn_cell.layer_2.sparsity_mask"]
    save(folder, state, CFC)
    assert "key 'rnn_cell.layer_2.sparsity_mask' is missing" in run_import(folder).err


def test_random_damage_is_refused_without_a_traceback(folder: Path) -> None:
    """Tensors dropped, reshaped, renamed: an error that names a tensor, or a network all the same."""
    rng = np.random.default_rng(0)
    for number in range(40):
        module = CfC(3, AutoNCP(9, 2), mixed_memory=True) if number % 2 else LTC(3, 5)
        state = dict(module.state_dict())
        for key in rng.choice(sorted(state), 2, replace=False).tolist():
            value = state.pop(key)
            match rng.integers(4):
                case 0:
                    state[key] = value.T.clone() if value.ndim == 2 else value[:-1]
                case 1:
                    state[key] = value.reshape(-1)
                case 2:
                    state[f"{key}x"] = value
                case _:
                    pass
        save(folder, state, CFC if number % 2 else LTC_CONFIG)
        result = run_import(folder)
        assert result.code in (0, 2)
        (folder / "m.pt").unlink(missing_ok=True)


def test_ports_are_given_once(folder: Path) -> None:
    save(folder, LTC(3, AutoNCP(10, 2)).state_dict(), {**LTC_CONFIG, "inputs": [{"name": "a"}]})
    assert "are given as options too" in run_import(folder, in_port="b").err


def test_calibration_of_another_width_is_refused(folder: Path) -> None:
    np.savez(folder / "X.npz", np.zeros((20, 4)))
    assert "expected 3 features, found shape (1, 20, 4)" in run_import(folder).err


def test_an_lnnc_checkpoint_is_not_imported_again(folder: Path) -> None:
    assert run_import(folder).code == 0
    (folder / "m.pt").rename(folder / "w.pth")
    assert "already an lnnc checkpoint" in run_import(folder).err


# --- docs/import.md ---

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "import.md").read_text()


def block(language: str) -> str:
    return PAGE.split(f"```{language}\n")[1].split("```")[0]


@pytest.mark.needs("gcc")
def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(block("python"), "docs/import.md", "exec"), {})
    assert lnnc("verify", "wear.pt", "wear.c").code == 0
    model = nn.ModuleDict({"rnn": CfC(3, 6, backbone_units=8), "head": nn.Linear(6, 1)})
    torch.save(model.state_dict(), "weights.pth")
    np.savez("X.npz", nets.samples(steps=200))
    Path("cell.json").write_text(block("json"))
    for line in PAGE.split("```\nlnnc import")[1].split("```")[0].splitlines():
        words = line.removeprefix("lnnc").split()
        result = lnnc(*(words if words[0] == "compile" else ("import", *words)))
        assert result.code == 0, result.err
    assert Path("wear.h").exists()


def test_the_page_names_every_key() -> None:
    for key in {key for keys in KEYS.values() for key in keys}:
        assert f"`{key}`" in PAGE
