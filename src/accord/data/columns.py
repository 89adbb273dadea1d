"""accord's column names, a user's names for them, and csv cells as values."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from accord.errors import DataError

REQUIRED = (
    *("prompt", "completion", "chosen", "rejected", "label", "messages", "conversations"),
    *("context", "completions", "instruction", "output"),
)
OPTIONAL = (
    *("margin", "input", "system", "history", "kto_tag", "id", "prompt_id", "tags", "rater"),
    *("guideline", "strength", "model", "chosen_model", "rejected_model"),
)
COLUMNS = REQUIRED + OPTIONAL
"""The column names accord knows, which ``columns=`` may map to a user's own."""


def check_columns(columns: Mapping[str, str]) -> None:
    """Refuse a mapping from a name that accord does not know.

    Raises:
        DataError: unknown column.
    """
    for column in columns:
        if column not in COLUMNS:
            near = get_close_matches(column, COLUMNS, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise DataError(
                f"columns: accord has no column {column!r}{hint} "
                f"columns maps accord's name to yours; accord's are {', '.join(COLUMNS)}"
            )


def rename(row: dict[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """The row under accord's names; a name mapped to "" is absent."""
    taken = set(columns.values())
    renamed = {key: row[key] for key in row if key not in taken and key not in columns}
    renamed.update(
        (ours, row[theirs]) for ours, theirs in columns.items() if theirs and theirs in row
    )
    return renamed


def typed(row: dict[str, Any]) -> dict[str, Any]:
    """A csv row: blank optional cells are absent, numbers and booleans are parsed."""
    words = {"true": True, "false": False, "1": 1, "0": 0}
    cells: dict[str, Any] = {
        key: value for key, value in row.items() if value != "" or key not in OPTIONAL
    }
    for key in ("label", "kto_tag"):
        if key in cells:
            cells[key] = words.get(cells[key].strip().lower(), cells[key])
    for key in ("margin", "strength"):
        if key in cells:
            try:
                cells[key] = float(cells[key])
            except ValueError:
                continue
    return cells
