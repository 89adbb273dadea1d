"""The pages that work without JavaScript: signing in, joining, the start page, the guideline."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Form, Path, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from accord.store import accounts
from accord.store.accounts import Account, AccountError, LoginError, LoginLimitError
from accord.store.credentials import MIN_PASSWORD_CHARS
from accord.web.errors import WebError
from accord.web.rater_api import Id, guideline_of, open_round, open_rounds, stats
from accord.web.render import page
from accord.web.sessions import (
    WORKERS,
    Stored,
    address,
    cookie_of,
    find_account,
    require,
    require_form,
    sign_in,
    sign_out,
)

router = APIRouter(include_in_schema=False)

Token = Annotated[str, Path(pattern=r"^[0-9A-Za-z_-]{1,100}$")]
Worker = Annotated[Account, Depends(require(*WORKERS))]
FormWorker = Annotated[Account, Depends(require_form(*WORKERS))]
Name = Annotated[str, Form(max_length=200)]
Password = Annotated[str, Form(max_length=1000)]

TASK_TEXT = {
    "compare": "Read two responses and say which is better.",
    "rank": "Put several responses in order, best first.",
    "chat": "Talk with a model and choose between its answers.",
    "demonstrate": "Write the answer you would like to see.",
}
ROLE_TEXT = {
    "owner": "You will own this studio: you can do everything in it.",
    "researcher": "You will set up rounds, invite people, and see what comes of it.",
    "adjudicator": "You will judge, and decide where others differ.",
    "rater": "You will read what language models write and say what is better. What you say "
    "teaches a model what people want.",
    "viewer": "You will see how the work goes on, without taking part.",
}
LOOKS_ON = ("owner", "researcher", "viewer")
"""Whose start page is the overview of rounds."""


@router.get("/")
def start(
    request: Request, account: Annotated[Account, Depends(require(*accounts.ROLES))]
) -> Response:
    """The overview for those who lead, the rounds to work on for those who judge."""
    if account.role in LOOKS_ON:
        return RedirectResponse("/lead", 303)
    return home(request, account, request.app.state.store)


@router.get("/home")
def home(request: Request, account: Worker, store: Stored) -> Response:
    """The rounds to work on; leads judge, too."""
    return page(
        request,
        "home.html",
        rounds=open_rounds(store, account),
        stats=stats(store, account.id),
        task_text=TASK_TEXT,
        leads=account.role in LOOKS_ON,
    )


@router.get("/login")
def login_page(request: Request, next: str = "/") -> Response:
    """The form, or straight on for those who are signed in."""
    if find_account(request) is not None:
        return RedirectResponse(_inside(next), 303)
    return _login_page(request, next=next)


@router.post("/login")
def login(
    request: Request,
    store: Stored,
    name: Name = "",
    password: Password = "",
    next: Annotated[str, Form(max_length=500)] = "/",
) -> Response:
    """Begin a session, and end the one that the browser had."""
    request.app.state.logins.take(address(request))
    try:
        session = accounts.login(
            store, name, password, address=address(request), old_token=cookie_of(request)
        )
    except LoginLimitError as error:
        answer = _login_page(request, next=next, name=name, problem=str(error), status=429)
        answer.headers["retry-after"] = str(max(1, round(error.retry_seconds)))
        return answer
    except LoginError as error:
        return _login_page(request, next=next, name=name, problem=str(error), status=401)
    response = RedirectResponse(_inside(next), 303)
    sign_in(request, response, session)
    return response


@router.post("/logout")
def logout(
    request: Request, account: Annotated[Account, Depends(require_form(*accounts.ROLES))]
) -> Response:
    """End the session."""
    response = RedirectResponse("/login", 303)
    sign_out(request, response)
    return response


@router.get("/setup/{token}")
@router.get("/invite/{token}")
def join_page(request: Request, store: Stored, token: Token) -> Response:
    """What an invitation offers; looking at it does not use it up."""
    return _join_page(request, store, token)


@router.post("/setup/{token}")
@router.post("/invite/{token}")
def join(
    request: Request, store: Stored, token: Token, name: Name = "", password: Password = ""
) -> Response:
    """Make the account that an invitation offers, and sign it in."""
    request.app.state.logins.take(address(request))
    try:
        account = accounts.accept_invite(store, token, name, password)
    except AccountError as error:
        return _join_page(request, store, token, name=name, problem=str(error), status=400)
    session = accounts.start_session(store, account.id, old_token=cookie_of(request))
    response = RedirectResponse("/", 303)
    sign_in(request, response, session)
    return response


@router.get("/guideline/{round_id}")
def guideline(request: Request, account: Worker, store: Stored, round_id: Id) -> Response:
    """The guideline, with what changed since it was read."""
    found = open_round(store, round_id)
    about = guideline_of(store, account, found)
    return page(request, "guideline.html", round={"id": found.id, "title": found.name}, **about)


@router.post("/guideline/{round_id}")
def agree(
    account: FormWorker,
    store: Stored,
    round_id: Id,
    version: Annotated[int, Form(ge=1, le=10**6)],
) -> Response:
    """Note that the guideline was read, and go to work; if it changed meanwhile, read again."""
    found = open_round(store, round_id)
    if version != found.guideline:
        return RedirectResponse(f"/guideline/{found.id}", 303)
    accounts.acknowledge_guideline(store, account.id, found.project_id, version)
    return RedirectResponse(f"/work/{found.id}", 303)


@router.get("/work/{round_id}")
def work(request: Request, account: Worker, store: Stored, round_id: Id) -> Response:
    """The workspace, which asks the API for its tasks."""
    found = open_round(store, round_id)
    if found.state != "open":
        raise WebError(
            409, "This round is closed.", "Thank you. The start page shows what is open."
        )
    return page(request, "work.html", round={"id": found.id, "title": found.name})


def _login_page(
    request: Request, *, next: str, name: str = "", problem: str = "", status: int = 200
) -> HTMLResponse:
    where = _inside(next)
    return page(request, "login.html", status=status, next=where, name=name, problem=problem)


def _join_page(
    request: Request,
    store: Stored,
    token: str,
    *,
    name: str | None = None,
    problem: str = "",
    status: int = 200,
) -> HTMLResponse:
    try:
        offer = accounts.read_invite(store, token)
    except AccountError as error:
        raise WebError(404, str(error)) from error
    first = offer.role == "owner" and offer.created_by == "system"
    return page(
        request,
        "setup.html" if first else "invite.html",
        status=status,
        name=offer.name if name is None else name,
        role_text=ROLE_TEXT[offer.role],
        problem=problem,
        min_password=MIN_PASSWORD_CHARS,
    )


def _inside(address: str) -> str:
    """An address of this studio's own; anything else becomes the start page."""
    parts = urlsplit(address)
    inside = (
        address.startswith("/")
        and not parts.scheme
        and not parts.netloc
        and address.isprintable()
        and "\\" not in address
        and not address.startswith("//")
    )
    return address if inside else "/"
