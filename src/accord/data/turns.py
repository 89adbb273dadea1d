"""Turns of a conversation from the many ways of writing them down."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from accord.data.report import RowError
from accord.types import Message, Prompt, Role

ROLES: dict[str, Role] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
}
"""Role names of OpenAI messages, sharegpt and OpenAssistant, as accord's three."""

ANSWER = "\n\nAssistant:"
MARKER = re.compile(r"\n\n(Human|Assistant):")


def text(value: object, field: str) -> str:
    """``value``, if it is a text that is not blank.

    Raises:
        RowError: missing field, wrong type, empty field.
    """
    if type(value) is str:
        if value and not value.isspace():
            return value
        raise RowError("empty field", repr(field))
    if value is None:
        raise RowError("missing field", repr(field))
    raise RowError("wrong type", f"{field!r} is {kind(value)}, not text")


def kind(value: object) -> str:
    """The JSON name of a value's type, for an error message."""
    names = {bool: "a boolean", int: "a number", float: "a number", list: "a list"}
    names |= {dict: "an object", str: "text", type(None): "null"}
    return names.get(type(value), f"a {type(value).__name__}")


def messages(value: object, field: str) -> tuple[Message, ...]:
    """A list of ``role``/``content`` or ``from``/``value`` objects, without blank system turns.

    Raises:
        RowError: missing field, empty field, wrong type, unknown role.
    """
    if type(value) is not list:
        if value is None:
            raise RowError("missing field", repr(field))
        raise RowError("wrong type", f"{field!r} is {kind(value)}, not a list of messages")
    if not value:
        raise RowError("empty field", repr(field))
    turns: list[Message] = []
    for index, entry in enumerate(value):
        plain = _plain(entry)
        turn = message(entry, f"{field}[{index}]") if plain is None else plain
        if turn is not None:
            turns.append(turn)
    return tuple(turns)


def _plain(entry: object) -> Message | None:
    """The common case, quickly; None leaves the rest and the reasons to :func:`message`."""
    if type(entry) is dict:
        name, content = entry.get("role"), entry.get("content")
        if type(name) is str and type(content) is str and content and not content.isspace():
            role = ROLES.get(name)
            if role is not None:
                return Message(role, content)
    return None


def message(value: object, field: str) -> Message | None:
    """One turn; None for a blank system turn, which says nothing.

    Raises:
        RowError: missing field, empty field, wrong type, unknown role.
    """
    if type(value) is not dict:
        raise RowError("wrong type", f"{field!r} is {kind(value)}, not a message")
    speaker, content = ("from", "value") if "from" in value else ("role", "content")
    name = text(value.get(speaker), f"{field}.{speaker}")
    role = ROLES.get(name)
    if role is None:
        raise RowError("unknown role", f"{name!r} in {field!r}; known: {', '.join(ROLES)}")
    words = value.get(content)
    if role == "system" and type(words) is str and not words.strip():
        return None
    return Message(role, text(words, f"{field}.{content}"))


def transcript(value: str, field: str) -> tuple[Message, ...]:
    r"""The turns of a ``\n\nHuman: ...\n\nAssistant: ...`` text (Bai et al. 2022, the HH set).

    The white space around a turn's text is the notation's, not the turn's, and is removed.

    Raises:
        RowError: broken conversation, empty field.
    """
    before, *parts = MARKER.split(value)
    if not parts:
        raise RowError("broken conversation", f"{field!r} has no '\\n\\nHuman:' turn")
    if before and not before.isspace():
        raise RowError("broken conversation", f"{field!r} has text before its first turn")
    turns: list[Message] = []
    for speaker, words in zip(parts[::2], parts[1::2], strict=True):
        words = words.strip()
        if not words:
            raise RowError("empty field", f"turn {len(turns) + 1} of {field!r}")
        turns.append(Message("user" if speaker == "Human" else "assistant", words))
    return tuple(turns)


def transcript_pair(chosen: str, rejected: str) -> tuple[tuple[Message, ...], str, str]:
    """The shared prompt and the two last turns of two transcripts; see :func:`split_pair`.

    Raises:
        RowError: as :func:`transcript` and :func:`split_pair`.
    """
    cut = chosen.rfind(ANSWER)
    end = cut + len(ANSWER)
    last = chosen[end:].strip(), rejected[end:].strip()
    if (
        cut > 0
        and rejected.rfind(ANSWER) == cut
        and rejected.startswith(chosen[:cut])
        and chosen.find("\n\nHuman:", end) == rejected.find("\n\nHuman:", end) == -1
        and all(last)
        and last[0] != last[1]
    ):
        return transcript(chosen[:cut], "chosen"), *last
    return split_pair(transcript(chosen, "chosen"), transcript(rejected, "rejected"))


