"""What comes next: the seeded order with late arrivals, the random floor, rings of checks."""

from __future__ import annotations

from collections import Counter

import pytest
import sqlalchemy as sa

from accord.store import assign, pick, schema
from accord.store.assign import next_assignment, prefetch, standing
from accord.store.database import Store
from accord.store.judgments import submit
from accord.store.pick import trained
from accord.store.rounds import add_items, get_round, list_items
from accord.store.settings import RoundSettings
from tests.store.fill import ANY, PLAIN, ask_for, drain, item, make_round, prefer, rater, rules


def training(num: int) -> list[object]:
    """Training items whose first response is the better one."""
    return [item(f"t{i}", role="training", answer={"best": 0}) for i in range(num)]


@pytest.mark.parametrize(
    ("items", "share", "results", "passed"),
    [
        (0, 0.7, [], True),
        (0, 1.0, [0, 0], True),
        (3, 0.7, [1, 1], False),  # not enough of them yet, though all are right
        (3, 0.7, [1, 1, 0], False),  # 2 of 3 is 0.67
        (3, 0.6, [1, 1, 0], True),
        (2, 1.0, [0, 0, 0, 1, 1], True),  # a bad start is made good
        (2, 1.0, [1, 1, 0], False),  # and a good one does not carry
        (2, 0.0, [0, 0], True),  # the floor: having done them
        (2, 0.0, [0], False),
        (20, 0.55, [1] * 11 + [0] * 9, True),  # 0.55 * 20 is 11.000000000000002
        (20, 0.55, [1] * 10 + [0] * 10, False),
        (25, 0.28, [1] * 7 + [0] * 18, True),  # 0.28 * 25 is 7.000000000000001
        (100, 0.07, [1] * 7 + [0] * 93, True),
        (100, 0.07, [1] * 6 + [0] * 94, False),
    ],
)
def test_the_last_training_answers_open_the_real_items(
    items: int, share: float, results: list[int], passed: bool
) -> None:
    settings = RoundSettings(training_items=items, training_pass=share)
    assert trained(settings, {"results": results}).passed is passed


def test_every_share_of_right_answers_passes_its_own_floor() -> None:
    for wanted in range(1, 41):
        for right in range(wanted + 1):
            settings = RoundSettings(training_items=wanted, training_pass=right / wanted)
            results = [1] * right + [0] * (wanted - right)
            assert trained(settings, {"results": results}).passed, (right, wanted)
            if right:
                assert not trained(settings, {"results": [0, *results[1:]]}).passed, (right, wanted)


def test_who_never_passes_gets_every_training_item_once_and_no_real_one(
    shared_store: Store,
) -> None:
    found = make_round(
        shared_store, [item("real"), *training(4)], rules(training_items=2, training_pass=0.5)
    )
    who = rater(shared_store)
    done = drain(shared_store, who, found.id, lambda task: prefer(task, 1))
    assert sorted(task.prompt.id for task in done) == ["t0", "t1", "t2", "t3"]
    assert {task.reason for task in done} == {"training"}
    now = standing(shared_store, who, found.id)
    assert (now.trained, now.training_left, now.done) == (False, 0, 0)
    assert now.training_over


def test_training_counts_in_no_figure_of_the_round(shared_store: Store) -> None:
    found = make_round(shared_store, [item("real"), *training(2)], rules(training_items=2))
    assert (found.num_items, found.num_wanted) == (1, 1)
    who = rater(shared_store)
    drain(shared_store, who, found.id, lambda task: prefer(task, 0))
    after = get_round(shared_store, found.id)
    assert (after.num_judgments, after.num_left) == (1, 0)
    with shared_store.read() as conn:
        mine = conn.execute(
            sa.select(schema.round_raters).where(schema.round_raters.c.rater_id == who)
        ).one()
    assert (mine.num_done, mine.training_done, mine.training_right) == (1, 2, 2)
    assert mine.state["results"] == [1, 1]


