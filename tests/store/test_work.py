"""Leases, late work, skips and the keys of actions: no label is lost and none is counted twice."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from accord.errors import DataError
from accord.store import assign, events, judgments, schema, work
from accord.store.assign import Assignment, next_assignment, prefetch, release, skip, standing
from accord.store.database import Store, StoreError
from accord.store.judgments import recent, save_draft, submit, undo, undo_left
from accord.store.questions import ask
from accord.store.records import MissingError
from accord.store.rounds import (
    add_items,
    close_round,
    create_round,
    get_item,
    get_round,
    open_round,
    set_guideline,
    use_guideline,
)
from tests.store.fill import ANY, ask_for, drain, item, make_round, rater, rules


def at(monkeypatch: pytest.MonkeyPatch, moment: float) -> None:
    """Let the store's clocks stand at a moment."""
    for module in (assign, work, judgments):
        monkeypatch.setattr(module, "now", lambda: moment)


def held(store: Store, num: int = 1, **fields: Any) -> tuple[str, list[Assignment]]:
    """A rater with tasks in hand, in a round of so many items."""
    found = make_round(store, [item(f"n{i}") for i in range(num)], **fields)
    who = rater(store)
    return who, prefetch(store, who, num, found.id)


def state(store: Store, assignment: str) -> str:
    """The state of an assignment as the table has it."""
    table = schema.assignments
    with store.read() as conn:
        return str(conn.scalar(sa.select(table.c.state).where(table.c.id == assignment)))


def test_only_ordinary_work_counts_towards_an_item() -> None:
    ordinary = {"random", "priority", "overlap", "chat"}
    others = {"gold", "attention", "anchor", "training", "adjudication"}
    assert {reason for reason in ordinary | others if work.counts(reason)} == ordinary


