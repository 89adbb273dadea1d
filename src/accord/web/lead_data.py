"""What the lead's figures are computed from: counts in SQL, and verdicts as records.

Statistics rest on the newest :data:`MAX_JUDGMENTS` judgments of a round, so that a page of a round
with a million of them still opens; the page says so when it happens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from accord.store import schema
from accord.store.columns import now
from accord.store.labels import pairs
from accord.store.records import Round, parse_payload
from accord.types import Comparison, Completion, Prompt

MAX_JUDGMENTS = 20_000
HOUR_SECONDS = 3600.0
ACTIVE_SECONDS = 900.0
SHOWN_HOURS = 24
MAX_TIMED = 1000
"""Chats whose waiting times are told: the newest."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One judgment with what it was about; ``outcome`` is by canonical index."""

    assignment: str
    item: str
    rater: str
    role: str
    reason: str
    repeat: int
    permutation: tuple[int, ...]
    outcome: dict[str, Any]
    active_ms: int
    at: float
    prompt: Prompt
    completions: tuple[Completion, ...]
    scores: tuple[float | None, ...]
    answer: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a round is.

    ``wanted`` is None where nothing limits it; ``seconds_left`` is None where nobody worked in the
    last hour. ``by_hour`` counts the judgments of the last 24 hours, oldest first.
    """

    done: int
    wanted: int | None
    items: int
    open_tasks: int
    last_hour: int
    raters: int
    active_raters: int
    seconds_left: float | None
    by_hour: tuple[int, ...]

    @property
    def share(self) -> float | None:
        """Done of wanted, 0 to 1."""
        return min(1.0, self.done / self.wanted) if self.wanted else None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Judgments or tasks that give no label, and why."""

    why: str
    num: int
    more: str = ""


@dataclass(frozen=True, slots=True)
class Answers:
    """How the models of a round keep up with its people.

    ``ready`` counts items that wait for a rater. ``first_seconds`` is how long people waited in
    their newest chats until both answers had words to show: the median and the 95th percentile;
    None where nobody chatted.
    """

    queued: int
    running: int
    failed: int
    ready: int
    num_timed: int
    first_seconds: tuple[float, float] | None


