"""Rows as csv cells and back: conversations as JSON, and nothing a spreadsheet would run.

A cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a line end is a formula to a
spreadsheet, so text from a model or a stranger gets an apostrophe in front (OWASP, CSV injection).
An apostrophe that already stands before such a sign gets another, so taking one off again gives
back every text.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from accord.data.turns import ANSWER

Row: TypeAlias = dict[str, Any]
FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""What a spreadsheet takes for a formula, in full-width signs too, after any apostrophes."""

SPOKEN_BY = {"prompt": "user", "context": "user"} | dict.fromkeys(
    ("chosen", "rejected", "completion"), "assistant"
)
NESTED = frozenset(
    (*SPOKEN_BY, "messages", "conversations", "conversation_a", "conversation_b", "completions")
) | frozenset(("info", "summaries", "extra", "tags", "history", "a", "b", "ranks"))
"""Columns whose cells may hold JSON."""


def escape(text: str) -> str:
    """``text`` as a cell that no spreadsheet runs."""
    return f"'{text}" if FORMULA.match(text) else text


def unescape(cell: str) -> str:
    """The text that :func:`escape` made this cell of."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Write rows with equal columns as UTF-8 csv with a header."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow(rows[0])
        own = "type" in rows[0]  # accord's records say what they are: text is only ever text
        writer.writerows(
            [
                escape(value) if own and isinstance(value, str) else _cell(name, value)
                for name, value in row.items()
            ]
            for row in rows
        )


def nested(name: str, cell: str) -> Any:
    """The value in a cell: JSON where the column may hold it and the cell is that, else text."""
    if name not in NESTED or not cell.startswith(("[", "{")):
        return cell
    try:
        value = orjson.loads(cell)
    except orjson.JSONDecodeError:
        return cell
    if name not in SPOKEN_BY or _is_turns(value):
        return value
    return value if _is_noun(name, value) else cell


def _cell(name: str, value: object) -> object:
    if type(value) is str:
        if nested(name, value) is not value and name in SPOKEN_BY:  # reads like JSON turns: say so
            value = orjson.dumps([{"role": SPOKEN_BY[name], "content": value}]).decode()
        return escape(value)
    if type(value) is bool:
        return "true" if value else "false"
    if isinstance(value, list | tuple | dict):
        plain = _plain(name, value)
        return orjson.dumps(value).decode() if plain is None else escape(plain)
    return "" if value is None else value


def _plain(name: str, value: object) -> str | None:
    """The words of a single turn, where reading them as text gives the same turn again."""
    if type(value) is not list or len(value) != 1 or type(value[0]) is not dict:
        return None
    words = value[0].get("content")
    if value[0].get("role") != SPOKEN_BY.get(name) or type(words) is not str or not words:
        return None
    as_transcript = words.startswith("\n\nHuman:") and words.rstrip().endswith(ANSWER)
    return None if words[0] in "[{" or as_transcript else words


def _is_turns(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(turn, dict) and ("role" in turn or "from" in turn or "completion" in turn)
        for turn in value
    )


def _is_noun(name: str, value: object) -> bool:
    """An accord prompt or completion, or the root of an OpenAssistant tree."""
    if not isinstance(value, dict):
        return False
    if name == "prompt":
        return "messages" in value or "replies" in value
    return name == "completion" and "text" in value and "finished" in value
