"""Estimators against the exact KL of a categorical far from its reference."""

import itertools
import math

import pytest
import torch

from accord.algorithms import k1, k2, k3, sequence_kl, token_logprobs

P, Q = [0.7, 0.2, 0.1], [0.1, 0.3, 0.6]
LOG_RATIO = torch.tensor([math.log(p / q) for p, q in zip(P, Q, strict=True)], dtype=torch.float64)
KL_PQ = 0.7 * math.log(7) + 0.2 * math.log(2 / 3) + 0.1 * math.log(1 / 6)  # 1.1018
KL_QP = 0.1 * math.log(1 / 7) + 0.3 * math.log(3 / 2) + 0.6 * math.log(6)  # 1.0021


def expected(estimate):
    """Expectation over samples of the policy P."""
    return sum(p * e for p, e in zip(P, estimate.tolist(), strict=True))


def test_k1_and_k3_are_unbiased_for_kl_of_policy_to_reference():
    assert pytest.approx(KL_PQ, abs=1e-9) == expected(k1(LOG_RATIO))
    assert pytest.approx(KL_PQ, abs=1e-9) == expected(k3(LOG_RATIO))


def test_bug_direction_and_sign_reversed():
    """rlhf-book: k1 had the other sign, and k3 estimated chi-squared minus KL."""
    assert abs(KL_PQ - KL_QP) > 0.05  # far enough from zero to tell the directions apart
    assert expected(k1(LOG_RATIO)) > 0
    chi_squared = sum(p * p / q for p, q in zip(P, Q, strict=True)) - 1
    assert expected(k3(LOG_RATIO)) != pytest.approx(chi_squared - KL_PQ, abs=0.1)
    assert k3(torch.tensor(1.0)).item() == pytest.approx(1 / math.e, abs=1e-6)  # not e - 2


def test_k2_is_half_the_square_and_biased_here():
    assert k2(torch.tensor([-2.0, 0.0, 1.0])).tolist() == [2, 0, 0.5]
    by_hand = 0.35 * math.log(7) ** 2 + 0.1 * math.log(2 / 3) ** 2 + 0.05 * math.log(6) ** 2
    assert expected(k2(LOG_RATIO)) == pytest.approx(by_hand, abs=1e-9)
    assert abs(by_hand - KL_PQ) > 0.1


def test_all_agree_to_second_order_near_the_reference():
    shift = torch.tensor([1e-3, -1e-3], dtype=torch.float64)
    assert k2(shift).tolist() == pytest.approx([5e-7, 5e-7])
    assert k3(shift).tolist() == pytest.approx([5e-7, 5e-7], rel=1e-3)
    assert k3(torch.tensor(1e-4)).item() >= 0  # no cancellation in float32


def test_k2_and_k3_are_never_negative():
    log_ratio = torch.linspace(-8, 8, 1001)
    assert k2(log_ratio).min() >= 0
    assert k3(log_ratio).min() >= 0


@pytest.mark.parametrize(("estimator", "direction"), [(k1, None), (k2, "forward"), (k3, "reverse")])
def test_what_the_expected_gradient_of_an_estimator_is(estimator, direction):
    """Only k2 may be differentiated: k1 gives zero and k3 the gradient of the other direction."""
    logits = torch.tensor([0.4, -0.3, 0.2], dtype=torch.float64, requires_grad=True)
    reference = torch.tensor(Q, dtype=torch.float64)
    logprobs = logits.log_softmax(0)
    sampled = logprobs.exp().detach()
    (sampled * estimator(logprobs - reference.log())).sum().backward()
    p = sampled.tolist()
    if direction == "forward":  # d KL(p || q) / d logit_i = p_i (log p_i / q_i - KL)
        ratio = [math.log(a / b) for a, b in zip(p, Q, strict=True)]
        kl = sum(a * r for a, r in zip(p, ratio, strict=True))
        by_hand = [a * (r - kl) for a, r in zip(p, ratio, strict=True)]
    elif direction == "reverse":  # d KL(q || p) / d logit_i = p_i - q_i
        by_hand = [a - b for a, b in zip(p, Q, strict=True)]
    else:
        by_hand = [0.0, 0.0, 0.0]
    assert logits.grad.tolist() == pytest.approx(by_hand, abs=1e-9)


def test_sequence_kl_is_exact_in_expectation_over_all_sequences():
    """Two tokens of three; the second depends on the first. The KL is summed by brute force."""
    logits, ref_logits = torch.randn(2, 4, 3, dtype=torch.float64).unbind()
    sequences = list(itertools.product(range(3), repeat=2))
    exact, log_ratios, probabilities = 0.0, [], []
    for first, second in sequences:
        states, targets = torch.tensor([0, 1 + first]), torch.tensor([first, second])
        logprobs = token_logprobs(logits[states], targets)
        ref_logprobs = token_logprobs(ref_logits[states], targets)
        p, q = math.exp(logprobs.sum()), math.exp(ref_logprobs.sum())
        exact += p * math.log(p / q)
        probabilities.append(p)
        log_ratios.append(logprobs - ref_logprobs)
    padded = torch.nn.functional.pad(torch.stack(log_ratios), (1, 2), value=torch.nan)
    mask = torch.tensor([[False, True, True, False, False]]).expand_as(padded)
    kl = sequence_kl(padded, mask)
    estimate = sum(p * k for p, k in zip(probabilities, kl.tolist(), strict=True))
    assert estimate == pytest.approx(exact, abs=1e-9)
