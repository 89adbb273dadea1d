import pytest
import torch

from accord.algorithms import sft_loss


def batch():
    return {
        "logprobs_BT": -torch.rand(5, 6, dtype=torch.float64),
        "response_mask_BT": torch.rand(5, 6) < 0.5,
    }


def test_by_hand():
    logprobs = torch.tensor([[-1.0, -2.0, -9.0], [-9.0, -4.0, -9.0]])
    mask = torch.tensor([[True, True, False], [False, True, False]])
    loss, metrics = sft_loss(logprobs, mask)
    assert loss.item() == pytest.approx(7 / 3)
    assert metrics["sft/loss"].item() == pytest.approx(7 / 3)


def test_packed_is_unpacked():
    """Three conversations in rows of their own, or end to end in one."""
    rows = batch()
    packed = {name: x.reshape(1, -1) for name, x in rows.items()}
    torch.testing.assert_close(sft_loss(**packed), sft_loss(**rows))


def test_micro_batches_add_up(adds_up):
    rows = batch()
    adds_up(sft_loss, rows, rows["response_mask_BT"].sum())


def test_padding_changes_nothing(ignores_padding):
    ignores_padding(sft_loss, batch())


def test_an_impossible_token_shows_as_infinity():
    loss, _ = sft_loss(torch.tensor([[-torch.inf, -1.0]]), torch.tensor([[True, True]]))
    assert loss.isinf()
