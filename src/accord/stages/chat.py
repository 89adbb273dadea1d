"""Chat: talk to a policy in the terminal, or to two of them side by side, as they speak."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from accord.artifacts import Artifact
from accord.config import Recipe
from accord.engine import LocalSampler, SamplingParams, host
from accord.models.load import Policy, load_policy
from accord.types import Message, Prompt


@dataclass
class _Speaker:
    name: str
    policy: Policy
    sampler: LocalSampler
    turns: list[Message] = field(default_factory=list)


def chat(
    recipe: Recipe,
    policies: Sequence[Artifact | str],
    lines: Iterator[str],
    temperature: float = 0.7,
    max_tokens: int = 200,
) -> None:
    """Answer each line, token by token; every policy keeps its own conversation.

    Args:
        recipe: section ``model`` (device, dtype, threads) and the seed are used.
        policies: one or two policy artifacts, folders or model names.
        lines: what the person says; an empty line is passed over, "/reset" starts anew.
        temperature: 0 always takes the most likely token.
        max_tokens: longest answer.
    """
    host.prepare(recipe.model.num_threads)
    speakers = []
    for source in policies:
        place = source.path if isinstance(source, Artifact) else source
        policy = load_policy(place, recipe.model)
        speakers.append(_Speaker(str(place), policy, LocalSampler(policy)))
    turn = 0
    for line in lines:
        said = line.strip()
        if said == "/reset":
            for speaker in speakers:
                speaker.turns.clear()
            print("(new conversation)")
        elif said:
            turn += 1
            for speaker in speakers:
                if len(speakers) > 1:
                    print(f"\n[{speaker.name}]")
                _answer(speaker, said, recipe, temperature, max_tokens, turn)


def _answer(
    speaker: _Speaker, said: str, recipe: Recipe, temperature: float, max_tokens: int, turn: int
) -> None:
    policy = speaker.policy
    speaker.turns.append(Message("user", said))
    tokens = policy.encoder(recipe).prompt(Prompt(f"chat-{turn}", tuple(speaker.turns)))
    heard: list[int] = []
    shown = ""

    def show(token: int) -> None:
        nonlocal shown
        heard.append(token)
        text = policy.text(heard)
        if not text.endswith("\ufffd"):  # half of a multi-byte character waits for its other half
            sys.stdout.write(text[len(shown) :])
            sys.stdout.flush()
            shown = text

    speaker.sampler.sample(
        [tokens],
        SamplingParams(
            max_tokens=max_tokens, temperature=temperature, seed=recipe.seed, key=("chat", turn)
        ),
        on_token=show,
    )
    print()
    speaker.turns.append(Message("assistant", policy.text(heard)))
