"""Who is asking: sign-in with a name and a password, sessions of browsers, tokens of programs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from accord.store import events
from accord.store.columns import new_id, now
from accord.store.credentials import (
    AccountError,
    name_key,
    new_token,
    password_matches,
    token_hash,
)
from accord.store.database import Store
from accord.store.people import ROLES, Account, account_of, check_role, find_account
from accord.store.schema import INSTALLATION, accounts, api_tokens, login_attempts, sessions

SESSION_SECONDS = 14 * 86_400.0
SEEN_SECONDS = 600.0
"""How often a session's last use is written down, at most."""
WINDOW_SECONDS = 900.0
PER_PLACE, PER_NAME, PER_ADDRESS = 5, 30, 100
"""Failed sign-ins in the window: of one name from one address; of one name from anywhere (so that
a stranger who guesses does not lock its owner out at once); from one address (a team may share)."""
TOKEN_PREFIX = "accord_"

# Every request runs one of these: built once, for making one costs more than running it.
_SESSION = (
    sa.select(accounts, sessions.c.csrf, sessions.c.seen_at, sessions.c.expires_at)
    .join(sessions, sessions.c.account_id == accounts.c.id)
    .where(
        sessions.c.token_hash == sa.bindparam("hash"),
        sessions.c.expires_at > sa.bindparam("moment"),
        accounts.c.status == "active",
    )
)
_TOKEN = (
    sa.select(accounts, api_tokens.c.id.label("token"), api_tokens.c.used_at)
    .add_columns(api_tokens.c.role.label("scope"))
    .join(api_tokens, api_tokens.c.account_id == accounts.c.id)
    .where(
        api_tokens.c.token_hash == sa.bindparam("hash"),
        api_tokens.c.revoked_at.is_(None),
        sa.or_(api_tokens.c.expires_at.is_(None), api_tokens.c.expires_at > sa.bindparam("moment")),
        accounts.c.status == "active",
    )
)


class LoginError(AccountError):
    """Name and password do not belong together, or the account is closed; which is not said."""


