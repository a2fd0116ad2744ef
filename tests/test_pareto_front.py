"""Fronts against brute force, the file of candidates, and what is chosen of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lnnc.errors import LnncError
from lnnc.train.pareto.candidates import candidates_csv, read_candidates, write_candidates
from lnnc.train.pareto.front import Candidate, Measured, front, front_mask, fronts
from lnnc.train.pareto.select import Limits, knee, select, weighted


def candidate(
    name: str, error: float, flash: int, ram: int = 100, cycles: int = 1000, stage: str = "distil"
) -> Candidate:
    return Candidate(name, stage, Measured(error, flash, ram, cycles, {"parameters": flash / 4}), {"units": 4})


FAMILY = (
    candidate("a", 0.0030, 1000),
    candidate("b", 0.0016, 1400),  # the knee
    candidate("c", 0.0014, 3000),
    candidate("d", 0.0013, 6000, ram=300, cycles=9000),
    candidate("worse", 0.0020, 3000),
    candidate("twin", 0.0016, 1400, stage="prune"),
)


def brute_force(costs: np.ndarray) -> set[tuple[float, ...]]:
    rows = [tuple(row) for row in costs.tolist() if np.isfinite(row).all()]

    def beats(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
        return a != b and all(x <= y for x, y in zip(a, b, strict=True))

    return {row for row in rows if not any(beats(other, row) for other in rows)}


numbers = st.one_of(st.integers(0, 4).map(float), st.sampled_from([float("nan"), float("inf")]))


@given(st.integers(1, 4).flatmap(lambda m: st.lists(st.tuples(*[numbers] * m), min_size=1, max_size=30)))
def test_the_front_is_what_brute_force_finds_each_point_once(rows: list[tuple[float, ...]]) -> None:
    costs = np.array(rows)
    mask = front_mask(costs)
    kept = [tuple(row) for row in costs[mask].tolist()]
    assert len(kept) == len(set(kept))
    assert set(kept) == brute_force(costs)


def test_of_equal_rows_the_first_is_kept() -> None:
    assert front_mask(np.array([[2.0, 2.0], [1.0, 1.0], [1.0, 1.0]])).tolist() == [False, True, False]


def test_fronts_of_every_stage_and_of_all() -> None:
    table = fronts(FAMILY)
    assert list(table) == ["distil", "prune", "all"]
    assert [c.name for c in table["distil"]] == ["d", "c", "b", "a"]
    assert [c.name for c in table["prune"]] == ["twin"]
    assert [c.name for c in table["all"]] == ["d", "c", "b", "a"]  # the twin is no second point


def test_no_candidate_has_an_empty_front() -> None:
    assert front(()) == () and fronts(()) == {"all": ()}


# --- the file ---


def test_candidates_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "candidates.csv"
    write_candidates(FAMILY, path)
    again = read_candidates(path)
    assert [vars(c) | {"measured": vars(c.measured)} for c in again] == [
        vars(c) | {"measured": vars(c.measured)} for c in FAMILY
    ]
    marks = [line.split(",")[6] for line in path.read_text().splitlines()[1:]]
    assert marks == ["*", "*", "*", "*", "", ""]
    assert candidates_csv(again) == path.read_text()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("error", "loss", "the column 'error' is missing"),
        ("0.003,1000", "small,1000", "line 2, error: expected a finite number"),
        ("0.003,1000", "nan,1000", "line 2, error"),
        ("0.003,1000", "0.003,-5", "line 2, flash"),
        ("\nb,", "\na,", "several candidates are named 'a'"),
        ('"{""units"": 4}"', "[4]", "params: expected a JSON object"),
    ],
)
def test_a_file_that_is_wrong_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    path = tmp_path / "candidates.csv"
    text = candidates_csv(FAMILY)
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(LnncError) as caught:
        read_candidates(path)
    assert says in str(caught.value)


def test_a_file_without_candidates_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "candidates.csv"
    path.write_text(candidates_csv(FAMILY).splitlines()[0] + "\n")
    with pytest.raises(LnncError, match="no candidate"):
        read_candidates(path)
    path.write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(LnncError, match="candidates"):
        read_candidates(path)
    with pytest.raises(LnncError, match="no such file"):
        read_candidates(tmp_path / "none.csv")


# --- the choice ---


def test_the_budget_is_kept_and_the_smallest_error_within_it_taken() -> None:
    assert select(FAMILY).candidate.name == "d"
    assert select(FAMILY, Limits(flash=5999)).candidate.name == "c"
    assert select(FAMILY, Limits(flash=6000, cycles=1000)).candidate.name == "c"
    assert select(FAMILY, Limits(flash=1400)).candidate.name == "b"
    assert select(FAMILY, Limits(error=0.00135)).candidate.name == "d"
    assert "6 candidates" in select(FAMILY).why
    assert "5 candidates that fit --max-flash 5999" in select(FAMILY, Limits(flash=5999)).why


def test_nothing_fits_and_the_nearest_is_named() -> None:
    with pytest.raises(LnncError) as caught:
        select(FAMILY, Limits(flash=900, ram=50))
    text = str(caught.value)
    assert "none of 6 candidates fits --max-flash 900 --max-ram 50" in text
    assert "'b'" in text and "1,400 bytes of flash, 500 too many" in text
    assert "--max-flash 1400, --max-ram 100" in text
    with pytest.raises(LnncError, match="no candidate to choose from"):
        select(())


def test_what_the_error_advises_is_enough() -> None:
    with pytest.raises(LnncError, match="--max-error") as caught:
        select(FAMILY, Limits(error=0.001))
    assert "--max-error 0.0013" in caught.value.hint
    assert select(FAMILY, Limits(error=0.0013)).candidate.name == "d"


def test_the_knee_lies_farthest_below_the_chord() -> None:
    assert knee(FAMILY).name == "b"
    assert select(FAMILY, rule="knee").candidate.name == "b"
    assert knee(FAMILY[:1]).name == "a"
    assert knee(FAMILY[:2]).name == "b"  # two ends and no knee: the smaller error


def test_weights_pull_the_choice() -> None:
    assert weighted(FAMILY, {"error": 1.0}).name == "d"
    assert weighted(FAMILY, {"flash": 1.0}).name == "a"
    assert weighted(FAMILY, {"error": 1.0, "flash": 1.0}).name == "b"
    assert select(FAMILY, rule="weights", weights={"error": 1, "ram": 0}).candidate.name == "d"


@pytest.mark.parametrize(
    "weights", [{}, None, {"error": 0.0}, {"error": -1.0}, {"speed": 1.0}, {"error": float("nan")}]
)
def test_weights_without_sense_are_refused(weights: dict[str, float] | None) -> None:
    with pytest.raises(LnncError, match="expected weights"):
        select(FAMILY, rule="weights", weights=weights)
