"""Freezing: what stays out and why, and whose word is a label."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from accord.errors import DataError
from accord.store import adjudicate, schema
from accord.store.assign import next_assignment
from accord.store.columns import new_id
from accord.store.database import Store, open_store
from accord.store.freeze import freeze_round
from accord.store.judgments import submit
from accord.store.records import Round
from accord.store.rounds import close_round, open_round, set_guideline, use_guideline
from accord.store.settings import RoundSettings
from accord.store.task import SLOTS, Presentation
from tests.store.fill import PLAIN, item, make_round, rater

BEST_B = {"outcome": "best", "best": 1, "strength": 4}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One store for the file; each test has a project of its own."""
    with open_store(tmp_path_factory.mktemp("freeze") / "studio.db") as opened:
        yield opened


def judge(store: Store, who: str, found: Round, say: Any, most: int = 99) -> int:
    count = 0
    while count < most and (task := next_assignment(store, who, found.id)) is not None:
        submit(store, who, task.id, say(task), new_id())
        count += 1
    return count


def first(task: Any) -> dict[str, Any]:
    return {"outcome": SLOTS[task.permutation.index(0)], "strength": 2}


def unsure(task: Any) -> dict[str, Any]:
    return {"outcome": "cannot_compare"}


def settle(store: Store, found: Round, role: str, outcome: dict[str, Any]) -> str:
    """An adjudicator's word on the first item of a role; who gave it."""
    judge_of_all = rater(store, "adjudicator")
    i = schema.items.c
    with store.read() as conn:
        query = sa.select(i.id).where(i.round_id == found.id, i.role == role)
        name = conn.execute(query).scalars().first()
    assert name is not None
    flagged = adjudicate.flag(store, name, "look", judge_of_all)
    adjudicate.resolve(store, flagged.id, outcome, judge_of_all)
    return judge_of_all


@pytest.mark.parametrize("aggregate", ["none", "majority", "soft"])
def test_an_adjudicators_word_counts_where_the_raters_had_none(
    studio: Store, tmp_path: Path, aggregate: Any
) -> None:
    found = make_round(studio, [item("q")])
    judge(studio, rater(studio), found, unsure)
    who = settle(studio, found, "normal", BEST_B)
    close_round(studio, found.id, "system")
    made = freeze_round(studio, found.id, tmp_path / "out", aggregate=aggregate)
    (row,) = list(made.records())
    assert (row.choice, row.strength, row.rater) == ("b", 1.0, who)
    assert made.manifest.extra["excluded"] == {"could not be compared": 1}
    assert made.manifest.extra["num_adjudicated"] == 1


@pytest.mark.parametrize("aggregate", ["none", "majority", "soft"])
def test_a_check_is_no_label_even_when_an_adjudicator_spoke(
    studio: Store, tmp_path: Path, aggregate: Any
) -> None:
    mixed = RoundSettings(
        calibration_share=0, gold_share=0.5, attention_share=0, anchor_share=0, batch_size=10
    )
    items = [item(f"q{n}") for n in range(4)]
    items += [item("g", role="gold", answer={"best": 0})]
    found = make_round(studio, items, mixed)
    judge(studio, rater(studio), found, first)
    settle(studio, found, "gold", BEST_B)
    close_round(studio, found.id, "system")
    made = freeze_round(studio, found.id, tmp_path / "out", aggregate=aggregate)
    assert {row.prompt.id for row in made.records()} == {"q0", "q1", "q2", "q3"}
    assert made.manifest.extra["excluded"]["gold item"] == 1


def test_what_was_begun_and_not_handed_in_is_counted(studio: Store, tmp_path: Path) -> None:
    found = make_round(studio, [item(f"q{n}") for n in range(3)])
    ann = rater(studio)
    judge(studio, ann, found, first, most=1)
    assert next_assignment(studio, ann, found.id) is not None
    close_round(studio, found.id, "system")
    made = freeze_round(studio, found.id, tmp_path / "out")
    assert made.manifest.extra["excluded"] == {"task not handed in": 1}
    assert made.manifest.metrics["num_judgments"] == made.manifest.metrics["num_records"] == 1


