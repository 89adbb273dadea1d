"""The judging workspace in a real browser: every screen, by key and by mouse, large and small."""

from __future__ import annotations

import importlib
import socket
import statistics
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

pytest.importorskip("playwright")
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect, sync_playwright

HERE = Path(__file__).parent
sys.path.append(str(HERE))
mock = importlib.import_module("mock_server")

CHROMIUM = Path("/usr/bin/chromium")
ARGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"),
    *("--disable-component-update", "--no-first-run", "--disable-quic"),
]
DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
PATIENCE_MS = 20_000  # for a busy machine
SETTLE_MS = 170  # a little more than the workspace's own
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs the system's chromium")


class Server(uvicorn.Server):
    """The stand-in on a port of its own, in a thread."""

    def install_signal_handlers(self) -> None:
        """None: the tests' process keeps its own."""


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, Any]]:
    """Where the stand-in listens, and what it holds."""
    held = mock.Studio()
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        config = uvicorn.Config(mock.create(held), log_level="error", ws="none", lifespan="off")
        server = Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        yield f"http://127.0.0.1:{port}", held
        server.should_exit = True
        server.force_exit = True
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as player:
        found = player.chromium.launch(executable_path=str(CHROMIUM), args=ARGS)
        yield found
        found.close()


@pytest.fixture
def studio(address: tuple[str, Any]) -> Iterator[Any]:
    """A fresh studio; no page may have broken its content security policy."""
    held = address[1]
    vars(held).update(vars(mock.Studio()))
    yield held
    assert held.csp == []


@pytest.fixture
def context(browser: Browser, address: tuple[str, Any]) -> Iterator[BrowserContext]:
    made = browser.new_context(
        viewport=DESKTOP,  # type: ignore[arg-type]
        base_url=address[0],
        reduced_motion="reduce",
    )
    made.set_default_timeout(PATIENCE_MS)
    yield made
    made.close()


@pytest.fixture
def visit(context: BrowserContext, studio: Any) -> Iterator[Callable[..., Page]]:
    """``visit("pairs")`` opens a round; an error in the page fails the test."""
    errors: list[str] = []

    def go(round_: str, *, phone: bool = False) -> Page:
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        if phone:
            page.set_viewport_size(PHONE)  # type: ignore[arg-type]
        page.goto(f"/work/{round_}")
        return page

    yield go
    assert errors == []


def ready(page: Page, task: int) -> None:
    """Waits until a task is there and keys count."""
    expect(page.locator(".prompt")).to_contain_text(f"({task})")
    page.wait_for_timeout(SETTLE_MS)


def online(page: Page) -> None:
    """The network is back, and the browser notices."""
    page.evaluate("window.dispatchEvent(new Event('online'))")


def saved(page: Page, text: str = "All saved") -> None:
    expect(page.locator(".saved")).to_contain_text(text)


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


# Pairs


def test_thirty_pairs_take_one_key_each_and_the_next_is_there_at_once(
    visit: Callable[..., Page], studio: Any
) -> None:
    page = visit("pairs")
    keys, waits = list("1234567890") * 3, []
    for task, key in enumerate(keys):
        ready(page, task)
        page.keyboard.press(key)
        expect(page.locator(".prompt")).to_contain_text(f"({task + 1})")
        waits.append(
            float(page.evaluate("document.querySelector('accord-workspace').dataset.nextMs"))
        )
    saved(page)
    bodies = [studio.judgments[f"pairs-{task:04}"] for task in range(30)]
    outcomes = [("a", 4), ("a", 3), ("a", 2), ("a", 1), ("tie", None), ("both_bad", None)]
    outcomes += [("b", 1), ("b", 2), ("b", 3), ("b", 4)]
    assert [(body["outcome"], body["strength"]) for body in bodies] == outcomes * 3
    assert statistics.median(body["num_keys"] for body in bodies) <= 1.2
    assert all(100 <= body["active_ms"] < 30_000 for body in bodies)
    assert statistics.median(waits) < 200  # below 50 ms alone; tests share two cores
    assert page.evaluate("document.activeElement.className") == "task-start"


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_pairs_by_mouse(visit: Callable[..., Page], studio: Any, phone: bool) -> None:
    page = visit("pairs", phone=phone)
    ready(page, 0)
    place = page.locator(".decide").bounding_box()
    page.get_by_role("button", name="Safer").click()
    page.get_by_label("Comment").fill("B made it up.")
    page.get_by_role("button", name="A clearly better").click()
    for task, name in enumerate(["About the same", "Both bad", "Cannot compare"], start=1):
        ready(page, task)
        page.get_by_role("button", name=name).click()
    ready(page, 4)
    saved(page)
    assert page.locator(".decide").bounding_box() == place  # no button moved under a finger
    first, *others = (studio.judgments[f"pairs-{task:04}"] for task in range(4))
    assert (first["outcome"], first["strength"]) == ("a", 3)
    assert (first["reasons"], first["comment"]) == (["Safer"], "B made it up.")
    assert [each["outcome"] for each in others] == ["tie", "both_bad", "cannot_compare"]
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0  # nothing to scroll sideways


