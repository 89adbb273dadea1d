"""The clipped value loss of PPO, and how much of the returns the values explain.

Shapes: B batch, T tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .checks import check_positive
from .masking import check, masked_mean, masked_var


def ppo_value_loss(
    values_BT: Tensor,
    old_values_BT: Tensor,
    returns_BT: Tensor,
    response_mask_BT: Tensor,
    value_clip_range: float,
    denominator: float | Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean over response tokens of 0.5 max((V - R)^2, (V_clipped - R)^2).

    V_clipped keeps V within ``value_clip_range`` of the old value (Ziegler et al. 2019, the loss of
    lm-human-preferences; the factor 0.5 is theirs). Gradients flow to ``values_BT`` alone. All
    tensors have one shape, usually (B, T).

    Args:
        values_BT: value of the state before each token under the model that is trained.
        old_values_BT: the same when the rollout was made.
        returns_BT: what the values should be.
        response_mask_BT: True where a token counts; the policy's mask, for a value stands at the
            token that it precedes.
        value_clip_range: how far a value may move in one update, in the rewards' unit.
        denominator: what sums are divided by; default: the number of response tokens.

    Returns:
        The loss, and detached scalars ``value/loss`` and ``value/clip_fraction``.
    """
    check(
        response_mask_BT,
        values_BT=values_BT,
        old_values_BT=old_values_BT,
        returns_BT=returns_BT,
    )
    check_positive(value_clip_range=value_clip_range)
    values_BT = torch.where(response_mask_BT, values_BT, 0.0)
    old_BT = torch.where(response_mask_BT, old_values_BT.detach(), 0.0)
    returns_BT = torch.where(response_mask_BT, returns_BT.detach(), 0.0)
    clipped_BT = old_BT + (values_BT - old_BT).clamp(-value_clip_range, value_clip_range)
    loss_BT = (values_BT - returns_BT) ** 2
    clipped_loss_BT = (clipped_BT - returns_BT) ** 2
    worst_BT = 0.5 * torch.maximum(loss_BT, clipped_loss_BT)
    loss = masked_mean(worst_BT, response_mask_BT, denominator)
    clipped_more_BT = (clipped_loss_BT > loss_BT).to(loss.dtype)
    clip_fraction = masked_mean(clipped_more_BT, response_mask_BT, denominator)
    return loss, {"value/loss": loss.detach(), "value/clip_fraction": clip_fraction}


def explained_variance(values_BT: Tensor, returns_BT: Tensor, response_mask_BT: Tensor) -> Tensor:
    """1 - Var(returns - values) / Var(returns): 1 perfect, 0 as good as a constant; a scalar.

    NaN when the returns do not vary: then there is nothing to explain. It is a ratio, so it is
    measured on the whole batch and not summed over micro-batches.
    """
    check(response_mask_BT, values_BT=values_BT, returns_BT=returns_BT)
    variance = masked_var(returns_BT, response_mask_BT)
    unexplained = masked_var(returns_BT - values_BT, response_mask_BT)
    return torch.where(variance > 0, 1 - unexplained / variance, torch.nan)


def affine_fit(
    values_BT: Tensor, returns_BT: Tensor, response_mask_BT: Tensor
) -> tuple[float, float]:
    """The slope a and offset b for which a V + b is nearest to the returns, by least squares.

    A reward model has only ever been read at last tokens: as a value model its scale at the others
    is arbitrary, and a baseline that explains less than a constant does harm. Values that do not
    vary get slope 0, and the offset is the mean return.
    """
    check(response_mask_BT, values_BT=values_BT, returns_BT=returns_BT)
    mean_value = masked_mean(values_BT, response_mask_BT)
    mean_return = masked_mean(returns_BT, response_mask_BT)
    variance = masked_var(values_BT, response_mask_BT)
    product_BT = (values_BT - mean_value) * (returns_BT - mean_return)
    covariance = masked_mean(product_BT, response_mask_BT)
    slope = float(covariance / variance) if variance > 0 else 0.0
    return slope, float(mean_return) - slope * float(mean_value)
