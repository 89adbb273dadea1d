"""Dawid-Skene against crowd-kit, SciPy, Bayes' rule by hand, and its intervals' promise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accord.errors import DataError
from accord.feedback.dawid_skene import dawid_skene

ORACLES = json.loads((Path(__file__).parents[1] / "reference/oracles_quality.json").read_text())
DATA = ORACLES["dawid_skene"]["data"]
LABELS = (DATA["item"], DATA["rater"], DATA["label"])
Coin = Any


def crowd(
    seed: int, accuracy: np.ndarray, num_items: int, each: int, classes: int = 2
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Items, raters, labels and the truth."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, num_items)
    item = np.repeat(np.arange(num_items), each)
    rater = rng.random((num_items, len(accuracy))).argsort(axis=1)[:, :each].reshape(-1)
    right = rng.random(len(item)) < accuracy[rater]
    wrong = (truth[item] + rng.integers(1, classes, len(item))) % classes
    return item, rater, np.where(right, truth[item], wrong), truth


def test_full_matches_crowd_kit_and_its_likelihood() -> None:
    got = dawid_skene(*LABELS, 3, prior=0.0, tolerance=1e-12)
    oracle = ORACLES["dawid_skene"]["full"]
    assert got.confusion == pytest.approx(np.array(oracle["crowd-kit"]["confusion"]), abs=1e-6)
    assert got.posterior == pytest.approx(np.array(oracle["crowd-kit"]["posterior"]), abs=1e-6)
    assert got.class_shares == pytest.approx(np.array(oracle["crowd-kit"]["shares"]), abs=1e-6)
    assert got.log_likelihood == pytest.approx(oracle["log_likelihood"], abs=1e-6)
    assert got.converged


@pytest.mark.parametrize("oracle", ["crowd-kit", "scipy"])
def test_one_coin_matches_two_oracles(oracle: str) -> None:
    got = dawid_skene(*LABELS, 3, coin="one", prior=0.0, tolerance=1e-12)
    assert got.accuracy == pytest.approx(np.array(ORACLES["dawid_skene"]["one"][oracle]), abs=1e-6)
    expected = ORACLES["dawid_skene"]["one"]["log_likelihood"]
    assert got.log_likelihood == pytest.approx(expected, abs=1e-6)


def test_posterior_by_hand() -> None:
    """Bayes' rule at the fitted parameters, item by item."""
    got = dawid_skene(*LABELS, 3, tolerance=1e-13)
    for wanted in (0, 7, 100):
        odds = got.class_shares.copy()
        for item, rater, label in zip(*LABELS, strict=True):
            if item == wanted:
                odds *= got.confusion[rater, :, label]
        assert got.posterior[wanted] == pytest.approx(odds / odds.sum(), abs=1e-9)
    assert got.confusion.sum(axis=2) == pytest.approx(1.0)
    assert got.accuracy == pytest.approx(np.einsum("rkk,k->r", got.confusion, got.class_shares))


def test_em_never_lowers_the_likelihood() -> None:
    values = [
        dawid_skene(*LABELS, 3, prior=0.0, max_steps=n).log_likelihood for n in (1, 2, 4, 8, 16)
    ]
    assert values == sorted(values)
    assert not dawid_skene(*LABELS, 3, max_steps=1).converged


def test_random_and_adversarial_raters_are_found() -> None:
    accuracy = np.array([0.9, 0.85, 0.8, 0.85, 0.5, 0.1])
    item, rater, label, truth = crowd(0, accuracy, 600, 5)
    for coin in ("one", "full"):
        got = dawid_skene(item, rater, label, 2, coin=coin)  # type: ignore[arg-type]
        assert ((got.low < accuracy) & (accuracy < got.high)).sum() >= 5
        assert got.low[4] < 0.5 < got.high[4]
        assert got.high[5] < 0.3
        majority = np.bincount(item, label) * 2 > 5
        right = (got.posterior.argmax(axis=1) == truth).mean()
        assert right > (majority == truth).mean()


@pytest.mark.parametrize(("coin", "each"), [("one", 3), ("full", 3), ("one", 6), ("full", 6)])
def test_intervals_cover(coin: Coin, each: int) -> None:
    accuracy = np.array([0.9, 0.85, 0.8, 0.8, 0.75, 0.75, 0.7, 0.55])
    inside, runs = 0, 60
    for seed in range(runs):
        item, rater, label, _ = crowd(seed, accuracy, 250, each)
        got = dawid_skene(item, rater, label, 2, coin=coin)
        inside += int(((got.low <= accuracy) & (accuracy <= got.high)).sum())
    assert 0.9 <= inside / (8 * runs) <= 0.985


def test_little_evidence_claims_little() -> None:
    got = dawid_skene([0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 1, 1], 2, coin="one")
    assert (got.low < 0.6).all()
    alone = dawid_skene([0, 1, 2], [0, 0, 0], [0, 1, 0], 2)
    assert alone.high[0] - alone.low[0] > 0.5


def test_items_without_labels_have_the_class_shares() -> None:
    got = dawid_skene([0, 0, 2, 2], [0, 1, 0, 1], [0, 0, 1, 0], 2)
    assert got.posterior[1] == pytest.approx(got.class_shares, abs=1e-4)


@pytest.mark.parametrize(
    "labels", [([], [], []), ([0], [0, 1], [0]), ([0], [0], [2]), ([0], [0], [-1])]
)
def test_bad_labels_are_refused(labels: Any) -> None:
    with pytest.raises(DataError, match="label"):
        dawid_skene(*labels, 2)
