"""Generated requests against every operation of the studio's OpenAPI document: no answer is 5xx.

    python benchmarks/api_fuzz.py [--cases 20000] [--seed 0]

Schemathesis draws valid and invalid requests from the document. In three of four, ids in the path
are real ones; the caller is an owner, who may do everything, or the rater whose tasks they are.
Each operation meets a fresh studio with a round of pairs that was worked in and a chat that waits
for its answers. Prints one JSON object; the exit code is 1 if anything failed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st
from schemathesis import APIOperation, Case, GenerationMode

from accord.store import accounts, adjudicate, assign, chat, judgments, questions, rounds
from accord.store.columns import new_id
from accord.store.database import Store, open_store
from accord.store.items import add_items
from accord.store.records import NewItem
from accord.store.task import RoundSettings
from accord.types import Completion, Message, Prompt
from accord.web.app import create_app
from accord.web.security import WebSettings

BASE = "http://testserver"
ROLES = ("owner", "rater")


@contextmanager
def studio(folder: Path) -> Iterator[tuple[FastAPI, Store, dict[str, list[str]]]]:
    """A studio where each kind of id exists, and those ids by the name of their path parameter."""
    with open_store(folder / "studio.db") as store:
        people = {role: accounts.create_account(store, role, role).id for role in ROLES}
        other = accounts.create_account(store, "other").id
        owner, rater = people["owner"], people["rater"]
        project = rounds.create_project(store, "project", owner).id
        twice = RoundSettings(overlap=2)
        made = rounds.create_round(
            store, project, "pairs", task="compare", actor=owner, settings=twice
        ).id
        add_items(store, made, [pair(n) for n in range(30)], owner)
        rounds.open_round(store, made, owner)
        tasks = assign.prefetch(store, rater, 3, made)
        judged = assign.next_assignment(store, other, made)
        assert judged is not None
        judgments.submit(store, other, judged.id, {"outcome": "a", "strength": 4}, new_id())
        adjudicate.flag(store, judged.item_id, "unsure", owner)
        questions.ask(store, rater, tasks[0].id, "Which?", new_id())
        talk = rounds.create_round(
            store,
            project,
            "chat",
            task="chat",
            actor=owner,
            settings=RoundSettings(policies=("one",)),
        ).id
        add_items(store, talk, [NewItem(Prompt("p", (Message("user", "Hello"),)))], owner)
        rounds.open_round(store, talk, owner)
        begun = chat.start(store, rater, talk, new_id())
        turn = chat.add_turn(store, rater, begun.id, "Tell me more.", new_id())
        accounts.create_token(store, owner, "spare", "rater", actor=owner)
        known = {
            "round_id": [made, talk],
            "project_id": [project],
            "assignment_id": [task.id for task in tasks],
            "account_id": [rater, other],
            "conversation_id": [begun.id],
            "turn_id": [turn.id],
            "question_id": [q.id for q in questions.of_round(store, made)],
            "adjudication_id": [a.id for a in adjudicate.queue(store, made)],
            "token_id": [t.id for t in accounts.list_tokens(store, owner)],
        }
        yield create_app(store, WebSettings(base_url=BASE)), store, known


def pair(number: int) -> NewItem:
    """Two answers to a question."""
    prompt = Prompt(f"p{number}", (Message("user", f"Question {number}?"),))
    return NewItem(prompt, (Completion(f"One {number}."), Completion(f"Two {number}.")))


class Fuzz:
    """Requests against one operation, and what came back."""

    def __init__(self, operation: APIOperation, cases: int, seed: int) -> None:
        self.operation, self.cases, self.seed = operation, cases, seed
        self.answers: Counter[int] = Counter()
        self.failed: list[dict[str, Any]] = []

    def run(self, folder: Path) -> None:
        """Send every case; 5xx answers and raised errors are kept, not raised."""
        quiet = settings(
            max_examples=self.cases,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        with studio(folder) as (app, store, known):
            client = TestClient(app, raise_server_exceptions=False, follow_redirects=False)
            people = {a.name: a.id for a in accounts.list_accounts(store)}

            def send(case: Case, role: str, real: int) -> None:
                try:
                    session = accounts.start_session(store, people[role])
                except accounts.LoginError:  # an earlier request shut this person out
                    people[role] = accounts.create_account(store, new_id(), role).id
                    session = accounts.start_session(store, people[role])
                client.cookies.set("accord", session.token)
                client.headers["x-csrf-token"] = session.csrf
                self.send(client, case, known, real)

            drawn = st.one_of(
                self.operation.as_strategy(generation_mode=mode) for mode in GenerationMode
            )
            test = given(drawn, st.sampled_from(ROLES), st.integers(0, 7))(send)
            hypothesis_seed(self.seed)(quiet(test))()

    def send(self, client: TestClient, case: Case, known: dict[str, list[str]], real: int) -> None:
        """One request; ``real`` chooses the ids in its path, above 5 those that were drawn."""
        streams = case.operation.path.endswith("/stream")  # of a real turn it would not end
        for name in [] if real > 5 or streams else case.path_parameters:
            case.path_parameters[name] = known[name][real % len(known[name])]
        kwargs = case.as_transport_kwargs(base_url=BASE)
        kwargs.pop("cookies", None)
        if isinstance(kwargs.get("data"), bytes | str):
            kwargs["content"] = kwargs.pop("data")
        for key in ("x-csrf-token", "cookie", "authorization"):  # who asks is not what is tried
            for name in [n for n in kwargs["headers"] if n.lower() == key]:
                del kwargs["headers"][name]
        answer = client.request(**kwargs)
        self.answers[answer.status_code] += 1
        if answer.status_code >= 500:
            asked = {name: str(value)[:500] for name, value in kwargs.items()}
            self.failed.append({"status": answer.status_code, "text": answer.text[:200], **asked})


def operations() -> list[APIOperation]:
    """All that the studio's OpenAPI document describes."""
    with tempfile.TemporaryDirectory() as place, studio(Path(place)) as (app, _, _):
        described = schemathesis.openapi.from_dict(app.openapi())
    return [found.ok() for found in described.get_all_operations()]


def fuzz(cases: int, seed: int = 0) -> dict[str, Any]:
    """About ``cases`` requests, shared evenly; an operation with few different ones gets fewer."""
    every = operations()
    answers: Counter[int] = Counter()
    failed, each = [], -(-cases // len(every))
    for operation in every:
        one = Fuzz(operation, each, seed)
        with tempfile.TemporaryDirectory() as place:
            one.run(Path(place))
        answers += one.answers
        failed += one.failed
    return {
        "operations": len(every),
        "requests": answers.total(),
        "answers": {str(code): answers[code] for code in sorted(answers)},
        "failed": failed,
    }


def main() -> None:
    """Print what came back."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    found = fuzz(arguments.cases, arguments.seed)
    print(json.dumps(found, indent=1))
    sys.exit(bool(found["failed"]))


if __name__ == "__main__":
    main()
