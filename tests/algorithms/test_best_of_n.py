import itertools
import math

import pytest
import torch

from accord.algorithms import bon_expected, bon_kl

SCORES = [0.3, -1.2, 0.3, 2.5, 0.9, -0.1]


@pytest.mark.parametrize("n", range(1, 7))
def test_estimator_against_every_subset(n):
    subsets = list(itertools.combinations(SCORES, n))
    by_brute_force = sum(max(subset) for subset in subsets) / len(subsets)
    assert bon_expected(torch.tensor(SCORES), n).item() == pytest.approx(by_brute_force, abs=1e-6)


def test_each_prompt_has_its_own_estimate():
    batch = torch.tensor([SCORES, [2 * s for s in SCORES]])
    one = bon_expected(torch.tensor(SCORES), 3).item()
    assert bon_expected(batch, 3).tolist() == pytest.approx([one, 2 * one])


def test_many_samples_neither_overflow_nor_drift():
    """Of the scores 1..N the best of n is n (N + 1) / (n + 1) on average."""
    scores = torch.arange(1, 10_001, dtype=torch.float64)
    for n in (1, 10, 1000, 9_999):
        exact = n * 10_001 / (n + 1)
        assert bon_expected(scores, n).item() == pytest.approx(exact, rel=1e-9)


def test_a_hopeless_sample_costs_nothing_once_it_is_never_the_best():
    assert bon_expected(torch.tensor([-math.inf, 1.0, 3.0]), 2).item() == pytest.approx(7 / 3)


def test_more_samples_than_there_are_is_refused():
    for n in (0, 4):
        with pytest.raises(ValueError, match=f"n is {n}"):
            bon_expected(torch.zeros(3), n)


@pytest.mark.parametrize("n", [1, 2, 4, 16, 64])
def test_kl_by_numerical_integration(n):
    """The best of n uniform draws has density n u^(n - 1); its KL to the uniform is integrated."""
    steps = 200_000
    densities = (n * ((i + 0.5) / steps) ** (n - 1) for i in range(steps))
    integral = sum(d * math.log(d) for d in densities if d > 0) / steps
    assert bon_kl(n) == pytest.approx(integral, abs=1e-4)


def test_kl_of_fewer_than_one_is_refused():
    with pytest.raises(ValueError, match="n is 0"):
        bon_kl(0)
