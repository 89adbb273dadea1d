"""The studio, Label Studio and Potato: how each is started, entered, worked with and looked into.

The peers run as programs of their own, from virtual environments of their own; nothing of them is
imported or copied (Potato is GPL-3.0-or-later).
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import time
from abc import ABC, abstractmethod
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from peers.load import ToolError
from peers.wire import Wire

HERE = Path(__file__).parent
START_PATIENCE = 240.0
PASSWORD = "four plain quiet words"


@dataclass
class Tool(ABC):
    """A server with pairs to judge, in a folder of its own."""

    folder: Path
    python: Path
    pairs: list[dict[str, str]]
    num_raters: int = 50
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    name: str = field(init=False, default="")

    @abstractmethod
    def command(self) -> list[str]:
        """What starts the server."""

    @abstractmethod
    def first_page(self) -> str:
        """Path of the page that a stranger meets."""

    @abstractmethod
    def enter(self) -> list[Any]:
        """Project and people where they are not there yet; a rater for each person."""

    @abstractmethod
    def present(self) -> set[str]:
        """The judgments on the disk."""

    def environment(self) -> dict[str, str]:
        """Variables of the server."""
        return {}

    def start(self) -> float:
        """Start; seconds until the first page was answered.

        Raises:
            ToolError: it ended, or did not answer in time.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        (self.folder / "pairs.json").write_text(json.dumps(self.pairs))
        env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        command = self.command()
        began = time.perf_counter()
        with (self.folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env=env | self.environment(), start_new_session=True,
            )  # fmt: skip
        while time.perf_counter() - began < START_PATIENCE:
            if self.process.poll() is not None:
                break
            with suppress(httpx.HTTPError):
                page = httpx.get(self.url(self.first_page()), follow_redirects=True, timeout=30)
                if page.status_code == 200:
                    return time.perf_counter() - began
            time.sleep(0.05)
        self.kill()
        raise ToolError(f"{self.name} did not start: see {self.folder / 'log.txt'}")

    def url(self, path: str) -> str:
        """An address of the server."""
        return f"http://127.0.0.1:{self.port}{path}"

    def kill(self) -> None:
        """SIGKILL to the server and what it started, at once."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def memory_mb(self) -> float:
        """Resident memory of the server and what it started."""
        assert self.process is not None
        total = 0
        for status in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError, IndexError):
                fields = status.read_text().rpartition(")")[2].split()
                if int(fields[2]) == self.process.pid:
                    total += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
        return round(total / 1e6, 1)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def parsed(answer: tuple[int, bytes], what: str) -> Any:
    """The JSON of a good answer.

    Raises:
        ToolError: it was refused.
    """
    status, body = answer
    if status >= 300:
        raise ToolError(f"{what}: {status} {body[:120].decode(errors='replace')}")
    return json.loads(body)


# ---- accord


class Accord(Tool):
    """The studio, from an environment without torch."""

    name = "accord"

    def command(self) -> list[str]:
        script = HERE / "serve_accord.py"
        sizes = (self.port, len(self.pairs), self.num_raters)
        return [str(self.python), str(script), str(self.folder), *map(str, sizes)]

    def first_page(self) -> str:
        return "/login"

    def enter(self) -> list[AccordRater]:
        return accord_raters(self.port, json.loads((self.folder / "access.json").read_text()))

    def present(self) -> set[str]:
        return column(self.folder / "studio.db", "SELECT assignment_id FROM judgments")


def accord_raters(port: int, access: dict[str, Any]) -> list[AccordRater]:
    """The raters that ``serve_accord.fill`` let in."""
    common = {"Accept": "application/json"}
    return [
        AccordRater(Wire(port, {"Authorization": f"Bearer {token}", **common}), access["round"])
        for token in access["tokens"]
    ]


@dataclass
class AccordRater:
    """A rater at the studio."""

    wire: Wire
    round_id: str
    task: str = ""

    async def take(self) -> bool:
        path = f"/api/v1/rounds/{self.round_id}/next"
        tasks = parsed(await self.wire.send("POST", path, b'{"n": 1}'), "next")["tasks"]
        self.task = tasks[0]["assignment"] if tasks else ""
        return bool(tasks)

    async def judge(self) -> str:
        said = {"key": f"judge-{self.task}", "body": {"outcome": "a", "strength": 1}}
        path = f"/api/v1/assignments/{self.task}/judgment"
        parsed(await self.wire.send("POST", path, json.dumps(said).encode()), "judgment")
        return self.task


# ---- Label Studio


class LabelStudio(Tool):
    """Label Studio as it comes: SQLite, its own server, its pairwise template."""

    name = "label-studio"
    config = (
        "<View><Header>Select one of two items</Header>"
        '<Text name="prompt" value="$prompt"/><Pairwise name="pw" toName="text1,text2"/>'
        '<Text name="text1" value="$text1"/><Text name="text2" value="$text2"/></View>'
    )

    def command(self) -> list[str]:
        return [
            str(self.python.with_name("label-studio")),
            *("start", "--no-browser", "--port", str(self.port), "--internal-host", "127.0.0.1"),
            *("--data-dir", str(self.folder / "data"), "--enable-legacy-api-token"),
            *("--username", "lead@example.org", "--password", PASSWORD, "--user-token", "lead"),
        ]

    def environment(self) -> dict[str, str]:
        """Its own opt-outs of everything that would call home."""
        off = ("COLLECT_ANALYTICS", "LATEST_VERSION_CHECK", "FRONTEND_SENTRY_DSN", "SENTRY_DSN")
        return dict.fromkeys(off, "") | {"COLLECT_ANALYTICS": "0", "LATEST_VERSION_CHECK": "0"}

    def first_page(self) -> str:
        return "/user/login/"

    def enter(self) -> list[LabelStudioRater]:
        kept = self.folder / "access.json"
        if not kept.exists():
            kept.write_text(json.dumps(self._fill()))
        access = json.loads(kept.read_text())
        return [
            LabelStudioRater(
                Wire(self.port, {"Authorization": f"Token {token}"}), access["project"]
            )
            for token in access["tokens"]
        ]

    def _fill(self) -> dict[str, Any]:
        tokens = [self._sign_up(n) for n in range(self.num_raters)]
        lead = httpx.Client(
            base_url=self.url(""), headers={"Authorization": f"Token {tokens[0]}"}, timeout=200
        )
        project = good(
            lead.post("/api/projects/", json={"title": "peers", "label_config": self.config})
        ).json()["id"]
        tasks = [
            {"data": {"prompt": pair["prompt"], "text1": pair["a"], "text2": pair["b"]}}
            for pair in self.pairs
        ]
        good(lead.post(f"/api/projects/{project}/import", json=tasks))
        return {"project": project, "tokens": tokens}

    def _sign_up(self, number: int) -> str:
        """A rater comes in by the open sign-up page; their token."""
        with httpx.Client(base_url=self.url(""), timeout=60, follow_redirects=True) as browser:
            browser.get("/user/signup/")
            form = {
                "email": f"rater{number}@example.org",
                "password": PASSWORD,
                "csrfmiddlewaretoken": browser.cookies["csrftoken"],
            }
            good(browser.post("/user/signup/", data=form, headers={"Referer": self.url("/")}))
            return str(good(browser.get("/api/current-user/token")).json()["token"])

    def present(self) -> set[str]:
        path = self.folder / "data" / "label_studio.sqlite3"
        return column(path, "SELECT id FROM task_completion WHERE result != '[]'")


@dataclass
class LabelStudioRater:
    """A rater at Label Studio."""

    wire: Wire
    project: int
    task: int = 0

    async def take(self) -> bool:
        answer = await self.wire.send("GET", f"/api/projects/{self.project}/next/")
        if answer[0] == 404:
            return False
        self.task = parsed(answer, "next")["id"]
        return True

    async def judge(self) -> str:
        result = {"value": {"selected": "left"}, "from_name": "pw", "to_name": "pw",
                  "type": "pairwise", "id": "load"}  # fmt: skip
        body = json.dumps({"result": [result], "lead_time": 1.0}).encode()
        path = f"/api/tasks/{self.task}/annotations/?project={self.project}"
        return str(parsed(await self.wire.send("POST", path, body), "annotation")["id"])


# ---- Potato


class Potato(Tool):
    """Potato as it comes: its own server, one file for each rater, its pairwise scheme."""

    name = "potato"

    def command(self) -> list[str]:
        self._configure()
        start = ("start", "config.yaml", "-p", str(self.port), "--host", "127.0.0.1")
        return [str(self.python.with_name("potato")), *start]

    def _configure(self) -> None:
        rows = [{"id": p["id"], "text": p["prompt"], "pair": [p["a"], p["b"]]} for p in self.pairs]
        (self.folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        config = {
            "annotation_task_name": "peers",
            "task_dir": str(self.folder),
            "data_files": ["items.jsonl"],
            "item_properties": {"id_key": "id", "text_key": "text"},
            "output_annotation_dir": "annotation_output",
            "output_annotation_format": "jsonl",
            "require_password": False,
            "secret_key": "only for this run",
            "instance_display": {
                "fields": [{"key": "text", "type": "text", "label": "Prompt"}]
            },
            "annotation_schemes": [
                {
                    "annotation_type": "pairwise", "name": "better", "mode": "binary",
                    "description": "Which answer is better?", "items_key": "pair",
                    "allow_tie": True, "label_requirement": {"required": True},
                }
            ],
            "max_annotations_per_user": max(1, len(self.pairs) // self.num_raters),
            "max_annotations_per_item": 1,
            "assignment_strategy": "fixed_order",
            "review_mode": {"enabled": True, "delay_ms": 0},  # one key an item; off by default
        }  # fmt: skip
        (self.folder / "config.yaml").write_text(json.dumps(config))  # JSON is YAML

    def first_page(self) -> str:
        return "/"

    def enter(self) -> list[PotatoRater]:
        return [PotatoRater(self._sign_in(n), f"rater{n}") for n in range(self.num_raters)]

    def _sign_in(self, number: int) -> Wire:
        with httpx.Client(base_url=self.url(""), timeout=60, follow_redirects=True) as browser:
            good(browser.post("/auth", data={"email": f"rater{number}", "pass": ""}))
            cookies = "; ".join(f"{k}={v}" for k, v in browser.cookies.items())
        return Wire(self.port, {"Cookie": cookies})

    def present(self) -> set[str]:
        found = set()
        for path in (self.folder / "annotation_output").glob("*/user_state.json"):
            said = json.loads(path.read_text())["instance_id_to_label_to_value"]
            found |= {f"{path.parent.name} {item}" for item, labels in said.items() if labels}
        return found


ITEM = re.compile(r'id="instance_id"[^>]*value="([^"]*)"')


@dataclass
class PotatoRater:
    """A rater at Potato: the page with the next item is what its browser fetches, too."""

    wire: Wire
    name: str
    item: str = ""

    async def take(self) -> bool:
        said = b'{"action": "next_instance"}' if self.item else b"{}"
        status, page = await self.wire.send("POST", "/annotate", said)
        if status >= 400:
            self.item = ""
            raise ToolError(f"annotate: {status} {page[:120].decode(errors='replace')}")
        found = ITEM.search(page.decode(errors="replace"))
        if status != 200 or found is None or found[1] == self.item:
            return False
        self.item = found[1]
        return True

    async def judge(self) -> str:
        if not self.item:  # the last page was an error: look where we are
            await self.take()
        said = {"instance_id": self.item, "annotations": {"better:::selection": "A"},
                "span_annotations": []}  # fmt: skip
        answer = await self.wire.send("POST", "/updateinstance", json.dumps(said).encode())
        if parsed(answer, "updateinstance").get("status") not in ("success", "ok"):
            raise ToolError(f"updateinstance: {answer[1][:120].decode(errors='replace')}")
        return f"{self.name} {self.item}"


def column(path: Path, query: str) -> set[str]:
    """The first column of a query, as text."""
    with closing(sqlite3.connect(path)) as conn:
        return {str(row[0]) for row in conn.execute(query)}


def good(answer: httpx.Response) -> httpx.Response:
    """The answer, if it is not an error.

    Raises:
        ToolError: it is.
    """
    if answer.status_code >= 400:
        raise ToolError(f"{answer.request.url}: {answer.status_code} {answer.text[:200]}")
    return answer


TOOLS: dict[str, type[Tool]] = {tool.name: tool for tool in (Accord, LabelStudio, Potato)}
