from __future__ import annotations

import numpy as np
import pytest

from lnnc.errors import LnncError
from lnnc.train.students.signal import BASIS, forecast, observe, residuals, targets

Array = np.ndarray


def life(length: int, seed: int = 0, spikes: float = 0.05) -> Array:
    """A capacity that fades, with noise and now and then a spike."""
    rng = np.random.default_rng(seed)
    t = np.arange(length)
    fade = 1.0 - 0.1 * (t / 500.0) ** 1.5 + 4e-4 * rng.standard_normal(length)
    return np.asarray(fade + np.where(rng.random(length) < spikes, 0.03 * rng.standard_normal(length), 0.0))


def by_hand(x: Array) -> list[dict[str, float]]:
    """Steps 1 to 6 of the formulation as one reads them, one step after the other."""
    spreads: list[float] = []
    means: list[float] = []
    lines, found = [], []
    for k in range(1, len(x) // 10 + 1):
        parts = [x[10 * k - 10 : 10 * k - 5], x[10 * k - 5 : 10 * k]]
        spreads += [sorted(abs(part - sorted(part)[2]))[2] for part in parts]
        held = ([spreads[0]] * 20 + spreads)[-20:]
        mad = sorted(held)[9]
        for part in parts:
            middle = sorted(part)[2]
            means.append(sum(min(max(v, middle - 4 * mad), middle + 4 * mad) for v in part) / 5)
        mu = ([means[0]] * 20 + means)[-20:]
        times = [-17.0, -12.0, -7.0, -2.0]
        s = sum((t + 9.5) * m for t, m in zip(times, mu[-4:], strict=True)) / 125
        f1 = min(max(50 * s / 0.01, -15.0), 15.0)
        s = f1 * 0.01 / 50
        a = sum(mu[-4:]) / 4 + 9.5 * s
        before = lines[-1] if lines else (means[0], 0.0)
        f2 = 3 * ((mu[-1] + mu[-2]) / 2 - (before[0] + 5.5 * before[1])) / 0.01
        f3 = ((mu[-5] + mu[-6]) / 2 - (a - 24.5 * s)) / 0.01
        lines.append((a, s))
        features = [f1, *(min(max(f, -15.0), 15.0) for f in (f2, f3)), min(k, 1500) * 0.01]
        found.append({"a": a, "s": s, "features": features, "means": mu})
    return found


@pytest.mark.parametrize("length", [10, 19, 35, 118, 407])
def test_as_one_reads_it(length: int) -> None:
    x = life(length, seed=length)
    signal = observe([x])
    expected = by_hand(x)
    assert signal.steps.tolist() == [len(expected)]
    np.testing.assert_allclose(signal.anchor[0], [e["a"] for e in expected], rtol=0, atol=1e-13)
    np.testing.assert_allclose(signal.slope[0], [e["s"] for e in expected], rtol=0, atol=1e-14)
    np.testing.assert_allclose(signal.means[0], [e["means"] for e in expected], rtol=0, atol=1e-14)
    np.testing.assert_allclose(signal.features[0], [e["features"] for e in expected], rtol=0, atol=1e-9)


def test_lives_do_not_touch_each_other() -> None:
    lives = [life(n, seed=n) for n in (300, 45, 118)]
    together = observe(lives)
    for row, x in enumerate(lives):
        alone = observe([x])
        steps = int(alone.steps[0])
        assert together.steps[row] == steps and together.valid[row].sum() == steps
        assert np.array_equal(together.features[row, :steps], alone.features[0])
        assert np.array_equal(together.anchor[row, :steps], alone.anchor[0])


def test_the_future_is_not_seen() -> None:
    x = life(300)
    changed = x.copy()
    changed[150:] += 0.02
    assert np.array_equal(observe([x]).features[0, :15], observe([changed]).features[0, :15])
    assert not np.array_equal(observe([x]).features[0, 15], observe([changed]).features[0, 15])


def test_a_line_has_no_surprise_and_goes_on() -> None:
    x = 1.0 - 2e-4 * np.arange(300)
    signal = observe([x])
    np.testing.assert_allclose(signal.features[0, 10:, 0], -1.0, atol=1e-9)
    np.testing.assert_allclose(signal.features[0, 10:, 1:3], 0.0, atol=1e-9)
    np.testing.assert_allclose(signal.deviations[0, 10:], 0.0, atol=1e-9)
    line = forecast(signal, np.zeros(4))[0, 9]
    np.testing.assert_allclose(line, x[100:200], atol=1e-12)


def test_spikes_are_clipped() -> None:
    x = 1.0 - 2e-4 * np.arange(200) + 1e-4 * np.random.default_rng(0).standard_normal(200)
    spiked = x.copy()
    spiked[::7] += 0.5
    difference = observe([spiked]).means - observe([x]).means
    assert np.abs(difference).max() < 2e-3


def test_everything_is_bounded() -> None:
    x = np.where(np.arange(400) // 40 % 2, 3.0, -2.0)
    signal = observe([x])
    assert np.abs(signal.features).max() <= 15.0 and np.abs(signal.slope).max() <= 0.003 + 1e-15


def test_age_stops() -> None:
    assert observe([np.full(15_100, 0.9)]).features[0, :, 3].tolist()[1498:] == pytest.approx([14.99] + [15.0] * 11)


def test_targets_and_residuals() -> None:
    lives = [life(257), life(130, seed=1)]
    signal = observe(lives)
    wanted = targets(lives, signal)
    assert wanted.shape == (2, 25, 100)
    assert np.array_equal(wanted[0, 9], lives[0][100:200]) and np.array_equal(wanted[1, 2], lives[1][30:130])
    assert np.isfinite(wanted).all(-1).sum(1).tolist() == [15, 3]
    q = np.array([0.3, -0.2, 0.1, 0.4])
    back = forecast(signal, np.zeros(4)) + 0.01 * residuals(lives, signal)
    np.testing.assert_allclose(back[0, :15], wanted[0, :15], atol=1e-12)
    np.testing.assert_allclose(
        forecast(signal, q) - forecast(signal, np.zeros(4)), np.broadcast_to(0.01 * BASIS @ q, (2, 25, 100)), atol=1e-12
    )


@pytest.mark.parametrize(("bad", "said"), [(np.ones(9), "9 values"), (np.full(50, np.nan), "not finite")])
def test_lives_that_cannot_be_used(bad: Array, said: str) -> None:
    with pytest.raises(LnncError, match=f"life 1 has .*{said}"):
        observe([np.ones(20), bad])
