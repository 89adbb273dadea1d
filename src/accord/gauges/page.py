"""The evaluation page: one HTML file that reads without a network and without a script.

Everything on it is plain data in a :class:`ReportContext`. The template escapes every text (model
output may hold anything, ``<script>`` included) and a content security policy forbids scripts and
requests as a second lock.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from accord.gauges.curves import panels
from accord.gauges.svg import CHART_STYLE, DARK, LIGHT, NUM_COLOURS, Panel, number, svg_panel
from accord.types import Reading, State

_LABELS = {
    "length/words": "Words per answer",
    "length/words_change": "Words per answer, change",
    "length/tokens": "Tokens per answer",
    "length/tokens_change": "Tokens per answer, change",
    "length/finished": "Answers that end by themselves",
    "length/finished_change": "Answers that end, change",
    "length/score_correlation": "Correlation of score and length",
    "diversity/per_prompt_ead": "Diversity among answers to one prompt",
    "diversity/per_prompt_ead_change": "Diversity per prompt, change",
    "diversity/per_prompt_distinct_2": "Different word pairs per prompt",
    "diversity/per_prompt_unique": "Different answers per prompt",
    "diversity/repeated_4gram_rate": "Repetition within an answer",
    "diversity/repeated_4gram_change": "Repetition within an answer, change",
    "diversity/across_prompts_ead": "Diversity across prompts",
    "kl/sequence": "KL to the reference, per answer",
    "kl/token": "KL to the reference, per token",
}
_CHIPS: dict[State, str] = {
    "PASS": "pass",
    "WARN": "warn",
    "FAIL": "fail",
    "INCONCLUSIVE": "open",
    "ERROR": "error",
}
NBSP = "\N{NO-BREAK SPACE}"
_COMPARED = ("win_rate/", "score_gain/")
_NOT_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_PERCENT = ("finished", "per_prompt_unique", "per_prompt_distinct_2", "repeated_4gram_rate")
_POINTS = ("finished_change", "repeated_4gram_change")


@dataclass(frozen=True, slots=True)
class SampleRow:
    """One held-out prompt and each policy's answer: (text, score or None, finished)."""

    prompt: str
    answers: Mapping[str, tuple[str, float | None, bool]]


@dataclass(frozen=True, slots=True)
class ReportContext:
    """All that the page shows, as plain data.

    Attributes:
        title: heading of the page.
        comparisons: (policy, scorer, win-rate reading against ``reference``), best first.
        readings: gauges of each policy, the reference included; a table row per gauge.
        curves: for each stage the rows of :func:`accord.tracking.read_metrics`.
        samples: side-by-side answers, in the order shown.
        recipe_yaml: the resolved recipe.
        lineage_text: the tree of artifacts as text.
        notes: sentences for the reader: what was skipped, what to do next.
        reference: name of the policy the others are compared with.
        facts: short name and value pairs under the heading: model, seed, minutes, memory.
        confidence: of the intervals.
    """

    title: str
    comparisons: Sequence[tuple[str, str, Reading]] = ()
    readings: Mapping[str, Sequence[Reading]] = field(default_factory=dict)
    curves: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    samples: Sequence[SampleRow] = ()
    recipe_yaml: str = ""
    lineage_text: str = ""
    notes: Sequence[str] = ()
    reference: str = "SFT"
    facts: Mapping[str, str] = field(default_factory=dict)
    confidence: float = 0.95


def render(context: ReportContext) -> str:
    """The page as HTML text, ready to be written as UTF-8."""
    policies = _policies(context)
    html = (
        _environment()
        .get_template("report.html.j2")
        .render(
            context=context,
            policies=policies,
            colours={policy: i % NUM_COLOURS for i, policy in enumerate(policies)},
            verdicts=verdicts(context),
            gauges=_gauges(context.readings),
            stages=[
                (stage, *panels(stage, rows)) for stage, rows in context.curves.items() if rows
            ],
            style=Markup(
                f":root{{{LIGHT}}}@media(prefers-color-scheme:dark){{:root{{{DARK}}}}}{CHART_STYLE}"
            ),
        )
    )
    return _NOT_TEXT.sub("�", html)


