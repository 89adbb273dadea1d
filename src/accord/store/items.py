"""Items of a round: checked all at once, named by their content, added in short transactions."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from accord.errors import DataError
from accord.store import events
from accord.store.database import Store, StoreError
from accord.store.draws import calibrated, shuffle
from accord.store.records import (
    AddReport,
    Item,
    ItemRole,
    NewItem,
    Round,
    item_id,
    missing,
    round_row,
    to_item,
)
from accord.store.schema import items, rounds
from accord.store.task import SLOTS, Task

CHUNK_ITEMS = 500
"""Items added in one transaction: a vote waits for one of these at most."""
NUM_RESPONSES: dict[Task, tuple[int, int]] = {
    "compare": (2, 2),
    "rank": (2, len(SLOTS)),
    "chat": (0, 2),
    "demonstrate": (0, 1),
}
ANSWERS = {"best", "outcome", "ranks"}


def add_items(store: Store, round_id: str, new: Iterable[NewItem], actor: str) -> AddReport:
    """Add items to a round that is not closed; what it has already is counted, not added.

    Everything is checked before anything is written. Items go in by transactions of
    ``CHUNK_ITEMS``; after a crash half-way, add the same file again.

    Raises:
        DataError: every item that does not fit the round, by its place in ``new``, from 1.
        StoreError: the round is closed or frozen.
    """
    with store.read() as conn:
        found = round_row(conn, round_id)
    rows = list(new)
    problems = [
        f"item {place}: {problem}"
        for place, row in enumerate(rows, 1)
        for problem in _problems(found, row)
    ]
    if problems:
        shown = problems[:20] + ([f"... and {len(problems) - 20} more"] * (len(problems) > 20))
        raise DataError("\n".join(shown))
    unique: dict[str, NewItem] = {}
    payloads: dict[str, dict[str, Any]] = {}
    for row in rows:
        payload = row.payload()
        name = item_id(round_id, payload)
        unique.setdefault(name, row)
        payloads[name] = payload
    added = 0
    ordered = [(name, row, payloads[name]) for name, row in unique.items()]
    for start in range(0, len(ordered), CHUNK_ITEMS):
        chunk = ordered[start : start + CHUNK_ITEMS]
        added += store.write(partial(_add, round_id=round_id, chunk=chunk, actor=actor))
    return AddReport(added, len(rows) - added)


def add_within(conn: Connection, round_id: str, new: Iterable[NewItem], actor: str) -> int:
    """Add a few items in a transaction under way; returns how many were new.

    Raises:
        DataError: an item does not fit the round.
        StoreError: the round is closed or frozen.
    """
    found, chunk = round_row(conn, round_id), {}
    for row in new:
        for problem in _problems(found, row):
            raise DataError(problem)
        payload = row.payload()
        name = item_id(round_id, payload)
        chunk[name] = (name, row, payload)
    return _add(conn, round_id, list(chunk.values()), actor)


def get_item(store: Store, item: str) -> Item:
    """An item by id; not for a rater's eyes.

    Raises:
        DataError: there is none.
    """
    with store.read() as conn:
        row = conn.execute(sa.select(items).where(items.c.id == item)).one_or_none()
    if row is None:
        raise missing("item", item)
    return to_item(row)


def list_items(
    store: Store, round_id: str, role: ItemRole = "normal", *, after: str = "", limit: int = 100
) -> list[Item]:
    """Items of a round with one role by id, a page at a time: ``after`` is the last id seen."""
    where = sa.and_(items.c.round_id == round_id, items.c.role == role, items.c.id > after)
    query = sa.select(items).where(where).order_by(items.c.id).limit(limit)
    with store.read() as conn:
        return [to_item(row) for row in conn.execute(query)]


def _add(
    conn: Connection,
    round_id: str,
    chunk: Sequence[tuple[str, NewItem, Mapping[str, Any]]],
    actor: str,
) -> int:
    conn.execute(sa.select(rounds.c.id).where(rounds.c.id == round_id).with_for_update())
    found = round_row(conn, round_id)
    if found.state not in ("draft", "open"):
        raise StoreError(
            f"round {found.name!r} is {found.state} and takes no more items; open it, or make a "
            "new round"
        )
    there = set(conn.scalars(sa.select(items.c.id).where(items.c.id.in_([n for n, _, _ in chunk]))))
    fresh = [row for row in chunk if row[0] not in there]
    if not fresh:
        return 0
    values, normal = [], found.num_items
    for name, new, payload in fresh:
        values.append(_values(found, normal, name, new, payload))
        normal += new.role == "normal"
    conn.execute(items.insert(), values)
    wanted = sum(row["needed"] for row in values)
    conn.execute(
        rounds.update()
        .where(rounds.c.id == round_id)
        .values(num_items=normal, num_wanted=rounds.c.num_wanted + wanted)
    )
    digest = hashlib.sha256("".join(sorted(row["id"] for row in values)).encode()).hexdigest()
    body = {"round": round_id, "num_items": len(values), "sha256": digest}
    events.append(conn, found.project_id, "items_added", actor, body)
    return len(values)


def _values(
    found: Round, place: int, name: str, new: NewItem, payload: Mapping[str, Any]
) -> dict[str, Any]:
    """A row of the table; ``place`` counts the ordinary items before this one."""
    settings = found.settings
    normal = new.role == "normal"
    pool = normal and calibrated(settings, found.id, place)
    usual = max(settings.overlap, settings.calibration_overlap) if pool else settings.overlap
    return {
        "id": name,
        "round_id": found.id,
        "payload": payload,
        "role": new.role,
        "answer": None if new.answer is None else dict(new.answer),
        "calibration": pool,
        "needed": (new.needed or usual) if normal else 0,
        "priority": new.priority,
        "shuffle": shuffle(settings, name),
        "source": new.source,
    }


def _problems(found: Round, new: NewItem) -> Iterator[str]:
    """What keeps an item out of a round."""
    low, high = NUM_RESPONSES[found.task]
    num = len(new.completions)
    if not low <= num <= high:
        wanted = str(low) if low == high else f"{low} to {high}"
        yield f"a {found.task} round takes {wanted} responses an item, not {num}"
    if not new.prompt.messages:
        yield "its prompt has no messages"
    if new.needed is not None and new.needed < 1:
        yield f"needed is 1 rater or more, not {new.needed}"
    if not math.isfinite(new.priority):
        yield f"its priority is a finite number, not {new.priority}"
    if new.scores is not None and len(new.scores) != num:
        yield f"{len(new.scores)} scores for {num} responses; give one each, or none"
    if found.purpose == "head_to_head" and new.role == "normal":
        models = [completion.model for completion in new.completions]
        if len(set(models)) < num or not all(models):
            yield f"a head-to-head pair comes from two named models, not {models}"
    if new.role in ("gold", "attention", "training"):
        yield from _answer_problems(found, new)


def _answer_problems(found: Round, new: NewItem) -> Iterator[str]:
    if found.task not in ("compare", "rank"):
        yield f"a {found.task} round has no right answers; leave {new.role} items out"
        return
    answer = new.answer or {}
    given = ANSWERS & set(answer)
    schema = found.schema
    allowed = {
        "tie": schema.allow_tie,
        "both_bad": schema.allow_both_bad,
        "cannot_compare": schema.allow_cannot_compare,
    }
    if len(given) != 1:
        yield f"a {new.role} item needs its answer: best, outcome or ranks"
    elif "best" in answer and answer["best"] not in range(len(new.completions)):
        yield f"answer: best is the index of a response, from 0, not {answer['best']!r}"
    elif "outcome" in answer and answer["outcome"] not in list(allowed):
        yield f"answer: outcome is tie, both_bad or cannot_compare, not {answer['outcome']!r}"
    elif "outcome" in answer and found.task == "rank":
        yield "answer: a ranking is right by its best or its ranks, not by an outcome"
    elif "outcome" in answer and not allowed[answer["outcome"]]:
        yield f"answer: this round does not allow {answer['outcome']!r}, so nobody can be right"
    elif "ranks" in answer and found.task == "compare":
        yield "answer: a pair is right by its best or its outcome, not by ranks"
    elif "ranks" in answer and not _places(answer["ranks"], len(new.completions)):
        yield "answer: ranks has one place for each response, 0 for the best"


def _places(ranks: Any, num: int) -> bool:
    """Whether these are places that a ranking can have."""
    fits = isinstance(ranks, list | tuple) and len(ranks) == num
    return fits and all(type(place) is int and place >= 0 for place in ranks)
