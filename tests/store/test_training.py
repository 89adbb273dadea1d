"""Training that was not passed: who is told, what a lead can do, and what comes of it."""

from __future__ import annotations

from typing import Any

import pytest

from accord.errors import DataError
from accord.store import assign, events, schema, training
from accord.store.database import Store, StoreError
from accord.store.items import add_items
from accord.store.judgments import submit
from accord.store.records import NewItem, Round, round_row
from accord.store.work import Assignment
from tests.store.fill import drain, freeze, item, make_round, prefer, rater, rules


def trainee(store: Store, who: str, round_id: str) -> training.Trainee:
    """What the round knows of one rater's training."""
    with store.read() as conn:
        return training.trainee_in(conn, round_row(conn, round_id), who)


def lesson(name: str) -> NewItem:
    return item(name, role="training", answer={"best": 0})


def training_round(store: Store, num: int = 3) -> Round:
    """Two real items behind ``num`` training items, of which the last two must be right."""
    new = [item("real"), item("true"), *(lesson(f"t{i}") for i in range(num))]
    return make_round(store, new, rules(training_items=2, training_pass=0.9, overlap=9))


def test_who_fails_them_all_is_told_and_gets_nothing(store: Store) -> None:
    found, who = training_round(store), rater(store)
    assert not assign.standing(store, who, found.id).training_over  # before anything
    done = drain(store, who, found.id, lambda task: prefer(task, 1))
    assert len(done) == 3
    now = assign.standing(store, who, found.id)
    assert (now.training_over, now.trained, now.training_left) == (True, False, 0)
    mine = trainee(store, who, found.id)
    assert (mine.right, mine.num_counted, mine.needed, mine.num_done) == (0, 2, 2, 3)
    assert (mine.over, mine.passed, mine.attempt) == (True, False, 1)


def test_it_is_not_over_while_a_practice_task_is_in_hand_or_put_off(store: Store) -> None:
    found, who = training_round(store, num=2), rater(store)
    first, second = assign.prefetch(store, who, 2, found.id)
    for task, reason in ((first, "later"), (second, "too hard")):
        assert not assign.standing(store, who, found.id).training_over
        assign.skip(store, who, task.id, reason, task.id)
    assert not assign.standing(store, who, found.id).training_over  # the first comes back
    (back,) = assign.prefetch(store, who, 2, found.id)
    assert back.id == first.id
    assign.skip(store, who, back.id, "too hard", "k")
    assert assign.standing(store, who, found.id).training_over


def test_a_lead_lets_them_try_again_and_they_pass(store: Store) -> None:
    found, who, lead = training_round(store), rater(store), rater(store, "researcher")
    drain(store, who, found.id, lambda task: prefer(task, 1))
    training.train_again(store, found.id, who, lead)
    now = assign.standing(store, who, found.id)
    assert (now.training_over, now.training_left) == (False, 2)
    again = drain(store, who, found.id, lambda task: prefer(task, 0))
    assert [task.reason for task in again[:2]] == ["training"] * 2
    assert len({task.prompt.id for task in again[:2]}) == 2
    assert {task.prompt.id for task in again[2:]} == {"real", "true"}
    mine = trainee(store, who, found.id)
    assert (mine.passed, mine.over, mine.attempt, mine.right) == (True, False, 2, 2)
    with store.read() as conn:
        rows = conn.execute(schema.events.select()).all()
    noted = [(row.actor, row.body) for row in rows if row.kind == "training_again"]
    assert len(noted) == 1 and noted[0][0] == lead and who in noted[0][1]
    assert len([row for row in rows if row.kind == "judgment"]) == 3 + 4  # the first ones are kept
    assert events.verify(store) == []


def test_someone_can_fail_twice_and_begin_a_third_time(store: Store) -> None:
    found, who = training_round(store), rater(store)
    for attempt in (1, 2, 3):
        done = drain(store, who, found.id, lambda task: prefer(task, 1))
        assert {task.prompt.id for task in done} == {"t0", "t1", "t2"}
        mine = trainee(store, who, found.id)
        assert (mine.over, mine.attempt) == (True, attempt)
        training.train_again(store, found.id, who, "system")


