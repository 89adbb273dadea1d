"""The shapes of rows that users have, and what each becomes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

from accord.data.accord_rows import parse_accord
from accord.data.argilla import is_argilla, parse_argilla
from accord.data.battles import parse_battle, parse_summaries
from accord.data.label_studio import parse_label_studio
from accord.data.notes import Row, comparison_of, dense, identifier, note, number, prompt_of
from accord.data.oasst import parse_tree
from accord.data.report import RowError
from accord.data.turns import (
    MARKER,
    answer,
    conversation,
    kind,
    messages,
    shared_text,
    split_pair,
    text,
    transcript_pair,
)
from accord.errors import DataError
from accord.types import (
    Comparison,
    Completion,
    Demonstration,
    Label,
    Message,
    Prompt,
    Ranking,
    Reading,
    Record,
    Sample,
)


@dataclass(frozen=True, slots=True)
class Format:
    """One shape of row: when it is recognised, how it is read, and the records it gives."""

    name: str
    needs: str
    gives: tuple[type[Record], ...]
    matches: Callable[[Row], bool]
    parse: Callable[[Row], list[Record]]
    key: str = "id"
    """The column whose value may not appear twice; "" where every row stands for itself."""

    many: bool = False
    """Whether one row holds the verdicts of several people, or several records of several kinds."""


def _label(row: Row, turns: tuple[Message, ...], completion: str, field: str) -> Label:
    good = row.get(field)
    if good is None:
        raise RowError("missing field", repr(field))
    if type(good) is not bool and (type(good) is not int or good not in (0, 1)):
        raise RowError("wrong type", f"{field!r} is {kind(good)}, not true or false")
    written = Completion(completion, note(row, "model"))
    return Label(prompt_of(row, turns), written, bool(good), note(row, "rater"), identifier(row))


def _demonstration(row: Row, turns: tuple[Message, ...], completion: str) -> Demonstration:
    return Demonstration(prompt_of(row, turns), completion, identifier(row))


def _hh(row: Row) -> list[Record]:
    sides = text(row.get("chosen"), "chosen"), text(row.get("rejected"), "rejected")
    return [comparison_of(row, *transcript_pair(*sides))]


def _preference(row: Row) -> list[Record]:
    chosen, rejected = row.get("chosen"), row.get("rejected")
    if row.get("prompt") is not None:
        turns = conversation(row["prompt"], "prompt")
        if type(chosen) is not list or type(rejected) is not list:
            return [
                comparison_of(row, turns, answer(chosen, "chosen"), answer(rejected, "rejected"))
            ]
        whole = _continued(turns, chosen, "chosen"), _continued(turns, rejected, "rejected")
        return [comparison_of(row, *split_pair(*whole))]
    if type(chosen) is list or type(rejected) is list:
        pair = split_pair(messages(chosen, "chosen"), messages(rejected, "rejected"))
        return [comparison_of(row, *pair)]
    words = text(chosen, "chosen"), text(rejected, "rejected")
    if all(MARKER.match(side) for side in words):
        return _hh(row)
    prompt, chosen, rejected = shared_text(*words)
    return [comparison_of(row, (Message("user", prompt),), chosen, rejected)]


def _continued(prompt: tuple[Message, ...], value: object, field: str) -> tuple[Message, ...]:
    """The whole conversation, whether or not ``value`` repeats the prompt (UltraFeedback does)."""
    turns = messages(value, field)
    repeats = len(turns) > len(prompt) and turns[-1 - len(prompt) : -1] == prompt
    return turns if repeats else prompt + turns


def _unpaired(row: Row) -> list[Record]:
    turns = conversation(row.get("prompt"), "prompt")
    return [_label(row, turns, answer(row.get("completion"), "completion"), "label")]


def _prompt_completion(row: Row) -> list[Record]:
    turns = conversation(row.get("prompt"), "prompt")
    return [_demonstration(row, turns, answer(row.get("completion"), "completion"))]


def _spoken(row: Row, turns: tuple[Message, ...], field: str) -> Record:
    """A demonstration of the last assistant turn, or a prompt where the user speaks last."""
    if not turns:
        raise RowError("empty field", repr(field))
    if turns[-1].role != "assistant":
        return prompt_of(row, turns, "id")
    if len(turns) == 1:
        raise RowError("broken conversation", f"{field!r} is an answer without a prompt")
    return _demonstration(row, turns[:-1], turns[-1].content)


def _messages(row: Row) -> list[Record]:
    return [_spoken(row, messages(row.get("messages"), "messages"), "messages")]


def _nemo_rank(row: Row) -> list[Record]:
    turns = conversation(row.get("context"), "context")
    entries = row.get("completions")
    if type(entries) is not list:
        reason = "missing field" if entries is None else "wrong type"
        raise RowError(reason, f"'completions' is {kind(entries)}, not a list")
    if len(entries) < 2:
        raise RowError("too few completions", f"{len(entries)} where a ranking needs 2")
    completions, ranks = [], []
    for index, entry in enumerate(entries):
        field = f"completions[{index}]"
        if type(entry) is not dict:
            raise RowError("wrong type", f"{field!r} is {kind(entry)}, not an object")
        rank = entry.get("rank")
        if type(rank) is not int:
            reason = "missing field" if rank is None else "wrong type"
            raise RowError(reason, f"'{field}.rank' is {kind(rank)}, not a whole number")
        written = answer(entry.get("completion"), f"{field}.completion")
        completions.append(Completion(written, note(entry, "model")))
        ranks.append(rank)
    if len({completion.text for completion in completions}) == 1 and len(set(ranks)) > 1:
        raise RowError("identical pair", "all completions are equal but their ranks differ")
    return [
        Ranking(
            prompt_of(row, turns),
            tuple(completions),
            dense(ranks),
            number(row, "strength", 0.0, 1.0),
            note(row, "rater"),
            note(row, "guideline"),
            identifier(row),
            number(row, "weight", 0.0),
        )
    ]


def _alpaca(row: Row) -> list[Record]:
    turns = []
    if row.get("system") not in (None, ""):
        turns.append(Message("system", text(row["system"], "system")))
    history = row.get("history") or []
    for index, pair in enumerate(history):
        if type(pair) is not list or len(pair) != 2:
            raise RowError("wrong type", f"'history[{index}]' is not [question, answer]")
        turns.append(Message("user", text(pair[0], f"history[{index}][0]")))
        turns.append(Message("assistant", text(pair[1], f"history[{index}][1]")))
    words = text(row.get("instruction"), "instruction")
    if row.get("input") not in (None, ""):
        words += "\n" + text(row["input"], "input")
    prompt = (*turns, Message("user", words))
    if row.get("chosen") is not None or row.get("rejected") is not None:
        pair = answer(row.get("chosen"), "chosen"), answer(row.get("rejected"), "rejected")
        return [comparison_of(row, prompt, *pair)]
    if "output" not in row:
        return [prompt_of(row, prompt, "id")]
    completion = answer(row["output"], "output")
    if row.get("kto_tag") is not None:
        return [_label(row, prompt, completion, "kto_tag")]
    return [_demonstration(row, prompt, completion)]


def _sharegpt(row: Row) -> list[Record]:
    turns = messages(row.get("conversations"), "conversations")
    if row.get("system") not in (None, "") and not any(turn.role == "system" for turn in turns):
        turns = (Message("system", text(row["system"], "system")), *turns)
    if row.get("chosen") is not None or row.get("rejected") is not None:
        if not turns:
            raise RowError("empty field", "'conversations'")
        pair = answer(row.get("chosen"), "chosen"), answer(row.get("rejected"), "rejected")
        return [comparison_of(row, turns, *pair)]
    spoken = _spoken(row, turns, "conversations")
    if row.get("kto_tag") is not None and isinstance(spoken, Demonstration):
        return [_label(row, spoken.prompt.messages, spoken.completion, "kto_tag")]
    return [spoken]


def _prompt_row(row: Row) -> list[Record]:
    return [prompt_of(row, conversation(row.get("prompt"), "prompt"), "id")]


def _is_hh(row: Row) -> bool:
    sides = row.get("chosen"), row.get("rejected")
    return row.get("prompt") is None and all(
        type(side) is str and MARKER.match(side) is not None for side in sides
    )


def _has(*columns: str) -> Callable[[Row], bool]:
    return lambda row: all(column in row for column in columns)


_ANY = (Prompt, Demonstration, Sample, Comparison, Ranking, Label, Reading)
_FORMATS = (
    Format("accord", "type", _ANY, lambda row: _is_accord(row), parse_accord),
    Format(
        "oasst",
        "message_tree_id, prompt (with replies)",
        (Ranking, Demonstration),
        lambda row: type(row.get("prompt")) is dict and "replies" in row["prompt"],
        parse_tree,
        key="message_tree_id",
        many=True,
    ),
    Format(
        "label-studio",
        "data, annotations",
        (Comparison, Ranking, Demonstration),
        _has("data", "annotations"),
        parse_label_studio,
        many=True,
    ),
    Format(
        "argilla",
        "fields, responses",
        (Comparison, Ranking, Demonstration),
        is_argilla,
        parse_argilla,
        many=True,
    ),
    Format(
        "arena",
        "model_a, model_b, winner, conversation_a, conversation_b",
        (Comparison,),
        _has("winner", "conversation_a", "conversation_b"),
        parse_battle,
        key="",
    ),
    Format(
        "summarize",
        "info, summaries, choice",
        (Comparison,),
        _has("info", "summaries", "choice"),
        parse_summaries,
        key="",
    ),
    Format(
        "nemo-rank", "context, completions", (Ranking,), _has("context", "completions"), _nemo_rank
    ),
    Format(
        "sharegpt",
        "conversations",
        (Demonstration, Comparison, Label, Prompt),
        _has("conversations"),
        _sharegpt,
    ),
    Format(
        "alpaca",
        "instruction",
        (Demonstration, Comparison, Label, Prompt),
        _has("instruction"),
        _alpaca,
    ),
    Format("hh", "chosen, rejected (transcripts)", (Comparison,), _is_hh, _hh),
    Format(
        "trl-preference", "chosen, rejected", (Comparison,), _has("chosen", "rejected"), _preference
    ),
    Format(
        "trl-unpaired",
        "prompt, completion, label",
        (Label,),
        _has("prompt", "completion", "label"),
        _unpaired,
    ),
    Format(
        "trl-prompt-completion",
        "prompt, completion",
        (Demonstration,),
        lambda row: "prompt" in row and "completion" in row and row.get("label") is None,
        _prompt_completion,
    ),
    Format("messages", "messages", (Demonstration, Prompt), _has("messages"), _messages),
    Format("prompt", "prompt", (Prompt,), _has("prompt"), _prompt_row),
)
FORMATS = {entry.name: entry for entry in _FORMATS}
"""By name, in the order in which a row is tried: the more particular shapes first."""


def _is_accord(row: Row) -> bool:
    return row.get("type") in {noun.__name__.lower() for noun in _ANY}


def find_format(name: str) -> Format:
    """The format of that name.

    Raises:
        DataError: no such format.
    """
    if name not in FORMATS:
        near = get_close_matches(name, FORMATS, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise DataError(f"unknown format {name!r}{hint} Known: auto, {', '.join(FORMATS)}")
    return FORMATS[name]
