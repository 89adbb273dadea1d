"""Sampling: the right distribution, the learner's log-probabilities, and no effect of company."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from accord.config import ModelConfig
from accord.engine.protocols import SampledTokens, SamplingParams
from accord.engine.sampler import LocalSampler, draw
from accord.models import smollm2
from accord.models.batch import TokenRow, collate
from accord.models.load import Policy, load_policy

PROMPTS = [[7, 8, 9, 10, 11, 12], [20], [5, 6], [30, 31, 32], [7, 8, 9], [40, 41, 42, 43], [9, 9]]
PARAMS = SamplingParams(max_tokens=12, num_candidates=3, batch_size=6, seed=5, key=("test",))


def hugging_face(policy: Policy) -> LocalSampler:
    """A sampler that may not use the decoder."""
    sampler = LocalSampler(policy)
    sampler._decoder = None
    return sampler


def uses_decoder(policy: Policy) -> bool:
    decoder = LocalSampler(policy)._decoder
    return decoder is not None and decoder.ready()


def flat(drawn: list[list[SampledTokens]]) -> list[SampledTokens]:
    return [completion for group in drawn for completion in group]


def learner_gap(
    policy: Policy,
    prompts: Sequence[Sequence[int]],
    drawn: list[list[SampledTokens]],
    temperature: float = 1.0,
) -> float:
    """Largest |sampler's - learner's| log-probability of any token drawn."""
    pairs = [(p, c) for p, group in zip(prompts, drawn, strict=True) for c in group]
    batch = collate([TokenRow(p, c.tokens) for p, c in pairs], policy.pad_id)
    with torch.no_grad():
        logprobs_BT = policy.network.logprobs(batch, temperature)
    sampled = torch.tensor([x for _, c in pairs for x in c.logprobs])
    return float((logprobs_BT[batch.response_mask_BT] - sampled).abs().max())


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
@pytest.mark.parametrize("batch_size", [3, 6, 64])
def test_the_decoder_draws_what_hugging_face_draws(
    load_small: Callable[..., Policy], architecture: str, batch_size: int
) -> None:
    policy = load_small(architecture)
    assert uses_decoder(policy)
    params = replace(PARAMS, batch_size=batch_size)
    ours = LocalSampler(policy).sample(PROMPTS, params)
    theirs = hugging_face(policy).sample(PROMPTS, params)
    assert [[c.tokens for c in group] for group in ours] == [
        [c.tokens for c in group] for group in theirs
    ]
    for mine, other in zip(flat(ours), flat(theirs), strict=True):
        assert mine.finished == other.finished
        np.testing.assert_allclose(mine.logprobs, other.logprobs, atol=1e-4)


@pytest.mark.parametrize(
    ("architecture", "settings", "decoder"),
    [
        ("llama", {}, True),
        ("qwen2", {"trainable": "top", "top_layers": 1}, True),
        ("llama", {"gradient_checkpointing": True}, True),
        ("llama", {"trainable": "lora"}, False),
        ("gpt2", {}, False),
    ],
)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_are_the_learners(
    load_small: Callable[..., Policy],
    architecture: str,
    settings: dict[str, object],
    decoder: bool,
    temperature: float,
) -> None:
    policy = load_small(architecture, **settings)
    assert uses_decoder(policy) is decoder
    params = replace(PARAMS, temperature=temperature)
    for sampler in (LocalSampler(policy), hugging_face(policy)):
        drawn = sampler.sample(PROMPTS, params)
        assert learner_gap(policy, PROMPTS, drawn, temperature) < 1e-4


@pytest.mark.parametrize("sampler", [LocalSampler, hugging_face])
def test_a_row_does_not_depend_on_its_company(
    load_small: Callable[..., Policy], sampler: Callable[[Policy], LocalSampler]
) -> None:
    policy = load_small("llama")
    together = sampler(policy).sample(PROMPTS, replace(PARAMS, batch_size=64))
    alone = sampler(policy).sample(PROMPTS, replace(PARAMS, batch_size=1))
    first = sampler(policy).sample(PROMPTS[:2], replace(PARAMS, num_candidates=1))
    for a, b in zip(flat(together), flat(alone), strict=True):
        assert a.tokens == b.tokens
    assert [g[0].tokens for g in first] == [g[0].tokens for g in together[:2]]
    other = sampler(policy).sample(PROMPTS, replace(PARAMS, key=("another",)))
    assert [c.tokens for c in flat(other)] != [c.tokens for c in flat(together)]


@pytest.mark.parametrize("sampler", [LocalSampler, hugging_face])
def test_every_row_ends_at_its_first_stop_token_or_the_limit(
    load_small: Callable[..., Policy], sampler: Callable[[Policy], LocalSampler]
) -> None:
    policy = load_small("llama")
    policy = replace(policy, stop_ids=frozenset(range(0, 8)))  # ends are frequent
    drawn = flat(sampler(policy).sample(PROMPTS, replace(PARAMS, num_candidates=8)))
    assert {c.finished for c in drawn} == {True, False}
    for c in drawn:
        assert len(c.tokens) == len(c.logprobs) <= 12
        assert not policy.stop_ids & set(c.tokens[:-1])
        assert c.finished is (c.tokens[-1] in policy.stop_ids)
        assert c.finished or len(c.tokens) == 12


@torch.no_grad()
def test_frequencies_are_the_models_probabilities(load_small: Callable[..., Policy]) -> None:
    policy = load_small("qwen2")
    count = 4000
    params = SamplingParams(max_tokens=2, num_candidates=count, batch_size=count, seed=1)
    tokens = [c.tokens for c in LocalSampler(policy).sample([[7, 8, 9]], params)[0]]
    probs = policy.network.model(torch.tensor([[7, 8, 9]])).logits[0, -1].softmax(0).double()
    seen = torch.bincount(torch.tensor([t[0] for t in tokens]), minlength=len(probs)) / count
    error = (probs * (1 - probs) / count).sqrt()
    assert ((seen - probs).abs() <= 4.5 * error + 1e-3).all()
    second = int(seen.argmax())
    after = [t[1] for t in tokens if t[0] == second and len(t) > 1]
    probs = policy.network.model(torch.tensor([[7, 8, 9, second]])).logits[0, -1].softmax(0)
    seen = torch.bincount(torch.tensor(after), minlength=len(probs)) / len(after)
    assert ((seen - probs).abs() <= 4.5 * (probs * (1 - probs) / len(after)).sqrt() + 2e-3).all()


def test_one_sampler_lives_through_training(load_small: Callable[..., Policy]) -> None:
    policy = load_small("llama")
    sampler = LocalSampler(policy)
    before = sampler.sample(PROMPTS, PARAMS)
    optimizer = torch.optim.AdamW(policy.network.trainable().values(), lr=0.05, fused=True)
    policy.network.model(torch.tensor([PROMPTS[0]])).logits.square().mean().backward()
    optimizer.step()
    after = sampler.sample(PROMPTS, PARAMS)
    assert uses_decoder(policy)
    assert after == LocalSampler(policy).sample(PROMPTS, PARAMS)
    assert [c.tokens for c in flat(after)] != [c.tokens for c in flat(before)]
    assert learner_gap(policy, PROMPTS, after) < 1e-4


def test_a_model_the_decoder_cannot_reproduce_is_sampled_by_its_own_forward(
    load_small: Callable[..., Policy],
) -> None:
    policy = load_small("llama")
    down = policy.network.model.model.layers[0].mlp.down_proj
    down.register_forward_hook(lambda module, args, out: 1.5 * out)
    drawn = LocalSampler(policy).sample(PROMPTS, PARAMS)
    assert drawn == hugging_face(policy).sample(PROMPTS, PARAMS)
    assert learner_gap(policy, PROMPTS, drawn) < 1e-4


def test_tokens_are_streamed_as_they_are_drawn(load_small: Callable[..., Policy]) -> None:
    heard: list[int] = []
    params = replace(PARAMS, num_candidates=1)
    drawn = LocalSampler(load_small("llama")).sample(PROMPTS[:1], params, heard.append)
    assert heard == drawn[0][0].tokens
    assert LocalSampler(load_small("llama")).sample([], params) == []


def test_draw_cuts_the_unit_interval_by_probability() -> None:
    probs = torch.tensor([0.1, 0.0, 0.4, 0.5])
    u = (torch.arange(1000) + 0.5) / 1000
    tokens, logprobs = draw(probs.log().expand(1000, 4), u, SamplingParams(max_tokens=1))
    assert torch.bincount(tokens, minlength=4).tolist() == [100, 0, 400, 500]
    torch.testing.assert_close(logprobs, probs.log()[tokens], atol=1e-5, rtol=1e-5)


def test_draw_under_top_k_top_p_and_temperature() -> None:
    logits = torch.tensor([0.05, 0.15, 0.3, 0.5]).log().expand(200, 4)
    u = (torch.arange(200) + 0.5) / 200
    tokens, logprobs = draw(logits, u, SamplingParams(max_tokens=1, top_k=2))
    assert torch.bincount(tokens).tolist() == [0, 0, 75, 125]
    torch.testing.assert_close(logprobs.exp(), torch.tensor([0.375, 0.625])[tokens - 2])
    tokens, _ = draw(logits, u, SamplingParams(max_tokens=1, top_p=0.6))
    assert torch.bincount(tokens).tolist() == [0, 0, 75, 125]
    tokens, logprobs = draw(logits, u, SamplingParams(max_tokens=1, temperature=0.5))
    squares = torch.tensor([0.0025, 0.0225, 0.09, 0.25])
    torch.testing.assert_close(logprobs.exp(), (squares / squares.sum())[tokens])
    tokens, logprobs = draw(logits, u, SamplingParams(max_tokens=1, temperature=0.0))
    assert set(tokens.tolist()) == {3} and not logprobs.any()


@pytest.mark.skipif(
    importlib.util.find_spec(smollm2.PACKAGE) is None, reason="the smollm2 package is not installed"
)
def test_smollm2_is_decoded_with_the_learners_logprobs() -> None:
    policy = load_policy(Path(smollm2.folder()), ModelConfig(name="smollm2", device="cpu"))
    assert uses_decoder(policy)
    prompts = [[1, 4093, 198, 7306, 314, 260, 3575], [1, 4093, 198, 28120]]
    params = SamplingParams(max_tokens=24, num_candidates=2, batch_size=4, seed=3)
    drawn = LocalSampler(policy).sample(prompts, params)
    assert learner_gap(policy, prompts, drawn) < 1e-4