def test_a_strong_preference_asks_why_and_enter_sends(
    visit: Callable[..., Page], studio: Any
) -> None:
    page = visit("strict")
    ready(page, 0)
    press(page, "r", "2", "Escape")  # the reasons by key; Escape is harmless there
    page.locator(".task-start").focus()
    press(page, "0")
    expect(page.locator("#comment")).to_be_focused()
    expect(page.locator("#comment-help")).to_contain_text("needs a few words")
    assert studio.judgments == {}
    page.keyboard.type("It answers 1 and 2.")
    press(page, "Enter")
    ready(page, 1)
    saved(page)
    body = studio.judgments["strict-0000"]
    assert (body["outcome"], body["strength"], body["comment"]) == ("b", 4, "It answers 1 and 2.")
    assert body["reasons"] == ["More truthful"]
    press(page, "9")
    ready(page, 2)
    saved(page)
    assert studio.judgments["strict-0001"]["strength"] == 3


def test_without_strength_the_arrows_decide(visit: Callable[..., Page], studio: Any) -> None:
    page = visit("plain")
    for task, key in enumerate(["ArrowLeft", "ArrowRight", "1", "2", "3"]):
        ready(page, task)
        press(page, key)
    ready(page, 5)
    saved(page)
    outcomes = [studio.judgments[f"plain-{task:04}"]["outcome"] for task in range(5)]
    assert outcomes == ["a", "b", "a", "b", "tie"]


def test_a_key_that_bounces_or_is_held_judges_one_task(
    visit: Callable[..., Page], studio: Any
) -> None:
    page = visit("pairs")
    ready(page, 0)
    press(page, "1", "1")
    page.keyboard.down("2")
    page.keyboard.down("2")
    page.keyboard.up("2")
    ready(page, 1)
    saved(page)
    assert list(studio.judgments) == ["pairs-0000"]


# Rankings


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_questions_about_a_pair_by_key_and_by_mouse(
    visit: Callable[..., Page], studio: Any, phone: bool
) -> None:
    """None is needed, so one key still decides; one that is needed is asked for."""
    page = visit("hhh", phone=phone)
    ready(page, 0)
    press(page, "w", "1", "2", "3")
    page.locator(".task-start").focus()
    press(page, "9")
    ready(page, 1)
    group = page.get_by_role("group", name="Which is more honest?")
    group.get_by_role("radio", name="B", exact=True).check()
    page.get_by_role("button", name="A clearly better").click()
    ready(page, 2)
    press(page, "5")
    ready(page, 3)
    saved(page)
    bodies = [studio.judgments[f"hhh-{task:04}"] for task in range(3)]
    assert [body["sides"] for body in bodies] == [
        {"helpful": "a", "honest": "equal", "harmless": "b"},
        {"honest": "b"},
        {},
    ]
    assert [body["outcome"] for body in bodies] == ["b", "a", "tie"]
    assert bodies[2]["num_keys"] == 1
    press(page, "u")
    expect(page.get_by_text("You are changing an earlier answer")).to_be_visible()


def test_a_question_about_a_pair_that_is_needed(visit: Callable[..., Page], studio: Any) -> None:
    labels = studio.schemas["hhh"].pair_labels
    needed = (labels[0], labels[1].model_copy(update={"required": True}))
    studio.schemas["hhh"] = studio.schemas["hhh"].model_copy(update={"pair_labels": needed})
    page = visit("hhh")
    ready(page, 0)
    press(page, "1")
    expect(page.get_by_text("please answer", exact=True)).to_be_visible()
    assert studio.judgments == {}
    press(page, "3", "Enter")
    ready(page, 1)
    saved(page)
    body = studio.judgments["hhh-0000"]
    assert (body["outcome"], body["strength"], body["sides"]) == ("a", 4, {"honest": "b"})
    press(page, "x")  # who cannot compare is asked nothing
    ready(page, 2)


