"""Records of every kind for every task: what they give, what they cannot, and their files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from accord.errors import DataError
from accord.store.database import Store
from accord.store.intake import ANSWERED, new_items, read_items
from accord.store.items import add_items, list_items
from accord.store.records import ItemRole
from accord.store.task import SLOTS, Task
from accord.types import (
    Comparison,
    Completion,
    Demonstration,
    Message,
    Prompt,
    Ranking,
    Record,
    Sample,
)
from tests.store.fill import make_round

ASKED = Prompt("p1", (Message("user", "Why is the sky blue?"),))


def texts(words: str) -> tuple[Completion, ...]:
    """A completion for each letter."""
    return tuple(Completion(word, model=f"model-{word}") for word in words)


A, B = texts("ab")
EVERY: dict[str, Record] = {
    "prompt": ASKED,
    "demonstration": Demonstration(ASKED, "because"),
    "sample": Sample(ASKED, texts("ab")),
    "comparison": Comparison(ASKED, A, B, "a"),
    "ranking": Ranking(ASKED, texts("ab"), (0, 1)),
}


@pytest.mark.parametrize("task", ["demonstrate", "chat"])
@pytest.mark.parametrize("kind", EVERY)
def test_every_record_has_a_prompt_to_write_to(kind: str, task: Task) -> None:
    (only,) = new_items([EVERY[kind]], task, source="here")
    assert (only.prompt, only.completions, only.source) == (ASKED, (), "here")


@pytest.mark.parametrize("task", ["compare", "rank"])
@pytest.mark.parametrize("kind", ["prompt", "demonstration"])
def test_what_has_no_two_responses_is_refused(kind: str, task: Task) -> None:
    expected = f"record 2: a {kind} gives nothing to {task}; bring prompts with two completions"
    with pytest.raises(DataError, match=f"^{expected}$"):
        new_items([EVERY["sample"], EVERY[kind]], task)


@pytest.mark.parametrize("role", sorted(ANSWERED))
@pytest.mark.parametrize("kind", ["prompt", "demonstration", "sample"])
def test_a_check_needs_a_record_with_an_answer(kind: str, role: ItemRole) -> None:
    with pytest.raises(DataError, match=f"{role} item needs its answer; bring comparisons or"):
        new_items([EVERY[kind]], "compare", role)


def test_an_anchor_needs_no_answer() -> None:
    (one,) = new_items([EVERY["comparison"]], "compare", "anchor")
    assert (one.role, one.answer) == ("anchor", None)


@pytest.mark.parametrize("task", ["demonstrate", "chat"])
def test_no_prompts_are_said_so(task: Task) -> None:
    with pytest.raises(DataError, match=f"^nothing to {task}: there are no records$"):
        new_items([], task)


@pytest.mark.parametrize("task", ["compare", "rank"])
def test_no_two_responses_are_said_so(task: Task) -> None:
    same = Comparison(ASKED, Completion("x", "m"), Completion("x", "n"), "a")
    for records in ([], [same], [Sample(ASKED, texts("a"))]):
        with pytest.raises(DataError, match=f"^nothing to {task}: no prompt has two different"):
            new_items(records, task)


def test_a_pair_that_says_the_same_twice_is_left_out_of_the_rest() -> None:
    same = Comparison(ASKED, A, Completion("a", "other"), "tie")
    (kept,) = new_items([same, EVERY["comparison"]], "compare")
    assert kept.completions == (A, B)


@pytest.mark.parametrize(
    ("choice", "pair", "places"),
    [
        ("a", {"best": 0}, [0, 1]),
        ("b", {"best": 1}, [1, 0]),
        ("tie", {"outcome": "tie"}, [0, 0]),
        ("both_bad", {"outcome": "both_bad"}, [0, 0]),
    ],
)
def test_the_answer_of_a_comparison(
    choice: str, pair: dict[str, object], places: list[int]
) -> None:
    record = Comparison(ASKED, A, B, choice)  # type: ignore[arg-type]
    assert new_items([record], "compare", "gold")[0].answer == pair
    assert new_items([record], "rank", "training")[0].answer == {"ranks": places}


def test_a_ranking_of_three_gives_three_pairs_with_their_answers() -> None:
    ranking = Ranking(ASKED, texts("abc"), (2, 0, 1))
    found = new_items([ranking], "compare", "training")
    answers = {
        tuple(c.text for c in one.completions): one.completions[one.answer["best"]].text  # type: ignore[index]
        for one in found
    }
    assert {frozenset(pair): best for pair, best in answers.items()} == {
        frozenset("ab"): "b",
        frozenset("ac"): "c",
        frozenset("bc"): "b",
    }


def test_nine_can_be_ranked_and_ten_cannot() -> None:
    (nine,) = new_items([Sample(ASKED, texts(SLOTS))], "rank")
    assert len(nine.completions) == 9
    with pytest.raises(DataError, match="10 completions of one prompt; people rank 9 at most"):
        new_items([Sample(ASKED, texts(SLOTS + "z"))], "rank")
    (again,) = new_items([Sample(ASKED, texts(SLOTS + "a"))], "rank")  # one of them twice
    assert len(again.completions) == 9
    assert len(new_items([Sample(ASKED, texts(SLOTS + "z"))], "compare")) == 45


def test_asking_for_more_pairs_than_there_are_gives_all() -> None:
    sample = Sample(ASKED, texts("abc"))
    assert len(new_items([sample], "compare", pairs_per_prompt=9)) == 3
    assert len(new_items([sample], "compare", pairs_per_prompt=1)) == 1
    assert len(new_items([sample], "rank", pairs_per_prompt=1)) == 1  # a list is one item


def test_a_ranking_and_a_comparison_are_never_thinned() -> None:
    records = [Ranking(ASKED, texts("abc"), (0, 1, 2)), EVERY["comparison"]]
    assert len(new_items(records, "compare", pairs_per_prompt=1)) == 4


@pytest.mark.parametrize("task", ["compare", "rank", "demonstrate", "chat"])
def test_what_intake_makes_a_round_takes(shared_store: Store, task: Task) -> None:
    records = [EVERY["sample"], EVERY["comparison"], EVERY["ranking"]]
    found = make_round(shared_store, [], task=task, opened=False)
    report = add_items(shared_store, found.id, new_items(records, task), "system")
    assert (report.added, report.duplicates) == (1, 2)  # three times the same content
    if task in ("compare", "rank"):
        gold = new_items([Comparison(ASKED, A, Completion("c"), "b")], task, "gold")
        assert add_items(shared_store, found.id, gold, "system").added == 1
        assert list_items(shared_store, found.id, "gold")[0].answer == (
            {"best": 1} if task == "compare" else {"ranks": [1, 0]}
        )


def test_a_file_with_bad_rows_names_them_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    good = {"prompt": "Why?", "chosen": "because", "rejected": "no"}
    path.write_text(json.dumps(good) + "\n{not json\n")
    with pytest.raises(DataError, match=r"pairs\.jsonl:2"):
        read_items(path, "compare")


def test_a_file_s_items_may_be_given_another_source(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(json.dumps({"prompt": "Why?"}) + "\n")
    (one,) = read_items(path, "demonstrate", source="spring batch")
    assert one.source == "spring batch"
