"""A new user's walk: the printed link, a name, the first judgment, all of them, freeze, labels."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from accord import artifacts, config
from accord.config import dump
from accord.types import Comparison, Completion, Message, Prompt, Sample

pytest.importorskip("playwright")
from playwright.sync_api import Page, expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
SETTLE_MS = 170
NUM_PROMPTS = 4
GOOD, BAD = "It is blue.", "Go away."
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs the system's chromium")


def a_run(path: Path) -> Path:
    """A run whose samples wait for people; its recipe's file."""
    prompts = [Prompt(f"p{n}", (Message("user", f"Question {n}?"),)) for n in range(NUM_PROMPTS)]
    answers = (Completion(GOOD, "policy"), Completion(BAD, "policy"))
    with artifacts.write(path / "samples", "samples") as folder:
        artifacts.write_records(folder, [Sample(prompt, answers) for prompt in prompts])
    settings = [f"out={path}", "studio.port=0", "studio.calibration_share=0"]
    (path / "asked.yaml").write_text(dump(config.load(None, settings)), encoding="utf-8")
    return path / "asked.yaml"


def judge_all(page: Page) -> None:
    """One key a task: the good answer, wherever it stands."""
    for done in range(NUM_PROMPTS):
        expect(page.locator(".round-progress")).to_contain_text(f"{done} of {NUM_PROMPTS}")
        expect(page.locator("#pane-a")).to_be_visible()
        page.wait_for_timeout(SETTLE_MS)
        left = GOOD in page.locator("article.pane").first.inner_text()
        page.keyboard.press("2" if left else "9")
    expect(page.get_by_role("heading", name="All done here")).to_be_visible()
    expect(page.locator(".saved")).to_have_text("All saved")


def test_from_the_printed_link_to_labels(tmp_path: Path) -> None:
    out = tmp_path / "comparisons"
    command = ["studio", "serve", str(a_run(tmp_path)), "--until-frozen", str(out)]
    began = time.monotonic()
    with (
        subprocess.Popen(
            [sys.executable, "-u", "-m", "accord.cli", *command], stdout=subprocess.PIPE, text=True
        ) as studio,
        sync_playwright() as player,
    ):
        try:
            assert studio.stdout is not None
            links = (re.search(r"come in here once: +(\S+)", line) for line in studio.stdout)
            owner = next(found[1] for found in links if found)
            browser = player.chromium.launch(executable_path=str(CHROMIUM), args=ARGS)
            page = browser.new_page()
            page.goto(owner)
            page.keyboard.type("Nia")  # the field has the focus
            page.get_by_label("A password").fill("four plain quiet words")
            page.keyboard.press("Enter")
            page.get_by_role("link", name="Judge in round 1").click()
            expect(page.get_by_role("heading", name="Guideline")).to_be_visible()
            page.keyboard.press("Enter")
            judge_all(page)
            assert time.monotonic() - began < 60  # what is promised for the first is kept for all
            page.get_by_role("link", name="All rounds").last.click()
            page.get_by_role("link", name="round 1", exact=True).click()
            page.get_by_role("link", name="Freeze").click()
            page.get_by_role("button", name="Freeze").click()
            assert studio.wait(30) == 0  # the loop goes on when the server has ended
            browser.close()
        finally:
            studio.kill()
    labels = list(artifacts.read(out, "comparisons").records())
    assert len(labels) == NUM_PROMPTS
    for label in labels:
        assert isinstance(label, Comparison)
        assert (label.a if label.choice == "a" else label.b).text == GOOD
        assert label.strength is not None and label.strength > 0.5
