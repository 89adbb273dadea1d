"""Log-probabilities and entropy from logits, under exactly the distribution sampled from.

Shapes: B batch, T tokens, N tokens flattened, V vocabulary. Half-precision logits are raised to
float32 first; float64 stays.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .checks import check_positive, check_range
from .masking import check, masked_sum


def sampling_logits(
    logits_NV: Tensor, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0
) -> Tensor:
    """Logits (N, V) of the distribution that a sampler with these settings draws from.

    Sampler and learner both come here, so that a policy is never trained on another distribution
    than the one that spoke. Logits are divided by ``temperature``; all but the ``top_k`` largest (0
    keeps all) and then all beyond the smallest set of probability ``top_p`` become -inf.
    """
    check(rank=2, logits_NV=logits_NV)
    check_positive(temperature=temperature, top_p=top_p)
    check_range(0, float("inf"), top_k=top_k)
    logits_NV = logits_NV.to(torch.promote_types(logits_NV.dtype, torch.float32))
    if temperature != 1.0:
        logits_NV = logits_NV / temperature
    if 0 < top_k < logits_NV.shape[1]:
        smallest_N1 = logits_NV.topk(top_k, dim=1).values[:, -1:]
        logits_NV = logits_NV.masked_fill(logits_NV < smallest_N1, -torch.inf)
    if top_p < 1.0:
        probs_NV, order_NV = logits_NV.softmax(dim=1).sort(dim=1, descending=True, stable=True)
        beyond_NV = probs_NV.cumsum(dim=1) - probs_NV >= top_p
        drop_NV = torch.zeros_like(beyond_NV).scatter(1, order_NV, beyond_NV)
        logits_NV = logits_NV.masked_fill(drop_NV, -torch.inf)
    return logits_NV


def token_logprobs(
    logits_NV: Tensor,
    targets_N: Tensor,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
) -> Tensor:
    """Log-probability (nats) of each target token under the sampling distribution, (N,).

    ``logits_NV[n]`` must be the logits that predict ``targets_N[n]`` (int64). A target that the
    settings exclude has log-probability -inf.
    """
    logprobs_NV = sampling_logits(logits_NV, temperature, top_k, top_p).log_softmax(dim=1)
    return logprobs_NV.gather(1, targets_N.unsqueeze(1)).squeeze(1)


def sequence_logprobs(logprobs_BT: Tensor, response_mask_BT: Tensor) -> Tensor:
    """Log-probability (nats) of each whole response: the sum over its tokens, (B,)."""
    check(response_mask_BT, rank=2, logprobs_BT=logprobs_BT)
    return masked_sum(logprobs_BT, response_mask_BT, dim=1)


def entropy(
    logits_NV: Tensor, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0
) -> Tensor:
    """Entropy (nats) of the sampling distribution at each token, (N,)."""
    logprobs_NV = sampling_logits(logits_NV, temperature, top_k, top_p).log_softmax(dim=1)
    finite_NV = logprobs_NV.masked_fill(logprobs_NV.isneginf(), 0.0)
    return -(logprobs_NV.exp() * finite_NV).sum(dim=1)
