"""The database's door: what is acknowledged is kept, what fails leaves nothing behind."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from accord.store import schema
from accord.store.database import Store, open_store
from accord.store.faults import StoreError

PROJECT = {"created_by": "system"}


def add(name: str, store: Store) -> None:
    """Write one row."""
    store.write(lambda conn: insert(conn, name))


def insert(conn: Connection, name: str, **more: object) -> None:
    conn.execute(sa.insert(schema.projects).values(id=name, name=name, **PROJECT, **more))


def names(store: Store) -> list[str]:
    """The rows that are there, sorted."""
    with store.read() as conn:
        return sorted(conn.execute(sa.select(schema.projects.c.id)).scalars())


def test_what_is_written_is_there_after_opening_again(store_url: str) -> None:
    with open_store(store_url) as store:
        add("a", store)
    with open_store(store_url, create=False) as store:
        assert names(store) == ["a"]


def test_a_write_returns_the_result(store: Store) -> None:
    assert store.write(lambda conn: conn.execute(sa.text("SELECT 41 + 1")).scalar_one()) == 42


def test_an_error_undoes_its_own_changes_alone(store: Store) -> None:
    gate = threading.Event()

    def broken(conn: Connection) -> None:
        insert(conn, "broken")
        raise LookupError("mine")

    first = store.enqueue(lambda conn: gate.wait())  # so that the next three share one commit
    jobs = [
        store.enqueue(lambda conn: insert(conn, "a")),
        store.enqueue(broken),
        store.enqueue(lambda conn: insert(conn, "b")),
    ]
    gate.set()
    assert first.result()
    assert [type(job.exception()) for job in jobs] == [type(None), LookupError, type(None)]
    assert names(store) == ["a", "b"]


def test_those_that_fail_are_told_apart_from_those_that_wait_with_them(store: Store) -> None:
    """First, last and two in a row: each fails alone, and the order of the others stays."""
    gate, order = threading.Event(), list("xbxxdx")

    def job(name: str, at: int) -> object:
        def write(conn: Connection) -> int:
            insert(conn, f"{name}{at}")
            if name == "x":
                raise LookupError(at)
            return len(conn.execute(sa.select(schema.projects.c.id)).all())

        return write

    first = store.enqueue(lambda conn: gate.wait())
    jobs = [store.enqueue(job(name, at)) for at, name in enumerate(order)]  # type: ignore[arg-type]
    gate.set()
    assert first.result()
    failed = [job.exception() for job in jobs]
    assert [error and error.args for error in failed] == [(0,), None, (2,), (3,), None, (5,)]
    assert (jobs[1].result(), jobs[4].result()) == (1, 2)
    assert names(store) == ["b1", "d4"]


def test_what_was_given_up_before_it_began_is_not_written(store: Store) -> None:
    gate = threading.Event()
    first = store.enqueue(lambda conn: gate.wait(10))
    while not first.running():
        pass
    given_up = store.enqueue(lambda conn: insert(conn, "given up"))
    assert given_up.cancel()
    assert not first.cancel()  # what has begun is finished
    gate.set()
    add("after", store)
    assert names(store) == ["after"]


def test_a_refused_statement_undoes_its_own_changes_alone(store: Store) -> None:
    add("a", store)

    def twice(conn: Connection) -> None:
        insert(conn, "b")
        insert(conn, "a")

    with pytest.raises(sa.exc.IntegrityError):
        store.write(twice)
    assert names(store) == ["a"]
    add("c", store)
    assert names(store) == ["a", "c"]


def test_writers_that_wait_together_share_one_commit(store: Store) -> None:
    commits: list[Connection] = []
    sa.event.listen(store._writer, "commit", commits.append)
    gate = threading.Event()
    waiting = [store.enqueue(lambda conn: gate.wait())]
    waiting += [store.enqueue(lambda conn, n=n: insert(conn, f"p{n}")) for n in range(50)]
    gate.set()
    for job in waiting:
        job.result()
    assert len(names(store)) == 50
    assert len(commits) <= 2


def test_the_answer_comes_after_the_commit(store: Store) -> None:
    order: list[str] = []
    sa.event.listen(store._writer, "commit", lambda conn: order.append("commit"))
    done = store.enqueue(lambda conn: insert(conn, "a"))
    done.add_done_callback(lambda future: order.append("answer"))
    done.result()
    store.close()
    assert order == ["commit", "answer"]


def test_writes_are_serial(store: Store) -> None:
    """Fifty threads that read, add one and write lose no step."""
    add("counter", store)
    projects = schema.projects

    def step(conn: Connection) -> None:
        value = conn.execute(sa.select(projects.c.guideline)).scalar_one()
        conn.execute(sa.update(projects).values(guideline=value + 1))

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(lambda _: store.write(step), range(200)))
    with store.read() as conn:
        assert conn.execute(sa.select(projects.c.guideline)).scalar_one() == 200


def test_two_servers_on_postgresql_are_serial_too(postgres_url: str) -> None:
    projects = schema.projects

    def step(conn: Connection) -> None:
        value = conn.execute(sa.select(projects.c.guideline)).scalar_one()
        conn.execute(sa.update(projects).values(guideline=value + 1))

    with open_store(postgres_url) as one, open_store(postgres_url) as two:
        add("counter", one)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: (one, two)[n % 2].write(step), range(60)))
        with two.read() as conn:
            assert conn.execute(sa.select(projects.c.guideline)).scalar_one() == 60


def test_a_read_sees_one_state(store: Store) -> None:
    with store.read() as conn:
        count = sa.select(sa.func.count()).select_from(schema.projects)
        assert conn.execute(count).scalar_one() == 0
        add("a", store)
        assert conn.execute(count).scalar_one() == 0
    assert names(store) == ["a"]


def test_a_reader_cannot_write(store: Store) -> None:
    with pytest.raises((StoreError, sa.exc.InternalError)), store.read() as conn:
        insert(conn, "a")
    assert names(store) == []


def test_a_write_inside_a_write_is_an_error_not_a_deadlock(store: Store) -> None:
    with pytest.raises(StoreError, match="inside a write"):
        store.write(lambda conn: store.write(lambda inner: None))


def test_close_finishes_what_is_queued(store_url: str) -> None:
    store = open_store(store_url)
    jobs = [store.enqueue(lambda conn, n=n: insert(conn, f"p{n}")) for n in range(20)]
    store.close()
    store.close()
    assert all(job.exception() is None for job in jobs)
    with pytest.raises(StoreError, match="closed"):
        add("late", store)


def test_sqlite_is_set_to_keep_what_it_acknowledges(sqlite_store: Store) -> None:
    for engine in (sqlite_store._writer, sqlite_store.engine):
        with engine.connect() as conn:
            found = {
                pragma: conn.exec_driver_sql(f"PRAGMA {pragma}").scalar_one()
                for pragma in ("journal_mode", "synchronous", "foreign_keys", "fullfsync")
            }
        assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "fullfsync": 1}


def test_postgresql_is_made_to_sync_before_it_answers(postgres_url: str) -> None:
    """The tests' server is set to answer early; the studio's writing connection is not."""
    show = sa.text("SHOW synchronous_commit")
    with open_store(postgres_url) as store:
        assert store.write(lambda conn: conn.execute(show).scalar_one()) == "on"
        with store.read() as conn:
            assert conn.execute(show).scalar_one() == "off"


def test_references_are_checked(store: Store) -> None:
    row = {"id": "r", "project_id": "nowhere", "name": "r", "task": "compare"}
    with pytest.raises(sa.exc.IntegrityError):
        store.write(lambda conn: conn.execute(sa.insert(schema.rounds).values(**row, **PROJECT)))


@pytest.mark.parametrize("value", ["\x00", "\U0001f600", "‮", {"a": [1, None, 2.5]}])
def test_json_comes_back_as_it_went(store: Store, value: object) -> None:
    settings = {"value": value}
    store.write(lambda conn: insert(conn, "a", settings=settings))
    with store.read() as conn:
        assert conn.execute(sa.select(schema.projects.c.settings)).scalar_one() == settings


# ---- what goes wrong


def test_a_full_disk_is_said_leaves_nothing_and_passes(sqlite_store: Store) -> None:
    with sqlite_store._writer.connect() as conn:
        pages = conn.exec_driver_sql("PRAGMA page_count").scalar_one()

    def limit(raw: sqlite3.Connection, _: object) -> None:
        raw.execute(f"PRAGMA max_page_count={pages + 4}").fetchall()

    sa.event.listen(sqlite_store._writer, "connect", limit)
    sqlite_store._writer.dispose()
    big = {"text": "x" * 100_000}
    gate = threading.Event()
    jobs = [sqlite_store.enqueue(lambda conn: gate.wait())]
    jobs.append(sqlite_store.enqueue(lambda conn: insert(conn, "small")))
    jobs.append(sqlite_store.enqueue(lambda conn: insert(conn, "big", settings=big)))
    jobs.append(sqlite_store.enqueue(lambda conn: insert(conn, "little")))
    gate.set()
    errors = [job.exception() for job in jobs]
    assert errors[:2] == [None, None]
    assert errors[3] is None
    assert isinstance(errors[2], StoreError)
    assert "disk is full" in str(errors[2])
    assert names(sqlite_store) == ["little", "small"]
    sa.event.remove(sqlite_store._writer, "connect", limit)
    sqlite_store._writer.dispose()
    sqlite_store.write(lambda conn: insert(conn, "big", settings=big))
    assert names(sqlite_store) == ["big", "little", "small"]


def test_a_file_that_became_read_only_is_said_and_passes(sqlite_store: Store) -> None:
    def forbid(raw: sqlite3.Connection, _: object) -> None:
        raw.execute("PRAGMA query_only=ON").fetchall()

    sa.event.listen(sqlite_store._writer, "connect", forbid)
    sqlite_store._writer.dispose()
    with pytest.raises(StoreError, match="cannot be written"):
        add("a", sqlite_store)
    sa.event.remove(sqlite_store._writer, "connect", forbid)
    sqlite_store._writer.dispose()
    add("b", sqlite_store)
    assert names(sqlite_store) == ["b"]


def test_a_read_only_file_is_refused_at_the_door(tmp_path: Path) -> None:
    """As a user without root's powers, in a process of its own."""
    folder = tmp_path / "closed"
    folder.mkdir()
    with open_store(folder / "studio.db") as store:
        add("a", store)
    code = (
        "import os, sys\nfrom accord.store.locking import hold\n"
        "os.geteuid() or os.setuid(65534)\n"
        "try:\n    hold(__import__('pathlib').Path(sys.argv[1])).__enter__()\n"
        "except RuntimeError as error:\n    print(error)\n"
    )
    for path in (*folder.iterdir(), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)
    with _reachable(tmp_path):
        said = subprocess.run(
            [sys.executable, "-c", code, str(folder / "studio.db")], capture_output=True, text=True
        )
    folder.chmod(0o755)
    assert "cannot be opened" in said.stdout, said
    assert "owner" in said.stdout


