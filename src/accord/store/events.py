"""The append-only log: who did what, each event sealed by the hash of the one before it.

Every project has its own chain. ``hash = sha256(hash before, project, seq, kind, actor, key, at,
body)``, and ``chains`` keeps the length and the last hash, so that an event which was changed,
removed, inserted or cut off at the end shows. The log is the truth and current tables follow from
it: :func:`verify` rebuilds the judgments and compares.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from accord.errors import DataError
from accord.store import schema
from accord.store.columns import now
from accord.store.database import Store
from accord.store.task import BODIES, verdict

MAX_KEY_CHARS = 80
PAGE_ROWS = 2000

# Built once: making a statement costs more than running it, and every write runs these.
_log, _chain = schema.events.c, schema.chains.c
_FIND_KEY = sa.select(schema.events).where(
    _log.actor == sa.bindparam("actor"), _log.key == sa.bindparam("key")
)
_FIND_TIP = sa.select(_chain.seq, _chain.head).where(_chain.project_id == sa.bindparam("project"))
_INSERT = sa.insert(schema.events).returning(_log.id)
_MOVE_TIP = sa.update(schema.chains).where(_chain.project_id == sa.bindparam("project"))


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of the log.

    ``seq`` counts from 1 within the project, ``id`` over all projects; ``at`` is in UTC seconds.
    ``new`` is False when :func:`append` met the idempotency key again and wrote nothing.
    """

    id: int
    project_id: str
    seq: int
    kind: str
    actor: str
    key: str | None
    body: dict[str, Any]
    at: float
    hash: str
    new: bool = False


def append(
    conn: Connection,
    project_id: str,
    kind: str,
    actor: str,
    body: Mapping[str, Any],
    *,
    key: str | None = None,
) -> Event:
    """Add an event at the end of a project's chain; to be called inside ``Store.write``.

    The same actor's same key again returns the first event with ``new`` False and does nothing
    else, so a client may send a request as often as it likes. Never put a person's name or contact
    into ``body``: the log cannot forget.

    Raises:
        DataError: a key that is empty, longer than 80 characters or not printable; a body that is
            not JSON.
    """
    if key is not None:
        _check_key(key)
        if (row := _by_key(conn, actor, key)) is not None:
            return _event(row)
    seq, head = _tip(conn, project_id)
    try:
        text = orjson.dumps(dict(body), option=orjson.OPT_SORT_KEYS).decode()
    except TypeError as error:
        raise DataError(f"The body of an event of kind {kind!r} is not JSON: {error}.") from error
    at = now()
    values: dict[str, Any] = {
        "project_id": project_id,
        "seq": seq + 1,
        "kind": kind,
        "actor": actor,
        "key": key,
        "assignment_id": body.get("assignment"),
        "body": text,
        "at": at,
        "hash": _seal(head, project_id, seq + 1, kind, actor, key, at, text),
    }
    event_id = conn.execute(_INSERT, values).scalar_one()
    conn.execute(_MOVE_TIP, {"project": project_id, "seq": seq + 1, "head": values["hash"]})
    return Event(
        event_id,
        project_id,
        seq + 1,
        kind,
        actor,
        key,
        orjson.loads(text),
        at,
        values["hash"],
        True,
    )


def verify(store: Store) -> list[str]:
    """Check every chain and rebuild the judgments; [] when all is sound.

    One line per finding: the first broken event of each chain, then each judgment that does not
    follow from the log. Reads the whole log, about 40,000 events a
    second on one core.
    """
    with store.read() as conn:
        return [*_broken_chains(conn), *_broken_judgments(conn)]


def history(store: Store, assignment_id: str) -> list[Event]:
    """Everything that happened to an assignment, oldest first."""
    query = (
        sa.select(schema.events)
        .where(schema.events.c.assignment_id == assignment_id)
        .order_by(schema.events.c.id)
    )
    with store.read() as conn:
        return [_event(row) for row in conn.execute(query)]


def _check_key(key: str) -> None:
    if not (0 < len(key) <= MAX_KEY_CHARS and key.isprintable()):
        raise DataError(
            f"An idempotency key is 1 to {MAX_KEY_CHARS} printable characters, for example a "
            f"random UUID made once per action; this one has {len(key)} characters."
        )


def _by_key(conn: Connection, actor: str, key: str) -> sa.Row[Any] | None:
    return conn.execute(_FIND_KEY, {"actor": actor, "key": key}).one_or_none()