def test_a_ranking_by_keys(visit: Callable[..., Page], studio: Any) -> None:
    page = visit("rank")
    ready(page, 0)
    press(page, "Enter")
    expect(page.locator(".said")).to_have_text("Still to place: A, B, C, D.")
    press(page, "2", "1", "=", "4", "3", "ArrowUp", "Enter")
    ready(page, 1)
    saved(page)
    assert studio.judgments["rank-0000"]["ranks"] == [0, 0, 1, 2]
    assert studio.judgments["rank-0000"]["num_keys"] == 8


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_a_ranking_by_buttons(visit: Callable[..., Page], studio: Any, phone: bool) -> None:
    page = visit("rank", phone=phone)
    ready(page, 0)
    for letter in "DCBA":
        page.locator(".cards").get_by_role("button", name=f"Place {letter} next").click()
    board = page.get_by_role("region", name="Your ranking")
    board.get_by_role("button", name="Move up A").click()
    board.get_by_role("button", name="Tie with the one above C").click()
    page.get_by_role("button", name="Send ranking").click()
    ready(page, 1)
    saved(page)
    assert studio.judgments["rank-0000"]["ranks"] == [1, 2, 0, 0]


def test_a_ranking_by_drag(visit: Callable[..., Page], studio: Any) -> None:
    page = visit("rank")
    ready(page, 0)

    def drag(slot: int, target: str) -> None:
        chip = page.locator(f'.chip[data-slot="{slot}"] .grip').bounding_box()
        assert chip is not None
        page.mouse.move(chip["x"] + 4, chip["y"] + 8)
        page.mouse.down()
        page.mouse.move(chip["x"] + 20, chip["y"] + 20)
        zone = page.locator(target).bounding_box()
        assert zone is not None
        page.mouse.move(zone["x"] + zone["width"] - 8, zone["y"] + zone["height"] / 2, steps=4)
        page.mouse.up()

    drag(0, "[data-gap='0']")
    drag(1, "[data-gap='0']")  # before the first
    drag(2, "[data-tie='1']")  # onto it: a tie
    drag(3, "[data-gap='1']")  # between the two
    expect(page.locator(".pool")).to_have_count(0)
    press(page, "Enter")
    ready(page, 1)
    saved(page)
    assert studio.judgments["rank-0000"]["ranks"] == [2, 0, 2, 1]


@pytest.mark.parametrize("phone", [False, True], ids=["keys", "phone"])
def test_each_response_is_labelled_alone_before_the_ranking(
    visit: Callable[..., Page], studio: Any, phone: bool
) -> None:
    page = visit("labels", phone=phone)
    ready(page, 0)
    for number, step in enumerate(["6", "2", "7", "3"]):
        expect(page.locator(".alone h2")).to_contain_text(f"{number + 1} of 4")
        if phone:
            page.get_by_role("radio", name=step, exact=True).check()
            if number == 1:
                page.get_by_label("Expresses an opinion").check()
            page.get_by_role("button", name="Next response").or_(
                page.get_by_role("button", name="Go on to rank them")
            ).click()
        else:
            if number == 0:
                press(page, "Enter")  # not yet: the scale is asked
                expect(page.locator(".wanted")).to_have_text("please answer")
            press(page, step)
            if number == 1:
                page.get_by_label("Expresses an opinion").focus()
                press(page, "Space")
            press(page, "Enter")
    expect(page.get_by_role("region", name="Your ranking")).to_be_visible()
    press(page, "3", "1", "4", "2", "Enter")
    ready(page, 1)
    saved(page)
    body = studio.judgments["labels-0000"]
    assert body["ranks"] == [1, 3, 0, 2]
    assert [body["labels"][slot]["overall"] for slot in "abcd"] == [6, 2, 7, 3]
    assert [body["labels"][slot]["opinion"] for slot in "abcd"] == [False, True, False, False]


# Writing


def test_a_demonstration_is_kept_while_it_is_written(
    visit: Callable[..., Page], studio: Any
) -> None:
    page = visit("write")
    ready(page, 0)
    expect(page.locator("#answer")).to_be_focused()
    page.keyboard.type("Stop the first rise 1 hour earlier.")
    page.reload()
    ready(page, 0)
    expect(page.locator("#answer")).to_have_value("Stop the first rise 1 hour earlier.")
    page.keyboard.type(" Then shape it.")
    expect(page.locator("#answer-help")).to_contain_text("here and on the server")
    expected = "Stop the first rise 1 hour earlier. Then shape it."
    assert studio.drafts["write-0000"]["completion"].startswith("Stop the first rise")
    press(page, "Control+Enter")
    ready(page, 1)
    page.get_by_text("A draft by the model").click()
    page.get_by_role("button", name="Start from the draft").click()
    page.get_by_role("button", name="Send answer").click()
    ready(page, 2)
    saved(page)
    first, second = studio.judgments["write-0000"], studio.judgments["write-0001"]
    assert (first["completion"], first["draft_used"]) == (expected, False)
    assert second["draft_used"] and second["completion"].startswith("There are many reasons")


