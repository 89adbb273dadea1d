"""The workspace on the studio itself: what a rater does in the browser is what the store has."""

from __future__ import annotations

import dataclasses
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import uvicorn

from accord.config.generators import GeneratorConfig, OpenAIPolicy, Speech
from accord.store import accounts, events, rounds
from accord.store.database import Store, open_store
from accord.store.items import add_items
from accord.store.records import NewItem, Round
from accord.store.schema import assignments, judgments
from accord.store.schema import events as log
from accord.store.task import RoundSettings, TaskSchema
from accord.store.task_files import load_schema
from accord.types import Completion, Message, Prompt
from accord.web.app import create_app
from accord.web.render import static_version
from accord.web.security import WebSettings

pytest.importorskip("playwright")
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
PASSWORD = "four plain quiet words"
SETTLE_MS = 170
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs the system's chromium")


@dataclasses.dataclass
class Live:
    """A studio that listens, and who runs it."""

    store: Store
    url: str
    owner: str
    project: str

    def round(self, task: Any, schema: TaskSchema, count: int) -> Round:
        """An open round of five items; the first response of each is the good one."""
        plain = RoundSettings(
            calibration_share=0,
            gold_share=0,
            attention_share=0,
            anchor_share=0,
            show_draft=True,
            policies=("one", "two") if task == "chat" else (),
            speech=Speech(max_tokens=40),
        )
        made = rounds.create_round(
            self.store,
            self.project,
            f"Round of {task}",
            task=task,
            actor=self.owner,
            schema=schema,
            settings=plain,
        )
        texts = ["good", "fair", "poor"][:count]
        add_items(
            self.store,
            made.id,
            [
                NewItem(
                    Prompt(id=f"p{i}", messages=(Message("user", f"Question {i}?"),)),
                    tuple(Completion(f"A {text} answer.", "m", True) for text in texts),
                )
                for i in range(5)
            ],
            self.owner,
        )
        return rounds.open_round(self.store, made.id, self.owner)

    def outcomes(self, round_id: str) -> list[dict[str, Any]]:
        """The judgments of a round, oldest first."""
        query = (
            sa.select(judgments.c.outcome)
            .join(assignments, assignments.c.id == judgments.c.assignment_id)
            .where(assignments.c.round_id == round_id)
            .order_by(judgments.c.at)
        )
        with self.store.read() as conn:
            return [dict(row.outcome) for row in conn.execute(query)]

    def presentations(self, round_id: str) -> list[tuple[dict[str, Any], float]]:
        """What the log has on when each judgment's task was shown, with the event's own time."""
        mine = sa.select(assignments.c.id).where(assignments.c.round_id == round_id)
        query = sa.select(log.c.body, log.c.at).where(
            log.c.kind == "judgment", log.c.assignment_id.in_(mine)
        )
        with self.store.read() as conn:
            rows = conn.execute(query).all()
        assert rows
        return [(json.loads(row.body)["presentation"], row.at) for row in rows]


class Speaker(BaseHTTPRequestHandler):
    """A chat server in which each model says its own name, slowly."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()
        for number in range(8):
            row = {"choices": [{"delta": {"content": f"{asked['model']} word {number}. "}}]}
            self.wfile.write(b"data: " + json.dumps(row).encode() + b"\n\n")
            time.sleep(0.02)
        self.wfile.write(b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n')

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def generators() -> Iterator[GeneratorConfig]:
    """Two policies behind a chat server on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Speaker) as server:
        url = f"http://127.0.0.1:{server.server_port}/v1"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        policies = {
            "one": OpenAIPolicy(kind="openai", url=url, model="lark"),
            "two": OpenAIPolicy(kind="openai", url=url, model="wren"),
        }
        yield GeneratorConfig(policies=policies, num_threads=1)
        server.shutdown()
        thread.join()


@pytest.fixture
def live(tmp_path: Path, generators: GeneratorConfig) -> Iterator[Live]:
    store = open_store(tmp_path / "studio.db")
    owner = accounts.create_account(store, "Olga", "owner", password=PASSWORD).id
    accounts.create_account(store, "Ada", "rater", password=PASSWORD)
    project = rounds.create_project(store, "Project", owner).id
    rounds.set_guideline(store, project, "# What is better\n\nPrefer what **helps**.", owner)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        app = create_app(store, WebSettings(base_url=url), generators)
        config = uvicorn.Config(app, log_level="error", ws="none", timeout_graceful_shutdown=5)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        yield Live(store, url, owner, project)
        server.should_exit = True  # not force_exit: that cancels the lifespan
        thread.join()
    store.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=20_000)
    with sync_playwright() as player:
        found = player.chromium.launch(executable_path=str(CHROMIUM), args=ARGS)
        yield found
        found.close()


@pytest.fixture
def page(live: Live, browser: Browser) -> Iterator[Page]:
    """A page on which Ada has signed in."""
    context = browser.new_context(base_url=live.url)
    made = context.new_page()
    errors: list[str] = []
    made.on("pageerror", lambda error: errors.append(str(error)))
    made.on("console", lambda said: errors.append(said.text) if "Policy" in said.text else None)
    made.goto("/login")
    made.get_by_label("Name").fill("Ada")
    made.get_by_label("Password").fill(PASSWORD)
    made.keyboard.press("Enter")
    expect(made.get_by_role("heading", name="Hello, Ada")).to_be_visible()
    yield made
    context.close()
    assert errors == []