def test_who_fails_gets_further_training_one_at_a_time(shared_store: Store) -> None:
    found = make_round(
        shared_store, [item("real"), *training(5)], rules(training_items=2, training_pass=1.0)
    )
    who = rater(shared_store)
    for task in prefetch(shared_store, who, 2, found.id):
        submit(shared_store, who, task.id, prefer(task, 1), task.id)
    assert len(prefetch(shared_store, who, 5, found.id)) == 1
    assert standing(shared_store, who, found.id).training_left == 1


def test_each_rater_has_an_own_way_round_the_training(shared_store: Store) -> None:
    found = make_round(shared_store, [item("real"), *training(12)], rules(training_items=3))
    ways = {
        tuple(t.prompt.id for t in prefetch(shared_store, rater(shared_store), 3, found.id))
        for _ in range(6)
    }
    assert len(ways) > 1


def test_an_urgent_item_that_comes_in_late_is_next(shared_store: Store) -> None:
    found = make_round(shared_store, [item(f"n{i}") for i in range(12)], rules(random_floor=0.0))
    who = rater(shared_store)
    for _ in range(3):
        task = ask_for(shared_store, who, found.id)
        submit(shared_store, who, task.id, ANY, task.id)
    add_items(shared_store, found.id, [item("urgent", priority=5.0)], "system")
    task = ask_for(shared_store, who, found.id)
    assert (task.prompt.id, task.reason) == ("urgent", "priority")


def test_a_priority_below_zero_comes_last(shared_store: Store) -> None:
    new = [item("last", priority=-1.0), item("a"), item("first", priority=1.0), item("b")]
    found = make_round(shared_store, new, rules(random_floor=0.0))
    done = drain(shared_store, rater(shared_store), found.id)
    names = [task.prompt.id for task in done]
    assert (names[0], names[-1]) == ("first", "last")
    assert [task.reason for task in done] == ["priority", "random", "random", "priority"]


def test_without_priorities_every_draw_is_called_random(shared_store: Store) -> None:
    new = [item(f"n{i}", priority=2.0) for i in range(4)]
    found = make_round(shared_store, new, rules(random_floor=1.0))
    # All equal: the floor has nothing to draw away from, and the reason stays the priority.
    assert {t.reason for t in drain(shared_store, rater(shared_store), found.id)} == {"priority"}


def test_the_floor_at_one_never_looks_at_the_priority(shared_store: Store) -> None:
    new = [item(f"n{i}", priority=float(i)) for i in range(24)]
    found = make_round(shared_store, new, rules(random_floor=1.0, seed=3))
    done = drain(shared_store, rater(shared_store), found.id)
    order = [float(task.prompt.id[1:]) for task in done]
    assert sorted(order) == [float(i) for i in range(24)]  # none is lost, none comes twice
    assert order[:8] != sorted(order, reverse=True)[:8]
    assert Counter(task.reason for task in done)["random"] >= 12


def test_what_others_filled_far_down_the_list_is_passed_over(shared_store: Store) -> None:
    num = 3 * pick.FIRST_LOOK
    found = make_round(
        shared_store, [item(f"n{i}") for i in range(num)], rules(overlap=2, random_floor=0.0)
    )
    one, two = rater(shared_store), rater(shared_store)
    first = drain(shared_store, one, found.id)
    second = drain(shared_store, two, found.id)
    assert len(first) == len(second) == num
    # With equal priorities both walk in the round's seeded order.
    assert [t.item_id for t in first] == [t.item_id for t in second]
    assert next_assignment(shared_store, rater(shared_store), found.id) is None


def test_an_item_that_frees_up_behind_the_rater_is_still_found(shared_store: Store) -> None:
    num = 3 * pick.FIRST_LOOK
    found = make_round(
        shared_store, [item(f"n{i}") for i in range(num)], rules(overlap=2, random_floor=0.0)
    )
    holder, who = rater(shared_store), rater(shared_store)
    third = rater(shared_store)
    held = ask_for(shared_store, holder, found.id)
    also = ask_for(shared_store, third, found.id)
    assert held.item_id == also.item_id  # full for now
    seen = {task.item_id for task in drain(shared_store, who, found.id)}
    assert held.item_id not in seen
    assign.release(shared_store, holder, held.id)
    assert ask_for(shared_store, who, found.id).item_id == held.item_id


