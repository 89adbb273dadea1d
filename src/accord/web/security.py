"""What every request passes before a page or an endpoint sees it, and what every answer carries.

Nothing on a page runs unless it came as a file from this server: the content security policy
allows no inline script, no inline style and no ``eval``. A request that changes something must
come from a page of this server (``Origin``, ``Sec-Fetch-Site``); the token that a session must
show as well is checked in ``sessions``. Bodies are counted as they arrive, not as they announce
themselves.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from accord.web.errors import WebError, respond

CSP = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "font-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # same-origin, not no-referrer: under the latter a form's Origin is "null", and the check below
    # would have nothing to check.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
UPLOADS = ("/api/v1/lead/", "/lead/")
"""Where files may be uploaded; everything else a browser sends is short."""


class WebSettings(BaseModel):
    """How the studio is served."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str = "http://127.0.0.1:8000"
    """Address that raters type; links in invitations start with it. With https, cookies are only
    sent over https."""

    title: str = "accord studio"
    """Name in the browser's tab and at the top of each page."""

    max_body_bytes: Annotated[int, Field(ge=1024)] = 1 << 20
    """Largest request, in bytes."""

    max_upload_bytes: Annotated[int, Field(ge=1024)] = 64 << 20
    """Largest file that a lead may import, in bytes."""

    requests_per_second: Annotated[float, Field(gt=0)] = 50.0
    """Requests of one account, on average; four seconds' worth may come at once."""

    logins_per_minute: Annotated[float, Field(gt=0)] = 20.0
    """Attempts from one address to log in or to accept an invitation; the store limits the
    attempts on one name as well."""

    folder: Path | None = None
    """Folder for frozen rounds and backups. None: beside the SQLite file."""

    @property
    def secure(self) -> bool:
        """Whether the studio is reached over https."""
        return urlsplit(self.base_url).scheme == "https"


class SecurityHeaders:
    """Adds the headers above to every answer; answers are not stored unless they say otherwise."""

    def __init__(self, app: ASGIApp, *, secure: bool) -> None:
        self.app = app
        self.headers = dict(HEADERS)
        if secure:
            self.headers["strict-transport-security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(self.headers)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await self.app(scope, receive, send_with_headers)


class SameOrigin:
    """Refuses a change that another site's page asks for.

    Browsers say where a request comes from; programs say nothing and are let through, because
    they carry no cookie that someone else could borrow.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] == "http" and scope["method"] not in SAFE_METHODS:
            headers = Headers(scope=scope)
            site, origin = headers.get("sec-fetch-site"), headers.get("origin")
            foreign = site not in (None, "same-origin", "none")
            if foreign or (origin and urlsplit(origin).netloc != headers.get("host")):
                answer = respond(
                    Request(scope),
                    403,
                    "This came from another site's page.",
                    "Open the studio itself and try again there.",
                )
                await answer(scope, receive, send)
                return
        await self.app(scope, receive, send)


class BodyLimit:
    """Refuses bodies above a size, by what they announce and by what arrives.

    Where files may be uploaded the limit is wider, but only for those who may: a form is read
    before a route asks who sent it, so a stranger could make the server keep a file of that size.
    The refusal is raised where the body is read, so that it is answered like any other error.

    Args:
        app: what is behind.
        settings: the two limits.
        may_upload: whether who asks may send a file; called once, for a large body alone.
    """

    def __init__(
        self, app: ASGIApp, *, settings: WebSettings, may_upload: Callable[[Request], bool]
    ) -> None:
        self.app = app
        self.settings = settings
        self.may_upload = may_upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.settings.max_body_bytes
        wider = scope["path"].startswith(UPLOADS)
        announced = Headers(scope=scope).get("content-length", "0")
        arrived = 0

        async def check(size: int) -> None:
            nonlocal limit, wider
            if size > limit and wider:
                wider = False
                if await run_in_threadpool(self.may_upload, Request(scope)):
                    limit = self.settings.max_upload_bytes
            if size > limit:
                raise HTTPException(413)

        async def receive_counted() -> Message:
            nonlocal arrived
            await check(int(announced) if announced.isdecimal() else sys.maxsize)
            message = await receive()
            arrived += len(message.get("body", b""))
            await check(arrived)
            return message

        await self.app(scope, receive_counted, send)


@dataclass
class _Bucket:
    tokens: float
    at: float


class RateLimit:
    """A token bucket for each key, in memory: a restart forgives, a flood of keys is forgotten.

    Args:
        per_second: what flows in.
        burst: what a bucket holds, and so how much may come at once.
        clock: seconds; the tests bring their own.
    """

    MAX_KEYS = 10_000

    def __init__(
        self, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.per_second, self.burst, self.clock = per_second, burst, clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, key: str) -> float:
        """Take one token; the seconds until there would be one, 0 when it was taken."""
        with self._lock:
            now = self.clock()
            bucket = self._buckets.setdefault(key, _Bucket(self.burst, now))
            self._buckets.move_to_end(key)
            while len(self._buckets) > self.MAX_KEYS:
                self._buckets.popitem(last=False)
            gained = (now - bucket.at) * self.per_second
            bucket.tokens, bucket.at = min(self.burst, bucket.tokens + gained), now
            if bucket.tokens < 1:
                return (1 - bucket.tokens) / self.per_second
            bucket.tokens -= 1
            return 0.0

    def take(self, key: str) -> None:
        """Take one token.

        Raises:
            WebError: 429, with the seconds to wait.
        """
        seconds = self.wait(key)
        if seconds > 0:
            raise WebError(
                429,
                "That was too much at once.",
                f"Wait {max(1, round(seconds))} s and try again.",
                headers={"Retry-After": str(max(1, round(seconds)))},
            )
