"""The reproduction: protocol and disclosure on the real data, its stages, cache and output on synthetic cells."""

from __future__ import annotations

import csv
import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from lnnc.cli.reproduce import reproduce_group
from lnnc.data.dataset import Dataset, Sequence, save_dataset
from lnnc.errors import LnncError
from lnnc.frontend.storage import load_checkpoint
from lnnc.ir.graph import Array
from lnnc.pipeline import plan_model
from lnnc.train.dlnet import experiment as reproduce
from lnnc.train.dlnet import run as reproduce_run
from lnnc.train.dlnet import shelf
from lnnc.train.dlnet.data import (
    Material,
    extrapolate,
    gather,
    leak,
    load_cells,
    load_segments,
    naive_errors,
    other_cells,
    polynomial_cells,
    random_rows,
)
from lnnc.train.dlnet.measure import front
from lnnc.train.dlnet.networks import build, student_shape
from lnnc.train.dlnet.plan import Bench, Plan, Record
from lnnc.train.dlnet.run import Sources, run
from lnnc.train.dlnet.shelf import Shelf
from lnnc.train.dlnet.table import spread, table

DOCS = Path(__file__).resolve().parent.parent / "docs"
TINY = Plan((4,), ("mse", "cosine"), (90,), (0, 1), 2, 2, 0.2, 16, always=(4,), anchored_steps=3)


def cells() -> dict[str, Array]:
    """Synthetic lives of 240 cycles: cubic parabolas."""
    t = np.linspace(0, 1, 240)
    rng = np.random.default_rng(0)
    return {f"cell{i}": 1.0 - 0.05 * t - rng.uniform(0, 0.1) * t**3 for i in range(6)}


PICKS = (("cell0", 11), ("cell1", 1))


@pytest.fixture(scope="module")
def small() -> Material:
    return gather(cells(), PICKS)


@pytest.fixture(scope="module")
def done(small: Material, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Record], str]:
    folder, said = tmp_path_factory.mktemp("run"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reproduce_run, "plan_of", lambda seeds, quick: TINY)
        records = run(small, Sources(folder), 2, True, said.append)
    return folder, records, "\n".join(said)


def test_every_network_has_its_rival_and_its_integers(done: tuple[Path, list[Record], str]) -> None:
    _, records, _ = done
    stages: dict[str, list[Record]] = {}
    for record in records:
        stages.setdefault(record.stage, []).append(record)
    assert len(stages["teacher"]) == 2 and len(stages["distilled"]) == 4 and len(stages["scratch"]) == 2
    assert len(stages["recovered"]) == len(stages["rival"]) == len(stages["cut"]) >= 2 and len(stages["anchored"]) == 2
    for own, rival in zip(stages["recovered"], stages["rival"], strict=True):
        assert (own.parameters, own.steps, own.percent) == (rival.parameters, rival.steps, rival.percent)
    assert all(r.mae_int16 == pytest.approx(r.mae, rel=0.05) for r in records if r.stage not in ("cut", "anchored"))
    assert all(r.tables > 0 for r in records if r.stage != "cut")


def test_what_is_kept_compiles_and_holds_no_row_of_the_data(done: tuple[Path, list[Record], str]) -> None:
    folder, records, _ = done
    files = sorted(folder.glob("*.pt"))
    assert len(files) == len([r for r in records if r.stage != "cut"]) and not list(folder.glob("*.part"))
    for name in ("recovered", "anchored"):
        checkpoint = load_checkpoint(next(file for file in files if file.name.startswith(name)))
        assert checkpoint.calibration is None and checkpoint.provenance["stage"] == name
        assert plan_model(checkpoint).program.output_size == 100


def test_the_table_and_its_csv(done: tuple[Path, list[Record], str]) -> None:
    folder, records, said = done
    rows = list(csv.DictReader((folder / "dlnet.csv").read_text().splitlines()))
    assert [row["stage"] for row in rows[: len(records)]] == [record.stage for record in records]
    assert {row["stage"] for row in rows[len(records) :]} == set(naive_errors(np.ones((1, 200))))
    assert "6 of the 6 smoothed cells ARE one polynomial of degree 8" in said
    assert "random windows of the same cells" in said and "far too little training" in said
    assert "student h 4, " in said and "90 % pruned" in said and "anchored student, by cell" in said
    assert "Deployed with the published student's scaler" in said and "liquid step deleted" in said
    assert said.count("±") > 9


def test_a_second_run_trains_nothing(done: tuple[Path, list[Record], str], small: Material) -> None:
    folder, records, _ = done

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shelf, "fit", refuse)
        again = reproduce.reproduce(Bench(small, TINY, Shelf(folder)), lambda found: None)
    same = [record for record in records if record.stage != "anchored"]
    assert [str(record) for record in again] == [str(record) for record in same]  # NaN is not equal to itself


