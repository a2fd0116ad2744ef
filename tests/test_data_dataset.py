"""The canonical file: what goes in comes out, and what is broken is refused in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lnnc.data.dataset import Dataset, Sequence, load_dataset, save_dataset
from lnnc.errors import LnncError

h5py = pytest.importorskip("h5py")


def small(**changes: object) -> Dataset:
    rng = np.random.default_rng(1)
    cells = tuple(Sequence(f"a/b {i} ü", rng.normal(size=(5 + i, 2)), f"file{i}.csv") for i in range(3))
    fields = {
        "columns": ("soh", "temperature"),
        "units": ("1", "degC"),
        "sequences": cells,
        "licence": "CC BY 4.0",
        "provenance": (("made by", "a test"), ("nominal", "1.1")),
        "report": ("a/b 0 ü: cycle 1: 9 -> 1",),
    }
    return Dataset(**{**fields, **changes})  # type: ignore[arg-type]


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    want = small()
    save_dataset(want, tmp_path / "d.h5")
    got = load_dataset(tmp_path / "d.h5")
    for field in ("columns", "units", "licence", "provenance", "report"):
        assert getattr(got, field) == getattr(want, field)
    for a, b in zip(got.sequences, want.sequences, strict=True):
        assert (a.name, a.source) == (b.name, b.source)
        assert a.values.dtype == np.float64 and (a.values == b.values).all()
    assert got.digest() == want.digest()
    save_dataset(got, tmp_path / "e.h5")
    assert (tmp_path / "e.h5").read_bytes() == (tmp_path / "d.h5").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d.h5", "e.h5"]


def test_empty_report_and_provenance(tmp_path: Path) -> None:
    bare = Sequence("a", np.ones((1, 2)))
    save_dataset(small(report=(), provenance=(), licence="", sequences=(bare,)), tmp_path / "d.h5")
    got = load_dataset(tmp_path / "d.h5")
    assert (got.report, got.provenance, got.licence, got.sequences[0].source) == ((), (), "", "")


def test_the_digest_sees_names_columns_and_values() -> None:
    base = small()
    cells = base.sequences
    other = cells[0].values.copy()
    other[0, 0] += 1e-12
    changed = [
        small(columns=("soh", "t")),
        small(sequences=(Sequence("x", cells[0].values), *cells[1:])),
        small(sequences=(Sequence(cells[0].name, other), *cells[1:])),
        small(sequences=cells[::-1]),
    ]
    assert len({d.digest() for d in (base, *changed)}) == 5
    assert small(report=("x",), licence="other").digest() == base.digest()


def fault(dataset: Dataset, path: Path) -> str:
    with pytest.raises(LnncError) as caught:
        save_dataset(dataset, path)
    assert not path.exists() and not list(path.parent.iterdir())
    return str(caught.value)


def test_what_is_not_valid_is_not_saved(tmp_path: Path) -> None:
    path = tmp_path / "d.h5"
    one = Sequence("a", np.ones((3, 2)))
    bad = np.ones((3, 2))
    bad[2, 1] = np.nan
    assert "two sequences are named 'a'" in fault(small(sequences=(one, one)), path)
    assert "no sequence" in fault(small(sequences=()), path)
    assert "1 NaN or Inf, the first in row 2, column 1" in fault(small(sequences=(Sequence("b", bad),)), path)
    assert "(T, 2), found (3, 1)" in fault(small(sequences=(Sequence("b", np.ones((3, 1))),)), path)
    assert "expected float64" in fault(small(sequences=(Sequence("b", np.ones((3, 2), np.float32)),)), path)
    assert "1 units" in fault(small(units=("1",)), path)
    assert "has no name" in fault(small(sequences=(Sequence("", np.ones((3, 2))),)), path)


def test_the_path_must_be_writable(tmp_path: Path) -> None:
    with pytest.raises(LnncError, match="does not exist"):
        save_dataset(small(), tmp_path / "none" / "d.h5")
    with pytest.raises(LnncError, match="no regular file"):
        save_dataset(small(), tmp_path)


def refused(path: Path) -> str:
    with pytest.raises(LnncError) as caught:
        load_dataset(path)
    text = str(caught.value)
    assert str(path) in text and "fix:" in text
    return text


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.h5"
    assert "no such file" in refused(path)
    path.write_bytes(b"")
    assert "is empty" in refused(path)
    path.write_text("cycle,capacity\n1,1.1\n")
    assert "not an HDF5 file" in refused(path)
    assert "a folder" in refused(tmp_path)
    with h5py.File(path, "w") as file:
        file["x"] = np.ones(3)
    assert "none with sequences" in refused(path)


def test_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.h5"
    save_dataset(small(), path)
    with h5py.File(path, "r+") as file:
        file.attrs["version"] = 99
    assert "expected version 1 of the format, found 99" in refused(path)


def test_edited_values_and_missing_parts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.h5"
    for change, words in (
        (lambda f: f["sequences/000000"].__setitem__((0, 0), 7.0), "does not match its digest"),
        (lambda f: f.__delitem__("sequences"), "damaged"),
        (lambda f: f.__delitem__("units"), "damaged"),
        (lambda f: f.attrs.__delitem__("licence"), "damaged"),
        (lambda f: f.attrs.__setitem__("licence", np.bytes_(b"CC0")), "does not match its digest"),
        (lambda f: f["sequences/000001"].attrs.__delitem__("name"), "damaged"),
        (lambda f: f["sequences"].__delitem__("000000"), "digest"),
    ):
        save_dataset(small(), path)
        with h5py.File(path, "r+") as file:
            change(file)
        assert words in refused(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused(share: float, tmp_path: Path) -> None:
    path = tmp_path / "d.h5"
    save_dataset(small(), path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert "truncated" in refused(path) or "damaged" in refused(path)
