"""Chat: conversations that each speaker keeps, and characters that come in halves."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

import accord.stages.chat
from accord.config import load
from accord.engine import SampledTokens, SamplingParams
from accord.types import Prompt

chat_module = sys.modules[accord.stages.chat.chat.__module__]
EURO = "5 €, 2 £ and 😀!"


@dataclass
class Bytes:
    """A policy whose tokens are the bytes of what it was told to say."""

    name: str
    says: Callable[[str], bytes]
    heard: list[Prompt] = field(default_factory=list)
    params: list[SamplingParams] = field(default_factory=list)

    def encoder(self, recipe: object) -> SimpleNamespace:
        def prompt(asked: Prompt) -> list[int]:
            self.heard.append(asked)
            return list(asked.text.encode())

        return SimpleNamespace(prompt=prompt)

    def text(self, tokens: Sequence[int]) -> str:
        return bytes(tokens).decode("utf-8", errors="replace").strip()


class Sampler:
    def __init__(self, policy: Bytes) -> None:
        self.policy = policy

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        params: SamplingParams,
        on_token: Callable[[int], None],
    ) -> list[list[SampledTokens]]:
        (prompt,) = prompts
        self.policy.params.append(params)
        tokens = list(self.policy.says(bytes(prompt).decode()))[: params.max_tokens]
        for token in tokens:
            on_token(token)
        return [[SampledTokens(tokens, [0.0] * len(tokens), True)]]


class Screen:
    """Standard output that remembers each write and whether it was flushed."""

    def __init__(self) -> None:
        self.writes: list[str] = []
        self.flushes = 0

    def write(self, text: str) -> int:
        self.writes.append(text)
        return len(text)

    def flush(self) -> None:
        self.flushes += 1


@pytest.fixture
def talk(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Screen]:
    """``talk([policy], ["hi"])`` gives what the terminal saw."""

    def run(policies: Sequence[Bytes], lines: Sequence[str], **settings: float) -> Screen:
        named = {policy.name: policy for policy in policies}
        monkeypatch.setattr(chat_module, "load_policy", lambda name, config: named[name])
        monkeypatch.setattr(chat_module, "LocalSampler", Sampler)
        screen = Screen()
        monkeypatch.setattr(sys, "stdout", screen)
        chat_module.chat(load(None), [p.name for p in policies], iter(lines), **settings)
        monkeypatch.undo()
        return screen

    return run


def test_half_a_character_waits_for_its_other_half(talk: Callable[..., Screen]) -> None:
    screen = talk([Bytes("a", lambda said: EURO.encode())], ["how much ?\n"])
    assert "".join(screen.writes) == EURO + "\n"
    assert not any("\ufffd" in text for text in screen.writes)
    spoken = [text for text in screen.writes if text.strip()]
    assert spoken[:3] == ["5", " €", ","]  # a blank waits for what follows it
    assert spoken.count("😀") + spoken.count(" 😀") == 1
    assert screen.flushes >= len(spoken)  # as it speaks, not at the end


def test_an_answer_cut_inside_a_character_shows_what_is_whole(talk: Callable[..., Screen]) -> None:
    policy = Bytes("a", lambda said: "ab€".encode())
    screen = talk([policy], ["hi", "again"], max_tokens=4)
    assert "".join(screen.writes) == "ab\nab\n"
    assert policy.params[0].max_tokens == 4


def test_space_around_an_answer_is_not_shown_and_space_inside_is(talk) -> None:
    screen = talk([Bytes("a", lambda said: b" \n one \n\n two \n ")], ["hi"])
    assert "".join(screen.writes) == "one \n\n two\n"


def test_each_speaker_keeps_its_own_conversation(talk: Callable[..., Screen]) -> None:
    loud = Bytes("loud", lambda said: said.upper().encode())
    short = Bytes("short", lambda said: said[:1].encode())
    screen = talk([loud, short], ["hello\n", "\n", "  bye  \n"], temperature=0.0)
    shown = "".join(screen.writes)
    assert shown == "\n[loud]\nHELLO\n\n[short]\nh\n\n[loud]\nBYE\n\n[short]\nb\n"
    for policy, answer in ((loud, "HELLO"), (short, "h")):
        first, second = policy.heard
        assert [(m.role, m.content) for m in first.messages] == [("user", "hello")]
        assert [(m.role, m.content) for m in second.messages] == [
            ("user", "hello"),
            ("assistant", answer),
            ("user", "bye"),
        ]
        assert [p.temperature for p in policy.params] == [0.0, 0.0]
        # Another turn draws anew; both speakers draw alike, to be compared.
        assert [p.key for p in policy.params] == [("chat", 1), ("chat", 2)]


def test_reset_forgets_what_was_said(talk: Callable[..., Screen]) -> None:
    policy = Bytes("a", lambda said: b"ok")
    screen = talk([policy], ["one", " /reset \n", "two", "/resets"])
    assert "".join(screen.writes) == "ok\n(new conversation)\nok\nok\n"
    histories = [[m.content for m in asked.messages] for asked in policy.heard]
    assert histories == [["one"], ["two"], ["two", "ok", "/resets"]]
    assert len({p.key for p in policy.params}) == 3  # a new conversation is not the old one again


def test_nothing_said_is_nothing_answered(talk: Callable[..., Screen]) -> None:
    policy = Bytes("a", lambda said: b"ok")
    assert talk([policy], []).writes == []
    assert talk([policy], ["\n", "   ", "/reset"]).writes == ["(new conversation)", "\n"]
    assert policy.heard == []
