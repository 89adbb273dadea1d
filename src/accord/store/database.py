"""One door to the studio's database: reads at any time, writes through one queue.

An acknowledged write is on the disk: ``Store.write`` returns after the COMMIT, and SQLite runs in
WAL mode with ``synchronous=FULL``, which syncs the log at each commit. Writers that wait at the
same time share one commit (group commit), so durability costs one sync for many of them.

Writes are serial on both databases: SQLite has one writer anyway, and on PostgreSQL every writing
transaction first takes one advisory lock. A function given to ``write`` therefore sees no other
writer, in this process or another, and needs no locks of its own.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from accord.store import locking, migrate
from accord.store.faults import StoreError, is_refusal, store_error
from accord.workspace import sync

__all__ = ["Store", "StoreError", "open_store"]

T = TypeVar("T")

SQLITE_PRAGMAS = {
    "journal_mode": "WAL",
    "synchronous": "FULL",  # the promise of this module; the crash tests fail without it
    "fullfsync": "ON",  # macOS: through the drive's own cache, too
    "foreign_keys": "ON",
    "secure_delete": "ON",  # what is erased leaves no bytes in the file
    "busy_timeout": "5000",
}
MAX_BATCH = 64
READERS, MAX_READERS = 8, 40
WRITER_LOCK = 0x61636372  # any number that nobody else uses as an advisory lock


class _Caught:
    """A context manager that keeps whatever is raised within."""

    error: BaseException | None = None

    def __enter__(self) -> _Caught:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        self.error = error
        return True


@dataclass
class _Job:
    fn: Callable[[Connection], Any]
    done: Future[Any] = field(default_factory=Future)


class Store:
    """An open database; make one with :func:`open_store`, and close it (a context manager, too).

    ``url`` carries no password. ``path`` is the SQLite file, None on PostgreSQL.
    """

    def __init__(self, url: sa.URL, closing: ExitStack):
        self.url = url.render_as_string(hide_password=True)
        self.path = Path(url.database or "") if is_sqlite(url) else None
        self.engine, self._writer = _reader(url), _writer(url)
        closing.callback(self.engine.dispose)
        closing.callback(self._writer.dispose)
        self._closing = closing
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._door = threading.Lock()
        self._open = True
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection to read with: one consistent state of the data until it closes.

        Raises:
            StoreError: the database cannot be read; a write was tried here.
        """
        try:
            with self.engine.connect() as connection:
                yield connection
        except sa.exc.DBAPIError as error:
            if is_refusal(error):
                raise
            raise store_error(error, self.url) from error

    def write(self, fn: Callable[[Connection], T]) -> T:
        """Run ``fn`` in the writing thread and return its result once it is committed and synced.

        When ``fn`` raises, its changes alone are undone and the error comes out here. It must touch
        nothing but the connection, because it runs a second time when another function in the
        transaction they shared raises; it must return rows, not a cursor, and it must not swallow
        the database's errors.

        Raises:
            StoreError: the database refuses (disk full, read-only, damaged); nothing was kept.
        """
        return self.enqueue(fn).result()

    def enqueue(self, fn: Callable[[Connection], T]) -> Future[T]:
        """As :meth:`write`, but returns at once with what will hold the result."""
        if threading.current_thread() is self._thread:
            raise StoreError(
                "write() was called inside a write(), which would wait for itself: "
                "pass the connection on instead."
            )
        job = _Job(fn)
        with self._door:
            if not self._open:
                raise StoreError(f"{self.url} is closed; nothing was written.")
            self._jobs.put(job)
        return job.done

    def backup(self, to: str | Path) -> Path:
        """Copy the SQLite database to a new file while it is in use (see ``store.backup``).

        Raises:
            StoreError: a file is there already; no room; the database is PostgreSQL.
        """
        if self.path is None:
            raise StoreError(f"{self.url} is PostgreSQL: back it up with pg_dump, not with accord.")
        return migrate.copy(self.path, Path(to))

    def checkpoint(self) -> None:
        """Move the write-ahead log into the SQLite file and empty it; nothing on PostgreSQL."""
        if self.path is not None:
            with self._writer.connect() as connection:
                raw = connection.connection.driver_connection
                raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # type: ignore[union-attr]

    def close(self) -> None:
        """Finish what is queued and let go of the database; a second time does nothing."""
        with self._door:
            if not self._open:
                return
            self._open = False
            self._jobs.put(None)
        self._thread.join()
        self._closing.close()

    def _run(self) -> None:
        last = False
        while not last:
            batch: list[_Job] = []
            jobs = [self._jobs.get()]
            while len(jobs) < MAX_BATCH and not self._jobs.empty():
                jobs.append(self._jobs.get())
            last = None in jobs
            # From here on a job cannot be cancelled; what was given up before is not begun.
            batch = [job for job in jobs if job and job.done.set_running_or_notify_cancel()]
            if batch:
                self._commit(batch)

    def _commit(self, jobs: Sequence[_Job]) -> None:
        """Run jobs in one transaction; where one raises, it alone and the others again.

        There are no savepoints: almost no job raises, and two statements more for each job would be
        a tenth of what a judgment costs.
        """
        values: list[Any] = []
        caught = _Caught()
        with caught, self._writer.begin() as connection:
            for job in jobs:
                values.append(job.fn(connection))
        error, bad = caught.error, len(values)
        if error is None:
            for job, value in zip(jobs, values, strict=True):
                job.done.set_result(value)
            return
        if isinstance(error, sa.exc.DBAPIError) and not is_refusal(error):
            self._writer.dispose()  # after a failed sync or a lost server, from a new connection
            failed = store_error(error, self.url, writing=True)
            failed.__cause__ = error
            error = failed
        if len(jobs) == 1:
            jobs[0].done.set_exception(error)
        elif bad == len(jobs):  # the commit itself failed
            for job in jobs:
                self._commit([job])
        else:
            for part in (jobs[:bad], jobs[bad : bad + 1], jobs[bad + 1 :]):
                if part:
                    self._commit(part)


