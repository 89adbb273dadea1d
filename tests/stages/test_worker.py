"""The worker: its backend by itself, and the real process with a tiny model in it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from accord import artifacts
from accord.config import ModelConfig
from accord.config.generators import AccordPolicy, GeneratorConfig, OpenAIPolicy, Speech
from accord.engine.sampler import LocalSampler  # noqa: F401  (torch is loaded once for all tests)
from accord.errors import ModelError
from accord.generator import Answer, Job, Said, command
from accord.models.load import Policy, save_policy
from accord.stages.worker import AccordBackend
from accord.types import Message

ASK = (Message("user", "what is the color of the sky ?"),)
CPU = ModelConfig(device="cpu", max_tokens=96)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, load_small: Callable[..., Policy]) -> Path:
    """A policy artifact of random weights."""
    place = tmp_path_factory.mktemp("policies") / "policy"
    with artifacts.write(place, "policy") as work:
        save_policy(load_small(), work)
    return place


@pytest.fixture
def config(folder: Path) -> GeneratorConfig:
    own = AccordPolicy(source=str(folder), model=CPU)
    return GeneratorConfig(policies={"own": own, "twin": own}, num_threads=1)


def job(name: str, *messages: Message, policy: str = "own", **speech: Any) -> Job:
    return Job(name, policy, messages or ASK, Speech(**{"max_tokens": 12, **speech}), name)


def finish(backend: AccordBackend) -> None:
    while backend.step():
        pass


def text(said: list[Said], name: str) -> str:
    """The answer as whoever stores it has it."""
    found = ""
    for one in said:
        if one.job == name and one.kind == "text":
            assert one.start <= len(found)
            found = found[: one.start] + one.text
        elif one.job == name and one.kind == "done":
            found = found[: one.start]
    return found


def test_pieces_make_the_whole_answer(config: GeneratorConfig, folder: Path) -> None:
    said: list[Said] = []
    backend = AccordBackend(config, said.append)
    for name in ("a", "b"):
        backend.start(job(name, policy="twin" if name == "b" else "own"))
    finish(backend)
    ends = {one.job: one for one in said if one.kind == "done"}
    assert set(ends) == {"a", "b"}
    assert ends["a"].model == artifacts.read(folder).hash
    assert text(said, "a") != text(said, "b")
    again: list[Said] = []
    second = AccordBackend(config, again.append)
    second.start(job("a"))
    finish(second)
    assert text(again, "a") == text(said, "a")
    assert len([one for one in said if one.kind == "text"]) > 2


def test_a_long_conversation_loses_its_oldest_turns(config: GeneratorConfig) -> None:
    said: list[Said] = []
    backend = AccordBackend(config, said.append)
    turn = (ASK[0], Message("assistant", "blue ."))
    backend.start(job("long", *turn * 20, *ASK))
    with pytest.raises(ModelError, match=r"own: the message is too long: \d+ tokens, and 84"):
        backend.start(job("wide", Message("user", "sky " * 100)))
    with pytest.raises(ModelError, match="chat template refuses"):
        backend.start(job("odd", Message("system", "x"), *ASK))
    finish(backend)
    assert [one.job for one in said if one.kind == "done"] == ["long"]


def test_a_cancelled_answer_is_silent(config: GeneratorConfig) -> None:
    said: list[Said] = []
    backend = AccordBackend(config, said.append)
    backend.start(job("a"))
    backend.step()
    before = len(said)
    backend.cancel("a")
    finish(backend)
    assert len(said) == before


def test_what_a_tokenizer_takes_back_is_taken_back() -> None:
    said: list[Said] = []
    answer = Answer("j", said.append)
    for so_far in ("He", "He\ufffd", "Heé", "Heé .", "Heé."):
        answer.grow(so_far)
    answer.done("Heé.", finished=True, model="m")
    assert text(said, "j") == "Heé."
    assert [(one.start, one.text) for one in said[:-1]] == [
        (0, "He"),
        (2, "é"),
        (3, " ."),
        (3, "."),
    ]


class Process:
    """A worker as the server runs it."""

    def __init__(self, config: GeneratorConfig) -> None:
        self.running = subprocess.Popen(
            command(config), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.send(config.model_dump(mode="json"))

    def send(self, row: Any) -> None:
        assert self.running.stdin is not None
        self.running.stdin.write(json.dumps(row) + "\n")
        self.running.stdin.flush()

    def hear(self, kind: str) -> list[Said]:
        """All that is said up to the first of a kind."""
        assert self.running.stdout is not None
        said = [Said(**json.loads(self.running.stdout.readline()))]
        while said[-1].kind != kind:
            said.append(Said(**json.loads(self.running.stdout.readline())))
        return said


@pytest.fixture
def process(config: GeneratorConfig) -> Iterator[Process]:
    started = Process(config)
    yield started
    started.running.kill()
    started.running.communicate()


def test_the_process_answers_refuses_and_stops_when_asked(process: Process) -> None:
    process.hear("ready")
    process.send(job("a").row())
    said = process.hear("done")
    assert text(said, "a")
    process.send(job("b", policy="unknown").row())
    failed = process.hear("failed")[-1]
    assert not failed.again
    assert "no policy 'unknown' in the studio's configuration (there: own, twin)" in failed.error
    process.hear("beat")
    process.send(job("c", max_tokens=60).row())
    process.running.send_signal(signal.SIGTERM)
    assert process.running.wait(60) == 0


def test_the_process_ends_with_its_server() -> None:
    """Its end of the pipe closes; there is no torch in a worker that needs none."""
    light = GeneratorConfig(
        policies={"far": OpenAIPolicy(kind="openai", url="http://127.0.0.1:1", model="m")}
    )
    assert command(light) == [sys.executable, "-m", "accord.generator"]
    process = Process(light)
    process.hear("ready")
    modules = Path(f"/proc/{process.running.pid}/maps").read_text()
    assert "torch" not in modules
    process.running.communicate(timeout=60)
    assert process.running.returncode == 0


def test_a_policy_that_cannot_be_loaded_fails_its_jobs_alone(config: GeneratorConfig) -> None:
    said: list[Said] = []
    missing = AccordPolicy(source="/nowhere/at/all", model=CPU)
    backend = AccordBackend(
        GeneratorConfig(policies={**config.policies, "missing": missing}), said.append
    )
    backend.load()
    with pytest.raises(ModelError, match="/nowhere/at/all"):
        backend.start(job("a", policy="missing"))
    backend.start(job("b"))
    finish(backend)
    assert said[-1].kind == "done"
