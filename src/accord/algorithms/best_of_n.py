"""Best-of-n sampling: what it would score, and how far it goes from the policy.

Shapes: K samples of one prompt, along the last dimension.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .checks import check_range


def bon_expected(scores: Tensor, n: int) -> Tensor:
    """Unbiased estimate of the expected best score among n samples, from K >= n of them.

    The mean of the maximum over all C(K, n) subsets, without listing them: the i-th smallest score
    is the best of C(i - 1, n - 1) of them (Nakano et al. 2021; Gao et al. 2022,
    section 2). (..., K) -> (...).
    """
    num_samples = scores.shape[-1]
    check_range(1, num_samples, n=n)
    largest_first = scores.sort(dim=-1, descending=True).values[..., : num_samples - n + 1]
    i = torch.arange(num_samples, n, -1, dtype=scores.dtype, device=scores.device)
    weights = torch.cat([scores.new_tensor([n / num_samples]), (i - n) / (i - 1)]).cumprod(dim=0)
    return (largest_first * weights).sum(dim=-1)


def bon_kl(n: int) -> float:
    """KL(best-of-n || policy) in nats: log n - (n - 1) / n (Stiennon et al. 2020, appendix G.3)."""
    check_range(1, math.inf, n=n)
    return math.log(n) - (n - 1) / n
