import pytest
import torch

from accord.algorithms.masking import (
    check,
    last_index,
    masked_mean,
    masked_sum,
    masked_var,
    masked_whiten,
)

NAN, INF = float("nan"), float("inf")
X = torch.tensor([[1.0, 2.0, NAN], [INF, 3.0, 6.0]])
MASK = torch.tensor([[True, True, False], [False, True, True]])  # what counts: 1 2 3 6


def test_sum_mean_and_variance_by_hand():
    assert masked_sum(X, MASK).item() == 12
    assert masked_sum(X, MASK, dim=1).tolist() == [3, 9]
    assert masked_mean(X, MASK).item() == 3
    assert masked_mean(X, MASK, 8).item() == 1.5
    assert masked_mean(X, MASK, torch.tensor(6)).item() == 2
    assert masked_var(X, MASK).item() == pytest.approx((4 + 1 + 0 + 9) / 4)


def test_padding_that_is_not_finite_reaches_no_gradient():
    x = X.clone().requires_grad_()
    masked_whiten(x, MASK).square().sum().backward()
    assert torch.isfinite(x.grad).all()
    assert x.grad[~MASK].tolist() == [0, 0]


def test_an_empty_mask_has_no_mean_but_a_sum_over_a_given_denominator():
    none = torch.zeros_like(MASK)
    assert masked_mean(X, none).isnan()
    assert masked_mean(X, none, 4).item() == 0


def test_whitened_has_mean_zero_and_biased_variance_one():
    x = 5 + 3 * torch.randn(7, 11, dtype=torch.float64)
    mask = torch.rand(7, 11) < 0.6
    kept = masked_whiten(x, mask)[mask].tolist()
    mean = sum(kept) / len(kept)
    assert mean == pytest.approx(0, abs=1e-9)
    assert sum((k - mean) ** 2 for k in kept) / len(kept) == pytest.approx(1, abs=1e-6)
    assert masked_whiten(x, mask)[~mask].abs().max() == 0


def test_bug_whitening_with_shift_mean_does_not_add_the_mean_back():
    """torchtune adds it back exactly when it should not; the two settings differ by the mean."""
    shifted, kept = masked_whiten(X, MASK), masked_whiten(X, MASK, shift_mean=False)
    deviation = 3.5**0.5
    expected = [-2 / deviation, -1 / deviation, 0, 3 / deviation]
    assert shifted[MASK].tolist() == pytest.approx(expected, abs=1e-5)
    assert kept[MASK].tolist() == pytest.approx([3 + e for e in expected], abs=1e-5)
    assert kept[~MASK].tolist() == [0, 0]


def test_whitening_what_does_not_vary_gives_zero_not_nan():
    x = torch.full((2, 3), 4.0)
    assert masked_whiten(x, MASK).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_last_index_with_padding_left_right_and_between():
    mask = torch.tensor([[0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1], [1, 0, 1, 0]]).bool()
    assert last_index(mask).tolist() == [2, 0, 3, 2]


def test_last_index_names_the_rows_without_a_token():
    with pytest.raises(ValueError, match=r"rows \[1\]"):
        last_index(torch.tensor([[True], [False]]))


def test_the_door_says_what_is_wrong():
    x = torch.zeros(2, 3)
    check(MASK, rank=2, x=x)
    check(x=x, y=x)
    with pytest.raises(TypeError, match=r"mask is torch\.float32"):
        check(x, x=x)
    with pytest.raises(ValueError, match=r"y has shape \(2,\); it must be \(2, 3\)"):
        check(x=x, y=x[:, 0])
    with pytest.raises(TypeError, match=r"x is torch\.int64"):
        check(MASK, x=x.long())
    with pytest.raises(ValueError, match=r"x/y must have 1 dimensions"):
        check(rank=1, x=x, y=x)
    with pytest.raises(ValueError, match="mask must have 1 dimensions"):
        check(MASK, rank=1)
