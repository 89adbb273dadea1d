"""The packed forward pass against Hugging Face's, in values and in every gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from accord.models import packed
from accord.models.batch import TokenBatch, TokenRow, collate
from accord.models.network import PolicyNetwork

SIZES: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
MODELS: dict[str, Any] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, attention_bias=True)),
    "llama-tied": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, tie_word_embeddings=True)),
    "llama3-rope": lambda: LlamaForCausalLM(
        LlamaConfig(
            **SIZES,
            rope_parameters={
                "rope_type": "llama3",
                "rope_theta": 1e4,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            },
        )
    ),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=None)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=8)),
}

PROMPT = [5, 9, 30, 31]
ROWS = [  # three completions of one prompt, one of them the start of another, and two others
    TokenRow(PROMPT, [8, 40, 2], group=0),
    TokenRow([7], [11, 12, 50, 60, 2, 3, 4], group=1),
    TokenRow(PROMPT, [8, 40, 2, 44, 45], group=0),
    TokenRow(PROMPT, [8, 1], group=0),
    TokenRow([6, 6], [2], group=2),
]


def build(name: str) -> Any:
    torch.manual_seed(4)
    model = MODELS[name]()
    with torch.no_grad():
        for parameter in model.parameters():  # biases and norms are 0 and 1 at the start
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


def real(batch: TokenBatch) -> Tensor:
    return torch.arange(batch.input_ids_BT.shape[1]) < batch.lengths_B[:, None]


def loss_of(hidden_BTE: Tensor, batch: TokenBatch) -> Tensor:
    """Something that has another gradient at every real token."""
    generator = torch.Generator().manual_seed(9)
    mix = torch.randn(hidden_BTE.shape, generator=generator)
    return (mix * hidden_BTE)[real(batch)].sum()


@pytest.mark.parametrize("name", MODELS)
def test_hidden_states_and_gradients_are_hugging_faces(name: str) -> None:
    model, batch = build(name), collate(ROWS, 0)
    base = model.base_model
    assert packed.supports(base)
    ours_BTE = packed.hidden_states(base, base.layers, base.norm, batch)
    theirs_BTE = base(input_ids=batch.input_ids_BT, use_cache=False).last_hidden_state
    torch.testing.assert_close(ours_BTE[real(batch)], theirs_BTE[real(batch)], atol=1e-5, rtol=1e-5)

    parameters = dict(base.named_parameters())
    ours = torch.autograd.grad(loss_of(ours_BTE, batch), list(parameters.values()))
    theirs = torch.autograd.grad(loss_of(theirs_BTE, batch), list(parameters.values()))
    for parameter, one, two in zip(parameters, ours, theirs, strict=True):
        scale = float(two.abs().max())
        torch.testing.assert_close(one / scale, two / scale, atol=1e-5, rtol=1e-5, msg=parameter)


@pytest.mark.parametrize("name", ["llama-tied", "qwen3"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_and_gradients_are_hugging_faces(name: str, temperature: float) -> None:
    """Through the vocabulary head, and through a head that is the embedding as well."""
    model, batch = build(name), collate(ROWS, 0)
    network = PolicyNetwork(model)
    assert network.packs
    logits_BTV = model(input_ids=batch.input_ids_BT, use_cache=False).logits / temperature
    oracle_BT = torch.zeros(batch.input_ids_BT.shape)
    oracle_BT[:, 1:] = (
        logits_BTV[:, :-1].log_softmax(-1).gather(2, batch.input_ids_BT[:, 1:, None])[..., 0]
    )
    oracle_BT = torch.where(batch.response_mask_BT, oracle_BT, 0.0)
    ours_BT = network.logprobs(batch, temperature)
    torch.testing.assert_close(ours_BT, oracle_BT, atol=1e-5, rtol=1e-5)
    weights_BT = torch.linspace(-1, 2, ours_BT.numel()).view(ours_BT.shape)
    parameters = list(network.trainable().values())
    ours = torch.autograd.grad((weights_BT * ours_BT).sum(), parameters)
    theirs = torch.autograd.grad((weights_BT * oracle_BT).sum(), parameters)
    for one, two in zip(ours, theirs, strict=True):
        scale = float(two.abs().max())
        torch.testing.assert_close(one / scale, two / scale, atol=1e-5, rtol=1e-5)


def test_what_a_group_has_in_common_is_computed_once() -> None:
    layout = packed.Layout.of(collate(ROWS, 0))
    # Common to the three rows of group 0: the prompt of 4 and the token 8.
    assert len(layout.places_N) == (7 + 9 + 6 - 2 * 5) + 8 + 3
    assert len(layout.copies_M) == 2 * 5
    ids_BT = collate(ROWS, 0).input_ids_BT
    seen_BT = ids_BT.flatten()[layout.places_N][layout.tokens_BT]
    assert torch.equal(seen_BT[real(collate(ROWS, 0))], ids_BT[real(collate(ROWS, 0))])


def test_rows_of_different_groups_share_nothing() -> None:
    rows = [TokenRow(PROMPT, [8, 2], group=g) for g in range(3)]
    layout = packed.Layout.of(collate(rows, 0))
    assert len(layout.places_N) == 3 * 6
    assert len(layout.copies_M) == 0


def test_a_row_alone_gives_the_same_as_among_others() -> None:
    """Neither padding nor sharing nor neighbours change what a token means."""
    base, batch = build("qwen2").base_model, collate(ROWS, 0)
    together_BTE = packed.hidden_states(base, base.layers, base.norm, batch)
    for b, row in enumerate(ROWS):
        alone = packed.hidden_states(base, base.layers, base.norm, collate([row], 0))
        torch.testing.assert_close(together_BTE[b, : len(row)], alone[0], atol=1e-5, rtol=1e-5)


def test_recomputed_activations_give_the_same_gradients() -> None:
    model, batch = build("llama"), collate(ROWS, 0)
    plain = PolicyNetwork(model).logprobs(batch).sum()
    expected = torch.autograd.grad(plain, list(model.parameters()))
    network = PolicyNetwork(model, checkpointing=True)
    with network.training():
        got = torch.autograd.grad(network.logprobs(batch).sum(), list(model.parameters()))
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_act": "gelu"},
        {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}},
    ],
)
def test_another_kind_of_layer_is_left_to_hugging_face(change: dict[str, Any]) -> None:
    model = LlamaForCausalLM(LlamaConfig(**SIZES, **change)).eval()
    network = PolicyNetwork(model)
    assert not network.packs
    with torch.no_grad():
        assert torch.isfinite(network.logprobs(collate(ROWS, 0))).all()


def test_a_sliding_window_is_left_to_hugging_face() -> None:
    model = MistralForCausalLM(MistralConfig(**SIZES, sliding_window=4)).eval()
    assert not PolicyNetwork(model).packs


def test_a_transformer_that_proves_wrong_is_left_to_hugging_face(monkeypatch) -> None:
    model = build("llama")
    monkeypatch.setattr(packed, "hidden_states", lambda *args: torch.zeros(2, 12, 24))
    assert not PolicyNetwork(model).packs
