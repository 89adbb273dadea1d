"""Token log-probabilities through a vocabulary head that does not train.

Shapes: N tokens, D hidden size, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from accord.algorithms import sampling_logits


class FrozenHeadLogprobs(torch.autograd.Function):
    """Log-probability of each target, with its gradient to the hidden state taken at once.

    d log p(target) / d hidden = (W[target] - sum_v p_v W[v]) / temperature needs no upstream
    gradient, so the forward pass computes it (N, D) and forgets the logits (N, V): two products
    with the vocabulary instead of the three that recomputation takes, and no memory of size V.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, temperature: float
    ) -> Tensor:
        """Log-probabilities (N,), float32; ``weight_VD`` gets no gradient."""
        logits_NV = sampling_logits(hidden_ND @ weight_VD.t(), temperature)
        logprobs_NV = logits_NV.log_softmax(dim=1)
        chosen_N = logprobs_NV.gather(1, targets_N[:, None])[:, 0]
        mean_ND = logprobs_NV.exp_().to(weight_VD.dtype) @ weight_VD
        ctx.save_for_backward((weight_VD[targets_N] - mean_ND) / temperature)
        return chosen_N

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        """Upstream gradient times what the forward pass kept."""
        (direction_ND,) = ctx.saved_tensors
        return grads[0][:, None].to(direction_ND.dtype) * direction_ND, None, None, None
