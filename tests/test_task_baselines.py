"""Baselines against their definitions, written the slow way; and that nobody forecasts a cell it was fitted on."""

from __future__ import annotations

import numpy as np
import pytest

from lnnc.data.baselines import LINEAR, forecasters, forecasts, naive_forecasts, polynomial
from lnnc.data.linear import cross_fit, fit_linear, linear_forecast
from lnnc.data.robust import block_means, line_through, median_clip
from lnnc.data.splits import folds
from lnnc.data.windows import Array, stream_batch, window_batch
from lnnc.errors import LnncError


def noisy(rows: int = 7, window: int = 100, seed: int = 0) -> Array:
    random = np.random.default_rng(seed)
    t = np.linspace(0, 1, window)
    level, slope, bend = (
        random.uniform(0.7, 1, (rows, 1)),
        random.uniform(0, 0.1, (rows, 1)),
        random.uniform(0, 0.1, rows),
    )
    spikes = random.standard_t(2, (rows, window))
    return np.asarray(level - slope * t - bend[:, None] * t**2 + 0.001 * spikes)


def lives(cells: int = 12, length: int = 420) -> dict[str, Array]:
    """Curves that bend down: a line misses them, a learned model need not."""
    random = np.random.default_rng(1)
    t = np.arange(length) / length
    return {
        f"c{i}": 1 - 0.05 * t - random.uniform(0.05, 0.3) * t**3 + random.normal(0, 0.0005, length)
        for i in range(cells)
    }


