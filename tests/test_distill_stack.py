"""Networks that are trained together are what they would be alone: padding is exact, lessons do not mix."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lnnc.errors import LnncError
from lnnc.train.dlnet.networks import DLNet, Shape, build, to_tensors
from lnnc.train.dlnet.stack import Lesson, Stack, stack_loss
from lnnc.train.learn.distill import ALONE, Distillation, Examples
from lnnc.train.learn.loop import Schedule, fit

SHAPE = Shape(12, 6, (9,), 4, (8, 7), "low_rank", 0, 1, 0.05)
SHAPES = (SHAPE, replace(SHAPE, hidden=2), replace(SHAPE, decoder=(3, 9)), replace(SHAPE, encoder=(5,), rank=2))
INPUTS = torch.rand(40, 12, generator=torch.Generator().manual_seed(0))
TRUTH = INPUTS[:, :6] * 0.5
TAUGHT = TRUTH + 0.1


@pytest.mark.parametrize("recurrence", ["full", "low_rank"])
def test_a_stack_of_different_widths_computes_what_each_computes(recurrence: str) -> None:
    models = [build(replace(shape, recurrence=recurrence, rank=0, steps=2), seed) for seed, shape in enumerate(SHAPES)]
    windows = torch.rand(len(models), 5, 12)
    together = Stack(models)(windows)
    for index, model in enumerate(models):
        assert torch.allclose(together[index], model(windows[index]), atol=1e-6)


def test_networks_come_out_as_they_went_in() -> None:
    models = [build(shape, seed) for seed, shape in enumerate(SHAPES)]
    stack = Stack(models)
    for index, model in enumerate(models):
        same = to_tensors(stack.network(index))
        assert all((same[name] == tensor).all() for name, tensor in to_tensors(model).items())


LESSONS = (
    Lesson(Examples(INPUTS, TRUTH, TAUGHT), Distillation("mse"), 0),
    Lesson(Examples(INPUTS, TRUTH), ALONE, 1),
    Lesson(Examples(INPUTS[:30], TRUTH[:30], TAUGHT[:30]), Distillation("cosine"), 2),
    Lesson(Examples(INPUTS, TRUTH, TAUGHT), Distillation("l1"), 3),
)
SCHEDULE = Schedule(12, 3e-3, batch=8)


def trained(models: list[DLNet], lessons: list[Lesson]) -> Stack:
    stack = Stack(models)
    fit(stack, stack_loss(lessons, SCHEDULE.steps, SCHEDULE.batch), SCHEDULE)
    return stack


def test_training_together_is_training_alone() -> None:
    starts = [build(shape, seed) for seed, shape in enumerate(SHAPES)]
    together = trained(starts, list(LESSONS))
    for index, (start, lesson) in enumerate(zip(starts, LESSONS, strict=True)):
        alone = to_tensors(trained([start], [lesson]).network(0))
        for name, tensor in to_tensors(together.network(index)).items():
            assert abs(tensor - alone[name]).max() < 1e-4, name
        assert any(abs(alone[name] - tensor).max() > 1e-3 for name, tensor in to_tensors(start).items())


def test_padding_stays_zero() -> None:
    stack = trained([build(shape, seed) for seed, shape in enumerate(SHAPES)], list(LESSONS))
    weight = stack.get("decoder.4.weight").detach()  # a box of (9, 8); the networks have (7, 8), and one (9, 3)
    assert float(weight[0, 7:].abs().max()) == 0.0 and float(weight[2, :, 3:].abs().max()) == 0.0
    assert float(weight[2, 8, :3].abs().max()) > 0.0
    assert float(stack.get("dynamics.U")[1, 2:].detach().abs().max()) == 0.0


def test_the_loss_is_the_sum_of_the_networks_own() -> None:
    models = [build(shape, seed) for seed, shape in enumerate(SHAPES)]
    generator = torch.Generator()
    whole = stack_loss(LESSONS, 10, 8)(Stack(models), 3, generator)
    parts = [stack_loss([lesson], 10, 8)(Stack([model]), 3, generator)
             for model, lesson in zip(models, LESSONS, strict=True)]  # fmt: skip
    assert float(whole.detach()) == pytest.approx(sum(float(part.detach()) for part in parts), rel=1e-5)


def test_mistakes_are_refused() -> None:
    for models in ([], [build(SHAPE, 0), build(replace(SHAPE, decoder=(8,)), 0)]):
        with pytest.raises(LnncError, match="networks of one kind"):
            Stack(models)
    with pytest.raises(LnncError, match="Euler steps and no dropout"):
        Stack([build(replace(SHAPE, solver="rk4"), 0)])
    with pytest.raises(LnncError, match="plain MSE"):
        stack_loss([replace(LESSONS[0], config=Distillation(truth="l1"))], 5, 4)
    with pytest.raises(LnncError, match="no forecasts of a teacher"):
        stack_loss([replace(LESSONS[1], config=Distillation())], 5, 4)
