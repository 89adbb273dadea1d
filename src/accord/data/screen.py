"""What comes in before people see it: copies, too much of one source, personal data.

Ouyang et al. (2022, A.2) took prompts from users so: those that share a long beginning once, at
most 200 of a user, none with personal data, and held out by user. A prompt's source is its first
tag ``user:...`` or ``source:...``; :func:`accord.stages.inputs.inputs` holds out by ``user:``.
"""

from __future__ import annotations

import importlib
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from accord.errors import ConfigError
from accord.types import Comparison, Demonstration, Label, Prompt, Ranking, Sample

Screenable: TypeAlias = Prompt | Demonstration | Sample | Comparison | Ranking | Label
R = TypeVar("R", bound=Screenable)
Scan: TypeAlias = Callable[[str], str | None]
"""Reads a text; what is in it that must not be kept, in a few words, or None."""

PREFIX_CHARS = 200
"""Prompts that agree so far, whatever their case and spaces, are one."""
PERSONAL = "personal"
"""Name of :func:`find_personal` where a scan is chosen by name."""
SOURCES = ("user:", "source:")

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_NUMBER = re.compile(r"(?<![\w.])\+?\(?\d(?:[ ().-]{0,2}\d){8,18}(?!\w)")
_PLAIN = re.compile(r"\d+(?:\.\d+)?|\d{1,3}(?:[ .]\d{3})+")


@dataclass(frozen=True, slots=True)
class Dropped:
    """A record that was left out: its place in the file from 1, and why. Its text is not here."""

    row: int
    prompt_id: str
    why: str


@dataclass(frozen=True, slots=True)
class Screened(Generic[R]):
    """What may come in, in its order, and what may not."""

    kept: list[R]
    dropped: list[Dropped]

    def summary(self) -> str:
        """One line: how many are kept, and how many were left out for each reason."""
        counts = Counter(row.why.partition(":")[0] for row in self.dropped)
        total = len(self.kept) + len(self.dropped)
        why = "".join(f"; {num} left out, {reason}" for reason, num in counts.most_common())
        return f"{len(self.kept)} of {total} are kept{why}"


def screen(
    records: Iterable[R],
    *,
    drop_duplicates: bool = True,
    cap: int | None = None,
    scan: Scan | None = None,
) -> Screened[R]:
    """Leave out personal data, copies, and what is over the cap of its source, in this order.

    Args:
        records: prompts, or records about them.
        drop_duplicates: keep the first of prompts that agree in their first 200 characters. Records
            with completions are copies only where these agree too.
        cap: most records of one source; those without a source have no cap. Ouyang et al.: 200.
        scan: the hook for personal data; it reads prompt and completions.
    """
    seen: dict[object, str] = {}
    counts: Counter[str] = Counter()
    kept: list[R] = []
    dropped: list[Dropped] = []
    for row, record in enumerate(records, start=1):
        prompt = record if isinstance(record, Prompt) else record.prompt
        texts = completions_of(record)
        key = (_beginning(prompt), tuple(sorted(texts)))
        source = source_of(prompt)
        found = scan("\n".join([m.content for m in prompt.messages] + texts)) if scan else None
        if found:
            why = f"with personal data: {found}"
        elif drop_duplicates and key in seen:
            why = f"copies of another: {seen[key]}"
        elif cap is not None and source and counts[source] >= cap:
            why = f"over the cap of {cap} a source: {source}"
        else:
            seen.setdefault(key, prompt.id)
            counts[source] += 1
            kept.append(record)
            continue
        dropped.append(Dropped(row, prompt.id, why))
    return Screened(kept, dropped)


def source_of(prompt: Prompt, kinds: tuple[str, ...] = SOURCES) -> str:
    """The tag that says who a prompt is from, such as ``user:17``; "" if none does."""
    return next((tag for tag in prompt.tags if tag.startswith(kinds)), "")


def completions_of(record: Screenable) -> list[str]:
    """The texts of a record beside its prompt."""
    match record:
        case Prompt():
            return []
        case Demonstration():
            return [record.completion]
        case Label():
            return [record.completion.text]
        case Comparison():
            return [record.a.text, record.b.text]
        case Sample() | Ranking():
            return [completion.text for completion in record.completions]


def find_personal(text: str) -> str | None:
    """A coarse look for e-mail addresses, card numbers and telephone numbers.

    It misses names and addresses, and takes some other long number for a telephone's. Where it
    matters, bring a scan of your own.
    """
    if _EMAIL.search(text):
        return "an e-mail address"
    for match in _NUMBER.finditer(text):
        number = match.group()
        digits = [int(char) for char in number if char.isdecimal()]
        if 13 <= len(digits) <= 19 and _luhn(digits):
            return "a card number"
        if len(digits) <= 15 and not _PLAIN.fullmatch(number):
            return "a telephone number"
    return None


def load_scan(name: str) -> Scan:
    """A scan by name: ``personal``, or ``module:function`` of your own.

    Raises:
        ConfigError: there is no such function.
    """
    if name == PERSONAL:
        return find_personal
    module, _, function = name.partition(":")
    try:
        found: Scan = vars(importlib.import_module(module))[function]
    except (ImportError, KeyError, ValueError) as error:
        raise ConfigError(
            f"no scan {name!r}: name {PERSONAL!r}, or a function as module:function that takes a "
            "text and returns what it found, or None"
        ) from error
    return found


def _beginning(prompt: Prompt) -> str:
    text = "\n".join(f"{m.role}: {m.content}" for m in prompt.messages)
    return " ".join(text.casefold().split())[:PREFIX_CHARS]


def _luhn(digits: list[int]) -> bool:
    """The checksum of card numbers (ISO/IEC 7812-1)."""
    doubled = [d * 2 - 9 * (d > 4) if i % 2 else d for i, d in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0
