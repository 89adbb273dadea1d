"""What a database's errors mean for the person who runs the studio."""

from __future__ import annotations

import sqlite3

import sqlalchemy as sa

from accord.errors import AccordError

_SQLITE = {
    "SQLITE_FULL": "the disk is full. Free some space; the studio goes on by itself.",
    "SQLITE_READONLY": "the file cannot be written. Check its owner and permissions, and whether "
    "its disk is mounted read-only.",
    "SQLITE_PERM": "the file may not be opened. Check its owner and permissions.",
    "SQLITE_CANTOPEN": "the file cannot be opened. Check that its folder is there and belongs to "
    "the user who runs the studio.",
    "SQLITE_BUSY": "another program is writing to it. Close that program (a SQLite shell, a backup "
    "tool) and try again.",
    "SQLITE_CORRUPT": "the file is damaged. Restore the newest backup: accord studio restore.",
    "SQLITE_NOTADB": "the file is not a SQLite database. Check the path.",
    "SQLITE_IOERR_SHMSIZE": "the disk is full (no room for the file's -shm). Free some space; the "
    "studio goes on by itself.",
    "SQLITE_IOERR": "the disk reported an error. Check the disk; if the file is damaged, restore "
    "the newest backup.",
}


class StoreError(AccordError, RuntimeError):
    """The studio's database cannot be opened, written or trusted."""


def is_refusal(error: sa.exc.DBAPIError) -> bool:
    """Whether the database refuses one statement (a constraint, a mistake in the SQL).

    Otherwise it is the database itself that fails: disk full, connection lost, file damaged.
    """
    return isinstance(
        error,
        sa.exc.IntegrityError
        | sa.exc.ProgrammingError
        | sa.exc.DataError
        | sa.exc.NotSupportedError
        | sa.exc.InternalError,
    )


def store_error(error: sa.exc.DBAPIError, url: str, *, writing: bool = False) -> StoreError:
    """The same error in words: what happened, where, and how to mend it."""
    cause = error.orig
    reason = f"{cause}. Try again; if it goes on, look at the database server's log."
    if isinstance(cause, sqlite3.Error):
        name = cause.sqlite_errorname
        known = next((text for code, text in _SQLITE.items() if name.startswith(code)), None)
        reason = f"{known or f'SQLite says: {cause}.'} ({name})"
    return StoreError(f"{'Nothing was saved in ' if writing else ''}{url}: {reason}")
