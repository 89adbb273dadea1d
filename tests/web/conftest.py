"""A studio with one account of each role, a round of pairs, and clients that are signed in."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from accord.store import accounts, rounds
from accord.store.database import Store, open_store
from accord.store.items import add_items
from accord.store.records import NewItem, Round
from accord.store.task import RoundSettings
from accord.store.task_files import load_schema
from accord.types import Completion, Message, Prompt
from accord.web.app import create_app
from accord.web.security import WebSettings

ROLES = ("owner", "researcher", "adjudicator", "rater", "viewer")
PASSWORD = "four plain quiet words"
MODEL = "sha256:secretmodelhash"
PLAIN = RoundSettings(calibration_share=0, gold_share=0, attention_share=0, anchor_share=0)
GUIDELINE = "# What is better\n\nPrefer what **helps**.\n\nLonger is not better."


def new_item(number: int, count: int = 2, **more: Any) -> NewItem:
    """An item whose every hidden part would be recognised on the wire."""
    return NewItem(
        prompt=Prompt(
            id=f"secretprompt-{number}",
            messages=(Message("user", f"Question {number}?"),),
            tags=("secrettag",),
        ),
        completions=tuple(
            Completion(text=f"Answer {number} number {k}.", model=f"{MODEL}-{k}", finished=k == 0)
            for k in range(count)
        ),
        scores=tuple(0.123456789 + k for k in range(count)),
        priority=98765.4321,
        source="secretsource",
        **more,
    )


@dataclass
class Studio:
    """The store, the app over it, and what makes more of either."""

    store: Store
    app: FastAPI
    people: dict[str, accounts.Account] = field(default_factory=dict)

    item = staticmethod(new_item)

    def client(self, role: str | None = "rater", *, headers: bool = True) -> TestClient:
        """A browser of the person with a role, signed in; None: of a stranger."""
        client = TestClient(self.app, raise_server_exceptions=False, follow_redirects=False)
        if role is not None:
            session = accounts.start_session(self.store, self.people[role].id)
            client.cookies.set("accord", session.token)
            if headers:
                client.headers["x-csrf-token"] = session.csrf
        return client

    def round(
        self,
        name: str = "First round",
        *,
        task: Any = "compare",
        schema: str = "hh",
        num: int = 12,
        count: int = 2,
        guideline: str = GUIDELINE,
        settings: RoundSettings = PLAIN,
        items: tuple[NewItem, ...] = (),
        open: bool = True,
    ) -> Round:
        """A round of ``num`` items with ``count`` responses, and ``items`` besides."""
        owner = self.people["owner"].id
        project = rounds.create_project(self.store, f"Project of {name}", owner)
        if guideline:
            rounds.set_guideline(self.store, project.id, guideline, owner)
        made = rounds.create_round(
            self.store,
            project.id,
            name,
            task=task,
            actor=owner,
            schema=load_schema(schema),
            settings=settings,
        )
        new = [new_item(number, count) for number in range(num)]
        add_items(self.store, made.id, [*new, *items], owner)
        return rounds.open_round(self.store, made.id, owner) if open else made

    def read(self, found: Round, role: str = "rater") -> None:
        """Someone reads the guideline."""
        if found.guideline:
            person = self.people[role].id
            accounts.acknowledge_guideline(self.store, person, found.project_id, found.guideline)


@pytest.fixture(scope="session")
def peopled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with an account of each role: tests copy it, which is faster than making it."""
    path = tmp_path_factory.mktemp("peopled") / "studio.db"
    with open_store(path) as store:
        for role in ROLES:
            accounts.create_account(store, f"{role} Ada", role)
        store.checkpoint()
    return path


@pytest.fixture
def make_studio(tmp_path: Path, peopled: Path) -> Iterator[Callable[..., Studio]]:
    """Makes the studio, with settings of the app."""
    with ExitStack() as closing:

        def make(*, people: bool = True, **settings: Any) -> Studio:
            path = tmp_path / "studio.db"
            if people:
                shutil.copy(peopled, path)
            store = closing.enter_context(open_store(path))
            known = {"base_url": "http://testserver", **settings}
            studio = Studio(store, create_app(store, WebSettings(**known)))
            studio.people.update({p.role: p for p in accounts.list_accounts(store)})
            return studio

        yield make


@pytest.fixture
def studio(make_studio: Callable[..., Studio]) -> Studio:
    """A studio with one account of each role."""
    return make_studio()
