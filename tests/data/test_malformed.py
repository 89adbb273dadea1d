"""10,000 malformed rows of every kind among 100,000 good ones: all found, none of the good lost."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from accord.data import read_comparisons
from accord.errors import DataError
from accord.types import Comparison

NUM_GOOD, NUM_BAD = 100_000, 10_000
MAX_CHARS = 4000


def good(index: int) -> dict[str, Any]:
    separators = "line\u2028paragraph\u2029next\x85end\x0b\x0c"
    row = {
        "id": f"good-{index}",
        "prompt": f"Question {index}? {separators}",
        "chosen": f"Better {index} \u00e9\u4e2d\U0001f600",
        "rejected": f"Worse {index}",
    }
    if index % 3 == 0:
        row["prompt"] = [{"role": "user", "content": row["prompt"]}]
        row["chosen"] = [{"role": "assistant", "content": row["chosen"]}]
        row["rejected"] = [{"role": "assistant", "content": row["rejected"]}]
    return row


def changed(**changes: Any) -> Callable[[dict[str, Any]], bytes]:
    return lambda row: dumped({**row, **changes})


def without(field: str) -> Callable[[dict[str, Any]], bytes]:
    return lambda row: dumped({key: value for key, value in row.items() if key != field})


def raw(line: bytes) -> Callable[[dict[str, Any]], bytes]:
    return lambda row: line


def dumped(row: Any) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode()


def turns(*roles_and_words: tuple[str, Any]) -> list[dict[str, Any]]:
    return [{"role": role, "content": words} for role, words in roles_and_words]


MALFORMED: list[tuple[str, Callable[[dict[str, Any]], bytes]]] = [
    ("not UTF-8", lambda row: dumped(row).replace(b"Question", b"Que\xff\xfestion")),
    ("not UTF-8", lambda row: dumped({**row, "prompt": "caf\u00e9"}).replace(b"\xc3\xa9", b"\xe9")),
    ("not UTF-8", raw("{}".encode("utf-16"))),
    ("broken JSON", lambda row: dumped(row)[:-7]),
    ("broken JSON", lambda row: dumped(row) + b","),
    ("broken JSON", lambda row: dumped(row).replace(b'"', b"'")),
    ("broken JSON", lambda row: dumped(row) + dumped(row)),
    ("broken JSON", lambda row: dumped({**row, "margin": float("nan")})),
    ("broken JSON", raw(b'{"prompt": "p", "chosen": "\\ud800", "rejected": "r"}')),
    ("broken JSON", raw(b"some prose")),
    ("wrong type", raw(b"[1, 2]")),
    ("wrong type", raw(b"17")),
    ("wrong type", raw(b"null")),
    ("wrong type", raw(b"true")),
    ("missing field", raw(b'"only a text"')),
    ("missing field", raw(b"{}")),
    ("missing field", without("chosen")),
    ("missing field", without("rejected")),
    ("missing field", changed(chosen=None)),
    ("missing field", changed(rejected=None)),
    ("missing field", changed(chosen=[{"role": "assistant"}])),
    ("missing field", changed(chosen=[{"content": "said by whom?"}])),
    ("empty field", changed(prompt="")),
    ("empty field", changed(prompt=" \n\t")),
    ("empty field", changed(chosen="")),
    ("empty field", changed(rejected="\u2003")),
    ("empty field", changed(prompt=[])),
    ("empty field", changed(chosen=[])),
    ("empty field", changed(prompt=turns(("user", "")))),
    ("wrong type", changed(prompt=5)),
    ("wrong type", changed(chosen=True)),
    ("wrong type", changed(rejected=1.5)),
    ("wrong type", changed(chosen=["a list of text"])),
    ("wrong type", changed(chosen=turns(("assistant", 7)))),
    ("wrong type", changed(prompt={"no": "message"}, chosen="x")),
    ("wrong type", changed(margin="large")),
    ("wrong type", changed(id=["x"])),
    ("wrong type", changed(tags=[1])),
    ("wrong type", changed(rater=3)),
    ("out of range", changed(strength=1.5)),
    ("unknown role", changed(prompt=turns(("wizard", "hello")))),
    ("broken conversation", changed(chosen=turns(("user", "hello")))),
    ("broken conversation", changed(prompt="hello", chosen=turns(("user", "x")), rejected="y")),
    ("identical pair", changed(chosen="same", rejected="same")),
    (
        "identical pair",
        changed(chosen=turns(("assistant", "s")), rejected=turns(("assistant", "s"))),
    ),
    (
        "early divergence",
        changed(
            prompt=None,
            chosen=turns(("user", "a"), ("assistant", "b")),
            rejected=turns(("user", "c"), ("assistant", "d")),
        ),
    ),
    ("over-long", changed(prompt="long " * 1000)),
    ("over-long", changed(chosen="x" * (MAX_CHARS + 1))),
    ("duplicate id", changed(id="good-0")),
]


def malformed(index: int) -> tuple[str, bytes]:
    reason, make = MALFORMED[index % len(MALFORMED)]
    row = {
        "id": f"bad-{index}",
        "prompt": f"Question {index}",
        "chosen": f"better {index}",
        "rejected": f"worse {index}",
    }
    return reason, make(row)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[tuple[str, int, str]]]:
    """A folder of three files, and (file, line, reason) of every malformed row in it."""
    folder = tmp_path_factory.mktemp("rows")
    draw = random.Random(0)
    kinds = [True] * (NUM_GOOD - 1) + [False] * NUM_BAD
    draw.shuffle(kinds)
    kinds.insert(0, True)  # the row whose id the duplicates take comes first
    num_good = num_bad = 0
    expected: set[tuple[str, int, str]] = set()
    files = {
        "a.jsonl": kinds[:50_000],
        "b.jsonl.gz": kinds[50_000:80_000],
        "c.jsonl": kinds[80_000:],
    }
    for name, part in files.items():
        path = folder / name
        lines = []
        for line, is_good in enumerate(part, 1):
            if is_good:
                lines.append(dumped(good(num_good)))
                num_good += 1
            else:
                reason, text = malformed(num_bad)
                lines.append(text)
                expected.add((str(path), line, reason))
                num_bad += 1
        data = b"\n".join(lines) + (b"" if name == "c.jsonl" else b"\n")
        path.write_bytes(gzip.compress(data, 1) if name.endswith(".gz") else data)
    assert (num_good, num_bad) == (NUM_GOOD, NUM_BAD)
    return folder, expected


def test_every_malformed_row_is_reported_and_no_good_one_lost(
    written: tuple[Path, set[tuple[str, int, str]]], tmp_path: Path
) -> None:
    folder, expected = written
    listed = tmp_path / "bad.txt"
    with pytest.warns(UserWarning, match="10,000 bad rows"):
        records = read_comparisons(
            folder, max_bad_rows=NUM_BAD, max_chars=MAX_CHARS, bad_rows_path=listed
        )
    found = [line.split(": ", 2) for line in listed.read_text("utf-8").splitlines()]
    places = {
        (place.rsplit(":", 1)[0], int(place.rsplit(":", 1)[1]), reason)
        for place, reason, *_ in found
    }
    assert len(found) == NUM_BAD
    assert places == expected
    assert [record.id for record in records] == [f"good-{index}" for index in range(NUM_GOOD)]
    for index in (0, 1, 2, 3, 4711, NUM_GOOD - 1):
        record = records[index]
        assert isinstance(record, Comparison)
        assert record.prompt.text.startswith(f"Question {index}? line\u2028paragraph")
        assert record.a.text == f"Better {index} \u00e9\u4e2d\U0001f600"
        assert record.b.text == f"Worse {index}"
    assert all(
        isinstance(record, Comparison) and record.b.text == f"Worse {index}"
        for index, record in enumerate(records)
    )


def test_the_error_counts_shows_twenty_and_names_the_whole_list(
    written: tuple[Path, set[tuple[str, int, str]]], tmp_path: Path
) -> None:
    folder, expected = written
    listed = tmp_path / "bad.txt"
    with pytest.raises(DataError) as caught:
        read_comparisons(
            folder, max_bad_rows=NUM_BAD - 1, max_chars=MAX_CHARS, bad_rows_path=listed
        )
    message = str(caught.value)
    for reason, count in Counter(reason for _, _, reason in expected).items():
        assert f"{reason} {count:,}" in message
    assert "10,000 bad rows" in message
    assert message.count(".jsonl:") == 20
    assert str(listed) in message
    assert len(listed.read_text("utf-8").splitlines()) == NUM_BAD
