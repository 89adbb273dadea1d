"""Samples: who says what, and exactly which of n a reward model keeps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from accord import artifacts
from accord.engine import LocalSampler, SampledTokens, SamplingParams
from accord.models.load import Policy, load_policy
from accord.stages import sample
from accord.types import Prompt, Sample


def records(artifact: artifacts.Artifact) -> list[Sample]:
    return [s for s in artifact.records() if isinstance(s, Sample)]


def drawn(small, num_candidates: int) -> tuple[Policy, list[list[int]], list[list[SampledTokens]]]:
    """What the policy says to every prompt under the recipe's settings."""
    policy = load_policy(small.policy.path, small.recipe.model)
    encoder = policy.encoder(small.recipe)
    prompts = [encoder.prompt(p) for p in small.prompts.records() if isinstance(p, Prompt)]
    params = SamplingParams(
        max_tokens=24,
        num_candidates=num_candidates,
        seed=small.recipe.seed,
        key=("sample", small.policy.hash, 0),
    )
    return policy, prompts, LocalSampler(policy).sample(prompts, params)


def test_best_of_n_keeps_the_highest_score_of_each_n(small, recipe_with, tmp_path: Path) -> None:
    """The same draws as without it, scored here by transformers alone, row by row."""
    recipe = recipe_with("sample.best_of=3", "sample.num_candidates=2", "sample.max_tokens=24")
    made = sample(recipe, [small.policy], small.prompts, tmp_path / "s", small.reward)
    model = AutoModelForSequenceClassification.from_pretrained(small.reward.path).eval()
    policy, prompts, candidates = drawn(small, num_candidates=6)

    @torch.no_grad()
    def score(prompt: list[int], completion: SampledTokens) -> float:
        ids = torch.tensor([[*prompt, *completion.tokens]])
        hidden = model.base_model(input_ids=ids).last_hidden_state[0, -1]
        return float(model.score(hidden)[0])

    changed = 0
    for record, prompt, group in zip(records(made), prompts, candidates, strict=True):
        for k, kept in enumerate(record.completions):
            rivals = group[k::2]
            best = max(rivals, key=lambda c: score(prompt, c))
            assert (kept.text, kept.finished) == (policy.text(best.tokens), best.finished)
            changed += best.tokens != rivals[0].tokens
    assert changed > len(prompts) / 2  # the first of three is the best of them one time in three
    assert made.manifest.parents["reward_model"].hash == small.reward.hash


@pytest.mark.parametrize("setting", ["sample.top_k=1", "sample.top_p=0.000001"])
def test_only_the_likeliest_token_is_the_greedy_answer(
    small, recipe_with, tmp_path: Path, setting: str
) -> None:
    recipe = recipe_with(setting, "sample.num_candidates=2", "sample.max_tokens=24")
    made = records(sample(recipe, [small.policy], small.prompts, tmp_path / "s"))
    policy = load_policy(small.policy.path, recipe.model)
    encoder = policy.encoder(recipe)
    for record in made[:4]:
        one, two = record.completions
        assert one == two
        tokens: list[int] = []
        prompt = encoder.prompt(record.prompt)
        while len(tokens) < 24 and (not tokens or tokens[-1] != policy.eos_id):
            with torch.no_grad():
                logits = policy.network.model(input_ids=torch.tensor([prompt + tokens])).logits
            tokens.append(int(logits[0, -1].argmax()))
        assert (one.text, one.finished) == (policy.text(tokens), tokens[-1] == policy.eos_id)


@pytest.mark.parametrize(("candidates", "shares"), [(2, (1, 1)), (5, (3, 2))])
def test_policies_share_the_candidates_in_their_order(
    small, recipe_with, tmp_path: Path, candidates: int, shares: tuple[int, int]
) -> None:
    settings = ("sample.max_tokens=24", f"sample.num_candidates={candidates}")
    recipe = recipe_with(*settings)
    both = sample(recipe, [small.policy, small.other], small.prompts, tmp_path / "both")
    expected = [small.policy.hash] * shares[0] + [small.other.hash] * shares[1]
    for record in records(both):
        assert [c.model for c in record.completions] == expected
    assert set(both.manifest.parents) == {"prompts", "policy_0", "policy_1"}
    alone = sample(recipe, [small.policy], small.prompts, tmp_path / "alone")
    for ours, theirs in zip(records(both), records(alone), strict=True):
        # A policy's draws do not depend on who else speaks.
        assert ours.completions[: shares[0]] == theirs.completions[: shares[0]]
    assert not list(tmp_path.glob("*.partial"))


def test_another_temperature_is_another_artifact(small, recipe_with, tmp_path: Path) -> None:
    recipe = recipe_with("sample.max_tokens=8", "sample.num_candidates=2")
    sample(recipe, [small.policy], small.prompts, tmp_path / "s")
    hotter = recipe_with("sample.max_tokens=8", "sample.num_candidates=2", "sample.temperature=2")
    with pytest.raises(artifacts.ArtifactError, match=r"sample\.temperature: 1\.0 -> 2\.0"):
        sample(hotter, [small.policy], small.prompts, tmp_path / "s")
