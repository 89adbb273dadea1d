"""Where prompts and responses are in the records of labelling platforms, and what verdicts say.

Argilla and Label Studio let every team name its fields. The usual names are found here; others are
told with ``columns={"prompt": "fields.my_question", "response_a": "fields.left", ...}``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from accord.data.notes import Row
from accord.data.report import RowError
from accord.data.turns import answer, conversation
from accord.types import Choice, Comparison, Completion, Message, Prompt, Ranking

PROMPTS = (
    *("prompt", "instruction", "question", "query", "input", "context", "conversation", "chat"),
    *("messages", "dialogue", "dialog", "history", "task", "user", "text"),
)
"""Names of the field that holds what was asked, the likeliest first."""

PAIRS = re.compile(
    r"(response|completion|answer|reply|generation|output|candidate|option|choice|model|summary|"
    r"text|txt)s?(?P<place>[0-9]{1,2}|[a-h])(text|content|response|answer|output)?"
)
WORDS: dict[str, Choice] = {
    "left": "a", "first": "a", "right": "b", "second": "b",
    "tie": "tie", "equal": "tie", "same": "tie", "draw": "tie", "neutral": "tie",
    "bothgood": "tie", "nopreference": "tie", "aboutthesame": "tie", "equallygood": "tie",
    "bothbad": "both_bad", "neither": "both_bad", "botharebad": "both_bad",
}  # fmt: skip
"""What teams call the outcomes, without case, spaces and marks."""


def plain(name: object) -> str:
    """A name without case, spaces and marks: ``Response-1`` is ``response1``."""
    return re.sub(r"[^a-z0-9]", "", str(name).lower())


def find_prompt(row: Row, fields: Mapping[str, Any], used: Iterable[str]) -> tuple[Message, ...]:
    """The conversation that was answered: the one the user named, or the field of a usual name.

    Raises:
        RowError: missing field, and what :func:`accord.data.turns.conversation` says.
    """
    if row.get("prompt") is not None:
        return conversation(row["prompt"], "prompt")
    left = {plain(name): name for name in fields if name not in set(used)}
    for name in PROMPTS:
        if name in left and fields[left[name]]:
            return conversation(fields[left[name]], left[name])
    raise RowError(
        "missing field",
        f"'prompt' (found: {', '.join(map(str, fields))}; name it with columns)",
    )


def find_responses(row: Row, fields: Mapping[str, Any]) -> dict[str, str]:
    """Field name -> text of the responses, in the order of their number or letter.

    Raises:
        RowError: empty field, wrong type, broken conversation.
    """
    named = [name for name in ("response_a", "response_b") if row.get(name) is not None]
    if len(named) == 2:
        return {name: answer(row[name], name) for name in named}
    places: list[tuple[str, str]] = []
    for name in fields:
        match = PAIRS.fullmatch(plain(name))
        if match and fields[name] is not None:
            places.append((match["place"].rjust(2), name))
    return {name: answer(fields[name], name) for _, name in sorted(places)}


def outcome(word: object, names: list[str]) -> Choice | None:
    """Which of two responses a label means; None if it says neither that nor a tie."""
    said = plain(word)
    for side, name in zip(("a", "b"), names, strict=True):
        tail = PAIRS.fullmatch(plain(name))
        own = {plain(name)} | ({tail["place"]} if tail else set())
        for noun in ("response", "answer", "model", "option", "completion", "output", ""):
            own |= {f"{noun}{'12'['ab'.index(side)]}", f"{noun}{side}"}
        if said in own or said.removesuffix("isbetter") in own:
            return "a" if side == "a" else "b"
    return WORDS.get(said)


def compared(
    prompt: Prompt, sides: Mapping[str, str], choice: Choice, rater: str, own_id: str
) -> Comparison:
    """The verdict on the two ``sides`` (field name -> text); the fields' names stay out of it.

    Raises:
        RowError: identical pair.
    """
    a, b = sides.values()
    if a == b and choice in ("a", "b"):
        raise RowError("identical pair", "both responses are the same text")
    return Comparison(prompt, Completion(a), Completion(b), choice, rater=rater, id=own_id)


def ranked(
    prompt: Prompt, texts: Iterable[str], ranks: tuple[int, ...], rater: str, own_id: str
) -> Ranking:
    """The ranking of ``texts``; two of them and more.

    Raises:
        RowError: too few completions.
    """
    completions = tuple(Completion(words) for words in texts)
    if len(completions) < 2:
        raise RowError("too few completions", f"{len(completions)} where a ranking needs 2")
    return Ranking(prompt, completions, ranks, rater=rater, id=own_id)
