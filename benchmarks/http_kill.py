"""Kill -9 of the studio's server under voting clients: nothing acknowledged is lost or doubled.

    python benchmarks/http_kill.py --kills 1000 --acked 200000

Clients take tasks and hand in judgments over HTTP; where an answer breaks off they send the same
again, with the same key, until a server answers. The server dies by SIGKILL after a random number
of acknowledgments; in one life of four already while it starts. A server is a fork of a process
that has done the imports (``peers/serve_accord.py``), so that a thousand restarts take minutes;
what the kill left behind is what the next server finds. ``store_kill.py`` looks the file over
after every 50th kill and, with its chain of events, before each new database.

Prints one JSON object; the exit code is 1 if anything was lost, doubled or damaged.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from peers import serve_accord
from peers.tools import AccordRater, accord_raters, free_port
from store_kill import Count

from accord.store.database import open_store

T = TypeVar("T")
PATIENCE = 600.0
"""Seconds without any answer after which a server hangs, not counting those of a suspended run."""
LOOK_SECONDS = 0.005
START_SECONDS = 0.3
"""Longer than a forked server takes to start, so that some kills come while it does."""
FULL = 0.8
"""Share of a database's judgments after which the next one is taken."""


@dataclass
class Tally(Count):
    """What a run came to.

    Attributes:
        kills: how many are wanted.
        wish: how many acknowledgments are wanted.
        cut: judgments whose answer a kill broke off; each was sent again.
        cut_but_saved: those of them that were on the disk already: a careless server doubles them.
    """

    kills: int = 0
    wish: int = 0
    cut: int = 0
    cut_but_saved: int = 0

    @property
    def wanting(self) -> bool:
        """Whether kills or acknowledgments are missing yet."""
        return self.crashes < self.kills or self.acked < self.wish

    @property
    def pace(self) -> float:
        """Acknowledgments for each kill that is left."""
        return max(1.0, (self.wish - self.acked) / max(1, self.kills - self.crashes))


@dataclass
class Book:
    """What the clients of one database know.

    Attributes:
        acked: tasks whose judgment was acknowledged.
        doubt: tasks whose judgment is under way.
        over: whether the clients are to stop after the judgment they are at.
    """

    acked: set[str] = field(default_factory=set)
    doubt: set[str] = field(default_factory=set)
    over: bool = False


class Server:
    """A studio's server that starts quickly and dies at once."""

    def __init__(self) -> None:
        self.port = free_port()
        script = [sys.executable, serve_accord.__file__, "stand-by", str(self.port)]
        self._forks = subprocess.Popen(script, stdin=-1, stdout=-1, text=True)
        self._pid = 0

    def start(self, folder: Path) -> None:
        """Begin to serve a folder."""
        assert self._forks.stdin is not None
        print(folder, file=self._forks.stdin, flush=True)
        self._pid = int(self._hear())

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone.

        Raises:
            ProcessLookupError: it was dead already.
        """
        os.kill(self._pid, signal.SIGKILL)
        self._pid = 0
        self._hear()

    def close(self) -> None:
        """End what runs."""
        if self._pid:
            self.kill()
        self._forks.communicate()

    def _hear(self) -> str:
        assert self._forks.stdout is not None
        return self._forks.stdout.readline()


async def insist(act: Callable[[], Awaitable[T]]) -> T:
    """Do something until a server answers."""
    while True:
        try:
            return await act()
        except OSError:
            await asyncio.sleep(0.02)


async def vote(rater: AccordRater, book: Book) -> None:
    """One client, until the book is closed or nothing is left to judge."""
    while not book.over and await insist(rater.take):
        book.doubt.add(rater.task)
        await insist(rater.judge)
        book.doubt.discard(rater.task)
        book.acked.add(rater.task)
    rater.wire.close()


async def run(
    folder: Path, kills: int, acked: int, *, items: int = 1000, raters: int = 20, seed: int = 0
) -> Tally:
    """Kill until both numbers are reached; see the module's docstring."""
    pairs = [{"id": str(n), "prompt": f"Is it {n}?", "a": "yes", "b": "no"} for n in range(items)]
    template = folder / "template.db"
    with open_store(template) as store:
        access = serve_accord.fill(store, pairs, raters, overlap=raters)
    made, tally, server = 0, Tally(kills=kills, wish=acked), Server()
    try:
        while tally.wanting:
            made += 1
            place = folder / str(made)
            place.mkdir()
            shutil.copyfile(template, place / "studio.db")
            people = accord_raters(server.port, access)
            rng = random.Random(f"{seed} {made}")
            await one_database(server, place, people, int(FULL * items * raters), tally, rng)
            shutil.rmtree(place)
    finally:
        server.close()
    return tally


