"""PPO: the policy is tuned against the reward model under a KL penalty to the SFT policy.

Ziegler et al. 2019; Stiennon et al. 2020, section 3.4 and B.1; Huang et al. 2024. A separate value
model starts from the reward model. One step: sample, score, shape rewards, estimate advantages,
then ``num_epochs`` passes of clipped updates.

Shapes: B episodes, T tokens (prompt and response, aligned with ``input_ids_BT``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from accord import artifacts
from accord.algorithms import (
    AdaptiveKL,
    FixedKL,
    affine_fit,
    apply_missing_eos_penalty,
    clip_scores,
    explained_variance,
    first_nonfinite,
    gae,
    masked_whiten,
    ppo_policy_loss,
    ppo_value_loss,
    sequence_logprobs,
    shaped_rewards,
)
from accord.artifacts import Artifact
from accord.config import PPOConfig, Recipe
from accord.engine import (
    AdamSettings,
    LocalLearner,
    LocalSampler,
    Metrics,
    Outputs,
    SampledTokens,
    SamplingParams,
    checkpoint,
    host,
    per_token,
)
from accord.engine.learner import not_finite
from accord.engine.schedule import cycle, decay, shuffled
from accord.errors import ModelError
from accord.models.batch import TokenBatch, TokenRow, collate
from accord.models.load import (
    Policy,
    RewardModel,
    load_policy,
    load_reward_model,
    save_policy,
)
from accord.models.network import (
    PolicyNetwork,
    ScalarNetwork,
    read_scores,
    read_values,
    share_trunk,
)
from accord.tracking import Tracker
from accord.types import Prompt

TRUSTED_GAP = 1e-3  # nats a token between sampler and learner; in float32 rounding makes 1e-5


@dataclass(frozen=True)
class Models:
    """The four models of PPO."""

    policy: Policy
    reference: PolicyNetwork
    reward: RewardModel
    value: ScalarNetwork


@dataclass(frozen=True)
class RolloutBatch:
    """What one step learned from, and what it says about the policy.

    ``batch.tensors`` holds old_logprobs_BT, advantages_BT, returns_BT, old_values_BT.
    """

    batch: TokenBatch
    scores_B: Tensor
    kl_B: Tensor
    metrics: Metrics
    completions: list[SampledTokens]


def ppo(
    recipe: Recipe, policy: Artifact, reward_model: Artifact, prompts: Artifact, out: Path
) -> Artifact:
    """Tune a policy with PPO.

    Args:
        recipe: section ``ppo`` is used.
        policy: the SFT policy: where training starts, and the reference of the KL penalty.
        reward_model: scores finished episodes; the value model starts from it.
        prompts: artifact of kind "prompts"; held-out prompts must not be in it.
        out: folder of the new artifact; unfinished work there is resumed.

    Returns:
        An artifact of kind "policy".

    Raises:
        ModelError: policy and reward model disagree about the chat format.
        NonFiniteError: a loss, score, ratio or gradient is not finite; the batch is saved.
    """
    config = {"model": recipe.model.identity(), "ppo": recipe.ppo.identity()}
    parents = {"policy": policy, "reward_model": reward_model, "prompts": prompts}
    made = artifacts.current(out, "policy", parents=parents, config=config, seed=recipe.seed)
    if made is not None:
        return made
    work = artifacts.workspace(out, artifacts.fingerprint("policy", parents, config, recipe.seed))
    host.prepare(recipe.model.num_threads)
    models = _load(recipe, policy, reward_model)
    asked = [p for p in prompts.records() if isinstance(p, Prompt)]
    metrics = _train(recipe, models, asked, work, out)
    with artifacts.write(
        out, "policy", parents=parents, config=config, seed=recipe.seed, metrics=metrics
    ) as folder:
        save_policy(models.policy, folder)
    artifacts.finish(work)
    return artifacts.read(out)


def _load(recipe: Recipe, policy: Artifact, reward_model: Artifact) -> Models:
    trained = load_policy(policy.path, recipe.model)
    reward = load_reward_model(reward_model.path, recipe.model)
    value = load_reward_model(reward_model.path, recipe.model, trainable=True).network
    if reward.chat != trained.chat:
        raise ModelError(
            f"{policy.path} and {reward_model.path} were trained with different chat templates or "
            "system messages; train the reward model from this policy"
        )
    share_trunk(trained.network, reward.network)
    share_trunk(trained.network, value)
    return Models(trained, trained.network.frozen(), reward, value)


def _train(recipe: Recipe, models: Models, prompts: list[Prompt], work: Path, out: Path) -> Metrics:
    config = recipe.ppo
    adam = AdamSettings(eps=config.adam_eps, max_grad_norm=config.max_grad_norm)
    make = partial(
        LocalLearner, adam=adam, micro_batch_tokens=config.micro_batch_tokens, dump_folder=work
    )
    learner = make(models.policy.network, temperature=config.temperature)
    value_learner = make(models.value)
    sampler = LocalSampler(models.policy)
    kl_control = _kl_control(config)
    start, recent, trust_sampler = 0, [], False
    if (saved := checkpoint.latest(work)) is not None:
        start, tensors, state = saved
        learner.load_state(checkpoint.under("policy", tensors))
        value_learner.load_state(checkpoint.under("value", tensors))
        kl_control = _kl_control(config, state["kl_coef"])
        models.value.set_normalization(*state["value_normalization"])
        recent, trust_sampler = state["recent"], state["trust_sampler"]
    encoder = models.policy.encoder(recipe)
    tokens = [encoder.prompt(prompt) for prompt in prompts]
    with Tracker(out.parent / "logs" / out.name, "ppo", config.num_steps) as tracker:
        tracker.truncate(start)
        for step in range(start, config.num_steps):
            chosen = cycle(
                len(prompts), step * config.batch_size, config.batch_size, recipe.seed, "ppo"
            )
            drawn = roll_out(recipe, sampler, [tokens[i] for i in chosen], step)
            rollouts = _score(
                config, models, learner, value_learner, [tokens[i] for i in chosen], drawn,
                kl_control.kl_coef, work, calibrate=step == 0, trust_sampler=trust_sampler,
            )  # fmt: skip
            if step == 0:
                trust_sampler = rollouts.metrics["policy/sampler_gap"] < TRUSTED_GAP
            share = decay(config.schedule, step / config.num_steps)
            metrics = _update(recipe, learner, value_learner, rollouts, step, share)
            kl = float(rollouts.kl_B.mean())
            metrics |= {**rollouts.metrics, "objective/kl_coef": kl_control.kl_coef}
            kl_control = kl_control.update(kl, config.batch_size)
            tracker.log(step + 1, metrics)
            recent = [*recent, {k: v for k, v in metrics.items() if k.startswith("objective/")}]
            recent = recent[-max(1, config.num_steps // 3) :]
            if (step + 1) % config.samples_every == 0 or step + 1 == config.num_steps:
                tracker.samples(
                    step + 1, _table([prompts[i] for i in chosen], rollouts, models.policy)
                )
            if (step + 1) % config.checkpoint_every == 0:
                tensors = checkpoint.prefixed("policy", learner.state())
                tensors |= checkpoint.prefixed("value", value_learner.state())
                state = {
                    "kl_coef": kl_control.kl_coef,
                    "value_normalization": models.value.normalization,
                    "recent": recent,
                    "trust_sampler": trust_sampler,
                }
                checkpoint.save(work, step + 1, tensors, state)
    # Reported: the mean of the last third, where learning has settled.
    return {name: sum(m[name] for m in recent) / len(recent) for name in recent[-1]}


def roll_out(
    recipe: Recipe, sampler: LocalSampler, prompts: list[list[int]], step: int
) -> list[SampledTokens]:
    """One episode for each prompt, from the policy as it is."""
    drawn = sampler.sample(
        prompts,
        SamplingParams(
            max_tokens=recipe.ppo.max_tokens,
            temperature=recipe.ppo.temperature,
            batch_size=recipe.ppo.generation_batch_size,
            seed=recipe.seed,
            key=("ppo", step),
        ),
    )
    return [completions[0] for completions in drawn]


@torch.no_grad()
def _score(
    config: PPOConfig,
    models: Models,
    learner: LocalLearner,
    value_learner: LocalLearner,
    prompts: list[list[int]],
    drawn: list[SampledTokens],
    kl_coef: float,
    work: Path,
    *,
    calibrate: bool,
    trust_sampler: bool,
) -> RolloutBatch:
    """Log-probabilities, scores, shaped rewards and advantages of the drawn episodes.

    ``calibrate`` first brings the value model, a reward model that was only ever read at last
    tokens, to the scale of these returns at every token. ``trust_sampler``: what the sampler says
    of its tokens is what the learner would say, and is not computed a second time.
    """
    rows = [TokenRow(p, c.tokens, i) for i, (p, c) in enumerate(zip(prompts, drawn, strict=True))]
    batch = models.policy.network.with_trunk(collate(rows, models.policy.pad_id))
    mask_BT, budget = batch.response_mask_BT, config.micro_batch_tokens
    sampled_BT = batch.responses([c.logprobs for c in drawn])
    logprobs_BT = sampled_BT if trust_sampler else learner.forward(batch)
    ref_logprobs_BT = per_token(models.reference, batch, budget, config.temperature)
    heads_BT = per_token(models.reward.network, batch, budget)
    raw_B = read_scores(heads_BT, batch)
    finished_B = torch.tensor([c.finished for c in drawn])
    scores_B = raw_B if config.score_clip is None else clip_scores(raw_B, config.score_clip)
    if config.missing_eos_penalty is not None:
        scores_B = apply_missing_eos_penalty(scores_B, finished_B, config.missing_eos_penalty)
    values_BT = read_values(value_learner.forward(batch))
    log_ratio_BT = torch.where(mask_BT, logprobs_BT - ref_logprobs_BT, 0.0)
    rewards_BT = shaped_rewards(scores_B, log_ratio_BT, mask_BT, kl_coef)
    if config.whiten_rewards:
        rewards_BT = masked_whiten(rewards_BT, mask_BT, shift_mean=False)
    if calibrate:
        to_go_BT = gae(rewards_BT, values_BT, mask_BT, config.gamma, gae_lambda=1.0)[1]
        slope, offset = affine_fit(values_BT, to_go_BT, mask_BT)
        models.value.rescale(slope, offset)
        values_BT = slope * values_BT + offset
    advantages_BT, returns_BT = gae(rewards_BT, values_BT, mask_BT, config.gamma, config.gae_lambda)
    kl_B = log_ratio_BT.sum(dim=1)
    bad = first_nonfinite(scores=raw_B, kl=kl_B, returns=returns_BT)
    if bad is not None:
        raise not_finite(bad, {"scores": raw_B, "kl": kl_B}.get(bad, returns_BT), batch, work)
    lengths_B = mask_BT.sum(dim=1).float()
    metrics = {
        "objective/score": float(raw_B.mean()),
        "objective/score_std": float(raw_B.std(correction=0)),
        "objective/kl": float(kl_B.mean()),
        "objective/entropy": float(-sequence_logprobs(logprobs_BT, mask_BT).mean()),
        "objective/reward": float(rewards_BT.sum(dim=1).mean()),
        "objective/length": float(lengths_B.mean()),
        "objective/length_std": float(lengths_B.std(correction=0)),
        "objective/eos_rate": float(finished_B.float().mean()),
        "value/explained_variance": float(explained_variance(values_BT, returns_BT, mask_BT)),
    }
    if not trust_sampler:
        metrics["policy/sampler_gap"] = float((logprobs_BT - sampled_BT).abs().max())
    batch = batch.with_tensors(
        old_logprobs_BT=logprobs_BT,
        old_values_BT=values_BT,
        advantages_BT=masked_whiten(advantages_BT, mask_BT),
        returns_BT=returns_BT,
    )
    return RolloutBatch(batch, raw_B, kl_B, metrics, drawn)


def _update(
    recipe: Recipe,
    learner: LocalLearner,
    value_learner: LocalLearner,
    rollouts: RolloutBatch,
    step: int,
    share: float,
) -> Metrics:
    """``num_epochs`` passes over the episodes in ``num_minibatches`` parts; means of metrics."""
    config = recipe.ppo
    rows = config.batch_size // config.num_minibatches
    steps: list[Metrics] = []
    for epoch in range(config.num_epochs):
        order = shuffled(len(rollouts.batch), recipe.seed, "ppo-minibatch", step, epoch)
        for start in range(0, len(order), rows):
            part = rollouts.batch.select(order[start : start + rows])
            count = part.num_response_tokens
            value_loss = partial(
                _value_loss, value_clip_range=config.value_clip_range, denominator=count
            )
            rate = config.value_learning_rate * share
            done = _named(value_learner.step(part, value_loss, rate), "value/grad_norm")
            if step >= config.value_warmup_steps:
                loss = partial(_policy_loss, clip_range=config.clip_range, denominator=count)
                rate = config.learning_rate * share
                done |= _named(learner.step(part, loss, rate), "policy/grad_norm")
            steps.append(done)
    first = {"policy/ratio_first": steps[0]["policy/ratio"]} if "policy/ratio" in steps[0] else {}
    return {name: sum(s[name] for s in steps) / len(steps) for name in steps[0]} | first


def _policy_loss(
    outputs: Outputs, batch: TokenBatch, *, clip_range: float, denominator: float
) -> tuple[Tensor, dict[str, Tensor]]:
    return ppo_policy_loss(
        outputs.per_token_BT,
        batch.tensors["old_logprobs_BT"],
        batch.tensors["advantages_BT"],
        batch.response_mask_BT,
        clip_range,
        denominator,
    )


def _value_loss(
    outputs: Outputs, batch: TokenBatch, *, value_clip_range: float, denominator: float
) -> tuple[Tensor, dict[str, Tensor]]:
    return ppo_value_loss(
        read_values(outputs.per_token_BT),
        batch.tensors["old_values_BT"],
        batch.tensors["returns_BT"],
        batch.response_mask_BT,
        value_clip_range,
        denominator,
    )


def _kl_control(config: PPOConfig, kl_coef: float | None = None) -> AdaptiveKL | FixedKL:
    kl_coef = config.kl_coef if kl_coef is None else kl_coef
    if config.kl_target is None:
        return FixedKL(kl_coef)
    return AdaptiveKL(kl_coef, config.kl_target, config.kl_horizon)


def _named(metrics: Metrics, grad_norm: str) -> Metrics:
    return {grad_norm if k == "optimizer/grad_norm" else k: v for k, v in metrics.items()}


def _table(
    prompts: list[Prompt], rollouts: RolloutBatch, policy: Policy
) -> list[dict[str, object]]:
    """A few episodes a person can read."""
    return [
        {
            "prompt": prompts[i].text,
            "completion": policy.text(rollouts.completions[i].tokens),
            "score": round(float(rollouts.scores_B[i]), 2),
            "kl": round(float(rollouts.kl_B[i]), 2),
            "finished": rollouts.completions[i].finished,
        }
        for i in range(min(4, len(prompts)))
    ]
