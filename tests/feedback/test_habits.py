"""Habits by hand counts; evidence and control limits against the rates they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from accord.errors import DataError
from accord.feedback import habits
from accord.feedback.intervals import wilson
from accord.feedback.votes import BOTH_BAD, FIRST, SECOND, TIE, Votes


def votes(
    item: list[int],
    rater: list[int],
    outcome: list[int],
    shown: list[int] | None = None,
    feature: list[float] | None = None,
    repeat: list[int] | None = None,
) -> Votes:
    num = len(item)
    return Votes(
        item=np.array(item),
        rater=np.array(rater),
        outcome=np.array(outcome),
        shown=np.array(shown or [1] * num),
        strength=np.full(num, np.nan),
        turned=np.zeros(num, dtype=bool),
        repeat=np.array(repeat or [0] * num),
        items=tuple((str(i), "", "") for i in range(max(item) + 1)),
        raters=tuple(f"r{r}" for r in range(max(rater) + 1)),
        features=np.array(feature or [0.0] * num)[:, None],
        names=("length",),
    )


def choices(left: np.ndarray) -> Votes:
    """One rater's run of left (True) and right choices."""
    num = len(left)
    return votes(list(range(num)), [0] * num, np.where(left, FIRST, SECOND).tolist())


def test_side_share_by_hand() -> None:
    data = votes([0, 1, 2, 3, 4], [0, 0, 0, 1, 1], [FIRST, SECOND, TIE, FIRST, BOTH_BAD],
                 shown=[1, -1, 1, -1, 1])  # fmt: skip
    first, second, pool = habits.side_share(data)
    assert first == habits.Measure(1.0, wilson(2, 2), 2)
    assert second.value == 0.0
    assert (pool.value, pool.num) == (pytest.approx(2 / 3), 3)


def test_a_rater_without_choices_says_why() -> None:
    data = votes([0, 1], [0, 1], [FIRST, TIE])
    assert habits.side_share(data)[1] == habits.Measure(None, None, 0, "no verdict chose a side")
    assert habits.side_evidence(data)[1] == pytest.approx(1.0)


def test_tie_and_both_bad_rates() -> None:
    data = votes([0, 1, 2, 3], [0, 0, 0, 0], [FIRST, TIE, BOTH_BAD, SECOND])
    assert habits.tie_rate(data)[0].value == 0.5
    assert habits.both_bad_rate(data)[0].value == 0.25


def test_evidence_by_hand() -> None:
    """Three lefts of three: the integral of p^3 under Jeffreys' prior, 5/16, against 1/8."""
    assert habits.side_evidence(choices(np.ones(3, dtype=bool)))[0] == pytest.approx(2.5)
    assert habits.side_evidence(choices(np.array([True, False])))[0] == pytest.approx(0.5)


def test_left_pull_is_found_within_150_verdicts_and_false_alarms_are_rare() -> None:
    """A rater who takes the left unread in 60 % of verdicts; looked at after every verdict."""
    rng = np.random.default_rng(0)
    found, false, when = 0, 0, []
    for _ in range(60):
        for rate in (0.6 + 0.4 / 2, 0.5):
            left = rng.random(150) < rate
            hits = np.cumsum(left)
            n = np.arange(1, 151)
            logs = [
                math.lgamma(k + 0.5) + math.lgamma(m - k + 0.5) - math.lgamma(m + 1)
                - math.log(math.pi) + m * math.log(2)
                for k, m in zip(hits.tolist(), n.tolist(), strict=True)
            ]  # fmt: skip
            over = np.flatnonzero(np.array(logs) >= math.log(20))
            assert habits.side_evidence(choices(left))[0] == pytest.approx(math.exp(logs[-1]))
            if rate > 0.5:
                found += over.size > 0
                when.append(int(over[0]) if over.size else 150)
            else:
                false += over.size > 0
    assert found == 60
    assert np.median(when) < 40
    assert false <= 5  # at most 1 in 20, however often one looks


def test_feature_share_leaves_out_equals_and_ties() -> None:
    data = votes([0, 1, 2, 3], [0] * 4, [FIRST, SECOND, FIRST, TIE], feature=[2.0, -1.0, 0.0, 3.0])
    assert habits.feature_share(data, "length")[0] == habits.Measure(1.0, wilson(2, 2), 2)
    flat = votes([0], [0], [FIRST])
    assert "differ in length" in habits.feature_share(flat, "length")[0].reason