def answer(page: Page, *keys: str) -> None:
    """Keys for the task on the screen, and the wait until the next one is there."""
    before = page.locator(".prompt").text_content() or ""  # what expect() compares; not inner_text
    page.wait_for_timeout(SETTLE_MS)
    for key in keys:
        page.keyboard.press(key)
    expect(page.locator(".prompt")).not_to_have_text(before)


def test_what_a_rater_says_is_what_the_store_has(live: Live, page: Page) -> None:
    hh = load_schema("hh").model_copy(update={"comment_at_strength": None})
    pairs = live.round("compare", hh, 2)
    page.goto(f"/work/{pairs.id}")
    expect(page.get_by_role("heading", name="What is better")).to_be_visible()
    page.keyboard.press("Enter")
    for done in range(3):  # the good answer, wherever it is
        expect(page.locator(".round-progress")).to_contain_text(f"{done} of")
        expect(page.locator("#pane-a")).to_be_visible()
        left = "good" in page.locator("article.pane").first.inner_text()
        answer(page, "2" if left else "9")
    page.wait_for_timeout(SETTLE_MS)
    page.keyboard.press("u")
    expect(page.get_by_text("You are changing an earlier answer")).to_be_visible()
    answer(page, "5")
    expect(page.locator(".saved")).to_have_text("All saved")
    expect(page.locator(".round-progress")).to_contain_text("3 of 5")
    best = [
        (told["outcome"], told.get("best"), told.get("strength"))
        for told in live.outcomes(pairs.id)
    ]
    assert best == [("best", 0, 3), ("best", 0, 3), ("tie", None, None)]

    for shown, said_at in live.presentations(pairs.id):
        assert (shown["device"], shown["ui_version"]) == ("desktop", static_version())
        times = [shown[name] for name in ("shown_at", "both_complete_at", "first_key_at")]
        assert times == sorted(times)
        assert times[2] - times[0] >= SETTLE_MS / 1000 - 0.05  # the wait before the key
        assert said_at - 60 < times[0] <= said_at

    labels = live.round("rank", load_schema("instructgpt"), 3)
    page.goto(f"/work/{labels.id}")
    expect(page.locator(".alone h2")).to_contain_text("1 of 3")
    page.wait_for_timeout(SETTLE_MS)
    for step in "642":
        page.keyboard.press(step)
        page.keyboard.press("Enter")
    expect(page.locator(".cards article")).to_have_count(3)
    cards = page.locator(".cards article").all_inner_texts()
    order = [
        next(str(i + 1) for i, text in enumerate(cards) if word in text)
        for word in ("good", "poor", "fair")
    ]
    answer(page, order[0], order[1], order[2], "=", "Enter")
    expect(page.locator(".saved")).to_have_text("All saved")
    assert live.outcomes(labels.id)[0]["ranks"] == [0, 1, 1]

    write = live.round("demonstrate", hh, 1)
    page.goto(f"/work/{write.id}")
    page.locator("#answer").fill("Ask again tomorrow.")
    expect(page.locator("#answer-help")).to_contain_text("here and on the server")
    answer(page, "Control+Enter")
    expect(page.locator(".saved")).to_have_text("All saved")
    told = {"completion": "Ask again tomorrow.", "draft_used": False}
    assert live.outcomes(write.id) == [told]
    ((shown, _),) = live.presentations(write.id)
    assert shown["shown_at"] <= shown["first_key_at"]
    assert events.verify(live.store) == []


def test_a_conversation_with_a_real_worker(live: Live, page: Page) -> None:
    hh = load_schema("hh").model_copy(
        update={"comment_at_strength": None, "chat_mode": "honest", "max_turns": 2}
    )
    chat = live.round("chat", hh, 1)
    page.goto(f"/work/{chat.id}")
    page.get_by_role("button", name="I have read it").click()
    expect(page.get_by_text("choose the answer that is truer")).to_be_visible()
    page.get_by_role("button", name="Use it").click()
    expect(page.get_by_label("Your message")).to_have_value(re.compile("Question"))
    page.get_by_label("Your message").fill("Which bird are you?")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Improve")).to_have_count(2)
    panes = page.locator("article.pane .prose").all_inner_texts()
    assert sorted(text.split()[0] for text in panes) == ["lark", "wren"]
    page.wait_for_timeout(SETTLE_MS)
    page.keyboard.press("0")  # B is much better
    expect(page.locator(".message.assistant")).to_have_text(re.compile(panes[1].split()[0]))
    page.get_by_role("button", name="Change my choice").click()
    expect(page.get_by_role("button", name="Improve")).to_have_count(2)
    page.wait_for_timeout(SETTLE_MS)
    page.keyboard.press("1")
    expect(page.locator(".message.assistant")).to_have_text(re.compile(panes[0].split()[0]))
    page.reload()
    page.get_by_label("Your message").fill("And now?")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Improve").first.click()
    page.locator("#edit").fill("A wagtail.")
    page.get_by_role("button", name="Keep my version").click()
    page.wait_for_timeout(SETTLE_MS)
    page.keyboard.press("4")
    expect(page.get_by_text("This conversation is complete")).to_be_visible()
    expect(page.locator(".message.assistant").last).to_contain_text("A wagtail.")
    first, second = live.outcomes(chat.id)
    assert (first["strength"], second["strength"]) == (4, 1)
    for shown, _ in live.presentations(chat.id):
        assert shown["shown_at"] <= shown["both_complete_at"] <= shown["first_key_at"]
    shown, _ = live.presentations(chat.id)[0]
    assert shown["both_complete_at"] - shown["shown_at"] > 0.05  # eight words, 20 ms each
    assert second["edited"] == {"index": second["best"], "text": "A wagtail."}
    assert events.verify(live.store) == []
