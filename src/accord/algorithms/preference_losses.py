"""Losses that learn from comparisons: Bradley-Terry for a reward model, DPO for a policy.

Shapes: N comparisons.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from .checks import check_range
from .masking import check, masked_mean


def bradley_terry_loss(
    score_chosen_N: Tensor,
    score_rejected_N: Tensor,
    *,
    target_N: Tensor | None = None,
    weight_N: Tensor | None = None,
    margin_N: Tensor | None = None,
    label_smoothing: float = 0.0,
    center_coef: float = 0.0,
    denominator: float | Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted mean of -p log s(d - m) - (1 - p) log s(-d - m), d = chosen - rejected.

    Bradley and Terry 1952; Stiennon et al. 2020, section 3.4. With weights 1 / C(K, 2) and the
    number of prompts as denominator it is equation 1 of Ouyang et al. 2022.

    Args:
        score_chosen_N: score of the completion that was preferred.
        score_rejected_N: score of the other.
        target_N: probability p that the chosen one wins: 1 (default), or 0.5 for a tie (Christiano
            et al. 2017, section 2.2.3), or what a rater's strength says.
        weight_N: weight of each comparison, 0 leaves it out; default 1.
        margin_N: by how much the winner must win, m >= 0 (Touvron et al. 2023, equation 2).
        label_smoothing: probability e, in [0, 0.5], that a label is wrong.
        center_coef: coefficient of (chosen + rejected)^2 (Eisenstein et al. 2023).
        denominator: what sums are divided by; default: the sum of the weights.

    Returns:
        The loss, and detached scalars weighted in the same way: ``reward/loss`` (all of it),
        ``reward/accuracy`` (probability that a label drawn from p agrees with the higher score;
        ties count one half), ``reward/margin`` (d in the label's direction).
    """
    ones_N = torch.ones_like(score_chosen_N)
    target_N, weight_N = _or(target_N, ones_N), _or(weight_N, ones_N)
    margin_N = _or(margin_N, 0 * ones_N)
    check(
        rank=1,
        score_chosen_N=score_chosen_N,
        score_rejected_N=score_rejected_N,
        target_N=target_N,
        weight_N=weight_N,
        margin_N=margin_N,
    )
    check_range(0, 0.5, label_smoothing=label_smoothing)
    counts_N = weight_N != 0
    total = weight_N.sum() if denominator is None else denominator
    chosen_N = torch.where(counts_N, score_chosen_N, 0.0)
    rejected_N = torch.where(counts_N, score_rejected_N, 0.0)
    difference_N = chosen_N - rejected_N
    smooth_N = (1 - label_smoothing) * target_N + label_smoothing * (1 - target_N)
    loss_N = _pair_loss(difference_N, smooth_N, margin_N)
    loss_N = loss_N + center_coef * (chosen_N + rejected_N) ** 2
    loss = masked_mean(weight_N * loss_N, counts_N, total)
    agreement_N, direction_N = _agreement(difference_N.detach(), target_N)
    return loss, {
        "reward/loss": loss.detach(),
        "reward/accuracy": masked_mean(weight_N * agreement_N, counts_N, total),
        "reward/margin": masked_mean(weight_N * direction_N, counts_N, total),
    }


def dpo_loss(
    policy_chosen_N: Tensor,
    policy_rejected_N: Tensor,
    ref_chosen_N: Tensor,
    ref_rejected_N: Tensor,
    beta: float,
    label_smoothing: float = 0.0,
    denominator: float | Tensor | None = None,
    target_N: Tensor | None = None,
    weight_N: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean of -(1 - e) log s(beta h) - e log s(-beta h), h the difference of the log-ratios.

    Rafailov et al. 2023, equation 7; e > 0 is the conservative DPO of Mitchell 2023. Gradients do
    not flow to the reference. With targets p it is the mean of p times that, plus (1 - p) times the
    same of the exchanged pair.

    Args:
        policy_chosen_N: log-probability (nats) of the preferred completion, summed over its tokens.
        policy_rejected_N: the same for the other completion.
        ref_chosen_N: the preferred completion under the reference.
        ref_rejected_N: the other under the reference.
        beta: strength of the implied KL penalty, in score units per nat.
        label_smoothing: probability e, in [0, 0.5], that a label is wrong.
        denominator: what sums are divided by; default: the sum of the weights.
        target_N: probability p that the chosen one is better; default 1.
        weight_N: weight of each pair; default 1.

    Returns:
        The loss, and detached scalars weighted like it: ``dpo/loss``, ``dpo/accuracy`` (the chance
        that a label drawn from p agrees; equal rewards count half), ``dpo/margin`` (in the label's
        direction), ``dpo/chosen_reward``, ``dpo/rejected_reward``, where a reward is
        beta * log(policy / reference).
    """
    ones_N = torch.ones_like(policy_chosen_N)
    target_N, weight_N = _or(target_N, ones_N), _or(weight_N, ones_N)
    check(
        rank=1,
        policy_chosen_N=policy_chosen_N,
        policy_rejected_N=policy_rejected_N,
        ref_chosen_N=ref_chosen_N,
        ref_rejected_N=ref_rejected_N,
        target_N=target_N,
        weight_N=weight_N,
    )
    check_range(0, 0.5, label_smoothing=label_smoothing)
    total = weight_N.sum() if denominator is None else denominator
    chosen_N = beta * (policy_chosen_N - ref_chosen_N.detach())
    rejected_N = beta * (policy_rejected_N - ref_rejected_N.detach())
    margin_N = chosen_N - rejected_N
    loss_N = _smooth(softplus(-margin_N), softplus(margin_N), target_N, label_smoothing)
    loss = (weight_N * loss_N).sum() / total
    agreement_N, direction_N = _agreement(margin_N.detach(), target_N)
    return loss, {
        "dpo/loss": loss.detach(),
        "dpo/accuracy": (weight_N * agreement_N).sum() / total,
        "dpo/margin": (weight_N * direction_N).sum() / total,
        "dpo/chosen_reward": (weight_N * chosen_N.detach()).sum() / total,
        "dpo/rejected_reward": (weight_N * rejected_N.detach()).sum() / total,
    }


def _or(given_N: Tensor | None, default_N: Tensor) -> Tensor:
    return default_N if given_N is None else given_N


def _pair_loss(difference_N: Tensor, target_N: Tensor, margin_N: Tensor) -> Tensor:
    won_N = target_N * softplus(margin_N - difference_N)
    return won_N + (1 - target_N) * softplus(margin_N + difference_N)


def _smooth(won_N: Tensor, lost_N: Tensor, target_N: Tensor, error: float) -> Tensor:
    """Loss if a label drawn from the targets is right but for an error's chance; exact at 1."""
    stated_N = (1 - error) * won_N + error * lost_N
    exchanged_N = (1 - error) * lost_N + error * won_N
    return target_N * stated_N + (1 - target_N) * exchanged_N


def _agreement(difference_N: Tensor, target_N: Tensor) -> tuple[Tensor, Tensor]:
    """Probability that the label agrees with the higher score; difference in its direction."""
    wins_N = _wins(difference_N)
    agreement_N = target_N * wins_N + (1 - target_N) * (1 - wins_N)
    return agreement_N, (2 * target_N - 1) * difference_N


def _wins(difference_N: Tensor) -> Tensor:
    """1 above zero, one half at zero, 0 below, NaN for NaN."""
    return (difference_N.sign() + 1) / 2
