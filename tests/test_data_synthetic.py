"""The real loader on files of the real shape: whole, several at once, and broken in every way."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lnnc.data.dataset import Dataset
from lnnc.data.importing import import_data
from lnnc.data.matr_rules import CONTINUED, NOISY, UNFINISHED
from lnnc.data.reading import ImportOptions
from lnnc.data.synthetic import SyntheticCell, synthetic_cells, write_batch
from lnnc.errors import LnncError

h5py = pytest.importorskip("h5py")


def read(*paths: Path, **options: Any) -> Dataset:
    return import_data(paths, ImportOptions(**options), lambda _: None)


def fade(count: int, first: float = 1.07) -> np.ndarray:
    return np.linspace(first, 0.87, count)


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("batches")
    paths = [folder / f"synthetic_{batch}.mat" for batch in (1, 2, 3)]
    for batch, path in enumerate(paths, 1):
        write_batch(path, batch, synthetic_cells(batch, seed=5))
    return paths


@pytest.fixture(scope="module")
def whole(batches: list[Path]) -> Dataset:
    return read(*batches)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Three plain cells and an empty one, in the shape of batch 1."""
    path = tmp_path / "synthetic_small.mat"
    write_batch(path, 1, [*(SyntheticCell(fade(30 + i)) for i in range(3)), SyntheticCell(None)])
    return path


def test_three_batches_give_the_cells_that_the_authors_count(whole: Dataset) -> None:
    data = whole
    names = {s.name for s in data.sequences}
    assert len(data.sequences) == 124
    assert [sum(f"_b{b}c" in name for name in names) for b in (1, 2, 3)] == [41, 43, 40]
    for batch, index in UNFINISHED | NOISY | set(CONTINUED):
        assert f"synthetic_b{batch}c{index}" not in names
    text = "\n".join(data.report)
    assert "read 46 + 48 + 46 = 140 cells of batch 1, 2, 3, as the data's authors count" in text
    assert "kept 41 + 43 + 40 = 124 cells of batch 1, 2, 3, as the data's authors count" in text
    assert "shorter than 200 cycles, kept: 1 of 124 cells: synthetic_b2c1 (147)" in text
    assert all(np.isfinite(s.values).all() and 0.7 < s.values.min() <= s.values.max() < 1.05 for s in data.sequences)


def test_the_values_are_those_written(whole: Dataset) -> None:
    data = {s.name: s for s in whole.sequences}
    cell = synthetic_cells(2, 3, seed=5)[2]
    assert cell.capacity is not None
    assert np.allclose(data["synthetic_b2c2"].values[:, 0], cell.capacity / 1.1, atol=1e-15)


def test_joined_cells_are_one_life(whole: Dataset) -> None:
    data = {s.name: s for s in whole.sequences}
    heads, tails = synthetic_cells(1, 5, seed=5), synthetic_cells(2, 17, seed=5)
    for (_, late), (_, early) in CONTINUED.items():
        head, tail, joined = heads[early].capacity, tails[late].capacity, data[f"synthetic_b1c{early}"]
        assert head is not None and tail is not None
        assert len(joined.values) == len(head) + len(tail)
        assert np.allclose(joined.values[len(head) :, 0], tail / 1.1, atol=1e-15)
        assert joined.source == "synthetic_1.mat, synthetic_2.mat"


def test_every_changed_sample_is_reported(whole: Dataset) -> None:
    data = whole
    lines = [line for line in data.report if ": changed: " in line]
    kept = {s.name: s.values[:, 0] for s in data.sequences}
    raw = {
        f"synthetic_b3c{i}": c.capacity / 1.1
        for i, c in enumerate(synthetic_cells(3, seed=5))
        if c.capacity is not None
    }
    different = {name: np.flatnonzero(kept[name] != raw[name]) for name in kept if name in raw}
    want = {f"{name}: changed: cycle {i + 1}: " for name, rows in different.items() for i in rows}
    got = {line[: line.index("SOH")] for line in lines if "_b3c" in line}
    assert got == want and len(want) > 20


def test_switches(batches: list[Path]) -> None:
    assert len(read(batches[2], keep_noisy=True).sequences) == 46
    unfinished = read(batches[0], keep_unfinished=True)
    assert len(unfinished.sequences) == 45  # b1c22 is empty
    assert "synthetic_b1c22: dropped: it holds no value" in unfinished.report


def test_cells_that_stay_apart(batches: list[Path]) -> None:
    apart = {s.name for s in read(*batches, join=False).sequences}
    assert len(apart) == 129 and "synthetic_b2c7" in apart


