"""The loss of supervised fine-tuning.

Shapes: B batch, T tokens.
"""

from __future__ import annotations

from torch import Tensor

from .masking import check, masked_mean


def sft_loss(
    logprobs_BT: Tensor, response_mask_BT: Tensor, denominator: float | Tensor | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean negative log-probability (nats per token) of the response tokens.

    Ouyang et al. 2022, section 3.5. The mean is over tokens, not over sequences, so that packing
    demonstrations together changes nothing. Tensors of one shape, usually (B, T).

    Args:
        logprobs_BT: log-probability of each token given the ones before it in its conversation.
        response_mask_BT: True where a token is the demonstrator's.
        denominator: what the sum is divided by; default: the number of response tokens.

    Returns:
        The loss, and ``sft/loss`` detached.
    """
    check(response_mask_BT, logprobs_BT=logprobs_BT)
    loss = -masked_mean(logprobs_BT, response_mask_BT, denominator)
    return loss, {"sft/loss": loss.detach()}
