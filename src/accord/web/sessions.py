"""Who asks, and may they: sessions of browsers, tokens of programs, roles.

A browser is known by an opaque cookie that scripts cannot read, a program by a bearer token; the
store keeps only their hashes. A new session begins at each sign-in and each accepted invitation,
so a cookie planted beforehand is worth nothing. A change asked for with a cookie must also show
the session's CSRF token, in a header or, from a form, in a field. Nothing here needs a secret of
the installation's own, so there is none to lose, leak or change at a restart.
"""

from __future__ import annotations

from collections.abc import Callable
from secrets import compare_digest
from typing import Annotated

from fastapi import Depends, Form, Request
from starlette.responses import Response

from accord.store import accounts
from accord.store.accounts import Account, Session
from accord.store.database import Store
from accord.store.signin import SESSION_SECONDS
from accord.web.errors import WebError
from accord.web.security import SAFE_METHODS, WebSettings

LEADS = ("owner", "researcher")
"""Who sets up rounds and sees who said what."""

WORKERS = ("owner", "researcher", "adjudicator", "rater")
"""Who may judge: researchers label too (Stiennon et al. 2020, C.1)."""

MAX_COOKIE_CHARS = 200


def store_of(request: Request) -> Store:
    """The store behind the app."""
    store: Store = request.app.state.store
    return store


def settings_of(request: Request) -> WebSettings:
    """How the app is served."""
    settings: WebSettings = request.app.state.settings
    return settings


# Dependencies that wait for nothing are coroutines: a plain function costs a change of threads.
async def get_store(request: Request) -> Store:
    """As :func:`store_of`."""
    return store_of(request)


async def get_settings(request: Request) -> WebSettings:
    """As :func:`settings_of`."""
    return settings_of(request)


Stored = Annotated[Store, Depends(get_store)]
Settings = Annotated[WebSettings, Depends(get_settings)]


def address(request: Request) -> str:
    """Where a request comes from; behind a proxy uvicorn has put the right one there."""
    return request.client.host if request.client else ""


def cookie_of(request: Request) -> str | None:
    """The session cookie that a browser shows, if it can be one."""
    value = request.cookies.get(_cookie_name(settings_of(request)), "")
    return value if 0 < len(value) <= MAX_COOKIE_CHARS else None


def find_account(request: Request) -> Account | None:
    """Who asks; None for a stranger. Pages find the account and the CSRF token afterwards.

    A token in the ``Authorization`` header goes before a cookie, and never falls back on it.
    """
    store = store_of(request)
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme:
        return accounts.find_token(store, secret.strip()) if scheme.lower() == "bearer" else None
    cookie = cookie_of(request)
    session = accounts.find_session(store, cookie) if cookie else None
    if session is None:
        return None
    request.state.account, request.state.csrf = session.account, session.csrf
    return session.account


def may_upload(request: Request) -> bool:
    """Whether who asks may send files to the studio."""
    account = find_account(request)
    return account is not None and account.role in LEADS


def current_account(request: Request) -> Account:
    """Who asks, of whatever role.

    Raises:
        WebError: 401 for a stranger, 403 for a change without the session's token, 429 for too
            many requests.
    """
    account = _identify(request)
    _check_token(request, request.headers.get("x-csrf-token", ""))
    return account


def require(*roles: str) -> Callable[[Request], Account]:
    """A dependency: who asks, if they have one of these roles.

    Raises:
        WebError: as :func:`current_account`, and 403 for another role.
    """

    def dependency(request: Request) -> Account:
        account = _identify(request)
        _check_role(account, roles)
        _check_token(request, request.headers.get("x-csrf-token", ""))
        return account

    return dependency


def require_form(*roles: str) -> Callable[[Request, str], Account]:
    """As :func:`require`, for a form of a page: the token is its field ``csrf``."""

    def dependency(request: Request, csrf: Annotated[str, Form()] = "") -> Account:
        account = _identify(request)
        _check_role(account, roles)
        _check_token(request, csrf)
        return account

    return dependency


def sign_in(request: Request, response: Response, session: Session) -> None:
    """Give a session's cookie to the browser."""
    settings = settings_of(request)
    response.set_cookie(
        _cookie_name(settings),
        session.token,
        max_age=round(SESSION_SECONDS),
        path="/",
        secure=settings.secure,
        httponly=True,
        samesite="lax",  # links in a letter or a chat lead to the studio with the session
    )


def sign_out(request: Request, response: Response) -> None:
    """End the session and take its cookie away."""
    cookie = cookie_of(request)
    if cookie:
        accounts.logout(store_of(request), cookie)
    settings = settings_of(request)
    response.delete_cookie(
        _cookie_name(settings), path="/", secure=settings.secure, httponly=True, samesite="lax"
    )


def _identify(request: Request) -> Account:
    account = find_account(request)
    if account is None:
        raise WebError(401, "You are not signed in.", "Sign in and try again.")
    request.app.state.requests.take(account.id)
    return account


def _check_role(account: Account, roles: tuple[str, ...]) -> None:
    if account.role not in roles:
        raise WebError(
            403, "This is not open to you.", "Ask the person who runs the studio if you need it."
        )


def _check_token(request: Request, shown: str) -> None:
    expected = request.scope["state"].get("csrf") if "state" in request.scope else None
    if request.method in SAFE_METHODS or expected is None:
        return
    if not compare_digest(shown.encode(), expected.encode()):
        raise WebError(
            403,
            "This page is from before you signed in.",
            "Load it again, then repeat what you did.",
        )


def _cookie_name(settings: WebSettings) -> str:
    """Over https the name carries the prefix that makes browsers refuse it from a sister host."""
    return "__Host-accord" if settings.secure else "accord"
