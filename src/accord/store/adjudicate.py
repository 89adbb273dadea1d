"""When raters differ: how far apart they are, more raters, and then an adjudicator's word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from accord.errors import DataError
from accord.store import events
from accord.store.columns import new_id, now
from accord.store.database import Store
from accord.store.records import Round, missing, require_unfrozen, round_row
from accord.store.schema import adjudications, assignments, items, judgments, rounds


@dataclass(frozen=True, slots=True)
class Adjudication:
    """An item on which raters differ. ``outcome`` is by canonical index once it is resolved.

    ``notes`` is the discussion: rows with ``by``, ``at`` (UTC seconds) and ``text``.
    """

    id: str
    round_id: str
    item_id: str
    state: str
    reason: str
    notes: tuple[dict[str, Any], ...]
    outcome: dict[str, Any] | None
    resolved_by: str | None


def spread(outcomes: Sequence[Mapping[str, Any]]) -> int:
    """How far apart judgments of one item are, in strength steps (pairs) or places (rankings).

    A pair is a point from -steps (the second is much better) over 0 (a tie, both bad) to +steps;
    where no strength is asked a side is one step. Who could not compare has no point.
    """
    ranks: list[list[int]] = [outcome["ranks"] for outcome in outcomes if "ranks" in outcome]
    if ranks:
        widths: list[int] = [max(places) - min(places) for places in zip(*ranks, strict=True)]
        return max(widths)
    points: list[int] = [
        (1 if outcome["best"] == 0 else -1) * (outcome["strength"] or 1)
        if outcome.get("outcome") == "best"
        else 0
        for outcome in outcomes
        if outcome.get("outcome") not in (None, "cannot_compare")
    ]
    return max(points) - min(points) if points else 0


def after_judgment(conn: Connection, found: Round, item: str, actor: str) -> None:
    """Ask more raters, or an adjudicator, if the judgments of a finished item are far apart."""
    limit = found.settings.escalate_spread
    if limit is None:
        return
    column = items.c
    row = conn.execute(
        sa.select(column.needed, column.done, column.escalated).where(column.id == item)
    ).one()
    if row.done < row.needed:
        return
    usual = judgments.join(assignments, assignments.c.id == judgments.c.assignment_id)
    query = (
        sa.select(judgments.c.outcome)
        .select_from(usual)
        .where(judgments.c.item_id == item, assignments.c.reason != "adjudication")
    )
    distance = spread(list(conn.scalars(query)))
    if distance <= limit:
        return
    if row.escalated:
        _open(conn, found, item, f"raters are {distance} steps apart", actor)
        return
    more = found.settings.escalate_raters
    change = items.update().where(column.id == item)
    conn.execute(change.values(needed=column.needed + more, escalated=True))
    wanted = rounds.c.num_wanted + more
    conn.execute(rounds.update().where(rounds.c.id == found.id).values(num_wanted=wanted))
    body = {"item": item, "spread": distance, "more": more}
    events.append(conn, found.project_id, "escalated", actor, body)


def next_item(conn: Connection, round_id: str, rater: str) -> str | None:
    """The oldest open adjudication that nobody holds and whose item this person never judged."""
    held = sa.exists().where(
        assignments.c.item_id == adjudications.c.item_id,
        sa.or_(
            assignments.c.rater_id == rater,
            sa.and_(assignments.c.reason == "adjudication", assignments.c.state == "open"),
        ),
    )
    query = (
        sa.select(adjudications.c.item_id)
        .where(adjudications.c.round_id == round_id, adjudications.c.state == "open", ~held)
        .order_by(adjudications.c.created_at)
        .limit(1)
    )
    return conn.scalar(query)


def is_open(conn: Connection, item: str) -> bool:
    """Whether an item waits for an adjudicator and nobody has it in hand."""
    held = sa.exists().where(
        assignments.c.item_id == item,
        assignments.c.reason == "adjudication",
        assignments.c.state == "open",
    )
    query = sa.select(adjudications.c.id).where(
        adjudications.c.item_id == item, adjudications.c.state == "open", ~held
    )
    return conn.scalar(query) is not None


def flag(store: Store, item: str, reason: str, actor: str) -> Adjudication:
    """Put an item on the adjudicators' list by hand; once is enough.

    Raises:
        DataError: there is no such item.
    """

    def write(conn: Connection) -> Adjudication:
        round_id = conn.scalar(sa.select(items.c.round_id).where(items.c.id == item))
        if round_id is None:
            raise missing("item", item)
        _open(conn, round_row(conn, round_id), item, reason, actor)
        query = sa.select(adjudications).where(adjudications.c.item_id == item)
        return _adjudication(conn.execute(query).one())

    return store.write(write)


def get(store: Store, adjudication: str) -> Adjudication:
    """One adjudication.

    Raises:
        MissingError: there is none.
    """
    with store.read() as conn:
        return _adjudication(_row(conn, adjudication))


def note(store: Store, adjudication: str, text: str, actor: str) -> Adjudication:
    """Add to the discussion of an item.

    Raises:
        DataError: there is no such adjudication, or nothing was written.
    """
    if not text.strip():
        raise DataError("a note needs some words")

    def write(conn: Connection) -> Adjudication:
        row = _row(conn, adjudication)
        notes = [*(row.notes or []), {"by": actor, "at": now(), "text": text}]
        change = adjudications.update().where(adjudications.c.id == adjudication)
        conn.execute(change.values(notes=notes))
        return _adjudication(_row(conn, adjudication))

    return store.write(write)


def resolve(
    store: Store, adjudication: str, outcome: Mapping[str, Any], actor: str
) -> Adjudication:
    """Settle an item without a task of one's own, by canonical index (see ``task.Verdict``).

    Raises:
        DataError: there is no such adjudication.
        StoreError: its round is frozen.
    """

    def write(conn: Connection) -> Adjudication:
        row = _row(conn, adjudication)
        found = round_row(conn, row.round_id)
        require_unfrozen(found)
        settle(conn, found, row.item_id, outcome, actor)
        return _adjudication(_row(conn, adjudication))

    return store.write(write)


def settle(
    conn: Connection, found: Round, item: str, outcome: Mapping[str, Any], actor: str
) -> None:
    """Write an adjudicator's word, within a transaction; a later word replaces it."""
    values = {
        "state": "resolved",
        "outcome": dict(outcome),
        "resolved_by": actor,
        "resolved_at": now(),
    }
    conn.execute(adjudications.update().where(adjudications.c.item_id == item).values(values))
    body = {"item": item, "outcome": dict(outcome)}
    events.append(conn, found.project_id, "adjudicated", actor, body)


