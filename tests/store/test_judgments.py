"""Judgments: once for each key, changed with a history, undone twenty deep, drafts and feedback."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from accord.errors import DataError
from accord.store import adjudicate, events, schema
from accord.store.assign import Assignment, next_assignment, prefetch, skip
from accord.store.columns import now
from accord.store.database import Store, StoreError
from accord.store.judgments import (
    UNDO_LAST,
    feedback_in,
    get_draft,
    recent,
    save_draft,
    submit,
    undo,
    undo_left,
)
from accord.store.rounds import get_item, get_round
from accord.store.task import Label, Presentation, TaskSchema, is_right
from accord.store.work import Judgment, own_row
from tests.store.fill import PLAIN, item, make_round, prefer, rater

ANY: dict[str, Any] = {"outcome": "a", "strength": 1}


def feedback_for(store: Store, judgment: Judgment) -> dict[str, Any] | None:
    """What the rater is told after a judgment."""
    with store.read() as conn:
        row = own_row(conn, judgment.assignment_id, judgment.rater_id)
        return feedback_in(conn, row, judgment)


def one_task(store: Store, **fields: Any) -> tuple[str, Assignment]:
    """A rater with one task in hand."""
    found = make_round(store, [item("n")], **fields)
    who = rater(store)
    task = next_assignment(store, who, found.id)
    assert task is not None
    return who, task


def freeze(store: Store, round_id: str) -> None:
    """As the freeze leaves a round."""
    change = schema.rounds.update().where(schema.rounds.c.id == round_id)
    store.write(lambda conn: conn.execute(change.values(state="frozen", frozen_at=now())) and None)


def test_a_judgment_is_kept_by_slot_and_by_index(store: Store) -> None:
    labels = (Label(name="rude", text="Rude"),)
    who, task = one_task(store, schema=TaskSchema(response_labels=labels))
    body = {**prefer(task, 1, 3), "labels": {"a": {"rude": True}}, "active_ms": 4200}
    kept = submit(store, who, task.id, body, "k1")
    assert kept.outcome["best"] == 1
    assert kept.outcome["strength"] == 3
    assert kept.outcome["labels"] == {str(task.permutation[0]): {"rude": True}}
    assert kept.body["outcome"] == body["outcome"]
    assert (kept.revision, kept.new) == (0, True)
    (row,) = recent(store, who)
    assert (row.assignment_id, row.body, row.outcome) == (task.id, kept.body, kept.outcome)
    (event,) = events.history(store, task.id)
    assert event.body["permutation"] == list(task.permutation)
    assert event.body["item"] == task.item_id
    assert events.verify(store) == []


def test_when_a_task_was_shown_is_kept_in_the_log_and_told_nobody(store: Store) -> None:
    who, task = one_task(store)
    shown = Presentation(
        shown_at=100.5, both_complete_at=101.0, first_key_at=103.25, device="phone", ui_version="v"
    )
    submit(store, who, task.id, ANY, "k1", shown)
    (event,) = events.history(store, task.id)
    assert event.body["presentation"] == {
        "shown_at": 100.5, "both_complete_at": 101.0, "first_key_at": 103.25,
        "device": "phone", "ui_version": "v",
    }  # fmt: skip
    with store.read() as conn:
        row = conn.execute(sa.select(schema.assignments)).one()
    assert (row.shown_at, row.both_complete_at, row.first_key_at) == (100.5, 101.0, 103.25)
    submit(store, who, task.id, {"outcome": "tie"}, "k2", Presentation(shown_at=200.0))
    first, second = events.history(store, task.id)
    assert first.body["presentation"]["shown_at"] == 100.5
    assert second.body["presentation"] == {"shown_at": 200.0}
    back = undo(store, who, "u")
    assert "shown_at" not in str(back.draft)
    submit(store, who, task.id, ANY, "k3")  # a client that does not say
    assert "presentation" not in events.history(store, task.id)[-1].body
    assert events.verify(store) == []


@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), 1e12, "soon"])
def test_a_time_that_is_none_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="shown_at"):
        Presentation.model_validate({"shown_at": wrong})


def test_the_same_key_again_changes_nothing(store: Store) -> None:
    who, task = one_task(store)
    first = submit(store, who, task.id, ANY, "k")
    again = submit(store, who, task.id, {"outcome": "tie"}, "k")  # even with another body
    assert again.body == first.body
    assert not again.new
    assert get_round(store, task.round_id).num_judgments == 1
    assert len(events.history(store, task.id)) == 1


def test_a_new_key_changes_the_judgment_and_keeps_the_old_one(store: Store) -> None:
    who, task = one_task(store)
    submit(store, who, task.id, ANY, "k1")
    changed = submit(store, who, task.id, {"outcome": "tie"}, "k2")
    assert (changed.revision, changed.outcome["outcome"]) == (1, "tie")
    history = events.history(store, task.id)
    assert [event.body["body"]["outcome"] for event in history] == ["a", "tie"]
    assert (get_item(store, task.item_id).done, len(recent(store, who))) == (1, 1)
    assert submit(store, who, task.id, ANY, "k1").body["outcome"] == "tie"  # it stands as it is


def test_a_key_is_for_one_thing(sqlite_store: Store) -> None:
    found = make_round(sqlite_store, [item("a"), item("b")])
    who = rater(sqlite_store)
    one, two = prefetch(sqlite_store, who, 2, found.id)
    submit(sqlite_store, who, one.id, ANY, "k")
    with pytest.raises(StoreError, match="something else"):
        submit(sqlite_store, who, two.id, ANY, "k")
    with pytest.raises(StoreError, match="something else"):
        undo(sqlite_store, who, "k")
    with pytest.raises(DataError, match="key"):
        submit(sqlite_store, who, two.id, ANY, "")
    assert get_round(sqlite_store, found.id).num_judgments == 1


def test_what_the_round_does_not_ask_leaves_no_trace(store: Store) -> None:
    who, task = one_task(store)
    for wrong in ({"outcome": "c"}, {"outcome": "a", "strength": 9}, {}):
        with pytest.raises(DataError):
            submit(store, who, task.id, wrong, "k")
    assert events.history(store, task.id) == []
    assert submit(store, who, task.id, ANY, "k").new  # the key is still good


def test_undo_brings_the_task_back_with_what_was_said(store: Store) -> None:
    who, task = one_task(store)
    said = submit(store, who, task.id, ANY, "k")
    back = undo(store, who, "u")
    assert (back.id, back.state, back.draft) == (task.id, "open", said.body)
    assert back.permutation == task.permutation
    assert undo(store, who, "u").id == task.id  # the same key again
    assert recent(store, who) == []
    item_now, round_now = get_item(store, task.item_id), get_round(store, task.round_id)
    assert (item_now.taken, item_now.done, round_now.num_judgments) == (1, 0, 0)
    with pytest.raises(DataError, match="nothing to take back"):
        undo(store, who, "u2")
    old = submit(store, who, task.id, ANY, "k")  # a late repeat of the first request
    assert not old.new
    assert recent(store, who) == []
    assert submit(store, who, task.id, {"outcome": "tie"}, "k2").revision == 0
    assert get_draft(store, who, task.id) is None
    assert events.verify(store) == []


def test_the_last_twenty_can_be_undone_and_no_more(sqlite_store: Store) -> None:
    found = make_round(sqlite_store, [item(f"n{i}") for i in range(UNDO_LAST + 3)])
    who = rater(sqlite_store)
    order = []
    for _ in range(UNDO_LAST + 3):
        task = next_assignment(sqlite_store, who, found.id)
        assert task is not None
        submit(sqlite_store, who, task.id, ANY, task.id)
        order.append(task.id)
    assert undo_left(sqlite_store, who) == UNDO_LAST
    undone = [undo(sqlite_store, who, f"u{i}").id for i in range(UNDO_LAST)]
    assert undone == order[:2:-1]
    assert undo_left(sqlite_store, who) == 0
    with pytest.raises(DataError, match="last 20"):
        undo(sqlite_store, who, "one more")


def test_a_skip_can_be_undone(store: Store) -> None:
    who, task = one_task(store)
    skip(store, who, task.id, "by mistake", "s")
    other = rater(store)
    taken = next_assignment(store, other, task.round_id)
    assert taken is not None
    back = undo(store, who, "u")  # though somebody has it by now: the item grows
    assert (back.id, back.draft) == (task.id, None)
    assert get_item(store, task.item_id).needed == 2
    assert submit(store, who, task.id, ANY, "k").new


def test_training_answers_stand_and_teach(sqlite_store: Store) -> None:
    store = sqlite_store
    new = [item("t", role="training", answer={"best": 0, "why": "A is true."}), item("n")]
    found = make_round(store, new, PLAIN.model_copy(update={"training_items": 1}))
    who = rater(store)
    task = next_assignment(store, who, found.id)
    assert task is not None
    said = submit(store, who, task.id, prefer(task, 1), "k")
    assert feedback_for(store, said) == {"right": False, "why": "A is true."}
    with pytest.raises(DataError, match="stands"):
        submit(store, who, task.id, prefer(task, 0), "k2")
    with pytest.raises(DataError, match="nothing to take back"):
        undo(store, who, "u")


def test_only_training_teaches(sqlite_store: Store) -> None:
    settings = PLAIN.model_copy(update={"gold_share": 1.0})
    gold = item("g", role="gold", answer={"best": 0, "why": "secret"})
    found = make_round(sqlite_store, [gold, item("n")], settings)
    who = rater(sqlite_store)
    for task in prefetch(sqlite_store, who, 2, found.id):
        said = submit(sqlite_store, who, task.id, ANY, task.id)
        assert feedback_for(sqlite_store, said) is None


def test_a_frozen_round_does_not_change(sqlite_store: Store) -> None:
    who, task = one_task(sqlite_store)
    submit(sqlite_store, who, task.id, ANY, "k")
    freeze(sqlite_store, task.round_id)
    with pytest.raises(StoreError, match="frozen"):
        submit(sqlite_store, who, task.id, {"outcome": "tie"}, "k2")
    with pytest.raises(StoreError, match="frozen"):
        undo(sqlite_store, who, "u")
    assert not submit(sqlite_store, who, task.id, ANY, "k").new  # a repeat is still answered


def test_drafts_are_the_rater_s_own(store: Store) -> None:
    who, task = one_task(store)
    assert get_draft(store, who, task.id) is None
    save_draft(store, who, task.id, {"comment": "one"})
    save_draft(store, who, task.id, {"comment": "two\0"})
    assert get_draft(store, who, task.id) == {"comment": "two\0"}
    other = rater(store)
    for act in (
        lambda: get_draft(store, other, task.id),
        lambda: save_draft(store, other, task.id, {}),
    ):
        with pytest.raises(DataError, match="no assignment"):
            act()
    submit(store, who, task.id, ANY, "k")
    with pytest.raises(DataError, match="done"):
        save_draft(store, who, task.id, {})


def test_recent_is_newest_first(sqlite_store: Store) -> None:
    found = make_round(sqlite_store, [item(f"n{i}") for i in range(5)])
    who = rater(sqlite_store)
    tasks = prefetch(sqlite_store, who, 5, found.id)
    for task in tasks:
        submit(sqlite_store, who, task.id, ANY, task.id)
    assert [row.assignment_id for row in recent(sqlite_store, who, 3)] == [
        task.id for task in tasks[:1:-1]
    ]
    assert recent(sqlite_store, rater(sqlite_store)) == []


def test_an_adjudicator_s_word_can_be_taken_back(sqlite_store: Store) -> None:
    who, task = one_task(sqlite_store)
    submit(sqlite_store, who, task.id, ANY, "k")
    adjudicate.flag(sqlite_store, task.item_id, "odd", "lead")
    judge = rater(sqlite_store, "adjudicator")
    case = next_assignment(sqlite_store, judge, task.round_id)
    assert case is not None
    submit(sqlite_store, judge, case.id, {"outcome": "tie"}, "k")
    assert adjudicate.queue(sqlite_store, task.round_id) == []
    undo(sqlite_store, judge, "u")
    assert len(adjudicate.queue(sqlite_store, task.round_id)) == 1
    assert get_round(sqlite_store, task.round_id).num_judgments == 1


BEST = {"outcome": "best", "best": 1, "strength": 2}


@pytest.mark.parametrize(
    ("answer", "outcome", "right"),
    [
        ({"best": 1}, BEST, True),
        ({"best": 0}, BEST, False),
        ({"best": 1}, {"outcome": "tie"}, False),
        ({"outcome": "tie"}, {"outcome": "tie"}, True),
        ({"outcome": "tie"}, BEST, False),
        ({"best": 2}, {"ranks": [1, 2, 0]}, True),
        ({"best": 0}, {"ranks": [1, 2, 0]}, False),
        ({"ranks": [0, 1, 1]}, {"ranks": [0, 2, 1]}, True),  # a tie expected may be ordered
        ({"ranks": [0, 1, 2]}, {"ranks": [0, 1, 1]}, False),
        ({"ranks": [0, 1, 2]}, {"ranks": [1, 0, 2]}, False),
    ],
)
def test_right_is_what_was_expected(
    answer: dict[str, Any], outcome: dict[str, Any], right: bool
) -> None:
    assert is_right(answer, outcome) is right
