"""Habits of raters, measured directly: shares with Wilson's interval, medians, control charts.

Nothing here models the truth; :mod:`accord.feedback.rater_model` does. Every function returns one
:class:`Measure` a rater in the order of ``Votes.raters``, and the pool's last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accord.errors import DataError
from accord.feedback.intervals import wilson
from accord.feedback.votes import BOTH_BAD, FIRST, TIE, IntArray, Votes
from accord.rng import FloatArray

TAIL = 0.00135
"""Chance to pass a control limit, a side: that of three standard deviations of a normal."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A number with its interval; None and a reason where it does not exist.

    ``num`` is how many verdicts (or pairs of verdicts) stand behind it.
    """

    value: float | None
    interval: tuple[float, float] | None
    num: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ControlPoint:
    """One batch on a control chart: its share, and the limits within which chance keeps it."""

    batch: int
    num: int
    share: float
    low: float
    high: float

    @property
    def outside(self) -> bool:
        """True where the share lies beyond the limits."""
        return not self.low <= self.share <= self.high


def side_share(votes: Votes, confidence: float = 0.95) -> tuple[Measure, ...]:
    """Share of decided verdicts for the side shown first; 0.5 where sides are random."""
    hits, used = _first_side(votes)
    return _shares(votes, hits, used, confidence, "no verdict chose a side")


def side_evidence(votes: Votes) -> tuple[float, ...]:
    """E-value of each rater, and of the pool, against an even chance of either side.

    The bet is a mixture over all pulls with Jeffreys' prior (the Krichevsky-Trofimov bet). Under no
    pull the chance that it ever exceeds 20 is at most 1 in 20 however often one looks (Ville 1939),
    so it may be watched while verdicts come in.
    """
    hits, used = _first_side(votes)
    ones, total = _sums(votes, hits, used)
    return tuple(
        math.exp(
            math.lgamma(k + 0.5)
            + math.lgamma(n - k + 0.5)
            - math.lgamma(n + 1.0)
            - math.log(math.pi)
            + n * math.log(2.0)
        )
        for k, n in zip(ones.tolist(), total.tolist(), strict=True)
    )


def tie_rate(votes: Votes, confidence: float = 0.95) -> tuple[Measure, ...]:
    """Share of verdicts that prefer neither side, "both bad" included."""
    everything = np.ones(len(votes), dtype=bool)
    return _shares(votes, ~votes.decided, everything, confidence, "no verdict")


def both_bad_rate(votes: Votes, confidence: float = 0.95) -> tuple[Measure, ...]:
    """Share of verdicts that find both completions bad."""
    everything = np.ones(len(votes), dtype=bool)
    return _shares(votes, votes.outcome == BOTH_BAD, everything, confidence, "no verdict")


def feature_share(votes: Votes, name: str, confidence: float = 0.95) -> tuple[Measure, ...]:
    """Share of decided verdicts for the side with more of a feature: the longer, the flattering.

    A pool may rightly prefer longer answers; a rater far from the pool has a taste of their own.

    Raises:
        ValueError: no such feature.
    """
    gap = votes.feature(name)
    hits = (votes.outcome == FIRST) == (gap > 0)
    reason = f"no decided verdict on completions that differ in {name}"
    return _shares(votes, hits, votes.decided & (gap != 0), confidence, reason)


def with_others(votes: Votes, confidence: float = 0.95) -> tuple[Measure, ...]:
    """Mean share of an item's other raters who said the same; difficult items lower it for all."""
    once = votes.first_verdicts()
    num, cells = len(votes.items), 4
    place = votes.item * cells + votes.outcome
    same = np.bincount(place[once], minlength=num * cells)[place] - 1
    others = np.bincount(votes.item[once], minlength=num)[votes.item] - 1
    used = once & (others > 0)
    hits = np.where(used, same / np.maximum(others, 1), 0.0)
    return _shares(votes, hits, used, confidence, "nobody else judged these items")


def consistency(votes: Votes, confidence: float = 0.95) -> tuple[Measure, ...]:
    """Share of repeated items on which a rater said the same as the time before."""
    order = np.lexsort((votes.repeat, votes.rater, votes.item))
    again = votes.repeat[order] > 0
    same = np.zeros(len(votes), dtype=bool)
    same[order[1:]] = votes.outcome[order[1:]] == votes.outcome[order[:-1]]
    used = np.zeros(len(votes), dtype=bool)
    used[order] = again
    return _shares(votes, same, used, confidence, "no item was shown twice")


def right_share(
    votes: Votes, answers: dict[int, int], confidence: float = 0.95
) -> tuple[Measure, ...]:
    """Share of right verdicts on items whose answer is known (gold and attention items).

    Args:
        votes: the verdicts.
        answers: item index -> the right outcome (FIRST, SECOND, TIE or BOTH_BAD).
        confidence: two-sided coverage.
    """
    wanted = np.full(len(votes.items), -1)
    wanted[list(answers)] = list(answers.values())
    used = wanted[votes.item] >= 0
    hits = votes.outcome == wanted[votes.item]
    return _shares(votes, hits, used, confidence, "no item with a known answer was judged")


