"""The server's side of the generation worker: starts it, feeds it from the queue, stores its words.

One thread moves jobs and pieces between the queue in the database and the worker's pipe. The worker
may hang, die or talk nonsense: it is ended and started again, and what it had is queued again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import queue
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from accord.config.generators import GeneratorConfig
from accord.errors import AccordError
from accord.generator import Job, Said, command
from accord.store import generation
from accord.store.columns import new_id
from accord.store.database import Store
from accord.store.generation import Claimed
from accord.store.transcript import Piece, splice

log = logging.getLogger(__name__)

LEASE_SECONDS = 60.0
FLUSH_SECONDS = 0.05
"""Pieces are stored together this often: each time is one sync to the disk."""
IDLE_SECONDS = 0.5
RENEW_SECONDS = 10.0
LOOK_SECONDS = 0.5
"""How often the queue is looked at when nobody calls."""
STOP_SECONDS = 5.0
"""A worker that was asked to stop has so long."""
MAX_BACKOFF_SECONDS = 30.0
START_SECONDS = 1800.0
"""Loading models is silent and may take long."""

Deliver = Callable[[Connection, Sequence[str], Sequence[str]], None]
"""What to do, in the same transaction, with generations that are done and that were given up."""


class News:
    """Wakes whoever waits for a generation's next piece; safe between threads and event loops."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ears: dict[str, set[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = {}

    @contextmanager
    def listen(self, generation_id: str) -> Iterator[asyncio.Event]:
        """An event that is set with every piece from now on; call it from the event loop."""
        ear = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._ears.setdefault(generation_id, set()).add(ear)
        try:
            yield ear[1]
        finally:
            with self._lock:
                self._ears[generation_id].discard(ear)
                if not self._ears[generation_id]:
                    del self._ears[generation_id]

    def tell(self, generation_ids: Iterable[str]) -> None:
        """There is something new in these generations."""
        with self._lock:
            for generation_id in generation_ids:
                for loop, event in self._ears.get(generation_id, ()):
                    loop.call_soon_threadsafe(event.set)


@dataclass
class _Slot:
    generation: str
    slot: int
    text: str


@dataclass
class _Worker:
    """A worker process with the slots it is at."""

    process: subprocess.Popen[str]
    inbox: queue.SimpleQueue[Said | None] = field(default_factory=queue.SimpleQueue)
    slots: dict[str, _Slot] = field(default_factory=dict)
    ready: bool = False
    heard_at: float = field(default_factory=time.monotonic)

    def send(self, row: Any) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(row) + "\n")
            self.process.stdin.flush()
        except (BrokenPipeError, OSError):
            self.inbox.put(None)

    def listen(self) -> None:
        """Lines into the inbox; None when the worker is gone or talks nonsense."""
        assert self.process.stdout is not None
        try:
            for line in self.process.stdout:
                self.heard_at = time.monotonic()
                self.inbox.put(Said(**json.loads(line)))
        except (ValueError, TypeError):
            log.exception("the generation worker said something that cannot be read")
        self.inbox.put(None)

    def forget(self, generation_id: str) -> None:
        """Stop its other answers to the same generation."""
        for name in [n for n, slot in self.slots.items() if slot.generation == generation_id]:
            del self.slots[name]
            self.send({"cancel": name})


