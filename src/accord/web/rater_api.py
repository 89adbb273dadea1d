"""What the workspace asks of the server: tasks, judgments, drafts, undo, guidelines.

Whatever leaves here is blind: a task is made field by field from what a rater may see, never by
leaving something out of what the store has. Nothing is decided here; the store does that.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated, Any

import orjson
import sqlalchemy as sa
from fastapi import APIRouter, Depends, Path, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlalchemy.engine import Connection

from accord.store import accounts, assign, judgments, questions, rounds, training
from accord.store.accounts import Account
from accord.store.columns import now
from accord.store.database import Store
from accord.store.records import Round, missing, round_row
from accord.store.schema import guideline_acks
from accord.store.schema import judgments as judged
from accord.store.schema import rounds as round_rows
from accord.store.task import SLOTS, Presentation
from accord.store.work import Assignment, own_row
from accord.web.errors import WebError
from accord.web.render import changed_html, guideline_html, response_html
from accord.web.sessions import WORKERS, Stored, current_account, require

router = APIRouter(prefix="/api/v1", tags=["rater"])

HIDDEN_SETTINGS = {"name", "continue_with"}
"""Fields of a task schema that are no matter for a rater's screen."""
MAX_JSON_BYTES = 200_000
DAY_SECONDS = 86_400.0
_READ = (
    sa.select(sa.func.max(guideline_acks.c.version))
    .join(round_rows, round_rows.c.project_id == guideline_acks.c.project_id)
    .where(
        guideline_acks.c.rater_id == sa.bindparam("rater"),
        round_rows.c.id == sa.bindparam("round"),
    )
)


def _text(value: str) -> str:
    """Text that every database can keep."""
    if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        raise ValueError("contains a character that is none (NUL or half a surrogate pair)")
    return value


def _json(value: dict[str, Any]) -> dict[str, Any]:
    """A JSON object that every database can keep."""
    try:
        size = len(orjson.dumps(value))
    except TypeError as error:
        raise ValueError(f"is not JSON: {error}") from error
    if size > MAX_JSON_BYTES:
        raise ValueError(f"is too large: at most {MAX_JSON_BYTES} bytes")
    return value


Id = Annotated[str, Path(pattern=r"^[0-9A-Za-z_-]{1,40}$")]
Key = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,80}$", description="made once per action")]
Text = Annotated[str, AfterValidator(_text)]
Object = Annotated[dict[str, Any], AfterValidator(_json)]
Member = Annotated[Account, Depends(current_account)]
Worker = Annotated[Account, Depends(require(*WORKERS))]


class _Request(BaseModel):
    """What a client sends; unknown fields are ignored, so that clients may be newer."""

    model_config = ConfigDict(frozen=True)


class NextRequest(_Request):
    """A wish for tasks: the assignments that the screen holds already, and how many more."""

    have: list[Annotated[str, Field(max_length=40)]] = Field(default_factory=list, max_length=50)
    n: Annotated[int, Field(ge=1, le=5)] = 1


class JudgmentRequest(_Request):
    """A judgment by slot; see ``accord.store.task`` for the bodies."""

    key: Key
    body: Object
    presentation: Presentation | None = None


class SkipRequest(_Request):
    """A task put back. The reason ``later`` brings it back at the end."""

    key: Key
    reason: Annotated[Text, Field(min_length=1, max_length=200)]


class DraftRequest(_Request):
    """An unfinished judgment, kept unchecked."""

    body: Object


class UndoRequest(_Request):
    """The task to take back; without ``assignment`` the newest."""

    key: Key
    assignment: Annotated[str, Field(max_length=40)] | None = None


class QuestionRequest(_Request):
    """A question to the researchers."""

    key: Key
    text: Annotated[Text, Field(min_length=1, max_length=4000)]


class AcknowledgeRequest(_Request):
    """The version of the guideline that was read; None: the present one."""

    version: Annotated[int, Field(ge=1, le=10**6)] | None = None


class SettingsRequest(_Request):
    """The person's own settings: ``keymap`` and what else the workspace keeps."""

    settings: Object


@router.get("/me")
def me(request: Request, account: Member, store: Stored) -> dict[str, Any]:
    """Who is signed in, the rounds that are open to them, and the token their changes carry."""
    return {
        "id": account.id,
        "name": account.name,
        "role": account.role,
        "rounds": open_rounds(store, account),
        "stats": stats(store, account.id),
        "csrf": request.scope.get("state", {}).get("csrf", ""),
        "keymap": account.settings.get("keymap", {}),
    }


