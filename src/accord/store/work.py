"""Assignments and judgments as raters hold them, and the small steps that both sides share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from accord.errors import DataError
from accord.store import events
from accord.store.columns import new_id, now
from accord.store.database import StoreError
from accord.store.draws import permutation
from accord.store.events import Event
from accord.store.records import Round, missing, parse_payload, round_row
from accord.store.schema import assignments, drafts, items, judgments, rounds
from accord.types import Prompt

LATER = "later"
"""The reason of a skip that brings the task back when the rater has no other."""

# Statements of the hot path are built once: making one costs more than running it.
_ITEM = items.c.id == sa.bindparam("item")
_GROW = (
    items.update()
    .where(_ITEM, items.c.taken >= items.c.needed)
    .values(needed=items.c.taken + 1)
    .returning(items.c.round_id)
)
_WANT = (
    rounds.update()
    .where(rounds.c.id == sa.bindparam("round"))
    .values(num_wanted=rounds.c.num_wanted + 1)
)
_TAKE = items.update().where(_ITEM).values(taken=items.c.taken + 1)
_GIVE_BACK = items.update().where(_ITEM).values(taken=items.c.taken - 1)
_INSERT = assignments.insert()
_OWN = sa.select(assignments).where(
    assignments.c.id == sa.bindparam("assignment"), assignments.c.rater_id == sa.bindparam("rater")
)
_STORED = sa.select(judgments).where(judgments.c.assignment_id == sa.bindparam("assignment"))


@dataclass(frozen=True, slots=True)
class Assignment:
    """One item in one rater's hands.

    ``responses`` are the texts by slot; slot s shows completion ``permutation[s]``. ``reason``
    says why the rater has it: ``random``, ``priority``, ``overlap`` (others have it too),
    ``gold``, ``attention``, ``anchor``, ``training``, ``adjudication`` or ``chat``. It, the item
    and the permutation are not for the rater's eyes. ``draft`` is what the rater last left there.
    """

    id: str
    round_id: str
    item_id: str
    rater_id: str
    reason: str
    state: str
    permutation: tuple[int, ...]
    guideline: int
    lease_expires: float
    prompt: Prompt
    responses: tuple[str, ...]
    draft: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Judgment:
    """A judgment as it stands: ``body`` by slot, ``outcome`` by canonical index.

    ``revision`` counts the times it was changed; ``at`` is in UTC seconds. ``new`` is False when
    the same key came again and nothing was written.
    """

    assignment_id: str
    round_id: str
    item_id: str
    rater_id: str
    body: dict[str, Any]
    outcome: dict[str, Any]
    guideline: int
    revision: int
    at: float
    new: bool = True


def to_assignment(
    row: Mapping[str, Any] | RowMapping, *, show_draft: bool, draft: Any = None
) -> Assignment:
    """A row of ``assignments`` with the item's ``payload`` as an assignment.

    ``show_draft`` matters for demonstrations alone: the only completion is the model's draft.
    """
    prompt, completions, _ = parse_payload(row["payload"])
    order = tuple(row["permutation"])
    responses = tuple(completions[index].text for index in order)
    return Assignment(
        id=row["id"],
        round_id=row["round_id"],
        item_id=row["item_id"],
        rater_id=row["rater_id"],
        reason=row["reason"],
        state=row["state"],
        permutation=order,
        guideline=row["guideline"],
        lease_expires=row["lease_expires"],
        prompt=prompt,
        responses=responses if show_draft or len(responses) > 1 else (),
        draft=draft,
    )


def to_judgment(row: sa.Row[Any], *, new: bool = True) -> Judgment:
    """A row of ``judgments`` as a judgment."""
    return Judgment(
        assignment_id=row.assignment_id,
        round_id=row.round_id,
        item_id=row.item_id,
        rater_id=row.rater_id,
        body=row.body,
        outcome=row.outcome,
        guideline=row.guideline,
        revision=row.revision,
        at=row.at,
        new=new,
    )


def load_assignment(conn: Connection, assignment_id: str, rater: str) -> Assignment:
    """A rater's own assignment with its draft.

    Raises:
        DataError: there is none, or it is another rater's; the two look the same from outside.
    """
    query = (
        sa.select(assignments, items.c.payload, drafts.c.body.label("draft"))
        .join(items, items.c.id == assignments.c.item_id)
        .outerjoin(drafts, drafts.c.assignment_id == assignments.c.id)
        .where(assignments.c.id == assignment_id, assignments.c.rater_id == rater)
    )
    row = conn.execute(query).mappings().one_or_none()
    if row is None:
        raise missing("assignment", assignment_id)
    shown = round_row(conn, row["round_id"]).settings.show_draft
    return to_assignment(row, show_draft=shown, draft=row["draft"])


def hand_out(
    conn: Connection,
    found: Round,
    rater: str,
    item: str,
    *,
    reason: str,
    num_responses: int,
    repeat: int = 0,
) -> dict[str, Any]:
    """Write a fresh open assignment; the row, without the item's payload."""
    names = (found.settings.seed, "sides", rater, item, *((repeat,) if repeat else ()))
    moment = now()
    row = {
        "id": new_id(),
        "round_id": found.id,
        "item_id": item,
        "rater_id": rater,
        "repeat": repeat,
        "state": "open",
        "reason": reason,
        "permutation": list(permutation(num_responses, *names)),
        "guideline": found.guideline,
        "lease_expires": moment + found.settings.lease_seconds,
        "created_at": moment,
        "shown_at": None,
    }
    conn.execute(_INSERT, row)
    return row


