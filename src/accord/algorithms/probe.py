"""A reward head fitted on frozen features: where the training of a reward model may start.

Shapes: R rows (completions), N pairs, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor

MAX_STEPS = 50


def bradley_terry_probe(
    features_RD: Tensor, first_N: Tensor, second_N: Tensor, target_N: Tensor, weight_N: Tensor
) -> Tensor:
    """The linear score whose Bradley-Terry likelihood is best under a unit prior on scores.

    Minimises sum_N weight * cross-entropy(target, sigmoid(w . (x_first - x_second))) + |v|^2 / 2,
    where v are the weights of the standardised features divided by sqrt(D): before any pair is
    seen, a score has variance 1. Newton's method in float64; the problem is convex.

    Linear probing before fine-tuning (Kumar et al. 2022, "Fine-tuning can distort pretrained
    features"): a head drawn at random needs thousands of steps to unlearn its noise, and passes it
    to the layers below.

    Args:
        features_RD: what the head reads of each completion.
        first_N: row of each pair's first completion.
        second_N: row of its second.
        target_N: probability that the first is better.
        weight_N: how much the pair counts.

    Returns:
        Weights w (D,), float64, for the features as they are; a feature that does not vary gets 0.
    """
    features_RD = features_RD.double()
    scale_D = features_RD.std(dim=0, correction=0)
    inverse_D = torch.where(scale_D > 0, 1 / scale_D, 0.0) / features_RD.shape[1] ** 0.5
    inputs_ND = (features_RD[first_N] - features_RD[second_N]) * inverse_D
    target_N, weight_N = target_N.double(), weight_N.double()
    v_D = torch.zeros_like(inverse_D)
    identity = torch.eye(len(v_D), dtype=v_D.dtype, device=v_D.device)
    for _ in range(MAX_STEPS):
        prob_N = (inputs_ND @ v_D).sigmoid()
        gradient_D = inputs_ND.T @ (weight_N * (prob_N - target_N)) + v_D
        curvature_N = weight_N * prob_N * (1 - prob_N)
        hessian_DD = inputs_ND.T @ (curvature_N[:, None] * inputs_ND) + identity
        step_D = torch.linalg.solve(hessian_DD, gradient_D)
        v_D = v_D - step_D
        if float(step_D.abs().max()) < 1e-10:
            break
    weights_D: Tensor = v_D * inverse_D
    return weights_D