@router.put("/me/settings")
def put_settings(account: Member, store: Stored, wish: SettingsRequest) -> dict[str, bool]:
    """Keep the person's own settings, as they are."""
    accounts.set_settings(store, account.id, wish.settings)
    return {"saved": True}


@router.get("/rounds/{round_id}/guideline")
def get_guideline(round_id: Id, account: Worker, store: Stored) -> dict[str, Any]:
    """The guideline as HTML, and what changed in it since the version that was read last."""
    return guideline_of(store, account, open_round(store, round_id))


@router.post("/rounds/{round_id}/guideline/acknowledge")
def acknowledge(
    round_id: Id, account: Worker, store: Stored, wish: AcknowledgeRequest | None = None
) -> dict[str, Any]:
    """Note that the guideline was read."""
    found = open_round(store, round_id)
    version = (wish.version if wish else None) or found.guideline
    if version != found.guideline:
        raise WebError(
            409, "The guideline has changed in the meantime.", "Please read the new one."
        )
    if version:
        accounts.acknowledge_guideline(store, account.id, found.project_id, version)
    return {"acknowledged": True, "version": version}


@router.post("/rounds/{round_id}/next")
def next_tasks(round_id: Id, account: Worker, store: Stored, wish: NextRequest) -> dict[str, Any]:
    """Tasks to work on, several at once so that the next is there before it is needed.

    With them, when the newest answer to the rater's questions was given, and how the practice
    went if it is over without being passed.
    """

    def write(conn: Connection) -> dict[str, Any]:
        found = _opened(round_row(conn, round_id))
        served: list[Assignment] = []
        if found.state == "open" and found.task != "chat":
            served = assign.serve_in(conn, found, account.id, wish.n, wish.have)
        standing = assign.standing_in(conn, found, account.id)
        practice = None
        if standing.training_over:
            mine = training.trainee_in(conn, found, account.id)
            practice = {
                "right": mine.right,
                "of": mine.num_counted,
                "needed": mine.needed,
                "too_fast": mine.too_fast,
            }
        return {
            "tasks": [(found, assignment, standing.left) for assignment in served],
            "practice": practice,
            "answered": questions.answered_at_in(conn, account.id, round_id),
        }

    told = store.write(write)
    # Rendering takes longer than the rest, so it is done when others may write again.
    return told | {"tasks": [task_json(*task) for task in told["tasks"]]}


@router.post("/assignments/{assignment_id}/judgment")
async def judge(
    assignment_id: Id, account: Worker, store: Stored, wish: JudgmentRequest
) -> dict[str, Any]:
    """Hand in a judgment; the answer means that it is on the disk."""

    def write(conn: Connection) -> dict[str, Any]:
        row = own_row(conn, assignment_id, account.id)
        _require_read(conn, row)
        judgment = judgments.submit_in(conn, row, wish.body, wish.key, wish.presentation)
        standing = assign.standing_in(conn, round_row(conn, row.round_id), account.id)
        return {
            "saved": True,
            "undo_left": judgments.undo_left_in(conn, account.id),
            "feedback": judgments.feedback_in(conn, row, judgment),
            "progress": {"done": standing.done, "left": standing.left},
        }

    # The store's own thread does all of it, so no other one needs to wait here.
    return await asyncio.wrap_future(store.enqueue(write))


@router.post("/assignments/{assignment_id}/skip")
def skip(assignment_id: Id, account: Worker, store: Stored, wish: SkipRequest) -> dict[str, bool]:
    """Put a task back."""
    assign.skip(store, account.id, assignment_id, wish.reason, wish.key)
    return {"saved": True}


@router.put("/assignments/{assignment_id}/draft")
def put_draft(
    assignment_id: Id, account: Worker, store: Stored, wish: DraftRequest
) -> dict[str, bool]:
    """Keep an unfinished judgment."""
    judgments.save_draft(store, account.id, assignment_id, wish.body)
    return {"saved": True}


@router.post("/assignments/{assignment_id}/question")
def ask(assignment_id: Id, account: Worker, store: Stored, wish: QuestionRequest) -> dict[str, Any]:
    """Ask the researchers about a task."""
    name = questions.ask(store, account.id, assignment_id, wish.text, wish.key)
    return {"saved": True, "question": name}


