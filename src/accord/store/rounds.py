"""Projects, guidelines and rounds: what a lead sets up.

A round goes draft -> open -> closed -> frozen. Its items are in :mod:`accord.store.items`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from accord.errors import DataError
from accord.store import events
from accord.store.columns import new_id, now
from accord.store.database import Store, StoreError
from accord.store.items import add_items, get_item, list_items
from accord.store.records import (
    AddReport,
    Guideline,
    Item,
    NewItem,
    Project,
    Round,
    RoundState,
    missing,
    require_unfrozen,
    round_row,
    to_round,
)
from accord.store.schema import guidelines, items, projects, rounds, snapshots
from accord.store.task import Purpose, RoundSettings, Task, TaskSchema

__all__ = [
    "AddReport",
    "Guideline",
    "Item",
    "NewItem",
    "Project",
    "Round",
    "add_items",
    "close_round",
    "create_project",
    "create_round",
    "get_guideline",
    "get_item",
    "get_round",
    "list_items",
    "list_projects",
    "list_rounds",
    "next_round",
    "open_round",
    "round_row",
    "set_guideline",
    "use_guideline",
]


def create_project(store: Store, name: str, actor: str) -> Project:
    """Start a project.

    Raises:
        DataError: the name is empty or taken.
    """

    def write(conn: Connection) -> Project:
        if conn.scalar(sa.select(projects.c.id).where(projects.c.name == name)):
            raise DataError(f"there is a project {name!r} already; choose another name")
        project = Project(new_id(), name, 0)
        conn.execute(projects.insert().values(id=project.id, name=name, created_by=actor))
        body = {"project": project.id, "name": name}
        events.append(conn, project.id, "project_created", actor, body)
        return project

    _check_name(name)
    return store.write(write)


def list_projects(store: Store) -> list[Project]:
    """All projects, by name."""
    query = sa.select(projects.c.id, projects.c.name, projects.c.guideline)
    with store.read() as conn:
        return [Project(*row) for row in conn.execute(query.order_by(projects.c.name))]


def set_guideline(store: Store, project_id: str, text: str, actor: str) -> int:
    """Write a new version of the guideline; the same text again is no new version.

    Returns:
        The version. Rounds keep the one they have until :func:`use_guideline`.
    """

    def write(conn: Connection) -> int:
        where = projects.c.id == project_id
        query = sa.select(projects.c.guideline).where(where).with_for_update()
        newest: int | None = conn.scalar(query)
        if newest is None:
            raise missing("project", project_id)
        if newest and _guideline(conn, project_id, newest).text == text:
            return newest
        version: int = newest + 1
        conn.execute(
            guidelines.insert().values(
                project_id=project_id, version=version, text=text, created_by=actor
            )
        )
        conn.execute(projects.update().where(where).values(guideline=version))
        digest = hashlib.sha256(text.encode()).hexdigest()
        body = {"version": version, "sha256": digest}
        events.append(conn, project_id, "guideline_set", actor, body)
        return version

    return store.write(write)


def get_guideline(store: Store, project_id: str, version: int) -> Guideline:
    """One version of a project's guideline.

    Raises:
        DataError: there is no such version.
    """
    with store.read() as conn:
        return _guideline(conn, project_id, version)


def create_round(
    store: Store,
    project_id: str,
    name: str,
    *,
    task: Task,
    actor: str,
    purpose: Purpose = "train",
    schema: TaskSchema | None = None,
    settings: RoundSettings | None = None,
    budget: int | None = None,
    guideline: int | None = None,
) -> Round:
    """Make a round in state draft.

    Args:
        store: where it goes.
        project_id: the project it belongs to.
        name: how people call it; one of its kind within the project.
        task: what raters do.
        actor: who makes it.
        purpose: `head_to_head` compares policies, blind; its task is compare.
        schema: what is asked; None: as in Anthropic's data.
        settings: how items are given out; None: the defaults.
        budget: judgments wanted; None: every item, as often as it needs.
        guideline: version that raters follow; None: the project's newest.

    Raises:
        DataError: the name is empty or taken, or something else of it does not fit.
    """
    _check_name(name)
    schema = schema or TaskSchema()
    _check_fit(task, purpose, budget, schema)

    def write(conn: Connection) -> Round:
        newest = conn.scalar(sa.select(projects.c.guideline).where(projects.c.id == project_id))
        if newest is None:
            raise missing("project", project_id)
        taken = sa.and_(rounds.c.project_id == project_id, rounds.c.name == name)
        if conn.scalar(sa.select(rounds.c.id).where(taken)):
            raise DataError(f"this project has a round {name!r} already; choose another name")
        version = newest if guideline is None else guideline
        if version:
            _guideline(conn, project_id, version)
        values = {
            "name": name,
            "task": task,
            "purpose": purpose,
            "guideline": version,
            "schema": schema.model_dump(mode="json"),
            "settings": (settings or RoundSettings()).model_dump(mode="json"),
            "budget": budget,
        }
        round_id = new_id()
        row = {"id": round_id, "project_id": project_id, "created_by": actor, **values}
        conn.execute(rounds.insert().values(row))
        events.append(conn, project_id, "round_created", actor, {"round": round_id, **values})
        return round_row(conn, round_id)

    return store.write(write)


def next_round(store: Store, round_id: str, name: str, actor: str) -> Round:
    """Make the round that follows a frozen one: its task, schema, settings and budget again.

    Raters follow the project's newest guideline. The new round is a draft without items, and keeps
    which labels it starts from, so that what was learned from them can be told (Bai et al. 2022,
    4.5).

    Raises:
        DataError: no such round, or the name is taken.
        StoreError: the round is not frozen, so what follows from it is not settled.
    """
    found = get_round(store, round_id)
    query = sa.select(snapshots.c.content_hash).where(snapshots.c.round_id == round_id)
    with store.read() as conn:
        frozen = conn.scalar(query.order_by(snapshots.c.created_at.desc()).limit(1))
    if frozen is None:
        raise StoreError(f"round {found.name!r} is {found.state}; freeze it before the next one")
    return create_round(
        store,
        found.project_id,
        name,
        task=found.task,
        actor=actor,
        purpose=found.purpose,
        schema=found.schema,
        settings=found.settings.model_copy(update={"follows": found.id, "snapshot": frozen}),
        budget=found.budget,
    )


def get_round(store: Store, round_id: str) -> Round:
    """A round by id.

    Raises:
        DataError: there is none.
    """
    with store.read() as conn:
        return round_row(conn, round_id)


def list_rounds(
    store: Store, project_id: str | None = None, state: str | None = None
) -> list[Round]:
    """Rounds, oldest first, of one project or all, in one state or any."""
    query = sa.select(rounds).order_by(rounds.c.created_at, rounds.c.id)
    if project_id is not None:
        query = query.where(rounds.c.project_id == project_id)
    if state is not None:
        query = query.where(rounds.c.state == state)
    with store.read() as conn:
        return [to_round(row) for row in conn.execute(query)]


def open_round(store: Store, round_id: str, actor: str) -> Round:
    """Give the items of a round to raters, for the first time or again.

    Raises:
        DataError: it has nothing to judge, or too few training items.
        StoreError: it is frozen.
    """

    def check(conn: Connection, found: Round) -> None:
        if found.task != "chat" and not found.num_items:
            raise DataError(f"round {found.name!r} has no items yet; add some, then open it")
        wanted = found.settings.training_items
        where = sa.and_(items.c.round_id == round_id, items.c.role == "training")
        there = conn.scalar(sa.select(sa.func.count()).select_from(items).where(where)) or 0
        if there < wanted:
            raise DataError(
                f"round {found.name!r} asks for {wanted} training items and has {there}; "
                "add more, or set training_items lower"
            )

    return _move(store, round_id, "open", ("draft", "closed"), actor, check)


def close_round(store: Store, round_id: str, actor: str) -> Round:
    """Give out no more items. What raters hold may still be handed in until the freeze.

    Raises:
        StoreError: the round is not open.
    """
    return _move(store, round_id, "closed", ("open",), actor, lambda conn, found: None)


def use_guideline(store: Store, round_id: str, version: int, actor: str) -> Round:
    """Let a round follow another version; raters are asked to read it before they go on.

    Raises:
        DataError: there is no such round or version.
        StoreError: the round is frozen.
    """

    def write(conn: Connection) -> Round:
        found = round_row(conn, round_id)
        require_unfrozen(found)
        _guideline(conn, found.project_id, version)
        conn.execute(rounds.update().where(rounds.c.id == round_id).values(guideline=version))
        body = {"round": round_id, "version": version}
        events.append(conn, found.project_id, "guideline_used", actor, body)
        return round_row(conn, round_id)

    return store.write(write)


def _move(
    store: Store,
    round_id: str,
    state: RoundState,
    before: Sequence[RoundState],
    actor: str,
    check: Callable[[Connection, Round], None],
) -> Round:
    def write(conn: Connection) -> Round:
        query = sa.select(rounds).where(rounds.c.id == round_id).with_for_update()
        row = conn.execute(query).one_or_none()
        if row is None:
            raise missing("round", round_id)
        found = to_round(row)
        if found.state == state:
            return found
        if found.state not in before:
            raise StoreError(
                f"round {found.name!r} is {found.state}; it must be {' or '.join(before)} for that"
            )
        check(conn, found)
        moment = "opened_at" if state == "open" else "closed_at"
        values = {"state": state, moment: now()}
        conn.execute(rounds.update().where(rounds.c.id == round_id).values(values))
        kind = "round_opened" if state == "open" else "round_closed"
        events.append(conn, found.project_id, kind, actor, {"round": round_id})
        return round_row(conn, round_id)

    return store.write(write)


def _guideline(conn: Connection, project_id: str, version: int) -> Guideline:
    where = sa.and_(guidelines.c.project_id == project_id, guidelines.c.version == version)
    text = conn.scalar(sa.select(guidelines.c.text).where(where))
    if text is None:
        raise missing("guideline version", f"{version} of project {project_id}")
    return Guideline(project_id, version, text)


def _check_fit(task: Task, purpose: Purpose, budget: int | None, schema: TaskSchema) -> None:
    if purpose == "head_to_head" and task != "compare":
        raise DataError(f"a head-to-head round compares pairs: make its task compare, not {task}")
    if task == "chat" and schema.response_labels:
        raise DataError(
            "a chat asks which answer is better, and no labels of single answers: take a schema "
            "without response_labels, such as hh, or make a round of compare or rank"
        )
    if task != "compare" and schema.pair_labels:
        raise DataError(
            f"the schema {schema.name!r} has questions about pairs (pair_labels): make the "
            f"round's task compare, not {task}"
        )
    if budget is not None and budget < 1:
        raise DataError(f"a budget is 1 judgment or more, not {budget}; leave it out for no limit")


def _check_name(name: str) -> None:
    if not name.strip() or len(name) > 200 or not name.isprintable():
        raise DataError(f"a name is 1 to 200 printable characters, not {name[:40]!r}")
