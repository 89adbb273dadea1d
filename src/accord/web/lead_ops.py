"""What leads do, once for pages and API: make rounds, import, decide, answer, freeze, export."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import sqlalchemy as sa

from accord import data
from accord.artifacts import Artifact, read
from accord.data.export import Shape
from accord.errors import AccordError, DataError
from accord.store import accounts, adjudicate, prepare, rounds, schema
from accord.store.accounts import Account
from accord.store.database import Store, StoreError
from accord.store.freeze import Weights, freeze_round
from accord.store.intake import read_items
from accord.store.labels import Aggregate
from accord.store.records import AddReport, ItemRole, Project, Round, missing
from accord.types import Comparison, Demonstration, Ranking
from accord.web.security import WebSettings
from accord.web.sessions import LEADS

UPLOAD_SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
EXPORT_FILES = ("jsonl", "csv", "parquet")


@dataclass(frozen=True, slots=True)
class GuidelineVersion:
    """One version of a project's guideline and who wrote it when (UTC seconds)."""

    version: int
    text: str
    by: str
    at: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A frozen round: where it lies, its hash and the events it was made from."""

    path: str
    hash: str
    first_event: int
    last_event: int
    at: float


def find_project(store: Store, project_id: str) -> Project:
    """A project by id.

    Raises:
        DataError: there is none.
    """
    found = next((p for p in rounds.list_projects(store) if p.id == project_id), None)
    if found is None:
        raise missing("project", project_id)
    return found


def before(store: Store, found: Round) -> Round | None:
    """The round that this one follows."""
    return rounds.get_round(store, found.settings.follows) if found.settings.follows else None


def names(store: Store, reader: Account) -> dict[str, str]:
    """Rater id -> the name that ``reader`` may see: leads see names, others see ids."""
    if reader.role not in LEADS:
        return {}
    return {account.id: account.name for account in accounts.list_accounts(store)}


def guideline_versions(store: Store, project_id: str) -> list[GuidelineVersion]:
    """All versions, the newest first."""
    g = schema.guidelines
    query = sa.select(g.c.version, g.c.text, g.c.created_by, g.c.created_at)
    query = query.where(g.c.project_id == project_id).order_by(g.c.version.desc())
    with store.read() as conn:
        return [GuidelineVersion(*row) for row in conn.execute(query)]


def write_guideline(store: Store, project_id: str, text: str, actor: str) -> int:
    """A new version, which every round of the project that is not closed follows from now on.

    Raises:
        DataError: no such project, or no words.
    """
    if not text.strip():
        raise DataError("a guideline needs some words")
    version = rounds.set_guideline(store, project_id, text, actor)
    for found in rounds.list_rounds(store, project_id):
        if found.state in ("draft", "open") and found.guideline != version:
            rounds.use_guideline(store, found.id, version, actor)
    return version


def import_items(
    store: Store, round_id: str, name: str, file: BinaryIO, role: ItemRole, actor: str
) -> AddReport:
    """Items from an uploaded file, read like any data file.

    Args:
        store: where the round is.
        round_id: a round that is not closed.
        name: what the file was called; only its ending decides, and it is kept as the source.
        file: its bytes.
        role: of every item in it.
        actor: who brings it.

    Raises:
        DataError: a kind of file that is not read, unreadable rows, or items that do not fit.
    """
    found = rounds.get_round(store, round_id)
    with _uploaded(name, file) as (path, shown):
        new = read_items(path, found.task, role, source=shown)
    return rounds.add_items(store, round_id, new, actor)


def add_prompts(
    store: Store,
    round_id: str,
    name: str,
    file: BinaryIO,
    candidates: int | None = None,
    ahead: int | None = None,
) -> int:
    """Queue prompts of an uploaded file for the policies that answer in a round; how many are new.

    Args:
        store: where the round is.
        round_id: a round that is not closed and has policies; not a chat.
        name: what the file was called; kept as the source.
        file: its bytes.
        candidates: answers a prompt; None: as the task needs.
        ahead: keep so many items ready and no more; None: answer all.

    Raises:
        DataError: a kind of file that is not read, or unreadable rows.
        StoreError: the round is a chat, takes no more items, or has nobody to answer.
    """
    rounds.get_round(store, round_id)
    with _uploaded(name, file) as (path, shown):
        new = data.read_prompts(path, bad_rows_path=path.with_name("bad-rows.txt"))
    return prepare.fill_round(
        store, round_id, new, num_candidates=candidates, ahead=ahead, source=shown
    )


@contextmanager
def _uploaded(name: str, file: BinaryIO) -> Iterator[tuple[Path, str]]:
    """An uploaded file on the disk, and its name as it may be shown, while it is read.

    Raises:
        DataError: a kind of file that is not read; what the reader says, without our own paths.
    """
    shown = re.sub(r"[^\w.-]+", "_", Path(name).name)[-80:]
    suffix = Path(shown).suffix.lower()
    if suffix not in UPLOAD_SUFFIXES:
        kinds = ", ".join(UPLOAD_SUFFIXES)
        raise DataError(f"{shown}: files of items end in {kinds}; convert this one first")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"upload{suffix}"
        with path.open("wb") as copy:
            shutil.copyfileobj(file, copy)
        try:
            yield path, shown
        except DataError as error:  # without the places of files on the server
            said = str(error).replace(str(path), shown).partition("\nThe whole list:")[0]
            raise DataError(said.partition("; see /")[0]) from error


def decide(
    store: Store, adjudication_id: str, outcome: Mapping[str, Any] | None, note: str, actor: str
) -> adjudicate.Adjudication:
    """An adjudicator's word on an item, a note to its discussion, or both.

    Args:
        store: where the item is.
        adjudication_id: the open disagreement.
        outcome: by canonical index: ``{"outcome": "best", "best": 0}``, another outcome that the
            round allows, or ``{"ranks": [...]}`` in a ranking round. None: not yet.
        note: a text, or "".
        actor: who says so.

    Raises:
        DataError: no such disagreement, an outcome that its round does not know, or nothing said.
    """
    found = adjudicate.get(store, adjudication_id)
    if outcome is None and not note.strip():
        raise DataError("choose an outcome, or write a note")
    word = None
    if outcome is not None:
        num = len(rounds.get_item(store, found.item_id).completions)
        word = _outcome(rounds.get_round(store, found.round_id), num, outcome)
    if note.strip():
        found = adjudicate.note(store, adjudication_id, note[:2000], actor)
    if word is not None:
        found = adjudicate.resolve(store, adjudication_id, word, actor)
    return found


def _outcome(found: Round, num: int, outcome: Mapping[str, Any]) -> dict[str, Any]:
    """An outcome as judgments have them, checked."""
    if found.task == "rank":
        ranks = outcome.get("ranks")
        ranks = ranks if isinstance(ranks, list) and len(ranks) == num else []
        if ranks and all(type(rank) is int and 0 <= rank < num for rank in ranks):
            places = sorted(set(ranks))
            return {"ranks": [places.index(rank) for rank in ranks]}
        raise DataError(f"an outcome here is ranks: {num} places, 0 the best")
    kind, best = outcome.get("outcome"), outcome.get("best")
    if kind == "best" and type(best) is int and 0 <= best < num:
        return {"outcome": "best", "best": best, "strength": None}
    allowed = {
        "tie": found.schema.allow_tie,
        "both_bad": found.schema.allow_both_bad,
        "cannot_compare": True,
    }
    if isinstance(kind, str) and allowed.get(kind):
        return {"outcome": kind}
    raise DataError(
        f"an outcome here is best with an index below {num}, or one of "
        + ", ".join(name for name, known in allowed.items() if known)
    )


def snapshots(store: Store, round_id: str) -> list[Snapshot]:
    """What was frozen of a round, the newest first."""
    s = schema.snapshots
    query = (
        sa.select(s.c.path, s.c.content_hash, s.c.first_event, s.c.last_event, s.c.created_at)
        .where(s.c.round_id == round_id)
        .order_by(s.c.created_at.desc())
    )
    with store.read() as conn:
        return [Snapshot(*row) for row in conn.execute(query)]


def frozen(store: Store, round_id: str) -> Artifact:
    """The newest artifact of a frozen round.

    Raises:
        StoreError: the round is not frozen yet.
        ArtifactError: its folder is gone or was changed.
    """
    found = snapshots(store, round_id)
    if not found:
        raise StoreError("this round is not frozen yet; freeze it, then its labels can be exported")
    return read(found[0].path)


def folder(store: Store, settings: WebSettings) -> Path:
    """Where frozen rounds and backups go.

    Raises:
        StoreError: the database is PostgreSQL and the configuration names no folder.
    """
    if settings.folder is not None:
        return settings.folder
    if store.path is None:
        raise StoreError(
            "this studio runs on PostgreSQL and has no folder of its own; start it with "
            "`accord studio`, which gives it the recipe's"
        )
    return store.path.parent


def free_place(parent: Path, found: Round) -> Path:
    """A folder for a frozen round that is not taken yet: named after it, then numbered."""
    name = _plain(found.name)
    place, number = parent / "frozen" / name, 1
    while place.exists():
        number += 1
        place = parent / "frozen" / f"{name}-{number}"
    return place


def freeze(
    store: Store,
    settings: WebSettings,
    round_id: str,
    actor: str,
    weights: Weights = "none",
    aggregate: Aggregate = "none",
    attribute: str | None = None,
) -> Artifact:
    """Make a round's labels an artifact in the studio's folder; an open round is closed first."""
    found = rounds.get_round(store, round_id)
    place = free_place(folder(store, settings), found)
    if found.state == "open":
        rounds.close_round(store, round_id, actor)
    return freeze_round(
        store,
        round_id,
        place,
        actor=actor,
        weights=weights,
        aggregate=aggregate,
        attribute=attribute,
    )


def shapes(found: Round) -> list[str]:
    """Shapes that can hold what a round's task makes, accord's own first."""
    made = {"rank": Ranking, "demonstrate": Demonstration}.get(found.task, Comparison)
    return [name for name, nouns in data.SHAPES.items() if made in nouns]


def export(store: Store, round_id: str, shape: str, file: str) -> tuple[Path, Callable[[], None]]:
    """A frozen round's labels as a file, and what to call when it was sent.

    Ties are left out of shapes that cannot say them; the artifact keeps them.

    Raises:
        DataError: an unknown shape or kind of file, or labels that the shape cannot hold.
        StoreError: the round is not frozen.
    """
    found = rounds.get_round(store, round_id)
    if file not in EXPORT_FILES or shape not in shapes(found):
        raise DataError(
            f"exports of this round are {', '.join(shapes(found))}, as {', '.join(EXPORT_FILES)}"
        )
    records = frozen(store, round_id).records()
    holder = tempfile.TemporaryDirectory()
    path = Path(holder.name) / f"{_plain(found.name)}-{shape}.{file}"
    try:
        data.export(records, path, cast(Shape, shape), ties="drop")
    except AccordError:
        holder.cleanup()
        raise
    return path, holder.cleanup


def _plain(name: str) -> str:
    """A name that is safe in a path and in a header."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-").lower() or "round"


def count_by_rater(store: Store, ids: Sequence[str]) -> Mapping[str, int]:
    """Judgments of each account, over all rounds."""
    r = schema.round_raters
    query = sa.select(r.c.rater_id, sa.func.sum(r.c.num_done)).group_by(r.c.rater_id)
    with store.read() as conn:
        found = {row.rater_id: int(row[1]) for row in conn.execute(query)}
    return {name: found.get(name, 0) for name in ids}
