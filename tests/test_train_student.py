from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_train_models import moved, sees
from test_train_signal import life

from lnnc.errors import LnncError
from lnnc.train.students.run import forecasts
from lnnc.train.students.signal import observe
from lnnc.train.students.student import KINDS, Student, load_student, save_student


def student(of: str = "gated", **changed: object) -> Student:
    """A student of this kind with some fields changed, its weights those of the kind before the change."""
    fields = {
        "kind": of,
        "mode": "stream",
        "gate": True,
        "inputs": sees(of),
        "skip": False,
        "arrays": moved(of).arrays(0),
    }
    return Student(**{**fields, "provenance": (("data", "abc"), ("fold", "1 of 5")), **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_comes_back_as_it_was(tmp_path: Path, kind: str) -> None:
    made = student(kind, gate=False, mode="window")
    save_student(tmp_path / "a.npz", made)
    read = load_student(tmp_path / "a.npz")
    assert (read.kind, read.mode, read.gate, read.inputs, read.skip, read.provenance) == (
        made.kind, made.mode, made.gate, made.inputs, made.skip, made.provenance,
    )  # fmt: skip
    assert read.arrays.keys() == made.arrays.keys() and read.parameters == made.parameters
    assert all(np.array_equal(read.arrays[name], made.arrays[name]) for name in read.arrays)
    save_student(tmp_path / "b.npz", read)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.npz"]


def test_gate_changes_the_forecast() -> None:
    signal = observe([life(300)])
    behind, alone = forecasts(student(), signal), forecasts(student(gate=False), signal)
    assert behind.shape == alone.shape == (1, 30, 100) and not np.allclose(behind, alone)


def test_suffix(tmp_path: Path) -> None:
    with pytest.raises(LnncError, match=r"\.npz"):
        save_student(tmp_path / "a.pt", student())


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not really", b"text"])
def test_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(LnncError, match=r"a\.npz"):
        load_student(tmp_path / "a.npz")


def test_another_archive_and_no_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    with pytest.raises(LnncError, match="no student"):
        load_student(tmp_path / "a.npz")
    np.savez(tmp_path / "p.npz", student=np.array({"kind": "gated"}, dtype=object))
    with pytest.raises(LnncError, match="no student"):
        load_student(tmp_path / "p.npz")
    with pytest.raises(LnncError, match="no such file"):
        load_student(tmp_path / "b.npz")


def broken(name: str, value: np.ndarray | None) -> Student:
    arrays = dict(student().arrays)
    if value is None:
        del arrays[name]
    else:
        arrays[name] = value
    return student(arrays=arrays)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (broken("gate.weight", None), "'gate.weight': expected .5, 9., found nothing"),
        (broken("gate.bias", np.zeros(6)), r"'gate.bias': expected \(5,\), found \(6,\)"),
        (broken("other", np.zeros(6)), "'other': expected nothing"),
        (broken("head.bias", np.array([0, np.nan, 0, 0])), "'head.bias': expected finite"),
        (broken("head.weight", np.zeros(4)), "'head.weight': expected a matrix"),
        (broken("head.weight", np.zeros((4, 0))), "'head.weight': expected a matrix"),
        (broken("head.bias", np.zeros(4, np.float32)), "'head.bias': expected finite float64"),
        (student(kind="lstm", inputs="features", arrays={}), "kind: expected one of gated"),
        (student(mode="batch"), "mode: expected"),
        (student(inputs="none"), "inputs: expected"),
        (student(arrays={}), "head.weight"),
    ],
)
def test_faults(tmp_path: Path, made: Student, said: str) -> None:
    save_student(tmp_path / "a.npz", made)
    with pytest.raises(LnncError, match=said):
        load_student(tmp_path / "a.npz")
