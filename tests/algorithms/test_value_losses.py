import functools

import pytest
import torch

from accord.algorithms import affine_fit, explained_variance, ppo_value_loss


def batch():
    old = torch.randn(6, 5, dtype=torch.float64)
    return {
        "values_BT": old + 0.4 * torch.randn(6, 5, dtype=torch.float64),
        "old_values_BT": old,
        "returns_BT": torch.randn(6, 5, dtype=torch.float64),
        "response_mask_BT": torch.rand(6, 5) < 0.6,
    }


def test_by_hand():
    """The value moved from 1 to 2 and the clip holds it at 1.5: the worse of the two counts."""
    values, old = torch.full((1, 2), 2.0, requires_grad=True), torch.ones(1, 2)
    returns, mask = torch.tensor([[3.0, 0.0]]), torch.ones(1, 2).bool()
    loss, metrics = ppo_value_loss(values, old, returns, mask, 0.5)
    assert loss.item() == pytest.approx((0.5 * 1.5**2 + 0.5 * 2**2) / 2)
    assert metrics["value/loss"].item() == loss.item()
    assert metrics["value/clip_fraction"].item() == 0.5
    loss.backward()
    assert values.grad.tolist() == [[0, 1]]  # clipped: none; otherwise (V - R) / 2


def test_unmoved_values_give_half_the_squared_error():
    rows = batch()
    rows["old_values_BT"] = rows["values_BT"]
    loss, metrics = ppo_value_loss(**rows, value_clip_range=0.2)
    mask = rows["response_mask_BT"]
    pairs = zip(rows["values_BT"][mask].tolist(), rows["returns_BT"][mask].tolist(), strict=True)
    errors = [0.5 * (v - r) ** 2 for v, r in pairs]
    assert loss.item() == pytest.approx(sum(errors) / len(errors), abs=1e-9)
    assert metrics["value/clip_fraction"].item() == 0


def test_micro_batches_add_up(adds_up):
    rows = batch()
    loss = functools.partial(ppo_value_loss, value_clip_range=0.2)
    adds_up(loss, rows, rows["response_mask_BT"].sum())


def test_bug_metrics_and_loss_over_padding(ignores_padding):
    ignores_padding(functools.partial(ppo_value_loss, value_clip_range=0.2), batch())


def test_only_the_values_are_trained():
    rows = {k: v.requires_grad_(v.is_floating_point()) for k, v in batch().items()}
    ppo_value_loss(**rows, value_clip_range=0.2)[0].backward()
    assert rows["values_BT"].grad is not None
    assert rows["old_values_BT"].grad is None
    assert rows["returns_BT"].grad is None


def test_explained_variance_by_hand():
    returns = torch.tensor([[1.0, 2.0, 3.0, 99.0]])
    mask = torch.tensor([[True, True, True, False]])

    def explained(*values):
        return explained_variance(torch.tensor([[*values, torch.nan]]), returns, mask).item()

    assert explained(1.0, 2.0, 3.0) == pytest.approx(1)
    assert explained(1.0, 2.0, 4.0) == pytest.approx(1 - (2 / 9) / (2 / 3))
    assert explained(7.0, 7.0, 7.0) == pytest.approx(0, abs=1e-6)
    assert explained(3.0, 2.0, 1.0) == pytest.approx(-3)  # worse than a constant


def test_explained_variance_of_what_does_not_vary_is_nan():
    same = torch.ones(1, 3)
    assert explained_variance(torch.randn(1, 3), same, same.bool()).isnan()


def test_the_door():
    with pytest.raises(ValueError, match="value_clip_range is -1"):
        ppo_value_loss(**batch(), value_clip_range=-1.0)


def test_affine_fit_recovers_a_line_and_counts_response_tokens_alone():
    torch.manual_seed(0)
    values = torch.randn(5, 7, dtype=torch.float64)
    mask = torch.rand(5, 7) < 0.6
    returns = torch.where(mask, 2.5 * values - 0.75, 1e3)
    slope, offset = affine_fit(values, returns, mask)
    assert (slope, offset) == pytest.approx((2.5, -0.75))


def test_affine_fit_agrees_with_least_squares_on_noise():
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(4, 9, dtype=torch.float64, generator=generator)
    returns = torch.randn(4, 9, dtype=torch.float64, generator=generator)
    mask = torch.ones(4, 9, dtype=torch.bool)
    design = torch.stack([values.flatten(), torch.ones(36, dtype=torch.float64)], dim=1)
    expected = torch.linalg.lstsq(design, returns.flatten()).solution
    assert affine_fit(values, returns, mask) == pytest.approx(expected.tolist())
    fitted = expected[0] * values + expected[1]
    assert explained_variance(fitted, returns, mask) >= 0


def test_affine_fit_of_constant_values_is_the_mean_return():
    mask = torch.ones(1, 3, dtype=torch.bool)
    fit = affine_fit(torch.full((1, 3), 4.0), torch.tensor([[1.0, 2.0, 6.0]]), mask)
    assert fit == pytest.approx((0.0, 3.0))
