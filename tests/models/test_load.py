"""Loading and saving: ordinary folders, heads as the papers say, a pad token that ends nothing."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)

from accord.algorithms import sft_loss
from accord.config import ModelConfig, Recipe
from accord.engine import AdamSettings, LocalLearner, per_token
from accord.errors import ModelError
from accord.models.batch import TokenRow, collate
from accord.models.load import (
    Policy,
    load_policy,
    load_reward_model,
    new_reward_model,
    save_policy,
    save_reward_model,
)
from accord.types import Completion, Demonstration, Message, Prompt

CPU = ModelConfig(device="cpu")
ROWS = [TokenRow([5, 9, 30], [8, 40, 2]), TokenRow([7], [11, 12, 50, 60, 2]), TokenRow([6, 6], [2])]


def train(policy: Policy, tmp_path: Path) -> None:
    learner = LocalLearner(
        policy.network, AdamSettings(), micro_batch_tokens=99, dump_folder=tmp_path
    )
    for _ in range(3):
        learner.step(
            collate(ROWS, 0),
            lambda out, part: sft_loss(out.per_token_BT, part.response_mask_BT, 9),
            1e-2,
        )


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        ("llama", {"trainable": "all"}),
        ("llama", {"trainable": "lora", "lora_rank": 4}),
        ("qwen2", {"trainable": "top", "top_layers": 1}),
        ("gpt2", {"trainable": "lora", "lora_rank": 4}),
    ],
)
def test_a_saved_policy_is_an_ordinary_folder(
    load_small: Any, architecture: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    policy = load_small(architecture, **settings)
    train(policy, tmp_path)
    ids = torch.arange(5, 25).reshape(2, 10)
    if policy.network.adapter is not None:
        policy.network.model.double()  # in float32 merging rounds weights by more than the bound
    with torch.no_grad():
        ours = policy.network.model(input_ids=ids).logits
        save_policy(policy, tmp_path / "out")
        theirs, report = AutoModelForCausalLM.from_pretrained(
            tmp_path / "out", output_loading_info=True, dtype=ours.dtype
        )
        torch.testing.assert_close(theirs.eval()(input_ids=ids).logits, ours, atol=1e-5, rtol=1e-5)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert not (tmp_path / "out" / "adapter_config.json").exists()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.chat_template == policy.chat.template
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (policy.pad_id, policy.eos_id)


def test_the_head_of_a_reward_model_is_drawn_as_in_ziegler(load_small: Any, tmp_path: Path) -> None:
    save_policy(load_small("llama"), tmp_path)
    heads = [new_reward_model(tmp_path, CPU, seed).network.model.score.weight for seed in range(40)]
    every = torch.stack(heads).detach()
    assert every.shape == (40, 1, 32)
    assert abs(float(every.std()) * math.sqrt(33) - 1) < 0.06  # 1280 draws: sd of the ratio 0.02
    assert abs(float(every.mean())) < 0.02
    again = new_reward_model(tmp_path, CPU, 3).network.model.score
    assert torch.equal(again.weight, heads[3])
    assert again.bias is None


def test_a_reward_model_starts_on_the_policys_body(load_small: Any, tmp_path: Path) -> None:
    policy = load_small("llama")
    save_policy(policy, tmp_path)
    body = new_reward_model(tmp_path, CPU, 0).network.base
    for name, parameter in policy.network.base.named_parameters():
        assert torch.equal(dict(body.named_parameters())[name], parameter)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("trainable", ["all", "lora"])
def test_a_saved_reward_model_pools_the_same_score_in_transformers(
    load_small: Any, tmp_path: Path, architecture: str, trainable: str
) -> None:
    """Trick 17 of papers.md too: the score of a row is the same padded and alone."""
    policy = load_small(architecture)
    save_policy(policy, tmp_path / "policy")
    made = new_reward_model(tmp_path / "policy", ModelConfig(device="cpu", trainable=trainable), 1)
    made.network.set_normalization(0.5, 2.0)
    batch = collate(ROWS, policy.pad_id)
    with torch.no_grad():
        scores = made.network.scores(batch)
        alone = torch.cat([made.network.scores(collate([row], policy.pad_id)) for row in ROWS])
        torch.testing.assert_close(scores, alone, atol=1e-5, rtol=1e-5)
        save_reward_model(made, policy.tokenizer, tmp_path / "reward")
        theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "reward").eval()
        pooled = theirs(input_ids=batch.input_ids_BT).logits[:, 0]
        torch.testing.assert_close((pooled - 0.5) / 2.0, scores, atol=1e-5, rtol=1e-5)
        loaded = load_reward_model(tmp_path / "reward", CPU)
        torch.testing.assert_close(loaded.network.scores(batch), scores, atol=1e-5, rtol=1e-5)
    assert loaded.chat == policy.chat
    assert not loaded.network.trainable()
    value = load_reward_model(
        tmp_path / "reward", ModelConfig(device="cpu", trainable=trainable), trainable=True
    ).network
    assert "score.weight" in {name.removeprefix("base_model.model.") for name in value.trainable()}


def test_per_token_in_micro_batches_is_per_token_at_once(load_small: Any) -> None:
    network = load_small("llama").network
    batch = collate(ROWS, 0)
    torch.testing.assert_close(
        per_token(network, batch, 7), per_token(network, batch, 99), atol=1e-5, rtol=1e-5
    )


def bare_tokenizer(**special: str) -> PreTrainedTokenizerFast:
    """GPT-2's way: one end-of-text token, and nothing else added."""
    words = ["<|endoftext|>", "a", "b", "c", "?", "."]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="."))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|endoftext|>", bos_token="<|endoftext|>", **special
    )


