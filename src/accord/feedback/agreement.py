"""Agreement between raters: raw, beyond chance, with intervals, and beside the papers' figures.

Everything starts from a count table: one row an item, one column a category, how many raters chose
it. Items are the independent units, so intervals resample items (Efron 1979), or are Wilson's where
each item carries exactly one pair of raters. A coefficient that is undefined says why.

Which completion of a pair is "first" is nobody's choice, so chance must not depend on it. Given a
``mirror``, the categories after a swap of the two, a coefficient pools the shares of categories
with their mirror image, as Fisher (1925) enters each pair of an intraclass correlation twice.

Sources: Cohen 1960 and 1968 (kappa, weighted), Fleiss 1971, Krippendorff 2011 ("Computing
Krippendorff's alpha-reliability"), Gwet 2008 (AC1; 2014 for missing ratings).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypedDict

import numpy as np
from numpy.typing import ArrayLike

from accord.feedback.intervals import wilson
from accord.feedback.resampling import Coefficient, estimate, patterns
from accord.feedback.votes import BOTH_BAD, FIRST, OUTCOMES, SECOND, TIE, IntArray, Votes
from accord.rng import FloatArray

Level = Literal["nominal", "ordinal", "interval"]
_STEPS = 50
_MIRROR = (SECOND, FIRST, TIE, BOTH_BAD)
"""What each outcome becomes when the two completions change places."""


class _Settings(TypedDict):
    confidence: float
    num_resamples: int
    seed: int


@dataclass(frozen=True, slots=True)
class PaperAgreement:
    """An agreement rate that a paper reports; ``error`` is its standard error where given."""

    who: str
    rate: float
    error: float | None
    source: str


PAPER_AGREEMENT = (
    PaperAgreement("crowd and researchers", 0.63, None, "Bai et al. 2022, section 2.1"),
    PaperAgreement("labelers, training data", 0.72, None, "Stiennon et al. 2020, appendix C.2"),
    PaperAgreement("researchers", 0.73, 0.04, "Stiennon et al. 2020, appendix C.2"),
    PaperAgreement("training labelers", 0.726, 0.015, "Ouyang et al. 2022, section 3.4"),
    PaperAgreement("held-out labelers", 0.773, 0.013, "Ouyang et al. 2022, section 3.4"),
    PaperAgreement("labelers and researchers", 0.77, 0.02, "Stiennon et al. 2020, appendix C.2"),
)
PAPER_BAND = (0.63, 0.77)
"""Raw agreement without ties that the papers found good enough to train on."""


@dataclass(frozen=True, slots=True)
class AgreementReport:
    """All figures for one set of verdicts; a round, a rater's share or a prompt class."""

    raw: Coefficient
    raw_without_ties: Coefficient
    fleiss_kappa: Coefficient
    alpha_nominal: Coefficient
    alpha_ordinal: Coefficient
    alpha_interval: Coefficient
    gwet_ac1: Coefficient

    def all(self) -> tuple[Coefficient, ...]:
        """The coefficients in the order of a table."""
        return (
            self.raw,
            self.raw_without_ties,
            self.fleiss_kappa,
            self.alpha_nominal,
            self.alpha_ordinal,
            self.alpha_interval,
            self.gwet_ac1,
        )


