"""The tricks of the papers that are pure mathematics, one assertion each.

The numbers are those of the list of twenty in the notes this project was planned with; the ones
about models, optimizers and data are tested where those live.
"""

import itertools
import math

import pytest
import torch

from accord.algorithms import (
    AdaptiveKL,
    apply_missing_eos_penalty,
    bon_expected,
    bon_kl,
    bradley_terry_loss,
    dpo_loss,
    gae,
    k1,
    k2,
    k3,
    masked_whiten,
    normalize,
    ppo_policy_loss,
    sequence_logprobs,
    shaped_rewards,
    token_logprobs,
)


def test_trick_01_ratio_one_and_approx_kl_zero_on_the_first_minibatch():
    logprobs, mask = -torch.rand(3, 4), torch.rand(3, 4) < 0.7
    _, metrics = ppo_policy_loss(logprobs, logprobs.clone(), torch.randn(3, 4), mask, 0.2)
    assert (metrics["policy/ratio"].item(), metrics["policy/approx_kl"].item()) == (1, 0)


def test_trick_02_kl_is_zero_at_step_zero():
    zero = torch.zeros(3)
    assert [k(zero).tolist() for k in (k1, k2, k3)] == [[0, 0, 0]] * 3


def test_trick_02_normalised_reference_scores_have_mean_zero_and_std_one():
    scores = [3.0, 5.0, 10.0, -2.0]
    mean = sum(scores) / 4
    std = math.sqrt(sum((s - mean) ** 2 for s in scores) / 4)
    normalised = normalize(torch.tensor(scores), mean, std).tolist()
    moments = sum(normalised) / 4, sum(s * s for s in normalised) / 4
    assert moments == pytest.approx((0, 1), abs=1e-6)


def test_trick_04_shaped_rewards_sum_to_score_minus_beta_times_the_log_ratio():
    log_ratio, mask = torch.tensor([[0.5, -1.0, 2.0, 7.0]]), torch.tensor([[1, 1, 1, 0]]).bool()
    rewards = shaped_rewards(torch.tensor([4.0]), log_ratio, mask, 0.1)
    assert rewards[0].tolist() == pytest.approx([-0.05, 0.1, 4 - 0.2, 0])


def test_trick_05_no_eos_scores_exactly_minus_one_after_normalisation():
    scores = normalize(torch.tensor([8.0, 9.0]), mean=2.0, std=3.0)
    assert apply_missing_eos_penalty(scores, torch.tensor([True, False]), 1.0).tolist() == [2, -1]


def test_trick_07_logprobs_are_those_of_the_sampling_temperature():
    logits = torch.tensor([[1.0, 2.0]]).log()
    found = token_logprobs(logits, torch.tensor([1]), temperature=0.5)
    assert found.item() == pytest.approx(math.log(4 / 5))


def test_trick_08_whitening_uses_biased_variance_and_rewards_keep_their_mean():
    x, mask = torch.tensor([[1.0, 3.0, 99.0]]), torch.tensor([[True, True, False]])
    both = masked_whiten(x, mask)[0].tolist(), masked_whiten(x, mask, shift_mean=False)[0].tolist()
    assert both == (pytest.approx([-1, 1, 0]), pytest.approx([1, 3, 0]))


def test_trick_08_a_value_is_that_of_the_state_before_its_token():
    """Value and advantage share one mask here: the first response token has its own value."""
    mask = torch.tensor([[False, True, True]])
    values, rewards = torch.tensor([[9.0, 0.25, 0.5]]), torch.tensor([[0.0, 0.0, 1.0]])
    assert gae(rewards, values, mask, 1.0, 1.0)[0].tolist() == [[0, 0.75, 0.5]]


def test_trick_10_a_ranking_of_k_weighs_one_comparison_whatever_k_is():
    scores = [1.0, 0.5, -0.5]
    pairs = list(itertools.combinations(scores, 2))
    chosen, rejected = (torch.tensor(x) for x in zip(*pairs, strict=True))
    weights = torch.full((3,), 1 / 3)
    loss, _ = bradley_terry_loss(chosen, rejected, weight_N=weights, denominator=1)
    by_hand = sum(math.log(1 + math.exp(b - a)) for a, b in pairs) / 3
    assert loss.item() == pytest.approx(by_hand, abs=1e-6)


def test_trick_10_a_tie_may_count_half():
    weight, target = torch.tensor([1.0, 0.5]), torch.tensor([1.0, 0.5])
    scores = torch.tensor([0.0, 2.0]), torch.tensor([0.0, 0.0])
    loss, _ = bradley_terry_loss(*scores, weight_N=weight, target_N=target)
    tie = 0.5 * math.log(1 + math.exp(-2)) + 0.5 * math.log(1 + math.exp(2))
    assert loss.item() == pytest.approx((math.log(2) + 0.5 * tie) / 1.5, abs=1e-6)


def test_trick_11_adaptive_kl_is_clipped_at_a_fifth_and_counts_episodes():
    controller = AdaptiveKL(kl_coef=0.15, target=6.0, horizon=10_000.0)
    after = [controller.update(kl, 512).kl_coef for kl in (6.6, 60.0, 0.0)]
    assert after == pytest.approx([0.150768, 0.151536, 0.148464])


def test_trick_14_dpo_loss_is_log_two_at_the_start():
    chosen, rejected = -torch.rand(5), -torch.rand(5)
    loss, _ = dpo_loss(chosen, rejected, chosen, rejected, beta=0.1, label_smoothing=0.2)
    assert loss.item() == pytest.approx(math.log(2))


def test_trick_16_a_step_gains_reward_and_never_the_flipped_sign():
    """One step from the reference towards the shaped reward raises the expected score."""
    logits = torch.zeros(1, 3, requires_grad=True)
    tokens, scores = torch.arange(3), torch.tensor([-1.0, 0.0, 2.0])
    mask = torch.ones(3, 1).bool()
    logprobs = token_logprobs(logits.expand(3, 3), tokens)[:, None]
    rewards = shaped_rewards(scores, torch.zeros(3, 1), mask, kl_coef=0.1)
    loss, _ = ppo_policy_loss(logprobs, logprobs.detach(), rewards, mask, 0.2)
    loss.backward()
    moved = (logits - 0.1 * logits.grad).softmax(1)[0]
    assert (moved * scores).sum() > scores.mean() + 0.01


def test_trick_17_padding_changes_no_sequence_log_probability():
    logprobs = -torch.rand(2, 4)
    padded = torch.nn.functional.pad(logprobs, (3, 2), value=torch.nan)
    expected = [sum(row) for row in logprobs.tolist()]
    assert sequence_logprobs(padded, padded.isfinite()).tolist() == pytest.approx(expected)


def test_trick_18_best_of_n_equals_brute_force():
    scores = [0.1, 0.7, -0.2, 0.4, 0.4]
    best = [max(subset) for subset in itertools.combinations(scores, 3)]
    assert bon_expected(torch.tensor(scores), 3).item() == pytest.approx(sum(best) / len(best))


def test_trick_18_kl_of_best_of_n():
    assert bon_kl(4) == pytest.approx(0.636294, abs=1e-6)
