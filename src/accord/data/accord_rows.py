"""accord's own records (``types.to_dict``), checked field by field before they are trusted."""

from __future__ import annotations

import math
from dataclasses import MISSING, fields
from typing import Any

from accord.data.report import RowError
from accord.data.turns import kind, text
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
    from_dict,
)

NOUNS = {
    noun.__name__.lower(): noun
    for noun in (Prompt, Demonstration, Sample, Comparison, Ranking, Label, Reading)
}
CHOICES = ("a", "b", "tie", "both_bad")


def parse_accord(row: dict[str, Any]) -> list[Record]:
    """The record a row was written from.

    Raises:
        RowError: missing field, wrong type, empty field, unknown field or role, out of range,
            identical pair, too few completions.
    """
    name = text(row.get("type"), "type")
    noun = NOUNS.get(name)
    if noun is None:
        raise RowError("unknown record type", f"{name!r}; known: {', '.join(NOUNS)}")
    _keys({key: value for key, value in row.items() if key != "type"}, noun, "row")
    if "id" in row and type(row["id"]) is not str:
        raise RowError("wrong type", f"'id' is {kind(row['id'])}, not text")
    if noun is not Reading:
        _check_prompt(row if noun is Prompt else row["prompt"], "prompt")
    if noun is Demonstration:
        text(row["completion"], "completion")
    elif noun is Label:
        _check_completion(row["completion"], "completion")
        if type(row["good"]) is not bool:
            raise RowError("wrong type", f"'good' is {kind(row['good'])}, not true or false")
    elif noun is Comparison:
        _check_comparison(row)
    elif noun is Sample or noun is Ranking:
        _check_completions(row, 2 if noun is Ranking else 1)
    for field in ("rater", "guideline"):
        if type(row.get(field, "")) is not str:
            raise RowError("wrong type", f"{field!r} is {kind(row[field])}, not text")
    try:
        return [from_dict(row)]
    except (KeyError, TypeError, IndexError) as error:
        raise RowError("wrong type", f"not a {name}: {error}") from None


def _keys(row: object, noun: type, field: str) -> None:
    if type(row) is not dict:
        raise RowError("wrong type", f"{field!r} is {kind(row)}, not an object")
    known = {entry.name: entry.default is MISSING for entry in fields(noun)}
    for name, required in known.items():
        if required and row.get(name) is None:
            if name in row and noun is Reading:
                continue
            raise RowError("missing field", repr(name if field == "row" else f"{field}.{name}"))
    unknown = row.keys() - known.keys()
    if unknown:
        raise RowError("unknown field", f"{sorted(unknown)[0]!r} in {field!r}")


def _check_prompt(row: Any, field: str) -> None:
    turns = {key: row[key] for key in row if key != "type"} if type(row) is dict else row
    _keys(turns, Prompt, field)
    text(row["id"], f"{field}.id")
    if type(row["messages"]) is not list or type(row.get("tags", [])) is not list:
        raise RowError("wrong type", f"'messages' or 'tags' of {field!r} is not a list")
    if not row["messages"]:
        raise RowError("empty field", f"'{field}.messages'")
    if not all(type(tag) is str for tag in row.get("tags", [])):
        raise RowError("wrong type", f"'{field}.tags' is not a list of texts")
    for index, turn in enumerate(row["messages"]):
        place = f"{field}.messages[{index}]"
        _keys(turn, Message, place)
        if turn["role"] not in ("system", "user", "assistant"):
            raise RowError("unknown role", f"{turn['role']!r} in {place!r}")
        text(turn["content"], f"{place}.content")


def _check_completion(row: Any, field: str) -> None:
    _keys(row, Completion, field)
    if type(row["text"]) is not str or type(row.get("model", "")) is not str:
        raise RowError("wrong type", f"'text' or 'model' of {field!r} is not text")
    if type(row.get("finished", True)) is not bool:
        raise RowError("wrong type", f"'{field}.finished' is not true or false")


def _check_comparison(row: dict[str, Any]) -> None:
    _check_completion(row["a"], "a")
    _check_completion(row["b"], "b")
    if row["choice"] not in CHOICES:
        raise RowError("out of range", f"'choice' is {row['choice']!r}, not {', '.join(CHOICES)}")
    if row["choice"] in ("a", "b") and row["a"]["text"] == row["b"]["text"]:
        raise RowError("identical pair", "'a' equals 'b' and the verdict is no tie")
    for field in ("strength", "margin", "weight", "soft_label"):
        _check_number(row, field)


def _check_completions(row: dict[str, Any], fewest: int) -> None:
    if type(row["completions"]) is not list:
        raise RowError("wrong type", f"'completions' is {kind(row['completions'])}, not a list")
    if len(row["completions"]) < fewest:
        raise RowError("too few completions", f"{len(row['completions'])}, at least {fewest}")
    for index, completion in enumerate(row["completions"]):
        _check_completion(completion, f"completions[{index}]")
    if "ranks" in row:
        ranks = row["ranks"]
        if type(ranks) is not list or not all(type(rank) is int and rank >= 0 for rank in ranks):
            raise RowError("wrong type", "'ranks' is not a list of whole numbers from 0")
        if len(ranks) != len(row["completions"]):
            raise RowError("wrong type", "'ranks' and 'completions' differ in length")
        _check_number(row, "strength")
        _check_number(row, "weight")


def _check_number(row: dict[str, Any], field: str) -> None:
    value = row.get(field)
    if value is not None and type(value) is not float and type(value) is not int:
        raise RowError("wrong type", f"{field!r} is {kind(value)}, not a number")
    if value is None or field == "margin":
        return
    if field == "weight":
        if not 0.0 <= value < math.inf:
            raise RowError("out of range", f"'weight' is {value}, not a number from 0")
    elif not 0.0 <= value <= 1.0:
        raise RowError("out of range", f"{field!r} is {value}, not in 0 to 1")
