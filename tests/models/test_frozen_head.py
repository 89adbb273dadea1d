"""The frozen head against autograd through the whole vocabulary."""

from __future__ import annotations

import pytest
import torch

from accord.models.frozen_head import FrozenHeadLogprobs


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_values_and_gradients_equal_autograd(temperature: float) -> None:
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(5, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(11, 4, generator=generator, dtype=torch.float64)
    targets = torch.tensor([0, 10, 3, 3, 7])
    upstream = torch.randn(5, generator=generator, dtype=torch.float64)

    logprobs = FrozenHeadLogprobs.apply(hidden, weight, targets, temperature)
    (ours,) = torch.autograd.grad((upstream * logprobs).sum(), hidden)

    oracle = torch.log_softmax(hidden @ weight.T / temperature, 1)[torch.arange(5), targets]
    (theirs,) = torch.autograd.grad((upstream * oracle).sum(), hidden)
    torch.testing.assert_close(logprobs, oracle)
    torch.testing.assert_close(ours, theirs)


def test_gradient_by_finite_differences() -> None:
    hidden = torch.tensor([[0.3, -1.2, 0.8]], dtype=torch.float64, requires_grad=True)
    weight = torch.tensor([[1.0, 0.5, -1], [0.2, 0.1, 2], [-1, 0, 0.4]], dtype=torch.float64)
    targets = torch.tensor([1])
    assert torch.autograd.gradcheck(
        lambda h: FrozenHeadLogprobs.apply(h, weight, targets, 0.9), (hidden,)
    )
