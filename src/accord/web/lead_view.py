"""From figures to what a page shows: plain words for settings and times, charts, table rows."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from accord.feedback.agreement import PAPER_BAND
from accord.feedback.habits import ControlPoint
from accord.store.records import Round
from accord.web.lead_data import MAX_JUDGMENTS, SHOWN_HOURS, Answers, Progress
from accord.web.lead_figures import Figures, PolicyRating, RaterFigures
from accord.web.svg import Axis, Estimate, Point, bars, control_chart, figure, interval, intervals

TASK_TEXT = {
    "compare": "Choose between two answers",
    "rank": "Rank several answers",
    "chat": "Chat, and choose between two answers a turn",
    "demonstrate": "Write the ideal answer",
}
ROLE_TEXT = {
    "rater": "judges",
    "adjudicator": "judges, and decides where raters differ",
    "researcher": "sets up rounds and sees who said what",
    "viewer": "sees figures, changes nothing",
    "owner": "may do everything",
}


def moment(at: float | None) -> str:
    """A time as people write it, in UTC; a dash where it has not come."""
    return "–" if at is None else time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))


def duration(seconds: float | None) -> str:
    """How long something takes, to the two digits that matter; a dash where nobody knows."""
    if seconds is None:
        return "–"
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= 1.5 * size:
            return f"about {round(seconds / size)} {unit}s"
    return "about a minute" if seconds > 0 else "done"


def size(num_bytes: int) -> str:
    """Bytes as people write them."""
    return f"{num_bytes / 1e6:,.1f} MB" if num_bytes >= 1e5 else f"{num_bytes / 1e3:,.1f} kB"


def time_left(found: Round, progress: Progress) -> str:
    """How long the round still takes at the pace of the last hour."""
    if found.state in ("closed", "frozen"):
        return "–"
    if progress.wanted is not None and progress.done >= progress.wanted > 0:
        return "done"
    if progress.wanted is None:
        return "no limit"
    return duration(progress.seconds_left)


def waits(found: Round, told: Answers) -> list[tuple[str, str]]:
    """How models keep up, as facts with their values; none where no model answers."""
    if not found.settings.policies:
        return []
    rows = [("Being answered", f"{told.queued + told.running:,}")]
    if told.failed:
        rows.append(("Not answered", f"{told.failed:,}"))
    if found.task != "chat":
        rows.append(("Items ready", f"{told.ready:,}"))
    elif told.first_seconds is not None:
        middle, high = told.first_seconds
        rows.append(("First words after", f"{middle:.1f} s; 95 %: {high:.1f} s"))
    return rows


def settings_text(found: Round) -> list[str]:
    """A round's settings as sentences."""
    s, schema = found.settings, found.schema
    people = "one person" if s.overlap == 1 else f"{s.overlap} people"
    lines = [f"Each item goes to {people}."]
    if found.task in ("compare", "rank") and s.calibration_share:
        lines.append(
            f"{figure(s.calibration_share)} of the items are a shared pool: "
            f"{s.calibration_overlap} people judge them, to measure agreement."
        )
    lines.append(
        f"The round is done after {found.budget:,} judgments."
        if found.budget
        else "The round is done when every item has what it needs."
    )
    if found.task in ("compare", "rank") and s.gold_share + s.anchor_share > 0:
        lines.append(
            f"Of a rater's tasks, {figure(s.gold_share)} have a known answer and "
            f"{figure(s.anchor_share)} are anchors, where such items were imported."
        )
    if s.training_items:
        lines.append(
            f"Everyone starts with {s.training_items} training items and goes on when "
            f"{figure(s.training_pass)} are right"
            + (f", in no less than {s.training_seconds:g} s each." if s.training_seconds else ".")
        )
    if s.escalate_spread is not None:
        lines.append(
            f"When judgments of one item lie more than {s.escalate_spread} steps apart, "
            f"{s.escalate_raters} more people are asked; then an adjudicator decides."
        )
    lines.append(f"A task is held for {round(s.lease_seconds / 60)} minutes, then given to others.")
    if found.task in ("compare", "chat"):
        steps = schema.strength_steps
        lines.append(
            f"People say how much better an answer is, in {steps} steps a side."
            if steps
            else "People say which answer is better, not by how much."
        )
    lines.append(f"Questions on the screen: {schema.name}.")
    return lines


