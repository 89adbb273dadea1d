"""The rater model against SciPy's exact maximum, finite differences, and its intervals' promise."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accord.errors import DataError
from accord.feedback.rater_model import _Problem, fit_raters
from accord.feedback.votes import Votes

ORACLE = json.loads((Path(__file__).parents[1] / "reference/oracles_quality.json").read_text())[
    "rater_model"
]


def make(
    item: Any, rater: Any, first: Any, shown: Any, features: Any, names: tuple[str, ...]
) -> Votes:
    num = len(item)
    return Votes(
        item=np.asarray(item),
        rater=np.asarray(rater),
        outcome=np.where(np.asarray(first), 0, 1),
        shown=np.asarray(shown),
        strength=np.full(num, np.nan),
        turned=np.zeros(num, dtype=bool),
        repeat=np.zeros(num, dtype=np.int64),
        items=tuple((str(i), "", "") for i in range(int(max(item)) + 1)),
        raters=tuple(f"r{r}" for r in range(int(max(rater)) + 1)),
        features=np.asarray(features, dtype=float).reshape(num, len(names)),
        names=names,
    )


def oracle_votes() -> Votes:
    style = np.array(ORACLE["style"])
    item = np.array(ORACLE["item"])
    return make(item, ORACLE["rater"], ORACLE["first"], ORACLE["shown"], style[item], ("style",))


def team(
    seed: int,
    reliability: np.ndarray,
    side: np.ndarray,
    taste: np.ndarray,
    num_items: int = 400,
    each: int = 3,
) -> tuple[Votes, np.ndarray]:
    """Verdicts that follow the model, and the items' gaps."""
    rng = np.random.default_rng(seed)
    gap = rng.normal(0, 1.6, num_items)
    item = np.repeat(np.arange(num_items), each)
    rater = rng.random((num_items, len(side))).argsort(axis=1)[:, :each].reshape(-1)
    shown, style = rng.choice([-1, 1], len(item)), rng.normal(0, 1, num_items)
    logit = reliability[rater] * gap[item] + side[rater] * shown + taste[rater] * style[item]
    first = rng.random(len(item)) < 1 / (1 + np.exp(-logit))
    return make(item, rater, first, shown, style[item], ("style",)), gap


@pytest.mark.parametrize(("num_nodes", "tolerance"), [(101, 1e-6), (17, 0.01)])
def test_matches_the_exact_maximum(num_nodes: int, tolerance: float) -> None:
    """SciPy maximised the same posterior with 721 grid points, its likelihood written naively."""
    got = fit_raters(oracle_votes(), num_nodes=num_nodes, tolerance=1e-9)
    exact = ORACLE["scipy"]
    theta = np.array(exact["theta"])
    unit = np.median(theta[:, 0])
    assert got.reliability[:, 0] == pytest.approx(theta[:, 0] / unit, abs=tolerance)
    assert got.side[:, 0] == pytest.approx(theta[:, 1], abs=tolerance)
    middle = np.median(theta[:, 2])
    assert got.tastes[:, 0, 0] == pytest.approx(theta[:, 2] - middle, abs=tolerance)
    assert got.shared[0] == pytest.approx(unit * exact["shared"] + middle, abs=tolerance)
    assert math.log(got.spread / unit) == pytest.approx(exact["log_spread"], abs=tolerance)
    assert got.log_posterior == pytest.approx(exact["log_posterior"], abs=tolerance)


def test_agrees_with_crowd_kits_noisy_bradley_terry_on_the_adversary() -> None:
    """Another model of the same idea: its two least skilled raters are our least reliable."""
    got = fit_raters(oracle_votes())
    skills = np.array(ORACLE["crowd-kit"]["skills"])
    assert got.reliability[:, 0].argmin() == 5
    assert 5 in np.argsort(skills)[:2]
    assert got.reliability[5, 3] < 0  # adversarial, with its whole interval


@pytest.mark.parametrize("gold", [{}, {0: 1, 3: -1}])
def test_gradient_is_the_finite_difference(gold: dict[int, int]) -> None:
    problem = _Problem.build(oracle_votes(), {1: 0.7, 2: -1.0}, gold, 17)
    rng = np.random.default_rng(0)
    params = problem.start() + 0.3 * rng.normal(size=len(problem.start()))
    _, slope, _ = problem.slope(params)
    for k in range(len(params)):
        step = np.zeros(len(params))
        step[k] = 1e-5
        ahead, behind = problem.posterior(params + step)[1], problem.posterior(params - step)[1]
        assert slope[k] == pytest.approx((ahead - behind) / 2e-5, abs=1e-5)


