"""An in-memory stand-in for the studio's rater API, with failures on a switch.

The workspace's tests need a server that can go away, answer twice, refuse and hang at the right
moment. Everything a browser sees of the real one is here: addresses, bodies, headers.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from accord.store.task import TaskSchema, parse_body
from accord.store.task_files import load_schema
from accord.web.render import STATIC

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'; report-uri /csp-report"
)
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · accord</title><script src="/static/theme.js"></script>
<link rel="icon" href="data:,"><link rel="stylesheet" href="/static/style.css">
<script type="module" src="/static/workspace.js"></script></head>
<body class="work"><main id="main" class="workspace" tabindex="-1">
<h1 class="visually-hidden">{title}</h1>
<accord-workspace round="{round}"></accord-workspace></main></body></html>"""
PROMPTS = [
    "My sourdough keeps coming out flat. The starter doubles in four hours. What should I change?",
    "Explain to a curious ten-year-old why the sky is blue but sunsets are red.",
    "I have two job offers: one pays more, the other is closer to home. How do I decide?",
    "Write a short, friendly note to a neighbour whose dog barks at night.",
]
ANSWERS = [
    "A starter that doubles in four hours is strong, so look at the dough instead.\n\nTry a "
    "shorter bulk rise: stop when it has grown by half, not when it has doubled. Then shape it "
    "tightly and let it rest in the fridge overnight. Cold dough holds its shape, and the oven "
    "does the rest.",
    "There are many reasons. Flour matters, water matters, time matters. You could try other "
    "flour, or less water, or a hotter oven, or a longer rise.\n\nMost bakers find "
    "their own way after a few loaves, so keep going and write down what you change each time.",
    "Start with what you would miss in a year. Money is easy to count, so it shouts the loudest; "
    "an hour of your day is harder to count, and you pay it every day.",
    "It depends.",
]
GUIDELINE = (
    "<h3>What makes a response better</h3><p>Prefer the one that <strong>helps</strong> the person "
    "more: it answers what was asked, is true, and is easy to follow.</p><ul><li>Longer is not "
    "better.</li><li>A polite refusal is better than harmful help.</li></ul>"
)


def schemas() -> dict[str, TaskSchema]:
    """One schema for each round of the stand-in."""
    hh = load_schema("hh")
    chips = {
        "reasons": ("More helpful", "More truthful", "Safer", "Clearer"),
        "comment": "optional",
    }
    return {
        "pairs": hh.model_copy(update={**chips, "comment_at_strength": None}),
        "strict": hh.model_copy(update={**chips, "comment_at_strength": 4, "comment": "optional"}),
        "plain": hh.model_copy(update={"strength_steps": 0, "comment_at_strength": None}),
        "rank": hh.model_copy(update={**chips, "comment_at_strength": None}),
        "labels": load_schema("instructgpt"),
        "hhh": load_schema("hhh"),
        "write": hh.model_copy(update={"question": "Write the answer you would like to get."}),
        "chat": hh.model_copy(
            update={**chips, "comment_at_strength": None, "chat_mode": "helpful", "max_turns": 2}
        ),
    }


KINDS = {
    "pairs": "compare",
    "strict": "compare",
    "plain": "compare",
    "hhh": "compare",
    "rank": "rank",
    "labels": "rank",
    "write": "demonstrate",
    "chat": "chat",
}


