"""Files, folders and hub datasets as numbered rows; the meaning of a row is not decided here."""

from __future__ import annotations

import csv
import gzip
import itertools
import os
import re
import sys
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import orjson

from accord.data.report import RowError, Unit
from accord.errors import DataError

Rows: TypeAlias = Iterator[tuple[int, Any]]
"""Line or row number from 1, and the value there: parsed JSON, or a RowError."""

KINDS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".txt": "txt",
}
BOOKKEEPING = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}
"""Written by ``datasets`` beside its files; every other data file of a folder is read."""
BOM = b"\xef\xbb\xbf"
HUB_NAME = re.compile(r"(?P<name>[\w.-]+(/[\w.-]+)?)(/(?P<config>[\w.-]+))?(:(?P<split>[^/]+))?")


@dataclass(frozen=True, slots=True)
class Table:
    """One file's rows. ``textual``: numbers and booleans arrive as text (csv, tsv)."""

    name: str
    rows: Rows
    unit: Unit = "line"
    textual: bool = False


def tables(source: str | os.PathLike[str]) -> Iterator[Table]:
    """Every file of a source: a file, a folder (recursively, sorted), or a hub dataset.

    A hub dataset is ``name``, ``org/name``, ``org/name/config``, each with an optional ``:split``
    (default ``train``).

    Raises:
        DataError: nothing there, unknown file type, or a file damaged as a whole.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        files = _folder(path)
        if not files:
            raise DataError(f"{path}: no data file in this folder (known: {', '.join(KINDS)}, .gz)")
        yield from (open_table(file) for file in files)
    elif path.exists():
        yield open_table(path)
    else:
        yield _hub(str(source))


def open_table(path: Path) -> Table:
    """The rows of one file, opened when the first is asked for."""
    name = str(path)
    match _kind(path):
        case "jsonl":
            return Table(name, _jsonl(_lines(path)))
        case "json":
            return _json(path)
        case "csv":
            return Table(name, _csv(_lines(path), ","), textual=True)
        case "tsv":
            return Table(name, _csv(_lines(path), "\t"), textual=True)
        case "txt":
            return Table(name, _txt(_lines(path)))
        case "parquet" | "arrow" as kind:
            return Table(name, _columnar(path, kind), unit="row")
    raise DataError(f"{path}: unknown file type; known are {', '.join(KINDS)}, each also with .gz")


def _kind(path: Path) -> str | None:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return KINDS.get(suffixes[-1]) if suffixes else None


def _folder(path: Path) -> list[Path]:
    if (path / "manifest.json").is_file() and (path / "records.jsonl").is_file():
        return [path / "records.jsonl"]
    return sorted(
        file
        for file in path.rglob("*")
        if file.is_file()
        and _kind(file)
        and file.name not in BOOKKEEPING
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )


def _open(path: Path) -> BinaryIO | gzip.GzipFile:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rb")
    return path.open("rb")


def _lines(path: Path) -> Iterator[bytes]:
    r"""Lines ended by \n alone: text may hold \x85, \u2028 and other Unicode separators."""
    number = 0
    try:
        with _open(path) as file:
            for number, line in enumerate(file, 1):
                yield line if number > 1 else line.removeprefix(BOM)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path}: compressed data is damaged after line {number}: {error}"
        ) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def _jsonl(lines: Iterable[bytes]) -> Rows:
    loads = orjson.loads
    for number, line in enumerate(lines, 1):
        value: Any
        try:
            value = loads(line)
        except orjson.JSONDecodeError as error:
            if not line.strip():
                continue
            value = _broken(line, error)
        yield number, value


def _broken(line: bytes, error: orjson.JSONDecodeError) -> RowError:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as not_utf8:
        return _not_utf8(not_utf8)
    return RowError("broken JSON", f"{error.msg} (column {error.colno})")


def _not_utf8(error: UnicodeDecodeError) -> RowError:
    return RowError("not UTF-8", f"byte 0x{error.object[error.start]:02x} at {error.start + 1}")


def _json(path: Path) -> Table:
    """A list of rows, an object with one list in it, one row, or JSON lines under another name."""
    data = b"".join(_lines(path))
    try:
        value: Any = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as not_utf8:
            line = data.count(b"\n", 0, not_utf8.start) + 1
            raise DataError(f"{path}:{line}: not UTF-8; save the file as UTF-8") from None
        if data.lstrip()[:1] != b"[" and data.strip().count(b"\n"):
            return Table(str(path), _jsonl(_lines(path)))
        raise DataError(
            f"{path}:{error.lineno}: broken JSON: {error.msg} (column {error.colno}); "
            "a json list is read whole or not at all: mend it, or write one object a line as .jsonl"
        ) from None
    if isinstance(value, dict):
        lists = [entry for entry in value.values() if _is_row_list(entry)]
        looks_like_row = {"messages", "conversations", "chosen", "prompt", "type"} & value.keys()
        value = lists[0] if len(lists) == 1 and not looks_like_row else [value]
    if not isinstance(value, list):
        raise DataError(f"{path}: holds one {type(value).__name__}, not a list of rows")
    return Table(str(path), iter(enumerate(value, 1)), unit="row")


def _is_row_list(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


class _CsvLines:
    """Decoded lines; those after the first of a row can be handed back and read again."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self._again: list[str] = []
        self._taken: list[str] = []
        self._number = 0

    def __iter__(self) -> _CsvLines:
        return self

    def __next__(self) -> str:
        line = self._again.pop() if self._again else self._decode(next(self._lines))
        self._taken.append(line)
        self._number += 1
        return line

    def start_row(self) -> int:
        """The number of the line that the next row begins on."""
        self._taken.clear()
        return self._number + 1

    def hand_back(self) -> None:
        """After a quote that never closed: the lines it ran over are rows of their own."""
        rest = self._taken[1:]
        self._again.extend(reversed(rest))
        self._number -= len(rest)

    @staticmethod
    def _decode(line: bytes) -> str:
        return line.decode("utf-8", "surrogateescape")