def charts(shown: Figures, progress: Progress, names: Mapping[str, str]) -> dict[str, Any]:
    """Everything that the page of a round draws."""
    hours = [(f"{SHOWN_HOURS - i - 1} hours ago", float(n)) for i, n in enumerate(progress.by_hour)]
    hours[-1] = ("this hour", hours[-1][1])
    gold = [_named(row.gold, names) for row in shown.raters if row.gold.num]
    return {
        "hours_svg": bars("Judgments by hour", hours, "judgments") if sum(progress.by_hour) else "",
        "agreement": _agreement(shown),
        "agreement_missing": shown.missing,
        "splits": _splits(shown, names),
        "bias_svg": intervals("Habits", shown.habits, Axis(guide=0.5)) if shown.habits else "",
        "bias_notes": _habit_notes(shown.habits),
        "gold_svg": intervals("Known answers, share right", gold, Axis()) if gold else "",
        "partial": shown.num_judgments >= MAX_JUDGMENTS,
        **_drift(shown),
    }


def _named(estimate: Estimate, names: Mapping[str, str]) -> Estimate:
    return replace(estimate, label=names.get(estimate.label, estimate.label))


def _agreement(shown: Figures) -> dict[str, Any] | None:
    if not shown.agreement:
        return None
    lowest = min([-0.2, *(e.low for e in shown.beyond_chance if e.low is not None)])
    axis = Axis(max(-1.0, lowest), 1.0, guide=0.0, unit="plain")
    notes = [f"{e.label}: {e.note}." for e in shown.beyond_chance if e.value is None and e.note]
    first = shown.agreement[0]
    return {
        "raw_svg": intervals("Raw agreement", shown.agreement, Axis(band=PAPER_BAND)),
        "chance_svg": intervals("Agreement beyond chance", shown.beyond_chance, axis),
        "notes": [f"From {first.num:,} judgments on items that two or more people judged.", *notes],
    }


