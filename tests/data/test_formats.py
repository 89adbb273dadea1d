"""Each shape of row, by hand: what it becomes and when it is recognised."""

from __future__ import annotations

from typing import Any

import pytest

from accord.data.formats import FORMATS, find_format
from accord.data.notes import dense, identifier
from accord.data.report import RowError
from accord.errors import DataError
from accord.types import Comparison, Completion, Demonstration, Label, Message, Prompt, Ranking

USER = {"role": "user", "content": "Hi"}
YES, NO = {"role": "assistant", "content": "Yes"}, {"role": "assistant", "content": "No"}
HI = (Message("user", "Hi"),)
HUMAN = "\n\nHuman: Hi\n\nAssistant: "


def recognised(row: dict[str, Any]) -> str:
    return next(entry.name for entry in FORMATS.values() if entry.matches(row))


def parse(row: dict[str, Any], name: str | None = None) -> Any:
    (record,) = FORMATS[name or recognised(row)].parse(row)
    return record


PAIRS: list[tuple[str, dict[str, Any]]] = [
    ("hh", {"chosen": f"{HUMAN}Yes", "rejected": f"{HUMAN}No"}),
    ("trl-preference", {"prompt": "Hi", "chosen": "Yes", "rejected": "No"}),
    ("trl-preference", {"prompt": [USER], "chosen": [YES], "rejected": [NO]}),
    ("trl-preference", {"prompt": [USER], "chosen": "Yes", "rejected": "No"}),
    ("trl-preference", {"prompt": "Hi", "chosen": [YES], "rejected": [NO]}),
    ("trl-preference", {"prompt": "Hi", "chosen": [USER, YES], "rejected": [USER, NO]}),
    ("trl-preference", {"chosen": [USER, YES], "rejected": [USER, NO]}),
    ("trl-preference", {"prompt": None, "chosen": [USER, YES], "rejected": [USER, NO]}),
    ("trl-preference", {"prompt": HUMAN.rstrip(), "chosen": "Yes", "rejected": "No"}),
    ("alpaca", {"instruction": "Hi", "input": "", "chosen": "Yes", "rejected": "No"}),
    (
        "sharegpt",
        {
            "conversations": [{"from": "human", "value": "Hi"}],
            "chosen": {"from": "gpt", "value": "Yes"},
            "rejected": {"from": "gpt", "value": "No"},
        },
    ),
]


@pytest.mark.parametrize(("name", "row"), PAIRS)
def test_every_shape_of_a_pair_is_the_same_comparison(name: str, row: dict[str, Any]) -> None:
    assert recognised(row) == name
    comparison = parse(row)
    assert isinstance(comparison, Comparison)
    assert comparison.prompt.messages == HI
    assert (comparison.a, comparison.b) == (Completion("Yes"), Completion("No"))
    assert comparison.choice == "a"
    assert comparison.prompt.id == parse(PAIRS[0][1]).prompt.id


def test_an_implicit_prompt_in_plain_text() -> None:
    comparison = parse({"chosen": "The sky is blue.", "rejected": "The sky is green."})
    assert comparison.prompt.messages == (Message("user", "The sky is"),)
    assert (comparison.a.text, comparison.b.text) == (" blue.", " green.")


def test_a_longer_chat_prompt_and_a_system_turn() -> None:
    head = [{"role": "system", "content": "Be brief."}, USER, YES, {"role": "user", "content": "?"}]
    explicit = parse({"prompt": head, "chosen": [YES], "rejected": [NO]})
    implicit = parse({"chosen": [*head, YES], "rejected": [*head, NO]})
    assert explicit == implicit
    assert [turn.role for turn in explicit.prompt.messages] == [
        "system",
        "user",
        "assistant",
        "user",
    ]


def test_what_comes_with_a_pair_is_kept() -> None:
    row = {
        "prompt": "Hi",
        "chosen": "Yes",
        "rejected": "No",
        "margin": 2,
        "strength": 0.5,
        "rater": "ann",
        "guideline": "v2",
        "chosen_model": "m1",
        "rejected_model": "m2",
        "id": 7,
        "prompt_id": "p1",
        "tags": ["short"],
        "something_else": {"ignored": True},
    }
    assert parse(row) == Comparison(
        prompt=Prompt("p1", HI, ("short",)),
        a=Completion("Yes", "m1"),
        b=Completion("No", "m2"),
        choice="a",
        strength=0.5,
        margin=2.0,
        rater="ann",
        guideline="v2",
        id="7",
    )


def test_null_columns_are_absent_columns() -> None:
    row = dict.fromkeys(("margin", "strength", "rater", "id", "prompt_id", "tags", "chosen_model"))
    bare = {"prompt": "Hi", "chosen": "Yes", "rejected": "No"}
    assert parse(bare | row) == parse(bare)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hi", "completion": "Yes"},
        {"prompt": [USER], "completion": [YES]},
        {"messages": [USER, YES]},
        {"instruction": "Hi", "input": "", "output": "Yes"},
        {"instruction": "Hi", "output": "Yes", "system": "", "history": []},
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yes"}]},
        {"conversations": [USER, YES], "system": ""},
    ],
)
def test_every_shape_of_a_demonstration(row: dict[str, Any]) -> None:
    demonstration = parse(row)
    assert isinstance(demonstration, Demonstration)
    assert (demonstration.prompt.messages, demonstration.completion) == (HI, "Yes")


def test_alpaca_joins_instruction_and_input_after_the_history() -> None:
    row = {
        "instruction": "Translate",
        "input": "chat",
        "output": "cat",
        "system": "Be brief.",
        "history": [["Hi", "Yes"]],
    }
    assert parse(row).prompt.messages == (
        Message("system", "Be brief."),
        Message("user", "Hi"),
        Message("assistant", "Yes"),
        Message("user", "Translate\nchat"),
    )


