"""The studio from Python: what raters and leads do on its pages, as typed calls over HTTP.

>>> from accord.client import Studio
>>> with Studio("http://127.0.0.1:8765", token) as studio:            # doctest: +SKIP
...     for task in studio.next_tasks(round_id, n=5):
...         studio.judge(task.assignment, {"outcome": "a", "strength": 2})

A token comes from the lead's page "Tokens". A call that changes something carries a key that makes
it safe to send again; when the network fails it is sent again, and the studio counts it once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from accord.client_http import JSON, Answer, ClientError, Connection, StreamEvent, new_key

__all__ = [
    "ClientError",
    "LeadStudio",
    "Me",
    "MyRound",
    "Response",
    "Saved",
    "StreamEvent",
    "Studio",
    "Task",
    "Turn",
    "new_key",
]


class Turn(Answer):
    """One message of the conversation that a task is about."""

    role: str
    text: str


class Response(Answer):
    """One response, named by its place on the screen; who wrote it is never told."""

    slot: str
    text: str


class Task(Answer):
    """One thing to judge, as the studio shows it to this rater."""

    assignment: str
    task: str
    question: str
    prompt: tuple[Turn, ...]
    responses: tuple[Response, ...]
    guideline: int
    left: int | None = None
    draft: JSON | None = None


class Saved(Answer):
    """The studio has the judgment on disk; ``feedback`` only comes with training items."""

    saved: bool
    undo_left: int = 0
    feedback: JSON | None = None


class MyRound(Answer):
    """A round that this account can work in; ``left`` is None where nothing limits it."""

    id: str
    title: str
    task: str
    done: int
    left: int | None = None


class Me(Answer):
    """Who the token belongs to and what there is to do."""

    name: str
    role: str
    rounds: tuple[MyRound, ...] = ()


class Studio(Connection):
    """All that a rater does: tasks, judgments, drafts, questions and conversations."""

    def me(self) -> Me:
        """Who this token belongs to, and the rounds that are open for it."""
        return Me.model_validate(self.get("/me"))

    def guideline(self, round_id: str) -> JSON:
        """The instructions: ``version``, ``html`` and what changed since they were last read."""
        found: JSON = self.get(f"/rounds/{round_id}/guideline")
        return found

    def acknowledge(self, round_id: str, version: int) -> None:
        """Say that this version of the instructions was read; needed before the first task."""
        self.post(f"/rounds/{round_id}/guideline/acknowledge", {"version": version})

    def next_tasks(self, round_id: str, n: int = 1, have: Iterable[str] = ()) -> list[Task]:
        """Up to ``n`` (1 to 5) tasks, each held for this rater for a while.

        Args:
            round_id: an open round.
            n: how many tasks.
            have: assignments already held, so that they are not counted again.
        """
        found = self.post(f"/rounds/{round_id}/next", {"n": n, "have": list(have)})
        return [Task.model_validate(task) for task in found["tasks"]]

    def judge(self, assignment: str, body: Mapping[str, Any], key: str | None = None) -> Saved:
        """Give a judgment; when this returns it is on disk. Judge again to revise.

        Args:
            assignment: of the task.
            body: by slot, such as ``{"outcome": "a", "strength": 2}`` or ``{"ranks": [0, 1, 1]}``.
            key: pass the same key to send the same judgment again.
        """
        path = f"/assignments/{assignment}/judgment"
        return Saved.model_validate(self.post(path, {"key": key or new_key(), "body": dict(body)}))

    def skip(self, assignment: str, reason: str, key: str | None = None) -> None:
        """Give a task back, saying why."""
        self.post(f"/assignments/{assignment}/skip", {"key": key or new_key(), "reason": reason})

    def save_draft(self, assignment: str, body: Mapping[str, Any]) -> None:
        """Keep unfinished work; it comes back with the task."""
        self.send("PUT", f"/assignments/{assignment}/draft", {"body": dict(body)})

    def undo(self, key: str | None = None) -> Task:
        """Take back the last judgment; its task is open again."""
        return Task.model_validate(self.post("/undo", {"key": key or new_key()})["task"])

    def ask(self, assignment: str, text: str, key: str | None = None) -> None:
        """Ask the researchers about a task."""
        self.post(f"/assignments/{assignment}/question", {"key": key or new_key(), "text": text})

    def my_questions(self, round_id: str) -> list[JSON]:
        """What was asked in a round, the newest first, each with its ``answer`` or ""."""
        return list(self.get(f"/rounds/{round_id}/questions")["questions"])

    def start_conversation(self, round_id: str) -> JSON:
        """Begin a conversation in a chat round; the answer names its ``conversation``."""
        found: JSON = self.post(f"/rounds/{round_id}/conversations", {"key": new_key()})
        return found

    def say(self, conversation: str, text: str, key: str | None = None) -> str:
        """Write a message; returns the turn whose two answers can be listened to."""
        path = f"/conversations/{conversation}/messages"
        return str(self.post(path, {"key": key or new_key(), "text": text})["turn"])

    def listen(self, turn: str, after: str | None = None) -> Iterator[StreamEvent]:
        """The two answers as they arrive, until both are done.

        Args:
            turn: from :meth:`say`.
            after: id of the last event heard, to go on after a broken connection.
        """
        yield from self.stream(f"/turns/{turn}/stream", after)

    def choose(self, turn: str, body: Mapping[str, Any], key: str | None = None) -> JSON:
        """Say which answer is better; the conversation goes on with it."""
        path = f"/turns/{turn}/choice"
        found: JSON = self.post(path, {"key": key or new_key(), "body": dict(body)})
        return found


class LeadStudio(Studio):
    """All that a lead does: projects, rounds, items, people, figures and exports."""

    def projects(self) -> list[JSON]:
        """Projects with their rounds and how far they are."""
        return list(self.get("/lead/projects"))

    def create_project(self, name: str) -> str:
        """A new project's id."""
        return str(self.post("/lead/projects", {"name": name})["id"])

    def guidelines(self, project_id: str) -> list[JSON]:
        """All versions of a project's instructions, the newest first."""
        return list(self.get(f"/lead/projects/{project_id}/guidelines"))

    def set_guideline(self, project_id: str, text: str) -> int:
        """Write a new version of the instructions (Markdown); raters must read it again."""
        path = f"/lead/projects/{project_id}/guideline"
        return int(self.post(path, {"text": text})["version"])

    def create_round(self, project_id: str, name: str, task: str, **fields: Any) -> str:
        """A new round's id; it is a draft until it is opened.

        Args:
            project_id: where it belongs.
            name: what raters see.
            task: ``compare``, ``rank``, ``chat`` or ``demonstrate``.
            fields: ``schema`` (a preset's name or a whole schema), ``purpose``, ``settings``,
                ``budget``.
        """
        path = f"/lead/projects/{project_id}/rounds"
        return str(self.post(path, {"name": name, "task": task, **fields})["id"])

    def next_round(self, round_id: str, name: str) -> str:
        """The id of a new draft that follows a frozen round, with its settings."""
        return str(self.post(f"/lead/rounds/{round_id}/next", {"name": name})["id"])

    def round(self, round_id: str) -> JSON:
        """A round's settings and progress."""
        return dict(self.get(f"/lead/rounds/{round_id}"))

    def open_round(self, round_id: str) -> None:
        """Let raters work in it."""
        self.post(f"/lead/rounds/{round_id}/open")

    def close_round(self, round_id: str) -> None:
        """Give out no more tasks."""
        self.post(f"/lead/rounds/{round_id}/close")

    def freeze_round(
        self,
        round_id: str,
        weights: str = "none",
        aggregate: str = "none",
        attribute: str | None = None,
    ) -> JSON:
        """Make the round's labels an artifact; the answer names its ``path`` and ``hash``."""
        body = {"weights": weights, "aggregate": aggregate, "attribute": attribute}
        return dict(self.post(f"/lead/rounds/{round_id}/freeze", body))

    def add_items(self, round_id: str, path: str | Path, role: str = "normal") -> JSON:
        """Upload items; the answer counts ``added`` and ``duplicates``.

        Args:
            round_id: a round that is not closed.
            path: a jsonl, json, csv or parquet file.
            role: ``normal``, or ``gold``, ``attention``, ``training``, ``anchor``.
        """
        return self._upload(f"/lead/rounds/{round_id}/items", Path(path), {"role": role})

    def add_prompts(
        self,
        round_id: str,
        path: str | Path,
        candidates: int | None = None,
        ahead: int | None = None,
    ) -> int:
        """Upload prompts for the round's policies to answer; how many were new.

        Args:
            round_id: a round that is not closed and has policies; not a chat.
            path: a jsonl, json, csv or parquet file.
            candidates: answers a prompt; None: as the task needs.
            ahead: keep so many items ready and no more; None: answer all.
        """
        wish = {"candidates": candidates, "ahead": ahead}
        fields = {name: str(value) for name, value in wish.items() if value is not None}
        return int(self._upload(f"/lead/rounds/{round_id}/prompts", Path(path), fields)["queued"])

    def _upload(self, target: str, path: Path, fields: dict[str, str]) -> JSON:
        files = {"file": (path.name, path.read_bytes())}
        return dict(self.send("POST", target, files=files, data=fields).json())

    def dashboard(self, round_id: str) -> JSON:
        """Progress, agreement, biases, raters and what was left out, with intervals."""
        return dict(self.get(f"/lead/rounds/{round_id}/dashboard"))

    def ratings(self, round_id: str) -> list[JSON]:
        """Policies of a head-to-head round in Elo points, beside the reward model's prediction."""
        return list(self.get(f"/lead/rounds/{round_id}/ratings"))

    def accounts(self) -> list[JSON]:
        """Everyone with an account."""
        return list(self.get("/lead/accounts"))

    def invite(self, role: str = "rater", name: str = "") -> str:
        """A link that lets one person in once."""
        return str(self.post("/lead/invitations", {"role": role, "name": name})["url"])

    def set_account(self, account_id: str, **fields: str) -> None:
        """Change ``role`` or ``status`` (``active`` or ``disabled``) of an account."""
        self.post(f"/lead/accounts/{account_id}", fields)

    def erase_account(self, account_id: str) -> None:
        """Forget who someone is, for good; what they judged stays under a number."""
        self.post(f"/lead/accounts/{account_id}/erase")

    def adjudications(self, round_id: str) -> list[JSON]:
        """Items on which raters differ and a decision is wanted."""
        return list(self.get(f"/lead/rounds/{round_id}/adjudications"))

    def adjudicate(
        self, adjudication_id: str, outcome: Mapping[str, Any] | None, note: str = ""
    ) -> None:
        """Decide an item, by canonical index: ``{"outcome": "best", "best": 0}``, or add a note."""
        body = {"outcome": None if outcome is None else dict(outcome), "note": note}
        self.post(f"/lead/adjudications/{adjudication_id}", body)

    def questions(self, round_id: str) -> list[JSON]:
        """What raters asked, the newest first."""
        return list(self.get(f"/lead/rounds/{round_id}/questions"))

    def answer(self, question_id: str, text: str) -> None:
        """Answer a rater's question; they see it in their workspace, under Ask."""
        self.post(f"/lead/questions/{question_id}", {"text": text})

    def trainees(self, round_id: str) -> list[JSON]:
        """How far each rater is with the training items; who did not pass comes first."""
        return list(self.get(f"/lead/rounds/{round_id}/training"))

    def train_again(self, round_id: str, account_id: str) -> None:
        """Let a rater do the training items afresh."""
        self.post(f"/lead/rounds/{round_id}/training/{account_id}")

    def export(self, round_id: str, dest: str | Path, shape: str = "accord") -> Path:
        """Download a frozen round's labels in a shape that other libraries read."""
        dest = Path(dest)
        answer = self.send(
            "GET",
            f"/lead/rounds/{round_id}/export",
            params={"shape": shape, "file": dest.suffix.lstrip(".")},
        )
        dest.write_bytes(answer.content)
        return dest

    def verify(self) -> list[str]:
        """Problems in the event log; an empty list means it is sound."""
        return list(self.post("/lead/verify")["problems"])

    def backup(self) -> str:
        """Write a backup beside the database; returns where."""
        return str(self.post("/lead/backup")["path"])

    def tokens(self) -> list[JSON]:
        """The API tokens of this account, without their secrets."""
        return list(self.get("/lead/tokens"))

    def create_token(self, name: str, role: str = "rater") -> str:
        """A new token; it is shown this once."""
        return str(self.post("/lead/tokens", {"name": name, "role": role})["token"])

    def revoke_token(self, token_id: str) -> None:
        """Make a token useless at once."""
        self.post(f"/lead/tokens/{token_id}/revoke")
