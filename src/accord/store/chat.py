"""Conversations: a person writes, two answers come, the person chooses, one of them continues.

As in Bai et al. 2022, section 2.1. Each turn is an item of the round once it is judged: the
conversation so far as its prompt, the two answers in canonical order, and one assignment with the
judgment, so that all that reads judgments reads chats too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from accord.errors import DataError
from accord.store import draws, events, generation, judgments
from accord.store.columns import new_id, now
from accord.store.database import Store, StoreError
from accord.store.dialogue import (
    Conversation,
    Turn,
    conversation_within,
    get,
    get_turn,
    history,
    prompt,
    turn_within,
)
from accord.store.labels import HUMAN_EDIT
from accord.store.records import NewItem, Round, item_id, round_row
from accord.store.schema import (
    assignments,
    conversations,
    generations,
    items,
    round_raters,
    rounds,
    turns,
)
from accord.store.task import Presentation, TaskSchema
from accord.store.transcript import clean
from accord.store.work import own_row
from accord.types import Completion, Message

SOURCE = "chat"
"""``items.source`` of judged turns."""
MAX_CHARS = 20_000
"""Longest message."""
LEASE_SECONDS = 10 * 365 * 86_400.0
"""A turn is its rater's for good: nobody else can judge it."""


def start(store: Store, rater: str, round_id: str, key: str) -> Conversation:
    """Begin a conversation; the same key again gives the same one.

    In a round with prompts the rater gets one that they have not had.

    Raises:
        DataError: there is no such round.
        StoreError: it is no chat, is not open, or nobody answers in it.
    """

    def write(conn: Connection) -> str:
        found = _open_chat(conn, round_id)
        conversation = new_id()
        body = {"round": round_id, "conversation": conversation}
        event = events.append(conn, found.project_id, "conversation_started", rater, body, key=key)
        if event.new:
            conn.execute(
                conversations.insert().values(
                    id=conversation,
                    round_id=round_id,
                    rater_id=rater,
                    item_id=_next_prompt(conn, found, rater),
                )
            )
            _enter(conn, round_id, rater)
        return _named(event, "conversation")

    return get(store, rater, store.write(write))


def add_turn(store: Store, rater: str, conversation: str, text: str, key: str) -> Turn:
    """Say something; two answers are queued. The same key again gives the same turn.

    A turn whose answers failed is replaced.

    Raises:
        DataError: the message is empty or too long, or the rater has no such conversation.
        StoreError: the last answers wait for a choice, or the conversation is at its end.
    """
    if not text.strip():
        raise DataError("write something first; the message is empty")
    if len(text) > MAX_CHARS:
        raise DataError(f"a message has at most {MAX_CHARS} characters, not {len(text)}")
    said = clean(text)

    def write(conn: Connection) -> str:
        found = conversation_within(conn, rater, conversation)
        round_ = round_row(conn, found.round_id)
        turn = new_id()
        body = {"round": round_.id, "conversation": conversation, "turn": turn, "text": said}
        event = events.append(conn, round_.project_id, "message", rater, body, key=key)
        if event.new:
            _add(conn, found, _open_chat(conn, round_.id), turn, said)
        return _named(event, "turn")

    return get_turn(store, rater, store.write(write))


def choose(
    store: Store,
    rater: str,
    turn: str,
    body: Mapping[str, Any],
    key: str,
    presentation: Presentation | None = None,
) -> Turn:
    """Say which answer is better, and go on with the one that the round's schema says.

    Args:
        store: where the conversation is.
        rater: whose it is.
        turn: a turn whose two answers are there.
        body: a ``ChatTurnBody``, by slot.
        key: idempotency key. A new key changes the choice; what the conversation went on with
            changes only where nothing followed.
        presentation: when the client showed the two answers; None: it does not say.

    Raises:
        DataError: the body is not what the round asks for, or the rater has no such turn.
        StoreError: the answers are not there yet.
    """

    def write(conn: Connection) -> None:
        found = turn_within(conn, rater, turn)
        if found.assignment_id is None:
            raise StoreError("these answers are not complete yet; choose when both are there")
        row = own_row(conn, found.assignment_id, rater)
        judgment = judgments.submit_in(conn, row, body, key, presentation)
        if judgment.new:
            _go_on(conn, found, round_row(conn, judgment.round_id), judgment.outcome)

    store.write(write)
    return get_turn(store, rater, turn)


