"""Errors as people and programs get them: what went wrong, and how to mend it.

Under ``/api/`` an error is ``{"error": {"what": ..., "how": ...}}``, everywhere else a page. What
the server could not foresee is written to its log and shown as nothing but that.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from accord.errors import AccordError
from accord.store.database import StoreError
from accord.store.records import MissingError
from accord.web.render import page

LOG = logging.getLogger("accord.web")

BY_STATUS = {
    401: ("You are not signed in.", "Sign in and try again."),
    403: ("This is not open to you.", "Ask the person who runs the studio."),
    404: ("There is nothing at this address.", "Go back to the start page."),
    405: ("This address does not take that kind of request.", "Go back to the start page."),
    413: ("This is too large.", "Send less at once."),
}
UNFORESEEN = (
    "Something went wrong here, not with you.",
    "Try again; if it stays, tell the person who runs the studio. The log says more.",
)
DATABASE = (
    "The studio cannot use its database right now; nothing was saved.",
    "Try again in a minute. If it stays, the disk may be full or the database read-only.",
)


class WebError(AccordError):
    """A request that cannot be answered as asked.

    Attributes:
        status: HTTP status.
        what: what went wrong, a sentence.
        how: how to mend it, a sentence.
        headers: further headers of the answer.
    """

    def __init__(
        self, status: int, what: str, how: str = "", *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(f"{what} {how}".strip())
        self.status, self.what, self.how = status, what, how
        self.headers = dict(headers or {})


def is_api(request: Request) -> bool:
    """Whether a program, not a page, asks."""
    return request.url.path.startswith("/api/")


def respond(
    request: Request,
    status: int,
    what: str,
    how: str,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An error as the asker can read it."""
    if is_api(request):
        body = {"error": {"what": what, "how": how}}
        return JSONResponse(body, status, headers=dict(headers or {}))
    answer = page(request, "error.html", status=status, code=status, what=what, how=how)
    answer.headers.update(headers or {})
    return answer


def install(app: FastAPI, always: Mapping[str, str]) -> None:
    """Register the handlers of every kind of error that an endpoint may raise.

    ``always`` goes with the answer to an unforeseen error, which passes no middleware. The server
    logs that error, with its traceback.
    """

    @app.exception_handler(WebError)
    async def _web(request: Request, error: WebError) -> Response:
        if error.status == 401 and not is_api(request) and request.method == "GET":
            return RedirectResponse(f"/login?next={quote(request.url.path)}", 303)
        return respond(request, error.status, error.what, error.how, error.headers)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        what, how = BY_STATUS.get(error.status_code, (str(error.detail), ""))
        return respond(request, error.status_code, what, how, error.headers)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        problems = "; ".join(_problem(e["loc"], e["msg"]) for e in error.errors())
        return respond(request, 422, f"This request cannot be read: {problems}.", "Mend it.")

    @app.exception_handler(AccordError)
    async def _known(request: Request, error: AccordError) -> Response:
        if isinstance(error, StoreError) and isinstance(error.__cause__, DBAPIError):
            LOG.error("%s", error)  # it names the file, which is not for everyone
            return respond(request, 503, *DATABASE, {"Retry-After": "10"})
        statuses = ((MissingError, 404), (StoreError, 409))
        status = next((code for kind, code in statuses if isinstance(error, kind)), 400)
        return respond(request, status, *_sentences(str(error)))

    @app.exception_handler(Exception)
    async def _unforeseen(request: Request, error: Exception) -> Response:
        return respond(request, 500, *UNFORESEEN, always)


def _sentences(message: str) -> tuple[str, str]:
    """An error's message as what and how; accord's own part them with a semicolon."""
    what, _, how = message.partition("; ")
    return _sentence(what), _sentence(how)


def _sentence(text: str) -> str:
    text = text.strip()
    return f"{text[0].upper()}{text[1:]}{'' if text[-1] in '.?!' else '.'}" if text else ""


def _problem(place: tuple[int | str, ...], message: str) -> str:
    where = ".".join(str(part) for part in place if part != "body")
    return f"{where}: {message.lower()}" if where else message.lower()
