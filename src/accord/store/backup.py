"""Copies of a studio on SQLite: made while it runs, checked before one is put back."""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from accord.store import events, migrate
from accord.store.database import Store, open_store
from accord.store.faults import StoreError
from accord.workspace import sync

PREFIX = "studio-"


def restore(backup: str | Path, to: str | Path) -> None:
    """Put a backup in place as a new database, after everything in it was checked.

    Checked are the file (SQLite's integrity check), the hash chains and the judgments that follow
    from them. The work is done on a copy: the backup is not touched, and an older schema is
    brought up to date.

    Raises:
        StoreError: the backup is damaged, changed, or not a studio's; something is at ``to``.
    """
    backup, to = Path(backup), Path(to)
    taken = [path for path in (to, Path(f"{to}-wal"), Path(f"{to}-journal")) if path.exists()]
    if taken:
        raise StoreError(f"{taken[0]} exists. Move the old database away first; nothing was done.")
    part = migrate.free_name(to.with_name(f"{to.name}.restoring"))
    try:
        _copy(backup, part)
        with open_store(part, create=False) as store:
            if found := events.verify(store):
                raise StoreError(
                    f"{backup} is not restored, its log does not hold: {'; '.join(found[:3])}. "
                    "Use another backup."
                )
            store.checkpoint()
        part.rename(to)
        sync(to.parent)
    finally:
        for leftover in to.parent.glob(f"{part.name}*"):
            leftover.unlink()


def check_backup(backup: str | Path, scratch: str | Path) -> None:
    """Try a backup out: :func:`restore` into the folder ``scratch``, and throw the copy away.

    Raises:
        StoreError: it could not be restored; the message says why.
    """
    trial = migrate.free_name(Path(scratch) / "trial.db")
    restore(backup, trial)
    trial.unlink()


def back_up(store: Store, folder: str | Path, *, keep: int = 14) -> Path:
    """Add a backup named after the moment (UTC) to a folder and drop all but the newest ``keep``.

    Raises:
        StoreError: no room, or the database is PostgreSQL; older backups are then left alone.
    """
    folder = Path(folder)
    name = time.strftime(f"{PREFIX}%Y%m%d-%H%M%S.db", time.gmtime())
    made = store.backup(migrate.free_name(folder / name))
    for old in sorted(folder.glob(f"{PREFIX}*.db*"))[:-keep]:
        old.unlink()
    return made


def _copy(backup: Path, part: Path) -> None:
    """A private copy of a backup that passes SQLite's check and belongs to a studio."""
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(backup, part)
        part.chmod(0o600)
        with closing(sqlite3.connect(part)) as conn:
            migrate.check(conn, backup)
            tables = conn.execute("SELECT count(*) FROM sqlite_master WHERE name = 'events'")
            if tables.fetchone() != (1,):
                raise StoreError(f"{backup} is not a backup of a studio.")
    except OSError as error:
        raise StoreError(f"{backup} cannot be copied to {part}: {error}.") from error