def _csv(lines: Iterator[bytes], delimiter: str) -> Rows:
    """Rows as dictionaries; a row's line is where it begins, the header is the first full line."""
    source = _CsvLines(lines)
    previous_limit = csv.field_size_limit(sys.maxsize)
    try:
        reader = csv.reader(source, delimiter=delimiter, strict=True)
        header: list[str] | None = None
        while True:
            start = source.start_row()
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                source.hand_back()
                yield start, RowError("broken CSV", str(error))
                continue
            if not cells or cells == [""]:
                continue
            if header is None:
                header = cells
            else:
                yield start, _csv_row(header, cells)
    finally:
        csv.field_size_limit(previous_limit)


def _csv_row(header: list[str], cells: list[str]) -> dict[str, str] | RowError:
    try:
        "".join(cells).encode("utf-8")
    except UnicodeEncodeError as error:
        byte = ord(error.object[error.start]) & 0xFF
        return RowError("not UTF-8", f"byte 0x{byte:02x}")
    if len(cells) != len(header):
        return RowError("broken CSV", f"{len(cells)} fields where the header has {len(header)}")
    return dict(zip(header, cells, strict=True))


def _txt(lines: Iterable[bytes]) -> Rows:
    for number, line in enumerate(lines, 1):
        try:
            text = line.decode("utf-8").strip()
        except UnicodeDecodeError as error:
            yield number, _not_utf8(error)
        else:
            if text:
                yield number, text


def _columnar(path: Path, kind: str) -> Rows:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise DataError(f"{path}: {kind} needs pyarrow: pip install 'accord[data]'") from None
    if path.suffix.lower() == ".gz":
        raise DataError(f"{path}: {kind} is compressed inside; unpack the .gz first")
    try:
        if kind == "parquet":
            batches: Iterable[Any] = pq.ParquetFile(path).iter_batches(batch_size=4096)
        else:
            batches = pa.ipc.open_stream(path.read_bytes())
        rows = itertools.chain.from_iterable(batch.to_pylist() for batch in batches)
        yield from enumerate(rows, 1)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: damaged {kind} file: {error}") from None


def _hub(source: str) -> Table:
    match = HUB_NAME.fullmatch(source.removeprefix("hub:"))
    if match is None or _kind(Path(source)):
        raise DataError(f"{source}: no such file or folder")
    try:
        import datasets
    except ImportError:
        raise DataError(
            f"{source}: no such file or folder; to read it as a hub dataset: "
            "pip install 'accord[data]'"
        ) from None
    split = match["split"] or "train"
    try:
        rows = datasets.load_dataset(match["name"], match["config"], split=split)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{source}: no such file or folder, and it did not load as hub dataset "
            f"{match['name']!r}, split {split!r} ({type(error).__name__}: {error}); check the name "
            "and the network, or download the files and give their path"
        ) from None
    return Table(source, iter(enumerate(rows, 1)), unit="row")
