"""Token log-probabilities through a vocabulary head, without holding tokens x vocabulary.

Shapes: N tokens, D hidden size, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from accord.algorithms import sampling_logits

BLOCK_ELEMENTS = 1 << 24  # logits computed at once
KEPT_ELEMENTS = 1 << 26  # log-probabilities kept for the backward pass; what is beyond, twice


class TokenLogprobs(torch.autograd.Function):
    """Log-probability of each target (N,), float32, with gradients to hidden states and weight.

    For the hidden state alone no upstream gradient is needed: d log p(target) / d hidden =
    (W[target] - sum_v p_v W[v]) / temperature, which the forward pass computes, to forget the
    logits. A weight that trains needs the probabilities again: they are kept up to a limit that
    does not grow with the batch, and computed a second time beyond it.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        targets_N: Tensor,
        temperature: float,
    ) -> Tensor:
        """Log-probabilities under softmax((hidden_ND @ weight_VD^T + bias_V) / temperature)."""
        train_hidden, train_weight = ctx.needs_input_grad[:2]
        chosen, directions, kept = [], [], []
        room = KEPT_ELEMENTS
        for here in _blocks(hidden_ND, weight_VD):
            logprobs_NV = _logprobs(hidden_ND[here], weight_VD, bias_V, temperature)
            chosen.append(logprobs_NV.gather(1, targets_N[here, None])[:, 0])
            if train_weight:
                room -= logprobs_NV.numel()
                kept.append(logprobs_NV if room >= 0 else None)
            elif train_hidden:
                mean_ND = logprobs_NV.exp_().to(weight_VD.dtype) @ weight_VD
                directions.append((weight_VD[targets_N[here]] - mean_ND) / temperature)
        ctx.temperature, ctx.kept = temperature, kept
        if train_weight:
            ctx.save_for_backward(hidden_ND, weight_VD, bias_V, targets_N)
        elif train_hidden:
            ctx.save_for_backward(torch.cat(directions))
        return torch.cat(chosen)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Upstream gradient through what the forward pass kept; one backward pass alone."""
        (grad_N,) = grads
        if not ctx.needs_input_grad[1]:
            (direction_ND,) = ctx.saved_tensors
            return grad_N[:, None].to(direction_ND.dtype) * direction_ND, None, None, None, None
        hidden_ND, weight_VD, bias_V, targets_N = ctx.saved_tensors
        kept, ctx.kept = ctx.kept, None
        hidden_grad_ND, weight_grad_VD = torch.empty_like(hidden_ND), torch.zeros_like(weight_VD)
        bias_grad_V = None if bias_V is None else torch.zeros_like(bias_V)
        for here, logprobs_NV in zip(_blocks(hidden_ND, weight_VD), kept, strict=True):
            if logprobs_NV is None:
                logprobs_NV = _logprobs(hidden_ND[here], weight_VD, bias_V, ctx.temperature)
            down_N1 = grad_N[here, None] / ctx.temperature
            grad_NV = logprobs_NV.exp_().mul_(-down_N1)
            grad_NV = grad_NV.scatter_add_(1, targets_N[here, None], down_N1).to(weight_VD.dtype)
            hidden_grad_ND[here] = grad_NV @ weight_VD
            weight_grad_VD.addmm_(grad_NV.t(), hidden_ND[here])
            if bias_grad_V is not None:
                bias_grad_V += grad_NV.sum(dim=0)
        return hidden_grad_ND, weight_grad_VD, bias_grad_V, None, None


def _blocks(hidden_ND: Tensor, weight_VD: Tensor) -> list[slice]:
    rows = max(1, BLOCK_ELEMENTS // weight_VD.shape[0])
    return [slice(start, start + rows) for start in range(0, max(len(hidden_ND), 1), rows)]


def _logprobs(
    hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None, temperature: float
) -> Tensor:
    logits_NV = F.linear(hidden_ND, weight_VD, bias_V)
    return sampling_logits(logits_NV, temperature).log_softmax(dim=1)
