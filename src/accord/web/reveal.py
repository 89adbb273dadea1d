"""Paired reveal: two answers appear together and grow in step, so that neither looks quicker.

In Anthropic's collection an answer that could stream beside one that could not swayed the raters,
so both waited (Bai et al. 2022, B.5). Here nothing of an answer is sent before the other has
something to show or both are complete; then both grow by the same number of characters, at the
pace of the slower one and never faster than ``CHARS_A_TICK``, and what ends a pane is sent for both
at once. Which of the two was quicker cannot be seen in anything that is sent, nor in when.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from accord.store.task import SLOTS
from accord.store.transcript import Chunk

CHARS_A_TICK = 64
"""Most characters that a pane grows by in one tick, whatever is there already."""


@dataclass(frozen=True, slots=True)
class Event:
    """A server-sent event; ``id`` says all that a client which comes back needs to have said."""

    name: str
    data: dict[str, Any]
    id: str


@dataclass
class _Pane:
    text: str = ""
    version: int = 0
    final: bool = False
    shown: int = 0
    shown_version: int = 0


class PairedReveal:
    """What one client may see, and what it has seen.

    Args:
        permutation: slot s shows the generation's answer ``permutation[s]``.
        last_event_id: the last id that the client got; one that cannot be read counts as none.
    """

    def __init__(self, permutation: Sequence[int], last_event_id: str = "") -> None:
        self._panes = [_Pane() for _ in permutation]
        self._places = {answer: slot for slot, answer in enumerate(permutation)}
        self._front = 0
        self._revealed = False
        self._fresh = True
        self.over = False
        seen = re.fullmatch(r"r" + r"\.([0-9]{1,7})-([0-9]{1,4})" * len(permutation), last_event_id)
        if seen:
            numbers = [int(number) for number in seen.groups()]
            for pane, shown, version in zip(self._panes, numbers[::2], numbers[1::2], strict=True):
                pane.shown, pane.shown_version = shown, version
            self._front = max(numbers[::2])
            self._revealed = True
            self._fresh = False

    @property
    def behind(self) -> bool:
        """Whether there is more to send than one tick allows."""
        return self._revealed and not self.over and self._front < self._limit()

    def take(self, chunks: Iterable[Chunk]) -> None:
        """What the answers have grown by."""
        for chunk in chunks:
            pane = self._panes[self._places[chunk.slot]]
            if chunk.afresh:
                pane.text, pane.version = "", pane.version + 1
            pane.text += chunk.text
            pane.final = chunk.final

    def tick(self) -> list[Event]:
        """What may be sent now."""
        if self.over or not all(pane.text or pane.final for pane in self._panes):
            return []
        events: list[Event] = []
        if not self._revealed:
            self._revealed = True
            events.append(Event("reveal", {}, self._id()))
        whole = all(pane.final for pane in self._panes)
        step = self._limit() if whole and self._fresh else self._front + CHARS_A_TICK
        self._fresh = False
        self._front = max(self._front, min(step, self._limit()))
        for slot, pane in enumerate(self._panes):
            event = self._delta(SLOTS[slot], pane)
            events += [event] if event else []
        if whole and all(pane.shown == len(pane.text) for pane in self._panes):
            self.over = True
            events += [
                Event("done", {"slot": SLOTS[slot], "text": pane.text}, self._id())
                for slot, pane in enumerate(self._panes)
            ]
        return events

    def _limit(self) -> int:
        """How far the panes may go: as far as the shortest that still grows."""
        growing = [len(pane.text) for pane in self._panes if not pane.final]
        return min(growing) if growing else max(len(pane.text) for pane in self._panes)

    def _delta(self, slot: str, pane: _Pane) -> Event | None:
        afresh = pane.shown_version != pane.version or pane.shown > len(pane.text)
        afresh = afresh and pane.shown > 0
        begin = 0 if afresh else pane.shown
        end = min(len(pane.text), self._front)
        pane.shown_version = pane.version
        if end == begin and not afresh:
            return None
        pane.shown = end
        data: dict[str, Any] = {"slot": slot, "text": pane.text[begin:end]}
        return Event("delta", {**data, "afresh": True} if afresh else data, self._id())

    def _id(self) -> str:
        return "r" + "".join(f".{pane.shown}-{pane.shown_version}" for pane in self._panes)
