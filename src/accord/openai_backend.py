"""Answers from a server with the OpenAI protocol: streamed, with time and size limits, no torch.

Only the chat-completions call is used, as vLLM, llama.cpp, Ollama and others offer it. Whatever the
server does (hang, die, send pages of HTML), the job ends with a message that says what to mend.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx

from accord.config.generators import GeneratorConfig, OpenAIPolicy
from accord.errors import AccordError, ModelError
from accord.generator import Answer, Job, Said, Say

MAX_LINE_BYTES = 1 << 20
MAX_CHARS = 200_000
"""An answer longer than this is no answer."""
CHARS_SHOWN = 200
"""How much of a server's complaint the lead reads."""
TRY_AGAIN = frozenset({408, 409, 425, 429})
"""Statuses besides 5xx after which another try can help."""


class _HopelessError(ModelError):
    """The server refuses: the same request would be refused again."""


class OpenAIBackend:
    """Speaks for the ``openai`` policies of a configuration, one thread an answer.

    Args:
        config: addresses, names and time limits.
        say: where pieces of answers go.
    """

    def __init__(self, config: GeneratorConfig, say: Say) -> None:
        self._policies = {
            name: policy
            for name, policy in config.policies.items()
            if isinstance(policy, OpenAIPolicy)
        }
        self._say = say
        self._stopped: dict[str, threading.Event] = {}

    def start(self, job: Job) -> None:
        """Ask the server in a thread of its own."""
        policy, stopped = self._policies[job.policy], threading.Event()
        self._stopped[job.id] = stopped
        threading.Thread(target=self._speak, args=(job, policy, stopped), daemon=True).start()

    def cancel(self, job: str) -> None:
        """Say no more about an answer; its connection is closed with the next piece."""
        stopped = self._stopped.pop(job, None)
        if stopped is not None:
            stopped.set()

    def step(self) -> bool:
        """Nothing to do here: the threads work."""
        return False

    def close(self) -> None:
        """Say no more."""
        for job in list(self._stopped):
            self.cancel(job)

    def _speak(self, job: Job, policy: OpenAIPolicy, stopped: threading.Event) -> None:
        def say(said: Said) -> None:
            if not stopped.is_set():
                self._say(said)

        answer, text = Answer(job.id, say), ""
        try:
            ended = None
            for piece, reason in stream(job, policy):
                if stopped.is_set():
                    return
                text, ended = text + piece, reason or ended
                if len(text) > MAX_CHARS:
                    raise _HopelessError(f"the answer is longer than {MAX_CHARS} characters")
                answer.grow(text)
            if ended is None:
                raise ModelError("the connection ended before the answer did")
            answer.done(text, finished=ended != "length", model=f"{policy.model}@{policy.url}")
        except (AccordError, httpx.HTTPError) as error:
            again = not isinstance(error, _HopelessError)
            what = str(error) or type(error).__name__
            if isinstance(error, httpx.ReadTimeout):
                what = f"nothing was said for {policy.silence_seconds:g} s"
            say(Said("failed", job.id, error=f"{policy.url}: {what}", again=again))
        finally:
            self._stopped.pop(job.id, None)


def stream(job: Job, policy: OpenAIPolicy) -> Iterator[tuple[str, str | None]]:
    """Pieces of the answer, each with why it ended, where the server says so.

    Raises:
        ModelError: the server said something that is no answer, or took too long.
        httpx.HTTPError: it could not be reached, or went away.
    """
    deadline = time.monotonic() + policy.total_seconds
    timeout = httpx.Timeout(policy.silence_seconds, connect=policy.connect_seconds)
    with (
        # No proxies from the environment, no redirects: only the address in the configuration.
        httpx.Client(timeout=timeout, trust_env=False, follow_redirects=False) as client,
        client.stream(
            "POST",
            f"{policy.url.rstrip('/')}/chat/completions",
            json=_request(job, policy),
            headers=_headers(policy),
        ) as response,
    ):
        _check(response)
        for data in _events(response, deadline):
            if data == "[DONE]":
                return
            yield _piece(data)


def _request(job: Job, policy: OpenAIPolicy) -> dict[str, Any]:
    messages = [{"role": m.role, "content": m.content} for m in job.messages]
    if policy.system is not None and not any(m["role"] == "system" for m in messages):
        messages.insert(0, {"role": "system", "content": policy.system})
    speech = job.speech
    body: dict[str, Any] = {
        "model": policy.model,
        "messages": messages,
        "stream": True,
        "max_tokens": speech.max_tokens,
        "temperature": speech.temperature,
        "top_p": speech.top_p,
        "seed": speech.seed,
    }
    return {**body, "top_k": speech.top_k} if speech.top_k else body  # not every server knows it


def _headers(policy: OpenAIPolicy) -> dict[str, str]:
    if policy.api_key_env is None:
        return {}
    key = os.environ.get(policy.api_key_env)
    if not key:
        raise _HopelessError(f"no key: set the environment variable {policy.api_key_env}")
    return {"Authorization": f"Bearer {key}"}


def _check(response: httpx.Response) -> None:
    status = response.status_code
    if status == 200:
        return
    complaint = b""
    for part in response.iter_bytes():
        complaint += part
        if len(complaint) > CHARS_SHOWN:
            break
    said = " ".join(complaint.decode("utf-8", "replace")[:CHARS_SHOWN].split())
    kind = ModelError if status >= 500 or status in TRY_AGAIN else _HopelessError
    raise kind(f"the server answered {status}: {said or 'nothing more'}")


def _events(response: httpx.Response, deadline: float) -> Iterator[str]:
    """The data of each server-sent event; other lines are passed over."""
    rest, seen = b"", False
    for part in response.iter_bytes():
        if time.monotonic() > deadline:
            raise ModelError("the answer took longer than total_seconds")
        *lines, rest = (rest + part).split(b"\n")
        if len(rest) > MAX_LINE_BYTES:
            raise ModelError("a line of the answer has no end; is this a chat server?")
        for line in lines:
            if line.startswith(b"data:"):
                seen = True
                yield line[5:].decode("utf-8", "replace").strip()
            elif line.strip() and not seen and not line.startswith((b":", b"event:", b"id:")):
                start = line[:CHARS_SHOWN].decode("utf-8", "replace").strip()
                raise ModelError(f"this is no stream of a chat server; it begins with {start!r}")


def _piece(data: str) -> tuple[str, str | None]:
    try:
        row = json.loads(data)
        if "error" in row:
            raise ModelError(f"the server gave up: {str(row['error'])[:CHARS_SHOWN]}")
        if not row["choices"]:  # a last chunk with usage figures
            return "", None
        choice = row["choices"][0]
        text, reason = choice.get("delta", {}).get("content") or "", choice.get("finish_reason")
        if not isinstance(text, str) or not isinstance(reason, str | None):
            raise TypeError("content is not text")
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        if isinstance(error, AccordError):
            raise
        start = data[:CHARS_SHOWN]
        raise ModelError(f"a piece of the answer cannot be read: {start!r}") from error
    return text, reason
