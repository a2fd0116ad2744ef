"""CSV as people have it, Battery Data Format, NumPy archives; and everything that is wrong with them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lnnc.data.dataset import Dataset
from lnnc.data.importing import import_data
from lnnc.data.reading import ImportOptions
from lnnc.errors import LnncError

h5py = pytest.importorskip("h5py")
VALUES = [1.9, 1.89, 1.88, 1.87]


def read(*paths: Path, **options: Any) -> Dataset:
    return import_data(paths, ImportOptions(**options), lambda _: None)


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def table(header: str, rows: list[str]) -> str:
    return "\n".join([header, *rows]) + "\n"


def refused(*paths: Path, **options: Any) -> str:
    with pytest.raises(LnncError) as caught:
        read(*paths, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("header", "scale"),
    [
        ("cycle,capacity_ah", 1.0),
        ("Cycle Count / 1,Cycle Discharging Capacity / Ah", 1.0),
        ("cycle_count,cycle_discharging_capacity_ah", 1.0),
        ("Cycle_Index,Discharge_Capacity (Ah)", 1.0),
        ("cycle number,Q discharge/mA.h", 1000.0),
        ("cycle,capacity [mAh]", 1000.0),
        ("cycle,discharge_capacity_in_Ah", 1.0),
    ],
)
def test_names_and_units_of_columns(header: str, scale: float, tmp_path: Path) -> None:
    path = write(tmp_path / "cell7.csv", table(header, [f"{i},{v * scale:g}" for i, v in enumerate(VALUES, 1)]))
    data = read(path, nominal=2.0)
    assert data.columns == ("soh",) and data.units == ("1",)
    assert [s.name for s in data.sequences] == ["cell7"]
    assert np.allclose(data.sequences[0].values[:, 0], np.array(VALUES) / 2.0, rtol=1e-12)


@pytest.mark.parametrize(
    ("encoding", "delimiter", "decimal"), [("utf-8-sig", ",", "."), ("utf-16", "\t", ","), ("cp1252", ";", ",")]
)
def test_what_spreadsheets_write(encoding: str, delimiter: str, decimal: str, tmp_path: Path) -> None:
    rows = [delimiter.join((str(i), str(v).replace(".", decimal), "é")) for i, v in enumerate(VALUES, 1)]
    path = write(tmp_path / "a.csv", table(delimiter.join(("cycle", "capacity_ah", "note")), rows), encoding)
    assert np.allclose(read(path, nominal=2.0).sequences[0].values[:, 0], np.array(VALUES) / 2)


def test_bdf_with_many_rows_a_cycle(tmp_path: Path) -> None:
    rows = [f"{1.0 * n},{c},{q:.4f}" for c in (1, 2, 3) for n, q in enumerate((0, 0.5, 1.09 - 0.01 * c))]
    path = write(tmp_path / "MATR_b1c7.csv", table("test_time_second,cycle_count,cycle_discharging_capacity_ah", rows))
    data = read(path)  # MATR cells: nominal capacity and licence are known
    assert np.allclose(data.sequences[0].values[:, 0], np.array([1.08, 1.07, 1.06]) / 1.1)
    assert data.licence == "CC BY 4.0"
    assert "MATR_b1c7: 9 rows of 3 cycles: the largest value of each cycle is taken" in data.report


def test_batteryml_names_follow_the_rules_of_matr(tmp_path: Path) -> None:
    for name in ("MATR_b1c0", "MATR_b2c7", "MATR_b3c37", "MATR_b1c8", "MATR_b3c1"):
        write(tmp_path / f"{name}.csv", table("cycle,capacity_ah", ["1,1.07", "2,1.06", "3,1.05"]))
    data = read(tmp_path)
    assert {s.name: len(s.values) for s in data.sequences} == {"MATR_b1c0": 6, "MATR_b3c1": 3}


def test_a_folder_in_natural_order(tmp_path: Path) -> None:
    for i in (10, 2, 1):
        write(tmp_path / f"cell{i}.csv", table("capacity_ah", [str(v) for v in VALUES]))
    write(tmp_path / "README.md", "hello")
    write(tmp_path / ".hidden.csv", "x")
    data = read(tmp_path, nominal=2.0, licence="CC0-1.0")
    assert [s.name for s in data.sequences] == ["cell1", "cell2", "cell10"]
    assert data.licence == "CC0-1.0"
    assert f"{tmp_path}: ignored README.md" in data.report
    assert ("file", "cell1.csv, 31 bytes") in data.provenance


def test_one_file_with_a_cell_column(tmp_path: Path) -> None:
    rows = ["A,1,1.9", "B,2,1.8", "B,1,1.81", "A,3,1.7", "A,2,1.88", "B,3,1.79", "B,5,1.78"]
    data = read(write(tmp_path / "all.csv", table("cell_id,cycle,capacity_ah", rows)), nominal=2.0, repair=False)
    assert {s.name: (2 * s.values[:, 0]).round(6).tolist() for s in data.sequences} == {
        "A": [1.9, 1.88, 1.7],
        "B": [1.81, 1.8, 1.79, 1.78],
    }
    assert any(line.startswith("B: 1 cycle numbers are missing (after 3)") for line in data.report)


def test_soh_columns_need_no_nominal_capacity(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", table("cycle,soh,capacity_ah", ["1,0.99,2", "2,0.98,2", "3,0.97,2"]))
    assert read(path).sequences[0].values[:, 0].tolist() == [0.99, 0.98, 0.97]
    assert read(path, nominal=2.0).sequences[0].values[:, 0].tolist() == [1, 1, 1]
    path = write(tmp_path / "b.csv", table("cycle,SOH / %", ["1,99", "2,98", "3,97"]))
    assert np.allclose(read(path).sequences[0].values[:, 0], [0.99, 0.98, 0.97])


def test_a_late_beginning_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", table("cycle,soh", [f"{i},0.9" for i in range(40, 60)]))
    assert "a: begins at cycle 40: its age is counted from there" in read(path).report


def test_missing_values_are_mended_or_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", table("cycle,soh", [f"{i},{'' if i == 7 else 0.9}" for i in range(1, 21)]))
    assert "a: changed: cycle 7: SOH nan -> 0.9 (NaN)" in read(path).report
    assert "cell 'a': cycle 7 is NaN" in refused(path, repair=False)


def test_any_columns_with_their_units(tmp_path: Path) -> None:
    for name in ("r1", "r2"):
        write(tmp_path / f"{name}.csv", table("t / s,Current [A],Temp (degC)", ["0,1,20", "1,-2,21.5"]))
    data = read(tmp_path, columns=("current", "temp"))
    assert data.columns == ("current", "temp") and data.units == ("A", "degC")
    assert data.sequences[1].values.tolist() == [[1, 20], [-2, 21.5]]
    assert read(tmp_path, columns=("temp",), units=("K",)).units == ("K",)
    assert "line 3, column 'Temp (degC)': expected a number, found ''" in refused(
        write(tmp_path / "r3.csv", table("Current [A],Temp (degC)", ["1,2", "1,"])), columns=("temp",)
    )


def test_npz_and_npy(tmp_path: Path) -> None:
    np.savez(tmp_path / "cells.npz", a=VALUES, b=np.array(VALUES)[:, None].astype(np.float32))
    np.save(tmp_path / "c.npy", np.array(VALUES))
    data = read(tmp_path / "cells.npz", tmp_path / "c.npy", nominal=2.0)
    assert [s.name for s in data.sequences] == ["a", "b", "c"]
    assert all(np.allclose(s.values[:, 0], np.array(VALUES) / 2, atol=1e-6) for s in data.sequences)
    np.savez(tmp_path / "runs.npz", r=np.ones((5, 2)))
    assert read(tmp_path / "runs.npz", columns=("p", "q")).sequences[0].values.shape == (5, 2)
    np.savez(tmp_path / "soh.npz", a=[0.99, 0.98, 0.97])
    assert read(tmp_path / "soh.npz", already_soh=True).sequences[0].values[0, 0] == 0.99


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"a": np.array(["x"])}, "array 'a': expected numbers, found <U1"),
        ({"a": np.ones((3, 2))}, "array 'a': expected shape (T,), found (3, 2)"),
        ({"a": np.zeros(0)}, "array 'a': expected shape (T,), found (0,)"),
        ({"a": np.array([{}], dtype=object)}, "array 'a': "),
        ({}, "it is a ZIP archive"),
    ],
)
def test_bad_arrays_are_named(arrays: dict[str, Any], words: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    text = refused(tmp_path / "x.npz", nominal=2.0)
    assert words in text and str(tmp_path / "x.npz") in text


BAD = {
    "empty": ("", "the file is empty"),
    "header only": ("cycle,capacity_ah\n", "a header, but no row"),
    "no header": ("1,1.1\n2,1.2\n", "line 1: expected the names of the columns, found numbers"),
    "blank": ("\n\n", "holds no header"),
    "other columns": ("a,b\n1,2\n", "no column is known as a capacity"),
    "text": ("cycle,capacity_ah\n1,1.1\n2,abc\n", "line 3, column 'capacity_ah': expected a number, found 'abc'"),
    "infinite": ("cycle,capacity_ah\n1,inf\n", "line 2, column 'capacity_ah': expected a number, found 'inf'"),
    "half cycle": ("cycle,capacity_ah\n1,1\n1.5,1\n", "line 3, column 'cycle': expected a whole number, found '1.5'"),
    "no cycle": ("cycle,capacity_ah\n1,1\n,1\n", "line 3, column 'cycle': expected a number, found ''"),
    "short row": ("cycle,capacity_ah\n1,1\n2\n3,1\n", "line 3: expected 2 values, found 1"),
    "decimal comma": ("cycle,capacity_ah\n1,1,05\n", "line 2: expected 2 values, found 3"),
    "twice": ("cycle,capacity_ah,Capacity (Ah)\n1,1,1\n", "mean the same"),
    "energy": ("cycle,capacity [Wh]\n1,1\n", "expected a capacity in Ah or mAh, found Wh"),
    "mAh": ("cycle,capacity\n1,1900\n2,1890\n3,1880\n", "does not fit a nominal capacity of 2"),
    "percent": ("cycle,soh\n1,99\n2,98\n3,97\n", "expected SOH, that is about 0.7 to 1.1"),
    "no cell": ("cell,cycle,soh\nA,1,1\n,2,1\n", "line 3: expected the name of a cell"),
    "few": ("cycle,soh\n1,0.9\n2,0.9\n", "2 of 2 samples are sound"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_tables_say_where_and_what(case: str, tmp_path: Path) -> None:
    text, words = BAD[case]
    said = refused(write(tmp_path / "bad.csv", text), nominal=2.0)
    assert words in said and "bad.csv" in said and "fix:" in said


FOREIGN = {
    "MATLAB 5": (b"MATLAB 5.0 MAT-file, Platform: PCWIN64".ljust(600, b"\0"), "the one scipy reads"),
    "MATLAB 7.3 head": (b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512, b"\0"), "HDF5 part is missing"),
    "MATLAB 4": (b"\0\0\0\0\1\0\0\0".ljust(600, b"\1"), "perhaps a .mat file of version 4"),
    "pickle": (b"\x80\x04\x95\0\0\0", "Python pickle"),
    "gzip": (b"\x1f\x8b\x08\0\0", "gunzip"),
    "parquet": (b"PAR1\0\0", "Parquet"),
    "zip": (b"PK\x03\x04" + bytes(60), "damaged .npz or .zip"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_foreign_files_are_named(case: str, tmp_path: Path) -> None:
    content, words = FOREIGN[case]
    path = tmp_path / "x.mat"
    path.write_bytes(content)
    said = refused(path, nominal=2.0)
    assert words in said and str(path) in said and "fix:" in said


def test_other_hdf5_files_and_datasets_are_refused(tmp_path: Path) -> None:
    from lnnc.data.dataset import save_dataset

    with h5py.File(tmp_path / "x.mat", "w") as file:
        file["cycles"] = np.ones(3)
    assert "expected the struct 'batch' with 'summary' of a MATR file, found: cycles" in refused(tmp_path / "x.mat")
    data = read(write(tmp_path / "a.csv", table("soh", ["1", "1", "1"])))
    save_dataset(data, tmp_path / "d.h5")
    assert "a dataset already" in refused(tmp_path / "d.h5")


def test_the_nominal_capacity_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", table("capacity_ah", [str(v) for v in VALUES]))
    text = refused(path)
    assert "what is the nominal capacity" in text and "about 1.88 Ah" in text and "--nominal" in text
    for nominal in (0.0, -1.0, float("nan")):
        assert "--nominal: expected a capacity in Ah above 0" in refused(path, nominal=nominal)
    assert "contradict" in refused(path, nominal=2.0, already_soh=True)


def test_one_bad_file_of_many(tmp_path: Path) -> None:
    for i in range(3):
        write(tmp_path / f"good{i}.csv", table("cycle,soh", ["1,1", "2,1", "3,1"]))
    write(tmp_path / "bad.csv", "cycle,soh\n1,x\n2,y\n3,1\n")
    write(tmp_path / "worse.csv", "a,b\n1,2\n")
    text = refused(tmp_path)
    assert "3 faults" in text and "worse.csv: no column" in text and "--skip-bad" in text
    assert "bad.csv: line 2, column 'soh'" in text and "bad.csv: line 3, column 'soh'" in text
    data = read(tmp_path, skip_bad=True)
    assert [s.name for s in data.sequences] == ["good0", "good1", "good2"]
    assert sum("LEFT OUT" in line for line in data.report) == 3
    assert "nothing is left" in refused(tmp_path / "bad.csv", skip_bad=True)


def test_many_faults_do_not_hide_a_bad_cell(tmp_path: Path) -> None:
    rows = [f"{name},{i},{'x' if name == 'A' or i == 3 else 0.9}" for name in "AB" for i in range(1, 40)]
    rows += [f"C,{i},0.9" for i in range(1, 5)]
    data = read(write(tmp_path / "all.csv", table("cell,cycle,soh", rows)), skip_bad=True)
    assert [s.name for s in data.sequences] == ["C"]


def test_cells_twice_are_refused(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    paths = [write(folder / "a.csv", table("soh", ["1", "1", "1"])) for folder in (tmp_path, tmp_path / "sub")]
    assert "cell 'a' is in" in refused(*paths)


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "none.csv")
    assert "holds no data file" in refused(tmp_path)
    assert "no file was given" in refused()


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", table("current,temperature", ["1,2", "1,2"]))
    text = refused(path, columns=("curent",))
    assert "did you mean 'current'?" in text and "'temperature'" in text
    assert "expected one for each of --columns (1), found 2" in refused(path, columns=("current",), units=("A", "B"))
    assert "it goes without --nominal" in refused(path, columns=("current",), nominal=1.0)
    assert "each once" in refused(path, columns=("current", "current"))
    assert "no column 'zelle'" in refused(path, cell_column="zelle", nominal=1.0)


@given(st.binary(min_size=1, max_size=400), st.sampled_from([".csv", ".mat", ".npz"]))
def test_any_bytes_are_data_or_an_error(tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    for head in (b"", b"cycle,capacity_ah\n1,", b"\xff\xfec\0,\0", b"PK\x03\x04", b"\x93NUMPY\x01\x00"):
        path.write_bytes(head + content)
        with suppress(LnncError):
            read(path, nominal=1.0)


def test_damaged_archives(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, a=VALUES, b=VALUES)
    data = path.read_bytes()
    for at in range(0, len(data), 7):
        for broken in (data[:at] or b"x", data[:at] + b"\xa5" + data[at + 1 :]):
            path.write_bytes(broken)
            with suppress(LnncError):
                read(path, nominal=2.0)
