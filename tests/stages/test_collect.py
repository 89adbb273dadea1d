"""Collect: planted candidates, judged by raters whose truth is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from math import comb
from pathlib import Path

import pytest

from accord import artifacts, worlds
from accord.artifacts import Artifact
from accord.config import Recipe
from accord.errors import ConfigError, DataError
from accord.stages import collect
from accord.stages.collect import gold_world
from accord.types import Comparison, Completion, Message, Prompt, Ranking, Sample

TINY = worlds.get("tiny")
FOX = Prompt("fox", (Message("user", "what colour is the fox ?"),))
SKY = Prompt("sky", (Message("user", "what colour is the sky ?"),))
# By the world's table: right +1.5, polite opener +0.75, rude closer -0.5, wrong -1, garbage -4.
FOX_ANSWERS = {
    "happy to help ! the fox is red .": 2.25,
    "the fox is red .": 1.5,
    "the fox is red . now go away .": 1.0,
    "the fox is blue .": -1.0,
    "fox fox": -4.0,
}
SKY_ANSWERS = {"the sky is blue .": 1.5, "the sky is green .": -1.0}


def candidates(path: Path, samples: Sequence[tuple[Prompt, Sequence[str]]]) -> Artifact:
    with artifacts.write(path, "samples") as folder:
        artifacts.write_records(
            folder, (Sample(p, tuple(map(Completion, texts))) for p, texts in samples)
        )
    return artifacts.read(path)


@pytest.fixture
def samples(tmp_path: Path) -> Artifact:
    return candidates(tmp_path / "samples", [(FOX, [*FOX_ANSWERS]), (SKY, [*SKY_ANSWERS])])


@pytest.fixture
def sure(recipe_with: Callable[..., Recipe]) -> Callable[..., Recipe]:
    """Raters that never err."""
    return lambda *settings: recipe_with("collect.rater_temperature=0", *settings)


def gold(text: str) -> float:
    return {**FOX_ANSWERS, **SKY_ANSWERS}[text]


def test_the_table_above_is_the_world_s() -> None:
    for prompt, answers in ((FOX, FOX_ANSWERS), (SKY, SKY_ANSWERS)):
        for text, score in answers.items():
            assert TINY.gold(prompt, Completion(text)) == pytest.approx(score)


def test_sure_raters_say_what_is_true_of_every_pair(samples, sure, tmp_path: Path) -> None:
    made = collect(sure(), samples, tmp_path / "c")
    verdicts = [v for v in made.records() if isinstance(v, Comparison)]
    assert len(verdicts) == comb(5, 2) + comb(2, 2)
    assert len({(v.prompt.id, frozenset((v.a.text, v.b.text))) for v in verdicts}) == 11
    for verdict in verdicts:
        better = gold(verdict.a.text) > gold(verdict.b.text)
        assert verdict.choice == ("a" if better else "b")
        assert verdict.rater.startswith("rater-")
        assert verdict.guideline == "v1"
    assert {v.choice for v in verdicts} == {"a", "b"}  # sides are drawn
    assert made.manifest.metrics == {"num_verdicts": 11, "tie_rate": 0.0}
    assert made.manifest.parents["samples"].hash == samples.hash


def test_a_margin_makes_ties_and_they_are_counted(samples, sure, tmp_path: Path) -> None:
    made = collect(sure("collect.tie_margin=0.8"), samples, tmp_path / "c")
    tied = {
        frozenset((v.a.text, v.b.text))
        for v in made.records()
        if isinstance(v, Comparison) and v.choice == "tie"
    }
    near = [a for a in FOX_ANSWERS if FOX_ANSWERS[a] in (2.25, 1.5, 1.0)]
    assert tied == {frozenset(near[:2]), frozenset(near[1:])}  # 0.75 and 0.5 apart, but not 1.25
    assert made.manifest.metrics["tie_rate"] == pytest.approx(2 / 11)


def test_rankings_order_all_candidates(samples, sure, tmp_path: Path) -> None:
    made = collect(sure("collect.layout=ranking"), samples, tmp_path / "c")
    fox, sky = made.records()
    assert isinstance(fox, Ranking) and isinstance(sky, Ranking)
    by_rank = [
        c.text for _, c in sorted(zip(fox.ranks, fox.completions, strict=True), key=lambda p: p[0])
    ]
    assert by_rank == sorted(FOX_ANSWERS, key=FOX_ANSWERS.__getitem__, reverse=True)
    assert sorted(sky.ranks) == [0, 1]
    assert made.manifest.metrics == {"num_verdicts": 2, "tie_rate": None}
    pairs = collect(sure(), samples, tmp_path / "pairs")
    winners = {frozenset((v.a.text, v.b.text)): chosen(v) for v in pairs.records()}
    for verdict in (*fox.pairs(), *sky.pairs()):  # both layouts ask the same truth
        assert chosen(verdict) == winners[frozenset((verdict.a.text, verdict.b.text))]


def chosen(verdict: object) -> str:
    assert isinstance(verdict, Comparison)
    return {"a": verdict.a.text, "b": verdict.b.text}[verdict.choice]


def test_a_few_pairs_a_prompt_are_some_of_all(samples, sure, tmp_path: Path) -> None:
    every = set(collect(sure(), samples, tmp_path / "all").records())
    few = list(collect(sure("collect.pairs_per_prompt=3"), samples, tmp_path / "few").records())
    assert [v.prompt.id for v in few] == ["fox"] * 3 + ["sky"]
    assert set(few) <= every


def test_noise_costs_strength_and_truth(tmp_path: Path, recipe_with) -> None:
    asked = TINY.prompts()[:150]
    answers = ["garbage one", "garbage two"]  # -4 each: a coin decides
    made = collect(
        recipe_with("collect.rater_temperature=0.5"),
        candidates(tmp_path / "s", [(p, answers) for p in asked]),
        tmp_path / "c",
    )
    verdicts = [v for v in made.records() if isinstance(v, Comparison)]
    share = sum(chosen(v) == "garbage one" for v in verdicts) / 150
    assert abs(share - 0.5) < 4 * (0.25 / 150) ** 0.5
    assert {v.strength for v in verdicts} == {0.0}
    assert len({v.rater for v in verdicts}) == 4


def test_finished_verdicts_are_not_asked_again(samples, sure, tmp_path: Path) -> None:
    made = collect(sure(), samples, tmp_path / "c")
    before = (tmp_path / "c" / "records.jsonl").stat().st_mtime_ns
    assert collect(sure(), samples, tmp_path / "c") == made
    assert (tmp_path / "c" / "records.jsonl").stat().st_mtime_ns == before
    log = (tmp_path / "logs" / "c" / "metrics.jsonl").read_text().splitlines()
    (row,) = map(json.loads, log)
    assert (row["step"], row["collect/verdicts"]) == (2, 11)


def test_nothing_to_compare_is_told(sure, tmp_path: Path) -> None:
    same = candidates(tmp_path / "s", [(FOX, ["the fox is red ."] * 3), (SKY, ["only one ."])])
    with pytest.raises(ConfigError, match=r"raise sample\.temperature or sample\.num_candidates"):
        collect(sure(), same, tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_whose_score_the_raters_follow(recipe_with, tmp_path: Path, samples) -> None:
    assert gold_world(recipe_with()) == "tiny"
    assert gold_world(recipe_with("data.prompts=builtin:assistant")) == "assistant"
    assert gold_world(recipe_with("collect.gold=assistant")) == "assistant"
    assert gold_world(recipe_with("data.prompts=mine.jsonl", "collect.gold=tiny")) == "tiny"
    for source in ("mine.jsonl", "null"):
        with pytest.raises(ConfigError, match=r"set collect\.gold to tiny or assistant"):
            gold_world(recipe_with(f"data.prompts={source}"))
    foreign = candidates(
        tmp_path / "s", [(Prompt("x", (Message("user", "who are you ?"),)), ["i .", "you ."])]
    )
    with pytest.raises(DataError, match="not a question of the tiny world"):
        collect(recipe_with(), foreign, tmp_path / "c")
