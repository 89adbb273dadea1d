"""How long a rater waits for the next item when the store is large.

    python benchmarks/store_load.py                      # 100,000 items, 1,000,000 judgments
    python benchmarks/store_load.py --items 2000 --judgments 20000 --asks 300

Fills a store by bulk inserts (rows as the store itself writes them, the log's chain included), then
opens it anew and lets raters work through the public functions, one call at a time. Reports the
time of a call at the median and the 99th percentile, what the process holds in memory, how long
the store took to open, and the plans of the queries that a rater waits for: none may scan a table.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from accord.store import assign, database, events, pick, schema
from accord.store.columns import new_id, now
from accord.store.database import Store, open_store
from accord.store.judgments import submit
from accord.store.records import NewItem
from accord.store.rounds import add_items, create_project, create_round, open_round
from accord.store.settings import RoundSettings
from accord.types import Completion, Message, Prompt

OVERLAP = 12
CHUNK = 20_000
BODY = {"outcome": "a", "strength": 1}
TEXT = "a response of an ordinary length, said again and again. " * 12


def main() -> None:
    """Fill, open, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--judgments", type=int, default=1_000_000)
    parser.add_argument("--raters", type=int, default=200)
    parser.add_argument("--asks", type=int, default=2_000)
    parser.add_argument("--url", help="another store than a temporary SQLite file; must be empty")
    parser.add_argument("--filled", action="store_true", help="the store at --url is filled")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = options.url or f"sqlite:///{Path(folder) / 'studio.db'}"
        began = time.perf_counter()
        sizes = (options.items, options.judgments, options.raters)
        if not options.filled:
            fill_apart(url, *sizes)
            print(json.dumps({"fill_seconds": round(time.perf_counter() - began)}), flush=True)
        measure(url, options.raters, options.asks)


def fill_apart(url: str, num_items: int, num_judgments: int, num_raters: int) -> None:
    """:func:`fill` in a process of its own: its memory and settings are not what is measured."""
    sizes = (num_items, num_judgments, num_raters)
    child = multiprocessing.get_context("spawn").Process(target=fill, args=(url, *sizes))
    child.start()
    child.join()
    if child.exitcode:
        sys.exit("the store could not be filled")


def fill(url: str, num_items: int, num_judgments: int, num_raters: int) -> None:
    """A round with overlap, items of every role, and the judgments of many raters.

    Raters judged in the round's order, so that the first raters have long lists of items that
    still wait for others: the hardest case for the search of the next one.
    """
    database.SQLITE_PRAGMAS |= {"cache_size": "-1000000", "synchronous": "OFF"}
    with open_store(url) as store:
        people = [
            {"id": f"rater-{i}", "name": f"r{i}", "name_key": f"r{i}", "role": "rater"}
            for i in range(num_raters)
        ]
        store.write(lambda conn: conn.execute(schema.accounts.insert(), people) and None)
        project = create_project(store, "load", "system")
        settings = RoundSettings(overlap=OVERLAP, calibration_overlap=OVERLAP)
        found = create_round(
            store, project.id, "load", task="compare", actor="system", settings=settings
        )
        new = [item(f"n{i}", priority=float(i % 7)) for i in range(num_items)]
        for role in ("gold", "attention", "anchor"):
            new += [item(f"{role}{i}", role=role, answer={"best": 0}) for i in range(200)]
        add_items(store, found.id, new, "system")
        open_round(store, found.id, "system")
        table = schema.items.c
        order = sa.select(table.id).where(table.round_id == found.id, table.role == "normal")
        order = order.order_by(table.priority.desc(), table.shuffle, table.id)
        with store.read() as conn:
            names = list(conn.scalars(order))
        rows, taken = share_out(names, num_judgments, num_raters)
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]
            store.write(partial(put, project=project.id, round_id=found.id, rows=chunk))
        counts = [{"name": name, "n": n} for name, n in taken.items()]
        change = schema.items.update().where(table.id == sa.bindparam("name"))
        change = change.values(taken=sa.bindparam("n"), done=sa.bindparam("n"))
        store.write(lambda conn: conn.execute(change, counts) and None)
        store.write(lambda conn: places(conn, found.id, rows))
        print(json.dumps({"items": num_items, "judgments": len(rows)}), flush=True)


