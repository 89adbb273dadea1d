"""A database's errors in words: what happened, where, and how to mend it."""

from __future__ import annotations

import sqlite3

import pytest
import sqlalchemy as sa

from accord.errors import AccordError
from accord.store.faults import StoreError, is_refusal, store_error


def wrapped(name: str, text: str = "boom") -> sa.exc.DBAPIError:
    """SQLite's error of a name, as SQLAlchemy hands it on."""
    cause = sqlite3.OperationalError(text)
    cause.sqlite_errorname = name  # what sqlite3 sets itself
    return sa.exc.OperationalError("SELECT 1", {}, cause)


@pytest.mark.parametrize(
    ("name", "what", "mend"),
    [
        ("SQLITE_FULL", "disk is full", "Free some space"),
        ("SQLITE_READONLY", "cannot be written", "owner and permissions"),
        ("SQLITE_READONLY_DBMOVED", "cannot be written", "read-only"),
        ("SQLITE_PERM", "may not be opened", "owner and permissions"),
        ("SQLITE_CANTOPEN", "cannot be opened", "its folder is there"),
        ("SQLITE_CANTOPEN_ISDIR", "cannot be opened", "its folder is there"),
        ("SQLITE_BUSY", "another program is writing", "Close that program"),
        ("SQLITE_BUSY_SNAPSHOT", "another program is writing", "try again"),
        ("SQLITE_CORRUPT", "file is damaged", "accord studio restore"),
        ("SQLITE_NOTADB", "not a SQLite database", "Check the path"),
        ("SQLITE_IOERR_SHMSIZE", "disk is full", "Free some space"),
        ("SQLITE_IOERR_FSYNC", "disk reported an error", "Check the disk"),
    ],
)
def test_sqlites_errors_say_what_where_and_how_to_mend(name: str, what: str, mend: str) -> None:
    said = str(store_error(wrapped(name), "sqlite:///studio.db"))
    assert said.startswith("sqlite:///studio.db: ")
    assert what in said and mend in said
    assert said.endswith(f"({name})")


def test_who_was_saving_hears_that_nothing_was_saved() -> None:
    said = str(store_error(wrapped("SQLITE_FULL"), "the file", writing=True))
    assert said.startswith("Nothing was saved in the file: the disk is full.")


def test_an_error_nobody_foresaw_is_passed_on_in_its_own_words() -> None:
    said = str(store_error(wrapped("SQLITE_NOMEM", "out of memory"), "f"))
    assert said == "f: SQLite says: out of memory. (SQLITE_NOMEM)"


def test_a_servers_error_points_to_its_log() -> None:
    gone = sa.exc.OperationalError("SELECT 1", {}, Exception("server closed the connection"))
    said = str(store_error(gone, "postgresql://db"))
    assert "server closed the connection" in said
    assert "Try again; if it goes on, look at the database server's log." in said


@pytest.mark.parametrize(
    ("kind", "refusal"),
    [
        (sa.exc.IntegrityError, True),
        (sa.exc.ProgrammingError, True),
        (sa.exc.DataError, True),
        (sa.exc.NotSupportedError, True),
        (sa.exc.InternalError, True),
        (sa.exc.OperationalError, False),
        (sa.exc.InterfaceError, False),
    ],
)
def test_a_refused_statement_is_not_a_failing_database(
    kind: type[sa.exc.DBAPIError], refusal: bool
) -> None:
    assert is_refusal(kind("SELECT 1", {}, Exception("x"))) is refusal


def test_a_store_error_is_accords_own() -> None:
    assert issubclass(StoreError, AccordError)
    assert issubclass(StoreError, RuntimeError)