def test_exchanging_an_items_completions_changes_no_rater() -> None:
    votes = oracle_votes()
    flip = votes.item % 3 == 0
    turned = make(
        votes.item, votes.rater, (votes.outcome == 0) ^ flip, np.where(flip, -1, 1) * votes.shown,
        np.where(flip, -1, 1) * votes.features[:, 0], ("style",),
    )  # fmt: skip
    # The features' standard deviation must not depend on the sides: give both the same scale.
    one, two = fit_raters(votes, tolerance=1e-8), fit_raters(turned, tolerance=1e-8)
    ratio = (one.scale / two.scale)[0]
    assert ratio == pytest.approx(1.0, abs=0.1)
    assert two.side[:, 0] == pytest.approx(one.side[:, 0], abs=0.02)
    assert two.reliability[:, 0] == pytest.approx(one.reliability[:, 0], abs=0.03)
    flipped = np.arange(len(one.better)) % 3 == 0
    assert np.where(flipped, 1 - two.better, two.better) == pytest.approx(one.better, abs=0.02)


def test_intervals_cover() -> None:
    """Reliability relative to the median, pulls and tastes, each by its own interval."""
    reliability = np.array([0.0, 0.3, 0.8, 1.0, 1.0, 1.0, 1.0, 1.2])
    side = np.array([0.0, 0.0, 0.8, 0.0, -0.4, 0.0, 0.0, 0.0])
    taste = np.array([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -0.5])
    inside, runs = np.zeros(3), 40
    for seed in range(runs):
        got = fit_raters(team(seed, reliability, side, taste)[0])
        assert got.converged
        for place, (table, truth) in enumerate(
            ((got.reliability, reliability), (got.side, side), (got.tastes[:, 0], taste))
        ):
            inside[place] += ((table[:, 2] <= truth) & (truth <= table[:, 3])).sum()
    assert (inside / (8 * runs) >= 0.91).all(), inside / (8 * runs)


def test_better_is_calibrated_and_beats_the_majority() -> None:
    reliability = np.array([0.0, 0.0, 1.0, 1.0, 1.0, 1.0, -0.5])
    votes, gap = team(1, reliability, np.zeros(7), np.zeros(7), 3000, 3)
    got = fit_raters(votes)
    majority = np.bincount(votes.item, votes.share_first) / 3 > 0.5
    assert ((got.better > 0.5) == (gap > 0)).mean() > (majority == (gap > 0)).mean() + 0.02
    for low in (0.1, 0.3, 0.5, 0.7):
        chosen = (got.better >= low) & (got.better < low + 0.2)
        assert (gap[chosen] > 0).mean() == pytest.approx(got.better[chosen].mean(), abs=0.06)
    assert ((got.preferred > 0.5) == (got.gap[:, 0] > 0)).mean() > 0.97
    assert got.spread == pytest.approx(1.6, rel=0.15)


def test_gold_and_expected_margins_inform_where_nobody_overlaps() -> None:
    """One verdict an item: the coin is found only with answers, or margins, from elsewhere."""
    reliability = np.array([0.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    votes, gap = team(2, reliability, np.zeros(6), np.zeros(6), 900, 1)
    blind = fit_raters(votes)
    assert blind.reliability[0, 3] > 0.7  # not known, and said so
    noise = np.random.default_rng(0).normal(0, 1.0, 900)
    margins = fit_raters(votes, expected=dict(enumerate((gap + noise).tolist())))
    assert margins.reliability[0, 3] < 0.5
    gold = fit_raters(votes, gold={i: int(np.sign(gap[i])) for i in range(0, 900, 2)})
    assert gold.reliability[0, 3] < 0.5
    assert (gold.reliability[1:, 2] > 0.2).all()


def test_ties_count_half() -> None:
    votes, _ = team(3, np.ones(5), np.zeros(5), np.zeros(5), 100)
    tied = Votes(**{**{f: getattr(votes, f) for f in Votes.__slots__},
                    "outcome": np.full(len(votes), 2)})  # fmt: skip
    got = fit_raters(tied)
    assert got.better == pytest.approx(0.5, abs=1e-6)
    assert abs(got.side[:, 0]).max() < 1e-6


@pytest.mark.parametrize("wrong", [{"gold": {0: 2}}, {"gold": {999: 1}}, {"expected": {-1: 0.5}}])
def test_bad_items_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="items by index"):
        fit_raters(oracle_votes(), **wrong)
