"""Judgments: handed in once whatever the network does, changed with their history kept, undone.

An acknowledged judgment is an event on the disk; the tables beside it are its projection, written
in the same transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from accord.errors import DataError
from accord.store import adjudicate, events
from accord.store.columns import now
from accord.store.database import Store, StoreError
from accord.store.events import Event
from accord.store.records import Round, require_unfrozen, round_row
from accord.store.schema import (
    assignments,
    drafts,
    items,
    judgments,
    round_raters,
    rounds,
)
from accord.store.schema import events as log
from accord.store.task import Presentation, parse_body, verdict
from accord.store.task import is_right as is_right
from accord.store.work import (
    Assignment,
    Judgment,
    counts,
    load_assignment,
    note_complete,
    own_row,
    require_same,
    stored,
    take,
    to_judgment,
)

UNDO_LAST = 20
"""How many of a rater's last tasks can be taken back."""

PRESENTED = ("shown_at", "both_complete_at", "first_key_at")
"""Times of a presentation that an assignment keeps, of its first judgment; the log has them all."""

# Statements of the hot path are built once: making one costs more than running it.
_step: sa.BindParameter[int] = sa.bindparam("step")
_INSERT = judgments.insert()
_DROP_DRAFT = drafts.delete().where(drafts.c.assignment_id == sa.bindparam("assignment"))
_DONE = (
    assignments.update()
    .where(assignments.c.id == sa.bindparam("assignment"))
    .values(state="done", finished_at=sa.bindparam("moment"))
    .values({column: sa.bindparam(column) for column in PRESENTED})
)
_ITEM_DONE = (
    items.update().where(items.c.id == sa.bindparam("item")).values(done=items.c.done + _step)
)
_ROUND_DONE = (
    rounds.update()
    .where(rounds.c.id == sa.bindparam("round"))
    .values(num_judgments=rounds.c.num_judgments + _step)
)
_MINE = (
    round_raters.update()
    .where(
        round_raters.c.round_id == sa.bindparam("round"),
        round_raters.c.rater_id == sa.bindparam("rater"),
    )
    .values(num_done=round_raters.c.num_done + _step)
)
_ANSWER = sa.select(items.c.answer).where(items.c.id == sa.bindparam("item"))
_LAST = (
    sa.select(assignments)
    .join(rounds, rounds.c.id == assignments.c.round_id)
    .where(
        assignments.c.rater_id == sa.bindparam("rater"),
        assignments.c.finished_at.is_not(None),
        assignments.c.reason != "training",
        rounds.c.task != "chat",
    )
    .order_by(assignments.c.finished_at.desc(), assignments.c.id)
    .limit(UNDO_LAST)
)
_STATES = _LAST.with_only_columns(assignments.c.state)


def submit(
    store: Store,
    rater: str,
    assignment_id: str,
    body: Mapping[str, Any],
    key: str,
    presentation: Presentation | None = None,
) -> Judgment:
    """Hand in a judgment, or change one; returns when it is safe on the disk.

    Args:
        store: where it goes.
        rater: account id.
        assignment_id: the task it answers.
        body: the judgment by slot, as ``accord.store.task`` describes it for the round's task.
        key: made once by the client for this judgment; the same key again changes nothing. A new
            key on a task that is done changes its judgment, and the log keeps the old one.
        presentation: when the client showed the task; None: it does not say.

    Raises:
        DataError: the task is not this rater's or was skipped, the body is not what the round
            asks for, or a training answer would be changed.
        StoreError: the round is frozen, or the key was used for something else.
    """

    def write(conn: Connection) -> Judgment:
        return submit_in(conn, own_row(conn, assignment_id, rater), body, key, presentation)

    return store.write(write)


def submit_in(
    conn: Connection,
    row: sa.Row[Any],
    body: Mapping[str, Any],
    key: str,
    presentation: Presentation | None = None,
) -> Judgment:
    """As :func:`submit`, within a transaction of the caller; ``row`` is ``own_row``'s."""
    rater = row.rater_id
    found = round_row(conn, row.round_id)
    parsed = parse_body(found.task, found.schema, len(row.permutation), body)
    said = parsed.model_dump(mode="json")
    content: dict[str, Any] = {
        "assignment": row.id,
        "item": row.item_id,
        "permutation": row.permutation,
        "guideline": row.guideline,
        "body": said,
    }
    if presentation is not None:
        content["presentation"] = presentation.model_dump(exclude_none=True)
    event = events.append(conn, found.project_id, "judgment", rater, content, key=key)
    if not event.new:
        return _again(conn, event, row)
    require_unfrozen(found)
    outcome = verdict(parsed, row.permutation)
    values = {
        "event_id": event.id,
        "body": said,
        "outcome": outcome,
        "active_ms": parsed.active_ms,
        "at": event.at,
    }
    revision = 0
    if row.state == "done":
        revision = _revise(conn, row, values)
    else:
        _finish(conn, found, row, values, content.get("presentation", {}))
    conn.execute(_DROP_DRAFT, {"assignment": row.id})
    if row.reason == "adjudication":
        adjudicate.settle(conn, found, row.item_id, outcome, rater)
    elif counts(row.reason):
        adjudicate.after_judgment(conn, found, row.item_id, rater)
        note_complete(conn, found)
    return Judgment(
        assignment_id=row.id,
        round_id=row.round_id,
        item_id=row.item_id,
        rater_id=rater,
        body=said,
        outcome=outcome,
        guideline=row.guideline,
        revision=revision,
        at=event.at,
    )


