"""``accord studio``: rounds, people, questions, disagreements, guidelines and tokens.

The commands here join those of :mod:`accord.cli_studio` and work on the same two things: a database
that no server holds, or a running studio.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from accord.cli_studio import DEFAULT, DatabaseOption, UrlOption, desk, round_id, studio
from accord.errors import ConfigError

if TYPE_CHECKING:
    from accord.cli_desk import Desk

RoundArg = Annotated[str, typer.Argument(metavar="ROUND", help="Its id or its name.")]
ProjectArg = Annotated[str, typer.Argument(metavar="PROJECT", help="Its id or its name.")]


@studio.command("make")
def make_round(
    name: Annotated[str, typer.Argument(help="What raters see.")],
    project: Annotated[str, typer.Option(help="Made if there is none of that name.")] = "accord",
    task: Annotated[str, typer.Option(help="compare, rank, chat or demonstrate.")] = "compare",
    task_schema: Annotated[
        str, typer.Option("--schema", help="A preset (hh, hhh, ...) or a YAML file.")
    ] = "hh",
    purpose: Annotated[str, typer.Option(help="train or head_to_head.")] = "train",
    budget: Annotated[int | None, typer.Option(min=1, help="Judgments wanted.")] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="overlap=2, training_seconds=3, ...")
    ] = None,
    database: DatabaseOption = DEFAULT,
    url: UrlOption = None,
) -> None:
    """Make a round: a draft, to which you import items before you open it."""
    import yaml

    from accord.store.task_files import load_schema, presets

    asked: Any = task_schema
    if task_schema not in presets():
        asked = load_schema(Path(task_schema)).model_dump(mode="json")
    fields: dict[str, Any] = {"schema": asked, "purpose": purpose, "budget": budget}
    fields["settings"] = {
        key: yaml.safe_load(value) for key, _, value in (s.partition("=") for s in setting or [])
    }
    with desk(database, url) as found:
        typer.echo(found.create_round(_project(found, project, make=True), name, task, **fields))


@studio.command("next")
def next_round(
    name: RoundArg,
    called: Annotated[str, typer.Argument(metavar="NAME", help="Of the round to make.")],
    items: Annotated[
        Path | None, typer.Option(help="Its items: what the new policy answered.")
    ] = None,
    database: DatabaseOption = DEFAULT,
    url: UrlOption = None,
) -> None:
    """Make the round that follows a frozen one, with its settings and the newest guideline."""
    with desk(database, url) as found:
        made = found.next_round(round_id(found, name), called)
        if items is not None:
            report = found.add_items(made, items, "normal")
            typer.echo(f"{report['added']} added, {report['duplicates']} were there already")
        typer.echo(made)


@studio.command("open")
def open_round(name: RoundArg, database: DatabaseOption = DEFAULT, url: UrlOption = None) -> None:
    """Give a round's items to raters, for the first time or again."""
    with desk(database, url) as found:
        found.open_round(round_id(found, name))


@studio.command("close")
def close_round(name: RoundArg, database: DatabaseOption = DEFAULT, url: UrlOption = None) -> None:
    """Give out no more of a round."""
    with desk(database, url) as found:
        found.close_round(round_id(found, name))


@studio.command()
def figures(
    name: RoundArg,
    elo: Annotated[
        bool, typer.Option("--elo", help="The policies of a head-to-head round.")
    ] = False,
    database: DatabaseOption = DEFAULT,
    url: UrlOption = None,
) -> None:
    """Print a round's progress, agreement, raters and drift, as JSON."""
    with desk(database, url) as found:
        where = round_id(found, name)
        told = found.ratings(where) if elo else found.dashboard(where)
        typer.echo(json.dumps(told, indent=1))


@studio.command()
def guideline(
    project: ProjectArg,
    source: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A new version, in Markdown.")
    ] = None,
    database: DatabaseOption = DEFAULT,
    url: UrlOption = None,
) -> None:
    """Show a project's instructions, or give raters new ones to read."""
    with desk(database, url) as found:
        where = _project(found, project)
        if source is not None:
            version = found.set_guideline(where, source.read_text("utf-8"))
            typer.echo(f"version {version}; raters read it before they go on")
            return
        versions = found.guidelines(where)
        typer.echo(versions[0]["text"] if versions else "no guideline yet")


