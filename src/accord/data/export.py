"""Write records in the shapes other tools read: jsonl, parquet or csv."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeGuard

import orjson

from accord.data.cells import write_csv
from accord.data.trees import grow
from accord.data.writers import WRITERS, NoWinner, Row
from accord.errors import DataError
from accord.types import Comparison, Demonstration, Label, Prompt, Ranking, Record, Sample

Shape: TypeAlias = Literal[
    "accord",
    "trl-preference",
    "trl-implicit",
    "trl-text",
    "trl-unpaired",
    "trl-prompt-completion",
    "hh",
    "nemo-rank",
    "arena",
    "summarize",
    "oasst",
    "messages",
    "prompt",
]
PAIRS: tuple[type[Record], ...] = (Comparison, Ranking)
SHAPES: dict[str, tuple[type[Record], ...]] = {
    "accord": (Prompt, Demonstration, Sample, Comparison, Ranking, Label),
    "trl-preference": PAIRS,
    "trl-implicit": PAIRS,
    "trl-text": PAIRS,
    "trl-unpaired": (Label, Comparison, Ranking),
    "trl-prompt-completion": (Demonstration,),
    "hh": PAIRS,
    "nemo-rank": (Ranking, Comparison),
    "arena": PAIRS,
    "summarize": PAIRS,
    "oasst": (Ranking, Comparison, Demonstration),
    "messages": (Demonstration,),
    "prompt": (Prompt,),
}
"""Each shape and the nouns it can hold."""

WHOLE_RANKINGS = {"accord", "nemo-rank", "oasst"}
SUFFIXES = (".jsonl", ".parquet", ".csv")


def export(
    records: Iterable[Record],
    path: str | os.PathLike[str],
    shape: Shape = "trl-preference",
    *,
    ties: Literal["error", "drop"] = "error",
) -> int:
    """Write records to ``path`` (``.jsonl``, ``.parquet`` or ``.csv``); the number of rows.

    Conversations are chat messages. A Ranking becomes its C(K, 2) pairs in the pair shapes, with
    its id as ``ranking`` and 1 / C(K, 2) as ``pair_weight`` (accord itself groups by prompt), a
    Comparison a ranking of two in ``nemo-rank`` and ``oasst``; the preferred completion comes first
    in the TRL and HH shapes. Columns that no record uses (margin, rater, weight, ...) are left out.
    ``Completion.finished`` has a place in the shape ``accord`` alone, which keeps everything. In
    csv, one user message or one answer is plain text and what is longer is JSON; a cell that a
    spreadsheet would run as a formula begins with an apostrophe, which accord takes off again.

    Args:
        records: nouns that the shape can hold (``SHAPES``).
        path: a file that does not exist yet.
        shape: the shape of the rows.
        ties: what to do with a tie (or two bad ones) in a shape that cannot say it.

    Raises:
        DataError: the file exists, a record or a tie the shape cannot hold, nothing to write, or an
            unknown shape or file type.
    """
    path = Path(path)
    if path.exists():
        raise DataError(f"{path}: exists; choose another path or delete it")
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path}: exports are .jsonl, .parquet or .csv, not {path.suffix!r}")
    if shape not in SHAPES:
        raise DataError(f"unknown shape {shape!r}; known: {', '.join(SHAPES)}")
    fitting = [_fitting(record, path, shape) for record in records]
    rows: list[Row] = grow(fitting, path) if shape == "oasst" else _rows(fitting, path, shape, ties)
    if not rows:
        raise DataError(f"{path}: nothing to write")
    _write(_uniform(rows), path)
    return len(rows)


def _rows(records: list[Record], path: Path, shape: str, ties: str) -> list[Row]:
    rows: list[Row] = []
    num_ties = 0
    for number, record in enumerate(records, start=1):
        parts: Sequence[Record] = [record]
        group: Row = {}
        if _split(record, shape):
            # Without an id of its own, its pairs would share theirs with another ranking's.
            named = record if record.id else replace(record, id=str(number))
            parts = named.pairs()
            # They depend on each other and count as one ranking (Ouyang et al. 2022, 3.5).
            group = {"ranking": named.id, "pair_weight": 1 / len(parts)}
        for part in parts:
            try:
                rows.extend(row | group for row in WRITERS[shape](part))
            except NoWinner:
                num_ties += 1
            except DataError as error:
                raise DataError(f"{path}: record {number}: {error}") from None
    if num_ties and ties == "error":
        raise DataError(
            f"{path}: {num_ties:,} verdicts without a winner cannot be written as {shape}; "
            "use nemo-rank or arena, which hold ties, or ties='drop'"
        )
    return rows


def _fitting(record: Record, path: Path, shape: str) -> Record:
    if not isinstance(record, SHAPES[shape]):
        shapes = [name for name, nouns in SHAPES.items() if type(record) in nouns]
        raise DataError(
            f"{path}: {shape} cannot hold a {type(record).__name__}"
            + (f"; use {' or '.join(shapes)}" if shapes else "")
        )
    return record


def _split(record: Record, shape: str) -> TypeGuard[Ranking]:
    return isinstance(record, Ranking) and shape not in WHOLE_RANKINGS


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
        elif path.suffix == ".csv":
            write_csv(rows, temporary)
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
    table: Any = pa.Table.from_pylist(rows)
    pq.write_table(table, path)
