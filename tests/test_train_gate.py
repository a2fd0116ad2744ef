from __future__ import annotations

import numpy as np
from test_train_signal import life

from lnnc.train.students.gate import EXPERTS, block_errors, gated, naive_experts, trust
from lnnc.train.students.signal import Signal, forecast, observe


def drawn(signal: Signal, size: float = 0.5) -> np.ndarray:
    return size * np.random.default_rng(1).standard_normal((*signal.anchor.shape, 4))


def by_hand(signal: Signal, experts: np.ndarray) -> np.ndarray:
    """Weights of one life, by what each expert said of the newest block in SOH."""
    said = [forecast(signal, experts[:, :, i])[0] for i in range(4)]
    held, weights = np.zeros(4), []
    for k in range(signal.anchor.shape[1]):
        errors = [
            [abs(signal.newest[0, k] - y[k - j, 10 * (j - 1) : 10 * j].mean()) / 0.01 for j in range(1, min(10, k) + 1)]
            for y in said
        ]
        if k:
            e = np.array([np.mean(row) for row in errors])
            held = 0.9 * held + np.minimum((e - e.min()) / (0.05 + e.min()), 16.0)
        score = np.exp(np.array([1.5, 0, 0, 0]) - 0.4 * held)
        weights.append(score / score.sum())
    return np.array(weights)


def test_as_one_reads_it() -> None:
    signal = observe([life(400)])
    q = drawn(signal)
    experts = np.concatenate([q[:, :, None], naive_experts(signal)], 2)
    blended, weights = gated(signal, q)
    np.testing.assert_allclose(weights[0], by_hand(signal, experts), atol=1e-9)
    np.testing.assert_allclose(blended, np.sum(weights[..., None] * experts, 2), atol=1e-12)


def test_starts_with_the_prior() -> None:
    weights = gated(observe([life(50)]), np.zeros((1, 5, 4)))[1]
    prior = np.exp([1.5, 0, 0, 0])
    np.testing.assert_allclose(weights[0, 0], prior / prior.sum())


def test_lives_do_not_touch_each_other() -> None:
    lives = [life(300, seed=1), life(90, seed=2)]
    signal = observe(lives)
    q = drawn(signal)
    together = gated(signal, q)[0]
    for row, x in enumerate(lives):
        alone = observe([x])
        steps = alone.anchor.shape[1]
        np.testing.assert_allclose(together[row, :steps], gated(alone, q[row : row + 1, :steps])[0][0], atol=1e-12)


def test_naive_experts_continue_what_they_fit() -> None:
    t = np.arange(400.0)
    for x, expert, atol in ((1.0 - 1e-4 * t, 1, 1e-9), (1.0 - 1e-7 * t**2, 2, 2e-6)):
        signal = observe([x])
        said = forecast(signal, naive_experts(signal)[:, :, expert])[0, 20]
        np.testing.assert_allclose(said, x[210:310], atol=atol, err_msg=EXPERTS[expert + 1])


def test_line_50_is_the_least_squares_line() -> None:
    signal = observe([life(200)])
    centres, newest = -2.0 - 5.0 * np.arange(9, -1, -1), signal.means[0, -1, -10:]
    slope, level = np.polyfit(centres, newest, 1)
    said = forecast(signal, naive_experts(signal)[:, :, 1])[0, -1]
    np.testing.assert_allclose(said, level + slope * np.arange(1, 101), atol=1e-9)


def test_a_network_that_is_wrong_is_not_believed() -> None:
    signal = observe([1.0 - 1e-4 * np.arange(400)])
    wrong, right = np.full((1, 40, 4), 2.0), np.zeros((1, 40, 4))
    assert gated(signal, wrong)[1][0, -1, 0] < 0.01
    assert gated(signal, right)[1][0, -1, 0] > 0.5


def test_errors_say_nothing_before_a_forecast_is_pending() -> None:
    errors = block_errors(observe([life(60)]), np.zeros((1, 6, 4, 4)))
    assert np.isnan(errors[0, 0]).all() and np.isfinite(errors[0, 1:]).all()
    assert np.isfinite(trust(errors)).all()