def agreement_report(
    votes: Votes, confidence: float = 0.95, num_resamples: int = 500, seed: int = 0
) -> AgreementReport:
    """Every measure of agreement between raters; a rater's repeats of an item count once.

    The nominal measures see four outcomes (first, second, tie, both bad); the ordinal alpha sees
    first < tie or both bad < second; the interval alpha sees the signed strength, -1 to 1,
    in steps of 1/50. Chance agreement is pooled over both ways to call a completion the first.
    """
    settings = _Settings(confidence=confidence, num_resamples=num_resamples, seed=seed)
    once = votes.first_verdicts()
    item, outcome = votes.item[once], votes.outcome[once]
    table = count_table(item, outcome, len(OUTCOMES))
    decided = outcome < TIE
    plain = count_table(item[decided], outcome[decided], 2)
    order = count_table(item, np.array([0, 2, 1, 1])[outcome], 3)
    signed = np.where(decided, np.where(outcome == FIRST, 1, -1) * votes.strength[once], 0.0)
    asked = ~np.isnan(signed)
    steps = np.round((signed[asked] + 1) * _STEPS).astype(np.int64)
    strengths = count_table(item[asked], steps, 2 * _STEPS + 1)
    values = np.arange(2 * _STEPS + 1) / _STEPS - 1
    if np.isnan(votes.strength[once]).all():
        no_strength = "no verdict carries a strength"
        interval_alpha = Coefficient("alpha (interval)", None, None, 0, 0, no_strength)
    else:
        turned = np.arange(2 * _STEPS + 1)[::-1]
        interval_alpha = krippendorff_alpha(strengths, "interval", values, turned, **settings)
    return AgreementReport(
        raw=raw_agreement(table, **settings),
        raw_without_ties=raw_agreement(plain, name="raw agreement without ties", **settings),
        fleiss_kappa=fleiss_kappa(table, _MIRROR, **settings),
        alpha_nominal=krippendorff_alpha(table, "nominal", None, _MIRROR, **settings),
        alpha_ordinal=krippendorff_alpha(order, "ordinal", None, (2, 1, 0), **settings),
        alpha_interval=interval_alpha,
        gwet_ac1=gwet_ac1(table, _MIRROR, **settings),
    )


def count_table(items: ArrayLike, categories: ArrayLike, num_categories: int) -> IntArray:
    """(I, K) counts from one item index and one category index a verdict.

    Raises:
        ValueError: lengths differ, or a category outside [0, K).
    """
    item, category = np.asarray(items, np.int64), np.asarray(categories, np.int64)
    if item.shape != category.shape or item.ndim != 1:
        raise ValueError(f"one category an item index, not {category.shape} for {item.shape}")
    if category.size and not (category.min() >= 0 and category.max() < num_categories):
        raise ValueError(f"categories must lie in [0, {num_categories})")
    num_items = int(item.max()) + 1 if item.size else 0
    flat = np.bincount(item * num_categories + category, minlength=num_items * num_categories)
    return flat.reshape(num_items, num_categories)


def raw_agreement(
    table: ArrayLike,
    confidence: float = 0.95,
    num_resamples: int = 500,
    seed: int = 0,
    name: str = "raw agreement",
) -> Coefficient:
    """Share of pairs of raters who chose the same, each item weighing the same.

    To leave ties out (as Stiennon et al. 2020 do), leave them out of the table.

    Args:
        table: (I, K) counts; items with fewer than two verdicts say nothing and are left out.
        confidence: two-sided coverage.
        num_resamples: of the bootstrap, used unless every item has exactly two verdicts.
        seed: of the bootstrap.
        name: of the figure.
    """
    rows, weights = patterns(table)
    rate = _pair_agreement(rows)
    out = estimate(name, rows, weights, lambda w: w @ rate / w.sum(axis=1), (confidence, 0, seed))
    if out.value is None:
        return out
    if (rows.sum(axis=1) == 2).all():
        low, high = wilson(round(out.value * out.num_items), out.num_items, confidence)
        return Coefficient(name, out.value, (low, high), out.num_items, out.num_verdicts)
    settings = (confidence, num_resamples, seed)
    return estimate(name, rows, weights, lambda w: w @ rate / w.sum(axis=1), settings)


def fleiss_kappa(
    table: ArrayLike,
    mirror: ArrayLike | None = None,
    confidence: float = 0.95,
    num_resamples: int = 500,
    seed: int = 0,
) -> Coefficient:
    """Fleiss' kappa; where items have different numbers of raters, in Gwet's (2014) form.

    That form takes the mean of the items' shares of categories for the chance agreement, also of
    items with one verdict, and items with two or more for the observed one. A ``mirror`` is as in
    :func:`krippendorff_alpha`.
    """
    rows, weights = patterns(table, least=1)
    return estimate(
        "Fleiss' kappa",
        rows,
        weights,
        partial(_chance_corrected, rows, lambda p: (p**2).sum(axis=1), mirror),
        (confidence, num_resamples, seed),
    )


