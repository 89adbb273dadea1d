"""The hostile texts in a real browser: nothing runs, and nobody else is asked for anything."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from accord.store import accounts
from accord.store.records import NewItem
from accord.types import Completion, Message, Prompt
from accord.web.render import guideline_html, response_html

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = Path("/usr/bin/chromium")
PAYLOADS: list[str] = json.loads((Path(__file__).parent / "xss_payloads.json").read_text("utf-8"))
TRAP = """
for (const name of ['alert', 'confirm', 'prompt', 'open', 'msgbox', 'expression'])
  window[name] = () => { window.executed = name; };
"""
ARGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"),
    *("--disable-component-update", "--no-first-run", "--disable-quic"),
]


@pytest.fixture
def site(studio: Any) -> Iterator[str]:
    """The studio behind a real server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = uvicorn.Config(studio.app, port=port, access_log=False, log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def page(site: str, studio: Any) -> Iterator[Any]:
    """A page of the rater's browser that keeps a list of requests to elsewhere."""
    if not CHROMIUM.exists():
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as run:
        browser = run.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        context = browser.new_context()
        session = accounts.start_session(studio.store, studio.people["rater"].id)
        context.add_cookies([{"name": "accord", "value": session.token, "url": site}])
        opened = context.new_page()
        opened.add_init_script(TRAP)
        foreign: list[str] = []
        opened.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((site, "data:image"))
                else foreign.append(request.url)
            ),
        )
        opened.foreign = foreign
        yield opened
        browser.close()


def check(page: Any) -> None:
    """Nothing ran and nothing was asked for; and the trap would have told."""
    assert page.evaluate("window.executed ?? null") is None
    assert page.foreign == []


def test_the_trap_and_the_list_of_requests_work(page: Any, site: str) -> None:
    page.goto("data:text/html,<img src=https://evil.example/x.png><script>alert(1)</script>")
    page.wait_for_timeout(200)
    assert page.evaluate("window.executed") == "alert"
    assert "https://evil.example/x.png" in page.foreign


def test_each_text_as_html_of_a_page(page: Any, site: str) -> None:
    page.goto(f"{site}/login")
    html = [render(text) for text in PAYLOADS for render in (response_html, guideline_html)]
    page.evaluate(
        """(all) => { for (const html of all) {
            const box = document.createElement('div');
            document.body.append(box);
            box.innerHTML = html;
            for (const node of box.querySelectorAll('*'))
              for (const kind of ['click', 'mouseover', 'focus', 'error', 'load', 'toggle'])
                if (!node.closest('a')) node.dispatchEvent(new Event(kind, {bubbles: true}));
        } }""",
        html,
    )
    page.wait_for_timeout(300)
    assert page.locator("body > div").count() == len(html)
    check(page)


def test_the_texts_as_tasks_guideline_and_names(page: Any, site: str, studio: Any) -> None:
    """Six texts a message, three messages a task; one key goes on to the next."""
    six = ["\n\n".join(PAYLOADS[start : start + 6]) for start in range(0, len(PAYLOADS), 6)]
    items = tuple(
        NewItem(
            prompt=Prompt(id=str(n), messages=(Message("user", text),)),
            completions=(Completion(six[n - 1]), Completion(six[n - 2])),
        )
        for n, text in enumerate(six[:30])
    )
    text = "\n\n".join(PAYLOADS[::3])
    found = studio.round(" ".join(PAYLOADS[:5]), num=0, items=items, guideline=text)
    page.goto(f"{site}/")
    page.goto(f"{site}/guideline/{found.id}")
    assert page.locator("article.guideline").is_visible()
    check(page)
    studio.read(found)
    page.goto(f"{site}/work/{found.id}")
    for number in range(1, 31):
        page.locator(".pane").first.wait_for()
        page.wait_for_timeout(400)  # a key that comes too soon after a task is not for it
        page.keyboard.press("5")
        page.get_by_text(f"{number} of 30").wait_for(timeout=20_000)
    check(page)