# Chat


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_a_chat_shows_no_answer_before_the_other_and_goes_on_with_the_chosen(
    visit: Callable[..., Page], studio: Any, phone: bool
) -> None:
    studio.stall = "b"
    page = visit("chat", phone=phone)
    page.get_by_label("Your message").fill("My bread is flat. What now?")
    press(page, "Enter")
    expect(page.get_by_text("Both answers appear together")).to_be_visible()
    seen = page.locator("article.pane .prose")
    expect(seen).to_have_count(2)
    assert all(text.strip() for text in seen.all_inner_texts())
    expect(page.get_by_role("button", name="B rather better")).to_be_visible()
    page.wait_for_timeout(SETTLE_MS)
    if phone:
        page.get_by_role("button", name="B rather better").click()
    else:
        press(page, "8")
    expect(page.locator(".message.assistant")).to_contain_text("Start with what you would miss")
    turn = studio.judgments["talk-0-0"]
    assert (turn["outcome"], turn["strength"], turn["edited"]) == ("b", 2, None)
    page.reload()
    expect(page.locator(".message")).to_have_count(2)
    page.get_by_label("Your message").fill("And then?")
    page.get_by_role("button", name="Send").click()
    page.get_by_role("button", name="Improve").first.click()
    page.locator("#edit").fill("Bake it hotter.")
    page.get_by_role("button", name="Keep my version").click()
    page.wait_for_timeout(SETTLE_MS)
    page.get_by_role("button", name="A slightly better").click()
    expect(page.get_by_text("This conversation is complete")).to_be_visible()
    assert studio.judgments["talk-0-1"]["edited"] == {"slot": "a", "text": "Bake it hotter."}


def test_a_message_waits_for_the_network_and_survives_a_reload(
    visit: Callable[..., Page], studio: Any
) -> None:
    page = visit("chat")
    page.get_by_label("Your message").fill("Hello")
    studio.down = True
    press(page, "Enter")
    expect(page.get_by_text("Your message is kept here")).to_be_visible()
    studio.down = False
    page.reload()
    expect(page.locator("article.pane")).to_have_count(2)
    assert [talk["said"] for talk in studio.talks.values()] == [["Hello"]]


# Nothing lost, nothing doubled


def judge(page: Page, first: int, count: int) -> None:
    for task in range(first, first + count):
        ready(page, task)
        press(page, "2")


def once(studio: Any, count: int) -> None:
    """Each of the first tasks was saved, and by one judgment."""
    names = [f"pairs-{task:04}" for task in range(count)]
    assert sorted(studio.judgments) == names
    done = [reply for reply in studio.keys.values() if "progress" in reply]
    assert len(done) == count


def test_a_while_without_network_loses_and_doubles_nothing(
    visit: Callable[..., Page], studio: Any, context: BrowserContext
) -> None:
    page = visit("pairs")
    judge(page, 0, 1)
    ready(page, 1)
    saved(page)
    context.set_offline(True)
    judge(page, 1, 3)
    saved(page, "Offline, 3 kept here")
    page.locator(".saved").click()
    expect(page.get_by_role("heading", name="Waiting here: 3")).to_be_visible()
    press(page, "Escape")
    assert len(studio.judgments) == 1
    context.set_offline(False)
    saved(page)
    judge(page, 4, 1)
    ready(page, 5)
    saved(page)
    once(studio, 5)


def test_a_reload_and_a_crash_lose_and_double_nothing(
    visit: Callable[..., Page], studio: Any
) -> None:
    page = visit("pairs")
    ready(page, 0)
    studio.down = True
    judge(page, 0, 2)
    ready(page, 2)
    page.get_by_label("Comment").fill("half a thought")
    page.wait_for_timeout(400)
    with pytest.raises(Error):
        page.goto("chrome://crash")
    studio.down = False
    page = visit("pairs")
    ready(page, 2)
    expect(page.get_by_label("Comment")).to_have_value("half a thought")
    saved(page)
    once(studio, 2)
    studio.down = True
    page.locator(".task-start").focus()
    judge(page, 2, 1)
    saved(page, "1 kept here")
    page.close()
    studio.down = False
    saved(visit("pairs"))
    once(studio, 3)


