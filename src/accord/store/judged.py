"""Everything said in a round, read at once: what a freeze is made of."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from accord.store import schema
from accord.store.labels import Said, left_out
from accord.store.records import Round, parse_payload, round_row


@dataclass(frozen=True, slots=True)
class Gathered:
    """A round as it stands.

    Attributes:
        found: the round.
        guideline: text of its guideline; "" if it has none.
        said: every judgment that stands, by event.
        settled: item -> the adjudicator's outcome and who gave it.
        unfinished: state -> number of tasks that gave no judgment.
    """

    found: Round
    guideline: str
    said: list[Said]
    settled: dict[str, tuple[dict[str, Any], str]]
    unfinished: dict[str, int]


def gather(conn: Connection, round_id: str) -> Gathered:
    """Read a round with all its judgments.

    Raises:
        DataError: there is no such round.
    """
    found = round_row(conn, round_id)
    j, a, i, e = schema.judgments, schema.assignments, schema.items, schema.events
    query = (
        sa.select(
            j.c.event_id.label("event"),
            e.c.hash.label("event_hash"),
            j.c.assignment_id.label("assignment"),
            j.c.item_id.label("item"),
            j.c.rater_id.label("rater"),
            *(i.c.role, a.c.reason, a.c.repeat, a.c.permutation, j.c.outcome, j.c.guideline),
            *(j.c.revision, j.c.active_ms, j.c.at),
            *(a.c.shown_at, a.c.both_complete_at, a.c.first_key_at),
        )
        .join_from(j, a, a.c.id == j.c.assignment_id)
        .join(i, i.c.id == j.c.item_id)
        .join(e, e.c.id == j.c.event_id)
        .where(j.c.round_id == round_id)
        .order_by(j.c.event_id)
    )
    judged = sa.select(j.c.item_id).where(j.c.round_id == round_id)
    contents = sa.select(i.c.id, i.c.payload, i.c.answer).where(i.c.id.in_(judged))
    about = {
        row.id: (*parse_payload(row.payload)[:2], row.answer) for row in conn.execute(contents)
    }
    said = []
    for row in conn.execute(query):
        prompt, completions, answer = about[row.item]
        fields = {**row._mapping, "permutation": tuple(row.permutation)}
        said.append(Said(**fields, prompt=prompt, completions=completions, answer=answer))
    d, g = schema.adjudications, schema.guidelines
    words = sa.select(d.c.item_id, d.c.outcome, d.c.resolved_by).where(
        d.c.round_id == round_id, d.c.state == "resolved", d.c.outcome.is_not(None)
    )
    states = (
        sa.select(a.c.state, sa.func.count().label("num"))
        .where(a.c.round_id == round_id, a.c.state != "done")
        .group_by(a.c.state)
    )
    text = sa.select(g.c.text).where(
        g.c.project_id == found.project_id, g.c.version == found.guideline
    )
    return Gathered(
        found,
        conn.scalar(text) or "",
        said,
        {row.item_id: (row.outcome, row.resolved_by or "") for row in conn.execute(words)},
        {row.state: row.num for row in conn.execute(states)},
    )


def snapshot(gathered: Gathered) -> dict[str, Any]:
    """The events behind the judgments, and a hash over them and the adjudicators' outcomes."""
    rows = [[said.event, said.event_hash] for said in gathered.said]
    words = sorted([item, outcome] for item, (outcome, _) in gathered.settled.items())
    digest = hashlib.sha256(orjson.dumps([rows, words], option=orjson.OPT_SORT_KEYS)).hexdigest()
    return {"round": gathered.found.id, "sha256": digest, "events": [event for event, _ in rows]}


def line(said: Said) -> bytes:
    """One judgment as the rater gave it, with why it became no label."""
    row = {
        "event": said.event,
        "assignment": said.assignment,
        "item": said.item,
        "prompt_id": said.prompt.id,
        "models": [completion.model for completion in said.completions],
        "rater": said.rater,
        "role": said.role,
        "reason": said.reason,
        "repeat": said.repeat,
        "permutation": said.permutation,
        "guideline": said.guideline,
        "revision": said.revision,
        "active_ms": said.active_ms,
        "shown_at": said.shown_at,
        "both_complete_at": said.both_complete_at,
        "first_key_at": said.first_key_at,
        "at": said.at,
        "outcome": said.outcome,
        "left_out": left_out(said),
    }
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
