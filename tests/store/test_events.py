"""The log: complete, in order, and loud about any change made behind its back."""

from __future__ import annotations

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from accord.errors import DataError
from accord.store import assign, events, judgments, schema
from accord.store.database import Store, open_store
from accord.store.events import Event
from tests.store.fill import item, make_round, rater

LOG = schema.events


def add(store: Store, body: dict[str, object], project: str = "p", key: str | None = None) -> Event:
    return store.write(lambda conn: events.append(conn, project, "note", "me", body, key=key))


def tamper(store: Store, statement: str) -> None:
    """What a person with a database shell could do."""

    def change(conn: Connection) -> None:
        assert conn.exec_driver_sql(statement).rowcount == 1

    store.write(change)


def test_events_come_back_in_order_whole(store: Store) -> None:
    bodies = [
        {"assignment": "t", "text": "\x00 ‮ 😀"},
        {"assignment": "t", "deep": {"a": [None, 1.5]}},
    ]
    written = [add(store, body) for body in bodies]
    add(store, {"assignment": "other"})
    found = events.history(store, "t")
    assert [event.body for event in found] == bodies
    assert [event.seq for event in found] == [1, 2]
    assert [event.hash for event in found] == [event.hash for event in written]
    assert all(event.new for event in written)
    assert not any(event.new for event in found)


def test_each_hash_covers_the_one_before_by_hand(store: Store) -> None:
    """Recomputed here from what is documented, on the rows as they lie in the database."""
    for n in range(3):
        add(store, {"z": n, "a": "b"}, key=f"k{n}")
    with store.read() as conn:
        rows = conn.execute(sa.select(LOG).order_by(LOG.c.id)).all()
    head = ""
    for n, row in enumerate(rows):
        assert row.body == f'{{"a":"b","z":{n}}}'
        parts = [head, "p", n + 1, "note", "me", f"k{n}", row.at, row.body]
        head = hashlib.sha256(orjson.dumps(parts)).hexdigest()
        assert row.hash == head


def test_the_same_key_again_changes_nothing(store: Store) -> None:
    first, again = add(store, {"n": 1}, key="k"), add(store, {"n": 2}, key="k")
    assert (first.new, again.new) == (True, False)
    assert (again.id, again.body, again.hash) == (first.id, {"n": 1}, first.hash)
    other = store.write(lambda conn: events.append(conn, "p", "note", "you", {}, key="k"))
    assert other.new, "a key belongs to its actor"
    with store.read() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(LOG)).scalar_one() == 2


def test_the_same_key_from_many_threads_is_one_event(store: Store) -> None:
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda n: add(store, {"n": n}, key="k"), range(32)))
    assert len({event.id for event in found}) == 1
    assert sum(event.new for event in found) == 1


def test_two_servers_share_a_chain(postgres_url: str) -> None:
    with open_store(postgres_url) as one, open_store(postgres_url) as two:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: add((one, two)[n % 2], {"n": n}), range(60)))
        assert events.verify(one) == []


@pytest.mark.parametrize("key", ["", "x" * 81, "a\nb", "a\x00"])
def test_bad_keys_are_refused(store: Store, key: str) -> None:
    with pytest.raises(DataError, match="idempotency key"):
        add(store, {}, key=key)


@pytest.mark.parametrize("body", [{"a": object()}, {"a": 2**70}, {"a": "\ud800"}, {1: "x"}])
def test_bodies_that_are_no_json_are_refused(store: Store, body: dict[str, object]) -> None:
    with pytest.raises(DataError, match="not JSON"):
        add(store, body)
    assert add(store, {}).seq == 1