def test_a_task_still_held_by_its_rater_is_not_given_twice_when_its_lease_ends(
    shared_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    who, (task,) = held(shared_store)
    at(monkeypatch, task.lease_expires + 1)
    back = ask_for(shared_store, who, task.round_id)
    assert (back.id, back.state, back.permutation) == (task.id, "open", task.permutation)
    assert back.lease_expires > task.lease_expires
    kept = get_item(shared_store, task.item_id)
    assert (kept.needed, kept.taken) == (1, 1)


def test_a_lapsed_task_whose_place_is_taken_is_not_offered_again(
    shared_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    who, (task,) = held(shared_store)
    at(monkeypatch, task.lease_expires + 1)
    other = rater(shared_store)
    assert ask_for(shared_store, other, task.round_id).item_id == task.item_id
    assert next_assignment(shared_store, who, task.round_id) is None
    assert state(shared_store, task.id) == "expired"


def test_late_work_is_one_label_more_and_the_round_knows(
    shared_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    who, (late, *_) = held(shared_store, 2)
    at(monkeypatch, late.lease_expires + 1)
    other = rater(shared_store)
    both = prefetch(shared_store, other, 2, late.round_id)
    (same,) = [task for task in both if task.item_id == late.item_id]
    (rest,) = [task for task in both if task.item_id != late.item_id]
    submit(shared_store, other, same.id, ANY, same.id)
    assert submit(shared_store, who, late.id, ANY, "late").new
    found = get_round(shared_store, late.round_id)
    assert (found.num_wanted, found.num_judgments, found.num_left) == (3, 2, 1)
    assert standing(shared_store, other, late.round_id).left == 1  # not done: one item waits
    submit(shared_store, other, rest.id, ANY, rest.id)
    assert get_round(shared_store, late.round_id).num_left == 0


def test_late_work_on_an_item_with_room_makes_it_grow_by_nothing(
    shared_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    who, (task,) = held(shared_store, settings=rules(overlap=2))
    at(monkeypatch, task.lease_expires + 1)
    ask_for(shared_store, rater(shared_store), task.round_id)
    submit(shared_store, who, task.id, ANY, "late")
    kept, found = get_item(shared_store, task.item_id), get_round(shared_store, task.round_id)
    assert (kept.needed, kept.taken, kept.done) == (2, 2, 1)
    assert found.num_wanted == 2


def test_work_later_than_its_lease_that_nobody_missed_needs_no_growth(
    shared_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    who, (task,) = held(shared_store)
    at(monkeypatch, task.lease_expires + 500)
    assert submit(shared_store, who, task.id, ANY, "late").new  # no sweep came in between
    kept = get_item(shared_store, task.item_id)
    assert (kept.needed, kept.taken, kept.done) == (1, 1, 1)


def test_overlap_with_a_lapsed_lease_has_two_different_raters(
    shared_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    who, (task,) = held(shared_store, settings=rules(overlap=2))
    other, third, fourth = (rater(shared_store) for _ in range(3))
    second = ask_for(shared_store, other, task.round_id)
    assert second.reason == "overlap"
    assert next_assignment(shared_store, third, task.round_id) is None
    submit(shared_store, other, second.id, ANY, second.id)
    at(monkeypatch, task.lease_expires + 1)
    assert ask_for(shared_store, third, task.round_id).reason == "overlap"
    assert next_assignment(shared_store, fourth, task.round_id) is None
    assert next_assignment(shared_store, other, task.round_id) is None  # had it already
    assert next_assignment(shared_store, who, task.round_id) is None  # the place is gone


def test_a_gold_task_that_lapsed_waits_for_its_rater(
    shared_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    gold = item("g", role="gold", answer={"best": 0})
    found = make_round(shared_store, [gold, item("n")], rules(gold_share=1.0))
    who = rater(shared_store)
    task = ask_for(shared_store, who, found.id)
    assert task.reason == "gold"
    at(monkeypatch, task.lease_expires + 1)
    assert ask_for(shared_store, rater(shared_store), found.id).prompt.id == "g"
    assert state(shared_store, task.id) == "expired"
    assert ask_for(shared_store, who, found.id).id == task.id
    assert get_item(shared_store, task.item_id).taken == 0


def test_a_budget_that_is_given_out_does_not_bring_lapsed_tasks_back(
    shared_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    who, tasks = held(shared_store, 2, budget=1)
    (task,) = tasks  # one judgment is wanted, so one task is out
    at(monkeypatch, task.lease_expires + 1)
    other = rater(shared_store)
    taken = ask_for(shared_store, other, task.round_id)
    submit(shared_store, other, taken.id, ANY, "k")
    assert next_assignment(shared_store, who, task.round_id) is None
    assert get_round(shared_store, task.round_id).num_left == 0
    assert submit(shared_store, who, task.id, ANY, "late").new  # begun work still counts


def test_undo_frees_the_budget_for_its_rater(shared_store: Store) -> None:
    found = make_round(shared_store, [item("a"), item("b")], budget=1)
    who = rater(shared_store)
    assert len(drain(shared_store, who, found.id)) == 1
    undo(shared_store, who, "u")
    assert get_round(shared_store, found.id).num_left == 1
    assert next_assignment(shared_store, rater(shared_store), found.id) is None  # it is in hand
    back = ask_for(shared_store, who, found.id)
    assert submit(shared_store, who, back.id, {"outcome": "tie"}, "a new key").new
    assert next_assignment(shared_store, who, found.id) is None


def test_release_is_quiet_about_what_is_not_open(shared_store: Store) -> None:
    who, (task,) = held(shared_store)
    release(shared_store, who, task.id)
    release(shared_store, who, task.id)  # again changes nothing
    assert get_item(shared_store, task.item_id).taken == 0
    back = ask_for(shared_store, who, task.round_id)
    submit(shared_store, who, back.id, ANY, "k")
    release(shared_store, who, back.id)
    assert state(shared_store, task.id) == "done"
    assert get_item(shared_store, task.item_id).taken == 1
    with pytest.raises(MissingError, match=r"no assignment .*list of assignments"):
        release(shared_store, rater(shared_store), task.id)


def test_a_skip_frees_the_place_and_keeps_its_reason_short(shared_store: Store) -> None:
    who, (task,) = held(shared_store)
    skip(shared_store, who, task.id, "x" * 500, "s")
    assert get_item(shared_store, task.item_id).taken == 0
    table = schema.assignments
    with shared_store.read() as conn:
        row = conn.execute(sa.select(table).where(table.c.id == task.id)).one()
    assert (row.state, row.skip_reason) == ("skipped", "x" * 200)
    (event,) = events.history(shared_store, task.id)
    assert (event.kind, event.body["reason"]) == ("skip", "x" * 500)  # the log keeps it whole


def test_a_skip_sent_twice_counts_once(shared_store: Store) -> None:
    who, (task,) = held(shared_store)
    skip(shared_store, who, task.id, "hard", "s")
    skip(shared_store, who, task.id, "hard", "s")
    assert get_item(shared_store, task.item_id).taken == 0
    with pytest.raises(DataError, match="this task is skipped; take it back with undo"):
        skip(shared_store, who, task.id, "hard", "another key")
    assert len(events.history(shared_store, task.id)) == 1


def test_a_judged_task_is_not_skipped(shared_store: Store) -> None:
    who, (task,) = held(shared_store)
    submit(shared_store, who, task.id, ANY, "k")
    with pytest.raises(DataError, match="this task is done; take it back with undo before you"):
        skip(shared_store, who, task.id, "hard", "s")
    assert len(recent(shared_store, who)) == 1


def test_a_lapsed_task_can_be_skipped_and_frees_nothing_twice(
    shared_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    who, (task,) = held(shared_store)
    at(monkeypatch, task.lease_expires + 1)
    assert next_assignment(shared_store, rater(shared_store), task.round_id) is not None
    skip(shared_store, who, task.id, "hard", "s")
    assert get_item(shared_store, task.item_id).taken == 1  # the other rater's


def test_put_off_tasks_come_back_oldest_first_once_nothing_else_is_there(
    shared_store: Store,
) -> None:
    who, tasks = held(shared_store, 3)
    for task in tasks[:2]:
        skip(shared_store, who, task.id, work.LATER, f"later {task.id}")
    assert ask_for(shared_store, who, tasks[0].round_id).id == tasks[2].id
    submit(shared_store, who, tasks[2].id, ANY, "k")
    back = prefetch(shared_store, who, 5, tasks[0].round_id)
    assert [task.id for task in back] == [task.id for task in tasks[:2]]
    # What the screen holds already is not sent again.
    skip(shared_store, who, tasks[0].id, work.LATER, "later again")
    assert prefetch(shared_store, who, 5, tasks[0].round_id, exclude=[t.id for t in tasks]) == []


@pytest.mark.parametrize("action", ["judgment", "skip", "question", "undo"])
def test_a_key_that_was_used_for_something_else_is_refused_by_every_action(
    shared_store: Store, action: str
) -> None:
    who, (one, two) = held(shared_store, 2)
    acts = {
        "judgment": lambda task: submit(shared_store, who, task.id, ANY, "key"),
        "skip": lambda task: skip(shared_store, who, task.id, "hard", "key"),
        "question": lambda task: ask(shared_store, who, task.id, "Why?", "key"),
        "undo": lambda task: undo(shared_store, who, "key", task.id),
    }
    if action == "undo":
        submit(shared_store, who, one.id, ANY, "first")
    acts[action](one)
    before = events.history(shared_store, two.id)
    for other, act in acts.items():
        if other == "undo" == action:
            continue  # the same key of an undo again answers with the task it took back
        with pytest.raises(StoreError, match="used for something else; make a new one for each"):
            act(two)
    assert events.history(shared_store, two.id) == before
    assert state(shared_store, two.id) == "open"


def test_raters_may_choose_the_same_key(shared_store: Store) -> None:
    found = make_round(shared_store, [item("a")], rules(overlap=2))
    for who in (rater(shared_store), rater(shared_store)):
        task = ask_for(shared_store, who, found.id)
        assert submit(shared_store, who, task.id, ANY, "1").new
    assert get_round(shared_store, found.id).num_judgments == 2


@pytest.mark.parametrize("key", ["", "x" * 81, "tab\there", "line\n"])
def test_a_key_that_cannot_be_one_is_refused_and_nothing_is_kept(
    shared_store: Store, key: str
) -> None:
    who, (task,) = held(shared_store)
    for act in (
        lambda: submit(shared_store, who, task.id, ANY, key),
        lambda: skip(shared_store, who, task.id, "hard", key),
        lambda: ask(shared_store, who, task.id, "Why?", key),
    ):
        with pytest.raises(DataError, match="1 to 80 printable characters, for example"):
            act()
    assert (state(shared_store, task.id), recent(shared_store, who)) == ("open", [])


def test_a_revision_needs_no_task_in_hand_and_counts_up(shared_store: Store) -> None:
    who, (task,) = held(shared_store)
    close_round(shared_store, task.round_id, "system")
    kept = [submit(shared_store, who, task.id, ANY, f"k{i}") for i in range(3)]
    assert [said.revision for said in kept] == [0, 1, 2]
    again = submit(shared_store, who, task.id, ANY, "k0")
    assert (again.revision, again.new) == (2, False)  # what stands now
    assert get_round(shared_store, task.round_id).num_judgments == 1
    assert events.verify(shared_store) == []


def test_the_guideline_of_a_judgment_is_the_one_its_task_was_given_under(
    shared_store: Store,
) -> None:
    project = make_round(shared_store, [item("x")]).project_id
    set_guideline(shared_store, project, "Be kind.", "system")
    found = create_round(
        shared_store, project, "two", task="compare", actor="system", settings=rules()
    )
    add_items(shared_store, found.id, [item("a"), item("b")], "system")
    open_round(shared_store, found.id, "system")
    who = rater(shared_store)
    first = ask_for(shared_store, who, found.id)
    set_guideline(shared_store, project, "Be kinder.", "system")
    use_guideline(shared_store, found.id, 2, "system")
    assert submit(shared_store, who, first.id, ANY, "k").guideline == 1
    assert ask_for(shared_store, who, found.id).guideline == 2


def test_undo_of_a_chosen_task_leaves_the_newer_ones(shared_store: Store) -> None:
    who, tasks = held(shared_store, 3)
    for task in tasks:
        submit(shared_store, who, task.id, ANY, task.id)
    assert undo(shared_store, who, "u", tasks[0].id).id == tasks[0].id
    assert [said.assignment_id for said in recent(shared_store, who)] == [
        tasks[2].id,
        tasks[1].id,
    ]
    assert undo_left(shared_store, who) == 2
    with pytest.raises(DataError, match="nothing to take back among your last 20 tasks"):
        undo(shared_store, who, "u2", tasks[0].id)  # it is in hand already
    with pytest.raises(DataError, match="nothing to take back"):
        undo(shared_store, rater(shared_store), "u", tasks[1].id)  # another's


def test_undo_goes_back_through_skips_and_judgments_newest_first(shared_store: Store) -> None:
    who, (one, two) = held(shared_store, 2)
    submit(shared_store, who, one.id, ANY, "k")
    skip(shared_store, who, two.id, "hard", "s")
    assert undo(shared_store, who, "u1").id == two.id
    assert undo(shared_store, who, "u2").id == one.id
    assert undo_left(shared_store, who) == 0
    kinds = [event.kind for t in (one, two) for event in events.history(shared_store, t.id)]
    assert kinds == ["judgment", "undo", "skip", "unskip"]


def test_a_skipped_gold_task_taken_back_takes_no_place(shared_store: Store) -> None:
    gold = item("g", role="gold", answer={"best": 0})
    found = make_round(shared_store, [gold, item("n")], rules(gold_share=1.0))
    who = rater(shared_store)
    task = ask_for(shared_store, who, found.id)
    skip(shared_store, who, task.id, "by mistake", "s")
    assert undo(shared_store, who, "u").state == "open"
    assert get_item(shared_store, task.item_id).taken == 0
    assert get_round(shared_store, found.id).num_wanted == 1


def test_a_skip_taken_back_after_another_took_the_place_makes_the_item_grow(
    shared_store: Store,
) -> None:
    who, (task,) = held(shared_store)
    skip(shared_store, who, task.id, "by mistake", "s")
    other = rater(shared_store)
    drain(shared_store, other, task.round_id)
    undo(shared_store, who, "u")
    found = get_round(shared_store, task.round_id)
    assert (found.num_wanted, found.num_judgments, found.num_left) == (2, 1, 1)


def test_a_draft_on_a_lapsed_task_is_kept(
    shared_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    who, (task,) = held(shared_store)
    at(monkeypatch, task.lease_expires + 1)
    taken = ask_for(shared_store, rater(shared_store), task.round_id)
    save_draft(shared_store, who, task.id, {"comment": "nearly there"})
    assert judgments.get_draft(shared_store, who, task.id) == {"comment": "nearly there"}
    assert taken.draft is None


def test_nothing_is_served_for_nothing_asked(shared_store: Store) -> None:
    found = make_round(shared_store, [item("a")])
    assert prefetch(shared_store, rater(shared_store), 0, found.id) == []
    assert get_round(shared_store, found.id).num_left == 1


def test_a_round_in_draft_gives_nothing_yet(shared_store: Store) -> None:
    found = make_round(shared_store, [item("a")], opened=False)
    assert next_assignment(shared_store, rater(shared_store), found.id) is None
    open_round(shared_store, found.id, "system")
    assert next_assignment(shared_store, rater(shared_store), found.id) is not None
