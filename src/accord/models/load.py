"""Load, build and save models: any Hugging Face causal LM in, ordinary folders out."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    set_seed,
)
from transformers.utils import logging as transformers_logging

from accord.config import ModelConfig, Recipe
from accord.errors import ModelError
from accord.models.chat import ChatFormat, chat_format
from accord.models.encode import Encoder
from accord.models.network import (
    PolicyNetwork,
    ScalarNetwork,
    check_head,
    check_trunk,
    still_in_train_mode,
)

transformers_logging.disable_progress_bar()
transformers_logging.set_verbosity_error()


@dataclass(frozen=True)
class Policy:
    """A language model with what turns text into its tokens."""

    network: PolicyNetwork
    tokenizer: Any
    chat: ChatFormat
    eos_id: int
    pad_id: int
    stop_ids: frozenset[int]

    def encoder(self, recipe: Recipe) -> Encoder:
        """How this policy's records become tokens under a recipe's limits."""
        return Encoder(
            tokenizer=self.tokenizer,
            chat=self.chat,
            eos_id=self.eos_id,
            max_prompt_tokens=recipe.data.max_prompt_tokens,
            max_tokens=recipe.model.max_tokens,
        )

    def text(self, tokens: list[int]) -> str:
        """Text of completion tokens, without special tokens."""
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True)).strip()


@dataclass(frozen=True)
class RewardModel:
    """A scalar model with the chat format it was trained on."""

    network: ScalarNetwork
    chat: ChatFormat


def resolve(name: str) -> str:
    """A folder for a built-in name, else the path or hub name itself."""
    if name == "tiny":
        from accord.models import tiny

        return str(tiny.folder())
    if name == "smollm2":
        from accord.models import smollm2

        return str(smollm2.folder())
    return name


def load_policy(name: str | Path, config: ModelConfig) -> Policy:
    """Load a causal language model ready to sample from or to train.

    Args:
        name: "tiny", "smollm2", a folder (an accord artifact or any Hugging Face one), or a name
            on the hub.
        config: what trains, device, dtype, template and system message.

    Raises:
        ModelError: it cannot be found, or cannot do what the config asks.
    """
    source = resolve(str(name))
    made_here = (Path(source) / "manifest.json").is_file()
    tokenizer = _from_pretrained(AutoTokenizer, source, config.revision)
    model = _from_pretrained(
        AutoModelForCausalLM, source, config.revision, dtype=_dtype(config.dtype, config.device)
    )
    if made_here:  # the format was fixed when the first model of the line was trained
        chat = ChatFormat(tokenizer.chat_template)
    else:
        chat = chat_format(tokenizer, config.template, config.system)
    tokenizer.chat_template = chat.template
    if tokenizer.eos_token_id is None:
        raise ModelError(f"{name}: the tokenizer has no eos token, so nothing could ever end")
    stop_ids = _stop_ids(model, tokenizer)
    pad_id = _pad_token(tokenizer, model, stop_ids)
    network = _prepare(model, config)
    check_head(network)
    return Policy(
        network=network,
        tokenizer=tokenizer,
        chat=chat,
        eos_id=tokenizer.eos_token_id,
        pad_id=pad_id,
        stop_ids=stop_ids,
    )


def new_reward_model(policy_folder: Path, config: ModelConfig, seed: int) -> RewardModel:
    """A reward model on a policy's weights: head N(0, 1/sqrt(d + 1)), no bias (Ziegler 2019).

    The same transformer body starts the reward model as the policy (Stiennon et al. 2020, B.1).
    """
    tokenizer = AutoTokenizer.from_pretrained(policy_folder)
    set_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(
        policy_folder,
        num_labels=1,
        dtype=_dtype(config.dtype, config.device),
        pad_token_id=tokenizer.pad_token_id,
    )
    generator = torch.Generator().manual_seed(seed)
    weight = model.score.weight
    std = 1.0 / math.sqrt(weight.shape[1] + 1)
    weight.data = (torch.randn(weight.shape, generator=generator) * std).to(weight.dtype)
    model.config.accord_score_mean, model.config.accord_score_std = 0.0, 1.0
    network = _prepare_scalar(model, config)
    return RewardModel(network, ChatFormat(tokenizer.chat_template))


def load_reward_model(folder: Path, config: ModelConfig, *, trainable: bool = False) -> RewardModel:
    """Load a reward model saved by accord; with ``trainable`` it starts a value model."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=_dtype(config.dtype, config.device)
    )
    if trainable:
        network = _prepare_scalar(model, config)
    else:
        model.requires_grad_(False)
        network = ScalarNetwork(model.eval().to(_device(config.device)))
    return RewardModel(network, ChatFormat(tokenizer.chat_template))


def save_policy(policy: Policy, folder: Path) -> None:
    """Write an ordinary Hugging Face folder (safetensors, tokenizer with its chat template)."""
    network = policy.network
    model = network.model if network.adapter is None else network.adapter.merge_and_unload()
    model.save_pretrained(folder)
    policy.tokenizer.save_pretrained(folder)


def save_reward_model(reward_model: RewardModel, tokenizer: Any, folder: Path) -> None:
    """Write a reward model as an ordinary sequence-classification folder."""
    network = reward_model.network
    model = network.model if network.adapter is None else network.adapter.merge_and_unload()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _prepare(model: Any, config: ModelConfig) -> PolicyNetwork:
    trunk_layers, adapter = _choose_trainable(model, config)
    inner = model if adapter is None else adapter.base_model.model
    network = PolicyNetwork(
        _still(inner, config),
        trunk_layers=trunk_layers,
        adapter=adapter,
        checkpointing=config.gradient_checkpointing,
    )
    if trunk_layers:
        check_trunk(network)
    return network


