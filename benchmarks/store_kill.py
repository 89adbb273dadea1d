"""Kill -9 and power loss: no judgment that was acknowledged may be lost, none may be doubled.

    python benchmarks/store_kill.py kill --kills 1000 --acked 200000
    python benchmarks/store_kill.py power --crashes 10000
    python benchmarks/store_kill.py power --crashes 200 --synchronous NORMAL    # must lose some

``kill``: clients in threads take tasks and hand in judgments through the store; each tells the
parent, through a pipe, what it is about to hand in and what was acknowledged. The process is killed
with SIGKILL at a random moment, the file is checked, the next process first sends again whatever
was in doubt (same key), and so on.

``power``: the same clients run once under ``power_loss.c``, which writes down each write and sync
of the database's files in order. For each simulated crash a random moment of that log is taken, and
the files are rebuilt as a disk could hold them: what was synced is there; of what was not, all,
some (512-byte sectors, any of them) or nothing, and a new file's name may be missing.

Prints one JSON object; the exit code is 1 if anything was lost, doubled or damaged.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accord.store import accounts, assign, database, events, judgments, rounds
from accord.store.faults import StoreError
from accord.store.items import add_items
from accord.store.records import NewItem
from accord.store.settings import RoundSettings
from accord.types import Completion, Message, Prompt

SHIM = Path(__file__).with_name("power_loss.c")
SECTOR_BYTES = 512
HEAD = struct.Struct("<cIQQ")


# ---- the load


def prepare(path: Path, num_items: int, num_raters: int) -> list[str]:
    """A new studio with one open round that every rater may judge whole; the raters' ids."""
    settings = RoundSettings(
        overlap=num_raters, calibration_share=0, gold_share=0, attention_share=0, anchor_share=0
    )
    with database.open_store(path) as store:
        raters = [accounts.create_account(store, f"rater {n}").id for n in range(num_raters)]
        project = rounds.create_project(store, "crash", "system")
        made = rounds.create_round(
            store, project.id, "round", task="compare", actor="system", settings=settings
        )
        texts = (f"question {n}" for n in range(num_items))
        sides = (Completion("yes", model="one"), Completion("no", model="two"))
        items = [NewItem(Prompt(text, (Message("user", text),)), sides) for text in texts]
        add_items(store, made.id, items, "system")
        rounds.open_round(store, made.id, "system")
    return raters


def vote(path: Path, raters: Sequence[str], tell: int, again: Sequence[str], limit: int) -> None:
    """Judge with one thread per rater until killed, out of work, or ``limit`` times each.

    ``tell`` is a file descriptor: ``? rater task`` before a judgment is handed in, ``! task`` when
    it was acknowledged. ``again`` are the ``rater task`` pairs in doubt, sent first.
    """
    with database.open_store(path, create=False) as store:

        def hand_in(rater: str, task: str) -> None:
            os.write(tell, f"? {rater} {task}\n".encode())
            body = {"outcome": "a", "strength": 1, "active_ms": 1, "num_keys": 1}
            judgments.submit(store, rater, task, body, f"vote {task}")
            os.write(tell, f"! {task}\n".encode())

        def work(rater: str) -> None:
            for task in (pair.split()[1] for pair in again if pair.startswith(f"{rater} ")):
                hand_in(rater, task)
            for _ in range(limit):
                found = assign.next_assignment(store, rater)
                if found is None:
                    return
                hand_in(rater, found.id)

        threads = [threading.Thread(target=work, args=(rater,)) for rater in raters]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


@dataclass
class Count:
    """What a run came to."""

    crashes: int = 0
    acked: int = 0
    lost: int = 0
    doubled: int = 0
    damaged: int = 0
    verified: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        return not (self.lost or self.doubled or self.damaged)

    def check(self, path: Path, acked: set[str], *, verify: bool) -> None:
        """Look a database over after a crash; ``acked`` are tasks whose judgment must be there."""
        try:
            with closing(sqlite3.connect(path)) as conn:
                said = conn.execute(
                    "SELECT assignment_id, count(*) FROM events WHERE kind = 'judgment' "
                    "GROUP BY assignment_id"
                ).fetchall()
                kept = {row[0] for row in conn.execute("SELECT assignment_id FROM judgments")}
                whole = conn.execute("PRAGMA quick_check(1)").fetchone()[0]
            self.damaged += whole != "ok" or {row[0] for row in said} != kept
            self.lost += len(acked - kept)
            self.doubled += sum(times > 1 for _, times in said)
            if verify:
                with database.open_store(path, create=False) as store:
                    found = events.verify(store)
                self.verified += 1
                self.damaged += bool(found)
                self.faults += found[:1]
        except (sqlite3.Error, StoreError) as error:
            self.damaged += 1
            self.lost += len(acked)
            self.faults.append(str(error))


