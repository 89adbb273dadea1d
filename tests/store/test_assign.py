"""Who gets what: overlap, priority, checks in the mix, training, budgets, leases, adjudication."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import sqlalchemy as sa

from accord.errors import DataError
from accord.store import adjudicate, assign, schema, work
from accord.store.assign import next_assignment, prefetch, release, skip, standing
from accord.store.database import Store
from accord.store.judgments import save_draft, submit
from accord.store.rounds import close_round, get_item, get_round
from accord.store.settings import RoundSettings
from tests.store.fill import PLAIN, item, make_round, prefer, rater

ANY = {"outcome": "a", "strength": 1}


def rules(**changes: Any) -> RoundSettings:
    """The plain settings with some changed."""
    return PLAIN.model_copy(update=changes)


def drain(store: Store, who: str, round_id: str, body: Any = ANY) -> list[work.Assignment]:
    """Judge until nothing is left."""
    done = []
    while (task := next_assignment(store, who, round_id)) is not None:
        submit(store, who, task.id, body(task) if callable(body) else body, task.id)
        done.append(task)
    return done


def test_the_most_urgent_item_comes_first(store: Store) -> None:
    new = [item(f"n{i}", priority=float(i)) for i in range(20)]
    found = make_round(store, new, rules(random_floor=0.0))
    names = [task.prompt.id for task in drain(store, rater(store), found.id)]
    assert names == [f"n{i}" for i in reversed(range(20))]


def test_a_share_is_drawn_whatever_its_priority(sqlite_store: Store) -> None:
    new = [item(f"n{i}", priority=float(i)) for i in range(120)]
    found = make_round(sqlite_store, new, rules(random_floor=0.3))
    who = rater(sqlite_store)
    tasks = [next_assignment(sqlite_store, who, found.id)]
    for _ in range(59):
        last = tasks[-1]
        assert last is not None
        submit(sqlite_store, who, last.id, ANY, last.id)
        tasks.append(next_assignment(sqlite_store, who, found.id))
    reasons = Counter(task.reason for task in tasks if task is not None)
    assert set(reasons) == {"random", "priority"}
    assert 7 <= reasons["random"] <= 29  # 18 expected; 3 sd of 60 draws


def test_equal_items_come_in_the_seeded_order(sqlite_store: Store) -> None:
    new = [item(f"n{i}") for i in range(12)]
    orders = []
    for seed in (1, 2):
        found = make_round(sqlite_store, new, rules(seed=seed))
        orders.append([t.prompt.id for t in drain(sqlite_store, rater(sqlite_store), found.id)])
    assert set(orders[0]) == set(orders[1])
    assert orders[0] != orders[1]
    assert orders[0] != [one.prompt.id for one in new]


def test_sides_are_stored_and_stay(store: Store) -> None:
    found = make_round(store, [item("n", 5)], task="rank")
    who = rater(store)
    first = next_assignment(store, who, found.id)
    assert first is not None
    assert sorted(first.permutation) == [0, 1, 2, 3, 4]
    assert first.responses == tuple(f"n.{i}" for i in first.permutation)
    assert next_assignment(store, who, found.id).permutation == first.permutation  # type: ignore[union-attr]


def test_what_is_held_comes_again_with_its_draft(store: Store) -> None:
    found = make_round(store, [item(f"n{i}") for i in range(5)])
    who = rater(store)
    first, second = prefetch(store, who, 2, found.id)
    save_draft(store, who, first.id, {"comment": "half a"})
    again = prefetch(store, who, 2, found.id)
    assert [task.id for task in again] == [first.id, second.id]
    assert again[0].draft == {"comment": "half a"}
    fresh = prefetch(store, who, 2, found.id, exclude=[first.id, second.id])
    assert {first.id, second.id}.isdisjoint(task.id for task in fresh)


def test_nobody_holds_more_than_ten(sqlite_store: Store) -> None:
    found = make_round(sqlite_store, [item(f"n{i}") for i in range(30)])
    who = rater(sqlite_store)
    held = prefetch(sqlite_store, who, 30, found.id)
    assert len(held) == assign.MAX_HELD
    assert next_assignment(sqlite_store, who, found.id, exclude=[t.id for t in held]) is None


def test_overlap_is_for_different_raters(store: Store) -> None:
    found = make_round(store, [item("a"), item("b")], rules(overlap=2))
    one, two, three = (rater(store) for _ in range(3))
    assert len(drain(store, one, found.id)) == 2
    seconds = drain(store, two, found.id)
    assert [task.reason for task in seconds] == ["overlap", "overlap"]
    assert drain(store, three, found.id) == []
    assert get_round(store, found.id).num_left == 0


def test_a_lease_that_ends_goes_to_another(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    found = make_round(store, [item("a")], rules(lease_seconds=60))
    one, two = rater(store), rater(store)
    first = next_assignment(store, one, found.id)
    assert first is not None
    assert next_assignment(store, two, found.id) is None
    late = first.lease_expires + 1
    monkeypatch.setattr(assign, "now", lambda: late)
    taken = next_assignment(store, two, found.id)
    assert taken is not None
    assert taken.item_id == first.item_id
    # Work that was begun counts even so: the item grows rather than lose it.
    assert submit(store, one, first.id, ANY, "late").new
    kept = get_item(store, first.item_id)
    assert (kept.needed, kept.taken, kept.done) == (2, 2, 1)


def test_asking_with_a_task_in_hand_renews_its_lease(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = make_round(sqlite_store, [item("a"), item("b")], rules(lease_seconds=60))
    who, other = rater(sqlite_store), rater(sqlite_store)
    first = next_assignment(sqlite_store, who, found.id)
    assert first is not None
    for module in (assign, work):
        monkeypatch.setattr(module, "now", lambda: first.lease_expires - 1)
    next_assignment(sqlite_store, who, found.id, exclude=[first.id])
    monkeypatch.setattr(assign, "now", lambda: first.lease_expires + 30)
    assert next_assignment(sqlite_store, other, found.id) is None


def test_release_gives_the_task_back_at_once(sqlite_store: Store) -> None:
    found = make_round(sqlite_store, [item("a")])
    one, two = rater(sqlite_store), rater(sqlite_store)
    first = next_assignment(sqlite_store, one, found.id)
    assert first is not None
    release(sqlite_store, one, first.id)
    assert next_assignment(sqlite_store, two, found.id) is not None
    assert next_assignment(sqlite_store, one, found.id) is None


def test_a_skipped_task_goes_to_others_and_later_comes_back(store: Store) -> None:
    found = make_round(store, [item("a"), item("b")])
    one, two = rater(store), rater(store)
    first = next_assignment(store, one, found.id)
    assert first is not None
    skip(store, one, first.id, "later", "s1")
    second = next_assignment(store, one, found.id)
    assert second is not None
    assert second.item_id != first.item_id
    submit(store, one, second.id, ANY, "k")
    back = next_assignment(store, one, found.id)
    assert back is not None
    assert back.id == first.id
    skip(store, one, first.id, "I do not know the subject", "s2")
    assert next_assignment(store, one, found.id) is None
    given = next_assignment(store, two, found.id)
    assert given is not None
    assert given.item_id == first.item_id
    with pytest.raises(DataError, match="undo"):
        submit(store, one, first.id, ANY, "k2")


def test_checks_are_mixed_in_and_anchors_return_each_batch(sqlite_store: Store) -> None:
    settings = rules(gold_share=0.1, attention_share=0.1, anchor_share=0.2, batch_size=10)
    new = [item(f"n{i}") for i in range(40)]
    new += [item(f"g{i}", role="gold", answer={"best": 0}) for i in range(3)]
    new += [item(f"t{i}", role="attention", answer={"best": 1}) for i in range(9)]
    new += [item(f"a{i}", role="anchor") for i in range(2)]
    found = make_round(sqlite_store, new, settings)
    tasks = drain(sqlite_store, rater(sqlite_store), found.id)
    for start in (0, 10, 20):
        batch = Counter(task.reason for task in tasks[start : start + 10])
        assert batch == {"random": 6, "gold": 1, "attention": 1, "anchor": 2}
        anchors = {t.prompt.id for t in tasks[start : start + 10] if t.reason == "anchor"}
        assert anchors == {"a0", "a1"}
    assert Counter(task.reason for task in tasks)["random"] == 40
    assert Counter(task.reason for task in tasks)["gold"] == 3  # then ordinary ones instead
    assert get_round(sqlite_store, found.id).num_judgments == 40


def test_training_comes_first_and_must_be_passed(store: Store) -> None:
    settings = rules(training_items=2, training_pass=1.0)
    new = [item("real")]
    new += [item(f"t{i}", role="training", answer={"best": 0, "why": "so"}) for i in range(5)]
    found = make_round(store, new, settings)
    who = rater(store)
    two = prefetch(store, who, 5, found.id)
    assert [task.reason for task in two] == ["training", "training"]  # no more until these are in
    assert standing(store, who, found.id).training_left == 2
    submit(store, who, two[0].id, prefer(two[0], 1), "k0")
    submit(store, who, two[1].id, prefer(two[1], 0), "k1")
    assert not standing(store, who, found.id).trained
    third = next_assignment(store, who, found.id)
    assert third is not None
    assert third.reason == "training"
    submit(store, who, third.id, prefer(third, 0), "k2")  # the last two are right
    assert standing(store, who, found.id).trained
    real = next_assignment(store, who, found.id)
    assert real is not None
    assert real.prompt.id == "real"
    assert standing(store, who, found.id).done == 0


def test_a_budget_is_never_passed(store: Store) -> None:
    found = make_round(store, [item(f"n{i}") for i in range(9)], budget=4)
    one, two = rater(store), rater(store)
    held = prefetch(store, one, 3, found.id)
    assert len(prefetch(store, two, 3, found.id)) == 1
    for task in held:
        submit(store, one, task.id, ANY, task.id)
    assert next_assignment(store, one, found.id) is None
    assert get_round(store, found.id).num_left == 1


def test_a_closed_round_gives_nothing_but_takes_what_is_in_hand(sqlite_store: Store) -> None:
    found = make_round(sqlite_store, [item("a"), item("b")])
    who = rater(sqlite_store)
    task = next_assignment(sqlite_store, who, found.id)
    assert task is not None
    close_round(sqlite_store, found.id, "system")
    assert next_assignment(sqlite_store, who, found.id) is None
    assert submit(sqlite_store, who, task.id, ANY, "k").new


def test_without_a_round_all_open_ones_are_served(sqlite_store: Store) -> None:
    first = make_round(sqlite_store, [item("a")])
    second = make_round(sqlite_store, [item("b")])
    tasks = prefetch(sqlite_store, rater(sqlite_store), 5)
    assert [task.round_id for task in tasks] == [first.id, second.id]


def test_a_draft_is_shown_only_where_the_round_says_so(sqlite_store: Store) -> None:
    for show in (False, True):
        found = make_round(sqlite_store, [item("d", 1)], rules(show_draft=show), task="demonstrate")
        task = next_assignment(sqlite_store, rater(sqlite_store), found.id)
        assert task is not None
        assert task.responses == (("d.0",) if show else ())


def test_strangers_are_refused(sqlite_store: Store) -> None:
    found = make_round(sqlite_store, [item("a")])
    with pytest.raises(DataError, match="account"):
        next_assignment(sqlite_store, "nobody", found.id)
    with pytest.raises(DataError, match="round"):
        next_assignment(sqlite_store, rater(sqlite_store), "nothing")
    task = next_assignment(sqlite_store, rater(sqlite_store), found.id)
    assert task is not None
    with pytest.raises(DataError, match="no assignment"):
        skip(sqlite_store, rater(sqlite_store), task.id, "later", "k")


def test_raters_who_differ_bring_more_raters_and_then_an_adjudicator(store: Store) -> None:
    settings = rules(overlap=2, escalate_spread=3, escalate_raters=1)
    found = make_round(store, [item("a")], settings)
    names = [rater(store) for _ in range(3)]
    judge = rater(store, "adjudicator")
    for who, side in zip(names, (0, 1, 0), strict=True):
        task = next_assignment(store, who, found.id)
        assert task is not None, "the item should have grown"
        submit(store, who, task.id, prefer(task, side, 3), task.id)
    (case,) = adjudicate.queue(store, found.id)
    assert case.reason == "raters are 6 steps apart"
    task = next_assignment(store, judge, found.id)
    assert task is not None
    assert (task.reason, task.item_id) == ("adjudication", case.item_id)
    assert next_assignment(store, rater(store, "adjudicator"), found.id) is None  # it is in hand
    submit(store, judge, task.id, prefer(task, 1, 1), "word")
    (settled,) = adjudicate.queue(store, found.id, "resolved")
    assert settled.outcome is not None
    assert settled.outcome["best"] == 1
    assert get_round(store, found.id).num_judgments == 3


def test_who_agrees_is_left_in_peace(sqlite_store: Store) -> None:
    found = make_round(sqlite_store, [item("a")], rules(overlap=2, escalate_spread=3))
    for strength in (1, 4):
        who = rater(sqlite_store)
        task = next_assignment(sqlite_store, who, found.id)
        assert task is not None
        submit(sqlite_store, who, task.id, prefer(task, 0, strength), task.id)
    assert next_assignment(sqlite_store, rater(sqlite_store), found.id) is None
    assert adjudicate.queue(sqlite_store, found.id) == []


def test_a_lead_may_flag_discuss_and_settle(sqlite_store: Store) -> None:
    found = make_round(sqlite_store, [item("a")])
    with sqlite_store.read() as conn:
        name = str(conn.scalar(sa.select(schema.items.c.id)))
    case = adjudicate.flag(sqlite_store, name, "odd", "lead")
    assert adjudicate.flag(sqlite_store, name, "odd again", "lead").id == case.id
    noted = adjudicate.note(sqlite_store, case.id, "B repeats itself.", "lead")
    assert noted.notes[0]["text"] == "B repeats itself."
    settled = adjudicate.resolve(sqlite_store, case.id, {"outcome": "tie"}, "lead")
    assert (settled.state, settled.resolved_by) == ("resolved", "lead")
    assert adjudicate.queue(sqlite_store, found.id) == []
    with pytest.raises(DataError, match="some words"):
        adjudicate.note(sqlite_store, case.id, " ", "lead")


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([], 0),
        ([{"outcome": "best", "best": 0, "strength": 4}] * 2, 0),
        (
            [
                {"outcome": "best", "best": 0, "strength": 4},
                {"outcome": "best", "best": 1, "strength": 3},
            ],
            7,
        ),
        ([{"outcome": "tie"}, {"outcome": "best", "best": 1, "strength": 2}], 2),
        ([{"outcome": "cannot_compare"}, {"outcome": "best", "best": 1, "strength": 2}], 0),
        (
            [
                {"outcome": "best", "best": 0, "strength": None},
                {"outcome": "best", "best": 1, "strength": None},
            ],
            2,
        ),
        ([{"ranks": [0, 1, 2]}, {"ranks": [1, 0, 2]}, {"ranks": [2, 0, 1]}], 2),
    ],
)
def test_spread_is_counted_in_steps(outcomes: list[dict[str, Any]], expected: int) -> None:
    assert adjudicate.spread(outcomes) == expected
