"""The lead's pages of projects and rounds. They work without JavaScript: forms, links and SVG."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request, UploadFile
from starlette.responses import HTMLResponse, RedirectResponse, Response

from accord.errors import DataError
from accord.store import adjudicate, rounds, training
from accord.store import questions as asked
from accord.store.accounts import Account
from accord.store.database import Store
from accord.store.records import ItemRole, Round
from accord.store.settings import RoundSettings
from accord.store.task import Purpose, Task
from accord.store.task_files import load_schema, presets
from accord.web import lead_ops, lead_view
from accord.web.lead_data import answers, left_out, progress
from accord.web.lead_figures import head_to_head, round_figures
from accord.web.render import changed_html, guideline_html, page, response_html
from accord.web.security import WebSettings
from accord.web.sessions import LEADS, WORKERS, get_settings, get_store, require, require_form

router = APIRouter(prefix="/lead", include_in_schema=False)
READERS = (*LEADS, "adjudicator", "viewer")
"""Who may see figures; raters see their own work alone."""
DECIDERS = (*LEADS, "adjudicator")

Reader = Annotated[Account, Depends(require(*READERS))]
Lead = Annotated[Account, Depends(require(*LEADS))]
LeadForm = Annotated[Account, Depends(require_form(*LEADS))]
DeciderForm = Annotated[Account, Depends(require_form(*DECIDERS))]
Db = Annotated[Store, Depends(get_store)]
Settings = Annotated[WebSettings, Depends(get_settings)]
Text = Annotated[str, Form()]

NOTICES = {
    "opened": "The round is open. Raters see it on their start page.",
    "closed": "The round is closed. What people still hold on their screens may be handed in.",
    "frozen": "The round is frozen. Its labels are below, and will not change.",
    "made": "Made. Import items, then open it.",
    "again": "They may do the training again; it comes with their next task.",
    "erased": "Erased. The judgments stay, under a number that points to nobody.",
    "saved": "Saved.",
}


def see(address: str) -> RedirectResponse:
    """Go to a page after a form: loading it again then repeats nothing."""
    return RedirectResponse(address, 303)


def show(
    request: Request, account: Account, template: str, section: str, /, **context: Any
) -> HTMLResponse:
    """A page of the lead's, with what all of them need."""
    done = request.query_params.get("done", "")
    known: dict[str, Any] = {
        "section": section,
        "notice": NOTICES.get(done, ""),
        "problem": "",
        "may_change": account.role in LEADS,
        "may_judge": account.role in WORKERS,
        "task_text": lead_view.TASK_TEXT,
    }
    return page(request, f"lead/{template}.html", **(known | context))


def counts(store: Store, found: Round) -> dict[str, int]:
    """What waits behind the tabs of a round."""
    unanswered = [q for q in asked.of_round(store, found.id) if not q.answer]
    return {
        "adjudication": len(adjudicate.queue(store, found.id)),
        "questions": len(unanswered),
    }


@router.get("")
def overview(request: Request, account: Reader, store: Db) -> HTMLResponse:
    """Every project with its rounds and how far they are."""
    projects = []
    for project in rounds.list_projects(store):
        rows = []
        for found in rounds.list_rounds(store, project.id):
            with store.read() as conn:
                far = progress(conn, found)
            rows.append(
                {
                    "id": found.id,
                    "name": found.name,
                    "task": found.task,
                    "state": found.state,
                    "progress": far,
                    "time_left": lead_view.time_left(found, far),
                }
            )
        row = {"id": project.id, "name": project.name, "guideline": project.guideline}
        projects.append(row | {"rounds": rows})
    return show(request, account, "overview", "rounds", projects=projects)


@router.post("/projects")
def make_project(account: LeadForm, store: Db, name: Text) -> Response:
    """Start a project."""
    rounds.create_project(store, name.strip(), account.id)
    return see("/lead")


@router.get("/projects/{project_id}/new-round")
def new_round(request: Request, account: Lead, store: Db, project_id: str) -> HTMLResponse:
    """The form of a new round."""
    usual = RoundSettings()
    form = {
        "name": "",
        "task": "compare",
        "questions": "hh",
        "purpose": "train",
        "overlap": usual.overlap,
        "budget": "",
        "calibration": round(100 * usual.calibration_share),
        "gold": round(100 * usual.gold_share),
        "anchor": round(100 * usual.anchor_share),
    }
    project = lead_ops.find_project(store, project_id)
    return show(
        request, account, "new_round", "rounds", project=project, form=form, schemas=presets()
    )