def test_without_repair_nan_is_refused_and_zero_passes(batches: list[Path], tmp_path: Path) -> None:
    with pytest.raises(LnncError, match=r"cycle \d+ is NaN, which --no-repair leaves"):
        read(*batches, repair=False)
    path = tmp_path / "synthetic.mat"
    write_batch(path, 2, [SyntheticCell(np.r_[0.0, fade(20)])])
    assert read(path, repair=False).sequences[0].values[0, 0] == 0.0
    assert read(path).sequences[0].values[0, 0] == pytest.approx(1.07 / 1.1, abs=0.01)


def test_one_batch_alone(batches: list[Path]) -> None:
    first = read(batches[0])
    assert len(first.sequences) == 41
    assert "synthetic_b1c0: incomplete: it goes on as b2c7 of batch 2, which was not given" in first.report
    second = read(batches[1])
    assert len(second.sequences) == 43
    assert "synthetic_b2c7: dropped: it continues b1c0 of batch 1, which was not given" in second.report


def test_other_counts_are_told(small: Path) -> None:
    assert "synthetic: read 4 cells of batch 1, NOT the 46 of the data's authors" in read(small).report


def test_synthetic_is_said_everywhere(batches: list[Path], tmp_path: Path) -> None:
    data = read(batches[0])
    assert all(s.name.startswith("synthetic_") for s in data.sequences)
    assert "synthetic" in data.licence and "synthetic" in dict(data.provenance)
    assert any("SYNTHETIC" in line for line in data.report)
    head = batches[0].read_bytes()[:512]
    assert head.startswith(b"MATLAB 7.3 MAT-file, SYNTHETIC") and head[124:128] == b"\x00\x02IM"
    with h5py.File(batches[0]) as file:
        assert "SYNTHETIC" in file["batch"].attrs["synthetic"]
    with pytest.raises(LnncError, match="expected a name with 'synthetic'"):
        write_batch(tmp_path / "2017-05-12.mat", 1, synthetic_cells(1, 1))
    csv = tmp_path / "a.csv"
    csv.write_text("cycle,soh\n1,1\n2,1\n3,1\n")
    with pytest.raises(LnncError, match="synthetic files and others"):
        read(batches[0], csv)


def test_the_shape_is_matlabs(small: Path) -> None:
    with h5py.File(small) as file:
        assert file.userblock_size == 512
        batch = file["batch"]
        assert set(batch) == {
            "Vdlin",
            "barcode",
            "channel_id",
            "cycle_life",
            "cycles",
            "policy",
            "policy_readable",
            "summary",
        }
        assert all(batch[key].shape == (4, 1) and h5py.check_ref_dtype(batch[key].dtype) for key in batch)
        summary = file[batch["summary"][1, 0]]
        assert set(summary) == {"IR", "QCharge", "QDischarge", "Tavg", "Tmin", "Tmax", "chargetime", "cycle"}
        assert all(summary[key].shape == (1, 31) for key in summary)
        empty = file[batch["summary"][3, 0]]["QDischarge"]
        assert empty.attrs["MATLAB_empty"] == 1 and (empty[()] == 0).all()
        cycles = file[batch["cycles"][1, 0]]
        assert set(cycles) == {"I", "Qc", "Qd", "Qdlin", "T", "Tdlin", "V", "discharge_dQdV", "t"}
        assert cycles["V"].shape == (31, 1) and file[cycles["V"][1, 0]].shape == (1, 10)
        assert file[batch["policy_readable"][1, 0]].dtype == np.uint16


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_batch(tmp_path / f"synthetic_{name}.mat", 1, synthetic_cells(1, 6, seed))
    a, b, c = (tmp_path.joinpath(f"synthetic_{name}.mat").read_bytes() for name in "abc")
    assert a == b != c


def test_cycles_are_never_walked(small: Path) -> None:
    with h5py.File(small, "r+") as file:
        del file["batch"]["cycles"], file["batch"]["policy"]
    assert len(read(small).sequences) == 3


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("2017-06-30_batchdata_updated_struct_errorcorrect.mat", "MATR_b2c"),
        ("MATR_batch_20180412.mat", "MATR_b3c"),
        ("MATR_batch_20190124.mat", "MATR_b4c"),
        ("mine.mat", "MATR_mine_c"),
    ],
)
def test_a_measured_file_is_named_by_its_date(name: str, prefix: str, small: Path) -> None:
    with h5py.File(small, "r+") as file:
        del file["batch"].attrs["synthetic"], file["batch_date"]
    path = small.rename(small.with_name(name))
    data = read(path)
    assert {s.name.rstrip("0123456789") for s in data.sequences} == {prefix}
    assert data.licence == "CC BY 4.0" and ("nominal", "1.1 Ah") in data.provenance
    assert any("nothing is joined" in line for line in data.report) == (name == "mine.mat")
    assert read(path, batches=(1,)).sequences[0].name == "MATR_b1c0"


