import functools
import itertools
import math

import pytest
import torch

from accord.algorithms import bradley_terry_loss, dpo_loss


def pairs(size=7):
    return {
        "score_chosen_N": 2 * torch.randn(size, dtype=torch.float64),
        "score_rejected_N": 2 * torch.randn(size, dtype=torch.float64),
    }


def one(chosen, rejected, **options):
    loss, metrics = bradley_terry_loss(torch.tensor([chosen]), torch.tensor([rejected]), **options)
    return loss.item(), {name: x.item() for name, x in metrics.items()}


def minus_log_sigmoid(x):
    return -math.log(1 / (1 + math.exp(-x)))


def test_bradley_terry_by_hand():
    loss, metrics = one(1.5, 0.5)
    assert loss == pytest.approx(0.313262, abs=1e-5)
    expected = {"reward/loss": 0.313262, "reward/accuracy": 1.0, "reward/margin": 1.0}
    assert metrics == pytest.approx(expected, abs=1e-5)
    assert one(0.0, 0.0)[0] == pytest.approx(math.log(2))
    assert one(1.0, 0.0, target_N=torch.tensor([0.5]))[0] == pytest.approx(0.813262, abs=1e-5)
    assert one(1.0, 0.0, margin_N=torch.tensor([1.0]))[0] == pytest.approx(math.log(2))
    assert one(2.0, 0.0, label_smoothing=0.1)[0] == pytest.approx(0.326928, abs=1e-5)
    centred = minus_log_sigmoid(1.0) + 0.01 * 25
    assert one(3.0, 2.0, center_coef=0.01)[0] == pytest.approx(centred)


def test_far_scores_stay_finite():
    assert one(-500.0, 500.0)[0] == 1000
    assert one(500.0, -500.0)[0] == 0


def test_gradient_by_finite_differences():
    rows = pairs(3)
    options = {
        "target_N": [1.0, 0.5, 0.8],
        "margin_N": [0.3, 0.0, 0.0],
        "weight_N": [1.0, 0.5, 2.0],
    }

    def by_loop(chosen):
        total = 0.0
        for i, (c, r) in enumerate(zip(chosen, rows["score_rejected_N"].tolist(), strict=True)):
            p = 0.9 * options["target_N"][i] + 0.1 * (1 - options["target_N"][i])
            m = options["margin_N"][i]
            one_pair = p * minus_log_sigmoid(c - r - m) + (1 - p) * minus_log_sigmoid(r - c - m)
            total += options["weight_N"][i] * (one_pair + 0.05 * (c + r) ** 2)
        return total / 3.5

    chosen = rows["score_chosen_N"].clone().requires_grad_()
    loss, _ = bradley_terry_loss(
        chosen,
        rows["score_rejected_N"],
        **{name: torch.tensor(x, dtype=torch.float64) for name, x in options.items()},
        label_smoothing=0.1,
        center_coef=0.05,
    )
    loss.backward()
    values = rows["score_chosen_N"].tolist()
    assert loss.item() == pytest.approx(by_loop(values), abs=1e-9)
    for i in range(3):
        up, down = list(values), list(values)
        up[i] += 1e-6
        down[i] -= 1e-6
        slope = (by_loop(up) - by_loop(down)) / 2e-6
        assert chosen.grad[i].item() == pytest.approx(slope, abs=1e-6)


def test_swapping_a_comparison_flips_its_loss():
    """Swapped and still called chosen: the losses differ by d. Swapped with its label: the same."""
    rows = pairs()
    swapped = {
        "score_chosen_N": rows["score_rejected_N"],
        "score_rejected_N": rows["score_chosen_N"],
    }
    loss, metrics = bradley_terry_loss(**rows)
    flipped, flipped_metrics = bradley_terry_loss(**swapped)
    assert (flipped - loss).item() == pytest.approx(metrics["reward/margin"].item(), abs=1e-9)
    assert flipped_metrics["reward/margin"] == -metrics["reward/margin"]
    assert flipped_metrics["reward/accuracy"].item() == pytest.approx(
        1 - metrics["reward/accuracy"].item()
    )
    target, margin = torch.rand(7, dtype=torch.float64), torch.rand(7, dtype=torch.float64)
    options = {"margin_N": margin, "label_smoothing": 0.2, "center_coef": 0.1}
    labelled, m1 = bradley_terry_loss(**rows, target_N=target, **options)
    relabelled, m2 = bradley_terry_loss(**swapped, target_N=1 - target, **options)
    torch.testing.assert_close(labelled, relabelled)
    torch.testing.assert_close(m1, m2)


def test_ties_count_half_in_accuracy():
    chosen, rejected = torch.tensor([1.0, 0.0, 2.0, 0.0]), torch.tensor([0.0, 1.0, 2.0, 5.0])
    target = torch.tensor([1.0, 1.0, 1.0, 0.5])  # right, wrong, equal scores, a tied verdict
    _, metrics = bradley_terry_loss(chosen, rejected, target_N=target)
    assert metrics["reward/accuracy"].item() == pytest.approx((1 + 0 + 0.5 + 0.5) / 4)
    assert metrics["reward/margin"].item() == pytest.approx((1 - 1 + 0 + 0) / 4)


