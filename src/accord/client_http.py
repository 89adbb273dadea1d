"""A connection to the studio: a token, calls that may be sent twice, and errors in plain words."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import httpx
import orjson
from pydantic import BaseModel, ConfigDict

from accord.errors import AccordError

TRIES = 4
FIRST_WAIT_SECONDS = 0.25
JSON = dict[str, Any]


class ClientError(AccordError, RuntimeError):
    """The studio refused a call, or could not be reached.

    ``status`` is the HTTP status, 0 if there was no answer.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Answer(BaseModel):
    """What the studio sends; fields that a newer studio adds are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class StreamEvent(Answer):
    """One step of two answers as they arrive: ``reveal``, ``delta``, ``done`` or ``error``."""

    name: str
    data: JSON


def new_key() -> str:
    """A fresh idempotency key: calls that share one are counted once."""
    return uuid.uuid4().hex


class Connection:
    """Sends calls with a token and turns refusals into :class:`ClientError`.

    Args:
        url: address of the studio, such as ``http://127.0.0.1:8765``.
        token: an API token; what it may do follows from its role.
        timeout_seconds: longest wait for one answer.
        transport: another way to reach the server, for tests.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        timeout_seconds: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=timeout_seconds,
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._http.close()

    def send(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """One call below ``/api/v1``; sent again when the network fails or the server is busy.

        Raises:
            ClientError: refused, or no answer after four tries.
        """
        if body is not None:
            options["content"] = orjson.dumps(body)
            options["headers"] = {"Content-Type": "application/json"}
        wait = FIRST_WAIT_SECONDS
        for last in (*[False] * (TRIES - 1), True):
            try:
                answer = self._http.request(method, f"/api/v1{path}", **options)
            except httpx.TransportError as error:
                if last:
                    raise ClientError(
                        f"no answer from {self._http.base_url} ({error}); is the studio running?"
                    ) from error
            else:
                if last or answer.status_code != 503:
                    return _checked(answer)
            time.sleep(wait)
            wait *= 2
        raise AssertionError("the last try returns or raises")

    def get(self, path: str, **params: Any) -> Any:
        """The JSON at ``path``."""
        return self.send("GET", path, params=params).json()

    def stream(self, path: str, after: str | None = None) -> Iterator[StreamEvent]:
        """The server-sent events at ``path``, those after the event id ``after``."""
        headers = {"Last-Event-ID": after} if after else {}
        with self._http.stream("GET", f"/api/v1{path}", headers=headers) as answer:
            if not answer.is_success:
                answer.read()
                _checked(answer)
            yield from stream_events(answer.iter_lines())

    def post(self, path: str, body: Any = None) -> Any:
        """Send JSON to ``path``; the JSON that comes back, None if nothing does."""
        answer = self.send("POST", path, {} if body is None else body)
        return answer.json() if answer.content else None


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    try:
        error = answer.json()["error"]
        said = f"{error['what']}; {error['how']}" if error.get("how") else str(error["what"])
    except (ValueError, KeyError, TypeError):
        said = answer.text[:200] or answer.reason_phrase
    place = f"{answer.request.method} {answer.request.url.path}"
    raise ClientError(f"{place}: {said} (status {answer.status_code})", answer.status_code)


def stream_events(lines: Iterator[str]) -> Iterator[StreamEvent]:
    """Server-sent events from their lines; comments (heartbeats) are passed over."""
    name, data = "message", ""
    for line in lines:
        if not line:
            if data:
                yield StreamEvent(name=name, data=orjson.loads(data))
            name, data = "message", ""
        elif line.startswith("event:"):
            name = line.removeprefix("event:").strip()
        elif line.startswith("data:"):
            data += line.removeprefix("data:").strip()
