from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from test_train_signal import life

from lnnc.data.dataset import Dataset, Sequence
from lnnc.data.splits import folds
from lnnc.data.windows import stream_batch
from lnnc.errors import LnncError
from lnnc.train.learn.loop import Schedule
from lnnc.train.students.evaluate import GATED, NETWORK, score, score_folds, student_forecasts
from lnnc.train.students.material import in_phases
from lnnc.train.students.run import forecasts
from lnnc.train.students.signal import observe
from lnnc.train.students.soh import Recipe, cross_train, soh_series, train_final, train_groups
from lnnc.train.students.student import KINDS, Student

Series = dict[str, np.ndarray]
SHORT = Schedule(steps=3, peak_lr=6e-3, batch=16)


@pytest.fixture(scope="module")
def series() -> Series:
    return {f"cell {i}": life(230 + 20 * i, seed=i) for i in range(6)}


def recipe(**changed: object) -> Recipe:
    return Recipe(**{"units": (3,), "phases": 2, "schedule": SHORT, **changed})  # type: ignore[arg-type]


def same(a: Student, b: Student) -> bool:
    return all(np.array_equal(a.arrays[name], b.arrays[name]) for name in a.arrays)


@pytest.mark.parametrize("mode", ["stream", "window"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_in_every_mode(series: Series, kind: str, mode: str) -> None:
    units = {"mlp": (4, 3), "linear": ()}.get(kind, (3,))
    split = folds(series, k=3)
    students = cross_train(series, split, recipe(kind=kind, mode=mode, units=units), digest="abc")
    assert len(students) == 3 and not same(students[0], students[1])
    found = {s.name: s.mae.mean for s in score_folds(series, split, students)}
    assert 0 < found[NETWORK] < 0.02 and 0 < found[GATED] < 0.02 and "learned linear" in found
    told = dict(students[1].provenance)
    assert told["fold"] == "1 of 3" and told["data"] == "abc" and told["cells"] == "4" and float(told["loss"]) > 0


@pytest.mark.parametrize("changed", [{}, {"mode": "window"}, {"kind": "mlp"}], ids=str)
def test_training_lowers_the_error(series: Series, changed: dict[str, str]) -> None:
    longer = recipe(schedule=Schedule(steps=120, peak_lr=0.02, batch=32), **changed)
    _, losses = train_groups(series, [tuple(series)], longer)
    assert losses[-10:].mean() < 0.8 * losses[:10].mean()


def test_every_second_phase_fades() -> None:
    """By a (1 - exp(-t / tau)): differences shrink by exp(-1 / tau) a cycle; another tau for each life."""
    lives = [life(230), life(250, seed=1)]
    plain, faded, again = (in_phases(lives, 4, fade, seed=3) for fade in (0.0, 0.03, 0.03))
    taus = []
    for phase in range(4):
        for old, new, same_again in zip(plain[phase], faded[phase], again[phase], strict=True):
            np.testing.assert_array_equal(new, same_again)
            lost = old - new
            if phase % 2 == 0:
                assert not lost.any()
                continue
            steps = np.diff(lost)
            np.testing.assert_allclose(steps[1:] / steps[:-1], steps[1] / steps[0], rtol=1e-6)
            taus.append(-1 / np.log(steps[1] / steps[0]))
            assert lost[0] == 0.0 and 0 < abs(lost[-1]) < 0.15
    assert len(set(np.round(taus, 3))) == 4 and min(taus) > 29 and max(taus) < 401
    assert any((a != b).any() for a, b in zip(faded[1], in_phases(lives, 4, 0.03, seed=4)[1], strict=True))


@pytest.mark.parametrize("changed", [{}, {"mode": "window"}, {"kind": "mlp"}, {"fade": 0.03}], ids=str)
def test_a_fold_never_sees_its_cells(series: Series, changed: dict[str, str]) -> None:
    """Other values in the cells of fold 0 change every student but the one that is tested on them."""
    split = folds(series, k=3)
    altered = {name: 1.5 - x if name in split.test(0) else x for name, x in series.items()}
    before, after = (cross_train(x, split, recipe(**changed)) for x in (series, altered))
    assert [same(a, b) for a, b in zip(before, after, strict=True)] == [True, False, False]


def test_interrupted_and_resumed(tmp_path: Path, series: Series) -> None:
    split, file = folds(series, k=2), tmp_path / "run.pt"
    made = cross_train(series, split, recipe(), checkpoint=file)
    assert all(map(same, made, cross_train(series, split, recipe(), checkpoint=file)))
    for other in (recipe(phases=3), recipe(mode="window")):
        with pytest.raises(LnncError, match="another training"):
            cross_train(series, split, other, checkpoint=file)
    with pytest.raises(LnncError, match="data was , is new"):
        cross_train(series, split, recipe(), checkpoint=file, digest="new")


def test_final_and_its_twin(series: Series) -> None:
    whole, twin = train_final(series, recipe(), ["cell 1", "cell 4"])
    assert not same(whole, twin)
    assert dict(whole.provenance)["cells"] == "6" and dict(twin.provenance)["held out"] == "cell 1, cell 4"
    altered = series | {"cell 1": 1.5 - series["cell 1"]}
    again = train_final(altered, recipe(), ["cell 1", "cell 4"])
    assert same(twin, again[1]) and not same(whole, again[0])


@pytest.mark.parametrize("held", [["cell 9"], [f"cell {i}" for i in range(6)]])
def test_cells_that_cannot_be_held_out(series: Series, held: list[str]) -> None:
    with pytest.raises(LnncError, match="held-out cells"):
        train_final(series, recipe(), held)


def test_forecasts_of_a_batch_are_those_of_each_life(series: Series) -> None:
    student = cross_train(series, folds(series, k=2), recipe())[0]
    batch = stream_batch(series)
    found = student_forecasts(series, batch, dict.fromkeys(series, student))
    for gate, name in ((False, NETWORK), (True, GATED)):
        for row in range(0, len(batch), 5):
            x = series[batch.names[batch.cell[row]]][: batch.origin[row]]
            expected = forecasts(dataclasses.replace(student, gate=gate), observe([x]))[0, -1]
            np.testing.assert_allclose(found[name][row], expected, atol=1e-12)


def test_scores_that_cannot_be_made(series: Series) -> None:
    split = folds(series, k=2)
    stream, window = (cross_train(series, split, recipe(mode=mode))[0] for mode in ("stream", "window"))
    with pytest.raises(LnncError, match="1 students for 2 folds"):
        score_folds(series, split, [stream])
    with pytest.raises(LnncError, match="no student for cell 5"):
        score(series, {name: stream for name in series if name != "cell 5"})
    with pytest.raises(LnncError, match="different origins"):
        score(series, {name: stream if name == "cell 0" else window for name in series})
    with pytest.raises(LnncError, match="every 10 cycles"):
        student_forecasts(series, stream_batch(series, first=103), dict.fromkeys(series, stream))


def test_a_fold_without_long_lives() -> None:
    short = {"a": life(300), "b": life(105), "c": life(100, seed=1)}
    split = folds(short, k=3)
    for mode in ("stream", "window"):
        with pytest.raises(LnncError, match="no life with a whole horizon"):
            cross_train(short, split, recipe(mode=mode))


@pytest.mark.parametrize(
    "wrong", [{"kind": "gru"}, {"mode": "batch"}, {"inputs": "none"}, {"phases": 0}, {"phases": 11},
              {"mode": "window", "schedule": Schedule(batch=0)}, {"fade": -0.1}],
    ids=str,
)  # fmt: skip
def test_recipes_that_cannot_be(wrong: dict[str, object]) -> None:
    with pytest.raises(LnncError, match="expected"):
        recipe(**wrong)


@pytest.mark.parametrize("wrong", [{"mode": "window"}, {"phases": 1}], ids=str)
def test_a_fade_needs_an_age_and_two_phases(wrong: dict[str, object]) -> None:
    with pytest.raises(LnncError, match="fade: it comes with a cell's age"):
        recipe(fade=0.03, **wrong)


def test_series_of_a_dataset() -> None:
    values = np.column_stack([np.arange(3.0), np.ones(3)])
    sequences = (Sequence("a", values), Sequence("b", values + 1))

    def dataset(*columns: str) -> Dataset:
        kept = tuple(Sequence(s.name, s.values[:, : len(columns)]) for s in sequences)
        return Dataset(columns, ("1",) * len(columns), kept, "", (), ())

    assert soh_series(dataset("capacity"))["b"].tolist() == [1.0, 2.0, 3.0]
    assert soh_series(dataset("cycle", "soh"))["a"].tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(LnncError, match="no column 'soh' among x, y"):
        soh_series(dataset("x", "y"))
