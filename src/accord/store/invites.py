"""How people come in: by a link that works once; no open sign-up, no default password."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from accord.store import events
from accord.store.columns import new_id, now
from accord.store.credentials import AccountError, hash_password, new_token, token_hash
from accord.store.database import Store
from accord.store.people import Account, add_account, check_role
from accord.store.schema import INSTALLATION, accounts, invites

DAY_SECONDS = 86_400.0
MAX_DAYS = 90.0


@dataclass(frozen=True, slots=True)
class Invite:
    """An invitation that was made; ``name`` and ``contact`` help the lead tell them apart.

    ``state`` is ``open``, ``used``, ``revoked`` or ``expired``; moments are UTC seconds.
    """

    id: str
    role: str
    name: str
    contact: str
    created_by: str
    created_at: float
    expires_at: float
    state: str
    account_id: str | None


def invite(
    store: Store,
    role: str,
    *,
    name: str = "",
    contact: str = "",
    actor: str,
    days: float = 7.0,
) -> str:
    """Make an invitation; the token is returned here and kept nowhere.

    Raises:
        AccountError: an unknown role; more than 90 days.
    """
    token = new_token()
    store.write(lambda conn: _add(conn, token, role, name, contact, actor, days))
    return token


def owner_invite(store: Store) -> str | None:
    """The one-time token that lets the first owner in; None once there is an owner.

    Each call makes a new one and ends the one before, so only the newest link that was printed
    works.
    """
    token = new_token()

    def first(conn: Connection) -> str | None:
        if conn.execute(sa.select(accounts.c.id).where(accounts.c.role == "owner")).first():
            return None
        earlier = (invites.c.role == "owner", invites.c.created_by == "system")
        still = (invites.c.used_at.is_(None), invites.c.revoked_at.is_(None))
        conn.execute(sa.update(invites).where(*earlier, *still).values(revoked_at=now()))
        _add(conn, token, "owner", "", "", "system", 1.0)
        return token

    return store.write(first)


def read_invite(store: Store, token: str) -> Invite:
    """What an invitation offers, to show before it is taken.

    Raises:
        AccountError: it is unknown, used, revoked or expired; the message is for the person.
    """
    with store.read() as conn:
        return _open(conn, token)


def accept_invite(store: Store, token: str, name: str, password: str) -> Account:
    """Use an invitation up and make the account it offers.

    Raises:
        AccountError: as :func:`read_invite`; the name is taken; the password is too short.
    """
    read_invite(store, token)  # before the slow hash: a wrong link costs nothing
    hashed = hash_password(password)

    def accept(conn: Connection) -> Account:
        offer = _open(conn, token)
        made = add_account(conn, name, offer.role, hashed, offer.contact, offer.created_by)
        used = {"used_at": now(), "account_id": made.id}
        conn.execute(sa.update(invites).where(invites.c.id == offer.id).values(used))
        body = {"invite": offer.id, "account": made.id}
        events.append(conn, INSTALLATION, "invite_accepted", made.id, body)
        return made

    return store.write(accept)


def list_invites(store: Store) -> list[Invite]:
    """Every invitation, newest first."""
    query = sa.select(invites).order_by(invites.c.created_at.desc(), invites.c.id)
    with store.read() as conn:
        return [_invite(row) for row in conn.execute(query)]


def revoke_invite(store: Store, invite_id: str, *, actor: str) -> None:
    """Make an invitation worthless.

    Raises:
        AccountError: there is none that is still open.
    """

    def revoke(conn: Connection) -> None:
        row = conn.execute(sa.select(invites).where(invites.c.id == invite_id)).one_or_none()
        if row is None or _invite(row).state != "open":
            raise AccountError("This invitation is not open any more.")
        where = invites.c.id == invite_id
        conn.execute(sa.update(invites).where(where).values(revoked_at=now()))
        events.append(conn, INSTALLATION, "invite_revoked", actor, {"invite": invite_id})

    store.write(revoke)


def _add(
    conn: Connection, token: str, role: str, name: str, contact: str, actor: str, days: float
) -> None:
    check_role(role)
    if not 0 < days <= MAX_DAYS:
        raise AccountError(f"An invitation is good for at most {MAX_DAYS:.0f} days.")
    row = {
        "id": new_id(),
        "token_hash": token_hash(token),
        "role": role,
        "name": " ".join(name.split())[:80],
        "contact": " ".join(contact.split())[:200],
        "created_by": actor,
        "created_at": now(),
        "expires_at": now() + days * DAY_SECONDS,
    }
    conn.execute(sa.insert(invites).values(row))
    body = {"invite": row["id"], "role": role, "expires_at": row["expires_at"]}
    events.append(conn, INSTALLATION, "invite_created", actor, body)


def _open(conn: Connection, token: str) -> Invite:
    where = invites.c.token_hash == token_hash(token)
    row = conn.execute(sa.select(invites).where(where)).one_or_none()
    state = "unknown" if row is None else _invite(row).state
    if row is None or state != "open":
        why = {
            "used": "This link was used already. Sign in with the name you chose.",
            "revoked": "This link is not valid any more.",
            "expired": "This link has expired.",
            "unknown": "This link is not known here. Check that it was copied whole.",
        }[state]
        raise AccountError(f"{why} Ask the person who invited you for a new one if you need it.")
    return _invite(row)


def _invite(row: sa.Row[Any]) -> Invite:
    state = "open"
    if row.used_at is not None:
        state = "used"
    elif row.revoked_at is not None:
        state = "revoked"
    elif row.expires_at <= now():
        state = "expired"
    return Invite(
        row.id,
        row.role,
        row.name,
        row.contact,
        row.created_by,
        row.created_at,
        row.expires_at,
        state,
        row.account_id,
    )