def test_who_passed_can_be_asked_to_qualify_again(store: Store) -> None:
    found, who = training_round(store), rater(store)
    for _ in range(2):
        task = assign.next_assignment(store, who, found.id)
        assert task is not None
        submit(store, who, task.id, prefer(task, 0), task.id)
    assert assign.standing(store, who, found.id).trained
    training.train_again(store, found.id, who, "system")
    assert not assign.standing(store, who, found.id).trained
    task = assign.next_assignment(store, who, found.id)
    assert task is not None and task.reason == "training"


def test_further_training_items_open_the_way_too(store: Store) -> None:
    found, who = training_round(store), rater(store)
    drain(store, who, found.id, lambda task: prefer(task, 1))
    add_items(store, found.id, [lesson("more"), lesson("most")], "system")
    assert not assign.standing(store, who, found.id).training_over
    done = drain(store, who, found.id, lambda task: prefer(task, 0))
    assert {task.prompt.id for task in done} == {"more", "most", "real", "true"}


def test_trainees_are_listed_with_those_who_need_help_first(store: Store) -> None:
    found = training_round(store)
    good, bad, new = rater(store), rater(store), rater(store)
    drain(store, good, found.id, lambda task: prefer(task, 0))
    drain(store, bad, found.id, lambda task: prefer(task, 1))
    assign.next_assignment(store, new, found.id)
    rows = training.list_trainees(store, found.id)
    assert [row.rater for row in rows] == [bad, new, good]
    assert [(row.over, row.passed) for row in rows] == [
        (True, False),
        (False, False),
        (False, True),
    ]
    assert training.list_trainees(store, make_round(store, [item("x")]).id) == []


def test_what_cannot_be_done_again_is_refused(store: Store) -> None:
    found, who = training_round(store), rater(store)
    with pytest.raises(DataError, match="no account"):
        training.train_again(store, found.id, "rater-00000000", "system")
    with pytest.raises(DataError, match="no training in round 'round'"):
        training.train_again(store, found.id, who, "system")  # never began
    plain = make_round(store, [item("x")])
    assign.next_assignment(store, who, plain.id)
    with pytest.raises(DataError, match="no training"):
        training.train_again(store, plain.id, who, "system")
    assign.next_assignment(store, who, found.id)
    freeze(store, found.id)
    with pytest.raises(StoreError, match="frozen"):
        training.train_again(store, found.id, who, "system")


@pytest.mark.parametrize(
    ("wanted", "share", "needed"), [(5, 0.7, 4), (20, 0.55, 11), (3, 0.0, 0), (4, 1.0, 4)]
)
def test_needed_is_the_least_number_that_passes(
    shared_store: Store, wanted: int, share: float, needed: int
) -> None:
    new = [item("real"), *(lesson(f"t{i}") for i in range(wanted))]
    settings = rules(training_items=wanted, training_pass=share)
    found = make_round(shared_store, new, settings)
    who = rater(shared_store)
    assert trainee(shared_store, who, found.id).needed == needed


@pytest.mark.parametrize(("ms", "passes"), [(1900, False), (2000, True), (0, True)])
def test_who_answers_faster_than_anybody_reads_does_not_pass(
    store: Store, ms: int, passes: bool
) -> None:
    """However right. Where no time was told (0), only the answers count."""
    new = [item("real"), *(lesson(f"t{i}") for i in range(3))]
    limits = rules(training_items=3, training_pass=0.6, training_seconds=2.0, overlap=9)
    found, who = make_round(store, new, limits), rater(store)
    times = iter([60_000, ms, ms, 5_000])  # the median counts, so one long look helps nobody

    def say(task: Assignment) -> dict[str, Any]:
        return prefer(task, 0) | {"active_ms": next(times)}

    done = drain(store, who, found.id, say)
    mine = trainee(store, who, found.id)
    assert (mine.right, mine.too_fast, mine.passed) == (3, not passes, passes)
    assert [task.prompt.id for task in done[3:]] == (["real"] if passes else [])
    assert assign.standing(store, who, found.id).training_over is not passes
    if ms:
        assert mine.seconds == ms / 1000
        training.train_again(store, found.id, who, rater(store, "researcher"))
        assert trainee(store, who, found.id).seconds is None
