"""A studio with pairs to judge and a token for each rater, served until it is stopped.

    python benchmarks/peers/serve_accord.py FOLDER PORT ITEMS RATERS

What ``accord studio`` does for a recipe, for items that the benchmark brings. Runs where accord is
installed without torch.
"""

from __future__ import annotations

import json
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
    folder, port, num_raters = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[4])
    with open_store(folder / "studio.db") as store:
        if not accounts.list_accounts(store):
            pairs = json.loads((folder / "pairs.json").read_text())[: int(sys.argv[3])]
            (folder / "access.json").write_text(json.dumps(fill(store, pairs, num_raters)))
        settings = WebSettings(base_url=f"http://127.0.0.1:{port}")
        serve(create_app(store, settings), port=port)


def fill(store: Store, pairs: list[dict[str, str]], num_raters: int) -> dict[str, object]:
    """One open round that gives each pair to one rater; its id and what lets the raters in."""
    plain = RoundSettings(calibration_share=0, gold_share=0, attention_share=0, anchor_share=0)
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
    return {
        "round": made.id,
        "tokens": [
            accounts.create_token(store, person.id, "load", "rater", actor="system")
            for person in people
        ],
        "sessions": [accounts.start_session(store, person.id).token for person in people[:2]],
    }


if __name__ == "__main__":
    main()