def share_out(
    names: list[str], num_judgments: int, num_raters: int
) -> tuple[list[tuple[str, str]], dict[str, int]]:
    """Who judged what, in the round's order, and how often each item was judged.

    The first raters did most, so their lists of items that still wait for others are long.
    """
    taken = dict.fromkeys(names, 0)
    rows: list[tuple[str, str]] = []
    usual, first = num_judgments / num_raters, 0
    for place in range(num_raters):
        share = round(2 * usual * (num_raters - place - 0.5) / num_raters)
        while first < len(names) and taken[names[first]] >= OVERLAP - 1:
            first += 1
        for name in names[first : first + share]:
            if taken[name] < OVERLAP - 1:
                taken[name] += 1
                rows.append((name, f"rater-{place}"))
    return rows, taken


def put(conn: sa.Connection, project: str, round_id: str, rows: list[tuple[str, str]]) -> None:
    """Judgments as ``judgments.submit`` leaves them."""
    seq, head = conn.execute(
        sa.select(schema.chains.c.seq, schema.chains.c.head).where(
            schema.chains.c.project_id == project
        )
    ).one()
    last = conn.scalar(sa.select(sa.func.max(schema.events.c.id))) or 0
    body = {
        "outcome": "a",
        "strength": 2,
        "reasons": [],
        "comment": "",
        "labels": {},
        "active_ms": 4000,
        "num_keys": 1,
    }
    log, given, said = [], [], []
    for item_id, rater in rows:
        name, at = new_id(), now()
        seq, last = seq + 1, last + 1
        content = {"assignment": name, "item": item_id, "permutation": [0, 1], "body": body}
        text = orjson.dumps(content, option=orjson.OPT_SORT_KEYS).decode()
        head = events._seal(head, project, seq, "judgment", rater, name, at, text)
        log.append(
            {
                "id": last,
                "project_id": project,
                "seq": seq,
                "kind": "judgment",
                "actor": rater,
                "key": name,
                "assignment_id": name,
                "body": text,
                "at": at,
                "hash": head,
            }
        )
        common = {"round_id": round_id, "item_id": item_id, "rater_id": rater}
        given.append(
            {
                "id": name,
                "state": "done",
                "reason": "overlap",
                "permutation": [0, 1],
                "lease_expires": at,
                "finished_at": at,
                **common,
            }
        )
        said.append(
            {
                "assignment_id": name,
                "event_id": last,
                "body": body,
                "at": at,
                "outcome": {"outcome": "best", "best": 0, "strength": 2},
                **common,
            }
        )
    conn.execute(schema.events.insert(), log)
    conn.execute(schema.assignments.insert(), given)
    conn.execute(schema.judgments.insert(), said)
    where = schema.chains.c.project_id == project
    conn.execute(schema.chains.update().where(where).values(seq=seq, head=head))


def places(conn: sa.Connection, round_id: str, rows: list[tuple[str, str]]) -> None:
    """Where each rater is in the round's order: at the last item they judged."""
    table = schema.items.c
    query = sa.select(table.id, table.priority, table.shuffle).where(table.round_id == round_id)
    known = {row.id: [row.priority, row.shuffle, row.id] for row in conn.execute(query)}
    last: dict[str, list[Any]] = {}
    number: dict[str, int] = {}
    for name, rater in rows:
        place = known[name]
        before = last.get(rater, [float("inf"), 0, ""])
        last[rater] = max(before, place, key=lambda at: (-at[0], at[1], at[2]))
        number[rater] = number.get(rater, 0) + 1
    values = [
        {"round_id": round_id, "rater_id": r, "num_drawn": number[r], "state": {"place": place}}
        for r, place in last.items()
    ]
    conn.execute(schema.round_raters.insert(), values)