def take(conn: Connection, item: str) -> None:
    """Count one more live assignment of an ordinary item, which grows if it was full.

    Only work that was already begun may make an item grow: a judgment that came after its lease
    had ended, or a task taken back by undo. It is one label more than planned, and none is lost;
    the round wants one more too, or it would seem done with an item still to judge.
    """
    round_id = conn.scalar(_GROW, {"item": item})
    if round_id is not None:
        conn.execute(_WANT, {"round": round_id})
    conn.execute(_TAKE, {"item": item})


def give_back(conn: Connection, item: str) -> None:
    """Count one live assignment of an ordinary item less."""
    conn.execute(_GIVE_BACK, {"item": item})


def counts(reason: str) -> bool:
    """Whether an assignment with this reason counts towards what its item needs."""
    return reason in ("random", "priority", "overlap", "chat")


def note_complete(conn: Connection, before: Round) -> None:
    """Write an event if the judgment just given was the last that the round wanted.

    Once for each number wanted: whoever undoes the last judgment and gives it again says nothing
    new, and a round that got more items is complete a second time.

    Args:
        conn: the transaction that counted the judgment.
        before: the round as it was before.
    """
    if before.ends_at is None or before.num_judgments + 1 < before.ends_at:
        return
    after = round_row(conn, before.id)
    if after.ends_at is not None and after.num_judgments >= after.ends_at:
        body = {"round": after.id, "num_judgments": after.num_judgments}
        key = f"complete:{after.id}:{after.ends_at}"
        events.append(conn, after.project_id, "round_complete", "system", body, key=key)


def require_open(row: sa.Row[Any], doing: str) -> None:
    """Refuse what can only be done with a task in hand.

    Raises:
        DataError: the assignment is done or skipped.
    """
    if row.state not in ("open", "expired"):
        raise DataError(f"this task is {row.state}; take it back with undo before {doing}")


def require_same(event: Event, kind: str, assignment_id: str) -> None:
    """Refuse an idempotency key that came before with another action or task.

    Raises:
        StoreError: the event that holds the key is something else.
    """
    if event.kind != kind or event.body.get("assignment") != assignment_id:
        raise StoreError("this key was used for something else; make a new one for each action")


def own_row(conn: Connection, assignment_id: str, rater: str) -> sa.Row[Any]:
    """The bare row of a rater's assignment.

    Raises:
        DataError: there is none, or it is another rater's.
    """
    row = conn.execute(_OWN, {"assignment": assignment_id, "rater": rater}).one_or_none()
    if row is None:
        raise missing("assignment", assignment_id)
    return row


def stored(conn: Connection, assignment_id: str) -> sa.Row[Any] | None:
    """The judgment of an assignment as it stands, if there is one."""
    return conn.execute(_STORED, {"assignment": assignment_id}).one_or_none()
