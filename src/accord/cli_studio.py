"""``accord studio``: the command line of the studio, for all that a lead does.

Commands work on a database that no server holds, or, with ``--url``, through a running studio with
the token in ``ACCORD_TOKEN``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from accord.errors import ConfigError

if TYPE_CHECKING:
    from accord.cli_desk import Desk
    from accord.config import Recipe

TOKEN = "ACCORD_TOKEN"


class ServeByDefault(TyperGroup):
    """``accord studio RECIPE`` and ``accord studio --preset NAME`` mean ``accord studio serve``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put ``serve`` first where no command is named."""
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["serve", *args]
        return super().parse_args(ctx, args)


studio = typer.Typer(
    cls=ServeByDefault,
    help="Let people judge: `accord studio RECIPE` opens a recipe's round and serves it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

RecipeArgs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RECIPE.yaml] [SECTION.FIELD=VALUE]...",
        help="A recipe file, and settings that win over it.",
        show_default=False,
    ),
]
PresetOption = Annotated[
    list[str] | None, typer.Option(help="Start from a preset (tiny, quickstart, ...); may repeat.")
]
OutOption = Annotated[str | None, typer.Option(help="Folder of the run.")]
DatabaseOption = Annotated[
    str, typer.Option("--database", "-d", help="SQLite file or postgresql+psycopg:// address.")
]
UrlOption = Annotated[
    str | None, typer.Option(help=f"A running studio instead; its token is in {TOKEN}.")
]
CapOption = Annotated[
    int | None,
    typer.Option(min=1, help="Most rows of one source: a tag user:... or source:..."),
]
DuplicatesOption = Annotated[
    bool, typer.Option("--drop-duplicates", help="Keep the first of prompts that begin alike.")
]
ScanOption = Annotated[
    str | None,
    typer.Option(help="Leave out personal data: `personal`, or module:function of your own."),
]
DroppedOption = Annotated[
    Path | None, typer.Option(help="List what was left out, and why, in this jsonl file.")
]
DEFAULT = "runs/default/studio.db"


@studio.command()
def serve(
    recipe: RecipeArgs = None,
    preset: PresetOption = None,
    out: OutOption = None,
    until_frozen: Annotated[
        Path | None, typer.Option(help="Stop when the round's labels are at this path.")
    ] = None,
) -> None:
    """Open a recipe's round and serve it until you press Ctrl-C."""
    from accord import cli_serve

    with goodbye():
        cli_serve.serve(load_recipe(recipe, preset, out), typer.echo, until_frozen)


@studio.command(hidden=True)
def prepare(recipe: RecipeArgs = None, preset: PresetOption = None, out: OutOption = None) -> None:
    """Make a recipe's round ready and open it, without serving it."""
    from accord import cli_serve

    cli_serve.prepare(load_recipe(recipe, preset, out))


@studio.command()
def demo(
    name: Annotated[str, typer.Argument(help="open-assistant or pandalm.")],
    source: Annotated[Path, typer.Argument(help="The folder that holds its data.")],
    out: Annotated[str, typer.Option(help="Folder of the demo's database.")] = "runs/demo",
    port: Annotated[int, typer.Option(help="0: any that is free.")] = 8765,
) -> None:
    """Look around with real judgments that others gave."""
    from accord import cli_serve

    recipe = load_recipe([f"studio.port={port}"], None, out)
    with goodbye():
        cli_serve.demo(recipe, name, source, typer.echo)


@studio.command()
def rounds(database: DatabaseOption = DEFAULT, url: UrlOption = None) -> None:
    """List projects and rounds, and how far they are."""
    with desk(database, url) as found:
        for project in found.projects():
            typer.echo(project["name"])
            for row in project["rounds"]:
                wanted = row["budget"] or row["num_wanted"] or "any number of"
                typer.echo(
                    f"  {row['id']}  {row['name']}: {row['task']}, {row['state']}, "
                    f"{row['num_judgments']} of {wanted} judgments"
                )


@studio.command()
def invite(
    role: Annotated[str, typer.Argument(help="rater, adjudicator, researcher, viewer.")] = "rater",
    name: Annotated[str, typer.Option(help="Whom it is for, to tell invitations apart.")] = "",
    database: DatabaseOption = DEFAULT,
    url: UrlOption = None,
    address: Annotated[
        str, typer.Option(help="Address of the studio, for the link.")
    ] = "http://127.0.0.1:8765",
) -> None:
    """Make a link that lets one person in."""
    with desk(database, url, address) as found:
        typer.echo(found.invite(role, name))


