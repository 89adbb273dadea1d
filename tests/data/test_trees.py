"""OpenAssistant trees there and back, made up and real."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.data import export, make_prompt, read
from accord.data.oasst import parse_tree
from accord.data.trees import grow
from accord.errors import DataError
from accord.types import Comparison, Completion, Demonstration, Message, Prompt, Ranking, Record

OASST = Path(__file__).parents[3] / "shared/data/open-assistant/en_100_tree.part1.jsonl"
WORDS = st.sampled_from(["Hi", "Why?", "Go on", "x"])
ANSWERS = st.lists(
    st.sampled_from(["Yes", "No", "Maybe", "Later"]), min_size=2, max_size=4, unique=True
)


def prompt(*words: str, own: str = "m1") -> Prompt:
    turns = [Message("assistant" if i % 2 else "user", w) for i, w in enumerate(words)]
    return make_prompt(turns, own, ("tree:t1", "lang:en"))


def human(*texts: str) -> tuple[Completion, ...]:
    return tuple(Completion(text, "human") for text in texts)


def back(records: list[Record], tmp_path: Path, name: str = "x") -> list[Record]:
    path = tmp_path / f"{name}.jsonl"
    export(records, path, "oasst")
    return read(path).records


def test_a_tree_by_hand() -> None:
    asked = prompt("Hi")
    ranking = Ranking(asked, (*human("Yes"), Completion("No", "chip20b")), (1, 0), id="m1")
    (row,) = grow([ranking, Demonstration(asked, "Yes", "m2")], Path("x"))
    root = row["prompt"]
    assert (row["message_tree_id"], root["message_id"], root["lang"]) == ("t1", "m1", "en")
    assert [(r["text"], r["rank"], r["synthetic"]) for r in root["replies"]] == [
        ("Yes", 1, False),
        ("No", 0, True),
    ]
    assert root["replies"][0]["message_id"] == "m2"
    assert root["replies"][1]["model_name"] == "chip20b"


def test_a_ranking_deep_in_a_tree_comes_back(tmp_path: Path) -> None:
    deep = prompt("Hi", "Yes", "Why?", own="m3")
    records: list[Record] = [
        Ranking(prompt("Hi"), human("No", "Yes"), (0, 1), id="m1"),
        Demonstration(prompt("Hi"), "No", "m4"),
        Ranking(deep, human("So", "Well", "Hm"), (1, 0, 1), id="m3"),
        Demonstration(deep, "Well", "m5"),
    ]
    assert back(records, tmp_path) == records
    assert Counter(back(list(reversed(records)), tmp_path, "y")) == Counter(records)


def test_what_is_only_passed_through_is_no_demonstration(tmp_path: Path) -> None:
    deep = [Demonstration(prompt("Hi", "Yes", "Why?", own="m3"), "So", "m5")]
    assert back(list(deep), tmp_path) == deep
    both: list[Record] = [Demonstration(prompt("Hi"), "No", "m4"), *deep]
    assert back(both, tmp_path, "y") == both


def test_a_comparison_is_a_ranking_of_two(tmp_path: Path) -> None:
    a, b = human("x", "y")
    for choice, ranks in (("a", (0, 1)), ("b", (1, 0)), ("tie", (0, 0))):
        verdict = Comparison(prompt("Hi"), a, b, choice)  # type: ignore[arg-type]
        found = back([verdict], tmp_path, choice)
        assert found[0] == Ranking(prompt("Hi"), (a, b), ranks, id="m1")


def test_two_rankings_of_one_prompt_and_a_system_turn_are_refused() -> None:
    ranking = Ranking(prompt("Hi"), human("x", "y"), (0, 1))
    with pytest.raises(DataError, match=r"x: record 2: a second ranking of one prompt"):
        grow([ranking, replace(ranking, rater="bob")], Path("x"))
    system = make_prompt([Message("system", "Be kind."), Message("user", "Hi")])
    with pytest.raises(DataError, match="record 1: a tree has no system turn"):
        grow([replace(ranking, prompt=system)], Path("x"))
    with pytest.raises(DataError, match="two first messages"):
        grow([ranking, Demonstration(prompt("Other"), "x")], Path("x"))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(WORDS, ANSWERS, st.data()), min_size=1, max_size=4))
def test_any_trees_come_back(drawn: list[tuple[str, list[str], st.DataObject]]) -> None:
    records: list[Record] = []
    for number, (first, answers, data) in enumerate(drawn):
        turns = [Message("user", first)]
        for depth in range(data.draw(st.integers(1, 3))):
            own = f"m{number}-{depth}"
            asked = make_prompt(turns, own, (f"tree:t{number}",))
            order = data.draw(st.permutations(range(len(answers))))
            records.append(Ranking(asked, human(*answers), tuple(order), id=own))
            records.append(Demonstration(asked, answers[order.index(0)], f"{own}-best"))
            turns = [*turns, Message("assistant", answers[0]), Message("user", "and?")]
    rows = grow(records, Path("x"))
    assert len(rows) == len(drawn)
    found = [record for row in rows for record in parse_tree(orjson.loads(orjson.dumps(row)))]
    assert Counter(found) == Counter(records)


@pytest.mark.skipif(not OASST.is_file(), reason=f"the OpenAssistant trees are not at {OASST}")
@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_the_real_trees_come_back_with_every_ranking_and_demonstration(
    tmp_path: Path, suffix: str
) -> None:
    records = read(OASST).records
    path = tmp_path / f"trees.{suffix}"
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    assert export(records, path, "oasst") == 75
    found = read(path).records
    assert Counter(found) == Counter(records)
    assert sum(isinstance(record, Ranking) for record in found) == 161
