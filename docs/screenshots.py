"""Every screen of the studio as a picture: ``make screenshots`` writes docs/figures/studio/.

A studio of its own with rounds of each kind, twelve people who judged, and the tiny model in the
chat; Debian's chromium through playwright. Needs the development requirements.
"""

from __future__ import annotations

import io
import random
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from accord.config.generators import AccordPolicy, GeneratorConfig, Speech
from accord.store import accounts, assign, judgments, questions, rounds
from accord.store.columns import new_id
from accord.store.database import Store, open_store
from accord.store.from_recipe import WRITE
from accord.store.items import add_items
from accord.store.records import NewItem, Round
from accord.store.task import Purpose, RoundSettings
from accord.store.task_files import load_schema
from accord.types import Completion
from accord.web.app import create_app
from accord.web.security import WebSettings
from accord.worlds import assistant

OUT = Path(__file__).parent / "figures" / "studio"
CHROMIUM = "/usr/bin/chromium"
DESKTOP, PHONE = {"width": 1200, "height": 760}, {"width": 390, "height": 844}
COLOURS = 64
GUIDELINE = """# What is better

Choose the response that you would rather have got, had you asked.

- **Helpful first**: does it do what was asked, all of it, and no more?
- Is it **true**? If you cannot tell, say so; do not guess.
- Longer is not better. Sounding sure is not better either.
"""
PEOPLE = ("Ada", "Ben", "Chen", "Dana", "Eli", "Fay", "Gus", "Hana", "Ivo", "Jun", "Kim", "Lea")


