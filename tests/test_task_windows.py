"""Origins and the rows gathered at them: no target is seen, none is lost, and wrong requests are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lnnc.data.windows import gather, stream_batch, stream_origins, window_batch, windows
from lnnc.errors import LnncError

small = st.integers(1, 30)


def clock(length: int, offset: float = 0.0) -> Any:
    """A sequence whose values are their own index."""
    return np.arange(length) + offset


@given(length=st.integers(0, 200), window=small, horizon=small, stride=small)
def test_windows_are_all_that_fit(length: int, window: int, horizon: int, stride: int) -> None:
    expected = [s + window for s in range(0, length, stride) if s + window + horizon <= length]
    assert windows(length, window, horizon, stride).tolist() == expected


@given(length=st.integers(0, 300), horizon=small, first=small, every=small)
def test_stream_origins_are_block_ends_with_their_targets(length: int, horizon: int, first: int, every: int) -> None:
    expected = [o for o in range(length) if o >= first and (o - first) % every == 0 and o + horizon <= length]
    assert stream_origins(length, horizon, first, every).tolist() == expected


def test_defaults_are_those_of_the_task() -> None:
    assert windows(278).tolist() == [100, 139, 178]
    assert stream_origins(280).tolist() == [100, 140, 180]
    assert windows(199).size == 0
    assert windows(200).tolist() == [100]


def test_rows_hold_what_stands_around_the_origin() -> None:
    batch = gather({"a": clock(9), "b": clock(3), "c": clock(7, 100.0)}, {"a": [2, 6], "c": [3]}, window=2, horizon=3)
    assert batch.inputs.tolist() == [[0, 1], [4, 5], [101, 102]]
    assert batch.targets.tolist() == [[2, 3, 4], [6, 7, 8], [103, 104, 105]]
    assert (batch.cell.tolist(), batch.origin.tolist(), len(batch)) == ([0, 0, 2], [2, 6, 3], 3)
    assert batch.unscored == ("b",)
    assert batch.rows_of({"a"}).tolist() == [True, True, False]


def test_sequences_of_several_columns() -> None:
    batch = gather({"a": np.column_stack([clock(5), clock(5, 10.0)])}, {"a": [2]}, window=2, horizon=2)
    assert batch.inputs.tolist() == [[[0, 10], [1, 11]]]
    assert batch.targets.shape == (1, 2, 2)


def test_batches_use_their_own_origins() -> None:
    series = {"a": clock(400), "b": clock(120), "c": clock(240)}
    assert window_batch(series).origin.tolist() == [100, 139, 178, 217, 256, 295, 100, 139]
    assert stream_batch(series).origin.tolist() == [100, 140, 180, 220, 260, 300, 100, 140]


def test_integers_become_reals() -> None:
    assert gather({"a": np.arange(5)}, {"a": [2]}, 2, 2).inputs.dtype == np.float64


@pytest.mark.parametrize(
    ("series", "origins", "complaints"),
    [
        ({"a": clock(9)}, {"a": [1, 7]}, ["origin 1", "origin 7"]),
        ({"a": clock(9)}, {"b": [2]}, ["'b', which is no sequence"]),
        ({"a": np.array([1.0, np.nan, 2.0, np.inf, 1.0])}, {"a": [2]}, ["'a' holds 2 values"]),
        ({"a": clock(3)}, {}, ["none of 1 sequences has 2 + 3 values"]),
        ({}, {}, ["none of 0 sequences"]),
    ],
)
def test_wrong_requests_are_refused(series: Any, origins: Any, complaints: list[str]) -> None:
    with pytest.raises(LnncError) as caught:
        gather(series, origins, window=2, horizon=3)
    assert all(complaint in str(caught.value) for complaint in complaints)


def test_numbers_below_one_are_refused_together() -> None:
    with pytest.raises(LnncError, match="2 faults") as caught:
        windows(500, window=0, stride=-1)
    assert "window: expected 1 or more, found 0" in str(caught.value)
    with pytest.raises(LnncError, match="every: expected 1 or more"):
        stream_origins(500, every=0)


def test_a_streaming_origin_before_the_first_window_is_refused() -> None:
    with pytest.raises(LnncError, match="origin 60 lacks"):
        stream_batch({"a": clock(500)}, first=60)
