"""Write records in the shapes other trainers read: TRL, NeMo-RL, messages; jsonl or parquet."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import orjson

from accord.data.turns import content_id
from accord.errors import DataError
from accord.types import (
    Comparison,
    Completion,
    Demonstration,
    Label,
    Prompt,
    Ranking,
    Record,
)

Shape: TypeAlias = Literal[
    "trl-preference", "trl-unpaired", "trl-prompt-completion", "nemo-rank", "messages", "prompt"
]
Row: TypeAlias = dict[str, Any]
SHAPES: dict[str, tuple[type[Record], ...]] = {
    "trl-preference": (Comparison, Ranking),
    "trl-unpaired": (Label, Comparison, Ranking),
    "trl-prompt-completion": (Demonstration,),
    "nemo-rank": (Ranking, Comparison),
    "messages": (Demonstration,),
    "prompt": (Prompt,),
}
"""Each shape and the nouns it can hold."""


class _NoShape(Exception):
    """A verdict without a winner, where the shape needs one."""


def export(
    records: Iterable[Record],
    path: str | os.PathLike[str],
    shape: Shape = "trl-preference",
    *,
    ties: Literal["error", "drop"] = "error",
) -> int:
    """Write records to ``path`` (``.jsonl`` or ``.parquet``) and return the number of rows.

    Conversations are chat messages. A Ranking becomes its C(K, 2) pairs in the pair shapes, a
    Comparison a ranking of two in ``nemo-rank``; the preferred completion comes first. Columns that
    no record uses (margin, rater, strength, ...) are left out. ``Completion.finished`` has no place
    in any shape: accord's own records keep everything.

    Args:
        records: nouns that the shape can hold (``SHAPES``).
        path: a file that does not exist yet.
        shape: the shape of the rows.
        ties: what to do with a tie (or two bad ones) in ``trl-preference``, which cannot say it.

    Raises:
        DataError: the file exists, a record or a tie the shape cannot hold, nothing to write, or an
            unknown shape or file type.
    """
    path = Path(path)
    if path.exists():
        raise DataError(f"{path}: exists; choose another path or delete it")
    if path.suffix not in (".jsonl", ".parquet"):
        raise DataError(f"{path}: exports are .jsonl or .parquet, not {path.suffix!r}")
    if shape not in SHAPES:
        raise DataError(f"unknown shape {shape!r}; known: {', '.join(SHAPES)}")
    rows: list[Row] = []
    num_ties = 0
    for record in records:
        if not isinstance(record, SHAPES[shape]):
            fitting = [name for name, nouns in SHAPES.items() if type(record) in nouns]
            raise DataError(
                f"{path}: {shape} cannot hold a {type(record).__name__}"
                + (f"; use {' or '.join(fitting)}" if fitting else "")
            )
        for part in _parts(record, shape):
            try:
                rows.extend(_WRITERS[shape](part))
            except _NoShape:
                num_ties += 1
    if num_ties and ties == "error":
        raise DataError(
            f"{path}: {num_ties:,} verdicts without a winner cannot be written as {shape}; "
            "use nemo-rank, which holds ties, or ties='drop'"
        )
    if not rows:
        raise DataError(f"{path}: nothing to write")
    _write(_uniform(rows), path)
    return len(rows)


def _parts(record: Record, shape: str) -> Sequence[Record]:
    if isinstance(record, Ranking) and shape != "nemo-rank":
        return record.pairs()
    return [record]


def _uniform(rows: list[Row]) -> list[Row]:
    """The same columns in every row; a column without a value in any row goes."""
    columns = {key: None for row in rows for key, value in row.items() if value is not None}
    return [{key: row.get(key) for key in columns} for row in rows]


def _write(rows: list[Row], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.suffix == ".parquet":
            _write_parquet(rows, temporary)
        else:
            with temporary.open("wb") as file:
                file.writelines(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_parquet(rows: list[Row], path: Path) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise DataError(f"{path}: parquet needs pyarrow: pip install 'accord[data]'") from None
    pq.write_table(pa.Table.from_pylist(rows), path)


def _messages(prompt: Prompt) -> list[Row]:
    return [{"role": turn.role, "content": turn.content} for turn in prompt.messages]


def _spoken(words: str) -> list[Row]:
    return [{"role": "assistant", "content": words}]


def _prompt_columns(prompt: Prompt, id_column: str = "prompt_id") -> Row:
    own = prompt.id if prompt.id != content_id(prompt.messages) else None
    return {id_column: own, "tags": list(prompt.tags) or None}


def _winner_first(comparison: Comparison) -> tuple[Completion, Completion]:
    if comparison.choice == "a":
        return comparison.a, comparison.b
    if comparison.choice == "b":
        return comparison.b, comparison.a
    raise _NoShape


def _preference(record: Comparison) -> Iterator[Row]:
    chosen, rejected = _winner_first(record)
    yield {
        "prompt": _messages(record.prompt),
        "chosen": _spoken(chosen.text),
        "rejected": _spoken(rejected.text),
        "margin": record.margin,
        "strength": record.strength,
        "rater": record.rater or None,
        "guideline": record.guideline or None,
        "chosen_model": chosen.model or None,
        "rejected_model": rejected.model or None,
        "id": record.id or None,
        **_prompt_columns(record.prompt),
    }


def _unpaired(record: Label | Comparison) -> Iterator[Row]:
    if isinstance(record, Label):
        sides = [(record.completion, record.good, record.id)]
    elif record.choice == "both_bad":
        sides = [(record.a, False, ""), (record.b, False, "")]
    else:
        chosen, rejected = _winner_first(record)
        sides = [(chosen, True, ""), (rejected, False, "")]
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
        judged = [(side, rank) for rank, side in enumerate(_winner_first(record))]
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
        "rater": record.rater or None,
        "guideline": record.guideline or None,
        "id": record.id or None,
        **_prompt_columns(record.prompt),
    }


def _prompt_row(record: Prompt) -> Iterator[Row]:
    columns = _prompt_columns(record, "id")
    yield {"prompt": _messages(record), **columns}


_WRITERS: dict[str, Callable[[Any], Iterator[Row]]] = {
    "trl-preference": _preference,
    "trl-unpaired": _unpaired,
    "trl-prompt-completion": _prompt_completion,
    "nemo-rank": _ranked,
    "messages": _chat,
    "prompt": _prompt_row,
}
