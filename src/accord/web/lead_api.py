"""The lead's API: the same acts as the pages, as JSON for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Form, UploadFile
from pydantic import Field
from starlette.responses import Response

from accord.store import accounts, adjudicate, backup, events, rounds, training
from accord.store import questions as asked
from accord.store.accounts import Account
from accord.store.freeze import Weights
from accord.store.labels import Aggregate
from accord.store.records import ItemRole, Round
from accord.web import lead_json, lead_ops
from accord.web.errors import WebError
from accord.web.lead_data import progress
from accord.web.lead_json import In, Json, Name, NewRound
from accord.web.lead_pages import DECIDERS, Db, Lead, Reader, Settings
from accord.web.lead_people import check_may_change, erase, offered, own_token, send_export
from accord.web.sessions import require

router = APIRouter(prefix="/api/v1/lead", tags=["lead"])
Decider = Annotated[Account, Depends(require(*DECIDERS))]
Owner = Annotated[Account, Depends(require("owner"))]
Member = Annotated[Account, Depends(require(*accounts.ROLES))]


class Freeze(In):
    """How a round's judgments become labels."""

    weights: Weights = "none"
    aggregate: Aggregate = "none"
    attribute: str | None = Field(default=None, max_length=200)


class Decision(In):
    """An adjudicator's word by canonical index, a note, or both."""

    outcome: Json | None = None
    note: str = Field(default="", max_length=2000)


class Words(In):
    """A text."""

    text: str = Field(min_length=1, max_length=100_000)


class Named(In):
    """A name."""

    name: Name


class Invitation(In):
    """Whom to let in, and as what."""

    role: str = "rater"
    name: str = Field(default="", max_length=200)


class AccountChange(In):
    """What to change of an account."""

    role: str | None = None
    status: str | None = None


class NewToken(In):
    """A token to make."""

    name: Name
    role: str = "rater"


def _round(found: Round) -> Json:
    shown = asdict(found)
    shown["schema"] = found.schema.model_dump(mode="json")
    shown["settings"] = found.settings.model_dump(mode="json")
    return shown


@router.get("/projects")
def list_projects(account: Reader, store: Db) -> list[Json]:
    """Projects with their rounds."""
    by_project: dict[str, list[Json]] = {}
    for found in rounds.list_rounds(store):
        by_project.setdefault(found.project_id, []).append(_round(found))
    return [asdict(p) | {"rounds": by_project.get(p.id, [])} for p in rounds.list_projects(store)]


@router.post("/projects")
def make_project(account: Lead, store: Db, body: Named) -> Json:
    """Start a project."""
    return asdict(rounds.create_project(store, body.name.strip(), account.id))


@router.get("/projects/{project_id}/guidelines")
def guidelines(account: Reader, store: Db, project_id: str) -> list[Json]:
    """All versions of a project's guideline, the newest first."""
    return [asdict(version) for version in lead_ops.guideline_versions(store, project_id)]


@router.post("/projects/{project_id}/guideline")
def write_guideline(account: Lead, store: Db, project_id: str, body: Words) -> Json:
    """A new version; rounds that are not closed follow it from now on."""
    return {"version": lead_ops.write_guideline(store, project_id, body.text, account.id)}


@router.post("/projects/{project_id}/rounds")
def make_round(account: Lead, store: Db, project_id: str, body: NewRound) -> Json:
    """Make a round in state draft."""
    found = lead_json.create_round(store, project_id, body, account.id)
    return _round(found)


@router.post("/rounds/{round_id}/next")
def next_round(account: Lead, store: Db, round_id: str, body: Named) -> Json:
    """Make the round that follows a frozen one, with its settings and the newest guideline."""
    return _round(rounds.next_round(store, round_id, body.name.strip(), account.id))


@router.get("/rounds/{round_id}")
def show_round(account: Reader, store: Db, round_id: str) -> Json:
    """A round's settings and how far it is."""
    found = rounds.get_round(store, round_id)
    with store.read() as conn:
        far = progress(conn, found)
    return _round(found) | {"progress": asdict(far) | {"share": far.share}}


@router.post("/rounds/{round_id}/open")
def open_round(account: Lead, store: Db, round_id: str) -> Json:
    """Give its items to raters."""
    return _round(rounds.open_round(store, round_id, account.id))


@router.post("/rounds/{round_id}/close")
def close_round(account: Lead, store: Db, round_id: str) -> Json:
    """Give out no more."""
    return _round(rounds.close_round(store, round_id, account.id))


@router.post("/rounds/{round_id}/freeze")
def freeze(
    account: Lead,
    store: Db,
    settings: Settings,
    round_id: str,
    body: Annotated[Freeze, Body(default_factory=Freeze)],
) -> Json:
    """Make its labels an artifact; the round is then over."""
    made = lead_ops.freeze(store, settings, round_id, account.id, **body.model_dump())
    return {"path": str(made.path), "hash": made.hash, "metrics": made.manifest.metrics}


@router.post("/rounds/{round_id}/items")
def import_items(
    account: Lead,
    store: Db,
    round_id: str,
    file: UploadFile,
    role: Annotated[ItemRole, Form()] = "normal",
) -> Json:
    """Add items from a jsonl, json, csv or parquet file."""
    name = file.filename or "upload"
    return asdict(lead_ops.import_items(store, round_id, name, file.file, role, account.id))


