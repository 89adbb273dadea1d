"""How bad rows are listed and when they stop a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from accord.data.report import NUM_SHOWN, BadRow, Report
from accord.errors import DataError


def report(num_bad: int, num_good: int = 1) -> Report:
    bad = [BadRow("x.jsonl", line, "empty field", "'chosen'") for line in range(1, num_bad + 1)]
    return Report("x.jsonl", {}, num_bad + num_good, num_good, bad)


def test_a_bad_row_is_file_line_reason() -> None:
    assert str(BadRow("x.jsonl", 3, "broken JSON", "at 5")) == "x.jsonl:3: broken JSON: at 5"
    assert str(BadRow("x.json", 3, "not UTF-8", unit="row")) == "x.json:row 3: not UTF-8"


def test_bad_rows_within_the_allowance_are_written_and_pass(tmp_path: Path) -> None:
    written = report(2).settle(2, tmp_path / "deep" / "bad.txt")
    assert written == tmp_path / "deep" / "bad.txt"
    assert written.read_text() == "".join(f"x.jsonl:{i}: empty field: 'chosen'\n" for i in (1, 2))
    assert report(0).settle(0, tmp_path / "none.txt") is None
    assert not (tmp_path / "none.txt").exists()


def test_one_more_stops_the_run_with_counts_rows_and_the_list(tmp_path: Path) -> None:
    full = report(1234)
    full.bad_rows.append(BadRow("x.jsonl", 9, "over-long"))
    with pytest.raises(DataError) as caught:
        full.settle(1234, tmp_path / "bad.txt")
    message = str(caught.value)
    assert "1,235 bad rows (empty field 1,234, over-long 1); max_bad_rows is 1,234" in message
    assert message.count("x.jsonl:") == NUM_SHOWN + 1  # the source's name, then the rows
    assert f"The whole list: {tmp_path / 'bad.txt'}" in message
    assert "max_bad_rows=1235" in message
    assert len((tmp_path / "bad.txt").read_text().splitlines()) == 1235


def test_the_list_goes_to_a_temporary_file_by_default() -> None:
    written = report(1).settle(1, None)
    assert written is not None
    assert written.read_text() == "x.jsonl:1: empty field: 'chosen'\n"
    written.unlink()


def test_no_good_row_is_an_error_however_many_bad_ones_are_allowed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no usable row; see"):
        report(3, num_good=0).settle(99, tmp_path / "bad.txt")
    with pytest.raises(DataError, match="no usable row"):
        report(0, num_good=0).settle(0, None)


def test_a_line_break_or_odd_byte_in_a_detail_keeps_one_line_a_row(tmp_path: Path) -> None:
    odd = Report("x", {}, 2, 1, [BadRow("x", 1, "unknown role", "'a\nb\udcff'")])
    written = odd.write(tmp_path / "bad.txt")
    assert written.read_text("utf-8") == "x:1: unknown role: 'a b\\udcff'\n"
