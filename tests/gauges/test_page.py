"""The page: safe whatever the model wrote, complete, and in plain words."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser

import pytest

from accord.gauges.page import (
    ReportContext,
    SampleRow,
    format_value,
    label,
    render,
    verdicts,
)
from accord.types import Reading, State

EVIL = "</div><script>alert('x')</script><img src=x onerror=alert(1)>\"'&{{ 7 * 7 }}\x1b[2J\udcff"
NBSP = "\N{NO-BREAK SPACE}"


def _win(state: State, rate: float, low: float, high: float, detail: str = "") -> Reading:
    return Reading("win_rate/gold", rate, (low, high), state, 60, detail)


def _context(evil: str = "plain") -> ReportContext:
    better = _win("PASS", 0.7917, 0.725, 0.858)
    rows = [{"step": float(s), "objective/kl": s / 2, evil: 1.0} for s in range(1, 5)]
    return ReportContext(
        title=evil,
        comparisons=[("PPO", "the gold raters", better), ("DPO", evil, better)],
        readings={
            "SFT": [Reading("length/words", 33.0, (31.0, 35.0), "NOT_APPLICABLE", 60)],
            "PPO": [
                Reading("length/words", 22.0, (21.0, 23.0), "NOT_APPLICABLE", 60, evil),
                Reading("length/words_change", -0.338, (-0.377, -0.3), "WARN", 60, evil),
                Reading(evil, math.nan, None, "NOT_APPLICABLE", 0, "nothing to read"),
            ],
        },
        curves={"ppo": rows, evil: rows, "sample": []},
        samples=[
            SampleRow(evil, {"SFT": (evil, -0.4, False), "PPO": ("Short.", 1.31, True)}),
            SampleRow("second", {"SFT": ("", None, True), evil: ("x", None, True)}),
        ],
        recipe_yaml=evil,
        lineage_text=evil,
        notes=[evil],
        facts={evil: evil},
    )


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "circle", "path", "rect"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("path", "rect"):
            assert self.open.pop() == tag


def _tags(html: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = _Tags()
    parser.feed(html)
    assert parser.open == []  # every element is closed, so nothing broke out of its place
    return parser.found


def test_nothing_the_model_wrote_becomes_markup() -> None:
    html = render(_context(EVIL))
    html.encode("utf-8")
    tags = _tags(html)
    assert not {"script", "img", "iframe", "object", "link", "base", "form"} & {t for t, _ in tags}
    assert not [a for _, attrs in tags for a in attrs if a.startswith("on")]
    assert "{{ 7 * 7 }}" in html and "49" not in re.findall(r"\b49\b", html)
    assert "\x1b" not in html
    assert "&lt;script&gt;alert(" in html
    assert {t for t, _ in tags} == {t for t, _ in _tags(render(_context()))}


def test_page_needs_no_network() -> None:
    html = render(_context())
    assert "default-src 'none'" in html
    assert not re.search(r"https?:|url\(|@import|src=", html)
    links = [a["href"] for tag, a in _tags(html) if tag == "a"]
    anchors = {a["id"] for _, a in _tags(html) if "id" in a}
    assert links and all(link and link.removeprefix("#") in anchors for link in links)


def test_page_shows_what_was_given() -> None:
    html = render(_context())
    text = re.sub(r"[ \n]+", " ", re.sub(r"<[^>]+>", " ", html))
    for part in (
        f"79.2{NBSP}% win rate (95{NBSP}% interval 72.5 to 85.8{NBSP}%) on 60 held-out prompts",
        "Words per answer",
        f"−33.8{NBSP}%",
        "cut off · score −0.4",
        "finished · score 1.31",
        "(empty)",
        "KL to the reference",
        "More metrics of ppo (1)",
    ):
        assert part in text, part
    assert html.count('class="answer best"') == 1
    assert "prefers-color-scheme:dark" in html
    assert len(re.findall("<h3>", html)) == 1 + 2  # notes, and two stages that logged something


def test_empty_context_renders() -> None:
    html = render(ReportContext(title="nothing yet"))
    _tags(html)
    assert "No comparison was made" in html and "Nothing was recorded" in html


@pytest.mark.parametrize(
    ("reading", "start"),
    [
        (_win("PASS", 0.7, 0.6, 0.8), "PPO is better than SFT by gold: 70.0"),
        (_win("FAIL", 0.3, 0.2, 0.4), "PPO is worse than SFT by gold: 30.0"),
        (
            _win("INCONCLUSIVE", 0.5, 0.4, 0.6, "why"),
            "Whether PPO is better than SFT by gold is open",
        ),
    ],
)
def test_comparison_in_words(reading: Reading, start: str) -> None:
    ((state, sentence),) = verdicts(ReportContext("t", comparisons=[("PPO", "gold", reading)]))
    assert state == reading.state
    assert sentence.startswith(start)
    assert sentence.endswith("; why." if reading.detail else "on 60 held-out prompts.")


def test_scorers_that_disagree_and_gauges_that_warn_are_named() -> None:
    context = ReportContext(
        "t",
        comparisons=[
            ("PPO", "gold", _win("FAIL", 0.3, 0.2, 0.4)),
            ("PPO", "judge", _win("PASS", 0.7, 0.6, 0.8)),
        ],
        readings={"PPO": [Reading("length/words_change", 0.5, (0.4, 0.6), "WARN", 9, "too long")]},
    )
    states, sentences = zip(*verdicts(context), strict=True)
    assert states == ("FAIL", "PASS", "WARN", "WARN")
    assert "scorers do not agree about PPO" in sentences[2]
    assert sentences[3] == f"PPO: Words per answer, change +50.0{NBSP}% (too long)."


def test_silence_is_said_with_its_open_readings() -> None:
    passed = Reading("length/words_change", 0.0, (-0.1, 0.1), "PASS", 9)
    still_open = Reading("length/finished_change", 0.0, (-0.2, 0.2), "INCONCLUSIVE", 9)
    context = ReportContext("t", readings={"PPO": [passed, still_open]})
    assert verdicts(context) == [
        ("PASS", "No gauge warns: 1 readings inside their margins, 1 open.")
    ]


@pytest.mark.parametrize(
    ("gauge", "value", "shown"),
    [
        ("length/words", 33.04, "33.0"),
        ("length/words_change", -0.338, f"−33.8{NBSP}%"),
        ("length/finished", 0.942, f"94.2{NBSP}%"),
        ("length/finished_change", 0.308, f"+30.8{NBSP}pts"),
        ("win_rate/gold", 0.5, f"50.0{NBSP}%"),
        ("kl/sequence", math.nan, "–"),
    ],
)
def test_format_value(gauge: str, value: float, shown: str) -> None:
    assert format_value(gauge, value) == shown


def test_comparisons_among_the_readings_are_not_said_twice() -> None:
    worse = _win("FAIL", 0.3, 0.2, 0.4)
    loss = Reading("score_gain/gold", -1.0, (-1.5, -0.5), "FAIL", 60)
    context = ReportContext("t", [("PPO", "gold", worse)], {"PPO": [worse, loss]})
    assert [state for state, _ in verdicts(context)] == ["FAIL"]
    html = render(context)
    assert "Score gain by gold" in html and "Win rate by gold" not in html


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ((1.0, 2.0), 1),
        ((-1.0, -2.0), 1),
        ((2.0, 2.0), 0),  # a tie has no winner
        ((None, 2.0), 0),  # nothing to compare with
        ((None, None), 0),
    ],
)
def test_the_best_answer_is_marked_when_there_is_one(
    scores: tuple[float | None, float | None], best: int
) -> None:
    answers = {name: ("x", score, True) for name, score in zip("ab", scores, strict=True)}
    html = render(ReportContext("t", samples=[SampleRow("q", answers)], reference="a"))
    assert html.count('class="answer best"') == best


def test_a_policy_seen_only_in_samples_has_a_colour_and_a_name() -> None:
    rows = [SampleRow("q", {f"policy-{i}": ("x", None, True) for i in range(12)})]
    html = render(ReportContext("t", samples=rows, reference="policy-0"))
    _tags(html)
    assert all(f"policy-{i}" in html for i in range(12))


@pytest.mark.parametrize(
    ("gauge", "words"),
    [
        ("win_rate/gold raters", "Win rate by gold raters"),
        ("score_gain/a/b", "Score gain by a/b"),
        ("kl/token", "KL to the reference, per token"),
        ("mine/own", "mine/own"),
    ],
)
def test_a_gauge_is_named_in_words(gauge: str, words: str) -> None:
    assert label(gauge) == words


def test_an_error_is_a_warning_and_never_silence() -> None:
    broken = Reading("mine/own", math.inf, None, "ERROR", 0, "scorer broke")
    lines = verdicts(ReportContext("t", readings={"PPO": [broken]}))
    assert lines == [("ERROR", "PPO: mine/own – (scorer broke).")]
    level = Reading("length/words", 3.0, None, "NOT_APPLICABLE", 9)
    assert verdicts(ReportContext("t", readings={"PPO": [level]})) == []  # nothing was judged


@pytest.mark.parametrize("confidence", [0.9, 0.999])
def test_a_comparison_says_the_level_of_its_interval(confidence: float) -> None:
    reading = _win("PASS", 0.7, 0.6, 0.8)
    context = ReportContext("t", [("PPO", "gold", reading)], confidence=confidence)
    ((_, sentence),) = verdicts(context)
    assert f"({100 * confidence:g}{NBSP}% interval 60.0 to 80.0{NBSP}%)" in sentence
