"""Signed messages to a program of the lead's when something happens in a round.

The log is the queue: what was sent is noted in it, so a message survives a restart and comes at
least once, in order. Messages are made and signed as Standard Webhooks says
(https://www.standardwebhooks.com), for which many languages have a library, and carry ids alone:
no name, no text, no judgment. The address comes from the configuration, and is the only one asked.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import os
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

import httpx
import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from accord.config.webhooks import WebhookConfig, WebhookEvent
from accord.errors import AccordError, ConfigError
from accord.store import events, schema
from accord.store.columns import now
from accord.store.database import Store

log = logging.getLogger(__name__)

KINDS: dict[str, WebhookEvent] = {
    "round_opened": "round.opened",
    "round_complete": "round.complete",
    "round_closed": "round.closed",
    "snapshot": "round.frozen",
    "question": "question.asked",
    "adjudication_opened": "adjudication.opened",
}
"""Kind of an event in the log -> what it is called outside."""
TOLD = ("round", "item", "question", "hash", "num_judgments")
"""What of an event's body is told."""
NOTES = ("webhook_started", "webhook_sent", "webhook_given_up")
"""Kinds of the events that keep the place in the log."""
PREFIX = "whsec_"
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64
WAITS_SECONDS = (5.0, 30.0, 120.0, 600.0, 3600.0, 3 * 3600.0, 6 * 3600.0, 12 * 3600.0)
"""Between one try and the next; after the last one a message is given up."""
LOOK_SECONDS = 1.0
AFTER_TROUBLE_SECONDS = 30.0
TIMEOUT_SECONDS = 10.0


def read_secret(config: WebhookConfig) -> bytes:
    """The key that signs, from the environment.

    Raises:
        ConfigError: there is none, or it is not ``whsec_`` and 24 to 64 bytes in base64.
    """
    text = os.environ.get(config.secret_env, "")
    how = (
        f"set {config.secret_env} to a secret that the receiver has too; "
        '`echo "whsec_$(openssl rand -base64 32)"` makes one'
    )
    if not text:
        raise ConfigError(f"webhook.url is set and {config.secret_env} is not: {how}")
    try:
        secret = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConfigError(f"{config.secret_env} is not base64: {how}") from error
    if not MIN_SECRET_BYTES <= len(secret) <= MAX_SECRET_BYTES:
        raise ConfigError(
            f"{config.secret_env} has {len(secret)} bytes, and needs {MIN_SECRET_BYTES} to "
            f"{MAX_SECRET_BYTES}: {how}"
        )
    return secret


def sign(secret: bytes, name: str, at: int, body: bytes) -> str:
    """The header ``webhook-signature`` of a message.

    Args:
        secret: the bytes that both sides know.
        name: the message's id.
        at: seconds since 1970, so that an old message cannot be sent again by someone else.
        body: what is posted.
    """
    text = b"%s.%d.%s" % (name.encode(), at, body)
    return "v1," + base64.b64encode(hmac.digest(secret, text, hashlib.sha256)).decode()


@dataclass(frozen=True, slots=True)
class Message:
    """What is posted: ``id`` is the same at each try, ``event`` the place in the log."""

    id: str
    event: int
    type: WebhookEvent
    body: bytes


@dataclass(frozen=True, slots=True)
class Standing:
    """How the webhook does: host, last message that was taken, and what is wrong now, or ""."""

    host: str
    num_waiting: int
    sent_at: float | None
    problem: str


