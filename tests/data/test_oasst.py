"""OpenAssistant trees: rankings and demonstrations, by a tree small enough to read."""

from __future__ import annotations

from typing import Any

import pytest

from accord.data.oasst import parse_tree
from accord.data.report import RowError
from accord.types import Completion, Demonstration, Message, Ranking


def node(name: str, role: str, *replies: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"message_id": name, "text": f"text {name}", "role": role, "replies": [*replies], **more}


def tree(*replies: dict[str, Any], **more: Any) -> dict[str, Any]:
    root = node("root", "prompter", *replies, lang="en")
    return {"message_tree_id": "t1", "prompt": root | more}


def both(row: dict[str, Any]) -> tuple[list[Ranking], list[Demonstration]]:
    records = parse_tree(row)
    return (
        [record for record in records if isinstance(record, Ranking)],
        [record for record in records if isinstance(record, Demonstration)],
    )


def test_ranked_siblings_become_a_ranking_and_the_best_a_demonstration() -> None:
    row = tree(
        node("a", "assistant", rank=3),
        node("b", "assistant", rank=0),
        node("c", "assistant", rank=1, synthetic=True, model_name="chip"),
        node("d", "assistant"),
    )
    (ranking,), (demonstration,) = both(row)
    assert ranking.prompt.id == ranking.id == "root"
    assert ranking.prompt.tags == ("tree:t1", "lang:en")
    assert ranking.completions == (
        Completion("text a", "human"),
        Completion("text b", "human"),
        Completion("text c", "chip"),
    )
    assert ranking.ranks == (2, 0, 1)
    assert (demonstration.completion, demonstration.id) == ("text b", "b")


def test_deeper_turns_carry_the_whole_path() -> None:
    follow_up = node(
        "q", "prompter", node("x", "assistant", rank=0), node("y", "assistant", rank=1)
    )
    rankings, demonstrations = both(tree(node("a", "assistant", follow_up)))
    assert [ranking.prompt.messages for ranking in rankings] == [
        (
            Message("user", "text root"),
            Message("assistant", "text a"),
            Message("user", "text q"),
        )
    ]
    assert [(d.prompt.id, d.completion) for d in demonstrations] == [
        ("root", "text a"),
        ("q", "text x"),
    ]


def test_unranked_human_replies_are_all_demonstrations_and_synthetic_ones_none() -> None:
    row = tree(
        node("a", "assistant"), node("b", "assistant"), node("c", "assistant", synthetic=True)
    )
    rankings, demonstrations = both(row)
    assert rankings == []
    assert [demonstration.id for demonstration in demonstrations] == ["a", "b"]


def test_the_best_human_reply_is_shown_where_a_synthetic_one_won() -> None:
    row = tree(
        node("a", "assistant", rank=1),
        node("b", "assistant", rank=0, synthetic=True, model_name=None),
    )
    (ranking,), (demonstration,) = both(row)
    assert demonstration.id == "a"
    assert ranking.completions[1].model == "synthetic"


def test_deleted_and_rejected_messages_are_left_out_with_what_hangs_on_them() -> None:
    follow_up = node("q", "prompter", node("x", "assistant"))
    row = tree(
        node("a", "assistant", follow_up, deleted=True, rank=0),
        node("b", "assistant", review_result=False, rank=1),
        node("c", "assistant", review_result=None, rank=2),
    )
    rankings, demonstrations = both(row)
    assert rankings == []
    assert [demonstration.id for demonstration in demonstrations] == ["c"]


def test_equal_ranks_are_ties() -> None:
    (ranking,), _ = both(
        tree(*(node(name, "assistant", rank=rank) for name, rank in (("a", 4), ("b", 4), ("c", 9))))
    )
    assert ranking.ranks == (0, 0, 1)
    assert [pair.choice for pair in ranking.pairs()] == ["tie", "a", "a"]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": {}}, "missing field: 'message_tree_id'"),
        ({"message_tree_id": "t"}, "missing field: 'prompt'"),
        ({"message_tree_id": "t", "prompt": "text"}, "wrong type: 'prompt'"),
        (tree(text=""), "empty field: 'prompt.text'"),
        (tree(role="wizard"), "unknown role: 'wizard' in 'prompt'"),
        (tree(lang=3), "wrong type: 'prompt.lang'"),
        (tree(replies="none"), "wrong type: 'prompt.replies'"),
        (tree(node("a", "assistant", text=None)), "missing field: 'prompt.replies[0].text'"),
        (tree(node("a", "assistant", rank="best")), "wrong type: a 'rank' under 'prompt'"),
        (tree(replies=[7]), "wrong type: 'prompt.replies[0]'"),
        (tree(node("a", "assistant"), message_id=None), "missing field: 'prompt.message_id'"),
    ],
)
def test_a_damaged_tree_says_where(row: dict[str, Any], expected: str) -> None:
    with pytest.raises(RowError) as caught:
        parse_tree(row)
    assert str(caught.value).startswith(expected)
