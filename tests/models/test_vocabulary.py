"""The vocabulary head against autograd through all logits at once."""

from __future__ import annotations

import pytest
import torch

from accord.models import vocabulary
from accord.models.vocabulary import TokenLogprobs


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("train", ["hidden", "hidden with bias", "weight", "weight and bias"])
@pytest.mark.parametrize("kept", [0, 22, 1 << 26])  # nothing, one block of two, everything
def test_values_and_gradients_equal_autograd(monkeypatch, temperature, train, kept) -> None:
    monkeypatch.setattr(vocabulary, "BLOCK_ELEMENTS", 22)  # two rows at once
    monkeypatch.setattr(vocabulary, "KEPT_ELEMENTS", kept)
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(5, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(11, 4, generator=generator, dtype=torch.float64)
    bias = torch.randn(11, generator=generator, dtype=torch.float64) if "bias" in train else None
    trained = [hidden]
    if "weight" in train:
        trained += [part.requires_grad_() for part in (weight, bias) if part is not None]
    targets = torch.tensor([0, 10, 3, 3, 7])
    upstream = torch.randn(5, generator=generator, dtype=torch.float64)

    logprobs = TokenLogprobs.apply(hidden, weight, bias, targets, temperature)
    ours = torch.autograd.grad((upstream * logprobs).sum(), trained)

    logits = hidden @ weight.T if bias is None else hidden @ weight.T + bias
    oracle = torch.log_softmax(logits / temperature, 1)[torch.arange(5), targets]
    theirs = torch.autograd.grad((upstream * oracle).sum(), trained)
    torch.testing.assert_close(logprobs, oracle)
    torch.testing.assert_close(ours, theirs)


def test_what_is_kept_does_not_grow_with_the_tokens(monkeypatch) -> None:
    monkeypatch.setattr(vocabulary, "BLOCK_ELEMENTS", 22)
    monkeypatch.setattr(vocabulary, "KEPT_ELEMENTS", 44)
    weight = torch.ones(11, 4, requires_grad=True)
    for num_tokens in (4, 40):
        hidden = torch.ones(num_tokens, 4, requires_grad=True)
        logprobs = TokenLogprobs.apply(
            hidden, weight, None, torch.zeros(num_tokens, dtype=int), 1.0
        )
        kept = sum(block.numel() for block in logprobs.grad_fn.kept if block is not None)
        assert kept == 44


def test_gradient_by_finite_differences() -> None:
    hidden = torch.tensor([[0.3, -1.2, 0.8]], dtype=torch.float64, requires_grad=True)
    weight = torch.tensor([[1.0, 0.5, -1], [0.2, 0.1, 2], [-1, 0, 0.4]], dtype=torch.float64)
    targets = torch.tensor([1])
    assert torch.autograd.gradcheck(
        lambda h: TokenLogprobs.apply(h, weight, None, targets, 0.9), (hidden,)
    )
