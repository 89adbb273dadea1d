"""Agreement against libraries of other people, published examples, hand arithmetic and PandaLM."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accord.feedback.agreement import (
    PAPER_AGREEMENT,
    PAPER_BAND,
    agreement_report,
    cohen_kappa,
    count_table,
    fleiss_kappa,
    gwet_ac1,
    krippendorff_alpha,
    raw_agreement,
    single_label_accuracy,
)
from accord.feedback.intervals import wilson
from accord.feedback.votes import encode
from accord.types import Choice, Comparison, Completion, Message, Prompt

ORACLES = json.loads((Path(__file__).parents[1] / "reference/oracles_agreement.json").read_text())
PANDALM = Path(__file__).parents[3] / "shared" / "data" / "pandalm" / "testset-v1.json"


def ratings(case: str) -> np.ndarray:
    """(raters, items), NaN where missing."""
    rows = ORACLES["cases"][case]["ratings"]
    return np.array([[math.nan if x is None else x for x in row] for row in rows])


def table(case: str) -> tuple[np.ndarray, np.ndarray]:
    """Counts and the values of the columns."""
    matrix = ratings(case)
    values = np.unique(matrix[~np.isnan(matrix)])
    rater, item = np.nonzero(~np.isnan(matrix))
    return count_table(item, np.searchsorted(values, matrix[rater, item]), len(values)), values


@pytest.mark.parametrize("case", ["full", "holes", "krippendorff"])
@pytest.mark.parametrize(
    "figure", ["alpha_nominal", "alpha_ordinal", "alpha_interval", "fleiss_kappa", "gwet_ac1"]
)
def test_coefficients_match_the_oracles(case: str, figure: str) -> None:
    counts, values = table(case)
    if figure.startswith("alpha"):
        level: Any = figure.split("_")[1]
        got = krippendorff_alpha(counts, level, values, num_resamples=0)
    else:
        got = {"fleiss_kappa": fleiss_kappa, "gwet_ac1": gwet_ac1}[figure](counts, num_resamples=0)
    for oracle, value in ORACLES["cases"][case][figure].items():
        digits = 5.1e-6 if oracle == "irrCAC" else 1e-9  # irrCAC rounds to five decimals
        assert got.value == pytest.approx(value, abs=digits), oracle


def test_krippendorffs_own_example() -> None:
    counts, values = table("krippendorff")
    for level, printed in (("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)):
        got = krippendorff_alpha(counts, level, values)  # type: ignore[arg-type]
        assert got.value == pytest.approx(printed, abs=5e-4)
        assert got.num_items == 11
        assert got.num_verdicts == 40


@pytest.mark.parametrize("weighting", ["none", "linear", "quadratic"])
def test_cohen_kappa_matches_two_oracles(weighting: Any) -> None:
    first, second = ratings("full")[:2].astype(int)
    got = cohen_kappa(first, second, weighting, num_resamples=4000)
    oracle = ORACLES["cohen"][weighting]
    assert got.value == pytest.approx(oracle["scikit-learn"], abs=1e-9)
    assert got.value == pytest.approx(oracle["statsmodels"], abs=1e-9)
    assert got.interval is not None  # the bootstrap is near the asymptotic interval
    width = 2 * 1.96 * oracle["statsmodels_error"]
    assert got.interval[1] - got.interval[0] == pytest.approx(width, rel=0.15)


def test_wilson_matches_statsmodels() -> None:
    for successes, n, low, high in ORACLES["wilson"]:
        assert wilson(successes, n) == pytest.approx((low, high), abs=1e-9)


def test_raw_agreement_by_hand() -> None:
    counts = [[2, 0], [1, 1], [3, 0], [2, 1], [1, 0]]  # pairs that agree: 1/1, 0/1, 3/3, 1/3
    got = raw_agreement(counts)
    assert got.value == pytest.approx((1 + 0 + 1 + 1 / 3) / 4)
    assert (got.num_items, got.num_verdicts) == (4, 10)
    twos = raw_agreement([[2, 0]] * 30 + [[1, 1]] * 10)
    assert twos.value == 0.75
    assert twos.interval == wilson(30, 40)


def test_kappa_by_hand() -> None:
    """50 items, two raters: 20 yes-yes, 15 no-no, 5 yes-no, 10 no-yes; kappa is 0.4."""
    first, second = [0] * 25 + [1] * 25, [0] * 20 + [1] * 5 + [0] * 10 + [1] * 15
    assert cohen_kappa(first, second).value == pytest.approx(0.4)


def test_alpha_of_two_raters_by_hand() -> None:
    """Ten units, two observers (Krippendorff 2011, section A): alpha 0.095."""
    meg = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    owen = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    counts = count_table([*range(10)] * 2, meg + owen, 2)
    assert krippendorff_alpha(counts).value == pytest.approx(0.095, abs=5e-4)


def test_chance_is_zero_and_unanimity_one() -> None:
    rng = np.random.default_rng(0)
    item = np.repeat(np.arange(20_000), 3)
    luck = count_table(item, rng.integers(0, 3, len(item)), 3)
    same = count_table(item, np.repeat(rng.integers(0, 3, 20_000), 3), 3)
    for function in (fleiss_kappa, gwet_ac1, krippendorff_alpha):
        assert function(luck, num_resamples=0).value == pytest.approx(0.0, abs=0.01)
        assert function(same, num_resamples=0).value == 1.0


def test_undefined_values_say_why() -> None:
    lonely = fleiss_kappa([[1, 0], [0, 1]])
    assert lonely.value is None
    assert lonely.reason == "no item was judged by two raters"
    for function in (fleiss_kappa, krippendorff_alpha):
        constant = function([[3, 0]] * 5)
        assert constant.value is None
        assert "same category" in constant.reason
    assert gwet_ac1([[3, 0]] * 5).value == 1.0  # the reason for having AC1
    one = krippendorff_alpha([[2, 1]])
    assert one.value is not None
    assert one.interval is None
    assert "two items" in one.reason
    rare = fleiss_kappa([[2, 0]] * 40 + [[1, 1]])
    assert rare.value is not None
    assert rare.interval is None
    assert "one category" in rare.reason
    assert cohen_kappa([1, 1], [1, 1]).value is None


@pytest.mark.parametrize("function", [fleiss_kappa, gwet_ac1, krippendorff_alpha, raw_agreement])
def test_bootstrap_covers(function: Any) -> None:
    """95 % intervals of a population's coefficient hold it in 95 % of samples."""
    rng = np.random.default_rng(3)
    kinds = np.array([[3, 0, 0], [0, 3, 0], [2, 1, 0], [1, 1, 1], [0, 1, 2], [1, 2, 0]])
    share = np.array([0.35, 0.25, 0.15, 0.05, 0.1, 0.1])
    truth = function(np.repeat(kinds, (share * 100_000).astype(int), axis=0), num_resamples=0).value
    inside = 0
    for seed in range(120):
        got = function(kinds[rng.choice(6, 150, p=share)], num_resamples=400, seed=seed)
        inside += got.interval[0] <= truth <= got.interval[1]
    assert 0.9 <= inside / 120 <= 0.99


