"""The generation worker's half of a pipe: jobs come in, pieces of text go out, one JSON a line.

The web server starts the worker and owns the database; the worker owns the models and knows neither
the database nor the network side of the studio. So a worker that dies can spoil nothing, the server
never imports torch, and whoever has the server's machine needs no second secret.

A piece says at which character of the answer it starts. A job that is done again (its first worker
died) sends pieces from 0 on, and whoever stores them sees what is there already: nothing is lost
and nothing doubled. ``python -m accord.generator`` speaks for policies on servers alone and needs
no torch; ``python -m accord.stages.worker`` speaks for accord's own as well.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import IO, Any, Literal, Never, Protocol, TypeAlias

from accord.config.generators import GeneratorConfig, OpenAIPolicy, Speech
from accord.errors import AccordError
from accord.types import Message

BEAT_SECONDS = 1.0
"""The worker says that it lives at least this often."""
LAST_WORDS_SECONDS = 5.0
"""Time to end in good order when the server is gone."""


@dataclass(frozen=True, slots=True)
class Job:
    """One answer to make.

    Attributes:
        id: names the answer in everything said about it.
        policy: a name in the worker's configuration.
        messages: the conversation, up to where the model must speak.
        speech: how to draw.
        key: what the draws are for; the same key gives the same answer again.
    """

    id: str
    policy: str
    messages: tuple[Message, ...]
    speech: Speech = field(default_factory=Speech)
    key: str = ""

    def row(self) -> dict[str, Any]:
        """As it travels down the pipe."""
        row = asdict(self)
        return {**row, "messages": list(row["messages"]), "speech": self.speech.model_dump()}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Job:
        """The inverse of :meth:`row`."""
        messages = tuple(Message(**message) for message in row["messages"])
        speech = Speech.model_validate(row["speech"])
        return cls(row["id"], row["policy"], messages, speech, row["key"])


@dataclass(frozen=True, slots=True)
class Said:
    """What a worker says.

    Attributes:
        kind: ``ready`` (models are loaded), ``beat`` (it lives), ``text`` (a piece of an answer),
            ``done`` (the answer is whole), ``failed`` (it will not be).
        job: the answer it is about; empty for ``ready`` and ``beat``.
        start: character of the answer at which ``text`` starts; for ``done`` the answer's length.
            What was said before from there on no longer counts.
        text: the piece.
        finished: with ``done``: the model ended it, not the limit.
        model: with ``done``: who wrote it, as completions name it.
        error: with ``failed``: what went wrong and how to mend it, for the lead.
        again: with ``failed``: whether another try can help.
    """

    kind: Literal["ready", "beat", "text", "done", "failed"]
    job: str = ""
    start: int = 0
    text: str = ""
    finished: bool = True
    model: str = ""
    error: str = ""
    again: bool = True


Say: TypeAlias = Callable[[Said], None]


class Backend(Protocol):
    """Makes answers for some policies."""

    def start(self, job: Job) -> None:
        """Begin an answer; what comes of it is said."""
        ...

    def cancel(self, job: str) -> None:
        """Stop an answer; nothing more is said of it."""
        ...

    def step(self) -> bool:
        """Do a little work; False when there is none that this thread must do."""
        ...

    def close(self) -> None:
        """Leave everything as it is."""
        ...


@dataclass
class Answer:
    """An answer as it grows: says what is new of its text, and only whole characters.

    A tokenizer may take back the end of what it decoded (half a character, a space before a full
    stop); ``start`` then steps back.
    """

    job: str
    say: Say
    shown: str = field(default="", init=False)

    def grow(self, text: str, *, whole: bool = False) -> None:
        """The answer so far is ``text``; ``whole`` when nothing follows."""
        if not whole:
            text = text.rstrip("\ufffd")  # half a character waits for its other half
        pairs = zip(self.shown, text, strict=False)
        differing = (i for i, (a, b) in enumerate(pairs) if a != b)
        same = next(differing, min(len(self.shown), len(text)))
        if text[same:]:
            self.say(Said("text", self.job, same, text[same:]))
            self.shown = text
        elif whole:
            self.shown = text

    def done(self, text: str, *, finished: bool, model: str) -> None:
        """The answer is ``text``."""
        self.grow(text, whole=True)
        self.say(Said("done", self.job, len(self.shown), finished=finished, model=model))


class Pipe:
    """The worker's ends of the pipe; safe to write to from several threads."""

    def __init__(self, read: IO[str], write: IO[str]) -> None:
        self._read, self._write = read, write
        self._lock = threading.Lock()
        self.inbox: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()

    def say(self, said: Said) -> None:
        """Send one line; a server that is gone is noticed by the reading side."""
        line = json.dumps(asdict(said)) + "\n"
        with self._lock:
            try:
                self._write.write(line)
                self._write.flush()
            except (BrokenPipeError, ValueError):
                self.inbox.put(None)

    def listen(self) -> None:
        """Read lines into the inbox until the server closes its end; None is the last."""
        for line in self._read:
            self.inbox.put(json.loads(line))
        self.inbox.put(None)
        time.sleep(LAST_WORDS_SECONDS)
        os._exit(1)  # the main thread hangs in a model; nobody waits for it any more

    def first(self) -> GeneratorConfig:
        """The configuration, which is the first line."""
        return GeneratorConfig.model_validate_json(self._read.readline())


