"""Records become what people can judge: pairs, lists, prompts; known answers keep their side."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import pytest

from accord.errors import DataError
from accord.store.intake import new_items, read_items
from accord.types import (
    Comparison,
    Completion,
    Demonstration,
    Label,
    Message,
    Prompt,
    Ranking,
    Sample,
)

ASKED = Prompt("p1", (Message("user", "Why is the sky blue?"),))


def texts(*words: str) -> tuple[Completion, ...]:
    return tuple(Completion(word, model=f"model-{word}") for word in words)


def test_a_sample_gives_all_its_pairs_to_compare_and_one_list_to_rank() -> None:
    sample = Sample(ASKED, texts("a", "b", "c"))
    pairs = new_items([sample], "compare")
    assert [tuple(c.text for c in item.completions) for item in pairs] == [*combinations("abc", 2)]
    (ranked,) = new_items([sample], "rank")
    assert [c.text for c in ranked.completions] == ["a", "b", "c"]
    assert ranked.completions[0].model == "model-a"


def test_texts_that_are_the_same_are_shown_once() -> None:
    sample = Sample(ASKED, texts("a", "b", "a"))
    assert len(new_items([sample], "compare")) == 1
    (ranked,) = new_items([sample], "rank")
    assert [c.text for c in ranked.completions] == ["a", "b"]
    with pytest.raises(DataError, match="no prompt has two different completions"):
        new_items([Sample(ASKED, texts("a", "a"))], "rank")


def test_pairs_are_drawn_by_the_seed_and_by_what_they_say() -> None:
    sample = Sample(ASKED, texts("a", "b", "c", "d"))
    turned = Sample(ASKED, texts("d", "c", "b", "a"))

    def drawn(of: Sample, seed: int) -> set[frozenset[str]]:
        found = new_items([of], "compare", pairs_per_prompt=2, seed=seed)
        return {frozenset(c.text for c in item.completions) for item in found}

    assert len(drawn(sample, 0)) == 2
    assert drawn(sample, 0) == drawn(turned, 0)
    assert len({frozenset(drawn(sample, seed)) for seed in range(20)}) > 1


def test_a_known_verdict_is_the_answer_of_a_check() -> None:
    a, b, c = texts("a", "b", "c")
    records = [
        Comparison(ASKED, a, b, "b"),
        Comparison(ASKED, a, c, "tie"),
    ]
    gold = new_items(records, "compare", "gold")
    assert [item.answer for item in gold] == [{"best": 1}, {"outcome": "tie"}]
    assert [item.answer for item in new_items(records, "rank", "gold")] == [
        {"ranks": [1, 0]},
        {"ranks": [0, 0]},
    ]
    assert [item.answer for item in new_items(records, "compare")] == [None, None]


def test_a_ranking_is_a_list_or_its_pairs_with_their_answers() -> None:
    ranking = Ranking(ASKED, texts("a", "b", "a", "c"), (2, 0, 2, 3))
    (ranked,) = new_items([ranking], "rank", "training")
    assert ranked.answer == {"ranks": [1, 0, 2]}  # the second "a" is gone, places close up
    pairs = new_items([Ranking(ASKED, texts("a", "b"), (1, 0))], "compare", "gold")
    assert [item.answer for item in pairs] == [{"best": 1}]


def test_writers_and_chats_get_the_prompt_alone() -> None:
    records = [ASKED, Demonstration(ASKED, "because"), Sample(ASKED, texts("a"))]
    for item in new_items(records, "demonstrate"):
        assert item.prompt == ASKED
        assert item.completions == ()


@pytest.mark.parametrize(
    ("record", "task", "role", "expected"),
    [
        (ASKED, "compare", "normal", "record 1: a prompt gives nothing to compare"),
        (Label(ASKED, Completion("a"), True), "demonstrate", "normal", "a label gives nothing"),
        (Sample(ASKED, texts("a", "b")), "compare", "gold", "a gold item needs its answer"),
        (Sample(ASKED, texts(*"abcdefghij")), "rank", "normal", "people rank 9 at most"),
    ],
)
def test_what_does_not_fit_is_refused(record, task, role, expected) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError, match=expected):
        new_items([record], task, role)


def test_a_file_keeps_its_name_with_its_items(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    row = {"prompt": "Why?", "chosen": "because", "rejected": "no"}
    path.write_text(json.dumps(row) + "\n")
    (item,) = read_items(path, "compare", "gold")
    assert item.source == "pairs.jsonl"
    assert item.completions[item.answer["best"]].text == "because"  # type: ignore[index]
