from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_train_models import moved, sees
from test_train_signal import life

from lnnc.train.students.ensemble import merged
from lnnc.train.students.inputs import INPUTS
from lnnc.train.students.run import coefficients
from lnnc.train.students.signal import observe
from lnnc.train.students.student import KINDS, Student, load_student, save_student


@pytest.mark.parametrize(("kind", "skip"), [*((k, False) for k in KINDS), ("gated", True), ("mlp", True)])
def test_mean_of_its_members(tmp_path: Path, kind: str, skip: bool) -> None:
    model, signal = moved(kind, skip, models=3), observe([life(250), life(170, seed=1)])
    members = [model.arrays(i) for i in range(3)]
    for member in members:  # small enough for no coefficient to be clipped
        member |= {name: 0.1 * member[name] for name in ("head.weight", "head.bias")}
    made = Student(kind, "stream", True, sees(kind), skip, merged(kind, members, INPUTS[sees(kind)].size, skip))
    alone = [coefficients(Student(kind, "stream", True, sees(kind), skip, member), signal) for member in members]
    assert np.abs(alone).max() < 15.0
    np.testing.assert_allclose(coefficients(made, signal), np.mean(alone, 0), atol=1e-12)
    save_student(tmp_path / "s.npz", made)
    assert load_student(tmp_path / "s.npz").parameters == made.parameters


def test_counts_what_was_trained() -> None:
    members = [moved("gated", models=3).arrays(i) for i in range(3)]
    made = Student("gated", "stream", True, "features", False, merged("gated", members, 4, False))
    assert made.units == 15 and made.parameters == 3 * (2 * (5 * 9 + 5) + 4 * 5) + 4


def test_one_member_is_itself() -> None:
    member = moved("gated").arrays(0)
    assert all(np.array_equal(x, member[name]) for name, x in merged("gated", [member], 4, False).items())
