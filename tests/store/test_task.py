"""Task schemas and judgment bodies: what is refused, with its place, and what a slot stands for."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from accord.errors import ConfigError, DataError
from accord.store.task import (
    CompareBody,
    Label,
    PairLabel,
    RoundSettings,
    Task,
    TaskSchema,
    parse_body,
    verdict,
)
from accord.store.task_files import load_schema, presets

LABELS = (Label(name="overall", text="Overall", kind="likert"), Label(name="lie", text="A lie"))


def compare(schema: TaskSchema | None = None, **fields: Any) -> Any:
    """A pair's verdict with the sides exchanged, after all checks."""
    body = {"outcome": "a", **fields}
    if "strength" not in fields and body["outcome"] in ("a", "b"):
        body["strength"] = 2
    return verdict(parse_body("compare", schema or TaskSchema(), 2, body), (1, 0))


def test_presets_load_and_are_described() -> None:
    assert set(presets()) == {"hh", "hhh", "instructgpt", "stiennon", "christiano-text"}
    for name, line in presets().items():
        assert load_schema(name).name == name
        assert len(line) > 20


def test_instructgpt_has_the_paper_s_eleven_flags_and_a_scale_of_seven() -> None:
    labels = load_schema("instructgpt").response_labels
    assert [label.kind for label in labels].count("flag") == 11
    (overall,) = [label for label in labels if label.kind == "likert"]
    assert (overall.steps, overall.low, overall.high) == (7, "Very bad", "Very good")


def test_stiennon_is_a_nine_point_scale_and_christiano_has_no_strength() -> None:
    assert load_schema("stiennon").strength_steps == 4
    assert load_schema("christiano-text").strength_steps == 0


@pytest.mark.parametrize(
    ("text", "place", "hint"),
    [
        ("name: x\nqueston: y\n", ":2:", "did you mean 'question'"),
        ("name: x\nstrength_steps: 9\n", ":2:", "less than or equal to 4"),
        ("comment: never\n", ":1:", "'off', 'optional' or 'required'"),
        ("name: x\nstrength_steps: 2\ncomment_at_strength: 3\n", ":3:", "no judgment reaches it"),
        ("response_labels:\n- {name: a, text: A}\n- {name: a, text: B}\n", ":1:", "must differ: a"),
        ("response_labels:\n- {name: a, text: A, step: 3}\n", ":2:", "did you mean 'steps'"),
        ("pair_labels:\n- {name: a, text: A, require: yes}\n", ":2:", "did you mean 'required'"),
        ("name: x\nname: y\n", ":2:", "set twice"),
        ("name: [\n", ":2:", "not valid YAML"),
    ],
)
def test_a_wrong_schema_is_refused_with_file_and_line(
    tmp_path: Path, text: str, place: str, hint: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_schema(path)
    assert f"mine.yaml{place}" in str(caught.value)
    assert hint in str(caught.value)


def test_all_problems_of_a_schema_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("comment: never\nmax_turns: 0\n")
    with pytest.raises(ConfigError) as caught:
        load_schema(path)
    assert len(str(caught.value).splitlines()) == 2


def test_an_unknown_preset_lists_the_known() -> None:
    with pytest.raises(ConfigError, match="christiano-text, hh, hhh, instructgpt, stiennon"):
        load_schema("hhhh")


def test_settings_refuse_what_makes_no_sense() -> None:
    for wrong in ({"overlap": 0}, {"gold_share": 1.5}, {"lease_seconds": 0}, {"overlaps": 1}):
        with pytest.raises(ValidationError):
            RoundSettings.model_validate(wrong)


def test_sides_are_turned_back_to_the_canonical_order() -> None:
    assert compare(outcome="a", strength=3) == {
        "outcome": "best",
        "best": 1,
        "strength": 3,
        "reasons": [],
        "comment": "",
    }
    assert compare(outcome="b")["best"] == 0
    for outcome in ("tie", "both_bad", "cannot_compare"):
        found = compare(outcome=outcome)
        assert found["outcome"] == outcome
        assert "best" not in found


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"outcome": "c"}, "outcome"),
        ({"strength": 5}, "strength of 1 to 4"),
        ({"strength": 0}, "strength of 1 to 4"),
        ({"strength": None}, "strength of 1 to 4"),
        ({"outcome": "tie", "strength": 1}, "no strength is asked"),
        ({"reasons": ["nicer"]}, "unknown reasons"),
        ({"active_ms": -1}, "active_ms"),
        ({"colour": "red"}, "colour"),
        ({"comment": "x" * 20_001}, "comment"),
        ({"labels": {"a": {"rude": True}}}, "unknown label"),
    ],
)
def test_a_judgment_that_the_round_does_not_ask_for_is_refused(
    fields: dict[str, Any], reason: str
) -> None:
    with pytest.raises(DataError, match=reason):
        compare(**fields)


def test_outcomes_can_be_taken_away() -> None:
    strict = TaskSchema(allow_tie=False, allow_both_bad=False, allow_cannot_compare=False)
    for outcome in ("tie", "both_bad", "cannot_compare"):
        with pytest.raises(DataError, match="does not allow"):
            compare(strict, outcome=outcome)


def test_without_steps_no_strength_is_taken() -> None:
    plain = TaskSchema(strength_steps=0)
    assert compare(plain, outcome="a", strength=None)["strength"] is None
    with pytest.raises(DataError, match="no strength"):
        compare(plain, outcome="a", strength=1)


