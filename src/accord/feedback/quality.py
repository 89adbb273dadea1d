"""Can these raters be trusted? One report a rater, weights for training, soft labels.

Flags ask a person to look. Nothing here drops a verdict: leaving out low-agreement raters did not
help Stiennon et al. 2020 (appendix C.2), so a doubtful rater's verdicts count less instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from accord.feedback import habits
from accord.feedback.dawid_skene import dawid_skene
from accord.feedback.habits import Measure
from accord.feedback.rater_model import RaterModel, fit_raters
from accord.feedback.votes import FIRST, SECOND, Votes
from accord.rng import FloatArray

CARELESS_BELOW = 0.5
"""A reliability whose whole interval lies below half of the median rater's is flagged."""
PULL_ABOVE = 0.2
"""Log odds that a side pull or a taste must exceed to be flagged, besides being significant."""
FAMILY_ERROR = 0.05
"""Chance of one false flag for pulls and tastes among all raters of a round without any."""
LEAST_WEIGHT = 0.05
"""No verdict loses all its weight."""


@dataclass(frozen=True, slots=True)
class Flag:
    """A reason to look at a rater's work: what was found, with its interval in words."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class RaterReport:
    """Everything known about one rater, or about the pool.

    Attributes:
        rater: id; "pool" for all together.
        num_verdicts: verdicts given, repeats included.
        reliability: 1 like the median rater, 0 a coin, negative against the others.
        accuracy: share of right verdicts by the one-coin model of Dawid and Skene.
        side_pull: log odds for the side shown first, the answers' quality accounted for.
        side_share: share of decided verdicts for the side shown first.
        side_evidence: e-value against an even chance of sides; 20 is strong at any time.
        tastes: log odds for a standard deviation more of each feature, beyond the pool's taste.
        feature_shares: share of decided verdicts for the side with more of each feature.
        tie_rate: share of ties and both bad.
        with_others: mean share of an item's other raters who said the same.
        consistency: share of repeats judged as before.
        known_answers: share right on gold and attention items.
        seconds: median time of a verdict.
        rushed: share of verdicts too fast to have read.
        weight: for training, LEAST_WEIGHT to 1.
        flags: reasons to look.
    """

    rater: str
    num_verdicts: int
    reliability: Measure
    accuracy: Measure
    side_pull: Measure
    side_share: Measure
    side_evidence: float
    tastes: Mapping[str, Measure]
    feature_shares: Mapping[str, Measure]
    tie_rate: Measure
    with_others: Measure
    consistency: Measure
    known_answers: Measure
    seconds: Measure
    rushed: Measure
    weight: float
    flags: tuple[Flag, ...]


@dataclass(frozen=True, slots=True)
class QualityReport:
    """The raters, sorted by id, the pool, and the model behind reliability and soft labels."""

    raters: tuple[RaterReport, ...]
    pool: RaterReport
    model: RaterModel

    def flagged(self) -> dict[str, tuple[str, ...]]:
        """Kinds of flags of the raters that have any."""
        return {r.rater: tuple(f.kind for f in r.flags) for r in self.raters if r.flags}


def review(
    votes: Votes,
    answers: Mapping[int, int] | None = None,
    expected: Mapping[int, float] | None = None,
    durations: ArrayLike | None = None,
    floors: ArrayLike = 2.0,
    confidence: float = 0.95,
) -> QualityReport:
    """Report on every rater of a set of verdicts.

    Args:
        votes: the verdicts; their features become tastes ("length", "agreement phrases", ...).
        answers: item index -> known outcome, of gold and attention items.
        expected: item index -> margin foretold by a reward model, if raters' items overlap little.
        durations: (N,) active seconds; NaN where unknown.
        floors: seconds below which nobody can have read an item; one number or (N,).
        confidence: of every interval.

    Raises:
        DataError: as the functions it calls.
    """
    known = dict(answers or {})
    sides = {FIRST: 1, SECOND: -1}
    gold = {item: sides[outcome] for item, outcome in known.items() if outcome in sides}
    model = fit_raters(votes, expected, gold, confidence)
    unknown = np.full(len(votes), np.nan)
    time = unknown if durations is None else np.asarray(durations, dtype=np.float64)
    columns = {
        "reliability": _modelled(votes, model.reliability, len(votes.raters)),
        "accuracy": _accuracy(votes, confidence),
        "side_pull": _modelled(votes, model.side, len(votes.raters)),
        "side_share": habits.side_share(votes, confidence),
        "tie_rate": habits.tie_rate(votes, confidence),
        "with_others": habits.with_others(votes, confidence),
        "consistency": habits.consistency(votes, confidence),
        "known_answers": habits.right_share(votes, known, confidence),
        "seconds": habits.seconds(votes, time, confidence),
        "rushed": habits.rushed(votes, time, floors, confidence),
    }
    shares = {name: habits.feature_share(votes, name, confidence) for name in votes.names}
    reports = _reports(votes, model, columns, shares)
    return QualityReport(reports[:-1], reports[-1], model)


def _reports(
    votes: Votes,
    model: RaterModel,
    columns: Mapping[str, tuple[Measure, ...]],
    shares: Mapping[str, tuple[Measure, ...]],
) -> tuple[RaterReport, ...]:
    """A report for each rater, and the pool's last."""
    num = len(votes.raters)
    tastes = {name: _modelled(votes, model.tastes[:, f], num) for f, name in enumerate(votes.names)}
    evidence = habits.side_evidence(votes)
    weights = [*_weights(model).tolist(), 1.0]
    counts = [*np.bincount(votes.rater, minlength=num).tolist(), len(votes)]
    reports = []
    for place, rater in enumerate([*votes.raters, "pool"]):
        row = {key: column[place] for key, column in columns.items()}
        flags = (*_model_flags(model, place), *_habit_flags(row)) if place < num else ()
        reports.append(
            RaterReport(
                rater=rater,
                num_verdicts=counts[place],
                side_evidence=evidence[place],
                tastes={name: column[place] for name, column in tastes.items()},
                feature_shares={name: column[place] for name, column in shares.items()},
                weight=weights[place],
                flags=flags,
                **row,
            )
        )
    return tuple(reports)


