"""Questions: asked once, answered by a lead, seen by who asked and by nobody else."""

from __future__ import annotations

import pytest

from accord.errors import DataError
from accord.store import events, questions
from accord.store.database import Store, StoreError
from accord.store.judgments import submit
from tests.store.fill import ask_for, item, make_round, rater


def test_a_question_is_asked_once_whatever_the_network_does(store: Store) -> None:
    found, who = make_round(store, [item("a"), item("b")]), rater(store)
    task = ask_for(store, who, found.id)
    first = questions.ask(store, who, task.id, "Is this rude?", "k")
    assert questions.ask(store, who, task.id, "Is this rude?", "k") == first
    assert [q.id for q in questions.of_round(store, found.id)] == [first]
    with pytest.raises(DataError, match="write your question"):
        questions.ask(store, who, task.id, "  ", "other")
    with pytest.raises(DataError, match="no assignment"):
        questions.ask(store, rater(store), task.id, "Mine?", "k")
    submit(store, who, task.id, {"outcome": "a", "strength": 1}, "judged")
    with pytest.raises(StoreError, match="something else"):
        questions.ask(store, who, task.id, "Again?", "judged")


def test_an_answer_reaches_who_asked_and_may_be_changed(store: Store) -> None:
    found, who, other = make_round(store, [item("a", needed=2)]), rater(store), rater(store)
    lead = rater(store, "researcher")
    task = ask_for(store, who, found.id)
    name = questions.ask(store, who, task.id, "Is this rude?", "k")
    theirs = questions.ask(store, other, ask_for(store, other, found.id).id, "And this?", "k")
    assert questions.answered_at(store, who, found.id) is None
    assert questions.answer(store, name, "No.", lead) == found.id
    first = questions.answered_at(store, who, found.id)
    assert first is not None and questions.answered_at(store, other, found.id) is None
    questions.answer(store, name, "Yes.", lead)
    assert (questions.answered_at(store, who, found.id) or 0.0) > first
    (mine,) = questions.of_rater(store, who, found.id)
    assert (mine.id, mine.assignment) == (name, task.id)
    assert (mine.about, mine.text, mine.answer) == ("About a?", "Is this rude?", "Yes.")
    assert [q.id for q in questions.of_round(store, found.id)] == [theirs, name]
    said = [e.body for e in events.history(store, task.id) if e.kind == "question"]
    assert said == [{"round": found.id, "assignment": task.id, "question": name}]
    assert events.verify(store) == []


def test_an_answer_needs_a_question_and_words(store: Store) -> None:
    with pytest.raises(DataError, match="no question"):
        questions.answer(store, "nothing", "Yes.", "system")
    with pytest.raises(DataError, match="some words"):
        questions.answer(store, "nothing", " ", "system")


def test_a_long_task_is_told_by_how_it_began(store: Store) -> None:
    found, who = make_round(store, [item("a long " * 50)]), rater(store)
    questions.ask(store, who, ask_for(store, who, found.id).id, "Why?", "k")
    (mine,) = questions.of_rater(store, who, found.id)
    assert mine.about.startswith("About a long a long") and mine.about.endswith("…")
    assert len(mine.about) <= questions.ABOUT_CHARS + 1