def item(name: str, **fields: Any) -> NewItem:
    """An item of ordinary size."""
    pair = (Completion(f"{name} {TEXT}", "policy-1"), Completion(f"{TEXT} {name}", "policy-2"))
    return NewItem(Prompt(name, (Message("user", f"Tell me about {name}."),)), pair, **fields)


def measure(url: str, num_raters: int, asks: int) -> None:
    """Open the store and work; print the figures, and fail if a plan scans a table."""
    before = resource_mib()
    began = time.perf_counter()
    with open_store(url, create=False) as store:
        opened = time.perf_counter() - began
        with store.read() as conn:
            round_id = str(conn.scalar(sa.select(schema.rounds.c.id)))
        nexts, votes = [], []
        for ask in range(asks):
            rater = f"rater-{ask * 7919 % num_raters}"
            task, seconds = timed(partial(assign.next_assignment, store, rater, round_id))
            nexts.append(seconds)
            if task is not None:
                vote = partial(submit, store, rater, task.id, BODY, f"key-{task.id}")
                _, seconds = timed(vote)
                votes.append(seconds)
        report = {
            "open_seconds": round(opened, 2),
            "next": quantiles(nexts),
            "submit": quantiles(votes),
            "rss_mib": round(resource_mib()),
            "rss_mib_before_opening": round(before),
            "served": len(votes),
        }
        print(json.dumps(report, indent=2))
        scans = plans(store, round_id)
    if scans:
        sys.exit("these queries scan a table:\n" + "\n".join(scans))


def timed(act: Callable[[], Any]) -> tuple[Any, tuple[float, float]]:
    """What a call returned and the milliseconds it took, by the clock and of CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = act()
    return found, (1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu))


def quantiles(times: list[tuple[float, float]]) -> dict[str, list[float]]:
    """Milliseconds at the median, at the 99th percentile and at worst, by the clock and of CPU."""
    found = {}
    for title, values in zip(("clock_ms", "cpu_ms"), zip(*times, strict=True), strict=True):
        cuts = statistics.quantiles(values, n=100)
        found[title] = [round(value, 2) for value in (cuts[49], cuts[98], max(values))]
    return found


def resource_mib() -> float:
    """Memory that the process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def plans(store: Store, round_id: str) -> list[str]:
    """Query plans on SQLite, printed; those that scan are returned."""
    if store.path is None:
        return []
    names = {
        "round": round_id,
        "rater": "rater-0",
        "size": 8,
        "level": 3.0,
        "shuffle": 5,
        "name": "x",
        "names": ["a", "b"],
        "start": 7,
        "role": "gold",
        "repeat": 0,
        "moment": now(),
        "item": "x",
        "step": 1,
    }
    queries = {
        "held": assign._HELD,
        "lapsed": assign._LAPSED,
        "desk": assign._DESK,
        "top": pick._TOP,
        "level": pick._LEVEL,
        "below": pick._BELOW,
        "lowest": pick._LOWEST,
        "all": pick._ALL,
        "anywhere": pick._ANYWHERE,
        "ring": pick._RING_ON,
    }
    scans = []
    with store.read() as conn:
        for title, query in queries.items():
            ready = query.compile(dialect=conn.dialect).construct_expanded_state(names)
            binds = tuple(ready.positional_parameters)
            rows = conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {ready.statement}", binds).all()
            plan = "; ".join(row[-1] for row in rows)
            print(f"{title:9} {plan}")
            if any(
                f"SCAN {table}" in plan
                for table in ("items", "assignments", "judgments", "events", "round_raters")
            ):
                scans.append(f"{title}: {plan}")
    return scans


if __name__ == "__main__":
    main()