def test_agreement_with_others_leaves_oneself_out() -> None:
    data = votes([0, 0, 0, 1, 1, 2], [0, 1, 2, 0, 1, 0], [FIRST, FIRST, SECOND, TIE, TIE, FIRST])
    first, second, third, _ = habits.with_others(data)
    assert (first.value, first.num) == (pytest.approx((0.5 + 1) / 2), 2)
    assert second.value == pytest.approx(0.75)
    assert third.value == 0.0


def test_consistency_compares_with_the_time_before() -> None:
    data = votes([0, 0, 0, 1, 1], [0, 0, 0, 0, 1], [FIRST, FIRST, SECOND, TIE, TIE],
                 repeat=[0, 1, 2, 0, 0])  # fmt: skip
    first, second, pool = habits.consistency(data)
    assert (first.value, first.num) == (0.5, 2)
    assert second.reason == "no item was shown twice"
    assert pool.num == 2


def test_known_answers() -> None:
    data = votes([0, 1, 2], [0, 0, 0], [FIRST, TIE, SECOND])
    assert habits.right_share(data, {0: FIRST, 1: SECOND})[0].value == 0.5
    assert "known answer" in habits.right_share(data, {})[0].reason


def test_seconds_and_rushed() -> None:
    data = votes([0, 1, 2, 3], [0, 0, 0, 1], [FIRST] * 4)
    times = [1.0, 5.0, 9.0, math.nan]
    first, second, _ = habits.seconds(data, times)
    assert first.value == 5.0
    assert first.interval == (1.0, 9.0)
    assert second.reason == "no times were recorded"
    assert habits.rushed(data, times)[0].value == pytest.approx(1 / 3)
    assert habits.rushed(data, times, floors=[2, 6, 6, 6])[0].value == pytest.approx(2 / 3)
    for bad in ([1.0], [1.0, 2.0, 3.0, -1.0]):
        with pytest.raises(DataError, match="durations"):
            habits.seconds(data, bad)


def test_the_medians_interval_covers() -> None:
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(300):
        data = choices(np.ones(41, dtype=bool))
        got = habits.seconds(data, rng.lognormal(1.0, 0.8, 41))[0]
        assert got.interval is not None
        inside += got.interval[0] <= math.e <= got.interval[1]
    assert 0.92 <= inside / 300 <= 0.99


def test_control_chart_fires_on_drift_and_is_silent_without() -> None:
    rng = np.random.default_rng(2)
    batch = np.repeat(np.arange(20), 40)
    steady, moved = 0, 0
    for _ in range(50):
        still = habits.control_chart(batch, rng.random(800) < 0.7, centre=0.7)
        steady += sum(point.outside for point in still)
        rate = np.where(batch < 10, 0.7, 0.4)
        drift = habits.control_chart(batch, rng.random(800) < rate, centre=0.7)
        moved += any(point.outside for point in drift[10:])
        assert [point.batch for point in drift] == list(range(20))
    assert steady <= 0.006 * 1000
    assert moved == 50


def test_limits_of_small_batches_are_the_binomials() -> None:
    (point,) = habits.control_chart([1] * 7, [1.0] * 7, centre=0.86)
    assert not point.outside  # 0.86 to the 7th: a third of such batches
    assert point.high == 1.0
    assert point.low == pytest.approx(3 / 7)  # P(up to 2) = 0.00088, P(up to 3) = 0.0094
    (point,) = habits.control_chart([1] * 7, [0.0, 1.0] + [0.0] * 5, centre=0.86)
    assert point.outside
    for centre in (0.0, 1.0):
        (point,) = habits.control_chart([1] * 3, [centre] * 3, centre=centre)
        assert (point.low, point.high, point.outside) == (centre, centre, False)


def test_control_chart_input() -> None:
    (point,) = habits.control_chart([3, 3], [1.0, 0.5])
    assert (point.batch, point.num, point.share) == (3, 2, 0.75)
    for bad in (([], []), ([1], [2.0]), ([1, 2], [1.0])):
        with pytest.raises(DataError, match="control chart"):
            habits.control_chart(*bad)  # type: ignore[arg-type]