SLOW_DISK = """
  const getAll = IDBObjectStore.prototype.getAll;
  IDBObjectStore.prototype.getAll = function () {
    const request = getAll.call(this), slow = {};
    request.onsuccess = () => setTimeout(() => { slow.result = request.result; slow.onsuccess(); }, 400);
    return slow;
  };
  window.seen = new Set();
  setInterval(() => {
    document.querySelector('accord-workspace')?.requestUpdate?.();
    const text = document.querySelector('.saved')?.innerText;
    if (text) window.seen.add(text.trim());
  }, 5);
"""  # noqa: E501


def test_all_is_saved_is_not_said_before_it_is_known(
    visit: Callable[..., Page], studio: Any, context: BrowserContext
) -> None:
    page = visit("pairs")
    ready(page, 0)
    studio.down = True
    judge(page, 0, 1)
    saved(page, "1 kept here")
    page.close()
    studio.down, studio.deaf = False, True  # it can be read who is here, and nothing is taken
    context.add_init_script(SLOW_DISK)
    page = visit("pairs")
    saved(page, "1 kept here")
    assert "All saved" not in page.evaluate("[...window.seen].join('|')")
    studio.deaf = False
    online(page)
    saved(page)


def test_a_dialog_opens_again_before_its_first_one_has_said_that_it_is_shut(
    visit: Callable[..., Page],
) -> None:
    page = visit("pairs")
    ready(page, 0)
    press(page, "?")
    expect(page.get_by_role("heading", name="Keys")).to_be_visible()
    page.evaluate(  # one task of the browser: its close event comes after the key
        """() => {
          document.querySelector('dialog').close();
          document.dispatchEvent(new KeyboardEvent('keydown', { key: '?', bubbles: true }));
        }"""
    )
    page.wait_for_timeout(SETTLE_MS)
    expect(page.get_by_role("heading", name="Keys")).to_be_visible()
    assert page.evaluate("document.querySelectorAll('dialog').length") == 1
    press(page, "Escape")
    expect(page.locator("dialog")).to_have_count(0)
    press(page, "1")
    ready(page, 1)


def test_two_practice_answers_that_come_back_together_are_told_one_after_the_other(
    visit: Callable[..., Page], studio: Any
) -> None:
    studio.training = True
    page = visit("pairs")
    ready(page, 0)
    studio.down = True
    judge(page, 0, 2)
    saved(page, "2 kept here")
    studio.down = False
    online(page)
    saved(page)
    for _ in range(2):
        expect(page.locator("dialog")).to_be_visible()
        expect(page.locator("dialog")).to_contain_text("This was a practice task")
        press(page, "Enter")
    expect(page.locator("dialog")).to_have_count(0)


def test_an_answer_that_got_lost_is_sent_again_and_saved_once(
    visit: Callable[..., Page], studio: Any
) -> None:
    page = visit("pairs")
    ready(page, 0)
    studio.deaf = True  # the server saves, and its answer never arrives
    judge(page, 0, 2)
    saved(page, "2 kept here")
    assert list(studio.judgments) == ["pairs-0000"]
    studio.deaf = False
    saved(page)  # by itself, after its wait
    once(studio, 2)
    sent = [path for method, path in studio.calls if path.endswith("pairs-0000/judgment")]
    assert len(sent) >= 2


def test_a_session_that_ends_keeps_everything_until_the_rater_is_back(
    visit: Callable[..., Page], studio: Any
) -> None:
    page = visit("pairs")
    ready(page, 0)
    studio.signed_out = True
    judge(page, 0, 2)
    link = page.get_by_role("link", name="sign in again")
    expect(link).to_have_attribute("href", "/login?next=%2Fwork%2Fpairs")
    saved(page, "Signed out, 2 kept here")
    studio.signed_out = False
    online(page)
    saved(page)
    once(studio, 2)


def test_what_the_server_refuses_is_shown_and_not_thrown_away(
    visit: Callable[..., Page], studio: Any
) -> None:
    page = visit("write")
    ready(page, 0)
    words = {"error": {"what": "This round is closed.", "how": "Copy your text."}}
    page.route("**/judgment", lambda route: route.fulfill(status=409, json=words))
    page.locator("#answer").fill("A long answer.")
    press(page, "Control+Enter")
    saved(page, "1 not taken")
    page.locator(".saved").click()
    expect(page.get_by_label("What you wrote")).to_have_value("A long answer.")
    expect(page.locator("dialog")).to_contain_text("This round is closed. Copy your text.")
    page.get_by_role("button", name="I have seen it").click()
    press(page, "Escape")
    saved(page)