@dataclass
class Studio:
    """What the stand-in holds, and its switches."""

    size: int = 40
    down: bool = False
    deaf: bool = False  # does the work, then loses its answer
    signed_out: bool = False
    guideline: int = 1
    agreed: int = 1
    training: bool = False
    stall: str = ""  # slot whose tokens come late
    schemas: dict[str, TaskSchema] = field(default_factory=schemas)
    keys: dict[str, Any] = field(default_factory=dict)
    judgments: dict[str, dict[str, Any]] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    drafts: dict[str, Any] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    events: list[tuple[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    answered: float | None = None
    practice: dict[str, Any] | None = None  # how it went, once there are no more tasks
    questions: list[dict[str, Any]] = field(default_factory=list)
    csp: list[str] = field(default_factory=list)
    talks: dict[str, dict[str, Any]] = field(default_factory=dict)

    def saved(self, round_: str) -> int:
        """Judgments that stand in a round."""
        return sum(name.startswith(f"{round_}-") for name in self.judgments)

    def task(self, round_: str, index: int) -> dict[str, Any]:
        """The index-th task of a round, as the API gives it."""
        schema, kind = self.schemas[round_], KINDS[round_]
        count = {"rank": 4, "demonstrate": 1}.get(kind, 2)
        texts = [ANSWERS[(index + i) % len(ANSWERS)] for i in range(count)]
        prompt = PROMPTS[index % len(PROMPTS)]
        return {
            "assignment": f"{round_}-{index:04}",
            "task": kind,
            "question": schema.question,
            "prompt": [{"role": "user", "text": f"{prompt} ({index})", "html": ""}],
            "responses": [
                {"slot": "abcdefghi"[i], "text": text, "html": html(text)}
                for i, text in enumerate(texts)
            ],
            "schema": schema.model_dump(mode="json", exclude={"name", "continue_with"}),
            "guideline": self.guideline,
            "lease_seconds": 900,
            "draft": self.drafts.get(f"{round_}-{index:04}"),
            "left": self.size - self.saved(round_),
        }


def html(text: str) -> str:
    """Paragraphs of a plain text."""
    return "".join(f"<p>{part}</p>" for part in text.split("\n\n"))


def refuse(status: int, what: str, how: str) -> HTTPException:
    """An error as the studio words it."""
    return HTTPException(status, {"error": {"what": what, "how": how}})  # type: ignore[arg-type]


def create(studio: Studio) -> Starlette:
    """The stand-in as an application."""

    async def error(request: Request, exc: Exception) -> Response:
        assert isinstance(exc, HTTPException)
        return JSONResponse(exc.detail, exc.status_code)

    async def page(request: Request) -> Response:
        round_ = request.path_params["round"]
        return HTMLResponse(PAGE.format(round=round_, title=f"Round {round_}"))

    async def report(request: Request) -> Response:
        studio.csp.append((await request.body()).decode())
        return Response(status_code=204)

    async def call(request: Request) -> Response:
        studio.calls.append((request.method, request.url.path))
        if studio.down:
            return Response("bad gateway", 502)
        if studio.signed_out:
            raise refuse(401, "You are signed out.", "Sign in again.")
        if request.method != "GET" and request.headers.get("X-CSRF-Token") != "token":
            raise refuse(403, "This form is out of date.", "Load the page again.")
        body = json.loads(await request.body() or b"{}")
        reply = handle(studio, request.method, request.url.path[len("/api/v1/") :], body)
        if studio.deaf and request.method == "POST" and "key" in body:
            return Response("the answer got lost", 504)
        return JSONResponse(reply)

    async def stream(request: Request) -> Response:
        talk = next(t for t in studio.talks.values() if request.path_params["turn"] in t["turns"])
        return StreamingResponse(speak(studio, talk), media_type="text/event-stream")

    async def home(request: Request) -> Response:
        return HTMLResponse("<!doctype html><html lang=en><title>Home</title><h1>Home</h1>")

    app = Starlette(
        routes=[
            Route("/", home),
            Route("/work/{round}", page),
            Route("/csp-report", report, methods=["POST"]),
            Route("/api/v1/turns/{turn}/stream", stream),
            Route("/api/v1/{rest:path}", call, methods=["GET", "POST", "PUT"]),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        exception_handlers={HTTPException: error},
    )

    async def with_csp(scope: Any, receive: Any, send: Any) -> None:
        async def sender(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"content-security-policy", CSP.encode()))
                message["headers"].append((b"cache-control", b"no-store"))
            await send(message)

        await app(scope, receive, sender)

    return with_csp  # type: ignore[return-value]


def handle(studio: Studio, method: str, path: str, body: dict[str, Any]) -> Any:
    """One call of the API."""
    parts = path.split("/")
    if parts == ["me"]:
        return me(studio)
    if method == "POST" and body.get("key") in studio.keys:
        return studio.keys[body["key"]]
    if parts[0] == "rounds":
        reply = handle_round(studio, parts, body)
    elif parts[0] == "assignments":
        reply = handle_assignment(studio, parts, body)
    elif parts == ["me", "settings"]:
        studio.settings = body["settings"]
        return {"saved": True}
    elif parts == ["undo"]:
        last = body.get("assignment") or (studio.order[-1] if studio.order else "")
        if last not in studio.order:
            raise refuse(409, "There is nothing to take back.", "")
        studio.order.remove(last)
        round_, _, index = last.partition("-")
        told = studio.judgments.pop(last)
        studio.events.append(("undo", last))
        reply = {"task": {**studio.task(round_, int(index)), "draft": told}}
    else:
        reply = handle_chat(studio, parts, body)
    if method == "POST" and "key" in body:
        studio.keys[body["key"]] = reply
    return reply


def me(studio: Studio) -> dict[str, Any]:
    """Who is signed in."""
    rounds = [
        {
            "id": round_,
            "title": f"Round {round_}",
            "task": kind,
            "done": studio.saved(round_),
            "left": studio.size - studio.saved(round_),
            "guideline": {
                "version": studio.guideline,
                "acknowledged": studio.agreed == studio.guideline,
            },
        }
        for round_, kind in KINDS.items()
    ]
    return {
        "id": "ada",
        "name": "Ada",
        "role": "rater",
        "rounds": rounds,
        "csrf": "token",
        "keymap": studio.settings.get("keymap", {}),
    }


def handle_round(studio: Studio, parts: list[str], body: dict[str, Any]) -> Any:
    """Calls below ``rounds/{id}``."""
    round_, what = parts[1], parts[2]
    if what == "guideline" and len(parts) == 4:
        studio.agreed = body["version"]
        return {"acknowledged": studio.agreed}
    if what == "guideline":
        changed = "<p>Longer is <ins>not</ins> better.</p>" if studio.agreed else ""
        return {"version": studio.guideline, "html": GUIDELINE, "changed_html": changed}
    if what == "questions":
        return {"questions": studio.questions, "answered": studio.answered}
    if what == "conversations":
        name = f"talk-{len(studio.talks)}"
        studio.talks[name] = {"id": name, "round": round_, "turns": [], "said": [], "heard": []}
        return show(studio, studio.talks[name])
    if what == "conversation":
        open_ = [talk for talk in studio.talks.values() if not show(studio, talk)["over"]]
        return show(studio, open_[-1]) if open_ else {"conversation": None}
    skipped = {name for kind, name in studio.events if kind == "skip"}
    taken = set(body["have"]) | set(studio.judgments) | skipped
    free = [i for i in range(studio.size) if f"{round_}-{i:04}" not in taken]
    tasks = [studio.task(round_, i) for i in free[: body["n"]]]
    practice = None if tasks else studio.practice
    return {"tasks": tasks, "answered": studio.answered, "practice": practice}


def handle_assignment(studio: Studio, parts: list[str], body: dict[str, Any]) -> Any:
    """Calls below ``assignments/{id}``."""
    name, what = parts[1], parts[2]
    round_ = name.partition("-")[0]
    if what == "draft":
        studio.drafts[name] = body["body"]
        return {"saved": True}
    if what in {"skip", "question"}:
        studio.events.append((what, name if what == "skip" else body["text"]))
        return {"saved": True}
    schema, kind = studio.schemas[round_], KINDS[round_]
    count = len(studio.task(round_, 0)["responses"])
    parse_body(kind, schema, count, body["body"])  # type: ignore[arg-type]
    studio.judgments[name] = body["body"]
    studio.order = [each for each in studio.order if each != name] + [name]
    done = studio.saved(round_)
    feedback = {"right": False, "why": "B tells the truth; A made it up."}
    return {
        "saved": True,
        "undo_left": min(20, len(studio.order)),
        "feedback": feedback if studio.training else None,
        "progress": {"done": done, "left": studio.size - done},
    }


def handle_chat(studio: Studio, parts: list[str], body: dict[str, Any]) -> Any:
    """Calls below ``conversations`` and ``turns``."""
    if parts[0] == "conversations":
        talk = studio.talks[parts[1]]
        if parts[2] == "end":
            talk["over"] = True
            return {"over": True}
        turn = f"{parts[1]}-{len(talk['turns'])}"
        talk["turns"].append(turn)
        talk["said"].append(body["text"])
        return {"turn": turn, "html": html(body["text"])}
    talk = next(t for t in studio.talks.values() if parts[1] in t["turns"])
    if parts[2] == "undo":
        talk["heard"].pop()
        studio.judgments.pop(parts[1])
        return show(studio, talk)
    parse_body("chat", studio.schemas[talk["round"]], 2, body["body"])
    studio.judgments[parts[1]] = body["body"]
    words = ANSWERS[2].split(" ")[:20] if body["body"]["outcome"] == "b" else ANSWERS[0].split()
    talk["heard"].append(" ".join(words))
    return {"saved": True, **show(studio, talk)}


def show(studio: Studio, talk: dict[str, Any]) -> dict[str, Any]:
    """A conversation as its rater may see it."""
    schema = studio.schemas[talk["round"]].model_dump(mode="json")
    said, heard = talk["said"], talk["heard"]
    waits = len(said) > len(heard)
    messages = []
    for i, text in enumerate(said):
        messages.append({"role": "user", "text": text, "html": html(text)})
        if i < len(heard):
            messages.append({"role": "assistant", "text": heard[i], "html": html(heard[i])})
    return {
        "conversation": talk["id"],
        "round": talk["round"],
        "question": schema["question"],
        "schema": schema,
        "messages": messages,
        "suggestion": "" if said else "Ask how to bake bread.",
        "turn": talk["turns"][-1] if waits else None,
        "over": talk.get("over", False) or (len(heard) >= schema["max_turns"]),
        "left": schema["max_turns"] - len(said),
    }


async def speak(studio: Studio, talk: dict[str, Any]) -> AsyncIterator[str]:
    """Two canned answers, word by word, as server-sent events."""
    words = {"a": ANSWERS[0].split(" ")[:30], "b": ANSWERS[2].split(" ")[:20]}
    sent, number, revealed = {"a": 0, "b": 0}, 0, False

    def event(kind: str, data: dict[str, Any]) -> str:
        nonlocal number
        number += 1
        return f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"

    for tick in range(60):
        for slot, said in words.items():
            if slot == studio.stall and tick < 25:
                continue
            if sent[slot] < len(said):
                piece = said[sent[slot]] + " "
                sent[slot] += 1
                yield event("delta", {"slot": slot, "text": piece})
                if sent[slot] == len(said):
                    yield event("done", {"slot": slot, "html": html(" ".join(said))})
        if all(sent.values()) and not revealed:
            revealed = True
            yield event("reveal", {})
        if all(sent[slot] == len(said) for slot, said in words.items()):
            return
        await asyncio.sleep(0.01)
