"""Reward model: better than chance, normalised on SFT samples, the judge's prompts its own."""

from __future__ import annotations

import pytest
import torch

from accord.config import Recipe
from accord.engine import per_token
from accord.errors import DataError
from accord.models.batch import collate
from accord.models.load import load_policy, load_reward_model
from accord.models.pairs import prompt_pairs
from accord.stages.reward import split
from accord.types import Comparison, Sample


def scores(loop) -> torch.Tensor:
    """Scores of all SFT samples by the saved reward model."""
    policy = load_policy(loop["sft"].path, loop.recipe.model)
    network = load_reward_model(loop["reward"].path, loop.recipe.model).network
    encoder = policy.encoder(loop.recipe)
    rows = [
        encoder.row(encoder.prompt(s.prompt), c)
        for s in loop["samples"].records()
        if isinstance(s, Sample)
        for c in s.completions
    ]
    batch = collate(rows, policy.pad_id)
    return per_token(network, batch, 8192).gather(1, batch.lengths_B[:, None] - 1)[:, 0]


def test_it_learns_more_than_chance_and_more_than_length(loop) -> None:
    metrics = loop["reward"].manifest.metrics
    assert metrics["heldout/accuracy_low"] > 0.5
    assert metrics["heldout/accuracy"] > metrics["heldout/length_accuracy"]
    assert metrics["heldout/num_pairs"] > 20
    assert 0 <= metrics["heldout/ece"] < 0.5


def test_scores_of_sft_samples_have_mean_0_and_std_1(loop, recipe_with, tmp_path) -> None:
    """Trick 2 of papers.md, exactly so when all samples are counted."""
    from accord.stages import reward

    recipe = recipe_with("reward.max_steps=2", "reward.normalize_samples=100000")
    made = reward(recipe, loop["sft"], loop["comparisons"], tmp_path / "r", loop["samples"])
    every = scores(type(loop)(loop.folder, loop.recipe, {**loop.made, "reward": made}))
    assert float(every.mean()) == pytest.approx(0, abs=1e-4)
    assert float(every.std(correction=0)) == pytest.approx(1, abs=1e-4)
    some = scores(loop)  # 256 of them were counted
    assert abs(float(some.mean())) < 0.25
    assert abs(float(some.std()) - 1) < 0.2


def test_no_normalisation_when_no_samples_are_asked_for(loop, recipe_with, tmp_path) -> None:
    from accord.stages import reward

    recipe = recipe_with("reward.max_steps=1", "reward.normalize_samples=0")
    made = reward(recipe, loop["sft"], loop["comparisons"], tmp_path / "r")
    network = load_reward_model(made.path, recipe.model).network
    assert network.normalization == (0.0, 1.0)


def test_the_judge_learns_from_prompts_of_its_own(loop) -> None:
    policy = load_policy(loop["sft"].path, loop.recipe.model)
    verdicts = [c for c in loop["comparisons"].records() if isinstance(c, Comparison)]
    items = prompt_pairs(verdicts, policy.encoder(loop.recipe), 0.5)
    parts = [
        {item.prompt_id for item in group}
        for part in ("train", "judge")
        for group in split(items, loop.recipe, part)
    ]
    assert sum(map(len, parts)) == len(items)
    assert set().union(*parts) == {item.prompt_id for item in items}
    assert all(parts)
    assert loop["judge"].hash != loop["reward"].hash


def test_too_few_prompts_are_told(loop, recipe_with) -> None:
    policy = load_policy(loop["sft"].path, loop.recipe.model)
    verdicts = [c for c in loop["comparisons"].records() if isinstance(c, Comparison)]
    items = prompt_pairs(verdicts, policy.encoder(loop.recipe), 0.5)
    with pytest.raises(DataError, match="too few to train on some"):
        split(items[:1], Recipe(), "train")


def test_ties_alone_in_the_held_out_part(loop, recipe_with, tmp_path) -> None:
    """Accuracy has no meaning there, and the stage must not fall over it."""
    from dataclasses import replace

    from accord import artifacts
    from accord.stages import reward

    records = [replace(c, choice="tie") for c in loop["comparisons"].records()]
    with artifacts.write(tmp_path / "ties", "comparisons") as folder:
        artifacts.write_records(folder, records)
    recipe = recipe_with("reward.max_steps=1")
    made = reward(recipe, loop["sft"], artifacts.read(tmp_path / "ties"), tmp_path / "r")
    assert made.manifest.metrics["heldout/num_pairs"] == 0


def test_a_probed_head_starts_where_a_random_one_has_yet_to_go(loop, recipe_with, tmp_path) -> None:
    """After one step at a rate of nearly 0 all that was learned is the probe's."""
    from accord.stages import reward

    accuracy = {}
    for probe in (True, False):
        recipe = recipe_with(
            f"reward.probe={str(probe).lower()}", "reward.max_steps=1", "reward.learning_rate=1e-9"
        )
        made = reward(recipe, loop["sft"], loop["comparisons"], tmp_path / str(probe))
        accuracy[probe] = made.manifest.metrics["heldout/accuracy"]
    assert accuracy[True] > max(accuracy[False], 0.6)
