"""Projects, guidelines, rounds and items: versions, states, content as a name, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from accord.errors import DataError
from accord.store import draws, events, schema
from accord.store.database import Store, StoreError
from accord.store.items import CHUNK_ITEMS
from accord.store.rounds import (
    NewItem,
    add_items,
    close_round,
    create_project,
    create_round,
    get_guideline,
    get_item,
    get_round,
    list_items,
    list_projects,
    list_rounds,
    open_round,
    set_guideline,
    use_guideline,
)
from accord.store.settings import RoundSettings
from accord.store.task import Task
from accord.types import Completion, Message, Prompt
from tests.store.fill import PLAIN, item, make_round


def kinds(store: Store) -> list[str]:
    """The kinds of all events, in order."""
    with store.read() as conn:
        return list(conn.scalars(sa.select(schema.events.c.kind).order_by(schema.events.c.id)))


def test_a_round_from_draft_to_closed_is_in_the_log(store: Store) -> None:
    project = create_project(store, "Kind answers", "system")
    assert list_projects(store) == [project]
    assert set_guideline(store, project.id, "Be kind.", "system") == 1
    made = create_round(store, project.id, "one", task="compare", actor="system", settings=PLAIN)
    assert (made.state, made.guideline, made.num_left) == ("draft", 1, 0)
    add_items(store, made.id, [item("a"), item("b")], "system")
    opened = open_round(store, made.id, "system")
    assert (opened.state, opened.num_items, opened.num_left) == ("open", 2, 2)
    assert open_round(store, made.id, "system") == opened  # again changes nothing
    closed = close_round(store, made.id, "system")
    assert (closed.state, closed.opened_at) == ("closed", opened.opened_at)
    assert list_rounds(store, project.id, "closed") == [closed] == list_rounds(store)
    assert list_rounds(store, state="open") == []
    assert open_round(store, made.id, "system").state == "open"
    assert kinds(store) == [
        "project_created",
        "guideline_set",
        "round_created",
        "items_added",
        "round_opened",
        "round_closed",
        "round_opened",
    ]
    assert events.verify(store) == []


def test_guidelines_are_versions_and_a_round_keeps_its_own(sqlite_store: Store) -> None:
    store = sqlite_store
    project = create_project(store, "p", "system").id
    assert set_guideline(store, project, "One.", "system") == 1
    assert set_guideline(store, project, "One.", "system") == 1
    found = create_round(store, project, "r", task="rank", actor="system")
    assert set_guideline(store, project, "Two.", "system") == 2
    assert get_round(store, found.id).guideline == 1
    assert use_guideline(store, found.id, 2, "system").guideline == 2
    assert get_guideline(store, project, 1).text == "One."
    with pytest.raises(DataError, match="guideline version"):
        use_guideline(store, found.id, 3, "system")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"name": ""}, "a name is"),
        ({"name": "one"}, "already"),
        ({"name": "x" * 201}, "a name is"),
        ({"task": "rank", "purpose": "head_to_head"}, "compares pairs"),
        ({"budget": 0}, "budget"),
        ({"guideline": 7}, "guideline version"),
    ],
)
def test_a_round_that_cannot_be_is_refused(
    sqlite_store: Store, fields: dict[str, Any], reason: str
) -> None:
    project = create_project(sqlite_store, "p", "system").id
    create_round(sqlite_store, project, "one", task="compare", actor="system")
    with pytest.raises(DataError, match=reason):
        create_round(
            sqlite_store, project, **{"name": "two", "task": "compare", "actor": "x", **fields}
        )
    assert len(list_rounds(sqlite_store)) == 1


def test_unknown_ids_and_taken_names_are_told(sqlite_store: Store) -> None:
    create_project(sqlite_store, "p", "system")
    with pytest.raises(DataError, match="already"):
        create_project(sqlite_store, "p", "system")
    for act in (
        lambda: get_round(sqlite_store, "x"),
        lambda: open_round(sqlite_store, "x", "system"),
        lambda: get_item(sqlite_store, "x"),
        lambda: set_guideline(sqlite_store, "x", "text", "system"),
        lambda: create_round(sqlite_store, "x", "r", task="rank", actor="system"),
    ):
        with pytest.raises(DataError, match="there is no"):
            act()


def test_a_round_opens_with_something_to_do(sqlite_store: Store) -> None:
    empty = make_round(sqlite_store, [], opened=False)
    with pytest.raises(DataError, match="no items yet"):
        open_round(sqlite_store, empty.id, "system")
    training = PLAIN.model_copy(update={"training_items": 2})
    one = item("t", role="training", answer={"best": 0})
    short = make_round(sqlite_store, [item("a"), one], training, opened=False)
    with pytest.raises(DataError, match="asks for 2 training items and has 1"):
        open_round(sqlite_store, short.id, "system")
    with pytest.raises(StoreError, match="must be open"):
        close_round(sqlite_store, short.id, "system")


def test_the_same_content_is_the_same_item(store: Store) -> None:
    found = make_round(store, [], opened=False)
    new = [item(f"n{i}") for i in range(CHUNK_ITEMS + 5)]
    first = add_items(store, found.id, [*new, *new[:3]], "system")
    assert (first.added, first.duplicates) == (CHUNK_ITEMS + 5, 3)
    again = add_items(store, found.id, [*new, item("other")], "system")
    assert (again.added, again.duplicates) == (1, CHUNK_ITEMS + 5)
    assert get_round(store, found.id).num_items == CHUNK_ITEMS + 6
    other = make_round(store, [], opened=False)
    assert add_items(store, other.id, new[:1], "system").added == 1  # another round, another item


def test_an_item_comes_back_as_it_went_in(sqlite_store: Store) -> None:
    prompt = Prompt("p", (Message("system", "Be kind."), Message("user", "Hi\0 there")), ("tag",))
    pair = (Completion("one", "m1", False), Completion("two", "m2"))
    new = NewItem(prompt, pair, priority=2.5, source="file.jsonl", scores=(0.5, None), needed=4)
    found = make_round(sqlite_store, [new])
    (kept,) = list_items(sqlite_store, found.id)
    assert get_item(sqlite_store, kept.id) == kept
    assert (kept.prompt, kept.completions, kept.scores) == (prompt, pair, (0.5, None))
    assert (kept.needed, kept.priority, kept.source, kept.taken) == (4, 2.5, "file.jsonl", 0)
    assert get_round(sqlite_store, found.id).num_wanted == 4


def test_pages_of_items(sqlite_store: Store) -> None:
    found = make_round(sqlite_store, [item(f"n{i}") for i in range(5)])
    first = list_items(sqlite_store, found.id, limit=3)
    rest = list_items(sqlite_store, found.id, after=first[-1].id, limit=3)
    assert len({one.id for one in first + rest}) == 5
    assert list_items(sqlite_store, found.id, "gold") == []


GOLD: dict[str, Any] = {"role": "gold"}


@pytest.mark.parametrize(
    ("task", "new", "reason"),
    [
        ("compare", item("x", 3), "takes 2 responses an item, not 3"),
        ("rank", item("x", 1), "takes 2 to 9 responses"),
        ("rank", item("x", 10), "takes 2 to 9 responses"),
        ("demonstrate", item("x", 2), "takes 0 to 1"),
        ("compare", NewItem(Prompt("x", ()), item("x").completions), "no messages"),
        ("compare", item("x", needed=0), "1 rater or more"),
        ("compare", item("x", scores=(1.0,)), "1 scores for 2 responses"),
        ("compare", item("x", **GOLD), "needs its answer"),
        ("compare", item("x", answer={"best": 2}, **GOLD), "index of a response"),
        ("compare", item("x", answer={"outcome": "a"}, **GOLD), "tie, both_bad"),
        ("compare", item("x", answer={"best": 0, "outcome": "tie"}, **GOLD), "needs its answer"),
        ("rank", item("x", 3, answer={"ranks": [0, 1]}, **GOLD), "one place for each"),
        ("demonstrate", item("x", 0, answer={"best": 0}, **GOLD), "no right answers"),
    ],
)
def test_an_item_that_does_not_fit_keeps_all_of_them_out(
    sqlite_store: Store, task: Task, new: NewItem, reason: str
) -> None:
    found = make_round(sqlite_store, [], task=task, opened=False)
    good = item("good", 2 if task != "demonstrate" else 0)
    with pytest.raises(DataError, match=reason) as caught:
        add_items(sqlite_store, found.id, [good, new], "system")
    assert str(caught.value).startswith("item 2: ")
    assert list_items(sqlite_store, found.id) == []


def test_a_head_to_head_needs_two_models(sqlite_store: Store) -> None:
    project = create_project(sqlite_store, "p", "system").id
    found = create_round(
        sqlite_store, project, "r", task="compare", actor="system", purpose="head_to_head"
    )
    same = NewItem(item("x").prompt, (Completion("a", "m"), Completion("b", "m")))
    with pytest.raises(DataError, match="two named models"):
        add_items(sqlite_store, found.id, [same], "system")
    assert add_items(sqlite_store, found.id, [item("y")], "system").added == 1


def test_a_closed_round_takes_no_items(sqlite_store: Store) -> None:
    found = make_round(sqlite_store, [item("a")])
    close_round(sqlite_store, found.id, "system")
    with pytest.raises(StoreError, match="takes no more items"):
        add_items(sqlite_store, found.id, [item("b")], "system")


def test_the_calibration_pool_has_its_share_and_three_raters(sqlite_store: Store) -> None:
    rules = RoundSettings(overlap=1, calibration_share=0.15, calibration_overlap=3)
    found = make_round(sqlite_store, [item(f"n{i}") for i in range(200)], rules)
    kept = list_items(sqlite_store, found.id, limit=1000)
    pool = [one for one in kept if one.calibration]
    assert len(pool) == 30  # exactly, in every 20
    assert {one.needed for one in pool} == {3}
    assert {one.needed for one in kept if not one.calibration} == {1}
    assert found.num_wanted == 200 + 2 * 30


def test_the_mix_holds_in_each_batch_and_differs_between_raters() -> None:
    rules = RoundSettings(gold_share=0.1, attention_share=0.02, anchor_share=0.06, batch_size=50)
    orders = []
    for rater in ("one", "two"):
        drawn = [draws.role_of_draw(rules, "round", rater, i) for i in range(200)]
        for start in range(0, 200, 50):
            batch = drawn[start : start + 50]
            assert [batch.count(r) for r in ("gold", "attention", "anchor")] == [5, 1, 3]
        orders.append(drawn)
    assert orders[0] != orders[1]
    assert orders[0][:50] != orders[0][50:100]


def test_shares_below_one_in_a_batch_hold_on_average() -> None:
    rules = RoundSettings(gold_share=0.05, attention_share=0, anchor_share=0, batch_size=10)
    drawn = [draws.role_of_draw(rules, "round", "rater", i) for i in range(4000)]
    assert drawn.count("gold") / 4000 == pytest.approx(0.05, abs=0.011)  # 3 sd of 400 batches


def test_sides_are_fair_and_fixed() -> None:
    names = [f"item{i}" for i in range(2000)]
    sides = [draws.permutation(2, 0, "sides", "rater", name) for name in names]
    assert sides == [draws.permutation(2, 0, "sides", "rater", name) for name in names]
    assert sides.count((0, 1)) / 2000 == pytest.approx(0.5, abs=0.034)  # 3 sd
    orders = {draws.permutation(3, seed) for seed in range(100)}
    assert len(orders) == 6
