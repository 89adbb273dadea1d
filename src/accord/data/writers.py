"""One record as the rows of a shape; :mod:`accord.data.export` writes them to a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from accord.data.battles import HALF_SCALE, MIDDLE
from accord.data.turns import ANSWER, MARKER, content_id
from accord.errors import DataError
from accord.types import (
    Comparison,
    Demonstration,
    Label,
    Prompt,
    Ranking,
    Record,
    to_dict,
)

Row: TypeAlias = dict[str, Any]


class NoWinner(Exception):
    """A verdict without a winner, where the shape needs one."""


def _messages(prompt: Prompt) -> list[Row]:
    return [{"role": turn.role, "content": turn.content} for turn in prompt.messages]


def _spoken(words: str) -> list[Row]:
    return [{"role": "assistant", "content": words}]


def _prompt_columns(prompt: Prompt, id_column: str = "prompt_id") -> Row:
    own = prompt.id if prompt.id != content_id(prompt.messages) else None
    return {id_column: own, "tags": list(prompt.tags) or None}


def _verdict_columns(record: Comparison) -> Row:
    """What a verdict carries beside its texts; the soft label is that of the first side."""
    return {
        "margin": record.margin,
        "strength": record.strength,
        "weight": record.weight,
        "soft_label": record.soft_label,
        "rater": record.rater or None,
        "guideline": record.guideline or None,
        "id": record.id or None,
        **_prompt_columns(record.prompt),
    }


def _decided(record: Comparison) -> Comparison:
    """The same verdict with the winner as ``a``."""
    if record.choice == "a":
        return record
    if record.choice == "b":
        return record.swap()
    raise NoWinner


def _models(record: Comparison) -> Row:
    return {"chosen_model": record.a.model or None, "rejected_model": record.b.model or None}


def _preference(record: Comparison) -> Iterator[Row]:
    record = _decided(record)
    yield {
        "prompt": _messages(record.prompt),
        "chosen": _spoken(record.a.text),
        "rejected": _spoken(record.b.text),
        **_verdict_columns(record),
        **_models(record),
    }


def _implicit(record: Comparison) -> Iterator[Row]:
    record = _decided(record)
    asked = _messages(record.prompt)
    yield {
        "chosen": asked + _spoken(record.a.text),
        "rejected": asked + _spoken(record.b.text),
        **_verdict_columns(record),
        **_models(record),
    }


def _texts(record: Comparison) -> Iterator[Row]:
    record = _decided(record)
    asked = one_question(record.prompt, "trl-text")
    if asked.startswith("\n\nHuman:"):
        raise DataError("trl-text: a prompt that begins like a transcript would be read as one")
    yield {
        "prompt": asked,
        "chosen": record.a.text,
        "rejected": record.b.text,
        **_verdict_columns(record),
        **_models(record),
    }


def _hh(record: Comparison) -> Iterator[Row]:
    record = _decided(record)
    asked = "".join(
        f"\n\n{'Human' if role == 'user' else 'Assistant'}: {words}"
        for role, words in (
            _transcribed(turn.role, turn.content) for turn in record.prompt.messages
        )
    )
    sides = [_transcribed("assistant", side.text)[1] for side in (record.a, record.b)]
    yield {
        "chosen": f"{asked}{ANSWER} {sides[0]}",
        "rejected": f"{asked}{ANSWER} {sides[1]}",
        **_verdict_columns(record),
        **_models(record),
    }


def _transcribed(role: str, words: str) -> tuple[str, str]:
    """A turn as the transcript can say it; a turn that would be read as several is refused."""
    if role == "system":
        raise DataError("hh: a transcript has no system turn; use trl-preference")
    words = words.strip()
    if MARKER.search(words):
        raise DataError(
            "hh: a turn that itself holds '\\n\\nHuman:' or '\\n\\nAssistant:' would be read as "
            "several; use trl-preference"
        )
    return role, words


def one_question(prompt: Prompt, shape: str) -> str:
    """The prompt's text where the shape has room for one user message alone.

    Raises:
        DataError: the prompt is a longer conversation.
    """
    if len(prompt.messages) != 1 or prompt.messages[0].role != "user":
        raise DataError(
            f"{shape}: holds one user message as the prompt, not a conversation; use trl-preference"
        )
    return prompt.messages[0].content


def _battle(record: Comparison) -> Iterator[Row]:
    asked = _messages(record.prompt)
    winner = {"a": "model_a", "b": "model_b", "tie": "tie", "both_bad": "tie (bothbad)"}
    columns = _verdict_columns(record)
    yield {
        "question_id": columns.pop("id"),
        "model_a": record.a.model,
        "model_b": record.b.model,
        "winner": winner[record.choice],
        "judge": columns.pop("rater"),
        "conversation_a": asked + _spoken(record.a.text),
        "conversation_b": asked + _spoken(record.b.text),
        "turn": sum(turn["role"] == "user" for turn in asked),
        **columns,
    }


def _summaries(record: Comparison) -> Iterator[Row]:
    if record.choice not in ("a", "b"):
        raise NoWinner
    columns = _verdict_columns(record)
    strength = columns.pop("strength")
    confidence = None
    if strength is not None:
        sign = 1 if record.choice == "b" else -1
        confidence = MIDDLE + sign * round(HALF_SCALE * strength)
        columns["strength"] = strength if strength * HALF_SCALE % 1 else None
    yield {
        "info": {
            "id": columns.pop("prompt_id") or "",
            "post": one_question(record.prompt, "summarize"),
        },
        "summaries": [{"text": side.text, "policy": side.model} for side in (record.a, record.b)],
        "choice": int(record.choice == "b"),
        "worker": columns.pop("rater"),
        "extra": {"confidence": confidence},
        **columns,
    }


def _unpaired(record: Label | Comparison) -> Iterator[Row]:
    if isinstance(record, Label):
        sides = [(record.completion, record.good, record.id)]
    elif record.choice == "both_bad":
        sides = [(record.a, False, ""), (record.b, False, "")]
    else:
        decided = _decided(record)
        sides = [(decided.a, True, ""), (decided.b, False, "")]
    for completion, good, own_id in sides:
        yield {
            "prompt": _messages(record.prompt),
            "completion": _spoken(completion.text),
            "label": good,
            "rater": record.rater or None,
            "model": completion.model or None,
            "id": own_id or None,
            **_prompt_columns(record.prompt),
        }


def _prompt_completion(record: Demonstration) -> Iterator[Row]:
    yield {
        "prompt": _messages(record.prompt),
        "completion": _spoken(record.completion),
        "id": record.id or None,
        **_prompt_columns(record.prompt),
    }


def _chat(record: Demonstration) -> Iterator[Row]:
    yield {
        "messages": _messages(record.prompt) + _spoken(record.completion),
        "id": record.id or None,
        **_prompt_columns(record.prompt),
    }


def _ranked(record: Ranking | Comparison) -> Iterator[Row]:
    if isinstance(record, Ranking):
        judged = list(zip(record.completions, record.ranks, strict=True))
    elif record.choice in ("a", "b"):
        decided = _decided(record)
        judged = [(decided.a, 0), (decided.b, 1)]
    else:
        judged = [(record.a, 0), (record.b, 0)]
    named = any(completion.model for completion, _ in judged)
    yield {
        "context": _messages(record.prompt),
        "completions": [
            {"rank": rank, "completion": _spoken(completion.text)}
            | ({"model": completion.model} if named else {})
            for completion, rank in judged
        ],
        "strength": record.strength,
        "weight": record.weight,
        "rater": record.rater or None,
        "guideline": record.guideline or None,
        "id": record.id or None,
        **_prompt_columns(record.prompt),
    }


def _prompt_row(record: Prompt) -> Iterator[Row]:
    columns = _prompt_columns(record, "id")
    yield {"prompt": _messages(record), **columns}


def _own(record: Record) -> Iterator[Row]:
    yield to_dict(record)


WRITERS: dict[str, Callable[[Any], Iterator[Row]]] = {
    "accord": _own,
    "trl-preference": _preference,
    "trl-implicit": _implicit,
    "trl-text": _texts,
    "trl-unpaired": _unpaired,
    "trl-prompt-completion": _prompt_completion,
    "hh": _hh,
    "nemo-rank": _ranked,
    "arena": _battle,
    "summarize": _summaries,
    "messages": _chat,
    "prompt": _prompt_row,
}
"""Shape -> the rows of one record.

Each raises NoWinner where the shape needs a winner, and DataError where the record does not fit.
"""