@router.post("/rounds/{round_id}/prompts")
def add_prompts(
    account: Lead,
    store: Db,
    round_id: str,
    file: UploadFile,
    candidates: Annotated[int | None, Form(ge=1, le=9)] = None,
    ahead: Annotated[int | None, Form(ge=1, le=1_000_000)] = None,
) -> Json:
    """Queue prompts from a file; each becomes an item when the round's policies have answered."""
    name = file.filename or "upload"
    return {"queued": lead_ops.add_prompts(store, round_id, name, file.file, candidates, ahead)}


@router.get("/rounds/{round_id}/dashboard")
def dashboard(account: Reader, store: Db, round_id: str) -> Json:
    """Progress, agreement, habits, raters, drift, how fast models answer, what was left out."""
    return lead_json.dashboard(store, round_id)


@router.get("/rounds/{round_id}/ratings")
def ratings(account: Reader, store: Db, round_id: str) -> list[Json]:
    """Policies of a head-to-head round in Elo points, beside the reward model's prediction."""
    return lead_json.ratings(store, round_id)


@router.get("/rounds/{round_id}/adjudications")
def adjudications(account: Reader, store: Db, round_id: str) -> list[Json]:
    """Open disagreements, oldest first."""
    rounds.get_round(store, round_id)
    return [asdict(case) for case in adjudicate.queue(store, round_id)]


@router.post("/adjudications/{adjudication_id}")
def decide(account: Decider, store: Db, adjudication_id: str, body: Decision) -> Json:
    """Decide an item, add to its discussion, or both."""
    return asdict(lead_ops.decide(store, adjudication_id, body.outcome, body.note, account.id))


@router.get("/rounds/{round_id}/questions")
def questions(account: Reader, store: Db, round_id: str) -> list[Json]:
    """What raters asked: unanswered ones first, then the newest."""
    rounds.get_round(store, round_id)
    return [asdict(question) for question in asked.of_round(store, round_id)]


@router.post("/questions/{question_id}")
def answer(account: Decider, store: Db, question_id: str, body: Words) -> Json:
    """Answer a rater's question."""
    return {"round": asked.answer(store, question_id, body.text, account.id)}


@router.get("/rounds/{round_id}/training")
def list_trainees(account: Reader, store: Db, round_id: str) -> list[Json]:
    """How far each rater is with the training items; who did not pass comes first."""
    return [asdict(row) for row in training.list_trainees(store, round_id)]


@router.post("/rounds/{round_id}/training/{account_id}")
def train_again(account: Lead, store: Db, round_id: str, account_id: str) -> Json:
    """Let a rater do the training items afresh."""
    training.train_again(store, round_id, account_id, account.id)
    return {"saved": True}


@router.get("/rounds/{round_id}/export")
def export(
    account: Lead, store: Db, round_id: str, shape: str = "accord", file: str = "jsonl"
) -> Response:
    """A frozen round's labels as a file."""
    return send_export(store, round_id, shape, file)


@router.get("/accounts")
def list_accounts(account: Lead, store: Db) -> list[Json]:
    """Everyone with an account."""
    return lead_json.people(store)


@router.post("/invitations")
def invite(account: Lead, store: Db, settings: Settings, body: Invitation) -> Json:
    """Make an invitation; its link is told this once."""
    if body.role not in offered(account):
        raise WebError(403, f"A {account.role} cannot invite as {body.role}.", "Ask an owner.")
    token = accounts.invite(store, body.role, name=body.name, actor=account.id)
    return {"url": f"{settings.base_url.rstrip('/')}/invite/{token}"}


@router.post("/accounts/{account_id}")
def change_account(account: Lead, store: Db, account_id: str, body: AccountChange) -> Json:
    """Give another role, let someone in, or keep them out."""
    check_may_change(store, account, account_id, body.role)
    if body.role is not None:
        accounts.set_role(store, account_id, body.role, actor=account.id)
    if body.status is not None:
        accounts.set_status(store, account_id, body.status, actor=account.id)
    return {"saved": True}


@router.post("/accounts/{account_id}/erase")
def erase_account(account: Owner, store: Db, account_id: str) -> Json:
    """Forget who someone is, for good; what they judged stays under a number."""
    erase(store, account, account_id)
    return {"saved": True}


@router.get("/tokens")
def list_tokens(account: Member, store: Db) -> list[Json]:
    """One's own tokens, without their secrets."""
    return [asdict(token) for token in accounts.list_tokens(store, account.id)]


@router.post("/tokens")
def make_token(account: Member, store: Db, body: NewToken) -> Json:
    """Make a token for oneself; it is told this once."""
    secret = accounts.create_token(store, account.id, body.name, body.role, actor=account.id)
    return {"token": secret}


@router.post("/tokens/{token_id}/revoke")
def revoke_token(account: Member, store: Db, token_id: str) -> Json:
    """Make one of one's own tokens useless."""
    own_token(store, account, token_id)
    accounts.revoke_token(store, token_id, actor=account.id)
    return {"saved": True}


@router.post("/verify")
def verify(account: Lead, store: Db) -> Json:
    """Check the whole log and what follows from it."""
    return {"problems": events.verify(store)}


@router.post("/backup")
def back_up(account: Lead, store: Db, settings: Settings) -> Json:
    """Write a backup now."""
    return {"path": str(backup.back_up(store, lead_ops.folder(store, settings) / "backups"))}
