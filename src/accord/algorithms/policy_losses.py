"""The clipped policy loss of PPO.

Shapes: B batch, T tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .checks import check_positive
from .kl import k3
from .masking import check, masked_mean


def ppo_policy_loss(
    logprobs_BT: Tensor,
    old_logprobs_BT: Tensor,
    advantages_BT: Tensor,
    response_mask_BT: Tensor,
    clip_range: float,
    denominator: float | Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean over response tokens of max(-A ratio, -A clip(ratio, 1 +- clip_range)).

    Schulman et al. 2017, equation 7, with ratio = exp(logprobs - old_logprobs). Gradients flow to
    ``logprobs_BT`` alone. All tensors have one shape, usually (B, T).

    Args:
        logprobs_BT: log-probability (nats) of each token under the policy that is trained.
        old_logprobs_BT: the same under the policy that sampled it.
        advantages_BT: advantage of each token.
        response_mask_BT: True where a token is trained on.
        clip_range: how far the ratio may move from 1 before it stops paying.
        denominator: what sums are divided by; default: the number of response tokens. Give the
            full batch's number to a micro-batch, and losses and metrics add up.

    Returns:
        The loss, and detached scalars: ``policy/loss``, ``policy/approx_kl`` (k3 of
        KL(old || new), nats per token), ``policy/clip_fraction``, ``policy/ratio``.
    """
    check(
        response_mask_BT,
        logprobs_BT=logprobs_BT,
        old_logprobs_BT=old_logprobs_BT,
        advantages_BT=advantages_BT,
    )
    check_positive(clip_range=clip_range)
    log_ratio_BT = torch.where(response_mask_BT, logprobs_BT - old_logprobs_BT.detach(), 0.0)
    advantages_BT = torch.where(response_mask_BT, advantages_BT.detach(), 0.0)
    ratio_BT = log_ratio_BT.exp()
    loss_BT = -advantages_BT * ratio_BT
    clipped_BT = -advantages_BT * ratio_BT.clamp(1 - clip_range, 1 + clip_range)
    loss = masked_mean(torch.maximum(loss_BT, clipped_BT), response_mask_BT, denominator)
    with torch.no_grad():
        diagnostics_BT = {
            "policy/approx_kl": k3(-log_ratio_BT),
            "policy/clip_fraction": (clipped_BT > loss_BT).to(loss.dtype),
            "policy/ratio": ratio_BT,
        }
        metrics = {
            name: masked_mean(x_BT, response_mask_BT, denominator)
            for name, x_BT in diagnostics_BT.items()
        }
    return loss, {"policy/loss": loss.detach(), **metrics}
