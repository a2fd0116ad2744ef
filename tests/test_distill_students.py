"""Students over lives and windows: taught, pruned, recovered; every kind of cell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lnnc.errors import LnncError
from lnnc.ir.graph import Array
from lnnc.train.learn.distill import ALONE, Distillation
from lnnc.train.learn.loop import Schedule
from lnnc.train.students.inputs import INPUTS
from lnnc.train.students.material import Drawn, Scaling, WholeLives, in_phases, pack, step_samples
from lnnc.train.students.models import networks
from lnnc.train.students.pruning import prune_student, restored, student_neurons, widths
from lnnc.train.students.run import coefficients
from lnnc.train.students.signal import observe
from lnnc.train.students.soh import Recipe
from lnnc.train.students.student import RECURRENT, Student
from lnnc.train.students.taught import distill_students, taught_loss

KINDS = ("gated", "cfc", "leaky", "ltc", "mlp")
TRUTH = Distillation(truth="l1", start=1.0, end=1.0)
TEACHER = Distillation(divergence="l1", truth="l1", start=0.0, end=0.0)


def lives() -> dict[str, Array]:
    rng = np.random.default_rng(0)
    t = np.arange(260.0)
    return {f"c{i}": 1.0 - rng.uniform(1e-4, 3e-4) * t - rng.uniform(0, 2e-6) * t**2 + 1e-4 * rng.normal(size=260)
            for i in range(5)}  # fmt: skip


SERIES = lives()
NAMES = tuple(SERIES)


def student(
    kind: str, units: tuple[int, ...] = (6,), skip: bool = False, seed: int = 0, mode: str = "stream"
) -> Student:
    """An untrained student whose head says something."""
    inputs = "features" if kind in RECURRENT else "means"
    model = networks(kind, INPUTS[inputs].size, units, skip, 1, seed)
    with torch.no_grad():
        model.head += 0.3 * torch.randn(model.head.shape, generator=torch.Generator().manual_seed(seed))
        if model.skip is not None:
            model.skip += 0.1
    return Student(kind, mode, False, inputs, skip, model.arrays(0))


def recipe(kind: str, mode: str = "stream", steps: int = 5, **more: object) -> Recipe:
    return Recipe(kind, (6,), mode, False, phases=2, schedule=Schedule(steps, 5e-3, batch=8), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_student_becomes_a_network_again(kind: str, skip: bool) -> None:
    pair = [student(kind, skip=skip, seed=seed) for seed in (0, 1)]
    model = restored(pair)
    for index, one in enumerate(pair):
        again = model.arrays(index)
        assert set(again) == set(one.arrays)
        assert all(np.allclose(again[name], array, atol=2e-6) for name, array in one.arrays.items())


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_silent_unit_leaves_without_a_trace(kind: str, skip: bool) -> None:
    one = student(kind, skip=skip)
    (layer,) = student_neurons(one)
    arrays = {name: np.array(array) for name, array in one.arrays.items()}
    for slot in layer.outgoing:
        np.moveaxis(arrays[slot.key], slot.axis, 0)[slot.first + 2] = 0.0
    silent = replace(one, arrays=arrays)
    gradients = [{name: np.ones_like(array) for name, array in arrays.items()}]
    smaller = prune_student(silent, 1 / 6, "taylor", gradients)
    assert smaller.units == 5 and smaller.provenance[-1] == ("pruned", "1 of 6 units by taylor")
    signal = observe(list(SERIES.values()))
    assert np.allclose(coefficients(smaller, signal), coefficients(silent, signal), rtol=0, atol=1e-12)
    assert not np.allclose(coefficients(prune_student(one, 0.5), signal), coefficients(one, signal), atol=1e-3)


def test_layers_of_an_mlp_are_pruned_together() -> None:
    smaller = prune_student(student("mlp", (12, 6)), 0.5)
    assert sum(widths(smaller)) == 9 and smaller.arrays["head.weight"].shape == (4, widths(smaller)[1])
    assert np.isfinite(coefficients(smaller, observe(list(SERIES.values())))).all()
    with pytest.raises(LnncError, match="no layer whose neurons may leave"):
        prune_student(replace(student("mlp"), kind="linear", arrays={"head.weight": np.ones((4, 21))}), 0.5)


@pytest.mark.parametrize("kind", ["gated", "mlp"])
def test_without_a_teacher_the_loss_is_that_of_training(kind: str) -> None:
    plan = recipe(kind)
    train = np.array([[True, True, True, False, False], [False, True, True, True, True]])
    teachers = [[student(kind)], [student(kind, seed=1)]]
    loss = taught_loss(SERIES, train, plan, teachers, TRUTH)
    phases = [pack(lives, plan.sees) for lives in in_phases(list(SERIES.values()), plan.phases)]
    scaling = Scaling(plan.sees, plan.scale)
    plain = (WholeLives(phases, train, scaling) if kind == "gated"
             else Drawn(step_samples(phases), train, 8, scaling))  # fmt: skip
    model = restored([student(kind, seed=2), student(kind, seed=3)])
    got, want = (f(model, 0, torch.Generator().manual_seed(4)) for f in (loss, plain))
    assert float(got.detach()) == pytest.approx(float(want.detach()), rel=1e-6)


@pytest.mark.parametrize(
    ("kind", "mode"), [("gated", "stream"), ("gated", "window"), ("mlp", "stream"), ("mlp", "window")]
)
def test_a_student_that_is_its_own_teacher_has_nothing_to_learn(kind: str, mode: str) -> None:
    own = student(kind, mode=mode)
    plan = recipe(kind, mode, scale=0.0)
    loss = taught_loss(SERIES, np.ones((1, 5), bool), plan, [[own]], TEACHER)
    model = restored([own])
    for step in range(3):
        assert float(loss(model, step, torch.Generator().manual_seed(step)).detach()) < 1e-5
    other = taught_loss(SERIES, np.ones((1, 5), bool), plan, [[student(kind, seed=5, mode=mode)]], TEACHER)
    assert float(other(model, 0, torch.Generator().manual_seed(0)).detach()) > 1e-2


def test_an_ensemble_teaches_the_mean_of_its_curves() -> None:
    trio = [student("gated", seed=seed) for seed in range(3)]
    plan = recipe("gated", scale=0.0)
    model = restored([student("gated", seed=9)])
    squared = replace(TEACHER, divergence="mse")
    each = [taught_loss(SERIES, np.ones((1, 5), bool), plan, [[one]], squared) for one in trio]
    both = taught_loss(SERIES, np.ones((1, 5), bool), plan, [trio], squared)
    values = [float(f(model, 0, torch.Generator().manual_seed(0)).detach()) for f in each]
    together = float(both(model, 0, torch.Generator().manual_seed(0)).detach())
    assert together < np.mean(values)  # the mean of squares exceeds the square at the mean


def test_pruned_students_recover_in_groups() -> None:
    groups = [NAMES[:3], NAMES[2:]]
    teachers = [[student("gated", (10,), seed=seed)] for seed in (7, 8)]
    pruned = [prune_student(student("gated", (10,), seed=seed), 0.4) for seed in (7, 8)]
    plan = recipe("gated", steps=60)
    done = distill_students(SERIES, groups, plan, teachers, TEACHER, start=pruned, digest="d")
    signal = observe(list(SERIES.values()))
    for before, after, (teacher,) in zip(pruned, done, teachers, strict=True):
        assert after.units == 6
        assert dict(after.provenance)["pruned"] == "4 of 10 units by l2"
        assert dict(after.provenance)["distillation data"] == "d"
        want = coefficients(teacher, signal)
        errors = [np.abs(coefficients(one, signal) - want).mean() for one in (before, after)]
        assert errors[1] < errors[0] / 2


def test_new_students_are_made_by_the_recipe() -> None:
    (done,) = distill_students(SERIES, [NAMES], recipe("cfc"), [[student("gated"), student("mlp")]], Distillation())
    assert (done.kind, done.units, done.mode, done.inputs) == ("cfc", 6, "stream", "features")


def test_mistakes_are_refused() -> None:
    one, plan = student("gated"), recipe("gated")
    for call, said in (
        (lambda: distill_students(SERIES, [NAMES], plan, [], ALONE), "1 groups of cells, 0 of teachers"),
        (lambda: distill_students(SERIES, [NAMES], plan, [[]], ALONE), "1 groups of cells, 1 of teachers"),
        (lambda: distill_students(SERIES, [NAMES], plan, [[one]], ALONE, start=[one, one]), "2 students to begin with"),
        (
            lambda: distill_students(SERIES, [NAMES], plan, [[replace(one, mode="window")]], ALONE),
            "a window gated sees other blocks",
        ),
        (lambda: distill_students(SERIES, [NAMES], plan, [[one]], ALONE, start=[student("cfc")]), "not of the recipe"),
        (lambda: distill_students(SERIES, [NAMES], plan, [[one]], Distillation(matching=1.0)), "not matched"),
        (lambda: restored([one, student("gated", (5,))]), "one kind and size"),
        (lambda: restored([]), "one kind and size"),
    ):
        with pytest.raises(LnncError, match=said):
            call()
