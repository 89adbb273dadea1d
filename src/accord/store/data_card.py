"""A frozen round's data card: what the labels are, who gave them and how far they can be trusted.

Markdown with the front matter that dataset hubs read (after Gebru et al. 2021, "Datasheets").
It names no rater and depends on the round alone, so the same freeze gives the same card.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from statistics import median
from typing import Any

from accord.store.judged import Gathered
from accord.types import Comparison, Ranking

CARD = "README.md"
AGREEMENT = {
    "raw agreement": "",
    "raw agreement without ties": " (the papers report 0.63 to 0.77)",
    "Fleiss' kappa": "",
    "alpha (nominal)": " (Krippendorff)",
    "Gwet's AC1": "",
}
"""Coefficients that the card tells, each with a note."""


def data_card(
    gathered: Gathered, records: list[Any], config: Mapping[str, Any], extra: Mapping[str, Any]
) -> str:
    """The card.

    Args:
        gathered: the round.
        records: the labels made of it.
        config: ``studio`` of the manifest: how it was frozen.
        extra: of the manifest: agreement, what was left out, weights.
    """
    found = gathered.found
    tags = ["rlhf", "human-feedback", found.task]
    rows = [
        "---", f"tags: [{', '.join(tags)}]", "---", "",
        f"# {found.name}", "",
        *_what(gathered, records, config), "",
        "## Raters", "", *_raters(gathered, extra, config), "",
        "## Agreement", "", *_agreement(extra), "",
        "## Left out", "", *_left_out(extra), "",
    ]  # fmt: skip
    return "\n".join(rows)


def _what(gathered: Gathered, records: list[Any], config: Mapping[str, Any]) -> list[str]:
    found, said = gathered.found, gathered.said
    choices = Counter(r.choice for r in records if isinstance(r, Comparison))
    ranks = [r.ranks for r in records if isinstance(r, Ranking)]
    times = [one.at for one in said]
    policies = sorted({c.model for one in said for c in one.completions if c.model})
    asked = f'"{found.schema.question}" (schema `{found.schema.name}`)'
    if config["attribute"] is not None:
        asked += f"; the labels answer `{config['attribute']}` of it"
    rows = [
        f"- **Labels**: {len(records):,}, of {len(said):,} judgments on "
        f"{len({one.item for one in said}):,} items; task `{found.task}`",
        f"- **Question**: {asked}",
        f"- **Guideline**: version {found.guideline}; "
        f"versions that raters followed: {sorted({one.guideline for one in said})}",
        f"- **Items**: {_order(gathered)}",
        f"- **Written by**: {', '.join(policies) or 'not recorded'}",
        f"- **Given**: {_day(min(times))} to {_day(max(times))} (UTC)",
        f"- **Several labels of an item**: {config['aggregate']}; **weights**: {config['weights']}",
    ]
    if choices:
        told = ", ".join(f"{name.replace('_', ' ')} {choices[name]:,}" for name in sorted(choices))
        rows.append(f"- **Outcomes**: {told} (a and b: order of the item, not of the screen)")
    if ranks:
        tied = sum(len(set(places)) < len(places) for places in ranks)
        rows.append(f"- **Rankings with a tie**: {tied:,} of {len(ranks):,}")
    return rows


def _order(gathered: Gathered) -> str:
    rules = gathered.found.settings
    return (
        f"overlap {rules.overlap}; {rules.calibration_share:.0%} of the items went to "
        f"{rules.calibration_overlap} raters; sides drawn at random and recorded; "
        f"{rules.random_floor:.0%} or more of the items drawn at random, the rest by priority"
    )


def _raters(gathered: Gathered, extra: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    note = gathered.found.settings.raters_note
    counts = sorted(row["num_judgments"] for row in extra["raters"].values())
    rows = [
        f"- {len(counts)} people; judgments each: {counts[0]:,} to {counts[-1]:,}, "
        f"median {median(counts):g}",
        f"- Who they are: {note or 'not stated; nobody was asked'}",
    ]
    weights = [row["weight"] for row in extra["raters"].values() if "weight" in row]
    if config["weights"] == "quality" and weights:
        rows.append(f"- Weights by estimated reliability: {min(weights):.2f} to {max(weights):.2f}")
    return rows


def _agreement(extra: Mapping[str, Any]) -> list[str]:
    rows = []
    for name, told in extra.get("agreement", {}).items():
        if name not in AGREEMENT:
            continue
        if told["value"] is None:
            rows.append(f"- {name}: none: {told['reason']}")
            continue
        low, high = told["interval"] or (None, None)
        span = "" if low is None else f" (95 %: {low:.2f} to {high:.2f})"
        where = f"{told['num_items']:,} items{AGREEMENT[name]}"
        rows.append(f"- {name}: {told['value']:.2f}{span}, {where}")
    if not rows:
        return ["- Not measured: these labels are no verdicts on pairs."]
    return [*rows, "- Over all that was judged but training items: known answers are among them."]


def _left_out(extra: Mapping[str, Any]) -> list[str]:
    rows = [f"- {why}: {count:,}" for why, count in sorted(extra["excluded"].items())]
    return rows or ["- Nothing."]


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()