@studio.command()
def people(database: DatabaseOption = DEFAULT, url: UrlOption = None) -> None:
    """List everyone with an account."""
    with desk(database, url) as found:
        for row in found.accounts():
            typer.echo(
                f"{row['id']}  {row['name']}: {row['role']}, {row['status']}, "
                f"{row['num_judgments']} judgments"
            )


@studio.command()
def person(
    account: Annotated[str, typer.Argument(help="The id, rater-..., that people lists.")],
    role: Annotated[
        str | None, typer.Option(help="owner, researcher, adjudicator, rater or viewer.")
    ] = None,
    status: Annotated[str | None, typer.Option(help="active, or disabled to keep out.")] = None,
    database: DatabaseOption = DEFAULT,
    url: UrlOption = None,
) -> None:
    """Give someone another role, keep them out, or let them in again."""
    change = {k: v for k, v in (("role", role), ("status", status)) if v is not None}
    if not change:
        raise ConfigError("say what to change: --role or --status")
    with desk(database, url) as found:
        found.set_account(account, **change)


@studio.command()
def questions(name: RoundArg, database: DatabaseOption = DEFAULT, url: UrlOption = None) -> None:
    """List what raters asked in a round, and your answers."""
    with desk(database, url) as found:
        for row in found.questions(round_id(found, name)):
            typer.echo(f"{row['id']}  {row['rater']}: {row['text']}")
            typer.echo(f"    {row['answer'] or '(not answered yet)'}")


@studio.command()
def answer(
    question: Annotated[str, typer.Argument(help="The id that questions lists.")],
    text: Annotated[str, typer.Argument(help="What its rater is told.")],
    database: DatabaseOption = DEFAULT,
    url: UrlOption = None,
) -> None:
    """Answer a rater's question; they see it in their workspace, under Ask."""
    with desk(database, url) as found:
        found.answer(question, text)


@studio.command()
def disagreements(
    name: RoundArg, database: DatabaseOption = DEFAULT, url: UrlOption = None
) -> None:
    """List the items on which raters contradict each other."""
    with desk(database, url) as found:
        for row in found.adjudications(round_id(found, name)):
            typer.echo(f"{row['id']}  item {row['item_id']}: {row['state']}, {row['reason']}")
            for note in row["notes"]:
                typer.echo(f"    {note['by']}: {note['text']}")


@studio.command()
def decide(
    disagreement: Annotated[str, typer.Argument(help="The id that disagreements lists.")],
    outcome: Annotated[
        str | None,
        typer.Argument(
            help="1 or 2 for the better answer, tie, both_bad, cannot_compare; or ranks "
            "such as 0,2,1, best 0."
        ),
    ] = None,
    note: Annotated[str, typer.Option(help="A word to the discussion.")] = "",
    database: DatabaseOption = DEFAULT,
    url: UrlOption = None,
) -> None:
    """Decide a disagreement, add to its discussion, or both."""
    with desk(database, url) as found:
        found.adjudicate(disagreement, None if outcome is None else _outcome(outcome), note)


@studio.command()
def tokens(database: DatabaseOption = DEFAULT, url: UrlOption = None) -> None:
    """List your API tokens; with a database, its owner's."""
    with desk(database, url) as found:
        for row in found.tokens():
            typer.echo(f"{row['id']}  {row['name']}: {row['role']}")


@studio.command()
def token(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    role: Annotated[str, typer.Option(help="What it may do: rater, researcher, ...")] = "rater",
    database: DatabaseOption = DEFAULT,
    url: UrlOption = None,
) -> None:
    """Make an API token; it is shown this once."""
    with desk(database, url) as found:
        typer.echo(found.create_token(name, role))


@studio.command()
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="TOKEN", help="The id that tokens lists.")],
    database: DatabaseOption = DEFAULT,
    url: UrlOption = None,
) -> None:
    """Make an API token useless at once."""
    with desk(database, url) as found:
        found.revoke_token(token_id)


def _project(found: Desk, name: str, *, make: bool = False) -> str:
    known = found.projects()
    for row in known:
        if name in (row["id"], row["name"]):
            return str(row["id"])
    if make:
        return found.create_project(name)
    names = ", ".join(repr(row["name"]) for row in known) or "none"
    raise ConfigError(f"no project called {name!r}; there are: {names}")


def _outcome(word: str) -> dict[str, Any]:
    """An outcome by canonical index, from what a lead types."""
    if "," in word:
        return {"ranks": [int(place) for place in word.split(",")]}
    return {"outcome": "best", "best": int(word) - 1} if word.isdecimal() else {"outcome": word}
