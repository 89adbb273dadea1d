"""Conversations end to end: a real server, a real worker process, two answers over one stream."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from accord.config import ModelConfig
from accord.config.generators import AccordPolicy, GeneratorConfig, OpenAIPolicy, Speech
from accord.generator import Job, Said
from accord.store import accounts, dialogue, judgments, rounds
from accord.store.database import Store, open_store
from accord.store.events import history, verify
from accord.store.task import RoundSettings, TaskSchema
from accord.types import Message
from accord.web.app import create_app
from accord.web.generator import Generator
from accord.web.security import WebSettings

WORDS = [f"word{i} " for i in range(12)]


@dataclass
class Speaker:
    """A chat server that says its words slowly; ``faults`` are taken one a request."""

    url: str = ""
    pause: float = 0.01
    faults: list[str] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture
def speaker() -> Iterator[Speaker]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            known.asked.append(asked)
            fault = known.faults.pop(0) if known.faults else ""
            self.send_response(500 if fault == "500" else 200)
            self.end_headers()
            slow = 5 if asked["model"] == "slow-secret" else 1
            first = "other " if fault == "other" else ""
            for i, word in enumerate([first, *WORDS]):
                if fault == "garbage" and i == 3:
                    self.wfile.write(b"data: <html>\n\n")
                    return
                row = {"choices": [{"delta": {"content": word}}]}
                self.wfile.write(b"data: " + json.dumps(row).encode() + b"\n\n")
                time.sleep(known.pause * slow)
            self.wfile.write(b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n')

        def log_message(self, *_: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            pass

    with Quiet(("127.0.0.1", 0), Handler) as running:
        known = Speaker(f"http://127.0.0.1:{running.server_port}/v1")
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield known
        running.shutdown()
        thread.join()


Event = tuple[str, dict[str, Any], str]


@dataclass
class Live:
    """A studio that is served, and the raters in it."""

    url: str
    store: Store
    generator: Generator
    round_id: str
    wire: list[str] = field(default_factory=list)
    keys: int = 0

    def rater(self, name: str = "Ada") -> httpx.Client:
        account = accounts.create_account(self.store, name)
        token = accounts.create_token(self.store, account.id, "t", "rater", actor="system")
        return httpx.Client(
            base_url=f"{self.url}/api/v1",
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
            timeout=300,
        )

    def post(self, rater: httpx.Client, path: str, status: int = 200, **body: Any) -> Any:
        self.keys += 1
        answer = rater.post(path, json={"key": f"k{self.keys}", **body})
        assert answer.status_code == status, answer.text
        self.wire.append(answer.text)
        return answer.json()

    def ask(self, rater: httpx.Client, text: str = "what is the color of the sky ?") -> str:
        """A new conversation with one message; the turn."""
        talk = self.post(rater, f"/rounds/{self.round_id}/conversations")
        said = self.post(rater, f"/conversations/{talk['conversation']}/messages", text=text)
        turn: str = said["turn"]
        return turn

    def events(self, rater: httpx.Client, turn: str, last_id: str = "") -> Iterator[Event]:
        headers = {"Last-Event-ID": last_id} if last_id else {}
        with rater.stream("GET", f"/turns/{turn}/stream", headers=headers) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            seen: dict[str, str] = {}
            for line in answer.iter_lines():
                self.wire.append(line)
                if not line and "event" in seen:
                    yield seen["event"], json.loads(seen["data"]), seen.get("id", "")
                    seen = {}
                elif line and not line.startswith(":"):
                    name, _, value = line.partition(": ")
                    seen[name] = value


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Callable[..., Live]]:
    """Serves a chat round answered by some policies."""
    closing: list[Callable[[], Any]] = []

    def start(
        policies: dict[str, Any], *, speech: Speech | None = None, schema: Any = None, **more: Any
    ) -> Live:
        store = open_store(tmp_path / "studio.db")
        project = rounds.create_project(store, "p", "system")
        settings = RoundSettings(policies=tuple(policies), speech=speech or Speech(max_tokens=40))
        made = rounds.create_round(
            store,
            project.id,
            "r",
            task="chat",
            actor="system",
            schema=TaskSchema(**(schema or {})),
            settings=settings,
        )
        rounds.open_round(store, made.id, "system")
        config = GeneratorConfig(policies=policies, num_threads=1, **more)
        app = create_app(store, WebSettings(), config)
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", ws="none"))
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]

        def stop() -> None:
            server.should_exit = True
            thread.join()
            store.close()

        closing.append(stop)
        return Live(f"http://127.0.0.1:{port}", store, app.state.generator, made.id)

    yield start
    for stop in closing:
        stop()


def far(speaker: Speaker, model: str) -> OpenAIPolicy:
    return OpenAIPolicy(kind="openai", url=speaker.url, model=model, silence_seconds=60)


def pair(speaker: Speaker) -> dict[str, OpenAIPolicy]:
    return {"quick": far(speaker, "quick-secret"), "slow": far(speaker, "slow-secret")}


def panes(events: list[Event]) -> dict[str, str]:
    shown = {"a": "", "b": ""}
    for name, data, _ in events:
        if name == "delta":
            before = "" if data.get("afresh") else shown[data["slot"]]
            shown[data["slot"]] = before + data["text"]
    return shown


def done(events: list[Event]) -> dict[str, str]:
    return {data["slot"]: data["text"] for name, data, _ in events if name == "done"}


def choose(outcome: str = "a", **more: Any) -> dict[str, Any]:
    strength = {"strength": 3} if outcome in "ab" else {}
    return {"outcome": outcome, **strength, **more}


def wait_for(condition: Callable[[], Any], seconds: float = 300.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this took too long"
        time.sleep(0.02)


def test_accords_own_model_answers_twice_and_is_chosen(
    live: Callable[..., Live], model_folder: Callable[[str], Path]
) -> None:
    from accord.stages.worker import AccordBackend

    source = str(model_folder("llama"))
    own = AccordPolicy(source=source, model=ModelConfig(device="cpu", max_tokens=200))
    studio = live({"own": own}, speech=Speech(max_tokens=60))
    with studio.rater() as rater:
        turn = studio.ask(rater)
        events = list(studio.events(rater, turn))
        assert events[0][0] == "reveal"
        assert panes(events) == done(events)
        talk = studio.post(rater, f"/turns/{turn}/choice", body=choose("b"))
        assert talk["messages"][-1]["text"] == done(events)["b"]
        assert (talk["turn"], talk["over"], talk["left"]) == (None, False, 7)
    account = accounts.list_accounts(studio.store)[0]
    (judgment,) = judgments.recent(studio.store, account.id)
    stored = dialogue.get_turn(studio.store, account.id, turn)
    assert judgment.outcome["best"] == stored.permutation[1]
    said: list[Said] = []
    alone = AccordBackend(GeneratorConfig(policies={"own": own}), said.append)
    for slot in (0, 1):
        ask = (Message("user", "what is the color of the sky ?"),)
        key = f"{stored.generation_id}.{slot}"
        alone.start(Job(str(slot), "own", ask, Speech(max_tokens=60), key))
    while alone.step():
        pass
    for slot in (0, 1):
        text = "".join(one.text for one in said if one.job == str(slot) and one.kind == "text")
        assert stored.responses[slot]["text"] == text
    assert verify(studio.store) == []


def test_a_worker_killed_in_the_middle_loses_and_doubles_nothing(
    live: Callable[..., Live], speaker: Speaker
) -> None:
    speaker.pause = 0.05
    studio = live(pair(speaker))
    with studio.rater() as rater:
        turn = studio.ask(rater)
        events: list[Event] = []
        killed = 0
        for event in studio.events(rater, turn):
            events.append(event)
            if event[0] == "delta" and not killed:
                killed = studio.generator.pid or 0
                os.kill(killed, signal.SIGKILL)
    assert killed and studio.generator.pid != killed
    text = "".join(WORDS)
    assert panes(events) == done(events) == {"a": text, "b": text}
    assert not any("afresh" in data for _, data, _ in events)
    assert len(speaker.asked) == 4


def test_a_second_try_that_says_something_else_begins_afresh(
    live: Callable[..., Live], speaker: Speaker
) -> None:
    speaker.pause = 0.05
    speaker.faults = ["", "", "other", "other"]
    studio = live(pair(speaker))
    with studio.rater() as rater:
        turn = studio.ask(rater)
        events: list[Event] = []
        for event in studio.events(rater, turn):
            events.append(event)
            if event[0] == "delta" and len(events) == 3:
                os.kill(studio.generator.pid or 0, signal.SIGKILL)
    text = "other " + "".join(WORDS)
    assert panes(events) == done(events) == {"a": text, "b": text}
    assert any("afresh" in data for _, data, _ in events)


def test_the_quicker_answer_waits_for_the_slower(
    live: Callable[..., Live], speaker: Speaker
) -> None:
    speaker.pause = 0.03
    studio = live(pair(speaker))
    with studio.rater() as rater:
        turn = studio.ask(rater)
        lengths = {"a": 0, "b": 0}
        ticks = 0
        for name, data, _ in studio.events(rater, turn):
            if name == "delta":
                lengths[data["slot"]] += len(data["text"])
                if data["slot"] == "b":
                    ticks += 1
                    assert lengths["a"] == lengths["b"]
    assert ticks > 3


def test_a_broken_line_goes_on_where_it_was(live: Callable[..., Live], speaker: Speaker) -> None:
    speaker.pause = 0.02
    studio = live(pair(speaker))
    with studio.rater() as rater:
        turn = studio.ask(rater)
        events: list[Event] = []
        for _ in range(20):
            last = events[-1][2] if events else ""
            for event in studio.events(rater, turn, last):
                events.append(event)
                if len(events) % 3 == 0:
                    break
            if len(done(events)) == 2:
                break
    text = "".join(WORDS)
    assert panes(events) == done(events) == {"a": text, "b": text}
    assert [name for name, _, _ in events].count("reveal") == 1


def test_what_a_rater_receives_is_blind(live: Callable[..., Live], speaker: Speaker) -> None:
    studio = live(pair(speaker))
    with studio.rater() as rater:
        turn = studio.ask(rater)
        list(studio.events(rater, turn))
        studio.post(rater, f"/turns/{turn}/choice", body=choose("a"))
        studio.wire.append(rater.get(f"/rounds/{studio.round_id}/conversation").text)
        speaker.faults = ["500"] * 9
        list(studio.events(rater, studio.ask(rater)))
        wire = "\n".join(studio.wire)
    for word in ("secret", "quick", "slow", "latency", "model", "finish", "500", speaker.url):
        assert word not in wire.replace('"what"', ""), word
    assert "could not be made" in wire


def test_a_server_that_fails_at_first_is_asked_again(
    live: Callable[..., Live], speaker: Speaker
) -> None:
    speaker.faults = ["garbage", "500"]
    studio = live(pair(speaker))
    with studio.rater() as rater:
        events = list(studio.events(rater, studio.ask(rater)))
    assert done(events) == {"a": "".join(WORDS), "b": "".join(WORDS)}


def test_a_worker_that_hangs_is_replaced(live: Callable[..., Live], speaker: Speaker) -> None:
    studio = live(pair(speaker), silence_seconds=6)
    with studio.rater() as rater:
        wait_for(lambda: studio.generator.ready)
        hung = studio.generator.pid or 0
        os.kill(hung, signal.SIGSTOP)
        turn = studio.ask(rater)
        events = list(studio.events(rater, turn))
    assert set(done(events)) == {"a", "b"}
    assert studio.generator.pid != hung
    with pytest.raises(ProcessLookupError):
        os.kill(hung, 0)


def test_what_is_queued_survives_the_server(
    live: Callable[..., Live], speaker: Speaker, tmp_path: Path
) -> None:
    speaker.pause = 0.1
    studio = live(pair(speaker))
    rater = studio.rater()
    turn = studio.ask(rater)
    for name, _, _ in studio.events(rater, turn):
        if name == "delta":
            break
    first = studio.generator.pid or 0
    studio.generator.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    config = GeneratorConfig(policies=pair(speaker))
    from accord.store import prepare

    speaker.pause = 0.01
    second = Generator(studio.store, config, prepare.deliver)
    second.start()
    try:
        events = list(studio.events(rater, turn))
    finally:
        second.stop()
        rater.close()
    assert done(events) == {"a": "".join(WORDS), "b": "".join(WORDS)}


def test_every_object_is_its_raters_own(live: Callable[..., Live], speaker: Speaker) -> None:
    studio = live(pair(speaker))
    with studio.rater() as ada, studio.rater("Bob") as bob:
        turn = studio.ask(ada)
        talk = ada.get(f"/rounds/{studio.round_id}/conversation").json()["conversation"]
        assert bob.get(f"/turns/{turn}/stream").status_code == 404
        assert bob.get(f"/conversations/{talk}").status_code == 404
        for path, body in (
            (f"/conversations/{talk}/messages", {"text": "hi"}),
            (f"/conversations/{talk}/end", {}),
            (f"/turns/{turn}/choice", {"body": choose()}),
            (f"/turns/{turn}/undo", {}),
        ):
            studio.post(bob, path, 404, **body)
        assert httpx.get(f"{studio.url}/api/v1/turns/{turn}/stream").status_code == 401
        assert bob.get(f"/rounds/{studio.round_id}/conversation").json() == {"conversation": None}


def test_a_choice_is_taken_back_and_a_conversation_resumed(
    live: Callable[..., Live], speaker: Speaker
) -> None:
    studio = live(pair(speaker), schema={"max_turns": 1})
    with studio.rater() as rater:
        turn = studio.ask(rater, "hello <b>you</b>")
        studio.post(rater, f"/turns/{turn}/choice", 409, body=choose())
        wait_for(lambda: done(list(studio.events(rater, turn))))
        talk = rater.get(f"/rounds/{studio.round_id}/conversation").json()
        assert talk["turn"] == turn and talk["assignment"]
        assert "<b>" not in talk["messages"][0]["html"]
        assert "continue_with" not in talk["schema"]
        studio.post(rater, f"/turns/{turn}/choice", 400, body={"outcome": "c"})
        studio.post(rater, f"/turns/{turn}/choice", 400, body=choose("a", strength=9))
        shown = {"shown_at": 5.0, "both_complete_at": 7.5}
        said = studio.post(rater, f"/turns/{turn}/choice", body=choose(), presentation=shown)
        assert said["over"] and "shown_at" not in str(said)
        (event,) = history(studio.store, talk["assignment"])
        assert event.body["presentation"] == shown
        assert studio.post(rater, f"/turns/{turn}/undo")["turn"] == turn
        edited = {"slot": "b", "text": "better"}
        last = studio.post(rater, f"/turns/{turn}/choice", body=choose("b", edited=edited))
        assert last["messages"][-1]["text"] == "better"
        talk_id = last["conversation"]
        studio.post(rater, f"/conversations/{talk_id}/messages", 409, text="more")
        studio.post(rater, f"/conversations/{talk_id}/messages", 422, text="")
        studio.post(rater, f"/conversations/{talk_id}/messages", 422, text="x" * 20_001)
        studio.post(rater, f"/conversations/{talk_id}/messages", 422, text="a\x00b")


def test_only_so_many_streams_at_once(live: Callable[..., Live], speaker: Speaker) -> None:
    speaker.pause = 0.3
    studio = live(pair(speaker))
    with studio.rater() as rater:
        turn = studio.ask(rater)
        open_ones = [studio.events(rater, turn) for _ in range(8)]
        threads = [threading.Thread(target=next, args=(one, None)) for one in open_ones]
        for thread in threads:
            thread.start()
        account = accounts.list_accounts(studio.store)[0].id
        wait_for(lambda: studio.generator.num_streams(account) == 8)
        assert rater.get(f"/turns/{turn}/stream").status_code == 429
        for thread in threads:
            thread.join()
        for one in open_ones:
            one.close()  # type: ignore[attr-defined]
        wait_for(lambda: studio.generator.num_streams(account) == 0)