def undo(store: Store, rater: str, key: str, assignment_id: str | None = None) -> Assignment:
    """Take back a task, judged or skipped, if it is among the rater's last 20; the newest if None.

    The task is theirs again, with what they had said as its draft. Training items stay, for their
    answer has been shown, and so do the turns of a chat that went on.

    Raises:
        DataError: nothing is left to take back.
        StoreError: its round is frozen, or the key was used for something else.
    """

    def write(conn: Connection) -> Assignment:
        before = _used(conn, rater, key)
        if before is not None:
            return load_assignment(conn, before, rater)
        there = (r for r in _last(conn, rater) if r.state in ("done", "skipped"))
        row = next((r for r in there if assignment_id in (None, r.id)), None)
        if row is None:
            raise DataError(f"there is nothing to take back among your last {UNDO_LAST} tasks")
        found = round_row(conn, row.round_id)
        require_unfrozen(found)
        kind = "undo" if row.state == "done" else "unskip"
        content = {"assignment": row.id, "item": row.item_id}
        events.append(conn, found.project_id, kind, rater, content, key=key)
        if row.state == "done":
            withdraw(conn, found, row)
        elif counts(row.reason):
            take(conn, row.item_id)
        lease = now() + found.settings.lease_seconds
        change = assignments.update().where(assignments.c.id == row.id)
        conn.execute(change.values(state="open", lease_expires=lease, skip_reason=None))
        return load_assignment(conn, row.id, rater)

    return store.write(write)


def undo_left(store: Store, rater: str) -> int:
    """How many tasks the rater can take back, one after the other."""
    with store.read() as conn:
        return undo_left_in(conn, rater)


def undo_left_in(conn: Connection, rater: str) -> int:
    """As :func:`undo_left`, within a transaction of the caller."""
    return sum(state in ("done", "skipped") for state in conn.scalars(_STATES, {"rater": rater}))


def save_draft(store: Store, rater: str, assignment_id: str, body: Mapping[str, Any]) -> None:
    """Keep an unfinished judgment as it is, unchecked.

    Raises:
        DataError: the assignment is not this rater's, or is done.
    """

    def write(conn: Connection) -> None:
        row = own_row(conn, assignment_id, rater)
        if row.state not in ("open", "expired"):
            raise DataError(f"this task is {row.state}; there is nothing to draft")
        _put_draft(conn, row.id, rater, dict(body))

    store.write(write)


def get_draft(store: Store, rater: str, assignment_id: str) -> dict[str, Any] | None:
    """What the rater last left on a task; None if nothing.

    Raises:
        DataError: the assignment is not this rater's.
    """
    with store.read() as conn:
        return load_assignment(conn, assignment_id, rater).draft


def recent(store: Store, rater: str, n: int = UNDO_LAST) -> list[Judgment]:
    """The rater's last ``n`` judgments that stand, newest first."""
    query = (
        sa.select(judgments)
        .where(judgments.c.rater_id == rater)
        .order_by(judgments.c.at.desc(), judgments.c.event_id.desc())
        .limit(n)
    )
    with store.read() as conn:
        return [to_judgment(row) for row in conn.execute(query)]


def feedback_in(conn: Connection, row: sa.Row[Any], judgment: Judgment) -> dict[str, Any] | None:
    """After a training item: whether it was ``right`` and ``why``; None after any other.

    Within a transaction of the caller; ``row`` is ``own_row``'s.
    """
    if row.reason != "training":
        return None
    answer = conn.execute(_ANSWER, {"item": row.item_id}).scalar_one()
    return {"right": is_right(answer, judgment.outcome), "why": str(answer.get("why", ""))}