def answers(text: str) -> tuple[Completion, ...]:
    """A demonstration as it is, wordy, cut off, and off the point; a policy each."""
    wordy = f"That is a great question! {text} I hope this helps. Let me know if you need more."
    cut = " ".join(text.split()[: max(4, len(text.split()) // 2)])
    texts = (text, wordy, cut, "As an assistant, I have many thoughts about this topic.")
    return tuple(Completion(t, f"policy {n + 1}") for n, t in enumerate(texts))


class Scene:
    """A studio with people and rounds."""

    def __init__(self, store: Store) -> None:
        self.store, self.draw = store, random.Random(0)
        self.owner = accounts.create_account(store, "Olga", "owner").id
        self.people = [accounts.create_account(store, name).id for name in PEOPLE]
        self.project = rounds.create_project(store, "Assistant", self.owner).id
        rounds.set_guideline(store, self.project, GUIDELINE, self.owner)
        for person in [self.owner, *self.people]:
            accounts.acknowledge_guideline(store, person, self.project, 1)
        self.shown = assistant.demonstrations()

    def round(
        self,
        name: str,
        task: Any,
        schema: str,
        num: int,
        purpose: Purpose = "train",
        **more: Any,
    ) -> Round:
        """An open round of the packaged demonstrations' prompts."""
        settings = RoundSettings(
            calibration_share=0, gold_share=0, attention_share=0, anchor_share=0, **more
        )
        made = rounds.create_round(
            self.store,
            self.project,
            name,
            task=task,
            actor=self.owner,
            purpose=purpose,
            schema=WRITE if task == "demonstrate" else load_schema(schema),
            settings=settings,
        )
        items = []
        for demonstration in self.shown[:num] if task != "chat" else []:
            said = () if task == "demonstrate" else answers(demonstration.completion)
            if task == "compare":
                said = tuple(self.draw.sample(said[:3], 2))
            scores = tuple(-abs(len(c.text.split()) - 25) / 10 for c in said)
            items.append(NewItem(demonstration.prompt, said, scores=scores or None))
        if items:
            add_items(self.store, made.id, items, self.owner)
        return rounds.open_round(self.store, made.id, self.owner)

    def judge(self, found: Round, num: int) -> None:
        """People compare; two of them hardly look."""
        for turn in range(num):
            person = turn % len(self.people)
            task = assign.next_assignment(self.store, self.people[person], found.id)
            if task is None:
                continue
            lengths = [abs(len(text.split()) - 25) for text in task.responses]
            best = 0 if lengths[0] <= lengths[1] else 1
            if person < 2 or self.draw.random() < 0.2:
                best = self.draw.randrange(2)
            body = {"outcome": "ab"[best], "strength": self.draw.randint(1, 4)}
            body["active_ms"] = self.draw.randint(4000, 30000)
            if body["strength"] == 4:
                body["comment"] = "It says what was asked and stops."
            judgments.submit(self.store, self.people[person], task.id, body, new_id())


@contextmanager
def served(folder: Path) -> Iterator[tuple[Scene, str]]:
    """The studio, listening."""
    policy = GeneratorConfig(policies={"tiny": AccordPolicy(source="tiny")}, num_threads=1)
    with open_store(folder / "studio.db") as store, socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        app = create_app(store, WebSettings(base_url=url), policy)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        try:
            yield Scene(store), url
        finally:
            server.should_exit = True
            thread.join()


class Camera:
    """Takes pictures as someone who is signed in, or as a stranger."""

    def __init__(self, browser: Browser, scene: Scene, url: str) -> None:
        self.browser, self.scene, self.url = browser, scene, url

    @contextmanager
    def page(
        self, account: str | None, *, phone: bool = False, dark: bool = False
    ) -> Iterator[Page]:
        """A page of one's own."""
        context = self.browser.new_context(
            viewport=PHONE if phone else DESKTOP,  # type: ignore[arg-type]
            base_url=self.url,
            reduced_motion="reduce",
            color_scheme="dark" if dark else "light",
        )
        if account is not None:
            token = accounts.start_session(self.scene.store, account).token
            context.add_cookies([{"name": "accord", "value": token, "url": self.url}])
        yield context.new_page()
        context.close()

    @staticmethod
    def keep(page: Page, name: str) -> None:
        """Write a picture with few colours."""
        page.wait_for_timeout(400)
        image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        OUT.mkdir(parents=True, exist_ok=True)
        few = image.quantize(COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        few.save(OUT / f"{name}.png", optimize=True)
        print(name, (OUT / f"{name}.png").stat().st_size // 1024, "KB", flush=True)


def raters(camera: Camera, scene: Scene, pairs: Round) -> None:
    """What those see who judge."""
    me = accounts.create_account(scene.store, "Mia").id
    accounts.acknowledge_guideline(scene.store, me, scene.project, 1)
    lists = scene.round("Rankings", "rank", "instructgpt", 8)
    written = scene.round("Write answers", "demonstrate", "hh", 8)
    for name, screen in (
        ("compare", {}),
        ("compare-dark", {"dark": True}),
        ("compare-phone", {"phone": True}),
    ):
        with camera.page(me, **screen) as page:
            page.goto(f"/work/{pairs.id}")
            page.locator(".prompt").wait_for()
            camera.keep(page, name)
            if name == "compare":
                page.keyboard.press("?")
                camera.keep(page, "keys")
    with camera.page(me) as page:
        page.goto(f"/work/{lists.id}")
        page.locator(".prompt").wait_for()
        camera.keep(page, "rank")
        for _ in range(4):
            page.keyboard.press("5")
            page.keyboard.press("Enter")
            page.wait_for_timeout(300)
        camera.keep(page, "rank-order")
        page.goto(f"/work/{written.id}")
        page.locator("textarea").first.fill(
            "Thank you for asking. Let me think about it and answer tomorrow."
        )
        camera.keep(page, "demonstrate")
        page.goto("/home")
        camera.keep(page, "home")
        page.goto(f"/guideline/{pairs.id}")
        camera.keep(page, "guideline")
    talk = scene.round("Chat", "chat", "hh", 0, policies=("tiny",), speech=Speech(max_tokens=32))
    with camera.page(me) as page:
        page.goto(f"/work/{talk.id}")
        page.locator("#message").fill("what colour is the sky ?")
        page.keyboard.press("Enter")
        page.locator(".answers-title").wait_for(state="attached", timeout=120_000)
        page.wait_for_timeout(4000)
        camera.keep(page, "chat")


def leads(camera: Camera, scene: Scene, pairs: Round) -> None:
    """What those see who run it."""
    places = {
        "lead-rounds": "/lead",
        "lead-round": f"/lead/rounds/{pairs.id}",
        "lead-raters": f"/lead/rounds/{pairs.id}/raters",
        "lead-disagreements": f"/lead/rounds/{pairs.id}/adjudication",
        "lead-questions": f"/lead/rounds/{pairs.id}/questions",
        "lead-new-round": f"/lead/projects/{scene.project}/new-round",
        "lead-people": "/lead/people",
        "lead-exports": f"/lead/rounds/{pairs.id}/exports",
        "lead-tokens": "/lead/tokens",
        "lead-guideline": f"/lead/projects/{scene.project}/guideline",
        "lead-safety": "/lead/safety",
    }
    with camera.page(scene.owner) as page:
        for name, place in places.items():
            page.goto(place)
            camera.keep(page, name)
            if name == "lead-round":
                page.get_by_role("heading", name="Agreement").scroll_into_view_if_needed()
                page.mouse.wheel(0, 500)
                camera.keep(page, "lead-agreement")
        duel = scene.round("Three policies", "compare", "hh", 60, "head_to_head", overlap=2)
        scene.judge(duel, 96)
        page.goto(f"/lead/rounds/{duel.id}/results")
        camera.keep(page, "lead-results")


def main() -> None:
    """Every picture, in the order in which people come to the screens."""
    with (
        tempfile.TemporaryDirectory() as folder,
        served(Path(folder)) as (scene, url),
        sync_playwright() as player,
    ):
        browser = player.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        camera = Camera(browser, scene, url)
        with camera.page(None) as page:
            page.goto("/login")
            camera.keep(page, "sign-in")
            page.goto(f"/invite/{accounts.invite(scene.store, 'rater', actor=scene.owner)}")
            camera.keep(page, "invitation")
        pairs = scene.round("Pairs", "compare", "hh", 80, overlap=3, escalate_spread=4)
        scene.judge(pairs, 200)
        task = assign.next_assignment(scene.store, scene.people[4], pairs.id)
        if task is not None:
            text = "Both are fine. May I say so?"
            questions.ask(scene.store, scene.people[4], task.id, text, new_id())
        raters(camera, scene, pairs)
        leads(camera, scene, pairs)
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
