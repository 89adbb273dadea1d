"""Generalised advantage estimation.

Shapes: B batch, T tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .checks import check_range
from .masking import check


def gae(
    rewards_BT: Tensor,
    values_BT: Tensor,
    response_mask_BT: Tensor,
    gamma: float,
    gae_lambda: float,
) -> tuple[Tensor, Tensor]:
    """Advantages and returns of the response tokens, (B, T) each, detached; elsewhere 0.

    Schulman et al. 2016, equation 16: delta_t = r_t + gamma V_{t+1} - V_t and
    A_t = sum_l (gamma lambda)^l delta_{t+l}; the return is A_t + V_t. ``values_BT[b, t]`` is the
    value of the state before token t. The response tokens of a row are consecutive steps whatever
    lies around or between them, and after the last one the value is 0.
    """
    check(response_mask_BT, rank=2, rewards_BT=rewards_BT, values_BT=values_BT)
    check_range(0, 1, gamma=gamma, gae_lambda=gae_lambda)
    rewards_BT = torch.where(response_mask_BT, rewards_BT.detach(), 0.0)
    values_BT = torch.where(response_mask_BT, values_BT.detach(), 0.0)
    advantages_BT = torch.zeros_like(rewards_BT)
    next_value_B = values_BT.new_zeros(values_BT.shape[0])
    next_advantage_B = torch.zeros_like(next_value_B)
    for t in reversed(range(response_mask_BT.shape[1])):
        mask_B, value_B = response_mask_BT[:, t], values_BT[:, t]
        delta_B = rewards_BT[:, t] + gamma * next_value_B - value_B
        advantage_B = delta_B + gamma * gae_lambda * next_advantage_B
        advantages_BT[:, t] = torch.where(mask_B, advantage_B, 0.0)
        next_value_B = torch.where(mask_B, value_B, next_value_B)
        next_advantage_B = torch.where(mask_B, advantage_B, next_advantage_B)
    return advantages_BT, advantages_BT + values_BT
