import functools
import math

import pytest
import torch

from accord.algorithms import ppo_policy_loss


def batch(rows=6, tokens=7):
    old = -torch.rand(rows, tokens, dtype=torch.float64)
    return {
        "logprobs_BT": old + 0.3 * torch.randn(rows, tokens, dtype=torch.float64),
        "old_logprobs_BT": old,
        "advantages_BT": torch.randn(rows, tokens, dtype=torch.float64),
        "response_mask_BT": torch.rand(rows, tokens) < 0.6,
    }


def test_the_four_corners_by_hand():
    """Ratios 1.5 and 0.5 with advantages +1 and -1 at a clip range of 0.2."""
    ratio = torch.tensor([[1.5, 1.5, 0.5, 0.5]])
    advantages = torch.tensor([[1.0, -1.0, 1.0, -1.0]])
    mask = torch.ones(1, 4).bool()
    loss, metrics = ppo_policy_loss(ratio.log(), torch.zeros(1, 4), advantages, mask, 0.2)
    assert loss.item() == pytest.approx((-1.2 + 1.5 - 0.5 + 0.8) / 4)
    k3 = ((0.5 - math.log(1.5)) + (-0.5 - math.log(0.5))) / 2
    assert {name: x.item() for name, x in metrics.items()} == pytest.approx(
        {
            "policy/loss": 0.15,
            "policy/clip_fraction": 0.5,
            "policy/ratio": 1.0,
            "policy/approx_kl": k3,
        }
    )


def test_gradient_by_finite_differences_of_a_scalar_loop():
    rows = batch(2, 4)
    logprobs = rows["logprobs_BT"].clone().requires_grad_()

    def by_loop(values):
        total, count = 0.0, 0
        for b in range(2):
            for t in range(4):
                if rows["response_mask_BT"][b, t]:
                    a = rows["advantages_BT"][b, t].item()
                    r = math.exp(values[b][t] - rows["old_logprobs_BT"][b, t].item())
                    total += min(a * r, a * min(max(r, 0.8), 1.2))
                    count += 1
        return -total / count

    loss, _ = ppo_policy_loss(**{**rows, "logprobs_BT": logprobs}, clip_range=0.2)
    loss.backward()
    values = rows["logprobs_BT"].tolist()
    assert loss.item() == pytest.approx(by_loop(values), abs=1e-9)
    for b in range(2):
        for t in range(4):
            up, down = [list(row) for row in values], [list(row) for row in values]
            up[b][t] += 1e-6
            down[b][t] -= 1e-6
            slope = (by_loop(up) - by_loop(down)) / 2e-6
            assert logprobs.grad[b, t].item() == pytest.approx(slope, abs=1e-6)


def test_at_ratio_one_the_gradient_is_that_of_reinforce():
    """On the logits: -A (1[token] - p) / number of tokens, written out."""
    logits = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    tokens, advantages = torch.randint(5, (2, 3)), torch.randn(2, 3, dtype=torch.float64)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    logprobs = logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0]
    loss, metrics = ppo_policy_loss(logprobs, logprobs.detach(), advantages, mask, 0.2)
    loss.backward()
    assert metrics["policy/ratio"].item() == 1
    assert metrics["policy/approx_kl"].item() == 0
    assert metrics["policy/clip_fraction"].item() == 0
    probs = logits.detach().softmax(-1)
    for b in range(2):
        for t in range(3):
            for v in range(5):
                hit = float(v == tokens[b, t])
                reinforce = -advantages[b, t].item() * (hit - probs[b, t, v].item()) / 3
                expected = reinforce if mask[b, t] else 0.0
                assert logits.grad[b, t, v].item() == pytest.approx(expected, abs=1e-9)


def test_approx_kl_estimates_old_to_new():
    """Every token once, weighted by the old policy that sampled it, gives KL(old || new)."""
    old, new = [0.7, 0.2, 0.1], [0.1, 0.3, 0.6]
    total = 0.0
    for p, q in zip(old, new, strict=True):
        one = torch.ones(1, 1)
        _, metrics = ppo_policy_loss(one * math.log(q), one * math.log(p), one, one.bool(), 0.2)
        total += p * metrics["policy/approx_kl"].item()
    exact = sum(p * math.log(p / q) for p, q in zip(old, new, strict=True))
    assert total == pytest.approx(exact, abs=1e-5)


def test_gradient_stops_only_where_moving_on_would_pay_too_much():
    ratio = torch.tensor([[1.5, 1.5, 0.5, 0.5]])
    logprobs = ratio.log().requires_grad_()
    advantages = torch.tensor([[1.0, -1.0, 1.0, -1.0]])
    loss, _ = ppo_policy_loss(logprobs, torch.zeros(1, 4), advantages, torch.ones(1, 4).bool(), 0.2)
    loss.backward()
    assert logprobs.grad.tolist()[0] == pytest.approx([0, 1.5 / 4, -0.5 / 4, 0])


def test_only_the_policy_is_trained():
    rows = {k: v.requires_grad_(v.is_floating_point()) for k, v in batch().items()}
    ppo_policy_loss(**rows, clip_range=0.2)[0].backward()
    assert rows["logprobs_BT"].grad is not None
    assert rows["old_logprobs_BT"].grad is None
    assert rows["advantages_BT"].grad is None


def test_micro_batches_add_up(adds_up):
    rows = batch()
    loss = functools.partial(ppo_policy_loss, clip_range=0.2)
    adds_up(loss, rows, rows["response_mask_BT"].sum())


def test_bug_metrics_and_loss_over_padding(ignores_padding):
    ignores_padding(functools.partial(ppo_policy_loss, clip_range=0.2), batch())


def test_bug_mean_of_micro_batch_means_is_another_loss():
    """Rows of 1 and 3 tokens: the mean of their means would be 1.5, the batch's loss is 1.75."""
    zeros = torch.zeros(2, 3)
    advantages = -torch.tensor([[1.0, 0.0, 0.0], [2.0, 2.0, 2.0]])
    mask = torch.tensor([[True, False, False], [True, True, True]])
    losses = [
        ppo_policy_loss(zeros[i], zeros[i], advantages[i], mask[i], 0.2, denominator=4)[0].item()
        for i in range(2)
    ]
    assert sum(losses) == pytest.approx(1.75)


def test_non_finite_input_shows_in_the_loss():
    rows = batch()
    rows["response_mask_BT"][0, 0] = True
    rows["logprobs_BT"][0, 0] = torch.nan
    loss, _ = ppo_policy_loss(**rows, clip_range=0.2)
    assert loss.isnan()


def test_the_door():
    rows = batch()
    with pytest.raises(ValueError, match="advantages_BT has shape"):
        ppo_policy_loss(**{**rows, "advantages_BT": torch.zeros(6)}, clip_range=0.2)
    with pytest.raises(ValueError, match="clip_range is 0"):
        ppo_policy_loss(**rows, clip_range=0.0)