@pytest.mark.parametrize("keeps", ["localStorage", "nothing"])
def test_browsers_without_indexeddb(
    visit: Callable[..., Page], studio: Any, context: BrowserContext, keeps: str
) -> None:
    context.add_init_script("delete Window.prototype.indexedDB; delete window.indexedDB")
    if keeps == "nothing":
        context.add_init_script("delete Window.prototype.localStorage; delete window.localStorage")
    page = visit("pairs")
    ready(page, 0)
    notice = page.get_by_text("keep nothing on this computer")
    expect(notice).to_have_count(1 if keeps == "nothing" else 0)
    studio.down = True
    judge(page, 0, 2)
    saved(page, "2 kept here")
    studio.down = False
    if keeps == "localStorage":
        page.reload()
    else:
        online(page)
    saved(page)
    once(studio, 2)


# Going back, skipping, asking


def test_going_back_opens_the_last_answers_one_by_one(
    visit: Callable[..., Page], studio: Any
) -> None:
    page = visit("pairs")
    judge(page, 0, 3)
    ready(page, 3)
    saved(page)
    press(page, "u")
    ready(page, 2)
    expect(page.get_by_text("You are changing an earlier answer")).to_be_visible()
    pressed = page.get_by_role("button", name="A clearly better")
    expect(pressed).to_have_attribute("aria-pressed", "true")
    press(page, "u")
    ready(page, 1)
    press(page, "9")
    ready(page, 2)
    press(page, "Enter")  # leave it as it was
    ready(page, 3)
    saved(page)
    outcomes = [studio.judgments[f"pairs-{task:04}"]["outcome"] for task in range(3)]
    assert outcomes == ["a", "b", "a"]
    assert [name for kind, name in studio.events if kind == "undo"] == ["pairs-0002", "pairs-0001"]


def test_going_back_before_it_was_sent_never_sends_it(
    visit: Callable[..., Page], studio: Any
) -> None:
    page = visit("pairs")
    ready(page, 0)
    studio.down = True
    judge(page, 0, 2)
    ready(page, 2)
    saved(page, "2 kept here")
    press(page, "u")
    ready(page, 1)
    saved(page, "1 kept here")
    press(page, "0")
    ready(page, 2)
    studio.down = False
    online(page)
    saved(page)
    once(studio, 2)
    assert studio.judgments["pairs-0001"]["strength"] == 4
    assert studio.events == []


def test_twenty_answers_can_be_taken_back(visit: Callable[..., Page], studio: Any) -> None:
    page = visit("plain")
    for task in range(22):
        ready(page, task)
        press(page, "1")
    ready(page, 22)
    saved(page)
    for task in range(21, 1, -1):
        press(page, "u")
        expect(page.locator(".prompt")).to_contain_text(f"({task})")
    press(page, "u")
    expect(page.locator(".said")).to_contain_text("nothing to go back to")
    saved(page)
    assert sorted(studio.judgments) == ["plain-0000", "plain-0001"]


def test_skipping_takes_a_reason_and_a_question_goes_to_the_researchers(
    visit: Callable[..., Page], studio: Any
) -> None:
    page = visit("pairs")
    ready(page, 0)
    press(page, "q")
    page.keyboard.type("Is 1 cup 240 ml here?")
    press(page, "Control+Enter")
    expect(page.locator("dialog")).to_have_count(0)
    press(page, "s")
    expect(page.get_by_role("heading", name="Why skip this one?")).to_be_visible()
    press(page, "Escape")
    ready(page, 0)
    press(page, "s")
    page.get_by_role("button", name="I do not know the subject").click()
    ready(page, 1)
    press(page, "s", "2")
    ready(page, 2)
    saved(page)
    told = [("question", "Is 1 cup 240 ml here?"), ("skip", "pairs-0000"), ("skip", "pairs-0001")]
    assert studio.events == told
    assert studio.judgments == {}


