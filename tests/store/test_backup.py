"""Backups and copies of the file: whole or not at all, private, and said when they cannot be."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from accord.store import backup, events, migrate
from accord.store.database import Store, open_store
from accord.store.faults import StoreError


def test_a_missing_backup_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"gone\.db cannot be copied to .*restoring"):
        backup.restore(tmp_path / "gone.db", tmp_path / "deep" / "new.db")
    assert list((tmp_path / "deep").iterdir()) == []


@pytest.mark.parametrize("tail", ["", "-wal", "-journal"])
def test_nothing_that_is_there_is_overwritten(tmp_path: Path, tail: str) -> None:
    there = tmp_path / f"studio.db{tail}"
    there.write_text("precious")
    with pytest.raises(StoreError, match="Move the old database away first; nothing was done"):
        backup.restore(tmp_path / "any.db", tmp_path / "studio.db")
    assert there.read_text() == "precious"


def test_text_is_no_backup(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("not a database, but long enough to look at " * 30)
    with pytest.raises(
        StoreError, match=r"is damaged: file is not a database\. Use another backup"
    ):
        backup.restore(tmp_path / "notes.db", tmp_path / "new.db")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.db"]


def test_backups_of_one_second_have_names_of_their_own(
    sqlite_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite_store.write(lambda conn: events.append(conn, "p", "note", "system", {}))
    monkeypatch.setattr(backup.time, "strftime", lambda *_: "studio-20260101-000000.db")
    made = [backup.back_up(sqlite_store, tmp_path / "b", keep=2).name for _ in range(3)]
    assert made[:2] == ["studio-20260101-000000.db", "studio-20260101-000000.db-2"]
    assert len(list((tmp_path / "b").iterdir())) == 2
    newest = tmp_path / "b" / made[-1]
    assert stat.S_IMODE(newest.stat().st_mode) == 0o600
    backup.restore(newest, tmp_path / "again.db")
    assert stat.S_IMODE((tmp_path / "again.db").stat().st_mode) == 0o600
    with open_store(tmp_path / "again.db", create=False) as store:
        assert events.verify(store) == []


def test_a_backup_that_fails_leaves_the_older_ones(sqlite_store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "b"
    folder.mkdir()
    for day in range(1, 4):
        (folder / f"studio-2020010{day}-000000.db").write_text("old")
    sqlite_store.close()
    with pytest.raises(StoreError):
        (tmp_path / "studio.db").unlink()
        backup.back_up(sqlite_store, folder, keep=1)
    assert len(list(folder.iterdir())) == 3


def test_a_copy_of_what_is_not_there_is_no_copy(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"No backup was made at .*to\.db: .* Check the room"):
        migrate.copy(tmp_path / "gone.db", tmp_path / "to.db")
    assert list(tmp_path.iterdir()) == []


def test_free_names_are_counted_up(tmp_path: Path) -> None:
    for expected in ("x.db", "x.db-2", "x.db-3"):
        free = migrate.free_name(tmp_path / "x.db")
        assert free.name == expected
        free.touch()


def test_broken_references_are_damage(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db")) as conn:
        conn.execute("CREATE TABLE a (id INTEGER PRIMARY KEY)")
        conn.execute("CREATE TABLE b (a INTEGER REFERENCES a (id))")
        migrate.check(conn, tmp_path / "x.db")
        conn.execute("INSERT INTO b VALUES (7)")
        with pytest.raises(StoreError, match=r"x\.db is damaged: broken reference in b"):
            migrate.check(conn, tmp_path / "x.db")
