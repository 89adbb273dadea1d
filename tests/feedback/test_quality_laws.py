"""Habits, Dawid-Skene and the raters' report: what they must not depend on; degenerate rounds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from accord.errors import DataError
from accord.feedback import habits
from accord.feedback.dawid_skene import dawid_skene
from accord.feedback.quality import LEAST_WEIGHT, QualityReport, rater_weights, review, soft_labels
from accord.feedback.votes import FIRST, SECOND, encode
from accord.types import Choice, Comparison, Completion, Message, Prompt


def verdict(number: int, rater: str, choice: Choice) -> Comparison:
    asked = Prompt(f"p{number}", (Message("user", "Which?"),))
    return Comparison(asked, Completion("x"), Completion("y"), choice, rater=rater)


def team(seed: int = 0, num_items: int = 30, raters: str = "abc") -> list[Comparison]:
    """Everybody judges everything and is right four times in five; some verdicts are turned."""
    rng = np.random.default_rng(seed)
    rows = []
    for n in range(num_items):
        truth = rng.random() < 0.5
        for rater in raters:
            right = rng.random() < 0.8
            row = verdict(n, rater, "a" if right == truth else "b")
            rows.append(row.swap() if rng.random() < 0.5 else row)
    return rows


def labels(seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, 40)
    item, rater = (x.reshape(-1) for x in np.mgrid[:40, :5])
    right = rng.random(200) < np.array([0.9, 0.8, 0.7, 0.6, 0.5])[rater]
    return item, rater, np.where(right, truth[item], rng.integers(0, 3, 200))


@pytest.mark.parametrize("coin", ["one", "full"])
def test_dawid_skene_knows_no_names(coin: str) -> None:
    item, rater, label = labels()
    plain = dawid_skene(item, rater, label, 3, coin, tolerance=1e-10)  # type: ignore[arg-type]
    who, what = np.array([3, 0, 4, 1, 2]), np.array([2, 0, 1])
    other = dawid_skene(item, who[rater], what[label], 3, coin, tolerance=1e-10)  # type: ignore[arg-type]
    assert other.accuracy[who] == pytest.approx(plain.accuracy, abs=1e-6)
    assert other.posterior[:, what] == pytest.approx(plain.posterior, abs=1e-6)
    assert other.low[who] == pytest.approx(plain.low, abs=1e-5)
    assert other.log_likelihood == pytest.approx(plain.log_likelihood, abs=1e-6)


def test_dawid_skene_of_unanimous_raters_trusts_the_label() -> None:
    item, rater = (x.reshape(-1) for x in np.mgrid[:20, :3])
    got = dawid_skene(item, rater, item % 2, 2)
    assert (got.posterior.argmax(axis=1) == np.arange(20) % 2).all()
    assert got.class_shares == pytest.approx([0.5, 0.5])
    assert (got.low <= got.accuracy).all()
    assert (got.accuracy <= got.high).all()
    assert got.accuracy == pytest.approx([got.accuracy[0]] * 3)
    with pytest.raises(DataError, match="at least two classes"):
        dawid_skene([0], [0], [0], 1)


def test_shares_of_the_pool_are_the_mean_over_verdicts() -> None:
    votes = encode(team())
    for function in (habits.side_share, habits.tie_rate, habits.with_others):
        *rows, pool = function(votes)
        total = sum(row.num for row in rows)
        assert pool.num == total
        assert pool.value == pytest.approx(sum((r.value or 0) * r.num for r in rows) / total)


def test_showing_the_other_side_first_turns_the_side_share_and_nothing_else() -> None:
    rows = team()
    one, two = encode(rows), encode(rows, first_on_a=[False] * len(rows))
    for x, y in zip(habits.side_share(one), habits.side_share(two), strict=True):
        assert y.value == pytest.approx(1 - (x.value or 0))
    assert habits.with_others(one) == habits.with_others(two)
    assert habits.side_evidence(one) == pytest.approx(habits.side_evidence(two))


def test_evidence_for_no_verdict_and_for_one_is_none() -> None:
    votes = encode([verdict(0, "a", "tie"), verdict(0, "b", "b")])
    assert habits.side_evidence(votes) == pytest.approx((1.0, 1.0, 1.0))


def test_durations_must_fit() -> None:
    votes = encode(team())
    for wrong in ([1.0], [-1.0] * len(votes)):
        with pytest.raises(DataError, match=f"{len(votes)} numbers of seconds >= 0"):
            habits.seconds(votes, wrong)
    unknown = habits.rushed(votes, [math.nan] * len(votes))
    assert {row.reason for row in unknown} == {"no times were recorded"}


@pytest.fixture(scope="module")
def report() -> QualityReport:
    return review(encode(team()))


def test_the_report_follows_the_raters_names(report: QualityReport) -> None:
    new = {"a": "z", "b": "y", "c": "x"}
    rows = [Comparison(r.prompt, r.a, r.b, r.choice, rater=new[r.rater]) for r in team()]
    other = {row.rater: row for row in review(encode(rows)).raters}
    for row in report.raters:
        same = other[new[row.rater]]
        assert same.reliability.value == pytest.approx(row.reliability.value, abs=0.02)
        assert same.weight == pytest.approx(row.weight, abs=0.02)
        assert same.with_others == row.with_others


def test_weights_and_soft_labels_stay_in_their_ranges(report: QualityReport) -> None:
    votes = encode(team())
    assert all(LEAST_WEIGHT <= w <= 1.0 for w in rater_weights(report).values())
    soft = soft_labels(votes, report.model)
    assert ((soft > 0) & (soft < 1)).all()
    agreed = [i for i in range(30) if len(set(votes.outcome[votes.item == i].tolist())) == 1]
    for item in agreed:  # where all three say the same, so does the label
        first = votes.outcome[votes.item == item][0] == FIRST
        assert (report.model.better[item] > 0.5) == first


@pytest.mark.parametrize("choice", ["a", "tie", "both_bad"])
def test_a_lone_rater_is_reported_without_a_verdict_on_them(choice: Choice) -> None:
    report = review(encode([verdict(n, "solo", choice) for n in range(4)]))
    (row,) = report.raters
    assert row.accuracy.value is None
    assert row.with_others.reason == "nobody else judged these items"
    assert row.consistency.reason == "no item was shown twice"
    assert row.weight == pytest.approx(1.0)
    assert {kind for kinds in report.flagged().values() for kind in kinds} <= {"side"}


def test_known_answers_are_counted_for_whoever_met_them() -> None:
    votes = encode([verdict(0, "a", "a"), verdict(0, "b", "b"), verdict(1, "c", "a")])
    a, b, c, pool = habits.right_share(votes, {0: FIRST})
    assert (a.value, b.value, c.value, pool.value) == (1.0, 0.0, None, 0.5)
    assert habits.right_share(votes, {0: SECOND})[0].value == 0.0