def undo(store: Store, rater: str, turn: str, key: str) -> Turn:
    """Take a choice back; what was said about it is kept as the draft of its assignment.

    Raises:
        DataError: the rater has no such turn.
        StoreError: nothing was chosen, the conversation went on, or the round is frozen.
    """

    def write(conn: Connection) -> None:
        found = turn_within(conn, rater, turn)
        conversation = conversation_within(conn, rater, found.conversation_id)
        round_ = round_row(conn, conversation.round_id)
        body = {"assignment": found.assignment_id, "turn": turn}
        if not events.append(conn, round_.project_id, "undo", rater, body, key=key).new:
            return
        if found.state != "chosen" or found.assignment_id is None:
            raise StoreError("there is no choice to take back here")
        if found.position != conversation.turns[-1].position:
            raise StoreError("the conversation went on from this choice; it cannot be taken back")
        if round_.state == "frozen":
            raise StoreError(f"round {round_.name!r} is frozen; its judgments cannot change")
        judgments.withdraw(conn, round_, own_row(conn, found.assignment_id, rater))
        reopened = assignments.update().where(assignments.c.id == found.assignment_id)
        conn.execute(reopened.values(state="open", lease_expires=now() + LEASE_SECONDS))
        if found.position + 1 >= conversation.max_turns:  # not one that the rater left
            _set_state(conn, found.conversation_id, "open")

    store.write(write)
    return get_turn(store, rater, turn)


def end(store: Store, rater: str, conversation: str, key: str) -> None:
    """Leave a conversation for good; answers under way are called off.

    Raises:
        DataError: the rater has no such conversation.
    """

    def write(conn: Connection) -> None:
        found = conversation_within(conn, rater, conversation)
        round_ = round_row(conn, found.round_id)
        body = {"round": round_.id, "conversation": conversation}
        if events.append(conn, round_.project_id, "conversation_ended", rater, body, key=key).new:
            for turn in found.turns:
                generation.cancel(conn, turn.generation_id)
                answered(conn, turn.generation_id)
            _set_state(conn, conversation, "done")

    store.write(write)


def answered(conn: Connection, generation_id: str) -> None:
    """The answers of a turn are there, or will not come."""
    row = conn.execute(
        sa.select(turns.c.id, generations.c.state, generations.c.results, conversations.c.rater_id)
        .join(generations, generations.c.id == turns.c.generation_id)
        .join(conversations, conversations.c.id == turns.c.conversation_id)
        .where(turns.c.generation_id == generation_id, turns.c.state == "waiting")
    ).one_or_none()
    if row is None:
        return
    values: dict[str, Any] = {"state": "failed"}
    if row.state == "done":
        kept = ("text", "model", "finished")
        responses = [{name: result[name] for name in kept} for result in row.results]
        found = turn_within(conn, row.rater_id, row.id)
        assignment = _make_item(conn, row.rater_id, found, responses)
        values = {"state": "ready", "responses": responses, "assignment_id": assignment}
    conn.execute(turns.update().where(turns.c.id == row.id).values(values))


def _add(conn: Connection, found: Conversation, round_: Round, turn: str, text: str) -> None:
    last = found.turns[-1] if found.turns else None
    position = _place(found, last)
    if last is not None and last.state == "failed":
        conn.execute(turns.delete().where(turns.c.id == last.id))
    before = tuple(t for t in found.turns if t.position < position)
    generation_id = generation.request(
        conn,
        [*history(found, before), Message("user", text)],
        _two(round_, found.id, position),
        round_.settings.speech,
        "chat",
        round_id=round_.id,
    )
    conn.execute(
        turns.insert().values(
            id=turn,
            conversation_id=found.id,
            position=position,
            text=text,
            generation_id=generation_id,
        )
    )


def _place(found: Conversation, last: Turn | None) -> int:
    """Where the next turn goes."""
    if found.state != "open":
        raise StoreError("this conversation has ended; start a new one")
    if last is None:
        return 0
    if last.state == "waiting":
        raise StoreError("the answers to your last message are still coming; wait for them")
    if last.state == "ready":
        raise StoreError("choose between the two answers first, then go on")
    return last.position if last.state == "failed" else last.position + 1


def _two(round_: Round, conversation: str, position: int) -> tuple[str, str]:
    """Who answers: two of the round's policies, drawn by the seed, or the only one twice."""
    policies = round_.settings.policies
    if not policies:
        raise StoreError("nobody answers in this round: name its policies in the settings")
    names = (round_.settings.seed, "policies", conversation, position)
    order = draws.permutation(len(policies), *names)
    return policies[order[0]], policies[order[-1] if len(order) < 2 else order[1]]


