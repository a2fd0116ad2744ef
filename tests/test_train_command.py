from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from test_train_signal import life

from lnnc.cli.train import KINDS, train
from lnnc.data.dataset import Dataset, Sequence, save_dataset
from lnnc.errors import LnncError
from lnnc.train.students import student
from lnnc.train.students.student import load_student

QUICK = ("--steps", "3", "--units", "3")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("data") / "soh.h5"
    cells = tuple(Sequence(f"cell {i}", life(230 + 10 * i, seed=i)[:, None]) for i in range(6))
    save_dataset(Dataset(("soh",), ("1",), cells, "invented", (), ()), file)
    return file


def run(*arguments: str | Path) -> str:
    """What the command prints."""
    result = CliRunner().invoke(train, [str(a) for a in arguments], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.output


def test_one_student(tmp_path: Path, data: Path) -> None:
    text = run(data, "-o", tmp_path / "s.npz", *QUICK)
    made = load_student(tmp_path / "s.npz")
    assert dict(made.provenance)["cells"] == "6" and made.units == 3 and made.gate
    assert "has not seen 2 of the 6 cells" in text and "median-clipped quadratic 100" in text
    assert [path.name for path in tmp_path.iterdir()] == ["s.npz"]


def test_folds(tmp_path: Path, data: Path) -> None:
    given = ("--kind", "mlp", "--units", "4-3", "--mode", "window", "--no-gate", "--steps", "3")
    text = run(data, "-o", tmp_path / "m.npz", *given, "--folds", "2")
    names = ["m_0.npz", "m_1.npz", "m_folds.json", "m_scores.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    made = load_student(tmp_path / "m_1.npz")
    assert (made.kind, made.mode, made.gate) == ("mlp", "window", False)
    assert "learned linear" in text and "network alone" in (tmp_path / "m_scores.csv").read_text()
    again = run(data, "-o", tmp_path / "again.npz", *given, "--folds-from", tmp_path / "m_folds.json")
    assert (tmp_path / "again_1.npz").read_bytes() == (tmp_path / "m_1.npz").read_bytes()
    assert again.replace("again", "m") == text


def test_linear_needs_no_units(tmp_path: Path, data: Path) -> None:
    run(data, "-o", tmp_path / "l.npz", "--kind", "linear", "--steps", "2")
    assert load_student(tmp_path / "l.npz").parameters == 88


def test_settings_reach_the_student(tmp_path: Path, data: Path) -> None:
    settings = {"members": "2", "phases": "2", "scale": "0.1", "fade": "0.02"}
    options = [part for name, value in settings.items() for part in (f"--{name}", value)]
    run(data, "-o", tmp_path / "s.npz", "--skip", *options, *QUICK)
    made = load_student(tmp_path / "s.npz")
    assert made.skip and made.units == 6 and settings.items() <= dict(made.provenance).items()


def test_kinds_are_those_of_students() -> None:
    assert KINDS == student.KINDS


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["-o", "s.pt"], r"\.npz"),
        (["-o", "nowhere/s.npz"], "does not exist"),
        (["-o", "s.npz", "--peak-lr", "-1"], "peak_lr is -1"),
        (["-o", "s.npz", "--units", "4-4"], "cannot have hidden layers"),
        (["-o", "s.npz", "--folds", "2", "--folds-from", "f.json"], "twice"),
        (["-o", "s.npz", "--folds", "7"], "6 cells cannot fill 7 folds"),
        (["-o", "s.npz", "--units", "many"], "expected a number"),
    ],
)
def test_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Path, given: list[str], said: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception, match=said):
        run(data, *given)
    assert list(tmp_path.iterdir()) == []


def test_goes_on_after_an_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    run(data, "-o", tmp_path / "whole.npz", *QUICK)
    checked = student.save_student
    monkeypatch.setattr(student, "save_student", lambda *_: pytest.fail("stop here"))
    with pytest.raises(BaseException, match="stop here"):
        run(data, "-o", tmp_path / "cut.npz", *QUICK)
    assert (tmp_path / "cut.training.pt").exists()
    with pytest.raises(LnncError, match="another training: steps was 3, is 4"):
        run(data, "-o", tmp_path / "cut.npz", "--steps", "4", "--units", "3")
    monkeypatch.setattr(student, "save_student", checked)
    run(data, "-o", tmp_path / "cut.npz", *QUICK)
    assert (tmp_path / "cut.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.npz", "whole.npz"]
