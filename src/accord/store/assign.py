"""Who judges what next: leases, overlap, checks in the mix, training first, adjudication.

The rules: no item twice to one rater (anchors return, once a batch), never more live and done
assignments of an item than it needs, a lease that ends gives its place back. Every query reads an
index from where it left off, so that a rater waits no longer at the millionth judgment.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from accord.store import adjudicate, events, pick, training
from accord.store.columns import now
from accord.store.database import Store
from accord.store.draws import role_of_draw
from accord.store.pick import Desk
from accord.store.records import Round, missing, round_row, to_round
from accord.store.schema import accounts, assignments, drafts, items, round_raters, rounds
from accord.store.work import (
    LATER,
    Assignment,
    counts,
    give_back,
    hand_out,
    own_row,
    require_open,
    require_same,
    take,
    to_assignment,
)

MAX_HELD = 10
"""Open tasks that one rater may hold in one round."""

# Statements of the hot path are built once: making one costs more than running it.
_OPEN_ROUNDS = (
    sa.select(rounds)
    .where(rounds.c.state == "open", rounds.c.task != "chat")
    .order_by(rounds.c.created_at)
)
_OPEN_ROUND = _OPEN_ROUNDS.where(rounds.c.id == sa.bindparam("round"))
_DESK = (
    sa.select(accounts.c.role, round_raters.c.num_drawn, round_raters.c.state)
    .select_from(
        accounts.outerjoin(
            round_raters,
            sa.and_(
                round_raters.c.rater_id == accounts.c.id,
                round_raters.c.round_id == sa.bindparam("round"),
            ),
        )
    )
    .where(accounts.c.id == sa.bindparam("rater"))
)
_LEASE = (
    items.update()
    .where(items.c.id == sa.bindparam("item"))
    .values(taken=items.c.taken + sa.bindparam("step"))
    .returning(items.c.payload, items.c.taken)
)
_HELD = (
    sa.select(assignments, items.c.payload, drafts.c.body.label("draft"))
    .join(items, items.c.id == assignments.c.item_id)
    .outerjoin(drafts, drafts.c.assignment_id == assignments.c.id)
    .where(
        assignments.c.round_id == sa.bindparam("round"),
        assignments.c.rater_id == sa.bindparam("rater"),
        assignments.c.state.in_(("open", "expired", "skipped")),
        sa.or_(assignments.c.state != "skipped", assignments.c.skip_reason == LATER),
        sa.or_(
            assignments.c.state == "open",
            items.c.taken < items.c.needed,
            assignments.c.reason.not_in(("random", "priority", "overlap")),
        ),
    )
)
_LAPSED = sa.select(assignments.c.id, assignments.c.item_id, assignments.c.reason).where(
    assignments.c.round_id == sa.bindparam("round"),
    assignments.c.state == "open",
    assignments.c.lease_expires < sa.bindparam("moment"),
)
_SHEET = sa.select(round_raters.c.num_done, round_raters.c.state).where(
    round_raters.c.round_id == sa.bindparam("round"),
    round_raters.c.rater_id == sa.bindparam("rater"),
)
_ORDINARY = sa.select(sa.func.count()).where(
    assignments.c.round_id == sa.bindparam("round"),
    assignments.c.rater_id == sa.bindparam("rater"),
    assignments.c.state == "done",
    assignments.c.reason.in_(("random", "priority", "overlap")),
)


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a rater is in a round.

    ``left`` is the most that is left for this rater; ``training_left`` the training items still
    to do, ``trained`` whether the real ones are open to them, and ``training_over`` whether they
    did all training items and did not pass, so that nothing comes until a lead helps.
    """

    done: int
    left: int
    trained: bool
    training_left: int
    training_over: bool


def next_assignment(
    store: Store, rater: str, round_id: str | None = None, *, exclude: Collection[str] = ()
) -> Assignment | None:
    """The rater's next task: one they hold already, else a fresh one; None when there is none.

    Args:
        store: where the work is.
        rater: account id.
        round_id: the round; None: every open round, oldest first.
        exclude: assignments that the rater's screen holds already; their leases are renewed.

    Raises:
        DataError: there is no such account or round.
    """
    found = prefetch(store, rater, 1, round_id, exclude=exclude)
    return found[0] if found else None


