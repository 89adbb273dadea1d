"""Cookies, tokens and roles: what lets someone in, and what never does."""

from __future__ import annotations

from typing import Any

import pytest

from accord.store import accounts
from accord.web.security import RateLimit

ME = "/api/v1/me"
PASSWORD = "four plain quiet words"


def named(studio: Any, name: str = "Eve", role: str = "rater") -> Any:
    return accounts.create_account(studio.store, name, role, password=PASSWORD)


def log_in(client: Any, name: str = "Eve", password: str = PASSWORD, **more: Any) -> Any:
    return client.post("/login", data={"name": name, "password": password, **more})


def test_a_stranger_is_nobody(studio: Any) -> None:
    client = studio.client(None)
    assert client.get(ME).status_code == 401
    assert client.get(ME).json()["error"]["what"] == "You are not signed in."
    client.cookies.set("accord", "x" * 43)
    assert client.get(ME).status_code == 401
    client.cookies.set("accord", "x" * 4000)
    assert client.get(ME).status_code == 401


def test_login_gives_a_cookie_that_scripts_and_other_sites_do_not_get(studio: Any) -> None:
    named(studio)
    client = studio.client(None)
    answer = log_in(client)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("accord=")
    assert {"HttpOnly", "Path=/", "SameSite=lax"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert client.get(ME).json()["name"] == "Eve"


def test_over_https_the_cookie_stays_on_https_and_on_this_host(make_studio: Any) -> None:
    studio = make_studio(base_url="https://testserver")
    named(studio)
    client = studio.client(None)
    client.base_url = "https://testserver"
    cookie = log_in(client).headers["set-cookie"]
    assert cookie.startswith("__Host-accord=")
    assert "Secure" in cookie.split("; ")
    assert client.get(ME).status_code == 200


def test_a_planted_session_is_worth_nothing_after_login(studio: Any) -> None:
    """Session fixation: the cookie that was there before is another, and is dead."""
    named(studio)
    attacker = studio.client("viewer")
    planted = attacker.cookies["accord"]
    victim = studio.client(None)
    victim.cookies.set("accord", planted)
    log_in(victim)
    values = {cookie.value for cookie in victim.cookies.jar if cookie.value}
    fresh = values - {planted}
    assert len(fresh) == 1
    assert attacker.get(ME).status_code == 401


def test_each_login_is_a_session_of_its_own(studio: Any) -> None:
    named(studio)
    one, two = studio.client(None), studio.client(None)
    log_in(one)
    log_in(two)
    assert one.cookies["accord"] != two.cookies["accord"]
    token = two.get(ME).json()["csrf"]
    assert one.get(ME).json()["csrf"] != token
    assert two.post("/logout", data={"csrf": token}).status_code == 303
    assert two.get(ME).status_code == 401
    assert one.get(ME).status_code == 200


def test_logout_kills_the_session_not_only_the_cookie(studio: Any) -> None:
    client = studio.client("rater")
    kept = client.cookies["accord"]
    answer = client.post("/logout", data={"csrf": client.headers["x-csrf-token"]})
    assert answer.headers["location"] == "/login"
    assert 'accord=""' in answer.headers["set-cookie"]
    client.cookies.set("accord", kept)
    assert client.get(ME).status_code == 401


@pytest.mark.parametrize("token", [None, "", "x", "\xe4"])
def test_a_change_needs_the_sessions_token(studio: Any, token: str | None) -> None:
    client = studio.client("rater", headers=False)
    headers = {} if token is None else {"x-csrf-token": token.encode("utf-8")}
    answer = client.put("/api/v1/me/settings", json={"settings": {}}, headers=headers)
    assert answer.status_code == 403
    assert client.post("/logout", data={"csrf": token or ""}).status_code == 403
    assert client.get(ME).status_code == 200


def test_anothers_token_does_not_do(studio: Any) -> None:
    client, other = studio.client("rater"), studio.client("viewer")
    client.headers["x-csrf-token"] = other.headers["x-csrf-token"]
    assert client.put("/api/v1/me/settings", json={"settings": {}}).status_code == 403


class TestPrograms:
    """Bearer tokens."""

    def bearer(self, studio: Any, role: str = "rater", scope: str = "rater") -> tuple[Any, str]:
        person = studio.people[role].id
        secret = accounts.create_token(studio.store, person, "script", scope, actor=person)
        client = studio.client(None)
        client.headers["authorization"] = f"Bearer {secret}"
        return client, person

    def test_a_token_needs_no_cookie_and_no_csrf_token(self, studio: Any) -> None:
        client, _ = self.bearer(studio)
        assert client.put("/api/v1/me/settings", json={"settings": {}}).status_code == 200
        assert client.get(ME).json()["csrf"] == ""

    def test_a_token_does_only_what_it_is_for(self, studio: Any) -> None:
        client, _ = self.bearer(studio, role="owner", scope="viewer")
        assert client.get(ME).json()["role"] == "viewer"
        assert client.post("/api/v1/undo", json={"key": "k"}).status_code == 403

    def test_a_revoked_token_is_worth_nothing(self, studio: Any) -> None:
        client, person = self.bearer(studio)
        token = accounts.list_tokens(studio.store, person)[0]
        accounts.revoke_token(studio.store, token.id, actor=person)
        assert client.get(ME).status_code == 401

    def test_a_wrong_token_does_not_fall_back_on_the_cookie(self, studio: Any) -> None:
        client = studio.client("rater")
        for value in ("Bearer wrong", "Bearer", "Basic cmF0ZXI6cGFzcw==", "wrong"):
            assert client.get(ME, headers={"authorization": value}).status_code == 401


def test_who_is_shut_out_is_out_at_once(studio: Any) -> None:
    client = studio.client("rater")
    person = studio.people["rater"].id
    owner = studio.people["owner"].id
    accounts.set_status(studio.store, person, "disabled", actor=owner)
    assert client.get(ME).status_code == 401


class TestLogin:
    """The door."""

    def test_wrong_names_and_wrong_passwords_look_the_same(self, studio: Any) -> None:
        named(studio)
        client = studio.client(None)
        answers = [log_in(client, "Eve", "wrong"), log_in(client, "Nobody", "wrong")]
        assert [answer.status_code for answer in answers] == [401, 401]
        texts = [answer.text.replace("Eve", "").replace("Nobody", "") for answer in answers]
        assert texts[0] == texts[1]
        assert "do not belong together" in texts[0]

    def test_guessing_is_slowed_down_by_name(self, studio: Any) -> None:
        named(studio)
        client = studio.client(None)
        codes = [log_in(client, password=f"wrong {n}").status_code for n in range(7)]
        assert codes[0] == 401
        assert codes[-1] == 429
        refused = log_in(client)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) > 0
        assert "Too many attempts" in refused.text

    def test_guessing_is_slowed_down_by_address(self, studio: Any) -> None:
        studio.app.state.logins = RateLimit(0.05, 3, clock=lambda: 0.0)
        client = studio.client(None)
        codes = [log_in(client, f"name {n}", "wrong").status_code for n in range(5)]
        assert codes == [401, 401, 401, 429, 429]

    @pytest.mark.parametrize(
        "where",
        [
            "https://evil.example/",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "javascript:alert(1)",
            "/x\r\nset-cookie: a=b",
            "http:evil",
            "evil",
            "",
            "/\t/evil.example",
        ],
    )
    def test_it_leads_nowhere_else(self, studio: Any, where: str) -> None:
        named(studio)
        client = studio.client(None)
        assert log_in(client, next=where).headers["location"] == "/"
        assert client.get("/login", params={"next": where}).headers["location"] == "/"

    def test_it_leads_back_to_where_one_was(self, studio: Any) -> None:
        named(studio)
        client = studio.client(None)
        answer = client.get("/home?x=1")
        assert answer.headers["location"] == "/login?next=/home"
        assert 'value="/home"' in client.get(answer.headers["location"]).text
        assert log_in(client, next="/home").headers["location"] == "/home"


def test_one_account_cannot_flood_the_others_out(studio: Any) -> None:
    studio.app.state.requests = RateLimit(0.5, 2, clock=lambda: 0.0)
    client, other = studio.client("rater"), studio.client("viewer")
    answers = [client.get(ME) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert other.get(ME).status_code == 200