def rater_weights(report: QualityReport) -> dict[str, float]:
    """Weight of each rater's verdicts in training: 1 for most, less where they tell less.

    Reliability over (1 + variance that side and tastes add to the verdicts), relative to the median
    rater, between LEAST_WEIGHT and 1. Verdicts of a weight are kept; nobody is deleted.
    """
    return {row.rater: row.weight for row in report.raters}


def soft_labels(votes: Votes, model: RaterModel) -> FloatArray:
    """(N,) posterior probability that completion ``a`` of each comparison is the better one.

    All verdicts on an item, and who gave them, are in it; verdicts on one item share one number.
    Train on them where two or more raters judged most items, or a score foretells them; with single
    verdicts weights serve better (benchmarks/rater_detection.py has the figures).
    """
    better: FloatArray = model.better[votes.item]
    return np.where(votes.turned, 1.0 - better, better)


def _weights(model: RaterModel) -> FloatArray:
    def signal(table: FloatArray) -> FloatArray:
        """Squares, less what noise alone would show."""
        square: FloatArray = np.maximum(table[..., 0] ** 2 - table[..., 1] ** 2, 0.0)
        return square

    waste = signal(model.side) + signal(model.tastes).sum(axis=1)
    raw = np.maximum(model.reliability[:, 0], 0.0) / (1.0 + waste)
    typical = float(np.median(raw)) or 1.0
    weights: FloatArray = np.clip(raw / typical, LEAST_WEIGHT, 1.0)
    return weights


