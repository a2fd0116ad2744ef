"""The paper's networks as torch modules: equations, published weights, checkpoints that compile to the same numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lnnc.errors import LnncError
from lnnc.frontend.build import build_graph
from lnnc.frontend.checkpoint import Checkpoint
from lnnc.frontend.import_dlnet import read_state_dict
from lnnc.ir.evaluate import evaluate
from lnnc.ir.graph import Array
from lnnc.pipeline import plan_model, run_model
from lnnc.train.dlnet.anchor import Anchor, Anchored
from lnnc.train.dlnet.checkpoints import anchored_checkpoint, dlnet_checkpoint
from lnnc.train.dlnet.networks import (
    DLNet,
    Liquid,
    Scaled,
    Scaler,
    Shape,
    build,
    from_tensors,
    student_shape,
    to_tensors,
)

SMALL = Shape(20, 10, (8,), 4, (8, 6), "low_rank", 2, 1, 0.05)
SCALER = Scaler(0.8, 1.05)
DEPLOYED = Scaler(0.8178250862438334, 1.006409511628937)
TRAINED = Scaler(0.77363, 1.01019)  # the scaler of the training, as DATA's authors found it
PUBLISHED = {  # file -> (steps, dt, MAE on the 16 segments, on all windows)
    "student_deployed_h4_state_dict.pth": (1, 0.05, 0.00629, 0.00303),
    "student_h64_state_dict.pth": (1, 0.05, 0.00669, 0.00303),
    "student_h16_pruned90_state_dict.pth": (1, 0.05, 0.02014, 0.00675),
    "teacher_h128_state_dict.pth": (9, 1 / 9, 0.00646, 0.00245),
}


def windows(count: int, length: int = 20) -> Array:
    rng = np.random.default_rng(0)
    t = np.linspace(0, 1, length)
    return 1.0 - rng.uniform(0, 0.1, (count, 1)) * t - rng.uniform(0, 0.05, (count, 1)) * t**2


def float_outputs(checkpoint: Checkpoint, data: Array) -> Array:
    graph = build_graph(checkpoint)
    return evaluate(graph, data)[graph.result]


def outputs(module: torch.nn.Module, data: Array) -> Array:
    with torch.no_grad():
        return np.asarray(module(torch.as_tensor(data, dtype=torch.float32)).double())


def test_names_and_shapes_are_those_of_the_published_files(shared: Path) -> None:
    for file, shape in (("teacher_h128", Shape()), ("student_h64", student_shape(64))):
        theirs = read_state_dict(shared / "models" / "dlnet" / f"{file}_state_dict.pth")
        ours = to_tensors(build(shape, 0))
        assert {name: t.shape for name, t in ours.items()} == {name: t.shape for name, t in theirs.items()}


@pytest.mark.parametrize("file", PUBLISHED)
def test_published_weights_give_their_recorded_errors(file: str, shared: Path) -> None:
    steps, dt, on_segments, on_all = PUBLISHED[file]
    cells = np.load(shared / "data" / "matr_smoothed_soh.npz")
    picks = json.loads((shared / "data" / "dlnet_segments.json").read_text(encoding="utf-8"))
    segments = np.array([cells[p["cell"]][p["start"] : p["start"] + 200] for p in picks])
    every = np.array([cells[n][i : i + 200] for n in cells.files for i in range(1, len(cells[n]) - 199, 39)])
    module = Scaled(from_tensors(read_state_dict(shared / "models" / "dlnet" / file), steps, dt), DEPLOYED)
    for data, recorded in ((segments, on_segments), (every, on_all)):
        error = np.abs(outputs(module, data[:, :100]) - data[:, 100:]).mean()
        assert error == pytest.approx(recorded, abs=2e-5)


def test_half_of_the_published_error_is_the_scaler(shared: Path) -> None:
    cells = np.load(shared / "data" / "matr_smoothed_soh.npz")
    picks = json.loads((shared / "data" / "dlnet_segments.json").read_text(encoding="utf-8"))
    segments = np.array([cells[p["cell"]][p["start"] : p["start"] + 200] for p in picks])
    tensors = read_state_dict(shared / "models" / "dlnet" / "student_deployed_h4_state_dict.pth")
    module = Scaled(from_tensors(tensors, 1, 0.05), TRAINED)
    assert np.abs(outputs(module, segments[:, :100]) - segments[:, 100:]).mean() < 0.0030


@pytest.mark.parametrize("recurrence", ["full", "low_rank"])
def test_the_compiled_graph_is_the_module(recurrence: str) -> None:
    model = build(replace(SMALL, recurrence=recurrence, steps=3), 1).eval()
    data = windows(16)
    checkpoint = dlnet_checkpoint(model, SCALER, data)
    got = float_outputs(checkpoint, data)
    assert np.abs(got - outputs(Scaled(model, SCALER), data)).max() < 1e-6
    integer = run_model(checkpoint, data, "reference")
    assert np.abs(integer - got).mean() < 0.002


def test_anchored_graph_is_the_module_and_its_integers_are_close() -> None:
    anchor = Anchor(window=20, horizon=10, last=10)
    model = Anchored(build(Shape(anchor.features, anchor.terms, (8,), 4, (), "low_rank", 0, 1, 0.05), 1), anchor).eval()
    data = windows(64)
    checkpoint = anchored_checkpoint(model, data)
    with torch.no_grad():
        want = np.asarray(model(torch.as_tensor(data)))
    assert np.abs(float_outputs(checkpoint, data) - want).max() < 1e-6
    integer = run_model(checkpoint, data[:, None], "reference")[:, 0]
    assert np.abs(integer - want).mean() < 2e-4
    assert plan_model(checkpoint).program.input_size == 20


def test_an_anchored_network_continues_lines_and_ignores_the_level() -> None:
    anchor = Anchor()
    model = Anchored(build(Shape(anchor.features, anchor.terms, (), 4, (), "full"), 0), anchor)
    with torch.no_grad():
        model.network.decoder[-1].weight.zero_()  # type: ignore[union-attr]
        model.network.decoder[-1].bias.zero_()  # type: ignore[union-attr]
        line = torch.linspace(1.0, 0.9, 200, dtype=torch.float64)[None]
        assert torch.allclose(model(line[:, :100]), line[:, 100:])
    other = Anchored(build(Shape(anchor.features, anchor.terms, (), 4, (), "full"), 3), anchor)
    curve = torch.as_tensor(windows(1, 100))
    with torch.no_grad():
        assert torch.allclose(other(curve - 0.1), other(curve) - 0.1, atol=1e-7)


def test_the_solver_approaches_the_exact_solution() -> None:
    """Without beta the liquid neuron decays: x(1) = x(0) exp(-alpha)."""
    errors = {}
    for solver in ("euler", "rk4"):
        cell = Liquid(Shape(hidden=3, solver=solver))
        with torch.no_grad():
            cell.beta.zero_()
            x = torch.ones(1, 3)
            errors[solver] = float((cell(x, torch.zeros(1, 1)) - x * torch.exp(-cell.alpha)).abs().max())
    assert errors["rk4"] < 1e-5 < 1e-3 < errors["euler"]


def test_the_trajectory_begins_with_the_code_and_ends_with_what_is_decoded() -> None:
    model = build(replace(SMALL, steps=3), 0).eval()
    u = torch.rand(5, 20)
    states = model.states(u)
    assert states.shape == (4, 5, 4)
    assert torch.equal(states[0], model.encoder(u))
    assert torch.equal(model.decode(states), model(u))


def test_a_pruned_file_is_rebuilt_with_its_own_widths(shared: Path) -> None:
    tensors = read_state_dict(shared / "models" / "dlnet" / "student_h16_pruned90_state_dict.pth")
    model = from_tensors(tensors, 1, 0.05)
    assert (model.shape.hidden, model.shape.decoder, model.shape.rank) == (16, (24, 15), 16)


def test_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(5)
    first = to_tensors(build(SMALL, 7))
    torch.rand(3)
    second, other = to_tensors(build(SMALL, 7)), to_tensors(build(SMALL, 8))
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert any(not np.array_equal(first[name], other[name]) for name in first)


def test_a_network_solved_by_runge_kutta_is_not_compiled() -> None:
    model = build(replace(SMALL, solver="rk4"), 0)
    with pytest.raises(LnncError, match="rk4; lnnc compiles Euler steps") as error:
        dlnet_checkpoint(model, SCALER, windows(4))
    assert "distil" in error.value.hint


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hidden": 0}, "at least 1"),
        ({"recurrence": "dense"}, "full"),
        ({"solver": "dopri5"}, "euler or rk4"),
        ({"dt": 0.0}, "0 < dt"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_impossible_shapes_are_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(LnncError, match=said):
        replace(SMALL, **change)


@pytest.mark.parametrize("change", [{"window": 99}, {"last": 1}, {"last": 101}, {"unit": 0.0}, {"terms": 0}])
def test_impossible_anchors_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(LnncError):
        replace(Anchor(), **change)


def test_other_mistakes_are_refused() -> None:
    with pytest.raises(LnncError, match="low < high"):
        Scaler(1.0, 1.0)
    with pytest.raises(LnncError, match="a DLNet network is expected"):
        anchored_checkpoint(Anchored(torch.nn.Linear(21, 4), Anchor()), windows(4, 100))
    tensors = to_tensors(build(SMALL, 0))
    tensors["encoder.9.weight"] = tensors["encoder.5.weight"]
    tensors["encoder.9.bias"] = tensors["encoder.5.bias"]
    with pytest.raises(LnncError):
        from_tensors(tensors, 1, 0.05)


def test_a_layer_in_another_place_is_refused() -> None:
    """Without a Dropout the second block stands at 3: lnnc compiles that, but these modules are the paper's."""
    moved = {name.replace("encoder.4", "encoder.3").replace("encoder.5", "encoder.4"): t
             for name, t in to_tensors(build(SMALL, 0)).items()}  # fmt: skip
    with pytest.raises(LnncError, match="not built as the paper's networks are"):
        from_tensors(moved, 1, 0.05)


def test_dropout_changes_nothing_but_training() -> None:
    model = DLNet(replace(SMALL, dropout=0.5))
    u = torch.rand(4, 20)
    assert not torch.equal(model(u), model(u))
    model.eval()
    assert torch.equal(model(u), model(u))
