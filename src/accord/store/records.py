"""What the store tells about projects, rounds and items: frozen nouns, and how rows become them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from accord.errors import DataError
from accord.store.faults import StoreError
from accord.store.schema import rounds
from accord.store.task import Purpose, RoundSettings, Task, TaskSchema
from accord.types import Completion, Message, Prompt

ItemRole: TypeAlias = Literal["normal", "gold", "attention", "anchor", "training"]
RoundState: TypeAlias = Literal["draft", "open", "closed", "frozen"]


@dataclass(frozen=True, slots=True)
class Project:
    """A body of work with one chain of events; ``guideline`` is its newest version, 0 if none."""

    id: str
    name: str
    guideline: int


@dataclass(frozen=True, slots=True)
class Guideline:
    """One version of the instructions that raters follow, in Markdown."""

    project_id: str
    version: int
    text: str


@dataclass(frozen=True, slots=True)
class Round:
    """A round as it stands. Moments are UTC seconds since 1970.

    ``num_items`` counts ordinary items, ``num_wanted`` the judgments they need, ``num_judgments``
    those that they have; checks (gold, attention, anchors, training) count in none of them.
    """

    id: str
    project_id: str
    name: str
    task: Task
    purpose: Purpose
    state: RoundState
    guideline: int
    schema: TaskSchema
    settings: RoundSettings
    budget: int | None
    num_items: int
    num_wanted: int
    num_judgments: int
    created_at: float
    opened_at: float | None
    closed_at: float | None

    @property
    def ends_at(self) -> int | None:
        """Judgments at which the round is complete; None: a chat without a budget never is."""
        limits = (self.budget, None if self.task == "chat" else self.num_wanted)
        return min((limit for limit in limits if limit is not None), default=None)

    @property
    def num_left(self) -> int:
        """Judgments still to be given, within the budget."""
        wanted = self.num_wanted if self.budget is None else min(self.budget, self.num_wanted)
        return max(0, wanted - self.num_judgments)


@dataclass(frozen=True, slots=True)
class NewItem:
    """What is to be judged, in canonical order.

    ``answer`` is what a gold, attention or training item expects, by canonical index
    (``{"best": 0}``, ``{"outcome": "tie"}``, ``{"ranks": [0, 1, 1]}``; ``why`` is shown after a
    training item). ``scores`` are the reward model's, one for each completion. ``needed`` is the
    number of raters; None: as the settings say.
    """

    prompt: Prompt
    completions: tuple[Completion, ...] = ()
    role: ItemRole = "normal"
    answer: Mapping[str, Any] | None = None
    priority: float = 0.0
    source: str = ""
    scores: tuple[float | None, ...] | None = None
    needed: int | None = None

    def payload(self) -> dict[str, Any]:
        """The content as it is stored and hashed."""
        rows = [asdict(completion) for completion in self.completions]
        for row, score in zip(rows, self.scores or (), strict=bool(self.scores)):
            row.update({} if score is None else {"score": score})
        return {"prompt": asdict(self.prompt), "completions": rows}


@dataclass(frozen=True, slots=True)
class Item:
    """A stored item: its content and how far it is."""

    id: str
    round_id: str
    role: ItemRole
    prompt: Prompt
    completions: tuple[Completion, ...]
    scores: tuple[float | None, ...]
    answer: dict[str, Any] | None
    calibration: bool
    needed: int
    taken: int
    done: int
    priority: float
    source: str


@dataclass(frozen=True, slots=True)
class AddReport:
    """How many items were new, and how many the round (or the same file) had already."""

    added: int
    duplicates: int


# Statements of the hot path are built once: making one costs more than running it.
_ROUND = sa.select(rounds).where(rounds.c.id == sa.bindparam("round"))


def item_id(round_id: str, payload: Mapping[str, Any]) -> str:
    """The name of an item: sha256 of its content and its round, 16 hex characters."""
    canonical = orjson.dumps([round_id, payload], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).hexdigest()[:16]


def round_row(conn: Connection, round_id: str) -> Round:
    """A round by id, within a transaction.

    Raises:
        DataError: there is none.
    """
    row = conn.execute(_ROUND, {"round": round_id}).one_or_none()
    if row is None:
        raise missing("round", round_id)
    return to_round(row)


def to_round(row: sa.Row[Any]) -> Round:
    """A row of the table as a round."""
    return Round(
        id=row.id,
        project_id=row.project_id,
        name=row.name,
        task=row.task,
        purpose=row.purpose,
        state=row.state,
        guideline=row.guideline,
        schema=_schema(orjson.dumps(row.schema)),
        settings=_settings(orjson.dumps(row.settings)),
        budget=row.budget,
        num_items=row.num_items,
        num_wanted=row.num_wanted,
        num_judgments=row.num_judgments,
        created_at=row.created_at,
        opened_at=row.opened_at,
        closed_at=row.closed_at,
    )


@lru_cache(maxsize=256)
def _schema(text: bytes) -> TaskSchema:
    return TaskSchema.model_validate_json(text)


@lru_cache(maxsize=256)
def _settings(text: bytes) -> RoundSettings:
    return RoundSettings.model_validate_json(text)


def to_item(row: sa.Row[Any]) -> Item:
    """A row of the table as an item."""
    prompt, completions, scores = parse_payload(row.payload)
    return Item(
        id=row.id,
        round_id=row.round_id,
        role=row.role,
        prompt=prompt,
        completions=completions,
        scores=scores,
        answer=row.answer,
        calibration=row.calibration,
        needed=row.needed,
        taken=row.taken,
        done=row.done,
        priority=row.priority,
        source=row.source,
    )


def parse_payload(
    payload: Mapping[str, Any],
) -> tuple[Prompt, tuple[Completion, ...], tuple[float | None, ...]]:
    """Prompt, completions and scores of an item's content, in canonical order."""
    found = payload["prompt"]
    messages = tuple(Message(**message) for message in found["messages"])
    rows = payload["completions"]
    texts = [{key: value for key, value in row.items() if key != "score"} for row in rows]
    return (
        Prompt(found["id"], messages, tuple(found.get("tags", ()))),
        tuple(Completion(**row) for row in texts),
        tuple(row.get("score") for row in rows),
    )


class MissingError(DataError):
    """An id that nothing has, or nothing that is the asker's."""


def missing(what: str, name: str) -> MissingError:
    """The error for an id that nothing has."""
    return MissingError(f"there is no {what} {name!r}; look it up in the list of {what}s")


def require_unfrozen(found: Round) -> None:
    """Refuse a change to what a frozen round handed on.

    Raises:
        StoreError: it is frozen.
    """
    if found.state == "frozen":
        raise StoreError(
            f"round {found.name!r} is frozen: its judgments were handed on and cannot change"
        )
