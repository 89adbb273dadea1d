"""The pages that need no JavaScript, as a person walks through them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from accord.store import accounts, rounds
from accord.web.app import owner_link
from accord.web.security import WebSettings

PASSWORD = "four plain quiet words"


def token_of(html: str) -> str:
    """The CSRF token of the page's first form."""
    match = re.search(r'name="csrf" value="([^"]+)"', html)
    assert match, html
    return match[1]


def test_the_first_owner_comes_in_by_a_link_that_works_once(make_studio: Any) -> None:
    studio = make_studio(people=False)
    settings = WebSettings(base_url="http://testserver/")
    old, link = owner_link(studio.store, settings), owner_link(studio.store, settings)
    assert link is not None
    assert link.startswith("http://testserver/setup/")
    path = link.removeprefix("http://testserver")
    client = studio.client(None)
    assert client.get(str(old).removeprefix("http://testserver")).status_code == 404  # replaced
    for _ in range(2):  # looking does not use it up
        page = client.get(path)
        assert page.status_code == 200
        assert "you will be its" in page.text
    short = client.post(path, data={"name": "Ada", "password": "short"})
    assert short.status_code == 400
    assert "at least 10 characters" in short.text
    assert 'value="Ada"' in short.text
    done = client.post(path, data={"name": "Ada", "password": PASSWORD})
    assert done.headers["location"] == "/"
    assert client.get("/").headers["location"] == "/lead"
    assert client.get("/api/v1/me").json()["role"] == "owner"
    again = studio.client(None).post(path, data={"name": "Bob", "password": PASSWORD})
    assert again.status_code == 404
    assert "used already" in again.text
    assert owner_link(studio.store, settings) is None


@pytest.mark.parametrize("role", ["rater", "adjudicator", "researcher", "viewer"])
def test_an_invitation_makes_an_account_of_its_role(studio: Any, role: str) -> None:
    owner = studio.people["owner"].id
    token = accounts.invite(studio.store, role, name="Grace", actor=owner)
    client = studio.client(None)
    page = client.get(f"/invite/{token}")
    assert 'value="Grace"' in page.text
    taken = client.post(f"/invite/{token}", data={"name": "OWNER ada", "password": PASSWORD})
    assert taken.status_code == 400
    assert "is taken" in taken.text
    assert client.post(f"/invite/{token}", data={"name": "Grace", "password": PASSWORD}).is_redirect
    assert client.get("/api/v1/me").json()["role"] == role


@pytest.mark.parametrize("token", ["x", "x" * 43, "x" * 101, "%00", "..%2f..", "a b"])
def test_an_unknown_invitation_says_so(studio: Any, token: str) -> None:
    answer = studio.client(None).get(f"/invite/{token}")
    assert answer.status_code in (404, 422)
    assert "text/html" in answer.headers["content-type"]


def test_there_is_no_way_to_sign_up(studio: Any) -> None:
    client = studio.client(None)
    for path in ("/signup", "/register", "/user/signup/", "/accounts", "/setup", "/invite"):
        assert client.get(path).status_code == 404
        assert client.post(path, data={"name": "x", "password": PASSWORD}).status_code == 404


@pytest.mark.parametrize(
    ("role", "where"),
    [("owner", "/lead"), ("researcher", "/lead"), ("viewer", "/lead"), ("rater", None)],
)
def test_everyone_starts_where_their_work_is(studio: Any, role: str, where: str | None) -> None:
    answer = studio.client(role).get("/")
    assert answer.headers.get("location") == where
    assert answer.status_code == (303 if where else 200)


def test_the_start_page_says_what_there_is_to_do(studio: Any) -> None:
    client = studio.client("rater")
    assert "Nothing to do right now" in client.get("/").text
    found = studio.round("Kitchen <questions>")
    page = client.get("/").text
    assert "Kitchen &lt;questions&gt;" in page
    assert f'href="/guideline/{found.id}"' in page
    assert "Read the guideline and start" in page
    studio.read(found)
    page = client.get("/").text
    assert f'href="/work/{found.id}"' in page
    assert "0 done, 12 to go" in page
    task = client.post(f"/api/v1/rounds/{found.id}/next", json={}).json()["tasks"][0]
    url = f"/api/v1/assignments/{task['assignment']}/judgment"
    client.post(url, json={"key": "k", "body": {"outcome": "tie"}})
    page = client.get("/").text
    assert "1 done, 11 to go" in page
    assert "You have given 1 judgment, 1 of them in the last 24 hours." in page
    assert "Go on" in page


def test_the_guideline_is_agreed_to_without_javascript(studio: Any) -> None:
    found = studio.round()
    client = studio.client("rater", headers=False)
    page = client.get(f"/guideline/{found.id}")
    assert "<strong>helps</strong>" in page.text
    form = {"csrf": token_of(page.text), "version": 1}
    assert client.post(f"/guideline/{found.id}", data={"version": 1}).status_code == 403
    answer = client.post(f"/guideline/{found.id}", data=form)
    assert answer.headers["location"] == f"/work/{found.id}"
    assert "Go to work" in client.get(f"/guideline/{found.id}").text
    owner = studio.people["owner"].id
    version = rounds.set_guideline(studio.store, found.project_id, "New rules.", owner)
    rounds.use_guideline(studio.store, found.id, version, owner)
    stale = client.post(f"/guideline/{found.id}", data=form)
    assert stale.headers["location"] == f"/guideline/{found.id}"
    page = client.get(f"/guideline/{found.id}").text
    assert "This changed since you last agreed" in page
    assert "<ins><p>New rules.</p>" in page


def test_the_workspace_is_mounted_and_nothing_is_inline(studio: Any) -> None:
    found = studio.round()
    page = studio.client("rater").get(f"/work/{found.id}").text
    assert f'<accord-workspace round="{found.id}">' in page
    assert re.search(r'<script type="module" src="/static/v-[0-9a-f]{12}/workspace.js">', page)


def test_a_closed_round_says_so(studio: Any) -> None:
    found = studio.round()
    rounds.close_round(studio.store, found.id, studio.people["owner"].id)
    answer = studio.client("rater").get(f"/work/{found.id}")
    assert answer.status_code == 409
    assert "This round is closed." in answer.text


def test_no_page_has_inline_script_style_or_foreign_address(studio: Any) -> None:
    found = studio.round()
    token = accounts.invite(studio.store, "rater", actor=studio.people["owner"].id)
    rater, stranger = studio.client("rater"), studio.client(None)
    pages = [
        rater.get("/"),
        rater.get(f"/guideline/{found.id}"),
        rater.get(f"/work/{found.id}"),
        rater.get("/nothing"),
        stranger.get("/login"),
        stranger.get(f"/invite/{token}"),
    ]
    for page in pages:
        assert page.text.startswith("<!doctype html>")
        assert not re.search(r"<script(?![^>]*\bsrc=)", page.text)
        assert not re.search(r"\s(on\w+|style)=", page.text)
        assert not re.search(r'(src|href|action)="(https?:)?//', page.text)
        assert page.text.count("<h1") == 1
        assert re.search(r"<title>[^<]+ · accord studio</title>", page.text)


def test_names_of_people_and_rounds_are_only_text(studio: Any) -> None:
    nasty = '"><img src=x onerror=alert(1)>'
    studio.people["nasty"] = accounts.create_account(studio.store, f"{nasty} Eve", "rater")
    found = studio.round(nasty)
    client = studio.client("nasty")
    for path in ("/", f"/guideline/{found.id}", f"/work/{found.id}"):
        assert "<img" not in client.get(path).text