def verdicts(context: ReportContext) -> list[tuple[State, str]]:
    """What the readings say, one plain sentence each, the comparisons first."""
    lines = [
        (reading.state, _comparison(policy, scorer, reading, context))
        for policy, scorer, reading in context.comparisons
    ]
    for policy in dict.fromkeys(policy for policy, _, _ in context.comparisons):
        states = {reading.state for name, _, reading in context.comparisons if name == policy}
        if len(states) > 1:
            text = f"The scorers do not agree about {policy}: read the samples before you trust it."
            lines.append(("WARN", text))
    every = [
        (policy, r)
        for policy, group in context.readings.items()
        for r in group
        if not r.gauge.startswith(_COMPARED)
    ]
    for policy, reading in every:
        if reading.state in ("WARN", "FAIL", "ERROR"):
            value = format_value(reading.gauge, reading.value)
            why = f" ({reading.detail})" if reading.detail else ""
            lines.append((reading.state, f"{policy}: {label(reading.gauge)} {value}{why}."))
    judged = [r.state for _, r in every if r.state != "NOT_APPLICABLE"]
    if judged and not {"WARN", "FAIL", "ERROR"} & set(judged):
        text = f"No gauge warns: {judged.count('PASS')} readings inside their margins"
        still_open = judged.count("INCONCLUSIVE")
        lines.append(("PASS", f"{text}, {still_open} open." if still_open else f"{text}."))
    return lines


def label(gauge: str) -> str:
    """A gauge's name in words; an unknown one keeps its own."""
    area, _, scorer = gauge.partition("/")
    if gauge.startswith(_COMPARED):
        return f"{'Win rate' if area == 'win_rate' else 'Score gain'} by {scorer}"
    return _LABELS.get(gauge, gauge)


def format_value(gauge: str, value: float) -> str:
    """The value as a reader wants it: a share in percent, a change with its sign."""
    name = gauge.rsplit("/", maxsplit=1)[-1]
    if not math.isfinite(value):
        return "–"
    if name in _POINTS:
        return f"{100 * value:+.1f}{NBSP}pts".replace("-", "−")
    if name.endswith("_change"):
        return f"{100 * value:+.1f}{NBSP}%".replace("-", "−")
    if name in _PERCENT or gauge.startswith("win_rate/"):
        return f"{100 * value:.1f}{NBSP}%"
    return number(value, aligned=True)


def _comparison(policy: str, scorer: str, reading: Reading, context: ReportContext) -> str:
    evidence = f"{format_value('win_rate/', reading.value)} win rate"
    if reading.interval is not None:
        level = f"{100 * context.confidence:g}{NBSP}%"
        evidence += f" ({level} interval {_interval(reading)})"
    evidence += f" on {reading.num_samples} held-out prompts"
    if reading.state == "PASS":
        return f"{policy} is better than {context.reference} by {scorer}: {evidence}."
    if reading.state == "FAIL":
        return f"{policy} is worse than {context.reference} by {scorer}: {evidence}."
    question = f"Whether {policy} is better than {context.reference} by {scorer} is open"
    detail = f"; {reading.detail}" if reading.detail else ""
    return f"{question}: {evidence}{detail}."


def _policies(context: ReportContext) -> list[str]:
    """Every policy named anywhere, the reference first (it takes the grey colour)."""
    names: list[str] = [context.reference, *context.readings]
    names += [policy for policy, _, _ in context.comparisons]
    names += [policy for row in context.samples for policy in row.answers]
    return list(dict.fromkeys(names))


def _gauges(readings: Mapping[str, Sequence[Reading]]) -> list[tuple[str, dict[str, Reading]]]:
    """The table's rows: each gauge with the reading of every policy that has one."""
    rows: dict[str, dict[str, Reading]] = {}
    for policy, group in readings.items():
        for reading in group:
            if not reading.gauge.startswith("win_rate/"):  # these have a section of their own
                rows.setdefault(reading.gauge, {})[policy] = reading
    return list(rows.items())


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("accord.gauges"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "chart": _chart,
        "chip": lambda state: _CHIPS.get(state, ""),
        "label": label,
        "number": number,
        "value": lambda reading: format_value(reading.gauge, reading.value),
        "interval": _interval,
        "percent": lambda share: f"{100 * min(max(share, 0.0), 1.0):.2f}%",
        "best": _best,
    }
    return environment


def _chart(panel: Panel) -> Markup:
    return Markup(svg_panel(panel))  # svg escapes every text it is given


def _interval(reading: Reading) -> str:
    if reading.interval is None:
        return ""
    low, high = (format_value(reading.gauge, bound) for bound in reading.interval)
    return f"{low.split(NBSP)[0]} to {high}"


def _best(answers: Mapping[str, tuple[str, float | None, bool]]) -> str:
    """The policy whose answer scored highest; "" when scores are missing or tied."""
    scores: Iterable[tuple[float, str]] = [
        (score, policy) for policy, (_, score, _) in answers.items() if score is not None
    ]
    ranked = sorted(scores, reverse=True)
    clear = len(ranked) > 1 and ranked[0][0] > ranked[1][0]
    return ranked[0][1] if clear else ""
