"""Every route against every role, static files, and what the app does when the disk does not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.routing import iter_route_contexts

from accord.store import accounts
from accord.store.database import StoreError
from accord.web.render import static_version

ALL = {"owner", "researcher", "adjudicator", "rater", "viewer"}
NOBODY_NEEDED = ALL | {"stranger"}
WORK = ALL - {"viewer"}
LEAD = {"owner", "researcher"}
DECIDE = LEAD | {"adjudicator"}
LOOK = LEAD | {"adjudicator", "viewer"}

TABLE: dict[str, set[str]] = {
    "GET /health": NOBODY_NEEDED,
    "GET /login": NOBODY_NEEDED,
    "POST /login": NOBODY_NEEDED,
    "GET /setup/{token}": NOBODY_NEEDED,
    "POST /setup/{token}": NOBODY_NEEDED,
    "GET /invite/{token}": NOBODY_NEEDED,
    "POST /invite/{token}": NOBODY_NEEDED,
    "GET /": ALL,
    "POST /logout": ALL,
    "GET /home": WORK,
    "GET /guideline/{round_id}": WORK,
    "POST /guideline/{round_id}": WORK,
    "GET /work/{round_id}": WORK,
    "GET /api/v1/openapi.json": ALL,
    "GET /api/v1/me": ALL,
    "PUT /api/v1/me/settings": ALL,
    "GET /api/v1/rounds/{round_id}/guideline": WORK,
    "POST /api/v1/rounds/{round_id}/guideline/acknowledge": WORK,
    "POST /api/v1/rounds/{round_id}/next": WORK,
    "POST /api/v1/assignments/{assignment_id}/judgment": WORK,
    "POST /api/v1/assignments/{assignment_id}/skip": WORK,
    "PUT /api/v1/assignments/{assignment_id}/draft": WORK,
    "POST /api/v1/assignments/{assignment_id}/question": WORK,
    "GET /api/v1/rounds/{round_id}/questions": WORK,
    "POST /api/v1/undo": WORK,
    "POST /api/v1/rounds/{round_id}/conversations": WORK,
    "GET /api/v1/rounds/{round_id}/conversation": WORK,
    "GET /api/v1/conversations/{conversation_id}": WORK,
    "POST /api/v1/conversations/{conversation_id}/messages": WORK,
    "POST /api/v1/conversations/{conversation_id}/end": WORK,
    "POST /api/v1/turns/{turn_id}/choice": WORK,
    "POST /api/v1/turns/{turn_id}/undo": WORK,
    "GET /api/v1/turns/{turn_id}/stream": WORK,
    "GET /api/v1/lead/projects": LOOK,
    "POST /api/v1/lead/projects": LEAD,
    "GET /api/v1/lead/projects/{project_id}/guidelines": LOOK,
    "POST /api/v1/lead/projects/{project_id}/guideline": LEAD,
    "POST /api/v1/lead/projects/{project_id}/rounds": LEAD,
    "GET /api/v1/lead/rounds/{round_id}": LOOK,
    "POST /api/v1/lead/rounds/{round_id}/open": LEAD,
    "POST /api/v1/lead/rounds/{round_id}/close": LEAD,
    "POST /api/v1/lead/rounds/{round_id}/next": LEAD,
    "POST /api/v1/lead/rounds/{round_id}/freeze": LEAD,
    "POST /api/v1/lead/rounds/{round_id}/items": LEAD,
    "POST /api/v1/lead/rounds/{round_id}/prompts": LEAD,
    "GET /api/v1/lead/rounds/{round_id}/dashboard": LOOK,
    "GET /api/v1/lead/rounds/{round_id}/ratings": LOOK,
    "GET /api/v1/lead/rounds/{round_id}/adjudications": LOOK,
    "POST /api/v1/lead/adjudications/{adjudication_id}": DECIDE,
    "GET /api/v1/lead/rounds/{round_id}/questions": LOOK,
    "POST /api/v1/lead/questions/{question_id}": DECIDE,
    "GET /api/v1/lead/rounds/{round_id}/training": LOOK,
    "POST /api/v1/lead/rounds/{round_id}/training/{account_id}": LEAD,
    "GET /api/v1/lead/rounds/{round_id}/export": LEAD,
    "GET /api/v1/lead/accounts": LEAD,
    "POST /api/v1/lead/invitations": LEAD,
    "POST /api/v1/lead/accounts/{account_id}": LEAD,
    "POST /api/v1/lead/accounts/{account_id}/erase": {"owner"},
    "GET /api/v1/lead/tokens": ALL,
    "POST /api/v1/lead/tokens": ALL,
    "POST /api/v1/lead/tokens/{token_id}/revoke": ALL,
    "POST /api/v1/lead/verify": LEAD,
    "POST /api/v1/lead/backup": LEAD,
    "GET /lead": LOOK,
    "POST /lead/projects": LEAD,
    "GET /lead/projects/{project_id}/new-round": LEAD,
    "POST /lead/projects/{project_id}/new-round": LEAD,
    "GET /lead/rounds/{round_id}": LOOK,
    "POST /lead/rounds/{round_id}/open": LEAD,
    "POST /lead/rounds/{round_id}/close": LEAD,
    "POST /lead/rounds/{round_id}/items": LEAD,
    "GET /lead/rounds/{round_id}/raters": LOOK,
    "POST /lead/rounds/{round_id}/training/{account_id}": LEAD,
    "GET /lead/rounds/{round_id}/adjudication": LOOK,
    "POST /lead/adjudications/{adjudication_id}": DECIDE,
    "GET /lead/rounds/{round_id}/questions": LOOK,
    "POST /lead/questions/{question_id}": DECIDE,
    "GET /lead/rounds/{round_id}/results": LOOK,
    "GET /lead/projects/{project_id}/guideline": LOOK,
    "POST /lead/projects/{project_id}/guideline": LEAD,
    "GET /lead/people": LEAD,
    "POST /lead/invitations": LEAD,
    "POST /lead/invitations/{invite_id}/revoke": LEAD,
    "POST /lead/accounts/{account_id}": LEAD,
    "POST /lead/accounts/{account_id}/erase": {"owner"},
    "GET /lead/tokens": ALL,
    "POST /lead/tokens": ALL,
    "POST /lead/tokens/{token_id}/revoke": ALL,
    "GET /lead/rounds/{round_id}/exports": LOOK,
    "POST /lead/rounds/{round_id}/freeze": LEAD,
    "GET /lead/rounds/{round_id}/export": LEAD,
    "GET /lead/safety": LEAD,
    "POST /lead/verify": LEAD,
    "POST /lead/backup": LEAD,
}
"""Who gets in where. Whoever is not named is refused: 401 or the sign-in page, or 403."""


def routes(app: Any) -> Iterator[str]:
    """Every method and path that the app answers, without the static files."""
    for route in iter_route_contexts(app.routes):
        if route.path == "/static":
            continue
        for method in sorted(set(route.methods) - {"HEAD", "OPTIONS"}):
            yield f"{method} {route.path}"


def refused(answer: Any) -> bool:
    """Whether an answer turns the asker away."""
    to_login = answer.status_code == 303 and answer.headers["location"].startswith("/login")
    return answer.status_code in (401, 403) or to_login


def test_every_route_is_in_the_table_once(studio: Any) -> None:
    there = list(routes(studio.app))
    assert len(there) == len(set(there))
    assert set(there) == set(TABLE)


@pytest.mark.parametrize("role", ["stranger", *sorted(ALL)])
def test_every_route_lets_in_whom_the_table_names(studio: Any, role: str) -> None:
    """With nothing useful to say: who is let in gets some other answer, and never a 5xx."""
    wrong = []
    client = studio.client(None if role == "stranger" else role)
    token = client.headers.get("x-csrf-token", "")
    for route, roles in TABLE.items():
        if route == "POST /logout" and role != "stranger":
            continue  # last, below: it ends the session
        method, path = route.split(" ")
        path = re.sub(r"\{\w+\}", "0" * 16, path)
        if path.startswith("/api/"):
            answer = client.request(method, path, json={} if method != "GET" else None)
        else:
            answer = client.request(method, path, data={"csrf": token} if method != "GET" else None)
        login = route == "POST /login" and answer.status_code == 401  # a wrong password, as said
        if (refused(answer) and not login) != (role not in roles) or answer.status_code >= 500:
            wrong.append((route, answer.status_code))
    assert wrong == [], wrong
    if role != "stranger":
        assert client.post("/logout", data={"csrf": token}).status_code == 303
        assert client.get("/api/v1/me").status_code == 401


def test_a_researcher_cannot_rise_nor_push_an_owner_out(studio: Any) -> None:
    client = studio.client("researcher")
    mine, owner = studio.people["researcher"].id, studio.people["owner"].id
    token = client.headers["x-csrf-token"]
    for person, change in (
        (mine, {"role": "owner"}),
        (owner, {"status": "disabled"}),
        (owner, {"role": "viewer"}),
        (studio.people["rater"].id, {"role": "owner"}),
    ):
        assert client.post(f"/api/v1/lead/accounts/{person}", json=change).status_code in (400, 403)
        form = {"csrf": token, **change}
        assert client.post(f"/lead/accounts/{person}", data=form).status_code in (400, 403)
    wish = {"role": "owner"}
    assert client.post("/api/v1/lead/invitations", json=wish).status_code in (400, 403)
    assert client.post("/lead/invitations", data={"csrf": token, **wish}).status_code in (400, 403)
    wish = {"name": "x", "role": "owner"}
    assert client.post("/api/v1/lead/tokens", json=wish).status_code in (400, 403)
    assert client.post("/lead/tokens", data={"csrf": token, **wish}).status_code in (400, 403)
    now = {p.id: (p.role, p.status) for p in accounts.list_accounts(studio.store)}
    assert now == {p.id: (p.role, "active") for p in studio.people.values()}


def test_every_change_with_a_cookie_needs_the_token(studio: Any) -> None:
    client = studio.client("owner", headers=False)
    open_doors = {"/login", "/setup/{token}", "/invite/{token}"}
    for route in TABLE:
        method, path = route.split(" ")
        if method == "GET" or path in open_doors:
            continue
        path = re.sub(r"\{\w+\}", "0" * 16, path)
        body: dict[str, Any] = {"json": {}} if path.startswith("/api/") else {"data": {}}
        assert client.request(method, path, **body).status_code == 403, route


def test_errors_are_json_for_programs_and_pages_for_people(studio: Any) -> None:
    client = studio.client("rater")
    api = client.get("/api/v1/nothing")
    assert api.status_code == 404
    assert set(api.json()["error"]) == {"what", "how"}
    page = client.get("/nothing")
    assert page.status_code == 404
    assert "There is nothing at this address." in page.text
    assert client.delete("/api/v1/me").json()["error"]["what"]
    assert client.post("/api/v1/undo", content=b"{", headers={"content-type": "application/json"})
    broken = client.post("/api/v1/undo", content=b"{")
    assert broken.status_code == 422
    assert broken.json()["error"]["what"].startswith("This request cannot be read")


def test_a_failing_database_is_told_in_words_and_not_by_its_path(
    studio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fn: Any) -> None:
        cause = sa.exc.OperationalError("INSERT", {}, Exception("disk full"))
        raise StoreError("Nothing was saved in sqlite:////var/studio.db: full.") from cause

    client = studio.client("rater")
    monkeypatch.setattr(studio.store, "write", full)
    answer = client.put("/api/v1/me/settings", json={"settings": {}})
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert "nothing was saved" in answer.json()["error"]["what"]
    assert "studio.db" not in answer.text


def test_an_unforeseen_error_shows_nothing_of_itself(
    studio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("a secret detail")

    client = studio.client("rater")
    monkeypatch.setattr(studio.store, "write", broken)
    answer = client.put("/api/v1/me/settings", json={"settings": {}})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.json()["error"]["what"] == "Something went wrong here, not with you."
    assert "content-security-policy" in answer.headers


class TestStatic:
    """Files that browsers may keep."""

    def test_the_versioned_address_is_kept_for_good(self, studio: Any) -> None:
        client = studio.client(None)
        answer = client.get(f"/static/v-{static_version()}/theme.js")
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["content-type"].startswith("text/javascript")
        assert answer.headers["x-content-type-options"] == "nosniff"

    @pytest.mark.parametrize("path", ["theme.js", "v-000000000000/theme.js"])
    def test_other_addresses_are_asked_about_each_time(self, studio: Any, path: str) -> None:
        client = studio.client(None)
        answer = client.get(f"/static/{path}")
        assert answer.headers["cache-control"] == "no-cache"
        again = client.get(f"/static/{path}", headers={"if-none-match": answer.headers["etag"]})
        assert again.status_code == 304

    @pytest.mark.parametrize(
        "path",
        [
            *(
                "nothing.js",
                "v-x",
                "v-x/",
                "",
                "%2e%2e/app.py",
                "..%2fapp.py",
                "v-x/..%2f..%2fapp.py",
            ),
            *("%00", "v-x/%00", "/etc/passwd", "v-x//etc/passwd", "....//app.py", "x" * 300),
        ],
    )
    def test_nothing_else_is_served(self, studio: Any, path: str) -> None:
        answer = studio.client(None).get(f"/static/{path}")
        assert answer.status_code == 404
        assert "create_app" not in answer.text


def test_the_api_describes_itself_to_members(studio: Any) -> None:
    described = studio.client("rater").get("/api/v1/openapi.json").json()
    assert "/api/v1/rounds/{round_id}/next" in described["paths"]
    assert "/login" not in described["paths"]