def serve(pipe: Pipe, backends: Mapping[str, Backend], config: GeneratorConfig) -> Never:
    """Work until the server goes or SIGTERM comes, then end the process.

    Args:
        pipe: where jobs come from; its configuration line was read.
        backends: by the kind of policy.
        config: the policies.
    """
    signal.signal(signal.SIGTERM, lambda *_: pipe.inbox.put(None))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which then tells us
    threading.Thread(target=pipe.listen, daemon=True).start()
    pipe.say(Said("ready"))
    beat, working, going = time.monotonic(), False, True
    while going:
        try:
            order = pipe.inbox.get(block=not working, timeout=BEAT_SECONDS)
            going, working = _obey(order, pipe, backends, config), True
            continue  # take all that is there before the next step
        except queue.Empty:
            pass
        worked = [backend.step() for backend in backends.values()]
        working = any(worked)
        if time.monotonic() - beat >= BEAT_SECONDS:
            beat = time.monotonic()
            pipe.say(Said("beat"))
    for backend in backends.values():
        backend.close()
    sys.stderr.flush()
    # All has been said and flushed. An ordinary exit would close the pipe, whose lock the listening
    # thread holds, and take torch apart piece by piece.
    os._exit(0)


def _obey(
    order: dict[str, Any] | None,
    pipe: Pipe,
    backends: Mapping[str, Backend],
    config: GeneratorConfig,
) -> bool:
    """Carry out one order; False when it was the last."""
    if order is None:
        return False
    if "cancel" in order:
        for backend in backends.values():
            backend.cancel(order["cancel"])
        return True
    job = Job.from_row(order)
    if job.policy not in config.policies:
        known = ", ".join(sorted(config.policies)) or "none"
        error = f"no policy {job.policy!r} in the studio's configuration (there: {known})"
        pipe.say(Said("failed", job.id, error=error, again=False))
        return True
    try:
        backends[config.policies[job.policy].kind].start(job)
    except AccordError as error:
        pipe.say(Said("failed", job.id, error=str(error), again=False))
    return True


def open_pipe() -> Pipe:
    """This process's standard input and output, for the pipe alone.

    What libraries print goes to standard error from here on.
    """
    write = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)
    read = os.fdopen(os.dup(0), "r", encoding="utf-8", newline="\n")
    return Pipe(read, write)


def main() -> None:
    """The worker without torch: policies on servers alone."""
    from accord.openai_backend import OpenAIBackend

    pipe = open_pipe()
    config = pipe.first()
    os.nice(config.niceness)
    serve(pipe, {"openai": OpenAIBackend(config, pipe.say)}, config)


def command(config: GeneratorConfig) -> list[str]:
    """The command that starts the worker these policies need."""
    light = all(isinstance(policy, OpenAIPolicy) for policy in config.policies.values())
    return [sys.executable, "-m", "accord.generator" if light else "accord.stages.worker"]


if __name__ == "__main__":
    from accord.generator import main as run  # the module that backends import, not its double

    run()
