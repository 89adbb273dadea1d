"""Serving a recipe's round: make it ready, open the doors, watch it, freeze it when it is done.

What needs a model (candidates, scores) is done first, in a process of its own, so that the process
that serves never imports torch.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
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
    """Make what the round needs (SFT, samples, scores) where it is missing, and open the round."""
    from accord.artifacts import read
    from accord.stages.inputs import inputs
    from accord.stages.run import run
    from accord.stages.studio import score
    from accord.store.database import open_store
    from accord.store.from_recipe import head_to_head, open_round

    out = Path(recipe.out)
    out.mkdir(parents=True, exist_ok=True)
    for stage in missing_stages(recipe):
        run(recipe, stage)
    made = left_by_stages(recipe)
    if recipe.studio.task == "demonstrate":
        made["prompts"] = inputs(recipe, out).prompts
    if recipe.studio.purpose == "head_to_head" and "report" in made and (out / "reward").exists():
        pairs = head_to_head(made["report"])
        made["scores"] = score(recipe, read(out / "sft"), read(out / "reward"), pairs)
    with open_store(database(recipe)) as store:
        open_round(recipe, store, "system", **made)


def missing_stages(recipe: Recipe) -> list[str]:
    """Stages that must run before people can judge."""
    config, out = recipe.studio, Path(recipe.out)
    has = {name: (out / name).exists() for name in ("sft", "samples")}
    if config.task in ("compare", "rank") and config.purpose == "train":
        if has["samples"]:
            return []
        return ["sample"] if has["sft"] else ["sft", "sample"]
    return ["sft"] if _own_voice(config) and not has["sft"] else []


def left_by_stages(recipe: Recipe) -> dict[str, Any]:
    """Samples and report, where earlier stages left them."""
    from accord.artifacts import read

    found = {name: Path(recipe.out) / name for name in ("samples", "report")}
    return {name: read(path) for name, path in found.items() if path.exists()}


def _own_voice(config: StudioConfig) -> bool:
    """Whether the run's own SFT policy answers raters."""
    speaks = config.task == "chat" or (config.task == "demonstrate" and config.show_draft)
    return speaks and config.generator == "accord" and config.generator_model is None


def _needs_models(recipe: Recipe) -> bool:
    """Whether making the round ready takes torch: stages to run, prompts to read, scores."""
    config = recipe.studio
    scored = config.purpose == "head_to_head" and (Path(recipe.out) / "reward").exists()
    return bool(missing_stages(recipe)) or config.task == "demonstrate" or scored


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
    from accord.cli_watch import Watch
    from accord.store.database import open_store
    from accord.store.from_recipe import find_round, generators, open_round
    from accord.web.app import create_app, owner_link
    from accord.web.security import WebSettings
    from accord.web.webhooks import Webhook, read_secret

    secret = read_secret(recipe.webhook) if recipe.webhook.url else b""
    Path(recipe.out).mkdir(parents=True, exist_ok=True)
    with open_store(database(recipe)) as store:
        found = find_round(recipe, store)
        ready = found is not None and found.state != "draft"
        if not ready and not _needs_models(recipe):
            open_round(recipe, store, "system", **left_by_stages(recipe))
            ready = True
    if not ready:
        say(f"Making round {recipe.studio.name!r} ready ...")
        prepare_apart(recipe)
    doors = open_doors(recipe)
    settings = WebSettings(base_url=doors.url, folder=Path(recipe.out))
    with open_store(database(recipe)) as store:
        found = find_round(recipe, store)
        if found is None:
            raise ConfigError("the round could not be made ready; see above")
        webhook = Webhook(store, recipe.webhook, secret) if secret else None
        app = create_app(store, settings, generators(recipe), webhook)
        welcome(store, found, doors.url, owner_link(store, settings), say)
        server = _server(app)
        out = until_frozen or labels_path(recipe)
        watch = Watch(recipe, store, found.id, out, say, server if until_frozen else None)
        watch.start()
        try:
            server.run(sockets=[doors.listening])
        finally:
            watch.stop()


def demo(recipe: Recipe, name: str, source: Path, say: Say) -> None:
    """Load a demo project of real judgments, if it is not there yet, and serve it.

    Raises:
        ConfigError: no such demo.
        DataError: the data is not at ``source``.
    """
    from accord.store import rounds
    from accord.store.database import open_store
    from accord.store.demo import OPEN_ASSISTANT, PANDALM, load_open_assistant, load_pandalm
    from accord.web.app import create_app, owner_link
    from accord.web.security import WebSettings

    known = {
        "open-assistant": (OPEN_ASSISTANT, load_open_assistant),
        "pandalm": (PANDALM, load_pandalm),
    }
    if name not in known:
        raise ConfigError(f"no demo called {name!r}; there are: {', '.join(known)}")
    title, load = known[name]
    doors = open_doors(recipe)
    settings = WebSettings(base_url=doors.url, folder=Path(recipe.out))
    with open_store(database(recipe)) as store:
        project = next((p for p in rounds.list_projects(store) if p.name == title), None)
        if project is None:
            say(f"Loading {title} ...")
            found = load(store, source)
        else:
            found = rounds.list_rounds(store, project.id)[0]
        welcome(store, found, doors.url, owner_link(store, settings), say)
        _server(create_app(store, settings)).run(sockets=[doors.listening])


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
    say("  To judge, press Judge beside the round. More people: invite them on the page People.")
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
