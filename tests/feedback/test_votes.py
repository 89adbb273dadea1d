"""Verdicts become arrays without losing who saw what on which side."""

from __future__ import annotations

import numpy as np
import pytest

from accord.errors import DataError
from accord.feedback.votes import BOTH_BAD, FIRST, SECOND, TIE, encode, log_words
from accord.types import Choice, Comparison, Completion, Message, Prompt

LONG, SHORT = Completion("one two three"), Completion("one")


def row(choice: Choice, rater: str = "r1", prompt: str = "p", a: Completion = LONG) -> Comparison:
    b = SHORT if a == LONG else LONG
    asked = Prompt(prompt, (Message("user", "Which?"),))
    return Comparison(asked, a, b, choice, strength=0.5, rater=rater)


def test_sides_are_turned_and_remembered() -> None:
    rows = [row("a"), row("a", "r2", a=SHORT), row("tie", "r3", a=SHORT), row("both_bad", "r4")]
    votes = encode(rows, {"words": lambda c: float(len(c.text.split()))})
    assert votes.outcome.tolist() == [FIRST, SECOND, TIE, BOTH_BAD]
    assert votes.shown.tolist() == [1, -1, -1, 1]
    assert votes.turned.tolist() == [False, True, True, False]
    assert votes.item.tolist() == [0] * 4
    assert votes.raters == ("r1", "r2", "r3", "r4")
    assert votes.feature("words").tolist() == [2.0] * 4
    assert votes.share_first.tolist() == [1.0, 0.0, 0.5, 0.5]
    assert votes.decided.tolist() == [True, True, False, False]
    assert len(votes) == 4


def test_a_fixed_order_with_the_side_apart() -> None:
    votes = encode([row("a"), row("b", "r2")], first_on_a=[False, True])
    assert votes.shown.tolist() == [-1, 1]
    assert votes.turned.tolist() == [False, False]
    with pytest.raises(DataError, match="first_on_a has 1 rows for 2"):
        encode([row("a"), row("b")], first_on_a=[True])


def test_repeats_are_counted_per_rater_and_item() -> None:
    rows = [row("a"), row("a", prompt="q"), row("b"), row("a", "r2"), row("a", a=SHORT)]
    votes = encode(rows)
    assert votes.repeat.tolist() == [0, 0, 1, 0, 2]
    assert votes.first_verdicts().tolist() == [True, True, False, True, False]
    assert len(votes.items) == 2


def test_the_same_text_of_another_model_is_another_item() -> None:
    other = Completion("one two three", model="m")
    rows = [row("a"), Comparison(row("a").prompt, other, SHORT, "a", rater="r1")]
    assert len(encode(rows).items) == 2


def test_what_cannot_be_used_is_refused() -> None:
    with pytest.raises(DataError, match="no comparisons"):
        encode([])
    with pytest.raises(DataError, match="1 of 2 comparisons name no rater"):
        encode([row("a"), row("a", rater="")])
    with pytest.raises(ValueError, match="not in"):
        encode([row("a")]).feature("words")


def test_log_words_doubles_with_length() -> None:
    assert log_words(LONG) - log_words(SHORT) == pytest.approx(1.0)
    assert log_words(Completion("")) == 0.0


def test_missing_strength_is_nan() -> None:
    plain = Comparison(row("a").prompt, LONG, SHORT, "a", rater="r")
    assert np.isnan(encode([plain]).strength).all()
    assert encode([row("a")]).strength.tolist() == [0.5]
