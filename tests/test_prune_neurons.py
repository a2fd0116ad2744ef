"""Structured pruning: silent neurons leave without a trace, every tensor shrinks consistently, the rest compiles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lnnc.errors import LnncError
from lnnc.frontend.build import build_graph
from lnnc.frontend.checkpoint import Architecture, Checkpoint, Dynamics, Layer, PortSpec
from lnnc.frontend.import_dlnet import infer_architecture
from lnnc.ir.evaluate import evaluate
from lnnc.ir.graph import Array
from lnnc.pipeline import plan_model
from lnnc.train.dlnet.checkpoints import dlnet_checkpoint
from lnnc.train.dlnet.networks import Scaler, Shape, build, from_tensors, to_tensors
from lnnc.train.learn.neurons import dlnet_neurons, gated_neurons, row_neurons
from lnnc.train.learn.prune import Neurons, Slot, choose, importance, prune

Tensors = dict[str, Array]


def plain(recurrence: str, rng: np.random.Generator) -> Checkpoint:
    """10 -> 6 -> liquid 5 -> 4 -> 3 without LayerNorm."""
    widths = {"encoder.0": (6, 10), "encoder.1": (5, 6), "decoder.0": (4, 5), "decoder.1": (3, 4)}
    tensors = {f"{key}.weight": rng.normal(size=shape) for key, shape in widths.items()}
    tensors |= {f"{key}.bias": rng.normal(size=shape[0]) for key, shape in widths.items()}
    if recurrence == "full":
        tensors["dynamics.W.weight"] = rng.normal(size=(5, 5))
    else:
        tensors |= {"dynamics.U": rng.normal(size=(5, 2)), "dynamics.V": rng.normal(size=(5, 2)),
                    "dynamics.w_diag": rng.normal(size=5)}  # fmt: skip
    tensors |= {"dynamics.alpha": rng.uniform(0.1, 1, 5), "dynamics.beta": rng.normal(size=5)}
    tensors["residual_weight"] = rng.normal(size=())
    encoder = (Layer("linear", "encoder.0"), Layer("relu"), Layer("linear", "encoder.1"), Layer("tanh"))
    decoder = (Layer("linear", "decoder.0"), Layer("relu"), Layer("linear", "decoder.1"))
    arch = Architecture("dlnet", "window", 10, 1, encoder, Dynamics("dynamics", recurrence, 3, 0.2), "residual_weight",
                        decoder)  # fmt: skip
    ports = PortSpec("x", 10, "1", (-4.0, 4.0)), PortSpec("y", 3, "1", None)
    return Checkpoint("test", arch, (ports[0],), (ports[1],), tensors, rng.normal(size=(32, 10)))


def run(checkpoint: Checkpoint, data: Array) -> Array:
    graph = build_graph(checkpoint)
    return evaluate(graph, data)[graph.result]


def silence(tensors: Tensors, layer: Neurons, neuron: int) -> None:
    """Set all outgoing weights of a neuron to zero."""
    for slot in layer.outgoing:
        np.moveaxis(tensors[slot.key], slot.axis, 0)[slot.first + neuron] = 0.0


@given(st.sampled_from(["full", "low_rank"]), st.integers(0, 2), st.integers(0, 3), st.integers(0, 1000))
def test_a_silent_neuron_leaves_without_a_trace(recurrence: str, which: int, neuron: int, seed: int) -> None:
    checkpoint = plain(recurrence, np.random.default_rng(seed))
    tensors = {name: np.array(tensor) for name, tensor in checkpoint.tensors.items()}
    layers = dlnet_neurons(checkpoint.architecture, tensors)
    assert [layer.name for layer in layers] == ["encoder.0", "encoder.1", "decoder.0"]
    silence(tensors, layers[which], neuron)
    gradients = [{name: np.ones_like(tensor) for name, tensor in tensors.items()}]
    others = [layer.name for index, layer in enumerate(layers) if index != which]
    smaller = prune(tensors, layers, 1 / layers[which].size, "taylor", gradients, keep=others)
    assert smaller.removed == (1, layers[which].size)
    assert neuron not in smaller.kept[layers[which].name]
    want = run(replace(checkpoint, tensors=tensors), checkpoint.calibration)  # type: ignore[arg-type]
    got = run(replace(checkpoint, tensors=smaller.tensors), checkpoint.calibration)  # type: ignore[arg-type]
    assert np.allclose(got, want, rtol=0, atol=1e-12)


def test_removing_a_neuron_that_speaks_changes_the_output() -> None:
    checkpoint = plain("full", np.random.default_rng(0))
    layers = dlnet_neurons(checkpoint.architecture, checkpoint.tensors)
    smaller = prune(checkpoint.tensors, layers, 0.1)
    assert smaller.removed[0] == 2 and checkpoint.calibration is not None
    got = run(replace(checkpoint, tensors=smaller.tensors), checkpoint.calibration)
    assert np.abs(got - run(checkpoint, checkpoint.calibration)).max() > 1e-3


def gated(rng: np.random.Generator, features: int = 4, units: int = 6) -> Tensors:
    width = features + units
    return {
        "gate.weight": rng.normal(size=(units, width)), "gate.bias": rng.normal(size=units),
        "candidate.weight": rng.normal(size=(units, width)), "candidate.bias": rng.normal(size=units),
        "head.weight": rng.normal(size=(4, units)), "head.bias": rng.normal(size=4),
    }  # fmt: skip


def step_gated(tensors: Tensors, features: Array) -> Array:
    """Outputs of the cell's equations over a sequence (T, features)."""
    h, rows = np.zeros(len(tensors["gate.bias"])), []
    for f in features:
        x = np.concatenate([f, h])
        gate = 1 / (1 + np.exp(-(tensors["gate.weight"] @ x + tensors["gate.bias"])))
        h = h + gate * (np.tanh(tensors["candidate.weight"] @ x + tensors["candidate.bias"]) - h)
        rows.append(tensors["head.weight"] @ h + tensors["head.bias"])
    return np.array(rows)