def save(folder: Path, tokenizer: PreTrainedTokenizerFast, **config: Any) -> Path:
    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(
            n_embd=16, n_layer=2, n_head=2, n_positions=64, initializer_range=0.5,
            **{"vocab_size": 6, "bos_token_id": 0, "eos_token_id": 0, **config},
        )
    )  # fmt: skip
    with torch.no_grad():
        model.transformer.ln_f.bias += 3.0  # logits far from 0, as GPT-2's are
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


PLAIN = ModelConfig(device="cpu", template="plain")


@pytest.mark.parametrize("special", [{}, {"pad_token": "<|endoftext|>"}])
def test_a_tokenizer_with_only_eos_gets_a_new_pad_token(
    tmp_path: Path, special: dict[str, str]
) -> None:
    folder = save(tmp_path / "gpt2", bare_tokenizer(**special))
    policy, again = load_policy(folder, PLAIN), load_policy(folder, PLAIN)
    assert (policy.eos_id, policy.pad_id) == (0, 6)
    before = GPT2LMHeadModel.from_pretrained(folder).eval()
    ids = torch.tensor([[1, 2, 3, 4]])
    with torch.no_grad():
        old, new = before(input_ids=ids).logits, policy.network.model(input_ids=ids).logits
    torch.testing.assert_close(new[..., :6], old)
    # The new token is as likely as the mean token at most, and the same in every process.
    torch.testing.assert_close(new[..., 6], old.mean(-1), atol=1e-4, rtol=1e-4)
    rows = [p.network.model.get_input_embeddings().weight[6] for p in (policy, again)]
    assert torch.equal(*rows)
    save_policy(policy, tmp_path / "saved")
    saved = load_policy(tmp_path / "saved", PLAIN)
    assert (saved.eos_id, saved.pad_id) == (0, 6)
    assert saved.network.model.config.pad_token_id == 6


def test_the_loss_counts_eos_where_pad_was_eos(tmp_path: Path) -> None:
    """Masks by pad id would drop the end: the known bug when pad = eos."""
    folder = save(tmp_path, bare_tokenizer(pad_token="<|endoftext|>"))
    policy = load_policy(folder, PLAIN)
    demonstration = Demonstration(Prompt("1", (Message("user", "a ?"),)), "b")
    (row,) = policy.encoder(Recipe(model=PLAIN)).demonstrations([demonstration])
    batch = collate([row, TokenRow([1] * 6, [1] * 6)], policy.pad_id)
    assert batch.response_mask_BT[0].nonzero().flatten().tolist() == [2, 3]
    assert batch.input_ids_BT[0, 2:4].tolist() == [2, 0]


def test_an_own_unused_or_reserved_pad_token_is_preferred(tmp_path: Path) -> None:
    tokenizer = bare_tokenizer(
        pad_token="<|endoftext|>", additional_special_tokens=["<role>", "<|reserved_1|>"]
    )
    policy = load_policy(save(tmp_path / "a", tokenizer), PLAIN)
    assert policy.tokenizer.pad_token == "<|reserved_1|>"
    # That token had no row in the model: it has one now.
    assert policy.network.model.get_input_embeddings().weight.shape[0] >= policy.pad_id + 1
    kept = load_policy(save(tmp_path / "b", bare_tokenizer(pad_token=".")), PLAIN)
    assert kept.tokenizer.pad_token == "."


def test_a_token_that_stops_is_no_pad_token(tmp_path: Path) -> None:
    tokenizer = bare_tokenizer(additional_special_tokens=["<|stop|>"])
    folder = save(tmp_path, tokenizer, vocab_size=7)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, 6]}))
    policy = load_policy(folder, PLAIN)
    assert policy.stop_ids == {0, 6}
    assert policy.pad_id == 7


def test_no_eos_no_template_no_model_are_told(tmp_path: Path) -> None:
    tokenizer = bare_tokenizer()
    folder = save(tmp_path / "raw", tokenizer)
    with pytest.raises(ModelError, match="no chat template"):
        load_policy(folder, CPU)
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match="no eos token"):
        load_policy(save(tmp_path / "endless", tokenizer), PLAIN)
    with pytest.raises(ModelError, match="could not be loaded"):
        load_policy(tmp_path / "nowhere", CPU)


def test_text_leaves_special_tokens_out(load_small: Any) -> None:
    policy = load_small("llama")
    tokens = policy.tokenizer("the fox is red .", add_special_tokens=False)["input_ids"]
    assert policy.text([*tokens, policy.eos_id]) == "the fox is red ."


def test_an_artifact_keeps_its_chat_format_whatever_the_recipe_says(
    load_small: Any, tmp_path: Path
) -> None:
    policy = load_small("llama", template="chatml", system="Be 'brief'.")
    assert "Be \\'brief\\'." in policy.chat.template
    save_policy(policy, tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    again = load_policy(tmp_path, ModelConfig(device="cpu", template="plain", system="Other"))
    assert again.chat == policy.chat
    encoder = again.encoder(Recipe())
    prompt = Prompt("1", (Message("user", "a"),))
    assert encoder.row(encoder.prompt(prompt), Completion("the fox")).response[-1] == again.eos_id
