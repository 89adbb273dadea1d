"""Reading whole sources: detection, kinds, ids, lengths, columns."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from accord.data import (
    read,
    read_comparisons,
    read_demonstrations,
    read_labels,
    read_prompts,
)
from accord.errors import DataError
from accord.types import (
    Comparison,
    Completion,
    Demonstration,
    Label,
    Message,
    Prompt,
    Ranking,
    to_dict,
)

PAIR = {"prompt": "Hi", "chosen": "Yes", "rejected": "No"}
SHOWN = {"prompt": "Hi", "completion": "Yes"}


def jsonl(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def refused(path: Path, reader: Any = read_comparisons, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        reader(path, **options)
    return str(caught.value)


def test_one_bad_row_shape_does_not_change_the_format(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", {"prompt": "Hi"}, SHOWN, PAIR, PAIR)
    message = refused(path)
    assert f"{path}:1: missing field: 'chosen'" in message
    assert f"{path}:2: missing field: 'chosen'" in message
    assert "2 bad rows" in message


def test_each_file_has_its_own_format(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", PAIR)
    ranks = [{"rank": i, "completion": f"c{i}"} for i in range(3)]
    jsonl(tmp_path / "b.jsonl", {"context": "Hi", "completions": ranks})
    dataset = read(tmp_path)
    assert list(dataset.report.formats.values()) == ["trl-preference", "nemo-rank"]
    assert [type(record) for record in dataset.records] == [Comparison, Ranking]
    assert (dataset.report.num_rows, dataset.report.num_records) == (2, 2)


def test_columns_that_fit_no_format_are_named(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", {"question": "q", "better": "b", "worse": "w"})
    message = refused(path)
    assert "the columns (better, question, worse) fit no format that gives" in message
    assert "columns={'prompt': 'your name', ...}" in message
    columns = {"prompt": "question", "chosen": "better", "rejected": "worse"}
    (comparison,) = read_comparisons(path, columns=columns)
    assert isinstance(comparison, Comparison)
    assert (comparison.a.text, comparison.b.text) == ("b", "w")


def test_errors_speak_of_the_users_columns(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", {"q": "q", "good": "", "bad": "w"})
    columns = {"prompt": "q", "chosen": "good", "rejected": "bad"}
    assert ":1: empty field: 'good' (as chosen)" in refused(path, columns=columns)


def test_openrlhf_keys(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", {"input": "Hi", "output": "Yes", "label": False})
    columns = {"prompt": "input", "completion": "output"}
    (label,) = read_labels(path, columns=columns)
    assert (label.prompt.text, label.completion.text, label.good) == ("Hi", "Yes", False)


def test_a_given_format_is_not_guessed(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", SHOWN | {"label": False})
    assert [
        record.completion for record in read_demonstrations(path, format="trl-prompt-completion")
    ] == ["Yes"]
    assert "fit no format" in refused(path, read_demonstrations)
    assert "did you mean 'trl-unpaired'" in refused(path, read_labels, format="trl-unpair")
    assert "wrong kind: gives a Label" in refused(path, read_demonstrations, format="trl-unpaired")


def test_rows_of_another_kind_are_bad(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path / "x.jsonl",
        {"instruction": "Hi", "output": "Yes"},
        {"instruction": "Hi"},
        {"instruction": "Hi", "chosen": "Yes", "rejected": "No"},
    )
    for message in (refused(path, read_demonstrations), refused(path, read)):
        assert f"{path}:2: missing field: a prompt without an answer" in message
        assert f"{path}:3: wrong kind: gives a Comparison; wanted: Demonstration" in message


def test_prompts_of_richer_rows_come_once_each(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", PAIR, PAIR | {"chosen": "Of course"}, PAIR | {"prompt": "?"})
    assert [prompt.text for prompt in read_prompts(path)] == ["Hi", "?"]


def test_prompt_rows_strings_and_lines_are_kept_one_for_one(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("Hi\n\nHi\n?\n")
    rows = jsonl(
        tmp_path / "x.jsonl",
        "Hi",
        {"prompt": "Hi"},
        {"prompt": [{"role": "user", "content": "?"}]},
    )
    expected = [(Message("user", text),) for text in ("Hi", "Hi", "?")]
    for path in (tmp_path / "x.txt", rows):
        prompts = read_prompts(path)
        assert [prompt.messages for prompt in prompts] == expected
        assert prompts[0].id == prompts[1].id != prompts[2].id


def test_a_duplicate_id_names_the_first(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", PAIR | {"id": 1}, PAIR, PAIR)
    jsonl(tmp_path / "b.jsonl", PAIR | {"id": "1"})
    message = refused(tmp_path)
    assert f"{tmp_path}/b.jsonl:1: duplicate id: '1', first at {tmp_path}/a.jsonl:1" in message
    assert "1 bad rows" in message
    assert len(read_comparisons(tmp_path, columns={"id": ""})) == 4


def test_a_bad_row_takes_no_id_from_a_good_one(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", PAIR | {"id": "x", "chosen": ""}, PAIR | {"id": "x"}, PAIR)
    with pytest.warns(UserWarning, match="1 bad rows"):
        comparisons = read_comparisons(path, max_bad_rows=1)
    assert [comparison.id for comparison in comparisons] == ["x", ""]


def test_max_chars_counts_the_prompt_and_the_longest_completion(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", PAIR)
    assert len(read_comparisons(path, max_chars=5)) == 1
    assert "over-long: 5 characters, max_chars is 4" in refused(path, max_chars=4)
    assert len(read_prompts(path, max_chars=2)) == 1
    assert "over-long: 2 characters" in refused(path, read_prompts, max_chars=1)
    shown = jsonl(tmp_path / "y.jsonl", SHOWN, SHOWN | {"prompt": "x" * 99})
    assert f"{shown}:2: over-long: 102" in refused(shown, read_demonstrations, max_chars=101)


def test_accords_own_records_of_every_kind(tmp_path: Path) -> None:
    prompt = Prompt("p", (Message("user", "Hi"),), ("tag",))
    tie = Comparison(prompt, Completion("x", "m", False), Completion("y"), "tie", 0.5, id="1")
    ranking = Ranking(prompt, (Completion("x"), Completion("y")), (1, 0), id="2")
    path = jsonl(tmp_path / "records.jsonl", to_dict(tie), to_dict(ranking))
    (tmp_path / "manifest.json").write_text("{}")
    assert read_comparisons(tmp_path) == [tie, ranking]
    assert read(path).records == [tie, ranking]
    assert read_prompts(path) == [prompt]
    assert "wrong kind: gives a Comparison" in refused(path, read_labels)
    label = Label(prompt, Completion("x"), True)
    shown = Demonstration(prompt, "x")
    jsonl(path, to_dict(label), to_dict(shown))
    assert read(path).records == [label, shown]


def test_accord_prompts_may_repeat_a_content_id_but_no_other(tmp_path: Path) -> None:
    hashed = read_prompts(jsonl(tmp_path / "x.jsonl", "Hi"))[0]
    path = jsonl(tmp_path / "y.jsonl", to_dict(hashed), to_dict(hashed))
    assert read_prompts(path) == [hashed, hashed]
    named = Prompt("mine", hashed.messages)
    path = jsonl(tmp_path / "z.jsonl", to_dict(named), to_dict(named))
    assert ":2: duplicate id: 'mine'" in refused(path, read_prompts)


def test_csv_rows_with_blank_optional_cells(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(
        'prompt,chosen,rejected,margin,id\nHi,Yes,No,,\n"Hi, you",Yes,No,1.5,b\nHi,,No,,'
    )
    message = refused(path)
    assert f"{path}:4: empty field: 'chosen'" in message
    with pytest.warns(UserWarning, match="1 bad rows"):
        comparisons = read_comparisons(path, max_bad_rows=1)
    assert [(c.prompt.text, c.id) for c in comparisons] == [("Hi", ""), ("Hi, you", "b")]
    assert [c.margin for c in comparisons if isinstance(c, Comparison)] == [None, 1.5]


def test_json_lists_report_row_numbers(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps([PAIR, PAIR | {"chosen": None}]))
    assert f"{path}:row 2: missing field: 'chosen'" in refused(path)


def test_files_without_a_good_row(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n")
    assert "no usable row" in refused(empty)
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{\n[\n")
    assert "2 bad rows (broken JSON 2)" in refused(broken)
    assert "no usable row; see" in refused(broken, max_bad_rows=2)


def test_allowed_bad_rows_are_told_and_listed(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", PAIR, 3, PAIR)
    listed = tmp_path / "bad.txt"
    with pytest.warns(UserWarning, match=r"3 rows, 2 records, 1 bad rows \(wrong type 1\)"):
        dataset = read(path, max_bad_rows=1, bad_rows_path=listed)
    assert [bad.line for bad in dataset.report.bad_rows] == [2]
    expected = f"{path}:2: wrong type: the row is a number, not an object\n"
    assert listed.read_text() == expected


def test_the_garbage_collector_is_left_as_it_was(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", PAIR)
    assert gc.isenabled()
    read(path)
    refused(path, read_labels)
    assert gc.isenabled()


def test_importing_the_readers_imports_nothing_heavy() -> None:
    code = (
        "import sys, accord.data; "
        "heavy = {'torch', 'pyarrow', 'pandas', 'datasets', 'numpy'}; "
        "print(sorted(heavy & sys.modules.keys()))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "[]"
