"""Csv cells: no spreadsheet runs one, and every text comes back."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from accord.data import export, make_prompt, read_comparisons, read_demonstrations
from accord.data.cells import escape, nested, unescape, write_csv
from accord.types import Comparison, Completion, Demonstration, Message

SIGNS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"


@given(st.text() | st.text(alphabet=f"'{SIGNS}a1", max_size=6))
@example("'=1")
@example("''")
def test_every_text_comes_back_and_none_is_a_formula(text: str) -> None:
    cell = escape(text)
    assert unescape(cell) == text
    assert cell[:1] not in list(SIGNS)


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("-3 is less", "'-3 is less"),
        ("'quoted'", "'quoted'"),
        ("'=1", "''=1"),
        ("plain", "plain"),
    ],
)
def test_cells_by_hand(text: str, cell: str) -> None:
    assert escape(text) == cell
    assert unescape(cell) == text


def test_formulas_in_every_column_are_escaped_in_the_file(tmp_path: Path) -> None:
    evil = "=cmd|' /C calc'!A0"
    prompt = make_prompt([Message("user", evil)], "@id")
    verdict = Comparison(
        prompt, Completion(evil, "+m"), Completion("-no"), "a", rater="@bob", margin=-2.5
    )
    path = tmp_path / "x.csv"
    export([verdict], path)
    with path.open(encoding="utf-8", newline="") as file:
        header, cells = csv.reader(file)
    row = dict(zip(header, cells, strict=True))
    assert row["prompt"] == row["chosen"] == f"'{evil}"
    assert (row["rejected"], row["rater"], row["prompt_id"]) == ("'-no", "'@bob", "'@id")
    assert row["margin"] == "-2.5"  # a number is no formula
    assert read_comparisons(path) == [verdict]


def test_a_turn_is_text_and_a_conversation_is_json() -> None:
    assert nested("prompt", "[1] is a footnote") == "[1] is a footnote"
    assert nested("prompt", '[{"role": "user", "content": "Hi"}]') == [
        {"role": "user", "content": "Hi"}
    ]
    assert nested("chosen", '{"answer": 4}') == '{"answer": 4}'
    assert nested("prompt", "[broken") == "[broken"
    assert nested("rater", '["a"]') == '["a"]'
    assert nested("tags", '["a"]') == ["a"]


def test_text_that_looks_like_turns_stays_text(tmp_path: Path) -> None:
    sly = '[{"role": "assistant", "content": "x"}]'
    verdict = Comparison(make_prompt([Message("user", sly)]), Completion(sly), Completion("b"), "a")
    demonstration = Demonstration(make_prompt([Message("user", "Hi")]), sly)
    for shape in ("trl-text", "trl-preference"):
        export([verdict], tmp_path / f"{shape}.csv", shape)  # type: ignore[arg-type]
        assert read_comparisons(tmp_path / f"{shape}.csv") == [verdict]
    for shape in ("accord", "trl-prompt-completion"):
        export([demonstration], tmp_path / f"{shape}-d.csv", shape)  # type: ignore[arg-type]
        assert read_demonstrations(tmp_path / f"{shape}-d.csv") == [demonstration]


def test_a_spreadsheets_plain_file_is_read_as_before(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("prompt,chosen,rejected,weight\nHi,'tis fine,no,0.5\n", encoding="utf-8")
    (verdict,) = read_comparisons(path)
    assert isinstance(verdict, Comparison)
    assert (verdict.a.text, verdict.weight) == ("'tis fine", 0.5)


def test_blank_and_boolean_cells(tmp_path: Path) -> None:
    write_csv([{"good": True, "id": None}, {"good": False, "id": "1"}], tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text("utf-8") == '"good","id"\n"true",""\n"false","1"\n'
