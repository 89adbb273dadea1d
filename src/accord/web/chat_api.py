"""Conversations over HTTP: start, say, watch two answers appear, choose, go on.

Nothing here tells a rater who wrote an answer, how long it took or how it was drawn.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request
from fastapi.sse import format_sse_event
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from accord.store import accounts, chat, dialogue, generation, rounds
from accord.store.accounts import Account
from accord.store.database import Store
from accord.store.dialogue import Conversation, Turn
from accord.store.generation import Progress
from accord.store.task import Presentation
from accord.web.errors import WebError
from accord.web.generator import Generator
from accord.web.rater_api import HIDDEN_SETTINGS, Id, Key, Object, Text, Worker
from accord.web.render import response_html
from accord.web.reveal import Event, PairedReveal
from accord.web.sessions import Stored

HEARTBEAT_SECONDS = 15.0
TICK_SECONDS = 0.1
POLL_SECONDS = 1.0
"""How often a stream looks by itself: another server may have stored a piece (PostgreSQL)."""
MAX_STREAMS = 8
"""Streams that one account may have open."""
FAILED = {
    "what": "The two answers could not be made.",
    "how": "Send your message again. If it stays so, tell the person who runs the studio.",
}

router = APIRouter(prefix="/api/v1", tags=["chat"])


class EventStream(StreamingResponse):
    """Server-sent events, encoded here: which bytes go when is what keeps the answers blind."""

    media_type = "text/event-stream"


class KeyRequest(BaseModel):
    """A wish that counts once, however often it is sent."""

    model_config = ConfigDict(frozen=True)

    key: Key


class MessageRequest(KeyRequest):
    """What the rater says."""

    text: Annotated[Text, Field(min_length=1, max_length=chat.MAX_CHARS)]


class ChoiceRequest(KeyRequest):
    """Which answer is better, by slot; see ``accord.store.task.ChatTurnBody``."""

    body: Object
    presentation: Presentation | None = None


def get_generator(request: Request) -> Generator:
    """Who makes the answers."""
    generator: Generator = request.app.state.generator
    return generator


Maker = Annotated[Generator, Depends(get_generator)]


@router.post("/rounds/{round_id}/conversations")
def start(round_id: Id, asked: KeyRequest, account: Worker, store: Stored) -> dict[str, Any]:
    """Begin a conversation in a chat round."""
    _require_read(store, account, round_id)
    return _show(store, chat.start(store, account.id, round_id, asked.key))


@router.get("/rounds/{round_id}/conversation")
def resume(round_id: Id, account: Worker, store: Stored) -> dict[str, Any]:
    """The conversation that the rater left open in a round, if there is one."""
    found = dialogue.latest(store, account.id, round_id)
    return {"conversation": None} if found is None else _show(store, found)


@router.get("/conversations/{conversation_id}")
def read(conversation_id: Id, account: Worker, store: Stored) -> dict[str, Any]:
    """A conversation as it stands."""
    return _show(store, dialogue.get(store, account.id, conversation_id))


@router.post("/conversations/{conversation_id}/messages")
def say(
    conversation_id: Id, asked: MessageRequest, account: Worker, store: Stored, maker: Maker
) -> dict[str, Any]:
    """Say something; two answers are on their way."""
    _require_read(store, account, dialogue.get(store, account.id, conversation_id).round_id)
    turn = chat.add_turn(store, account.id, conversation_id, asked.text, asked.key)
    maker.wake()
    return {"turn": turn.id, "html": response_html(turn.text)}


@router.post("/conversations/{conversation_id}/end")
def end(conversation_id: Id, asked: KeyRequest, account: Worker, store: Stored) -> dict[str, Any]:
    """Leave a conversation for good."""
    chat.end(store, account.id, conversation_id, asked.key)
    return {"over": True}


@router.post("/turns/{turn_id}/choice")
def choose(turn_id: Id, asked: ChoiceRequest, account: Worker, store: Stored) -> dict[str, Any]:
    """Say which answer is better; the conversation goes on with one of them."""
    turn = chat.choose(store, account.id, turn_id, asked.body, asked.key, asked.presentation)
    found = dialogue.get(store, account.id, turn.conversation_id)
    return {"saved": True, **_show(store, found)}


@router.post("/turns/{turn_id}/undo")
def undo(turn_id: Id, asked: KeyRequest, account: Worker, store: Stored) -> dict[str, Any]:
    """Take a choice back, where nothing followed."""
    turn = chat.undo(store, account.id, turn_id, asked.key)
    return _show(store, dialogue.get(store, account.id, turn.conversation_id))


@router.get("/turns/{turn_id}/stream", response_class=EventStream)
async def stream(
    turn_id: Id,
    account: Worker,
    store: Stored,
    maker: Maker,
    last_event_id: Annotated[str, Header(max_length=200)] = "",
) -> EventStream:
    """The two answers as they are written: ``reveal``, ``delta``, ``done`` and ``error`` events."""
    turn = await run_in_threadpool(dialogue.get_turn, store, account.id, turn_id)
    if maker.num_streams(account.id) >= MAX_STREAMS:
        raise WebError(
            429, f"You have {MAX_STREAMS} conversations open already.", "Close another tab."
        )
    reveal = PairedReveal(turn.permutation, last_event_id)
    parts = _watch(store, maker, account.id, turn, reveal)
    return EventStream(parts, headers={"X-Accel-Buffering": "no"})


async def _watch(
    store: Store, maker: Generator, account: str, turn: Turn, reveal: PairedReveal
) -> AsyncIterator[bytes]:
    """Events until both answers are complete or will not come."""
    seq, spoke = 0, time.monotonic()
    with maker.streaming(account), maker.news.listen(turn.generation_id) as news:
        yield b": hello\n\n"
        while True:
            news.clear()
            progress = await run_in_threadpool(_progress, store, turn.generation_id, seq)
            if progress.chunks:
                seq = progress.chunks[-1].seq
                reveal.take(progress.chunks)
            for event in reveal.tick():
                spoke = time.monotonic()
                yield _encode(event)
            if reveal.over:
                return
            if progress.state == "failed":
                yield format_sse_event(event="error", data_str=json.dumps(FAILED))
                return
            if time.monotonic() - spoke >= HEARTBEAT_SECONDS:
                spoke = time.monotonic()
                yield b": still here\n\n"
            if progress.chunks or reveal.behind:
                await asyncio.sleep(TICK_SECONDS)
            if not reveal.behind:
                await _wait(news)


async def _wait(news: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(POLL_SECONDS):
            await news.wait()
    except TimeoutError:
        return


def _progress(store: Store, generation_id: str, seq: int) -> Progress:
    with store.read() as conn:
        return generation.read_since(conn, generation_id, seq)


def _encode(event: Event) -> bytes:
    data = dict(event.data)
    if event.name == "done":
        data["html"] = response_html(data["text"])
    return format_sse_event(event=event.name, data_str=json.dumps(data), id=event.id)


def _require_read(store: Store, account: Account, round_id: str) -> None:
    """Refuse to go on under a guideline that the rater has not read."""
    found = rounds.get_round(store, round_id)
    if found.guideline > accounts.acknowledged_guideline(store, account.id, found.project_id):
        raise WebError(
            409, "The guideline has changed.", "Please read it first; nothing of yours is lost."
        )


def _show(store: Store, found: Conversation) -> dict[str, Any]:
    """A conversation as its rater may see it."""
    round_ = rounds.get_round(store, found.round_id)
    last = found.turns[-1] if found.turns else None
    waits = last if last is not None and last.state in ("waiting", "ready") else None
    return {
        "conversation": found.id,
        "round": found.round_id,
        "question": round_.schema.question,
        "schema": round_.schema.model_dump(mode="json", exclude=HIDDEN_SETTINGS),
        "messages": [
            {"role": m.role, "text": m.content, "html": response_html(m.content)}
            for m in dialogue.messages(found)
        ],
        "suggestion": "" if found.turns else found.suggestion,
        "turn": None if waits is None else waits.id,
        "assignment": None if waits is None else waits.assignment_id,
        "over": found.state != "open",
        "left": found.max_turns - len(found.turns),
    }
