"""Webhooks: signed as the standard says, sent once and in order, tried again, over restarts."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from fastapi.testclient import TestClient

from accord.config.webhooks import WebhookConfig
from accord.errors import ConfigError
from accord.store import adjudicate, assign, events, judgments, questions, rounds
from accord.store.freeze import freeze_round
from accord.store.items import add_items
from accord.web import webhooks
from accord.web.app import create_app
from accord.web.security import WebSettings
from accord.web.webhooks import Webhook, read_secret, sign

SECRET = bytes(range(32))
ANY = {"outcome": "a", "strength": 1}


@dataclass
class Receiver:
    """What came in; ``answers`` are the next statuses, then 204 for good."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    def types(self) -> list[str]:
        return [json.loads(body)["type"] for _, body in self.requests]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    held = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            held.requests.append(({k.lower(): v for k, v in self.headers.items()}, body))
            status = held.answers.pop(0) if held.answers else 204
            self.send_response(status)
            if status == 302:
                self.send_header("Location", f"{held.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        held.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield held
        server.shutdown()
        thread.join()


def webhook(studio: Any, url: str, **more: Any) -> Webhook:
    """A webhook that has begun: what happens from now on is told."""
    made = Webhook(studio.store, WebhookConfig(url=url, **more), SECRET)
    made.look()
    return made


def judge(studio: Any, found: Any, num: int) -> None:
    rater = studio.people["rater"].id
    for number in range(num):
        task = assign.next_assignment(studio.store, rater, found.id)
        judgments.submit(studio.store, rater, task.id, ANY, f"{task.id}-{number}")


def at_once(monkeypatch: pytest.MonkeyPatch, tries: int = 3) -> None:
    monkeypatch.setattr(webhooks, "WAITS_SECONDS", (0.0,) * (tries - 1))


def test_the_signature_is_the_one_of_standard_webhooks() -> None:
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")  # its published example
    found = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_round_is_told_from_its_opening_to_its_labels(
    studio: Any, receiver: Receiver, tmp_path: Any
) -> None:
    studio.round("Before", num=1)  # what was before is not told
    hook = webhook(studio, receiver.url)
    found = studio.round(num=2)
    judge(studio, found, 1)
    rater = studio.people["rater"].id
    task = assign.next_assignment(studio.store, rater, found.id)
    question = questions.ask(studio.store, rater, task.id, "A secret question?", "q")
    judge(studio, found, 1)
    item = rounds.list_items(studio.store, found.id)[0].id
    adjudicate.flag(studio.store, item, "a secret reason", "system")
    rounds.close_round(studio.store, found.id, "system")
    made = freeze_round(studio.store, found.id, tmp_path / "labels")
    hook.look()
    hook.look()
    assert receiver.types() == [
        *("round.opened", "question.asked", "round.complete", "adjudication.opened"),
        *("round.closed", "round.frozen"),
    ]
    data = [json.loads(body)["data"] for _, body in receiver.requests]
    assert all(row["project"] == found.project_id and row["round"] == found.id for row in data)
    assert data[1]["question"] == question
    assert data[2]["num_judgments"] == 2
    assert data[3]["item"] == item
    assert data[5]["hash"] == made.hash
    told = b"".join(body for _, body in receiver.requests)
    assert b"secret" not in told and rater.encode() not in told and b"Ada" not in told
    for headers, body in receiver.requests:
        text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        known = base64.b64encode(hmac.new(SECRET, text, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{known}"
    assert len({headers["webhook-id"] for headers, _ in receiver.requests}) == 6
    assert events.verify(studio.store) == []


def test_a_round_is_complete_once_for_each_number_it_wanted(
    studio: Any, receiver: Receiver
) -> None:
    hook = webhook(studio, receiver.url, events=("round.complete",))
    found = studio.round(num=2)
    rater = studio.people["rater"].id
    judge(studio, found, 2)
    taken = judgments.undo(studio.store, rater, "undo")
    judgments.submit(studio.store, rater, taken.id, ANY, "again")
    judgments.submit(studio.store, rater, taken.id, {**ANY, "strength": 3}, "revised")
    hook.look()
    assert receiver.types() == ["round.complete"]
    add_items(studio.store, found.id, [studio.item(99)], "system")
    judge(studio, found, 1)
    hook.look()
    assert [json.loads(body)["data"]["num_judgments"] for _, body in receiver.requests] == [2, 3]


def test_an_escalated_item_leaves_its_round_incomplete(studio: Any, receiver: Receiver) -> None:
    hook = webhook(studio, receiver.url, events=("round.complete",))
    rules = {"overlap": 2, "escalate_spread": 2, "escalate_raters": 1, "calibration_share": 0}
    checks = {"gold_share": 0, "attention_share": 0, "anchor_share": 0}
    found = studio.round(num=1, settings=rounds.RoundSettings(**rules, **checks))
    for role, best in (("rater", 0), ("adjudicator", 1), ("researcher", 0)):
        hook.look()
        assert receiver.types() == []
        who = studio.people[role].id
        task = assign.next_assignment(studio.store, who, found.id)
        body = {"outcome": "ab"[task.permutation.index(best)], "strength": 4}
        judgments.submit(studio.store, who, task.id, body, "k")
    hook.look()
    assert receiver.types() == ["round.complete"]


def test_what_is_not_taken_is_tried_again_and_holds_up_what_comes_after(
    studio: Any, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = webhook(studio, receiver.url)
    found = studio.round(num=1)
    judge(studio, found, 1)
    receiver.answers = [500]
    hook.look()
    assert receiver.types() == ["round.opened"]
    standing = hook.standing()
    assert (standing.num_waiting, standing.sent_at) == (2, None)
    assert (standing.host, standing.problem) == ("127.0.0.1", "the answer was 500")
    hook.look()  # too early
    assert len(receiver.requests) == 1
    monkeypatch.setattr(webhooks.time, "monotonic", lambda: 10.0**9)
    hook.look()
    assert receiver.types() == ["round.opened", "round.opened", "round.complete"]
    first, again = receiver.requests[0], receiver.requests[1]
    assert first[0]["webhook-id"] == again[0]["webhook-id"] and first[1] == again[1]
    standing = hook.standing()
    assert standing.num_waiting == 0 and standing.sent_at and not standing.problem


def test_a_redirect_is_not_followed(studio: Any, receiver: Receiver) -> None:
    hook = webhook(studio, receiver.url)
    studio.round(num=1)
    receiver.answers = [302]
    hook.look()
    assert len(receiver.requests) == 1
    assert hook.standing().problem == "the answer was 302"


def test_a_message_that_nobody_takes_is_given_up_and_noted(
    studio: Any, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once(monkeypatch, tries=3)
    hook = webhook(studio, receiver.url)
    found = studio.round(num=1)
    receiver.answers = [500, 503, 410]
    hook.look()
    rounds.close_round(studio.store, found.id, "system")
    hook.look()
    assert receiver.types() == ["round.opened"] * 3 + ["round.closed"]
    with studio.store.read() as conn:
        query = webhooks.sa.select(webhooks.schema.events.c.kind, webhooks.schema.events.c.body)
        notes = [row for row in conn.execute(query) if row.kind in webhooks.NOTES]
    assert [row.kind for row in notes] == ["webhook_started", "webhook_given_up", "webhook_sent"]
    given_up = json.loads(notes[1].body)
    assert (given_up["tries"], given_up["problem"]) == (3, "the answer was 410")


def test_nobody_listens_is_a_problem_in_words(
    studio: Any, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = webhook(studio, "http://127.0.0.1:9")  # the discard port: nothing is there
    studio.round(num=1)
    hook.look()
    assert "refused" in hook.standing().problem


def test_after_a_restart_nothing_is_lost_and_nothing_told_twice(
    studio: Any, receiver: Receiver
) -> None:
    first = webhook(studio, receiver.url)
    found = studio.round(num=1)
    first.look()
    first.stop()
    rounds.close_round(studio.store, found.id, "system")  # while nobody looks
    second = webhook(studio, receiver.url)
    second.look()
    assert receiver.types() == ["round.opened", "round.closed"]


def test_the_server_runs_it_and_its_page_says_how_it_does(
    studio: Any, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "LOOK_SECONDS", 0.01)
    hook = Webhook(studio.store, WebhookConfig(url=receiver.url), SECRET)
    studio.app = create_app(studio.store, WebSettings(base_url="http://testserver"), None, hook)
    came = threading.Event()
    look = hook.look

    def looked() -> None:
        look()
        if receiver.requests:
            came.set()

    monkeypatch.setattr(hook, "look", looked)
    hook.look()
    with TestClient(studio.app):
        studio.round(num=1)
        assert came.wait(20)
        page = studio.client("owner").get("/lead/safety").text
    assert "<code>127.0.0.1</code>" in page and "Last taken" in page
    assert not hook._thread.is_alive()
    assert receiver.types() == ["round.opened"]


def test_without_a_webhook_the_page_says_nothing_of_it(studio: Any) -> None:
    assert "Webhook" not in studio.client("owner").get("/lead/safety").text


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "is not: set HOOK"),
        ("", "is not: set HOOK"),
        ("whsec_no base64!", "not base64"),
        ("whsec_" + base64.b64encode(bytes(23)).decode(), "23 bytes, and needs 24 to 64"),
        ("whsec_" + base64.b64encode(bytes(65)).decode(), "65 bytes"),
    ],
)
def test_a_secret_that_protects_nothing_is_refused(
    text: str | None, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOOK", raising=False)
    if text is not None:
        monkeypatch.setenv("HOOK", text)
    with pytest.raises(ConfigError, match=complaint) as caught:
        read_secret(WebhookConfig(url="http://a.example", secret_env="HOOK"))
    assert not text or text not in str(caught.value)


def test_a_good_secret_is_read_with_and_without_its_prefix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = WebhookConfig(url="https://a.example/hook", secret_env="HOOK")
    for prefix in ("whsec_", ""):
        monkeypatch.setenv("HOOK", prefix + base64.b64encode(SECRET).decode())
        assert read_secret(config) == SECRET


@pytest.mark.parametrize("url", ["ftp://a.example", "file:///etc/passwd", "a.example", "http://"])
def test_an_address_that_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="url must start with http"):
        WebhookConfig(url=url)
