"""The lead's figures from a round's judgments: agreement, habits, raters, checks, drift, ratings.

Nothing here decides about a person or a label. Every figure carries its interval and the number it
rests on, and where there is none, why.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

from accord.errors import DataError
from accord.feedback.agreement import agreement_report
from accord.feedback.habits import ControlPoint, control_chart
from accord.feedback.quality import RaterReport, review
from accord.feedback.ratings import rate
from accord.feedback.resampling import Coefficient
from accord.feedback.votes import BOTH_BAD, FIRST, SECOND, TIE, encode
from accord.store.database import Store
from accord.store.freeze import FEATURES
from accord.store.records import Round
from accord.store.task import TaskSchema
from accord.types import Choice, Comparison
from accord.web.lead_data import Judged, comparisons, judged
from accord.web.lead_splits import RaterDrift, Splits, measure, splits
from accord.web.svg import Estimate

ANCHOR_BATCHES = 12
LEAST_PER_BATCH = 10
LEAST_VERDICTS = 10
OUTCOMES = {"tie": TIE, "both_bad": BOTH_BAD}


@dataclass(frozen=True, slots=True)
class RaterFigures:
    """What one person's judgments look like; shares are 0 to 1.

    Reliability is 1 for the typical rater, 0 for a coin, negative for one who judges against the
    others. ``flags`` are reasons to look, in words.
    """

    id: str
    num: int
    reliability: Estimate
    accuracy: Estimate
    seconds: Estimate
    left: Estimate
    longer: Estimate
    ties: Estimate
    consistent: Estimate
    gold: Estimate
    weight: float
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PolicyRating:
    """A policy in Elo points from people, and as the reward model's scores foretell it."""

    name: str
    elo: Estimate
    predicted: Estimate
    num: int


@dataclass(frozen=True, slots=True)
class Figures:
    """All that the pages show of a round's judgments; empty where there is nothing to show.

    ``missing`` says why there is no agreement, ``raters_missing`` why there is nothing on raters.
    """

    num_judgments: int = 0
    agreement: tuple[Estimate, ...] = ()
    beyond_chance: tuple[Estimate, ...] = ()
    missing: str = ""
    habits: tuple[Estimate, ...] = ()
    raters: tuple[RaterFigures, ...] = ()
    raters_missing: str = ""
    drift: tuple[ControlPoint, ...] = ()
    rater_drift: tuple[RaterDrift, ...] = ()
    splits: Splits | None = None


_kept: dict[tuple[str, str], tuple[object, Figures, tuple[Judged, ...]]] = {}
_lock = threading.Lock()


def round_figures(store: Store, found: Round) -> tuple[Figures, tuple[Judged, ...]]:
    """The figures of a round and the judgments behind them, kept until there is a new judgment."""
    with _lock:  # two leads who look at once do not pay twice
        with store.read() as conn:
            rows = tuple(judged(conn, found.id))
        stamp = (len(rows), max((row.at for row in rows), default=0.0))
        name = (str(store.url), found.id)
        if name not in _kept or _kept[name][0] != stamp:
            _kept[name] = (stamp, figures(rows, found.schema), rows)
        return _kept[name][1:]


def figures(rows: Sequence[Judged], asked: TaskSchema, seed: int = 0) -> Figures:
    """Every figure of a round.

    Args:
        rows: judgments in the order in which they were given.
        asked: the round's schema.
        seed: of the bootstraps.
    """
    shown = _agreement(rows, asked, seed)
    shown = _raters(shown, [row for row in rows if row.role != "training"], asked.strength_steps)
    anchors = [row for row in rows if row.role == "anchor"]
    return replace(
        shown, num_judgments=len(rows), drift=_drift(anchors), rater_drift=_rater_drift(anchors)
    )


def _agreement(rows: Sequence[Judged], asked: TaskSchema, seed: int) -> Figures:
    usual = [row for row in rows if row.role in ("normal", "anchor")]
    pairs, first_on_a = comparisons(usual, asked.strength_steps)
    if not pairs:
        return Figures(missing="No figures yet: nobody has compared answers in this round.")
    votes = encode(pairs, first_on_a=first_on_a)
    report = agreement_report(votes, seed=seed)
    if report.raw.value is None:
        return Figures(
            missing="No figures yet: no item was judged by two people. Raise the overlap or the "
            "shared pool, or wait until a second person has worked.",
            splits=splits(usual, votes, asked),
        )
    return Figures(
        agreement=(
            _coefficient("Ties counted", report.raw),
            _coefficient("Ties left out, as in papers", report.raw_without_ties),
        ),
        beyond_chance=(
            _coefficient("Fleiss' kappa", report.fleiss_kappa),
            _coefficient("Krippendorff's alpha", report.alpha_nominal),
            _coefficient("Alpha, order counted", report.alpha_ordinal),
            _coefficient("Alpha, strength counted", report.alpha_interval),
            _coefficient("Gwet's AC1", report.gwet_ac1),
        ),
        splits=splits(usual, votes, asked),
    )


def _coefficient(label: str, found: Coefficient) -> Estimate:
    low, high = found.interval or (None, None)
    return Estimate(label, found.value, low, high, found.num_verdicts, found.reason)


