"""The people of a studio: their accounts, roles and rights, and how one is forgotten.

A person's name and contact stand in the row of ``accounts`` and nowhere else. The log knows them by
id and by a commitment, ``sha256(shred_key, name, contact)``: it proves who an account was made for
as long as the key is there, and says nothing once the key is gone (crypto-shredding).
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from accord.store import events
from accord.store.columns import now
from accord.store.credentials import AccountError, clean_name, hash_password, name_key
from accord.store.database import Store
from accord.store.schema import (
    INSTALLATION,
    accounts,
    api_tokens,
    guideline_acks,
    guidelines,
    invites,
    sessions,
)

ROLES = ("viewer", "rater", "adjudicator", "researcher", "owner")
"""From the least to the most that one may do."""


@dataclass(frozen=True, slots=True)
class Account:
    """A person, or a program that acts for one.

    ``id`` is the rater id of exports (``rater-<8 hex>``); ``name`` and ``contact`` are personal.
    ``role`` is what this caller may do: a token's role where they came with one.
    """

    id: str
    name: str
    role: str
    status: str
    contact: str
    settings: dict[str, Any]
    created_at: float

    @property
    def active(self) -> bool:
        """Whether the person may come in."""
        return self.status == "active"


def create_account(
    store: Store,
    name: str,
    role: str = "rater",
    *,
    password: str | None = None,
    contact: str = "",
    actor: str = "system",
) -> Account:
    """Make an account; without a password it can only be used through an API token.

    Raises:
        AccountError: the name is taken or unusable, the password too short, the role unknown.
    """
    hashed = None if password is None else hash_password(password)
    return store.write(lambda conn: add_account(conn, name, role, hashed, contact, actor))


def add_account(
    conn: Connection, name: str, role: str, password_hash: str | None, contact: str, actor: str
) -> Account:
    """As :func:`create_account`, inside a write; ``password_hash`` comes ready."""
    check_role(role)
    shown, key = clean_name(name), name_key(name)
    contact = " ".join(contact.split())[:200]
    if conn.execute(sa.select(accounts.c.id).where(accounts.c.name_key == key)).first():
        raise AccountError(f"The name {shown} is taken. Choose another one.")
    account_id, shred_key = _free_id(conn), secrets.token_hex(32)
    row: dict[str, Any] = {
        "id": account_id,
        "name": shown,
        "name_key": key,
        "contact": contact,
        "role": role,
        "status": "active",
        "password_hash": password_hash,
        "shred_key": shred_key,
        "settings": {},
        "created_at": now(),
    }
    conn.execute(sa.insert(accounts).values(row))
    sealed = commitment(shred_key, shown, contact)
    body = {"account": account_id, "role": role, "commitment": sealed}
    events.append(conn, INSTALLATION, "account_created", actor, body)
    made = find_account(conn, account_id)
    if made is None:
        raise AssertionError("an account that was just made is there")
    return made


def commitment(shred_key: str, name: str, contact: str) -> str:
    """What the log keeps of a person; without the key it cannot be guessed back."""
    return hashlib.sha256("\n".join((shred_key, name, contact)).encode()).hexdigest()


def get_account(store: Store, account_id: str) -> Account | None:
    """The account of an id, erased ones too; None if there is none."""
    with store.read() as conn:
        return find_account(conn, account_id)


def find_account(conn: Connection, account_id: str) -> Account | None:
    """As :func:`get_account`, on an open connection."""
    row = conn.execute(sa.select(accounts).where(accounts.c.id == account_id)).one_or_none()
    return None if row is None else account_of(row)


def list_accounts(store: Store, *, roles: tuple[str, ...] = ROLES) -> list[Account]:
    """Everybody with one of these roles, oldest first; erased accounts are left out."""
    query = sa.select(accounts).where(accounts.c.role.in_(roles), accounts.c.erased_at.is_(None))
    with store.read() as conn:
        rows = conn.execute(query.order_by(accounts.c.created_at, accounts.c.id))
        return [account_of(row) for row in rows]


def set_role(store: Store, account_id: str, role: str, *, actor: str) -> Account:
    """Change what a person may do; their sessions end, so that it holds at once.

    Raises:
        AccountError: an unknown role or account; the last owner cannot step down.
    """
    check_role(role)
    return _change(store, account_id, "role_changed", {"role": role}, actor)


def set_status(store: Store, account_id: str, status: str, *, actor: str) -> Account:
    """Let a person in (``active``) or keep them out (``disabled``), at once.

    Raises:
        AccountError: an unknown status or account; the last owner cannot be kept out.
    """
    if status not in ("active", "disabled"):
        raise AccountError(f"{status!r} is no status; an account is active or disabled.")
    return _change(store, account_id, "status_changed", {"status": status}, actor)


def set_settings(store: Store, account_id: str, settings: dict[str, Any]) -> Account:
    """Keep a person's own settings (key map, theme); they are no matter for the log.

    Raises:
        AccountError: an unknown account; more than 20,000 characters.
    """
    if len(str(settings)) > 20_000:
        raise AccountError("These settings are too large to keep.")

    def change(conn: Connection) -> Account:
        _known(conn, account_id)
        conn.execute(
            sa.update(accounts).where(accounts.c.id == account_id).values(settings=settings)
        )
        return _known(conn, account_id)

    return store.write(change)


def set_password(store: Store, account_id: str, password: str, *, actor: str) -> None:
    """Set a new password; every session of the account ends.

    Raises:
        AccountError: an unknown account; a password that is too short.
    """
    hashed = hash_password(password)

    def change(conn: Connection) -> None:
        _known(conn, account_id)
        where = accounts.c.id == account_id
        conn.execute(sa.update(accounts).where(where).values(password_hash=hashed))
        end_sessions(conn, account_id)
        body = {"account": account_id}
        events.append(conn, INSTALLATION, "password_changed", actor, body)

    store.write(change)


def erase_account(store: Store, account_id: str, *, actor: str) -> None:
    """Forget a person: name, contact, password, settings and the key of the commitments.

    The rater id and what they judged stay, and point to nobody. SQLite overwrites the freed bytes
    and its log is emptied, so the name is in no file of the studio. Texts that the person wrote as
    part of the work (comments, conversations) are data and stay. Backups made before still have
    the name: let them expire.

    Raises:
        AccountError: an unknown account; the last owner cannot be erased.
    """

    def erase(conn: Connection) -> None:
        _known(conn, account_id)
        _keep_an_owner(conn, account_id)
        gone = f"erased {account_id.removeprefix('rater-')}"
        conn.execute(
            sa.update(accounts)
            .where(accounts.c.id == account_id)
            .values(
                name=gone,
                name_key=f"{gone}\n",  # no name has a line's end, so nobody stands in the way
                contact="",
                status="disabled",
                password_hash=None,
                shred_key=None,
                settings={},
                erased_at=now(),
            )
        )
        mine = invites.c.account_id == account_id
        conn.execute(sa.update(invites).where(mine).values(name="", contact=""))
        end_sessions(conn, account_id)
        conn.execute(sa.delete(api_tokens).where(api_tokens.c.account_id == account_id))
        events.append(conn, INSTALLATION, "account_erased", actor, {"account": account_id})

    store.write(erase)
    store.checkpoint()


def acknowledge_guideline(store: Store, rater_id: str, project_id: str, version: int) -> None:
    """Note that a rater has read a version of a project's guideline; again changes nothing.

    Raises:
        AccountError: the project has no such version.
    """

    def note(conn: Connection) -> None:
        here = (guidelines.c.project_id == project_id, guidelines.c.version == version)
        if conn.execute(sa.select(guidelines.c.version).where(*here)).first() is None:
            raise AccountError(f"There is no version {version} of this guideline.")
        row = {"rater_id": rater_id, "project_id": project_id, "version": version}
        key = f"guideline {project_id} {version}"
        body = {"rater": rater_id, "version": version}
        if events.append(conn, project_id, "guideline_acknowledged", rater_id, body, key=key).new:
            conn.execute(sa.insert(guideline_acks).values(row))

    store.write(note)


def acknowledged_guideline(store: Store, rater_id: str, project_id: str) -> int:
    """The newest version of a project's guideline that a rater has read; 0 for none."""
    newest = sa.select(sa.func.max(guideline_acks.c.version)).where(
        guideline_acks.c.rater_id == rater_id, guideline_acks.c.project_id == project_id
    )
    with store.read() as conn:
        return conn.execute(newest).scalar_one() or 0