def test_an_interrupted_run_goes_on(small: Material, tmp_path: Path) -> None:
    plan = replace(TINY, seeds=(0,))
    whole = Bench(small, plan, Shelf(tmp_path / "whole"))
    want = [kept.figures["mae"] for kept in reproduce.students(whole, reproduce.teachers(whole))]
    bench = Bench(small, plan, Shelf(tmp_path / "cut"))
    teacher, put, calls = reproduce.teachers(bench), Shelf.put, []

    def killed(self: Shelf, *args: object) -> object:
        calls.append(args[0])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return put(self, *args)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Shelf, "put", killed)
        with pytest.raises(KeyboardInterrupt):
            reproduce.students(bench, teacher)
    assert len(list((tmp_path / "cut").glob("*.pt"))) == 2  # the teacher and one student
    got = [kept.figures["mae"] for kept in reproduce.students(bench, teacher)]
    assert got == pytest.approx(want, rel=1e-4)


def test_another_recipe_is_another_network(small: Material, tmp_path: Path) -> None:
    bench = Bench(small, replace(TINY, seeds=(0,)), Shelf(tmp_path))
    job = reproduce._job(bench, "scratch", build(student_shape(4), 0), 0, reproduce.ALONE, 5, 1e-3)
    others = [replace(job, steps=6), replace(job, seed=1), replace(job, start=build(student_shape(4), 1)),
              replace(job, origin={"data": "other"}), replace(job, config=reproduce.Distillation())]  # fmt: skip
    assert len({job.key(), *(other.key() for other in others)}) == 6
    assert job.key() == replace(job, name="other", notes={}).key()


def test_a_damaged_network_is_named(small: Material, tmp_path: Path) -> None:
    bench = Bench(small, replace(TINY, seeds=(0,)), Shelf(tmp_path))
    reproduce.teachers(bench)
    file = next(tmp_path.glob("teacher*.pt"))
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(LnncError, match=file.name):
        reproduce.teachers(bench)


def test_pruning_is_the_papers() -> None:
    """Only the decoder's hidden layers lose neurons: 384 in all."""
    model = build(student_shape(4), 0)
    for percent in (10, 90):
        left = reproduce.pruned(model, percent).shape
        assert (left.encoder, left.hidden) == ((256,), 4)
        assert sum(left.decoder) == 384 - round(3.84 * percent)


def test_the_front_is_what_nothing_beats() -> None:
    def record(hidden: int, loss: str, mae: float) -> Record:
        return Record("distilled", hidden, loss, 0, 0, hidden * 100, 1, 1, mae, mae, mae)

    records = [record(2, "mse", 0.5), record(2, "cosine", 0.4), record(4, "mse", 0.45), record(8, "mse", 0.1)]
    assert front(records) == [(2, "cosine"), (8, "mse")]


def test_the_spread_is_half_the_range() -> None:
    assert spread([0.001, 0.002, 0.006]) == "0.00300 ± 0.00250"
    assert spread([0.25]) == "0.25000" and spread([]) == ""
    one = Record("teacher", 128, "", 0, 0, 155749, 1, 2048, 0.5, 0.5, 0.5)
    text = table([one, replace(one, seed=1, mae=0.7)])
    assert "0.60000 ± 0.10000" in text and "0.00646 (0.0078)" in text and "155,749" in text


def test_windows_and_segments(small: Material) -> None:
    assert small.windows.shape == (6 * 4, 200) and small.segments.shape == (2, 200)
    rows = random_rows(small, 0, 0.8)
    assert len(rows) == round(0.8 * 22)  # two windows are test segments
    chosen = {tuple(small.origin[row]) for row in rows}
    assert (0, 11) not in chosen and (1, 1) not in chosen
    assert not np.array_equal(rows, random_rows(small, 1, 0.8))
    assert leak(small, random_rows(small, 0, 1.0)) == pytest.approx((0.9 + 1.0) / 2, abs=0.11)
    assert leak(small, rows[:0]) == 0.0
    left = other_cells(small)
    assert set(left.cells) == {"cell2", "cell3", "cell4", "cell5"} and left.picks == small.picks


def test_extrapolation_is_exact_for_its_own_degree(small: Material) -> None:
    cubic = extrapolate(small.segments, 3)
    assert np.abs(cubic - small.segments[:, 100:]).max() < 1e-9
    line = np.linspace(1.0, 0.8, 200)[None]
    assert np.abs(extrapolate(line, 1, 20) - line[:, 100:]).max() < 1e-12
    assert (
        polynomial_cells(small.cells) == (6, 6) and polynomial_cells({"a": np.random.default_rng(0).random(99)})[0] == 0
    )


