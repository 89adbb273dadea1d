import pytest
import torch

from accord.algorithms import gae


def lambda_return_advantages(rewards, values, gamma, lam):
    """The mean of all n-step returns with weights (1 - lambda) lambda^(n-1), minus the value."""
    length = len(rewards)
    advantages = []
    for t in range(length):
        steps = length - t
        returns = [
            sum(gamma**k * rewards[t + k] for k in range(n))
            + (gamma**n * values[t + n] if n < steps else 0.0)
            for n in range(1, steps + 1)
        ]
        weights = [(1 - lam) * lam ** (n - 1) for n in range(1, steps)] + [lam ** (steps - 1)]
        advantages.append(sum(w * g for w, g in zip(weights, returns, strict=True)) - values[t])
    return advantages


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.7), (1.0, 1.0), (0.99, 0.0)])
def test_against_brute_force_n_step_returns(gamma, lam):
    rewards, values = torch.randn(2, 4, 8, dtype=torch.float64).unbind()
    mask = torch.zeros(4, 8).bool()
    for row, (start, end) in enumerate([(0, 8), (2, 7), (5, 8), (3, 4)]):
        mask[row, start:end] = True
    advantages, returns = gae(rewards, values, mask, gamma, lam)
    for row in range(4):
        kept = mask[row]
        r, v = rewards[row][kept].tolist(), values[row][kept].tolist()
        expected = lambda_return_advantages(r, v, gamma, lam)
        assert advantages[row][kept].tolist() == pytest.approx(expected, abs=1e-9)
        by_hand = [a + b for a, b in zip(expected, v, strict=True)]
        assert returns[row][kept].tolist() == pytest.approx(by_hand, abs=1e-9)
    assert advantages[~mask].abs().max() == 0
    assert returns[~mask].abs().max() == 0


def test_by_hand():
    """Rewards 0 0 1, values .5 each, gamma 1, lambda .5: deltas are 0, 0, .5."""
    rewards, values = torch.tensor([[0.0, 0.0, 1.0]]), torch.full((1, 3), 0.5)
    advantages, returns = gae(rewards, values, torch.ones(1, 3).bool(), 1.0, 0.5)
    assert advantages.tolist() == [[0.125, 0.25, 0.5]]
    assert returns.tolist() == [[0.625, 0.75, 1.0]]


def test_padding_between_turns_is_stepped_over():
    """A conversation with a user's turn inside equals the same one without it."""
    rewards, values = torch.randn(2, 1, 4, dtype=torch.float64).unbind()
    tight, _ = gae(rewards, values, torch.ones(1, 4).bool(), 0.9, 0.8)
    wide = torch.full((2, 1, 9), torch.nan, dtype=torch.float64)
    at = [1, 2, 6, 7]
    wide[0, :, at], wide[1, :, at] = rewards, values
    mask = torch.zeros(1, 9).bool()
    mask[:, at] = True
    spread, returns = gae(wide[0], wide[1], mask, 0.9, 0.8)
    torch.testing.assert_close(spread[:, at], tight)
    assert torch.isfinite(spread).all()
    assert torch.isfinite(returns).all()


def test_a_perfect_value_leaves_no_advantage():
    rewards = torch.randn(3, 6, dtype=torch.float64)
    to_go = torch.tensor([[row[t:].sum().item() for t in range(6)] for row in rewards])
    advantages, _ = gae(rewards, to_go.double(), torch.ones(3, 6).bool(), 1.0, 0.95)
    assert advantages.abs().max() < 1e-6


def test_no_gradient_leaks_into_values_and_ranges_are_checked():
    values, mask = torch.zeros(1, 2, requires_grad=True), torch.ones(1, 2).bool()
    advantages, returns = gae(torch.ones(1, 2), values, mask, 1.0, 0.95)
    assert not advantages.requires_grad
    assert not returns.requires_grad
    with pytest.raises(ValueError, match=r"gae_lambda is 1\.1"):
        gae(torch.ones(1, 2), values, mask, 1.0, 1.1)
    with pytest.raises(ValueError, match="values_BT has shape"):
        gae(torch.ones(1, 2), torch.zeros(1, 1), mask, 1.0, 1.0)
