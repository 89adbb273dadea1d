"""Reward model: a scalar head learns which completion raters prefer.

Bradley-Terry on all pairs of a prompt in one batch element (Ouyang et al. 2022, section 3.5),
starting from the SFT policy (Stiennon et al. 2020, B.1).
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from accord import artifacts
from accord.algorithms import bradley_terry_loss, bradley_terry_probe
from accord.artifacts import Artifact
from accord.config import Recipe
from accord.engine import (
    AdamSettings,
    LocalLearner,
    Metrics,
    Outputs,
    checkpoint,
    host,
    per_token,
)
from accord.engine.early_stop import EarlyStop
from accord.engine.schedule import cycle, learning_rate, shuffled
from accord.errors import DataError
from accord.feedback.intervals import ece, wilson
from accord.models.batch import TokenBatch, collate
from accord.models.load import (
    Policy,
    RewardModel,
    load_policy,
    new_reward_model,
    save_reward_model,
)
from accord.models.network import read_last, read_scores, share_trunk
from accord.models.pairs import PairIndex, PromptPairs, collate_pairs, prompt_pairs
from accord.models.trunk_cache import TrunkCache
from accord.tracking import Tracker
from accord.types import Comparison, Ranking, Sample

PROBE_LOG_EVERY = 32  # prompts


def reward(
    recipe: Recipe,
    policy: Artifact,
    comparisons: Artifact,
    out: Path,
    samples: Artifact | None = None,
    part: Literal["train", "judge"] = "train",
) -> Artifact:
    """Train a reward model on comparisons.

    Args:
        recipe: section ``reward`` is used, and ``collect.judge_fraction``.
        policy: the SFT policy it starts from.
        comparisons: artifact of kind "comparisons".
        out: folder of the new artifact.
        samples: SFT samples whose scores become mean 0, standard deviation 1; without them the
            compared completions serve.
        part: "train" learns from all prompts but the judge's; "judge" trains the held-out judge
            on the prompts kept for it (Bai et al. 2022, section 4.2).

    Returns:
        An artifact of kind "reward_model" with held-out accuracy and calibration in its metrics.
    """
    config = {
        "model": recipe.model.identity(),
        "reward": recipe.reward.identity(),
        "judge_fraction": recipe.collect.judge_fraction,
        "part": part,
    }
    parents = {"policy": policy, "comparisons": comparisons}
    if samples is not None:
        parents["samples"] = samples
    made = artifacts.current(out, "reward_model", parents=parents, config=config, seed=recipe.seed)
    if made is not None:
        return made
    work = artifacts.workspace(
        out, artifacts.fingerprint("reward_model", parents, config, recipe.seed)
    )
    host.prepare(recipe.model.num_threads)
    start = load_policy(policy.path, recipe.model)
    model = new_reward_model(policy.path, recipe.model, recipe.seed + (part == "judge"))
    share_trunk(start.network, model.network)
    verdicts = [r for r in comparisons.records() if isinstance(r, Comparison | Ranking)]
    items = prompt_pairs(
        verdicts, start.encoder(recipe), recipe.reward.tie_weight, recipe.reward.use_strength
    )
    train, heldout = split(items, recipe, part)
    metrics: dict[str, Any] = _train(recipe, model, train, heldout, start.pad_id, work, out)
    metrics |= _normalize(recipe, model, start, samples, train)
    with artifacts.write(
        out, "reward_model", parents=parents, config=config, seed=recipe.seed, metrics=metrics
    ) as folder:
        save_reward_model(model, start.tokenizer, folder)
    artifacts.finish(work)
    return artifacts.read(out)


def _train(
    recipe: Recipe,
    model: RewardModel,
    train: list[PromptPairs],
    heldout: list[PromptPairs],
    pad_id: int,
    work: Path,
    out: Path,
) -> Metrics:
    config = recipe.reward
    per_epoch = math.ceil(len(train) / config.batch_size)
    num_steps = int(min(config.max_steps or math.inf, per_epoch * config.num_epochs))
    learner = LocalLearner(
        model.network,
        AdamSettings.of(config),
        micro_batch_tokens=config.micro_batch_tokens,
        dump_folder=work,
    )
    with_trunk = TrunkCache(model.network)
    early_stop, start, metrics = EarlyStop(config.early_stop_patience), 0, {}
    if (saved := checkpoint.latest(work)) is not None:
        start, tensors, state = saved
        learner.load_state(checkpoint.under("reward", tensors))
        early_stop.load(state["early_stop"], checkpoint.under("best", tensors))
        metrics = state["metrics"]
    elif config.probe:
        _probe(model, train, with_trunk, pad_id, out.parent / "logs" / f"{out.name}-probe")
    with Tracker(out.parent / "logs" / out.name, "reward", num_steps) as tracker:
        tracker.truncate(start)
        for step in range(start, num_steps):
            if early_stop.stopped:
                break
            chosen = cycle(
                len(train), step * config.batch_size, config.batch_size, recipe.seed, "reward"
            )
            batch, pairs = collate_pairs([train[i] for i in chosen], pad_id)
            loss = partial(_loss, pairs=pairs, recipe_reward=config)
            rate = learning_rate(config, step, num_steps)
            logged = learner.step(with_trunk(batch), loss, rate)
            if (step + 1) % config.eval_every == 0 or step + 1 == num_steps:
                metrics = evaluate_pairs(learner, with_trunk, heldout, train, pad_id)
                early_stop.update(step + 1, -metrics["heldout/loss"], learner)
                logged |= metrics
            tracker.log(step + 1, {**logged, "optimizer/learning_rate": rate})
            if (step + 1) % config.checkpoint_every == 0:
                tensors = checkpoint.prefixed("reward", learner.state())
                tensors |= checkpoint.prefixed("best", early_stop.tensors())
                state = {"early_stop": early_stop.state(), "metrics": metrics}
                checkpoint.save(work, step + 1, tensors, state)
    early_stop.restore(learner)
    return {
        **evaluate_pairs(learner, with_trunk, heldout, train, pad_id),
        "best_step": early_stop.best_step,
    }


@torch.no_grad()
def _probe(
    model: RewardModel, train: list[PromptPairs], with_trunk: TrunkCache, pad_id: int, logs: Path
) -> None:
    """Fit the head on what the model, as it is, says of the training completions."""
    features = []
    with Tracker(logs, "probe", len(train), trackers=()) as tracker:
        tracker.truncate(0)
        for i, item in enumerate(train):
            batch = with_trunk(collate_pairs([item], pad_id)[0])
            features.append(read_last(model.network.hidden(batch), batch).float())
            if (i + 1) % PROBE_LOG_EVERY == 0 or i + 1 == len(train):
                tracker.log(i + 1, {"probe/completions": float(sum(map(len, features)))})
    _, pairs = collate_pairs(train, pad_id)
    weight_D = bradley_terry_probe(
        torch.cat(features),
        pairs.first_N,
        pairs.second_N,
        target_N=pairs.target_N,
        weight_N=pairs.verdict_weight_N,
    )
    model.network.model.score.weight.copy_(weight_D[None])


def _loss(
    outputs: Outputs, batch: TokenBatch, *, pairs: PairIndex, recipe_reward: Any
) -> tuple[Tensor, dict[str, Tensor]]:
    scores_B = read_scores(outputs.per_token_BT, batch)
    here = pairs.within(batch.row_B)
    return bradley_terry_loss(
        scores_B[here.first_N],
        scores_B[here.second_N],
        target_N=here.target_N,
        weight_N=here.weight_N,
        margin_N=here.margin_N if recipe_reward.use_margin else None,
        label_smoothing=recipe_reward.label_smoothing,
        center_coef=recipe_reward.center_coef,
        denominator=float(pairs.weight_N.sum()),
    )


def evaluate_pairs(
    learner: LocalLearner,
    with_trunk: TrunkCache,
    heldout: list[PromptPairs],
    train: list[PromptPairs],
    pad_id: int,
) -> Metrics:
    """Held-out accuracy with Wilson interval, beside the length-only baseline, and calibration.

    The baseline scores by length alone, in the direction that is right more often on ``train``.
    """
    batch, pairs = collate_pairs(heldout, pad_id)
    scores_B = read_scores(learner.forward(with_trunk(batch)), batch)
    loss, _ = bradley_terry_loss(
        scores_B[pairs.first_N], scores_B[pairs.second_N], target_N=pairs.target_N
    )
    decided_N = pairs.target_N > 0.5
    margins = (scores_B[pairs.first_N] - scores_B[pairs.second_N])[decided_N]
    right, count = float((margins > 0).sum() + 0.5 * (margins == 0).sum()), int(decided_N.sum())
    low, high = wilson(right, count)
    by_length = [0.5 * (1 + sign) for sign in _length_signs(heldout)]
    if sum(_length_signs(train)) < 0:
        by_length = [1 - hit for hit in by_length]
    base_low, base_high = wilson(sum(by_length), count)
    # Half of the pairs are turned round, so that outcomes are 0 and 1 and calibration has meaning.
    turned = torch.arange(count) % 2 == 1
    probs = torch.where(turned, -margins, margins).sigmoid().tolist()
    return {
        "heldout/loss": float(loss),
        "heldout/accuracy": right / count if count else math.nan,
        "heldout/accuracy_low": low,
        "heldout/accuracy_high": high,
        "heldout/num_pairs": count,
        "heldout/length_accuracy": sum(by_length) / count if count else math.nan,
        "heldout/length_accuracy_low": base_low,
        "heldout/length_accuracy_high": base_high,
        "heldout/ece": ece(probs, (~turned).float().tolist()) if count else math.nan,
    }


def _length_signs(items: list[PromptPairs]) -> list[int]:
    """+1 where the preferred completion has more words, -1 fewer, 0 the same (ties left out)."""
    gaps = (
        item.num_words[pair.first] - item.num_words[pair.second]
        for item in items
        for pair in item.pairs
        if pair.target > 0.5
    )
    return [(gap > 0) - (gap < 0) for gap in gaps]


def _normalize(
    recipe: Recipe,
    model: RewardModel,
    policy: Policy,
    samples: Artifact | None,
    train: list[PromptPairs],
) -> Metrics:
    """Mean 0 and standard deviation 1 on the SFT policy's samples (Ziegler et al. 2019, 2.1)."""
    limit = recipe.reward.normalize_samples
    if limit == 0:
        return {}
    if samples is not None:
        encoder = policy.encoder(recipe)
        drawn = [s for s in samples.records() if isinstance(s, Sample)]
        rows = [encoder.row(encoder.prompt(s.prompt), c) for s in drawn for c in s.completions]
    else:
        rows = [row for item in train for row in item.rows]
    chosen = shuffled(len(rows), recipe.seed, "reward-normalize")[:limit]
    batch = collate([rows[i] for i in chosen], policy.pad_id)
    batch = TokenBatch(  # rows no longer belong to prompts: any of them may share a micro-batch
        batch.input_ids_BT, batch.lengths_B, batch.response_mask_BT, batch.row_B, batch.row_B
    )
    heads_BT = per_token(model.network, batch, recipe.reward.micro_batch_tokens)
    scores_B = read_scores(heads_BT, batch)
    mean, std = float(scores_B.mean()), float(scores_B.std(correction=0))
    model.network.set_normalization(mean, std if std > 0 else 1.0)
    return {"score_mean": mean, "score_std": std}


def split(
    items: list[PromptPairs], recipe: Recipe, part: str
) -> tuple[list[PromptPairs], list[PromptPairs]]:
    """(train, held out) by prompt, after the judge's prompts are set apart.

    Raises:
        DataError: too few judged prompts to train on some and hold out others.
    """
    order = shuffled(len(items), recipe.seed, "judge")
    num_judge = int(len(items) * recipe.collect.judge_fraction)
    mine = order[:num_judge] if part == "judge" else order[num_judge:]
    num_heldout = max(1, int(len(mine) * recipe.reward.heldout_fraction))
    heldout, train = mine[:num_heldout], mine[num_heldout:]
    if not train:
        raise DataError(
            f"reward ({part}): {len(items)} judged prompts are too few to train on some and hold "
            "out others; collect more, or set collect.judge_fraction to 0"
        )
    return [items[i] for i in train], [items[i] for i in heldout]