def test_an_answer_to_a_question_is_told_and_kept_beside_the_question(
    visit: Callable[..., Page], studio: Any
) -> None:
    studio.questions = [
        {"assignment": "pairs-0009", "about": "An older one", "text": "Rude?", "answer": ""},
        {
            "assignment": "pairs-0001",
            "about": "How?",
            "text": "1 < 2?",
            "answer": "<b>Yes</b>\nit is.",
        },
    ]
    page = visit("pairs")
    ready(page, 0)
    ask = page.locator('[data-action="question"]')
    expect(ask).not_to_contain_text("answered")
    studio.answered = 1000.5
    press(page, "1")
    ready(page, 1)
    expect(ask).to_contain_text("answered")
    expect(page.locator('[aria-live="polite"]').last).to_contain_text("have answered a question")
    press(page, "q")
    expect(page.locator(".thread article")).to_have_count(2)
    first, second = page.locator(".thread article").nth(0), page.locator(".thread article").nth(1)
    expect(first).to_contain_text("About this task")
    expect(first.locator(".answer")).to_have_text("<b>Yes</b>\nit is.")
    expect(second).to_contain_text("About “An older one”")
    expect(second).to_contain_text("Not answered yet.")
    assert page.evaluate("document.activeElement.id") == "question-text"
    press(page, "Escape")
    expect(ask).not_to_contain_text("answered")
    page.reload()  # what was read is not told again
    ready(page, 1)
    expect(ask).not_to_contain_text("answered")
    studio.answered = 2000.5
    press(page, "1")
    ready(page, 2)
    expect(ask).to_contain_text("answered")


def test_an_answer_that_comes_after_the_last_task_can_be_read(
    visit: Callable[..., Page], studio: Any
) -> None:
    studio.size, studio.answered = 1, 1000.5
    studio.questions = [{"assignment": "x", "about": "It", "text": "Why?", "answer": "So."}]
    page = visit("pairs")
    judge(page, 0, 1)
    page.get_by_role("button", name="Read it").click()
    expect(page.locator(".thread .answer")).to_have_text("So.")
    expect(page.locator("#question-text")).to_have_count(0)
    press(page, "Escape")
    expect(page.get_by_role("button", name="Read it")).to_have_count(0)


def test_without_a_network_a_question_can_be_asked_all_the_same(
    visit: Callable[..., Page], studio: Any
) -> None:
    page = visit("pairs")
    ready(page, 0)
    studio.down = True
    press(page, "q")
    page.keyboard.type("Which way?")
    press(page, "Control+Enter")
    expect(page.locator("dialog")).to_have_count(0)
    studio.down = False
    online(page)
    saved(page)
    assert studio.events == [("question", "Which way?")]


def test_practice_tasks_tell_what_the_researchers_chose(
    visit: Callable[..., Page], studio: Any
) -> None:
    studio.training = True
    page = visit("pairs")
    judge(page, 0, 1)
    expect(page.locator("dialog")).to_contain_text("The researchers chose differently")
    expect(page.locator("dialog")).to_contain_text("B tells the truth")
    press(page, "2")  # no judgment under a dialog
    press(page, "Enter")
    expect(page.locator("dialog")).to_have_count(0)
    assert len(studio.judgments) == 1


def test_who_did_not_pass_the_practice_is_told_what_to_do(
    visit: Callable[..., Page], studio: Any
) -> None:
    studio.size, studio.training = 1, True
    studio.practice = {"right": 1, "of": 5, "needed": 4}
    page = visit("pairs")
    judge(page, 0, 1)
    expect(page.locator("dialog")).to_contain_text("This was a practice task")
    press(page, "Enter")
    expect(page.locator("dialog")).to_have_count(0)
    expect(page.get_by_role("heading", name="The practice is over for now")).to_be_visible()
    expect(page.locator(".empty")).to_contain_text("Of your last 5 practice answers 1 was")
    expect(page.locator(".empty")).to_contain_text("4 are needed")
    expect(page.locator(".empty")).not_to_contain_text("faster")
    studio.practice = {"right": 5, "of": 5, "needed": 4, "too_fast": True}
    page.wait_for_load_state("networkidle")  # no look is under way
    page.get_by_role("button", name="Look again").click()
    expect(page.locator(".empty")).to_contain_text("faster than anybody can read")
    page.get_by_role("button", name="Read the guideline").click()
    expect(page.locator("#guideline-title")).to_be_visible()
    studio.size, studio.practice = 2, None  # a lead has let them try again
    page.get_by_role("button", name="Look again").click()
    expect(page.locator(".prompt")).to_contain_text("(1)")


def test_the_end_of_a_round(visit: Callable[..., Page], studio: Any) -> None:
    studio.size = 2
    page = visit("pairs")
    judge(page, 0, 2)
    expect(page.get_by_role("heading", name="All done here")).to_be_visible()
    page.get_by_role("button", name="Change my last answer").click()
    ready(page, 1)


# Guideline and keys


def test_a_new_guideline_must_be_read_and_stays_beside_the_task(
    visit: Callable[..., Page], studio: Any
) -> None:
    studio.guideline = 2
    page = visit("pairs")
    expect(page.get_by_text("It changed since you last read it")).to_be_visible()
    expect(page.locator(".changes ins")).to_have_text("not")
    press(page, "1", "Enter")
    ready(page, 0)
    assert (studio.agreed, studio.judgments) == (2, {})
    press(page, "g")
    expect(page.get_by_role("complementary", name="Guideline")).to_contain_text("helps")
    press(page, "1")  # the task goes on beside it
    ready(page, 1)
    press(page, "g")
    expect(page.get_by_role("complementary")).to_have_count(0)


