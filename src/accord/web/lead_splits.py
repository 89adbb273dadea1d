"""Where raters agree and where not: by question, by person, by kind of prompt; and who drifts.

The share of pairs of raters who chose the same is shown on one axis with the papers' 63 to 77 % and
with how often the reward model's scores foretell what people chose.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from accord.feedback.agreement import count_table, raw_agreement
from accord.feedback.habits import ControlPoint, Measure, with_others
from accord.feedback.intervals import bootstrap_mean
from accord.feedback.votes import Votes
from accord.store.labels import pairs
from accord.store.task import TaskSchema
from accord.web.lead_data import Judged
from accord.web.svg import Estimate

MAX_TAGS = 12
Verdict = tuple[Hashable, str, Hashable]
"""What was judged, by whom, and what they said of it."""


@dataclass(frozen=True, slots=True)
class Splits:
    """Agreement in parts, each with its interval or why there is none.

    ``reward_model`` is the share of people's choices that the higher score foretells.
    """

    reward_model: Estimate
    by_attribute: tuple[Estimate, ...] = ()
    by_rater: tuple[Estimate, ...] = ()
    by_tag: tuple[Estimate, ...] = ()


@dataclass(frozen=True, slots=True)
class RaterDrift:
    """A rater's anchors by batch; no points where there are too few, and ``note`` says so."""

    id: str
    points: tuple[ControlPoint, ...]
    note: str = ""


def splits(rows: Sequence[Judged], votes: Votes, asked: TaskSchema) -> Splits:
    """Agreement in parts.

    Args:
        rows: judgments on ordinary items and anchors.
        votes: their verdicts on pairs.
        asked: the schema of the round.
    """
    once = [row for row in rows if row.repeat == 0]
    return Splits(
        reward_model=_foretold(once),
        by_attribute=tuple(_attributes(once, asked)),
        by_rater=tuple(
            measure(rater, found)
            for rater, found in zip(votes.raters, with_others(votes), strict=False)  # then the pool
        ),
        by_tag=tuple(_tags(once)),
    )


def measure(label: str, found: Measure, flag: bool = False) -> Estimate:
    """A measure as the pages draw it."""
    low, high = found.interval or (None, None)
    return Estimate(label, found.value, low, high, found.num, found.reason, flag)


def _foretold(rows: Sequence[Judged]) -> Estimate:
    """Items are the units of the interval: verdicts on one of them depend on each other."""
    hits: dict[tuple[str, int, int], list[float]] = defaultdict(list)
    for row in rows:
        for i, j, choice in pairs(row.outcome):
            first, second = row.scores[i], row.scores[j]
            if choice in ("a", "b") and first is not None and second is not None:
                gap = first - second if choice == "a" else second - first
                hits[row.item, i, j].append(1.0 if gap > 0 else 0.5 if gap == 0 else 0.0)
    name, num = "Reward model", sum(len(each) for each in hits.values())
    if len(hits) < 2:
        return Estimate(name, None, note="no scores beside two choices or more")
    found = bootstrap_mean([sum(each) / len(each) for each in hits.values()])
    return Estimate(name, found.value, found.low, found.high, num)


def _attributes(rows: Sequence[Judged], asked: TaskSchema) -> Iterable[Estimate]:
    for label in asked.pair_labels:
        yield _share(
            label.text,
            (
                (row.item, row.rater, said)
                for row in rows
                if (said := row.outcome.get("attributes", {}).get(label.name)) is not None
            ),
        )
    for question in asked.response_labels:
        yield _share(
            question.text,
            (
                ((row.item, index), row.rater, answers[question.name])
                for row in rows
                for index, answers in row.outcome.get("labels", {}).items()
                if question.name in answers
            ),
        )


def _tags(rows: Sequence[Judged]) -> Iterable[Estimate]:
    """The commonest tags of prompts; those that name a person are none of them."""
    tags = Counter(tag for row in rows for tag in row.prompt.tags if not tag.startswith("user:"))
    for tag, _ in tags.most_common(MAX_TAGS):
        yield _share(
            tag,
            (
                ((row.item, i, j), row.rater, choice)
                for row in rows
                if tag in row.prompt.tags
                for i, j, choice in pairs(row.outcome)
            ),
        )


def _share(label: str, said: Iterable[Verdict]) -> Estimate:
    verdicts = list(said)
    units = {unit: n for n, unit in enumerate(dict.fromkeys(unit for unit, _, _ in verdicts))}
    values = {v: n for n, v in enumerate(dict.fromkeys(value for _, _, value in verdicts))}
    table = count_table(
        [units[unit] for unit, _, _ in verdicts],
        [values[value] for _, _, value in verdicts],
        max(2, len(values)),
    )
    found = raw_agreement(table, num_resamples=200)
    low, high = found.interval or (None, None)
    return Estimate(label, found.value, low, high, found.num_verdicts, found.reason)
