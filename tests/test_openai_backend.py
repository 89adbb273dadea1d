"""The OpenAI backend against a real HTTP server that answers, hangs, dies and talks nonsense."""

from __future__ import annotations

import json
import queue
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from accord.config.generators import GeneratorConfig, OpenAIPolicy, Speech
from accord.generator import Job, Said
from accord.openai_backend import OpenAIBackend
from accord.types import Message

Behaviour = Callable[[BaseHTTPRequestHandler], None]


def chunk(text: str | None = None, reason: str | None = None) -> bytes:
    delta = {} if text is None else {"content": text}
    row = {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
    return b"data: " + json.dumps(row).encode() + b"\n\n"


def begin(handler: BaseHTTPRequestHandler, status: int = 200) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", "text/event-stream")
    handler.end_headers()


def write(handler: BaseHTTPRequestHandler, *parts: bytes) -> None:
    for part in parts:
        handler.wfile.write(part)
        handler.wfile.flush()


@dataclass
class Server:
    """A chat server that does what the test says, and remembers what it was asked."""

    url: str
    behave: Behaviour | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            known.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            known.headers.append(dict(self.headers))
            assert known.behave is not None
            known.behave(self)

        def log_message(self, *_: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            pass  # the backend hangs up where the test wants it to

    with Quiet(("127.0.0.1", 0), Handler) as running:
        known = Server(f"http://127.0.0.1:{running.server_port}/v1")
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield known
        running.shutdown()
        thread.join()


JOB = Job("g.0", "other", (Message("user", "hello"),), Speech(max_tokens=9, temperature=0.5))


def hear(url: str, job: Job = JOB, **settings: Any) -> list[Said]:
    """Everything said about one job, to its end."""
    said: queue.SimpleQueue[Said] = queue.SimpleQueue()
    limits = {"silence_seconds": 5.0, "connect_seconds": 2.0, **settings}
    policy = OpenAIPolicy(kind="openai", url=url, model="m", **limits)
    OpenAIBackend(GeneratorConfig(policies={"other": policy}), said.put).start(job)
    heard = [said.get(timeout=10)]
    while heard[-1].kind == "text":
        heard.append(said.get(timeout=10))
    return heard


def test_pieces_arrive_as_they_are_said(server: Server) -> None:
    gate = threading.Event()

    def slowly(handler: BaseHTTPRequestHandler) -> None:
        begin(handler)
        write(handler, b": ping\n\n", chunk(""), chunk("Hel"))
        gate.wait(5)
        write(handler, chunk("lo"), chunk(None, "stop"), b"data: [DONE]\n\n")

    server.behave = slowly
    threading.Timer(0.2, gate.set).start()
    began = time.monotonic()
    heard = hear(server.url)
    assert time.monotonic() - began > 0.15
    texts = [(said.start, said.text) for said in heard[:-1]]
    assert texts == [(0, "Hel"), (3, "lo")]
    assert heard[-1] == Said("done", "g.0", 5, finished=True, model=f"m@{server.url}")
    (asked,) = server.asked
    assert asked["messages"] == [{"role": "user", "content": "hello"}]
    assert (asked["stream"], asked["max_tokens"], asked["temperature"]) == (True, 9, 0.5)
    assert "top_k" not in asked


def test_a_limit_is_no_end_of_the_models_own(server: Server) -> None:
    server.behave = lambda handler: (  # type: ignore[return-value]
        begin(handler),
        write(handler, chunk("x"), chunk(None, "length")),
    )
    assert hear(server.url)[-1].finished is False


def test_system_message_and_key_come_from_the_configuration(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KEY", "abc")
    server.behave = lambda handler: (  # type: ignore[return-value]
        begin(handler),
        write(handler, chunk("x", "stop")),
    )
    hear(server.url, api_key_env="TEST_KEY", system="Be kind.")
    assert server.asked[0]["messages"][0] == {"role": "system", "content": "Be kind."}
    assert server.headers[0]["Authorization"] == "Bearer abc"
    monkeypatch.delenv("TEST_KEY")
    failed = hear(server.url, api_key_env="TEST_KEY")[-1]
    assert not failed.again and "TEST_KEY" in failed.error
    assert len(server.asked) == 1


def reset(handler: BaseHTTPRequestHandler) -> None:
    begin(handler)
    write(handler, chunk("Hel"))
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.connection.close()


def hang(handler: BaseHTTPRequestHandler) -> None:
    begin(handler)
    write(handler, chunk("Hel"))
    time.sleep(1)


def drip(handler: BaseHTTPRequestHandler) -> None:
    begin(handler)
    for _ in range(40):
        write(handler, b": still there\n\n")
        time.sleep(0.05)


def say(*parts: bytes, status: int = 200) -> Behaviour:
    def behave(handler: BaseHTTPRequestHandler) -> None:
        begin(handler, status)
        write(handler, *parts)

    return behave


@pytest.mark.parametrize(
    ("behave", "again", "words"),
    [
        (reset, True, ""),
        (hang, True, "nothing was said for 0.3 s"),
        (drip, True, "took longer than total_seconds"),
        (say(chunk("Hel")), True, "ended before the answer did"),
        (say(b"<html><body>hello</body></html>\n"), True, "no stream of a chat server"),
        (say(b"data: {nonsense\n\n"), True, "cannot be read"),
        (say(b'data: {"choices": [{"delta": {"content": 7}}]}\n\n'), True, "cannot be read"),
        (say(b'data: {"choices": 7}\n\n'), True, "cannot be read"),
        (say(b"data: [1, 2]\n\n"), True, "cannot be read"),
        (say(b'data: {"error": {"message": "out of memory"}}\n\n'), True, "out of memory"),
        (say(b"x" * (3 << 20)), True, "has no end"),
        (say(b"\xff\xfe\x00\n" * 4), True, "no stream"),
        (say(*[chunk("x" * 50_000)] * 5), False, "longer than"),
        (say(b"no such model", status=404), False, "404: no such model"),
        (say(b"bad key", status=401), False, "401"),
        (say(b"", status=302), False, "302"),
        (say(b"slow down", status=429), True, "429"),
        (say(b"oh no " * 1000, status=503), True, "503"),
    ],
)
def test_whatever_a_server_does_ends_in_a_clear_failure(
    server: Server, behave: Behaviour, again: bool, words: str
) -> None:
    server.behave = behave
    heard = hear(server.url, silence_seconds=0.3, total_seconds=0.6)
    failed = heard[-1]
    assert failed.kind == "failed"
    assert failed.error.startswith(server.url)
    assert words in failed.error and len(failed.error) < 500
    assert failed.again is again


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    failed = hear(f"http://127.0.0.1:{port}/v1")[-1]
    assert failed.kind == "failed" and failed.again


def test_a_cancelled_answer_is_silent(server: Server) -> None:
    gate = threading.Event()

    def wait(handler: BaseHTTPRequestHandler) -> None:
        begin(handler)
        write(handler, chunk("one"))
        gate.wait(5)
        write(handler, chunk("two", "stop"))

    server.behave = wait
    said: queue.SimpleQueue[Said] = queue.SimpleQueue()
    policy = OpenAIPolicy(kind="openai", url=server.url, model="m")
    backend = OpenAIBackend(GeneratorConfig(policies={"other": policy}), said.put)
    backend.start(JOB)
    assert said.get(timeout=5).text == "one"
    backend.cancel("g.0")
    gate.set()
    with pytest.raises(queue.Empty):
        said.get(timeout=0.3)


def test_only_http_addresses() -> None:
    with pytest.raises(ValueError, match="must start with http"):
        OpenAIPolicy(kind="openai", url="file:///etc/passwd", model="m")
