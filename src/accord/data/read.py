"""Read what users have into accord's nouns; every bad row is reported, no good one is dropped."""

from __future__ import annotations

import gc
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, TypeAlias

from accord.data.columns import check_columns, rename, typed
from accord.data.formats import FORMATS, Format, find_format
from accord.data.report import BadRow, Report, RowError
from accord.data.sources import Table, tables
from accord.data.turns import content_id
from accord.data.turns import kind as json_kind
from accord.errors import DataError
from accord.types import (
    Comparison,
    Demonstration,
    Label,
    Prompt,
    Ranking,
    Reading,
    Record,
    Sample,
)

Source: TypeAlias = str | os.PathLike[str]
Kinds: TypeAlias = tuple[type[Record], ...]
Convert: TypeAlias = Callable[[dict[str, Any]], list[Record]]
NUM_VOTERS = 1000
"""Rows at the head of a file that decide its format by majority: a few bad ones do not matter."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """The records of a source, in its order, and the report of the reading."""

    records: list[Record]
    report: Report


def read(
    source: Source,
    *,
    kinds: Kinds | None = None,
    columns: Mapping[str, str] | None = None,
    format: str = "auto",
    max_bad_rows: int = 0,
    max_chars: int | None = None,
    bad_rows_path: Source | None = None,
) -> Dataset:
    """Read a file, a folder or a hub dataset.

    Files: jsonl, json, csv, tsv, parquet, arrow, txt, each also gzipped (not the columnar ones).
    Blank lines hold no row. Where ``prompts`` alone are wanted, records that hold a prompt and more
    give theirs, each distinct prompt once.

    Args:
        source: path, or hub name ``org/name[/config][:split]``.
        kinds: the nouns wanted; a row that gives another is bad. None: the most frequent at the
            head of each file (accord's own records and trees may mix).
        columns: accord's column name -> the name in the data (``{"prompt": "question"}``); ``""``
            says the data has no such column (``{"id": ""}`` ignores ids that are not unique).
        format: a name of ``FORMATS``, or ``auto``: decided for each file by its first rows.
        max_bad_rows: how many bad rows are allowed.
        max_chars: most characters in a prompt with its longest completion.
        bad_rows_path: where the list of all bad rows is written; None: a new temporary file.

    Raises:
        DataError: more bad rows than allowed (counts by reason, the first 20 rows and the path of
            the whole list are in the message), no usable row, a file that cannot be read at all, or
            columns that fit no format.
    """
    renames = dict(columns or {})
    check_columns(renames)
    reader = _Reader(Report(str(source)), kinds, renames, max_chars)
    chosen = None if format == "auto" else find_format(format)
    with _no_collection():
        for table in tables(source):
            reader.read_table(table, chosen)
    report = reader.report
    written = report.settle(max_bad_rows, bad_rows_path)
    if written is not None:
        warnings.warn(f"{report.summary()}; listed in {written}", stacklevel=2)
    return Dataset(reader.records, report)


def read_prompts(
    source: Source,
    *,
    columns: Mapping[str, str] | None = None,
    format: str = "auto",
    max_bad_rows: int = 0,
    max_chars: int | None = None,
    bad_rows_path: Source | None = None,
) -> list[Prompt]:
    """Prompts: ``prompt`` rows, JSON strings, text lines, or the prompts of any richer rows.

    Raises:
        DataError: see :func:`read`.
    """
    dataset = read(
        source,
        kinds=(Prompt,),
        columns=columns,
        format=format,
        max_bad_rows=max_bad_rows,
        max_chars=max_chars,
        bad_rows_path=bad_rows_path,
    )
    return [record for record in dataset.records if isinstance(record, Prompt)]


def read_demonstrations(
    source: Source,
    *,
    columns: Mapping[str, str] | None = None,
    format: str = "auto",
    max_bad_rows: int = 0,
    max_chars: int | None = None,
    bad_rows_path: Source | None = None,
) -> list[Demonstration]:
    """Prompts with answers by people, for supervised fine-tuning.

    Raises:
        DataError: see :func:`read`.
    """
    dataset = read(
        source,
        kinds=(Demonstration,),
        columns=columns,
        format=format,
        max_bad_rows=max_bad_rows,
        max_chars=max_chars,
        bad_rows_path=bad_rows_path,
    )
    return [record for record in dataset.records if isinstance(record, Demonstration)]


def read_comparisons(
    source: Source,
    *,
    columns: Mapping[str, str] | None = None,
    format: str = "auto",
    max_bad_rows: int = 0,
    max_chars: int | None = None,
    bad_rows_path: Source | None = None,
) -> list[Comparison | Ranking]:
    """Verdicts on two completions (Comparison, the preferred one as ``a``) or on K (Ranking).

    Raises:
        DataError: see :func:`read`.
    """
    dataset = read(
        source,
        kinds=(Comparison, Ranking),
        columns=columns,
        format=format,
        max_bad_rows=max_bad_rows,
        max_chars=max_chars,
        bad_rows_path=bad_rows_path,
    )
    return [record for record in dataset.records if isinstance(record, Comparison | Ranking)]


def read_labels(
    source: Source,
    *,
    columns: Mapping[str, str] | None = None,
    format: str = "auto",
    max_bad_rows: int = 0,
    max_chars: int | None = None,
    bad_rows_path: Source | None = None,
) -> list[Label]:
    """Unpaired verdicts: this completion is good, or it is not.

    Raises:
        DataError: see :func:`read`.
    """
    dataset = read(
        source,
        kinds=(Label,),
        columns=columns,
        format=format,
        max_bad_rows=max_bad_rows,
        max_chars=max_chars,
        bad_rows_path=bad_rows_path,
    )
    return [record for record in dataset.records if isinstance(record, Label)]


class _Reader:
    """The state of one reading: records, report, and the ids and prompts already seen."""

    def __init__(
        self, report: Report, kinds: Kinds | None, columns: dict[str, str], max_chars: int | None
    ) -> None:
        self.report = report
        self.records: list[Record] = []
        self._kinds = kinds
        self._columns = columns
        self._max_chars = max_chars
        self._first_seen: dict[str, str] = {}
        self._prompts: set[str] = set()

    def read_table(self, table: Table, chosen: Format | None) -> None:
        rows = self._normal(table)
        if chosen is None or self._kinds is None:
            head = list(islice(rows, NUM_VOTERS))
            rows = chain(head, rows)
            good = [row for _, row in head if type(row) is dict]
            chosen = chosen or self._detect(good, table)
            kinds = self._kinds or _majority(good, chosen)
        else:
            kinds = self._kinds
        self.report.formats[table.name] = chosen.name
        convert = self._converter(chosen, kinds)
        bad_rows, records = self.report.bad_rows, self.records
        for line, row in rows:
            self.report.num_rows += 1
            try:
                if isinstance(row, RowError):
                    raise row
                value = row.get(chosen.key)
                if value is None or value == "":
                    new = convert(row)
                else:
                    new = self._once(str(value), f"{table.name}:{line}", row, convert)
            except RowError as error:
                detail = self._user_names(error.detail)
                bad_rows.append(BadRow(table.name, line, error.reason, detail, table.unit))
            else:
                records += new
        self.report.num_records = len(records)

    def _normal(self, table: Table) -> Iterator[tuple[int, dict[str, Any] | RowError]]:
        """Rows as dictionaries under accord's column names."""
        columns = self._columns
        for line, row in table.rows:
            if type(row) is str:
                row = {"prompt": row}
            elif type(row) is not dict:
                if not isinstance(row, RowError):
                    row = RowError("wrong type", f"the row is {json_kind(row)}, not an object")
                yield line, row
                continue
            elif columns:
                row = rename(row, columns)
            yield line, typed(row) if table.textual else row

    def _detect(self, rows: list[dict[str, Any]], table: Table) -> Format:
        candidates = [
            entry
            for entry in FORMATS.values()
            if not self._kinds or Prompt in self._kinds or set(self._kinds) & set(entry.gives)
        ]
        votes = Counter(
            next((entry.name for entry in candidates if entry.matches(row)), "") for row in rows
        )
        del votes[""]
        if votes:
            return FORMATS[votes.most_common(1)[0][0]]
        if not rows:
            return candidates[-1]
        found = ", ".join(sorted({str(key) for row in rows[:20] for key in row}))
        raise DataError(
            f"{table.name}: the columns ({found}) fit no format"
            + (f" that gives {_names(self._kinds)}" if self._kinds else "")
            + "; formats and what they need: "
            + "; ".join(f"{entry.name}: {entry.needs}" for entry in candidates)
            + ". Say which column is which with columns={'prompt': 'your name', ...}"
        )

    def _converter(self, chosen: Format, kinds: Kinds | None) -> Convert:
        parse, max_chars, many = chosen.parse, self._max_chars, chosen.many

        def convert(row: dict[str, Any]) -> list[Record]:
            records = parse(row)
            if kinds is not None:
                wanted = [record for record in records if type(record) in kinds]
                if len(wanted) < len(records):
                    if kinds == (Prompt,):
                        wanted = self._new_prompts(records)
                    elif not many:
                        raise _wrong_kind(records[0], kinds)
                records = wanted
            if max_chars is not None:
                for record in records:
                    _check_length(record, max_chars)
            return records

        return convert

    def _new_prompts(self, records: Iterable[Record]) -> list[Record]:
        new: list[Record] = []
        for record in records:
            if isinstance(record, Reading):
                raise _wrong_kind(record, (Prompt,))
            prompt = record if isinstance(record, Prompt) else record.prompt
            if prompt.id not in self._prompts:
                self._prompts.add(prompt.id)
                new.append(prompt)
        return new

    def _once(self, value: str, place: str, row: dict[str, Any], convert: Convert) -> list[Record]:
        """Convert a row that has an id; only a good row takes its id."""
        first = self._first_seen.get(value)
        if first is not None:
            raise RowError(
                "duplicate id", f"{value!r}, first at {first} (columns={{'id': ''}} ignores ids)"
            )
        new = convert(row)
        repeatable = len(new) == 1 and isinstance(new[0], Prompt) and _from_content(new[0])
        if not repeatable:
            self._first_seen[value] = place
        return new

    def _user_names(self, detail: str) -> str:
        for ours, theirs in filter(all, self._columns.items()):
            detail = detail.replace(f"'{ours}'", f"'{theirs}' (as {ours})")
        return detail


def _from_content(prompt: Prompt) -> bool:
    """Whether the id is the hash of the turns: equal prompts share it, so it may come again."""
    return prompt.id == content_id(prompt.messages)


def _majority(rows: list[dict[str, Any]], chosen: Format) -> Kinds | None:
    if chosen.name == "accord" or chosen.many or len(chosen.gives) == 1:
        return None
    votes: Counter[type[Record]] = Counter()
    for row in rows:
        try:
            votes.update(type(record) for record in chosen.parse(row))
        except RowError:
            continue
    return (votes.most_common(1)[0][0],) if votes else None


def _names(kinds: Kinds) -> str:
    return " or ".join(noun.__name__ for noun in kinds)


def _wrong_kind(record: Record, kinds: Kinds) -> RowError:
    if isinstance(record, Prompt):
        return RowError("missing field", f"a prompt without an answer; wanted: {_names(kinds)}")
    return RowError("wrong kind", f"gives a {type(record).__name__}; wanted: {_names(kinds)}")


def _check_length(record: Record, max_chars: int) -> None:
    if isinstance(record, Reading):
        return
    prompt = record if isinstance(record, Prompt) else record.prompt
    texts: list[str] = []
    if isinstance(record, Demonstration):
        texts = [record.completion]
    elif isinstance(record, Comparison):
        texts = [record.a.text, record.b.text]
    elif isinstance(record, Label):
        texts = [record.completion.text]
    elif isinstance(record, Ranking | Sample):
        texts = [completion.text for completion in record.completions]
    length = sum(len(turn.content) for turn in prompt.messages) + max(map(len, texts), default=0)
    if length > max_chars:
        raise RowError("over-long", f"{length:,} characters, max_chars is {max_chars:,}")


@contextmanager
def _no_collection() -> Iterator[None]:
    """Millions of new objects, none of them garbage: collecting would only walk them again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