class LoginLimitError(LoginError):
    """Too many failed attempts; ``retry_seconds`` until the next one counts."""

    def __init__(self, retry_seconds: float):
        self.retry_seconds = retry_seconds
        minutes = max(1, round(retry_seconds / 60))
        super().__init__(f"Too many attempts. Please try again in {minutes} min.")


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that is signed in.

    ``token`` goes into the cookie and is kept nowhere else; ``csrf`` is what a page's forms and
    requests must carry.
    """

    token: str
    csrf: str
    account: Account
    expires_at: float


@dataclass(frozen=True, slots=True)
class Token:
    """An API token without its secret; moments are UTC seconds."""

    id: str
    account_id: str
    name: str
    role: str
    created_at: float
    used_at: float | None
    expires_at: float | None
    revoked: bool


def login(
    store: Store, name: str, password: str, *, address: str = "", old_token: str | None = None
) -> Session:
    """Check a name and a password and begin a new session.

    ``old_token`` is what the browser showed before: that session ends, so a cookie planted by
    somebody else is worth nothing. An attempt is counted before the password is looked at.

    Raises:
        LoginLimitError: too many failed attempts in the last 15 minutes.
        LoginError: the pair is wrong, or the account is closed.
    """
    try:
        key = name_key(name)
    except AccountError:
        key = ""
    attempt = store.write(lambda conn: _count_attempt(conn, key, address))
    with store.read() as conn:
        row = conn.execute(sa.select(accounts).where(accounts.c.name_key == key)).one_or_none()
    matches = password_matches(row.password_hash if row is not None else None, password)
    if row is None or not matches or row.status != "active":
        raise LoginError("This name and password do not belong together. Check both.")
    account_id: str = row.id

    def begin(conn: Connection) -> Session:
        done = sa.update(login_attempts).where(login_attempts.c.id == attempt)
        conn.execute(done.values(succeeded=True))
        return _begin(conn, account_id, old_token)

    return store.write(begin)


def start_session(store: Store, account_id: str, *, old_token: str | None = None) -> Session:
    """Begin a session for somebody who has just proved who they are (an accepted invitation).

    Raises:
        LoginError: the account is closed.
    """
    return store.write(lambda conn: _begin(conn, account_id, old_token))


def find_session(store: Store, token: str) -> Session | None:
    """The session of a cookie; None if it ended, expired, or the account is closed."""
    with store.read() as conn:
        row = conn.execute(_SESSION, {"hash": token_hash(token), "moment": now()}).one_or_none()
    if row is None:
        return None
    if row.seen_at < now() - SEEN_SECONDS:
        store.write(lambda conn: _seen(conn, token))
    return Session(token, row.csrf, account_of(row), row.expires_at)


def logout(store: Store, token: str) -> None:
    """End a session; one that is not there is no error."""
    store.write(lambda conn: _end(conn, token))


def create_token(
    store: Store, account_id: str, name: str, role: str, *, days: float | None = 90.0, actor: str
) -> str:
    """Make an API token that may do what ``role`` may; it is returned here and kept nowhere.

    Raises:
        AccountError: the role is above the account's own, or the account is closed.
    """
    check_role(role)
    secret = TOKEN_PREFIX + new_token()

    def make(conn: Connection) -> None:
        owner = find_account(conn, account_id)
        if owner is None or not owner.active:
            raise AccountError(f"There is no open account {account_id}.")
        if ROLES.index(role) > ROLES.index(owner.role):
            raise AccountError(f"A token of {owner.name} can be at most {owner.role}, not {role}.")
        row = {
            "id": new_id(),
            "token_hash": token_hash(secret),
            "account_id": account_id,
            "name": " ".join(name.split())[:80] or "token",
            "role": role,
            "created_at": now(),
            "expires_at": None if days is None else now() + days * 86_400.0,
        }
        conn.execute(sa.insert(api_tokens).values(row))
        body = {"token": row["id"], "account": account_id, "role": role}
        events.append(conn, INSTALLATION, "token_created", actor, body)

    store.write(make)
    return secret


def find_token(store: Store, secret: str) -> Account | None:
    """The account behind an API token, with the token's role; None if it is worth nothing.

    A token never outgrows its account: where that was lowered since, the lower role holds.
    """
    with store.read() as conn:
        row = conn.execute(_TOKEN, {"hash": token_hash(secret), "moment": now()}).one_or_none()
    if row is None:
        return None
    if (row.used_at or 0.0) < now() - SEEN_SECONDS:
        used = sa.update(api_tokens).where(api_tokens.c.id == row.token).values(used_at=now())
        store.write(lambda conn: conn.execute(used).rowcount)
    return account_of(row, min(row.role, row.scope, key=ROLES.index))


def list_tokens(store: Store, account_id: str | None = None) -> list[Token]:
    """API tokens, newest first: of one account, or of all."""
    query = sa.select(api_tokens).order_by(api_tokens.c.created_at.desc(), api_tokens.c.id)
    if account_id is not None:
        query = query.where(api_tokens.c.account_id == account_id)
    with store.read() as conn:
        return [_token(row) for row in conn.execute(query)]


def revoke_token(store: Store, token_id: str, *, actor: str) -> None:
    """Make an API token worthless at once.

    Raises:
        AccountError: there is no such token.
    """

    def revoke(conn: Connection) -> None:
        where = api_tokens.c.id == token_id
        if conn.execute(sa.update(api_tokens).where(where).values(revoked_at=now())).rowcount == 0:
            raise AccountError(f"There is no token {token_id}.")
        events.append(conn, INSTALLATION, "token_revoked", actor, {"token": token_id})

    store.write(revoke)


def sweep(store: Store) -> None:
    """Throw away sessions and sign-in attempts that are long over; for a timer."""

    def old(conn: Connection) -> None:
        conn.execute(sa.delete(sessions).where(sessions.c.expires_at < now()))
        conn.execute(sa.delete(login_attempts).where(login_attempts.c.at < now() - 86_400.0))

    store.write(old)


def _count_attempt(conn: Connection, key: str, address: str) -> int:
    """Note an attempt, failed until it turns out otherwise, unless there were too many."""
    hashed = hashlib.sha256(key.encode()).hexdigest()
    table, address = login_attempts, address[:64]
    named, placed = table.c.name_hash == hashed, table.c.address == address
    for limit, where in (
        (PER_PLACE, sa.and_(named, placed)),
        (PER_NAME, named),
        (PER_ADDRESS, placed),
    ):
        recent = (
            sa.select(table.c.at)
            .where(where, table.c.at > now() - WINDOW_SECONDS, table.c.succeeded.is_(False))
            .order_by(table.c.at.desc())
            .limit(limit)
        )
        times = conn.execute(recent).scalars().all()
        if len(times) == limit:
            raise LoginLimitError(times[-1] + WINDOW_SECONDS - now())
    row = {"name_hash": hashed, "address": address, "at": now(), "succeeded": False}
    attempt: int = conn.execute(sa.insert(table).values(row).returning(table.c.id)).scalar_one()
    return attempt


def _begin(conn: Connection, account_id: str, old_token: str | None) -> Session:
    if old_token is not None:
        _end(conn, old_token)
    account = find_account(conn, account_id)
    if account is None or not account.active:
        raise LoginError("This account is closed. Ask the person who invited you.")
    session = Session(new_token(), new_token(), account, now() + SESSION_SECONDS)
    row = {
        "token_hash": token_hash(session.token),
        "account_id": account_id,
        "csrf": session.csrf,
        "created_at": now(),
        "seen_at": now(),
        "expires_at": session.expires_at,
    }
    conn.execute(sa.insert(sessions).values(row))
    return session


def _seen(conn: Connection, token: str) -> None:
    where = sessions.c.token_hash == token_hash(token)
    later = {"seen_at": now(), "expires_at": now() + SESSION_SECONDS}
    conn.execute(sa.update(sessions).where(where).values(later))


def _end(conn: Connection, token: str) -> None:
    conn.execute(sa.delete(sessions).where(sessions.c.token_hash == token_hash(token)))


def _token(row: sa.Row[Any]) -> Token:
    return Token(
        row.id,
        row.account_id,
        row.name,
        row.role,
        row.created_at,
        row.used_at,
        row.expires_at,
        row.revoked_at is not None,
    )
