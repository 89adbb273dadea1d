"""From figures to what a page shows: plain words for settings and times, charts, table rows."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from accord.store.records import Round
from accord.web.lead_data import SHOWN_HOURS, Progress
from accord.web.lead_figures import Drift, Figures, PolicyRating, RaterFigures
from accord.web.svg import Axis, Estimate, bars, control_chart, figure, interval, intervals

PAPER_BAND = (0.63, 0.77)
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
    if found.task in ("compare", "rank"):
        lines.append(
            f"Of a rater's tasks, {figure(s.gold_share)} have a known answer and "
            f"{figure(s.anchor_share)} are anchors, where such items were imported."
        )
    if s.training_items:
        lines.append(
            f"Everyone starts with {s.training_items} training items and goes on when "
            f"{figure(s.training_pass)} are right."
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
    hours = [(f"{SHOWN_HOURS - i - 1} h ago", float(n)) for i, n in enumerate(progress.by_hour)]
    hours[-1] = ("now", hours[-1][1])
    view: dict[str, Any] = {
        "hours_svg": bars("Judgments by hour", hours, "judgments") if sum(progress.by_hour) else "",
        "agreement": _agreement(shown),
        "agreement_missing": shown.agreement_missing,
        "bias_svg": "",
        "bias_notes": [],
        "gold_svg": "",
        "drift_svg": "",
        "drift_note": "",
    }
    if shown.habits:
        view["bias_svg"] = intervals("Habits", shown.habits, Axis(guide=0.5))
        view["bias_notes"] = _habit_notes(shown.habits)
    if shown.gold:
        rows = [_named(gold, names) for gold in shown.gold]
        view["gold_svg"] = intervals("Known answers, share right", rows, Axis())
    if shown.drift is not None:
        view |= _drift(shown.drift)
    return view


def _named(estimate: Estimate, names: Mapping[str, str]) -> Estimate:
    label = names.get(estimate.label, estimate.label)
    return Estimate(
        label, estimate.value, estimate.low, estimate.high, estimate.num, estimate.note,
        estimate.flag,
    )  # fmt: skip


def _agreement(shown: Figures) -> dict[str, Any] | None:
    if not shown.agreement:
        return None
    raw = intervals("Raw agreement", shown.agreement, Axis(band=PAPER_BAND))
    lowest = min([-0.2, *(e.low for e in shown.beyond_chance if e.low is not None)])
    axis = Axis(max(-1.0, lowest), 1.0, guide=0.0, unit="plain")
    notes = [f"{e.label}: {e.note}." for e in shown.beyond_chance if e.value is None and e.note]
    first = shown.agreement[0]
    notes.insert(0, f"From {first.num:,} judgments of items that two or more people judged.")
    return {
        "raw_svg": raw,
        "chance_svg": intervals("Agreement beyond chance", shown.beyond_chance, axis),
        "notes": notes,
    }


def _habit_notes(habits: tuple[Estimate, ...]) -> list[str]:
    notes = []
    for habit in habits:
        if habit.low is None or habit.high is None:
            continue
        if habit.low > 0.5 or habit.high < 0.5:
            side = "more" if habit.low > 0.5 else "less"
            notes.append(f"{habit.label}: {side} often than chance would have it.")
    return notes or ["No pull that these judgments could show."]


def _drift(drift: Drift) -> dict[str, Any]:
    outside = [point.label for point in drift.points if point.out]
    return {
        "drift_svg": control_chart("Anchors", drift.points, drift.middle, drift.band),
        "drift_note": (
            f"Outside the band: {', '.join(outside)}. Look at what changed then: people, the "
            "guideline, or the items."
            if outside
            else f"All {len(drift.points)} batches lie within the band."
        ),
    }


def rater_rows(
    shown: Figures, names: Mapping[str, str], weights: Mapping[str, Estimate]
) -> list[dict[str, Any]]:
    """One row of the table of raters a person."""
    return [_rater_row(r, names, weights.get(r.id)) for r in shown.raters]


def _rater_row(
    r: RaterFigures, names: Mapping[str, str], weight: Estimate | None
) -> dict[str, Any]:
    pulled = r.left.low is not None and r.left.high is not None and r.left.num >= 20
    return {
        "id": r.id,
        "name": names.get(r.id, r.id),
        "num": f"{r.num:,}",
        "seconds": "–" if r.seconds is None else f"{r.seconds:.1f} s",
        "left": interval(r.left) if r.left.num else "–",
        "longer": interval(r.longer) if r.longer.num else "–",
        "ties": figure(r.ties.value),
        "consistent": interval(r.consistent) if r.consistent.num else "–",
        "gold": interval(r.gold) if r.gold.num else "–",
        "weight": "–" if weight is None else figure(weight.value, "plain"),
        "flag": (pulled and (r.left.low > 0.5 or r.left.high < 0.5))  # type: ignore[operator]
        or bool(weight and weight.flag),
    }  # fmt: skip


def rating_rows(found: tuple[PolicyRating, ...]) -> dict[str, Any]:
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
