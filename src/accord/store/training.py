"""Who passed the training items of a round, who did not, and letting someone train again.

Answers count from the last time that a rater began; what they said before stays in the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from accord.errors import DataError
from accord.store import events, pick
from accord.store.database import Store
from accord.store.records import Round, missing, require_unfrozen, round_row
from accord.store.schema import accounts, assignments, items, round_raters
from accord.store.work import LATER


@dataclass(frozen=True, slots=True)
class Trainee:
    """How far a rater is with the training items of a round.

    ``right`` of the last ``num_counted`` answers are as the researchers chose, and ``needed`` must
    be. ``over``: all items were done and too few are right, or they were done ``too_fast``, as the
    median ``seconds`` of an answer says. ``attempt`` counts from 1.
    """

    rater: str
    num_done: int
    num_counted: int
    right: int
    needed: int
    passed: bool
    over: bool
    attempt: int
    seconds: float | None = None
    too_fast: bool = False


def list_trainees(store: Store, round_id: str) -> list[Trainee]:
    """Everyone who began in a round that has training items; who needs help comes first.

    Raises:
        DataError: there is no such round.
    """
    with store.read() as conn:
        found = round_row(conn, round_id)
        if not found.settings.training_items:
            return []
        query = sa.select(round_raters.c.rater_id, round_raters.c.state).where(
            round_raters.c.round_id == round_id
        )
        rows = [_trainee(conn, found, row.rater_id, row.state or {}) for row in conn.execute(query)]
    return sorted(rows, key=lambda row: (not row.over, row.passed, row.rater))


def trainee_in(conn: Connection, found: Round, rater: str) -> Trainee:
    """One rater's training in a round, within a transaction of the caller."""
    return _trainee(conn, found, rater, _state(conn, found.id, rater) or {})


def train_again(store: Store, round_id: str, rater: str, actor: str) -> None:
    """Let a rater do the training items afresh: who failed, or who should qualify again.

    The real items are closed to them until they pass; what they hold already may be handed in.

    Raises:
        DataError: the rater never began in this round, or it has no training.
        StoreError: the round is frozen.
    """

    def write(conn: Connection) -> None:
        found = round_row(conn, round_id)
        require_unfrozen(found)
        if conn.scalar(sa.select(accounts.c.id).where(accounts.c.id == rater)) is None:
            raise missing("account", rater)
        state = _state(conn, round_id, rater)
        if state is None or not found.settings.training_items:
            raise DataError(
                f"{rater} has no training in round {found.name!r} that could be done again"
            )
        attempt = state.get("attempt", 0) + 1
        fresh = {k: v for k, v in state.items() if k != "training"}  # its place in their order
        fresh |= {"results": [], "times": [], "attempt": attempt}
        mine = sa.and_(round_raters.c.round_id == round_id, round_raters.c.rater_id == rater)
        conn.execute(round_raters.update().where(mine).values(state=fresh))
        body = {"round": round_id, "rater": rater, "attempt": attempt + 1}
        events.append(conn, found.project_id, "training_again", actor, body)

    store.write(write)


def is_over(conn: Connection, found: Round, rater: str, state: dict[str, Any]) -> bool:
    """Whether a rater who has not passed has no training item left, in hand or to come."""
    attempt = state.get("attempt", 0)
    mine = sa.and_(assignments.c.item_id == items.c.id, assignments.c.rater_id == rater)
    here = sa.and_(items.c.round_id == found.id, items.c.role == "training")
    had = sa.exists().where(mine, assignments.c.repeat == attempt)
    if conn.scalar(sa.select(items.c.id).where(here, ~had).limit(1)) is not None:
        return False
    in_hand = sa.or_(
        assignments.c.state.in_(("open", "expired")),
        sa.and_(assignments.c.state == "skipped", assignments.c.skip_reason == LATER),
    )
    held = sa.select(assignments.c.id).where(
        assignments.c.round_id == found.id,
        assignments.c.rater_id == rater,
        assignments.c.reason == "training",
        in_hand,
    )
    return conn.scalar(held.limit(1)) is None


def _state(conn: Connection, round_id: str, rater: str) -> dict[str, Any] | None:
    query = sa.select(round_raters.c.state).where(
        round_raters.c.round_id == round_id, round_raters.c.rater_id == rater
    )
    row = conn.execute(query).one_or_none()
    return None if row is None else dict(row.state or {})


def _trainee(conn: Connection, found: Round, rater: str, state: dict[str, Any]) -> Trainee:
    wanted, share = found.settings.training_items, found.settings.training_pass
    counted = pick.trained(found.settings, state)
    return Trainee(
        rater=rater,
        num_done=len(state.get("results", [])),
        num_counted=counted.num,
        right=counted.right,
        # The least number that passes, found as `pick.trained` asks: by a quotient.
        needed=next((n for n in range(wanted) if n / wanted >= share), wanted),
        passed=counted.passed,
        over=not counted.passed and is_over(conn, found, rater, state),
        attempt=state.get("attempt", 0) + 1,
        seconds=counted.seconds,
        too_fast=counted.too_fast,
    )
