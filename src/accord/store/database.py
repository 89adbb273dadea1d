"""One door to the studio's database: reads at any time, writes through one queue.

An acknowledged write is on the disk: ``Store.write`` returns after the COMMIT, and SQLite runs in
WAL mode with ``synchronous=FULL``, which syncs the log at each commit. Writers that wait at the
same time share one commit (group commit), so durability costs one sync for many of them.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from accord.errors import AccordError
from accord.store.schema import metadata

T = TypeVar("T")


class StoreError(AccordError, RuntimeError):
    """The studio's database cannot be opened, written or trusted."""


@dataclass
class _Job:
    fn: Callable[[Connection], Any]
    done: Future[Any] = field(default_factory=Future)


class Store:
    """An open database; make one with :func:`open_store`."""

    def __init__(self, url: str, engine: Engine):
        self.url = url
        self.engine = engine
        self.dialect = engine.dialect.name
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection to read with: one consistent state of the data until it closes."""
        with self.engine.connect() as connection:
            yield connection

    def write(self, fn: Callable[[Connection], T]) -> T:
        """Run ``fn`` in a transaction; returns when it is committed and synced."""
        job = _Job(fn)
        self._jobs.put(job)
        result: T = job.done.result()
        return result

    def close(self) -> None:
        """Finish the queue and let go of the database."""
        self._jobs.put(None)
        self._thread.join()
        self.engine.dispose()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                with self.engine.begin() as connection:
                    result = job.fn(connection)
            except BaseException as error:  # handed to the caller
                job.done.set_exception(error)
            else:
                job.done.set_result(result)


def open_store(url: str | Path, *, create: bool = True) -> Store:
    """Open the database at a path or URL, making it if it is not there."""
    text = str(url)
    if "://" not in text:
        text = f"sqlite:///{text}"
    engine = sa.create_engine(text)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _pragmas)
    metadata.create_all(engine)
    return Store(text, engine)


def _pragmas(connection: Any, record: Any) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
