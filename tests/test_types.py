"""Records survive a trip through JSON, sides swap, and rankings say what their pairs say."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError, asdict, fields, replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    from_dict,
    to_dict,
)

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
SURE = st.none() | st.floats(0, 1)
MESSAGE = st.builds(Message, st.sampled_from(["system", "user", "assistant"]), TEXT)
PROMPT = st.builds(
    Prompt,
    id=TEXT,
    messages=st.lists(MESSAGE, max_size=3).map(tuple),
    tags=st.lists(TEXT, max_size=2).map(tuple),
)
COMPLETION = st.builds(Completion, text=TEXT, model=TEXT, finished=st.booleans())
COMPARISON = st.builds(
    Comparison,
    prompt=PROMPT,
    a=COMPLETION,
    b=COMPLETION,
    choice=st.sampled_from(["a", "b", "tie", "both_bad"]),
    strength=SURE,
    margin=st.none() | NUMBER,
    rater=TEXT,
    guideline=TEXT,
    id=TEXT,
    weight=st.none() | st.floats(0, 9),
    soft_label=SURE,
)
RANKING = st.lists(st.tuples(COMPLETION, st.integers(0, 3)), min_size=2, max_size=5).flatmap(
    lambda ranked: st.builds(
        Ranking,
        prompt=PROMPT,
        completions=st.just(tuple(c for c, _ in ranked)),
        ranks=st.just(tuple(rank for _, rank in ranked)),
        strength=SURE,
        rater=TEXT,
        guideline=TEXT,
        id=TEXT,
        weight=st.none() | st.floats(0, 9),
    )
)
READING = st.builds(
    Reading,
    gauge=TEXT,
    value=NUMBER,
    interval=st.none() | st.tuples(NUMBER, NUMBER),
    state=st.sampled_from(["PASS", "WARN", "FAIL", "INCONCLUSIVE", "NOT_APPLICABLE", "ERROR"]),
    num_samples=st.integers(0, 10**6),
    detail=TEXT,
)
RECORD = st.one_of(
    PROMPT,
    st.builds(Demonstration, prompt=PROMPT, completion=TEXT, id=TEXT),
    st.builds(Sample, prompt=PROMPT, completions=st.lists(COMPLETION, max_size=3).map(tuple)),
    COMPARISON,
    RANKING,
    st.builds(Label, prompt=PROMPT, completion=COMPLETION, good=st.booleans(), rater=TEXT, id=TEXT),
    READING,
)
ASKED = Prompt("1", (Message("user", "hi"),))


def through_json(record: Record) -> Record:
    return from_dict(json.loads(json.dumps(to_dict(record), allow_nan=False)))


@given(RECORD)
@settings(max_examples=150, deadline=None)
def test_every_record_comes_back_equal_from_json(record: Record) -> None:
    again = through_json(record)
    assert type(again) is type(record)
    assert again == record
    assert hash(again) == hash(record)  # tuples came back as tuples, all the way down


@given(READING)
@settings(max_examples=25, deadline=None)
def test_a_reading_without_a_value_is_null_in_json(reading: Reading) -> None:
    silent = replace(reading, value=math.nan)
    assert to_dict(silent)["value"] is None
    again = through_json(silent)
    assert isinstance(again, Reading)
    assert math.isnan(again.value)
    assert replace(again, value=0.0) == replace(silent, value=0.0)


@given(COMPARISON)
@settings(max_examples=50, deadline=None)
def test_swapping_exchanges_the_sides_and_keeps_the_winner(verdict: Comparison) -> None:
    swapped = verdict.swap()
    assert replace(swapped.swap(), soft_label=verdict.soft_label) == verdict
    if verdict.soft_label is not None:
        assert swapped.soft_label == 1 - verdict.soft_label
    assert (swapped.a, swapped.b) == (verdict.b, verdict.a)

    def winner(c: Comparison) -> Completion | str:
        return {"a": c.a, "b": c.b}.get(c.choice, c.choice)

    assert winner(swapped) == winner(verdict)
    kept = {"prompt", "strength", "margin", "rater", "guideline", "id", "weight"}
    assert all(asdict(swapped)[name] == asdict(verdict)[name] for name in kept)


@given(RANKING)
@settings(max_examples=50, deadline=None)
def test_a_ranking_is_all_its_pairs(ranking: Ranking) -> None:
    pairs = ranking.pairs()
    places = list(combinations(range(len(ranking.ranks)), 2))
    assert len(pairs) == len(places) == math.comb(len(ranking.ranks), 2)
    assert len({pair.id for pair in pairs}) == len(pairs)
    for pair, (i, j) in zip(pairs, places, strict=True):
        assert (pair.a, pair.b) == (ranking.completions[i], ranking.completions[j])
        better = ranking.ranks[j] - ranking.ranks[i]  # rank 0 is best
        assert {"a": 1, "tie": 0, "b": -1}[pair.choice] == (better > 0) - (better < 0)
        assert (pair.prompt, pair.weight, pair.strength, pair.rater, pair.guideline) == (
            ranking.prompt,
            ranking.weight,
            ranking.strength,
            ranking.rater,
            ranking.guideline,
        )


def test_pairs_by_hand() -> None:
    x, y, z = Completion("x"), Completion("y"), Completion("z")
    pairs = Ranking(ASKED, (x, y, z), (2, 0, 0), id="r").pairs()
    assert [(p.id, p.a.text, p.b.text, p.choice) for p in pairs] == [
        ("r:0-1", "x", "y", "b"),
        ("r:0-2", "x", "z", "b"),
        ("r:1-2", "y", "z", "tie"),
    ]


def test_a_prompt_shows_its_last_turn() -> None:
    turns = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    assert Prompt("1", turns).text == "c"
    assert Prompt("1", ()).text == ""


@pytest.mark.parametrize("noun", [Prompt, Completion, Comparison, Ranking, Reading, Label, Sample])
def test_nouns_are_frozen(noun: type) -> None:
    record = object.__new__(noun)
    with pytest.raises(FrozenInstanceError):
        setattr(record, fields(noun)[0].name, "other")


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ({"type": "opinion"}, KeyError),
        ({"id": "1", "messages": []}, KeyError),  # no type
        ({"type": "prompt", "id": "1"}, KeyError),  # no messages
        ({"type": "prompt", "messages": []}, TypeError),  # no id
        ({"type": "prompt", "id": "1", "messages": [], "tag": "x"}, TypeError),
        ({"type": "prompt", "id": "1", "messages": [{"role": "user", "text": "x"}]}, TypeError),
        ({**to_dict(Demonstration(ASKED, "x")), "answer": "y"}, TypeError),
        ({**to_dict(Sample(ASKED, ())), "prompt": {"id": "1", "messages": [], "a": 1}}, TypeError),
        ({"type": "reading", "gauge": "kl", "value": 1.0}, KeyError),  # no interval
    ],
)
def test_what_a_noun_does_not_have_is_an_error(row: dict, error: type[Exception]) -> None:
    with pytest.raises(error):
        from_dict(row)


def test_a_weight_and_a_soft_label_nobody_gave_are_not_written() -> None:
    verdict = Comparison(ASKED, Completion("x"), Completion("y"), "a")
    assert to_dict(verdict).keys().isdisjoint({"weight", "soft_label"})
    given = to_dict(replace(verdict, weight=0.0, soft_label=0.5))
    assert (given["weight"], given["soft_label"]) == (0.0, 0.5)
    ranking = Ranking(ASKED, (Completion("x"), Completion("y")), (0, 1))
    assert "weight" not in to_dict(ranking)
    assert to_dict(replace(ranking, weight=2.0))["weight"] == 2.0


def test_what_has_a_default_may_be_left_out() -> None:
    row = {
        "type": "comparison",
        "prompt": {"id": "1", "messages": [{"role": "user", "content": "hi"}]},
        "a": {"text": "x"},
        "b": {"text": "y"},
        "choice": "a",
    }
    assert from_dict(row) == Comparison(ASKED, Completion("x"), Completion("y"), "a")
