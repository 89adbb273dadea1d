"""What comes with a verdict beside the texts: ids, models, raters, weights, tags."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from accord.data.columns import OPTIONAL
from accord.data.report import RowError
from accord.data.turns import kind, make_prompt
from accord.types import Comparison, Completion, Message, Prompt

Row: TypeAlias = dict[str, Any]
NOTES = frozenset(OPTIONAL)


def identifier(row: Mapping[str, Any], field: str = "id") -> str:
    """The row's id as text, "" where it has none.

    Raises:
        RowError: wrong type.
    """
    value = row.get(field)
    if value is None:
        return ""
    if type(value) is str:
        return value
    if type(value) is int:
        return str(value)
    raise RowError("wrong type", f"{field!r} is {kind(value)}, not text or a whole number")


def note(row: Row, field: str) -> str:
    """A text that came with the row, "" where there is none.

    Raises:
        RowError: wrong type.
    """
    value = row.get(field)
    if value is None:
        return ""
    if type(value) is str:
        return value
    raise RowError("wrong type", f"{field!r} is {kind(value)}, not text")


def number(row: Row, field: str, low: float = -math.inf, high: float = math.inf) -> float | None:
    """A number that came with the row, or None.

    Raises:
        RowError: wrong type, out of range.
    """
    value = row.get(field)
    if value is None:
        return None
    if type(value) is not float and type(value) is not int:
        raise RowError("wrong type", f"{field!r} is {kind(value)}, not a number")
    if not (low <= value <= high and math.isfinite(value)):
        raise RowError("out of range", f"{field!r} is {value}, not in {low:g} to {high:g}")
    return float(value)


def prompt_of(row: Row, turns: Iterable[Message], id_field: str = "prompt_id") -> Prompt:
    """The prompt of a row, with its own id and tags where the row has them.

    Raises:
        RowError: wrong type.
    """
    tags = row.get("tags")
    if tags is None:
        return make_prompt(tuple(turns), identifier(row, id_field))
    if type(tags) is str:
        tags = [tags]
    if type(tags) is not list or not all(type(tag) is str for tag in tags):
        raise RowError("wrong type", "'tags' is not a list of texts")
    return make_prompt(tuple(turns), identifier(row, id_field), tuple(tags))


def comparison_of(row: Row, turns: tuple[Message, ...], chosen: str, rejected: str) -> Comparison:
    """A pair, the preferred one as ``a``, with all that came with it.

    Raises:
        RowError: identical pair, wrong type, out of range.
    """
    if chosen == rejected:
        raise RowError("identical pair", "'chosen' equals 'rejected'")
    if NOTES.isdisjoint(row):
        return Comparison(make_prompt(turns), Completion(chosen), Completion(rejected), "a")
    return Comparison(
        prompt_of(row, turns),
        Completion(chosen, note(row, "chosen_model")),
        Completion(rejected, note(row, "rejected_model")),
        "a",
        number(row, "strength", 0.0, 1.0),
        number(row, "margin"),
        note(row, "rater"),
        note(row, "guideline"),
        identifier(row),
        number(row, "weight", 0.0),
        number(row, "soft_label", 0.0, 1.0),
    )


def dense(ranks: list[int]) -> tuple[int, ...]:
    """The same order and ties with ranks 0, 1, 2, ... without gaps: 0 is best."""
    place = {rank: index for index, rank in enumerate(sorted(set(ranks)))}
    return tuple(place[rank] for rank in ranks)
