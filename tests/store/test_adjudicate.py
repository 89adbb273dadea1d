"""Where raters differ: more raters once, then one case, one adjudicator, one word that stands."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from accord.errors import DataError
from accord.store import adjudicate, assign, events, schema, work
from accord.store.adjudicate import flag, note, queue, resolve
from accord.store.assign import next_assignment, release, skip
from accord.store.database import Store, StoreError
from accord.store.judgments import submit, undo
from accord.store.records import MissingError, Round
from accord.store.rounds import get_item, get_round, list_items, set_guideline, use_guideline
from tests.store.fill import PLAIN, ask_for, freeze, item, make_round, prefer, rater, rules


def disputed(store: Store, *sides: int, strength: int = 3, **changes: Any) -> Round:
    """A round of one item, judged by one rater a side as far as it asks for raters."""
    found = make_round(store, [item("a")], rules(**{"overlap": 2, "escalate_spread": 2, **changes}))
    for side in sides:
        who = rater(store)
        task = ask_for(store, who, found.id)
        submit(store, who, task.id, prefer(task, side, strength), task.id)
    return get_round(store, found.id)


def the_item(store: Store, found: Round) -> str:
    """The only item of a round."""
    (one,) = list_items(store, found.id)
    return one.id


def kinds(store: Store, found: Round) -> list[str]:
    """The kinds of a project's events that are about differing raters."""
    table = schema.events
    about = ("escalated", "adjudication_opened", "adjudicated", "adjudication_reopened")
    query = sa.select(table.c.kind).where(
        table.c.project_id == found.project_id, table.c.kind.in_(about)
    )
    with store.read() as conn:
        return list(conn.scalars(query.order_by(table.c.id)))


def test_without_a_limit_nobody_is_asked_again(shared_store: Store) -> None:
    found = disputed(shared_store, 0, 1, escalate_spread=None, strength=4)
    assert (found.num_wanted, found.num_left) == (2, 0)
    assert kinds(shared_store, found) == []


def test_a_spread_at_the_limit_is_no_dispute(shared_store: Store) -> None:
    found = disputed(shared_store, 0, 1, strength=1)  # +1 and -1: two apart
    assert (found.num_wanted, kinds(shared_store, found)) == (2, [])
    wide = disputed(shared_store, 0, 1, strength=2)
    assert (wide.num_wanted, kinds(shared_store, wide)) == (4, ["escalated"])


def test_nothing_is_asked_before_all_raters_have_spoken(shared_store: Store) -> None:
    found = disputed(shared_store, 0, 1, overlap=3, strength=4)
    assert (found.num_wanted, kinds(shared_store, found)) == (3, [])


def test_more_raters_are_asked_once_and_the_round_wants_them(shared_store: Store) -> None:
    found = disputed(shared_store, 0, 1, 0, escalate_raters=2)
    kept = get_item(shared_store, the_item(shared_store, found))
    assert (kept.needed, kept.done, found.num_left) == (4, 3, 1)
    assert kinds(shared_store, found) == ["escalated"]
    assert queue(shared_store, found.id) == []
    after = disputed(shared_store, 0, 1, 0, 0, escalate_raters=2)
    assert kinds(shared_store, after) == ["escalated", "adjudication_opened"]
    (case,) = queue(shared_store, after.id)
    assert (case.state, case.reason) == ("open", "raters are 6 steps apart")
    assert (case.outcome, case.resolved_by, case.notes) == (None, None, ())


def test_a_changed_mind_opens_no_second_case(shared_store: Store) -> None:
    found = make_round(
        shared_store, [item("a")], rules(overlap=1, escalate_spread=1, escalate_raters=1)
    )
    one, two = rater(shared_store), rater(shared_store)
    first = ask_for(shared_store, one, found.id)
    submit(shared_store, one, first.id, prefer(first, 0, 4), "k1")
    # One rater cannot differ: nothing is asked.
    assert next_assignment(shared_store, two, found.id) is None
    assert kinds(shared_store, found) == []


def test_who_comes_round_after_the_escalation_leaves_nothing_to_settle(
    shared_store: Store,
) -> None:
    found = make_round(
        shared_store, [item("a")], rules(overlap=2, escalate_spread=2, escalate_raters=1)
    )
    tasks = []
    for side in (0, 1):
        who = rater(shared_store)
        task = ask_for(shared_store, who, found.id)
        submit(shared_store, who, task.id, prefer(task, side, 4), task.id)
        tasks.append((who, task))
    who, task = tasks[1]
    submit(shared_store, who, task.id, prefer(task, 0, 3), "on second thoughts")
    third = rater(shared_store)
    last = ask_for(shared_store, third, found.id)
    submit(shared_store, third, last.id, prefer(last, 0, 4), last.id)
    assert kinds(shared_store, found) == ["escalated"]
    assert queue(shared_store, found.id) == []