def answers(conn: Connection, found: Round) -> Answers:
    """What is answered, what waits, and how long people wait."""
    g, c, i = schema.generations, schema.generation_chunks, schema.items
    counted = sa.select(g.c.state, sa.func.count()).where(g.c.round_id == found.id)
    states = {row[0]: row[1] for row in conn.execute(counted.group_by(g.c.state))}
    newest = (
        sa.select(g.c.id, g.c.created_at)
        .where(g.c.round_id == found.id, g.c.purpose == "chat", g.c.state == "done")
        .order_by(g.c.created_at.desc())
        .limit(MAX_TIMED)
        .subquery()
    )
    slots = (
        sa.select(newest.c.id, (sa.func.min(c.c.at) - newest.c.created_at).label("wait"))
        .join_from(newest, c, c.c.generation_id == newest.c.id)
        .where(c.c.text != "")
        .group_by(newest.c.id, newest.c.created_at, c.c.slot)
        .subquery()
    )
    # Neither answer is shown before the other has something to show: the later one counts.
    both = sa.select(sa.func.max(slots.c.wait)).group_by(slots.c.id)
    waits = sorted(float(row[0]) for row in conn.execute(both))
    open_items = sa.select(i.c.id).where(i.c.round_id == found.id, i.c.taken < i.c.needed)
    return Answers(
        queued=states.get("queued", 0),
        running=states.get("running", 0),
        failed=states.get("failed", 0),
        ready=_count(conn, open_items),
        num_timed=len(waits),
        first_seconds=(waits[len(waits) // 2], waits[int(0.95 * len(waits))]) if waits else None,
    )


def progress(conn: Connection, found: Round) -> Progress:
    """Counts of a round, each by an indexed query."""
    j, a = schema.judgments, schema.assignments
    at = now()
    mine = j.c.round_id == found.id
    rounding = 0.5 if conn.dialect.name == "postgresql" else 0.0  # SQLite's cast cuts off
    hours = sa.cast((at - j.c.at) / HOUR_SECONDS - rounding, sa.Integer)
    by_hour = conn.execute(
        sa.select(hours, sa.func.count())
        .where(mine, j.c.at > at - SHOWN_HOURS * HOUR_SECONDS)
        .group_by(hours)
    )
    recent: dict[int, int] = {row[0]: row[1] for row in by_hour}
    raters = sa.select(schema.round_raters.c.rater_id).where(
        schema.round_raters.c.round_id == found.id
    )
    active = sa.select(j.c.rater_id).where(mine, j.c.at > at - ACTIVE_SECONDS).distinct()
    leased = sa.select(a.c.id).where(
        a.c.round_id == found.id, a.c.state == "open", a.c.lease_expires > at
    )
    last_hour = _count(conn, sa.select(j.c.assignment_id).where(mine, j.c.at > at - HOUR_SECONDS))
    chat = found.task == "chat"
    num_done = (
        _count(conn, sa.select(j.c.assignment_id).where(mine)) if chat else found.num_judgments
    )
    wanted = found.ends_at
    left = None if wanted is None else max(0, wanted - num_done)
    return Progress(
        done=num_done,
        wanted=wanted,
        items=found.num_items,
        open_tasks=_count(conn, leased),
        last_hour=last_hour,
        raters=_count(conn, raters),
        active_raters=_count(conn, active),
        seconds_left=left / last_hour * HOUR_SECONDS if left is not None and last_hour else None,
        by_hour=tuple(recent.get(h, 0) for h in reversed(range(SHOWN_HOURS))),
    )


def _count(conn: Connection, query: sa.Select[Any]) -> int:
    return int(conn.execute(sa.select(sa.func.count()).select_from(query.subquery())).scalar_one())


def judged(conn: Connection, round_id: str, limit: int = MAX_JUDGMENTS) -> list[Judged]:
    """The newest judgments of a round, oldest first."""
    j, a, i = schema.judgments, schema.assignments, schema.items
    query = (
        sa.select(
            j.c.assignment_id, j.c.item_id, j.c.rater_id, i.c.role, a.c.reason, a.c.repeat,
            a.c.permutation, j.c.outcome, j.c.active_ms, j.c.at, i.c.payload, i.c.answer,
        )
        .join_from(j, a, a.c.id == j.c.assignment_id)
        .join(i, i.c.id == j.c.item_id)
        .where(j.c.round_id == round_id)
        .order_by(j.c.at.desc())
        .limit(limit)
    )  # fmt: skip
    known: dict[str, tuple[Prompt, tuple[Completion, ...], tuple[float | None, ...]]] = {}
    rows = []
    for row in conn.execute(query):
        if row.item_id not in known:
            known[row.item_id] = parse_payload(row.payload)
        rows.append(
            Judged(
                row.assignment_id, row.item_id, row.rater_id, row.role, row.reason, row.repeat,
                tuple(row.permutation), row.outcome, row.active_ms, row.at,
                *known[row.item_id], row.answer,
            )
        )  # fmt: skip
    return rows[::-1]


def comparisons(rows: Sequence[Judged], strength_steps: int) -> tuple[list[Comparison], list[bool]]:
    """Judgments as comparisons in canonical order, and whether the first was shown before.

    A ranking gives all its pairs. What could not be compared, and demonstrations, give none.
    """
    found: list[Comparison] = []
    first_on_a: list[bool] = []
    for row in rows:
        for i, j, choice in pairs(row.outcome):
            step = row.outcome.get("strength")
            strength = step / strength_steps if step and strength_steps else None
            name = Prompt(row.item, row.prompt.messages)
            found.append(
                Comparison(
                    name, row.completions[i], row.completions[j], choice, strength,
                    rater=row.rater, id=row.assignment,
                )
            )  # fmt: skip
            first_on_a.append(row.permutation.index(i) < row.permutation.index(j))
    return found, first_on_a


def left_out(conn: Connection, round_id: str, rows: Sequence[Judged]) -> list[LeftOut]:
    """Everything that a rater did and that becomes no label, with its reason."""
    a, e = schema.assignments, schema.events
    found = []
    kinds = [row.outcome.get("outcome") for row in rows if row.role == "normal"]
    found.append(LeftOut("could not be compared", kinds.count("cannot_compare")))
    found.append(
        LeftOut("both bad", kinds.count("both_bad"), "kept as labels; there is no pair in them")
    )
    for role, text in (
        ("gold", "items with a known answer"),
        ("attention", "attention items"),
        ("training", "training items"),
        ("anchor", "anchors, which watch for drift"),
    ):
        found.append(LeftOut(text, sum(row.role == role for row in rows)))
    skipped = conn.execute(
        sa.select(a.c.skip_reason, sa.func.count())
        .where(a.c.round_id == round_id, a.c.state == "skipped")
        .group_by(a.c.skip_reason)
    ).all()
    found += [LeftOut("skipped", num, reason or "no reason given") for reason, num in skipped]
    expired = sa.select(a.c.id).where(a.c.round_id == round_id, a.c.state == "expired")
    found.append(LeftOut("not answered in time", _count(conn, expired), "given to someone else"))
    undone = (
        sa.select(e.c.id)
        .join_from(e, a, a.c.id == e.c.assignment_id)
        .where(a.c.round_id == round_id, e.c.kind == "undo")
    )
    found.append(LeftOut("taken back by the rater", _count(conn, undone), "judged again later"))
    return [row for row in found if row.num]