class Webhook:
    """Posts what happens to the configured address, one message after the other.

    Args:
        store: whose log is told.
        config: the address, and what is told.
        secret: from :func:`read_secret`.
    """

    def __init__(self, store: Store, config: WebhookConfig, secret: bytes) -> None:
        self._store, self._secret = store, secret
        self._url = config.url or ""
        self._kinds = [kind for kind, name in KINDS.items() if name in config.events]
        self._place: int | None = None
        self._tries, self._not_before, self._problem = 0, 0.0, ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Post no more; what waits is posted after the next start."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(2 * TIMEOUT_SECONDS)

    def standing(self) -> Standing:
        """How it does, for the lead's page."""
        sent = sa.select(sa.func.max(schema.events.c.at)).where(
            schema.events.c.project_id == schema.INSTALLATION,
            schema.events.c.kind == "webhook_sent",
        )
        with self._store.read() as conn:
            waiting = sa.select(sa.func.count()).select_from(self._due(conn).subquery())
            num, at = conn.scalar(waiting) or 0, conn.scalar(sent)
        return Standing(urlsplit(self._url).hostname or "", num, at, self._problem)

    def look(self) -> None:
        """Post what is due, oldest first, until one is not taken."""
        if self._place is None:
            self._place = self._store.write(_begin)
        while not self._stopping.is_set() and time.monotonic() >= self._not_before:
            message = self._next()
            if message is None:
                return
            self._tries += 1
            self._problem = self._post(message)
            if not self._problem:
                self._settle(message, "webhook_sent")
            elif self._tries > len(WAITS_SECONDS):
                self._settle(message, "webhook_given_up")
            else:
                self._not_before = time.monotonic() + WAITS_SECONDS[self._tries - 1]
                log.warning("webhook: %s was not taken: %s", message.type, self._problem)

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                self.look()
            except (AccordError, SQLAlchemyError):
                log.exception("the webhook has to wait")
                self._stopping.wait(AFTER_TROUBLE_SECONDS)

    def _due(self, conn: Connection) -> sa.Select[*tuple[object, ...]]:
        place = _place(conn) if self._place is None else self._place
        e = schema.events
        query = sa.select(e.c.id, e.c.project_id, e.c.kind, e.c.body, e.c.at, e.c.hash)
        return query.where(e.c.id > (place or 0), e.c.kind.in_(self._kinds)).order_by(e.c.id)

    def _next(self) -> Message | None:
        """The oldest event that was not told; without one, the place moves to the log's end."""
        with self._store.read() as conn:
            row = conn.execute(self._due(conn).limit(1)).one_or_none()
            if row is None:
                self._place = conn.scalar(sa.select(sa.func.max(schema.events.c.id)))
                return None
        said = orjson.loads(row.body)
        body = {
            "type": KINDS[row.kind],
            "timestamp": datetime.fromtimestamp(row.at, UTC).isoformat(),
            "data": {"project": row.project_id} | {k: said[k] for k in TOLD if k in said},
        }
        return Message(f"evt_{row.hash[:24]}", row.id, KINDS[row.kind], orjson.dumps(body))

    def _post(self, message: Message) -> str:
        """Post once; what went wrong, or ""."""
        at = int(now())
        headers = {
            "content-type": "application/json",
            "user-agent": "accord-studio",
            "webhook-id": message.id,
            "webhook-timestamp": str(at),
            "webhook-signature": sign(self._secret, message.id, at, message.body),
        }
        try:
            with (
                # No proxies from the environment, no redirects, and nothing read of the answer.
                httpx.Client(
                    timeout=TIMEOUT_SECONDS, trust_env=False, follow_redirects=False
                ) as client,
                client.stream("POST", self._url, content=message.body, headers=headers) as answer,
            ):
                return "" if answer.is_success else f"the answer was {answer.status_code}"
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return str(error) or type(error).__name__

    def _settle(self, message: Message, kind: str) -> None:
        """Note in the log that a message is done with, so that it is not posted again."""
        body = {"event": message.event, "message": message.id, "tries": self._tries}
        if self._problem:
            body["problem"] = self._problem
            log.error("webhook: %s is given up: %s", message.type, self._problem)
        self._store.write(
            lambda conn: events.append(conn, schema.INSTALLATION, kind, "system", body)
        )
        self._place, self._tries = message.event, 0


def _place(conn: Connection) -> int | None:
    """The event up to which all was told; None: nothing was ever."""
    e = schema.events
    here = sa.and_(e.c.project_id == schema.INSTALLATION, e.c.kind.in_(NOTES))
    body = conn.scalar(sa.select(e.c.body).where(here).order_by(e.c.seq.desc()).limit(1))
    return None if body is None else int(orjson.loads(body)["event"])


def _begin(conn: Connection) -> int:
    """The place to go on from. The first webhook of a studio is told nothing of what was before."""
    place = _place(conn)
    if place is None:
        place = conn.scalar(sa.select(sa.func.max(schema.events.c.id))) or 0
        body = {"event": place}
        events.append(conn, schema.INSTALLATION, "webhook_started", "system", body)
    return place
