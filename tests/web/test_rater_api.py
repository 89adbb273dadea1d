"""A rater's day over HTTP, and everything that they must not see or do."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa

from accord.store import rounds
from accord.store.events import history, verify
from accord.store.schema import assignments
from accord.store.schema import events as event_rows
from accord.store.task import RoundSettings


def judgment(key: str, outcome: str = "a", **more: Any) -> dict[str, Any]:
    strength = {"strength": 3} if outcome in "ab" else {}
    shown = {"shown_at": 1.25, "both_complete_at": 1.25, "first_key_at": 2.5, "device": "tablet"}
    body = {"outcome": outcome, "active_ms": 1200, **strength, **more}
    return {"key": key, "body": body, "presentation": shown | {"from_a_newer_client": 1}}


def tasks(client: Any, found: Any, **wish: Any) -> list[dict[str, Any]]:
    answer = client.post(f"/api/v1/rounds/{found.id}/next", json=wish)
    assert answer.status_code == 200, answer.text
    return answer.json()["tasks"]


def send(client: Any, task: dict[str, Any], body: dict[str, Any]) -> Any:
    return client.post(f"/api/v1/assignments/{task['assignment']}/judgment", json=body)


def test_me_says_what_the_start_page_needs(studio: Any) -> None:
    found = studio.round()
    studio.round("A draft", open=False)
    me = studio.client("rater").get("/api/v1/me").json()
    assert me["name"] == "rater Ada"
    assert me["role"] == "rater"
    assert me["stats"] == {"total": 0, "last_day": 0}
    assert me["rounds"] == [
        {
            "id": found.id,
            "title": "First round",
            "task": "compare",
            "done": 0,
            "left": 12,
            "practice_over": False,
            "guideline": {"version": 1, "acknowledged": False},
        }
    ]
    assert len(me["csrf"]) >= 32


def test_a_judgment_and_the_next_task_take_few_statements(studio: Any) -> None:
    """Each costs a tenth of a millisecond on the way to 400 requests a second."""
    found = studio.round(guideline="")
    client = studio.client("rater")
    send(client, tasks(client, found)[0], judgment("first"))
    read: list[str] = []
    written: list[str] = []
    engines = ((studio.store.engine, read), (studio.store._writer, written))
    for engine, log in engines:
        sa.event.listen(
            engine, "before_cursor_execute", lambda c, cur, text, *rest, log=log: log.append(text)
        )
    assert send(client, tasks(client, found)[0], judgment("second")).status_code == 200
    assert len(read) == 4, read  # who asks, twice
    assert [text for text in written if text.startswith("BEGIN")] == ["BEGIN IMMEDIATE"] * 2
    assert len(written) <= 29, written  # two of them where a draw goes by chance


def test_a_whole_session(studio: Any) -> None:
    found = studio.round()
    client = studio.client("rater")

    guideline = client.get(f"/api/v1/rounds/{found.id}/guideline").json()
    assert guideline["version"] == 1
    assert "<strong>helps</strong>" in guideline["html"]
    assert guideline["changed_html"] == ""
    first, second = tasks(client, found, n=2)
    early = send(client, first, judgment("k0"))
    assert early.status_code == 409
    assert early.json()["error"]["what"] == "Please read the guideline first."
    url = f"/api/v1/rounds/{found.id}/guideline/acknowledge"
    assert client.post(url, json={"version": 1, "key": "x"}).json()["acknowledged"] is True

    saved = send(client, first, judgment("k1")).json()
    assert saved == {
        "saved": True,
        "undo_left": 1,
        "feedback": None,
        "progress": {"done": 1, "left": 11},
    }
    assert send(client, first, judgment("k1")).json() == saved  # the network repeats itself
    assert len(history(studio.store, first["assignment"])) == 1

    undone = client.post("/api/v1/undo", json={"key": "k2"}).json()
    assert undone["task"]["assignment"] == first["assignment"]
    assert undone["task"]["draft"]["outcome"] == "a"
    assert undone["task"]["responses"] == first["responses"]  # the sides stay
    assert undone["progress"] == {"done": 0, "left": 12}
    assert send(client, first, judgment("k3", "b")).json()["progress"]["done"] == 1

    skipped = f"/api/v1/assignments/{second['assignment']}/skip"
    assert client.post(skipped, json={"key": "k4", "reason": "too hard"}).json() == {"saved": True}
    third = tasks(client, found)[0]
    assert third["assignment"] not in {first["assignment"], second["assignment"]}
    draft = f"/api/v1/assignments/{third['assignment']}/draft"
    assert client.put(draft, json={"body": {"outcome": "tie"}}).json() == {"saved": True}
    assert tasks(client, found)[0]["draft"] == {"outcome": "tie"}
    question = f"/api/v1/assignments/{third['assignment']}/question"
    asked = client.post(question, json={"key": "k5", "text": "What is meant?"}).json()
    assert asked["saved"] is True
    assert client.get("/api/v1/me").json()["stats"] == {"total": 1, "last_day": 1}
    assert verify(studio.store) == []


def test_undo_of_a_named_task_passes_over_a_later_skip(studio: Any) -> None:
    found = studio.round(guideline="")
    client = studio.client("rater")
    first, second = tasks(client, found, n=2)
    send(client, first, judgment("k1"))
    url = f"/api/v1/assignments/{second['assignment']}/skip"
    client.post(url, json={"key": "k2", "reason": "later"})
    wish = {"key": "k3", "assignment": first["assignment"]}
    task = client.post("/api/v1/undo", json=wish).json()["task"]
    assert task["assignment"] == first["assignment"]


def test_several_tasks_come_at_once_and_none_twice(studio: Any) -> None:
    found = studio.round(guideline="")
    client = studio.client("rater")
    held = [task["assignment"] for task in tasks(client, found, n=3)]
    assert len(set(held)) == 3
    more = [task["assignment"] for task in tasks(client, found, n=2, have=held)]
    assert len(more) == 2
    assert not set(more) & set(held)


def test_a_training_item_teaches(studio: Any) -> None:
    answer = {"best": 0, "why": "The first one answers."}
    items = tuple(studio.item(100 + n, role="training", answer=answer) for n in range(2))
    settings = RoundSettings(training_items=2, training_pass=0.5, calibration_share=0)
    found = studio.round(guideline="", settings=settings, items=items)
    client = studio.client("rater")
    right = []
    for number in range(2):
        task = tasks(client, found)[0]
        better = next(r["slot"] for r in task["responses"] if r["text"].endswith("number 0."))
        body = judgment(f"k{number}", better if number == 0 else "ab".replace(better, ""))
        feedback = send(client, task, body).json()["feedback"]
        assert feedback["why"] == "The first one answers."
        right.append(feedback["right"])
    assert right == [True, False]
    assert send(client, tasks(client, found)[0], judgment("k9")).json()["feedback"] is None


def test_who_failed_the_practice_is_told_so_and_may_be_let_in_again(studio: Any) -> None:
    items = tuple(studio.item(100 + n, role="training", answer={"best": 0}) for n in range(2))
    settings = RoundSettings(training_items=2, training_pass=1.0, calibration_share=0)
    found = studio.round(guideline="", settings=settings, items=items)
    client, lead = studio.client("rater"), studio.client("researcher")
    url = f"/api/v1/rounds/{found.id}/next"
    for number in range(2):
        shown = client.post(url, json={"n": 1}).json()
        assert shown["practice"] is None
        (task,) = shown["tasks"]
        worse = next(r["slot"] for r in task["responses"] if r["text"].endswith("number 1."))
        send(client, task, judgment(f"k{number}", worse))
    last = client.post(url, json={"n": 1})
    assert last.json()["tasks"] == []
    assert last.json()["practice"] == {"right": 0, "of": 2, "needed": 2, "too_fast": False}
    assert not [secret for secret in SECRETS if secret in last.text]
    home = client.get("/home").text
    assert "Your practice here is over" in home and f"/work/{found.id}" not in home
    page = lead.get(f"/lead/rounds/{found.id}/raters").text
    assert "did not pass" in page and "Let them try again" in page
    assert "try again" not in studio.client("viewer").get(f"/lead/rounds/{found.id}/raters").text
    rater = studio.people["rater"].id
    form = {"csrf": lead.headers["x-csrf-token"]}
    again = lead.post(f"/lead/rounds/{found.id}/training/{rater}", data=form)
    assert again.status_code == 303
    page = lead.get(again.headers["location"]).text
    assert "They may do the training again" in page and "attempt 2" in page
    shown = client.post(url, json={"n": 1}).json()
    assert shown["practice"] is None and len(shown["tasks"]) == 1


def test_changing_ones_mind_needs_a_new_key(studio: Any) -> None:
    found = studio.round(guideline="")
    client = studio.client("rater")
    task = tasks(client, found)[0]
    send(client, task, judgment("k1"))
    assert send(client, task, judgment("k2", "tie")).status_code == 200
    assert len(history(studio.store, task["assignment"])) == 2


def test_a_changed_guideline_is_shown_with_its_changes_and_must_be_read(studio: Any) -> None:
    found = studio.round()
    studio.read(found)
    client = studio.client("rater")
    before = tasks(client, found)[0]
    owner = studio.people["owner"].id
    text = "# What is better\n\nPrefer what **helps**.\n\nBe strict."
    version = rounds.set_guideline(studio.store, found.project_id, text, owner)
    rounds.use_guideline(studio.store, found.id, version, owner)
    assert send(client, before, judgment("k1")).status_code == 200  # begun under the old one
    shown = client.get(f"/api/v1/rounds/{found.id}/guideline").json()
    assert "<ins><p>Be strict.</p>" in shown["changed_html"]
    assert "<del><p>Longer is not better.</p>" in shown["changed_html"]
    after = tasks(client, found)[0]
    assert after["guideline"] == 2
    assert send(client, after, judgment("k2")).status_code == 409
    url = f"/api/v1/rounds/{found.id}/guideline/acknowledge"
    assert client.post(url, json={"version": 1}).status_code == 409
    assert client.post(url).status_code == 200
    assert send(client, after, judgment("k2")).status_code == 200


NO_JUDGMENTS: list[tuple[Any, int]] = [
    ({}, 422),
    ({"key": "k", "body": 3}, 422),
    ({"key": "", "body": {}}, 422),
    ({"key": "a\nb", "body": {}}, 422),
    ({"key": "k" * 81, "body": {}}, 422),
    ({"key": "k", "body": {"outcome": "c"}}, 400),
    ({"key": "k", "body": {"outcome": "a"}}, 400),
    ({"key": "k", "body": {"outcome": "a", "strength": 9}}, 400),
    ({"key": "k", "body": {"outcome": "a", "strength": 1, "model": "x"}}, 400),
    ({"key": "k", "body": {"outcome": "a", "strength": 10**30}}, 422),
    ({"key": "k", "body": {"outcome": "tie", "comment": "x" * 20_001}}, 400),
    ({"key": "k", "body": {"outcome": "tie", "comment": "x" * 300_000}}, 422),
]


def test_what_is_not_a_judgment_is_refused_in_words(studio: Any) -> None:
    found = studio.round(guideline="")
    client = studio.client("rater")
    task = tasks(client, found)[0]
    for body, status in NO_JUDGMENTS:
        answer = send(client, task, body)
        assert answer.status_code == status, answer.text
        error = answer.json()["error"]
        assert set(error) == {"what", "how"}
        assert error["what"]
    assert tasks(client, found)[0]["assignment"] == task["assignment"]


@pytest.mark.parametrize("text", ["\ud800", "a\0b", "\udfff"])
def test_text_that_no_database_keeps_is_refused(studio: Any, text: str) -> None:
    found = studio.round(guideline="")
    client = studio.client("rater")
    url = f"/api/v1/assignments/{tasks(client, found)[0]['assignment']}"
    for method, path, body in (
        ("POST", "skip", {"key": "k", "reason": text}),
        ("POST", "question", {"key": "k", "text": text}),
        ("PUT", "draft", {"body": {"comment": text}}),
        ("POST", "judgment", {"key": "k", "body": {"outcome": "tie", "comment": text}}),
    ):
        raw = json.dumps(body)
        headers = {"content-type": "application/json"}
        answer = client.request(method, f"{url}/{path}", content=raw, headers=headers)
        assert answer.status_code in (200, 400, 422), (path, answer.text)
        assert answer.status_code != 200 or text == "a\0b"


def test_another_raters_assignment_is_as_good_as_none(studio: Any) -> None:
    found = studio.round(guideline="")
    mine = tasks(studio.client("rater"), found)[0]
    other = studio.client("adjudicator")
    for assignment in (mine["assignment"], "0" * 16):
        url = f"/api/v1/assignments/{assignment}"
        answers = [
            other.post(f"{url}/judgment", json=judgment("k")),
            other.post(f"{url}/skip", json={"key": "k", "reason": "x"}),
            other.post(f"{url}/question", json={"key": "k", "text": "x"}),
            other.put(f"{url}/draft", json={"body": {}}),
        ]
        for answer in answers:
            assert answer.status_code == 404
            expected = f"There is no assignment '{assignment}'."
            assert answer.json()["error"]["what"] == expected


def test_drafts_of_rounds_are_unknown_to_raters(studio: Any) -> None:
    found = studio.round(open=False)
    client = studio.client("rater")
    assert client.get(f"/api/v1/rounds/{found.id}/guideline").status_code == 404
    assert client.post(f"/api/v1/rounds/{found.id}/next", json={}).status_code == 404


def test_a_closed_round_gives_nothing_more_but_takes_what_is_held(studio: Any) -> None:
    found = studio.round(guideline="")
    client = studio.client("rater")
    task = tasks(client, found)[0]
    rounds.close_round(studio.store, found.id, studio.people["owner"].id)
    assert tasks(client, found) == []
    assert send(client, task, judgment("k1")).status_code == 200


def test_settings_are_ones_own(studio: Any) -> None:
    client = studio.client("rater")
    wish = {"settings": {"keymap": {"a1": "q"}}}
    assert client.put("/api/v1/me/settings", json=wish).json() == {"saved": True}
    assert client.get("/api/v1/me").json()["keymap"] == {"a1": "q"}
    assert studio.client("adjudicator").get("/api/v1/me").json()["keymap"] == {}


@pytest.mark.parametrize("task", ["rank", "demonstrate"])
def test_other_tasks(studio: Any, task: str) -> None:
    count = {"rank": 4, "demonstrate": 1}[task]
    show = RoundSettings(show_draft=True, calibration_share=0, gold_share=0, attention_share=0)
    found = studio.round(task=task, count=count, guideline="", settings=show)
    client = studio.client("rater")
    shown = tasks(client, found)[0]
    assert [response["slot"] for response in shown["responses"]] == list("abcd"[:count])
    body = {"ranks": [0, 1, 1, 3]} if task == "rank" else {"completion": "So.", "draft_used": True}
    assert send(client, shown, {"key": "k", "body": body}).status_code == 200


SECRETS = ("secret", "sha256", "0.1234", "1.1234", "98765", "permutation", "item", "reason\"",
           "random", "gold", "attention", "anchor", "calibration", "training", "score", "model",
           "priority", "latency", "created_at", "presentation", "tablet", "finished",
           "_at\"")  # fmt: skip


def test_nothing_on_the_wire_tells_who_wrote_what(studio: Any) -> None:
    """Every answer that a rater can get, scanned for what the store knows and they must not."""
    answer = {"best": 0, "why": "One is right."}
    checks = tuple(
        studio.item(100 + n, role=role, answer=None if role == "anchor" else answer)
        for n, role in enumerate(["gold", "attention", "anchor"] * 4)
    )
    mix = RoundSettings(gold_share=0.3, attention_share=0.2, anchor_share=0.2, overlap=2)
    found = studio.round(guideline="", settings=mix, items=checks)
    client = studio.client("rater")
    wire: list[str] = []

    def seen(response: Any) -> Any:
        wire.append(response.text + json.dumps(dict(response.headers)))
        return response

    seen(client.get("/api/v1/me"))
    seen(client.get("/"))
    seen(client.get(f"/work/{found.id}"))
    seen(client.get(f"/api/v1/rounds/{found.id}/guideline"))
    for number in range(24):
        got = seen(client.post(f"/api/v1/rounds/{found.id}/next", json={"n": 1})).json()["tasks"]
        if not got:
            break
        url = f"/api/v1/assignments/{got[0]['assignment']}"
        seen(client.put(f"{url}/draft", json={"body": {"outcome": "tie"}}))
        seen(client.post(f"{url}/question", json={"key": f"q{number}", "text": "?"}))
        seen(send(client, got[0], {"key": f"b{number}", "body": {"outcome": "zzz"}}))
        seen(send(client, got[0], judgment(f"k{number}")))
        seen(client.post("/api/v1/undo", json={"key": f"u{number}"}))
        if number % 3 == 0:
            seen(client.post(f"{url}/skip", json={"key": f"s{number}", "reason": "no"}))
        else:
            seen(send(client, got[0], judgment(f"l{number}", "b")))
    assert number > 12
    reasons = {a.reason for a in _assignments(studio, found)}
    assert {"gold", "attention", "anchor"} <= reasons  # the mix was there to be leaked
    with studio.store.read() as conn:
        (logged, *_) = conn.scalars(
            sa.select(event_rows.c.body).where(event_rows.c.kind == "judgment")
        )
    assert json.loads(logged)["presentation"] == {
        "shown_at": 1.25, "both_complete_at": 1.25, "first_key_at": 2.5, "device": "tablet",
    }  # fmt: skip
    for text in wire:
        found_secrets = [secret for secret in SECRETS if secret in text.replace('reasons"', "")]
        assert not found_secrets, (found_secrets, text)


def _assignments(studio: Any, found: Any) -> list[Any]:
    with studio.store.read() as conn:
        query = sa.select(assignments).where(assignments.c.round_id == found.id)
        return list(conn.execute(query).all())