def test_after_a_long_search_in_vain_the_next_one_waits(
    shared_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pick, "LONG_LIST", 1)
    found = make_round(shared_store, [item("a"), item("b")])
    who = rater(shared_store)
    first, _ = drain(shared_store, who, found.id)
    assert next_assignment(shared_store, who, found.id) is None
    with shared_store.read() as conn:
        query = sa.select(schema.round_raters.c.state)
        state = conn.scalar(query.where(schema.round_raters.c.rater_id == who))
    assert state["quiet_until"] > first.lease_expires - PLAIN.lease_seconds
    # Something new at the top is seen all the same, for the first look costs little.
    add_items(shared_store, found.id, [item("new", priority=1.0)], "system")
    assert ask_for(shared_store, who, found.id).prompt.id == "new"


def test_anchors_return_in_every_batch_with_sides_drawn_anew(shared_store: Store) -> None:
    settings = rules(anchor_share=0.5, batch_size=4)
    new = [item(f"n{i}") for i in range(40)] + [item(f"a{i}", role="anchor") for i in range(2)]
    found = make_round(shared_store, new, settings)
    done = drain(shared_store, rater(shared_store), found.id)
    for start in range(0, 40, 4):
        batch = [task for task in done[start : start + 4] if task.reason == "anchor"]
        assert {task.prompt.id for task in batch} == {"a0", "a1"}
    sides = {task.permutation for task in done if task.prompt.id == "a0"}
    assert sides == {(0, 1), (1, 0)}  # over ten batches or more
    anchors = list_items(shared_store, found.id, "anchor")
    assert all(one.needed == one.taken == 0 and one.done >= 10 for one in anchors)


def test_gold_is_never_seen_twice_and_goes_on_where_it_was(shared_store: Store) -> None:
    new = [item(f"n{i}") for i in range(10)]
    new += [item(f"g{i}", role="gold", answer={"best": 0}) for i in range(4)]
    found = make_round(shared_store, new, rules(gold_share=0.5, batch_size=4))
    done = drain(shared_store, rater(shared_store), found.id)
    gold = [task.prompt.id for task in done if task.reason == "gold"]
    assert sorted(gold) == ["g0", "g1", "g2", "g3"]
    assert len(done) == 14


def test_without_checks_to_give_the_draw_is_an_ordinary_item(shared_store: Store) -> None:
    settings = rules(gold_share=0.4, attention_share=0.3, anchor_share=0.3, batch_size=10)
    found = make_round(shared_store, [item(f"n{i}") for i in range(6)], settings)
    done = drain(shared_store, rater(shared_store), found.id)
    assert [task.reason for task in done] == ["random"] * 6


def test_what_is_left_is_what_the_rater_has_not_done(shared_store: Store) -> None:
    """Although the round wants more; also without a sheet, as the raters of a demo project."""
    found = make_round(shared_store, [item(f"n{i}") for i in range(4)], rules(overlap=2))
    who, other = rater(shared_store), rater(shared_store)
    for name in (who, who, other, other, other):
        task = ask_for(shared_store, name, found.id)
        submit(shared_store, name, task.id, ANY, task.id)
    assert get_round(shared_store, found.id).num_left == 3
    assert standing(shared_store, who, found.id).left == 2
    mine = schema.round_raters.c.rater_id == who
    shared_store.write(lambda conn: conn.execute(schema.round_raters.delete().where(mine)).rowcount)
    assert standing(shared_store, who, found.id).left == 2


def test_what_is_left_counts_no_checks_against_the_rater(shared_store: Store) -> None:
    new = [item(f"n{i}") for i in range(6)]
    new += [item(f"g{i}", role="gold", answer={"best": 0}) for i in range(5)]
    found = make_round(shared_store, new, rules(gold_share=0.5, batch_size=10))
    who = rater(shared_store)
    ordinary = 0
    while (task := next_assignment(shared_store, who, found.id)) is not None:
        submit(shared_store, who, task.id, ANY, task.id)
        ordinary += task.reason == "random"
        assert standing(shared_store, who, found.id).left == 6 - ordinary
    assert standing(shared_store, who, found.id).done == 11
