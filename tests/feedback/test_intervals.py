"""Intervals against published tables, closed forms and their own promise: coverage."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from accord.feedback.intervals import (
    bootstrap_mean,
    calibration_bins,
    ece,
    paired_win_rate,
    t_quantile,
    wilson,
)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [  # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_matches_newcombe(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)
    mirrored = wilson(n - successes, n)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_wilson_ends_solve_the_score_equation() -> None:
    z = NormalDist().inv_cdf(0.95)
    for end in wilson(7, 31, confidence=0.9):
        assert abs(7 / 31 - end) == pytest.approx(z * math.sqrt(end * (1 - end) / 31))


def test_wilson_edges() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(5, 5)[1] == 1.0
    with pytest.raises(ValueError, match=r"\[0, n\]"):
        wilson(6, 5)
    with pytest.raises(ValueError, match="confidence"):
        wilson(1, 5, confidence=95)


@pytest.mark.parametrize(
    ("degrees", "quantile"),
    [(1, 12.7062), (2, 4.3027), (5, 2.5706), (10, 2.2281), (30, 2.0423), (120, 1.9799)],
)
def test_t_quantile_matches_the_tables(degrees: int, quantile: float) -> None:
    assert t_quantile(0.975, degrees) == pytest.approx(quantile, abs=5e-5)
    assert t_quantile(0.025, degrees) == -t_quantile(0.975, degrees)


@pytest.mark.parametrize("p", [0.5, 0.6, 0.9, 0.999])
def test_t_quantile_closed_forms(p: float) -> None:
    assert t_quantile(p, 1) == pytest.approx(math.tan(math.pi * (p - 0.5)), abs=1e-9)
    two = (2 * p - 1) / math.sqrt(2 * p * (1 - p))
    assert t_quantile(p, 2) == pytest.approx(two, abs=1e-9)
    assert t_quantile(p, 10**6) == pytest.approx(NormalDist().inv_cdf(p), abs=2e-5)


def test_t_quantile_refuses() -> None:
    with pytest.raises(ValueError, match="no t quantile"):
        t_quantile(1.0, 5)
    with pytest.raises(ValueError, match="0 degrees"):
        t_quantile(0.9, 0)


def test_paired_win_rate_is_students_interval() -> None:
    """Student 1908, extra hours of sleep: mean 1.58, 95 % interval 0.7001142 to 2.4598858."""
    hours = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
    got = paired_win_rate([(hour, 0.0, 10.0 - hour) for hour in hours])
    assert (got.value, got.low, got.high) == pytest.approx((0.158, 0.07001142, 0.24598858))
    assert got.num_units == 10
    assert got.interval == (got.low, got.high)


def test_paired_win_rate_counts_ties_half_and_prompts_equally() -> None:
    assert paired_win_rate([(1, 0, 0), (0, 4, 0), (0, 0, 9)]).value == pytest.approx(0.5)
    assert paired_win_rate([(3, 0, 1), (0, 2, 2)]).value == pytest.approx((0.75 + 0.25) / 2)
    wins, losses = [(3, 1, 0), (1, 1, 2), (0, 2, 2)], [(0, 1, 3), (2, 1, 1), (2, 2, 0)]
    ours, theirs = paired_win_rate(wins), paired_win_rate(losses)
    assert ours.value + theirs.value == pytest.approx(1.0)
    assert ours.low + theirs.high == pytest.approx(1.0)


def test_repeating_judgements_of_a_prompt_does_not_narrow_the_interval() -> None:
    once = [(1, 0, 0)] * 12 + [(0, 0, 1)] * 8
    repeated = [(50, 0, 0)] * 12 + [(0, 0, 50)] * 8
    assert paired_win_rate(repeated) == paired_win_rate(once)


@pytest.mark.parametrize("method", ["t", "bootstrap"])
def test_paired_win_rate_covers(method: str) -> None:
    rng = np.random.default_rng(0)
    inside, runs = 0, 400
    for seed in range(runs):
        skill = rng.beta(3.0, 2.0, size=40)  # prompts differ; the true rate is 0.6
        wins = rng.binomial(2, skill)
        rows = [(float(w), 0.0, 2.0 - w) for w in wins]
        got = paired_win_rate(rows, method=method, seed=seed)
        inside += got.low <= 0.6 <= got.high
    low, high = wilson(round(0.94 * runs), runs, confidence=0.999)
    assert low < inside / runs < high


def test_paired_win_rate_without_spread_falls_back_to_wilson() -> None:
    got = paired_win_rate([(2, 0, 0)] * 20)
    assert got.value == 1.0
    assert got.interval == pytest.approx((1 - 0.1611, 1.0), abs=5e-5)
    single = paired_win_rate([(1, 0, 1)])
    assert single.low < 0.1 < 0.9 < single.high


@pytest.mark.parametrize("rows", [[], [(0, 0, 0)], [(1, 0, -1)]])
def test_paired_win_rate_refuses(rows: list) -> None:
    with pytest.raises(ValueError, match="wins, ties, losses"):
        paired_win_rate(rows)


def test_bootstrap_mean_matches_the_exact_bootstrap_distribution() -> None:
    """Resampled sums of 20 ones in 50 are Binomial(50, 0.4): its quantiles are 14 and 27."""
    cumulative = np.cumsum([math.comb(50, k) * 0.4**k * 0.6 ** (50 - k) for k in range(51)])
    low, high = (int(np.searchsorted(cumulative, q)) for q in (0.025, 0.975))
    got = bootstrap_mean([1.0] * 20 + [0.0] * 30, num_resamples=20_000)
    assert got.value == pytest.approx(0.4)
    assert got.low == pytest.approx(low / 50, abs=0.011)
    assert got.high == pytest.approx(high / 50, abs=0.011)


def test_bootstrap_mean_nears_the_normal_interval_and_is_deterministic() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, size=1000)
    got = bootstrap_mean(values, num_resamples=4000, seed=4)
    half = 1.96 * values.std() / math.sqrt(1000)
    assert got.high - got.low == pytest.approx(2 * half, rel=0.06)
    assert (got.high + got.low) / 2 == pytest.approx(values.mean(), abs=0.1 * half)
    assert bootstrap_mean(values, num_resamples=4000, seed=4) == got
    assert bootstrap_mean(values, num_resamples=4000, seed=5) != got


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [[1.0], [2.0]]])
def test_bootstrap_mean_refuses(values: list) -> None:
    with pytest.raises(ValueError, match="finite"):
        bootstrap_mean(values)


def test_ece_by_hand() -> None:
    probs, outcomes = [0.92, 0.98, 0.31, 0.39, 1.0], [1, 0, 0, 0.5, 1]
    bins = calibration_bins(probs, outcomes)
    assert [(b.low, b.count) for b in bins] == [(0.3, 2), (0.9, 3)]
    assert bins[1].mean_prob == pytest.approx(2.9 / 3)
    assert bins[1].mean_outcome == pytest.approx(2 / 3)
    assert ece(probs, outcomes) == pytest.approx(0.4 * 0.10 + 0.6 * 0.3)


def test_ece_of_calibrated_and_overconfident_forecasts() -> None:
    rng = np.random.default_rng(2)
    probs = rng.uniform(size=200_000)
    outcomes = (rng.uniform(size=probs.size) < probs).astype(float)
    assert ece(probs, outcomes) < 0.006
    assert ece(np.where(probs > 0.5, 1.0, 0.0), outcomes) == pytest.approx(0.25, abs=0.005)
    small = [ece(probs[i : i + 100], outcomes[i : i + 100]) for i in range(0, 20_000, 100)]
    assert 0.08 < np.mean(small) < 0.12


@pytest.mark.parametrize(
    ("probs", "outcomes", "num_bins"),
    [([0.5], [1, 0], 10), ([], [], 10), ([1.2], [1], 10), ([0.5], [math.nan], 10), ([0.5], [1], 0)],
)
def test_ece_refuses(probs: list, outcomes: list, num_bins: int) -> None:
    with pytest.raises(ValueError, match="probabilit"):
        ece(probs, outcomes, num_bins)
