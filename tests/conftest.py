"""Settings every test needs before anything imports torch or transformers, and small models."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from accord.models.load import Policy

# One thread a process: two test workers share two cores, and spinning threads would starve them.
os.environ.update(
    OMP_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
    OMP_WAIT_POLICY="PASSIVE",
    TOKENIZERS_PARALLELISM="false",
)
# No test asks a hub: models are made here, or come from the user's cache.
os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folders of random-weight models ("llama", "qwen2", "gpt2") with the tiny world's tokenizer.

    Weights are scaled up, so that predictions are far from uniform and mistakes show.
    """
    made: dict[str, Path] = {}

    def build(architecture: str) -> Path:
        if architecture not in made:
            folder = tmp_path_factory.mktemp(architecture)
            _random_model(architecture).save_pretrained(folder)
            tokenizer = _tokenizer()
            tokenizer.save_pretrained(folder)
            made[architecture] = folder
        return made[architecture]

    return build


@pytest.fixture(scope="session")
def load_small(model_folder: Callable[[str], Path]) -> Callable[..., Policy]:
    """``load_small("llama", trainable="lora")`` gives a fresh policy each time."""
    from accord.config import ModelConfig
    from accord.models.load import load_policy

    def load(architecture: str = "llama", **settings: Any) -> Policy:
        return load_policy(model_folder(architecture), ModelConfig(device="cpu", **settings))

    return load


def _tokenizer() -> Any:
    from accord.models.tiny import make_tokenizer

    return make_tokenizer()


def _random_model(architecture: str) -> Any:
    import torch
    from transformers import (
        GPT2Config,
        GPT2LMHeadModel,
        LlamaConfig,
        LlamaForCausalLM,
        Qwen2Config,
        Qwen2ForCausalLM,
    )

    tokenizer = _tokenizer()
    ids = {
        "vocab_size": len(tokenizer),
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    rope = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "initializer_range": 0.3,
        **ids,
    }
    torch.manual_seed(0)
    if architecture == "gpt2":
        config = GPT2Config(
            n_embd=32, n_layer=2, n_head=4, n_positions=256, initializer_range=0.3, **ids
        )
        return GPT2LMHeadModel(config)  # with GPT-2's dropout of 0.1, which must be off
    if architecture == "qwen2":
        return Qwen2ForCausalLM(Qwen2Config(**rope, tie_word_embeddings=False))
    return LlamaForCausalLM(LlamaConfig(**rope, tie_word_embeddings=True, attention_dropout=0.1))
