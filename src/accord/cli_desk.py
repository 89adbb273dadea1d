"""What the studio's commands ask for, and a database without a server that answers it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, cast

from accord import data
from accord.data.screen import load_scan, screen
from accord.errors import ConfigError, DataError
from accord.store import accounts, adjudicate, backup, events, rounds, training
from accord.store import questions as asked
from accord.store.database import Store
from accord.store.freeze import Weights
from accord.store.labels import Aggregate
from accord.store.records import ItemRole
from accord.types import Reading
from accord.web import lead_json, lead_ops
from accord.web.security import WebSettings

JSON = dict[str, Any]


class Desk(Protocol):
    """A studio, running or not; :class:`accord.client.LeadStudio` is one."""

    def projects(self) -> list[JSON]:
        """Projects with their rounds."""
        ...

    def invite(self, role: str, name: str) -> str:
        """A link that lets one person in."""
        ...

    def freeze_round(
        self, round_id: str, weights: str, aggregate: str, attribute: str | None
    ) -> JSON:
        """Labels as an artifact: its ``path`` and ``hash``."""
        ...

    def add_items(self, round_id: str, path: Path, role: str) -> JSON:
        """Items from a file: ``added`` and ``duplicates``."""
        ...

    def add_prompts(
        self, round_id: str, path: Path, candidates: int | None, ahead: int | None
    ) -> int:
        """Prompts from a file for the round's policies to answer; how many were new."""
        ...

    def trainees(self, round_id: str) -> list[JSON]:
        """How far each rater is with the training items."""
        ...

    def train_again(self, round_id: str, account_id: str) -> None:
        """Let a rater do the training items afresh."""
        ...

    def export(self, round_id: str, dest: Path, shape: str) -> Path:
        """A frozen round's labels as a file."""
        ...

    def erase_account(self, account_id: str) -> None:
        """Forget who someone is, for good."""
        ...

    def verify(self) -> list[str]:
        """Problems in the log."""
        ...

    def backup(self) -> str:
        """Where a backup was written."""
        ...

    def create_project(self, name: str) -> str:
        """A new project's id."""
        ...

    def create_round(self, project_id: str, name: str, task: str, **fields: Any) -> str:
        """A new draft's id; ``fields``: schema, purpose, settings, budget."""
        ...

    def next_round(self, round_id: str, name: str) -> str:
        """The id of a draft that follows a frozen round."""
        ...

    def open_round(self, round_id: str) -> None:
        """Let raters work in it."""
        ...

    def close_round(self, round_id: str) -> None:
        """Give out no more."""
        ...

    def dashboard(self, round_id: str) -> JSON:
        """Progress and figures."""
        ...

    def ratings(self, round_id: str) -> list[JSON]:
        """Policies of a head-to-head round in Elo points."""
        ...

    def guidelines(self, project_id: str) -> list[JSON]:
        """Versions of the instructions, the newest first."""
        ...

    def set_guideline(self, project_id: str, text: str) -> int:
        """A new version of the instructions."""
        ...

    def accounts(self) -> list[JSON]:
        """Everyone with an account."""
        ...

    def set_account(self, account_id: str, **fields: str) -> None:
        """Change ``role`` or ``status``."""
        ...

    def questions(self, round_id: str) -> list[JSON]:
        """What raters asked."""
        ...

    def answer(self, question_id: str, text: str) -> None:
        """Answer a question."""
        ...

    def adjudications(self, round_id: str) -> list[JSON]:
        """Items on which raters differ."""
        ...

    def adjudicate(
        self, adjudication_id: str, outcome: Mapping[str, Any] | None, note: str
    ) -> None:
        """Decide an item."""
        ...

    def tokens(self) -> list[JSON]:
        """One's API tokens."""
        ...

    def create_token(self, name: str, role: str) -> str:
        """A new token's secret."""
        ...

    def revoke_token(self, token_id: str) -> None:
        """Make a token useless."""
        ...


