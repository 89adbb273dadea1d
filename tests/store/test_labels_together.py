"""Verdicts put together: more raters, weights, mixed guidelines, and who is not asked twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.store.labels import Said, Terms, edits, left_out, pairs, single, together
from accord.types import Comparison, Completion, Message, Prompt

PLAIN = Terms(4, {}, {})
PROMPT = Prompt("p", (Message("user", "Hi"),))
A, B, C = (Completion(text, f"m-{text}") for text in "xyz")


def said(outcome: dict[str, Any], rater: str = "ann", item: str = "i", **more: Any) -> Said:
    completions = (A, B, C) if "ranks" in outcome else (A, B)
    fields: dict[str, Any] = {
        "event": 1, "event_hash": "h", "assignment": f"{item}-{rater}", "item": item,
        "rater": rater, "role": "normal", "reason": "random", "repeat": 0,
        "permutation": tuple(range(len(completions))), "outcome": outcome, "guideline": 2,
        "revision": 0, "active_ms": 0, "at": 0.0, "prompt": PROMPT, "completions": completions,
        "answer": None,
    }  # fmt: skip
    return Said(**(fields | more))


def best(index: int, rater: str = "ann", strength: int | None = None, **more: Any) -> Said:
    return said({"outcome": "best", "best": index, "strength": strength}, rater, **more)


def put(votes: list[Said], how: Any = "majority", terms: Terms = PLAIN, **settled: Any) -> Any:
    (found,) = together(votes, settled, how, terms)
    return found


def test_each_item_gives_one_label_in_the_order_they_came() -> None:
    votes = [best(0, item="b"), best(1, item="a"), best(0, "bob", item="a"), best(0, item="c")]
    found = list(together(votes, {}, "majority", PLAIN))
    assert [one.id for one in found] == ["b", "a", "c"]
    assert [one.rater for one in found] == ["1 rater", "2 raters", "1 rater"]


def test_a_guideline_that_changed_meanwhile_is_named_by_none() -> None:
    assert put([best(0), best(0, "bob")]).guideline == "v2"
    assert put([best(0), best(0, "bob", guideline=3)]).guideline == ""
    assert put([best(0), best(0, "bob", guideline=3)], "soft").guideline == ""


def test_both_bad_can_be_the_majority_and_has_no_strength() -> None:
    bad = [said({"outcome": "both_bad"}, rater) for rater in ("ann", "bob")]
    found = put([*bad, best(0, "eve", 4)])
    assert (found.choice, found.strength) == ("both_bad", None)


def test_a_majority_of_ties_is_a_tie() -> None:
    ties = [said({"outcome": "tie"}, rater) for rater in ("ann", "bob")]
    assert put([*ties, best(0, "eve", 4)]).choice == "tie"


def test_strengths_of_the_winning_side_alone_are_averaged() -> None:
    votes = [best(1, "ann", 1), best(1, "bob", 3), best(1, "cat"), best(0, "eve", 4)]
    found = put(votes)
    assert (found.choice, found.strength) == ("b", 0.5)
    assert put([best(1, "ann"), best(1, "bob")]).strength is None


def test_who_is_not_in_the_weights_counts_in_full() -> None:
    terms = Terms(4, {"ann": 0.3, "bob": 0.3}, {})
    found = put([best(0), best(0, "bob"), best(1, "new")], terms=terms)
    assert (found.choice, found.weight) == ("b", pytest.approx(1.6 / 3))


def test_an_adjudicators_verdict_is_no_vote_beside_the_raters() -> None:
    judge = best(1, "judge", reason="adjudication")
    found = put([best(0), judge])
    assert (found.choice, found.rater) == ("a", "1 rater")
    assert put([best(0), judge], "soft").soft_label == 1.0
    assert put([judge]).choice == "b"  # alone it speaks


def test_the_adjudicators_word_may_be_that_there_is_no_winner() -> None:
    votes = [best(0), best(1, "bob")]
    assert put(votes, i={"outcome": "both_bad"}).choice == "both_bad"
    assert list(together(votes, {"i": {"outcome": "cannot_compare"}}, "majority", PLAIN)) == []
    ranked = [said({"ranks": [0, 1, 2]}), said({"ranks": [2, 1, 0]}, "bob")]
    assert put(ranked, i={"ranks": [1, 0, 1]}).ranks == (1, 0, 1)


def test_a_soft_label_of_a_half_is_a_tie_and_both_bad_is_half() -> None:
    tie, bad = said({"outcome": "tie"}), said({"outcome": "both_bad"}, "bob")
    found = put([tie, bad], "soft")
    assert (found.choice, found.soft_label, found.strength) == ("tie", 0.5, None)
    found = put([bad], "soft")
    assert (found.choice, found.soft_label) == ("both_bad", 0.5)


def test_the_models_soft_labels_serve_each_pair_of_a_ranking() -> None:
    terms = Terms(4, {"ann": 1.0}, {("i", 0, 1): 0.9, ("i", 0, 2): 0.1})
    found = list(together([said({"ranks": [0, 1, 1]})], {}, "soft", terms))
    assert [one.soft_label for one in found if isinstance(one, Comparison)] == [0.9, 0.1, 0.5]
    assert [one.choice for one in found if isinstance(one, Comparison)] == ["a", "b", "tie"]


def test_an_edit_weighs_as_its_rater_does_and_stands_without_a_winner() -> None:
    edited = {"outcome": "cannot_compare", "edited": {"index": 0, "text": "better"}}
    (found,) = edits(said(edited), Terms(4, {"ann": 0.5}, {}))
    assert (found.weight, found.a.text, found.b, found.rater) == (0.5, "better", A, "ann")
    assert list(single(said(edited), PLAIN)) == []


def test_three_alike_are_left_to_the_ranking() -> None:
    same = (A, A, A)
    assert left_out(said({"ranks": [0, 0, 0]}, completions=same)) == ""
    assert left_out(best(0, completions=(A, A))) == "both responses are the same text"
    assert left_out(best(0, role="gold", completions=(A, A))) == "gold item"  # the first reason


@given(st.lists(st.integers(0, 4), min_size=2, max_size=6))
def test_pairs_of_a_ranking_agree_with_its_places(ranks: list[int]) -> None:
    found = pairs({"ranks": ranks})
    assert len(found) == len(ranks) * (len(ranks) - 1) // 2
    for i, j, choice in found:
        assert {"a": ranks[i] < ranks[j], "b": ranks[j] < ranks[i], "tie": ranks[i] == ranks[j]}[
            choice
        ]


def votes_of(choices: list[int]) -> Iterator[Said]:
    for place, choice in enumerate(choices):
        yield best(choice, f"r{place}")


@given(st.lists(st.integers(0, 1), min_size=1, max_size=9), st.randoms())
def test_the_order_of_the_votes_changes_nothing(choices: list[int], shuffle: Any) -> None:
    votes = list(votes_of(choices))
    mixed = votes[:]
    shuffle.shuffle(mixed)
    majority = put(votes)
    assert put(mixed).choice == majority.choice
    soft = put(votes, "soft")
    assert put(mixed, "soft").soft_label == soft.soft_label
    assert soft.soft_label == pytest.approx(1 - sum(choices) / len(choices))
    assert soft.choice == majority.choice