def prefetch(
    store: Store,
    rater: str,
    n: int,
    round_id: str | None = None,
    *,
    exclude: Collection[str] = (),
) -> list[Assignment]:
    """Up to ``n`` tasks, as :func:`next_assignment` would give them one after the other."""

    def write(conn: Connection) -> list[Assignment]:
        served: list[Assignment] = []
        for found in _rounds(conn, round_id):
            if len(served) < n:
                served += serve_in(conn, found, rater, n - len(served), exclude)
        return served

    return store.write(write)


def skip(store: Store, rater: str, assignment_id: str, reason: str, key: str) -> None:
    """Put a task back for others. With the reason ``later`` it returns to this rater at the end.

    Raises:
        DataError: the assignment is not this rater's, or not open.
        StoreError: the key was used for something else.
    """

    def write(conn: Connection) -> None:
        row = own_row(conn, assignment_id, rater)
        body = {"assignment": row.id, "item": row.item_id, "reason": reason}
        project = round_row(conn, row.round_id).project_id
        event = events.append(conn, project, "skip", rater, body, key=key)
        if not event.new:
            require_same(event, "skip", row.id)
            return
        require_open(row, "you skip it")
        if row.state == "open" and counts(row.reason):
            give_back(conn, row.item_id)
        _set(conn, row.id, state="skipped", skip_reason=reason[:200], finished_at=now())

    store.write(write)


def release(store: Store, rater: str, assignment_id: str) -> None:
    """Give a task back unjudged and without a mark, as if its lease had ended.

    Raises:
        DataError: the assignment is not this rater's.
    """

    def write(conn: Connection) -> None:
        row = own_row(conn, assignment_id, rater)
        if row.state == "open":
            _expire(conn, row.id, row.item_id, row.reason)

    store.write(write)


def standing(store: Store, rater: str, round_id: str) -> Standing:
    """How far a rater is in a round.

    Raises:
        DataError: there is no such round.
    """
    with store.read() as conn:
        return standing_in(conn, round_row(conn, round_id), rater)


def standing_in(conn: Connection, found: Round, rater: str) -> Standing:
    """As :func:`standing`, within a transaction of the caller."""
    here = {"round": found.id, "rater": rater}
    row = conn.execute(_SHEET, here).one_or_none()
    done, state = (row.num_done, row.state) if row else (0, {})
    results = state.get("results", [])
    left = found.num_left
    if row is None or left > found.num_items - done:  # otherwise the slow count says nothing
        left = min(left, max(0, found.num_items - (conn.scalar(_ORDINARY, here) or 0)))
    wanted = found.settings.training_items
    trained = pick.trained(found.settings, state).passed
    over = not trained and training.is_over(conn, found, rater, state)
    return Standing(
        done=done,
        left=left,
        trained=trained,
        training_left=0 if trained or over else max(1, wanted - len(results)),
        training_over=over,
    )


def _rounds(conn: Connection, round_id: str | None) -> list[Round]:
    """The rounds to serve from; a chat makes its own items, so it is never among them."""
    query, names = (_OPEN_ROUNDS, {}) if round_id is None else (_OPEN_ROUND, {"round": round_id})
    found = [to_round(row) for row in conn.execute(query, names)]
    if not found and round_id is not None:
        round_row(conn, round_id)  # says so if there is no such round
    return found


def serve_in(
    conn: Connection, found: Round, rater: str, n: int, exclude: Collection[str] = ()
) -> list[Assignment]:
    """As :func:`prefetch` from one open round that is no chat, within a transaction of the caller.

    Raises:
        DataError: there is no such account.
    """
    desk = _desk(conn, found, rater)
    _sweep(conn, found.id, desk.now)
    rows = _held(conn, found.id, rater)
    served: list[Assignment] = []
    for row in rows:
        if row["id"] in exclude:
            if row["state"] == "open":
                _set(conn, row["id"], lease_expires=desk.lease_end)
        elif len(served) < n and row["state"] != "skipped" and _reopen(desk, row):
            served.append(_again(desk, row))
    held = sum(row["state"] == "open" for row in rows)
    desk.open_training = sum(row["reason"] == "training" for row in rows if row["state"] == "open")
    while len(served) < n and held < MAX_HELD and (fresh := _fresh(desk)) is not None:
        served.append(fresh)
        held += 1
    for row in rows:
        if len(served) < n and row["state"] == "skipped" and row["id"] not in exclude:
            served += [_again(desk, row)] if _reopen(desk, row) else []
    desk.save()
    return served


