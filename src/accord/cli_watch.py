"""Watching a round while it is served: freeze it when it is done, make a backup now and then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from accord.errors import AccordError
from accord.store import backup, rounds, schema
from accord.store.columns import now
from accord.store.freeze import Weights, freeze_round
from accord.store.labels import Aggregate
from accord.web.lead_data import progress

if TYPE_CHECKING:
    import uvicorn

    from accord.config import Recipe
    from accord.store.database import Store
    from accord.store.records import Round

LOOK_SECONDS = 1.0
GRACE_SECONDS = 20.0
"""A finished round is frozen when nobody has said anything for so long: the last may be undone."""
BACKUP_SECONDS = 6 * 3600.0
AFTER_TROUBLE_SECONDS = 60.0


class Watch:
    """Looks at the round while it is served: freezes it when it is done, and makes backups.

    Args:
        recipe: says how labels are weighed and put together.
        store: where the round is.
        round_id: the round.
        out: where its labels go.
        say: gets lines for the person at the terminal.
        server: stopped when the labels are there; None: left running.
    """

    def __init__(
        self,
        recipe: Recipe,
        store: Store,
        round_id: str,
        out: Path,
        say: Callable[[str], None],
        server: uvicorn.Server | None,
    ) -> None:
        self._recipe, self._store, self._round_id = recipe, store, round_id
        self._out, self._say, self._server = out, say, server
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="studio-watch", daemon=True)
        self._backup_at = time.monotonic() + BACKUP_SECONDS
        self._settled = out.exists()
        self._complete = False

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; returns when a freeze under way is done."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                self.look()
            except (AccordError, SQLAlchemyError, OSError) as error:
                self._say(f"studio: {error}")
                self._stopping.wait(AFTER_TROUBLE_SECONDS)

    def look(self) -> None:
        """Do what is due now."""
        if time.monotonic() > self._backup_at and self._store.path is not None:
            self._backup_at = time.monotonic() + BACKUP_SECONDS
            backup.back_up(self._store, Path(self._recipe.out) / "backups")
        if self._settled:
            return
        found = rounds.get_round(self._store, self._round_id)
        if found.state == "open" and self._done(found):
            found = rounds.close_round(self._store, found.id, "system")
            self._freeze(self._recipe.studio.weights, self._recipe.studio.aggregate)
        elif found.state == "frozen":
            self._freeze(*self._chosen())

    def _done(self, found: Round) -> bool:
        """Whether nothing is left to judge and nobody has said anything for a while."""
        with self._store.read() as conn:
            far = progress(conn, found)
            if far.wanted is None or far.done < far.wanted or far.done == 0:
                self._complete = False
                return False
            j = schema.judgments
            query = sa.select(sa.func.max(j.c.at)).where(j.c.round_id == found.id)
            last: float | None = conn.scalar(query)
        if last is None:
            return False
        if not self._complete:  # a person who waits at the terminal sees that it goes on by itself
            self._complete = True
            grace = f"{GRACE_SECONDS:.0f} s to take one back"
            self._say(f"All {far.done:,} judgments are here; {grace} ...")
        return now() - last > GRACE_SECONDS

    def _chosen(self) -> tuple[Weights, Aggregate]:
        """Weights and aggregation of the lead who froze the round on a page."""
        s = schema.snapshots
        query = sa.select(s.c.settings).where(s.c.round_id == self._round_id)
        with self._store.read() as conn:
            row = conn.scalar(query.order_by(s.c.created_at.desc()).limit(1)) or {}
        return row.get("weights", "none"), row.get("aggregate", "none")

    def _freeze(self, weights: Weights, aggregate: Aggregate) -> None:
        made = freeze_round(
            self._store,
            self._round_id,
            self._out,
            weights=weights,
            aggregate=aggregate,
        )
        self._settled = True
        self._say(
            f"The round is frozen: {made.manifest.metrics['num_records']} labels in {made.path}"
        )
        if self._server is not None:
            self._server.should_exit = True
