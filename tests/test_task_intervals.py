"""Bootstrap intervals over cells: right means, right coverage, and sharper when paired. Tables of scores."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from lnnc.data.intervals import Interval, absolute_errors, cell_bootstrap, paired_bootstrap
from lnnc.data.table import Table, score_table, scores
from lnnc.data.windows import Array, Batch, gather
from lnnc.errors import LnncError


def errors(cells: int, seed: int, noise: float = 0.1) -> dict[str, Array]:
    """Cells with levels of their own and 1 ... 9 windows each; the mean of a level is 1."""
    random = np.random.default_rng(seed)
    return {f"c{i}": random.gamma(4, 0.25) + noise * random.normal(size=random.integers(1, 10)) for i in range(cells)}


def test_windows_are_weighted_as_they_are() -> None:
    found = cell_bootstrap({"a": np.array([1.0, 1.0, 1.0]), "b": np.array([5.0])})
    assert found.mean == 2.0
    assert (found.low, found.high) == (1.0, 5.0)


def test_resampling_is_of_cells_not_windows() -> None:
    """A hundred equal windows in each of eight cells are worth eight values, not 800."""
    level = np.arange(8.0)
    many = cell_bootstrap({str(i): np.full(100, x) for i, x in enumerate(level)})
    one = cell_bootstrap({str(i): np.array([x]) for i, x in enumerate(level)})
    assert (many.low, many.high) == pytest.approx((one.low, one.high))
    assert 1.0 < many.high - many.mean < 2.0  # 1.96 * std / sqrt(8) = 1.6


def test_intervals_cover_the_truth() -> None:
    covered = [i.low <= 1.0 <= i.high for i in (cell_bootstrap(errors(60, seed), draws=1000) for seed in range(200))]
    assert 0.89 <= np.mean(covered) <= 0.99


def test_the_middle_95_percent() -> None:
    values = np.random.default_rng(5).normal(size=400)
    found = cell_bootstrap({str(i): v for i, v in enumerate(values)})
    half = 1.96 * values.std() / np.sqrt(400)
    assert (found.mean - found.low, found.high - found.mean) == pytest.approx((half, half), rel=0.05)


def test_the_seed_decides() -> None:
    e = errors(20, 0)
    assert cell_bootstrap(e, seed=1) == cell_bootstrap(e, seed=1)
    assert cell_bootstrap(e, seed=1).low != cell_bootstrap(e, seed=2).low


def test_pairs_are_sharper_than_means() -> None:
    a = errors(40, 0)
    b = {name: e + 0.05 for name, e in a.items()}
    found = paired_bootstrap(a, b)
    assert (found.mean, found.low, found.high) == pytest.approx((-0.05, -0.05, -0.05))
    assert cell_bootstrap(a).high > cell_bootstrap(b).low


def test_a_single_cell_has_no_interval() -> None:
    found = cell_bootstrap({"a": np.array([1.0, 2.0]), "b": np.array([])})
    assert found.mean == 1.5
    assert np.isnan([found.low, found.high]).all()
    assert str(found) == "1.50000 [one cell]"


def test_what_cannot_be_averaged_is_refused() -> None:
    with pytest.raises(LnncError, match="no errors"):
        cell_bootstrap({"a": np.array([])})
    with pytest.raises(LnncError, match="cannot be paired"):
        paired_bootstrap({"a": np.ones(2)}, {"b": np.ones(2)})
    with pytest.raises(LnncError, match="cannot be paired"):
        paired_bootstrap({"a": np.ones(2)}, {"a": np.ones(3)})


def batch_of_two() -> Batch:
    return gather({"a": np.arange(8.0), "short": np.ones(1), "b": np.arange(8.0)}, {"a": [2, 4], "b": [3]}, 2, 2)


def test_absolute_errors_by_cell() -> None:
    batch = batch_of_two()
    found = absolute_errors(batch, batch.targets + np.array([[1.0, 3.0], [-1.0, 1.0], [0.0, 0.5]]))
    assert {name: e.tolist() for name, e in found.items()} == {"a": [2.0, 1.0], "b": [0.25]}
    with pytest.raises(LnncError, match="expected a forecast of shape"):
        absolute_errors(batch, batch.targets[:, :1])
    with pytest.raises(LnncError, match="not finite"):
        absolute_errors(batch, batch.targets * np.nan)


def test_scores_compare_with_one_of_them() -> None:
    batch = batch_of_two()
    found = scores(batch, {"x": batch.targets + 1, "y": batch.targets - 0.25}, against="x")
    assert [s.name for s in found] == ["x", "y"]
    assert found[0].difference is None
    assert found[1].mae == Interval(0.25, 0.25, 0.25)
    assert found[1].difference == Interval(-0.75, -0.75, -0.75)
    with pytest.raises(LnncError, match="'z' is not among x"):
        scores(batch, {"x": batch.targets}, against="z")


def test_tables_of_scores() -> None:
    batch = batch_of_two()
    forecasts = {"x": batch.targets + 1, "y|": batch.targets - 0.25}
    table = score_table(scores(batch, forecasts, "x"), "x")
    assert table.header == ("forecast", "MAE", "95 %", "minus x", "95 %")
    assert table.rows[0] == ("x", "1.00000", "1.00000 ... 1.00000", "", "")
    assert table.rows[1] == ("y|", "0.25000", "0.25000 ... 0.25000", "-0.75000", "-0.75000 ... -0.75000")
    assert score_table(scores(batch, forecasts)).rows[1] == table.rows[1][:3]
    assert table.markdown().splitlines()[1] == "| --- | ---: | ---: | ---: | ---: |"
    assert table.markdown().splitlines()[3].startswith(r"| y\| | 0.25000 |")
    assert list(csv.reader(io.StringIO(table.csv()))) == [list(table.header), *map(list, table.rows)]


def test_csv_quotes_what_it_must() -> None:
    assert Table(("a",), (('say "x", twice',),)).csv() == 'a\n"say ""x"", twice"\n'
