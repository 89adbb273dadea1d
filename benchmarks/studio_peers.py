"""The studio beside other tools that collect human preferences, on one machine.

    python benchmarks/studio_peers.py install            # fresh environments under /tmp/venvs
    python benchmarks/studio_peers.py start              # first page, memory
    python benchmarks/studio_peers.py load               # highest rate with p99 < 100 ms
    python benchmarks/studio_peers.py kill               # kill -9 under load
    python benchmarks/studio_peers.py keys               # keys and waiting: accord, Potato

``--tools accord potato`` does a part. Results are kept in benchmarks/results/studio_peers.json,
a section for each command and an entry for each tool. Argilla is installed and not started: it
needs a search engine and Redis. Addresses are 127.0.0.1 only; each tool's telemetry is switched off
by its own settings.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from peers import install, keys, load
from peers.tools import TOOLS, Tool

RESULTS = Path(__file__).parent / "results" / "studio_peers.json"
RATES = [2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 150.0, 200.0]
WORDS = "a response of an ordinary length, said again and again. " * 6


def main() -> None:
    """Do one command for some tools and keep what came out."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("command", choices=["install", "start", "load", "kill", "keys"])
    parser.add_argument("--tools", nargs="+", help="a part of the tools")
    parser.add_argument("--venvs", type=Path, default=Path("/tmp/venvs"))
    parser.add_argument("--seconds", type=float, default=10.0, help="load: of each step")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--judgments", type=int, default=100, help="keys: for each tool")
    parser.add_argument("--shots", type=Path, help="keys: a folder for screenshots")
    options = parser.parse_args()
    known = {"install": install.SERVICES, "keys": keys.HANDS}.get(options.command, TOOLS)
    for name in options.tools or known:
        if options.command == "install":
            row = install.measure(name, options.venvs)
        else:
            with tempfile.TemporaryDirectory(prefix=f"peers-{name}-") as folder:
                row = COMMANDS[options.command](name, Path(folder), options)
        keep(options.command, name, row)
        print(json.dumps(row), flush=True)


def keep(section: str, name: str, row: dict[str, Any], path: Path = RESULTS) -> None:
    """Write one tool's figures beside those that are there."""
    found = json.loads(path.read_text()) if path.exists() else {}
    found.setdefault(section, {})[name] = row | {"load_average": round(os.getloadavg()[0], 2)}
    path.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


def tool(name: str, folder: Path, options: argparse.Namespace, items: int, raters: int) -> Tool:
    """One tool over the same pairs."""
    pairs = [
        {"id": f"p{n}", "prompt": f"Question {n}?", "a": f"A{n}: {WORDS}", "b": f"B{n}: {WORDS}"}
        for n in range(items)
    ]
    return TOOLS[name](folder, install.python_of(name, options.venvs), pairs, raters)


def start(name: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Three times: a fresh folder, the first start, a second start, memory at rest."""
    rows: dict[str, list[float]] = {"first_s": [], "second_s": [], "idle_mb": []}
    for number in range(3):
        made = tool(name, folder / str(number), options, 100, 2)
        rows["first_s"].append(made.start())
        made.kill()
        rows["second_s"].append(made.start())
        rows["idle_mb"].append(made.memory_mb())
        made.kill()
    return {key: round(statistics.median(values), 2) for key, values in rows.items()} | {
        "each": {key: [round(value, 2) for value in values] for key, values in rows.items()}
    }


def rate(name: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The highest rate that is kept, and memory under load."""
    made = tool(name, folder, options, 8000, 50)
    try:
        made.start()
        raters = made.enter()
        done = asyncio.run(load.climb(raters, RATES, options.seconds, made.memory_mb))
        return done | {"raters": len(raters), "items": 8000}
    finally:
        made.kill()


def kills(name: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Kill, start again, look for what was acknowledged."""
    made = tool(name, folder, options, 8000, 10)
    acked: set[str] = set()
    rows: dict[str, Any] = {
        "kills": 0,
        "acknowledged": 0,
        "lost": 0,
        "starts_failed": 0,
        "cut": 0,
        "errors": [],
    }
    try:
        made.start()
        for after in load.moments(options.kills):
            raters = made.enter()
            new, cut, refused = asyncio.run(load.until_killed(raters, made.kill, after))
            acked |= set(new)
            try:
                made.start()
            except load.ToolError:
                rows["starts_failed"] += 1
                break
            rows["kills"] += 1
            rows["cut"] += cut
            rows["errors"] += refused
            rows["acknowledged"] = len(acked)
            rows["lost"] = len(acked - made.present())
            print(rows, flush=True)
    finally:
        made.kill()
    return rows


def effort(name: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Input events and waiting of a rater with a keyboard, in a browser."""
    made = tool(name, folder, options, options.judgments + 5, 1)
    try:
        made.start()
        made.enter()
        return keys.measure(made, options.judgments, options.shots)
    finally:
        made.kill()


COMMANDS = {"start": start, "load": rate, "kill": kills, "keys": effort}


if __name__ == "__main__":
    main()
