"""Samples that cannot be measurements are mended; everything that a cell can do stays as it is."""

from __future__ import annotations

import numpy as np
import pytest

from lnnc.data.repair import repair


def life(count: int = 400, noise: float = 0.0005) -> np.ndarray:
    n = np.arange(1, count + 1)
    fade = 0.98 - 0.05 * n / count - 0.14 * np.exp((n - count) / (0.09 * count))
    return fade + noise * np.random.default_rng(3).standard_normal(count)


@pytest.mark.parametrize("noise", [0.0, 0.0005, 0.006])
def test_a_sound_life_with_its_knee_is_not_touched(noise: float) -> None:
    values = life(noise=noise)
    mended, changes = repair(values)
    assert changes == [] and (mended == values).all()


@pytest.mark.parametrize("bad", [0.0, np.nan, -1.0, 1.9, 0.6, np.inf])
@pytest.mark.parametrize("index", [0, 1, 7, 200, 398, 399])
def test_one_bad_sample_is_found_and_mended_anywhere(index: int, bad: float) -> None:
    values = life()
    values[index] = bad
    mended, changes = repair(values)
    assert [change[0] for change in changes] == [index]
    assert changes[0][3] == ("NaN" if not np.isfinite(bad) else "not positive" if bad <= 0 else "spike")
    assert mended[index] == changes[0][2] == pytest.approx(life()[index], abs=0.01)
    others = np.arange(len(values)) != index
    assert (mended[others] == values[others]).all()


def test_steps_and_slow_dips_are_no_spikes() -> None:
    values = life()
    values[150:] -= 0.08  # a step stays
    values[250:262] -= 0.07  # so does a dip of many cycles
    assert repair(values)[1] == []


def test_what_the_future_holds_does_not_enter_the_new_value() -> None:
    values = life()
    values[200] = 0.5
    other = values.copy()
    other[201:] -= 0.01
    assert repair(values)[0][200] == repair(other)[0][200]


def test_several_bad_samples_beside_each_other() -> None:
    values = life()
    values[[0, 1, 300, 301, 302, 399]] = [0, np.nan, np.nan, 0, np.nan, 2]
    mended, changes = repair(values)
    assert [c[0] for c in changes] == [0, 1, 300, 301, 302, 399]
    assert np.abs(mended - life()).max() < 0.02


def test_a_long_gap_is_bridged() -> None:
    values = life(2000)
    values[900:1050] = np.nan
    mended, changes = repair(values)
    assert len(changes) == 150 and np.isfinite(mended).all()
    assert np.abs(mended - life(2000)).max() < 0.02


def test_small_spikes_within_the_noise_stay() -> None:
    values = life(noise=0.0)
    values[200] += 0.03
    assert repair(values)[1] == []


def test_too_many_bad_samples_are_refused() -> None:
    values = life(100)
    values[::5] = np.nan
    with pytest.raises(ValueError, match="20 of 100 samples"):
        repair(values)
    with pytest.raises(ValueError, match="2 of 4 samples are sound"):
        repair(np.array([0.0, 1.0, 1.0, 0.0]))
    with pytest.raises(ValueError, match="0 of 3"):
        repair(np.full(3, np.nan))


@pytest.mark.parametrize("count", [3, 4, 5, 8, 11])
def test_short_lives(count: int) -> None:
    values = np.linspace(1.0, 0.99, count)
    assert repair(values)[1] == []


def test_measured_cells_are_hardly_changed(shared) -> None:  # type: ignore[no-untyped-def]
    """Eleven samples of 151,187 on three laboratories' cells, every one a lone outlier of 5 % and more."""
    total = samples = 0
    for name, nominal in (("matr", 1.1), ("xjtu", 2.0), ("tju", 3.5)):
        cells = np.load(shared / "data" / f"{name}_raw_capacity_ah.npz")
        for key in cells:
            soh = cells[key] / nominal
            mended, changes = repair(soh)
            total, samples = total + len(changes), samples + len(soh)
            for index, old, new, reason in changes:
                beside = soh[[index - 1, index + 1]]
                assert reason == "spike" and np.abs(beside - new).max() < 0.005 and np.abs(old - beside).min() > 0.05
    assert (total, samples) == (11, 151_187)