@contextmanager
def screened(
    source: Path, *, cap: int | None, drop_duplicates: bool, scan: str | None, dropped: Path | None
) -> Iterator[tuple[Path, str]]:
    """A file without what must not come in, under the same name, and what was left out in words.

    It is screened here, where the lead is, so that a scan of the lead's own never runs in a server.

    Args:
        source: jsonl, json, csv or parquet.
        cap: most records of one source.
        drop_duplicates: keep the first of prompts that begin alike.
        scan: name of the scan for personal data.
        dropped: where to list what was left out, one JSON row each, without its text.

    Raises:
        DataError: unreadable rows, or nothing is left.
        ConfigError: no such scan, or ``dropped`` is there already.
    """
    if dropped is not None and dropped.exists():
        raise ConfigError(f"{dropped} exists; choose another name or delete it")
    look = None if scan is None else load_scan(scan)
    records = [r for r in data.read(source).records if not isinstance(r, Reading)]
    found = screen(records, drop_duplicates=drop_duplicates, cap=cap, scan=look)
    if dropped is not None:
        rows = "".join(json.dumps(asdict(row)) + "\n" for row in found.dropped)
        dropped.write_text(rows, encoding="utf-8")
    if not found.kept:
        raise DataError(f"{source}: {found.summary()}; nothing is left to bring in")
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / f"{source.stem}.jsonl"
        data.export(found.kept, kept, "accord")
        yield kept, found.summary()