async def one_database(
    server: Server,
    place: Path,
    people: Sequence[AccordRater],
    enough: int,
    tally: Tally,
    rng: random.Random,
) -> None:
    """Kill servers of one folder until it holds enough or the run does; then look at all of it."""
    book = Book()
    clients = [asyncio.create_task(vote(rater, book)) for rater in people]
    while tally.wanting and len(book.acked) < enough:
        early, before = rng.random() < 0.25, len(book.acked)
        server.start(place)
        await moment(rng, book, clients, 0 if early else rng.uniform(0, 2 * tally.pace))
        server.kill()
        tally.acked += len(book.acked) - before
        look(tally, place / "studio.db", book)
    server.start(place)
    book.over = True
    before = len(book.acked)
    await answers(book, clients, lambda: False)
    server.kill()
    tally.acked += len(book.acked) - before
    look(tally, place / "studio.db", book, whole=True)


async def moment(
    rng: random.Random, book: Book, clients: Sequence[asyncio.Task[None]], acks: float
) -> None:
    """Wait for so many acknowledgments and a little longer; with 0, for a part of the start."""
    enough = len(book.acked) + acks
    await answers(book, clients, lambda: len(book.acked) >= enough)
    await asyncio.sleep(rng.uniform(0.0, 0.02 if acks else START_SECONDS))


async def answers(
    book: Book, clients: Sequence[asyncio.Task[None]], enough: Callable[[], bool]
) -> None:
    """Wait while clients work, until there is enough or nothing left to do.

    Raises:
        TimeoutError: nobody was answered for a long time.
        ToolError: a client was refused.
    """
    waited, last = 0, -1
    while not enough() and not all(client.done() for client in clients):
        waited, last = (waited + 1 if last == len(book.acked) else 0), len(book.acked)
        if waited > PATIENCE / LOOK_SECONDS:
            raise TimeoutError(f"no answer for {PATIENCE:.0f} s after {last} judgments")
        await asyncio.sleep(LOOK_SECONDS)
        for client in clients:
            if client.done():
                client.result()  # raises what a client met that is no broken connection


def look(tally: Tally, path: Path, book: Book, *, whole: bool = False) -> None:
    """Count a kill, what it cut, and now and then (and where ``whole``) what the file holds."""
    tally.crashes += 1
    tally.cut += len(book.doubt)
    # Read-only, so that the next server is who recovers the write-ahead log.
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as conn:
        query = "SELECT count(*) FROM judgments WHERE assignment_id = ?"
        tally.cut_but_saved += sum(conn.execute(query, (t,)).fetchone()[0] for t in book.doubt)
    if whole or tally.crashes % 50 == 0:
        tally.check(path, book.acked, verify=whole)
        print(vars(tally), file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--acked", type=int, default=200_000, help="at least so many acknowledged")
    parser.add_argument("--items", type=int, default=1000, help="of each database")
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="on the disk to test; default: a temporary one")
    args = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server ends, too
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=args.folder, prefix="http-kill-") as folder:
        sizes: dict[str, Any] = {"items": args.items, "raters": args.clients, "seed": args.seed}
        tally = asyncio.run(run(Path(folder), args.kills, args.acked, **sizes))
    result = {**vars(tally), "faults": tally.faults[:5]}
    print(json.dumps({**result, "seconds": round(time.monotonic() - began, 1)}))
    return 0 if tally.sound else 1


if __name__ == "__main__":
    sys.exit(main())
