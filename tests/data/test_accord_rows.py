"""accord's own records come back equal; damaged ones say what is wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.data.accord_rows import parse_accord
from accord.data.report import RowError
from accord.types import (
    Comparison,
    Completion,
    Demonstration,
    Label,
    Message,
    Prompt,
    Ranking,
    Reading,
    Record,
    Sample,
    to_dict,
)

text = st.text(min_size=1).filter(lambda s: bool(s.strip()))
messages = st.builds(Message, st.sampled_from(["system", "user", "assistant"]), text)
prompts = st.builds(
    Prompt,
    text,
    st.lists(messages, min_size=1, max_size=3).map(tuple),
    st.lists(st.text(), max_size=2).map(tuple),
)
completions = st.builds(Completion, st.text(), st.text(), st.booleans())
strengths = st.none() | st.floats(0, 1)
margins = st.none() | st.floats(allow_nan=False, allow_infinity=False)


def ranking(count: int) -> st.SearchStrategy[Ranking]:
    return st.builds(
        Ranking,
        prompts,
        st.tuples(*[completions] * count),
        st.tuples(*[st.integers(0, 5)] * count),
        strengths,
        st.text(),
        st.text(),
        st.text(),
        st.none() | st.floats(0, 9),
    )


comparisons = st.builds(
    Comparison,
    prompts,
    completions,
    completions,
    st.sampled_from(["a", "b", "tie", "both_bad"]),
    strengths,
    margins,
    st.text(),
    st.text(),
    st.text(),
    st.none() | st.floats(0, 9),
    strengths,
).filter(lambda c: c.a.text != c.b.text)
records: st.SearchStrategy[Record] = st.one_of(
    prompts,
    st.builds(Demonstration, prompts, text, st.text()),
    st.builds(Sample, prompts, st.lists(completions, min_size=1, max_size=3).map(tuple)),
    comparisons,
    st.integers(2, 4).flatmap(ranking),
    st.builds(Label, prompts, completions, st.booleans(), st.text(), st.text()),
    st.builds(
        Reading,
        text,
        st.floats(-9, 9),
        st.none() | st.tuples(st.floats(-9, 9), st.floats(-9, 9)),
        st.just("PASS"),
        st.integers(0, 9),
        st.text(),
    ),
)


@given(records)
def test_every_noun_survives_json(record: Record) -> None:
    assert parse_accord(orjson.loads(orjson.dumps(to_dict(record)))) == [record]


PROMPT = Prompt("p", (Message("user", "Hi"),))
PAIR = to_dict(Comparison(PROMPT, Completion("Yes"), Completion("No"), "a"))
RANKING = to_dict(Ranking(PROMPT, (Completion("Yes"), Completion("No")), (0, 1)))


def ranked(**changes: Any) -> dict[str, Any]:
    row = orjson.loads(orjson.dumps(RANKING))
    return row | changes


def pair(**changes: Any) -> dict[str, Any]:
    row = orjson.loads(orjson.dumps(PAIR))
    return row | changes


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"type": "verdict"}, "unknown record type: 'verdict'"),
        ({"type": 3}, "wrong type: 'type'"),
        ({"type": "demonstration", "completion": "x"}, "missing field: 'prompt'"),
        (pair(extra=1), "unknown field: 'extra'"),
        (pair(b=None), "missing field: 'b'"),
        (pair(a="Yes"), "wrong type: 'a' is text, not an object"),
        (pair(a={"text": 5}), "wrong type: 'text' or 'model' of 'a'"),
        (pair(a={"text": "x", "finished": 1}), "wrong type: 'a.finished'"),
        (pair(a={"text": "x", "score": 1}), "unknown field: 'score' in 'a'"),
        (pair(a={"text": "No"}), "identical pair"),
        (pair(choice="left"), "out of range: 'choice' is 'left'"),
        (pair(strength=2), "out of range: 'strength'"),
        (pair(weight=-1), "out of range: 'weight' is -1"),
        (pair(weight="2"), "wrong type: 'weight'"),
        (pair(soft_label=1.5), "out of range: 'soft_label' is 1.5, not in 0 to 1"),
        (ranked(weight=-0.5), "out of range: 'weight'"),
        (pair(margin="2"), "wrong type: 'margin'"),
        (pair(rater=1), "wrong type: 'rater'"),
        (pair(id=1), "wrong type: 'id'"),
        (pair(prompt="Hi"), "wrong type: 'prompt'"),
        (pair(prompt={"id": "", "messages": []}), "empty field: 'prompt.id'"),
        (pair(prompt={"id": "p", "messages": []}), "empty field: 'prompt.messages'"),
        (pair(prompt={"id": "p", "messages": "Hi"}), "wrong type: 'messages'"),
        (pair(prompt={"id": "p", "messages": ["Hi"]}), "wrong type: 'prompt.messages[0]'"),
        (
            pair(prompt={"id": "p", "messages": [{"role": "gpt", "content": "x"}]}),
            "unknown role: 'gpt'",
        ),
        (
            pair(prompt={"id": "p", "messages": [{"role": "user", "content": " "}]}),
            "empty field: 'prompt.messages[0].content'",
        ),
        (
            pair(prompt={"id": "p", "messages": [{"role": "user", "content": "x"}], "tags": [1]}),
            "wrong type: 'prompt.tags'",
        ),
        (ranked(completions=[{"text": "x"}]), "too few completions"),
        (ranked(completions={}), "wrong type: 'completions'"),
        (ranked(ranks=[0]), "wrong type: 'ranks' and 'completions' differ"),
        (ranked(ranks=[0, -1]), "wrong type: 'ranks'"),
        (ranked(ranks=[0, True]), "wrong type: 'ranks'"),
        ({"type": "label", "good": 1, "prompt": PAIR["prompt"], "completion": {"text": "x"}}, ""),
        (to_dict(Demonstration(PROMPT, " ")), "empty field: 'completion'"),
        ({"type": "prompt", "id": "p", "messages": None}, "missing field: 'messages'"),
    ],
)
def test_a_damaged_record_says_what_is_wrong(row: dict[str, Any], expected: str) -> None:
    row = orjson.loads(orjson.dumps(row))
    with pytest.raises(RowError) as caught:
        parse_accord(row)
    assert str(caught.value).startswith(expected or "wrong type: 'good'")


def test_equal_completions_may_tie() -> None:
    tie = Comparison(PROMPT, Completion("x"), Completion("x"), "tie")
    assert parse_accord(orjson.loads(orjson.dumps(to_dict(tie)))) == [tie]
    assert replace(tie, choice="a") != tie
