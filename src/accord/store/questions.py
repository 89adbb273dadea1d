"""What raters ask about a task, and what the people who run the round answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from accord.errors import DataError
from accord.store import events
from accord.store.columns import new_id, now
from accord.store.database import Store
from accord.store.records import missing, parse_payload, round_row
from accord.store.schema import items, questions
from accord.store.work import own_row, require_same

MAX_ANSWER_CHARS = 4000
ABOUT_CHARS = 120
"""How much of the task a rater is reminded of."""
_ANSWERED = sa.select(sa.func.max(questions.c.answered_at)).where(
    questions.c.round_id == sa.bindparam("round"), questions.c.rater_id == sa.bindparam("rater")
)


@dataclass(frozen=True, slots=True)
class Question:
    """What a rater asked about a task, and the answer, if it has one."""

    id: str
    rater: str
    item_id: str | None
    text: str
    at: float
    answer: str
    answered_by: str | None


@dataclass(frozen=True, slots=True)
class OwnQuestion:
    """A question as who asked it may see it again; ``about`` is how the task began."""

    id: str
    assignment: str | None
    about: str
    text: str
    answer: str


def ask(store: Store, rater: str, assignment_id: str, text: str, key: str) -> str:
    """Ask the researchers about a task; returns the question's id.

    Raises:
        DataError: the assignment is not this rater's, or nothing was asked.
        StoreError: the key was used for something else.
    """
    if not text.strip():
        raise DataError("write your question first")

    def write(conn: Connection) -> str:
        row = own_row(conn, assignment_id, rater)
        name = new_id()
        content = {"round": row.round_id, "assignment": row.id, "question": name}
        project = round_row(conn, row.round_id).project_id
        event = events.append(conn, project, "question", rater, content, key=key)
        if not event.new:
            require_same(event, "question", row.id)
        else:
            values = {"round_id": row.round_id, "item_id": row.item_id, "assignment_id": row.id}
            conn.execute(questions.insert().values(id=name, rater_id=rater, text=text, **values))
        return str(event.body["question"])

    return store.write(write)


def answer(store: Store, question_id: str, text: str, actor: str) -> str:
    """Answer a rater's question, or change the answer; returns the round it belongs to.

    Raises:
        DataError: no such question, or no words.
    """
    if not text.strip():
        raise DataError("an answer needs some words")
    said = text[:MAX_ANSWER_CHARS]
    this = questions.c.id == question_id

    def write(conn: Connection) -> str:
        round_id = conn.scalar(sa.select(questions.c.round_id).where(this))
        if round_id is None:
            raise missing("question", question_id)
        values = {"answer": said, "answered_by": actor, "answered_at": now()}
        conn.execute(questions.update().where(this).values(values))
        project = round_row(conn, round_id).project_id
        body = {"question": question_id, "text": said}
        events.append(conn, project, "question_answered", actor, body)
        return str(round_id)

    return store.write(write)


def of_round(store: Store, round_id: str) -> list[Question]:
    """What raters asked in a round: unanswered ones first, then the newest."""
    q = questions.c
    query = (
        sa.select(q.id, q.rater_id, q.item_id, q.text, q.at, q.answer, q.answered_by)
        .where(q.round_id == round_id)
        .order_by(q.answered_at.is_not(None), q.at.desc())
    )
    with store.read() as conn:
        return [Question(*row) for row in conn.execute(query)]


def of_rater(store: Store, rater: str, round_id: str) -> list[OwnQuestion]:
    """What a rater asked in a round, the newest first."""
    q = questions.c
    query = (
        sa.select(q.id, q.assignment_id, q.text, q.answer, items.c.payload)
        .outerjoin_from(questions, items, items.c.id == q.item_id)
        .where(q.round_id == round_id, q.rater_id == rater)
        .order_by(q.at.desc(), q.id)
    )
    with store.read() as conn:
        return [
            OwnQuestion(row.id, row.assignment_id, _about(row.payload), row.text, row.answer)
            for row in conn.execute(query)
        ]


def answered_at(store: Store, rater: str, round_id: str) -> float | None:
    """When the newest answer to a rater's questions was given (UTC seconds); None: none was."""
    with store.read() as conn:
        return answered_at_in(conn, rater, round_id)


def answered_at_in(conn: Connection, rater: str, round_id: str) -> float | None:
    """As :func:`answered_at`, within a transaction of the caller."""
    newest: float | None = conn.scalar(_ANSWERED, {"rater": rater, "round": round_id})
    return newest


def _about(payload: Any) -> str:
    if payload is None:
        return ""
    last = parse_payload(payload)[0].messages[-1].content
    line = " ".join(last.split())
    return line if len(line) <= ABOUT_CHARS else f"{line[:ABOUT_CHARS].rstrip()}…"