def reopen(conn: Connection, found: Round, item: str, actor: str) -> None:
    """Take an adjudicator's word back, within a transaction."""
    values = {"state": "open", "outcome": None, "resolved_by": None, "resolved_at": None}
    conn.execute(adjudications.update().where(adjudications.c.item_id == item).values(values))
    events.append(conn, found.project_id, "adjudication_reopened", actor, {"item": item})


def queue(store: Store, round_id: str, state: str = "open") -> list[Adjudication]:
    """The adjudications of a round in one state, oldest first."""
    where = sa.and_(adjudications.c.round_id == round_id, adjudications.c.state == state)
    query = sa.select(adjudications).where(where).order_by(adjudications.c.created_at)
    with store.read() as conn:
        return [_adjudication(row) for row in conn.execute(query)]


def _open(conn: Connection, found: Round, item: str, reason: str, actor: str) -> None:
    if conn.scalar(sa.select(adjudications.c.id).where(adjudications.c.item_id == item)):
        return
    values = {"id": new_id(), "round_id": found.id, "item_id": item, "reason": reason[:200]}
    conn.execute(adjudications.insert().values(notes=[], **values))
    body = {"round": found.id, "item": item, "reason": reason[:200]}
    events.append(conn, found.project_id, "adjudication_opened", actor, body)


def _row(conn: Connection, adjudication: str) -> sa.Row[Any]:
    query = sa.select(adjudications).where(adjudications.c.id == adjudication)
    row = conn.execute(query).one_or_none()
    if row is None:
        raise missing("adjudication", adjudication)
    return row


def _adjudication(row: sa.Row[Any]) -> Adjudication:
    return Adjudication(
        id=row.id,
        round_id=row.round_id,
        item_id=row.item_id,
        state=row.state,
        reason=row.reason,
        notes=tuple(row.notes or ()),
        outcome=row.outcome,
        resolved_by=row.resolved_by,
    )
