"""Studio: what a model must say before people judge: the reward model's scores of their items."""

from __future__ import annotations

from collections.abc import Sequence

from accord.artifacts import Artifact
from accord.config import Recipe
from accord.engine import host, per_token
from accord.models.batch import collate
from accord.models.load import load_policy, load_reward_model
from accord.models.network import read_scores
from accord.types import Sample

TOKENS_AT_ONCE = 4096


def score(
    recipe: Recipe, policy: Artifact, reward: Artifact, samples: Sequence[Sample]
) -> list[tuple[float, ...]]:
    """The reward model's score of every completion of every sample.

    Args:
        recipe: sections ``model`` and ``data`` are used.
        policy: any policy of the reward model's family, for its tokenizer.
        reward: a reward model.
        samples: prompts with completions.
    """
    host.prepare(recipe.model.num_threads)
    start = load_policy(policy.path, recipe.model)
    model, encoder = load_reward_model(reward.path, recipe.model), start.encoder(recipe)
    scores = []
    for sample in samples:
        tokens = encoder.prompt(sample.prompt)
        batch = collate([encoder.row(tokens, c) for c in sample.completions], start.pad_id)
        heads_BT = per_token(model.network, batch, TOKENS_AT_ONCE)
        scores.append(tuple(read_scores(heads_BT, batch).tolist()))
    return scores