def _desk(conn: Connection, found: Round, rater: str) -> Desk:
    row = conn.execute(_DESK, {"round": found.id, "rater": rater}).one_or_none()
    if row is None:
        raise missing("account", rater)
    if row.num_drawn is None:
        conn.execute(round_raters.insert().values(round_id=found.id, rater_id=rater))
    return Desk(conn, found, rater, row.role, row.num_drawn or 0, row.state or {}, now())


def _fresh(desk: Desk) -> Assignment | None:
    """A task that this rater never had."""
    found = desk.round
    if desk.role == "adjudicator" and (
        item := adjudicate.next_item(desk.conn, found.id, desk.rater)
    ):
        return _hand(desk, item, "adjudication")
    if not pick.trained(found.settings, desk.state).passed:
        item = pick.training_item(desk)
        desk.open_training += item is not None
        again: int = desk.state.get("attempt", 0)
        return _hand(desk, item, "training", again) if item else None
    if _spent(desk):
        return None
    role = role_of_draw(found.settings, found.id, desk.rater, desk.num_drawn)
    repeat = desk.num_drawn // found.settings.batch_size if role == "anchor" else 0
    item = pick.check_item(desk, role, repeat) if role != "normal" else None
    if item is not None:
        desk.num_drawn += 1
        return _hand(desk, item, role, repeat)
    chosen = pick.ordinary_item(desk)
    if chosen is None:
        return None
    desk.num_drawn += 1
    return _hand(desk, chosen.id, chosen.reason)


def _spent(desk: Desk) -> bool:
    """Whether the round's budget is given or given out."""
    budget = desk.round.budget
    if budget is None:
        return False
    live = sa.select(sa.func.count()).where(
        assignments.c.round_id == desk.round.id,
        assignments.c.state == "open",
        assignments.c.reason.in_(("random", "priority", "overlap")),
    )
    return desk.round.num_judgments + (desk.conn.scalar(live) or 0) >= budget


def _hand(desk: Desk, item: str, reason: str, repeat: int = 0) -> Assignment:
    ordinary = counts(reason)
    row = desk.conn.execute(_LEASE, {"item": item, "step": int(ordinary)}).one()
    if ordinary and row.taken > 1:
        reason = "overlap"
    made = hand_out(
        desk.conn,
        desk.round,
        desk.rater,
        item,
        reason=reason,
        num_responses=len(row.payload["completions"]),
        repeat=repeat,
    )
    shown = desk.round.settings.show_draft
    return to_assignment({**made, "payload": row.payload}, show_draft=shown)


def _held(conn: Connection, round_id: str, rater: str) -> list[RowMapping]:
    """What a rater may go on with: open tasks first, then lapsed ones, then those put off."""
    place = {"open": 0, "expired": 1, "skipped": 2}
    rows = conn.execute(_HELD, {"round": round_id, "rater": rater}).mappings().all()
    return sorted(rows, key=lambda row: (place[row["state"]], row["created_at"], row["id"]))


def _reopen(desk: Desk, row: RowMapping) -> bool:
    """Make a task live again for the rater who had it; False if its place is gone."""
    if row["state"] != "open":
        if row["reason"] == "adjudication" and not adjudicate.is_open(desk.conn, row["item_id"]):
            return False
        if counts(row["reason"]):
            if _spent(desk):
                return False
            take(desk.conn, row["item_id"])
    _set(desk.conn, row["id"], state="open", lease_expires=desk.lease_end)
    return True


def _again(desk: Desk, row: RowMapping) -> Assignment:
    now_open = {**row, "state": "open", "lease_expires": desk.lease_end}
    shown = desk.round.settings.show_draft
    return to_assignment(now_open, show_draft=shown, draft=row["draft"])


def _sweep(conn: Connection, round_id: str, moment: float) -> None:
    """Take back what was leased and not done in time."""
    for row in conn.execute(_LAPSED, {"round": round_id, "moment": moment}).all():
        _expire(conn, row.id, row.item_id, row.reason)


def _expire(conn: Connection, assignment_id: str, item: str, reason: str) -> None:
    _set(conn, assignment_id, state="expired")
    if counts(reason):
        give_back(conn, item)


def _set(conn: Connection, assignment_id: str, **values: Any) -> None:
    conn.execute(assignments.update().where(assignments.c.id == assignment_id).values(values))
