"""Argilla exports of three generations, and every way in which a record says nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from accord.data import read, read_comparisons
from accord.data.formats import FORMATS
from accord.data.report import RowError
from accord.errors import DataError
from accord.types import Comparison, Completion, Demonstration, Message, Ranking, Record

HI = (Message("user", "Hi"),)
FIELDS = {"prompt": "Hi", "response-1": "Yes", "response-2": "No"}


def said(value: Any, who: str = "u1", status: str | None = None) -> dict[str, Any]:
    answer = {"value": value, "user_id": who}
    return answer if status is None else answer | {"status": status}


def record(responses: Any, fields: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "id": "r1",
        "fields": FIELDS if fields is None else fields,
        "metadata": {},
        "suggestions": {"preference": {"value": ["response-2", "response-1"], "agent": "gpt"}},
        "responses": responses,
        "vectors": {},
        "_server_id": "5",
        **more,
    }


def parse(row: dict[str, Any]) -> list[Record]:
    name = next(entry.name for entry in FORMATS.values() if entry.matches(row))
    assert name == "argilla"
    return FORMATS[name].parse(row)


def only(row: dict[str, Any]) -> Any:
    (found,) = parse(row)
    return found


def test_a_ranking_question_is_a_ranking() -> None:
    found = only(record({"preference": [said(["response-2", "response-1"])]}))
    assert isinstance(found, Ranking)
    assert found.prompt.messages == HI
    assert (found.completions, found.ranks) == ((Completion("No"), Completion("Yes")), (0, 1))
    assert (found.rater, found.id) == ("u1", "r1")


def test_ranks_may_tie_and_options_may_be_written_otherwise() -> None:
    value = [{"value": "Response 1", "rank": 1}, {"value": "response_2", "rank": 1}]
    assert only(record({"q": [said(value)]})).ranks == (0, 0)
    value = [{"value": "response-1"}, {"value": "response-2"}]
    assert only(record({"q": [said(value)]})).ranks == (0, 1)
    assert only(record({"q": [said(["B", "A"])]})).completions[0].text == "No"


def test_every_person_is_one_verdict() -> None:
    answers = [said(["response-1", "response-2"], "ann"), said(["response-2", "response-1"], "bob")]
    first, second = parse(record({"preference": answers}))
    assert isinstance(first, Ranking) and isinstance(second, Ranking)
    assert [(r.rater, r.id, r.completions[0].text) for r in (first, second)] == [
        ("ann", "r1:0", "Yes"),
        ("bob", "r1:1", "No"),
    ]


def test_drafts_discarded_answers_and_suggestions_do_not_count() -> None:
    order = ["response-1", "response-2"]
    answers = [said(order, "a", "draft"), said(order, "b", "discarded"), said(order, "c")]
    assert only(record({"q": answers})).rater == "c"
    with pytest.raises(RowError, match="no verdict: nobody has submitted"):
        parse(record({"q": answers[:2]}))
    with pytest.raises(RowError, match="nobody has submitted"):
        parse(record({}))


@pytest.mark.parametrize(
    ("label", "choice"),
    [
        ("response-2", "b"),
        ("A", "a"),
        ("Response B is better", "b"),
        ("1", "a"),
        ("Tie", "tie"),
        ("about the same", "tie"),
        ("Both bad", "both_bad"),
    ],
)
def test_a_label_that_names_a_response_is_a_comparison(label: str, choice: str) -> None:
    answers = {"better": [said(label)], "why": [said("because it is so")]}
    found = only(record(answers))
    assert isinstance(found, Comparison)
    assert (found.a.text, found.b.text, found.choice) == ("Yes", "No", choice)


def test_one_rating_a_response_is_a_ranking_with_ties() -> None:
    fields = {"instruction": "Hi", "generation_1": "x", "generation_2": "y", "generation_3": "z"}
    answers = {
        "generation_1 quality": [said(4)],
        "generation_2 quality": [said(5)],
        "generation_3 quality": [said(4)],
    }
    found = only(record(answers, fields))
    assert [c.text for c in found.completions] == ["x", "y", "z"]
    assert found.ranks == (1, 0, 1)
    del answers["generation_3 quality"]
    with pytest.raises(RowError, match="2 of 3 responses are rated"):
        parse(record(answers, fields))


def test_a_written_answer_alone_is_a_demonstration() -> None:
    found = only(record({"answer": [said("Hello!")]}, {"prompt": "Hi"}))
    assert found == Demonstration(found.prompt, "Hello!", "r1")
    corrected = {"prompt": "Hi", "response_1": "Helo"}
    assert only(record({"corrected": [said("Hello!")]}, corrected)).completion == "Hello!"


def test_a_chat_field_is_a_conversation() -> None:
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "?"}]
    fields = {"chat": [*chat, {"role": "user", "content": "Go"}], "reply_a": "x", "reply_b": "y"}
    found = only(record({"q": [said(["reply_b", "reply_a"])]}, fields))
    assert [turn.content for turn in found.prompt.messages] == ["Hi", "?", "Go"]


def test_the_feedback_data_sets_of_one_point_x() -> None:
    people = [
        {"user_id": "u1", "status": "submitted", "values": {"q": {"value": "response-1"}}},
        {"user_id": "u2", "status": "discarded", "values": {"q": {"value": "response-2"}}},
    ]
    found = only(record(people))
    assert (found.rater, found.choice) == ("u1", "a")


def test_the_flat_rows_of_hub_data_sets() -> None:
    row = {
        "id": "r1",
        "status": "completed",
        "_server_id": "5",
        "prompt": "Hi",
        "response_1": "Yes",
        "response_2": "No",
        "better.responses": ["response_1", "response_2"],
        "better.responses.users": ["ann", "bob"],
        "better.responses.status": ["submitted", "draft"],
        "better.suggestion": "response_2",
    }
    found = only(row)
    assert (found.rater, found.choice, found.prompt.messages) == ("ann", "a", HI)
    row["better.responses.users"] = ["ann"]
    with pytest.raises(RowError, match="differ in length"):
        parse(row)


@pytest.mark.parametrize(
    ("responses", "fields", "expected"),
    [
        ({"q": [said(["response-1", "response-9"])]}, None, "missing field: the ranking names"),
        ({"q": [said("purple")]}, None, "no verdict: no answer says which of"),
        ({"q": [said(4)]}, {"prompt": "Hi", "response_1": "x"}, "no verdict: no ranking"),
        ({"a": [said("A")], "b": [said("B")]}, None, "ambiguous verdict: 2 questions have a label"),
        ({"q": [said(["response-1", "response-2"])]}, {**FIELDS, "prompt": ""}, "missing field"),
        (
            {"q": [said(["response-1", "response-2"])]},
            {**FIELDS, "response-2": "Yes"},
            "identical pair",
        ),
        (
            {"q": [said([{"value": "x", "rank": "1"}, {"value": "y"}])]},
            None,
            "wrong type: a 'rank'",
        ),
        ({"q": said("A")}, None, "wrong type: 'responses.q' is an object"),
        ({"q": ["A"]}, None, "wrong type: 'responses.q' holds text"),
        ("A", None, "wrong type: 'responses' is text"),
        (["A"], None, "wrong type: an entry of 'responses'"),
    ],
)
def test_what_says_nothing_says_why(responses: Any, fields: Any, expected: str) -> None:
    with pytest.raises(RowError) as caught:
        parse(record(responses, fields))
    assert str(caught.value).startswith(expected)


def test_an_export_file_is_recognised_and_bad_rows_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    good = record({"q": [said(["response-1", "response-2"])]})
    path.write_bytes(orjson.dumps([good, record({}) | {"id": "r2"}]))
    with pytest.raises(DataError, match=r"records.json:row 2: no verdict: nobody has submitted"):
        read(path)
    with pytest.warns(UserWarning, match="1 bad rows"):
        dataset = read(path, max_bad_rows=1)
    assert dataset.report.formats == {str(path): "argilla"}
    assert len(dataset.records) == 1


def test_unusual_field_names_are_told(tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    fields = {"frage": "Hi", "links": "Yes", "rechts": "No"}
    path.write_bytes(orjson.dumps([record({"q": [said("A")]}, fields)]))
    with pytest.raises(DataError, match="name it with columns"):
        read(path)
    columns = {
        "prompt": "fields.frage",
        "response_a": "fields.links",
        "response_b": "fields.rechts",
    }
    (found,) = read_comparisons(path, columns=columns)
    assert isinstance(found, Comparison)
    assert (found.a.text, found.b.text, found.choice) == ("Yes", "No", "a")
