"""The bootstrap over items against its exact distribution, and what it says when it cannot."""

from __future__ import annotations

import math

import numpy as np
import pytest

from accord.feedback.resampling import Coefficient, estimate, patterns
from accord.rng import FloatArray


def share(weight: FloatArray) -> FloatArray:
    """Share of items with the first pattern."""
    out: FloatArray = weight[:, 0] / weight.sum(axis=1)
    return out


def test_patterns_count_equal_rows() -> None:
    table = [[2, 0], [0, 2], [2, 0], [1, 0], [0, 0]]
    rows, weights = patterns(table)
    assert rows.tolist() == [[0, 2], [2, 0]]
    assert weights.tolist() == [1, 2]
    rows, weights = patterns(table, least=1)
    assert rows.tolist() == [[0, 2], [1, 0], [2, 0]]
    for bad in ([1, 2], [[1], [2]], [[1, -1]]):
        with pytest.raises(ValueError, match="count table"):
            patterns(bad)


def test_resampled_shares_are_binomial() -> None:
    """Resampled counts of 20 in 50 items are Binomial(50, 0.4): its quantiles are 14 and 27."""
    rows, weights = np.array([[2.0, 0.0], [0.0, 2.0]]), np.array([20.0, 30.0])
    got = estimate("share", rows, weights, share, (0.95, 20_000, 0))
    cumulative = np.cumsum([math.comb(50, k) * 0.4**k * 0.6 ** (50 - k) for k in range(51)])
    low, high = (int(np.searchsorted(cumulative, q)) / 50 for q in (0.025, 0.975))
    assert got.value == pytest.approx(0.4)
    assert got.interval == pytest.approx((low, high), abs=1e-9)
    assert (got.num_items, got.num_verdicts) == (50, 100)


def test_singles_count_for_chance_but_not_as_items() -> None:
    rows, weights = np.array([[1.0, 0.0], [0.0, 2.0], [2.0, 0.0]]), np.array([7.0, 5.0, 4.0])
    got = estimate("share", rows, weights, share, (0.9, 100, 0))
    assert (got.num_items, got.num_verdicts) == (9, 18)


def test_no_interval_is_given_without_saying_why() -> None:
    rows = np.array([[2.0, 0.0], [0.0, 2.0]])
    settings = (0.95, 100, 0)

    def often_undefined(weight: FloatArray) -> FloatArray:
        return np.where(weight[:, 0] == 1, share(weight), np.nan)

    got = estimate("x", rows, np.array([1.0, 9.0]), often_undefined, settings)
    assert got.value == pytest.approx(0.1)
    assert got.interval is None
    assert got.reason.endswith("of the resamples hold only one category")
    none = estimate("x", rows[:0], np.array([]), share, settings)
    assert none == Coefficient("x", None, None, 0, 0, "no item was judged by two raters")
    asked = estimate("x", rows, np.array([1.0, 9.0]), share, (0.95, 0, 0))
    assert asked.reason == "no interval asked for"
    with pytest.raises(ValueError, match="confidence"):
        estimate("x", rows, np.array([1.0, 9.0]), share, (95.0, 100, 0))


def test_slices_do_not_change_the_draws_seed_by_seed() -> None:
    """More items than fit one slice: still the same interval for the same seed."""
    rows, weights = np.array([[2.0, 0.0], [0.0, 2.0]]), np.array([30_000.0, 50_000.0])
    one = estimate("x", rows, weights, share, (0.95, 120, 1))
    two = estimate("x", rows, weights, share, (0.95, 120, 1))
    assert one == two
    assert one.interval is not None
    half = 1.96 * math.sqrt(0.375 * 0.625 / 80_000)
    assert one.interval[1] - one.interval[0] == pytest.approx(2 * half, rel=0.25)