@contextmanager
def _reachable(path: Path) -> Iterator[None]:
    """Let any user walk down to a folder."""
    modes = {folder: folder.stat().st_mode for folder in (path, *path.parents)}
    for folder, mode in modes.items():
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)
    yield
    for folder, mode in modes.items():
        if not mode & stat.S_IXOTH:
            folder.chmod(stat.S_IMODE(mode))


def test_a_second_process_is_told_who_has_the_file(sqlite_store: Store, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom accord.store.database import open_store, StoreError\n"
        "try:\n    open_store(sys.argv[1])\nexcept StoreError as error:\n    print(error)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "studio.db")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"in use by process {os.getpid()}" in said
    add("a", sqlite_store)
    sqlite_store.close()
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""
    with pytest.raises(StoreError, match="closed"):
        add("b", sqlite_store)


def test_the_same_process_opens_a_file_once(sqlite_store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="in use by"):
        open_store(tmp_path / "studio.db")


def test_another_programs_lock_is_waited_for_and_then_said(
    sqlite_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(open_store.__globals__["SQLITE_PRAGMAS"], "busy_timeout", "50")
    sqlite_store._writer.dispose()
    other = sqlite3.connect(tmp_path / "studio.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="another program is writing"):
        add("a", sqlite_store)
    other.execute("ROLLBACK")
    other.close()
    add("b", sqlite_store)
    assert names(sqlite_store) == ["b"]


def test_a_postgresql_that_went_away_and_came_back(postgres_url: str) -> None:
    with open_store(postgres_url) as store:
        add("a", store)
        kill = sa.text(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
        with open_store(postgres_url) as other, other.read() as conn:
            conn.execute(kill)
            conn.rollback()
        add("b", store)  # the pool finds the dead connection before it is used
        with pytest.raises(StoreError, match="Nothing was saved"):
            store.write(
                lambda conn: conn.execute(sa.text("SELECT pg_terminate_backend(pg_backend_pid())"))
            )
        add("c", store)
        assert names(store) == ["a", "b", "c"]


def test_the_url_in_messages_has_no_password(sqlite_store: Store) -> None:
    url = "postgresql://me:secret@127.0.0.1:1/none"
    with pytest.raises(StoreError) as caught:
        open_store(url)
    assert "secret" not in str(caught.value)
    assert "me:***@127.0.0.1" in str(caught.value)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("mysql://localhost/x", "SQLite or PostgreSQL"),
        ("sqlite://", "not memory"),
        ("sqlite:///:memory:", "not memory"),
        ("://", "not a database URL"),
    ],
)
def test_other_places_are_refused(url: str, why: str) -> None:
    with pytest.raises(StoreError, match=why):
        open_store(url)


def test_a_missing_file_is_not_made_when_that_was_not_asked(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no database at"):
        open_store(tmp_path / "none.db", create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Dear diary, " * 200)
    with pytest.raises(StoreError, match="not a SQLite database"):
        open_store(path)
    assert path.read_text() == "Dear diary, " * 200
    open_again = open_store(tmp_path / "studio.db")  # and its lock did not stay
    open_again.close()


def test_the_file_is_its_owners_alone(sqlite_store: Store, tmp_path: Path) -> None:
    add("a", sqlite_store)
    for path in tmp_path.glob("studio.db*"):
        if not path.name.endswith(".holder"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
