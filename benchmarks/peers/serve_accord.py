"""A studio with pairs to judge and a token for each rater, served until it is stopped.

    python benchmarks/peers/serve_accord.py FOLDER PORT ITEMS RATERS
    python benchmarks/peers/serve_accord.py stand-by PORT

What ``accord studio`` does for a recipe, for items that the benchmark brings. Runs where accord is
installed without torch. ``stand-by`` is for many restarts: see :func:`stand_by`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from accord.store import accounts, rounds
from accord.store.database import Store, open_store
from accord.store.items import add_items
from accord.store.records import NewItem
from accord.store.settings import RoundSettings
from accord.types import Completion, Message, Prompt
from accord.web.app import create_app, serve
from accord.web.security import WebSettings


def main() -> None:
    """Make the round the first time, then serve."""
    if sys.argv[1] == "stand-by":
        stand_by(int(sys.argv[2]))
        return
    folder, port, num_raters = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[4])
    with open_store(folder / "studio.db") as store:
        if not accounts.list_accounts(store):
            pairs = json.loads((folder / "pairs.json").read_text())[: int(sys.argv[3])]
            (folder / "access.json").write_text(json.dumps(fill(store, pairs, num_raters)))
    serve_folder(folder, port)


def serve_folder(folder: Path, port: int) -> None:
    """Open the folder's studio and serve it until it is stopped."""
    with open_store(folder / "studio.db", create=False) as store:
        settings = WebSettings(base_url=f"http://127.0.0.1:{port}")
        serve(create_app(store, settings), port=port)


def stand_by(port: int) -> None:
    """Serve the folder on each line of standard input until its server dies, then the next.

    Each server is a fork of this process, which has done the imports: they are most of a start.
    Says the server's process number when it begins, and ``over`` when it is dead.
    """
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            serve_folder(Path(line.strip()), port)
            sys.exit("the server was told to stop")
        print(child, flush=True)
        os.waitpid(child, 0)
        print("over", flush=True)


def fill(
    store: Store, pairs: list[dict[str, str]], num_raters: int, overlap: int = 1
) -> dict[str, object]:
    """One open round that gives each pair to so many raters; its id and what lets them in."""
    plain = RoundSettings(
        overlap=overlap, calibration_share=0, gold_share=0, attention_share=0, anchor_share=0
    )
    project = rounds.create_project(store, "peers", "system")
    made = rounds.create_round(
        store, project.id, "pairs", task="compare", actor="system", settings=plain
    )
    items = [
        NewItem(
            Prompt(pair["id"], (Message("user", pair["prompt"]),)),
            (Completion(pair["a"], model="one"), Completion(pair["b"], model="two")),
        )
        for pair in pairs
    ]
    add_items(store, made.id, items, "system")
    rounds.open_round(store, made.id, "system")
    people = [accounts.create_account(store, f"rater {n}") for n in range(num_raters)]
    return access(store, made.id, [person.id for person in people])


def access(store: Store, round_id: str, people: list[str]) -> dict[str, object]:
    """A token for each person, and sessions for the first two."""
    return {
        "round": round_id,
        "tokens": [
            accounts.create_token(store, person, "load", "rater", actor="system")
            for person in people
        ],
        "sessions": [accounts.start_session(store, person).token for person in people[:2]],
    }


if __name__ == "__main__":
    main()
