"""Worlds: packaged prompts and demonstrations whose gold score is known.

A world is what a loop needs when no people are at hand: prompts, demonstrations, and a gold
score that simulated raters and evaluations can lean on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from accord.errors import ConfigError
from accord.types import Completion, Demonstration, Prompt

NAMES = ("tiny", "assistant")


@dataclass(frozen=True, slots=True)
class World:
    """Prompts, demonstrations and the true score of a completion, under one name."""

    name: str
    prompts: Callable[[], list[Prompt]]
    demonstrations: Callable[[], list[Demonstration]]
    gold: Callable[[Prompt, Completion], float]


def get(name: str) -> World:
    """The world called ``name``, imported only now.

    Raises:
        ConfigError: no such world.
    """
    if name == "tiny":
        from accord.worlds import tiny

        return World(name, tiny.prompts, tiny.demonstrations, tiny.gold)
    if name == "assistant":
        from accord.worlds import assistant

        return World(name, assistant.prompts, assistant.demonstrations, assistant.gold)
    raise ConfigError(f"unknown world {name!r}: choose one of {', '.join(NAMES)}")