def _splits(shown: Figures, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Parts of the agreement on the same axis, each with what it means; empty ones are left out."""
    if shown.splits is None:
        return []
    whole = (*shown.agreement[1:], shown.splits.reward_model)
    raters = [_named(row, names) for row in shown.splits.by_rater]
    people = (
        "How often the higher score foretells what people chose, beside how often two people "
        "agree: a reward model cannot do much better than people."
    )
    parts = (
        ("People, and the reward model", people, whole),
        ("By question", "", shown.splits.by_attribute),
        ("By person", "How often the others who judged the same item said the same.", raters),
        ("By prompt", "By the tags of the prompts.", shown.splits.by_tag),
    )
    return [
        {"title": title, "text": text, "svg": intervals(title, rows, Axis(band=PAPER_BAND)),
         "notes": [f"{e.label}: {e.note}." for e in rows if e.value is None and e.note]}
        for title, text, rows in parts
        if rows
    ]  # fmt: skip


def _habit_notes(habits: Sequence[Estimate]) -> list[str]:
    notes = []
    for habit in habits:
        if habit.low is None or habit.high is None:
            continue
        if habit.low > 0.5 or habit.high < 0.5:
            side = "more" if habit.low > 0.5 else "less"
            notes.append(f"{habit.label}: {side} often than chance would have it.")
    return notes or ["No pull that these judgments could show."]


def _drift(shown: Figures) -> dict[str, Any]:
    if not shown.drift:
        return {"drift_svg": "", "drift_note": ""}
    points = _points(shown.drift)
    outside = [point.label for point in points if point.out]
    return {
        "drift_svg": control_chart("Anchors", points),
        "drift_note": (
            f"Outside the band: {', '.join(outside)}. Look at what changed then: people, the "
            "guideline, or the items."
            if outside
            else f"All {len(points)} batches lie within the band."
        ),
    }


def _points(found: Sequence[ControlPoint]) -> list[Point]:
    return [Point(f"batch {p.batch}", p.share, p.low, p.high, p.outside) for p in found]


def raters(shown: Figures, names: Mapping[str, str]) -> dict[str, Any]:
    """The chart of reliability and the table of raters."""
    rows = [_named(row.reliability, names) for row in shown.raters]
    ends = [x for row in rows for x in (row.low, row.high) if x is not None]
    axis = Axis(max(-2.0, min([-0.5, *ends])), min(4.0, max([1.5, *ends])), guide=1.0, unit="plain")
    return {
        "quality_svg": intervals("Reliability", rows, axis) if rows else "",
        "quality_missing": shown.raters_missing,
        "raters": [_rater_row(row, names) for row in shown.raters],
        "rater_drift": [
            {
                "name": names.get(row.id, row.id),
                "note": row.note,
                "out": any(point.outside for point in row.points),
                "svg": control_chart(f"Anchors of {names.get(row.id, row.id)}", _points(row.points))
                if row.points
                else "",
            }
            for row in shown.rater_drift
        ],
        "to_look_at": [
            {"name": names.get(row.id, row.id), "flags": row.flags}
            for row in shown.raters
            if row.flags
        ],
    }


def _rater_row(row: RaterFigures, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": names.get(row.id, row.id),
        "num": f"{row.num:,}",
        "seconds": "–" if row.seconds.value is None else f"{row.seconds.value:.1f} s",
        "left": _or_dash(row.left),
        "longer": _or_dash(row.longer),
        "ties": figure(row.ties.value),
        "consistent": _or_dash(row.consistent),
        "gold": _or_dash(row.gold),
        "weight": figure(row.weight, "plain"),
        "flag": bool(row.flags),
    }


def _or_dash(estimate: Estimate) -> str:
    return "–" if estimate.value is None else interval(estimate)


def ratings(found: Sequence[PolicyRating]) -> dict[str, Any]:
    """The chart and the table of a head-to-head round."""
    ends = [x for row in found for x in (row.elo.low, row.elo.high) if x is not None]
    axis = Axis(min([900.0, *ends]) - 20, max([1100.0, *ends]) + 20, guide=1000.0, unit="points")
    return {
        "ratings_svg": intervals("Elo points", [row.elo for row in found], axis),
        "ratings": [
            {
                "name": row.name,
                "elo": interval(row.elo, "points"),
                "predicted": interval(row.predicted, "points"),
                "num": f"{row.num:,}",
            }
            for row in found
        ],
    }


def choices(found: Round, num_responses: int) -> list[tuple[str, str]]:
    """What an adjudicator may decide: values of a form, and what they say."""
    best = [(f"best-{i}", f"answer {i + 1} is better") for i in range(num_responses)]
    if found.task == "rank":
        return [(f"best-{i}", f"answer {i + 1} comes first") for i in range(num_responses)]
    rest = [("tie", "equally good")] if found.schema.allow_tie else []
    rest += [("both_bad", "both bad")] if found.schema.allow_both_bad else []
    return [*best, *rest, ("cannot_compare", "cannot be compared")]


def read_choice(found: Round, num_responses: int, value: str) -> dict[str, Any] | None:
    """A decision from its form value, by canonical index; None for no decision yet."""
    kind, _, place = value.partition("-")
    if kind != "best" or not place.isdecimal():
        return {"outcome": value} if value else None
    if found.task == "rank":
        return {"ranks": [int(i != int(place)) for i in range(num_responses)]}
    return {"outcome": "best", "best": int(place)}
