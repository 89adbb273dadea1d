"""The token tree: a network's log-probabilities along growing prefixes, against full passes."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from accord.models.tree import NextLogprobs
from accord.worlds.optimum import enumerate_responses

PROMPT = [5, 9, 30]
EOS = 2


def oracle(model, tokens: list[int]) -> np.ndarray:
    """Log-probabilities after ``tokens``, by one pass without a cache."""
    with torch.no_grad():
        return (
            model(input_ids=torch.tensor([tokens])).logits[0, -1].double().log_softmax(-1).numpy()
        )


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_each_prefix_continues_its_parent(load_small, architecture: str) -> None:
    model = load_small(architecture).network.model
    walk = NextLogprobs(model)
    first = walk(np.zeros(1, np.int64), np.array([PROMPT]))
    np.testing.assert_allclose(first[0], oracle(model, PROMPT), atol=1e-4)
    paths = [[7], [8], [11]]
    second = walk(np.zeros(3, np.int64), np.array(paths))
    for row, path in zip(second, paths, strict=True):
        np.testing.assert_allclose(row, oracle(model, PROMPT + path), atol=1e-4)
    parents, words = [2, 0, 0, 2], [20, 21, 22, 23]  # one parent ended, two have two children
    third = walk(np.array(parents), np.array(words)[:, None])
    for row, parent, word in zip(third, parents, words, strict=True):
        np.testing.assert_allclose(row, oracle(model, [*PROMPT, *paths[parent], word]), atol=1e-4)
    np.testing.assert_allclose(np.exp(third).sum(axis=1), 1.0, atol=1e-9)


def test_a_network_s_likely_answers_have_their_probabilities(load_small) -> None:
    model = load_small("llama").network.model
    found = enumerate_responses(
        NextLogprobs(model),
        PROMPT,
        eos_id=EOS,
        max_tokens=3,
        min_prob=2e-3,
        reference=NextLogprobs(model),
    )
    assert len(found.tokens) > 5
    assert found.probs_R.sum() + found.uncovered == pytest.approx(1.0, abs=1e-6)
    assert found.kl == pytest.approx(0.0, abs=1e-9)  # its own reference
    for tokens, prob, finished in zip(found.tokens, found.probs_R, found.finished_R, strict=True):
        path = [*tokens, EOS] if finished else list(tokens)
        steps = [oracle(model, PROMPT + path[:i])[token] for i, token in enumerate(path)]
        assert prob == pytest.approx(float(np.exp(sum(steps))), rel=1e-3)
        assert len(path) <= 3
    likely = oracle(model, PROMPT).argsort()[-2:]
    pairs = {
        (int(a), int(b))
        for a, b in product(likely, range(model.config.vocab_size))
        if a != EOS and oracle_pair(model, int(a), int(b)) > 0.05
    }
    reached = {tokens[:2] for tokens in found.tokens} | {
        (*tokens[:1], EOS) for tokens in found.tokens if len(tokens) == 1
    }
    assert pairs <= reached


def oracle_pair(model, a: int, b: int) -> float:
    first = oracle(model, PROMPT)[a]
    if first < np.log(0.05):
        return 0.0
    return float(np.exp(first + oracle(model, [*PROMPT, a])[b]))
