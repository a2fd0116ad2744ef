"""Batteries as a pipeline's problem: the program of every kind of student, teaching, nothing learned from tests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from problems import battery_problem, cell, lesson

from lnnc.data.windows import WINDOW
from lnnc.errors import LnncError
from lnnc.quantize.context import Options
from lnnc.train.learn.distill import Distillation
from lnnc.train.pipeline.measure import baseline_errors, cross_errors, mean_of
from lnnc.train.pipeline.problem import Spec
from lnnc.train.students.run import forecasts
from lnnc.train.students.signal import BLOCK, observe

SPECS = {
    "gated": Spec("gated", (3,)), "cfc": Spec("cfc", (3,)), "leaky": Spec("leaky", (3,)), "ltc": Spec("ltc", (2,)),
    "mlp": Spec("mlp", (4, 3)), "linear": Spec("linear", ()),
}  # fmt: skip
TAUGHT = Distillation("l1", "l1")


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize("mode", ["stream", "window"])
def test_the_program_says_what_the_student_says(kind: str, mode: str) -> None:
    """From raw values to the forecast, against the formulation in NumPy; and the integers stay close."""
    problem = battery_problem(mode, gate=False)
    trained = problem.train(SPECS[kind], lesson(3))
    name = problem.split.test(0)[0]
    student = problem.student(trained, 0)
    life, origins = problem.series[name], problem._batch.origin[problem._rows[name]]
    if mode == "window":
        want = np.stack([forecasts(student, observe([life[o - WINDOW : o]], student.whole))[0, -1] for o in origins])
    else:
        want = forecasts(student, observe([life]))[0, origins // BLOCK - 1]
    checkpoint = problem.checkpoint(trained, 0)
    said = problem.forecasts(checkpoint, [name], Options(), "float")[name][..., 0]
    np.testing.assert_allclose(said, want, atol=2e-5)
    integers = problem.forecasts(checkpoint, [name], Options(), "reference")[name][..., 0]
    np.testing.assert_allclose(integers, want, atol=1.5e-3)


def test_choices_of_a_recipe_reach_the_student() -> None:
    problem = battery_problem("window")
    trained = problem.train(Spec("gated", (3,), {"hop": 20, "skip": True}), lesson(2))
    student = problem.student(trained, 2)
    assert (student.hop, student.skip, student.units) == (20, True, 3)
    assert "hop-20" in trained.spec.name or "20" in trained.spec.name
    again = problem.train(trained.spec, lesson(2, TAUGHT, start=trained, teacher=(trained,)))
    assert again.steps == 4
    with pytest.raises(LnncError, match="hop"):
        battery_problem("stream").train(Spec("gated", (3,), {"hop": 20}), lesson(1))


@pytest.mark.parametrize("mode", ["stream", "window"])
@pytest.mark.parametrize("kind", ["gated", "mlp"])
def test_a_fold_does_not_see_its_test_cells(mode: str, kind: str) -> None:
    problem = battery_problem(mode)
    hidden = set(problem.split.test(0))
    other = {n: 0.9 * cell(50 + i)[: len(x)] if n in hidden else x for i, (n, x) in enumerate(problem.series.items())}
    other = {n: x if n not in hidden else np.resize(x, len(problem.series[n])) for n, x in other.items()}
    changed = replace(problem, series=other)
    first, second = (p.train(SPECS[kind], lesson(3)) for p in (problem, changed))
    for name, array in first.weights[0].items():
        np.testing.assert_allclose(second.weights[0][name], array, atol=1e-6)
    assert any((second.weights[-1][name] != array).any() for name, array in first.weights[-1].items())


@pytest.mark.parametrize("mode", ["stream", "window"])
def test_a_teacher_teaches_students_of_another_kind(mode: str) -> None:
    """Taught alone, without the truth, a student comes close to its teacher rather than to the truth."""
    problem = battery_problem(mode)
    teacher = problem.train(SPECS["mlp"], lesson(5))
    bent = tuple({**w, "head.bias": w["head.bias"] + np.array([3.0, 0.0, 0.0, 0.0])} for w in teacher.weights)
    bent_teacher = replace(teacher, weights=bent)
    only = Distillation("l1", "l1", 0.0, 0.0)
    taught = problem.train(SPECS["linear"], lesson(100, only, teacher=(bent_teacher,)))
    alone = problem.train(SPECS["linear"], lesson(100))
    biases, truth = ([w["head.bias"][0] for w in trained.weights] for trained in (taught, alone))
    assert min(biases) > 0.3 > 0.2 > max(truth)  # on the way to 3


def test_students_without_a_teacher_go_on_from_the_truth() -> None:
    problem = battery_problem()
    first = problem.train(SPECS["gated"], lesson(2))
    on = problem.train(SPECS["gated"], lesson(2, start=first))
    assert on.steps == 4
    assert all((a["head.bias"] != b["head.bias"]).any() for a, b in zip(on.weights, first.weights, strict=True))


def test_a_pruned_set_compiles_and_is_taught_again() -> None:
    problem = battery_problem()
    trained = problem.train(Spec("gated", (6,)), lesson(3))
    pruned = problem.prune(trained, 0.5)
    assert pruned.spec == SPECS["gated"]
    teacher = problem.train(SPECS["mlp"], lesson(2))
    again = problem.train(pruned.spec, lesson(2, TAUGHT, start=pruned, teacher=(teacher,)))
    assert again.steps == 5
    assert mean_of(cross_errors(problem, again, Options(), "reference")) < 0.05
    with pytest.raises(LnncError, match="are not pruned"):
        problem.prune(teacher, 0.5)


def test_all_are_scored_on_the_same_origins() -> None:
    for mode in ("stream", "window"):
        problem = battery_problem(mode)
        trained = problem.train(SPECS["linear"], lesson(3))
        own = cross_errors(problem, trained, Options(), "float")
        for errors in baseline_errors(problem).values():
            assert {name: e.shape for name, e in errors.items()} == {name: e.shape for name, e in own.items()}


def test_a_cell_that_is_too_short_to_be_scored_is_left_out_of_the_scores() -> None:
    problem = battery_problem()
    short = replace(problem, series={**problem.series, problem.split.test(0)[0]: cell(0)[:150]})
    trained = short.train(SPECS["linear"], lesson(2))
    assert problem.split.test(0)[0] not in cross_errors(short, trained, Options(), "float")
    assert short.forecasts(short.checkpoint(trained, 0), [problem.split.test(0)[0]], Options(), "float") == {}
