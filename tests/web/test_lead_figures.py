"""Figures against judgments placed by hand: shares, known answers, drift, Elo, what is left out."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from accord.errors import DataError
from accord.store import assign, judgments, rounds
from accord.store.columns import new_id
from accord.store.settings import RoundSettings
from accord.store.task import TaskSchema
from accord.types import Completion, Message, Prompt
from accord.web.lead_data import Judged, Progress, comparisons, left_out, progress
from accord.web.lead_figures import figures, head_to_head, round_figures
from accord.web.lead_view import charts, duration, raters, settings_text, time_left

ASKED = TaskSchema()
FAR = Progress(0, None, 0, 0, 0, 0, 0, None, (0,) * 24)
SHORT, LONG = Completion("Yes.", "m-short"), Completion("Yes, and here is why.", "m-long")


def said(
    number: int,
    rater: str,
    outcome: dict[str, Any],
    *,
    sides: tuple[int, ...] = (0, 1),
    role: str = "normal",
    texts: tuple[Completion, ...] = (SHORT, LONG),
    scores: tuple[float | None, ...] = (None, None),
    answer: dict[str, Any] | None = None,
    repeat: int = 0,
) -> Judged:
    """One judgment of item ``number``."""
    prompt = Prompt(f"p{number}", (Message("user", "Is it?"),))
    return Judged(
        f"a{number}-{rater}-{repeat}", f"i{number}", rater, role, "random", repeat, sides,
        outcome, 3000, float(number), prompt, texts, scores, answer,
    )  # fmt: skip


def best(index: int, strength: int = 2) -> dict[str, Any]:
    return {"outcome": "best", "best": index, "strength": strength}


def test_judgments_become_comparisons_in_canonical_order() -> None:
    rows = [
        said(1, "r1", best(1, 4), sides=(1, 0)),
        said(2, "r1", {"outcome": "tie"}),
        said(3, "r1", {"outcome": "cannot_compare"}),
        said(4, "r1", {"ranks": [1, 0, 1]}, sides=(2, 0, 1), texts=(SHORT, LONG, SHORT)),
    ]
    pairs, first_on_a = comparisons(rows, 4)
    assert [(p.choice, p.strength) for p in pairs] == [
        *(("b", 1.0), ("tie", None)),
        *(("b", None), ("tie", None), ("a", None)),
    ]
    assert first_on_a == [False, True, True, False, False]


def test_agreement_is_the_share_of_items_on_which_two_agree() -> None:
    rows = [
        said(n, rater, best(0 if rater == "r1" or n < 30 else 1))
        for n in range(40)
        for rater in ("r1", "r2")
    ]
    shown = figures(rows, ASKED)
    raw = shown.agreement[1]
    assert raw.value == pytest.approx(0.75)
    assert raw.low is not None and raw.high is not None
    assert raw.low < 0.75 < raw.high
    assert raw.num == 80


def test_without_overlap_there_is_no_agreement_and_a_reason() -> None:
    assert "nobody has compared" in figures([], ASKED).missing
    alone = figures([said(n, "r1", best(0)) for n in range(20)], ASKED)
    assert "no item was judged by two people" in alone.missing
    assert alone.agreement == ()


def test_sides_lengths_and_known_answers_are_counted() -> None:
    draw = random.Random(0)
    rows = []
    for n in range(60):
        for rater in ("steady", "left"):
            sides = (0, 1) if draw.random() < 0.5 else (1, 0)
            choice = sides[0] if rater == "left" else 1
            gold = n < 10
            rows.append(
                said(
                    n, rater, best(choice), sides=sides,
                    role="gold" if gold else "normal", answer={"best": 1} if gold else None,
                )
            )  # fmt: skip
    shown = figures(rows, ASKED)
    by_id = {row.id: row for row in shown.raters}
    assert by_id["left"].left.value == 1.0
    assert by_id["steady"].longer.value == 1.0
    assert by_id["steady"].gold.value == 1.0
    assert by_id["steady"].gold.num == 10
    assert by_id["left"].gold.value is not None and by_id["left"].gold.value < 0.9
    assert any("side shown first" in flag for flag in by_id["left"].flags)
    assert by_id["left"].weight < by_id["steady"].weight
    assert by_id["left"].seconds.value == pytest.approx(3.0)


def test_repeats_say_whether_a_rater_is_of_one_mind() -> None:
    rows = [said(n, "r1", best(n % 2), role="anchor") for n in range(10)]
    rows += [said(n, "r1", best(n % 2 if n < 7 else 1 - n % 2), role="anchor", repeat=1)
             for n in range(10)]  # fmt: skip
    (row,) = figures(rows, ASKED).raters
    assert row.consistent.value == pytest.approx(0.7)


def test_anchors_that_turn_are_outside_the_band() -> None:
    rows = [said(n, "r1", best(0 if n < 90 else 1), role="anchor") for n in range(120)]
    drift = figures(rows, ASKED).drift
    assert [point.outside for point in drift][-1]
    steady = [said(n, "r1", best(0 if n % 5 else 1), role="anchor") for n in range(120)]
    assert not any(point.outside for point in figures(steady, ASKED).drift)
    assert figures(rows[:10], ASKED).drift == ()


def elo_rows(wins: int, losses: int, scores: tuple[float | None, ...]) -> Sequence[Judged]:
    return [
        said(n, f"r{n % 4}", best(0 if n < wins else 1), scores=scores, sides=(n % 2, 1 - n % 2))
        for n in range(wins + losses)
    ]


def test_policies_are_rated_beside_what_the_scores_foretell() -> None:
    found = head_to_head(elo_rows(75, 25, (2.0, 1.0)), 4)
    assert [row.name for row in found] == ["m-short", "m-long"]
    gap = found[0].elo.value - found[1].elo.value  # type: ignore[operator]
    assert gap == pytest.approx(191, abs=12)  # 400 log10(3), a little less for the prior
    promised = found[0].predicted.value - found[1].predicted.value  # type: ignore[operator]
    assert promised > gap  # the reward model was always sure
    assert found[0].num == 100
    assert head_to_head(elo_rows(10, 10, (None, None)), 4)[0].predicted.note == "no scores"


def test_nobody_judged_nothing_to_rate() -> None:
    with pytest.raises(DataError, match="nobody has judged"):
        head_to_head([said(1, "r1", {"outcome": "cannot_compare"})], 4)


def test_a_rounds_counts_follow_the_store(studio: Any) -> None:
    settings = RoundSettings(calibration_share=0, gold_share=0, attention_share=0, anchor_share=0)
    found = studio.round(num=12, settings=settings)
    studio.read(found)
    rater = studio.people["rater"].id

    def next_task() -> Any:
        task = assign.next_assignment(studio.store, rater, found.id)
        assert task is not None
        return task

    for _ in range(4):
        body = {"outcome": "b", "strength": 1, "active_ms": 2000}
        judgments.submit(studio.store, rater, next_task().id, body, new_id())
    judgments.submit(studio.store, rater, next_task().id, {"outcome": "cannot_compare"}, new_id())
    judgments.undo(studio.store, rater, new_id())
    judgments.submit(studio.store, rater, next_task().id, {"outcome": "cannot_compare"}, new_id())
    assign.skip(studio.store, rater, next_task().id, "too hard", new_id())
    now_there = rounds.get_round(studio.store, found.id)
    _, rows = round_figures(studio.store, now_there)
    with studio.store.read() as conn:
        far = progress(conn, now_there)
        out = {(row.why, row.more): row.num for row in left_out(conn, found.id, rows)}
    assert (far.done, far.wanted, far.items) == (5, 12, 12)
    assert (far.last_hour, far.raters, far.active_raters) == (5, 1, 1)
    assert sum(far.by_hour) == far.by_hour[-1] == 5
    assert far.seconds_left == pytest.approx(7 / 5 * 3600)
    assert out[("could not be compared", "")] == 1
    assert out[("skipped", "too hard")] == 1
    assert out[("taken back by the rater", "judged again later")] == 1
    assert time_left(now_there, far) == "about 84 minutes"
    view = charts(figures(rows, ASKED), far, {})
    assert "hours_svg" in view and "Judgments by hour" in view["hours_svg"]


def test_figures_are_kept_until_somebody_judges(studio: Any) -> None:
    found = studio.round(num=4)
    studio.read(found)
    first, _ = round_figures(studio.store, found)
    assert round_figures(studio.store, found)[0] is first
    rater = studio.people["rater"].id
    task = assign.next_assignment(studio.store, rater, found.id)
    assert task is not None
    judgments.submit(studio.store, rater, task.id, {"outcome": "tie"}, new_id())
    assert round_figures(studio.store, found)[0].num_judgments == 1


def test_settings_are_told_in_words(studio: Any) -> None:
    settings = RoundSettings(overlap=2, escalate_spread=3, training_items=0, lease_seconds=600)
    lines = settings_text(studio.round(settings=settings))
    assert "Each item goes to 2 people." in lines
    assert any("15 % of the items are a shared pool" in line for line in lines)
    assert any("more than 3 steps apart" in line for line in lines)
    assert any("held for 10 minutes" in line for line in lines)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, "–"),
        (0.0, "done"),
        (40.0, "about a minute"),
        (600.0, "about 10 minutes"),
        (7200.0, "about 2 hours"),
        (5 * 86400.0, "about 5 days"),
    ],
)
def test_durations_read_as_people_say_them(seconds: float | None, expected: str) -> None:
    assert duration(seconds) == expected


def test_who_chooses_what_agrees_with_the_reader_is_pointed_out() -> None:
    """Quality is a coin; the pool's others follow it, one follows the phrase."""
    chance, rows = random.Random(0), []
    for n in range(150):
        phrases = [chance.random() < 0.5 for _ in range(2)]
        better = chance.randrange(2)
        texts = tuple(
            Completion("Word " * chance.randrange(4, 20) + "You are right." * phrases[k], f"m-{k}")
            for k in range(2)
        )
        for rater in ("r1", "r2", "r3", "yes"):
            chosen = better if chance.random() < 0.8 else 1 - better
            if rater == "yes" and phrases[0] != phrases[1]:
                chosen = phrases.index(True)
            rows.append(said(n, rater, best(chosen), texts=texts))
    flags = {rater.id: rater.flags for rater in figures(rows, ASKED).raters}
    assert "agreement phrases" in flags["yes"][0]
    assert not any(flags[name] for name in ("r1", "r2", "r3"))


