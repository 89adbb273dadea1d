"""Two properties every loss must have, as fixtures."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

Loss = Callable[..., tuple[Tensor, dict[str, Tensor]]]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def adds_up() -> Callable[..., None]:
    """Unequal micro-batches add up to the full batch: loss, metrics and gradients."""

    def check(loss: Loss, rows: dict[str, Tensor], total: Tensor | float | None) -> None:
        full = {name: x.clone().requires_grad_(x.is_floating_point()) for name, x in rows.items()}
        expected, metrics = loss(**full)  # the default denominator
        expected.backward()
        parts = {name: x.clone().requires_grad_(x.is_floating_point()) for name, x in rows.items()}
        sizes = [1, 2, next(iter(rows.values())).shape[0] - 3]
        summed, summed_metrics = 0.0, dict.fromkeys(metrics, 0.0)
        for piece in zip(*(x.split(sizes) for x in parts.values()), strict=True):
            value, values = loss(**dict(zip(parts, piece, strict=True)), denominator=total)
            value.backward()
            summed += value.item()
            for name, x in values.items():
                assert not x.requires_grad
                summed_metrics[name] += x.item()
        assert summed == pytest.approx(expected.item(), abs=1e-6)
        assert summed_metrics == pytest.approx({k: v.item() for k, v in metrics.items()}, abs=1e-6)
        for name, x in full.items():
            if x.grad is None:
                assert parts[name].grad is None
            else:
                torch.testing.assert_close(parts[name].grad, x.grad, rtol=0, atol=1e-6)

    return check


@pytest.fixture
def ignores_padding() -> Callable[..., None]:
    """NaN padding on both sides and a garbage row change no loss, metric or gradient."""

    def pad(x_BT: Tensor) -> Tensor:
        fill = torch.nan if x_BT.is_floating_point() else False
        padded = torch.full((x_BT.shape[0] + 1, x_BT.shape[1] + 5), fill, dtype=x_BT.dtype)
        padded[:-1, 2:-3] = x_BT
        return padded

    def check(loss: Loss, rows: dict[str, Tensor]) -> None:
        plain = {name: x.clone().requires_grad_(x.is_floating_point()) for name, x in rows.items()}
        wide = {name: pad(x).requires_grad_(x.is_floating_point()) for name, x in rows.items()}
        expected, expected_metrics = loss(**plain)
        value, metrics = loss(**wide)
        expected.backward()
        value.backward()
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(metrics, expected_metrics)
        for name, x in plain.items():
            if x.grad is not None:
                inside = torch.zeros_like(wide[name])
                inside[:-1, 2:-3] = x.grad
                torch.testing.assert_close(wide[name].grad, inside)

    return check
