"""The lead's pages of people, tokens, frozen rounds and safety; without JavaScript too."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, HTMLResponse, Response

from accord.errors import DataError
from accord.store import accounts, backup, events, rounds
from accord.store.accounts import ROLES, Account
from accord.store.freeze import Weights
from accord.store.labels import Aggregate
from accord.store.records import missing
from accord.web import lead_ops, lead_view
from accord.web.lead_pages import (
    Db,
    Lead,
    LeadForm,
    Reader,
    Settings,
    Text,
    counts,
    see,
    show,
)
from accord.web.sessions import require, require_form
from accord.web.webhooks import Webhook

router = APIRouter(prefix="/lead", include_in_schema=False)
Member = Annotated[Account, Depends(require(*ROLES))]
MemberForm = Annotated[Account, Depends(require_form(*ROLES))]
OwnerForm = Annotated[Account, Depends(require_form("owner"))]


def _people(request: Request, account: Account, store: Db, invitation: Any = None) -> HTMLResponse:
    found = accounts.list_accounts(store)
    judged = lead_ops.count_by_rater(store, [a.id for a in found])
    open_invites = [i for i in accounts.list_invites(store) if i.state == "open"]
    return show(
        request,
        account,
        "people",
        "people",
        invitation=invitation,
        roles={role: lead_view.ROLE_TEXT[role] for role in offered(account)},
        accounts=[
            {"id": a.id, "name": a.name, "role": a.role, "status": a.status, "num": judged[a.id]}
            for a in found
        ],
        invites=[
            {
                "id": i.id,
                "name": i.name,
                "role": i.role,
                "until": lead_view.moment(i.expires_at),
            }
            for i in open_invites
        ],
    )


def offered(account: Account) -> tuple[str, ...]:
    """Roles that someone may give: none above their own."""
    return ROLES[: ROLES.index(account.role) + 1]


def check_may_change(store: Db, account: Account, other_id: str, role: str | None = None) -> None:
    """Nobody changes someone above themselves, or lifts anyone there.

    Raises:
        MissingError: no such account.
        DataError: one above.
    """
    other = accounts.get_account(store, other_id)
    if other is None:
        raise DataError(f"there is no account {other_id}")
    if other.role not in offered(account) or (role is not None and role not in offered(account)):
        raise DataError(f"a {account.role} cannot change an {other.role}; ask an owner")


@router.get("/people")
def people(request: Request, account: Lead, store: Db) -> HTMLResponse:
    """Everyone with an account, and open invitations."""
    return _people(request, account, store)


@router.post("/invitations")
def invite(
    request: Request, account: LeadForm, store: Db, settings: Settings, role: Text, name: Text = ""
) -> HTMLResponse:
    """Make an invitation and show its link, this once."""
    if role not in offered(account):
        raise DataError(f"a {account.role} cannot invite an {role}")
    token = accounts.invite(store, role, name=name, actor=account.id)
    link = {"url": f"{settings.base_url.rstrip('/')}/invite/{token}", "name": name}
    return _people(request, account, store, link)


@router.post("/invitations/{invite_id}/revoke")
def revoke_invitation(account: LeadForm, store: Db, invite_id: str) -> Response:
    """Make an invitation worthless."""
    accounts.revoke_invite(store, invite_id, actor=account.id)
    return see("/lead/people?done=saved")


@router.post("/accounts/{account_id}")
def change_account(
    account: LeadForm, store: Db, account_id: str, role: Text = "", status: Text = ""
) -> Response:
    """Give another role, let someone in, or keep them out."""
    check_may_change(store, account, account_id, role or None)
    if role:
        accounts.set_role(store, account_id, role, actor=account.id)
    if status:
        accounts.set_status(store, account_id, status, actor=account.id)
    return see("/lead/people?done=saved")


@router.post("/accounts/{account_id}/erase")
def erase_account(account: OwnerForm, store: Db, account_id: str, sure: Text = "") -> Response:
    """Forget who someone is, for good, if the box was ticked."""
    if sure != "yes":
        raise DataError("erasing cannot be undone: tick the box beside it, then press Erase")
    erase(store, account, account_id)
    return see("/lead/people?done=erased")


def erase(store: Db, account: Account, account_id: str) -> None:
    """Erase another's account; one's own would end the session that asks.

    Raises:
        DataError: no such account, or one's own.
    """
    if account_id == account.id:
        raise DataError("nobody erases their own account; ask another owner")
    accounts.erase_account(store, account_id, actor=account.id)


def _tokens(request: Request, account: Account, store: Db, secret: str = "") -> HTMLResponse:
    rows = [
        {
            "id": t.id,
            "name": t.name,
            "role": t.role,
            "made": lead_view.moment(t.created_at),
            "used": lead_view.moment(t.used_at),
            "until": lead_view.moment(t.expires_at),
            "revoked": t.revoked,
        }
        for t in accounts.list_tokens(store, account.id)
    ]
    return show(
        request, account, "tokens", "tokens", tokens=rows, secret=secret, roles=offered(account)
    )


@router.get("/tokens")
def tokens(request: Request, account: Member, store: Db) -> HTMLResponse:
    """One's own tokens."""
    return _tokens(request, account, store)