def _prepare_scalar(model: Any, config: ModelConfig) -> ScalarNetwork:
    trunk_layers, adapter = _choose_trainable(model, config)
    inner = model if adapter is None else adapter.base_model.model
    for parameter in inner.score.parameters():
        parameter.requires_grad_(True)
    return ScalarNetwork(
        _still(inner, config),
        trunk_layers=trunk_layers,
        adapter=adapter,
        checkpointing=config.gradient_checkpointing,
    )


def _choose_trainable(model: Any, config: ModelConfig) -> tuple[int, Any]:
    """Set ``requires_grad`` as the config asks; returns (trunk layers, LoRA wrapper or None)."""
    model.requires_grad_(config.trainable == "all")
    if config.trainable == "lora":
        from peft import LoraConfig, get_peft_model

        lora = LoraConfig(
            r=config.lora_rank,
            lora_alpha=config.lora_alpha,
            target_modules="all-linear",
            exclude_modules=["score", "lm_head"],
            lora_dropout=0.0,
        )
        # An adapter starts the same in every process.
        with torch.random.fork_rng(devices=[]), _old_names():
            torch.manual_seed(0)
            return 0, get_peft_model(model, lora)
    if config.trainable == "top":
        layers = model.base_model._modules.get("layers")
        if not isinstance(layers, nn.ModuleList):
            raise ModelError(f"{type(model).__name__} has no .layers; use model.trainable: lora")
        trunk_layers = len(layers) - config.top_layers
        if trunk_layers < 1:
            raise ModelError(
                f"model.top_layers: {config.top_layers} of {len(layers)} layers leaves no trunk; "
                f"choose 1 to {len(layers) - 1}, or model.trainable: all"
            )
        for module in (*list(layers)[trunk_layers:], model.base_model.norm):
            module.requires_grad_(True)
        head = model.get_output_embeddings()
        if head is not None and head.weight is not model.get_input_embeddings().weight:
            head.requires_grad_(True)
        return trunk_layers, None
    return 0, None


@contextmanager
def _old_names() -> Iterator[None]:
    """Newer transformers renamed gradient checkpointing; peft, and we, use what all of 5 have.

    Nor need anyone know that peft turns the matrices of GPT-2 round by itself.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "fan_in_fan_out is set to False", UserWarning)
        warnings.filterwarnings("ignore", ".*gradient_checkpointing.* is deprecated", FutureWarning)
        yield


def _still(model: Any, config: ModelConfig) -> Any:
    """No dropout anywhere, ever (papers.md trick 9), on the chosen device."""
    model.to(_device(config.device))
    if config.gradient_checkpointing:
        still_in_train_mode(model)
        with _old_names():
            model.gradient_checkpointing_enable({"use_reentrant": False})
    return model.eval()


def _pad_token(tokenizer: Any, model: Any, stop_ids: frozenset[int]) -> int:
    """A pad token that ends nothing, saved with the model so that plain transformers agrees.

    One that is named so, or is reserved for no use, is taken before any other added token; a
    tokenizer that has only its eos gets a new token.
    """
    used = {*stop_ids, tokenizer.bos_token_id}
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id in stop_ids:
        free = [token for token, i in tokenizer.get_added_vocab().items() if i not in used]
        named = [token for token in free if "pad" in token.lower() or "reserved" in token.lower()]
        if free:
            tokenizer.pad_token = (named or free)[0]
        else:
            tokenizer.add_special_tokens({"pad_token": "<|pad|>"})
    if tokenizer.pad_token_id >= model.get_input_embeddings().weight.shape[0]:
        _grow(model, len(tokenizer))
    model.config.pad_token_id = tokenizer.pad_token_id
    if model.generation_config is not None:
        model.generation_config.pad_token_id = tokenizer.pad_token_id
    return int(tokenizer.pad_token_id)


@torch.no_grad()
def _grow(model: Any, num_tokens: int) -> None:
    """Add token rows, each the mean of the old ones: never likely, and the same in every process.

    Transformers draws them at random, which a resumed run could not repeat.
    """
    old = model.get_input_embeddings().weight.shape[0]
    model.resize_token_embeddings(num_tokens, mean_resizing=False)
    for weight in (model.get_input_embeddings().weight, model.get_output_embeddings().weight):
        weight[old:] = weight[:old].mean(dim=0)


def _stop_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    declared = model.generation_config.eos_token_id if model.generation_config is not None else None
    extra = declared if isinstance(declared, list) else [] if declared is None else [declared]
    return frozenset({int(tokenizer.eos_token_id), *map(int, extra)})


def _from_pretrained(loader: Any, source: str, revision: str | None, **options: Any) -> Any:
    try:
        return loader.from_pretrained(source, revision=revision, **options)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"model {source!r} could not be loaded: {error}\n"
            "Give `tiny`, `smollm2`, a folder with config.json and safetensors, or a hub name."
        ) from error


def _device(name: str) -> torch.device:
    if name != "auto":
        return torch.device(name)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _dtype(name: str, device: str) -> torch.dtype:
    """float32 unless asked: on CPUs without AMX bfloat16 is slower (docs/models.md)."""
    chosen = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    return chosen.get(name, torch.float32)