def test_batches_must_fit_the_files(small: Path) -> None:
    with pytest.raises(LnncError, match="2 batches are named for 1 MATR files"):
        read(small, batches=(1, 2))


def test_one_struct_is_stored_without_references(small: Path) -> None:
    with h5py.File(small, "r+") as file:
        summary = file[file["batch"]["summary"][1, 0]]
        del file["batch"]["summary"]
        file.copy(summary, file["batch"], "summary")
    assert [len(s.values) for s in read(small).sequences] == [31]


def replace_data(parent: Any, key: str, values: Any) -> None:
    del parent[key]
    parent[key] = values


SPOIL = {
    "no QDischarge": (
        lambda f, s: s.__delitem__("QDischarge"),
        "batch/summary[1,0]: expected a struct with QDischarge",
    ),
    "a text": (lambda f, s: replace_data(s, "QDischarge", "abc"), "QDischarge: expected numbers"),
    "a matrix": (lambda f, s: replace_data(s, "QDischarge", np.ones((3, 3))), "expected shape (1, N), found (3, 3)"),
    "lengths": (lambda f, s: replace_data(s, "cycle", np.ones((1, 3))), "31 values of QDischarge, but 3 of cycle"),
    "half a cycle": (
        lambda f, s: replace_data(s, "cycle", np.arange(31)[None] + 0.5),
        "cycle[0,0]: expected a whole number",
    ),
    "NaN cycle": (
        lambda f, s: replace_data(s, "cycle", np.full((1, 31), np.nan)),
        "expected a whole number, found nan",
    ),
    "a group": (lambda f, s: (s.__delitem__("cycle"), s.create_group("cycle")), "cycle: expected numbers"),
    "no reference": (lambda f, s: f["batch"]["summary"].__setitem__((1, 0), h5py.Reference()), "leads nowhere"),
}


@pytest.mark.parametrize("case", SPOIL)
def test_a_bad_cell_is_named_and_can_be_left_out(case: str, small: Path) -> None:
    spoil, words = SPOIL[case]
    with h5py.File(small, "r+") as file:
        spoil(file, file[file["batch"]["summary"][1, 0]])
    before = small.read_bytes()
    with pytest.raises(LnncError) as caught:
        read(small)
    assert words in str(caught.value) and str(small) in str(caught.value)
    data = read(small, skip_bad=True)
    assert [s.name for s in data.sequences] == ["synthetic_b1c0", "synthetic_b1c2"]
    assert any("LEFT OUT" in line and words in line for line in data.report)
    assert small.read_bytes() == before


def test_summary_that_is_none(small: Path) -> None:
    with h5py.File(small, "r+") as file:
        replace_data(file["batch"], "summary", np.ones((4, 1)))
    with pytest.raises(LnncError, match="batch/summary: expected object references, found float64"):
        read(small)


def test_unsorted_and_missing_cycles_are_told(tmp_path: Path) -> None:
    path = tmp_path / "synthetic.mat"
    write_batch(path, 3, [SyntheticCell(fade(30))])
    with h5py.File(path, "r+") as file:
        summary = file[file["batch"]["summary"][0, 0]]
        summary["cycle"][0, :] = np.r_[2, 1, np.arange(3, 20), np.arange(25, 36)]
    data = read(path)
    assert "synthetic_b3c0: the rows were sorted by cycle" in data.report
    gap = "synthetic_b3c0: 5 cycle numbers are missing (after 19); its cycles are numbered on without a gap"
    assert gap in data.report
    assert data.sequences[0].values[1, 0] == fade(30)[0] / 1.1


@pytest.mark.parametrize("seed", range(6))
def test_damaged_files_never_end_in_a_traceback(seed: int, small: Path) -> None:
    """Truncated anywhere, bytes changed, blocks of zeros: an answer or an LnncError, 40 times over."""
    data, rng = small.read_bytes(), random.Random(seed)
    refused = 0
    for _ in range(40):
        broken = bytearray(data)
        kind, at = rng.randrange(3), rng.randrange(len(data))
        if kind == 0:
            del broken[at:]
        elif kind == 1:
            for place in rng.sample(range(len(data)), 50):
                broken[place] = rng.randrange(256)
        else:
            broken[at : at + 256] = bytes(len(broken[at : at + 256]))
        small.write_bytes(broken)
        try:
            read(small)
        except LnncError:
            refused += 1
    assert refused > 10
