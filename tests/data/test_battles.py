"""Arena battles and summary comparisons, row by row."""

from __future__ import annotations

from typing import Any

import pytest

from accord.data.formats import FORMATS
from accord.data.report import RowError
from accord.types import Comparison, Completion, Message

ASKED = {"role": "user", "content": "Hi"}


def battle(**changes: Any) -> dict[str, Any]:
    row = {
        "question_id": "q1",
        "model_a": "alpaca",
        "model_b": "vicuna",
        "winner": "model_b",
        "judge": "arena_user_7",
        "conversation_a": [ASKED, {"role": "assistant", "content": "Yes"}],
        "conversation_b": [ASKED, {"role": "assistant", "content": "No"}],
        "turn": 1,
        "anony": True,
    }
    return row | changes


def summary(**changes: Any) -> dict[str, Any]:
    row = {
        "info": {"id": "t3_1", "post": "My cat ran.", "title": "Cat", "subreddit": "pets"},
        "summaries": [
            {"text": "Cat ran.", "policy": "sup1", "note": "the cat is gone"},
            {"text": "Dog ran.", "policy": "ref", "note": ""},
        ],
        "choice": 0,
        "worker": "w9",
        "batch": "batch3",
        "split": "train",
        "extra": {"confidence": 2},
    }
    return row | changes


def parse(row: dict[str, Any]) -> Comparison:
    name = next(entry.name for entry in FORMATS.values() if entry.matches(row))
    (record,) = FORMATS[name].parse(row)
    assert isinstance(record, Comparison)
    return record


def test_a_battle() -> None:
    found = parse(battle())
    assert found.prompt.messages == (Message("user", "Hi"),)
    assert (found.a, found.b) == (Completion("Yes", "alpaca"), Completion("No", "vicuna"))
    assert (found.choice, found.rater, found.id) == ("b", "arena_user_7", "q1")


@pytest.mark.parametrize(
    ("word", "choice"),
    [("model_a", "a"), ("tie", "tie"), ("tie (bothbad)", "both_bad"), ("both_bad", "both_bad")],
)
def test_every_winner(word: str, choice: str) -> None:
    assert parse(battle(winner=word)).choice == choice


def test_newer_arenas_write_content_in_parts() -> None:
    said = [{"type": "text", "text": "Y"}, {"type": "text", "text": "es"}]
    row = battle(conversation_a=[ASKED, {"role": "assistant", "content": said}])
    assert parse(row).a.text == "Yes"
    said[1] = {"type": "image", "image": "..."}
    with pytest.raises(RowError, match="something that is no text"):
        parse(row)


def test_a_model_judge_has_a_name_too() -> None:
    assert parse(battle(judge=["gpt-4", "pair-v2"])).rater == "gpt-4, pair-v2"
    assert parse(battle(question_id=81)).id == "81"


def test_several_turns_are_one_battle_only_if_they_share_the_first() -> None:
    again = {"role": "user", "content": "And?"}
    tails = [{"role": "assistant", "content": word} for word in ("x", "y")]
    heads = [battle()[f"conversation_{side}"] for side in "ab"]
    apart = battle(
        conversation_a=[*heads[0], again, tails[0]], conversation_b=[*heads[1], again, tails[1]]
    )
    with pytest.raises(RowError, match="early divergence"):
        parse(apart)
    together = battle(
        conversation_a=[*heads[0], again, tails[0]], conversation_b=[*heads[0], again, tails[1]]
    )
    assert len(parse(together).prompt.messages) == 3


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"winner": "left"}, "out of range: 'winner' is 'left'"),
        ({"winner": None}, "missing field: 'winner'"),
        ({"conversation_a": "Hi"}, "wrong type: 'conversation_a' is text"),
        ({"conversation_b": battle()["conversation_a"]}, "identical pair"),
        ({"model_a": 3}, "wrong type: 'model_a'"),
        ({"judge": 3}, "wrong type: 'rater' is a number"),
        ({"weight": -1}, "out of range: 'weight'"),
    ],
)
def test_a_bad_battle(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(RowError) as caught:
        parse(battle(**changes))
    assert str(caught.value).startswith(expected)


def test_equal_answers_may_tie() -> None:
    same = battle()["conversation_a"]
    assert parse(battle(conversation_b=same, winner="tie")).choice == "tie"


def test_a_summary_comparison() -> None:
    found = parse(summary())
    assert found.prompt.text == "SUBREDDIT: r/pets\n\nTITLE: Cat\n\nPOST: My cat ran.\n\nTL;DR:"
    assert found.prompt.id == "t3_1"
    assert found.prompt.tags == ("split:train", "batch:batch3")
    assert (found.a, found.b) == (Completion("Cat ran.", "sup1"), Completion("Dog ran.", "ref"))
    assert (found.choice, found.strength, found.rater) == ("a", 0.75, "w9")


def test_confidence_is_the_distance_from_the_middle() -> None:
    strengths = [parse(summary(extra={"confidence": c})).strength for c in (1, 5, 8, 9)]
    assert strengths == [1.0, 0.0, 0.75, 1.0]
    assert parse(summary(extra={})).strength is None
    assert parse(summary(extra=None)).strength is None


def test_posts_and_articles() -> None:
    assert parse(summary(info={"post": "P"})).prompt.text == "P"
    article = summary(info={"id": "a", "article": "A", "title": "T", "site": "cnn"})
    assert parse(article).prompt.text == "TITLE: T\n\nARTICLE: A\n\nTL;DR:"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"choice": 2}, "out of range: 'choice' is 2"),
        ({"choice": True}, "out of range: 'choice' is True"),
        ({"info": "x"}, "wrong type: 'info'"),
        ({"info": {"id": "x"}}, "missing field: 'info.post'"),
        ({"summaries": [{"text": "x"}]}, "wrong type: 'summaries' is not a list of two"),
        ({"summaries": [{"text": "x"}, "y"]}, "wrong type: 'summaries[1]'"),
        ({"summaries": [{"text": "x"}, {"text": "x"}]}, "identical pair"),
        ({"extra": {"confidence": 12}}, "out of range: 'confidence' is 12"),
    ],
)
def test_a_bad_summary_comparison(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(RowError) as caught:
        parse(summary(**changes))
    assert str(caught.value).startswith(expected)