@pytest.mark.parametrize(
    ("row", "good"),
    [
        ({"prompt": "Hi", "completion": "Yes", "label": True}, True),
        ({"prompt": [USER], "completion": [YES], "label": 0}, False),
        ({"instruction": "Hi", "output": "Yes", "kto_tag": False}, False),
        ({"conversations": [USER, YES], "kto_tag": True}, True),
    ],
)
def test_every_shape_of_a_label(row: dict[str, Any], good: bool) -> None:
    label = parse(row)
    assert isinstance(label, Label)
    assert (label.prompt.messages, label.completion, label.good) == (HI, Completion("Yes"), good)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hi", "id": "x"},
        {"prompt": [USER], "id": "x", "other": 1},
        {"messages": [USER], "id": "x"},
        {"instruction": "Hi", "id": "x"},
    ],
)
def test_every_shape_of_a_prompt(row: dict[str, Any]) -> None:
    assert parse(row) == Prompt("x", HI)


def test_nemo_ranks_keep_order_and_ties() -> None:
    row = {
        "context": [USER],
        "completions": [
            {"rank": 5, "completion": [NO]},
            {"rank": 1, "completion": [YES], "model": "m"},
            {"rank": 5, "completion": "Maybe"},
        ],
        "rater": "ann",
        "id": "r1",
    }
    ranking = parse(row)
    assert isinstance(ranking, Ranking)
    assert recognised(row) == "nemo-rank"
    assert ranking.ranks == (1, 0, 1)
    assert ranking.completions == (Completion("No"), Completion("Yes", "m"), Completion("Maybe"))
    assert (ranking.rater, ranking.id) == ("ann", "r1")


def entry(rank: Any = 0, completion: Any = "x") -> dict[str, Any]:
    return {"rank": rank, "completion": completion}


@pytest.mark.parametrize(
    ("name", "row", "expected"),
    [
        ("nemo-rank", {"context": "Hi"}, "missing field: 'completions'"),
        ("nemo-rank", {"context": "Hi", "completions": "x"}, "wrong type: 'completions'"),
        ("nemo-rank", {"context": "Hi", "completions": [entry()]}, "too few completions"),
        ("nemo-rank", {"context": "Hi", "completions": [1, 2]}, "wrong type: 'completions[0]'"),
        (
            "nemo-rank",
            {"context": "Hi", "completions": [entry(None), entry()]},
            "missing field: 'completions[0].rank'",
        ),
        (
            "nemo-rank",
            {"context": "Hi", "completions": [entry(), entry(True)]},
            "wrong type: 'completions[1].rank'",
        ),
        (
            "nemo-rank",
            {"context": "Hi", "completions": [entry(), entry(1, "")]},
            "empty field: 'completions[1].completion'",
        ),
        ("nemo-rank", {"context": "Hi", "completions": [entry(), entry(1)]}, "identical pair"),
        ("trl-unpaired", {"prompt": "Hi", "completion": "x"}, "missing field: 'label'"),
        (
            "trl-unpaired",
            {"prompt": "Hi", "completion": "x", "label": "yes"},
            "wrong type: 'label' is text",
        ),
        (
            "trl-unpaired",
            {"prompt": "Hi", "completion": "x", "label": 2},
            "wrong type: 'label' is a number",
        ),
        ("messages", {"messages": [YES]}, "broken conversation"),
        ("messages", {"messages": [{"role": "system", "content": ""}]}, "empty field"),
        ("alpaca", {"instruction": "Hi", "output": ""}, "empty field: 'output'"),
        ("alpaca", {"instruction": "Hi", "history": [["x"]]}, "wrong type: 'history[0]'"),
        ("alpaca", {"instruction": "Hi", "chosen": "x"}, "missing field: 'rejected'"),
        ("hh", {"chosen": f"{HUMAN}x", "rejected": "text"}, "broken conversation: 'rejected'"),
        ("hh", {"chosen": HUMAN + "x", "rejected": HUMAN + " x"}, "identical pair"),
        ("trl-preference", {"chosen": [USER, YES], "rejected": "No"}, "wrong type: 'rejected'"),
        (
            "trl-preference",
            {"prompt": "Hi", "chosen": "x", "rejected": "y", "margin": True},
            "wrong type: 'margin' is a boolean",
        ),
        (
            "trl-preference",
            {"prompt": "Hi", "chosen": "x", "rejected": "y", "strength": -1},
            "out of range: 'strength'",
        ),
        ("prompt", {"prompt": None}, "missing field: 'prompt'"),
        ("prompt", {"prompt": "x", "id": 1.5}, "wrong type: 'id'"),
        ("prompt", {"prompt": "x", "tags": {"a": 1}}, "wrong type: 'tags'"),
    ],
)
def test_a_bad_row_says_which_field_and_why(name: str, row: dict[str, Any], expected: str) -> None:
    with pytest.raises(RowError) as caught:
        parse(row, name)
    assert str(caught.value).startswith(expected)


def test_ranks_close_up() -> None:
    assert dense([7, -1, 7, 100]) == (1, 0, 1, 2)


def test_ids_are_text_or_whole_numbers() -> None:
    assert [identifier({"id": value}) for value in (None, "", "x", 0)] == ["", "", "x", "0"]
    with pytest.raises(RowError, match="a boolean"):
        identifier({"id": True})


def test_an_unknown_format_is_answered_with_a_suggestion() -> None:
    assert find_format("hh").name == "hh"
    with pytest.raises(DataError, match="did you mean 'trl-preference'"):
        find_format("trl-preferences")
