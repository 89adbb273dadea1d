"""DPO: the policy learns from comparisons directly, without a reward model (Rafailov et al. 2023).

The SFT policy is the reference; its log-probabilities are computed once a completion, on the same
frozen trunk, and a prompt's completions are computed once for all their pairs.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from accord import artifacts
from accord.algorithms import dpo_loss, sequence_logprobs
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
from accord.engine.schedule import learning_rate, shuffled
from accord.errors import DataError
from accord.models.batch import TokenBatch
from accord.models.load import Policy, load_policy, save_policy
from accord.models.network import PolicyNetwork
from accord.models.pairs import PairIndex, PromptPairs, collate_pairs, prompt_pairs
from accord.models.trunk_cache import TrunkCache
from accord.tracking import Tracker
from accord.types import Comparison, Ranking


def dpo(recipe: Recipe, policy: Artifact, comparisons: Artifact, out: Path) -> Artifact:
    """Train a policy on comparisons.

    Args:
        recipe: section ``dpo`` is used.
        policy: the SFT policy: where training starts, and the reference.
        comparisons: artifact of kind "comparisons"; ties carry no preference and are left out.
        out: folder of the new artifact.

    Returns:
        An artifact of kind "policy".
    """
    config = {"model": recipe.model.identity(), "dpo": recipe.dpo.identity()}
    parents = {"policy": policy, "comparisons": comparisons}
    made = artifacts.current(out, "policy", parents=parents, config=config, seed=recipe.seed)
    if made is not None:
        return made
    work = artifacts.workspace(out, artifacts.fingerprint("policy", parents, config, recipe.seed))
    host.prepare(recipe.model.num_threads)
    trained = load_policy(policy.path, recipe.model)
    verdicts = [r for r in comparisons.records() if isinstance(r, Comparison | Ranking)]
    items = prompt_pairs(
        verdicts, trained.encoder(recipe), tie_weight=0.0, use_strength=recipe.dpo.use_strength
    )
    order = shuffled(len(items), recipe.seed, "dpo-heldout")
    num_heldout = max(1, int(len(items) * recipe.dpo.heldout_fraction))
    heldout = [items[i] for i in order[:num_heldout]]
    train = [items[i] for i in order[num_heldout:]]
    if not train:
        raise DataError(
            f"dpo: {len(items)} prompts with a preference are too few to train on some and hold "
            "out others; collect more (ties carry no preference)"
        )
    metrics = _train(recipe, trained, train, heldout, work, out)
    with artifacts.write(
        out, "policy", parents=parents, config=config, seed=recipe.seed, metrics=metrics
    ) as folder:
        save_policy(trained, folder)
    artifacts.finish(work)
    return artifacts.read(out)


def _train(
    recipe: Recipe,
    policy: Policy,
    train: list[PromptPairs],
    heldout: list[PromptPairs],
    work: Path,
    out: Path,
) -> Metrics:
    config = recipe.dpo
    prepare = _Batches(policy, config.micro_batch_tokens)
    batches = [
        batch
        for epoch in range(config.num_epochs)
        for batch in _batches(train, config.batch_size, recipe.seed, epoch)
    ][: config.max_steps]
    learner = LocalLearner(
        policy.network,
        AdamSettings.of(config),
        micro_batch_tokens=config.micro_batch_tokens,
        dump_folder=work,
    )
    start, metrics = 0, {}
    if (saved := checkpoint.latest(work)) is not None:
        start, tensors, state = saved
        learner.load_state(checkpoint.under("policy", tensors))
        metrics = state["metrics"]
    heldout_batch, heldout_pairs = prepare(heldout)
    with Tracker(out.parent / "logs" / out.name, "dpo", len(batches)) as tracker:
        tracker.truncate(start)
        for step, chosen in enumerate(batches[start:], start=start):
            batch, pairs = prepare(chosen)
            loss = partial(
                _loss, pairs=pairs, beta=config.beta, label_smoothing=config.label_smoothing
            )
            rate = learning_rate(config, step, len(batches))
            logged = learner.step(batch, loss, rate)
            logged["optimizer/learning_rate"] = rate
            if (step + 1) % config.eval_every == 0 or step + 1 == len(batches):
                metrics = _heldout(learner, heldout_batch, heldout_pairs, config.beta)
                logged |= metrics
            tracker.log(step + 1, logged)
            if (step + 1) % config.checkpoint_every == 0:
                tensors = checkpoint.prefixed("policy", learner.state())
                checkpoint.save(work, step + 1, tensors, {"metrics": metrics})
    return {**metrics, "num_steps": len(batches)}


def _loss(
    outputs: Outputs, batch: TokenBatch, *, pairs: PairIndex, beta: float, label_smoothing: float
) -> tuple[Tensor, dict[str, Tensor]]:
    policy_B = sequence_logprobs(outputs.per_token_BT, batch.response_mask_BT)
    reference_B = batch.tensors["ref_logprobs_B"]
    here = pairs.within(batch.row_B)
    return dpo_loss(
        policy_B[here.first_N],
        policy_B[here.second_N],
        reference_B[here.first_N],
        reference_B[here.second_N],
        beta,
        label_smoothing,
        denominator=float(pairs.verdict_weight_N.sum()),
        target_N=here.target_N,
        weight_N=here.verdict_weight_N,
    )


class _Batches:
    """Makes batches of prompts; what the frozen parts say of a prompt is computed once.

    The reference's log-probabilities of a prompt's completions are computed by themselves, so that
    they do not depend on what shares the batch and a resumed run gets the same bits.
    """

    def __init__(self, policy: Policy, micro_batch_tokens: int) -> None:
        self._reference: PolicyNetwork = policy.network.frozen()
        self._with_trunk = TrunkCache(policy.network)
        self._pad_id = policy.pad_id
        self._budget = micro_batch_tokens
        self._known: dict[int, Tensor] = {}

    def __call__(self, items: list[PromptPairs]) -> tuple[TokenBatch, PairIndex]:
        """The rows of the items with their pairs, trunk and ``ref_logprobs_B``."""
        batch, pairs = collate_pairs(items, self._pad_id)
        ref_logprobs_B = torch.cat([self._ref_logprobs(item) for item in items])
        return self._with_trunk(batch).with_tensors(ref_logprobs_B=ref_logprobs_B), pairs

    def _ref_logprobs(self, item: PromptPairs) -> Tensor:
        if id(item) not in self._known:
            batch = self._with_trunk(collate_pairs([item], self._pad_id)[0])
            logprobs_BT = per_token(self._reference, batch, self._budget)
            self._known[id(item)] = sequence_logprobs(logprobs_BT, batch.response_mask_BT)
        return self._known[id(item)]


def _heldout(learner: LocalLearner, batch: TokenBatch, pairs: PairIndex, beta: float) -> Metrics:
    _, metrics = _loss(
        Outputs(learner.forward(batch)), batch, pairs=pairs, beta=beta, label_smoothing=0.0
    )
    return {name.replace("dpo/", "heldout/"): float(value) for name, value in metrics.items()}


def _batches(
    train: list[PromptPairs], num_pairs: int, seed: int, epoch: int
) -> list[list[PromptPairs]]:
    """Whole prompts until a batch holds ``num_pairs`` pairs, so each completion is run once."""
    batches: list[list[PromptPairs]] = [[]]
    for i in shuffled(len(train), seed, "dpo", epoch):
        if sum(len(item.pairs) for item in batches[-1]) >= num_pairs:
            batches.append([])
        batches[-1].append(train[i])
    return batches
