"""Demo projects: made-up rows always, the real sets and their known figures where they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from accord.errors import DataError
from accord.store import events
from accord.store.assign import next_assignment
from accord.store.database import Store
from accord.store.demo import DEMOS, load_open_assistant, load_pandalm
from accord.store.freeze import freeze_round
from accord.store.rounds import list_items
from tests.store.fill import rater

SHARED = Path(__file__).parents[3] / "shared" / "data"
needs_pandalm = pytest.mark.skipif(
    not (SHARED / "pandalm").is_dir(), reason=f"PandaLM's test set is not at {SHARED}/pandalm"
)
needs_trees = pytest.mark.skipif(
    not (SHARED / "open-assistant").is_dir(),
    reason=f"the OpenAssistant trees are not at {SHARED}/open-assistant",
)


def pandalm_row(number: int, *verdicts: int, **changes: Any) -> dict[str, Any]:
    said = {f"annotator{n}": v for n, v in enumerate(verdicts, start=1)}
    return {
        "idx": number,
        "cmp_key": "bloom-7b_llama-7b",
        "instruction": f"Do {number}.",
        "input": "with this" if number else "",
        "response1": "Yes",
        "response2": "No",
        **said,
        **changes,
    }


def written(tmp_path: Path, rows: Any) -> Path:
    path = tmp_path / "testset-v1.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def test_pandalm_rows_become_a_closed_round_of_three_peoples_verdicts(
    sqlite_store: Store, tmp_path: Path
) -> None:
    rows = [
        pandalm_row(0, 1, 2, 0),
        pandalm_row(1, 2, 2, 2, response1=True),
        pandalm_row(1, 1, 1, 1, response1=True),  # again: nobody is asked twice
    ]
    found = load_pandalm(sqlite_store, written(tmp_path, rows).parent)
    assert (found.state, found.num_items, found.num_judgments) == ("closed", 2, 6)
    labels = list(freeze_round(sqlite_store, found.id, tmp_path / "out").records())
    said = [(r.prompt.id, r.a.text, r.a.model, r.choice) for r in labels]  # type: ignore[union-attr]
    assert said == [
        ("0", "Yes", "bloom-7b", "a"),
        ("0", "Yes", "bloom-7b", "b"),
        ("0", "Yes", "bloom-7b", "tie"),
        *[("1", "True", "bloom-7b", "b")] * 3,
    ]
    assert labels[0].prompt.text == "Do 0."  # type: ignore[union-attr]
    assert labels[3].prompt.text == "Do 1.\n\nwith this"  # type: ignore[union-attr]
    assert events.verify(sqlite_store) == []
    with pytest.raises(DataError, match="is there already"):
        load_pandalm(sqlite_store, tmp_path)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (pandalm_row(0, 1, 2, 3), "row 1: annotators say"),
        (pandalm_row(0, 1, 2), "row 1: not a row of PandaLM's"),
        (pandalm_row(0, 1, 2, 0, response1=7), "row 1: not a row"),
        (pandalm_row(0, 1, 2, 0, cmp_key="one"), "names 1 models"),
    ],
)
def test_other_rows_are_refused(
    sqlite_store: Store, tmp_path: Path, row: dict[str, Any], expected: str
) -> None:
    with pytest.raises(DataError, match=expected):
        load_pandalm(sqlite_store, written(tmp_path, [row]))


def test_a_folder_without_the_data_says_what_is_missing(
    sqlite_store: Store, tmp_path: Path
) -> None:
    for load in DEMOS.values():
        with pytest.raises(DataError, match="download it and give its folder"):
            load(sqlite_store, tmp_path, "system")
    trees = tmp_path / "one_tree.jsonl"
    lone = {"message_id": "m", "role": "prompter", "text": "Hi", "replies": []}
    reply = {"message_id": "r", "role": "assistant", "text": "Yes", "replies": []}
    row = {"message_tree_id": "t", "prompt": {**lone, "replies": [reply]}}
    trees.write_text(json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="no ranked replies"):
        load_open_assistant(sqlite_store, trees)


@needs_pandalm
def test_pandalms_agreement_is_the_one_known(sqlite_store: Store, tmp_path: Path) -> None:
    found = load_pandalm(sqlite_store, SHARED / "pandalm")
    assert found.num_judgments == 3 * found.num_items
    made = freeze_round(sqlite_store, found.id, tmp_path / "out", aggregate="majority")
    agreement = made.manifest.extra["agreement"]
    assert agreement["Fleiss' kappa"]["value"] == pytest.approx(0.864, abs=0.002)
    assert made.manifest.metrics["num_raters"] == 3
    assert made.manifest.metrics["num_records"] == agreement["Fleiss' kappa"]["num_items"]


@needs_trees
def test_the_open_assistant_rankings_wait_for_one_more_person(sqlite_store: Store) -> None:
    found = load_open_assistant(sqlite_store, SHARED / "open-assistant")
    assert (found.state, found.num_items, found.num_judgments) == ("open", 161, 161)
    assert found.num_left == 161
    sizes = {len(item.completions) for item in list_items(sqlite_store, found.id, limit=200)}
    assert min(sizes) == 2 and max(sizes) == 9
    task = next_assignment(sqlite_store, rater(sqlite_store), found.id)
    assert task is not None and len(task.responses) >= 2
