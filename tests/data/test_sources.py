"""Files, folders and hub names as numbered rows."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.data.report import RowError
from accord.data.sources import open_table, tables
from accord.errors import DataError

SEPARATORS = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg"


def rows(path: Path, data: bytes) -> list[tuple[int, Any]]:
    path.write_bytes(data)
    return [
        (line, (row.reason if isinstance(row, RowError) else row))
        for line, row in open_table(path).rows
    ]


def test_jsonl_lines_end_at_line_feeds_alone(tmp_path: Path) -> None:
    text = json.dumps({"t": SEPARATORS}, ensure_ascii=False)
    data = f"{text}\n{text}\r\n\n  \n{text}".encode()
    expected = {"t": SEPARATORS}
    assert rows(tmp_path / "x.jsonl", data) == [(1, expected), (2, expected), (5, expected)]


def test_jsonl_reports_each_bad_line_by_its_number(tmp_path: Path) -> None:
    data = b'{"a": 1}\n{"a": \n\xff\xfe\n"text"\n[1]\nNaN\n{"a": 2}\n'
    assert rows(tmp_path / "x.ndjson", data) == [
        (1, {"a": 1}),
        (2, "broken JSON"),
        (3, "not UTF-8"),
        (4, "text"),
        (5, [1]),
        (6, "broken JSON"),
        (7, {"a": 2}),
    ]


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "txt"])
def test_a_byte_order_mark_is_no_text(tmp_path: Path, suffix: str) -> None:
    data = {"jsonl": b'{"a": "b"}', "json": b'[{"a": "b"}]', "csv": b"a\nb", "txt": b"b"}[suffix]
    ((_, row),) = rows(tmp_path / f"x.{suffix}", b"\xef\xbb\xbf" + data)
    assert row == ("b" if suffix == "txt" else {"a": "b"})


def test_gzip_of_every_kind(tmp_path: Path) -> None:
    assert rows(tmp_path / "x.jsonl.gz", gzip.compress(b'{"a": 1}\n')) == [(1, {"a": 1})]
    assert rows(tmp_path / "x.json.gz", gzip.compress(b'[{"a": 1}]')) == [(1, {"a": 1})]
    assert rows(tmp_path / "x.csv.gz", gzip.compress(b"a\n1\n")) == [(2, {"a": "1"})]
    assert rows(tmp_path / "x.TXT.GZ", gzip.compress(b"one\n")) == [(1, "one")]


def test_damaged_compression_is_an_error_not_a_short_file(tmp_path: Path) -> None:
    whole = gzip.compress(b'{"a": 1}\n' * 100_000)
    for data in (whole[:-20], b"no gzip at all\n", whole[:100] + b"x" * 50 + whole[150:]):
        path = tmp_path / "x.jsonl.gz"
        with pytest.raises(DataError, match="damaged after line"):
            rows(path, data)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[{"a": 1},\n {"a": 2}]', [(1, {"a": 1}), (2, {"a": 2})]),
        ('{"data": [{"a": 1}], "version": 3}', [(1, {"a": 1})]),
        ('{"messages": [{"role": "user"}]}', [(1, {"messages": [{"role": "user"}]})]),
        ('{"prompt": "x"}', [(1, {"prompt": "x"})]),
        ('{"a": 1}\n{"a": 2}\n', [(1, {"a": 1}), (2, {"a": 2})]),
        ('{"a": 1}\n{"a": \n{"a": 2}', [(1, {"a": 1}), (2, "broken JSON"), (3, {"a": 2})]),
    ],
)
def test_json_files(tmp_path: Path, text: str, expected: list[tuple[int, Any]]) -> None:
    assert rows(tmp_path / "x.json", text.encode()) == expected


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'[{"a": 1},\n {"a": }]', r"x\.json:2: broken JSON"),
        (b'[{"a": 1},\n {"a": "\xe9"}]', r"x\.json:2: not UTF-8"),
        (b"17", "holds one int"),
    ],
)
def test_a_json_list_is_read_whole_or_not_at_all(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        rows(tmp_path / "x.json", data)


def test_csv_rows_are_numbered_by_the_line_they_begin_on(tmp_path: Path) -> None:
    data = b'\r\na,b\r\n1,"two\nlines"\r\n\r\n3,4\r\nonly\r\n5,\xff\r\n6,"7"8\r\n9,10'
    assert rows(tmp_path / "x.csv", data) == [
        (3, {"a": "1", "b": "two\nlines"}),
        (6, {"a": "3", "b": "4"}),
        (7, "broken CSV"),
        (8, "not UTF-8"),
        (9, "broken CSV"),
        (10, {"a": "9", "b": "10"}),
    ]


def test_an_unclosed_quote_costs_one_csv_row(tmp_path: Path) -> None:
    data = b'a,b\n1,"never closed\n2,x\n3,y\n4,"once more\n5,"z"\n6,"\n7,w'
    assert rows(tmp_path / "x.csv", data) == [
        (2, "broken CSV"),
        (3, {"a": "2", "b": "x"}),
        (4, {"a": "3", "b": "y"}),
        (5, "broken CSV"),
        (6, {"a": "5", "b": "z"}),
        (7, "broken CSV"),
        (8, {"a": "7", "b": "w"}),
    ]


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"))


@given(st.lists(st.tuples(cells, cells), max_size=6))
def test_csv_written_by_python_comes_back(tmp_path_factory: Any, table: list[Any]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerows([("one", "two"), *table])
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    found = [row for _, row in rows(path, text.getvalue().encode())]
    assert found == [{"one": one, "two": two} for one, two in table]


def test_fields_longer_than_the_csv_module_likes_and_tabs(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    assert rows(tmp_path / "x.tsv", b"a\tb\n1\t" + b"x" * 300_000) == [
        (2, {"a": "1", "b": "x" * 300_000})
    ]
    assert csv.field_size_limit() == before


def test_txt_lines_are_texts(tmp_path: Path) -> None:
    data = f" one {SEPARATORS}\r\n\n".encode() + b"\xff\ntwo"
    assert rows(tmp_path / "x.txt", data) == [
        (1, f"one {SEPARATORS}"),
        (3, "not UTF-8"),
        (4, "two"),
    ]


def test_parquet_and_arrow_rows_are_numbered(tmp_path: Path) -> None:
    expected = [{"t": SEPARATORS, "m": [{"role": "user"}]}, {"t": None, "m": None}]
    table = pa.Table.from_pylist(expected)
    pq.write_table(table, tmp_path / "x.parquet")
    with pa.ipc.new_stream(tmp_path / "x.arrow", table.schema) as stream:
        stream.write_table(table)
    for name in ("x.parquet", "x.arrow"):
        opened = open_table(tmp_path / name)
        assert opened.unit == "row"
        assert list(opened.rows) == list(enumerate(expected, 1))


@pytest.mark.parametrize("name", ["x.parquet", "x.arrow"])
def test_damaged_columnar_files_are_errors(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="damaged"):
        rows(tmp_path / name, b"PAR1 this is not it PAR1")
    with pytest.raises(DataError, match="unpack"):
        rows(tmp_path / f"{name}.gz", b"")


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"pip install 'accord\[data\]'"):
        rows(tmp_path / "x.parquet", b"")


def test_a_folder_is_its_data_files_in_order(tmp_path: Path) -> None:
    for name in ("b.jsonl", "deep/a.jsonl", "README.md", ".hidden/x.jsonl", "dataset_info.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('{"a": 1}\n')
    names = [table.name for table in tables(tmp_path)]
    assert names == [str(tmp_path / "b.jsonl"), str(tmp_path / "deep" / "a.jsonl")]


def test_an_artifact_folder_is_its_records(tmp_path: Path) -> None:
    for name in ("manifest.json", "records.jsonl", "other.jsonl"):
        (tmp_path / name).write_text("{}\n")
    assert [table.name for table in tables(tmp_path)] == [str(tmp_path / "records.jsonl")]


def test_what_is_not_there_or_unknown_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no data file in this folder"):
        list(tables(tmp_path))
    with pytest.raises(DataError, match="no such file or folder"):
        list(tables(tmp_path / "missing.jsonl"))
    (tmp_path / "x.docx").write_text("text")
    with pytest.raises(DataError, match="unknown file type"):
        list(tables(tmp_path / "x.docx"))


@pytest.mark.parametrize(
    ("source", "asked"),
    [
        ("org/name", ("org/name", None, "train")),
        ("org/name:test", ("org/name", None, "test")),
        ("org/name/config:test[:10%]", ("org/name", "config", "test[:10%]")),
        ("hub:name", ("name", None, "train")),
    ],
)
def test_a_hub_data_set_by_name(
    monkeypatch: pytest.MonkeyPatch, source: str, asked: tuple[str, str | None, str]
) -> None:
    calls = []

    def load_dataset(name: str, config: str | None, *, split: str) -> datasets.Dataset:
        calls.append((name, config, split))
        return datasets.Dataset.from_list([{"prompt": "one"}, {"prompt": "two"}])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    (table,) = tables(source)
    assert calls == [asked]
    assert list(table.rows) == [(1, {"prompt": "one"}), (2, {"prompt": "two"})]
    assert (table.name, table.unit) == (source, "row")


def test_the_hub_out_of_reach_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach 'org/name' on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(DataError, match="check the name and the network"):
        list(tables("org/name"))
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install 'accord\[data\]'"):
        list(tables("org/name"))