@studio.command()
def freeze(
    name: Annotated[str, typer.Argument(metavar="ROUND", help="Its id or its name.")],
    weights: Annotated[
        str, typer.Option(help="none, or quality: by raters' reliability.")
    ] = "none",
    aggregate: Annotated[
        str, typer.Option(help="none, majority or soft: several labels of one item.")
    ] = "none",
    attribute: Annotated[
        str | None, typer.Option(help="Labels from this question about the pair, not the verdict.")
    ] = None,
    database: DatabaseOption = DEFAULT,
    url: UrlOption = None,
) -> None:
    """Make a round's labels an artifact; the round is then over."""
    with desk(database, url) as found:
        made = found.freeze_round(round_id(found, name), weights, aggregate, attribute)
        typer.echo(f"{made['path']}  {made['hash']}")


@studio.command()
def export(
    name: Annotated[str, typer.Argument(metavar="ROUND", help="A frozen round's id or name.")],
    dest: Annotated[Path, typer.Argument(help="A .jsonl, .csv or .parquet file.")],
    shape: Annotated[str, typer.Option(help="For example trl-preference, hh or arena.")] = "accord",
    database: DatabaseOption = DEFAULT,
    url: UrlOption = None,
) -> None:
    """Write a frozen round's labels in a shape that other libraries read."""
    if dest.exists():
        raise ConfigError(f"{dest} exists; choose another name or delete it")
    with desk(database, url) as found:
        found.export(round_id(found, name), dest, shape)
        typer.echo(str(dest))


@studio.command("import")
def import_items(
    name: Annotated[str, typer.Argument(metavar="ROUND", help="Its id or its name.")],
    source: Annotated[Path, typer.Argument(help="A jsonl, json, csv or parquet file.")],
    role: Annotated[
        str, typer.Option(help="normal, gold, attention, training or anchor.")
    ] = "normal",
    cap: CapOption = None,
    drop_duplicates: DuplicatesOption = False,
    scan: ScanOption = None,
    dropped: DroppedOption = None,
    database: DatabaseOption = DEFAULT,
    url: UrlOption = None,
) -> None:
    """Add items to a round."""
    with (
        desk(database, url) as found,
        intake(source, cap, drop_duplicates, scan, dropped) as kept,
    ):
        report = found.add_items(round_id(found, name), kept, role)
        typer.echo(f"{report['added']} added, {report['duplicates']} were there already")


@studio.command()
def fill(
    name: Annotated[str, typer.Argument(metavar="ROUND", help="Its id or its name.")],
    source: Annotated[Path, typer.Argument(help="A jsonl, json, csv or parquet file.")],
    candidates: Annotated[
        int | None, typer.Option(min=1, max=9, help="Answers a prompt; as the task needs.")
    ] = None,
    ahead: Annotated[
        int | None, typer.Option(min=1, help="Keep so many items ready and no more.")
    ] = None,
    cap: CapOption = None,
    drop_duplicates: DuplicatesOption = False,
    scan: ScanOption = None,
    dropped: DroppedOption = None,
    database: DatabaseOption = DEFAULT,
    url: UrlOption = None,
) -> None:
    """Queue prompts: the round's policies answer them, and each becomes an item."""
    with (
        desk(database, url) as found,
        intake(source, cap, drop_duplicates, scan, dropped) as kept,
    ):
        num = found.add_prompts(round_id(found, name), kept, candidates, ahead)
        typer.echo(f"{num} prompts are queued; a running studio answers them")


@studio.command("training")
def trainees(
    name: Annotated[str, typer.Argument(metavar="ROUND", help="Its id or its name.")],
    again: Annotated[
        str | None, typer.Option(metavar="RATER", help="Let this rater do the training afresh.")
    ] = None,
    database: DatabaseOption = DEFAULT,
    url: UrlOption = None,
) -> None:
    """Show who passed the training items, or let someone try again."""
    with desk(database, url) as found:
        where = round_id(found, name)
        if again is not None:
            found.train_again(where, again)
        for row in found.trainees(where):
            state = "passed" if row["passed"] else "did not pass" if row["over"] else "in training"
            state += f" (too fast: {row['seconds']:.1f} s an answer)" if row["too_fast"] else ""
            typer.echo(
                f"{row['rater']}  {row['right']} of {row['num_counted']} right, "
                f"{row['needed']} needed: {state}, attempt {row['attempt']}"
            )


