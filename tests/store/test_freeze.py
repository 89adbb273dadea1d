"""Freezing: what becomes a label and what does not, said with figures; the same twice."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from accord import artifacts
from accord.errors import ArtifactError, DataError
from accord.rng import uniform
from accord.store import adjudicate, events, schema
from accord.store.assign import next_assignment, skip
from accord.store.columns import new_id
from accord.store.database import Store, StoreError
from accord.store.freeze import freeze_round
from accord.store.judgments import submit
from accord.store.records import Round
from accord.store.rounds import close_round, get_round
from accord.store.settings import RoundSettings
from accord.store.task import SLOTS, TaskSchema
from accord.types import Comparison, Demonstration, Ranking
from tests.store.fill import item, make_round, rater

TWO_RATERS = RoundSettings(
    overlap=2, calibration_share=0, gold_share=0, attention_share=0, anchor_share=0
)


def judge(store: Store, who: str, found: Round, say: Any) -> int:
    """Judge whatever there is; ``say`` makes a body from an assignment."""
    count = 0
    while (task := next_assignment(store, who, found.id)) is not None:
        submit(store, who, task.id, say(task), new_id())
        count += 1
    return count


def prefers(index: int, strength: int = 2) -> Any:
    def say(task: Any) -> dict[str, Any]:
        return {"outcome": SLOTS[task.permutation.index(index)], "strength": strength}

    return say


def records(artifact: artifacts.Artifact) -> list[Any]:
    return list(artifact.records())


def test_a_round_that_is_not_closed_is_refused(store: Store, tmp_path: Path) -> None:
    found = make_round(store, [item("one")])
    ann = rater(store)
    for state in ("open", "draft"):
        with pytest.raises(StoreError, match=f"is {state}; close it before you freeze it"):
            freeze_round(store, found.id, tmp_path / "out")
        found = make_round(store, [item("one")], opened=False)
    with pytest.raises(DataError, match="no round"):
        freeze_round(store, "nothing", tmp_path / "out")
    assert judge(store, ann, found, prefers(0)) == 0


def test_a_round_without_a_label_stays_closed(store: Store, tmp_path: Path) -> None:
    found = make_round(store, [item("one")])
    judge(store, rater(store), found, lambda task: {"outcome": "cannot_compare"})
    close_round(store, found.id, "system")
    with pytest.raises(DataError, match=r"no judgment that could be a label \(could not be comp"):
        freeze_round(store, found.id, tmp_path / "out")
    assert get_round(store, found.id).state == "closed"
    assert not (tmp_path / "out").exists()


def test_verdicts_come_out_as_they_were_meant(store: Store, tmp_path: Path) -> None:
    found = make_round(store, [item(f"q{i}") for i in range(6)], TWO_RATERS)
    ann, bob = rater(store), rater(store)
    judge(store, ann, found, prefers(1, 3))
    says = iter(
        [
            {"outcome": "tie"},
            {"outcome": "both_bad"},
            {"outcome": "cannot_compare"},
            {"outcome": "cannot_compare"},
            {"outcome": "a", "strength": 4, "comment": "clear"},
        ]
    )
    for body in says:
        task = next_assignment(store, bob, found.id)
        assert task is not None
        submit(store, bob, task.id, body, new_id())
    task = next_assignment(store, bob, found.id)
    assert task is not None
    skip(store, bob, task.id, "too long", new_id())
    close_round(store, found.id, "system")
    made = freeze_round(store, found.id, tmp_path / "out", actor=ann)

    assert (made.kind, artifacts.verify(made.path)) == ("comparisons", [])
    rows = records(made)
    mine = [row for row in rows if row.rater == ann]
    assert len(mine) == 6 and len(rows) == 9
    for row in mine:
        name = row.prompt.id
        assert (row.a.text, row.b.text, row.choice) == (f"{name}.0", f"{name}.1", "b")
        assert (row.strength, row.guideline, row.weight) == (0.75, "v0", None)
    assert Counter(row.choice for row in rows if row.rater == bob)["both_bad"] == 1
    extra = made.manifest.extra
    assert extra["excluded"] == {"could not be compared": 2, "task skipped": 1}
    assert made.manifest.metrics["num_records"] == 9
    assert made.manifest.metrics["num_left_out"] == 2
    assert extra["raters"] == {ann: {"num_judgments": 6}, bob: {"num_judgments": 5}}
    assert extra["agreement"]["raw agreement"]["num_items"] == 3
    lines = [json.loads(x) for x in (made.path / "judgments.jsonl").read_bytes().splitlines()]
    assert len(lines) == 11
    assert Counter(line["left_out"] for line in lines)[""] == 9
    assert "clear" in {line["outcome"]["comment"] for line in lines}


def test_freezing_again_gives_the_same_hash_and_nothing_changes_after(
    store: Store, tmp_path: Path
) -> None:
    found = make_round(store, [item(f"q{i}") for i in range(4)], TWO_RATERS)
    ann = rater(store)
    judge(store, ann, found, prefers(0))
    late = rater(store)
    task = next_assignment(store, late, found.id)
    assert task is not None
    close_round(store, found.id, "system")
    submit(store, late, task.id, prefers(1)(task), new_id())  # in hand when the round closed
    first = freeze_round(store, found.id, tmp_path / "one")
    assert get_round(store, found.id).state == "frozen"
    with pytest.raises(StoreError, match="is frozen"):
        submit(store, late, task.id, prefers(0)(task), new_id())
    again = freeze_round(store, found.id, tmp_path / "two")
    assert first.hash == again.hash
    assert (first.path / "records.jsonl").read_bytes() == (
        again.path / "records.jsonl"
    ).read_bytes()
    assert freeze_round(store, found.id, tmp_path / "one").hash == first.hash
    other = freeze_round(store, found.id, tmp_path / "three", aggregate="majority")
    assert other.hash != first.hash
    with pytest.raises(ArtifactError, match="made from something else"):
        freeze_round(store, found.id, tmp_path / "one", aggregate="soft")
    with store.read() as conn:
        rows = list(conn.execute(schema.snapshots.select()))
    assert [(row.content_hash, row.path) for row in rows] == [
        (first.hash, str(tmp_path / "one")),
        (first.hash, str(tmp_path / "two")),
        (other.hash, str(tmp_path / "three")),
    ]
    snapshot = json.loads((first.path / "snapshot.json").read_text())
    assert len(snapshot["events"]) == 5
    assert (rows[0].first_event, rows[0].last_event) == (
        snapshot["events"][0],
        snapshot["events"][-1],
    )
    assert first.manifest.extra["snapshot"] == snapshot["sha256"]
    assert events.verify(store) == []


def test_checks_are_no_labels(store: Store, tmp_path: Path) -> None:
    items = [item(f"q{i}") for i in range(8)]
    items += [item(f"g{i}", role="gold", answer={"best": 0}) for i in range(4)]
    items += [item(f"n{i}", role="anchor") for i in range(4)]
    mixed = RoundSettings(
        calibration_share=0, gold_share=0.2, attention_share=0, anchor_share=0.2, batch_size=10
    )
    found = make_round(store, items, mixed)
    judge(store, rater(store), found, prefers(0))
    close_round(store, found.id, "system")
    made = freeze_round(store, found.id, tmp_path / "out")
    assert {row.prompt.id[0] for row in records(made)} == {"q"}
    excluded = made.manifest.extra["excluded"]
    assert excluded["gold item"] > 0 and excluded["anchor item"] > 0
    assert made.manifest.metrics["num_judgments"] == 8 + sum(excluded.values())


def test_rankings_keep_their_ties_and_can_be_put_together(store: Store, tmp_path: Path) -> None:
    ranking = TaskSchema(strength_steps=0)
    items = [item(f"q{i}", 3) for i in range(3)]
    found = make_round(store, items, TWO_RATERS, task="rank", schema=ranking)
    ann, bob = rater(store), rater(store)

    def ranks(*canonical: int) -> Any:
        return lambda task: {"ranks": [canonical[index] for index in task.permutation]}

    judge(store, ann, found, ranks(0, 1, 1))
    judge(store, bob, found, ranks(1, 0, 2))
    close_round(store, found.id, "system")
    rows = records(freeze_round(store, found.id, tmp_path / "each"))
    assert {(row.rater, row.ranks) for row in rows} == {(ann, (0, 1, 1)), (bob, (1, 0, 2))}
    assert len({row.id for row in rows}) == 6
    both = records(freeze_round(store, found.id, tmp_path / "both", aggregate="majority"))
    assert [(type(row), row.ranks) for row in both] == [(Ranking, (0, 0, 1))] * 3
    soft = records(freeze_round(store, found.id, tmp_path / "soft", aggregate="soft"))
    assert [row.soft_label for row in soft] == [0.5, 1.0, 0.75] * 3
    assert {row.id.split(":")[1] for row in soft} == {"0-1", "0-2", "1-2"}


def test_demonstrations(store: Store, tmp_path: Path) -> None:
    found = make_round(store, [item(f"q{i}", 0) for i in range(3)], task="demonstrate")
    ann = rater(store)
    judge(store, ann, found, lambda task: {"completion": f"About {task.prompt.id}."})
    close_round(store, found.id, "system")
    made = freeze_round(store, found.id, tmp_path / "out")
    assert made.kind == "demonstrations"
    assert {(type(row), row.completion) for row in records(made)} == {
        (Demonstration, f"About q{i}.") for i in range(3)
    }
    assert made.manifest.extra["num_drafts_used"] == 0
    assert made.manifest.extra["raters"] == {ann: {"num_judgments": 3}}


def test_an_adjudicators_word_stands_beside_the_others_or_decides(
    store: Store, tmp_path: Path
) -> None:
    found = make_round(store, [item("q")], TWO_RATERS)
    ann, bob, judge_of_both = rater(store), rater(store), rater(store, "adjudicator")
    judge(store, ann, found, prefers(0))
    judge(store, bob, found, prefers(0))
    with store.read() as conn:
        name = conn.execute(schema.items.select()).one().id
    flagged = adjudicate.flag(store, name, "look at this", ann)
    outcome = {"outcome": "best", "best": 1, "strength": 4}
    adjudicate.resolve(store, flagged.id, outcome, judge_of_both)
    close_round(store, found.id, "system")
    rows = records(freeze_round(store, found.id, tmp_path / "each"))
    assert [(row.rater, row.choice) for row in rows][2:] == [(judge_of_both, "b")]
    (row,) = records(freeze_round(store, found.id, tmp_path / "all", aggregate="majority"))
    assert (row.choice, row.strength, row.rater) == ("b", 1.0, "adjudicator")


def test_a_careless_rater_weighs_less_and_loses_no_verdict(
    sqlite_store: Store, tmp_path: Path
) -> None:
    store, num = sqlite_store, 60
    three = TWO_RATERS.model_copy(update={"overlap": 4})
    found = make_round(store, [item(f"q{i}") for i in range(num)], three)
    good = [rater(store) for _ in range(3)]
    careless = rater(store)

    def mostly_right(seed: int, share: float) -> Any:
        def say(task: Any) -> dict[str, Any]:
            right = float(uniform(seed, task.item_id)) < share
            return prefers(int(not right), 1)(task)

        return say

    for place, who in enumerate(good):
        assert judge(store, who, found, mostly_right(place, 0.92)) == num
    judge(store, careless, found, mostly_right(9, 0.5))
    close_round(store, found.id, "system")
    made = freeze_round(store, found.id, tmp_path / "out", weights="quality")
    weights = {row.rater: row.weight for row in records(made)}
    assert len(records(made)) == 4 * num
    assert weights[careless] < 0.5 < min(weights[who] for who in good)
    told = made.manifest.extra["raters"]
    assert told[careless]["weight"] == weights[careless]
    assert told[careless]["reliability_interval"][1] < told[good[0]]["reliability"]
    soft = records(
        freeze_round(store, found.id, tmp_path / "soft", weights="quality", aggregate="soft")
    )
    assert len(soft) == num
    assert all(isinstance(row, Comparison) and 0 < (row.soft_label or 0) < 1 for row in soft)
    right = sum(row.choice == "a" for row in soft)
    assert right >= 0.95 * num
    again = freeze_round(store, found.id, tmp_path / "again", weights="quality")
    assert again.hash == made.hash


def asking(*names: str) -> TaskSchema:
    return TaskSchema.model_validate(
        {"pair_labels": [{"name": name, "text": f"Which is more {name}?"} for name in names]}
    )


def test_the_answer_to_a_question_about_the_pair_can_be_the_label(
    store: Store, tmp_path: Path
) -> None:
    """Whatever side a response stood on, the answer is about the response."""
    items = [item(f"q{i}") for i in range(8)]
    found = make_round(store, items, TWO_RATERS, schema=asking("honest", "harmless"))
    ann = rater(store)

    def say(task: Any) -> dict[str, Any]:
        second = SLOTS[task.permutation.index(1)]
        sides = {"honest": second} | ({"harmless": "equal"} if task.prompt.id[-1] < "4" else {})
        return prefers(0)(task) | {"sides": sides}

    judge(store, ann, found, say)
    close_round(store, found.id, "system")
    verdicts = freeze_round(store, found.id, tmp_path / "verdicts")
    assert {row.choice for row in records(verdicts)} == {"a"}
    honest = freeze_round(store, found.id, tmp_path / "honest", attribute="honest")
    assert [row.choice for row in records(honest)] == ["b"] * 8
    assert honest.manifest.config["studio"]["attribute"] == "honest"
    harmless = freeze_round(store, found.id, tmp_path / "harmless", attribute="harmless")
    assert {row.choice for row in records(harmless)} == {"tie"}
    num = len(records(harmless))
    assert harmless.manifest.extra["excluded"]["not answered"] == 8 - num
    with pytest.raises(DataError, match=r"asks nothing called 'kind' .* it asks honest, harmless"):
        freeze_round(store, found.id, tmp_path / "kind", attribute="kind")
    lines = (verdicts.path / "judgments.jsonl").read_bytes().splitlines()
    assert all(json.loads(line)["outcome"]["attributes"]["honest"] == 1 for line in lines)


def test_the_data_card_says_what_the_labels_are(store: Store, tmp_path: Path) -> None:
    rules = TWO_RATERS.model_copy(update={"raters_note": "Two authors, unpaid."})
    found = make_round(store, [item(f"q{i}") for i in range(6)], rules)
    ann, bob = rater(store), rater(store)
    judge(store, ann, found, prefers(0))
    judge(store, bob, found, lambda task: {"outcome": "cannot_compare"})
    close_round(store, found.id, "system")
    made = freeze_round(store, found.id, tmp_path / "out", weights="quality")
    card = (made.path / "README.md").read_text("utf-8")
    assert card.startswith("---\ntags: [rlhf, human-feedback, compare]\n---\n")
    assert "6, of 12 judgments on 6 items" in card
    assert '"Which response is better?" (schema `hh`)' in card
    assert "a 6 (a and b: order of the item" in card
    assert "2 people; judgments each: 6 to 6, median 6" in card
    assert "Two authors, unpaid." in card
    assert "raw agreement: none: " in card  # one verdict an item: nothing to compare
    assert "- could not be compared: 6" in card
    assert ann not in card and bob not in card
    again = freeze_round(store, found.id, tmp_path / "again", weights="quality")
    assert (again.path / "README.md").read_text("utf-8") == card