def test_metrics_are_weighted_like_the_loss():
    """A right pair of weight 3 and a wrong one of weight 1."""
    weight = torch.tensor([3.0, 1.0])
    _, metrics = bradley_terry_loss(torch.tensor([2.0, 0.0]), torch.ones(2), weight_N=weight)
    assert metrics["reward/accuracy"].item() == 0.75
    assert metrics["reward/margin"].item() == (3 * 1 - 1 * 1) / 4


def test_weight_zero_leaves_out_even_a_nan():
    weight = torch.tensor([1.0, 0.0])
    chosen = torch.tensor([1.0, torch.nan], requires_grad=True)
    loss, metrics = bradley_terry_loss(chosen, torch.zeros(2), weight_N=weight, center_coef=0.1)
    loss.backward()
    assert loss.item() == pytest.approx(0.313262 + 0.1, abs=1e-5)
    assert metrics["reward/accuracy"].item() == 1
    assert chosen.grad[1].item() == 0
    assert torch.isfinite(chosen.grad).all()


def test_non_finite_scores_and_weights_show_in_the_loss():
    assert math.isnan(one(math.nan, 0.0)[0])
    assert math.isnan(one(0.0, 0.0, weight_N=torch.tensor([math.nan]), denominator=1)[0])


def test_k_wise_batch_is_the_mean_over_prompts_of_the_mean_over_pairs():
    """InstructGPT, equation 1: rankings of 4 and of 2, best first."""
    rankings = [[1.2, 0.7, 0.9, -1.0], [0.1, 0.4]]
    chosen, rejected, weights, per_prompt = [], [], [], []
    for scores in rankings:
        all_pairs = list(itertools.combinations(scores, 2))
        per_prompt.append(sum(minus_log_sigmoid(a - b) for a, b in all_pairs) / len(all_pairs))
        chosen += [a for a, _ in all_pairs]
        rejected += [b for _, b in all_pairs]
        weights += [1 / len(all_pairs)] * len(all_pairs)
    tensors = torch.tensor(chosen), torch.tensor(rejected)
    loss, _ = bradley_terry_loss(*tensors, weight_N=torch.tensor(weights), denominator=2)
    assert loss.item() == pytest.approx(sum(per_prompt) / 2, abs=1e-6)


def test_bradley_terry_optimum_recovers_the_scores_behind_the_probabilities():
    """Every pair once with its true win probability; centring fixes the free constant."""
    truth = [1.5, 0.2, -0.4, -1.3]
    indices = list(itertools.combinations(range(4), 2))
    first, second = (torch.tensor(x) for x in zip(*indices, strict=True))
    wins = [1 / (1 + math.exp(truth[j] - truth[i])) for i, j in indices]
    target = torch.tensor(wins, dtype=torch.float64)
    scores = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([scores], max_iter=200, tolerance_grad=1e-10)

    def closure():
        optimizer.zero_grad()
        loss, _ = bradley_terry_loss(scores[first], scores[second], target_N=target)
        loss.backward()
        return loss

    optimizer.step(closure)
    found = (scores - scores.mean()).tolist()
    assert found == pytest.approx(truth, abs=1e-4)


def test_bradley_terry_micro_batches_add_up(adds_up):
    adds_up(bradley_terry_loss, pairs(), 7)
    target = torch.rand(7, dtype=torch.float64)
    weight = torch.tensor([1.0, 0.5, 1.0, 0.0, 0.25, 1.0, 2.0], dtype=torch.float64)

    def weighted(score_chosen_N, score_rejected_N, target_N, weight_N, denominator=None):
        return bradley_terry_loss(
            score_chosen_N,
            score_rejected_N,
            target_N=target_N.detach(),
            weight_N=weight_N.detach(),
            label_smoothing=0.1,
            center_coef=0.01,
            denominator=denominator,
        )

    adds_up(weighted, {**pairs(), "target_N": target, "weight_N": weight}, 5.75)


def test_bradley_terry_door():
    with pytest.raises(ValueError, match="score_rejected_N has shape"):
        bradley_terry_loss(torch.zeros(2), torch.zeros(3))
    with pytest.raises(ValueError, match=r"label_smoothing is 0\.6"):
        bradley_terry_loss(torch.zeros(2), torch.zeros(2), label_smoothing=0.6)
    with pytest.raises(ValueError, match="1 dimensions"):
        bradley_terry_loss(torch.zeros(2, 1), torch.zeros(2, 1))


def logprobs(size=7):
    names = "policy_chosen_N", "policy_rejected_N", "ref_chosen_N", "ref_rejected_N"
    return {name: -10 * torch.rand(size, dtype=torch.float64) for name in names}


def test_dpo_by_hand():
    rows = {k: torch.tensor([v]) for k, v in zip(logprobs(), (-1.0, -5.0, -2.0, -3.0), strict=True)}
    loss, metrics = dpo_loss(**rows, beta=0.5)  # rewards 0.5 and -1, margin 1.5
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1.5)))
    assert {name: x.item() for name, x in metrics.items()} == pytest.approx(
        {
            "dpo/loss": loss.item(),
            "dpo/accuracy": 1.0,
            "dpo/margin": 1.5,
            "dpo/chosen_reward": 0.5,
            "dpo/rejected_reward": -1.0,
        }
    )
    smooth, _ = dpo_loss(**rows, beta=0.5, label_smoothing=0.2)
    assert smooth.item() == pytest.approx(loss.item() + 0.2 * 1.5)