def test_an_event_that_was_rolled_back_leaves_no_gap(store: Store) -> None:
    add(store, {"n": 1})

    def broken(conn: Connection) -> None:
        events.append(conn, "p", "note", "me", {"n": 2})
        raise LookupError

    with pytest.raises(LookupError):
        store.write(broken)
    assert add(store, {"n": 2}).seq == 2
    assert events.verify(store) == []


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("UPDATE events SET body = '{\"n\":9}' WHERE seq = 3", "event 3 .* was changed"),
        ("UPDATE events SET actor = 'eve' WHERE seq = 2", "event 2 .* was changed"),
        ("UPDATE events SET at = at - 1 WHERE seq = 4", "event 4 .* was changed"),
        ("UPDATE events SET kind = 'n' WHERE seq = 1", "event 1 .* was changed"),
        ("UPDATE events SET key = 'n' WHERE seq = 1", "event 1 .* was changed"),
        ("UPDATE events SET hash = 'n' WHERE seq = 5", "event 5 .* was changed"),
        ("UPDATE events SET assignment_id = 'n' WHERE seq = 5", "event 5 .* wrong task"),
        ("DELETE FROM events WHERE seq = 3", "event 3 is missing; the next one there is 4"),
        ("DELETE FROM events WHERE seq = 1", "event 1 is missing"),
        ("DELETE FROM events WHERE seq = 5", "should end with event 5 .* last event is 4"),
        ("UPDATE chains SET seq = 4 WHERE project_id = 'p'", "should end with event 4"),
        ("UPDATE chains SET head = 'n' WHERE project_id = 'p'", "should end with event 5"),
    ],
)
def test_tampering_is_named(store: Store, statement: str, finding: str) -> None:
    for n in range(5):
        add(store, {"n": n})
    add(store, {}, project="q")
    assert events.verify(store) == []
    tamper(store, statement.replace("WHERE seq", "WHERE project_id = 'p' AND seq"))
    found = events.verify(store)
    assert len(found) == 1, found
    assert re.search(rf"project p: .*{finding}", found[0]), found


def test_a_resealed_event_breaks_the_next_one(store: Store) -> None:
    """Whoever changes an event and its hash has to change every event after it, and the head."""
    for n in range(3):
        add(store, {"n": n})
    with store.read() as conn:
        first, second = conn.execute(sa.select(LOG).order_by(LOG.c.id)).all()[:2]
    parts = [first.hash, "p", 2, "note", "me", None, second.at, '{"n":9}']
    sealed = hashlib.sha256(orjson.dumps(parts)).hexdigest()
    tamper(store, f"UPDATE events SET body = '{{\"n\":9}}', hash = '{sealed}' WHERE seq = 2")
    assert "event 3" in events.verify(store)[0]


# ---- judgments follow from the log


@pytest.fixture
def judged(store: Store) -> Store:
    """Three judged tasks: one changed later, one undone, one as it was."""
    found = make_round(store, [item(name) for name in "abc"])
    person = rater(store)
    for n in range(3):
        task = assign.next_assignment(store, person, found.id)
        assert task is not None
        body = {"outcome": "a", "strength": 1, "active_ms": 10, "num_keys": 1}
        judgments.submit(store, person, task.id, body, f"k{n}")
        if n == 1:
            judgments.submit(store, person, task.id, {**body, "outcome": "b"}, "changed")
    judgments.undo(store, person, "undo")
    assert events.verify(store) == []
    return store


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("UPDATE judgments SET body = '{}' WHERE revision = 1", "body is not as event"),
        ("UPDATE judgments SET outcome = '{}' WHERE revision = 1", "outcome is not as event"),
        ("UPDATE judgments SET at = 1 WHERE revision = 1", "at is not as event"),
        ("UPDATE judgments SET guideline = 7 WHERE revision = 1", "guideline is not as event"),
        ("UPDATE judgments SET active_ms = 7 WHERE revision = 1", "active_ms is not as event"),
        ("DELETE FROM judgments WHERE revision = 1", "is not in the table"),
        (
            "UPDATE judgments SET event_id = (SELECT id FROM events WHERE key = 'undo') "
            "WHERE revision = 1",
            "the table shows event",
        ),
        (
            "INSERT INTO judgments SELECT a.id, j.round_id, j.item_id, j.rater_id, e.id, j.body, "
            "j.outcome, j.guideline, 0, 1, j.at FROM judgments j, assignments a, events e "
            "WHERE j.revision = 1 AND a.state = 'open' AND e.key = 'undo'",
            "without an event that says so",
        ),
    ],
)
def test_a_table_that_differs_from_the_log_is_named(
    judged: Store, statement: str, finding: str
) -> None:
    tamper(judged, statement)
    found = events.verify(judged)
    assert len(found) == 1, found
    assert finding in found[0]


def test_a_history_shows_every_change(judged: Store) -> None:
    with judged.read() as conn:
        revised = conn.execute(
            sa.select(schema.judgments.c.assignment_id).where(schema.judgments.c.revision == 1)
        ).scalar_one()
    found = [event for event in events.history(judged, revised) if event.kind == "judgment"]
    assert [event.body["body"]["outcome"] for event in found] == ["a", "b"]
