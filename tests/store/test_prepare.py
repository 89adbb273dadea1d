"""Prompts answered ahead: queued once, made into items, no more than wanted."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from accord.store import assign, generation, items, prepare, rounds
from accord.store.accounts import create_account
from accord.store.database import Store, StoreError
from accord.store.records import Round
from accord.store.schema import events
from accord.store.task import RoundSettings, Task
from accord.store.transcript import Piece
from accord.types import Message, Prompt


def prompts(n: int) -> list[Prompt]:
    return [Prompt(f"p{i}", (Message("user", f"question {i}"),), ("tag",)) for i in range(n)]


def a_round(store: Store, task: Task = "compare", **settings: Any) -> Round:
    project = rounds.create_project(store, "p", "system")
    return rounds.create_round(
        store, project.id, "r", task=task, actor="system", settings=RoundSettings(**settings)
    )


def work(store: Store, n: int = 100, *, same: bool = False) -> int:
    """Answer what a worker would get; how many it got."""

    def write(conn: sa.Connection) -> int:
        taken = generation.claim(conn, "w", n, 60.0)
        pieces = [
            Piece(t.id, k, "same" if same else f"{policy} {k}", final=True, model=policy)
            for t in taken
            for k, policy in enumerate(t.policies)
        ]
        done, _ = generation.record(conn, "w", pieces, 60.0)
        prepare.deliver(conn, done, [])
        return len(taken)

    return store.write(write)


def test_prompts_become_pairs(store: Store) -> None:
    found = a_round(store)
    assert prepare.fill_round(store, found.id, prompts(3), ("one", "two"), source="mine") == 3
    assert prepare.fill_round(store, found.id, prompts(4), ("one", "two")) == 1
    assert work(store) == 4
    made = items.list_items(store, found.id)
    assert sorted(item.prompt.id for item in made) == ["p0", "p1", "p2", "p3"]
    assert made[0].prompt.tags == ("tag",)
    assert [c.model for c in made[0].completions] == ["one", "two"]
    assert {item.source for item in made} == {"mine", "generated"}
    assert prepare.fill_round(store, found.id, prompts(4), ("one", "two")) == 0


def test_a_ranking_has_all_candidates(store: Store) -> None:
    found = a_round(store, "rank", policies=("one", "two"))
    prepare.fill_round(store, found.id, prompts(1), num_candidates=5)
    work(store)
    (item,) = items.list_items(store, found.id)
    assert [c.model for c in item.completions] == ["one", "two", "one", "two", "one"]


def test_a_draft_waits_beside_its_prompt(store: Store) -> None:
    rater = create_account(store, "Ada").id
    found = a_round(store, "demonstrate", policies=("one",), show_draft=True)
    prepare.fill_round(store, found.id, prompts(1))
    work(store)
    rounds.open_round(store, found.id, "system")
    task = assign.next_assignment(store, rater)
    assert task is not None and task.responses == ("one 0",)


def test_only_so_many_are_made_ahead(store: Store) -> None:
    rater = create_account(store, "Ada").id
    found = a_round(store, policies=("one",), calibration_share=0.0)
    prepare.fill_round(store, found.id, prompts(10), ahead=3)
    assert work(store, 2) == 2
    assert work(store) == 1
    assert work(store) == 0
    rounds.open_round(store, found.id, "system")
    assert assign.next_assignment(store, rater) is not None
    assert work(store) == 1


def test_answers_that_are_alike_are_no_pair(store: Store) -> None:
    found = a_round(store, policies=("one",))
    prepare.fill_round(store, found.id, prompts(1))
    work(store, same=True)
    assert items.list_items(store, found.id) == []
    with store.read() as conn:
        kinds = list(conn.scalars(sa.select(events.c.kind)))
    assert kinds[-1] == "generation_failed"


def test_a_round_that_closed_meanwhile_takes_nothing(store: Store) -> None:
    found = a_round(store, policies=("one",))
    prepare.fill_round(store, found.id, prompts(2))
    work(store, 1)
    rounds.open_round(store, found.id, "system")
    rounds.close_round(store, found.id, "system")
    assert work(store) == 1
    assert len(items.list_items(store, found.id)) == 1
    with pytest.raises(StoreError, match="closed"):
        prepare.fill_round(store, found.id, prompts(3))


def test_what_is_given_up_is_told(store: Store) -> None:
    found = a_round(store, policies=("one",))
    prepare.fill_round(store, found.id, prompts(1))

    def give_up(conn: sa.Connection) -> None:
        (taken,) = generation.claim(conn, "w", 1, 60.0)
        generation.fail(conn, "w", taken.id, "out of memory", again=False, max_attempts=3)
        prepare.deliver(conn, [], [taken.id])

    store.write(give_up)
    with store.read() as conn:
        body = conn.scalars(
            sa.select(events.c.body).where(events.c.kind == "generation_failed")
        ).one()
    assert "out of memory" in body and '"p0"' in body


def test_rounds_that_cannot_be_filled(store: Store) -> None:
    found = a_round(store)
    with pytest.raises(StoreError, match="no policy"):
        prepare.fill_round(store, found.id, prompts(1))
    talk = rounds.create_round(store, found.project_id, "c", task="chat", actor="system")
    with pytest.raises(StoreError, match="chat round"):
        prepare.fill_round(store, talk.id, prompts(1), ("one",))