@router.post("/tokens")
def make_token(
    request: Request, account: MemberForm, store: Db, name: Text, role: Text
) -> HTMLResponse:
    """Make a token and show it, this once."""
    secret = accounts.create_token(store, account.id, name, role, actor=account.id)
    return _tokens(request, account, store, secret)


@router.post("/tokens/{token_id}/revoke")
def revoke_token(account: MemberForm, store: Db, token_id: str) -> Response:
    """Make one of one's own tokens useless."""
    own_token(store, account, token_id)
    accounts.revoke_token(store, token_id, actor=account.id)
    return see("/lead/tokens?done=saved")


def own_token(store: Db, account: Account, token_id: str) -> None:
    """Check that a token is the account's own.

    Raises:
        MissingError: it is not, or there is none; the two look the same from outside.
    """
    if token_id not in {t.id for t in accounts.list_tokens(store, account.id)}:
        raise missing("token", token_id)


@router.get("/rounds/{round_id}/exports")
def exports_page(request: Request, account: Reader, store: Db, round_id: str) -> HTMLResponse:
    """Freeze a round, and download what was frozen."""
    found = rounds.get_round(store, round_id)
    rows = [
        {
            "when": lead_view.moment(s.at),
            "path": s.path,
            "hash": s.hash[:19],
            "first": f"{s.first_event:,}",
            "last": f"{s.last_event:,}",
        }
        for s in lead_ops.snapshots(store, round_id)
    ]
    return show(
        request,
        account,
        "exports",
        "rounds",
        round=found,
        counts=counts(store, found),
        snapshots=rows,
        shapes=lead_ops.shapes(found),
        files=lead_ops.EXPORT_FILES,
    )


@router.post("/rounds/{round_id}/freeze")
def freeze(
    account: LeadForm,
    store: Db,
    settings: Settings,
    round_id: str,
    weights: Annotated[Weights, Form()] = "none",
    aggregate: Annotated[Aggregate, Form()] = "none",
    attribute: Annotated[str, Form()] = "",
) -> Response:
    """Make a round's labels an artifact."""
    lead_ops.freeze(store, settings, round_id, account.id, weights, aggregate, attribute or None)
    return see(f"/lead/rounds/{round_id}/exports?done=frozen")


@router.get("/rounds/{round_id}/export")
def download(account: Lead, store: Db, round_id: str, shape: str, file: str) -> Response:
    """The labels of a frozen round in one of the shapes that other libraries read."""
    return send_export(store, round_id, shape, file)


def send_export(store: Db, round_id: str, shape: str, file: str) -> Response:
    """An export as a download; its temporary file goes when it is sent."""
    path, done = lead_ops.export(store, round_id, shape, file)
    return FileResponse(
        path,
        filename=path.name,
        media_type="application/octet-stream",
        background=BackgroundTask(done),
    )


def _safety(
    request: Request, account: Account, store: Db, settings: Settings, **found: Any
) -> HTMLResponse:
    files = []
    if store.path is not None:
        folder = lead_ops.folder(store, settings) / "backups"
        files = sorted(folder.glob("*.db*"), reverse=True)[:20]
    rows = [
        {
            "name": str(path),
            "size": lead_view.size(path.stat().st_size),
            "when": lead_view.moment(path.stat().st_mtime),
        }
        for path in files
    ]
    webhook: Webhook | None = request.app.state.webhook
    standing = None if webhook is None else webhook.standing()
    known = {
        "checked": None,
        "webhook": standing,
        "webhook_sent": lead_view.moment(standing.sent_at) if standing and standing.sent_at else "",
        "backup_path": None,
        "backups": rows,
        "sqlite": store.path is not None,
    }
    return show(request, account, "safety", "safety", **(known | found))


@router.get("/safety")
def safety(request: Request, account: Lead, store: Db, settings: Settings) -> HTMLResponse:
    """Whether all is as it was written, and backups."""
    return _safety(request, account, store, settings)


@router.post("/verify")
def verify(request: Request, account: LeadForm, store: Db, settings: Settings) -> HTMLResponse:
    """Check the whole log and what follows from it."""
    return _safety(request, account, store, settings, checked=events.verify(store))


@router.post("/backup")
def back_up(request: Request, account: LeadForm, store: Db, settings: Settings) -> HTMLResponse:
    """Write a backup now."""
    made: Path = backup.back_up(store, lead_ops.folder(store, settings) / "backups")
    return _safety(request, account, store, settings, backup_path=str(made))
