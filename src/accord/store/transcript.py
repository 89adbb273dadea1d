"""An answer as it grows: pieces that come in, chunks that are stored, and the text they make."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from accord.store.database import StoreError

AFRESH = "afresh"
"""``finished_reason`` of a chunk that replaces its slot's text so far."""
STOP, LENGTH = "stop", "length"
"""``finished_reason`` of a final chunk: the model ended the answer, or the limit did."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Something to store of one slot; see :func:`splice`."""

    generation: str
    slot: int
    text: str = ""
    afresh: bool = False
    final: bool = False
    finished: bool = True
    model: str = ""

    @property
    def reason(self) -> str | None:
        """``finished_reason`` of the chunk."""
        if self.afresh:
            return AFRESH
        if self.final:
            return STOP if self.finished else LENGTH
        return None


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stored piece: its number in the generation, and what it does to its slot's text."""

    seq: int
    slot: int
    text: str
    afresh: bool
    final: bool


def splice(have: str, start: int, text: str) -> tuple[str, str, bool]:
    """Fit a piece of text into what is there.

    Args:
        have: the slot's text so far.
        start: character at which ``text`` starts; what was said from there on no longer counts,
            unless it is the same.
        text: the piece.

    Returns:
        The slot's text from now on, the chunk to store ("" when it is all there already), and
        whether the chunk replaces the text so far.

    Raises:
        StoreError: the piece starts after the end: something was lost on the way.
    """
    if start > len(have):
        raise StoreError(f"a piece of an answer was lost: {len(have)} characters, next at {start}")
    text = clean(text)
    if have[start:].startswith(text):  # a second try, saying again what is there
        return have, "", False
    if text.startswith(have[start:]):
        return have[:start] + text, text[len(have) - start :], False
    return have[:start] + text, have[:start] + text, True


def clean(text: str) -> str:
    """Text that every database and every browser can hold: no NUL, no half of a surrogate pair."""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return whole.replace("\x00", "\ufffd")


def texts(num_slots: int, chunks: Iterable[Chunk], before: Sequence[str] = ()) -> list[str]:
    """Each slot's text after ``chunks``, which follow on ``before``."""
    found = list(before) or [""] * num_slots
    for chunk in chunks:
        found[chunk.slot] = chunk.text if chunk.afresh else found[chunk.slot] + chunk.text
    return found