def _tip(conn: Connection, project_id: str) -> tuple[int, str]:
    """Length and last hash of a chain, which is started when it is not there."""
    row = conn.execute(_FIND_TIP, {"project": project_id}).one_or_none()
    if row is None:
        conn.execute(sa.insert(schema.chains).values(project_id=project_id, seq=0, head=""))
        return 0, ""
    return row.seq, row.head


def _seal(*parts: str | int | float | None) -> str:
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()


def _event(row: sa.Row[Any]) -> Event:
    return Event(
        row.id,
        row.project_id,
        row.seq,
        row.kind,
        row.actor,
        row.key,
        orjson.loads(row.body),
        row.at,
        row.hash,
    )


def _broken_chains(conn: Connection) -> Iterator[str]:
    chains = {row.project_id: row for row in conn.execute(sa.select(schema.chains))}
    for project_id in sorted(chains):
        chain = chains[project_id]
        seq, head, fault = _walk(conn, project_id)
        if fault:
            yield fault
        elif (seq, head) != (chain.seq, chain.head):
            yield (
                f"project {project_id}: the chain should end with event {chain.seq} "
                f"({chain.head[:12]}), but its last event is {seq} ({head[:12]}): "
                "events at the end were removed or added"
            )


def _walk(conn: Connection, project_id: str) -> tuple[int, str, str]:
    """Follow a chain: its length, its last hash, and what is wrong with its first bad event."""
    table = schema.events
    query = sa.select(table).where(table.c.project_id == project_id).order_by(table.c.seq)
    seq, head = 0, ""
    for row in _stream(conn, query):
        where = f"project {project_id}: event {seq + 1}"
        if row.seq != seq + 1:
            return seq, head, f"{where} is missing; the next one there is {row.seq}"
        sealed = _seal(head, project_id, row.seq, row.kind, row.actor, row.key, row.at, row.body)
        if sealed != row.hash:
            return seq, head, f"{where} (id {row.id}, {row.kind}) was changed after it was written"
        if row.assignment_id != orjson.loads(row.body).get("assignment"):
            return seq, head, f"{where} (id {row.id}, {row.kind}) is filed under the wrong task"
        seq, head = row.seq, row.hash
    return seq, head, ""


def _stream(conn: Connection, query: sa.Select[*tuple[Any, ...]]) -> Iterator[sa.Row[Any]]:
    """Rows page by page, whatever their number."""
    with conn.execute(query, execution_options={"yield_per": PAGE_ROWS}) as rows:
        yield from rows


def _broken_judgments(conn: Connection) -> Iterator[str]:
    """Compare the table of judgments with what the last events of each task say."""
    events, judgments = schema.events, schema.judgments
    last = (
        sa.select(sa.func.max(events.c.id).label("id"))
        .where(events.c.kind.in_(("judgment", "undo")), events.c.assignment_id.is_not(None))
        .group_by(events.c.assignment_id)
        .subquery()
    )
    query = (
        sa.select(
            sa.func.coalesce(events.c.assignment_id, judgments.c.assignment_id).label("task"),
            events.c.id,
            events.c.kind,
            events.c.actor,
            events.c.at.label("said_at"),
            events.c.body.label("said"),
            schema.rounds.c.task.label("shape"),
            *judgments.c,
        )
        .select_from(last.join(events, events.c.id == last.c.id))
        .join(judgments, judgments.c.assignment_id == events.c.assignment_id, full=True)
        .join(schema.rounds, schema.rounds.c.id == judgments.c.round_id, isouter=True)
    )
    for row in _stream(conn, query):
        if row.kind == "judgment" and row.event_id is None:
            yield f"task {row.task}: its judgment (event {row.id}) is not in the table"
        elif row.kind == "judgment" and row.event_id != row.id:
            yield f"task {row.task}: the table shows event {row.event_id} instead of {row.id}"
        elif row.kind == "judgment":
            yield from (
                f"task {row.task}: {what} is not as event {row.id} says" for what in _differ(row)
            )
        elif row.event_id is not None:
            yield f"task {row.task}: a judgment in the table without an event that says so"


def _differ(row: sa.Row[Any]) -> list[str]:
    """Columns of a judgment that its event contradicts; the outcome is worked out again."""
    said = orjson.loads(row.said)
    outcome = verdict(BODIES[row.shape].model_validate(said["body"]), said["permutation"])
    expected = {
        "body": said["body"],
        "outcome": outcome,
        "item_id": said["item"],
        "rater_id": row.actor,
        "guideline": said["guideline"],
        "active_ms": said["body"]["active_ms"],
        "at": row.said_at,
    }
    return [name for name, value in expected.items() if row._mapping[name] != value]