def _modelled(votes: Votes, table: FloatArray, num: int) -> tuple[Measure, ...]:
    """A column of the model, and the pool's mean with the interval of a mean of these."""
    counts = np.bincount(votes.rater, minlength=num)
    rows = [
        Measure(float(value), (float(low), float(high)), int(count))
        for (value, _, low, high), count in zip(table, counts, strict=True)
    ]
    value = float(table[:, 0].mean())
    half = float(np.sqrt(((table[:, 3] - table[:, 2]) ** 2).sum()) / 2 / num)
    return (*rows, Measure(value, (value - half, value + half), len(votes)))


def _accuracy(votes: Votes, confidence: float) -> tuple[Measure, ...]:
    """One-coin accuracies from decided verdicts on items that two or more raters judged."""
    num = len(votes.raters)
    used = votes.decided & votes.first_verdicts()
    used &= np.bincount(votes.item[used], minlength=len(votes.items))[votes.item] >= 2
    reason = "no item of theirs was decided by another rater too"
    if not used.any():
        return (Measure(None, None, 0, reason),) * (num + 1)
    item = np.unique(votes.item[used], return_inverse=True)[1].reshape(-1)
    fit = dawid_skene(
        item, votes.rater[used], votes.outcome[used], 2, coin="one", confidence=confidence
    )
    counts = np.bincount(votes.rater[used], minlength=num)
    found = len(fit.accuracy)
    rows = [
        Measure(float(fit.accuracy[r]), (float(fit.low[r]), float(fit.high[r])), int(counts[r]))
        if r < found and counts[r]
        else Measure(None, None, 0, reason)
        for r in range(num)
    ]
    shares = counts[:found] / counts.sum()
    value = float(shares @ fit.accuracy)
    half = float(np.sqrt(shares**2 @ (fit.high - fit.low) ** 2) / 2)
    span = (max(0.0, value - half), min(1.0, value + half))
    return (*rows, Measure(value, span, int(counts.sum())))


def _model_flags(model: RaterModel, place: int) -> list[Flag]:
    """Reliability below the bar, and pulls that stay significant among all raters and tastes."""
    flags = []
    value, _, low, high = model.reliability[place].tolist()
    span = f"{value:.2f} ({low:.2f} to {high:.2f}; 1 is typical, 0 is a coin)"
    if high < 0.0:
        flags.append(Flag("adversarial", f"judges against the others: reliability {span}"))
    elif high < CARELESS_BELOW:
        flags.append(Flag("careless", f"verdicts say little about quality: reliability {span}"))
    tests = len(model.raters) * (1 + len(model.names))
    reach = NormalDist().inv_cdf(1.0 - FAMILY_ERROR / (2 * tests))
    pulls = [("side", "the side shown first", model.side[place])]
    pulls += [
        (name, f"answers with more {name}", model.tastes[place, f])
        for f, name in enumerate(model.names)
    ]
    for kind, what, (pull, error, bottom, top) in pulls:
        if abs(pull) > max(PULL_ABOVE, reach * error):
            word = "prefers" if pull > 0 else "avoids"
            span = f"{pull:+.2f} log odds ({bottom:+.2f} to {top:+.2f})"
            flags.append(Flag(kind, f"{word} {what} whatever their quality: {span}"))
    return flags


def _habit_flags(row: Mapping[str, Measure]) -> list[Flag]:
    flags = []
    for key, kind, bar, text in (
        ("consistency", "inconsistent", 0.6, "judges the same pair differently the second time"),
        ("known_answers", "known_answers", 0.6, "misses many items whose answer is known"),
    ):
        found = row[key]
        if found.interval is not None and found.interval[1] < bar:
            flags.append(Flag(kind, f"{text}: {_share(found)} as expected"))
    fast = row["rushed"]
    if fast.interval is not None and fast.interval[0] > 0.1:
        flags.append(Flag("rushed", f"answers before one can read: {_share(fast)} of verdicts"))
    return flags


def _share(found: Measure) -> str:
    assert found.value is not None and found.interval is not None
    low, high = found.interval
    return f"{found.value:.0%} ({low:.0%} to {high:.0%}, {found.num} verdicts)"
