"""The choice model's likelihood and derivatives, by brute force and finite differences."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from accord.errors import DataError
from accord.feedback.choice_model import ChoiceModel, build_stages, groups_of_options

WORTH = np.array([0.3, -0.6, 0.8, 0.1])


def model(seed: int = 0, num: int = 40, num_features: int = 2) -> ChoiceModel:
    """Choices of one, two or three from pairs, triples and all four of four options."""
    rng = np.random.default_rng(seed)
    groups, unit = [], 0
    for m in (2, 3, 4):
        option = np.array([rng.choice(4, m, replace=False) for _ in range(num)])
        feature = np.round(rng.normal(size=(num, m, num_features)), 1)
        chosen = np.zeros((num, m), dtype=bool)
        for row in chosen:
            row[rng.choice(m, rng.integers(1, min(m, 3) + 1), replace=False)] = True
        groups.append(build_stages(option, feature, chosen, np.arange(unit, unit + num)))
        unit += num
    return ChoiceModel(tuple(groups), 4, num_features, (2, 3))


def brute_force(choices: ChoiceModel, params: np.ndarray, weights: np.ndarray) -> float:
    """The log-likelihood, one choice at a time, straight from the definition."""
    rating = np.concatenate([[0.0], params[:3]])
    beta, delta = params[3:5], {1: 1.0, 2: math.exp(params[5]), 3: math.exp(params[6])}
    total = 0.0
    for group in choices.groups:
        for pattern, unit in zip(group.pattern, group.unit, strict=True):
            worth = rating[group.option[pattern]] + group.feature[pattern] @ beta
            m = len(worth)
            chance = {
                subset: delta[size] * math.exp(sum(worth[list(subset)]) / size)
                for size in range(1, min(m, 3) + 1)
                for subset in combinations(range(m), size)
            }
            picked = tuple(np.flatnonzero(group.chosen[pattern]).tolist())
            total += weights[unit] * math.log(chance[picked] / sum(chance.values()))
    return total


def evaluate(choices: ChoiceModel, params: np.ndarray, weights: np.ndarray) -> Any:
    totals = [np.bincount(g.pattern, weights[g.unit], len(g.option)) for g in choices.groups]
    return choices._evaluate(params, totals)


PARAMS = np.array([0.4, -0.3, 0.2, 0.5, -0.2, 0.3, -0.7])


def test_likelihood_is_the_definition() -> None:
    choices, weights = model(), np.random.default_rng(1).uniform(0, 2, 120)
    value, _, _ = evaluate(choices, PARAMS, weights)
    assert value == pytest.approx(brute_force(choices, PARAMS, weights), abs=1e-9)


def test_derivatives_are_finite_differences() -> None:
    choices, weights = model(2), np.random.default_rng(1).uniform(0, 2, 120)
    _, slope, curve = evaluate(choices, PARAMS, weights)
    for k in range(len(PARAMS)):
        step = np.zeros(7)
        step[k] = 1e-5
        ahead = evaluate(choices, PARAMS + step, weights)
        behind = evaluate(choices, PARAMS - step, weights)
        assert slope[k] == pytest.approx((ahead[0] - behind[0]) / 2e-5, abs=1e-5)
        assert curve[k] == pytest.approx(-(ahead[1] - behind[1]) / 2e-5, abs=1e-5)
    assert curve == pytest.approx(curve.T)
    assert np.linalg.eigvalsh(curve)[0] > 0


def test_scores_of_clusters_add_up_to_the_gradient() -> None:
    choices, weights = model(3), np.random.default_rng(1).uniform(0, 2, 120)
    _, slope, _ = evaluate(choices, PARAMS, weights)
    cluster = np.arange(120) % 7
    scores = choices.scores(PARAMS, weights, cluster)
    assert scores.shape == (7, 7)
    assert scores.sum(axis=0) == pytest.approx(slope, abs=1e-9)
    alone = np.where(cluster == 3, weights, 0.0)
    assert scores[3] == pytest.approx(evaluate(choices, PARAMS, alone)[1], abs=1e-9)


def test_the_fit_is_a_maximum_from_anywhere() -> None:
    choices, weights = model(4), np.ones(120)
    flat = np.zeros((7, 7))
    fit = choices.fit(weights, flat)
    _, slope, _ = evaluate(choices, fit.params, weights)
    assert abs(slope).max() < 1e-7
    again = choices.fit(weights, flat, start=PARAMS * 3)
    assert again.params == pytest.approx(fit.params, abs=1e-8)
    rng = np.random.default_rng(0)
    for _ in range(20):
        other = fit.params + 0.2 * rng.normal(size=7)
        assert brute_force(choices, other, weights) < fit.log_likelihood


def test_a_prior_draws_the_parameters_in() -> None:
    choices, weights = model(5), np.ones(120)
    free = choices.fit(weights, np.zeros((7, 7)))
    held = choices.fit(weights, 50.0 * np.eye(7))
    assert np.linalg.norm(held.params) < 0.5 * np.linalg.norm(free.params)
    assert held.log_likelihood < free.log_likelihood  # without the prior's part
    _, slope, _ = evaluate(choices, held.params, weights)
    assert slope == pytest.approx(50.0 * held.params, abs=1e-6)


def test_equal_choices_are_kept_once() -> None:
    option = np.array([[0, 1], [0, 1], [1, 0], [0, 1]])
    chosen = np.array([[True, False], [True, False], [False, True], [False, True]])
    stages = build_stages(option, np.zeros((4, 2, 1)), chosen, np.arange(4))
    assert len(stages.option) == 3
    assert (stages.option[stages.pattern] == option).all()
    assert (stages.chosen[stages.pattern] == chosen).all()


def wins(pairs: list[tuple[int, int]], tied: bool = False) -> Any:
    option = np.array(pairs)
    chosen = np.tile([True, tied], (len(pairs), 1))
    return build_stages(option, np.zeros((len(pairs), 2, 0)), chosen, np.arange(len(pairs)))


def test_sets_that_can_be_compared() -> None:
    assert groups_of_options([wins([(0, 1), (1, 2), (2, 0)])], 3) == [[0, 1, 2]]
    assert groups_of_options([wins([(0, 1), (1, 2)])], 3) == [[0], [1], [2]]
    assert groups_of_options([wins([(2, 0), (0, 1), (1, 0)])], 3) == [[2], [0, 1]]
    assert groups_of_options([wins([(0, 1)], tied=True)], 2) == [[0, 1]]
    assert sorted(groups_of_options([wins([(0, 1), (1, 0), (2, 3), (3, 2)])], 4)) == [
        [0, 1],
        [2, 3],
    ]
    chain = [(i, i + 1) for i in range(30)]
    assert len(groups_of_options([wins([*chain, (30, 0)])], 31)) == 1


def test_what_is_not_determined_is_refused() -> None:
    stages = wins([(0, 1), (1, 0)])
    with pytest.raises(DataError, match="tell all effects apart"):
        ChoiceModel((stages,), 3, 0, ()).fit(np.ones(2), np.zeros((2, 2)))
    with pytest.raises(DataError, match="runs away"):
        ChoiceModel((wins([(0, 1)] * 3),), 2, 0, ()).fit(np.ones(3), np.zeros((1, 1)))


def test_choices_drawn_from_the_model_give_its_worths_back() -> None:
    rng = np.random.default_rng(6)
    option = np.array([rng.choice(4, 3, replace=False) for _ in range(8000)])
    chosen = np.zeros((8000, 3), dtype=bool)
    noisy = WORTH[option] + rng.gumbel(size=(8000, 3))
    chosen[np.arange(8000), noisy.argmax(axis=1)] = True
    stages = build_stages(option, np.zeros((8000, 3, 0)), chosen, np.arange(8000))
    fit = ChoiceModel((stages,), 4, 0, ()).fit(np.ones(8000), np.zeros((3, 3)))
    errors = np.sqrt(np.diag(np.linalg.inv(fit.information)))
    assert (abs(fit.params - (WORTH - WORTH[0])[1:]) < 4 * errors).all()
    assert errors.max() < 0.05