def _make_item(
    conn: Connection, rater: str, turn: Turn, responses: Sequence[Mapping[str, Any]]
) -> str:
    """The turn as an item of the round with the one assignment it will ever have; its id."""
    conversation = conversation_within(conn, rater, turn.conversation_id)
    round_ = round_row(conn, conversation.round_id)
    completions = tuple(Completion(r["text"], r["model"], r["finished"]) for r in responses)
    new = NewItem(prompt(conversation, turn), completions, source=SOURCE, needed=1)
    payload = new.payload()
    item, assignment, moment = item_id(round_.id, payload), new_id(), now()
    conn.execute(
        items.insert().values(
            id=item, round_id=round_.id, payload=payload, needed=1, taken=1, source=SOURCE
        )
    )
    conn.execute(
        rounds.update()
        .where(rounds.c.id == round_.id)
        .values(num_items=rounds.c.num_items + 1, num_wanted=rounds.c.num_wanted + 1)
    )
    conn.execute(
        assignments.insert().values(
            id=assignment,
            round_id=round_.id,
            item_id=item,
            rater_id=rater,
            reason="chat",
            permutation=list(turn.permutation),
            guideline=round_.guideline,
            lease_expires=moment + LEASE_SECONDS,
            created_at=moment,
        )
    )
    return assignment


def _go_on(conn: Connection, turn: Turn, round_: Round, outcome: Mapping[str, Any]) -> None:
    """Settle which answer the conversation goes on with, unless it went on already."""
    followed = conn.scalar(
        sa.select(sa.func.count()).where(
            turns.c.conversation_id == turn.conversation_id, turns.c.position > turn.position
        )
    )
    if followed:
        return
    schema, responses = round_.schema, list(turn.responses[:2])
    index = _continued(schema, outcome, draws.number(round_.settings.seed, "continue", turn.id))
    edited = outcome.get("edited")
    if edited is not None and edited["index"] == index:
        responses.append({"text": edited["text"], "model": HUMAN_EDIT, "finished": True})
        index = len(responses) - 1
    conn.execute(
        turns.update()
        .where(turns.c.id == turn.id)
        .values(state="chosen", continued=index, responses=responses, chosen_at=now())
    )
    if turn.position + 1 >= schema.max_turns:
        _set_state(conn, turn.conversation_id, "done")


def _continued(schema: TaskSchema, outcome: Mapping[str, Any], number: int) -> int:
    """Index of the response to go on with; where nobody was chosen, a draw decides.

    Who tries to make the model do harm chooses the worse answer; ``best`` goes on with the other.
    """
    if schema.continue_with == "random" or outcome["outcome"] != "best":
        return number % 2
    best = int(outcome["best"])
    turned = schema.continue_with == "best" and schema.chat_mode == "red_team"
    return 1 - best if turned else best


def _set_state(conn: Connection, conversation: str, state: str) -> None:
    conn.execute(
        conversations.update().where(conversations.c.id == conversation).values(state=state)
    )


def _open_chat(conn: Connection, round_id: str) -> Round:
    found = round_row(conn, round_id)
    if found.task != "chat":
        raise StoreError(f"round {found.name!r} is no chat")
    if found.state != "open":
        raise StoreError(f"round {found.name!r} is {found.state}; nobody can write in it now")
    return found


def _enter(conn: Connection, round_id: str, rater: str) -> None:
    """The rater's row of counters in the round."""
    mine = sa.and_(round_raters.c.round_id == round_id, round_raters.c.rater_id == rater)
    if conn.execute(sa.select(round_raters.c.rater_id).where(mine)).first() is None:
        conn.execute(round_raters.insert().values(round_id=round_id, rater_id=rater))


def _next_prompt(conn: Connection, found: Round, rater: str) -> str | None:
    """A prompt of the round that the rater has not had, in the seeded order."""
    had = sa.select(conversations.c.item_id).where(
        conversations.c.rater_id == rater, conversations.c.item_id.is_not(None)
    )
    query = (
        sa.select(items.c.id)
        .where(items.c.round_id == found.id, items.c.role == "normal", items.c.source != SOURCE)
        .where(items.c.id.not_in(had))
        .order_by(items.c.shuffle, items.c.id)
        .limit(1)
    )
    return conn.scalar(query)


def _named(event: events.Event, name: str) -> str:
    if name not in event.body:
        raise DataError("this idempotency key was used for something else; take a fresh one")
    return str(event.body[name])