def seconds(votes: Votes, durations: ArrayLike, confidence: float = 0.95) -> tuple[Measure, ...]:
    """Median seconds a verdict takes, with the interval between order statistics.

    Args:
        votes: the verdicts.
        durations: (N,) active seconds of each; NaN where unknown.
        confidence: two-sided coverage.

    Raises:
        DataError: another number of durations, or a negative one.
    """
    time = _durations(votes, durations)
    groups = [time[votes.rater == r] for r in range(len(votes.raters))]
    return tuple(_median(group[~np.isnan(group)], confidence) for group in [*groups, time])


def rushed(
    votes: Votes, durations: ArrayLike, floors: ArrayLike = 2.0, confidence: float = 0.95
) -> tuple[Measure, ...]:
    """Share of verdicts faster than anybody can read.

    Args:
        votes: the verdicts.
        durations: (N,) active seconds of each; NaN where unknown.
        floors: seconds below which nobody can have read the item; one number or (N,).
        confidence: two-sided coverage.

    Raises:
        DataError: another number of durations, or a negative one.
    """
    time = _durations(votes, durations)
    known = ~np.isnan(time)
    hits = np.where(known, time, np.inf) < np.asarray(floors, dtype=np.float64)
    return _shares(votes, hits, known, confidence, "no times were recorded")


def control_chart(
    batches: Sequence[int] | IntArray, hits: ArrayLike, centre: float | None = None
) -> tuple[ControlPoint, ...]:
    """Shares of batches of verdicts on anchors against control limits (Shewhart's p chart).

    The limits are those that chance passes as rarely as three standard deviations of a normal,
    0.135 % a side, from the binomial itself: the normal would be too narrow for small batches.

    Anchors are fixed pairs, shown again in each batch: where their win rate moves, the raters have
    moved (Stiennon et al. 2020, appendix C). Make one for the pool, and one for each rater.

    Args:
        batches: (N,) number of the batch of each verdict on an anchor.
        hits: (N,) 1 where the anchor's reference won, 0 where not, 0.5 for a tie.
        centre: the share expected; that of the first batch's verdicts would be noisy, so the mean
            of all is taken where not given.

    Raises:
        DataError: lengths differ, nothing given, or a hit outside [0, 1].
    """
    batch, hit = np.asarray(batches, np.int64), np.asarray(hits, np.float64)
    if batch.shape != hit.shape or not batch.size or not ((hit >= 0) & (hit <= 1)).all():
        raise DataError("a control chart needs a batch and a hit in [0, 1] for each verdict")
    middle = float(hit.mean()) if centre is None else centre
    points = []
    for number in np.unique(batch).tolist():
        own = hit[batch == number]
        low, high = _chance(middle, len(own))
        points.append(ControlPoint(number, len(own), float(own.mean()), low, high))
    return tuple(points)


def _chance(share: float, num: int) -> tuple[float, float]:
    """The smallest and the largest share of ``num`` that chance reaches 99.73 % of the time."""
    counts = range(num + 1)
    won = math.log(share) if share > 0 else -math.inf
    lost = math.log1p(-share) if share < 1 else -math.inf
    probs = [
        math.exp(
            math.lgamma(num + 1) - math.lgamma(k + 1) - math.lgamma(num - k + 1)
            + (k * won if k else 0.0) + ((num - k) * lost if num > k else 0.0)
        )
        for k in counts
    ]  # fmt: skip
    below, above = np.cumsum(probs), np.cumsum(probs[::-1])
    low = int(np.searchsorted(below, TAIL, side="right"))
    high = num - int(np.searchsorted(above, TAIL, side="right"))
    return min(low, num) / num, max(high, 0) / num


def _first_side(votes: Votes) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    return (votes.outcome == FIRST) == (votes.shown > 0), votes.outcome < TIE


def _sums(votes: Votes, hits: ArrayLike, used: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    """Hits and verdicts of each rater and of the pool."""
    num = len(votes.raters)
    weight = np.asarray(hits, dtype=np.float64)[used]
    ones = np.bincount(votes.rater[used], weight, num)
    total = np.bincount(votes.rater[used], minlength=num).astype(np.float64)
    return np.append(ones, ones.sum()), np.append(total, total.sum())


def _shares(
    votes: Votes, hits: ArrayLike, used: NDArray[np.bool_], confidence: float, reason: str
) -> tuple[Measure, ...]:
    ones, total = _sums(votes, hits, used)
    return tuple(
        Measure(k / n, wilson(min(k, n), int(n), confidence), int(n))
        if n
        else Measure(None, None, 0, reason)
        for k, n in zip(ones.tolist(), total.tolist(), strict=True)
    )


def _durations(votes: Votes, durations: ArrayLike) -> FloatArray:
    time = np.asarray(durations, dtype=np.float64)
    if time.shape != (len(votes),) or (time < 0).any():
        raise DataError(f"durations must be {len(votes)} numbers of seconds >= 0, one a verdict")
    return time


def _median(values: FloatArray, confidence: float) -> Measure:
    if not values.size:
        return Measure(None, None, 0, "no times were recorded")
    ordered, num = np.sort(values), len(values)
    low, high = wilson(num / 2, num, confidence)
    ends = ordered[int(low * num)], ordered[min(num - 1, math.ceil(high * num) - 1)]
    return Measure(float(np.median(ordered)), (float(ends[0]), float(ends[1])), num)
