"""The decoder against plain forward passes of the model it stands for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import (
    MistralConfig,
    MistralForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from accord.engine import decoder as module
from accord.engine.decoder import LlamaDecoder, supports
from accord.models.load import Policy

SHAPE = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,  # not hidden_size / num_attention_heads
    "initializer_range": 0.3,
}


def qwen3(**changes: Any) -> Any:
    torch.manual_seed(1)
    model = Qwen3ForCausalLM(Qwen3Config(**{**SHAPE, **changes})).eval()
    for name, parameter in model.named_parameters():
        if "norm" in name or "bias" in name:  # made as ones and zeros, which would hide mistakes
            parameter.data.normal_(1.0, 0.3)
    return model


def mistral(**changes: Any) -> Any:
    torch.manual_seed(2)
    return MistralForCausalLM(MistralConfig(**{**SHAPE, "sliding_window": None, **changes})).eval()


@pytest.fixture(params=["llama", "qwen2", "qwen3", "qwen3 with biases", "mistral", "packed"])
def model(
    request: pytest.FixtureRequest,
    load_small: Callable[..., Policy],
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    if request.param == "qwen3":
        return qwen3()
    if request.param == "qwen3 with biases":
        return qwen3(attention_bias=True)
    if request.param == "mistral":
        return mistral()
    if request.param == "packed":
        monkeypatch.setattr(module, "PACKED_ELEMENTS", 0)
        return load_small("qwen2").network.model
    return load_small(request.param).network.model


def next_logits(model: Any, tokens: list[int]) -> torch.Tensor:
    """The oracle: the whole row alone, no padding, no cache."""
    return model(torch.tensor([tokens]), use_cache=False).logits[0, -1]


def same(logits_BV: torch.Tensor, model: Any, rows: list[list[int]]) -> None:
    theirs_BV = torch.stack([next_logits(model, row) for row in rows])
    torch.testing.assert_close(logits_BV, theirs_BV, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_logits_are_the_models_through_joins_steps_and_compaction(model: Any) -> None:
    decoder = LlamaDecoder(model)
    assert decoder.ready()
    batch = decoder.open(slots=8, capacity=16)
    prompts = [[3, 1, 4, 1, 5, 9, 2], [6, 5], [3, 5, 8]]
    rows = [[*prompt] for prompt in prompts for _ in range(2)]
    same(batch.join(prompts, 2), model, rows)

    def step(tokens: list[int]) -> None:
        for row, token in zip(rows, tokens, strict=True):
            row.append(token)
        same(batch.step(torch.tensor(tokens)), model, rows)

    step([1, 2, 3, 4, 5, 6])
    step([9, 8, 7, 6, 5, 4])
    order = [5, 1, 4]  # rows from the end fill the gaps
    batch.keep(order)
    rows[:] = [rows[i] for i in order]
    step([11, 12, 13])
    late = [[7, 7, 7, 7, 7, 7, 7, 7, 7, 7], [2]]  # put where finished rows were
    same(batch.join(late, 1), model, late)
    rows += [[*row] for row in late]
    step([1, 2, 3, 4, 5])
    batch.keep([])
    rows.clear()
    rows += [[4, 4, 4, 4]]
    same(batch.join([[4, 4, 4, 4]], 1), model, rows)
    step([0])


@torch.inference_mode()
def test_a_long_prefill_in_parts_changes_nothing(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PREFILL_TOKENS", 5)
    decoder = LlamaDecoder(model)
    assert decoder.ready()
    prompts = [[1, 2, 3], [4, 5, 6], [7]]
    batch = decoder.open(slots=6, capacity=5)
    same(batch.join(prompts, 2), model, [p for p in prompts for _ in range(2)])
    same(batch.step(torch.arange(6)), model, [[*prompts[i // 2], i] for i in range(6)])


def test_refresh_follows_training_and_copies_only_what_trained(
    load_small: Callable[..., Policy],
) -> None:
    policy = load_small("qwen2", trainable="top", top_layers=1)
    model = policy.network.model
    decoder = LlamaDecoder(model)
    assert decoder.ready()
    frozen, trained = decoder.layers[0].qkv._weight, decoder.layers[-1].qkv._weight
    optimizer = torch.optim.AdamW(policy.network.trainable().values(), lr=0.1, fused=True)
    model(torch.tensor([[1, 2, 3]])).logits.square().mean().backward()
    optimizer.step()
    assert not decoder.exact()  # the probe sees that the copy is out of date
    decoder.refresh()
    assert decoder.exact()
    assert decoder.layers[0].qkv._weight is frozen
    assert decoder.layers[-1].qkv._weight is not trained
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.mul_(2.0)
    decoder.refresh()
    assert decoder.exact()
    model.lm_head.weight.data = model.lm_head.weight.data * 2.0
    decoder.refresh()
    assert decoder.exact()


def test_a_model_that_does_more_is_not_ready(load_small: Callable[..., Policy]) -> None:
    model = load_small("llama").network.model
    model.lm_head.register_forward_hook(lambda head, args, logits: 1.01 * logits)
    assert supports(model)
    assert not LlamaDecoder(model).ready()


def test_supports_only_plain_float32_llama_shapes(load_small: Callable[..., Policy]) -> None:
    for architecture in ("llama", "qwen2"):
        assert supports(load_small(architecture).network.model)
        assert supports(load_small(architecture, trainable="top", top_layers=1).network.model)
    assert not supports(load_small("gpt2").network.model)
    assert not supports(load_small("llama", trainable="lora").network.model)
    assert not supports(load_small("llama", dtype="bfloat16").network.model)
    assert supports(mistral())
    assert not supports(mistral(sliding_window=8))
    assert supports(qwen3())
    assert not supports(qwen3(hidden_act="gelu"))
    dynamic = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}
    assert not supports(qwen3(rope_parameters=dynamic))


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0},
        {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0},
    ],
)
def test_stretched_positions(rope: dict[str, Any]) -> None:
    model = qwen3(rope_parameters=rope)
    assert supports(model)
    assert LlamaDecoder(model).ready()