def test_rankings_differ_by_the_places_of_one_response(shared_store: Store) -> None:
    found = make_round(
        shared_store,
        [item("a", 3)],
        rules(overlap=2, escalate_spread=1, escalate_raters=1),
        task="rank",
    )
    for places in ((0, 1, 2), (2, 1, 0)):
        who = rater(shared_store)
        task = ask_for(shared_store, who, found.id)
        ranks = [places[index] for index in task.permutation]
        submit(shared_store, who, task.id, {"ranks": ranks}, task.id)
    assert kinds(shared_store, found) == ["escalated"]
    assert get_round(shared_store, found.id).num_left == 1


def test_only_an_adjudicator_is_given_a_case(shared_store: Store) -> None:
    found = make_round(shared_store, [item("a"), item("b")])
    flag(shared_store, list_items(shared_store, found.id)[0].id, "odd", "lead")
    for role in ("rater", "researcher", "owner"):
        who = rater(shared_store, role)
        task = ask_for(shared_store, who, found.id)
        assert task.reason == "random"
        release(shared_store, who, task.id)
    assert ask_for(shared_store, rater(shared_store, "adjudicator"), found.id).reason == (
        "adjudication"
    )


def test_nobody_settles_an_item_that_they_judged_themselves(shared_store: Store) -> None:
    found = make_round(shared_store, [item("a")])
    who = rater(shared_store, "adjudicator")
    task = ask_for(shared_store, who, found.id)
    assert task.reason == "random"  # with nothing to settle an adjudicator is a rater
    submit(shared_store, who, task.id, prefer(task, 0), "k")
    flag(shared_store, task.item_id, "odd", "lead")
    assert next_assignment(shared_store, who, found.id) is None
    other = ask_for(shared_store, rater(shared_store, "adjudicator"), found.id)
    assert (other.reason, other.item_id) == ("adjudication", task.item_id)


def test_cases_come_oldest_first_and_each_to_one_person(shared_store: Store) -> None:
    found = make_round(shared_store, [item(f"n{i}") for i in range(3)])
    names = [one.id for one in list_items(shared_store, found.id)]
    for name in names[:2]:
        flag(shared_store, name, "odd", "lead")
    one, two, three = (rater(shared_store, "adjudicator") for _ in range(3))
    assert ask_for(shared_store, one, found.id).item_id == names[0]
    assert ask_for(shared_store, two, found.id).item_id == names[1]
    assert ask_for(shared_store, three, found.id).reason == "random"


def test_a_case_given_back_goes_to_the_next_adjudicator(shared_store: Store) -> None:
    found = make_round(shared_store, [item("a")])
    name = the_item(shared_store, found)
    flag(shared_store, name, "odd", "lead")
    one, two = rater(shared_store, "adjudicator"), rater(shared_store, "adjudicator")
    first = ask_for(shared_store, one, found.id)
    skip(shared_store, one, first.id, "I wrote this one", "s")
    second = ask_for(shared_store, two, found.id)
    assert (second.reason, second.item_id) == ("adjudication", name)
    assert get_item(shared_store, name).taken == 0  # no place of a rater is used up


