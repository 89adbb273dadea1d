"""The lead's figures from a round's judgments: agreement, habits, raters, checks, drift, ratings.

Nothing here decides about a person or a label. Every figure carries its interval and the number it
rests on, and where there is none, why.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from accord.errors import DataError
from accord.feedback.agreement import agreement_report
from accord.feedback.intervals import paired_win_rate, wilson
from accord.feedback.ratings import rate
from accord.feedback.resampling import Coefficient
from accord.feedback.votes import encode
from accord.store.judgments import is_right
from accord.types import Choice, Comparison
from accord.web.lead_data import Judged, comparisons
from accord.web.svg import Estimate, Point

ANCHOR_BATCHES = 12
LEAST_PER_BATCH = 5
FEW_RATERS = 2


@dataclass(frozen=True, slots=True)
class RaterFigures:
    """What one person's judgments look like; shares are 0 to 1, time is the median in seconds."""

    id: str
    num: int
    seconds: float | None
    left: Estimate
    longer: Estimate
    ties: Estimate
    consistent: Estimate
    gold: Estimate


@dataclass(frozen=True, slots=True)
class Drift:
    """Anchors by batch: the share that prefers the first answer, its middle and the limits."""

    points: tuple[Point, ...]
    middle: float
    band: float
    num: int


@dataclass(frozen=True, slots=True)
class PolicyRating:
    """A policy in Elo points from people, and as the reward model's scores foretell it."""

    name: str
    elo: Estimate
    predicted: Estimate
    num: int


@dataclass(frozen=True, slots=True)
class Figures:
    """All that the pages show of a round's judgments; empty where there is nothing to show."""

    num_judgments: int = 0
    agreement: tuple[Estimate, ...] = ()
    beyond_chance: tuple[Estimate, ...] = ()
    agreement_missing: str = ""
    habits: tuple[Estimate, ...] = ()
    gold: tuple[Estimate, ...] = ()
    drift: Drift | None = None
    raters: tuple[RaterFigures, ...] = field(default=())


def figures(rows: Sequence[Judged], strength_steps: int, seed: int = 0) -> Figures:
    """Every figure of a round.

    Args:
        rows: judgments in the order in which they were given.
        strength_steps: of the round's schema, to put strengths between 0 and 1.
        seed: of the bootstraps.
    """
    usual = [row for row in rows if row.role in ("normal", "anchor")]
    pairs, first_on_a = comparisons(usual, strength_steps)
    agreement, chance, missing = _agreement(pairs, first_on_a, seed)
    raters = _raters(rows, strength_steps)
    return Figures(
        num_judgments=len(rows),
        agreement=agreement,
        beyond_chance=chance,
        agreement_missing=missing,
        habits=_habits(raters) if pairs else (),
        gold=tuple(r.gold for r in raters if r.gold.num),
        drift=_drift([row for row in rows if row.role == "anchor"]),
        raters=raters,
    )


def _agreement(
    pairs: Sequence[Comparison], first_on_a: Sequence[bool], seed: int
) -> tuple[tuple[Estimate, ...], tuple[Estimate, ...], str]:
    if not pairs:
        return (), (), "No figures yet: nobody has judged an item of this round."
    report = agreement_report(encode(pairs, first_on_a=first_on_a), seed=seed)
    if report.raw.value is None:
        return (
            (),
            (),
            (
                "No figures yet: no item was judged by two people. Raise the overlap or the shared "
                "pool, or wait until a second person has worked."
            ),
        )
    raw = (
        _coefficient("All outcomes", report.raw),
        _coefficient("Without ties", report.raw_without_ties),
    )
    chance = (
        _coefficient("Fleiss' kappa", report.fleiss_kappa),
        _coefficient("Krippendorff's alpha", report.alpha_nominal),
        _coefficient("alpha, in order", report.alpha_ordinal),
        _coefficient("alpha, with strength", report.alpha_interval),
        _coefficient("Gwet's AC1", report.gwet_ac1),
    )
    return raw, chance, ""


def _coefficient(label: str, found: Coefficient) -> Estimate:
    low, high = found.interval or (None, None)
    return Estimate(label, found.value, low, high, found.num_verdicts, found.reason)


def _raters(rows: Sequence[Judged], strength_steps: int) -> tuple[RaterFigures, ...]:
    by_rater: dict[str, list[Judged]] = {}
    for row in rows:
        by_rater.setdefault(row.rater, []).append(row)
    return tuple(
        _rater(rater, own, strength_steps)
        for rater, own in sorted(by_rater.items(), key=lambda pair: -len(pair[1]))
    )


def _rater(rater: str, rows: Sequence[Judged], strength_steps: int) -> RaterFigures:
    usual = [row for row in rows if row.role in ("normal", "anchor")]
    pairs, first_on_a = comparisons(usual, strength_steps)
    left, decided = _left(pairs, first_on_a)
    tied = sum(pair.choice in ("tie", "both_bad") for pair in pairs)
    gold = [is_right(row.answer, row.outcome) for row in rows if row.role == "gold" and row.answer]
    times = [row.active_ms / 1000 for row in rows if row.active_ms]
    again = _again(usual)
    return RaterFigures(
        id=rater,
        num=len(rows),
        seconds=statistics.median(times) if times else None,
        left=share(rater, left, decided),
        longer=share(rater, *_longer(pairs)),
        ties=share(rater, tied, len(pairs)),
        consistent=share(rater, sum(again), len(again)),
        gold=share(rater, sum(gold), len(gold)),
    )