@given(st.integers(0, 5), st.integers(0, 1000))
def test_a_silent_unit_of_a_gated_cell_leaves_without_a_trace(neuron: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    tensors, data = gated(rng), rng.normal(size=(7, 4))
    (layer,) = gated_neurons(tensors)
    silence(tensors, layer, neuron)
    smaller = prune(tensors, [layer], 1 / 6, "taylor", [dict.fromkeys(tensors, np.ones(()))])
    assert list(smaller.kept["state"]) == [i for i in range(6) if i != neuron]
    assert smaller.tensors["gate.weight"].shape == (5, 9)
    assert np.allclose(step_gated(smaller.tensors, data), step_gated(tensors, data), rtol=0, atol=1e-12)


@settings(max_examples=20)
@given(st.floats(0, 0.95), st.sampled_from(["l1", "l2"]), st.sampled_from(["full", "low_rank"]), st.integers(0, 99))
def test_what_is_left_is_a_network_that_compiles(fraction: float, kind: str, recurrence: str, seed: int) -> None:
    model = build(Shape(12, 5, (9,), 6, (7, 8), recurrence, 3, 1, 0.05), seed)
    tensors = to_tensors(model)
    arch = infer_architecture(tensors, "test", 0.05, 1, 1, "window")
    layers = dlnet_neurons(arch, tensors)
    smaller = prune(tensors, layers, fraction, kind)
    left = from_tensors(smaller.tensors, 1, 0.05)
    sizes = (*left.shape.encoder, left.shape.hidden, *left.shape.decoder)
    assert sum(sizes) == 30 - smaller.removed[0] and min(sizes) >= 2
    assert smaller.removed[0] == min(round(fraction * 30), 30 - 4 * 2)
    assert (left.shape.window, left.shape.horizon) == (12, 5)
    data = np.random.default_rng(seed).uniform(0.8, 1.0, (8, 12))
    assert plan_model(dlnet_checkpoint(left, Scaler(0.7, 1.0), data)).program.output_size == 5


def test_a_layer_norm_keeps_the_gains_of_those_that_stay() -> None:
    tensors = to_tensors(build(Shape(12, 5, (9,), 6, (7, 8), "full", 0, 1, 0.05), 0))
    tensors["decoder.1.weight"] = np.arange(7.0)
    layers = dlnet_neurons(infer_architecture(tensors, "test", 0.05, 1, 1, "window"), tensors)
    smaller = prune(tensors, layers, 0.4, keep=["encoder.0", "encoder.4"])
    assert np.array_equal(smaller.tensors["decoder.1.weight"], smaller.kept["decoder.0"].astype(float))
    assert smaller.tensors["encoder.0.weight"].shape == (9, 12)


def test_layers_compete_in_units_of_their_own_mean() -> None:
    """A layer with huge weights is not spared for that."""
    kept = choose([np.array([1.0, 2.0, 3.0]), np.array([1000.0, 2000.0, 3000.0])], [1, 1], 1 / 3)
    assert [list(stay) for stay in kept] == [[1, 2], [1, 2]]


def test_one_neuron_stays_and_others_leave_in_its_place() -> None:
    kept = choose([np.array([1e-9, 1e-9]), np.array([1.0, 1.0, 1.0])], [2, 1], 0.5)
    assert [len(stay) for stay in kept] == [2, 1]
    assert [len(stay) for stay in choose([np.ones(3), np.ones(4)], [1, 1], 0.99)] == [1, 1]
    assert [len(stay) for stay in choose([np.zeros(3)], [1], 0.0)] == [3]


def test_importances_are_the_stated_sums() -> None:
    layers = row_neurons((Layer("linear", "a"), Layer("relu"), Layer("linear", "b")), weights := {
        "a.weight": np.array([[3.0, 0.0], [0.0, 1.0]]), "a.bias": np.array([0.0, 2.0]),
        "b.weight": np.array([[4.0, -2.0]]), "b.bias": np.zeros(1),
    })  # fmt: skip
    assert len(layers) == 1
    assert importance(weights, layers[0], "l1").tolist() == [7.0, 5.0]
    assert importance(weights, layers[0], "l2").tolist() == [5.0, 3.0]
    gradients = [{"b.weight": np.array([[1.0, 1.0]])}, {"b.weight": np.array([[-2.0, 0.5]])}]
    assert importance(weights, layers[0], "taylor", gradients).tolist() == [6.0, 1.5]


def test_taylor_predicts_what_silencing_does() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).double()
    data, target = torch.randn(50, 5).double(), torch.randn(50, 2).double()
    with torch.no_grad():
        net[2].weight[:, 1] *= 1e-3
    loss = ((net(data) - target) ** 2).mean()
    loss.backward()
    gradients = [{name: np.asarray(p.grad.double()) for name, p in net.named_parameters() if p.grad is not None}]
    tensors = {name: np.asarray(p.detach().double()) for name, p in net.named_parameters()}
    (layer,) = row_neurons((Layer("linear", "0"), Layer("tanh"), Layer("linear", "2")), tensors)
    score = importance(tensors, layer, "taylor", gradients)[1]
    with torch.no_grad():
        net[2].weight[:, 1] = 0.0
        change = abs(float(((net(data) - target) ** 2).mean() - loss))
    assert score == pytest.approx(change, rel=0.02)


def test_mistakes_are_refused() -> None:
    tensors = gated(np.random.default_rng(0))
    (layer,) = gated_neurons(tensors)
    for call, said in (
        (lambda: prune(tensors, [layer], 1.0), "a fraction"),
        (lambda: prune(tensors, [layer], 0.5, "random"), "importance l1, l2, taylor are known"),
        (lambda: prune(tensors, [layer], 0.5, "taylor"), "without gradients"),
        (lambda: prune(tensors, [layer], 0.5, keep=["stat"]), "no layer 'stat'"),
        (lambda: prune(tensors, [layer], 0.5, keep=["state"]), "no layer whose neurons may leave"),
        (lambda: prune(tensors, [replace(layer, size=7)], 0.5), "has no 7 neurons"),
        (lambda: prune(tensors, [replace(layer, along=(Slot("tau", 0),))], 0.5), "'tau' has no"),
        (lambda: gated_neurons({}), "no such cell"),
        (lambda: gated_neurons({**tensors, "head.weight": np.zeros((4, 5))}), "no such cell"),
    ):
        with pytest.raises(LnncError, match=said):
            call()
