"""Estimators of KL(policy || reference) from the policy's own samples.

Shapes: B batch, T tokens. ``log_ratio = logprobs - ref_logprobs`` of tokens **sampled from the
policy**; swapping the two, or sampling from the reference, estimates another quantity. Units: nats.
Estimators: Schulman 2020, "Approximating KL divergence" (joschu.net/blog/kl-approx.html), written
there with r = reference / policy, which is exp(-log_ratio) here.

Three uses ask for three estimators: k1 in the reward (its expectation is the KL and its sum over a
sequence is exact), k3 in reports (never negative, low variance), k2 where it is differentiated: the
expected gradient of k2 is the gradient of the KL, while that of k1 is zero and that of k3 is the
gradient of KL(reference || policy).
"""

from __future__ import annotations

import torch
from torch import Tensor

from .masking import check, masked_sum


def k1(log_ratio: Tensor) -> Tensor:
    """The log-ratio itself: unbiased, of either sign. Elementwise, in nats."""
    return log_ratio


def k2(log_ratio: Tensor) -> Tensor:
    """Half the squared log-ratio: never negative, biased far from zero. Elementwise, in nats."""
    return 0.5 * log_ratio**2


def k3(log_ratio: Tensor) -> Tensor:
    """The unbiased estimator exp(-log_ratio) - 1 + log_ratio, never negative. Elementwise, nats."""
    return torch.expm1(-log_ratio) + log_ratio


def sequence_kl(log_ratio_BT: Tensor, response_mask_BT: Tensor) -> Tensor:
    """Sum of k1 over each response, (B,) nats; its mean over samples is the KL of sequences."""
    check(response_mask_BT, rank=2, log_ratio_BT=log_ratio_BT)
    return masked_sum(k1(log_ratio_BT), response_mask_BT, dim=1)
