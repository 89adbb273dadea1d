"""The queue of answers to be made: asked for, claimed under a lease, grown piece by piece, done.

One generation is one conversation to be answered in K slots. Its text grows as chunks, numbered
from 1 and never changed, so whoever reads them can go on after any of them. A chunk marked
``AFRESH`` starts its slot again: an answer whose first worker died, said differently by the next.

All functions take a connection, so that a caller can do several in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from accord.config.generators import Speech
from accord.store.columns import new_id, now
from accord.store.database import StoreError
from accord.store.schema import generation_chunks, generations, items
from accord.store.transcript import AFRESH, Chunk, Piece, clean, texts
from accord.types import Completion, Message

Purpose: TypeAlias = Literal["chat", "pregenerate", "draft"]
PRIORITY: dict[Purpose, float] = {"chat": 10.0, "pregenerate": 0.0, "draft": 0.0}
"""Somebody waits for a chat answer."""
LOOK_AHEAD = 64
"""Queued rows that a claim looks at beyond those it wants, to pass over rounds that have enough."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A generation that a worker has taken.

    Attributes:
        policies: one name a slot.
        key: what the draws are for; a slot's number is added.
        texts: what each slot has so far, from an earlier try.
        open_slots: the slots that are not done.
    """

    id: str
    messages: tuple[Message, ...]
    policies: tuple[str, ...]
    speech: Speech
    key: str
    attempts: int
    texts: tuple[str, ...]
    open_slots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """A generation as a reader finds it.

    Attributes:
        state: ``queued``, ``running``, ``done`` or ``failed``.
        chunks: those after the one asked for.
    """

    state: str
    error: str
    num_slots: int
    chunks: tuple[Chunk, ...]


def request(
    conn: Connection,
    messages: Sequence[Message],
    policies: Sequence[str],
    speech: Speech,
    purpose: Purpose,
    *,
    round_id: str | None = None,
    key: str | None = None,
    extra: dict[str, Any] | None = None,
) -> str:
    """Queue one generation; returns its id.

    Args:
        conn: a connection in a transaction.
        messages: the conversation up to where the model must speak.
        policies: names of the studio's configuration, one a slot.
        speech: how the answers are drawn.
        purpose: who needs it; chats go first.
        round_id: the round it is for.
        key: what the draws are for: equal keys and seeds give equal answers. None: its own id.
        extra: what the purpose's owner wants back when it is done.

    Raises:
        StoreError: nobody is to answer, or there is nothing to answer.
    """
    if not policies:
        raise StoreError("no policy answers in this round: name one in its settings (policies)")
    if not messages:
        raise StoreError("a conversation without messages cannot be answered")
    generation = new_id()
    conn.execute(
        generations.insert().values(
            id=generation,
            purpose=purpose,
            round_id=round_id,
            messages=[{"role": m.role, "content": m.content} for m in messages],
            policies=list(policies),
            params={
                "speech": speech.model_dump(),
                "key": generation if key is None else key,
                "extra": extra or {},
            },
            priority=PRIORITY[purpose],
        )
    )
    return generation


def claim(conn: Connection, worker: str, n: int, lease_seconds: float) -> list[Claimed]:
    """Take up to ``n`` queued generations, the most urgent first, then the oldest.

    A pre-generation whose round has enough ready (``extra["ahead"]`` open items) is passed over.
    """
    table = generations
    queued = conn.execute(
        sa.select(table)
        .where(table.c.state == "queued")
        .order_by(table.c.priority.desc(), table.c.created_at, table.c.id)
        .limit(n + LOOK_AHEAD)
    ).all()
    taken: list[Claimed] = []
    ready: dict[str, int] = {}
    for row in queued:
        ahead = row.params["extra"].get("ahead")
        if ahead is not None:
            if row.round_id not in ready:
                ready[row.round_id] = _num_ready(conn, row.round_id, ahead)
            if ready[row.round_id] >= ahead:
                continue
            ready[row.round_id] += 1
        taken.append(_claimed(conn, row))
        if len(taken) == n:
            break
    if taken:
        at = now()
        conn.execute(
            table.update()
            .where(table.c.id.in_([claimed.id for claimed in taken]))
            .values(
                state="running",
                worker=worker,
                lease_expires=at + lease_seconds,
                started_at=sa.func.coalesce(table.c.started_at, at),
                attempts=table.c.attempts + 1,
            )
        )
    return taken


def record(
    conn: Connection, worker: str, pieces: Iterable[Piece], lease_seconds: float
) -> tuple[list[str], list[str]]:
    """Store pieces and renew the leases they come under.

    Returns:
        Ids of the generations that are done with this, and of those that are no longer this
        worker's, whose pieces were dropped.
    """
    done: list[str] = []
    lost: list[str] = []
    for generation, its in _by_generation(pieces).items():
        if not renew(conn, worker, [generation], lease_seconds):
            lost.append(generation)
            continue
        last = conn.scalar(
            sa.select(sa.func.max(generation_chunks.c.seq)).where(
                generation_chunks.c.generation_id == generation
            )
        )
        conn.execute(
            generation_chunks.insert(),
            [
                {
                    "generation_id": generation,
                    "seq": (last or 0) + 1 + i,
                    "slot": piece.slot,
                    "text": piece.text,
                    "final": piece.final,
                    "finished_reason": piece.reason,
                    "at": now(),
                }
                for i, piece in enumerate(its)
            ],
        )
        finals = [piece for piece in its if piece.final]
        if finals and _settle(conn, generation, finals):
            done.append(generation)
    return done, lost


def renew(conn: Connection, worker: str, ids: Sequence[str], lease_seconds: float) -> int:
    """Hold leases for longer; returns how many of them are still this worker's."""
    table = generations
    return conn.execute(
        table.update()
        .where(table.c.id.in_(ids), table.c.worker == worker, table.c.state == "running")
        .values(lease_expires=now() + lease_seconds)
    ).rowcount


