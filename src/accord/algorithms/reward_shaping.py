"""From one score per completion to one reward per token, and who sets the KL coefficient.

Shapes: B batch, T tokens. A *score* is the reward model's number for a whole completion; a *reward*
is what one token earns after the KL penalty. Order in a stage: ``normalize``, ``clip_scores``,
``apply_missing_eos_penalty``, ``shaped_rewards``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .checks import check_positive
from .kl import k1
from .masking import check, last_index


def normalize(scores: Tensor, mean: float, std: float) -> Tensor:
    """(scores - mean) / std, with the two measured on the reference policy's samples.

    Ziegler et al. 2019, section 2.1. Any shape.
    """
    check_positive(std=std)
    return (scores - mean) / std


def clip_scores(scores: Tensor, limit: float) -> Tensor:
    """Scores held within [-limit, limit]; a NaN stays a NaN. Any shape."""
    check_positive(limit=limit)
    return scores.clamp(-limit, limit)


def apply_missing_eos_penalty(scores_B: Tensor, finished_B: Tensor, penalty: float) -> Tensor:
    """Replace, not lower, the score of each completion that did not end by ``-penalty``, (B,).

    Huang et al. 2024 (the EOS trick): the model's score says nothing about a text cut off, so the
    penalty is in the unit of the normalised scores and comes after normalisation.
    """
    check(finished_B, rank=1, scores_B=scores_B)
    return torch.where(finished_B, scores_B, -penalty)


def shaped_rewards(
    scores_B: Tensor, log_ratio_BT: Tensor, response_mask_BT: Tensor, kl_coef: float
) -> Tensor:
    """Rewards (B, T): -kl_coef * k1 on each response token, plus the score on the last one.

    Ziegler et al. 2019, equation 2; elsewhere 0. A row sums to score - kl_coef * log(pi / ref).

    Raises:
        ValueError: a row has no response token to carry its score.
    """
    check(response_mask_BT, rank=2, log_ratio_BT=log_ratio_BT)
    check(response_mask_BT.any(dim=1), scores_B=scores_B)
    penalty_BT = torch.where(response_mask_BT, -kl_coef * k1(log_ratio_BT), 0.0)
    last_B1 = last_index(response_mask_BT).unsqueeze(1)
    return penalty_BT.scatter_add(1, last_B1, scores_B.to(penalty_BT.dtype).unsqueeze(1))


@dataclass(frozen=True, slots=True)
class FixedKL:
    """A KL coefficient that stays."""

    kl_coef: float

    def update(self, kl: float, num_episodes: int) -> FixedKL:
        """The same controller."""
        return self


@dataclass(frozen=True, slots=True)
class AdaptiveKL:
    """A KL coefficient steered so that the KL of sequences (nats) approaches ``target``.

    Ziegler et al. 2019, section 2.2: error = clip(kl / target - 1, -0.2, 0.2);
    kl_coef *= 1 + error * num_episodes / horizon. ``horizon`` counts episodes.
    """

    kl_coef: float
    target: float
    horizon: float

    def __post_init__(self) -> None:
        """Refuse a coefficient, target or horizon that is not positive."""
        check_positive(kl_coef=self.kl_coef, target=self.target, horizon=self.horizon)

    def update(self, kl: float, num_episodes: int) -> AdaptiveKL:
        """The controller after ``num_episodes`` episodes whose mean KL was ``kl`` nats.

        Raises:
            ValueError: the KL is not finite, or the horizon is so short that one update could turn
                the coefficient negative.
        """
        if not math.isfinite(kl):
            raise ValueError(f"kl is {kl}; a coefficient cannot be steered by it")
        if num_episodes >= 5 * self.horizon:
            raise ValueError(
                f"kl horizon {self.horizon} is too short for {num_episodes} episodes an update; "
                f"it must be above {num_episodes / 5}"
            )
        error = min(max(kl / self.target - 1, -0.2), 0.2)
        return replace(self, kl_coef=self.kl_coef * (1 + error * num_episodes / self.horizon))
