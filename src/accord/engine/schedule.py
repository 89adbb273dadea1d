"""Learning rates by step, and the order in which data comes: functions without state."""

from __future__ import annotations

import math
from typing import Protocol

from accord.rng import uniform


class ScheduleConfig(Protocol):
    """The fields of a stage's config that shape its learning rate."""

    @property
    def learning_rate(self) -> float: ...  # noqa: D102
    @property
    def schedule(self) -> str: ...  # noqa: D102
    @property
    def warmup_fraction(self) -> float: ...  # noqa: D102
    @property
    def min_lr_fraction(self) -> float: ...  # noqa: D102


def learning_rate(config: ScheduleConfig, step: int, num_steps: int) -> float:
    """Learning rate of ``step`` (from 0): linear warm-up, then constant, linear or cosine decay."""
    warmup = math.ceil(config.warmup_fraction * num_steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, num_steps - warmup)
    return config.learning_rate * decay(config.schedule, progress, config.min_lr_fraction)


def decay(schedule: str, progress: float, floor: float = 0.0) -> float:
    """Fraction of the peak learning rate at ``progress`` in [0, 1]."""
    if schedule == "constant":
        return 1.0
    shape = 1 - progress if schedule == "linear" else (1 + math.cos(math.pi * progress)) / 2
    return floor + (1 - floor) * shape


def shuffled(num_items: int, seed: int, *key: int | str) -> list[int]:
    """A permutation of ``range(num_items)`` that depends on seed and key alone."""
    draws = uniform(seed, "shuffle", *key, size=num_items)
    return [int(i) for i in draws.argsort(kind="stable")]


def cycle(num_items: int, start: int, count: int, seed: int, *key: int | str) -> list[int]:
    """Items ``start`` to ``start + count`` of an endless pass, reshuffled every epoch."""
    items: list[int] = []
    while len(items) < count:
        epoch, offset = divmod(start + len(items), num_items)
        order = shuffled(num_items, seed, *key, epoch)
        items += order[offset : offset + count - len(items)]
    return items