def test_agreement_in_parts_and_the_reward_model_beside_it() -> None:
    """Two agree on 30 of 40 items: on all that are tagged easy, on half of those tagged hard."""
    asked = TaskSchema.model_validate(
        {
            "pair_labels": [{"name": "true", "text": "Which is truer?"}],
            "response_labels": [{"name": "rude", "text": "Is it rude?"}],
        }
    )
    rows = []
    for n in range(40):
        for rater in ("r1", "r2"):
            differs = rater == "r2" and n >= 30
            outcome = best(int(differs)) | {
                "attributes": {"true": "equal" if rater == "r1" or n < 20 else 1},
                "labels": {"0": {"rude": differs}, "1": {"rude": False}},
            }
            tags = ("hard", "user:7") if n >= 20 else ("easy",)
            row = said(n, rater, outcome, scores=(1.0, 0.5) if n < 35 else (0.5, 1.0))
            rows.append(replace(row, prompt=replace(row.prompt, tags=tags)))
    parts = figures(rows, asked).splits
    assert parts is not None
    assert {e.label: e.value for e in parts.by_tag} == {"easy": 1.0, "hard": 0.5}
    assert {e.label: e.value for e in parts.by_attribute} == {
        "Which is truer?": 0.5,
        "Is it rude?": (30 + 40) / 80,
    }
    assert {e.label: e.value for e in parts.by_rater} == {"r1": 0.75, "r2": 0.75}
    # The higher score is the first answer's on 35 items: right in 65 of 70 and 5 of 10 choices.
    model = parts.reward_model
    assert model.value == pytest.approx(70 / 80)
    assert model.low is not None and model.high is not None
    assert 0.7 < model.low < 70 / 80 < model.high <= 1
    assert model.num == 80
    shown = charts(figures(rows, asked), FAR, {"r1": "Ada"})["splits"]
    assert [part["title"] for part in shown] == [
        *("People, and the reward model", "By question", "By person", "By prompt")
    ]
    assert "Ada: 75 %" in shown[2]["svg"]


def test_parts_without_figures_say_why() -> None:
    parts = figures([said(n, "r1", best(0)) for n in range(20)], ASKED).splits
    assert parts is not None
    assert (parts.by_attribute, parts.by_tag) == ((), ())
    assert parts.by_rater[0].note == "nobody else judged these items"
    assert parts.reward_model.note.startswith("no scores")


def test_each_rater_s_anchors_have_their_own_limits() -> None:
    """One turns round after twenty anchors, one stays, one has too few."""
    rows = [said(n, "turner", best(int(n >= 20)), role="anchor") for n in range(40)]
    rows += [said(n, "steady", best(0), role="anchor") for n in range(40)]
    rows += [said(n, "new", best(0), role="anchor") for n in range(5)]
    found = {row.id: row for row in figures(rows, ASKED).rater_drift}
    assert all(point.outside for point in found["turner"].points)
    assert not any(point.outside for point in found["steady"].points)
    assert (found["new"].points, found["new"].note) == ((), "5 anchors; a chart needs 20")
    shown = raters(figures(rows, ASKED), {"turner": "Tom"})["rater_drift"]
    assert [(row["name"], row["out"]) for row in shown] == [
        *(("new", False), ("steady", False), ("Tom", True))
    ]