# ---- kill -9


def kills(
    folder: Path,
    num_kills: int,
    *,
    min_acked: int = 0,
    raters: int = 20,
    items: int = 1000,
    seed: int = 0,
) -> Count:
    """Kill a voting process until both numbers are reached; see the module's docstring."""
    rng, count, made = random.Random(seed), Count(), 0
    people = prepare(folder / "template.db", items, raters)
    while count.crashes < num_kills or count.acked < min_acked:
        made += 1
        path = folder / f"studio-{made}.db"
        shutil.copyfile(folder / "template.db", path)
        acked: set[str] = set()
        doubt: dict[str, str] = {}
        while len(acked) < 0.8 * items * raters:
            early = rng.random() < 0.25
            fresh = _until_killed(path, people, doubt, rng.uniform(0.0, 0.8), early=early)
            acked |= fresh
            count.crashes += 1
            count.acked += len(fresh)
            count.check(path, acked, verify=count.crashes % 50 == 0)
            if count.crashes >= num_kills and count.acked >= min_acked:
                break
            if count.crashes % 50 == 0:
                print(
                    f"{count.crashes} kills, {count.acked} votes, {count.lost} lost",
                    file=sys.stderr,
                )
        path.unlink()
    return count


def _until_killed(
    path: Path, people: Sequence[str], doubt: dict[str, str], seconds: float, *, early: bool
) -> set[str]:
    """Fork a voting process, kill it ``seconds`` after its first word; what it acknowledged.

    The clock starts at its first acknowledgment; at its first word where ``early``. ``doubt`` goes
    in as what to send again and comes out as what was sent without an answer.
    """
    again = [f"{rater} {task}" for task, rater in doubt.items()]
    heard, told = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(heard)
        try:
            vote(path, people, told, again, limit=sys.maxsize)
        finally:
            os._exit(0)
    os.close(told)
    said = more = os.read(heard, 1 << 16)
    while more and not early and b"!" not in said:
        more = os.read(heard, 1 << 16)
        said += more
    if not said:
        raise RuntimeError("the voting process died before its first word")
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if select.select([heard], [], [], left)[0]:
            more = os.read(heard, 1 << 16)
            said += more
            if not more:
                break
    os.kill(child, signal.SIGKILL)
    while more := os.read(heard, 1 << 16):
        said += more
    os.close(heard)
    os.waitpid(child, 0)
    acked: set[str] = set()
    for line in said.decode().split("\n")[:-1]:
        match line.split():
            case ["?", rater, task]:
                doubt[task] = rater
            case ["!", task]:
                acked.add(task)
                doubt.pop(task, None)
    return acked


# ---- power loss


@dataclass
class Disk:
    """One file on a disk: what is safe, and what was written since."""

    safe: bytearray = field(default_factory=bytearray)
    named: bool = True
    waiting: list[tuple[bytes, int, bytes]] = field(default_factory=list)

    def sync(self) -> None:
        for op, offset, data in self.waiting:
            _apply(self.safe, op, offset, data)
        self.waiting.clear()

    def after_crash(self, rng: random.Random, share: float) -> bytes | None:
        """The content a crash may leave with this share of what waits; None: no such file."""
        if not self.named and rng.random() >= share:
            return None
        content = bytearray(self.safe)
        for op, offset, data in self.waiting:
            if op == b"T":
                if rng.random() < share:
                    _apply(content, op, offset, data)
                continue
            at = 0
            while at < len(data):
                end = at + SECTOR_BYTES - (offset + at) % SECTOR_BYTES
                if rng.random() < share:
                    _apply(content, op, offset + at, data[at:end])
                at = end
        return bytes(content)


def _apply(content: bytearray, op: bytes, offset: int, data: bytes) -> None:
    if op == b"T":
        del content[offset:]
        data = b""
    content.extend(bytes(max(0, offset - len(content))))
    content[offset : offset + len(data)] = data


def read_log(path: Path) -> Iterator[tuple[bytes, str, int, bytes]]:
    """The entries that power_loss.c wrote: op, name, offset, data."""
    raw, at = path.read_bytes(), 0
    while at + HEAD.size <= len(raw):
        op, named, offset, length = HEAD.unpack_from(raw, at)
        at += HEAD.size
        name, data = raw[at : at + named].decode(), raw[at + named : at + named + length]
        at += named + length
        yield op, name, offset, data