def gwet_ac1(
    table: ArrayLike,
    mirror: ArrayLike | None = None,
    confidence: float = 0.95,
    num_resamples: int = 500,
    seed: int = 0,
) -> Coefficient:
    """Gwet's AC1 (2008): its chance agreement stays small where one category dominates."""
    rows, weights = patterns(table, least=1)
    num_categories = rows.shape[1]

    def chance(share: FloatArray) -> FloatArray:
        total: FloatArray = (share * (1 - share)).sum(axis=1) / (num_categories - 1)
        return total

    return estimate(
        "Gwet's AC1",
        rows,
        weights,
        partial(_chance_corrected, rows, chance, mirror),
        (confidence, num_resamples, seed),
    )


def krippendorff_alpha(
    table: ArrayLike,
    level: Level = "nominal",
    values: ArrayLike | None = None,
    mirror: ArrayLike | None = None,
    confidence: float = 0.95,
    num_resamples: int = 500,
    seed: int = 0,
) -> Coefficient:
    """Krippendorff's alpha: 1 - observed / expected disagreement; missing verdicts are no trouble.

    Args:
        table: (I, K) counts; for "ordinal" the columns ascend.
        level: how far apart two categories are: "nominal" 0 or 1, "ordinal" by the verdicts that
            lie between, "interval" by the square of the difference of ``values``.
        values: (K,) numbers of the categories for "interval"; 0, 1, 2, ... where not given.
        mirror: (K,) categories after a swap of the two completions judged, if that is arbitrary.
        confidence: two-sided coverage.
        num_resamples: of the bootstrap over items.
        seed: of the bootstrap.
    """
    rows, weights = patterns(table)
    num = rows.shape[1]
    scale = np.arange(num, dtype=float) if values is None else np.asarray(values, dtype=float)
    per_row = rows.sum(axis=1)
    settings = (confidence, num_resamples, seed)
    if level == "interval":
        turned = _pooled(np.eye(num), mirror)
        moments = np.stack([per_row, rows @ scale, rows @ scale**2], axis=1)
        pooled = np.stack([per_row, rows @ turned @ scale, rows @ turned @ scale**2], axis=1)
        statistic = partial(_interval_alpha, moments, pooled)
        return estimate("alpha (interval)", rows, weights, statistic, settings)
    pairs = rows[:, :, None] * (rows[:, None, :] - np.eye(num)) / (per_row - 1)[:, None, None]

    def alpha(weight: FloatArray) -> FloatArray:
        total = _pooled(weight @ rows, mirror)
        coincidences = np.tensordot(weight, pairs, axes=1)
        distance = _ordinal(total) if level == "ordinal" else 1.0 - np.eye(num)
        observed = (coincidences * distance).sum(axis=(1, 2))
        expected = (total[:, :, None] * total[:, None, :] * distance).sum(axis=(1, 2))
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = observed * (total.sum(axis=1) - 1) / expected
            out: FloatArray = np.where(expected > 0, 1.0 - ratio, np.nan)
        return out

    return estimate(f"alpha ({level})", rows, weights, alpha, settings)


