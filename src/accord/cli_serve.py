"""Serving a recipe's round: make it ready, open the doors, watch it, freeze it when it is done.

What needs a model (candidates, scores) is done first, in a process of its own, so that the process
that serves never imports torch.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accord.errors import ArtifactError, ConfigError

if TYPE_CHECKING:
    import uvicorn

    from accord.artifacts import Artifact
    from accord.config import Recipe, StudioConfig
    from accord.store.database import Store
    from accord.store.records import Round

LOOK_SECONDS = 1.0
GRACE_SECONDS = 20.0
"""A finished round is frozen when nobody has said anything for so long: the last may be undone."""
BACKUP_SECONDS = 6 * 3600.0
Say = Callable[[str], None]


@dataclass(frozen=True)
class Doors:
    """Where a studio is reached: the socket that listens, and the address that people type."""

    listening: socket.socket
    url: str


def database(recipe: Recipe) -> str:
    """Where the recipe's studio keeps everything."""
    return recipe.studio.database or str(Path(recipe.out) / "studio.db")


def prepare(recipe: Recipe) -> None:
    """Make what the round needs (SFT, samples) where it is missing, and open the round."""
    from accord.artifacts import read
    from accord.stages.inputs import inputs
    from accord.stages.run import run
    from accord.stages.studio import score
    from accord.store.database import open_store
    from accord.store.from_recipe import head_to_head, open_round

    config, out = recipe.studio, Path(recipe.out)
    out.mkdir(parents=True, exist_ok=True)
    if config.task in ("compare", "rank") and config.purpose == "train":
        if not (out / "samples").exists():
            if not (out / "sft").exists():
                run(recipe, "sft")
            run(recipe, "sample")
    elif _own_voice(config) and not (out / "sft").exists():
        run(recipe, "sft")
    made: dict[str, Any] = {}
    if config.task == "demonstrate":
        made["prompts"] = inputs(recipe, out).prompts
    for name in ("samples", "report"):
        if (out / name).exists():
            made[name] = read(out / name)
    if config.purpose == "head_to_head" and "report" in made and (out / "reward").exists():
        pairs = head_to_head(made["report"])
        made["scores"] = score(recipe, read(out / "sft"), read(out / "reward"), pairs)
    with open_store(database(recipe)) as store:
        open_round(recipe, store, "system", **made)


def _own_voice(config: StudioConfig) -> bool:
    """Whether the run's own SFT policy answers raters."""
    speaks = config.task == "chat" or (config.task == "demonstrate" and config.show_draft)
    return speaks and config.generator == "accord" and config.generator_model is None


def prepare_apart(recipe: Recipe) -> None:
    """:func:`prepare` in a process of its own, whose memory is given back when it is done.

    Raises:
        ConfigError: it failed; what it said is on the terminal.
    """
    from accord.config import dump

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recipe.yaml"
        file.write_text(dump(recipe), encoding="utf-8")
        command = [sys.executable, "-m", "accord.cli", "studio", "prepare", str(file)]
        if subprocess.run(command, check=False).returncode != 0:
            raise ConfigError("the round could not be made ready; see above")


def people(recipe: Recipe, samples: Artifact, out: Path) -> Artifact:
    """What ``collect`` calls: serve the samples until the round is frozen; its comparisons.

    The server is a process of its own, which knows nothing of the models in this one.

    Raises:
        ArtifactError: ``out`` holds something else, or the studio was stopped before the end.
    """
    from accord.artifacts import read
    from accord.config import dump

    if not out.exists():
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "recipe.yaml"
            file.write_text(dump(recipe), encoding="utf-8")
            command = ["studio", "serve", str(file), "--until-frozen", str(out)]
            subprocess.run([sys.executable, "-m", "accord.cli", *command], check=False)
    if not out.exists():
        raise ArtifactError(
            "collect: the studio was stopped before its round was frozen; nothing is lost, the "
            "same command goes on with it"
        )
    made = read(out, "comparisons")
    studio = made.manifest.config.get("studio", {})
    known = {s.prompt.messages for s in samples.records()}  # type: ignore[union-attr]
    if studio.get("name") != recipe.studio.name or any(
        r.prompt.messages not in known  # type: ignore[union-attr]
        for r in made.records()
    ):
        raise ArtifactError(
            f"{out} was made from another round or from other samples; choose another output "
            f"folder, or delete {out} to collect again"
        )
    return made


def serve(recipe: Recipe, say: Say, until_frozen: Path | None = None) -> None:
    """Serve the recipe's round.

    Args:
        recipe: its section ``studio`` says where and how.
        say: gets lines for the person at the terminal.
        until_frozen: stop when the round is frozen, with its labels at this path. None: go on until
            stopped; labels then go to the run's folder.
    """
    from accord.store.database import open_store
    from accord.store.from_recipe import find_round, generators
    from accord.web.app import create_app, owner_link
    from accord.web.security import WebSettings

    with open_store(database(recipe)) as store:
        found = find_round(recipe, store)
    if found is None or found.state == "draft":
        say(f"Making round {recipe.studio.name!r} ready ...")
        prepare_apart(recipe)
    doors = open_doors(recipe)
    settings = WebSettings(base_url=doors.url, folder=Path(recipe.out))
    with open_store(database(recipe)) as store:
        found = find_round(recipe, store)
        if found is None:
            raise ConfigError("the round could not be made ready; see above")
        app = create_app(store, settings, generators(recipe))
        welcome(store, found, doors.url, owner_link(store, settings), say)
        server = _server(app)
        out = until_frozen or labels_path(recipe)
        watch = Watch(recipe, store, found.id, out, say, server if until_frozen else None)
        watch.start()
        try:
            server.run(sockets=[doors.listening])
        finally:
            watch.stop()


