"""The client against a server written down by hand: what is sent, sent again, and refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from accord import client_http
from accord.client import ClientError, LeadStudio, Studio, Task

TASK = {
    "assignment": "a1",
    "task": "compare",
    "question": "Which is better?",
    "prompt": [{"role": "user", "text": "Hi", "html": "<p>Hi</p>"}],
    "responses": [{"slot": "a", "text": "Hello"}, {"slot": "b", "text": "Go away"}],
    "schema": {"strength_steps": 4},
    "guideline": 1,
    "left": 3,
}

Answer = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_http, "FIRST_WAIT_SECONDS", 0.0)


def studio(answer: Answer, seen: list[httpx.Request] | None = None) -> LeadStudio:
    """A client of a server that is one function; ``seen`` collects what it was asked."""

    def handle(request: httpx.Request) -> httpx.Response:
        if seen is not None:
            seen.append(request)
        return answer(request)

    return LeadStudio("http://studio", "secret", transport=httpx.MockTransport(handle))


def says(body: Any, status: int = 200) -> Answer:
    return lambda request: httpx.Response(status, json=body)


def body(request: httpx.Request) -> Any:
    return json.loads(request.content)


def test_tasks_arrive_typed_and_the_token_is_shown() -> None:
    seen: list[httpx.Request] = []
    with studio(says({"tasks": [TASK]}), seen) as client:
        (task,) = client.next_tasks("r1", n=2, have=["a0"])
    assert isinstance(task, Task)
    assert [r.slot for r in task.responses] == ["a", "b"]
    assert task.left == 3
    assert str(seen[0].url) == "http://studio/api/v1/rounds/r1/next"
    assert body(seen[0]) == {"n": 2, "have": ["a0"]}
    assert seen[0].headers["authorization"] == "Bearer secret"


def test_a_judgment_that_met_a_broken_line_is_sent_again_with_its_key() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if len(seen) < 3:
            raise httpx.ConnectError("broken")
        return httpx.Response(200, json={"saved": True, "undo_left": 1, "feedback": None})

    saved = studio(answer, seen).judge("a1", {"outcome": "a", "strength": 2})
    assert saved.saved
    assert saved.undo_left == 1
    keys = {body(request)["key"] for request in seen}
    assert len(seen) == 3
    assert len(keys) == 1 and keys != {""}


def test_two_judgments_have_two_keys_unless_told() -> None:
    seen: list[httpx.Request] = []
    client = studio(says({"saved": True}), seen)
    client.judge("a1", {"outcome": "a"})
    client.judge("a1", {"outcome": "a"})
    client.judge("a1", {"outcome": "a"}, key="mine")
    assert len({body(request)["key"] for request in seen}) == 3
    assert body(seen[2])["key"] == "mine"


def test_a_busy_server_is_asked_again_and_a_refusal_is_not() -> None:
    seen: list[httpx.Request] = []
    with pytest.raises(ClientError, match="busy") as caught:
        studio(says({"error": {"what": "busy", "how": "wait"}}, 503), seen).me()
    assert caught.value.status == 503
    assert len(seen) == client_http.TRIES
    seen.clear()
    with pytest.raises(ClientError, match="not this rater's; take your own") as caught:
        error = {"what": "not this rater's", "how": "take your own"}
        studio(says({"error": error}, 404), seen).skip("a1", "hard")
    assert caught.value.status == 404
    assert len(seen) == 1


def test_nobody_there_says_where_it_looked() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(ClientError, match=r"http://studio.*is the studio running") as caught:
        studio(answer).me()
    assert caught.value.status == 0


def test_an_answer_that_is_no_error_object_is_still_told() -> None:
    with pytest.raises(ClientError, match=r"GET /api/v1/me: gateway broke \(status 502\)"):
        studio(lambda request: httpx.Response(502, text="gateway broke")).me()


def test_what_a_newer_studio_adds_is_passed_over() -> None:
    me = {"name": "Ada", "role": "rater", "rounds": [], "new_thing": 1}
    assert studio(says(me)).me().name == "Ada"


def test_answers_are_heard_event_by_event() -> None:
    stream = (
        ": heartbeat\n\nid: 1\nevent: reveal\ndata: {}\n\n"
        'id: 2\nevent: delta\ndata: {"slot": "a", "text": "Hel"}\n\n'
        'id: 3\nevent: done\ndata: {"slot": "a",\ndata: "html": "<p>Hello</p>"}\n\n'
    )
    seen: list[httpx.Request] = []
    client = studio(lambda request: httpx.Response(200, text=stream), seen)
    heard = list(client.listen("t1", after="1"))
    assert [event.name for event in heard] == ["reveal", "delta", "done"]
    assert heard[1].data == {"slot": "a", "text": "Hel"}
    assert heard[2].data == {"slot": "a", "html": "<p>Hello</p>"}
    assert seen[0].headers["last-event-id"] == "1"


def test_a_stream_that_is_refused_raises() -> None:
    with pytest.raises(ClientError, match="no such turn"):
        list(studio(says({"error": {"what": "no such turn", "how": ""}}, 404)).listen("t1"))


@pytest.mark.parametrize(
    ("call", "method", "path", "sent"),
    [
        (lambda s: s.acknowledge("r", 2), "POST", "/rounds/r/guideline/acknowledge", ["version"]),
        (lambda s: s.save_draft("a", {"x": 1}), "PUT", "/assignments/a/draft", ["body"]),
        (lambda s: s.ask("a", "why?"), "POST", "/assignments/a/question", ["key", "text"]),
        (lambda s: s.choose("t", {"outcome": "a"}), "POST", "/turns/t/choice", ["body", "key"]),
        (lambda s: s.open_round("r"), "POST", "/lead/rounds/r/open", []),
        (lambda s: s.set_account("a", status="disabled"), "POST", "/lead/accounts/a", ["status"]),
        (
            lambda s: s.adjudicate("d", {"outcome": "tie"}),
            "POST",
            "/lead/adjudications/d",
            ["note", "outcome"],
        ),
        (lambda s: s.answer("q", "so"), "POST", "/lead/questions/q", ["text"]),
        (lambda s: s.revoke_token("t"), "POST", "/lead/tokens/t/revoke", []),
    ],
)
def test_each_call_goes_where_the_api_is(
    call: Callable[[LeadStudio], object], method: str, path: str, sent: list[str]
) -> None:
    seen: list[httpx.Request] = []
    call(studio(says({}), seen))
    assert (seen[0].method, seen[0].url.path) == (method, f"/api/v1{path}")
    assert sorted(body(seen[0])) == sent


def test_files_go_up_and_come_down(tmp_path: Path) -> None:
    seen: list[httpx.Request] = []
    items = tmp_path / "items.jsonl"
    items.write_text('{"prompt": "Hi"}\n')
    report = studio(says({"added": 1, "duplicates": 0}), seen).add_items("r", items)
    assert report == {"added": 1, "duplicates": 0}
    assert b'filename="items.jsonl"' in seen[0].content
    client = studio(lambda request: httpx.Response(200, content=b"rows\n"), seen)
    written = client.export("r", tmp_path / "labels.jsonl", "trl-preference")
    assert written.read_bytes() == b"rows\n"
    assert dict(seen[1].url.params) == {"shape": "trl-preference", "file": "jsonl"}


def test_a_rater_has_no_lead_calls() -> None:
    assert not hasattr(Studio, "freeze_round")