@router.post("/projects/{project_id}/new-round")
def make_round(
    account: LeadForm,
    store: Db,
    project_id: str,
    name: Text,
    task: Annotated[Task, Form()],
    questions: Text,
    purpose: Annotated[Purpose, Form()],
    overlap: Annotated[int, Form(ge=1, le=50)],
    calibration: Annotated[float, Form(ge=0, le=100)],
    gold: Annotated[float, Form(ge=0, le=100)],
    anchor: Annotated[float, Form(ge=0, le=100)],
    budget: Text = "",
) -> Response:
    """Make a round in state draft."""
    if questions not in presets():
        raise DataError(f"choose one of the task schemas {', '.join(presets())}")
    if budget and not budget.isdecimal():
        raise DataError("the number of judgments wanted is a whole number, or empty for no limit")
    found = rounds.create_round(
        store,
        project_id,
        name.strip(),
        task=task,
        actor=account.id,
        purpose=purpose,
        schema=load_schema(questions),
        settings=RoundSettings(
            overlap=overlap,
            calibration_share=calibration / 100,
            gold_share=gold / 100,
            anchor_share=anchor / 100,
        ),
        budget=int(budget) if budget else None,
    )
    return see(f"/lead/rounds/{found.id}?done=made")


@router.get("/rounds/{round_id}")
def round_page(
    request: Request, account: Reader, store: Db, settings: Settings, round_id: str
) -> HTMLResponse:
    """A round: progress, agreement, habits, checks, drift, what was left out, settings."""
    found = rounds.get_round(store, round_id)
    shown, rows = round_figures(store, found)
    with store.read() as conn:
        far = progress(conn, found)
        out = left_out(conn, round_id, rows)
        waiting = answers(conn, found)
    return show(
        request,
        account,
        "round",
        "rounds",
        round=found,
        project=lead_ops.find_project(store, found.project_id),
        counts=counts(store, found),
        progress=far,
        time_left=lead_view.time_left(found, far),
        left_out=out,
        before=lead_ops.before(store, found),
        waits=lead_view.waits(found, waiting),
        settings_text=lead_view.settings_text(found),
        upload_mb=settings.max_upload_bytes >> 20,
        **lead_view.charts(shown, far, lead_ops.names(store, account)),
    )


@router.post("/rounds/{round_id}/open")
def open_round(account: LeadForm, store: Db, round_id: str) -> Response:
    """Give a round's items to raters."""
    rounds.open_round(store, round_id, account.id)
    return see(f"/lead/rounds/{round_id}?done=opened")


@router.post("/rounds/{round_id}/close")
def close_round(account: LeadForm, store: Db, round_id: str) -> Response:
    """Give out no more."""
    rounds.close_round(store, round_id, account.id)
    return see(f"/lead/rounds/{round_id}?done=closed")


@router.post("/rounds/{round_id}/items")
def import_items(
    request: Request,
    account: LeadForm,
    store: Db,
    round_id: str,
    file: UploadFile,
    role: Annotated[ItemRole, Form()] = "normal",
) -> HTMLResponse:
    """Add items from an uploaded file and say how many were new."""
    report = lead_ops.import_items(
        store, round_id, file.filename or "upload", file.file, role, account.id
    )
    text = f"{report.added:,} items were added"
    if report.duplicates:
        text += f"; {report.duplicates:,} were there already"
    return show(
        request, account, "done", "rounds", round=rounds.get_round(store, round_id), text=text
    )


@router.get("/rounds/{round_id}/raters")
def raters_page(request: Request, account: Reader, store: Db, round_id: str) -> HTMLResponse:
    """Each rater's figures with their uncertainty, and the weights that follow."""
    found = rounds.get_round(store, round_id)
    shown, _ = round_figures(store, found)
    known = lead_ops.names(store, account)
    trainees = training.list_trainees(store, round_id)
    return show(
        request,
        account,
        "raters",
        "rounds",
        round=found,
        counts=counts(store, found),
        trainees=[(known.get(row.rater, row.rater), row) for row in trainees],
        **lead_view.raters(shown, known),
    )


@router.post("/rounds/{round_id}/training/{account_id}")
def train_again(account: LeadForm, store: Db, round_id: str, account_id: str) -> Response:
    """Let a rater do the training items afresh."""
    training.train_again(store, round_id, account_id, account.id)
    return see(f"/lead/rounds/{round_id}/raters?done=again")