def open_store(url: str | Path, *, create: bool = True) -> Store:
    """Open the studio's database: a path, ``sqlite:///path`` or ``postgresql+psycopg://...``.

    A SQLite file belongs to one process at a time and is made readable by its owner alone. A
    database of an older accord is brought up to date, after a backup beside it.

    Raises:
        StoreError: it is not there and ``create`` is False; another process has it; it is not
            accord's, is damaged or from a newer accord; it cannot be read or written.
    """
    place = _parse(url)
    with ExitStack() as closing:
        path = Path(place.database or "") if is_sqlite(place) else None
        if path is not None:
            closing.enter_context(locking.hold(path, create=create))
        engine = _writer(place, migrating=True)
        try:
            with engine.begin() as connection:
                migrate.upgrade(connection, path)
        except sa.exc.DBAPIError as error:
            raise store_error(error, place.render_as_string(hide_password=True)) from error
        finally:
            engine.dispose()
        if path is not None:
            sync(path.parent)
        return Store(place, closing.pop_all())
    raise AssertionError("the block above returns or raises")


def is_sqlite(url: sa.URL) -> bool:
    """Whether a URL names a SQLite file."""
    return url.get_backend_name() == "sqlite"


def _parse(url: str | Path) -> sa.URL:
    text = str(url)
    if "://" not in text:
        return sa.URL.create("sqlite", database=str(Path(text).absolute()))
    try:
        place = sa.make_url(text)
    except sa.exc.ArgumentError as error:
        raise StoreError(
            f"{text!r} is not a database URL; give a path or sqlite:///PATH."
        ) from error
    if is_sqlite(place) and place.database in (None, "", ":memory:"):
        raise StoreError("The studio needs a SQLite file, not memory: sqlite:///PATH.")
    if place.get_backend_name() == "postgresql":
        return place.set(drivername="postgresql+psycopg")
    if not is_sqlite(place):
        raise StoreError(
            f"The studio runs on SQLite or PostgreSQL, not on {place.get_backend_name()}."
        )
    return place


def _reader(url: sa.URL) -> Engine:
    if is_sqlite(url):  # connections are kept: to open one costs more than a rater's request
        return _sqlite(url, begin="BEGIN", pragmas={"query_only": "ON"}, pool_size=MAX_READERS)
    return sa.create_engine(
        url,
        pool_pre_ping=True,
        execution_options={"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
        pool_size=READERS,
        max_overflow=MAX_READERS - READERS,
    )


def _writer(url: sa.URL, *, migrating: bool = False) -> Engine:
    if is_sqlite(url):
        # Tables are rebuilt by migrations, which must not cascade; the keys are checked after.
        pragmas = {"foreign_keys": "OFF"} if migrating else {}
        return _sqlite(url, begin="BEGIN IMMEDIATE", pragmas=pragmas)
    engine = sa.create_engine(url, pool_pre_ping=True, pool_size=1)

    def alone(connection: Connection) -> None:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITER_LOCK})")

    sa.event.listen(engine, "connect", _wait_for_disk)
    sa.event.listen(engine, "begin", alone)
    return engine


def _wait_for_disk(raw: Any, _: Any) -> None:
    """A PostgreSQL server may be set to answer before its log is synced; not to us."""
    raw.execute(
        "SELECT set_config('synchronous_commit', 'on', false) "
        "WHERE current_setting('synchronous_commit') = 'off'"
    )
    raw.commit()


def _sqlite(url: sa.URL, *, begin: str, pragmas: dict[str, str], **pool: int) -> Engine:
    engine = sa.create_engine(url, **pool)

    def connect(raw: Any, _: Any) -> None:
        raw.isolation_level = None  # transactions begin where we say, not where the driver guesses
        for pragma, value in {**SQLITE_PRAGMAS, **pragmas}.items():
            raw.execute(f"PRAGMA {pragma}={value}").fetchall()

    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    sa.event.listen(engine, "connect", connect)
    sa.event.listen(engine, "begin", start)
    return engine