def test_the_real_data_are_what_is_said_of_them(shared: Path) -> None:
    data = shared / "data"
    material = gather(load_cells(data / "matr_smoothed_soh.npz"), load_segments(data / "dlnet_segments.json"))
    assert material.segments.shape == (16, 200) and polynomial_cells(material.cells) == (120, 124)
    naive = naive_errors(material.segments)
    for name, error in (("persistence", 0.0238), ("line through the last 20", 0.00546),
                        ("quadratic through 100", 0.00247), ("cubic through 100", 0.00128)):  # fmt: skip
        assert naive[name] == pytest.approx(error, rel=0.01)
    assert naive["degree 8 through 100"] < 1e-10
    assert leak(material, random_rows(material, 0)) > 0.9


@pytest.mark.slow
def test_the_quick_run_on_the_real_data(shared: Path, tmp_path: Path) -> None:
    """A minute at most; the anchored row is trained enough to mean something."""
    given = ["dlnet", "--data", str(shared / "data" / "matr_smoothed_soh.npz"), "--quick", "-o", str(tmp_path / "out"),
             "--segments", str(shared / "data" / "dlnet_segments.json"),
             "--published", str(shared / "models" / "dlnet")]  # fmt: skip
    result = CliRunner().invoke(reproduce_group, given, catch_exceptions=False)
    assert result.exit_code == 0
    assert "120 of the 124" in result.output and "student_deployed_h4" in result.output
    rows = list(csv.DictReader((tmp_path / "out" / "dlnet.csv").read_text().splitlines()))
    (anchored,) = [row for row in rows if row["stage"] == "anchored"]
    assert float(anchored["mae_int16"]) < 0.0015 and int(anchored["parameters"]) <= 900


@pytest.mark.needs("h5py")
def test_an_imported_dataset_is_taken_too(tmp_path: Path) -> None:
    sequences = tuple(Sequence(name, values[:, None]) for name, values in cells().items())
    save_dataset(Dataset(("soh",), ("1",), sequences, "none", (), ()), tmp_path / "cells.h5")
    held = load_cells(tmp_path / "cells.h5")
    assert all(np.array_equal(held[name], values) for name, values in cells().items())


def test_bad_files_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "nan.npz", a=np.array([1.0, np.nan]))
    (tmp_path / "text.npz").write_text("x")
    (tmp_path / "segments.json").write_text('[{"cell": "a"}]')
    (tmp_path / "empty.json").write_text("[]")
    for call, said in (
        (lambda: load_cells(tmp_path / "no.npz"), "no such file"),
        (lambda: load_cells(tmp_path / "nan.npz"), "one finite number for each cycle"),
        (lambda: load_cells(tmp_path / "text.npz"), "not a readable .npz"),
        (lambda: load_segments(tmp_path / "segments.json"), "expected a list"),
        (lambda: load_segments(tmp_path / "empty.json"), "names no segment"),
        (lambda: gather(cells(), [("cell9", 0)]), "no cell 'cell9'"),
        (lambda: gather(cells(), [("cell0", 41)]), "has 240 cycles"),
        (lambda: gather({"short": np.ones(150)}, []), "no cell has 201 cycles"),
        (lambda: other_cells(gather({"cell0": cells()["cell0"]}, [("cell0", 1)])), "every cell long enough"),
        (lambda: Shelf(tmp_path / "text.npz"), "cannot create the folder"),
    ):
        with pytest.raises(LnncError, match=said):
            call()


def test_the_command_asks_for_its_files(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(json.dumps([{"cell": "cell0", "start": 5}]))
    np.savez(tmp_path / "c.npz", **{"cell1": np.ones(300)})
    result = CliRunner().invoke(reproduce_group, ["dlnet", "--data", str(tmp_path / "c.npz")])
    assert result.exit_code == 2 and "--segments" in result.output
    with pytest.raises(LnncError, match="no cell 'cell0'"):
        CliRunner().invoke(
            reproduce_group,
            ["dlnet", "--data", str(tmp_path / "c.npz"), "--segments", str(tmp_path / "s.json")],
            catch_exceptions=False,
        )


def test_the_result_in_the_docs_is_that_of_its_csv() -> None:
    """docs/reproduction.md shows the table that the records of docs/reproduction.csv make."""
    with (DOCS / "reproduction.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["hidden"]]
    records = [_read(row) for row in rows]
    page = (DOCS / "reproduction.md").read_text(encoding="utf-8")
    assert table(records) in page
    trained = [record for record in records if record.stage != "cut"]
    assert {record.seed for record in records} == {0, 1, 2} and f"{len(trained)} trainings" in page


def _read(row: dict[str, str]) -> Record:
    read = {"int": int, "float": lambda text: float(text or "nan"), "str": str}
    return Record(**{field.name: read[str(field.type)](row[field.name]) for field in fields(Record)})