def clipped_slowly(row: Array) -> list[float]:
    size = len(row) // 5 * 5
    centre = [0.0] * len(row)
    for i in range(len(row)):
        newest = (len(row) - 1 - i) // 5  # number of the block, the newest is 0
        block = min(newest, size // 5 - 1)
        end = len(row) - 5 * block
        centre[i] = float(np.median(row[end - 5 : end]))
    spread = 4 * float(np.median([abs(x - c) for x, c in zip(row, centre, strict=True)]))
    return [min(max(x, c - spread), c + spread) for x, c in zip(row, centre, strict=True)]


@pytest.mark.parametrize("window", [5, 13, 100])
def test_median_clip_is_its_definition(window: int) -> None:
    rows = noisy(window=window)
    np.testing.assert_array_equal(median_clip(rows), [clipped_slowly(row) for row in rows])


def test_median_clip_takes_spikes_and_nothing_else() -> None:
    rows = noisy()
    rows[2, 50] = 3.0
    assert abs(median_clip(rows)[2, 50] - rows[2, 49]) < 0.02
    straight = np.linspace(1, 0.9, 100)[None]
    np.testing.assert_allclose(median_clip(straight), straight, rtol=1e-12)


def test_median_clip_sees_its_own_row_only() -> None:
    rows = noisy()
    np.testing.assert_array_equal(median_clip(rows)[3:4], median_clip(rows[3:4]))


def test_block_means_and_line() -> None:
    rows = np.arange(14.0)[None] ** 2
    np.testing.assert_allclose(block_means(rows), [[np.mean(rows[0, 4:9]), np.mean(rows[0, 9:])]])
    level, slope = line_through(3.0 - 0.5 * np.arange(30.0)[None], 20)
    np.testing.assert_allclose([level[0], slope[0]], [3.0 - 0.5 * 29, -0.5])


@pytest.mark.parametrize(("degree", "count"), [(1, 20), (1, 50), (2, 100), (3, 100)])
def test_polynomials_are_those_of_numpy(degree: int, count: int) -> None:
    rows = noisy()
    fit = np.polynomial.polynomial.polyfit(np.arange(1 - count, 1) / 100, rows[:, -count:].T, degree)
    expected = np.polynomial.polynomial.polyval(np.arange(1, 61) / 100, fit)
    np.testing.assert_allclose(polynomial(rows, 60, degree, count), expected, atol=1e-9)


def test_a_polynomial_is_continued_exactly() -> None:
    t = np.arange(200) / 200
    life = (1 - 0.1 * t + 0.2 * t**5 - 0.3 * t**8)[None]
    np.testing.assert_allclose(polynomial(life[:, :100], 100, 8, 100), life[:, 100:], atol=1e-8)


def test_names_tell_what_is_fitted() -> None:
    assert list(forecasters(100)) == [
        "persistence",
        "line 20",
        "line 50",
        "quadratic 100",
        "median-clipped line 20",
        "median-clipped line 50",
        "median-clipped quadratic 100",
        "block-mean line 20",
    ]
    assert list(forecasters(30)) == [
        "persistence",
        "line 20",
        "quadratic 30",
        "median-clipped line 20",
        "median-clipped quadratic 30",
        "block-mean line 20",
    ]
    assert list(forecasters(2)) == ["persistence"]


def test_each_forecast_is_what_its_name_says() -> None:
    rows = noisy(seed=3)
    found = naive_forecasts(rows, 40)
    clean = np.array([clipped_slowly(row) for row in rows])
    np.testing.assert_array_equal(found["persistence"], np.repeat(rows[:, -1:], 40, axis=1))
    for name, forecast in found.items():
        assert forecast.shape == (len(rows), 40)
        if name not in ("persistence", "block-mean line 20"):
            kind, count = name.split()[-2:]
            data = (clean if name.startswith("median") else rows)[:, -int(count) :]
            t = np.arange(1 - int(count), 1) / 50
            fit = np.polynomial.polynomial.polyfit(t, data.T, 2 if kind == "quadratic" else 1)
            np.testing.assert_allclose(
                forecast, np.polynomial.polynomial.polyval(np.arange(1, 41) / 50, fit), atol=1e-9
            )


def test_the_line_through_means_is_blind_to_a_period_of_five() -> None:
    rows = noisy(seed=4)
    rotation = np.tile([0.0, 0.01, -0.02, 0.03, 0.0], 20)
    clean = np.array([clipped_slowly(row) for row in rows])
    means = clean[:, -20:].reshape(-1, 4, 5).mean(axis=2)
    fit = np.polynomial.polynomial.polyfit([-17, -12, -7, -2], means.T, 1)
    expected = np.polynomial.polynomial.polyval(np.arange(1, 31), fit)
    np.testing.assert_allclose(naive_forecasts(rows, 30)["block-mean line 20"], expected, atol=1e-9)
    straight = np.linspace(1, 0.9, 100)[None]
    found, plain = (naive_forecasts(x, 30)["block-mean line 20"] for x in (straight + rotation, straight))
    assert np.ptp(found - plain) < 1e-9


def test_the_linear_model_has_88_numbers_and_learns_the_bend() -> None:
    model = fit_linear(lives())
    assert model.weights.size == 88
    assert model.fitted_on == frozenset(lives())
    unseen = {f"new {name}": life * 0.98 for name, life in lives(5).items()}
    batch = window_batch(unseen)
    errors = {name: np.abs(f - batch.targets).mean() for name, f in naive_forecasts(batch.inputs, 100).items()}
    assert np.abs(linear_forecast(model, batch.inputs) - batch.targets).mean() < 0.7 * min(errors.values())


def test_the_linear_model_uses_the_slope() -> None:
    """Straight lines that fall twice as fast from the origin on: only the slope tells by how much."""
    slopes = np.linspace(0.0001, 0.002, 30)
    t = np.arange(-99.0, 101.0)
    series = {f"c{i}": 1 - s * (t + np.maximum(t, 0)) for i, s in enumerate(slopes)}
    batch = window_batch(series)
    np.testing.assert_allclose(linear_forecast(fit_linear(series), batch.inputs), batch.targets, atol=0.001)


def test_the_linear_model_does_not_know_the_level() -> None:
    model = fit_linear(lives())
    rows = window_batch(lives()).inputs
    np.testing.assert_allclose(linear_forecast(model, rows + 0.25), linear_forecast(model, rows) + 0.25, atol=1e-9)


def test_the_fit_is_of_absolute_errors() -> None:
    """A third of the lives break down at random: the mean of the rest moves little."""
    healthy = lives(20)
    broken = {f"b{i}": life - 0.4 * (np.arange(420) > 300) for i, life in enumerate(list(healthy.values())[:5])}
    batch = window_batch(healthy)
    alone = np.abs(linear_forecast(fit_linear(healthy), batch.inputs) - batch.targets).mean()
    both = np.abs(linear_forecast(fit_linear(healthy | broken), batch.inputs) - batch.targets).mean()
    assert both < 2 * alone


def test_cross_fit_never_sees_the_cell_it_forecasts() -> None:
    series = lives()
    split = folds(series, 3)
    learned = cross_fit(series, split)
    assert len(set(map(id, learned.values()))) == 3
    for name, model in learned.items():
        assert model.fitted_on == set(split.train(split.fold_of()[name]))
    changed = series | {"c0": series["c0"] - 0.2 * np.linspace(0, 1, 420) ** 6}
    np.testing.assert_array_equal(cross_fit(changed, split)["c0"].weights, learned["c0"].weights)
    assert not np.array_equal(
        cross_fit(changed, split)[split.train(split.fold_of()["c0"])[0]].weights, learned["c0"].weights
    )


def test_all_baselines_on_the_rows_of_a_batch() -> None:
    series = lives()
    learned = cross_fit(series, folds(series, 3))
    for batch in (window_batch(series), stream_batch(series)):
        found = forecasts(batch, learned)
        assert list(found) == [*forecasters(100), LINEAR]
        row = int(np.flatnonzero(batch.cell == 7)[1])
        np.testing.assert_allclose(found[LINEAR][row], linear_forecast(learned["c7"], batch.inputs[row : row + 1])[0])
    assert LINEAR not in forecasts(batch)


def test_leaks_and_misfits_are_refused() -> None:
    series = lives()
    batch = window_batch(series)
    model = fit_linear({name: series[name] for name in ("c0", "c1", "c2")})
    with pytest.raises(LnncError, match="the model for cell 'c1' was fitted on it") as caught:
        forecasts(batch, dict.fromkeys(["c1", *list(series)[3:]], model))
    assert "no model for cell 'c0'" in str(caught.value)
    short = fit_linear({"x": series["c0"]}, horizon=50)
    with pytest.raises(LnncError, match="forecasts 50 values, not 100"):
        forecasts(batch, dict.fromkeys(series, short))
    with pytest.raises(LnncError, match="fitted for windows of 100 values, found 60"):
        linear_forecast(model, batch.inputs[:, :60])
    with pytest.raises(LnncError, match="window of 20 values or more, found 10"):
        fit_linear(series, window=10)


def test_other_windows_and_units() -> None:
    """The task is not SOH only: a window of 33, a horizon of 7, values in thousands."""
    series = {name: 1000 * life for name, life in lives().items()}
    batch = window_batch(series, 33, 7)
    learned = cross_fit(series, folds(series), 33, 7, unit=10.0)
    assert all(f.shape == (len(batch), 7) for f in forecasts(batch, learned).values())
    assert learned["c0"].weights.shape == (6 + 2, 4)
    scaled = cross_fit(lives(), folds(series), 33, 7)
    np.testing.assert_allclose(learned["c0"].weights, scaled["c0"].weights, rtol=1e-6, atol=1e-9)
