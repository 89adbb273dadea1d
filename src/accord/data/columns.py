"""accord's column names, a user's names for them, and csv cells as values."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from accord.data.cells import nested, unescape
from accord.errors import DataError

REQUIRED = (
    *("prompt", "completion", "chosen", "rejected", "label", "messages", "conversations"),
    *("context", "completions", "instruction", "output"),
)
OPTIONAL = (
    *("margin", "input", "system", "history", "kto_tag", "id", "prompt_id", "tags", "rater"),
    *("guideline", "strength", "model", "chosen_model", "rejected_model", "weight", "soft_label"),
    *("response_a", "response_b", "responses"),
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
    """The row under accord's names; a name mapped to "" is absent.

    ``outer.inner`` names a field of an object, unless a column has that very name.
    """
    taken = set(columns.values())
    renamed = {key: row[key] for key in row if key not in taken and key not in columns}
    for ours, theirs in columns.items():
        outer, _, inner = theirs.partition(".")
        if theirs and theirs in row:
            renamed[ours] = row[theirs]
        elif inner and type(row.get(outer)) is dict and inner in row[outer]:
            renamed[ours] = row[outer][inner]
    return renamed


def typed(row: dict[str, Any]) -> dict[str, Any]:
    """A csv row: blank optional cells are absent; numbers, booleans and JSON are parsed.

    Accord's own rows (column ``type``) may have any cell blank.
    """
    words = {"true": True, "false": False, "1": 1, "0": 0}
    plain = row.get("type") == "demonstration"
    cells: dict[str, Any] = {
        key: unescape(value) if plain and key == "completion" else nested(key, unescape(value))
        for key, value in row.items()
        if value != "" or (key not in OPTIONAL and "type" not in row)
    }
    for key in ("label", "kto_tag", "good"):
        if key in cells:
            cells[key] = words.get(cells[key].strip().lower(), cells[key])
    if cells.get("choice") in ("0", "1"):
        cells["choice"] = int(cells["choice"])
    for key in ("margin", "strength", "weight", "soft_label"):
        if key in cells:
            try:
                cells[key] = float(cells[key])
            except ValueError:
                continue
    return cells
