"""What a judgment costs the rater's hands, and how long the rater waits for the next item.

A real browser, keys only, each tool's own shortcuts. The least number of input events from item to
item is what the script needs; that each counted is checked against the judgments on the disk.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

from peers.load import ToolError, quantile
from peers.tools import Tool
from playwright.sync_api import Page, sync_playwright

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"),
    *("--disable-component-update", "--no-first-run", "--disable-quic"),
]
READING_MS = 300
"""Between seeing an item and the first key; the studio counts no key in the first 150 ms."""

SEEN = r"() => document.body && (document.body.innerText.match(/Question \d+\?/) || [null])[0]"
CHANGED = f"old => {{ const now = ({SEEN})(); return now && now !== old; }}"


HANDS = {
    "accord": ("1",),
    "potato": ("1",),  # in its review mode; otherwise ArrowRight follows
}
"""The shortest way through one item, as keys."""


def measure(tool: Tool, judgments: int, shots: Path | None) -> dict[str, Any]:
    """Judge items one after the other; events for each, and waiting for the next."""
    waits: list[float] = []
    hands = HANDS[tool.name]
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 860}, base_url=tool.url(""))
        page.set_default_timeout(30_000)
        come_in(tool, page)
        page.wait_for_function(SEEN)
        if shots:
            page.wait_for_timeout(2000)
            shots.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=shots / f"{tool.name}.png")
        for _ in range(judgments):
            page.wait_for_timeout(READING_MS)
            waits.append(one(page, hands))
        page.wait_for_timeout(2000)
        browser.close()
    saved = len(tool.present())
    if saved != judgments:
        raise ToolError(f"{tool.name}: {judgments} judgments were made, {saved} are on the disk")
    return {
        "events": len(hands),
        "how": list(hands),
        "judgments": judgments,
        "next_visible_ms": {
            "median": round(statistics.median(waits), 1),
            "p95": quantile(waits, 0.95),
        },
    }


def one(page: Page, hands: tuple[str, ...]) -> float:
    """One item; milliseconds from the last input event until the next item is on the screen."""
    old = page.evaluate(SEEN)
    for event in hands[:-1]:
        page.keyboard.press(event)
    began = time.perf_counter()
    page.keyboard.press(hands[-1])
    page.wait_for_function(CHANGED, arg=old, polling="raf")
    return 1000 * (time.perf_counter() - began)


def come_in(tool: Tool, page: Page) -> None:
    """Sign in as the first rater and open the first item."""
    if tool.name == "accord":
        access = json.loads((tool.folder / "access.json").read_text())
        cookie = {"name": "accord", "value": access["sessions"][0], "url": tool.url("/")}
        page.context.add_cookies([cookie])  # type: ignore[list-item]
        page.goto(f"/work/{access['round']}")
    elif tool.name == "potato":
        page.context.request.post(tool.url("/auth"), form={"email": "rater0", "pass": ""})
        page.goto("/annotate")
    else:
        raise ToolError(f"{tool.name}: no script for its labeling page")