def test_a_round_nobody_worked_in_says_what_to_do(studio: Store, tmp_path: Path) -> None:
    found = make_round(studio, [item("q")])
    close_round(studio, found.id, "system")
    with pytest.raises(DataError, match="could be a label; let people work in it first"):
        freeze_round(studio, found.id, tmp_path / "out")


def test_a_changed_judgment_counts_once_as_it_stands(studio: Store, tmp_path: Path) -> None:
    found = make_round(studio, [item("q")])
    ann = rater(studio)
    task = next_assignment(studio, ann, found.id)
    assert task is not None
    shown = Presentation(shown_at=5.5, first_key_at=9.0)
    submit(studio, ann, task.id, first(task), new_id(), shown)
    submit(studio, ann, task.id, {"outcome": "tie"}, new_id())
    close_round(studio, found.id, "system")
    made = freeze_round(studio, found.id, tmp_path / "out")
    assert [row.choice for row in made.records()] == ["tie"]
    assert made.manifest.extra["num_changed"] == 1
    (line,) = (made.path / "judgments.jsonl").read_bytes().splitlines()
    kept = json.loads(line)
    assert (kept["revision"], kept["rater"], kept["models"]) == (1, ann, ["policy-0", "policy-1"])
    assert (kept["shown_at"], kept["both_complete_at"], kept["first_key_at"]) == (5.5, None, 9.0)
    assert kept["event"] == made.manifest.extra["last_event"]


def test_weights_without_verdicts_on_pairs_change_nothing(studio: Store, tmp_path: Path) -> None:
    found = make_round(studio, [item("q", 0)], task="demonstrate")
    say = {"completion": "An answer.", "draft_used": False}
    judge(studio, rater(studio), found, lambda task: say)
    close_round(studio, found.id, "system")
    made = freeze_round(studio, found.id, tmp_path / "out", weights="quality", aggregate="soft")
    assert [row.completion for row in made.records()] == ["An answer."]
    assert "agreement" not in made.manifest.extra


def test_quality_looks_at_known_answers_and_leaves_them_out(studio: Store, tmp_path: Path) -> None:
    mixed = PLAIN.model_copy(update={"gold_share": 0.4, "overlap": 2, "batch_size": 10})
    items = [item(f"q{n}") for n in range(6)]
    items += [item("g0", role="gold", answer={"best": 0})]
    items += [item("g1", role="gold", answer={"outcome": "tie"})]
    found = make_round(studio, items, mixed)
    both = {rater(studio), rater(studio)}
    for who in both:
        judge(studio, who, found, first)
    close_round(studio, found.id, "system")
    made = freeze_round(studio, found.id, tmp_path / "out", weights="quality")
    told = made.manifest.extra["raters"]
    assert set(told) == both
    assert all(0 < row["weight"] <= 1 and isinstance(row["flags"], list) for row in told.values())
    rows: list[Any] = list(made.records())
    assert {row.rater: row.weight for row in rows} == {w: told[w]["weight"] for w in both}
    assert {row.prompt.id[0] for row in rows} == {"q"}


def test_the_guideline_that_was_followed_is_named(studio: Store, tmp_path: Path) -> None:
    found = make_round(studio, [item("q")], opened=False)
    assert set_guideline(studio, found.project_id, "Be kind.", "system") == 1
    use_guideline(studio, found.id, 1, "system")
    found = open_round(studio, found.id, "system")
    judge(studio, rater(studio), found, first)
    close_round(studio, found.id, "system")
    made = freeze_round(studio, found.id, tmp_path / "out")
    guide = made.manifest.extra["guideline"]
    assert (guide["version"], guide["seen"], len(guide["sha256"])) == (1, [1], 64)
    assert [row.guideline for row in made.records()] == ["v1"]