def test_keys_can_be_changed_and_turned_off(visit: Callable[..., Page], studio: Any) -> None:
    page = visit("pairs")
    ready(page, 0)
    press(page, "?")
    page.get_by_role("button", name="Change the key: A is much better").click()
    press(page, "f")
    expect(page.locator("dialog [role=status]")).to_contain_text("F is set")
    press(page, "Escape")
    page.reload()
    ready(page, 0)
    press(page, "1")  # means nothing now
    press(page, "f")
    ready(page, 1)
    saved(page)
    assert studio.judgments["pairs-0000"]["strength"] == 4
    press(page, "?")
    page.get_by_label("Single keys act").uncheck()
    press(page, "Escape")
    press(page, "2")
    page.get_by_role("button", name="Keys").click()
    page.get_by_role("button", name="Restore all").click()
    page.get_by_label("Single keys act").check()
    press(page, "Escape")
    assert list(studio.judgments) == ["pairs-0000"]
    press(page, "1")
    ready(page, 2)


def test_only_active_time_counts(visit: Callable[..., Page], studio: Any) -> None:
    page = visit("pairs")
    ready(page, 0)
    page.evaluate("""() => {
        const real = performance.now.bind(performance);
        performance.now = () => real() + 600_000;
    }""")  # ten minutes pass without a sign of life
    press(page, "1")
    ready(page, 1)
    saved(page)
    assert 60_000 <= studio.judgments["pairs-0000"]["active_ms"] < 70_000


# Everybody can use it


def states(page: Page, round_: str) -> Iterator[str]:
    """The screens of a round, one after the other."""
    if round_ == "chat":
        expect(page.get_by_label("Your message")).to_be_visible()
        yield "composer"
        page.get_by_label("Your message").fill("Hello")
        press(page, "Enter")
        expect(page.get_by_role("button", name="Improve")).to_have_count(2)
        yield "answers"
        return
    ready(page, 0)
    yield "task"
    if round_ == "rank":
        press(page, "1", "2", "=", "3")
        yield "half ranked"
    if round_ != "pairs":
        return
    for key, name in {"?": "keys", "s": "skip", "q": "question", "g": "guideline"}.items():
        press(page, key)
        expect(page.locator("dialog, aside")).to_have_count(1)
        yield name
        press(page, "Escape" if key != "g" else "g")
        expect(page.locator("dialog, aside")).to_have_count(0)
    page.locator(".saved").click()
    yield "what is saved"


AXE = """async (only) => {
    const tags = ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice'];
    const options = only ? {runOnly: only} : {runOnly: tags};
    const {violations} = await axe.run({...options, resultTypes: ['violations']});
    return violations.map((v) => [v.id, v.nodes.map((n) => n.html.slice(0, 120))]);
}"""


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing_in_light_and_dark(visit: Callable[..., Page], size: Any) -> None:
    axe = (HERE / "vendor" / "axe.min.js").read_text("utf-8")
    page = visit("pairs", phone=size == PHONE)
    problems: dict[str, Any] = {}
    for round_ in ["pairs", "strict", "plain", "hhh", "rank", "labels", "write", "chat"]:
        page.goto(f"/work/{round_}")
        page.evaluate(axe)
        for state in states(page, round_):
            for scheme, only in (("dark", ["color-contrast"]), ("light", None)):
                page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                for rule, nodes in page.evaluate(AXE, only):
                    problems[f"{round_}, {state}, {scheme}: {rule}"] = nodes
    assert problems == {}


def test_what_happens_is_said_and_focus_is_seen(visit: Callable[..., Page], studio: Any) -> None:
    page = visit("pairs")
    ready(page, 0)
    live = page.locator(".work-page > [aria-live]")
    press(page, "7")
    expect(live).to_have_text("B slightly better.")
    ready(page, 1)
    press(page, "Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert outline in ("2px", "3px")
    small = page.evaluate("""() => [...document.querySelectorAll('button, a, input, textarea')]
        .filter((e) => e.checkVisibility() && !e.closest('label'))
        .map((e) => e.getBoundingClientRect())
        .filter((r) => r.width < 24 || r.height < 24).length""")
    assert small == 0
    page.get_by_role("button", name="Light or dark colours").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.reload()
    ready(page, 1)
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
