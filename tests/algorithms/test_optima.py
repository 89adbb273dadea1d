"""Whole objectives against optima known in closed form."""

import math

import pytest
import torch

from accord.algorithms import dpo_loss, gae, ppo_policy_loss, sequence_logprobs, shaped_rewards

EOS = 2  # also the padding token
SEQUENCES = torch.tensor([[2, 2], [0, 2], [1, 2], [0, 0], [0, 1], [1, 0], [1, 1]])
MASK = torch.tensor([[1, 0], [1, 1], [1, 1], [1, 1], [1, 1], [1, 1], [1, 1]]).bool()
SCORES = torch.tensor([0.2, 1.0, -0.5, 0.7, -1.0, 1.5, 0.0], dtype=torch.float64)


def all_logprobs(logits):
    """Log-probabilities (7, 2) of all answers of at most two tokens; states: start, 0, 1."""
    first = logits[0].log_softmax(0)[SEQUENCES[:, 0]]
    second = logits[1 + SEQUENCES[:, 0].clamp(max=1)].log_softmax(1)
    return torch.stack([first, second.gather(1, SEQUENCES[:, 1:])[:, 0]], dim=1)


@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_ppo_with_shaped_rewards_reaches_the_kl_regularised_optimum(beta):
    """Ziegler et al. 2019: the optimum is ref * exp(score / beta), over whole sequences.

    Each sequence is in the batch once; its advantage is weighted by the probability with which the
    old policy samples it, so that the gradient is the exact expectation.
    """
    torch.manual_seed(1)
    ref_BT = all_logprobs(torch.randn(3, 3, dtype=torch.float64))
    ref_B = sequence_logprobs(ref_BT, MASK)
    assert ref_B.exp().sum().item() == pytest.approx(1)
    weights = [math.exp(q + s / beta) for q, s in zip(ref_B.tolist(), SCORES.tolist(), strict=True)]
    optimum = [w / sum(weights) for w in weights]

    logits = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for step in range(400):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 400)
        with torch.no_grad():
            old_BT = all_logprobs(logits)
            probability_B1 = sequence_logprobs(old_BT, MASK).exp()[:, None]
            rewards_BT = shaped_rewards(SCORES, old_BT - ref_BT, MASK, beta)
            advantages_BT, _ = gae(rewards_BT, torch.zeros_like(rewards_BT), MASK, 1.0, 1.0)
        for _ in range(2):
            optimizer.zero_grad()
            loss, _ = ppo_policy_loss(
                all_logprobs(logits), old_BT, probability_B1 * advantages_BT, MASK, 0.2, 1.0
            )
            loss.backward()
            optimizer.step()
    found = sequence_logprobs(all_logprobs(logits), MASK).exp().tolist()
    assert found == pytest.approx(optimum, abs=1e-4)


def test_dpo_optimum_recovers_the_reward_of_a_bandit():
    """Rewards 0, log 3, log 9 make win rates of 3/4, 3/4 and 9/10: the data hold just those counts.

    At the optimum beta * log(policy / reference) is the reward up to a constant
    (Rafailov et al. 2023, equation 5).
    """
    beta = 0.7
    wins = {(1, 0): 3, (0, 1): 1, (2, 1): 3, (1, 2): 1, (2, 0): 9, (0, 2): 1}
    pairs = [pair for pair, count in wins.items() for _ in range(count)]
    chosen, rejected = (torch.tensor(x) for x in zip(*pairs, strict=True))
    reference = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64).log()
    logits = reference.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([logits], max_iter=200, tolerance_grad=1e-10)

    def closure():
        optimizer.zero_grad()
        policy = logits.log_softmax(0)
        loss, _ = dpo_loss(
            policy[chosen], policy[rejected], reference[chosen], reference[rejected], beta
        )
        loss.backward()
        return loss

    optimizer.step(closure)
    reward = beta * (logits.log_softmax(0) - reference)
    found = (reward - reward[0]).tolist()
    assert found == pytest.approx([0, math.log(3), math.log(9)], abs=1e-4)
    weights = [0.6, 0.3 * 3 ** (1 / beta), 0.1 * 9 ** (1 / beta)]
    optimum = [w / sum(weights) for w in weights]
    assert logits.softmax(0).tolist() == pytest.approx(optimum, abs=1e-4)


def test_conservative_dpo_stops_at_the_margin_its_noise_allows():
    """With label smoothing e the margin settles at log((1 - e) / e) instead of running away."""
    zero = torch.zeros(1, dtype=torch.float64)
    chosen = zero.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([chosen], max_iter=100, tolerance_grad=1e-10)

    def closure():
        optimizer.zero_grad()
        loss, _ = dpo_loss(chosen, zero, zero, zero, 0.5, label_smoothing=0.1)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert 0.5 * chosen.item() == pytest.approx(math.log(9), abs=1e-4)