def open_doors(recipe: Recipe) -> Doors:
    """Bind the port.

    Raises:
        ConfigError: it is taken, or the address is not this machine's.
    """
    config = recipe.studio
    listening = socket.socket(socket.AF_INET6 if ":" in config.host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((config.host, config.port))
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"studio: cannot listen on {config.host} port {config.port} ({error.strerror}); "
            "choose another with studio.port=PORT, or studio.port=0 for any that is free"
        ) from error
    port = listening.getsockname()[1]
    host = socket.gethostname() if config.host in ("0.0.0.0", "::") else config.host
    return Doors(listening, config.url or f"http://{host}:{port}")


def labels_path(recipe: Recipe) -> Path:
    """Where a round's labels go when it is done: where the next stage looks for them."""
    config, out = recipe.studio, Path(recipe.out)
    if config.task in ("compare", "rank") and config.purpose == "train":
        return out / "comparisons"
    plain = "".join(c if c.isalnum() else "-" for c in config.name.lower()).strip("-")
    return out / "frozen" / (plain or "round")


def welcome(store: Store, found: Round, url: str, owner: str | None, say: Say) -> None:
    """Tell where the studio is, and hand out the links that let people in."""
    from accord.store import accounts

    for invite in accounts.list_invites(store):  # only the newest link that was printed works
        if invite.created_by == "system" and invite.role == "rater" and invite.state == "open":
            accounts.revoke_invite(store, invite.id, actor="system")
    token = accounts.invite(store, "rater", actor="system")
    say(f"\nThe studio is open at {url}")
    if owner is not None:
        say(f"  You, the owner, come in here once:   {owner}")
    say(f"  One rater comes in here:             {url}/invite/{token}")
    say("  More people: invite them on the page People.")
    to_go = "as long as you like" if found.task == "chat" else f"{found.num_left:,} judgments to go"
    say(f"  Round {found.name!r}: {found.num_items:,} items, {to_go}.")
    say("  When you have enough labels, press Freeze on the round's page.")
    say("  Ctrl-C stops the studio; nothing is lost, and the same command opens it again.\n")


def _server(app: object) -> uvicorn.Server:
    import uvicorn

    return uvicorn.Server(
        uvicorn.Config(
            app,  # type: ignore[arg-type]
            access_log=False,  # addresses carry invitations
            server_header=False,
            log_level="warning",
            timeout_graceful_shutdown=5,
        )
    )


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
        say: Say,
        server: uvicorn.Server | None,
    ) -> None:
        self._recipe, self._store, self._round_id = recipe, store, round_id
        self._out, self._say, self._server = out, say, server
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="studio-watch", daemon=True)
        self._backup_at = time.monotonic() + BACKUP_SECONDS
        self._settled = out.exists()

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; returns when a freeze under way is done."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        from sqlalchemy.exc import SQLAlchemyError

        from accord.errors import AccordError

        while not self._stopping.wait(LOOK_SECONDS):
            try:
                self.look()
            except (AccordError, SQLAlchemyError, OSError) as error:
                self._say(f"studio: {error}")
                self._stopping.wait(60)

    def look(self) -> None:
        """Do what is due now."""
        from accord.store import backup, rounds

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
        from accord.store import schema
        from accord.store.columns import now
        from accord.web.lead_data import progress

        with self._store.read() as conn:
            far = progress(conn, found)
            if far.wanted is None or far.done < far.wanted or far.done == 0:
                return False
            j = schema.judgments
            query = j.select().with_only_columns(j.c.at).where(j.c.round_id == found.id)
            last = conn.scalar(query.order_by(j.c.at.desc()).limit(1))
        return last is not None and now() - last > GRACE_SECONDS

    def _chosen(self) -> tuple[str, str]:
        """Weights and aggregation of the lead who froze the round on a page."""
        import sqlalchemy as sa

        from accord.store import schema

        s = schema.snapshots
        query = sa.select(s.c.settings).where(s.c.round_id == self._round_id)
        with self._store.read() as conn:
            row = conn.scalar(query.order_by(s.c.created_at.desc()).limit(1)) or {}
        return row.get("weights", "none"), row.get("aggregate", "none")

    def _freeze(self, weights: str, aggregate: str) -> None:
        from accord.store.freeze import freeze_round

        made = freeze_round(
            self._store,
            self._round_id,
            self._out,
            weights=weights,  # type: ignore[arg-type]
            aggregate=aggregate,  # type: ignore[arg-type]
        )
        self._settled = True
        self._say(
            f"The round is frozen: {made.manifest.metrics['num_records']} labels in {made.path}"
        )
        if self._server is not None:
            self._server.should_exit = True
