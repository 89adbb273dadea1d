import math

import pytest
import torch

from accord.algorithms import (
    AdaptiveKL,
    FixedKL,
    apply_missing_eos_penalty,
    clip_scores,
    normalize,
    shaped_rewards,
)

NAN = float("nan")


def test_rewards_by_hand_with_padding_on_both_sides():
    log_ratio = torch.tensor([[NAN, 0.5, -1.0, 2.0], [NAN, NAN, 3.0, NAN]])
    mask = torch.tensor([[False, True, True, True], [False, False, True, False]])
    rewards = shaped_rewards(torch.tensor([10.0, -4.0]), log_ratio, mask, kl_coef=0.1)
    assert rewards[0].tolist() == pytest.approx([0, -0.05, 0.1, 10 - 0.2])
    assert rewards[1].tolist() == pytest.approx([0, 0, -4.3, 0])


def test_a_row_sums_to_score_minus_coefficient_times_log_ratio():
    log_ratio, scores = torch.randn(5, 9, dtype=torch.float64), torch.randn(5)
    mask = torch.rand(5, 9) < 0.7
    rewards = shaped_rewards(scores, log_ratio, mask, 0.3)
    for b in range(5):
        kept = [log_ratio[b, t].item() for t in range(9) if mask[b, t]]
        expected = scores[b].item() - 0.3 * sum(kept)
        assert rewards[b].sum().item() == pytest.approx(expected, abs=1e-6)


def test_bug_score_on_the_wrong_index_when_eos_is_pad():
    """The tokens cannot tell the end from the padding; the mask can. A full row has its own end."""
    eos = 2
    tokens = torch.tensor([[5, 6, eos, eos, eos], [5, 6, 7, 8, 9]])
    mask = torch.tensor([[0, 1, 1, 0, 0], [0, 1, 1, 1, 1]]).bool()
    rewards = shaped_rewards(torch.ones(2), torch.zeros(2, 5), mask, 0.1)
    assert tokens[0, 2] == eos
    assert rewards.tolist() == [[0, 0, 1, 0, 0], [0, 0, 0, 0, 1]]


def test_leaving_the_reference_costs():
    """The sign: a token likelier under the policy than under the reference is penalised."""
    mask = torch.ones(1, 2, dtype=torch.bool)
    rewards = shaped_rewards(torch.zeros(1), torch.tensor([[1.0, -1.0]]), mask, 0.5)
    assert rewards.tolist() == [[-0.5, 0.5]]


def test_a_row_without_response_or_a_wrong_batch_is_refused():
    with pytest.raises(ValueError, match="no token"):
        shaped_rewards(torch.zeros(1), torch.zeros(1, 2), torch.zeros(1, 2).bool(), 0.1)
    with pytest.raises(ValueError, match="scores_B has shape"):
        shaped_rewards(torch.zeros(2), torch.zeros(1, 2), torch.ones(1, 2).bool(), 0.1)


def test_unfinished_completions_score_the_penalty_and_nothing_else():
    finished = torch.tensor([True, False, False])
    scores = apply_missing_eos_penalty(torch.tensor([2.0, 9.0, NAN]), finished, 1.0)
    assert scores.tolist() == [2, -1, -1]


def test_normalize_and_clip():
    assert normalize(torch.tensor([1.0, 5.0]), mean=3.0, std=2.0).tolist() == [-1, 1]
    assert clip_scores(torch.tensor([-9.0, 0.5, 9.0]), 2.0).tolist() == [-2, 0.5, 2]
    assert clip_scores(torch.tensor([NAN]), 2.0).isnan().all()
    with pytest.raises(ValueError, match="std is 0"):
        normalize(torch.zeros(1), 0.0, 0.0)
    with pytest.raises(ValueError, match="limit is -1"):
        clip_scores(torch.zeros(1), -1.0)


def test_fixed_controller_stays():
    assert FixedKL(0.05).update(kl=100.0, num_episodes=64) == FixedKL(0.05)


@pytest.mark.parametrize(
    ("kl", "factor"), [(6.0, 1.0), (6.6, 1.01), (5.4, 0.99), (60.0, 1.02), (0.0, 0.98)]
)
def test_adaptive_controller_by_hand(kl, factor):
    """Target 6 and a tenth of the horizon: the error is clipped to a fifth either way."""
    controller = AdaptiveKL(kl_coef=0.15, target=6.0, horizon=1000.0)
    updated = controller.update(kl, num_episodes=100)
    assert updated.kl_coef == pytest.approx(0.15 * factor)
    assert (updated.target, updated.horizon) == (6.0, 1000.0)
    assert controller.kl_coef == 0.15


def test_horizon_counts_episodes_not_updates():
    controller = AdaptiveKL(0.1, 6.0, 10_000.0)
    one = controller.update(7.2, 64)
    two = controller.update(7.2, 32).update(7.2, 32)
    assert one.kl_coef == pytest.approx(two.kl_coef, rel=1e-5)


def test_adaptive_controller_finds_the_coefficient_of_its_target():
    """A policy whose KL is 2 / kl_coef must end at kl_coef = 1 / 3 for a target of 6."""
    for start in (0.01, 5.0):
        controller = AdaptiveKL(start, target=6.0, horizon=500.0)
        for _ in range(600):
            controller = controller.update(2 / controller.kl_coef, num_episodes=64)
        assert controller.kl_coef == pytest.approx(1 / 3, abs=1e-4)


def test_adaptive_controller_refuses_what_would_break_it():
    with pytest.raises(ValueError, match="target is 0"):
        AdaptiveKL(0.1, 0.0, 1000.0)
    with pytest.raises(ValueError, match=r"horizon 10.0 is too short.*above 12\.8"):
        AdaptiveKL(0.1, 6.0, 10.0).update(0.0, 64)
    for kl in (NAN, math.inf):
        with pytest.raises(ValueError, match="kl is"):
            AdaptiveKL(0.1, 6.0, 1000.0).update(kl, 64)
