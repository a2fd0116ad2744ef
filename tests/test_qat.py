"""QAT: the forward pass is the compiled program, byte for byte; the gradient is the float network's; it repairs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lnnc.errors import LnncError
from lnnc.frontend.checkpoint import Checkpoint
from lnnc.ir.graph import Array
from lnnc.pipeline import Options, run_model
from lnnc.train.dlnet.anchor import Anchor, Anchored
from lnnc.train.dlnet.checkpoints import anchored_checkpoint, dlnet_checkpoint
from lnnc.train.dlnet.networks import DLNet, Scaled, Scaler, Shape, build
from lnnc.train.learn.loop import Schedule, fit
from lnnc.train.learn.qat import Quantized
from lnnc.train.students.inputs import INPUTS
from lnnc.train.students.integer import compile_student
from lnnc.train.students.models import networks
from lnnc.train.students.qat import quantized_student
from lnnc.train.students.student import Student
from lnnc.verify.engines import run_reference

SHAPE = Shape(20, 10, (8,), 4, (8,), "low_rank", 0, 1, 0.05)
SCALER = Scaler(0.8, 1.05)


def windows(count: int) -> Array:
    rng = np.random.default_rng(0)
    t = np.linspace(0, 1, 30)
    return 1.0 - rng.uniform(0, 0.1, (count, 1)) * t - rng.uniform(0, 0.05, (count, 1)) * t**2


DATA = windows(48)


def checkpoint(module: nn.Module) -> Checkpoint:
    assert isinstance(module, Scaled) and isinstance(module.network, DLNet)
    return dlnet_checkpoint(module.network, SCALER, DATA[:, :20])


@pytest.mark.parametrize("width", ["int8", "int16"])
def test_forward_is_the_compiled_program(width: str) -> None:
    twin = Scaled(build(SHAPE, 0), SCALER)
    model = Quantized(twin, checkpoint, Options(width))
    inputs = torch.as_tensor(DATA[:, :20], dtype=torch.float32)
    for _ in range(2):
        got = np.asarray(model(inputs).detach().double())
        want = run_model(checkpoint(twin), np.asarray(inputs.double()), "reference", options=Options(width))
        assert np.array_equal(got, want)
        assert not np.array_equal(got, np.asarray(twin(inputs).detach().double()))
        with torch.no_grad():  # and after an update of the weights
            for weight in twin.parameters():
                weight.data += 0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))


def test_the_gradient_is_that_of_the_float_network() -> None:
    twin = Scaled(build(SHAPE, 0), SCALER)
    inputs = torch.as_tensor(DATA[:, :20], dtype=torch.float32)
    direction = torch.randn(48, 10, generator=torch.Generator().manual_seed(0))
    (Quantized(twin, checkpoint)(inputs) * direction).sum().backward()
    got = [weight.grad.clone() for weight in twin.parameters() if weight.grad is not None]
    twin.zero_grad()
    (twin(inputs) * direction).sum().backward()
    want = [weight.grad for weight in twin.parameters()]
    assert len(got) == len(want)
    assert all(w is not None and torch.equal(g, w) for g, w in zip(got, want, strict=True))


def test_it_compiles_only_when_the_weights_have_changed() -> None:
    calls = []

    def counted(module: nn.Module) -> Checkpoint:
        calls.append(1)
        return checkpoint(module)

    model = Quantized(Scaled(build(SHAPE, 0), SCALER), counted)
    inputs = torch.as_tensor(DATA[:4, :20], dtype=torch.float32)
    model(inputs), model(inputs)
    assert len(calls) == 1
    next(model.twin.parameters()).data.fill_(0.5)  # without a trace in the version counter
    model(inputs)
    assert len(calls) == 2


def test_training_on_the_integers_lowers_their_error() -> None:
    twin = Scaled(build(SHAPE, 0), SCALER)
    model = Quantized(twin, checkpoint, Options("int8"))
    inputs, truth = (torch.as_tensor(part, dtype=torch.float32) for part in (DATA[:, :20], DATA[:, 20:]))

    def loss(module: nn.Module, step: int, generator: torch.Generator) -> torch.Tensor:
        return 1e3 * (module(inputs) - truth).square().mean()

    losses = fit(model, loss, Schedule(15, 2e-2, batch=0))
    assert losses[-1] < losses[0] / 2
    want = run_model(checkpoint(twin), np.asarray(inputs.double()), "reference", options=Options("int8"))
    assert float(loss(model, 0, torch.Generator()).detach()) == pytest.approx(
        1e3 * ((want - DATA[:, 20:]) ** 2).mean(), rel=1e-5
    )


def test_a_model_of_another_family_plugs_in() -> None:
    anchor = Anchor(window=20, horizon=10, last=10)
    twin = Anchored(build(Shape(anchor.features, anchor.terms, (6,), 3, (), "low_rank", 0, 1, 0.05), 0), anchor)

    def plugged(module: nn.Module) -> Checkpoint:
        assert isinstance(module, Anchored)
        return anchored_checkpoint(module, DATA[:, :20])

    class Rows(nn.Module):
        """Its program is a stream's: a sample holds a window, so each row is a stream of one sample."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = twin

        def forward(self, samples: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.inner(samples[:, 0])[:, None]
            return result

    model = Quantized(Rows(), lambda module: plugged(twin))
    samples = torch.as_tensor(DATA[:, None, :20], dtype=torch.float32)
    got = np.asarray(model(samples).detach().double())
    assert np.array_equal(got, run_model(plugged(twin), np.asarray(samples.double()), "reference"))


def test_what_cannot_be_compiled_is_refused_with_a_reason() -> None:
    rk4 = Shape(20, 10, (8,), 4, (8,), solver="rk4")
    model = Quantized(Scaled(build(rk4, 0), SCALER), checkpoint)
    with pytest.raises(LnncError, match="lnnc compiles Euler steps"):
        model(torch.as_tensor(DATA[:, :20], dtype=torch.float32))


def test_students_are_trained_on_their_whole_program() -> None:
    """Raw values in: whole windows, and lives value by value; the integers are those of the compiled student."""
    rng = np.random.default_rng(0)
    t = np.linspace(0, 1, 200)
    lives = [1.0 - 0.1 * x * t**2 + 1e-4 * rng.normal(size=200) for x in rng.uniform(0.2, 1, 6)]
    for kind, mode in (("gated", "window"), ("mlp", "window"), ("gated", "stream")):
        inputs = "features" if kind == "gated" else "means"
        network = networks(kind, INPUTS[inputs].size, (4,), False, 1, 0)
        with torch.no_grad():
            network.head += 0.3 * torch.randn(network.head.shape, generator=torch.Generator().manual_seed(0))
        student = Student(kind, mode, mode == "stream", inputs, False, network.arrays(0))
        model = quantized_student(student, lives)
        raw = torch.as_tensor(np.stack(lives)[:, :120], dtype=torch.float64)
        given = raw[:, :100] if mode == "window" else raw[:, :, None]
        got = model(given)
        program = compile_student(replace(student, gate=False), lives).program
        steps = np.asarray(given)[:, None] if mode == "window" else np.asarray(given)
        want = run_reference(program, steps)[:, 9::10] if mode == "stream" else run_reference(program, steps)[:, 0]
        assert got.shape == ((6, 100) if mode == "window" else (6, 12, 100))
        assert np.array_equal(np.asarray(got.detach()), want)
        assert float((model.twin(given) - got).abs().mean()) < 5e-4
        got.sum().backward()
        assert any(weight.grad is not None and bool(weight.grad.abs().sum() > 0) for weight in model.parameters())


def test_a_windowed_cell_that_is_fed_value_by_value_is_refused() -> None:
    network = networks("cfc", 4, (4,), False, 1, 0)
    with pytest.raises(LnncError, match="fed value by value"):
        quantized_student(Student("cfc", "window", False, "features", False, network.arrays(0)), [])