def build_shim(folder: Path) -> Path:
    """Compile power_loss.c; raises FileNotFoundError without a C compiler."""
    library = folder / "power_loss.so"
    command = ["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(SHIM), "-ldl", "-lpthread"]
    subprocess.run(command, check=True)
    return library


def record(folder: Path, votes: int, raters: int, synchronous: str) -> tuple[dict[str, Disk], Path]:
    """Vote under the shim; the disk as it was before, and the log of what was done to it."""
    place, log = folder / "disk", folder / "power.log"
    place.mkdir()
    people = prepare(place / "studio.db", max(2, votes // raters + 1), raters)
    before = {"studio.db": Disk(bytearray((place / "studio.db").read_bytes()))}
    shim = {
        "LD_PRELOAD": str(build_shim(folder)),
        "POWER_FOLDER": str(place),
        "POWER_LOG": str(log),
    }
    subprocess.run(
        [sys.executable, __file__, "worker", str(place), synchronous, *people],
        env={**os.environ, **shim},
        check=True,
    )
    return before, log


def worker(place: Path, synchronous: str, people: Sequence[str]) -> None:
    """What :func:`record` runs: vote until the round is done and leave without closing."""
    database.SQLITE_PRAGMAS["synchronous"] = synchronous
    database.SQLITE_PRAGMAS["wal_autocheckpoint"] = "60"  # pages: many checkpoints in a short log
    tell = os.open(place / "acks", os.O_WRONLY | os.O_CREAT, 0o600)
    vote(place / "studio.db", people, tell, [], limit=sys.maxsize)
    os._exit(0)


def power(
    folder: Path,
    crashes: int,
    *,
    votes: int = 400,
    raters: int = 8,
    synchronous: str = "FULL",
    seed: int = 0,
    verify_every: int = 25,
) -> Count:
    """Lose power at random moments of one recorded run; see the module's docstring."""
    rng, count = random.Random(seed), Count()
    disk, log = record(folder, votes, raters, synchronous)
    entries = list(read_log(log))
    moments = sorted(rng.randrange(1, len(entries) + 1) for _ in range(crashes))
    path, said, done = folder / "after" / "studio.db", b"", 0
    for number, moment in enumerate(moments):
        for op, name, offset, data in entries[done:moment]:
            if name == "acks":
                said += data
            elif name == "" or name.endswith((".db", ".db-wal", ".db-journal")):
                _step(disk, op, name, offset, data)
        done = moment
        acked = {line[2:] for line in said.decode().split("\n") if line.startswith("!")}
        count.acked = len(acked)
        share = rng.choice((0.0, rng.random(), 1.0))
        _write_disk(path, disk, rng, share)
        count.crashes += 1
        count.check(path, acked, verify=number % verify_every == 0)
        if number % 500 == 499:
            print(f"{number + 1} crashes, {count.lost} lost", file=sys.stderr)
    return count


def _step(disk: dict[str, Disk], op: bytes, name: str, offset: int, data: bytes) -> None:
    """Do one entry of the log to the disk."""
    if op == b"S" and name == "":
        for file in disk.values():
            file.named = True
    elif op == b"C":
        disk.setdefault(name, Disk(named=False))
    elif op == b"U":
        disk.pop(name, None)
    elif op == b"S":
        disk[name].sync()
    else:
        disk[name].waiting.append((op, offset, data))


def _write_disk(path: Path, disk: dict[str, Disk], rng: random.Random, share: float) -> None:
    shutil.rmtree(path.parent, ignore_errors=True)
    path.parent.mkdir()
    for name, file in disk.items():
        content = file.after_crash(rng, share)
        if content is not None:
            (path.parent / name).write_bytes(content)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    modes = parser.add_subparsers(dest="mode", required=True)
    kill = modes.add_parser("kill")
    kill.add_argument("--kills", type=int, default=1000)
    kill.add_argument("--acked", type=int, default=200_000, help="at least so many acknowledged")
    lose = modes.add_parser("power")
    lose.add_argument("--crashes", type=int, default=10_000)
    lose.add_argument("--synchronous", choices=["FULL", "NORMAL"], default="FULL")
    inner = modes.add_parser("worker")
    inner.add_argument("place", type=Path)
    inner.add_argument("synchronous")
    inner.add_argument("people", nargs="+")
    for mode in (kill, lose):
        mode.add_argument("--seed", type=int, default=0)
        mode.add_argument(
            "--folder", type=Path, help="on the disk to test; default: a temporary one"
        )
    args = parser.parse_args(arguments)
    if args.mode == "worker":
        worker(args.place, args.synchronous, args.people)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=args.folder, prefix="store-kill-") as folder:
        count = (
            kills(Path(folder), args.kills, min_acked=args.acked, seed=args.seed)
            if args.mode == "kill"
            else power(Path(folder), args.crashes, synchronous=args.synchronous, seed=args.seed)
        )
    result: dict[str, Any] = {"mode": args.mode, **vars(count), "faults": count.faults[:5]}
    print(json.dumps({**result, "seconds": round(time.monotonic() - started, 1)}))
    return 0 if count.sound else 1


if __name__ == "__main__":
    sys.exit(main())
