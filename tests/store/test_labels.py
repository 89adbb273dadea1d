"""Judgments as records, by hand: one a verdict, an edit, a majority, a soft label."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from accord.store.labels import (
    Said,
    Terms,
    by_adjudicator,
    edits,
    left_out,
    pairs,
    single,
    together,
)
from accord.types import Comparison, Completion, Demonstration, Message, Prompt, Ranking

PLAIN = Terms(4, {}, {})
PROMPT = Prompt("p", (Message("user", "Hi"),))
A, B, C = Completion("x", "m1"), Completion("y", "m2"), Completion("z", "m3")


def said(outcome: dict[str, Any], rater: str = "ann", item: str = "i", **fields: Any) -> Said:
    completions = (A, B, C) if "ranks" in outcome else (A, B)
    return replace(
        Said(
            event=1,
            event_hash="h",
            assignment=f"{item}-{rater}",
            item=item,
            rater=rater,
            role="normal",
            reason="random",
            repeat=0,
            permutation=tuple(range(len(completions))),
            outcome=outcome,
            guideline=2,
            revision=0,
            active_ms=0,
            at=0.0,
            prompt=PROMPT,
            completions=completions,
            answer=None,
        ),
        **fields,
    )


def best(index: int, strength: int | None = None, rater: str = "ann", **fields: Any) -> Said:
    return said({"outcome": "best", "best": index, "strength": strength}, rater, **fields)


def word(outcome: str, rater: str = "ann") -> Said:
    return said({"outcome": outcome}, rater)


def one(labels: Any) -> Any:
    (found,) = labels
    return found


def test_a_verdict_keeps_strength_rater_guideline_and_weight() -> None:
    found = one(single(best(1, 3), Terms(4, {"ann": 0.5}, {})))
    assert found == Comparison(
        PROMPT, A, B, "b", 0.75, rater="ann", guideline="v2", id="i-ann", weight=0.5
    )
    assert one(single(best(0), PLAIN)).weight is None
    assert one(single(best(0, rater="new"), Terms(4, {"ann": 0.5}, {}))).weight == 1.0
    assert one(single(best(0, 2), Terms(0, {}, {}))).strength is None


@pytest.mark.parametrize("choice", ["tie", "both_bad"])
def test_no_winner(choice: str) -> None:
    assert one(single(word(choice), PLAIN)).choice == choice


def test_rankings_and_demonstrations() -> None:
    ranking = one(single(said({"ranks": [1, 0, 1]}), Terms(4, {"ann": 0.25}, {})))
    assert ranking == Ranking(
        PROMPT, (A, B, C), (1, 0, 1), rater="ann", guideline="v2", id="i-ann", weight=0.25
    )
    written = said({"completion": "Hello", "draft_used": True})
    assert one(single(written, PLAIN)) == Demonstration(PROMPT, "Hello", "i-ann")


def test_an_edit_beats_what_it_was_made_from() -> None:
    row = best(0)
    row = replace(row, outcome={**row.outcome, "edited": {"index": 1, "text": "better y"}})
    found = one(edits(row, PLAIN))
    assert (found.a, found.b, found.choice) == (Completion("better y", "human-edit"), B, "a")
    assert found.id == "i-ann:edit"
    same = replace(row, outcome={**row.outcome, "edited": {"index": 1, "text": "y"}})
    assert list(edits(same, PLAIN)) == list(edits(best(0), PLAIN)) == []


def test_why_a_judgment_is_left_out() -> None:
    assert left_out(best(0)) == ""
    assert left_out(word("cannot_compare")) == "could not be compared"
    assert [left_out(best(0, role=r)) for r in ("gold", "attention", "training", "anchor")] == [
        "gold item",
        "attention item",
        "training item",
        "anchor item",
    ]
    assert left_out(best(0, completions=(A, replace(A, model="m2")))).startswith("both responses")
    assert left_out(said({"completion": "Hello"}, completions=(A, A))) == ""


def test_pairs_of_an_outcome() -> None:
    assert pairs({"ranks": [0, 1, 0]}) == [(0, 1, "a"), (0, 2, "tie"), (1, 2, "b")]
    assert pairs({"outcome": "cannot_compare"}) == pairs({"completion": "x"}) == []


def test_the_majority_and_its_mean_strength() -> None:
    votes = [best(0, 4), best(0, 2, "bob"), best(1, 4, "eve")]
    found = one(together(votes, {}, "majority", PLAIN))
    assert (found.choice, found.strength, found.id) == ("a", 0.75, "i")
    assert (found.rater, found.guideline, found.weight) == ("3 raters", "v2", None)


def test_an_even_split_is_a_tie_unless_one_side_weighs_more() -> None:
    votes = [best(0, 4), best(1, 2, "bob")]
    even = one(together(votes, {}, "majority", PLAIN))
    assert (even.choice, even.strength) == ("tie", None)
    weighed = one(together(votes, {}, "majority", Terms(4, {"ann": 0.2, "bob": 1.0}, {})))
    assert (weighed.choice, weighed.strength, weighed.weight) == ("b", 0.5, 0.6)


def test_the_mean_ranks_order_a_ranking_and_may_tie() -> None:
    votes = [said({"ranks": [0, 1, 2]}), said({"ranks": [1, 0, 2]}, "bob")]
    assert one(together(votes, {}, "majority", PLAIN)).ranks == (0, 0, 1)
    terms = Terms(4, {"ann": 1.0, "bob": 0.5}, {})
    assert one(together(votes, {}, "majority", terms)).ranks == (0, 1, 2)


def test_soft_labels_are_shares_or_the_models_word() -> None:
    votes = [best(0), best(0, rater="bob"), word("tie", "cat"), best(1, rater="eve")]
    found = one(together(votes, {}, "soft", PLAIN))
    assert (found.soft_label, found.choice, found.weight) == (2.5 / 4, "a", None)
    found = one(together(votes, {}, "soft", Terms(4, {"ann": 0.1}, {("i", 0, 1): 0.2})))
    assert (found.soft_label, found.choice) == (0.2, "b")
    assert one(together([best(0), best(1, rater="b")], {}, "soft", PLAIN)).choice == "tie"
    bad = [word("both_bad"), word("both_bad", "bob")]
    assert one(together(bad, {}, "soft", PLAIN)).choice == "both_bad"


def test_a_soft_ranking_gives_its_pairs_under_the_items_name() -> None:
    votes = [said({"ranks": [0, 1, 1]}), said({"ranks": [1, 0, 2]}, "bob")]
    found = list(together(votes, {}, "soft", PLAIN))
    assert [(c.id, c.soft_label) for c in found if isinstance(c, Comparison)] == [
        ("i:0-1", 0.5),
        ("i:0-2", 1.0),
        ("i:1-2", 0.75),
    ]


def test_an_adjudicator_decides_alone() -> None:
    word_of = {"i": {"outcome": "best", "best": 1, "strength": 4}}
    votes = [best(0), best(0, rater="bob"), best(1, 4, "judge", reason="adjudication")]
    for how in ("majority", "soft"):
        found = one(together(votes, word_of, how, PLAIN))  # type: ignore[arg-type]
        assert (found.choice, found.strength, found.rater) == ("b", 1.0, "adjudicator")
    alone = one(together(votes[2:], word_of, "majority", PLAIN))
    assert alone.choice == "b"
    assert one(together(votes, {}, "majority", PLAIN)).choice == "a"
    beside = one(by_adjudicator(votes[0], word_of["i"], "judge", PLAIN))
    assert (beside.id, beside.rater, beside.choice) == ("i:adjudicated", "judge", "b")
    ranked = one(by_adjudicator(said({"ranks": [0, 1, 2]}), {"ranks": [2, 1, 0]}, "j", PLAIN))
    assert ranked.ranks == (2, 1, 0)


def test_demonstrations_are_never_put_together() -> None:
    votes = [said({"completion": w}, w) for w in ("x", "y")]
    assert len(list(together(votes, {}, "soft", PLAIN))) == 2
