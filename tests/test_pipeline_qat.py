"""Models of a pipeline trained through their integer programs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from problems import battery_problem, lesson, sequence_problem

from lnnc.errors import LnncError
from lnnc.quantize.context import Options
from lnnc.train.learn.loop import Schedule
from lnnc.train.pipeline.finetune import life_material
from lnnc.train.pipeline.measure import cross_errors, mean_of
from lnnc.train.pipeline.problem import Problem, Spec, Trained
from lnnc.train.students.qat import StudentTwin
from lnnc.train.students.run import forecasts
from lnnc.train.students.signal import observe

INT8 = Options("int8")


def wrong_by(trained: Trained, offset: float) -> Trained:
    """The set with its forecasts moved."""
    moved = tuple({**w, "head.bias": w["head.bias"] + offset} for w in trained.weights)
    return replace(trained, weights=moved)


def error(problem: Problem, trained: Trained) -> float:
    return mean_of(cross_errors(problem, trained, INT8, "reference"))


@pytest.mark.parametrize("mode", ["stream", "window"])
def test_sequences_learn_from_what_their_program_says(mode: str) -> None:
    problem = sequence_problem(mode=mode)
    trained = wrong_by(problem.train(Spec("leaky", (3,)), lesson(20)), 0.3)
    short = replace(lesson(12), schedule=Schedule(steps=12, peak_lr=5e-2, batch=4))
    taught = problem.finetune(trained, short, INT8)
    assert taught.steps == 32 and taught.spec == trained.spec
    assert error(problem, taught) < 0.8 * error(problem, trained)


@pytest.mark.parametrize("mode", ["stream", "window"])
def test_batteries_learn_from_what_their_program_says(mode: str) -> None:
    problem = battery_problem(mode, gate=False, count=4)
    trained = wrong_by(problem.train(Spec("gated", (2,)), lesson(5)), 0.3)
    short = replace(lesson(4), schedule=Schedule(steps=4, peak_lr=1e-1, batch=3))
    taught = problem.finetune(trained, short, Options())
    assert error(problem, taught) < 0.8 * error(problem, trained)


@pytest.mark.parametrize("mode", ["stream", "window"])
def test_the_float_twin_is_the_student(mode: str) -> None:
    problem = battery_problem(mode, gate=False)
    student = problem.student(problem.train(Spec("gated", (3,)), lesson(3)), 0)
    twin = StudentTwin(student)
    life = problem.series["cell1"][:100]
    inputs = torch.from_numpy(life.astype(np.float32))[None]
    with torch.no_grad():
        said = twin(inputs if mode == "window" else inputs[..., None])[0].double().numpy()
    want = forecasts(student, observe([life.astype(np.float32).astype(float)], student.whole))[0]
    if mode == "window":
        np.testing.assert_allclose(said, want[-1], atol=1e-5)
    else:
        np.testing.assert_allclose(said, want, atol=1e-5)


def test_lives_are_scored_where_their_horizon_is_known() -> None:
    lives = [np.linspace(1.0, 0.8, 260), np.linspace(1.0, 0.9, 130)]
    material = life_material(lives, "stream")
    assert material.inputs.shape == (2, 160, 1) and material.truth.shape == (2, 16, 100)
    assert material.weight.sum(1).tolist() == [16, 3]
    np.testing.assert_allclose(material.truth[1, 2].numpy(), lives[1][30:130], atol=1e-6)


def test_what_is_not_trained_so() -> None:
    problem = sequence_problem()
    with pytest.raises(LnncError, match="not trained through its program"):
        problem.finetune(problem.train(Spec("linear", ()), lesson(1)), lesson(1), INT8)
    battery = battery_problem()
    with pytest.raises(LnncError, match="not trained through its program"):
        battery.finetune(battery.train(Spec("linear", ()), lesson(1)), lesson(1), INT8)
