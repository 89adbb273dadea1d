"""The lead's API through the typed client: both sides fit, and a token does only what it may."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from accord.artifacts import read
from accord.client import ClientError, LeadStudio, Studio
from accord.store import accounts, adjudicate, rounds, schema
from accord.types import Comparison


def over(studio: Any) -> httpx.MockTransport:
    """A way from the client into the app, without a network."""
    browser = studio.client(None)

    def forward(request: httpx.Request) -> httpx.Response:
        kept = ("authorization", "content-type")
        answer = browser.request(
            request.method,
            request.url.raw_path.decode(),
            content=request.read(),
            headers={k: v for k, v in request.headers.items() if k in kept},
        )
        return httpx.Response(answer.status_code, content=answer.content, request=request)

    return httpx.MockTransport(forward)


@pytest.fixture
def lead(studio: Any) -> Callable[[str], LeadStudio]:
    """A client of the person with a role, through a token of that role."""

    def connect(role: str = "owner") -> LeadStudio:
        person = studio.people[role].id
        token = accounts.create_token(studio.store, person, "test", role, actor=person)
        return LeadStudio("http://testserver", token, transport=over(studio))

    return connect


def test_a_round_from_nothing_to_labels(
    studio: Any, lead: Callable[[str], LeadStudio], tmp_path: Path
) -> None:
    owner, rater = lead("owner"), lead("rater")
    project = owner.create_project("Kindness")
    assert owner.set_guideline(project, "Be kind.") == 1
    made = owner.create_round(
        project, "First", "compare", schema="hh", settings={"calibration_share": 0}, budget=3
    )
    items = tmp_path / "items.jsonl"
    rows = [{"prompt": f"Why {n}?", "chosen": "Because.", "rejected": "No."} for n in range(4)]
    items.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert owner.add_items(made, items) == {"added": 4, "duplicates": 0}
    gold = tmp_path / "gold.jsonl"
    gold.write_text(json.dumps({"prompt": "2+2?", "chosen": "4", "rejected": "5"}) + "\n")
    assert owner.add_items(made, gold, "gold")["added"] == 1
    owner.open_round(made)

    (mine,) = [r for r in rater.me().rounds if r.id == made]
    assert mine.task == "compare"
    rater.acknowledge(made, rater.guideline(made)["version"])
    for number in range(4):
        tasks = rater.next_tasks(made)
        if not tasks:
            break
        assert rater.judge(tasks[0].assignment, {"outcome": "a", "strength": 2}).saved, number
    shown = owner.round(made)
    assert shown["progress"]["done"] == 3
    assert shown["settings"]["calibration_share"] == 0

    figures = owner.dashboard(made)["figures"]
    assert figures["num_judgments"] >= 3
    frozen = owner.freeze_round(made)
    labels = list(read(frozen["path"]).records())
    assert len(labels) == 3 and all(isinstance(label, Comparison) for label in labels)
    dest = owner.export(made, tmp_path / "labels.jsonl", "trl-preference")
    assert len(dest.read_text().splitlines()) == 3
    assert owner.verify() == []
    assert Path(owner.backup()).is_file()
    (listed,) = [p for p in owner.projects() if p["name"] == "Kindness"]
    assert [r["state"] for r in listed["rounds"]] == ["frozen"]


def test_people_are_invited_changed_and_kept_out(
    studio: Any, lead: Callable[[str], LeadStudio]
) -> None:
    owner = lead("owner")
    link = owner.invite("viewer", "Ada")
    assert accounts.read_invite(studio.store, link.rpartition("/")[2]).role == "viewer"
    rater = studio.people["rater"].id
    owner.set_account(rater, role="adjudicator")
    owner.set_account(rater, status="disabled")
    (row,) = [a for a in owner.accounts() if a["id"] == rater]
    assert (row["role"], row["status"]) == ("adjudicator", "disabled")
    assert "settings" not in row and "contact" not in row
    with pytest.raises(ClientError, match="cannot change") as caught:
        lead("researcher").set_account(studio.people["owner"].id, status="disabled")
    assert caught.value.status == 400
    with pytest.raises(ClientError, match="no account"):
        owner.set_account("rater-00000000", status="disabled")


def test_a_person_is_erased_and_their_judgments_stay(
    studio: Any, lead: Callable[[str], LeadStudio]
) -> None:
    found = studio.round(guideline="")
    rater, owner = lead("rater"), lead("owner")
    (task,) = rater.next_tasks(found.id)
    rater.judge(task.assignment, {"outcome": "a", "strength": 1})
    person = studio.people["rater"]
    with pytest.raises(ClientError) as caught:
        lead("researcher").erase_account(person.id)
    assert caught.value.status == 403
    owner.erase_account(person.id)
    with pytest.raises(ClientError) as caught:
        rater.me()
    assert caught.value.status == 401
    gone = accounts.get_account(studio.store, person.id)
    assert gone is not None and person.name not in str(gone)
    assert owner.round(found.id)["num_judgments"] == 1
    assert owner.verify() == []
    with pytest.raises(ClientError, match="own account"):
        owner.erase_account(studio.people["owner"].id)
    with pytest.raises(ClientError) as caught:
        owner.erase_account("rater-00000000")
    assert caught.value.status == 400


def test_the_page_erases_only_with_its_box_ticked(studio: Any) -> None:
    browser, person = studio.client("owner"), studio.people["rater"]
    page = browser.get("/lead/people").text
    assert page.count(">Erase<") == 4  # everyone but the owner who looks
    assert ">Erase<" not in studio.client("researcher").get("/lead/people").text
    form = {"csrf": browser.headers["x-csrf-token"]}
    url = f"/lead/accounts/{person.id}/erase"
    assert browser.post(url, data=form).status_code == 400
    assert person.name in browser.get("/lead/people").text
    done = browser.post(url, data=form | {"sure": "yes"})
    assert done.status_code == 303
    page = browser.get(done.headers["location"]).text
    assert "Erased." in page and person.name not in page


def test_disagreements_and_questions(studio: Any, lead: Callable[[str], LeadStudio]) -> None:
    found = studio.round()
    item = rounds.list_items(studio.store, found.id)[0]
    adjudicate.flag(studio.store, item.id, "far apart", "system")
    judge = lead("adjudicator")
    (case,) = judge.adjudications(found.id)
    for wrong in ({"outcome": "best", "best": 2}, {"outcome": "maybe"}, {"ranks": [0, 1]}, {}):
        with pytest.raises(ClientError, match="An outcome here is") as caught:
            judge.adjudicate(case["id"], wrong)
        assert caught.value.status == 400
    judge.adjudicate(case["id"], {"outcome": "tie"}, note="Both answer it.")
    assert judge.adjudications(found.id) == []
    assert adjudicate.get(studio.store, case["id"]).outcome == {"outcome": "tie"}

    studio.read(found)
    rater = lead("rater")
    (task,) = rater.next_tasks(found.id)
    rater.ask(task.assignment, "Is a joke an answer?")
    (asked,) = judge.questions(found.id)
    judge.answer(asked["id"], "If it helps.")
    (asked,) = judge.questions(found.id)
    assert asked["answer"] == "If it helps."
    (mine,) = rater.my_questions(found.id)
    assert (mine["assignment"], mine["text"]) == (task.assignment, "Is a joke an answer?")
    assert mine["answer"] == "If it helps." and mine["about"] == task.prompt[-1].text
    assert not any(person.id in str(mine) for person in studio.people.values())
    assert lead("researcher").my_questions(found.id) == []  # each sees their own


def test_prompts_are_queued_for_the_rounds_policies(
    studio: Any, lead: Callable[[str], LeadStudio], tmp_path: Path
) -> None:
    settings = rounds.RoundSettings(policies=("policy",), calibration_share=0)
    found = studio.round(num=1, settings=settings)
    source = tmp_path / "prompts.jsonl"
    source.write_text("".join(json.dumps({"prompt": f"Why {n}?"}) + "\n" for n in range(3)))
    owner = lead("owner")
    assert owner.add_prompts(found.id, source, candidates=3, ahead=5) == 3
    assert owner.add_prompts(found.id, source) == 0
    with studio.store.read() as conn:
        (first, *_) = conn.execute(schema.generations.select()).all()
    assert first.policies == ["policy"] * 3 and first.params["extra"]["ahead"] == 5
    with pytest.raises(ClientError) as caught:
        owner.add_prompts(found.id, source, candidates=99)
    assert caught.value.status == 422
    bad = tmp_path / "prompts.txt"
    bad.write_text("Why?")
    with pytest.raises(ClientError, match="end in"):
        owner.add_prompts(found.id, bad)
    with pytest.raises(ClientError, match="No policy to answer"):
        owner.add_prompts(studio.round("Other").id, source)


def test_training_is_watched_and_done_again(studio: Any, lead: Callable[[str], LeadStudio]) -> None:
    lesson = studio.item(100, role="training", answer={"best": 0})
    settings = rounds.RoundSettings(training_items=1, calibration_share=0)
    found = studio.round(guideline="", items=(lesson,), settings=settings)
    rater, owner = lead("rater"), lead("owner")
    (task,) = rater.next_tasks(found.id)
    worse = next(r.slot for r in task.responses if r.text.endswith("number 1."))
    rater.judge(task.assignment, {"outcome": worse, "strength": 1})
    assert rater.next_tasks(found.id) == []
    (row,) = owner.trainees(found.id)
    assert row["rater"] == studio.people["rater"].id and row["over"]
    owner.train_again(found.id, row["rater"])
    assert len(rater.next_tasks(found.id)) == 1
    (row,) = owner.trainees(found.id)
    assert (row["over"], row["attempt"]) == (False, 2)
    with pytest.raises(ClientError, match="no account"):
        owner.train_again(found.id, "rater-00000000")


def test_rankings_are_decided_by_ranks(studio: Any, lead: Callable[[str], LeadStudio]) -> None:
    found = studio.round(task="rank", schema="instructgpt", count=3)
    item = rounds.list_items(studio.store, found.id)[0]
    case = adjudicate.flag(studio.store, item.id, "far apart", "system")
    judge = lead("adjudicator")
    with pytest.raises(ClientError, match="3 places"):
        judge.adjudicate(case.id, {"ranks": [0, True, 1]})
    judge.adjudicate(case.id, {"ranks": [2, 0, 2]})
    assert adjudicate.get(studio.store, case.id).outcome == {"ranks": [1, 0, 1]}


def test_tokens_are_ones_own(studio: Any, lead: Callable[[str], LeadStudio]) -> None:
    rater = lead("rater")
    secret = rater.create_token("script")
    other = Studio("http://testserver", secret, transport=over(studio))
    assert other.me().role == "rater"
    with pytest.raises(ClientError, match="at most rater"):
        rater.create_token("more", "owner")
    (token,) = [t for t in rater.tokens() if t["name"] == "script"]
    assert "token_hash" not in token
    with pytest.raises(ClientError) as caught:
        lead("owner").revoke_token(token["id"])
    assert caught.value.status == 404
    rater.revoke_token(token["id"])
    with pytest.raises(ClientError) as caught:
        other.me()
    assert caught.value.status == 401


@pytest.mark.parametrize("role", ["rater", "viewer", "adjudicator"])
def test_only_leads_lead(studio: Any, lead: Callable[[str], LeadStudio], role: str) -> None:
    found, client = studio.round(), lead(role)
    calls: list[Callable[[], object]] = [
        lambda: client.create_project("x"),
        lambda: client.set_guideline(found.project_id, "x"),
        lambda: client.close_round(found.id),
        lambda: client.freeze_round(found.id),
        lambda: client.accounts(),
        lambda: client.invite(),
        lambda: client.verify(),
        lambda: client.backup(),
        lambda: client.send("GET", f"/lead/rounds/{found.id}/export"),
    ]
    for call in calls:
        with pytest.raises(ClientError) as caught:
            call()
        assert caught.value.status == 403
    assert rounds.get_round(studio.store, found.id).state == "open"


def test_a_schema_by_name_is_a_preset_and_never_a_file(
    lead: Callable[[str], LeadStudio], tmp_path: Path
) -> None:
    owner = lead("owner")
    project = owner.create_project("Files")
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\n")
    for name in (str(file), "/etc/passwd", "../hh"):
        with pytest.raises(ClientError, match="no task schema"):
            owner.create_round(project, "x", "compare", schema=name)
    own = {"name": "mine", "question": "Kinder?", "strength_steps": 2}
    made = owner.create_round(project, "x", "compare", schema=own)
    assert owner.round(made)["schema"]["question"] == "Kinder?"
    with pytest.raises(ClientError) as caught:
        owner.create_round(project, "y", "compare", schema={"strength_stepz": 2})
    assert caught.value.status == 422


@pytest.mark.parametrize(
    "more",
    [
        {"schema": {"max_turns": 2**70}},
        {"settings": {"seed": -(2**70)}},
        {"settings": {"speech": {"seed": 2**63}}},
    ],
)
def test_a_number_that_no_database_keeps_is_refused(studio: Studio, more: dict[str, Any]) -> None:
    project = rounds.create_project(studio.store, "numbers", studio.people["owner"].id).id
    body = {"name": "big", "task": "compare", **more}
    answer = studio.client("owner").post(f"/api/v1/lead/projects/{project}/rounds", json=body)
    assert answer.status_code == 422, answer.text
