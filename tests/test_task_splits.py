"""Folds by cell: each cell tested once, the same for everybody, and no file of another data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lnnc.data.splits import FORMAT, Folds, folds, load_folds, save_folds
from lnnc.errors import LnncError

NAMES = [f"cell {i}" for i in range(23)]


@settings(max_examples=40)
@given(names=st.sets(st.text(max_size=4), min_size=2, max_size=20), k=st.integers(2, 8), seed=st.integers(0, 99))
def test_every_cell_is_tested_once_and_never_trained_on(names: set[str], k: int, seed: int) -> None:
    k = min(k, len(names))
    split = folds(names, k, seed)
    assert sorted(split.names) == sorted(names)
    assert len(split) == k
    sizes = [len(group) for group in split.groups]
    assert max(sizes) - min(sizes) <= 1
    for i in range(k):
        assert not set(split.test(i)) & set(split.train(i))
        assert set(split.test(i)) | set(split.train(i)) == names
    assert all(name in split.test(i) for name, i in split.fold_of().items())


def test_the_order_of_names_does_not_matter_but_the_seed_does() -> None:
    assert folds(NAMES) == folds(reversed(NAMES))
    assert folds(NAMES, seed=1).groups != folds(NAMES, seed=0).groups


def test_folds_stay_what_they_were() -> None:
    """Other versions of Python and NumPy must deal the same folds: stored students name theirs by seed."""
    assert folds("abcdefg", 3).groups == (("a", "e", "f"), ("c", "g"), ("b", "d"))


def test_bad_requests_are_refused() -> None:
    with pytest.raises(LnncError, match="same name: b"):
        folds(["a", "b", "b"], 2)
    with pytest.raises(LnncError, match="expected 2 folds"):
        folds(NAMES, 1)
    with pytest.raises(LnncError, match="3 cells cannot fill 5"):
        folds("abc")


def test_saved_folds_are_loaded_again(tmp_path: Path) -> None:
    file = tmp_path / "folds.json"
    split = folds([*NAMES, "Zelle Ä|1", "undecodable \udcff"], 4, seed=3)
    save_folds(folds(NAMES), file)
    save_folds(split, file)
    assert load_folds(file, reversed(split.names)) == split
    assert [p.name for p in tmp_path.iterdir()] == ["folds.json"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "folds.json"
    save_folds(folds(NAMES), file)
    before = file.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(LnncError, match="No space left"):
        save_folds(folds(NAMES, seed=9), file)
    assert file.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["folds.json"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(LnncError, match="does not exist"):
        save_folds(folds(NAMES), tmp_path / "none" / "folds.json")
    with pytest.raises(LnncError, match="cannot read"):
        load_folds(tmp_path / "none.json", NAMES)


@pytest.mark.parametrize(
    ("text", "complaints"),
    [
        ("{", ["not JSON"]),
        ("[]", ["expected an object", "list of lists of names"]),
        ('{"folds": [["a"], ["b", 3]], "seed": "x"}', ["expected an object", "list of lists of names", '"seed"']),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, complaints: list[str]) -> None:
    file = tmp_path / "folds.json"
    file.write_text(text)
    with pytest.raises(LnncError) as caught:
        load_folds(file, "ab")
    assert all(complaint in str(caught.value) for complaint in complaints)


@pytest.mark.parametrize(
    ("groups", "complaints"),
    [
        ([["a", "b"], ["b", "x"]], ["'b' is listed 2 times", "'x' is no cell", "'c' is in no fold"]),
        ([["a", "b", "c"]], ["expected 2 folds or more, found 1"]),
        ([["a", "b", "c"], []], ["fold 1 is empty"]),
    ],
)
def test_folds_of_other_cells_are_refused(tmp_path: Path, groups: list[list[str]], complaints: list[str]) -> None:
    file = tmp_path / "folds.json"
    file.write_text(json.dumps({"format": FORMAT, "folds": groups}))
    with pytest.raises(LnncError) as caught:
        load_folds(file, "abc")
    assert all(complaint in str(caught.value) for complaint in complaints)


def test_folds_written_by_hand_need_no_seed(tmp_path: Path) -> None:
    file = tmp_path / "folds.json"
    file.write_text(json.dumps({"format": FORMAT, "folds": [["b"], ["a"]]}))
    assert load_folds(file, "ab") == Folds((("b",), ("a",)))
