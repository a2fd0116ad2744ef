"""`lnnc data` as a user meets it: from files to a dataset, a table and a plot; and nothing half-written."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from small import lnnc

from lnnc.data.dataset import load_dataset
from lnnc.data.sources import SOURCES

pytest.importorskip("h5py")


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    folder = tmp_path / "cells"
    folder.mkdir()
    for i in range(3):
        rows = "".join(f"{n},{2 - 0.0019 * n:.5f}\n" for n in range(1, 240 + i))
        (folder / f"cell{i}.csv").write_text("cycle,capacity_ah\n" + rows)
    return folder


def test_from_nothing_to_a_plot(tmp_path: Path) -> None:
    mat, data, drawing = (tmp_path / name for name in ("synthetic.mat", "synthetic.h5", "cells.svg"))
    made = lnnc("data", "synth", "-o", mat, "--cells", 12, "--batch", 3, "--seed", 4)
    assert made.code == 0 and "12 synthetic cells" in made.out
    done = lnnc("data", "import", mat, "-o", data)
    assert done.code == 0, done.err
    assert "synthetic_b3c2: dropped: noisy" in done.out and "licence: CC0-1.0 (synthetic)" in done.out
    shown = lnnc("data", "describe", data, "-o", drawing)
    assert shown.code == 0, shown.err
    assert re.search(r"^cell +cycles +first SOH +last SOH +cycles to 80 % +changed$", shown.out, re.MULTILINE)
    assert len(re.findall(r"^synthetic_b3c\d+ +\d+ +0\.9\d+ +0\.[78]\d+ +(\d+|-) +\d+$", shown.out, re.MULTILINE)) == 11
    for line in load_dataset(data).report:
        assert line in done.out and line in shown.out
    assert ElementTree.parse(drawing).getroot().tag.endswith("svg")
    assert "SYNTHETIC, no measurement" in drawing.read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cells.svg", "synthetic.h5", "synthetic.mat"]


def test_the_table_is_right(cells: Path, tmp_path: Path) -> None:
    path = cells / "cell1.csv"
    path.write_text(path.read_text().replace("\n50,1.90500", "\n50,0.40000"))
    assert lnnc("data", "import", cells, "--nominal", 2, "-o", tmp_path / "d.h5", "--licence", "mine").code == 0
    out = lnnc("data", "describe", tmp_path / "d.h5").out
    assert re.search(r"^cell1 +240 +0\.9990 +0\.7720 +211 +1$", out, re.MULTILINE)
    assert "3 of 3 cells fall below 80 %, after 211 ... 211 cycles, median 211; 1 samples changed" in out
    assert "licence: mine" in out and "nominal: 2.0" in out and "cell1: changed: cycle 50: SOH 0.2 -> 0.95" in out


def test_drawing_again_gives_the_same_bytes(cells: Path, tmp_path: Path) -> None:
    lnnc("data", "import", cells, "--nominal", 2, "-o", tmp_path / "d.h5")
    for name in ("a.svg", "b.svg"):
        assert lnnc("data", "describe", tmp_path / "d.h5", "-o", tmp_path / name).code == 0
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_sequences_of_no_battery(tmp_path: Path) -> None:
    for i in range(2):
        rows = "".join(f"{t},{np.sin(t):.4f},{20 + i}\n" for t in range(30))
        (tmp_path / f"run{i}.csv").write_text("t / s,Current / A,Temperature / degC\n" + rows)
    done = lnnc("data", "import", tmp_path, "--columns", "current, temperature", "-o", tmp_path / "runs.h5")
    assert done.code == 0, done.err
    assert "the licence of the data is not stated" in done.err
    shown = lnnc("data", "describe", tmp_path / "runs.h5", "-o", tmp_path / "runs.svg")
    assert re.search(r"^run1 +30 +-1 \.\.\. 0\.99\d* +21 \.\.\. 21$", shown.out, re.MULTILINE)
    assert "current (A)" in shown.out and "temperature (degC)" in (tmp_path / "runs.svg").read_text()


def test_a_failure_leaves_everything_as_it_was(cells: Path, tmp_path: Path) -> None:
    target = tmp_path / "d.h5"
    assert lnnc("data", "import", cells, "--nominal", 2, "-o", target).code == 0
    (cells / "cell1.csv").write_text("cycle,capacity_ah\n1,x\n")
    before = {path: path.read_bytes() for path in [target, *cells.iterdir()]}
    failed = lnnc("data", "import", cells, "--nominal", 2, "-o", target)
    assert failed.code == 2 and "line 2, column 'capacity_ah'" in failed.err
    assert {path: path.read_bytes() for path in [target, *cells.iterdir()]} == before
    assert lnnc("data", "import", cells, "--nominal", 2, "-o", target, "--skip-bad").code == 0
    assert [s.name for s in load_dataset(target).sequences] == ["cell0", "cell2"]
    assert set(tmp_path.iterdir()) == {target, cells}


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("import", "CELLS", "--nominal", "2"), "where shall the dataset go?"),
        (("import", "CELLS", "--nominal", "2", "-o", "d.csv"), "expected a name that ends in .h5"),
        (("import", "CELLS", "-o", "TMP/d.h5"), "what is the nominal capacity"),
        (("import", "CELLS", "--nominal", "2", "-o", "TMP/none/d.h5"), "does not exist"),
        (("import", "-o", "TMP/d.h5"), "no file was given"),
        (
            ("import", "CELLS", "--nominal", "2", "--batch", "1", "-o", "TMP/d.h5"),
            "1 batches are named for 0",
        ),
        (("synth",), "where shall the file go?"),
        (("synth", "-o", "TMP/2017-05-12.mat"), "expected a name with 'synthetic'"),
        (("synth", "-o", "TMP/synthetic.mat", "--cells", "47"), "expected 1 ... 46 for batch 1, found 47"),
        (("describe", "TMP/none.h5"), "no such file"),
        (("describe", "CELLS/cell0.csv"), "not an HDF5 file"),
    ],
)
def test_wrong_calls(args: tuple[str, ...], words: str, cells: Path, tmp_path: Path) -> None:
    given = [arg.replace("CELLS", str(cells)).replace("TMP", str(tmp_path)) for arg in args]
    done = lnnc("data", *given)
    assert done.code == 2 and words in done.err and done.out == ""
    assert set(tmp_path.iterdir()) == {cells}


def test_inputs_are_not_overwritten(cells: Path, tmp_path: Path) -> None:
    data = tmp_path / "d.h5"
    lnnc("data", "import", cells, "--nominal", 2, "-o", data)
    assert "would overwrite" in lnnc("data", "import", data, "-o", data).err
    assert "ends in .svg" in lnnc("data", "describe", data, "-o", tmp_path / "d.png").err


def test_where_the_data_are() -> None:
    out = lnnc("data", "where").out
    assert out.startswith("Nothing is downloaded for you.")
    for source in SOURCES:
        assert source.name in out and source.page in out and f"licence  {source.licence}" in out
    assert "2017-05-12_batchdata_updated_struct_errorcorrect.mat" in out


@pytest.mark.parametrize("module", ["h5py", "matplotlib"])
def test_what_is_not_installed_is_named(
    module: str, cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "d.h5"
    lnnc("data", "import", cells, "--nominal", 2, "-o", data)
    monkeypatch.setitem(sys.modules, module, None)
    done = lnnc("data", "describe", data, "-o", tmp_path / "d.svg")
    assert done.code == 2 and f"need {module}" in done.err.replace("needs", "need") and "lnnc[train]" in done.err


def test_the_published_capacities(shared: Path, tmp_path: Path) -> None:
    """Counts of the measured files, and what the repair leaves alone: all but single outliers."""
    for name, nominal, counts in (("matr", 1.1, "100 cells, 70,425"), ("xjtu", 2.0, "55 cells, 23,297"),
                                  ("tju", 3.5, "130 cells, 57,465")):  # fmt: skip
        path = shared / "data" / f"{name}_raw_capacity_ah.npz"
        done = lnnc("data", "import", path, "--nominal", nominal, "-o", tmp_path / f"{name}.h5", "--no-repair")
        assert done.code == 0 and f"{counts} cycles" in done.out
        raw = np.load(path)
        for cell in load_dataset(tmp_path / f"{name}.h5").sequences:
            assert (cell.values[:, 0] == raw[cell.name] / nominal).all()