def test_same_seed_same_interval() -> None:
    counts, _ = table("full")
    assert fleiss_kappa(counts, seed=1) == fleiss_kappa(counts, seed=1)
    assert fleiss_kappa(counts, seed=1) != fleiss_kappa(counts, seed=2)


@pytest.mark.parametrize(
    "call",
    [
        lambda: count_table([0, 1], [0], 2),
        lambda: count_table([0], [2], 2),
        lambda: fleiss_kappa([[1], [2]]),
        lambda: fleiss_kappa([[2, 1]] * 3, confidence=1.0),
        lambda: cohen_kappa([0, 1], [0]),
        lambda: cohen_kappa([0, 3], [0, 1], num_categories=2),
        lambda: single_label_accuracy(0.4),
    ],
)
def test_bad_input_is_refused(call: Any) -> None:
    with pytest.raises(ValueError, match=r"categor|items|confidence|raters|agreement"):
        call()


def test_paper_figures() -> None:
    assert min(row.rate for row in PAPER_AGREEMENT) == PAPER_BAND[0]
    assert all(PAPER_BAND[0] <= row.rate < PAPER_BAND[1] + 0.005 for row in PAPER_AGREEMENT)
    assert single_label_accuracy(0.726) == pytest.approx(0.836, abs=5e-4)


def verdict(prompt: int, rater: str, choice: Choice, strength: float | None = None) -> Comparison:
    asked = Prompt(f"p{prompt}", (Message("user", "Which?"),))
    return Comparison(asked, Completion("x"), Completion("y"), choice, strength, rater=rater)


def test_report_on_comparisons() -> None:
    rows = [
        verdict(0, "r1", "a", 1.0),
        verdict(0, "r2", "a", 0.5).swap(),  # the other side, the same completion preferred
        verdict(1, "r1", "tie", 0.0),
        verdict(1, "r2", "both_bad", 0.0),
        verdict(2, "r1", "b", 0.5),
        verdict(2, "r2", "a", 0.5),
        verdict(2, "r2", "b", 0.5),  # a repeat does not count
        verdict(3, "r1", "a"),
    ]
    report = agreement_report(encode(rows))
    assert report.raw.value == pytest.approx(1 / 3)
    assert report.raw_without_ties.value == pytest.approx(1 / 2)
    assert report.alpha_interval.num_items == 3
    order = count_table([0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 2, 0], 3)
    assert (
        report.alpha_ordinal.value == krippendorff_alpha(order, "ordinal", mirror=(2, 1, 0)).value
    )
    assert [c.name for c in report.all()][:2] == ["raw agreement", "raw agreement without ties"]
    silent = agreement_report(encode([verdict(0, "r1", "a"), verdict(0, "r2", "a")]))
    assert silent.alpha_interval.reason == "no verdict carries a strength"


@pytest.mark.skipif(not PANDALM.is_file(), reason=f"PandaLM's test set is not at {PANDALM}")
def test_pandalm_has_its_known_kappa() -> None:
    rows = json.loads(PANDALM.read_text(encoding="utf-8"))
    labels = [row[f"annotator{k}"] for row in rows for k in (1, 2, 3)]
    counts = count_table(np.repeat(np.arange(len(rows)), 3), labels, 3)
    got = fleiss_kappa(counts)
    assert got.value == pytest.approx(0.864, abs=5e-4)
    assert got.num_items == 999
    assert got.interval is not None
    assert 0.83 < got.interval[0] < 0.85 < 0.88 < got.interval[1] < 0.9
    assert (counts.max(axis=1) == 3).mean() == pytest.approx(0.88, abs=0.005)
    names: dict[int, Choice] = {0: "tie", 1: "a", 2: "b"}
    votes = encode([verdict(i // 3, f"r{i % 3}", names[label]) for i, label in enumerate(labels)])
    report = agreement_report(votes)
    # The report pools the sides, which are arbitrary in PandaLM too: each of the two has the mean
    # of their shares. Observed and chance agreement by hand.
    tie, a, b = counts.sum(axis=0) / counts.sum()
    chance = tie**2 + 2 * ((a + b) / 2) ** 2
    observed = (counts * (counts - 1)).sum() / (999 * 3 * 2)
    assert report.fleiss_kappa.value == pytest.approx((observed - chance) / (1 - chance))
