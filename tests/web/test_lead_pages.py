"""The lead's pages: each opens for those who may see it, forms do what they say, roles hold."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from accord.artifacts import read
from accord.store import accounts, adjudicate, assign, judgments, questions, rounds
from accord.store.columns import new_id
from accord.store.records import Round
from accord.store.settings import RoundSettings
from accord.types import Comparison

SHARED = RoundSettings(
    calibration_share=1, calibration_overlap=2, gold_share=0, attention_share=0, anchor_share=0
)


def judge(studio: Any, found: Round, num: int, role: str = "rater", **body: Any) -> None:
    """Someone gives the same judgment ``num`` times."""
    person = studio.people[role].id
    for _ in range(num):
        task = assign.next_assignment(studio.store, person, found.id)
        assert task is not None
        said = {"outcome": "a", "strength": 2, "active_ms": 4000} | body
        judgments.submit(studio.store, person, task.id, said, new_id())


def form(client: TestClient, address: str, **fields: Any) -> Any:
    """Send a form with the token that its page carries."""
    page = client.get("/lead")
    token = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert token is not None
    return client.post(address, data={"csrf": token[1], **fields})


@pytest.fixture
def busy(studio: Any) -> tuple[Any, Round]:
    """A studio whose round two people have worked in."""
    found = studio.round(settings=SHARED)
    for role in ("rater", "researcher"):
        studio.read(found, role)
        judge(studio, found, 12, role)
    return studio, found


PAGES = ("", "/raters", "/adjudication", "/questions", "/exports", "/results")


@pytest.mark.parametrize("page", PAGES)
def test_every_page_of_a_round_opens_empty_and_busy(
    studio: Any, make_studio: Callable[..., Any], page: str
) -> None:
    client = studio.client("owner")
    for found in (studio.round("Empty", num=3), studio.round("Draft", open=False)):
        answer = client.get(f"/lead/rounds/{found.id}{page}")
        assert answer.status_code == 200
        assert found.name in answer.text


@pytest.mark.parametrize("page", PAGES)
def test_every_page_of_a_busy_round_opens(busy: tuple[Any, Round], page: str) -> None:
    studio, found = busy
    answer = studio.client("viewer").get(f"/lead/rounds/{found.id}{page}")
    assert answer.status_code == 200
    assert "style=" not in answer.text  # the content security policy would refuse it
    assert "<script>" not in answer.text


def test_the_round_page_tells_what_happened(busy: tuple[Any, Round]) -> None:
    studio, found = busy
    text = studio.client("owner").get(f"/lead/rounds/{found.id}").text
    assert "24 of 24" in text
    assert "Raw agreement" in text and "63 %" in text and "77 %" in text
    assert "Fleiss&#39; kappa" in text
    assert "Left answer chosen: 100 %" in text  # everybody always chose the left one
    assert "more often than chance" in text


def test_names_are_for_leads_and_ids_for_others(busy: tuple[Any, Round]) -> None:
    studio, found = busy
    rater = studio.people["rater"]
    for_lead = studio.client("owner").get(f"/lead/rounds/{found.id}/raters").text
    for_viewer = studio.client("viewer").get(f"/lead/rounds/{found.id}/raters").text
    assert rater.name in for_lead
    assert rater.name not in for_viewer
    assert rater.id in for_viewer


@pytest.mark.parametrize(
    ("address", "readers"),
    [
        ("/lead", {"owner", "researcher", "adjudicator", "viewer"}),
        ("/lead/people", {"owner", "researcher"}),
        ("/lead/safety", {"owner", "researcher"}),
        ("/lead/tokens", {"owner", "researcher", "adjudicator", "viewer", "rater"}),
    ],
)
def test_pages_open_to_those_who_may_see_them(studio: Any, address: str, readers: set[str]) -> None:
    for role in studio.people:
        status = studio.client(role).get(address).status_code
        assert status == (200 if role in readers else 403), role
    assert studio.client(None).get(address).status_code == 303  # to the sign-in


def test_who_may_judge_gets_from_the_start_page_to_a_task(studio: Any) -> None:
    found, closed = studio.round("Open"), studio.round("Closed", open=False)
    for role in ("owner", "researcher", "adjudicator", "viewer"):
        client = studio.client(role)
        pages = [client.get(page).text for page in ("/lead", f"/lead/rounds/{found.id}")]
        assert [f'href="/work/{found.id}"' in text for text in pages] == [role != "viewer"] * 2
        assert f'href="/work/{closed.id}"' not in pages[0]
        assert client.get(f"/work/{found.id}").status_code == (403 if role == "viewer" else 200)


CHANGES = [
    ("/lead/projects", {"name": "Next"}),
    ("/lead/rounds/{round}/open", {}),
    ("/lead/rounds/{round}/close", {}),
    ("/lead/rounds/{round}/freeze", {}),
    ("/lead/projects/{project}/guideline", {"text": "New rules"}),
    ("/lead/invitations", {"role": "rater"}),
    ("/lead/accounts/{rater}", {"status": "disabled"}),
    ("/lead/verify", {}),
    ("/lead/backup", {}),
]


@pytest.mark.parametrize(("address", "fields"), CHANGES)
def test_only_leads_change_things_and_only_with_the_token(
    studio: Any, address: str, fields: dict[str, str]
) -> None:
    found = studio.round()
    place = address.format(
        round=found.id, project=found.project_id, rater=studio.people["rater"].id
    )
    for role in ("rater", "viewer", "adjudicator"):
        assert studio.client(role).post(place, data=fields).status_code == 403
    owner = studio.client("owner", headers=False)
    assert owner.post(place, data=fields).status_code == 403  # no token
    assert owner.post(place, data={"csrf": "guessed", **fields}).status_code == 403


def test_a_round_from_nothing_to_labels(studio: Any, tmp_path: Path) -> None:
    client = studio.client("researcher")
    assert form(client, "/lead/projects", name="Kindness").status_code == 303
    project = next(p for p in rounds.list_projects(studio.store) if p.name == "Kindness")
    form(client, f"/lead/projects/{project.id}/guideline", text="Be kind.\r\n\r\nBe true.")
    made = form(
        client,
        f"/lead/projects/{project.id}/new-round",
        name="First",
        task="compare",
        questions="hh",
        purpose="train",
        overlap="1",
        budget="",
        calibration="0",
        gold="0",
        anchor="0",
    )
    place = made.headers["location"].partition("?")[0]
    found = rounds.list_rounds(studio.store, project.id)[0]
    assert place == f"/lead/rounds/{found.id}"
    token = re.search(r'name="csrf" value="([^"]+)"', client.get(place).text)
    assert token is not None
    rows = b'{"prompt": "Why?", "chosen": "Because.", "rejected": "No."}\n'
    imported = client.post(
        f"{place}/items",
        data={"csrf": token[1], "role": "normal"},
        files={"file": ("pairs.jsonl", rows * 2)},
    )
    assert "1 items were added; 1 were there already" in imported.text
    assert form(client, f"{place}/open").status_code == 303
    studio.read(rounds.get_round(studio.store, found.id))
    judge(studio, found, 1)
    assert form(client, f"{place}/freeze", weights="none", aggregate="none").status_code == 303
    page = client.get(f"{place}/exports").text
    folder = re.search(r"<code>(/[^<]+)</code>", page)
    assert folder is not None
    (label,) = read(folder[1]).records()
    assert isinstance(label, Comparison)
    assert label.guideline == "v1"
    rows = client.get(f"{place}/export?shape=trl-preference&file=csv")
    assert rows.status_code == 200
    assert "Because." in rows.text
    assert client.get(f"{place}/export?shape=messages&file=csv").status_code == 400


def test_what_cannot_be_read_is_refused_in_words(studio: Any) -> None:
    found, client = studio.round(), studio.client("owner")
    token = re.search(r'name="csrf" value="([^"]+)"', client.get("/lead").text)
    assert token is not None

    def upload(name: str, content: bytes) -> Any:
        return client.post(
            f"/lead/rounds/{found.id}/items",
            data={"csrf": token[1]},
            files={"file": (name, content)},
        )

    bad = upload("evil.pkl", b"\x80\x04")
    assert bad.status_code == 400
    assert "files of items end in" in bad.text
    torn = upload("../../torn.jsonl", b'{"prompt": \n')
    assert torn.status_code == 400
    assert "torn.jsonl:1" in torn.text
    assert "/tmp/" not in torn.text


@pytest.mark.parametrize(
    ("role", "status"), [(None, 413), ("rater", 413), ("viewer", 413), ("owner", 400)]
)
def test_a_large_file_is_read_only_from_those_who_may_send_one(
    studio: Any, role: str | None, status: int
) -> None:
    """A form is parsed before the route asks who sent it: 400 says that the file was looked at."""
    found, client = studio.round(), studio.client(role) if role else TestClient(studio.app)
    large = {"file": ("rows.jsonl", b"no rows\n" * (1 << 18))}
    token = re.search(r'name="csrf" value="([^"]+)"', client.get("/lead").text)
    csrf = token[1] if token else ""
    for place in (f"/lead/rounds/{found.id}/items", f"/api/v1/lead/rounds/{found.id}/items"):
        headers = {"x-csrf-token": csrf}
        answer = client.post(place, data={"csrf": csrf}, files=large, headers=headers)
        assert answer.status_code == status


def test_a_guideline_shows_what_changed_and_open_rounds_follow_it(studio: Any) -> None:
    found, client = studio.round(), studio.client("owner")
    place = f"/lead/projects/{found.project_id}/guideline"
    form(client, place, text="# What is better\n\nPrefer what **helps** most.")
    assert rounds.get_round(studio.store, found.id).guideline == 2
    page = client.get(place).text
    assert "<del>" in page and "<ins>" in page
    assert "Version 1" in client.get(f"{place}?version=1").text


def test_an_invitation_is_shown_once_and_lets_one_in(studio: Any) -> None:
    client = studio.client("owner")
    page = form(client, "/lead/invitations", role="rater", name="Grace").text
    link = re.search(r'value="(http://testserver/invite/[^"]+)"', page)
    assert link is not None
    assert link[1] not in client.get("/lead/people").text
    invite = accounts.read_invite(studio.store, link[1].rpartition("/")[2])
    assert (invite.role, invite.name) == ("rater", "Grace")


def test_nobody_lifts_themselves_or_others_above_themselves(studio: Any) -> None:
    client = studio.client("researcher")
    owner, rater = studio.people["owner"], studio.people["rater"]
    assert form(client, "/lead/invitations", role="owner").status_code == 400
    assert form(client, f"/lead/accounts/{rater.id}", role="owner").status_code == 400
    assert form(client, f"/lead/accounts/{owner.id}", status="disabled").status_code == 400
    assert accounts.get_account(studio.store, owner.id).active  # type: ignore[union-attr]
    assert form(client, f"/lead/accounts/{rater.id}", status="disabled").status_code == 303
    assert not accounts.get_account(studio.store, rater.id).active  # type: ignore[union-attr]


def test_disagreements_are_decided_with_a_note(studio: Any) -> None:
    found = studio.round(settings=SHARED)
    item = rounds.list_items(studio.store, found.id)[0]
    case = adjudicate.flag(studio.store, item.id, "raters are 6 steps apart", "system")
    client = studio.client("adjudicator")
    page = client.get(f"/lead/rounds/{found.id}/adjudication").text
    assert "raters are 6 steps apart" in page and "Answer" in page
    place = f"/lead/adjudications/{case.id}"
    assert form(client, place, outcome="", note="").status_code == 400
    assert form(client, place, outcome="best-7").status_code == 400
    assert form(client, place, outcome="", note="Let us talk.").status_code == 303
    assert "Let us talk." in client.get(f"/lead/rounds/{found.id}/adjudication").text
    form(client, place, outcome="best-1", note="The second answers the question.")
    settled = adjudicate.get(studio.store, case.id)
    assert settled.state == "resolved"
    assert settled.outcome == {"outcome": "best", "best": 1, "strength": None}


def test_questions_are_answered(studio: Any) -> None:
    found = studio.round()
    studio.read(found)
    rater = studio.people["rater"].id
    task = assign.next_assignment(studio.store, rater, found.id)
    assert task is not None
    asked = questions.ask(studio.store, rater, task.id, "<b>What</b> counts?", new_id())
    client = studio.client("owner")
    page = client.get(f"/lead/rounds/{found.id}/questions").text
    assert "&lt;b&gt;What&lt;/b&gt; counts?" in page
    form(client, f"/lead/questions/{asked}", text="Kindness does.")
    assert "Kindness does." in client.get(f"/lead/rounds/{found.id}/questions").text


def test_tokens_are_shown_once_and_revoked(studio: Any) -> None:
    client = studio.client("viewer")
    page = form(client, "/lead/tokens", name="script", role="viewer").text
    secret = re.search(r'value="([^"]+)" aria-label="The new token"', page)
    assert secret is not None
    assert accounts.find_token(studio.store, secret[1]) is not None
    (token,) = accounts.list_tokens(studio.store, studio.people["viewer"].id)
    other = studio.client("rater")
    assert other.post(f"/lead/tokens/{token.id}/revoke").status_code in (403, 404)
    form(client, f"/lead/tokens/{token.id}/revoke")
    assert accounts.find_token(studio.store, secret[1]) is None


def test_safety_checks_and_backs_up(studio: Any, tmp_path: Path) -> None:
    client = studio.client("owner")
    assert "Sound" in form(client, "/lead/verify").text
    page = form(client, "/lead/backup").text
    assert list((tmp_path / "backups").glob("*.db"))
    assert "backups/studio-" in page
