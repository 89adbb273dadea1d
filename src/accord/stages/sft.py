"""Supervised fine-tuning: a base model learns to answer as the demonstrations do.

Ouyang et al. 2022, section 3.5: cross-entropy on the demonstrator's tokens alone.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

from torch import Tensor

from accord import artifacts
from accord.algorithms import sft_loss
from accord.artifacts import Artifact
from accord.config import Recipe
from accord.engine import AdamSettings, LocalLearner, Metrics, Outputs, checkpoint, host
from accord.engine.early_stop import EarlyStop
from accord.engine.schedule import cycle, learning_rate, shuffled
from accord.models.batch import TokenBatch, TokenRow, collate, pack
from accord.models.load import Policy, load_policy, save_policy
from accord.models.network import check_packing
from accord.tracking import Tracker
from accord.types import Demonstration


def sft(recipe: Recipe, base: str | Artifact, demonstrations: Artifact, out: Path) -> Artifact:
    """Fine-tune ``base`` on demonstrations.

    Args:
        recipe: sections ``model`` and ``sft`` are used.
        base: a model's name or folder, or a policy artifact.
        demonstrations: artifact of kind "demonstrations".
        out: folder of the new artifact; finished work there is returned as it is, unfinished work
            is resumed.

    Returns:
        An artifact of kind "policy": an ordinary Hugging Face folder.
    """
    config = {"model": recipe.model.identity(), "sft": recipe.sft.identity()}
    parents = {"demonstrations": demonstrations}
    if isinstance(base, Artifact):
        parents["base"] = base
    made = artifacts.current(out, "policy", parents=parents, config=config, seed=recipe.seed)
    if made is not None:
        return made
    work = artifacts.workspace(out, artifacts.fingerprint("policy", parents, config, recipe.seed))
    host.prepare(recipe.model.num_threads)
    policy = load_policy(base.path if isinstance(base, Artifact) else base, recipe.model)
    rows = policy.encoder(recipe).demonstrations(
        [d for d in demonstrations.records() if isinstance(d, Demonstration)]
    )
    train, heldout = _split(rows, recipe)
    metrics = _train(recipe, policy, train, heldout, work, out)
    with artifacts.write(
        out, "policy", parents=parents, config=config, seed=recipe.seed, metrics=metrics
    ) as folder:
        save_policy(policy, folder)
    artifacts.finish(work)
    return artifacts.read(out)


def _train(
    recipe: Recipe,
    policy: Policy,
    train: list[TokenRow],
    heldout: list[TokenRow],
    work: Path,
    out: Path,
) -> Metrics:
    config = recipe.sft
    per_epoch = math.ceil(len(train) / config.batch_size)
    num_steps = min(config.max_steps or math.inf, per_epoch * config.num_epochs)
    learner = LocalLearner(
        policy.network,
        AdamSettings.of(config),
        micro_batch_tokens=config.micro_batch_tokens,
        dump_folder=work,
    )
    collated = partial(_batch, policy=policy, recipe=recipe)
    if config.packing and not policy.network.packs:
        check_packing(policy.network, collated(train[:8]), collate(train[:8], policy.pad_id))
    early_stop, start, metrics = EarlyStop(config.early_stop_patience), 0, {}
    if (saved := checkpoint.latest(work)) is not None:
        start, tensors, state = saved
        learner.load_state(checkpoint.under("policy", tensors))
        early_stop.load(state["early_stop"], checkpoint.under("best", tensors))
        metrics = state["metrics"]
    with Tracker(out.parent / "logs" / out.name, "sft", int(num_steps)) as tracker:
        tracker.truncate(start)
        for step in range(start, int(num_steps)):
            if early_stop.stopped:
                break
            chosen = cycle(
                len(train), step * config.batch_size, config.batch_size, recipe.seed, "sft"
            )
            batch = collated([train[i] for i in chosen])
            loss = partial(_loss, denominator=batch.num_response_tokens)
            rate = learning_rate(config, step, int(num_steps))
            logged = learner.step(batch, loss, rate)
            logged["optimizer/learning_rate"] = rate
            if heldout and ((step + 1) % config.eval_every == 0 or step + 1 == num_steps):
                logged["heldout/loss"] = _heldout_loss(learner, heldout, policy)
                early_stop.update(step + 1, -logged["heldout/loss"], learner)
                metrics["heldout/loss"] = logged["heldout/loss"]
            tracker.log(step + 1, logged)
            metrics["sft/loss"], metrics["num_steps"] = logged["sft/loss"], step + 1
            if (step + 1) % config.checkpoint_every == 0:
                tensors = checkpoint.prefixed("policy", learner.state())
                tensors |= checkpoint.prefixed("best", early_stop.tensors())
                state = {"early_stop": early_stop.state(), "metrics": metrics}
                checkpoint.save(work, step + 1, tensors, state)
    early_stop.restore(learner)
    return metrics


def _batch(rows: list[TokenRow], policy: Policy, recipe: Recipe) -> TokenBatch:
    if recipe.sft.packing and not policy.network.packs:
        return pack(rows, policy.pad_id, recipe.model.max_tokens)
    return collate(rows, policy.pad_id)


def _loss(
    outputs: Outputs, batch: TokenBatch, *, denominator: float
) -> tuple[Tensor, dict[str, Tensor]]:
    return sft_loss(outputs.per_token_BT, batch.response_mask_BT, denominator)


def _heldout_loss(learner: LocalLearner, heldout: list[TokenRow], policy: Policy) -> float:
    batch = collate(heldout, policy.pad_id)
    loss, _ = sft_loss(learner.forward(batch), batch.response_mask_BT)
    return float(loss)


def _split(rows: list[TokenRow], recipe: Recipe) -> tuple[list[TokenRow], list[TokenRow]]:
    num_heldout = int(len(rows) * recipe.sft.heldout_fraction)
    order = shuffled(len(rows), recipe.seed, "sft-heldout")
    heldout = set(order[:num_heldout])
    return [r for i, r in enumerate(rows) if i not in heldout], [rows[i] for i in sorted(heldout)]
