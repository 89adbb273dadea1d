"""PPO: the tricks that decide whether it works, each by number (papers.md, section 5)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from accord.engine import AdamSettings, LocalLearner, LocalSampler, SampledTokens
from accord.errors import ArtifactError, ModelError, NonFiniteError
from accord.models.load import load_policy, save_policy
from accord.models.network import read_values
from accord.stages import ppo
from accord.stages.ppo import Models, _load, _score, _train, roll_out
from accord.types import Prompt


def steps(folder: Path, name: str) -> list[dict]:
    text = (folder / "logs" / name / "metrics.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def prepared(
    loop, recipe, tmp_path: Path, calibrate: bool = False, trust_sampler: bool = False
) -> SimpleNamespace:
    """The models of a run with one batch of episodes drawn and scored."""
    models = _load(recipe, loop["sft"], loop["reward"])
    settings = {"micro_batch_tokens": recipe.ppo.micro_batch_tokens, "dump_folder": tmp_path}
    learner = LocalLearner(
        models.policy.network, AdamSettings(), temperature=recipe.ppo.temperature, **settings
    )
    value_learner = LocalLearner(models.value, AdamSettings(), **settings)
    encoder = models.policy.encoder(recipe)
    asked = [p for p in loop["prompts"].records() if isinstance(p, Prompt)][:16]
    prompts = [encoder.prompt(prompt) for prompt in asked]
    drawn = roll_out(recipe, LocalSampler(models.policy), prompts, 0)
    rollouts = _score(
        recipe.ppo,
        models,
        learner,
        value_learner,
        prompts,
        drawn,
        recipe.ppo.kl_coef,
        tmp_path,
        calibrate=calibrate,
        trust_sampler=trust_sampler,
    )
    return SimpleNamespace(models=models, prompts=prompts, drawn=drawn, rollouts=rollouts)


@pytest.mark.parametrize("trainable", ["all", "lora", "top"])
def test_the_first_step_starts_at_the_reference(loop, recipe_with, tmp_path, trainable) -> None:
    """Trick 1: ratio 1 on the first minibatch of every step. Trick 2: KL 0 at step 0."""
    layers = ["model.top_layers=1"] if trainable == "top" else []
    recipe = recipe_with(f"model.trainable={trainable}", *layers)
    made = ppo(recipe, loop["sft"], loop["reward"], loop["prompts"], tmp_path / "ppo")
    rows = steps(tmp_path, "ppo")
    assert [row["step"] for row in rows] == [1, 2, 3]
    for row in rows:
        assert row["policy/ratio_first"] == pytest.approx(1.0, abs=1e-5)
    assert rows[0]["policy/sampler_gap"] < 1e-4
    assert "policy/sampler_gap" not in rows[1]  # trusted, and not computed again
    assert rows[0]["objective/kl"] == pytest.approx(0, abs=1e-3)
    assert rows[-1]["objective/kl"] != 0
    again = ppo(recipe, loop["sft"], loop["reward"], loop["prompts"], tmp_path / "ppo")
    assert again.manifest == made.manifest
    with pytest.raises(ArtifactError, match=r"ppo\.gamma"):
        ppo(
            recipe_with(f"model.trainable={trainable}", *layers, "ppo.gamma=0.5"),
            loop["sft"],
            loop["reward"],
            loop["prompts"],
            tmp_path / "ppo",
        )


def test_scores_land_on_the_last_response_token(loop, recipe_with, tmp_path) -> None:
    """Tricks 4 and 5, through GAE with lambda 1: the return of token t is what is still to come."""
    recipe = recipe_with("ppo.gae_lambda=1", "ppo.missing_eos_penalty=2.5", "ppo.max_tokens=12")
    made = prepared(loop, recipe, tmp_path)
    rollouts, batch = made.rollouts, made.rollouts.batch
    finished = [c.finished for c in made.drawn]
    assert 0 < sum(finished) < len(finished)
    returns_BT = batch.tensors["returns_BT"]
    for b, (prompt, completion) in enumerate(zip(made.prompts, made.drawn, strict=True)):
        assert batch.response_mask_BT[b].nonzero().flatten().tolist() == list(
            range(len(prompt), len(prompt) + len(completion.tokens))
        )
        score = float(rollouts.scores_B[b]) if finished[b] else -2.5
        # KL is 0 here, so every token of a response has the whole score still to come.
        mine = returns_BT[b][batch.response_mask_BT[b]]
        torch.testing.assert_close(mine, torch.full_like(mine, score), atol=1e-3, rtol=1e-3)


def test_a_score_is_read_at_the_last_token_with_and_without_padding(
    loop, recipe_with, tmp_path
) -> None:
    """Trick 17."""
    made = prepared(loop, recipe_with(), tmp_path)
    score = made.models.reward.network
    for b, (prompt, completion) in enumerate(zip(made.prompts, made.drawn, strict=True)):
        ids = torch.tensor([[*prompt, *completion.tokens]])
        mean, std = score.normalization
        with torch.no_grad():
            raw = score.model.score(score.base(ids).last_hidden_state[0, -1])
        assert float(made.rollouts.scores_B[b]) == pytest.approx(
            (float(raw) - mean) / std, abs=1e-4
        )


def test_logprobs_are_those_of_the_sampling_temperature(loop, recipe_with, tmp_path) -> None:
    """Trick 7: what the learner computes is what the sampler drew from, token by token."""
    made = prepared(loop, recipe_with("ppo.temperature=0.6"), tmp_path)
    old_BT = made.rollouts.batch.tensors["old_logprobs_BT"]
    mask_BT = made.rollouts.batch.response_mask_BT
    for b, completion in enumerate(made.drawn):
        torch.testing.assert_close(
            old_BT[b][mask_BT[b]], torch.tensor(completion.logprobs), atol=1e-4, rtol=1e-4
        )


def test_what_the_sampler_said_stands_for_what_the_learner_would_say(
    loop, recipe_with, tmp_path
) -> None:
    """The same distribution by construction, so one forward pass less."""
    recipe = recipe_with("ppo.temperature=0.6")
    asked = prepared(loop, recipe, tmp_path).rollouts
    trusted = prepared(loop, recipe, tmp_path, trust_sampler=True).rollouts
    for name in ("old_logprobs_BT", "advantages_BT", "returns_BT"):
        torch.testing.assert_close(
            trusted.batch.tensors[name], asked.batch.tensors[name], atol=1e-4, rtol=1e-4
        )
    torch.testing.assert_close(trusted.kl_B, asked.kl_B, atol=1e-4, rtol=1e-4)


def test_a_sampler_that_says_something_else_is_not_trusted(
    loop, recipe_with, tmp_path, monkeypatch
) -> None:
    def lying(*args: Any) -> list[SampledTokens]:
        drawn = roll_out(*args)
        return [replace(c, logprobs=[p - 0.01 for p in c.logprobs]) for c in drawn]

    # The function and its module share a name: the module is where _train looks it up.
    monkeypatch.setitem(_train.__globals__, "roll_out", lying)
    ppo(recipe_with(), loop["sft"], loop["reward"], loop["prompts"], tmp_path / "ppo")
    for row in steps(tmp_path, "ppo"):
        assert row["policy/sampler_gap"] == pytest.approx(0.01, abs=1e-4)
        assert row["policy/ratio_first"] == pytest.approx(1.0, abs=1e-5)


def test_advantages_are_white_over_what_counts(loop, recipe_with, tmp_path) -> None:
    batch = prepared(loop, recipe_with(), tmp_path).rollouts.batch
    counted = batch.tensors["advantages_BT"][batch.response_mask_BT]
    assert float(counted.mean()) == pytest.approx(0, abs=1e-5)
    assert float(counted.std(correction=0)) == pytest.approx(1, abs=1e-4)
    assert not batch.tensors["advantages_BT"][~batch.response_mask_BT].any()


def test_the_value_of_a_state_is_the_head_one_token_earlier() -> None:
    assert read_values(torch.tensor([[1.0, 2.0, 3.0]])).tolist() == [[0.0, 1.0, 2.0]]


def test_the_value_model_starts_as_a_baseline_that_does_no_harm(
    loop, recipe_with, tmp_path
) -> None:
    recipe = recipe_with("ppo.gae_lambda=1.0")
    plain = prepared(loop, recipe, tmp_path)
    made = prepared(loop, recipe, tmp_path, calibrate=True)
    before, after = (p.rollouts.metrics["value/explained_variance"] for p in (plain, made))
    assert before < 0 <= after
    batch = made.rollouts.batch
    mask_BT = batch.response_mask_BT
    torch.testing.assert_close(
        made.models.value.values(batch)[mask_BT],
        batch.tensors["old_values_BT"][mask_BT],
        atol=1e-4,
        rtol=1e-4,
    )
    torch.testing.assert_close(  # the score that is maximised is not touched
        made.rollouts.scores_B, plain.rollouts.scores_B
    )


class Liking:
    """A reward model that likes one token: its share of a response, at the last token."""

    device = torch.device("cpu")

    def __init__(self, token: int) -> None:
        self.token = token

    def heads(self, batch: Any) -> torch.Tensor:
        liked = (batch.input_ids_BT == self.token) & batch.response_mask_BT
        return 4.0 * liked.any(dim=1, keepdim=True).expand(liked.shape).float()


def test_a_liked_token_is_said_more_often(loop, recipe_with, tmp_path, monkeypatch) -> None:
    """Trick 16, the sign test: a few steps of PPO raise the score that they are paid for."""
    from accord.engine import learner as engine_learner

    plain = engine_learner._forward
    monkeypatch.setattr(
        engine_learner,
        "_forward",
        lambda network, batch, temperature: (
            network.heads(batch)
            if isinstance(network, Liking)
            else plain(network, batch, temperature)
        ),
    )
    recipe = recipe_with(
        "ppo.num_steps=6",
        "ppo.batch_size=48",
        "ppo.schedule=constant",
        "ppo.learning_rate=0.002",
        "ppo.kl_coef=0.01",
        "ppo.kl_target=null",
    )
    models = _load(recipe, loop["sft"], loop["reward"])
    token = models.policy.tokenizer.convert_tokens_to_ids("helps")
    liking = replace(models.reward, network=Liking(token))
    models = Models(models.policy, models.reference, liking, models.value)
    asked = [p for p in loop["prompts"].records() if isinstance(p, Prompt)]
    _train(recipe, models, asked, tmp_path, tmp_path / "ppo")
    scores = [row["objective/score"] for row in steps(tmp_path, "ppo")]
    assert scores[-1] > scores[0] + 0.8, scores


def test_held_out_prompts_are_in_no_batch(loop, recipe_with, tmp_path) -> None:
    trained = {p.messages for p in loop["prompts"].records()}
    heldout = {p.messages for p in loop["heldout_prompts"].records()}
    assert heldout
    assert not trained & heldout
    for name in ("demonstrations", "samples", "comparisons"):
        assert not {r.prompt.messages for r in loop[name].records()} & heldout, name
    recipe = recipe_with("ppo.num_steps=1", "ppo.samples_every=1")
    ppo(recipe, loop["sft"], loop["reward"], loop["prompts"], tmp_path / "ppo")
    shown = [
        json.loads(line)["prompt"]
        for line in (tmp_path / "logs" / "ppo" / "samples.jsonl").read_text("utf-8").splitlines()
    ]
    texts = {messages[-1].content for messages in heldout}
    assert shown
    assert not texts & set(shown)


def test_a_reward_model_of_another_chat_format_is_refused(loop, recipe_with, tmp_path) -> None:
    from accord import artifacts

    policy = load_policy(loop["sft"].path, loop.recipe.model)
    policy.tokenizer.chat_template += " "
    with artifacts.write(tmp_path / "other", "policy") as folder:
        save_policy(policy, folder)
    with pytest.raises(ModelError, match="different chat templates or system messages"):
        ppo(
            recipe_with(),
            artifacts.read(tmp_path / "other"),
            loop["reward"],
            loop["prompts"],
            tmp_path / "ppo",
        )


def test_a_score_that_is_not_finite_stops_the_run(loop, recipe_with, tmp_path) -> None:
    recipe = recipe_with("ppo.num_steps=1")
    models = _load(recipe, loop["sft"], loop["reward"])
    models.reward.network.set_normalization(float("nan"), 1.0)
    asked = [p for p in loop["prompts"].records() if isinstance(p, Prompt)]
    with pytest.raises(NonFiniteError, match="scores is nan"):
        _train(recipe, models, asked, tmp_path, tmp_path / "ppo")
    assert (tmp_path / "nonfinite-batch.safetensors").is_file()