def test_a_lapsed_case_stays_with_whoever_took_it_over(
    shared_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = make_round(shared_store, [item("a")], rules(overlap=1))
    flag(shared_store, the_item(shared_store, found), "odd", "lead")
    one, two = rater(shared_store, "adjudicator"), rater(shared_store, "adjudicator")
    first = ask_for(shared_store, one, found.id)
    for module in (assign, work):
        monkeypatch.setattr(module, "now", lambda: first.lease_expires + 1)
    second = ask_for(shared_store, two, found.id)
    assert second.reason == "adjudication"
    assert next_assignment(shared_store, one, found.id) is None  # in other hands
    release(shared_store, two, second.id)
    assert ask_for(shared_store, one, found.id).id == first.id  # and free again


def test_a_word_is_no_label_of_a_rater(shared_store: Store) -> None:
    found = disputed(shared_store, 0, 1, 0, escalate_raters=1)
    (case,) = queue(shared_store, found.id)
    judge = rater(shared_store, "adjudicator")
    task = ask_for(shared_store, judge, found.id)
    submit(shared_store, judge, task.id, prefer(task, 1, 4), "word")
    kept, after = get_item(shared_store, case.item_id), get_round(shared_store, found.id)
    assert (kept.done, kept.taken, after.num_judgments) == (3, 3, 3)
    settled = adjudicate.get(shared_store, case.id)
    assert (settled.state, settled.resolved_by) == ("resolved", judge)
    assert settled.outcome is not None
    assert (settled.outcome["best"], settled.outcome["strength"]) == (1, 4)
    assert events.verify(shared_store) == []


def test_an_adjudicator_may_think_again(shared_store: Store) -> None:
    found = make_round(shared_store, [item("a")])
    case = flag(shared_store, the_item(shared_store, found), "odd", "lead")
    judge = rater(shared_store, "adjudicator")
    task = ask_for(shared_store, judge, found.id)
    submit(shared_store, judge, task.id, prefer(task, 0), "k1")
    submit(shared_store, judge, task.id, {"outcome": "both_bad"}, "k2")
    assert adjudicate.get(shared_store, case.id).outcome["outcome"] == "both_bad"  # type: ignore[index]
    undo(shared_store, judge, "u")
    again = adjudicate.get(shared_store, case.id)
    assert (again.state, again.outcome, again.resolved_by) == ("open", None, None)
    assert kinds(shared_store, found) == [
        "adjudication_opened",
        "adjudicated",
        "adjudicated",
        "adjudication_reopened",
    ]


def test_a_later_word_of_a_lead_replaces_the_first(shared_store: Store) -> None:
    found = make_round(shared_store, [item("a")])
    case = flag(shared_store, the_item(shared_store, found), "odd", "lead")
    resolve(shared_store, case.id, {"outcome": "tie"}, "lead")
    last = resolve(shared_store, case.id, {"outcome": "both_bad"}, "other-lead")
    assert (last.outcome, last.resolved_by) == ({"outcome": "both_bad"}, "other-lead")
    assert [row.id for row in queue(shared_store, found.id, "resolved")] == [case.id]
    judge = rater(shared_store, "adjudicator")
    assert ask_for(shared_store, judge, found.id).reason == "random"  # it is settled


def test_a_frozen_round_keeps_its_words_and_its_guideline(shared_store: Store) -> None:
    found = make_round(shared_store, [item("a")])
    case = flag(shared_store, the_item(shared_store, found), "odd", "lead")
    version = set_guideline(shared_store, found.project_id, "Be kind.", "lead")
    freeze(shared_store, found.id)
    before = kinds(shared_store, found)
    with pytest.raises(StoreError, match="is frozen"):
        resolve(shared_store, case.id, {"outcome": "tie"}, "lead")
    with pytest.raises(StoreError, match="is frozen"):
        use_guideline(shared_store, found.id, version, "lead")
    assert adjudicate.get(shared_store, case.id) == case
    assert get_round(shared_store, found.id).guideline == found.guideline
    assert kinds(shared_store, found) == before


def test_the_discussion_keeps_its_order_and_its_people(shared_store: Store) -> None:
    found = make_round(shared_store, [item("a")])
    case = flag(shared_store, the_item(shared_store, found), "r" * 300, "lead")
    assert case.reason == "r" * 200
    note(shared_store, case.id, "B makes it up.", "one")
    noted = note(shared_store, case.id, "Only the date.", "two")
    assert [(row["by"], row["text"]) for row in noted.notes] == [
        ("one", "B makes it up."),
        ("two", "Only the date."),
    ]
    assert noted.notes[0]["at"] <= noted.notes[1]["at"]
    assert adjudicate.get(shared_store, case.id) == noted


def test_unknown_names_are_told_with_where_to_look(shared_store: Store) -> None:
    for act in (
        lambda: adjudicate.get(shared_store, "x"),
        lambda: note(shared_store, "x", "words", "lead"),
        lambda: resolve(shared_store, "x", {"outcome": "tie"}, "lead"),
    ):
        with pytest.raises(MissingError, match="there is no adjudication 'x'; look it up in"):
            act()
    with pytest.raises(MissingError, match="there is no item 'x'; look it up in the list of items"):
        flag(shared_store, "x", "odd", "lead")
    with pytest.raises(DataError, match="a note needs some words"):
        note(shared_store, "x", "\n", "lead")
    assert queue(shared_store, "no such round") == []


def test_a_flag_leaves_the_raters_places_as_they_were(shared_store: Store) -> None:
    found = make_round(shared_store, [item("a")], PLAIN)
    name = the_item(shared_store, found)
    flag(shared_store, name, "odd", "lead")
    assert ask_for(shared_store, rater(shared_store), found.id).item_id == name
    assert get_round(shared_store, found.id).num_wanted == 1


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([{"outcome": "cannot_compare"}] * 2, 0),
        ([{"outcome": "both_bad"}, {"outcome": "tie"}], 0),
        ([{"outcome": "both_bad"}, {"outcome": "best", "best": 0, "strength": 4}], 4),
        ([{"completion": "text"}, {"completion": "other"}], 0),  # writers do not differ in steps
        ([{"ranks": [0, 0, 0]}, {"ranks": [0, 1, 1]}], 1),
        ([{"ranks": [0, 1, 2]}], 0),
        ([{"outcome": "best", "best": 1, "strength": None}, {"outcome": "tie"}], 1),
    ],
)
def test_the_spread_of_odd_sets_of_judgments(outcomes: list[dict[str, Any]], expected: int) -> None:
    assert adjudicate.spread(outcomes) == expected
