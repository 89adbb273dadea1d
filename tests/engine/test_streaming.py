"""Answers that join and leave: each is what the model alone would have said."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from accord.engine import SamplingParams
from accord.engine.sampler import draw
from accord.engine.streaming import Row, StreamingSampler
from accord.errors import ModelError
from accord.models.load import Policy
from accord.rng import uniform

PROMPTS = [[5, 6, 7], [9, 8, 7, 6, 5, 11], [12], [7, 7, 9, 10]]


def params(i: int, max_tokens: int = 12) -> SamplingParams:
    temperature = (1.0, 0.6, 0.0, 1.3)[i % 4]
    return SamplingParams(max_tokens, temperature, top_k=(0, 20)[i % 2], seed=3, key=(f"k{i}",))


@torch.inference_mode()
def alone(policy: Policy, prompt: list[int], how: SamplingParams) -> tuple[list[int], bool]:
    """The same answer by whole forward passes, one token at a time."""
    tokens: list[int] = []
    uniforms = uniform(how.seed, "stream", *how.key, size=how.max_tokens)
    for u in uniforms:
        logits_1V = policy.network.model(torch.tensor([prompt + tokens])).logits[:, -1]
        token = int(draw(logits_1V, torch.tensor([u]).float(), how)[0])
        if token in policy.stop_ids:
            return tokens, True
        tokens.append(token)
    return tokens, False


def run(sampler: StreamingSampler, steps: int = 100) -> None:
    for _ in range(steps):
        if sampler.idle:
            return
        sampler.step()
    raise AssertionError("still busy")


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_rows_that_join_late_say_what_they_would_alone(
    load_small: Callable[..., Policy], architecture: str
) -> None:
    policy = load_small(architecture)
    sampler = StreamingSampler(policy, slots=3, capacity=64)
    rows: list[Row] = []
    for i, prompt in enumerate(PROMPTS):
        rows.append(sampler.add(f"r{i}", prompt, params(i)))
        sampler.step()
        sampler.step()
    run(sampler)
    for i, (prompt, row) in enumerate(zip(PROMPTS, rows, strict=True)):
        assert (row.tokens, row.finished) == alone(policy, prompt, params(i)), i
        assert row.done


def test_every_step_speaks_once_for_every_row(load_small: Callable[..., Policy]) -> None:
    sampler = StreamingSampler(load_small(), slots=8, capacity=64)
    for i in range(3):
        sampler.add(f"r{i}", PROMPTS[i], params(i, 4))
    assert [row.name for row in sampler.step()] == ["r0", "r1", "r2"]
    assert all(len(row.tokens) <= 2 for row in sampler.step())


def test_a_row_that_is_removed_leaves_the_others_as_they_are(
    load_small: Callable[..., Policy],
) -> None:
    policy = load_small()
    sampler = StreamingSampler(policy, slots=2, capacity=64)
    rows = [sampler.add(f"r{i}", PROMPTS[i], params(i)) for i in range(3)]
    sampler.step()
    sampler.remove("r0")
    sampler.remove("nobody")
    run(sampler)
    assert len(rows[0].tokens) <= 1
    assert rows[2].tokens == alone(policy, PROMPTS[2], params(2))[0]


def test_more_than_there_is_room_for_is_refused(load_small: Callable[..., Policy]) -> None:
    sampler = StreamingSampler(load_small(), slots=2, capacity=16)
    with pytest.raises(ModelError, match="13 tokens and an answer of 4 do not fit into 16"):
        sampler.add("r", [5] * 13, params(0, 4))
    with pytest.raises(ModelError):
        sampler.add("r", [], params(0, 4))
    assert sampler.idle
