"""A whole small run on the tiny model, made once: what the stages' tests look at and start from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from accord.artifacts import Artifact
from accord.config import Recipe, load

SETTINGS = (
    "model.device=cpu",
    "model.num_threads=1",
    "sft.max_steps=8",
    "sft.eval_every=4",
    "sample.num_candidates=4",
    "reward.max_steps=24",
    "reward.eval_every=6",
    "ppo.num_steps=3",
    "ppo.batch_size=16",
    "ppo.num_epochs=2",
    "ppo.samples_every=2",
    "dpo.max_steps=4",
    "evaluate.num_samples=2",
)


@pytest.fixture(scope="session")
def recipe_with() -> Callable[..., Recipe]:
    """``recipe_with("ppo.num_steps=1")``: the small tiny recipe with other settings."""
    return lambda *settings: load(None, [*SETTINGS, *settings], "tiny")


@dataclass(frozen=True)
class Loop:
    """The artifacts of one run, up to the reward models."""

    folder: Path
    recipe: Recipe
    made: dict[str, Artifact]

    def __getitem__(self, name: str) -> Artifact:
        return self.made[name]


@pytest.fixture(scope="session")
def loop(tmp_path_factory: pytest.TempPathFactory, recipe_with: Callable[..., Recipe]) -> Any:
    """Inputs, SFT, samples, comparisons, reward model and judge, made once a session."""
    from accord import stages

    folder = tmp_path_factory.mktemp("loop")
    recipe = recipe_with(f"out={folder}")
    given = stages.inputs(recipe, folder)
    sft = stages.sft(recipe, "tiny", given.demonstrations, folder / "sft")
    samples = stages.sample(recipe, [sft], given.prompts, folder / "samples")
    comparisons = stages.collect(recipe, samples, folder / "comparisons")
    judge = stages.reward(recipe, sft, comparisons, folder / "judge", samples, part="judge")
    reward = stages.reward(recipe, sft, comparisons, folder / "reward", samples)
    made = {
        "demonstrations": given.demonstrations,
        "prompts": given.prompts,
        "heldout_prompts": given.heldout_prompts,
        "sft": sft,
        "samples": samples,
        "comparisons": comparisons,
        "judge": judge,
        "reward": reward,
    }
    return Loop(folder, recipe, made)


@dataclass(frozen=True)
class Small:
    """Models that nothing trained: the raw tiny model, a shaken one and a random reward model."""

    policy: Artifact
    other: Artifact
    reward: Artifact
    prompts: Artifact
    recipe: Recipe


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory, recipe_with: Callable[..., Recipe]) -> Small:
    """Artifacts to start stages from where no training is needed; 12 prompts."""
    import torch

    from accord import artifacts, worlds
    from accord.models.load import (
        load_policy,
        new_reward_model,
        save_policy,
        save_reward_model,
    )

    folder, recipe = tmp_path_factory.mktemp("small"), recipe_with("sample.max_tokens=24")
    policy = load_policy("tiny", recipe.model)
    with artifacts.write(folder / "policy", "policy") as place:
        save_policy(policy, place)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in policy.network.model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter += 0.45 * noise * parameter.std()
    with artifacts.write(folder / "other", "policy") as place:
        save_policy(policy, place)
    reward_model = new_reward_model(folder / "policy", recipe.model, seed=1)
    reward_model.network.set_normalization(0.25, 0.5)
    with artifacts.write(folder / "reward", "reward_model") as place:
        save_reward_model(reward_model, policy.tokenizer, place)
    with artifacts.write(folder / "prompts", "prompts") as place:
        artifacts.write_records(place, worlds.get("tiny").prompts()[::48])
    made = [artifacts.read(folder / name) for name in ("policy", "other", "reward", "prompts")]
    return Small(*made, recipe)


@pytest.fixture(autouse=True)
def no_trackers(monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON lines alone: TensorBoard's files are tested with the tracker."""
    monkeypatch.setenv("ACCORD_TRACKERS", "")
