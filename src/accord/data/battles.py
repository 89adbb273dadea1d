"""Verdicts on pairs as arenas and summarisation studies publish them.

Arena battles (Zheng et al. 2023): ``model_a``, ``model_b``, ``winner``, ``conversation_a``,
``conversation_b``, ``judge``. Summaries (Stiennon et al. 2020): ``info``, ``summaries``,
``choice``, ``worker``, ``extra.confidence``.
"""

from __future__ import annotations

from typing import Any

from accord.data.notes import Row, identifier, note, number, prompt_of
from accord.data.report import RowError
from accord.data.turns import kind, messages, split_pair, text
from accord.types import Choice, Comparison, Completion, Message, Record

WINNERS: dict[str, Choice] = {
    "model_a": "a",
    "model_b": "b",
    "tie": "tie",
    "tie (bothbad)": "both_bad",
    "both_bad": "both_bad",
}
"""The words of the arena's ``winner`` column, old and new."""

MIDDLE, HALF_SCALE = 5, 4
"""Confidence is 1 to 9: how sure the rater is, from one side over 5 to the other side."""


def parse_battle(row: Row) -> list[Record]:
    """The verdict of one battle; several turns are one battle only if they share all but the last.

    Raises:
        RowError: missing field, wrong type, out of range, early divergence, identical pair.
    """
    word = text(row.get("winner"), "winner")
    if word not in WINNERS:
        raise RowError("out of range", f"'winner' is {word!r}; known: {', '.join(WINNERS)}")
    choice = WINNERS[word]
    turns, left, right = split_pair(
        messages(_plain(row.get("conversation_a"), "conversation_a"), "conversation_a"),
        messages(_plain(row.get("conversation_b"), "conversation_b"), "conversation_b"),
        may_be_equal=choice in ("tie", "both_bad"),
    )
    names = {**row, "rater": _judge(row.get("judge"))}
    id_field = "question_id" if row.get("question_id") is not None else "id"
    sides = Completion(left, note(row, "model_a")), Completion(right, note(row, "model_b"))
    return [_verdict(names, turns, sides, choice, number(row, "strength", 0.0, 1.0), id_field)]


def parse_summaries(row: Row) -> list[Record]:
    """The verdict on two summaries of one post or article.

    The confidence becomes the strength, |confidence - 5| / 4. A rater's ``note`` on a summary is
    not a verdict and is left out.

    Raises:
        RowError: missing field, wrong type, out of range, identical pair.
    """
    info = _object(row, "info")
    summaries = row.get("summaries")
    if type(summaries) is not list or len(summaries) != 2:
        raise RowError("wrong type", "'summaries' is not a list of two")
    sides = []
    for index, summary in enumerate(summaries):
        if type(summary) is not dict:
            raise RowError("wrong type", f"'summaries[{index}]' is {kind(summary)}, not an object")
        words = text(summary.get("text"), f"summaries[{index}].text")
        sides.append(Completion(words, note(summary, "policy")))
    choice = row.get("choice")
    if type(choice) is not int or choice not in (0, 1):
        raise RowError("out of range", f"'choice' is {choice!r}, not 0 or 1")
    if sides[0].text == sides[1].text:
        raise RowError("identical pair", "both summaries are the same text")
    strength = number(row, "strength", 0.0, 1.0)
    extra = row.get("extra")
    confidence = number(extra, "confidence", 1, 9) if type(extra) is dict else None
    if strength is None and confidence is not None:
        strength = abs(confidence - MIDDLE) / HALF_SCALE
    tags = row.get("tags")
    if tags is None:
        tags = [f"{name}:{row[name]}" for name in ("split", "batch") if type(row.get(name)) is str]
    prompt_id = identifier(info) or None
    names = {**row, "rater": note(row, "worker"), "prompt_id": prompt_id, "tags": tags}
    turns = (Message("user", _asked(info)),)
    return [_verdict(names, turns, (sides[0], sides[1]), "ab"[choice], strength, "id")]


def _verdict(
    row: Row,
    turns: tuple[Message, ...],
    sides: tuple[Completion, Completion],
    choice: Any,
    strength: float | None,
    id_field: str,
) -> Comparison:
    return Comparison(
        prompt_of(row, turns),
        *sides,
        choice,
        strength,
        number(row, "margin"),
        note(row, "rater"),
        note(row, "guideline"),
        identifier(row, id_field),
        number(row, "weight", 0.0),
        number(row, "soft_label", 0.0, 1.0),
    )


def _judge(value: object) -> object:
    """The rater; MT-bench names a model judge with a list of the model and its prompt."""
    if type(value) is list and all(type(part) is str for part in value):
        return ", ".join(value)
    return value


def _plain(value: object, field: str) -> object:
    """The turns with their content as text where it came in parts (newer arenas)."""
    if type(value) is not list:
        return value
    turns: list[object] = []
    for turn in value:
        if type(turn) is dict and type(turn.get("content")) is list:
            parts = turn["content"]
            if not all(type(part) is dict and part.get("type", "text") == "text" for part in parts):
                raise RowError("wrong type", f"{field!r} holds something that is no text")
            turn = {**turn, "content": "".join(str(part.get("text", "")) for part in parts)}
        turns.append(turn)
    return turns


def _object(row: Row, field: str) -> Row:
    value = row.get(field)
    if type(value) is not dict:
        reason = "missing field" if value is None else "wrong type"
        raise RowError(reason, f"{field!r} is {kind(value)}, not an object")
    return value


def _asked(info: Row) -> str:
    """The prompt of the paper's policies (its appendix B.1); a post alone is the whole prompt."""
    if info.get("article") is not None:
        title = f"TITLE: {text(info['title'], 'info.title')}\n\n" if info.get("title") else ""
        return f"{title}ARTICLE: {text(info['article'], 'info.article')}\n\nTL;DR:"
    post = text(info.get("post"), "info.post")
    if info.get("title") is None and info.get("subreddit") is None:
        return post
    subreddit, title = note(info, "subreddit"), note(info, "title")
    return f"SUBREDDIT: r/{subreddit}\n\nTITLE: {title}\n\nPOST: {post}\n\nTL;DR:"
