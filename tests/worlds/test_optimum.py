"""Exact enumeration and the KL-regularised optimum, against brute force on small categoricals."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from accord.types import Completion
from accord.worlds import tiny
from accord.worlds.optimum import (
    Case,
    Floats,
    Integers,
    Responses,
    enumerate_responses,
    optimum_at_kl,
    tilt,
)

EOS = 0


class Markov:
    """Next-token log-probabilities that depend on the whole prefix, through a hash of it."""

    def __init__(self, seed: int, num_words: int = 3) -> None:
        self.seed, self.num_words = seed, num_words
        self.rows: list[tuple[int, ...]] = [()]

    def probs(self, prefix: tuple[int, ...]) -> Floats:
        rng = np.random.default_rng([self.seed, *prefix])
        return rng.dirichlet(np.ones(self.num_words))

    def __call__(self, parents_N: Integers, tokens_NT: Integers) -> Floats:
        self.rows = [
            self.rows[parent] + tuple(int(token) for token in tokens)
            for parent, tokens in zip(parents_N, tokens_NT, strict=True)
        ]
        return np.log([self.probs(row) for row in self.rows])


def brute_force(model: Markov, prompt: list[int], max_tokens: int) -> dict[tuple[int, ...], float]:
    """Every token string of a policy that stops at EOS or at the limit, with its probability."""
    found = {}
    for string in itertools.product(range(model.num_words), repeat=max_tokens):
        if EOS in string:
            string = string[: string.index(EOS) + 1]
        prob = 1.0
        for i, token in enumerate(string):
            prob *= model.probs((*prompt, *string[:i]))[token]
        found[string] = prob
    return found


def test_enumeration_equals_brute_force() -> None:
    expected = brute_force(Markov(1), [2, 1], 5)
    answers = enumerate_responses(Markov(1), [2, 1], eos_id=EOS, max_tokens=5, min_prob=1e-12)
    found = {
        (*tokens, EOS) if finished else tokens: prob
        for tokens, prob, finished in zip(
            answers.tokens, answers.probs_R, answers.finished_R, strict=True
        )
    }
    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected)
    assert answers.uncovered == pytest.approx(0.0)
    assert answers.kl is None
    assert {len(t) for t, f in zip(answers.tokens, answers.finished_R, strict=True) if not f} == {5}


def test_pruned_mass_is_counted() -> None:
    expected = brute_force(Markov(4), [1], 6)
    answers = enumerate_responses(Markov(4), [1], eos_id=EOS, max_tokens=6, min_prob=0.01)
    likely = [prob for prob in expected.values() if prob >= 0.01]
    assert sorted(answers.probs_R) == pytest.approx(sorted(likely))
    assert answers.uncovered == pytest.approx(1 - sum(likely))
    assert 0.01 < answers.uncovered < 0.9


def test_kl_from_a_reference_equals_brute_force() -> None:
    policy, reference = brute_force(Markov(1), [2], 5), brute_force(Markov(2), [2], 5)
    expected = sum(p * math.log(p / reference[string]) for string, p in policy.items())
    answers = enumerate_responses(
        Markov(1), [2], eos_id=EOS, max_tokens=5, min_prob=1e-12, reference=Markov(2)
    )
    assert expected > 0.5
    assert answers.kl == pytest.approx(expected)


def test_tilt_by_hand() -> None:
    tilted_R, kl = tilt(np.array([0.5, 0.5]), np.array([0.0, math.log(3.0)]), 1.0)
    assert tilted_R == pytest.approx([0.25, 0.75])
    assert kl == pytest.approx(0.25 * math.log(0.5) + 0.75 * math.log(1.5))
    tilted_R, kl = tilt(np.array([0.2, 0.3, 0.5]), np.array([2.0, 2.0, 1.0]), 0.0)
    assert tilted_R == pytest.approx([0.4, 0.6, 0.0])
    assert kl == pytest.approx(math.log(2.0))


def test_no_policy_of_equal_kl_beats_the_optimum() -> None:
    """Brute force over a fine grid of policies for two prompts with three responses each."""
    probs = [np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.5, 0.3])]
    golds = [np.array([0.0, 1.0, 2.0]), np.array([1.5, 0.0, -1.0])]
    cases = [Case(p, g) for p, g in zip(probs, golds, strict=True)]
    best = optimum_at_kl(cases, 0.3, lowest=-2.0, highest=2.0)
    step = 1 / 60
    grid = np.array(
        [(i, j, 60 - i - j) for i in range(1, 60) for j in range(1, 60 - i)], np.float64
    )
    grid *= step
    kls = [np.sum(grid * np.log(grid / p), 1) for p in probs]
    scores = [grid @ g for g in golds]
    mean_kl = (kls[0][:, None] + kls[1][None, :]) / 2
    mean_gold = (scores[0][:, None] + scores[1][None, :]) / 2
    reachable = mean_gold[mean_kl <= 0.3].max()
    assert best.kl == pytest.approx(0.3)
    assert best.gold >= reachable
    assert best.gold == pytest.approx(reachable, abs=0.01)
    assert best.gold_bound == best.gold


def test_the_frontier_s_two_ends() -> None:
    case = Case(np.array([0.25, 0.75]), np.array([1.0, 0.0]))
    start = optimum_at_kl([case], 0.0, lowest=0.0, highest=1.0)
    assert (start.gold, start.kl, start.beta) == (pytest.approx(0.25), 0.0, math.inf)
    end = optimum_at_kl([case], 5.0, lowest=0.0, highest=1.0)
    assert (end.gold, end.kl, end.beta) == (pytest.approx(1.0), pytest.approx(math.log(4)), 0.0)
    golds = [optimum_at_kl([case], kl, lowest=0, highest=1).gold for kl in (0, 0.2, 0.5, 1, 1.3)]
    assert golds == sorted(golds)
    assert np.all(np.diff(golds, 2) < 0.1)


def test_unknown_mass_widens_the_bound_and_the_truth_lies_inside() -> None:
    probs, golds = np.array([0.5, 0.3, 0.15, 0.05]), np.array([0.0, 1.0, -1.0, 0.5])
    truth = optimum_at_kl([Case(probs, golds)], 0.4, lowest=-1.0, highest=2.0)
    partly = Case(probs[:2], golds[:2], worst=0.15, unknown=0.05)
    bounds = optimum_at_kl([partly], 0.4, lowest=-1.0, highest=2.0)
    assert bounds.gold < truth.gold < bounds.gold_bound


def test_bad_input_is_refused() -> None:
    case = Case(np.array([0.5, 0.4]), np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match=r"0\.9.*not to 1"):
        optimum_at_kl([case], 1.0, lowest=0.0, highest=1.0)
    with pytest.raises(ValueError, match="at least one case"):
        optimum_at_kl([], 1.0, lowest=0.0, highest=1.0)
    with pytest.raises(ValueError, match="kl = -1"):
        optimum_at_kl([Case(np.ones(1), np.ones(1))], -1.0, lowest=0.0, highest=1.0)


def test_the_tiny_world_knows_what_pruned_mass_can_be_worth() -> None:
    prompt = tiny.prompts()[0]
    texts = [*tiny.responses(prompt)[:2500], "garbage", "the crow is black ."]
    probs_R = np.full(2502, 0.9 / 2502)
    finished_R = np.ones(2502, np.bool_)
    finished_R[-1] = False
    answers = Responses(((),) * 2502, probs_R, finished_R, uncovered=0.1, min_prob=1e-4, kl=None)
    case = tiny.case(prompt, answers, texts)
    assert case.unknown == pytest.approx(20 * 1e-4)
    assert case.worst == pytest.approx(0.1 - 20 * 1e-4)
    assert list(case.gold_R[-2:]) == [tiny.LOWEST, tiny.LOWEST]
    assert case.gold_R[0] == tiny.gold(prompt, Completion(texts[0]))