class Generator:
    """Keeps a worker at work on the queue of a store.

    Args:
        store: the queue and what is made of it.
        config: the policies; without any no worker is started.
        deliver: called in the transaction that ends generations.
        argv: the worker's command; None for accord's own.
    """

    def __init__(
        self,
        store: Store,
        config: GeneratorConfig,
        deliver: Deliver,
        argv: Sequence[str] | None = None,
    ) -> None:
        self.news = News()
        self.config = config
        self._store, self._deliver = store, deliver
        self._argv = list(argv or command(config))
        # SQLite has one server, which takes up again what an earlier one of its own left.
        self._name = f"studio-{new_id()}" if store.path is None else "studio"
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._worker: _Worker | None = None
        self._deaths = 0
        self._look_at, self._renew_at = 0.0, 0.0
        self._streams: Counter[str] = Counter()

    @property
    def pid(self) -> int | None:
        """The worker's process, None while there is none."""
        worker = self._worker
        return None if worker is None else worker.process.pid

    @property
    def ready(self) -> bool:
        """Whether the worker's models are loaded."""
        worker = self._worker
        return worker is not None and worker.ready

    def num_streams(self, account: str) -> int:
        """How many streams an account has open."""
        return self._streams[account]

    @contextmanager
    def streaming(self, account: str) -> Iterator[None]:
        """Count a stream while it is open; call it from the event loop."""
        self._streams[account] += 1
        try:
            yield
        finally:
            self._streams[account] -= 1

    def start(self) -> None:
        """Start the worker and the thread that serves it; without policies do nothing."""
        if self.config.policies and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="generator", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the worker in good order; its unfinished answers go back to the queue."""
        self._stopping.set()
        self.wake()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def wake(self) -> None:
        """Something was queued: look now."""
        self._look_at = 0.0
        worker = self._worker
        if worker is not None:
            worker.inbox.put(Said("beat"))

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._store.write(lambda conn: generation.release(conn, self._name))
                self._work()
            except (SQLAlchemyError, AccordError, OSError):
                log.exception("the generation queue has to wait")
            if not self._stopping.is_set():
                self._deaths += 1
                self._stopping.wait(min(MAX_BACKOFF_SECONDS, 0.25 * 2**self._deaths))

    def _work(self) -> None:
        """One life of a worker; what it leaves unfinished goes back to the queue."""
        worker = self._worker = self._open()
        try:
            reason = self._serve(worker)
        finally:
            self._worker = None
            self._close(worker)
        if self._stopping.is_set():
            self._store.write(lambda conn: generation.release(conn, self._name))
            return
        log.warning("%s; starting it again", reason)
        lost = {slot.generation: Said("failed", error=reason) for slot in worker.slots.values()}
        if lost:
            self._store.write(lambda conn: self._record(conn, [], lost))
            self.news.tell(lost)

    def _open(self) -> _Worker:
        process = subprocess.Popen(
            self._argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,
        )
        worker = _Worker(process)
        threading.Thread(target=worker.listen, daemon=True).start()
        worker.send(self.config.model_dump(mode="json"))
        return worker

    def _close(self, worker: _Worker) -> None:
        worker.process.terminate()
        try:
            worker.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()
        for end in (worker.process.stdin, worker.process.stdout):
            if end is not None:
                try:
                    end.close()
                except BrokenPipeError:
                    continue

    def _serve(self, worker: _Worker) -> str:
        """Until the worker is gone or must be ended; returns why."""
        while not self._stopping.is_set():
            said = self._listen(worker)
            gone = None in said
            self._store_pieces(worker, [one for one in said if one is not None])
            if gone:
                code = worker.process.poll()
                return f"the generation worker ended (code {code})"
            patience = self.config.silence_seconds if worker.ready else START_SECONDS
            if time.monotonic() - worker.heard_at > patience:
                return f"the generation worker hung for {patience:g} s"
            if worker.ready:
                self._feed(worker)
        return "the studio stops"

    def _listen(self, worker: _Worker) -> list[Said | None]:
        """What was said, gathered for a moment so that it is stored together."""
        try:
            said = [worker.inbox.get(timeout=IDLE_SECONDS)]
        except queue.Empty:
            return []
        slot = worker.slots.get(said[0].job) if said[0] is not None else None
        if slot is not None and slot.text:  # a rater waits for the first piece, not for the next
            time.sleep(FLUSH_SECONDS)
        while not worker.inbox.empty():
            said.append(worker.inbox.get())
        return said

    def _store_pieces(self, worker: _Worker, said: Sequence[Said]) -> None:
        pieces: list[Piece] = []
        failures: dict[str, Said] = {}
        for one in said:
            worker.ready = worker.ready or one.kind == "ready"
            slot = worker.slots.get(one.job)
            if slot is None:
                continue
            if one.kind == "failed":
                failures[slot.generation] = one
            else:
                pieces += _pieces(slot, one)
                if one.kind == "done":
                    del worker.slots[one.job]
                    self._deaths = 0
        self._renew(worker)
        if not pieces and not failures:
            return
        touched = {piece.generation for piece in pieces} | set(failures)
        for lost in self._store.write(lambda conn: self._record(conn, pieces, failures)):
            worker.forget(lost)
        self.news.tell(touched)

    def _record(
        self, conn: Connection, pieces: Sequence[Piece], failures: dict[str, Said]
    ) -> list[str]:
        """One transaction: pieces, then failures, then what follows; whose answers to drop."""
        done, lost = generation.record(conn, self._name, pieces, LEASE_SECONDS)
        given_up = [
            generation_id
            for generation_id, one in failures.items()
            if generation.fail(
                conn,
                self._name,
                generation_id,
                one.error,
                again=one.again,
                max_attempts=self.config.max_attempts,
            )
        ]
        self._deliver(conn, done, given_up)
        return [*lost, *failures]

    def _renew(self, worker: _Worker) -> None:
        """Hold the leases of answers that are slow to begin; expire those of others."""
        if time.monotonic() < self._renew_at:
            return
        self._renew_at = time.monotonic() + RENEW_SECONDS
        ids = sorted({slot.generation for slot in worker.slots.values()})

        def hold(conn: Connection) -> list[str]:
            generation.renew(conn, self._name, ids, LEASE_SECONDS)
            _, given_up = generation.expire(conn, self.config.max_attempts)
            self._deliver(conn, [], given_up)
            return given_up

        self.news.tell(self._store.write(hold))

    def _feed(self, worker: _Worker) -> None:
        free = self.config.max_together - len(worker.slots)
        if free <= 0 or time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_SECONDS
        with self._store.read() as conn:
            if not generation.any_queued(conn):
                return
        taken = self._store.write(
            lambda conn: generation.claim(conn, self._name, max(1, free // 2), LEASE_SECONDS)
        )
        for claimed in taken:
            self._look_at = 0.0  # there may be more
            for job, slot in _jobs(claimed):
                worker.slots[job.id] = slot
                worker.send(job.row())


def _jobs(claimed: Claimed) -> Iterator[tuple[Job, _Slot]]:
    for slot in claimed.open_slots:
        job = Job(
            id=f"{claimed.id}.{slot}",
            policy=claimed.policies[slot],
            messages=claimed.messages,
            speech=claimed.speech,
            key=f"{claimed.key}.{slot}",
        )
        yield job, _Slot(claimed.id, slot, claimed.texts[slot])


def _pieces(slot: _Slot, said: Said) -> list[Piece]:
    """What to store for a ``text`` or a ``done``; the slot's text grows along."""
    if said.kind == "text":
        slot.text, text, afresh = splice(slot.text, said.start, said.text)
        return [Piece(slot.generation, slot.slot, text, afresh)] if text else []
    if said.kind != "done":
        return []
    afresh = len(slot.text) > said.start  # an earlier try said more
    slot.text = slot.text[: said.start]
    return [
        Piece(
            slot.generation,
            slot.slot,
            slot.text if afresh else "",
            afresh,
            final=True,
            finished=said.finished,
            model=said.model,
        )
    ]