def test_a_comment_is_required_where_the_schema_says_so() -> None:
    required = TaskSchema(comment="required")
    strong = TaskSchema(comment_at_strength=3)
    with pytest.raises(DataError, match="comment"):
        compare(required, outcome="tie", comment="  ")
    with pytest.raises(DataError, match="comment"):
        compare(strong, strength=3)
    with pytest.raises(DataError, match="no comments"):
        compare(TaskSchema(comment="off"), comment="why")
    assert compare(required, comment="clearer")["comment"] == "clearer"
    assert compare(strong, strength=2)["strength"] == 2


def test_labels_follow_their_response() -> None:
    schema = TaskSchema(response_labels=LABELS)
    labels = {"a": {"overall": 7, "lie": True}, "b": {"overall": 1}}
    assert compare(schema, labels=labels)["labels"] == {
        "0": {"overall": 1},
        "1": {"overall": 7, "lie": True},
    }


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ({"a": {"overall": 7}}, "missing: \\['b'\\]"),
        ({"a": {"overall": 8}, "b": {"overall": 1}}, "step from 1 to 7"),
        ({"a": {"overall": True}, "b": {"overall": 1}}, "step from 1 to 7"),
        ({"a": {"overall": 7, "lie": 3}, "b": {"overall": 1}}, "yes or no"),
        ({"c": {"overall": 7}}, "no response 'c'"),
        ({"": {"overall": 7}}, "no response ''"),
        ({"ab": {"overall": 7}}, "no response 'ab'"),
    ],
)
def test_wrong_labels_are_refused(labels: dict[str, Any], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        compare(TaskSchema(response_labels=LABELS), labels=labels)


def test_who_cannot_compare_need_not_rate() -> None:
    schema = TaskSchema(response_labels=LABELS)
    assert compare(schema, outcome="cannot_compare")["outcome"] == "cannot_compare"


@given(
    st.lists(st.integers(0, 20), min_size=2, max_size=9).flatmap(
        lambda ranks: st.tuples(st.just(ranks), st.permutations(range(len(ranks))))
    )
)
def test_a_ranking_keeps_its_order_whatever_the_places(drawn: tuple[list[int], list[int]]) -> None:
    shown, permutation = drawn
    body = parse_body("rank", TaskSchema(), len(shown), {"ranks": shown})
    ranks = verdict(body, permutation)["ranks"]
    assert set(ranks) == set(range(len(set(shown))))  # dense, from 0
    for s, t in permutations(range(len(shown)), 2):
        assert (shown[s] < shown[t]) == (ranks[permutation[s]] < ranks[permutation[t]])


@pytest.mark.parametrize(
    ("ranks", "reason"),
    [([0, 1], "3 responses need 3 ranks"), ([0, 1, -1], "start at 0"), ([0, 1, 1], "no ties")],
)
def test_a_wrong_ranking_is_refused(ranks: list[int], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        parse_body("rank", TaskSchema(allow_tie=False), 3, {"ranks": ranks})


def test_an_edited_answer_is_kept_by_index() -> None:
    given_body = {"outcome": "b", "strength": 1, "edited": {"slot": "b", "text": "Better."}}
    found = verdict(parse_body("chat", TaskSchema(), 2, given_body), (1, 0))
    assert found["best"] == 0
    assert found["edited"] == {"index": 0, "text": "Better."}


def test_only_a_chat_turn_can_be_edited() -> None:
    with pytest.raises(DataError, match="edited"):
        compare(edited={"slot": "a", "text": "x"})


@pytest.mark.parametrize("text", ["", "   \n"])
def test_an_empty_demonstration_is_refused(text: str) -> None:
    with pytest.raises(DataError):
        parse_body("demonstrate", TaskSchema(), 0, {"completion": text})


def test_a_demonstration_says_whether_the_draft_was_used() -> None:
    body = parse_body("demonstrate", TaskSchema(), 1, {"completion": " Hi ", "draft_used": True})
    assert verdict(body, ()) == {"completion": " Hi ", "draft_used": True}


def test_every_task_has_a_body_and_bodies_are_frozen() -> None:
    tasks: tuple[Task, ...] = ("compare", "rank", "chat", "demonstrate")
    for task in tasks:
        with pytest.raises(DataError, match="cannot be read"):
            parse_body(task, TaskSchema(), 2, {})
    with pytest.raises(ValidationError):
        CompareBody(outcome="a").outcome = "b"


def test_a_question_about_the_pair_is_answered_by_response_not_by_side() -> None:
    hhh = load_schema("hhh")
    found = compare(hhh, outcome="tie", sides={"helpful": "a", "honest": "equal"})
    assert found["attributes"] == {"helpful": 1, "honest": "equal"}  # the sides were exchanged
    assert "attributes" not in compare(hhh, outcome="tie")
    with pytest.raises(DataError, match=r"sides: unknown labels \['kind'\]; this round has"):
        compare(hhh, sides={"kind": "a"})
    with pytest.raises(DataError, match=r"sides\.honest"):
        compare(hhh, sides={"honest": "c"})


def test_a_question_about_the_pair_may_be_needed() -> None:
    needed = TaskSchema(pair_labels=(PairLabel(name="true", text="Truer?", required=True),))
    with pytest.raises(DataError, match="sides: answer true with a, b or equal"):
        compare(needed)
    assert compare(needed, sides={"true": "b"})["attributes"] == {"true": 0}
    assert compare(needed, outcome="cannot_compare")["outcome"] == "cannot_compare"
