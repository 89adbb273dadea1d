"""Bring a database up to date, after a backup, or refuse it with a reason.

The steps are in ``accord/migrations``, one Alembic revision a file. A new one: change
``schema.py``, add ``m0003_....py`` with ``down_revision = "0002"``, set :data:`HEAD` to it; the
tests compare what the steps build with ``schema.py`` and migrate a copy of every older schema.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection

from accord.store.faults import StoreError
from accord.workspace import sync

HEAD = "0002"
MIGRATIONS = Path(__file__).parents[1] / "migrations"


def upgrade(conn: Connection, path: Path | None) -> None:
    """Migrate to :data:`HEAD` in the open transaction; ``path`` is the SQLite file to back up.

    Raises:
        StoreError: the database is another program's, or from a newer accord; a migration left
            rows that point nowhere.
    """
    _check_encoding(conn)
    found = revision(conn)
    if found == HEAD:
        return
    script = _script()
    if found is not None:
        if found not in {step.revision for step in script.walk_revisions()}:
            raise StoreError(
                f"The database is at schema {found}, which this accord does not know (it knows up "
                f"to {HEAD}): a newer accord wrote it. Update accord."
            )
        if path is not None:
            copy(path, free_name(path.with_name(f"{path.name}.before-{HEAD}")))
    _run(conn, script)
    if conn.dialect.name == "sqlite":
        broken = conn.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
        if broken:
            raise StoreError(f"Migration to {HEAD} was undone: broken references in {broken[:3]}.")


def revision(conn: Connection) -> str | None:
    """The schema a database is at; None for an empty one.

    Raises:
        StoreError: there are tables, but not accord's.
    """
    tables = set(sa.inspect(conn).get_table_names())
    if "alembic_version" in tables:
        return conn.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one()  # type: ignore[no-any-return]
    if tables:
        raise StoreError(
            f"The database holds tables of another program ({', '.join(sorted(tables)[:3])}). "
            "Give the studio a database of its own."
        )
    return None


def copy(source: Path, to: Path) -> Path:
    """Copy a SQLite file that may be in use, to a new file; all of it or nothing.

    The copy is one consistent state, checked, synced, readable by its owner alone, and needs no
    ``-wal`` beside it.

    Raises:
        StoreError: ``to`` exists, or there is no room for it.
    """
    if to.exists():
        raise StoreError(f"{to} exists; a backup never replaces a file. Choose another name.")
    part = to.with_name(f"{to.name}.part-{os.getpid()}")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as old,
            closing(sqlite3.connect(part)) as new,
        ):
            old.backup(new)
            new.execute("PRAGMA journal_mode=DELETE").fetchall()
            check(new, part)
        sync(part)
        part.rename(to)
        sync(to.parent)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(
            f"No backup was made at {to}: {error}. Check the room and the owner."
        ) from error
    finally:
        if part.exists():
            part.unlink()
    return to


def check(conn: sqlite3.Connection, path: Path) -> None:
    """SQLite's own check of a whole file.

    Raises:
        StoreError: it is damaged; the message lists the first findings.
    """
    try:
        found = [row[0] for row in conn.execute("PRAGMA integrity_check(5)")]
        found = [] if found == ["ok"] else found
        found += [
            f"broken reference in {row[0]}" for row in conn.execute("PRAGMA foreign_key_check")
        ]
    except sqlite3.DatabaseError as error:
        found = [str(error)]
    if found:
        raise StoreError(f"{path} is damaged: {'; '.join(found[:5])}. Use another backup.")


def free_name(path: Path) -> Path:
    """``path``, or the first of ``path-2``, ``path-3`` ... that does not exist."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free


def _check_encoding(conn: Connection) -> None:
    if conn.dialect.name == "postgresql":
        encoding = conn.exec_driver_sql("SHOW server_encoding").scalar_one()
        if encoding != "UTF8":
            raise StoreError(
                f"The PostgreSQL database keeps text as {encoding}, which cannot hold every "
                "language. Make one with: createdb --encoding=UTF8 --template=template0 NAME"
            )


def _script() -> ScriptDirectory:
    return ScriptDirectory(str(MIGRATIONS), version_locations=[str(MIGRATIONS)])


def _run(conn: Connection, script: ScriptDirectory) -> None:
    """Run the missing steps in the open transaction, all of them or none."""

    def steps(current: Any, _: MigrationContext) -> Any:
        return script._upgrade_revs(HEAD, current)

    context = MigrationContext.configure(conn, opts={"fn": steps, "render_as_batch": True})
    with Operations.context(context):
        context.run_migrations()
