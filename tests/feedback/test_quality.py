"""A team with planted faults: each is found by its own flag, the healthy are left alone."""

from __future__ import annotations

import numpy as np
import pytest

from accord.config import CollectConfig
from accord.feedback.habits import Measure
from accord.feedback.quality import (
    LEAST_WEIGHT,
    QualityReport,
    rater_weights,
    review,
    soft_labels,
)
from accord.feedback.simulate import SimulatedRaters, count_agreement
from accord.feedback.votes import FIRST, SECOND, Votes, encode, log_words
from accord.types import Comparison, Completion, Message, Prompt, Sample

FEATURES = {"length": log_words, "agreement": lambda c: float(count_agreement(c.text))}
FAULTS = {
    "r00": {"careless": 1.0},
    "r01": {"careless": 1.0},
    "r02": {"left_click": 0.6},
    "r03": {"agreement_bias": 1.5},
}
PLANTED = {"r00": "careless", "r01": "careless", "r02": "side", "r03": "agreement"}


def gold(_: Prompt, completion: Completion) -> float:
    """The number that the text starts with."""
    return float(completion.text.split()[0])


def team(seed: int, faults: dict[str, dict[str, float]], num: int = 2000) -> list[Comparison]:
    """Twelve of the simulated raters, each with faults of their own; three judge each pair."""
    rng = np.random.default_rng(seed)
    raters = [
        SimulatedRaters(CollectConfig(num_raters=1, **faults.get(f"r{r:02d}", {})), gold, seed)
        for r in range(12)
    ]  # type: ignore[arg-type]
    rows: list[Comparison] = []
    for i in range(num):
        texts = [
            f"{rng.normal(0, 0.7):.4f} " + "word " * int(rng.integers(9, 30))
            + "You are right. " * int(rng.poisson(0.5))
            for _ in range(2)
        ]  # fmt: skip
        for r in rng.choice(12, 3, replace=False):
            prompt = Prompt(f"p{i}:{r}", (Message("user", "Which?"),))  # its own draws
            (row,) = raters[r].judge(Sample(prompt, tuple(Completion(t) for t in texts)))
            assert isinstance(row, Comparison)
            same = Prompt(f"p{i}", prompt.messages)
            rows.append(Comparison(same, row.a, row.b, row.choice, rater=f"r{r:02d}"))
    return rows[:num]


@pytest.fixture(scope="module")
def faulty() -> tuple[list[Comparison], Votes, QualityReport]:
    rows = team(0, FAULTS)
    votes = encode(rows, FEATURES)
    return rows, votes, review(votes)


def test_each_bad_rater_is_found_and_nobody_else() -> None:
    """At least 11 of 12 over three teams; benchmarks/rater_detection.py measures the rates."""
    found = 0
    for seed in (1, 2, 3):
        flagged = review(encode(team(seed, FAULTS), FEATURES)).flagged()
        assert set(flagged) <= set(PLANTED)
        found += sum(kind in flagged.get(rater, ()) for rater, kind in PLANTED.items())
    assert found >= 11


def test_a_healthy_team_is_left_alone() -> None:
    for seed in (4, 5):
        assert review(encode(team(seed, {}), FEATURES)).flagged() == {}


def test_an_adversary_is_called_one() -> None:
    rows = team(6, {})
    turned = {"a": "b", "b": "a"}
    rows = [
        Comparison(r.prompt, r.a, r.b, turned[r.choice], rater=r.rater)  # type: ignore[arg-type]
        if r.rater == "r07"
        else r
        for r in rows
    ]
    assert review(encode(rows, FEATURES)).flagged() == {"r07": ("adversarial",)}


def test_flags_carry_intervals_in_words(faulty: tuple) -> None:
    report = faulty[2]
    by_name = {row.rater: row for row in report.raters}
    (careless,) = by_name["r00"].flags
    low, high = by_name["r00"].reliability.interval
    assert f"({low:.2f} to {high:.2f}; 1 is typical, 0 is a coin)" in careless.text
    side = next(flag for flag in by_name["r02"].flags if flag.kind == "side")
    assert "prefers the side shown first whatever their quality: +" in side.text
    assert by_name["r02"].side_evidence > 1e4
    assert by_name["r02"].side_share.interval[0] > 0.65


def test_the_pool_and_the_measures(faulty: tuple) -> None:
    rows, votes, report = faulty
    assert [row.rater for row in report.raters] == [f"r{r:02d}" for r in range(12)]
    assert sum(row.num_verdicts for row in report.raters) == report.pool.num_verdicts == len(rows)
    assert report.pool.flags == ()
    assert report.pool.tie_rate.value == 0.0
    assert report.pool.consistency.reason == "no item was shown twice"
    assert report.pool.seconds.value is None
    healthy = report.raters[8]
    assert healthy.accuracy.interval[0] > 0.5
    assert report.raters[0].accuracy.interval[0] < 0.5 < report.raters[0].accuracy.interval[1]
    assert set(healthy.tastes) == set(healthy.feature_shares) == {"length", "agreement"}
    assert report.raters[3].feature_shares["agreement"].value > 0.7
    assert votes.names == ("length", "agreement")


def test_weights_keep_everybody_and_trust_the_healthy(faulty: tuple) -> None:
    weights = rater_weights(faulty[2])
    assert all(LEAST_WEIGHT <= w <= 1.0 for w in weights.values())
    worst = max(weights[rater] for rater in PLANTED)
    assert worst < 0.5
    assert min(weights[f"r{r:02d}"] for r in range(4, 12)) > worst
    assert weights["r00"] < 0.25


def test_soft_labels_follow_the_side(faulty: tuple) -> None:
    rows, votes, report = faulty
    labels = soft_labels(votes, report.model)
    truth = np.array([gold(r.prompt, r.a) > gold(r.prompt, r.b) for r in rows])
    hard = np.array([r.choice == "a" for r in rows])
    assert ((labels > 0.5) == truth).mean() > (hard == truth).mean() + 0.04
    again = encode([row.swap() for row in rows], FEATURES)
    turned = soft_labels(again, review(again).model)
    # The sides seen are exchanged too, so the side pulls change sign and the labels mirror.
    assert turned == pytest.approx(1 - labels, abs=0.02)


def test_gold_speed_and_repeats_reach_the_report() -> None:
    rows = team(7, {}, 600)
    votes = encode([*rows, *rows[:200]], FEATURES)
    truth = {
        i: FIRST if votes.outcome[votes.item == i][0] == FIRST else SECOND for i in range(0, 60)
    }
    times = np.full(len(votes), 20.0)
    times[votes.rater == 5] = 0.5
    report = review(votes, answers=truth, durations=times)
    assert report.pool.consistency.value == 1.0
    assert report.pool.known_answers.num > 100
    assert report.flagged()["r05"] == ("rushed",)
    assert "before one can read: 100%" in report.raters[5].flags[-1].text
    assert report.raters[4].seconds.value == 20.0
    wrong = {i: SECOND if outcome == FIRST else FIRST for i, outcome in truth.items()}
    missed = review(votes, answers=wrong).flagged()
    assert sum("known_answers" in kinds for kinds in missed.values()) >= 6


def test_without_overlap_the_report_says_so() -> None:
    rows = [row for i, row in enumerate(team(8, {}, 600)) if i % 3 == 0]
    report = review(encode(rows, FEATURES))
    reason = "no item of theirs was decided by another rater too"
    assert report.pool.accuracy == Measure(None, None, 0, reason)
    assert report.flagged() == {}
    assert max(row.reliability.interval[1] for row in report.raters) > 1.0
