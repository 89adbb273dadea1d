"""Seeded draws: each is a pure function of names and a counter, so every one can be repeated.

Nothing here keeps a state. ``blake2b`` of the seed and the names is the source, as for the sides
in Potato; the order in which threads or processes ask changes nothing.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

from accord.store.task import RoundSettings

CALIBRATION_BLOCK = 20
"""The share of calibration items holds in every run of so many items, not only on average."""
CHECKS = ("gold", "attention", "anchor")
"""Roles that are mixed into a rater's tasks."""


def number(*names: str | int) -> int:
    """A whole number in [0, 2**64), the same for the same names."""
    text = "\0".join(map(str, names))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def uniform(*names: str | int) -> float:
    """A number in [0, 1), the same for the same names."""
    return (number(*names) >> 11) / 2**53


def permutation(size: int, *names: str | int) -> tuple[int, ...]:
    """One of the size! orders, each equally likely."""
    return tuple(sorted(range(size), key=lambda index: number(*names, index)))


def shuffle(settings: RoundSettings, item: str) -> int:
    """An item's place in the seeded order of its round, in [0, 2**31)."""
    return number(settings.seed, "shuffle", item) >> 33


def calibrated(settings: RoundSettings, round_id: str, place: int) -> bool:
    """Whether the ordinary item at a place (from 0) belongs to the calibration pool."""
    block, offset = divmod(place, CALIBRATION_BLOCK)
    names = (settings.seed, "calibration", round_id, block)
    count = _rounded(settings.calibration_share * CALIBRATION_BLOCK, *names)
    return offset in permutation(CALIBRATION_BLOCK, *names)[:count]


def role_of_draw(settings: RoundSettings, round_id: str, rater: str, counter: int) -> str:
    """What a rater's draw is to be: ``normal`` or one of ``CHECKS``.

    The shares hold within each batch of ``batch_size`` draws, at places that nobody can foresee.
    """
    batch, offset = divmod(counter, settings.batch_size)
    names = (settings.seed, "mix", round_id, rater, batch)
    order = _batch(settings.batch_size, *names)
    start = 0
    for role, share in zip(
        CHECKS, (settings.gold_share, settings.attention_share, settings.anchor_share), strict=True
    ):
        count = _rounded(share * settings.batch_size, *names, role)
        if offset in order[start : start + count]:
            return role
        start += count
    return "normal"


@lru_cache(maxsize=1024)
def _batch(size: int, *names: str | int) -> tuple[int, ...]:
    """The order of a rater's batch, kept while they are in it: to draw it takes 0.1 ms."""
    return permutation(size, *names)


def _rounded(value: float, *names: str | int) -> int:
    """Up or down at random, so that the mean is the value itself."""
    return int(value + uniform(*names, "rounding"))
