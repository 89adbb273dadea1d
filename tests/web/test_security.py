"""Headers, origins, body sizes and rates, on an app of three routes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from accord.web import errors
from accord.web.security import (
    CSP,
    HEADERS,
    BodyLimit,
    RateLimit,
    SameOrigin,
    SecurityHeaders,
    WebSettings,
)

LIMIT, UPLOAD = 2048, 8192


def small_app(settings: WebSettings) -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.state.settings = settings
    errors.install(app, HEADERS)
    app.add_middleware(
        BodyLimit, settings=settings, may_upload=lambda request: "x-lead" in request.headers
    )
    app.add_middleware(SameOrigin)
    app.add_middleware(SecurityHeaders, secure=settings.secure)

    @app.get("/api/boom")
    def boom() -> None:
        raise ZeroDivisionError("a secret detail")

    @app.post("/api/echo")
    @app.post("/api/v1/lead/upload")
    @app.post("/form")
    async def echo(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    @app.post("/api/json")
    def take(body: dict[str, str]) -> dict[str, str]:
        return body

    return app


@pytest.fixture()
def client() -> Iterator[TestClient]:
    settings = WebSettings(max_body_bytes=LIMIT, max_upload_bytes=UPLOAD)
    with TestClient(small_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize("path", ["/nothing", "/api/nothing", "/api/boom", "/api/echo"])
def test_every_answer_carries_the_headers(client: TestClient, path: str) -> None:
    answer = client.get(path)
    for name, value in HEADERS.items():
        assert answer.headers[name] == value
    assert "strict-transport-security" not in answer.headers


def test_the_policy_lets_nothing_inline_or_foreign_in() -> None:
    rules = dict(rule.split(" ", 1) for rule in CSP.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert rules["frame-ancestors"] == rules["base-uri"] == "'none'"
    assert "unsafe" not in CSP
    assert "http" not in CSP
    assert "*" not in CSP


def test_https_is_remembered_where_it_is_used() -> None:
    app = small_app(WebSettings(base_url="https://studio.example"))
    with TestClient(app) as client:
        assert "max-age" in client.get("/x").headers["strict-transport-security"]


def test_answers_are_not_kept(client: TestClient) -> None:
    assert client.get("/api/nothing").headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://testserver"}, 200),
        ({"origin": "http://testserver", "sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://testserver.evil.example"}, 403),
        ({"origin": "http://testserver:8080"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ],
)
def test_only_our_own_pages_may_change_anything(
    client: TestClient, headers: dict[str, str], status: int
) -> None:
    assert client.post("/api/echo", headers=headers).status_code == status
    assert client.get("/api/nothing", headers=headers).status_code == 404


@pytest.mark.parametrize(
    ("path", "size", "status"),
    [
        ("/api/echo", LIMIT, 200),
        ("/api/echo", LIMIT + 1, 413),
        ("/form", LIMIT + 1, 413),
        ("/api/v1/lead/upload", UPLOAD, 200),
        ("/api/v1/lead/upload", UPLOAD + 1, 413),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_are_limited_as_announced_and_as_they_arrive(
    client: TestClient, path: str, size: int, status: int, chunked: bool
) -> None:
    def pieces() -> Iterator[bytes]:
        for start in range(0, size, 500):
            yield b"x" * min(500, size - start)

    body = pieces() if chunked else b"x" * size
    answer = client.post(path, content=body, headers={"x-lead": "yes"})
    assert answer.status_code == status
    if status == 413 and path.startswith("/api/"):
        assert answer.json()["error"]["what"] == "This is too large."


@pytest.mark.parametrize("chunked", [False, True])
def test_only_those_who_may_upload_have_the_wider_limit(client: TestClient, chunked: bool) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(UPLOAD // 512):
            yield b"x" * 512

    body = pieces() if chunked else b"x" * UPLOAD
    assert client.post("/api/v1/lead/upload", content=body).status_code == 413
    small = client.post("/api/v1/lead/upload", content=b"x" * LIMIT)
    assert small.json() == {"bytes": LIMIT}


def test_a_json_body_that_is_too_large_is_no_parsing_error(client: TestClient) -> None:
    assert client.post("/api/json", json={"a": "x" * LIMIT}).status_code == 413


@pytest.mark.parametrize("length", ["-1", "x", "9" * 30, "1e3", "\u0661"])
def test_a_length_that_lies_is_refused(client: TestClient, length: str) -> None:
    headers = {"content-length": length.encode("utf-8")}
    assert client.post("/api/echo", content=b"abc", headers=headers).status_code == 413


class TestRateLimit:
    """A bucket of three that gains two a second."""

    def test_a_burst_then_a_wait_then_more(self) -> None:
        now = [0.0]
        limit = RateLimit(2, 3, clock=lambda: now[0])
        assert [limit.wait("a") for _ in range(4)] == [0, 0, 0, pytest.approx(0.5)]
        assert limit.wait("b") == 0
        now[0] = 0.5
        assert [limit.wait("a") for _ in range(2)] == [0, pytest.approx(0.5)]
        now[0] = 1000.0
        assert [limit.wait("a") for _ in range(4)] == [0, 0, 0, pytest.approx(0.5)]

    def test_it_says_how_long_to_wait(self) -> None:
        limit = RateLimit(0.1, 1, clock=lambda: 0.0)
        limit.take("a")
        with pytest.raises(errors.WebError, match="Wait 10 s") as error:
            limit.take("a")
        assert error.value.status == 429
        assert error.value.headers == {"Retry-After": "10"}

    def test_a_flood_of_keys_is_forgotten(self) -> None:
        limit = RateLimit(1, 1)
        for number in range(3 * limit.MAX_KEYS):
            limit.wait(str(number))
        assert len(limit._buckets) == limit.MAX_KEYS
