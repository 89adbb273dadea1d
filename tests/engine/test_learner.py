"""The learner: micro-batches add up, state goes on bit for bit, nothing non-finite is stepped."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from accord.algorithms import sft_loss
from accord.engine import AdamSettings, LocalLearner, Outputs
from accord.errors import NonFiniteError
from accord.models.batch import TokenBatch, TokenRow, collate

ROWS = [
    TokenRow([5, 9, 30], [8, 40, 2], 0),
    TokenRow([7], [11, 12, 50, 60, 2], 1),
    TokenRow([6, 6], [2], 2),
    TokenRow([9, 8, 7, 6], [5, 4], 1),
]
TRAINABLE = [
    {"trainable": "all"},
    {"trainable": "lora", "lora_rank": 4},
    {"trainable": "top", "top_layers": 1},
]


def loss(outputs: Outputs, batch: TokenBatch, scale: float = 1.0) -> tuple[Tensor, dict]:
    value, metrics = sft_loss(outputs.per_token_BT, batch.response_mask_BT, 11)
    return scale * value, metrics


def learner(load_small, folder: Path, micro_batch_tokens: int = 99, **settings) -> LocalLearner:
    return LocalLearner(
        load_small("llama", **settings).network,
        AdamSettings(weight_decay=0.1),
        micro_batch_tokens=micro_batch_tokens,
        dump_folder=folder,
    )


def weights(made: LocalLearner) -> dict[str, Tensor]:
    return {n: p.detach().clone() for n, p in made.network.trainable().items()}


@pytest.mark.parametrize("micro_batch_tokens", [1, 12, 18])
def test_micro_batches_add_up_to_the_full_batch(
    load_small, tmp_path: Path, micro_batch_tokens: int
) -> None:
    batch = collate(ROWS, 0)
    grads, metrics = [], []
    for budget in (micro_batch_tokens, 999):
        made = learner(load_small, tmp_path, budget)
        metrics.append(made.step(batch, loss, 0.0))
        grads.append({n: p.grad for n, p in made.network.trainable().items()})
    for name, grad in grads[0].items():
        torch.testing.assert_close(grad, grads[1][name], atol=1e-5, rtol=1e-4)
    assert metrics[0] == pytest.approx(metrics[1], rel=1e-5)


def test_a_step_is_adamw_on_the_clipped_gradient(load_small, tmp_path: Path) -> None:
    """First step of AdamW by hand: decay, then lr * sign(g) (up to eps), for |g| >> eps."""
    made = learner(load_small, tmp_path)
    before = weights(made)
    metrics = made.step(collate(ROWS, 0), loss, 1e-2)
    grads = {n: p.grad for n, p in made.network.trainable().items()}
    total = torch.sqrt(sum((g**2).sum() for g in grads.values()))
    torch.testing.assert_close(float(total), 1.0, atol=1e-3, rtol=0)  # clipped to max_grad_norm
    assert metrics["optimizer/grad_norm"] > 1.0
    for name, after in weights(made).items():
        far = grads[name].abs() > 1e-5
        expected = before[name] * (1 - 1e-2 * 0.1) - 1e-2 * grads[name].sign()
        torch.testing.assert_close(after[far], expected[far], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("settings", TRAINABLE, ids=lambda s: s["trainable"])
def test_a_restored_learner_goes_on_bit_for_bit(load_small, tmp_path: Path, settings) -> None:
    batch = collate(ROWS, 0)
    whole = learner(load_small, tmp_path, **settings)
    for _ in range(4):
        whole.step(batch, loss, 1e-2)
    first = learner(load_small, tmp_path, **settings)
    for _ in range(2):
        first.step(batch, loss, 1e-2)
    kept = {name: tensor.clone() for name, tensor in first.state().items()}
    second = learner(load_small, tmp_path, **settings)
    second.load_state(kept)
    for _ in range(2):
        second.step(batch, loss, 1e-2)
    assert whole.state().keys() == second.state().keys()
    for name, tensor in whole.state().items():
        assert torch.equal(tensor, second.state()[name]), name


def test_an_untrained_learner_has_a_state_too(load_small, tmp_path: Path) -> None:
    made, other = learner(load_small, tmp_path), learner(load_small, tmp_path)
    state = {name: tensor + 1 for name, tensor in made.state().items()}
    other.load_state(state)
    assert all(torch.equal(t, state[n]) for n, t in other.state().items())


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_before_the_step(
    load_small, tmp_path: Path, scale: float
) -> None:
    made = learner(load_small, tmp_path, micro_batch_tokens=6)
    before = made.state()
    kept = {name: tensor.clone() for name, tensor in before.items()}
    batch = collate(ROWS, 0).with_tensors(advantages_BT=torch.arange(24.0).reshape(4, 6))
    with pytest.raises(NonFiniteError, match=r"loss is (nan|inf); the run stopped before the step"):
        made.step(batch, partial(loss, scale=scale), 1e-2)
    assert made.state().keys() == kept.keys()
    assert all(torch.equal(tensor, kept[name]) for name, tensor in made.state().items())
    saved = load_file(tmp_path / "nonfinite-batch.safetensors")
    assert saved.keys() >= {"input_ids_BT", "response_mask_BT", "advantages_BT"}
    row = saved["input_ids_BT"][0].tolist()
    assert any(row == [*r.prompt, *r.response] for r in ROWS)


def test_a_gradient_that_is_not_finite_stops_before_the_step(load_small, tmp_path: Path) -> None:
    def broken(outputs: Outputs, batch: TokenBatch) -> tuple[Tensor, dict]:
        value, _ = loss(outputs, batch)
        return value * 0 + (value - value.detach()).sqrt(), {}  # finite, with gradient 1 / 0

    made = learner(load_small, tmp_path)
    made.step(collate(ROWS, 0), loss, 1e-2)
    kept = {name: tensor.clone() for name, tensor in made.state().items()}
    with pytest.raises(NonFiniteError, match="gradient norm"):
        made.step(collate(ROWS, 0), broken, 1e-2)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in made.state().items())
    assert load_file(tmp_path / "nonfinite-batch.safetensors")["input_ids_BT"].shape == (4, 6)


def test_forward_takes_the_sampling_temperature(load_small, tmp_path: Path) -> None:
    network = load_small("llama").network
    batch = collate(ROWS, 0)
    made = LocalLearner(
        network, AdamSettings(), micro_batch_tokens=9, dump_folder=tmp_path, temperature=0.5
    )
    with torch.no_grad():
        expected = network.logprobs(batch, 0.5)
    torch.testing.assert_close(made.forward(batch), expected, atol=1e-5, rtol=1e-5)