def fail(
    conn: Connection, worker: str, generation: str, error: str, *, again: bool, max_attempts: int
) -> bool:
    """A try has failed: queue it again, or give up; True when it was given up."""
    table = generations
    mine = (table.c.id == generation, table.c.worker == worker, table.c.state == "running")
    row = conn.execute(sa.select(table.c.attempts).where(*mine)).first()
    if row is None:
        return False
    hopeless = not again or row.attempts >= max_attempts
    tries = f" (tried {row.attempts} times)" if row.attempts > 1 else ""
    conn.execute(
        table.update()
        .where(*mine)
        .values(
            state="failed" if hopeless else "queued",
            error=clean(error + tries),
            worker=None,
            lease_expires=None,
            finished_at=now() if hopeless else None,
        )
    )
    return hopeless


def release(conn: Connection, worker: str) -> int:
    """A worker stopped in good order: what it had goes back to the queue, and no try is counted."""
    table = generations
    return conn.execute(
        table.update()
        .where(table.c.worker == worker, table.c.state == "running")
        .values(state="queued", worker=None, lease_expires=None, attempts=table.c.attempts - 1)
    ).rowcount


def expire(conn: Connection, max_attempts: int) -> tuple[int, list[str]]:
    """Leases that ran out: back to the queue, or given up.

    Returns:
        How many were queued again, and the ids of those given up.
    """
    table = generations
    late = conn.execute(
        sa.select(table.c.id, table.c.worker).where(
            table.c.state == "running", table.c.lease_expires < now()
        )
    ).all()
    error = "the worker that made this answer is gone"
    given_up = [
        row.id
        for row in late
        if fail(conn, row.worker, row.id, error, again=True, max_attempts=max_attempts)
    ]
    return len(late) - len(given_up), given_up


