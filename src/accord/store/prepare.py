"""Answers made ahead: a round's prompts are queued, and what is done becomes its items.

A rater then never waits for a model. With ``ahead`` the worker keeps that many items ready and
rests, so that a policy which is replaced has not spoken in vain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from accord.errors import AccordError
from accord.store import chat, events, generation, intake, items
from accord.store.database import Store, StoreError
from accord.store.records import NewItem, Round, round_row
from accord.store.schema import generations
from accord.types import Message, Prompt, Sample

CHUNK_PROMPTS = 200
"""Prompts queued in one transaction."""
SYSTEM = "system"
"""Actor of events that no person caused."""


def fill_round(
    store: Store,
    round_id: str,
    prompts: Iterable[Prompt],
    policies: Sequence[str] = (),
    num_candidates: int | None = None,
    *,
    ahead: int | None = None,
    source: str = "generated",
) -> int:
    """Queue candidates for prompts; each becomes an item of the round when its answers are done.

    A prompt that was queued before is passed over, so the same call may be repeated.

    Args:
        store: where the round is.
        round_id: a round to compare, to rank, or to demonstrate with a draft.
        prompts: each ends where the model must speak.
        policies: names in the studio's configuration; candidate k comes from policy k modulo their
            number. (): those in the round's settings.
        num_candidates: per prompt. None: one draft to demonstrate, otherwise two, or one of each
            policy where there are more.
        ahead: keep so many items ready and no more. None: make all.
        source: kept with the items.

    Returns:
        How many prompts were queued.

    Raises:
        StoreError: the round is a chat, takes no more items, or nobody is to answer.
    """
    with store.read() as conn:
        found = round_row(conn, round_id)
    named = tuple(policies) or found.settings.policies
    _check(found, named)
    usual = 1 if found.task == "demonstrate" else max(2, len(named))
    count = num_candidates or usual
    more: dict[str, Any] = {"project": found.project_id, "source": source}
    if ahead is not None:
        more["ahead"] = ahead
    slots = [named[k % len(named)] for k in range(count)]
    known = _known(store, round_id)
    unique = {prompt.id: prompt for prompt in prompts if prompt.id not in known}
    fresh = list(unique.values())
    for start in range(0, len(fresh), CHUNK_PROMPTS):
        part = fresh[start : start + CHUNK_PROMPTS]
        store.write(partial(_queue, found=found, prompts=part, policies=slots, more=more))
    return len(fresh)


def deliver(conn: Connection, done: Sequence[str], given_up: Sequence[str]) -> None:
    """What follows when generations end: chat turns are ready or failed, prompts become items.

    Call it in the transaction that ends them.
    """
    ids = [*done, *given_up]
    if not ids:
        return
    rows = conn.execute(sa.select(generations).where(generations.c.id.in_(ids))).all()
    for row in rows:
        if row.purpose == "chat":
            chat.answered(conn, row.id)
        elif row.state == "done":
            _add_items(conn, row)
        else:
            extra = row.params["extra"]
            body = {"round": row.round_id, "prompt": extra["prompt"]["id"], "error": row.error}
            events.append(conn, extra["project"], "generation_failed", SYSTEM, body)


def _check(found: Round, policies: Sequence[str]) -> None:
    if found.task == "chat":
        raise StoreError("a chat round is answered while people write; there is nothing to prepare")
    if found.state not in ("draft", "open"):
        raise StoreError(f"round {found.name!r} is {found.state} and takes no more items")
    if not policies:
        raise StoreError("no policy to answer: name one, or set the round's policies")


def _known(store: Store, round_id: str) -> set[str]:
    """Ids of the prompts that were queued before, whatever came of them."""
    query = sa.select(generations.c.params).where(
        generations.c.round_id == round_id, generations.c.purpose.in_(("pregenerate", "draft"))
    )
    with store.read() as conn:
        return {params["extra"]["prompt"]["id"] for params in conn.scalars(query)}


def _queue(
    conn: Connection,
    found: Round,
    prompts: Sequence[Prompt],
    policies: Sequence[str],
    more: dict[str, Any],
) -> None:
    for prompt in prompts:
        generation.request(
            conn,
            prompt.messages,
            policies,
            found.settings.speech,
            "draft" if found.task == "demonstrate" else "pregenerate",
            round_id=found.id,
            key=f"{found.id}:{prompt.id}",
            extra={"prompt": asdict(prompt), **more},
        )


def _add_items(conn: Connection, row: Any) -> None:
    found = round_row(conn, row.round_id)
    if found.state not in ("draft", "open"):
        return  # the answers stay with the generation; nobody will judge them
    told = row.params["extra"]["prompt"]
    messages = tuple(Message(**message) for message in told["messages"])
    prompt = Prompt(told["id"], messages, tuple(told["tags"]))
    answers, source = generation.completions(conn, row.id), row.params["extra"]["source"]
    try:
        if found.task == "demonstrate":
            new = [NewItem(prompt, answers[:1], source=source)]
        else:
            new = intake.new_items([Sample(prompt, answers)], found.task, source=source)
        items.add_within(conn, found.id, new, SYSTEM)
    except AccordError as error:
        body = {"round": found.id, "prompt": prompt.id, "error": str(error)}
        events.append(conn, found.project_id, "generation_failed", SYSTEM, body)