@studio.command()
def erase(
    account: Annotated[str, typer.Argument(help="The id, rater-..., on the page People.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first.")] = False,
    database: DatabaseOption = DEFAULT,
    url: UrlOption = None,
) -> None:
    """Forget who someone is, for good; their judgments stay, under a number."""
    if not yes:
        typer.confirm(f"Forget who {account} is? This cannot be undone", abort=True)
    with desk(database, url) as found:
        found.erase_account(account)
    typer.echo(f"{account} is erased; backups made before still have the name")


@studio.command()
def backup(database: DatabaseOption = DEFAULT, url: UrlOption = None) -> None:
    """Write a complete copy of the database, while people work if need be."""
    with desk(database, url) as found:
        typer.echo(found.backup())


@studio.command()
def restore(
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="What backup wrote.")],
    dest: Annotated[Path, typer.Argument(metavar="DATABASE", help="Where nothing is yet.")],
    check: Annotated[
        bool, typer.Option("--verify", help="Only try it out; nothing is put in place.")
    ] = False,
) -> None:
    """Put a backup in place as a new database, after all of it was checked."""
    from accord.store import backup

    if check:
        backup.check_backup(source, dest.parent)
        typer.echo(f"{source}: sound, it can be restored")
        return
    backup.restore(source, dest)
    typer.echo(f"{dest}: restored and sound")


@studio.command()
def verify(database: DatabaseOption = DEFAULT, url: UrlOption = None) -> None:
    """Check the whole log, and that every judgment follows from it."""
    with desk(database, url) as found:
        problems = found.verify()
    for problem in problems:
        typer.echo(problem)
    if problems:
        raise typer.Exit(1)
    typer.echo("sound: every event and every judgment is as it was written")


@contextmanager
def goodbye() -> Iterator[None]:
    """Ctrl-C is how a studio is closed: a line, and the exit code of an interrupted program."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("\nThe studio is closed. The same command opens it again.", err=True)
        raise typer.Exit(130) from None


def load_recipe(words: list[str] | None, preset: list[str] | None, out: str | None) -> Recipe:
    """A recipe from a file, presets and overrides, as ``accord run`` reads it.

    Raises:
        ConfigError: every problem of it; more than one file.
    """
    from accord.config import load

    paths = [word for word in words or [] if "=" not in word]
    if len(paths) > 1:
        raise ConfigError(f"one recipe at a time, not {', '.join(paths)}")
    overrides = [word for word in words or [] if "=" in word]
    if out is not None:
        overrides.append(f"out={out}")
    return load(paths[0] if paths else None, overrides, preset)


@contextmanager
def desk(database: str, url: str | None, address: str = "") -> Iterator[Desk]:
    """The studio that commands work on: a running one, or a database on its own.

    Raises:
        ConfigError: a running studio without a token; a database that is not there.
    """
    if url is not None:
        from accord.client import LeadStudio

        token = os.environ.get(TOKEN)
        if not token:
            raise ConfigError(f"set {TOKEN} to an API token of {url} (its page Tokens makes one)")
        with LeadStudio(url, token) as studio:
            yield studio
        return
    from accord.cli_desk import LocalDesk
    from accord.store.database import open_store

    with open_store(database, create=False) as store:
        yield LocalDesk(store, address)


@contextmanager
def intake(
    source: Path, cap: int | None, drop_duplicates: bool, scan: str | None, dropped: Path | None
) -> Iterator[Path]:
    """The file to bring in: as it is, or screened, and then what was left out is told."""
    from accord.cli_desk import screened

    if not (drop_duplicates or cap or scan or dropped):
        yield source
        return
    with screened(source, cap=cap, drop_duplicates=drop_duplicates, scan=scan, dropped=dropped) as (
        kept,
        summary,
    ):
        typer.echo(summary)
        yield kept


def round_id(found: Desk, name: str) -> str:
    """The id of a round that was named by its id or its name.

    Raises:
        ConfigError: none, or more than one, is called so.
    """
    known: list[dict[str, Any]] = [r for p in found.projects() for r in p["rounds"]]
    fits = [r["id"] for r in known if name in (r["id"], r["name"])]
    if len(fits) == 1:
        return str(fits[0])
    names = ", ".join(f"{r['name']!r} ({r['id']})" for r in known) or "none"
    what = "no round" if not fits else f"{len(fits)} rounds"
    raise ConfigError(f"{what} called {name!r}; there are: {names}")