@router.get("/rounds/{round_id}/questions")
def my_questions(round_id: Id, account: Worker, store: Stored) -> dict[str, Any]:
    """What the rater asked in a round, with the answers; who answered is not told."""
    found = open_round(store, round_id)
    return {
        "questions": [asdict(row) for row in questions.of_rater(store, account.id, found.id)],
        "answered": questions.answered_at(store, account.id, found.id),
    }


@router.post("/undo")
def undo(account: Worker, store: Stored, wish: UndoRequest) -> dict[str, Any]:
    """Take a task back; it comes with what was said as its draft."""
    taken = judgments.undo(store, account.id, wish.key, wish.assignment)
    found = rounds.get_round(store, taken.round_id)
    standing = assign.standing(store, account.id, taken.round_id)
    return {
        "task": task_json(found, taken, standing.left),
        "undo_left": judgments.undo_left(store, account.id),
        "progress": {"done": standing.done, "left": standing.left},
    }


def open_round(store: Store, round_id: str) -> Round:
    """A round that raters may know of.

    Raises:
        MissingError: there is none, or it was never opened.
    """
    return _opened(rounds.get_round(store, round_id))


def open_rounds(store: Store, account: Account) -> list[dict[str, Any]]:
    """The open rounds as a person's start page shows them; none for those who only look on."""
    if account.role not in WORKERS:
        return []
    return [_round_json(store, account, found) for found in rounds.list_rounds(store, state="open")]


def guideline_of(store: Store, account: Account, found: Round) -> dict[str, Any]:
    """A round's guideline for one reader; ``changed_html`` is empty unless they read another."""
    read = accounts.acknowledged_guideline(store, account.id, found.project_id)
    text = changed = ""
    if found.guideline:
        text = rounds.get_guideline(store, found.project_id, found.guideline).text
        if 0 < read < found.guideline:
            changed = changed_html(rounds.get_guideline(store, found.project_id, read).text, text)
    return {
        "version": found.guideline,
        "html": guideline_html(text),
        "changed_html": changed,
        "acknowledged": read >= found.guideline,
    }


def stats(store: Store, rater: str) -> dict[str, int]:
    """A person's own counts: judgments that stand, and those of the last 24 hours."""
    mine = judged.c.rater_id == rater
    total = sa.select(sa.func.count()).select_from(judged).where(mine)
    with store.read() as conn:
        return {
            "total": conn.scalar(total) or 0,
            "last_day": conn.scalar(total.where(judged.c.at > now() - DAY_SECONDS)) or 0,
        }


def task_json(found: Round, assignment: Assignment, left: int) -> dict[str, Any]:
    """A task as a rater may see it: no model, no score, no item, no reason, no timing."""
    return {
        "assignment": assignment.id,
        "task": found.task,
        "question": found.schema.question,
        "prompt": [
            {"role": turn.role, "text": turn.content, "html": response_html(turn.content)}
            for turn in assignment.prompt.messages
        ],
        "responses": [
            {"slot": slot, "text": text, "html": response_html(text)}
            for slot, text in zip(SLOTS, assignment.responses, strict=False)
        ],
        "schema": found.schema.model_dump(mode="json", exclude=HIDDEN_SETTINGS),
        "guideline": assignment.guideline,
        "lease_seconds": found.settings.lease_seconds,
        "draft": assignment.draft,
        "left": left,
    }


def _opened(found: Round) -> Round:
    if found.state == "draft":
        raise missing("round", found.id)
    return found


def _round_json(store: Store, account: Account, found: Round) -> dict[str, Any]:
    standing = assign.standing(store, account.id, found.id)
    read = accounts.acknowledged_guideline(store, account.id, found.project_id)
    return {
        "id": found.id,
        "title": found.name,
        "task": found.task,
        "done": standing.done,
        "left": 0 if standing.training_over else standing.left,
        "practice_over": standing.training_over,
        "guideline": {"version": found.guideline, "acknowledged": read >= found.guideline},
    }


def _require_read(conn: Connection, row: sa.Row[Any]) -> None:
    """Refuse a judgment under a guideline that its rater has not read; ``row`` is ``own_row``'s.

    Raises:
        WebError: 409, the guideline comes first.
    """
    if not row.guideline:
        return
    here = {"rater": row.rater_id, "round": row.round_id}
    if (conn.scalar(_READ, here) or 0) < row.guideline:
        raise WebError(
            409, "Please read the guideline first.", "Open it, agree to it, and send this again."
        )