def cohen_kappa(
    first: Sequence[int] | IntArray,
    second: Sequence[int] | IntArray,
    weighting: Literal["none", "linear", "quadratic"] = "none",
    num_categories: int | None = None,
    confidence: float = 0.95,
    num_resamples: int = 500,
    seed: int = 0,
) -> Coefficient:
    """Cohen's kappa of two raters who judged the same items; weighted if the categories ascend.

    Args:
        first: category of each item by the first rater, from 0.
        second: by the second rater, in the same order.
        weighting: how much near misses count: not at all, or by the (squared) distance.
        num_categories: K; the largest seen where not given.
        confidence: two-sided coverage.
        num_resamples: of the bootstrap over items.
        seed: of the bootstrap.

    Raises:
        ValueError: the two lists differ in length, or a category outside [0, K).
    """
    x, y = np.asarray(first, np.int64), np.asarray(second, np.int64)
    num = num_categories or int(max(x.max(initial=0), y.max(initial=0))) + 1
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"both raters must judge the same items, not {x.shape} and {y.shape}")
    if x.size and not (min(x.min(), y.min()) >= 0 and max(x.max(), y.max()) < num):
        raise ValueError(f"categories must lie in [0, {num})")
    cells = np.bincount(x * num + y, minlength=num * num)
    used = np.flatnonzero(cells)
    a, b = np.divmod(used, num)
    grid = np.arange(num)
    gap = np.abs(grid[:, None] - grid).astype(float)
    penalty = {"none": (gap > 0).astype(float), "linear": gap, "quadratic": gap**2}[weighting]

    def kappa(weight: FloatArray) -> FloatArray:
        left, right = weight @ np.eye(num)[a], weight @ np.eye(num)[b]
        expected = ((left @ penalty) * right).sum(axis=1) / weight.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(expected > 0, 1.0 - weight @ penalty[a, b] / expected, np.nan)

    rows = np.eye(num)[a] + np.eye(num)[b]
    weights = cells[used].astype(float)
    name = "Cohen's kappa" if weighting == "none" else f"Cohen's kappa ({weighting} weights)"
    return estimate(name, rows, weights, kappa, (confidence, num_resamples, seed))


def single_label_accuracy(agreement: float) -> float:
    """Share of right labels of each of two equally good raters who agree this often on two sides.

    Two independent raters of accuracy q agree with q^2 + (1 - q)^2: 72.6 % means q = 0.836.

    Raises:
        ValueError: an agreement outside [0.5, 1]; below one half no common accuracy explains it.
    """
    if not 0.5 <= agreement <= 1.0:
        raise ValueError(f"an agreement of {agreement} is no pair of equally accurate raters")
    return (1.0 + math.sqrt(2.0 * agreement - 1.0)) / 2.0


def _pair_agreement(rows: FloatArray) -> FloatArray:
    total = rows.sum(axis=1)
    pairs = np.maximum(total * (total - 1), 1.0)  # a single verdict has no pair and counts 0
    rate: FloatArray = ((rows**2).sum(axis=1) - total) / pairs
    return rate


def _chance_corrected(
    rows: FloatArray,
    chance: Callable[[FloatArray], FloatArray],
    mirror: ArrayLike | None,
    weight: FloatArray,
) -> FloatArray:
    size, several = weight.sum(axis=1), weight @ (rows.sum(axis=1) >= 2)
    share = weight @ (rows / rows.sum(axis=1, keepdims=True)) / size[:, None]
    expected = chance(_pooled(share, mirror))
    with np.errstate(invalid="ignore", divide="ignore"):
        observed = weight @ _pair_agreement(rows) / several
        kappa: FloatArray = (observed - expected) / (1 - expected)
    return np.where(expected < 1 - 1e-12, kappa, np.nan)


def _pooled(share: FloatArray, mirror: ArrayLike | None) -> FloatArray:
    """The mean of (..., K) shares of categories and of their mirror image, if there is one."""
    if mirror is None:
        return share
    mean: FloatArray = (share + share[..., np.asarray(mirror)]) / 2
    return mean


def _interval_alpha(moments: FloatArray, pooled: FloatArray, weight: FloatArray) -> FloatArray:
    """Alpha of squared differences from each row's number, sum and sum of squares."""
    num, total, square = moments.T
    observed = weight @ ((num * square - total**2) / (num - 1))
    all_num, all_total, all_square = (weight @ pooled).T
    expected = all_num * all_square - all_total**2
    defined = expected > 1e-12 * all_num * all_square
    ratio = observed * (all_num - 1) / np.where(defined, expected, 1.0)
    alpha: FloatArray = np.where(defined, 1.0 - ratio, np.nan)
    return alpha


def _ordinal(total: FloatArray) -> FloatArray:
    """(B, K, K) ordinal distances (Krippendorff 2011, p. 7): verdicts between, ends half."""
    place = np.cumsum(total, axis=1) - total / 2
    distance: FloatArray = (place[:, :, None] - place[:, None, :]) ** 2
    return distance
