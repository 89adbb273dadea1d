"""Conversations as they stand: turns, their two answers, and what the model has read so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from accord.store import draws
from accord.store.database import Store
from accord.store.records import missing, parse_payload, round_row
from accord.store.schema import assignments, conversations, items, rounds, turns
from accord.types import Message, Prompt

TurnState: TypeAlias = Literal["waiting", "ready", "chosen", "failed"]


@dataclass(frozen=True, slots=True)
class Turn:
    """A message and the two answers to it.

    Attributes:
        responses: ``{"text", "model", "finished"}`` in canonical order; an edit is the third.
        permutation: slot s shows response ``permutation[s]``.
        continued: index of the response that the conversation goes on with.
    """

    id: str
    conversation_id: str
    position: int
    text: str
    state: TurnState
    generation_id: str
    assignment_id: str | None
    responses: tuple[dict[str, Any], ...]
    permutation: tuple[int, ...]
    continued: int | None


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation of one rater.

    Attributes:
        opening: messages before the rater's first, from the round's prompt.
        suggestion: what that prompt would have the rater say first; "" for nothing.
    """

    id: str
    round_id: str
    rater_id: str
    state: str
    opening: tuple[Message, ...]
    suggestion: str
    turns: tuple[Turn, ...]
    max_turns: int


def get(store: Store, rater: str, conversation: str) -> Conversation:
    """A conversation of the rater's own.

    Raises:
        DataError: the rater has no such conversation.
    """
    with store.read() as conn:
        return conversation_within(conn, rater, conversation)


def get_turn(store: Store, rater: str, turn: str) -> Turn:
    """A turn of a conversation of the rater's own.

    Raises:
        DataError: the rater has no such turn.
    """
    with store.read() as conn:
        return turn_within(conn, rater, turn)


def latest(store: Store, rater: str, round_id: str) -> Conversation | None:
    """The rater's open conversation in a round, the newest, to go on with after a reload."""
    query = (
        sa.select(conversations.c.id)
        .where(
            conversations.c.rater_id == rater,
            conversations.c.round_id == round_id,
            conversations.c.state == "open",
        )
        .order_by(conversations.c.created_at.desc())
        .limit(1)
    )
    with store.read() as conn:
        found = conn.scalar(query)
        return None if found is None else conversation_within(conn, rater, found)


def turn_within(conn: Connection, rater: str, turn: str) -> Turn:
    """A turn of a conversation of the rater's own, in a transaction under way.

    Raises:
        DataError: the rater has no such turn.
    """
    found = conn.scalar(sa.select(turns.c.conversation_id).where(turns.c.id == turn))
    mine = _turns(conn, rater, found) if found is not None else ()
    for one in mine:
        if one.id == turn:
            return one
    raise missing("turn", turn)


def prompt(conversation: Conversation, turn: Turn) -> Prompt:
    """The conversation up to where the two answers of a turn begin."""
    before = tuple(t for t in conversation.turns if t.position < turn.position)
    messages = (*history(conversation, before), Message("user", turn.text))
    return Prompt(f"{conversation.id}-{turn.position}", messages)


def conversation_within(conn: Connection, rater: str, conversation: str) -> Conversation:
    """A conversation of the rater's own, in a transaction under way.

    Raises:
        DataError: the rater has no such conversation.
    """
    row = conn.execute(
        sa.select(conversations, items.c.payload)
        .outerjoin(items, items.c.id == conversations.c.item_id)
        .where(conversations.c.id == conversation, conversations.c.rater_id == rater)
    ).one_or_none()
    if row is None:
        raise missing("conversation", conversation)
    opening: tuple[Message, ...] = ()
    if row.payload is not None:
        opening = parse_payload(row.payload)[0].messages
    last = opening[-1] if opening and opening[-1].role == "user" else None
    return Conversation(
        id=row.id,
        round_id=row.round_id,
        rater_id=rater,
        state=row.state,
        opening=opening[:-1] if last else opening,
        suggestion=last.content if last else "",
        turns=_turns(conn, rater, row.id),
        max_turns=round_row(conn, row.round_id).schema.max_turns,
    )


def _turns(conn: Connection, rater: str, conversation: str) -> tuple[Turn, ...]:
    query = (
        sa.select(turns, assignments.c.state.label("judged"), rounds.c.settings)
        .join(conversations, conversations.c.id == turns.c.conversation_id)
        .join(rounds, rounds.c.id == conversations.c.round_id)
        .outerjoin(assignments, assignments.c.id == turns.c.assignment_id)
        .where(conversations.c.id == conversation, conversations.c.rater_id == rater)
        .order_by(turns.c.position)
    )
    return tuple(_turn(row, rater) for row in conn.execute(query))


def _turn(row: sa.Row[Any], rater: str) -> Turn:
    # A choice that was undone leaves the assignment open: the turn waits for a choice again.
    undone = row.state == "chosen" and row.judged != "done"
    return Turn(
        id=row.id,
        conversation_id=row.conversation_id,
        position=row.position,
        text=row.text,
        state="ready" if undone else row.state,
        generation_id=row.generation_id,
        assignment_id=row.assignment_id,
        responses=tuple(row.responses or ()),
        permutation=draws.permutation(2, row.settings["seed"], "sides", rater, row.id),
        continued=row.continued,
    )


def messages(found: Conversation) -> list[Message]:
    """What its rater sees: all that was said, but not the two answers that wait for a choice."""
    last = found.turns[-1] if found.turns else None
    if last is None or last.state == "chosen":
        return history(found, found.turns)
    said = [] if last.state == "failed" else [Message("user", last.text)]
    return [*history(found, found.turns[:-1]), *said]


def history(found: Conversation, before: Sequence[Turn]) -> list[Message]:
    """The opening and some turns, each with the answer that it went on with."""
    messages = list(found.opening)
    for turn in before:
        messages.append(Message("user", turn.text))
        if turn.continued is not None:
            messages.append(Message("assistant", turn.responses[turn.continued]["text"]))
    return messages
