"""Label Studio's JSON export, by result type, and what cannot be a verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from accord.data import read, read_comparisons, read_demonstrations
from accord.data.formats import FORMATS
from accord.data.report import RowError
from accord.errors import DataError
from accord.types import Comparison, Completion, Demonstration, Message, Ranking, Record

PAIR = {"prompt": "Hi", "answer1": "Yes", "answer2": "No"}
ITEMS = [
    {"id": "llm_1", "title": "model 1", "body": "x"},
    {"id": "llm_2", "title": "model 2", "body": "y"},
    {"id": 3, "title": "z"},
]


def result(kind: str, value: dict[str, Any], name: str = "q") -> dict[str, Any]:
    return {"id": "a1", "from_name": name, "to_name": "t", "type": kind, "value": value}


def task(data: dict[str, Any], *results: Any, **annotation: Any) -> dict[str, Any]:
    by = {"id": 1001, "completed_by": 7, "was_cancelled": False, "result": list(results)}
    return {"id": 1, "data": data, "annotations": [by | annotation], "predictions": []}


def parse(row: dict[str, Any]) -> list[Record]:
    name = next(entry.name for entry in FORMATS.values() if entry.matches(row))
    assert name == "label-studio"
    return FORMATS[name].parse(row)


def only(row: dict[str, Any]) -> Any:
    (found,) = parse(row)
    return found


@pytest.mark.parametrize(("side", "choice"), [("left", "a"), ("right", "b"), (None, "tie")])
def test_pairwise(side: str | None, choice: str) -> None:
    found = only(task(PAIR, result("pairwise", {"selected": side})))
    assert isinstance(found, Comparison)
    assert found.prompt.messages == (Message("user", "Hi"),)
    assert (found.a, found.b) == (Completion("Yes"), Completion("No"))
    assert (found.choice, found.rater, found.id) == (choice, "7", "1001")


def test_the_sides_go_by_number_or_letter_not_by_place_in_the_file() -> None:
    data = {"answer2": "No", "answer1": "Yes", "question": "Hi"}
    assert only(task(data, result("pairwise", {"selected": "left"}))).a.text == "Yes"


@pytest.mark.parametrize(
    ("word", "choice"),
    [("Answer 2", "b"), ("A", "a"), ("left", "a"), ("Tie", "tie"), ("Neither", "both_bad")],
)
def test_choices_that_name_a_response(word: str, choice: str) -> None:
    flag = result("choices", {"choices": ["rude", "long"]}, "flags")
    comment = result("textarea", {"text": ["it is shorter"]}, "why")
    found = only(task(PAIR, flag, result("choices", {"choices": [word]}), comment))
    assert (found.choice, found.a.text) == (choice, "Yes")


@pytest.mark.parametrize("order", [{"rank": ["llm_2", 3, "llm_1"]}, ["llm_2", "3", "llm_1"]])
def test_a_ranker_is_a_ranking(order: Any) -> None:
    found = only(task({"prompt": "Hi", "items": ITEMS}, result("ranker", {"ranker": order})))
    assert isinstance(found, Ranking)
    assert [c.text for c in found.completions] == ["y", "z", "x"]
    assert found.ranks == (0, 1, 2)
    assert found.rater == "7"


def test_a_written_answer_is_a_demonstration() -> None:
    row = task({"instruction": "Hi"}, result("textarea", {"text": ["Hello", "you"]}))
    found = only(row)
    assert found == Demonstration(found.prompt, "Hello\nyou", "1001")


def test_every_annotator_counts_except_who_cancelled_and_nobodys_address_is_kept() -> None:
    row = task(PAIR, result("pairwise", {"selected": "left"}))
    (first,) = row["annotations"]
    row["annotations"] += [
        first | {"id": 1002, "was_cancelled": True},
        first | {"id": 1003, "completed_by": {"id": 8, "email": "ann@example.org"}},
    ]
    found = parse(row)
    assert [(r.rater, r.id) for r in found if isinstance(r, Comparison)] == [
        ("7", "1001"),
        ("8", "1003"),
    ]


LEFT = result("pairwise", {"selected": "left"})


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (task(PAIR, LEFT, was_cancelled=True), "no verdict: nobody has annotated"),
        (task(PAIR, result("rating", {"rating": 3})), "no verdict: 'annotations[0]' holds rating"),
        (task(PAIR), "no verdict: 'annotations[0]' holds nothing"),
        (task(PAIR, LEFT, LEFT), "ambiguous verdict: 'annotations[0]' answers several questions"),
        (task({"prompt": "Hi", "answer1": "Yes"}, LEFT), "missing field: two responses"),
        (task({"answer1": "Yes", "answer2": "No"}, LEFT), "missing field: 'prompt'"),
        (task({**PAIR, "answer2": "Yes"}, LEFT), "identical pair"),
        (task(PAIR, result("pairwise", {"selected": "up"})), "out of range: 'selected'"),
        (
            task(PAIR, *[result("choices", {"choices": [c]}, c) for c in "AB"]),
            "ambiguous verdict: 2 choices",
        ),
        (
            task({"prompt": "Hi", "items": ITEMS}, result("ranker", {"ranker": {"rank": ["x"]}})),
            "no verdict: the ranker's ids",
        ),
        (
            task(
                {"prompt": "Hi", "items": ITEMS},
                result("ranker", {"ranker": {"_": ["llm_1"], "good": ["llm_2", 3]}}),
            ),
            "no verdict: a ranker with buckets",
        ),
        (
            task({"prompt": "Hi"}, result("ranker", {"ranker": {"r": ["x"]}})),
            "missing field: a list",
        ),
        (task(PAIR, "left"), "wrong type: a result"),
        ({"data": [], "annotations": []}, "wrong type: 'data'"),
        ({"data": {}, "annotations": {}}, "wrong type: 'annotations'"),
        ({"data": {}, "annotations": [{}]}, "wrong type: 'annotations[0]'"),
    ],
)
def test_what_is_no_verdict_says_why(row: dict[str, Any], expected: str) -> None:
    with pytest.raises(RowError) as caught:
        parse(row)
    assert str(caught.value).startswith(expected)


def test_an_export_file_is_recognised_and_its_nouns_may_mix(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    written = task({"prompt": "Hi"}, result("textarea", {"text": ["Hello"]})) | {"id": 2}
    path.write_bytes(orjson.dumps([task(PAIR, LEFT), written, task(PAIR) | {"id": 3}]))
    with pytest.raises(DataError, match=r"export.json:row 3: no verdict"):
        read(path)
    with pytest.warns(UserWarning, match="1 bad rows"):
        assert len(read_comparisons(path, max_bad_rows=1)) == 1
    with pytest.warns(UserWarning, match="1 bad rows"):
        assert len(read_demonstrations(path, max_bad_rows=1)) == 1


def test_unusual_names_are_told(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_bytes(orjson.dumps([task({"q": "Hi", "left": "Yes", "right": "No"}, LEFT)]))
    columns = {"prompt": "data.q", "response_a": "data.left", "response_b": "data.right"}
    (found,) = read_comparisons(path, columns=columns)
    assert isinstance(found, Comparison)
    assert (found.a.text, found.prompt.text) == ("Yes", "Hi")
