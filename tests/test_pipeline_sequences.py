"""Sequences of any kind: what is wanted, naive rivals, networks as torch and as ops, nothing learned from tests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from problems import COLUMNS, dataset, lesson, machine, sequence_problem

from lnnc.data.dataset import Dataset, Sequence
from lnnc.errors import LnncError
from lnnc.ir.graph import Array
from lnnc.quantize.context import Options
from lnnc.train.learn.distill import Distillation
from lnnc.train.learn.prune import cut
from lnnc.train.pipeline.generic import _forward
from lnnc.train.pipeline.measure import Making, baseline_errors, errors_of, mean_of, measure_set
from lnnc.train.pipeline.problem import Spec, Trained, load_trained, save_trained
from lnnc.train.sequences.networks import CELLS, KINDS, cell_neurons, restore, sequence_networks
from lnnc.train.sequences.task import Task, columns_of

UNITS = {"linear": (), "mlp": (6, 5)}
SPECS = {kind: Spec(kind, UNITS.get(kind, (5,))) for kind in KINDS}
every_kind = pytest.mark.parametrize("kind", KINDS)
every_cell = pytest.mark.parametrize("kind", CELLS)


def ramp(length: int = 20, name: str = "a") -> Dataset:
    """y = t, u = 2 t."""
    t = np.arange(float(length))
    return Dataset(("u", "y"), ("1", "m"), (Sequence(name, np.stack([2 * t, t], axis=1)),), "", (), ())


# --- the task ---


def test_what_is_wanted_at_each_origin() -> None:
    columns = columns_of(ramp(), Task(("u", "y"), ("y",), window=5, horizon=3, every=4))
    assert columns.origins("a").tolist() == [4, 8, 12, 16]
    assert columns.truth("a")[..., 0].tolist() == [[5, 6, 7], [9, 10, 11], [13, 14, 15], [17, 18, 19]]
    assert columns.windows("a", 5)[0].tolist() == [[2 * t, t] for t in range(5)]
    changes = columns_of(ramp(), Task(("u", "y"), ("y",), window=5, horizon=3, every=4, change=True))
    assert changes.truth("a")[..., 0].tolist() == [[1, 2, 3]] * 4


def test_an_estimator_says_the_present() -> None:
    columns = columns_of(ramp(), Task(("u",), ("y",), window=5, horizon=0, every=5))
    assert columns.origins("a").tolist() == [4, 9, 14, 19]
    assert columns.truth("a")[..., 0].tolist() == [[4], [9], [14], [19]]


def test_naive_forecasters() -> None:
    problem = sequence_problem(window=6, horizon=2)
    said = problem.baselines()
    assert list(said) == ["mean of training", "persistence", "line 6"]
    name = problem.split.test(0)[0]
    y, origins = problem.columns.wanted[name][:, 0], problem.columns.origins(name)
    assert (said["persistence"][name][:, 1, 0] == y[origins]).all()
    fitted = [np.polyval(np.polyfit(np.arange(-5, 1), y[o - 5 : o + 1], 1), [1, 2]) for o in origins]
    np.testing.assert_allclose(said["line 6"][name][..., 0], fitted, atol=1e-12)
    train = np.concatenate([problem.truth(n).ravel() for n in problem.split.train(0)])
    np.testing.assert_allclose(said["mean of training"][name], train.mean(), atol=1e-12)


def test_naive_forecasters_of_changes_and_of_the_present() -> None:
    changes = sequence_problem(change=True).baselines()
    plain = sequence_problem().baselines()
    problem = sequence_problem()
    for name in problem.split.names:
        now = problem.columns.wanted[name][problem.columns.origins(name)][:, None]
        np.testing.assert_allclose(changes["line 8"][name] + now, plain["line 8"][name], atol=1e-12)
        assert (changes["persistence"][name] == 0).all()
    assert list(sequence_problem(inputs=("u",), horizon=0).baselines()) == ["mean of training"]


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ({"inputs": ("v",)}, "no column 'v'; there are u, y, z"),
        ({"inputs": ("u",), "change": True}, "a change can only be forecast from targets that are inputs too"),
        ({"window": 200}, r"no sequence has 200 \+ 3 samples; the longest has 105"),
    ],
)
def test_a_task_that_the_data_cannot_answer(task: dict[str, object], says: str) -> None:
    with pytest.raises(LnncError, match=says):
        _ = sequence_problem(**task).columns


def test_errors_of_several_targets_are_told_in_their_deviations() -> None:
    problem = sequence_problem(inputs=COLUMNS, targets=("y", "z"))
    assert problem.unit == "standard deviations"
    errors = baseline_errors(problem)["mean of training"]
    assert 0.5 < mean_of(errors) < 1.2  # of a mean: about one deviation, though z is hundreds


# --- networks ---


@every_kind
def test_the_ops_say_what_the_torch_network_says(kind: str) -> None:
    problem = sequence_problem()
    trained = problem.train(SPECS[kind], lesson(2))
    name, member = problem.split.test(0)[0], 0
    said = problem.forecasts(problem.checkpoint(trained, member), [name], Options(), "float")[name]
    np.testing.assert_allclose(said[..., 0], by_torch(problem, trained, name, member), atol=2e-5)


def by_torch(problem, trained: Trained, name: str, member: int) -> Array:  # type: ignore[no-untyped-def]
    """(n, steps) at the origins of a sequence, by the network that was trained."""
    scaling, seen = problem.scalings[member], problem.columns.seen[name]
    network = problem._restored(trained)
    window, origins = problem.task.window, problem.columns.origins(name)
    scaled = (seen - scaling.seen[0]) / scaling.seen[1]
    if trained.spec.kind in ("mlp", "linear"):
        scaled = np.stack([scaled[o + 1 - window : o + 1].ravel() for o in origins])
    x = torch.from_numpy(scaled.astype(np.float32))[None, :, None].expand(-1, -1, 3, -1)
    if trained.spec.kind in ("mlp", "linear"):
        x = x.transpose(0, 1)
    with torch.no_grad():
        out = _forward(network, x)[:, :, member].reshape(-1, 3).double().numpy()
    rows = out if trained.spec.kind in ("mlp", "linear") else out[origins]
    return np.asarray(rows * scaling.wanted[1] + scaling.wanted[0])


@every_kind
def test_weights_come_back_into_a_network(kind: str) -> None:
    width = 16 if kind in ("mlp", "linear") else 2
    first = sequence_networks(kind, width, UNITS.get(kind, (5,)), 3, 2, seed=1)
    second = sequence_networks(kind, width, UNITS.get(kind, (5,)), 3, 2, seed=2)
    arrays = [first.arrays(member) for member in range(2)]
    restore(second, arrays)
    for member in range(2):
        for name, array in second.arrays(member).items():
            np.testing.assert_allclose(array, arrays[member][name], rtol=2e-5, atol=1e-6, err_msg=name)
    assert {p.shape for p in second.parameters()} == {p.shape for p in first.parameters()}


@every_cell
def test_a_neuron_that_nobody_reads_leaves_without_a_trace(kind: str) -> None:
    problem = sequence_problem()
    trained = problem.train(SPECS[kind], lesson(2))
    silent = [dict(weights) for weights in trained.weights]
    neurons = cell_neurons(kind, silent[0])
    for weights in silent:
        for slot in neurons.outgoing:
            weights[slot.key] = weights[slot.key].copy()
            index = [slice(None)] * weights[slot.key].ndim
            starts = (0, 5, 10) if kind == "gru" and slot.key == "held_weight" and slot.axis == 0 else (slot.first,)
            for start in starts:
                index[slot.axis] = start + 2
                weights[slot.key][tuple(index)] = 0.0
    stay = np.array([0, 1, 3, 4])
    smaller = replace(
        trained, spec=Spec(kind, (4,)), weights=tuple(cut(w, [cell_neurons(kind, w)], [stay]) for w in silent)
    )
    whole = replace(trained, weights=tuple(silent))
    name = problem.split.test(0)[0]
    before, after = (
        problem.forecasts(problem.checkpoint(t, 0), [name], Options(), "float")[name] for t in (whole, smaller)
    )
    np.testing.assert_allclose(after, before, atol=1e-6)


@every_cell
def test_a_pruned_set_is_smaller_in_every_fold_and_can_be_taught_again(kind: str) -> None:
    problem = sequence_problem()
    trained = problem.train(SPECS[kind], lesson(2))
    pruned = problem.prune(trained, 0.4)
    assert pruned.spec == Spec(kind, (3,)) and {w["head.weight"].shape for w in pruned.weights} == {(3, 3)}
    how = Distillation("l1", "l1")
    recovered = problem.train(pruned.spec, lesson(3, how, start=pruned, teacher=(trained,)))
    assert recovered.steps == 5


def test_networks_without_a_state_are_not_pruned_and_teach_no_cells() -> None:
    problem = sequence_problem()
    mlp = problem.train(SPECS["mlp"], lesson(1))
    with pytest.raises(LnncError, match="are not pruned"):
        problem.prune(mlp, 0.5)
    with pytest.raises(LnncError, match="a teacher of another form"):
        problem.train(SPECS["cfc"], lesson(1, Distillation(), teacher=(mlp,)))
    with pytest.raises(LnncError, match="hidden layers"):
        problem.train(Spec("gru", (2, 2)), lesson(1))


# --- nothing of a test sequence is learned from ---


@pytest.mark.parametrize("kind", ["leaky", "mlp"])
@pytest.mark.parametrize("mode", ["stream", "window"])
def test_a_fold_does_not_see_its_test_sequences(kind: str, mode: str) -> None:
    data = dataset()
    problem = sequence_problem(data, mode=mode)
    hidden = problem.split.test(0)
    other = [
        Sequence(s.name, 3.0 * machine(77, len(s.values)) + 1.0) if s.name in hidden else s for s in data.sequences
    ]
    changed = sequence_problem(replace(data, sequences=tuple(other)), mode=mode)
    first, second = (p.train(SPECS[kind], lesson(3)) for p in (problem, changed))
    for name, array in first.weights[0].items():
        np.testing.assert_array_equal(second.weights[0][name], array)
    assert any((second.weights[-1][name] != array).any() for name, array in first.weights[-1].items())
    one, two = problem.checkpoint(first, 0), changed.checkpoint(second, 0)
    assert one.digest() == two.digest()  # scales, ranges and calibration too


# --- measured ---


@pytest.mark.needs("arm-none-eabi-gcc", "unicorn")
@pytest.mark.parametrize("mode", ["stream", "window"])
def test_a_set_is_measured_on_integers_and_on_compiled_c(mode: str) -> None:
    problem = sequence_problem(mode=mode)
    trained = problem.train(Spec("leaky", (4,)), lesson(40))
    measured, errors = measure_set(problem, trained, Making())
    assert set(errors) == set(problem.split.names)
    assert measured.error == pytest.approx(mean_of(errors))
    assert measured.error == pytest.approx(measured.more["float_error"], rel=0.02)
    assert measured.error < mean_of(baseline_errors(problem)["mean of training"])
    assert 500 < measured.flash < 4000 and 20 < measured.ram < 400 and 300 < measured.cycles < 5000
    assert measured.more["low"] < measured.error < measured.more["high"]


def test_the_window_is_all_that_a_windowed_model_sees() -> None:
    data = dataset()
    problem = sequence_problem(data, mode="window")
    trained = problem.train(SPECS["cfc"], lesson(2))
    origin = problem.columns.origins("run0")[-1]
    early = data.sequences[0].values.copy()
    early[: origin + 1 - problem.task.window] = 9.0
    other = sequence_problem(replace(data, sequences=(Sequence("run0", early), *data.sequences[1:])), mode="window")
    checkpoint = problem.checkpoint(trained, 2)
    said, also = (p.forecasts(checkpoint, ["run0"], Options(), "float")["run0"][-1] for p in (problem, other))
    np.testing.assert_allclose(also, said, atol=1e-9)


def test_a_forecast_that_is_not_finite_is_refused() -> None:
    problem = sequence_problem()
    said = {"run0": np.full_like(problem.truth("run0"), np.nan)}
    with pytest.raises(LnncError, match="a forecast of 'run0' is not finite"):
        errors_of(problem, said)


# --- the file ---


def test_a_set_is_read_as_it_was_written(tmp_path) -> None:  # type: ignore[no-untyped-def]
    problem = sequence_problem()
    trained = problem.train(SPECS["cfc"], lesson(2))
    save_trained(trained, tmp_path / "a.npz")
    save_trained(trained, tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    again = load_trained(tmp_path / "a.npz")
    assert (again.spec, again.steps) == (trained.spec, trained.steps)
    for one, two in zip(again.weights, trained.weights, strict=True):
        assert one.keys() == two.keys() and all((one[k] == two[k]).all() for k in one)
    (tmp_path / "bad.npz").write_bytes(b"PK nothing")
    with pytest.raises(LnncError, match="no set of models"):
        load_trained(tmp_path / "bad.npz")
