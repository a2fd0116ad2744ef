"""Distillation: the loss is the stated one, teachers are averaged, and students learn what they are taught."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lnnc.errors import LnncError
from lnnc.frontend.import_dlnet import infer_architecture
from lnnc.train.dlnet.networks import Shape, build, ends, to_tensors
from lnnc.train.learn.distill import (
    ALONE,
    Distillation,
    Examples,
    Matched,
    distance,
    distill,
    distillation_loss,
    gradients,
    teach,
)
from lnnc.train.learn.loop import Schedule
from lnnc.train.learn.neurons import dlnet_neurons
from lnnc.train.learn.prune import prune
from lnnc.train.learn.recover import epochs_to_steps, mean_absolute_error, recover

SHAPE = Shape(12, 6, (8,), 3, (8,), "low_rank", 0, 1, 0.05)
ALL = Schedule(steps=11, peak_lr=1e-3, batch=0)


def examples(count: int = 64, **more: Tensor) -> Examples:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(count, 12, generator=generator)
    return Examples(inputs, inputs[:, :6] * 0.5 + 0.1, **more)


def value(data: Examples, config: Distillation, step: int, student: nn.Module) -> float:
    generator = torch.Generator().manual_seed(0)
    return float(distillation_loss(data, config, ALL)(student, step, generator).detach())


@pytest.mark.parametrize("kind", ["mse", "l1", "cosine"])
def test_the_loss_is_the_papers_formula(kind: str) -> None:
    student, teacher = build(SHAPE, 0), build(SHAPE, 1)
    base = examples()
    data = examples(taught=teach([teacher], base.inputs))
    assert data.taught is not None
    y, t, d = student(base.inputs).detach(), base.truth, data.taught
    apart = {
        "mse": float(((y - d) ** 2).mean()),
        "l1": float((y - d).abs().mean()),
        "cosine": float(1 - ((y * d).sum(1) / (y.norm(dim=1) * d.norm(dim=1))).mean()),
    }[kind]
    for step, share in ((0, 0.1), (5, 0.5), (10, 0.9)):
        want = share * float(((y - t) ** 2).mean()) + (1 - share) * apart
        assert value(data, Distillation(kind), step, student) == pytest.approx(want, rel=1e-5)


def test_a_weight_of_zero_takes_a_forecast_out() -> None:
    one, other = torch.rand(4, 5, 6), torch.rand(4, 5, 6)
    weight = torch.zeros(4, 5)
    weight[1, 2] = weight[3, 0] = 1.0
    for kind in ("mse", "l1", "cosine"):
        want = distance(kind, torch.stack([one[1, 2], one[3, 0]]), torch.stack([other[1, 2], other[3, 0]]))
        assert float(distance(kind, one, other, weight)) == pytest.approx(float(want), rel=1e-5)
    assert float(distance("mse", one, other, torch.zeros(4, 5))) == 0.0


def test_an_ensemble_teaches_its_mean_without_dropout_and_without_gradient() -> None:
    teachers = [build(Shape(12, 6, (8,), 3, (8,), dropout=0.5), seed).train() for seed in range(3)]
    inputs = torch.rand(10, 12)
    mean = teach(teachers, inputs, rows=4)
    assert not mean.requires_grad and all(teacher.training for teacher in teachers)
    for teacher in teachers:
        teacher.eval()
    want = torch.stack([teacher(inputs) for teacher in teachers]).mean(0)
    assert torch.allclose(mean, want, atol=1e-6)
    with pytest.raises(LnncError, match="no teacher"):
        teach([], inputs)


def test_a_student_comes_closer_to_its_teacher() -> None:
    teacher, student = build(SHAPE, 1), build(SHAPE, 0)
    inputs = torch.rand(256, 12)
    taught = teach([teacher], inputs)
    before = float(distance("mse", student(inputs), taught).detach())
    losses = distill(student, Examples(inputs, taught, taught), Distillation(), Schedule(120, 1e-2, batch=64))
    after = float(distance("mse", student(inputs), taught).detach())
    assert after < before / 4
    assert len(losses) == 120 and losses[-1] < losses[0]


def test_alone_is_training_on_the_truth() -> None:
    assert ALONE.alone and not Distillation().alone
    student = build(SHAPE, 0)
    want = float(distance("mse", student(examples().inputs), examples().truth))
    assert value(examples(), ALONE, 7, student) == pytest.approx(want, rel=1e-6)


class Coefficients(nn.Module):
    """A student of another kind: a step for each block of a sequence, (N, K, features) -> two coefficients each."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRU(3, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, sequences: Tensor) -> Tensor:
        result: Tensor = self.head(self.cell(sequences)[0])
        return result


