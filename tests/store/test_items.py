"""Items by content: what is refused and why, pools across batches, names, priorities, answers."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from accord.errors import DataError
from accord.store import items as module
from accord.store import schema
from accord.store.database import Store, StoreError
from accord.store.items import add_items, add_within, get_item, list_items
from accord.store.records import ItemRole, MissingError, NewItem, item_id
from accord.store.rounds import close_round, get_round
from accord.store.task import Task, TaskSchema
from accord.types import Completion, Message, Prompt
from tests.store.fill import item, make_round, rules

CHECKS: tuple[ItemRole, ...] = ("gold", "attention", "training")


def refused(store: Store, task: Task, *new: NewItem, **fields: Any) -> list[str]:
    """What adding these says, a line each; nothing must have gone in."""
    found = make_round(store, [], task=task, opened=False, **fields)
    with pytest.raises(DataError) as caught:
        add_items(store, found.id, list(new), "system")
    assert get_round(store, found.id) == found
    return str(caught.value).splitlines()


def test_every_problem_is_told_with_its_place(shared_store: Store) -> None:
    told = refused(
        shared_store,
        "compare",
        item("a", 3, needed=0),
        item("b"),
        item("c", role="gold"),
    )
    assert told == [
        "item 1: a compare round takes 2 responses an item, not 3",
        "item 1: needed is 1 rater or more, not 0",
        "item 3: a gold item needs its answer: best, outcome or ranks",
    ]


def test_a_file_full_of_problems_is_told_in_short(shared_store: Store) -> None:
    told = refused(shared_store, "compare", *(item(f"n{i}", 1) for i in range(25)))
    assert len(told) == 21
    assert told[19].startswith("item 20: ")
    assert told[20] == "... and 5 more"


def test_twenty_problems_are_all_told(shared_store: Store) -> None:
    told = refused(shared_store, "compare", *(item(f"n{i}", 1) for i in range(20)))
    assert len(told) == 20
    assert told[-1].startswith("item 20: ")


@pytest.mark.parametrize("priority", [float("nan"), float("inf"), -float("inf")])
def test_a_priority_has_a_place_in_the_order(shared_store: Store, priority: float) -> None:
    (told,) = refused(shared_store, "compare", item("a", priority=priority))
    assert told == f"item 1: its priority is a finite number, not {priority}"


@pytest.mark.parametrize(
    ("task", "answer", "reason"),
    [
        ("compare", {"ranks": [0, 1]}, "a pair is right by its best or its outcome, not by ranks"),
        ("rank", {"outcome": "tie"}, "a ranking is right by its best or its ranks"),
        ("rank", {"ranks": 3}, "one place for each response, 0 for the best"),
        ("rank", {"ranks": [0, "1"]}, "one place for each response"),
        ("rank", {"ranks": [0, -1]}, "one place for each response"),
        ("rank", {"ranks": [0, 1, 2]}, "one place for each response"),
        ("compare", {"best": -1}, "best is the index of a response, from 0, not -1"),
        ("compare", {"best": "a"}, "best is the index of a response, from 0, not 'a'"),
        ("compare", {"outcome": ["tie"]}, "outcome is tie, both_bad or cannot_compare"),
        ("compare", {"why": "because"}, "needs its answer: best, outcome or ranks"),
        ("compare", {}, "needs its answer: best, outcome or ranks"),
    ],
)
def test_an_answer_that_nobody_could_give_is_refused(
    shared_store: Store, task: Task, answer: dict[str, Any], reason: str
) -> None:
    for role in CHECKS:
        (told,) = refused(shared_store, task, item("a", role=role, answer=answer))
        assert told.startswith("item 1: ")
        assert reason in told


@pytest.mark.parametrize(
    ("outcome", "field"),
    [
        ("tie", "allow_tie"),
        ("both_bad", "allow_both_bad"),
        ("cannot_compare", "allow_cannot_compare"),
    ],
)
def test_an_answer_that_the_round_does_not_offer_is_refused(
    shared_store: Store, outcome: str, field: str
) -> None:
    asks = TaskSchema.model_validate({field: False})
    gold = item("a", role="gold", answer={"outcome": outcome})
    (told,) = refused(shared_store, "compare", gold, schema=asks)
    assert told == (
        f"item 1: answer: this round does not allow {outcome!r}, so nobody can be right"
    )
    other = make_round(shared_store, [gold, item("n")])  # where it is allowed it goes in
    assert list_items(shared_store, other.id, "gold")[0].answer == {"outcome": outcome}


def test_answers_that_fit_go_in_and_come_back(shared_store: Store) -> None:
    new = [
        item("a", 3, role="gold", answer={"best": 2}),
        item("b", 3, role="training", answer={"ranks": [0, 1, 1], "why": "B repeats C."}),
        item("c", 3, role="attention", answer={"ranks": (2, 0, 1)}),
        item("d", 3),
    ]
    found = make_round(shared_store, new, task="rank")
    kept = [list_items(shared_store, found.id, role)[0].answer for role in CHECKS]
    assert kept == [{"best": 2}, {"ranks": [2, 0, 1]}, {"ranks": [0, 1, 1], "why": "B repeats C."}]
    assert found.num_items == 1


def test_an_anchor_or_an_ordinary_item_may_come_with_an_answer(shared_store: Store) -> None:
    found = make_round(shared_store, [item("a", role="anchor", answer={"odd": 1}), item("b")])
    assert list_items(shared_store, found.id, "anchor")[0].answer == {"odd": 1}


def test_a_writing_round_has_no_checks(shared_store: Store) -> None:
    for role in CHECKS:
        (told,) = refused(shared_store, "demonstrate", item("a", 0, role=role))
        assert told == (f"item 1: a demonstrate round has no right answers; leave {role} items out")


def test_the_same_content_in_two_roles_is_one_item_the_first(shared_store: Store) -> None:
    found = make_round(shared_store, [], opened=False)
    gold = item("a", role="gold", answer={"best": 0})
    report = add_items(shared_store, found.id, [gold, item("a")], "system")
    assert (report.added, report.duplicates) == (1, 1)
    assert [one.role for one in list_items(shared_store, found.id, "gold")] == ["gold"]
    assert list_items(shared_store, found.id) == []


def test_an_item_s_name_is_its_content_and_its_round() -> None:
    one = item("a").payload()
    assert item_id("r1", one) == item_id("r1", item("a", priority=3.0, source="x").payload())
    assert len(item_id("r1", one)) == 16
    others = [
        item_id("r2", one),
        item_id("r1", item("b").payload()),
        item_id("r1", item("a", scores=(0.1, 0.2)).payload()),
        item_id("r1", {**one, "completions": one["completions"][::-1]}),
    ]
    assert len({item_id("r1", one), *others}) == 5


def test_scores_are_kept_where_there_are_some(shared_store: Store) -> None:
    pair = (Completion("x", "m"), Completion("y", "n"))
    prompt = Prompt("p", (Message("user", "Hi"),))
    assert "score" not in NewItem(prompt, pair).payload()["completions"][0]
    found = make_round(shared_store, [NewItem(prompt, pair, scores=(None, -0.25))])
    assert list_items(shared_store, found.id)[0].scores == (None, -0.25)
    with pytest.raises(ValueError, match="zip"):
        NewItem(prompt, pair, scores=(1.0,)).payload()


def test_the_calibration_pool_goes_on_where_the_last_file_ended(shared_store: Store) -> None:
    settings = rules(calibration_share=0.2, calibration_overlap=4)
    new = [item(f"n{i}") for i in range(60)]
    at_once = make_round(shared_store, new, settings)
    bits = make_round(shared_store, [], settings, opened=False)
    for start in range(0, 60, 7):
        add_items(shared_store, bits.id, new[start : start + 7], "system")
    for found in (get_round(shared_store, at_once.id), get_round(shared_store, bits.id)):
        kept = list_items(shared_store, found.id, limit=100)
        assert sum(one.calibration for one in kept) == 12  # 4 in every 20, in bits or at once
        assert (found.num_items, found.num_wanted) == (60, 48 + 4 * 12)


@pytest.mark.parametrize(("share", "pool"), [(0.0, 0), (1.0, 20), (0.05, 1), (0.5, 10)])
def test_the_pool_has_its_share_of_twenty(shared_store: Store, share: float, pool: int) -> None:
    settings = rules(calibration_share=share, calibration_overlap=3)
    found = make_round(shared_store, [item(f"n{i}") for i in range(20)], settings)
    kept = list_items(shared_store, found.id)
    assert sum(one.calibration for one in kept) == pool
    assert found.num_wanted == 20 + 2 * pool


def test_the_pool_never_asks_for_fewer_raters_than_the_rest(shared_store: Store) -> None:
    settings = rules(overlap=5, calibration_share=1.0, calibration_overlap=3)
    found = make_round(shared_store, [item("a"), item("b", needed=2)], settings)
    needed = {one.prompt.id: one.needed for one in list_items(shared_store, found.id)}
    assert needed == {"a": 5, "b": 2}  # what an item says itself goes before the settings


def test_checks_are_in_no_pool_and_need_nobody(shared_store: Store) -> None:
    new = [item(f"a{i}", role="anchor") for i in range(20)] + [item("n")]
    found = make_round(shared_store, new, rules(calibration_share=1.0, overlap=2))
    anchors = list_items(shared_store, found.id, "anchor")
    assert not any(one.calibration or one.needed for one in anchors)
    assert (found.num_items, found.num_wanted) == (1, 3)


def test_a_crash_between_two_chunks_is_mended_by_the_same_file(
    shared_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK_ITEMS", 4)
    found = make_round(shared_store, [], opened=False)
    new = [item(f"n{i}") for i in range(10)]
    assert add_items(shared_store, found.id, new[:4], "system").added == 4  # as far as it came
    report = add_items(shared_store, found.id, new, "system")
    assert (report.added, report.duplicates) == (6, 4)
    after = get_round(shared_store, found.id)
    assert (after.num_items, after.num_wanted) == (10, 10)
    table = schema.events
    with shared_store.read() as conn:
        rows = conn.scalars(
            sa.select(table.c.body)
            .where(table.c.project_id == found.project_id, table.c.kind == "items_added")
            .order_by(table.c.id)
        )
        assert ['"num_items":4' in body for body in rows] == [True, True, False]


def test_no_items_are_no_event(shared_store: Store) -> None:
    found = make_round(shared_store, [item("a")])
    report = add_items(shared_store, found.id, [], "system")
    assert (report.added, report.duplicates) == (0, 0)
    assert add_items(shared_store, found.id, [item("a")], "system").added == 0
    assert get_round(shared_store, found.id).num_items == 1


def test_items_within_a_transaction_are_checked_too(shared_store: Store) -> None:
    found = make_round(shared_store, [item("a")])

    def add(*new: NewItem) -> int:
        return shared_store.write(lambda conn: add_within(conn, found.id, new, "system"))

    assert add(item("b"), item("c"), item("b"), item("a")) == 2
    with pytest.raises(DataError, match=r"^a compare round takes 2 responses an item, not 1$"):
        add(item("d"), item("e", 1))
    assert get_round(shared_store, found.id).num_items == 3
    close_round(shared_store, found.id, "system")
    with pytest.raises(StoreError, match="is closed and takes no more items; open it, or make a"):
        add(item("d"))


def test_unknown_rounds_and_items_are_told(shared_store: Store) -> None:
    with pytest.raises(MissingError, match="there is no round 'x'; look it up in the list of"):
        add_items(shared_store, "x", [item("a")], "system")
    with pytest.raises(MissingError, match="there is no item 'x'"):
        get_item(shared_store, "x")
    assert list_items(shared_store, "x") == []