def cancel(conn: Connection, generation: str) -> None:
    """Nobody waits for it any more; what is done stays done."""
    table = generations
    conn.execute(
        table.update()
        .where(table.c.id == generation, table.c.state.in_(("queued", "running")))
        .values(state="failed", error="cancelled", worker=None, finished_at=now())
    )


def read_since(conn: Connection, generation: str, seq: int = 0) -> Progress:
    """Where a generation stands, with its chunks after ``seq``.

    Raises:
        StoreError: there is no such generation.
    """
    row = conn.execute(
        sa.select(generations.c.state, generations.c.error, generations.c.policies).where(
            generations.c.id == generation
        )
    ).first()
    if row is None:
        raise StoreError(f"no generation {generation!r}")
    table = generation_chunks
    rows = conn.execute(
        sa.select(table)
        .where(table.c.generation_id == generation, table.c.seq > seq)
        .order_by(table.c.seq)
    )
    chunks = tuple(Chunk(c.seq, c.slot, c.text, c.finished_reason == AFRESH, c.final) for c in rows)
    return Progress(row.state, row.error, len(row.policies), chunks)


def completions(conn: Connection, generation: str) -> tuple[Completion, ...]:
    """The answers of a generation that is done, in slot order.

    Raises:
        StoreError: it is not done.
    """
    results = conn.scalar(
        sa.select(generations.c.results).where(
            generations.c.id == generation, generations.c.state == "done"
        )
    )
    if results is None:
        raise StoreError(f"generation {generation!r} is not done")
    return tuple(Completion(r["text"], r["model"], r["finished"]) for r in results)


def any_queued(conn: Connection) -> bool:
    """Whether a claim might find something."""
    query = sa.select(generations.c.id).where(generations.c.state == "queued").limit(1)
    return conn.execute(query).first() is not None


def _by_generation(pieces: Iterable[Piece]) -> dict[str, list[Piece]]:
    grouped: dict[str, list[Piece]] = {}
    for piece in pieces:
        grouped.setdefault(piece.generation, []).append(piece)
    return grouped


def _settle(conn: Connection, generation: str, finals: Sequence[Piece]) -> bool:
    """Note slots that are whole; True when all are, and the generation is done."""
    table = generations
    row = conn.execute(sa.select(table).where(table.c.id == generation)).one()
    stored = texts(len(row.policies), read_since(conn, generation).chunks)
    results = list(row.results or [None] * len(row.policies))
    for piece in finals:
        results[piece.slot] = {
            "text": stored[piece.slot],
            "finished": piece.finished,
            "model": piece.model,
            "latency_seconds": round(now() - row.started_at, 3),
        }
    whole = all(result is not None for result in results)
    state = {"state": "done", "finished_at": now(), "worker": None} if whole else {}
    conn.execute(table.update().where(table.c.id == generation).values(results=results, **state))
    return whole


def _claimed(conn: Connection, row: Any) -> Claimed:
    chunks = read_since(conn, row.id).chunks if row.started_at else ()
    results = row.results or [None] * len(row.policies)
    return Claimed(
        id=row.id,
        messages=tuple(Message(**message) for message in row.messages),
        policies=tuple(row.policies),
        speech=Speech.model_validate(row.params["speech"]),
        key=row.params["key"],
        attempts=row.attempts + 1,
        texts=tuple(texts(len(row.policies), chunks)),
        open_slots=tuple(i for i, result in enumerate(results) if result is None),
    )


def _num_ready(conn: Connection, round_id: str, enough: int) -> int:
    """Open items of a round and generations on their way to it, counted up to about ``enough``."""
    open_items = (
        sa.select(items.c.id)
        .where(items.c.round_id == round_id, items.c.taken < items.c.needed)
        .limit(enough)
    )
    running = sa.select(sa.func.count()).where(
        generations.c.round_id == round_id, generations.c.state == "running"
    )
    counted = sa.select(sa.func.count()).select_from(open_items.subquery())
    return int(conn.scalar(counted) or 0) + int(conn.scalar(running) or 0)