def test_streams_of_coefficients_are_distilled_as_their_curves() -> None:
    torch.manual_seed(0)
    basis = torch.stack([torch.ones(5), torch.linspace(-1, 1, 5)])
    teacher, student = Coefficients(), Coefficients()
    sequences = torch.randn(8, 6, 3)

    def forward(module: nn.Module, inputs: Tensor) -> Tensor:
        curve: Tensor = module(inputs) @ basis
        return curve

    taught = teach([teacher], sequences, forward)
    weight = torch.ones(8, 6)
    weight[:, -2:] = 0  # the last blocks have no hundred targets left
    data = Examples(sequences, taught + 10 * (weight[..., None] == 0), taught, weight)
    before = mean_absolute_error(student, sequences, taught, weight, forward)
    distill(student, data, Distillation("l1", "l1"), Schedule(150, 2e-2, batch=0), forward=forward)
    assert mean_absolute_error(student, sequences, taught, weight, forward) < before / 2


def test_hidden_trajectories_are_matched_through_a_learned_map() -> None:
    teacher, student = build(Shape(12, 6, (8,), 5, (8,), steps=3), 1), build(SHAPE, 0)

    inputs = torch.rand(128, 12)
    states = teach([teacher], inputs, ends)
    data = Examples(inputs, teach([teacher], inputs), teach([teacher], inputs), states=states)
    config = Distillation(matching=1.0)
    start = distillation_loss(data, config, ALL, states=ends)
    generator = torch.Generator().manual_seed(0)
    matched = Matched(student, 3, 5)
    output = float(distillation_loss(data, Distillation(), ALL)(student, 0, generator))
    hidden = float((matched.map(ends(student, inputs)) - states).square().mean())
    assert float(start(matched, 0, generator)) == pytest.approx(output + hidden, rel=1e-5)
    losses = distill(student, data, config, Schedule(150, 1e-2, batch=32), states=ends)
    assert losses[-20:].mean() < losses[:20].mean() / 2


def test_gradients_for_pruning_are_those_of_the_loss() -> None:
    student = build(SHAPE, 0)
    loss = distillation_loss(examples(), ALONE, Schedule(steps=3, batch=16))
    first, second = gradients(student, loss, 2)
    assert all(weight.grad is None for weight in student.parameters())
    assert set(first) == set(to_tensors(student))
    loss(student, 0, torch.Generator().manual_seed(0)).backward()
    assert all((first[name] == weight.grad.double().numpy()).all() for name, weight in student.named_parameters())
    layers = dlnet_neurons(infer_architecture(to_tensors(student), "test", 0.05, 1, 1, "window"), to_tensors(student))
    assert prune(to_tensors(student), layers, 0.3, "taylor", [first, second]).removed == (6, 19)


def test_recovery_has_a_rival_of_equal_steps(tmp_path: Path) -> None:
    teacher = build(SHAPE, 1)
    inputs = torch.rand(64, 12)
    data = Examples(inputs, inputs[:, :6], teach([teacher], inputs))
    done = recover(build(SHAPE, 0), build(SHAPE, 2), data, Schedule(5, 1e-3, batch=16), spent=7,
                   checkpoint=lambda name: tmp_path / f"{name}.pt")  # fmt: skip
    assert done.steps == 12
    held = {name: torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("recovered", "scratch")}
    assert [len(held[name]["state"]["losses"]) for name in ("recovered", "scratch")] == [5, 12]
    assert epochs_to_steps(20, 640, 64) == 200 and epochs_to_steps(1, 10, 0) == 1 and epochs_to_steps(0.001, 10, 5) == 1


def test_mistakes_are_refused() -> None:
    with pytest.raises(LnncError, match="divergence mse, l1, cosine are known"):
        Distillation("kl")
    with pytest.raises(LnncError, match="weights in 0"):
        Distillation(start=-0.1)
    with pytest.raises(LnncError, match="no forecasts of a teacher"):
        distillation_loss(examples(), Distillation(), ALL)
    with pytest.raises(LnncError, match="matching compares hidden states"):
        distillation_loss(examples(taught=examples().truth), Distillation(matching=1.0), ALL)
    with pytest.raises(LnncError, match="the teacher gives"):
        examples(taught=torch.zeros(64, 5))
    with pytest.raises(LnncError, match="a weight for each forecast"):
        examples(weight=torch.zeros(64, 6))
    with pytest.raises(LnncError, match="as many inputs as forecasts"):
        Examples(torch.zeros(3, 12), torch.zeros(4, 6))
    assert math.isclose(Distillation().truth_weight(0, 1), 0.1)