def _raters(shown: Figures, rows: Sequence[Judged], strength_steps: int) -> Figures:
    pairs, first_on_a = comparisons(rows, strength_steps)
    if len(pairs) < LEAST_VERDICTS:
        return replace(shown, raters_missing=f"No figures below {LEAST_VERDICTS} judgments.")
    votes = encode(pairs, FEATURES, first_on_a)
    by_assignment = {row.assignment: row for row in rows}
    answers: dict[int, int] = {}
    for item, pair in zip(votes.item.tolist(), pairs, strict=True):
        row = by_assignment[pair.id]
        if row.role in ("gold", "attention") and row.answer:
            places = [row.completions.index(pair.a), row.completions.index(pair.b)]
            known = _expected(row.answer, places)
            answers |= {} if known is None else {item: known}
    per_row: dict[str, int] = {}
    for pair in pairs:
        per_row[pair.id] = per_row.get(pair.id, 0) + 1
    durations = [
        by_assignment[pair.id].active_ms / 1000 / per_row[pair.id] or math.nan for pair in pairs
    ]
    try:
        report = review(votes, answers, durations=durations, floors=0.5)
    except DataError as error:
        return replace(shown, raters_missing=f"No figures yet: {error}.")
    pool = report.pool
    return replace(
        shown,
        habits=(
            measure("Left answer chosen", pool.side_share),
            measure("Longer answer chosen", pool.feature_shares["length"]),
            measure("Agreeing answer chosen", pool.feature_shares["agreement phrases"]),
        ),
        raters=tuple(_rater(row) for row in sorted(report.raters, key=lambda r: -r.num_verdicts)),
    )


def _expected(answer: dict[str, object], places: Sequence[int]) -> int | None:
    """The known outcome of one pair of a checked item; None where it expects nothing of it."""
    i, j = places
    if "best" in answer:
        best = answer["best"]
        return FIRST if best == i else SECOND if best == j else None
    if "ranks" in answer:
        ranks = answer["ranks"]
        assert isinstance(ranks, list)
        return FIRST if ranks[i] < ranks[j] else SECOND if ranks[j] < ranks[i] else TIE
    return OUTCOMES.get(str(answer.get("outcome")))


def _rater(row: RaterReport) -> RaterFigures:
    return RaterFigures(
        id=row.rater,
        num=row.num_verdicts,
        reliability=measure(row.rater, row.reliability, bool(row.flags)),
        accuracy=measure(row.rater, row.accuracy),
        seconds=measure(row.rater, row.seconds),
        left=measure(row.rater, row.side_share),
        longer=measure(row.rater, row.feature_shares["length"]),
        ties=measure(row.rater, row.tie_rate),
        consistent=measure(row.rater, row.consistency),
        gold=measure(row.rater, row.known_answers),
        weight=row.weight,
        flags=tuple(flag.text for flag in row.flags),
    )


def _drift(rows: Sequence[Judged]) -> tuple[ControlPoint, ...]:
    """Anchors in batches of equal size, by time: the share that the first answer won."""
    firsts = [
        1.0 if row.outcome.get("best") == 0 else 0.0 if row.outcome.get("best") == 1 else 0.5
        for row in rows
        if row.outcome.get("outcome") in ("best", "tie", "both_bad")
    ]
    if len(firsts) < 2 * LEAST_PER_BATCH:
        return ()
    size = max(LEAST_PER_BATCH, math.ceil(len(firsts) / ANCHOR_BATCHES))
    last = len(firsts) // size - 1
    return control_chart([1 + min(i // size, last) for i in range(len(firsts))], firsts)


def _rater_drift(rows: Sequence[Judged]) -> tuple[RaterDrift, ...]:
    by_rater: dict[str, list[Judged]] = {}
    for row in rows:
        by_rater.setdefault(row.rater, []).append(row)
    told = []
    for rater, own in sorted(by_rater.items()):
        points = _drift(own)
        few = f"{len(own)} anchors; a chart needs {2 * LEAST_PER_BATCH}"
        told.append(RaterDrift(rater, points, "" if points else few))
    return tuple(told)


def head_to_head(rows: Sequence[Judged], strength_steps: int) -> tuple[PolicyRating, ...]:
    """Policies by Elo from people, with what the reward model's scores foretell beside it.

    The prediction rates the same pairs as if each had gone to the higher score, so both columns
    answer the same question.

    Raises:
        DataError: too little to rate: nobody has judged, or there is only one policy.
    """
    usual = [row for row in rows if row.role == "normal"]
    pairs, first_on_a = comparisons(usual, strength_steps)
    if not pairs:
        raise DataError("nobody has judged a pair yet")
    shown = [p if first else p.swap() for p, first in zip(pairs, first_on_a, strict=True)]
    people = rate(shown, prior=0.1).elo()
    scored = [row for row in usual if len(row.scores) == 2 and None not in row.scores]
    promised: dict[str, Estimate] = {}
    if scored:
        foretold = rate([_foretold(row) for row in scored], order=False, prior=0.1).elo()
        promised = {r.name: Estimate(r.name, r.value, r.low, r.high, len(scored)) for r in foretold}
    sides = [side.model for pair in pairs for side in (pair.a, pair.b)]
    return tuple(
        PolicyRating(
            r.name,
            Estimate(r.name, r.value, r.low, r.high, sides.count(r.name)),
            promised.get(r.name, Estimate(r.name, None, note="no scores")),
            sides.count(r.name),
        )
        for r in people
    )


def _foretold(row: Judged) -> Comparison:
    first, second = row.scores[0] or 0.0, row.scores[1] or 0.0
    choice: Choice = "a" if first > second else "b" if second > first else "tie"
    a, b = row.completions
    return Comparison(row.prompt, a, b, choice, rater="reward model", id=row.assignment)