@router.get("/rounds/{round_id}/adjudication")
def adjudication_page(request: Request, account: Reader, store: Db, round_id: str) -> HTMLResponse:
    """Items on which raters differ, with the answers and the discussion."""
    found = rounds.get_round(store, round_id)
    known = lead_ops.names(store, account)
    cases = []
    for case in adjudicate.queue(store, round_id):
        item = rounds.get_item(store, case.item_id)
        cases.append(
            {
                "id": case.id,
                "reason": case.reason,
                "votes": f"{item.done} judgments",
                "prompt": [
                    {"role": m.role, "html": response_html(m.content)} for m in item.prompt.messages
                ],
                "answers": [response_html(c.text) for c in item.completions],
                "notes": [
                    {"by": known.get(n["by"], n["by"]), "text": n["text"]} for n in case.notes
                ],
                "choices": lead_view.choices(found, len(item.completions)),
            }
        )
    return show(
        request, account, "adjudication", "rounds", round=found, counts=counts(store, found),
        cases=cases, may_decide=account.role in DECIDERS,
    )  # fmt: skip


@router.post("/adjudications/{adjudication_id}")
def decide(
    account: DeciderForm, store: Db, adjudication_id: str, outcome: Text = "", note: Text = ""
) -> Response:
    """Write a decision, or only a note."""
    case = adjudicate.get(store, adjudication_id)
    found = rounds.get_round(store, case.round_id)
    num = len(rounds.get_item(store, case.item_id).completions)
    word = lead_view.read_choice(found, num, outcome)
    lead_ops.decide(store, adjudication_id, word, note, account.id)
    return see(f"/lead/rounds/{found.id}/adjudication?done=saved")


@router.get("/rounds/{round_id}/questions")
def questions_page(request: Request, account: Reader, store: Db, round_id: str) -> HTMLResponse:
    """What raters asked about their tasks."""
    found = rounds.get_round(store, round_id)
    known = lead_ops.names(store, account)
    rows = []
    for question in asked.of_round(store, round_id):
        item = rounds.get_item(store, question.item_id) if question.item_id else None
        rows.append(
            {
                "id": question.id,
                "rater": known.get(question.rater, question.rater),
                "when": lead_view.moment(question.at),
                "text": question.text,
                "answer": question.answer,
                "item_html": response_html(item.prompt.text) if item else "",
            }
        )
    return show(
        request, account, "questions", "rounds", round=found, counts=counts(store, found),
        questions=rows, may_answer=account.role in DECIDERS,
    )  # fmt: skip


@router.post("/questions/{question_id}")
def answer(account: DeciderForm, store: Db, question_id: str, text: Text) -> Response:
    """Answer a question."""
    round_id = asked.answer(store, question_id, text, account.id)
    return see(f"/lead/rounds/{round_id}/questions?done=saved")


@router.get("/rounds/{round_id}/results")
def results_page(request: Request, account: Reader, store: Db, round_id: str) -> HTMLResponse:
    """Policies head to head, beside the reward model's own prediction."""
    found = rounds.get_round(store, round_id)
    _, rows = round_figures(store, found)
    view: dict[str, Any] = {"ratings_svg": "", "missing": "", "notes": [], "ratings": []}
    try:
        view |= lead_view.ratings(head_to_head(rows, found.schema.strength_steps))
    except DataError as error:
        view["missing"] = f"No ratings yet: {error}."
    return show(
        request, account, "results", "rounds", round=found, counts=counts(store, found), **view
    )


@router.get("/projects/{project_id}/guideline")
def guideline_page(
    request: Request, account: Reader, store: Db, project_id: str, version: int | None = None
) -> HTMLResponse:
    """The guideline: editor, a version with what changed, all versions."""
    known = lead_ops.names(store, account)
    versions = lead_ops.guideline_versions(store, project_id)
    by_number = {v.version: v for v in versions}
    shown = by_number.get(version or 0) or (versions[0] if versions else None)
    before = by_number.get(shown.version - 1) if shown else None
    rows = [
        {"version": v.version, "by": known.get(v.by, v.by), "when": lead_view.moment(v.at)}
        for v in versions
    ]
    return show(
        request,
        account,
        "guideline",
        "rounds",
        project=lead_ops.find_project(store, project_id),
        versions=rows,
        text=versions[0].text if versions else "",
        shown=next((r for r in rows if shown and r["version"] == shown.version), None),
        html=guideline_html(shown.text) if shown else "",
        changed_html=changed_html(before.text, shown.text) if shown and before else "",
    )


@router.post("/projects/{project_id}/guideline")
def write_guideline(account: LeadForm, store: Db, project_id: str, text: Text) -> Response:
    """Save a new version; open rounds follow it from now on."""
    lead_ops.write_guideline(store, project_id, text.replace("\r\n", "\n"), account.id)
    return see(f"/lead/projects/{project_id}/guideline?done=saved")
