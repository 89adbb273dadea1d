"""Networks: log-probabilities, heads, trunks, adapters and references against plain torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from accord.algorithms import sft_loss
from accord.config import ModelConfig
from accord.engine import AdamSettings, LocalLearner
from accord.errors import ModelError
from accord.models import network as network_module
from accord.models.batch import TokenRow, collate, pack
from accord.models.load import Policy, load_policy
from accord.models.network import (
    TRUNK,
    PolicyNetwork,
    ScalarNetwork,
    check_head,
    check_packing,
    share_trunk,
)

ROWS = [TokenRow([5, 9, 30], [8, 40, 2]), TokenRow([7], [11, 12, 50, 60, 2]), TokenRow([6, 6], [2])]
TRAINABLE = [
    {"trainable": "all"},
    {"trainable": "lora", "lora_rank": 4},
    {"trainable": "top", "top_layers": 1},
]


def batch(pad_id: int = 0):
    return collate(ROWS, pad_id)


def nudge(network: PolicyNetwork, tmp_path, steps: int = 3) -> None:
    """Train a little, so that every trained part has moved."""
    learner = LocalLearner(network, AdamSettings(), micro_batch_tokens=99, dump_folder=tmp_path)
    for _ in range(steps):
        learner.step(
            network.with_trunk(batch()),
            lambda out, part: sft_loss(out.per_token_BT, part.response_mask_BT, 9),
            1e-2,
        )


def oracle(model: Any, row: TokenRow, temperature: float = 1.0) -> Tensor:
    """Log-probabilities of one response by transformers alone, unpadded."""
    ids = torch.tensor([[*row.prompt, *row.response]])
    logprobs = (model(input_ids=ids).logits[0].double() / temperature).log_softmax(-1)
    return logprobs[:-1].gather(1, ids[0, 1:, None])[len(row.prompt) - 1 :, 0].float()


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt2"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@torch.no_grad()
def test_logprobs_are_those_of_transformers(load_small, architecture, temperature) -> None:
    network = load_small(architecture).network
    ours_BT = network.logprobs(batch(), temperature)
    for b, row in enumerate(ROWS):
        start = len(row.prompt)
        torch.testing.assert_close(
            ours_BT[b, start : len(row)],
            oracle(network.model, row, temperature),
            atol=1e-4,
            rtol=1e-4,
        )
        assert not ours_BT[b, :start].any()
        assert not ours_BT[b, len(row) :].any()


def test_logprobs_do_not_depend_on_the_pad_token(load_small) -> None:
    network = load_small("llama").network
    with torch.no_grad():
        torch.testing.assert_close(network.logprobs(batch(0)), network.logprobs(batch(2)))


def test_a_batch_without_responses_has_logprobs_of_zero(load_small) -> None:
    empty = collate([TokenRow([5, 6], [])], 0)
    assert not load_small("llama").network.logprobs(empty).any()


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
@torch.no_grad()
def test_trunk_and_top_are_the_whole(load_small, architecture) -> None:
    whole = load_small(architecture).network
    split = load_small(architecture, trainable="top", top_layers=1).network
    expected = whole.logprobs(batch())
    torch.testing.assert_close(split.logprobs(batch()), expected, atol=1e-5, rtol=1e-5)
    once = split.with_trunk(batch())
    assert once.tensors[TRUNK].shape == (3, 6, 32)
    assert split.with_trunk(once) is once
    torch.testing.assert_close(split.logprobs(once), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        split.logprobs(once.select([2, 1])), expected[[2, 1]], atol=1e-5, rtol=1e-5
    )
    packed = pack(ROWS, 0, 12)
    torch.testing.assert_close(
        split.logprobs(split.with_trunk(packed)), whole.logprobs(packed), atol=1e-5, rtol=1e-5
    )


def test_the_trunk_is_computed_some_rows_at_a_time(
    load_small, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = load_small("llama", trainable="top", top_layers=1).network
    expected = network.trunk_hidden(batch())
    monkeypatch.setattr(network_module, "TRUNK_TOKENS_AT_ONCE", 1)
    torch.testing.assert_close(network.trunk_hidden(batch()), expected, atol=1e-5, rtol=1e-5)


def test_only_the_upper_layers_train(load_small, tmp_path) -> None:
    network = load_small("llama", trainable="top", top_layers=1).network
    names = set(network.trainable())
    assert all(name.startswith(("model.layers.2.", "model.norm.")) for name in names)
    before = {n: p.clone() for n, p in network.model.named_parameters()}
    nudge(network, tmp_path)
    for name, parameter in network.model.named_parameters():
        assert torch.equal(parameter, before[name]) == (name not in names), name
    untied = load_small("qwen2", trainable="top", top_layers=1).network
    assert "lm_head.weight" in untied.trainable()


def test_a_shared_trunk_is_one_copy_in_memory(load_small) -> None:
    ours = load_small("llama", trainable="top", top_layers=1).network
    theirs = load_small("llama").network
    expected = theirs.logprobs(batch()).detach()
    assert share_trunk(ours, theirs)
    ours_at = dict(ours.base.named_parameters())
    for name, parameter in theirs.base.named_parameters():
        below = name.startswith(("embed_tokens", "layers.0.", "layers.1."))
        assert (parameter.data_ptr() == ours_at[name].data_ptr()) == below, name
    with torch.no_grad():
        got = theirs.logprobs(ours.with_trunk(batch()))
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("settings", TRAINABLE[::2])
@torch.no_grad()
def test_a_different_trunk_is_never_shared_nor_used(load_small, settings) -> None:
    """A network with other lower layers must not read the trunk that a batch carries."""
    ours = load_small("llama", trainable="top", top_layers=1).network
    theirs = load_small("llama", **settings).network
    theirs.base.layers[0].mlp.up_proj.weight[3, 4] += 1e-1
    expected = theirs.logprobs(batch())
    assert not share_trunk(ours, theirs)
    torch.testing.assert_close(
        theirs.logprobs(ours.with_trunk(batch())), expected, atol=1e-5, rtol=1e-5
    )
    assert not share_trunk(ours, load_small("qwen2").network)


def test_architectures_without_layers_are_refused(load_small) -> None:
    with pytest.raises(ModelError, match=r"use model\.trainable: lora"):
        load_small("gpt2", trainable="top", top_layers=1)
    with pytest.raises(ModelError, match="3 of 3 layers leaves no trunk; choose 1 to 2"):
        load_small("llama", trainable="top", top_layers=3)


@pytest.mark.parametrize("settings", TRAINABLE, ids=lambda s: s["trainable"])
def test_a_reference_stays_what_the_policy_was(load_small, settings, tmp_path) -> None:
    network = load_small("llama", **settings).network
    with torch.no_grad():
        before = network.logprobs(batch())
        reference = network.frozen()
        torch.testing.assert_close(reference.logprobs(batch()), before, atol=0, rtol=0)
        with torch.enable_grad():
            nudge(network, tmp_path)
        after = network.logprobs(batch())
        torch.testing.assert_close(reference.logprobs(batch()), before, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(network.logprobs(batch()), after, atol=0, rtol=0)
    assert (after - before).abs().max() > 1e-2
    assert network.trainable()  # reading the reference leaves the policy trainable
    shared = {p.data_ptr() for p in network.model.parameters() if not p.requires_grad}
    theirs = {p.data_ptr() for p in reference.model.parameters()}
    assert shared <= theirs


def test_a_lora_model_with_its_adapter_off_is_its_base(load_small, tmp_path) -> None:
    network = load_small("llama", trainable="lora", lora_rank=4).network
    with torch.no_grad():
        base = load_small("llama").network.logprobs(batch())
    torch.testing.assert_close(network.logprobs(batch()).detach(), base)
    nudge(network, tmp_path)
    assert (network.logprobs(batch()) - base).abs().max() > 1e-2
    torch.testing.assert_close(network.frozen().logprobs(batch()).detach(), base)


def test_an_adapter_starts_the_same_in_every_process(load_small) -> None:
    torch.manual_seed(1)
    one = load_small("llama", trainable="lora").network.trainable()
    torch.manual_seed(2)
    state = torch.get_rng_state()
    two = load_small("llama", trainable="lora").network.trainable()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(p, two[n]) for n, p in one.items())


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("gradient_checkpointing", [False, True])
def test_dropout_is_off_where_gradients_flow(
    load_small, architecture, gradient_checkpointing
) -> None:
    network = load_small(architecture, gradient_checkpointing=gradient_checkpointing).network
    results = []
    for _ in range(2):
        with network.training():
            loss = network.logprobs(batch()).sum()
            loss.backward()
        results.append(loss.detach())
    with torch.no_grad():
        results.append(network.logprobs(batch()).sum())
    assert results[0] == results[1]
    torch.testing.assert_close(results[0], results[2])


def test_gradient_checkpointing_saves_activations_and_changes_no_gradient(load_small) -> None:
    grads = []
    for checkpointing in (False, True):
        network = load_small("llama", gradient_checkpointing=checkpointing).network
        kept = 0

        def count(tensor: Tensor) -> Tensor:
            nonlocal kept
            kept += tensor.numel()
            return tensor

        with network.training(), torch.autograd.graph.saved_tensors_hooks(count, lambda t: t):
            loss = network.logprobs(batch()).sum()
        loss.backward()
        grads.append((kept, {n: p.grad for n, p in network.trainable().items()}))
        assert not network.model.training
    (more, plain), (less, saved) = grads
    assert less < more / 2
    for name, grad in plain.items():
        torch.testing.assert_close(grad, saved[name], atol=1e-5, rtol=1e-5)


def test_changed_logits_and_leaky_packing_are_refused(load_small: Callable[..., Policy]) -> None:
    policy = load_small("llama")
    original = policy.network.model.forward

    def capped(*args: Any, **kwargs: Any) -> Any:
        output = original(*args, **kwargs)
        output.logits = 5.0 * torch.tanh(output.logits / 5.0)
        return output

    policy.network.model.forward = capped
    with pytest.raises(ModelError, match="changes its logits after the head"):
        check_head(policy.network)
    packed, single = pack(ROWS, 0, 64), batch()
    check_packing(policy.network, packed, single)
    leaky = replace(packed, segments_BT=None)
    with pytest.raises(ModelError, match=r"set sft\.packing: false"):
        check_packing(policy.network, leaky, single)


def test_values_are_the_head_one_token_earlier(load_small, tmp_path) -> None:
    from accord.models.load import new_reward_model, save_policy

    policy = load_small("llama")
    save_policy(policy, tmp_path / "policy")
    network = new_reward_model(tmp_path / "policy", ModelConfig(), 0).network
    assert isinstance(network, ScalarNetwork)
    with torch.no_grad():
        heads, values = network.heads(batch()), network.values(batch())
        hidden = network.model.base_model(batch().input_ids_BT).last_hidden_state
    expected = (hidden @ network.model.score.weight[0]).detach()
    for b, row in enumerate(ROWS):  # what stands at padding means nothing
        real = heads[b, : len(row)], expected[b, : len(row)]
        torch.testing.assert_close(*real, atol=1e-5, rtol=1e-5)
    assert torch.equal(values[:, 1:], heads[:, :-1])
    assert not values[:, 0].any()
    torch.testing.assert_close(network.scores(batch())[1], heads[1, 5])


def test_a_reloaded_reference_is_the_same(load_small, tmp_path, model_folder) -> None:
    """LoRA on a saved policy: the reference is that policy, not the model under it."""
    from accord.models.load import save_policy

    policy = load_small("llama")
    nudge(policy.network, tmp_path)
    save_policy(policy, tmp_path / "sft")
    lora = load_policy(tmp_path / "sft", ModelConfig(trainable="lora", template=None))
    with torch.no_grad():
        torch.testing.assert_close(
            lora.network.frozen().logprobs(batch()), policy.network.logprobs(batch())
        )