def _left(pairs: Sequence[Comparison], first_on_a: Sequence[bool]) -> tuple[int, int]:
    """How often the side shown first was chosen, of how many decided pairs."""
    sides = [
        (pair.choice == "a") == first
        for pair, first in zip(pairs, first_on_a, strict=True)
        if pair.choice in ("a", "b")
    ]
    return sum(sides), len(sides)


def _longer(pairs: Sequence[Comparison]) -> tuple[int, int]:
    """How often the answer with more words was chosen, of how many decided unequal pairs."""
    longer = [
        (pair.choice == "a") == (difference > 0)
        for pair in pairs
        if pair.choice in ("a", "b")
        and (difference := len(pair.a.text.split()) - len(pair.b.text.split()))
    ]
    return sum(longer), len(longer)


def share(label: str, part: int, whole: int) -> Estimate:
    """A share with Wilson's interval; no figure of nothing."""
    if whole == 0:
        return Estimate(label, None, note="nothing to count yet")
    low, high = wilson(part, whole)
    return Estimate(label, part / whole, low, high, whole)


def _again(rows: Sequence[Judged]) -> list[bool]:
    """For each repeat of an item by the same person: whether they chose the same as before."""
    last: dict[str, Any] = {}
    found = []
    for row in rows:
        said = row.outcome.get("ranks") or (row.outcome.get("outcome"), row.outcome.get("best"))
        if row.item in last:
            found.append(said == last[row.item])
        last[row.item] = said
    return found


def _habits(raters: Sequence[RaterFigures]) -> tuple[Estimate, ...]:
    """The average person: each counts the same, and people are the independent units."""
    return (
        _average("Left answer chosen", (r.left for r in raters)),
        _average("Longer answer chosen", (r.longer for r in raters)),
    )


def _average(label: str, shares: Iterable[Estimate]) -> Estimate:
    known = [(s.value, s.num) for s in shares if s.value is not None]
    if not known:
        return Estimate(label, None, note="nothing to count yet")
    num = sum(n for _, n in known)
    if len(known) < FEW_RATERS:
        return share(label, round(known[0][0] * num), num)
    outcomes = [(value * n, 0.0, (1 - value) * n) for value, n in known]
    found = paired_win_rate(outcomes)
    return Estimate(label, found.value, found.low, found.high, num)


def _drift(rows: Sequence[Judged]) -> Drift | None:
    """Anchors in batches of equal size, by time; limits are three standard errors wide.

    Within a batch judgments are taken as independent, so the limits are a rule for a closer look
    and no test (Shewhart's p-chart).
    """
    firsts = [
        1.0 if row.outcome.get("best") == 0 else 0.0 if row.outcome.get("best") == 1 else 0.5
        for row in rows
        if row.outcome.get("outcome") in ("best", "tie", "both_bad")
    ]
    if len(firsts) < 2 * LEAST_PER_BATCH:
        return None
    size = max(LEAST_PER_BATCH, math.ceil(len(firsts) / ANCHOR_BATCHES))
    batches = [firsts[i : i + size] for i in range(0, len(firsts), size)]
    if len(batches) > 1 and len(batches[-1]) < LEAST_PER_BATCH:
        batches[-2] += batches.pop()
    middle = statistics.fmean(firsts)
    band = 3 * math.sqrt(max(middle * (1 - middle), 1e-9) / size)
    points = []
    for number, batch in enumerate(batches, start=1):
        value = statistics.fmean(batch)
        limit = band * math.sqrt(size / len(batch))
        points.append(Point(f"batch {number}", value, abs(value - middle) > limit))
    return Drift(tuple(points), middle, band, len(firsts))


def head_to_head(rows: Sequence[Judged], strength_steps: int) -> tuple[PolicyRating, ...]:
    """Policies by Elo from people, with what the reward model's scores foretell beside it.

    The prediction rates the same pairs as if each had gone to the higher score, so both columns
    answer the same question.

    Raises:
        DataError: too little to rate: one policy, or one that always won or never did.
    """
    usual = [row for row in rows if row.role == "normal"]
    pairs, first_on_a = comparisons(usual, strength_steps)
    if not pairs:
        raise DataError("nobody has judged a pair yet")
    shown = [p if first else p.swap() for p, first in zip(pairs, first_on_a, strict=True)]
    people = rate(shown, prior=0.1)
    scored = [row for row in usual if len(row.scores) == 2 and None not in row.scores]
    promised = {}
    if scored:
        foretold = [_foretold(row) for row in scored]
        promised = {r.name: r for r in rate(foretold, order=False, prior=0.1).elo()}
    num = dict.fromkeys((r.name for r in people.ratings), 0)
    for pair in pairs:
        num[pair.a.model] += 1
        num[pair.b.model] += 1
    found = []
    for rating in people.elo():
        ours = Estimate(rating.name, rating.value, rating.low, rating.high, num[rating.name])
        theirs = promised.get(rating.name)
        missing = Estimate(rating.name, None, note="no scores")
        found.append(
            PolicyRating(
                rating.name,
                ours,
                missing
                if theirs is None
                else Estimate(rating.name, theirs.value, theirs.low, theirs.high, len(scored)),
                num[rating.name],
            )
        )
    return tuple(found)


def _foretold(row: Judged) -> Comparison:
    first, second = row.scores[0] or 0.0, row.scores[1] or 0.0
    choice: Choice = "a" if first > second else "b" if second > first else "tie"
    a, b = row.completions
    return Comparison(row.prompt, a, b, choice, rater="reward model", id=row.assignment)
