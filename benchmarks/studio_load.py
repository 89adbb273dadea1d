"""The studio over HTTP: raters who hand in judgments at a steady rate, whatever its size.

    python benchmarks/studio_load.py --rates 100 150 200           # judgments a second
    python benchmarks/studio_load.py --items 100000 --judgments 1000000 --rates 50

Each judgment is two requests: hand it in, fetch the next item. The load arrives in open loop
(``peers/load.py``), so a queue before the server counts. With ``--judgments`` the studio holds so
many already. Prints a line of JSON for the start and for each rate; the server is a process of its
own, and its processor time is told beside the times, because other programs do not change it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
from pathlib import Path

from peers import load, serve_accord
from peers.tools import Accord
from store_load import fill_apart

import accord
from accord.store import accounts, rounds
from accord.store.database import open_store

WORDS = "a response of an ordinary length, said again and again. " * 6


class Here(Accord):
    """The studio of the accord that runs this."""

    def environment(self) -> dict[str, str]:
        """Where that accord is, and one thread for numpy."""
        return {"PYTHONPATH": str(Path(accord.__file__).parents[1]), "OMP_NUM_THREADS": "1"}

    def cpu_seconds(self) -> float:
        """Processor time of the server so far."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Make the studio, start it, load it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--judgments", type=int, default=0, help="that are there before")
    parser.add_argument("--raters", type=int, default=200)
    parser.add_argument("--rates", type=float, nargs="+", default=[50.0, 100.0, 150.0, 200.0])
    parser.add_argument("--seconds", type=float, default=15.0, help="of each rate")
    parser.add_argument("--folder", type=Path, help="keep the studio here, or use the one there")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server ends, too
    with tempfile.TemporaryDirectory(prefix="studio-load-") as folder:
        words = {"prompt": "Which is better?", "a": f"A: {WORDS}", "b": f"B: {WORDS}"}
        fresh = 0 if options.judgments else options.items
        pairs = [{"id": f"p{n}", **words} for n in range(fresh)]
        place = options.folder or Path(folder)
        studio = Here(place, Path(sys.executable), pairs, options.raters)
        if options.judgments and not (place / "access.json").exists():
            large(studio, options.items, options.judgments)
        try:
            first, second = studio.start(), again(studio)
            told = {"first_start_s": first, "start_s": second, "idle_mb": studio.memory_mb()}
            print(json.dumps({name: round(value, 2) for name, value in told.items()}), flush=True)
            asyncio.run(work(studio, options.rates, options.seconds))
        finally:
            studio.kill()


def large(studio: Here, num_items: int, num_judgments: int) -> None:
    """A studio that people worked in for long, and tokens for its raters."""
    studio.folder.mkdir(parents=True, exist_ok=True)
    database = studio.folder / "studio.db"
    fill_apart(str(database), num_items, num_judgments, studio.num_raters)
    with open_store(database) as store:
        people = [person.id for person in accounts.list_accounts(store)]
        [found] = rounds.list_rounds(store, state="open")
        access = serve_accord.access(store, found.id, people)
    (studio.folder / "access.json").write_text(json.dumps(access))


def again(studio: Here) -> float:
    """Stop and start once more; seconds to the first page."""
    studio.kill()
    return studio.start()


async def work(studio: Here, rates: list[float], seconds: float) -> None:
    """One rate after the other, by the raters for whom there is something to do."""
    raters = [rater for rater in studio.enter() if await rater.take()]
    for rate in rates:
        before = studio.cpu_seconds()
        done = await load.step(raters, rate, seconds)
        used = (studio.cpu_seconds() - before) / max(1, int(rate * seconds))
        done |= {"server_cpu_ms": round(1000 * used, 2), "memory_mb": studio.memory_mb()}
        print(json.dumps(done), flush=True)


if __name__ == "__main__":
    main()
