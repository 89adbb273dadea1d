"""What the store tells: figures of a round, content that comes back whole, names that miss."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest

from accord.errors import DataError
from accord.store import records
from accord.store.database import Store, StoreError
from accord.store.records import MissingError, NewItem, Round, item_id, missing, parse_payload
from accord.store.rounds import (
    close_round,
    create_project,
    create_round,
    get_guideline,
    get_round,
    list_projects,
    list_rounds,
    open_round,
    set_guideline,
    use_guideline,
)
from accord.store.task import RoundSettings, TaskSchema
from accord.store.task_files import load_schema
from accord.types import Completion, Message, Prompt
from tests.store.fill import freeze, item, make_round, rules

ROUND = Round(
    id="r",
    project_id="p",
    name="one",
    task="compare",
    purpose="train",
    state="open",
    guideline=0,
    schema=TaskSchema(),
    settings=RoundSettings(),
    budget=None,
    num_items=10,
    num_wanted=30,
    num_judgments=12,
    created_at=0.0,
    opened_at=None,
    closed_at=None,
)


@pytest.mark.parametrize(
    ("budget", "judgments", "left"),
    [
        (None, 0, 30),
        (None, 12, 18),
        (None, 31, 0),  # late work may give one label more than planned
        (20, 12, 8),
        (12, 12, 0),
        (5, 12, 0),
        (100, 12, 18),  # a budget above what the items need asks for no more
    ],
)
def test_what_is_left_of_a_round(budget: int | None, judgments: int, left: int) -> None:
    assert replace(ROUND, budget=budget, num_judgments=judgments).num_left == left


def test_nouns_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        ROUND.name = "other"  # type: ignore[misc]


def test_content_comes_back_whole() -> None:
    prompt = Prompt("p", (Message("system", "Be kind."), Message("user", "Hi")), ("en", "short"))
    pair = (Completion("one", "m", finished=False), Completion("", "n"))
    payload = NewItem(prompt, pair, scores=(0.0, None)).payload()
    assert parse_payload(payload) == (prompt, pair, (0.0, None))  # a score of 0 is a score


def test_content_without_tags_is_read_too() -> None:
    payload = {"prompt": {"id": "p", "messages": []}, "completions": []}
    assert parse_payload(payload) == (Prompt("p", ()), (), ())


def test_the_order_of_keys_makes_no_other_item() -> None:
    payload = item("a").payload()
    turned = dict(reversed(payload.items()))
    assert list(turned) != list(payload)
    assert item_id("r", turned) == item_id("r", payload)


@pytest.mark.parametrize("what", ["round", "item", "assignment", "guideline version"])
def test_what_is_missing_says_where_to_look(what: str) -> None:
    error = missing(what, "x")
    assert isinstance(error, MissingError)
    assert isinstance(error, DataError)
    assert str(error) == f"there is no {what} 'x'; look it up in the list of {what}s"


def test_settings_and_schema_of_rounds_are_read_once(shared_store: Store) -> None:
    found = make_round(shared_store, [item("a")], rules(seed=41))
    before = records._settings.cache_info().misses
    assert get_round(shared_store, found.id).settings is get_round(shared_store, found.id).settings
    assert records._settings.cache_info().misses == before


def test_a_round_keeps_its_own_schema_and_settings(shared_store: Store) -> None:
    asks, settings = load_schema("instructgpt"), rules(overlap=3, policies=("a", "b"))
    found = make_round(shared_store, [], settings, task="rank", opened=False, schema=asks)
    assert (found.schema, found.settings) == (asks, settings)


def test_rounds_of_one_project_in_one_state(shared_store: Store) -> None:
    project = create_project(shared_store, "states", "system").id
    made = [
        create_round(shared_store, project, name, task="chat", actor="system")
        for name in ("one", "two", "three")
    ]
    open_round(shared_store, made[0].id, "system")
    open_round(shared_store, made[2].id, "system")
    close_round(shared_store, made[2].id, "system")

    def names(state: str | None = None) -> list[str]:
        return [found.name for found in list_rounds(shared_store, project, state)]

    assert names() == ["one", "two", "three"]  # oldest first
    assert [names(state) for state in ("draft", "open", "closed", "frozen")] == [
        ["two"],
        ["one"],
        ["three"],
        [],
    ]
    assert list_rounds(shared_store, "no such project") == []


def test_a_chat_that_would_ask_for_labels_is_refused_when_it_is_made(shared_store: Store) -> None:
    project = create_project(shared_store, "labels in a chat", "system").id
    for preset in ("instructgpt", "stiennon"):
        with pytest.raises(DataError, match="without response_labels, such as hh"):
            create_round(
                shared_store, project, "r", task="chat", actor="system", schema=load_schema(preset)
            )
    hh = load_schema("hh")
    made = create_round(shared_store, project, "r", task="chat", actor="system", schema=hh)
    assert made.schema == hh


def test_a_chat_round_opens_without_items(shared_store: Store) -> None:
    found = make_round(shared_store, [], task="chat")
    assert (found.state, found.num_left) == ("open", 0)


def test_projects_are_listed_by_name_with_their_newest_guideline(shared_store: Store) -> None:
    second = create_project(shared_store, "Zz listed", "system")
    first = create_project(shared_store, "Za listed", "system")
    set_guideline(shared_store, second.id, "One.", "system")
    set_guideline(shared_store, second.id, "Two.", "system")
    mine = [p for p in list_projects(shared_store) if p.id in (first.id, second.id)]
    assert mine == [first, replace(second, guideline=2)]


def test_a_text_that_returns_is_a_new_version(shared_store: Store) -> None:
    project = create_project(shared_store, "guideline", "system").id
    versions = [set_guideline(shared_store, project, t, "system") for t in ("A.", "B.", "B.", "A.")]
    assert versions == [1, 2, 2, 3]  # only the newest is compared
    assert get_guideline(shared_store, project, 3).text == "A."


def test_a_round_may_start_with_an_older_guideline_or_none(shared_store: Store) -> None:
    project = create_project(shared_store, "older", "system").id
    early = create_round(shared_store, project, "early", task="chat", actor="system")
    for text in ("One.", "Two."):
        set_guideline(shared_store, project, text, "system")
    older = create_round(shared_store, project, "old", task="chat", actor="system", guideline=1)
    newest = create_round(shared_store, project, "new", task="chat", actor="system")
    assert [found.guideline for found in (early, older, newest)] == [0, 1, 2]
    with pytest.raises(MissingError, match=f"no guideline version '0 of project {project}'"):
        use_guideline(shared_store, newest.id, 0, "system")
    with pytest.raises(MissingError, match="no round 'x'"):
        use_guideline(shared_store, "x", 1, "system")


@pytest.mark.parametrize("name", ["", "   ", "tab\tinside", "line\nbreak", "x" * 201])
def test_a_name_that_cannot_be_shown_is_refused(shared_store: Store, name: str) -> None:
    with pytest.raises(DataError, match="a name is 1 to 200 printable characters, not "):
        create_project(shared_store, name, "system")


def test_two_projects_may_each_have_a_round_of_one_name(shared_store: Store) -> None:
    one, two = (create_project(shared_store, f"same {i}", "system").id for i in range(2))
    for project in (one, two):
        create_round(shared_store, project, "round", task="chat", actor="system")
    with pytest.raises(DataError, match="has a round 'round' already; choose another name"):
        create_round(shared_store, two, "round", task="rank", actor="system")


def test_a_frozen_round_opens_and_closes_no_more(shared_store: Store) -> None:
    found = make_round(shared_store, [item("a")])
    freeze(shared_store, found.id)
    with pytest.raises(StoreError, match="is frozen; it must be draft or closed for that"):
        open_round(shared_store, found.id, "system")
    with pytest.raises(StoreError, match="is frozen; it must be open for that"):
        close_round(shared_store, found.id, "system")


def test_closing_twice_changes_nothing(shared_store: Store) -> None:
    found = make_round(shared_store, [item("a")])
    closed = close_round(shared_store, found.id, "system")
    assert closed.closed_at is not None
    assert close_round(shared_store, found.id, "system") == closed


def test_a_budget_below_one_says_how_to_have_none(shared_store: Store) -> None:
    with pytest.raises(DataError, match=r"1 judgment or more, not -3; leave it out for no limit"):
        make_round(shared_store, [item("a")], budget=-3)