def test_dpo_gradient_is_that_of_the_paper():
    """Equation 8: beta * s(reward rejected - reward chosen), on chosen and minus it on rejected."""
    rows = {name: x.requires_grad_() for name, x in logprobs(4).items()}
    dpo_loss(**rows, beta=0.3)[0].backward()
    values = {name: x.tolist() for name, x in rows.items()}
    for i in range(4):
        pc, pr, rc, rr = (values[name][i] for name in rows)
        weight = 0.3 / (1 + math.exp(0.3 * ((pc - rc) - (pr - rr)))) / 4
        assert rows["policy_chosen_N"].grad[i].item() == pytest.approx(-weight, abs=1e-9)
        assert rows["policy_rejected_N"].grad[i].item() == pytest.approx(weight, abs=1e-9)
    assert rows["ref_chosen_N"].grad is None
    assert rows["ref_rejected_N"].grad is None


def test_swapping_a_dpo_pair_flips_its_loss():
    rows = logprobs()
    swapped = dict(zip(rows, [list(rows.values())[i] for i in (1, 0, 3, 2)], strict=True))
    loss, metrics = dpo_loss(**rows, beta=0.2)
    flipped, flipped_metrics = dpo_loss(**swapped, beta=0.2)
    assert (flipped - loss).item() == pytest.approx(metrics["dpo/margin"].item(), abs=1e-9)
    assert (flipped_metrics["dpo/accuracy"] + metrics["dpo/accuracy"]).item() == pytest.approx(1)
    half, _ = dpo_loss(**rows, beta=0.2, label_smoothing=0.5)
    flipped_half, _ = dpo_loss(**swapped, beta=0.2, label_smoothing=0.5)
    torch.testing.assert_close(half, flipped_half)


def test_a_soft_dpo_pair_is_the_mixture_of_both_hard_ones():
    rows = logprobs()
    swapped = dict(zip(rows, [list(rows.values())[i] for i in (1, 0, 3, 2)], strict=True))
    count = len(rows["policy_chosen_N"])
    target_N = torch.full((count,), 0.8, dtype=torch.float64)
    soft, metrics = dpo_loss(**rows, beta=0.2, target_N=target_N)
    loss, hard = dpo_loss(**rows, beta=0.2)
    flipped, _ = dpo_loss(**swapped, beta=0.2)
    assert soft.item() == pytest.approx(0.8 * loss.item() + 0.2 * flipped.item())
    right = hard["dpo/accuracy"].item()
    assert metrics["dpo/accuracy"].item() == pytest.approx(0.8 * right + 0.2 * (1 - right))


def test_a_dpo_pair_of_weight_two_counts_as_two():
    rows = logprobs(3)
    twice = {name: torch.cat([x, x[:1]]) for name, x in rows.items()}
    weight_N = torch.tensor([2.0, 1.0, 1.0], dtype=torch.float64)
    loss, metrics = dpo_loss(**rows, beta=0.2, label_smoothing=0.1, weight_N=weight_N)
    again, others = dpo_loss(**twice, beta=0.2, label_smoothing=0.1)
    assert loss.item() == pytest.approx(again.item())
    assert {k: v.item() for k, v in metrics.items()} == pytest.approx(
        {k: v.item() for k, v in others.items()}
    )


def test_targets_and_weights_of_one_change_not_one_bit():
    rows = {name: x.float().requires_grad_() for name, x in logprobs(40).items()}
    ones_N = torch.ones(40)
    given, _ = dpo_loss(**rows, beta=0.1, label_smoothing=0.1, target_N=ones_N, weight_N=ones_N)
    chosen_N = 0.1 * (rows["policy_chosen_N"] - rows["ref_chosen_N"].detach())
    margin_N = chosen_N - 0.1 * (rows["policy_rejected_N"] - rows["ref_rejected_N"].detach())
    softplus = torch.nn.functional.softplus
    plain = (0.9 * softplus(-margin_N) + 0.1 * softplus(margin_N)).sum() / 40
    assert torch.equal(given, plain)
    gradients = [torch.autograd.grad(x, rows["policy_chosen_N"])[0] for x in (given, plain)]
    assert torch.equal(*gradients)


def test_dpo_micro_batches_add_up(adds_up):
    adds_up(functools.partial(dpo_loss, beta=0.1, label_smoothing=0.1), logprobs(), 7)


def test_dpo_door():
    with pytest.raises(ValueError, match="ref_rejected_N has shape"):
        dpo_loss(torch.zeros(2), torch.zeros(2), torch.zeros(2), torch.zeros(1), 0.1)
    with pytest.raises(ValueError, match=r"label_smoothing is -0\.1"):
        dpo_loss(**logprobs(), beta=0.1, label_smoothing=-0.1)