class LocalDesk:
    """A database that no server holds.

    Args:
        store: open, by this process alone.
        address: of the studio that will serve it, for links.
    """

    def __init__(self, store: Store, address: str = "") -> None:
        self._store, self._address = store, address.rstrip("/")
        self._settings = WebSettings()

    def projects(self) -> list[JSON]:
        """Projects with their rounds."""
        return [
            asdict(project)
            | {"rounds": [asdict(r) for r in rounds.list_rounds(self._store, project.id)]}
            for project in rounds.list_projects(self._store)
        ]

    def invite(self, role: str, name: str) -> str:
        """A link that lets one person in."""
        token = accounts.invite(self._store, role, name=name, actor="system")
        return f"{self._address}/invite/{token}"

    def freeze_round(
        self, round_id: str, weights: str, aggregate: str, attribute: str | None
    ) -> JSON:
        """Labels as an artifact beside the database."""
        made = lead_ops.freeze(
            self._store, self._settings, round_id, "system",
            cast(Weights, weights), cast(Aggregate, aggregate), attribute,
        )  # fmt: skip
        return {"path": str(made.path), "hash": made.hash}

    def add_items(self, round_id: str, path: Path, role: str) -> JSON:
        """Items from a file."""
        with path.open("rb") as file:
            report = lead_ops.import_items(
                self._store, round_id, path.name, file, cast(ItemRole, role), "system"
            )
        return asdict(report)

    def add_prompts(
        self, round_id: str, path: Path, candidates: int | None, ahead: int | None
    ) -> int:
        """Prompts from a file, queued; the studio answers them when it runs."""
        with path.open("rb") as file:
            return lead_ops.add_prompts(self._store, round_id, path.name, file, candidates, ahead)

    def trainees(self, round_id: str) -> list[JSON]:
        """How far each rater is with the training items."""
        return [asdict(row) for row in training.list_trainees(self._store, round_id)]

    def train_again(self, round_id: str, account_id: str) -> None:
        """Let a rater do the training items afresh."""
        training.train_again(self._store, round_id, account_id, "system")

    def export(self, round_id: str, dest: Path, shape: str) -> Path:
        """A frozen round's labels as a file."""
        kind = dest.suffix.lstrip(".")
        path, done = lead_ops.export(self._store, round_id, shape, kind)
        try:
            dest.write_bytes(path.read_bytes())
        finally:
            done()
        return dest

    def erase_account(self, account_id: str) -> None:
        """Forget who someone is, for good."""
        accounts.erase_account(self._store, account_id, actor="system")

    def verify(self) -> list[str]:
        """Problems in the log."""
        return events.verify(self._store)

    def backup(self) -> str:
        """Where a backup was written, beside the database."""
        folder = lead_ops.folder(self._store, self._settings) / "backups"
        return str(backup.back_up(self._store, folder))

    def create_project(self, name: str) -> str:
        """A new project's id."""
        return rounds.create_project(self._store, name.strip(), "system").id

    def create_round(self, project_id: str, name: str, task: str, **fields: Any) -> str:
        """A new draft's id, of what the API takes."""
        new = lead_json.NewRound.model_validate({"name": name, "task": task, **fields})
        return lead_json.create_round(self._store, project_id, new, "system").id

    def next_round(self, round_id: str, name: str) -> str:
        """The id of a draft that follows a frozen round."""
        return rounds.next_round(self._store, round_id, name, "system").id

    def open_round(self, round_id: str) -> None:
        """Let raters work in it, once the studio is served."""
        rounds.open_round(self._store, round_id, "system")

    def close_round(self, round_id: str) -> None:
        """Give out no more."""
        rounds.close_round(self._store, round_id, "system")

    def dashboard(self, round_id: str) -> JSON:
        """Progress and figures."""
        return lead_json.dashboard(self._store, round_id)

    def ratings(self, round_id: str) -> list[JSON]:
        """Policies of a head-to-head round in Elo points."""
        return lead_json.ratings(self._store, round_id)

    def guidelines(self, project_id: str) -> list[JSON]:
        """Versions of the instructions, the newest first."""
        return [asdict(each) for each in lead_ops.guideline_versions(self._store, project_id)]

    def set_guideline(self, project_id: str, text: str) -> int:
        """A new version of the instructions."""
        return lead_ops.write_guideline(self._store, project_id, text, "system")

    def accounts(self) -> list[JSON]:
        """Everyone with an account."""
        return lead_json.people(self._store)

    def set_account(self, account_id: str, **fields: str) -> None:
        """Change ``role`` or ``status``."""
        if "role" in fields:
            accounts.set_role(self._store, account_id, fields["role"], actor="system")
        if "status" in fields:
            accounts.set_status(self._store, account_id, fields["status"], actor="system")

    def questions(self, round_id: str) -> list[JSON]:
        """What raters asked."""
        return [asdict(question) for question in asked.of_round(self._store, round_id)]

    def answer(self, question_id: str, text: str) -> None:
        """Answer a question."""
        asked.answer(self._store, question_id, text, "system")

    def adjudications(self, round_id: str) -> list[JSON]:
        """Items on which raters differ."""
        return [asdict(case) for case in adjudicate.queue(self._store, round_id)]

    def adjudicate(
        self, adjudication_id: str, outcome: Mapping[str, Any] | None, note: str
    ) -> None:
        """Decide an item."""
        lead_ops.decide(self._store, adjudication_id, outcome, note, "system")

    def tokens(self) -> list[JSON]:
        """The owner's API tokens."""
        return [asdict(token) for token in accounts.list_tokens(self._store, self._owner())]

    def create_token(self, name: str, role: str) -> str:
        """A new token of the owner."""
        return accounts.create_token(self._store, self._owner(), name, role, actor="system")

    def revoke_token(self, token_id: str) -> None:
        """Make a token useless."""
        accounts.revoke_token(self._store, token_id, actor="system")

    def _owner(self) -> str:
        """Whoever holds the file may act as its owner.

        Raises:
            ConfigError: nobody has taken the first link yet.
        """
        for account in accounts.list_accounts(self._store):
            if account.role == "owner" and account.status == "active":
                return account.id
        raise ConfigError("this studio has no owner yet: start it and open the first link")