def conversation(value: object, field: str) -> tuple[Message, ...]:
    r"""A prompt: messages, an open HH transcript (it ends in ``\n\nAssistant:``), or plain text.

    Raises:
        RowError: missing field, empty field, wrong type, unknown role, broken conversation.
    """
    if type(value) is not str:
        turns = messages(value, field)
        if not turns:
            raise RowError("empty field", repr(field))
        return turns
    words = text(value, field)
    if words.startswith("\n\nHuman:") and words.rstrip().endswith(ANSWER):
        return transcript(words.rstrip().removesuffix(ANSWER), field)
    return (Message("user", words),)


def answer(value: object, field: str) -> str:
    """A completion: text, one assistant message, or a list with just that message.

    Raises:
        RowError: missing field, empty field, wrong type, broken conversation.
    """
    if type(value) is not list and type(value) is not dict:
        return text(value, field)
    turns = messages(value if type(value) is list else [value], field)
    if len(turns) != 1 or turns[0].role != "assistant":
        raise RowError("broken conversation", f"{field!r} is not one assistant turn")
    return turns[0].content


def split_pair(
    chosen: Sequence[Message], rejected: Sequence[Message], *, may_be_equal: bool = False
) -> tuple[tuple[Message, ...], str, str]:
    """The prompt two conversations share, and their two last turns.

    The prompt is the longest common prefix of turns. Where the two part earlier than at the last
    assistant turn there is no single completion to compare, and the row is bad. Only a tie
    (``may_be_equal``) may have two equal completions.

    Raises:
        RowError: identical pair, early divergence, broken conversation, missing field.
    """
    last = len(chosen) - 1
    if last < 0 or not rejected:
        raise RowError("empty field", "'chosen' or 'rejected' has no turn")
    if len(rejected) - 1 != last or chosen[:last] != rejected[:last]:
        pairs = zip(chosen, rejected, strict=False)
        shared = next((i for i, (a, b) in enumerate(pairs) if a != b), min(last + 1, len(rejected)))
        raise RowError(
            "early divergence",
            f"the conversations part at turn {shared + 1} of {last + 1} and {len(rejected)}, "
            "not at the last assistant turn",
        )
    if chosen[last].role != "assistant" or rejected[last].role != "assistant":
        raise RowError("broken conversation", "the last turn is not the assistant's")
    if chosen[last] == rejected[last] and not may_be_equal:
        raise RowError("identical pair", "'chosen' equals 'rejected'")
    if last == 0:
        raise RowError("missing field", "'prompt' (and 'chosen' and 'rejected' share no turn)")
    return tuple(chosen[:last]), chosen[last].content, rejected[last].content


def make_prompt(
    turns: Sequence[Message], prompt_id: str = "", tags: tuple[str, ...] = ()
) -> Prompt:
    """A prompt; without a ``prompt_id`` its id is a hash of the turns: equal prompts share it."""
    turns = tuple(turns)
    return Prompt(prompt_id or content_id(turns), turns, tags)


def content_id(turns: Sequence[Message]) -> str:
    """16 hexadecimal digits of the BLAKE2b hash of roles and contents."""
    joined = "\x1e".join([f"{turn.role}\x1f{turn.content}" for turn in turns])
    return hashlib.blake2b(joined.encode("utf-8"), digest_size=8).hexdigest()


def shared_text(chosen: str, rejected: str) -> tuple[str, str, str]:
    """Prompt and completions of two plain texts with an implicit prompt (TRL's text form).

    The prompt is the longest common prefix, cut back to the end of a word.

    Raises:
        RowError: identical pair, missing field, empty field.
    """
    if chosen == rejected:
        raise RowError("identical pair", "'chosen' equals 'rejected'")
    limit = min(len(chosen), len(rejected))
    end = next((i for i in range(limit) if chosen[i] != rejected[i]), limit)
    while end and not chosen[end - 1].isspace():
        end -= 1
    prompt = chosen[:end].rstrip()
    if not prompt:
        raise RowError(
            "missing field", "'prompt' (and 'chosen' and 'rejected' share no first words)"
        )
    cut = len(prompt)
    return prompt, text(chosen[cut:], "chosen"), text(rejected[cut:], "rejected")