def _again(conn: Connection, event: Event, row: sa.Row[Any]) -> Judgment:
    """The answer to a key that came before."""
    require_same(event, "judgment", row.id)
    kept = stored(conn, row.id)
    if kept is not None:
        return to_judgment(kept, new=False)
    return Judgment(  # it was taken back since
        assignment_id=row.id,
        round_id=row.round_id,
        item_id=row.item_id,
        rater_id=row.rater_id,
        body=event.body["body"],
        outcome={},
        guideline=row.guideline,
        revision=0,
        at=event.at,
        new=False,
    )


def _revise(conn: Connection, row: sa.Row[Any], values: dict[str, Any]) -> int:
    if row.reason == "training":
        raise DataError("a training answer stands: the right one has been shown")
    change = judgments.update().where(judgments.c.assignment_id == row.id)
    change = change.values(revision=judgments.c.revision + 1, **values)
    return int(conn.execute(change.returning(judgments.c.revision)).scalar_one())


def _finish(
    conn: Connection,
    found: Round,
    row: sa.Row[Any],
    values: dict[str, Any],
    presented: Mapping[str, Any],
) -> None:
    if row.state == "skipped":
        raise DataError("this task was skipped; take it back with undo before you judge it")
    same = {
        "assignment_id": row.id,
        "round_id": row.round_id,
        "item_id": row.item_id,
        "rater_id": row.rater_id,
        "guideline": row.guideline,
    }
    conn.execute(_INSERT, {"revision": 0, **same, **values})
    times = {column: presented.get(column) for column in PRESENTED}
    conn.execute(_DONE, {"assignment": row.id, "moment": values["at"], **times})
    if row.state == "expired" and counts(row.reason):
        take(conn, row.item_id)
    _count(conn, found, row, 1)
    if row.reason == "training":
        _train(conn, row, values)


def withdraw(conn: Connection, found: Round, row: sa.Row[Any]) -> None:
    """Remove a judgment and keep what was said as the draft; the event is the caller's to write."""
    said = conn.scalar(sa.select(judgments.c.body).where(judgments.c.assignment_id == row.id))
    conn.execute(judgments.delete().where(judgments.c.assignment_id == row.id))
    _put_draft(conn, row.id, row.rater_id, said)
    _count(conn, found, row, -1)
    if row.reason == "adjudication":
        adjudicate.reopen(conn, found, row.item_id, row.rater_id)


def _count(conn: Connection, found: Round, row: sa.Row[Any], step: int) -> None:
    """Keep the counters of item, round and rater by one judgment more or less."""
    if row.reason != "adjudication":
        conn.execute(_ITEM_DONE, {"item": row.item_id, "step": step})
    if counts(row.reason):
        conn.execute(_ROUND_DONE, {"round": found.id, "step": step})
    if row.reason != "training":
        conn.execute(_MINE, {"round": found.id, "rater": row.rater_id, "step": step})


def _train(conn: Connection, row: sa.Row[Any], said: Mapping[str, Any]) -> None:
    answer: dict[str, Any] = conn.execute(_ANSWER, {"item": row.item_id}).scalar_one()
    right = int(is_right(answer, said["outcome"]))
    mine = sa.and_(round_raters.c.round_id == row.round_id, round_raters.c.rater_id == row.rater_id)
    state = dict(conn.execute(sa.select(round_raters.c.state).where(mine)).scalar_one())
    state["results"] = [*state.get("results", []), right]
    state["times"] = [*state.get("times", []), said["active_ms"]]
    values = {
        "state": state,
        "training_done": round_raters.c.training_done + 1,
        "training_right": round_raters.c.training_right + right,
    }
    conn.execute(round_raters.update().where(mine).values(values))


def _last(conn: Connection, rater: str) -> list[sa.Row[Any]]:
    """The rater's last tasks that can be taken back or were, newest first."""
    return list(conn.execute(_LAST, {"rater": rater}).all())


def _used(conn: Connection, rater: str, key: str) -> str | None:
    """The assignment that an undo with this key took back, if it came before."""
    query = sa.select(log).where(log.c.actor == rater, log.c.key == key)
    row = conn.execute(query).one_or_none()
    if row is None:
        return None
    if row.kind not in ("undo", "unskip"):
        raise StoreError("this key was used for something else; make a new one for each action")
    return str(row.assignment_id)


def _put_draft(conn: Connection, assignment_id: str, rater: str, body: Any) -> None:
    insert = postgresql.insert if conn.dialect.name == "postgresql" else sqlite.insert
    values = {"assignment_id": assignment_id, "rater_id": rater, "body": body, "at": now()}
    fresh = {"body": body, "at": values["at"]}
    statement = insert(drafts).values(values)
    conn.execute(statement.on_conflict_do_update(index_elements=["assignment_id"], set_=fresh))
