"""What was read and what was wrong with it: one line for every bad row."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from accord.errors import DataError

Unit = Literal["line", "row"]
NUM_SHOWN = 20
"""Bad rows spelled out in an error message; the rest are in the written list."""


class RowError(ValueError):
    """One row cannot be used: the kind of fault, which is counted, and its particulars."""

    def __init__(self, reason: str, detail: str = "") -> None:
        """``reason`` names the kind of fault, ``detail`` what exactly is wrong in this row."""
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class BadRow:
    """Where a bad row is and why it is bad.

    ``line`` counts from 1: the physical line in jsonl, csv and txt files (a csv header is line 1);
    the row number where the file has no lines (json lists, parquet, arrow, hub), and then ``unit``
    is ``"row"``.
    """

    file: str
    line: int
    reason: str
    detail: str = ""
    unit: Unit = "line"

    def __str__(self) -> str:
        """``file:line: reason: detail``, or ``file:row N: ...`` where there are no lines."""
        place = str(self.line) if self.unit == "line" else f"row {self.line}"
        return f"{self.file}:{place}: {self.reason}" + (f": {self.detail}" if self.detail else "")


@dataclass(slots=True)
class Report:
    """Counts of a reading, and every bad row of it.

    ``formats`` maps each file to the format it was read as; ``num_rows`` counts good and bad rows,
    ``num_records`` the records made of the good ones (a tree or a ranking file may give several).
    """

    source: str
    formats: dict[str, str] = field(default_factory=dict)
    num_rows: int = 0
    num_records: int = 0
    bad_rows: list[BadRow] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """Number of bad rows for each reason, the most frequent first."""
        return dict(Counter(bad.reason for bad in self.bad_rows).most_common())

    def summary(self) -> str:
        """One line: rows, records, and bad rows by reason."""
        by_reason = ", ".join(f"{reason} {count:,}" for reason, count in self.counts.items())
        return (
            f"{self.source}: {self.num_rows:,} rows, {self.num_records:,} records, "
            f"{len(self.bad_rows):,} bad rows" + (f" ({by_reason})" if by_reason else "")
        )

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write every bad row to a text file, ``file:line: reason: detail`` a line."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_lines(self.bad_rows), encoding="utf-8", errors="backslashreplace")
        return path

    def settle(self, max_bad_rows: int, path: str | os.PathLike[str] | None) -> Path | None:
        """Write the list of bad rows, if there are any, and refuse more than ``max_bad_rows``.

        Without a ``path`` the list goes to a new file in the temporary folder.

        Raises:
            DataError: too many bad rows, or no good one.
        """
        written = None
        if self.bad_rows:
            written = self.write(path if path is not None else _temporary())
        if len(self.bad_rows) > max_bad_rows:
            raise DataError(
                f"{self.summary()}; max_bad_rows is {max_bad_rows:,}\n"
                + _lines(self.bad_rows[:NUM_SHOWN])
                + f"The whole list: {written}\n"
                f"Mend the rows, or set max_bad_rows={len(self.bad_rows)} to go on without them; "
                "columns={'name': ''} ignores a column that means something else."
            )
        if not self.num_records:
            raise DataError(
                f"{self.source}: no usable row" + (f"; see {written}" if written else "")
            )
        return written


def _lines(bad_rows: Iterable[BadRow]) -> str:
    return "".join(f"{str(bad).replace(chr(10), ' ')}\n" for bad in bad_rows)


def _temporary() -> str:
    handle, name = tempfile.mkstemp(prefix="accord-bad-rows-", suffix=".txt")
    os.close(handle)
    return name
