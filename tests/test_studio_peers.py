"""The benchmark of other tools: its load, its connection and its adapters, without the tools."""

from __future__ import annotations

import asyncio
import importlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")


def module(name: str) -> Any:
    return importlib.import_module(f"peers.{name}")


@dataclass
class Recorded:
    """A wire that gives answers as the tools gave them, and keeps what it was asked."""

    answers: Iterator[tuple[int, bytes]]
    asked: list[tuple[str, str, Any]] = field(default_factory=list)

    async def send(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        self.asked.append((method, path, json.loads(body) if body else None))
        return next(self.answers)


def told(*answers: tuple[int, bytes]) -> Recorded:
    return Recorded(iter(answers))


# Adapters


def test_accord_takes_and_judges_and_sees_the_end() -> None:
    wire = told((200, b'{"tasks": [{"assignment": "t1"}]}'), (200, b'{"saved": true}'),
                (200, b'{"tasks": []}'))  # fmt: skip
    rater = module("tools").AccordRater(wire, "r1")

    async def work() -> None:
        assert await rater.take()
        assert await rater.judge() == "t1"
        assert not await rater.take()

    asyncio.run(work())
    assert [path for _, path, _ in wire.asked] == [
        "/api/v1/rounds/r1/next",
        "/api/v1/assignments/t1/judgment",
        "/api/v1/rounds/r1/next",
    ]
    assert wire.asked[1][2]["key"] == "judge-t1"


def test_label_studio_names_a_judgment_by_the_annotation() -> None:
    wire = told((200, b'{"id": 7}'), (201, b'{"id": 31}'), (404, b"{}"))
    rater = module("tools").LabelStudioRater(wire, 2)

    async def work() -> None:
        assert await rater.take()
        assert await rater.judge() == "31"
        assert not await rater.take()

    asyncio.run(work())
    assert wire.asked[1][:2] == ("POST", "/api/tasks/7/annotations/?project=2")
    assert wire.asked[1][2]["result"][0]["value"] == {"selected": "left"}


def test_potato_reads_the_item_off_the_page() -> None:
    page = b'<input type="hidden" id="instance_id" name="instance_id" value="%s">'
    wire = told((200, page % b"p0"), (200, b'{"status": "success"}'), (200, page % b"p1"),
                (200, b'{"status": "error"}'), (200, page % b"p1"), (302, b""))  # fmt: skip
    tools, load = module("tools"), module("load")
    rater = tools.PotatoRater(wire, "rater0")

    async def work() -> None:
        assert await rater.take()
        assert await rater.judge() == "rater0 p0"
        assert await rater.take()
        with pytest.raises(load.ToolError, match="error"):
            await rater.judge()
        assert not await rater.take()  # the same item again: nothing is left
        assert not await rater.take()  # sent on to another page

    asyncio.run(work())
    assert [said for _, _, said in wire.asked[:3:2]] == [{}, {"action": "next_instance"}]
    assert wire.asked[1][2]["annotations"] == {"better:::selection": "A"}


def test_a_refusal_is_an_error_with_the_answer() -> None:
    tools, load = module("tools"), module("load")
    with pytest.raises(load.ToolError, match="next: 500 database is locked"):
        tools.parsed((500, b"database is locked"), "next")


def test_present_reads_each_tools_own_files(tmp_path: Path) -> None:
    tools, pairs = module("tools"), [{"id": "p0", "prompt": "?", "a": "1", "b": "2"}]
    state = tmp_path / "annotation_output" / "rater0" / "user_state.json"
    state.parent.mkdir(parents=True)
    state.write_text('{"instance_id_to_label_to_value": {"p0": [["better", "A"]], "p1": []}}')
    assert tools.Potato(tmp_path, Path("python"), pairs).present() == {"rater0 p0"}
    (tmp_path / "data").mkdir()
    with closing(sqlite3.connect(tmp_path / "data" / "label_studio.sqlite3")) as conn:
        conn.executescript(
            "CREATE TABLE task_completion (id, result); "
            "INSERT INTO task_completion VALUES (31, '[{}]'), (32, '[]')"
        )
    assert tools.LabelStudio(tmp_path, Path("python"), pairs).present() == {"31"}


def test_the_studio_for_the_benchmark_lets_its_raters_judge(tmp_path: Path) -> None:
    from fastapi.testclient import TestClient

    from accord.store.database import open_store
    from accord.web.app import create_app

    pairs = [{"id": f"p{n}", "prompt": "?", "a": "1", "b": "2"} for n in range(3)]
    tools, served = module("tools"), module("serve_accord")
    with open_store(tmp_path / "studio.db") as store:
        access = served.fill(store, pairs, 2)
        client = TestClient(create_app(store))
        client.headers["authorization"] = f"Bearer {access['tokens'][0]}"

        class Direct:
            async def send(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
                answer = client.request(method, path, content=body,
                                        headers={"content-type": "application/json"})  # fmt: skip
                return answer.status_code, answer.content

        rater = tools.AccordRater(Direct(), access["round"])

        async def work() -> set[str]:
            done = set()
            while await rater.take():
                done.add(await rater.judge())
            return done

        done = asyncio.run(work())
    assert len(done) == 3
    assert tools.Accord(tmp_path, Path("python"), pairs).present() == done


def test_tools_that_are_driven_are_among_the_installed() -> None:
    pytest.importorskip("playwright")
    tools, keys, install = module("tools"), module("keys"), module("install")
    assert keys.HANDS.keys() < tools.TOOLS.keys() < install.SERVICES.keys()


# Load


@dataclass
class Slow:
    """A rater at a tool that takes its time, fails at some point, or dies."""

    seconds: float = 0.0
    fails_at: int = -1
    done: int = 0
    dead: bool = False

    async def take(self) -> bool:
        if self.dead:
            raise ConnectionError("gone")
        return True

    async def judge(self) -> str:
        await asyncio.sleep(self.seconds)
        if self.dead or self.done == self.fails_at:
            raise ConnectionError("gone")
        self.done += 1
        return str(self.done)


def test_a_step_counts_the_queue_before_the_tool() -> None:
    load = module("load")
    quick = asyncio.run(load.step([Slow() for _ in range(20)], 40, 0.5))
    assert quick["errors"] == 0 and quick["requests_per_second"] == 80
    queue = asyncio.run(load.step([Slow(0.1)], 40, 0.5))  # 20 due in 0.5 s, served in 2 s
    assert queue["errors"] == 0 and not queue["kept"]
    assert queue["judge_p99_ms"] > 1000
    assert queue["done_per_second"] < 11


def test_one_error_breaks_the_promise() -> None:
    load = module("load")
    found = asyncio.run(load.step([Slow(fails_at=0)], 10, 0.2))
    assert (found["errors"], found["kept"]) == (2, False)
    assert found["first_error"] == "ConnectionError: gone"


def test_the_climb_ends_at_the_first_rate_missed_twice() -> None:
    load = module("load")
    found = asyncio.run(load.climb([Slow(0.15)], [2, 4], 0.5, lambda: 12.0))
    assert found["highest_kept_judgments_per_second"] == 0.0
    assert [row["judgments_per_second"] for row in found["steps"]] == [2, 2]
    assert found["steps"][0]["memory_mb"] == 12.0


def test_what_was_acknowledged_before_the_kill_is_told_from_what_was_cut() -> None:
    load = module("load")
    raters = [Slow(0.02), Slow(0.02)]

    def kill() -> None:
        for rater in raters:
            rater.dead = True

    acked, cut, refused = asyncio.run(load.until_killed(raters, kill, 0.3))
    assert len(acked) == sum(rater.done for rater in raters) > 0
    assert (cut, refused) == (2, [])
    early = asyncio.run(load.until_killed([Slow(fails_at=3)], kill, 0.1))
    assert early == (["1", "2", "3"], 0, ["gone"])


# The connection


def serve(answers: list[bytes]) -> tuple[list[Any], list[bytes]]:
    """Asks a server that gives these raw answers in turn, hanging up after ``b""``."""
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while answers:
            heard.append(await reader.readuntil(b"\r\n\r\n"))
            said = answers.pop(0)
            writer.write(said)
            if b"Content-Length: 9" in said or not said:
                break
        writer.close()

    async def ask() -> list[Any]:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        wire = module("wire").Wire(server.sockets[0].getsockname()[1], {"Cookie": "a=b"})
        found: list[Any] = []
        for _ in range(len(answers)):
            try:
                found.append(await wire.send("GET", "/x"))
            except OSError as error:
                found.append(type(error))
        wire.close()
        server.close()
        return found

    return asyncio.run(ask()), heard


def test_the_wire_reads_lengths_and_chunks_and_reports_a_break() -> None:
    found, heard = serve(
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
            b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        ]
    )
    assert found == [(200, b"hi"), (201, b"abcde"), (204, b""), ConnectionError, (404, b"")]
    assert b"Cookie: a=b\r\n" in heard[0]
    assert heard[0].startswith(b"GET /x HTTP/1.1\r\nHost: 127.0.0.1:")