def account_of(row: sa.Row[Any], role: str | None = None) -> Account:
    """A row of ``accounts`` as an account, with a token's role where it came with one."""
    return Account(
        row.id,
        row.name,
        role or row.role,
        row.status,
        row.contact,
        row.settings,
        row.created_at,
    )


def check_role(role: str) -> None:
    """Raise AccountError for a role that there is not."""
    if role not in ROLES:
        raise AccountError(f"{role!r} is no role; the roles are {', '.join(ROLES)}.")


def end_sessions(conn: Connection, account_id: str) -> None:
    """Sign a person out everywhere."""
    conn.execute(sa.delete(sessions).where(sessions.c.account_id == account_id))


def _free_id(conn: Connection) -> str:
    while True:
        account_id = f"rater-{secrets.token_hex(4)}"
        if (
            conn.execute(sa.select(accounts.c.id).where(accounts.c.id == account_id)).first()
            is None
        ):
            return account_id


def _known(conn: Connection, account_id: str) -> Account:
    row = conn.execute(
        sa.select(accounts).where(accounts.c.id == account_id, accounts.c.erased_at.is_(None))
    ).one_or_none()
    if row is None:
        raise AccountError(f"There is no account {account_id}.")
    return account_of(row)


def _keep_an_owner(conn: Connection, account_id: str) -> None:
    others = sa.select(accounts.c.id).where(
        accounts.c.role == "owner", accounts.c.status == "active", accounts.c.id != account_id
    )
    if _known(conn, account_id).role == "owner" and conn.execute(others).first() is None:
        raise AccountError("This is the last owner. Make somebody else an owner first.")


def _change(
    store: Store, account_id: str, kind: str, values: dict[str, str], actor: str
) -> Account:
    """Set columns of an account, sign the person out, and log it; nothing where nothing changes."""

    def change(conn: Connection) -> Account:
        found = _known(conn, account_id)
        if values not in ({"role": found.role}, {"status": found.status}):
            if values not in ({"role": "owner"}, {"status": "active"}):
                _keep_an_owner(conn, account_id)
            conn.execute(sa.update(accounts).where(accounts.c.id == account_id).values(values))
            end_sessions(conn, account_id)
            events.append(conn, INSTALLATION, kind, actor, {"account": account_id, **values})
        return _known(conn, account_id)

    return store.write(change)
