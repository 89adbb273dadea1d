"""The tiny model: its tokenizer, its pretraining, and how well it speaks the grammar."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from accord.models import tiny
from accord.models.tree import NextLogprobs
from accord.types import Completion, Prompt
from accord.worlds import tiny as world
from accord.worlds.optimum import Responses, enumerate_responses, optimum_at_kl

SHORT = replace(tiny.Pretraining(), num_steps=8, batch_size=8, warmup_steps=2)


@pytest.fixture(scope="module")
def folder() -> Path:
    return tiny.folder()


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return tiny.make_tokenizer()


@pytest.fixture(scope="module")
def network(folder: Path) -> torch.nn.Module:
    network: torch.nn.Module = AutoModelForCausalLM.from_pretrained(folder)
    return network.eval()


def encode(tokenizer: PreTrainedTokenizerFast, prompt: Prompt) -> list[int]:
    message = {"role": "user", "content": prompt.text}
    tokens: list[int] = tokenizer.apply_chat_template(
        [message], add_generation_prompt=True, return_dict=False
    )
    return tokens


def test_every_word_is_one_token_and_comes_back(tokenizer: PreTrainedTokenizerFast) -> None:
    for prompt in world.prompts()[::40]:
        for text in [prompt.text, *world.responses(prompt)[::500]]:
            tokens = tokenizer(text)["input_ids"]
            assert len(tokens) == len(text.split())
            assert tokenizer.decode(tokens) == text
            assert tokenizer.unk_token_id not in tokens
    assert len(tokenizer) == len(world.vocabulary()) + 5


def test_special_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert tokenizer.decode(tokenizer("What colour is the SKY?")["input_ids"]) == (
        "what colour is the sky ?"
    )
    assert tokenizer("quark")["input_ids"] == [tokenizer.unk_token_id]


def test_chat_template(tokenizer: PreTrainedTokenizerFast) -> None:
    turns = [{"role": "user", "content": "how big is the fox ?"}]
    prompt = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert prompt == "<user> how big is the fox ? <assistant>"
    turns.append({"role": "assistant", "content": "the fox is small ."})
    whole = tokenizer.apply_chat_template(turns, return_dict=False)
    assert whole[: len(tokenizer(prompt)["input_ids"])] == tokenizer(prompt)["input_ids"]
    assert whole[-1] == tokenizer.eos_token_id
    with pytest.raises(Exception, match="knows no system message"):
        tokenizer.apply_chat_template([{"role": "system", "content": "well"}])


def test_pretraining_depends_on_the_seed_alone(tokenizer: PreTrainedTokenizerFast) -> None:
    first = tiny.pretrain(tokenizer, SHORT, 0).state_dict()
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        second = tiny.pretrain(tokenizer, SHORT, 0).state_dict()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[key], second[key]) for key in first)
    other = tiny.pretrain(tokenizer, SHORT, 1).state_dict()
    assert not torch.equal(first["model.norm.weight"], other["model.norm.weight"])


def test_folder_is_an_ordinary_hugging_face_folder(folder: Path, network: torch.nn.Module) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.chat_template == tiny.TEMPLATE
    assert tokenizer.pad_token_id == network.config.pad_token_id
    assert tokenizer.eos_token_id == network.generation_config.eos_token_id
    assert 300_000 <= network.num_parameters() <= 1_000_000
    assert folder.name.startswith(f"tiny-v{tiny.VERSION}-seed0-")
    assert tiny.folder() == folder


@pytest.fixture(scope="module")
def walked(
    network: torch.nn.Module, tokenizer: PreTrainedTokenizerFast
) -> Iterator[tuple[Prompt, Responses, list[str]]]:
    prompt = next(p for p in world.prompts() if p.text == "how big is the fox ?")
    answers = enumerate_responses(
        NextLogprobs(network),
        encode(tokenizer, prompt),
        eos_id=tokenizer.eos_token_id,
        max_tokens=world.MAX_TOKENS,
        min_prob=2e-5,
    )
    yield prompt, answers, [tokenizer.decode(list(tokens)) for tokens in answers.tokens]


def test_enumerated_probabilities_are_the_model_s(
    walked: tuple[Prompt, Responses, list[str]],
    network: torch.nn.Module,
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    """The cached tree walk against one plain forward pass per response."""
    prompt, answers, _ = walked
    start = encode(tokenizer, prompt)
    for i in range(0, len(answers.tokens), 97):
        end = [tokenizer.eos_token_id] if answers.finished_R[i] else []
        tokens = torch.tensor([start + list(answers.tokens[i]) + end])
        with torch.inference_mode():
            logprobs = network(input_ids=tokens).logits[0].double().log_softmax(-1)
        picked = logprobs[:-1].gather(1, tokens[0, 1:, None])[len(start) - 1 :]
        assert answers.probs_R[i] == pytest.approx(picked.sum().exp().item(), rel=1e-4)
    assert answers.probs_R.sum() + answers.uncovered == pytest.approx(1.0)


def test_raw_optimum_lies_between_raw_gold_and_the_highest(
    walked: tuple[Prompt, Responses, list[str]],
) -> None:
    case = world.case(*walked)
    start, one = (
        optimum_at_kl([case], kl, lowest=world.LOWEST, highest=world.HIGHEST) for kl in (0.0, 1.0)
    )
    assert start.gold == pytest.approx(
        case.probs_R @ case.gold_R + world.LOWEST * walked[1].uncovered
    )
    assert start.gold + 0.5 < one.gold < one.gold_bound < world.HIGHEST
    assert one.gold_bound - one.gold < 0.1


def test_the_raw_model_speaks_the_grammar_and_leaves_room(
    network: torch.nn.Module, tokenizer: PreTrainedTokenizerFast
) -> None:
    """More than 95 % of samples at temperature 1 are grammatical, about 70 % of them right."""
    torch.manual_seed(0)
    prompts = [p for p in world.prompts() if len(p.text.split()) == 6]
    tokens = torch.tensor([encode(tokenizer, prompt) for prompt in prompts for _ in range(8)])
    outputs = network.generate(
        tokens,
        attention_mask=torch.ones_like(tokens),
        do_sample=True,
        top_k=0,
        max_new_tokens=world.MAX_TOKENS,
    )
    scores = []
    for i, row in enumerate(outputs[:, tokens.shape[1] :].tolist()):
        text = tokenizer.decode(row, skip_special_tokens=True)
        finished = tokenizer.eos_token_id in row
        scores.append(world.gold(prompts[i // 8], Completion(text, finished=finished)))
    assert len(scores) > 400
    assert sum(score > world.LOWEST for score in scores) / len(scores) > 0.95
    assert 0.0 < sum(scores) / len(scores) < 0.8
