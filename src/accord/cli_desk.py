"""What the studio's commands ask for, and a database without a server that answers it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, cast

from accord.store import accounts, backup, events, rounds, training
from accord.store.database import Store
from accord.store.freeze import Weights
from accord.store.labels import Aggregate
from accord.store.records import ItemRole
from accord.web import lead_ops
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

    def freeze_round(self, round_id: str, weights: str, aggregate: str) -> JSON:
        """Labels as an artifact: its ``path`` and ``hash``."""
        ...

    def add_items(self, round_id: str, path: Path, role: str) -> JSON:
        """Items from a file: ``added`` and ``duplicates``."""
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

    def verify(self) -> list[str]:
        """Problems in the log."""
        ...

    def backup(self) -> str:
        """Where a backup was written."""
        ...


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

    def freeze_round(self, round_id: str, weights: str, aggregate: str) -> JSON:
        """Labels as an artifact beside the database."""
        made = lead_ops.freeze(
            self._store, self._settings, round_id, "system",
            cast(Weights, weights), cast(Aggregate, aggregate),
        )  # fmt: skip
        return {"path": str(made.path), "hash": made.hash}

    def add_items(self, round_id: str, path: Path, role: str) -> JSON:
        """Items from a file."""
        with path.open("rb") as file:
            report = lead_ops.import_items(
                self._store, round_id, path.name, file, cast(ItemRole, role), "system"
            )
        return asdict(report)

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

    def verify(self) -> list[str]:
        """Problems in the log."""
        return events.verify(self._store)

    def backup(self) -> str:
        """Where a backup was written, beside the database."""
        folder = lead_ops.folder(self._store, self._settings) / "backups"
        return str(backup.back_up(self._store, folder))
