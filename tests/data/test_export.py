"""What is written is read back equal, by accord and by ``datasets``."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import datasets
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.data import export, make_prompt, read, read_comparisons, read_labels
from accord.data.export import PAIRS as PAIR_NOUNS
from accord.data.export import SHAPES, Shape
from accord.data.turns import MARKER, content_id
from accord.errors import DataError
from accord.types import (
    Comparison,
    Completion,
    Demonstration,
    Label,
    Message,
    Prompt,
    Ranking,
    Record,
)

text = st.text(min_size=1, max_size=20).filter(lambda s: bool(s.strip()))
name = st.sampled_from(["", "ann", "m1", "\u2028"])
turns = st.builds(
    lambda head, last: (*head, Message("user", last)),
    st.lists(
        st.builds(Message, st.sampled_from(["system", "user", "assistant"]), text), max_size=3
    ),
    text,
)
prompts = st.builds(
    make_prompt,
    turns,
    st.sampled_from(["", "p1", "p2"]),
    st.lists(text, max_size=2, unique=True).map(tuple),
)
completions = st.builds(Completion, text, name)
strengths = st.none() | st.floats(0, 1)
margins = st.none() | st.floats(-10, 10)
weights = st.none() | st.floats(0, 9)


def verdicts(
    choice: st.SearchStrategy[Any] = st.just("a"),  # noqa: B008
    prompt: st.SearchStrategy[Prompt] = prompts,
    completion: st.SearchStrategy[Completion] = completions,
    strength: st.SearchStrategy[float | None] = strengths,
) -> st.SearchStrategy[Comparison]:
    notes = strength, margins, name, name, st.just(""), weights, strengths
    built = st.builds(Comparison, prompt, completion, completion, choice, *notes)
    return built.filter(lambda c: c.a.text != c.b.text)


comparisons = verdicts()
labels = st.builds(Label, prompts, completions, st.booleans(), name)
demonstrations = st.builds(Demonstration, prompts, text)


@st.composite
def rankings(draw: st.DrawFn) -> Ranking:
    texts = draw(st.lists(text, min_size=2, max_size=4, unique=True))
    ranks = draw(st.lists(st.integers(0, 3), min_size=len(texts), max_size=len(texts)))
    order = sorted(set(ranks))
    return Ranking(
        draw(prompts),
        tuple(Completion(words, draw(name)) for words in texts),
        tuple(order.index(rank) for rank in ranks),
        draw(strengths),
        draw(name),
        draw(name),
        "",
        draw(weights),
    )


def numbered(records: Sequence[Any]) -> list[Any]:
    """The same records with ids on every other one: an id may not come twice."""
    return [
        replace(record, id=f"id {i}" if i % 2 else "") if not isinstance(record, Prompt) else record
        for i, record in enumerate(records)
    ]


def round_trip(records: Sequence[Record], shape: Shape, suffix: str) -> list[Record]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"rows.{suffix}"
        assert export(records, path, shape) == len(records)
        return list(read(path, kinds=(type(records[0]),)).records)


asked = st.builds(
    lambda words, own, tags: make_prompt([Message("user", words)], own, tags),
    text.filter(lambda words: not words.startswith("\n\nHuman:")),
    st.sampled_from(["", "p1"]),
    st.lists(text, max_size=2, unique=True).map(tuple),
)
trimmed = text.map(str.strip).filter(lambda words: not MARKER.search(words))
said = st.builds(
    lambda roles_and_words, own: make_prompt(
        [Message(role, words) for role, words in roles_and_words], own
    ),
    st.lists(st.tuples(st.sampled_from(["user", "assistant"]), trimmed), min_size=1, max_size=3),
    st.sampled_from(["", "p1"]),
)
any_choice = st.sampled_from(["a", "b", "tie", "both_bad"])
steps = st.none() | st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, 0.3])

CASES: list[tuple[Shape, st.SearchStrategy[Any]]] = [
    ("accord", verdicts(any_choice)),
    ("accord", rankings()),
    ("accord", labels),
    ("trl-implicit", comparisons),
    ("trl-text", verdicts(prompt=asked)),
    ("hh", verdicts(prompt=said, completion=st.builds(Completion, trimmed, name))),
    ("arena", verdicts(any_choice)),
    ("summarize", verdicts(st.sampled_from(["a", "b"]), asked, strength=steps)),
    ("trl-preference", comparisons),
    ("trl-unpaired", labels),
    ("trl-prompt-completion", demonstrations),
    ("messages", demonstrations),
    ("nemo-rank", rankings()),
    ("prompt", prompts.filter(lambda p: p.id not in ("p1", "p2"))),
]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet", "csv"])
@pytest.mark.parametrize(("shape", "strategy"), CASES, ids=[shape for shape, _ in CASES])
def test_every_shape_comes_back_equal(
    shape: Shape, strategy: st.SearchStrategy[Any], suffix: str
) -> None:
    @settings(max_examples=30, deadline=None)
    @given(st.lists(strategy, min_size=1, max_size=5))
    def check(records: list[Any]) -> None:
        records = numbered(records)
        assert round_trip(records, shape, suffix) == records

    check()


PROMPT = make_prompt([Message("system", "Be kind."), Message("user", "Hi\u2028there")], tags=("t",))
YES, NO, MAYBE = Completion("Yes\x85", "m1"), Completion("No", "m2"), Completion("Maybe")
PAIRS = [
    Comparison(PROMPT, YES, NO, "a", 0.5, 1.0, "ann", "v1", "1"),
    Comparison(make_prompt([Message("user", "?")], "mine"), MAYBE, NO, "a"),
]
RECORDS: list[tuple[Shape, list[Any]]] = [
    ("trl-preference", PAIRS),
    ("trl-unpaired", [Label(PROMPT, YES, True, "ann", "1"), Label(PROMPT, NO, False)]),
    ("trl-prompt-completion", [Demonstration(PROMPT, "Yes", "1"), Demonstration(PROMPT, "No")]),
    ("messages", [Demonstration(PROMPT, "Yes", "1"), Demonstration(PROMPT, "No")]),
    ("nemo-rank", [Ranking(PROMPT, (YES, NO, MAYBE), (1, 0, 1), 0.5, "ann", "v1", "1")]),
    ("prompt", [PROMPT]),
    ("accord", [PAIRS[0]]),
    ("trl-implicit", PAIRS),
    ("arena", PAIRS),
]


@pytest.mark.parametrize(("shape", "records"), RECORDS, ids=[shape for shape, _ in RECORDS])
def test_datasets_reads_the_same_rows(shape: Shape, records: list[Any], tmp_path: Path) -> None:
    lines, table = tmp_path / "x.jsonl", tmp_path / "x.parquet"
    export(records, lines, shape)
    export(records, table, shape)
    rows = [orjson.loads(line) for line in lines.read_bytes().split(b"\n")[:-1]]
    cache = str(tmp_path / "cache")
    assert datasets.Dataset.from_json(str(lines), cache_dir=cache).to_list() == rows
    assert datasets.Dataset.from_parquet(str(table), cache_dir=cache).to_list() == rows


def test_a_dataset_saved_by_datasets_is_read(tmp_path: Path) -> None:
    rows = [{"prompt": "Hi", "chosen": "Yes", "rejected": f"No {i}"} for i in range(3)]
    datasets.Dataset.from_list(rows).save_to_disk(str(tmp_path / "saved"))
    comparisons = read_comparisons(tmp_path / "saved")
    assert [c.b.text for c in comparisons if isinstance(c, Comparison)] == ["No 0", "No 1", "No 2"]


def test_trl_rows_are_as_trl_documents_them(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    export([Comparison(make_prompt([Message("user", "Hi")]), NO, MAYBE, "b")], path)
    assert orjson.loads(path.read_bytes()) == {
        "prompt": [{"role": "user", "content": "Hi"}],
        "chosen": [{"role": "assistant", "content": "Maybe"}],
        "rejected": [{"role": "assistant", "content": "No"}],
        "rejected_model": "m2",
    }
    (comparison,) = read_comparisons(path)
    assert comparison == Comparison(make_prompt([Message("user", "Hi")]), MAYBE, NO, "a")


@settings(max_examples=20, deadline=None)
@given(rankings().filter(lambda r: len(set(r.ranks)) == len(r.ranks)))
def test_a_ranking_is_all_its_pairs(ranking: Ranking) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.jsonl"
        export([replace(ranking, id="r")], path, "trl-preference")
        found = {(c.a.text, c.b.text) for c in read_comparisons(path) if isinstance(c, Comparison)}
    judged = sorted(zip(ranking.ranks, [c.text for c in ranking.completions], strict=True))
    assert found == {(better, worse) for (_, better), (_, worse) in combinations(judged, 2)}


def test_pairs_of_one_ranking_say_so_and_count_as_one(tmp_path: Path) -> None:
    """Ouyang et al. 2022, section 3.5: a ranking of K is one batch element, not C(K, 2) of them."""
    path = tmp_path / "x.jsonl"
    ranking = Ranking(PROMPT, (YES, NO, MAYBE), (0, 2, 1), id="r7", rater="ann", weight=0.5)
    export([ranking, PAIRS[0]], path, "trl-preference")
    *ranked, plain = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    assert [row["ranking"] for row in ranked] == ["r7"] * 3
    assert sum(row["pair_weight"] for row in ranked) == pytest.approx(1)
    assert [row["weight"] for row in ranked] == [0.5] * 3  # the rater's, which is another matter
    assert (plain["ranking"], plain["pair_weight"]) == (None, None)
    back = read_comparisons(path)
    expected = [p if p.choice == "a" else p.swap() for p in ranking.pairs()]
    assert back[:3] == expected


@pytest.mark.parametrize("suffix", ["jsonl", "parquet", "csv"])
@pytest.mark.parametrize("shape", [name for name, nouns in SHAPES.items() if nouns is PAIR_NOUNS])
def test_pairs_of_rankings_with_and_without_ids_are_read_back(
    shape: Shape, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"x.{suffix}"
    asked = make_prompt([Message("user", "Hi")])
    four = tuple(Completion(words) for words in ("Yes", "No", "Maybe", "Perhaps"))
    own = Ranking(asked, four, (2, 0, 3, 1), rater="ann", id="r7", weight=0.5)
    nameless = Ranking(asked, four[:3], (0, 1, 2))
    alone = Comparison(asked, four[0], four[1], "a", id="c")
    assert export([own, nameless, nameless, alone], path, shape) == 6 + 3 + 3 + 1
    kinds = {"jsonl": "json"}
    rows = datasets.load_dataset(kinds.get(suffix, suffix), data_files=str(path), split="train")
    groups = [(row["ranking"] and str(row["ranking"]), row["pair_weight"]) for row in rows]
    assert groups[:6] == [("r7", pytest.approx(1 / 6, abs=1e-9))] * 6
    assert groups[6:9] == [("2", pytest.approx(1 / 3, abs=1e-9))] * 3
    assert groups[9:12] == [("3", pytest.approx(1 / 3, abs=1e-9))] * 3
    assert groups[12] == (None, None)

    back = read_comparisons(path)
    assert [c.id for c in back] == [
        *(f"r7:{i}-{j}" for i, j in combinations(range(4), 2)),
        *(f"{n}:{i}-{j}" for n in (2, 3) for i, j in combinations(range(3), 2)),
        "c",
    ]
    assert [c.weight for c in back] == [0.5] * 6 + [None] * 7  # the rater's, not divided twice
    won = [c if c.choice == "a" else c.swap() for c in back[:6] if isinstance(c, Comparison)]
    order = ["No", "Perhaps", "Yes", "Maybe"]
    assert {(c.a.text, c.b.text) for c in won} == {(x, y) for x, y in combinations(order, 2)}


def test_a_comparison_is_a_ranking_of_two_and_a_tie_stays_one(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    tie = Comparison(PROMPT, YES, NO, "tie")
    export([PAIRS[0].swap(), tie], path, "nemo-rank")
    first, second = read_comparisons(path)
    assert isinstance(first, Ranking) and isinstance(second, Ranking)
    assert (first.completions, first.ranks) == ((YES, NO), (0, 1))
    assert (first.rater, first.strength) == ("ann", 0.5)
    assert second.ranks == (0, 0)


def test_a_comparison_is_two_labels(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    both_bad = Comparison(PROMPT, YES, NO, "both_bad")
    assert export([PAIRS[0], both_bad], path, "trl-unpaired") == 4
    found = [(label.completion, label.good) for label in read_labels(path)]
    assert found == [(YES, True), (NO, False), (YES, False), (NO, False)]


def test_ties_have_no_place_in_pairs(tmp_path: Path) -> None:
    tie = Comparison(PROMPT, YES, NO, "tie")
    with pytest.raises(DataError, match=r"1 verdicts without a winner .* use nemo-rank"):
        export([PAIRS[0], tie], tmp_path / "x.jsonl")
    assert not (tmp_path / "x.jsonl").exists()
    assert export([PAIRS[0], tie], tmp_path / "x.jsonl", ties="drop") == 1


def test_export_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with pytest.raises(
        DataError, match="cannot hold a Demonstration; use accord or trl-prompt-completion"
    ):
        export([Demonstration(PROMPT, "x")], path)
    with pytest.raises(DataError, match="nothing to write"):
        export([], path)
    with pytest.raises(DataError, match="unknown shape"):
        export(PAIRS, path, "pairs")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"\.jsonl, \.parquet or \.csv"):
        export(PAIRS, tmp_path / "x.xlsx")
    export(PAIRS, path)
    with pytest.raises(DataError, match="exists"):
        export(PAIRS, path)
    assert [file.name for file in tmp_path.iterdir()] == ["x.jsonl"]


def test_hh_rows_are_transcripts_and_what_they_cannot_say_is_refused(tmp_path: Path) -> None:
    prompt = make_prompt(
        [Message("user", "Hi"), Message("assistant", "Yes?"), Message("user", "?")]
    )
    export([Comparison(prompt, NO, MAYBE, "b")], tmp_path / "x.jsonl", "hh")
    head = "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: ?\n\nAssistant:"
    row = orjson.loads((tmp_path / "x.jsonl").read_bytes())
    assert (row["chosen"], row["rejected"]) == (f"{head} Maybe", f"{head} No")
    with pytest.raises(DataError, match="record 1: hh: a transcript has no system turn"):
        export(PAIRS[:1], tmp_path / "y.jsonl", "hh")
    sly = Completion("Sure.\n\nHuman: thanks")
    with pytest.raises(DataError, match="would be read as several"):
        export([Comparison(prompt, sly, NO, "a")], tmp_path / "y.jsonl", "hh")
    with pytest.raises(DataError, match="one user message as the prompt"):
        export([Comparison(prompt, NO, MAYBE, "a")], tmp_path / "y.jsonl", "trl-text")


def test_arena_rows_keep_ties_and_judges(tmp_path: Path) -> None:
    both_bad = Comparison(PROMPT, YES, NO, "both_bad", rater="ann", id="7", soft_label=0.5)
    export([both_bad, both_bad], tmp_path / "x.jsonl", "arena")
    row = orjson.loads((tmp_path / "x.jsonl").read_bytes().split(b"\n")[0])
    assert (row["winner"], row["judge"], row["question_id"]) == ("tie (bothbad)", "ann", "7")
    assert (row["model_a"], row["model_b"], row["turn"]) == ("m1", "m2", 1)
    assert read_comparisons(tmp_path / "x.jsonl") == [both_bad, both_bad]


def test_summaries_say_confidence_on_nine_steps(tmp_path: Path) -> None:
    prompt = make_prompt([Message("user", "A long post.")], "t3_x")
    verdicts = [Comparison(prompt, NO, MAYBE, c, s) for c, s in (("a", 1.0), ("b", 0.75))]
    export(verdicts, tmp_path / "x.jsonl", "summarize")
    rows = [orjson.loads(line) for line in (tmp_path / "x.jsonl").read_bytes().splitlines()]
    assert [row["extra"]["confidence"] for row in rows] == [1, 8]
    assert [row["choice"] for row in rows] == [0, 1]
    assert rows[0]["info"] == {"id": "t3_x", "post": "A long post."}
    tie = Comparison(prompt, NO, MAYBE, "tie")
    with pytest.raises(DataError, match="use nemo-rank or arena"):
        export([tie], tmp_path / "y.jsonl", "summarize")


def test_every_shape_is_round_tripped_by_some_test() -> None:
    assert {shape for shape, _ in CASES} | {"oasst"} == set(SHAPES)
    assert content_id(PROMPT.messages) == PROMPT.id
