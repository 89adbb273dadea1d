"""The tiny model: under half a million parameters, pretrained here on the tiny world's dialogues.

It is a true "raw pretrained" start for tests, docs and proofs: built at run time in well under a
minute from text we write, deterministic for a seed, and saved as an ordinary Hugging Face folder.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from accord.models import cache
from accord.worlds import tiny as world

VERSION = 1
PAD, UNK, EOS, USER, ASSISTANT = "<pad>", "<unk>", "<eos>", "<user>", "<assistant>"
MAX_TOKENS = 128
TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}<user> {{ message['content'] }} "
    "{% elif message['role'] == 'assistant' %}<assistant> {{ message['content'] }} <eos> "
    "{% else %}{{ raise_exception('the tiny model knows no ' + message['role'] + ' message') }}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Pretraining:
    """Shape and schedule of the tiny model."""

    hidden_size: int = 112
    num_layers: int = 2
    num_heads: int = 4
    mlp_size: int = 336
    num_steps: int = 800
    batch_size: int = 24
    learning_rate: float = 4e-3
    warmup_steps: int = 20
    weight_decay: float = 0.01


def folder(seed: int = 0) -> Path:
    """The pretrained model and its tokenizer, in the user's cache; built on first use."""
    settings = Pretraining()
    told = world.pretraining_text(seed, 600)
    made_of = [asdict(settings), TEMPLATE, world.vocabulary(), told]
    digest = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:12]

    def build(work: Path) -> None:
        tokenizer = make_tokenizer()
        pretrain(tokenizer, settings, seed).save_pretrained(work)
        tokenizer.save_pretrained(work)

    return cache.build_once(f"tiny-v{VERSION}-seed{seed}-{digest}", build)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer of the world's vocabulary with the chat template in it.

    Lower-cases, splits words from punctuation, and decodes to words joined by single spaces.
    """
    special = (PAD, UNK, EOS, USER, ASSISTANT)
    words = {word: i for i, word in enumerate((*special, *world.vocabulary()))}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=UNK))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNK,
        eos_token=EOS,
        additional_special_tokens=[USER, ASSISTANT],
        chat_template=TEMPLATE,
        model_max_length=MAX_TOKENS,
        clean_up_tokenization_spaces=False,
    )


def pretrain(
    tokenizer: PreTrainedTokenizerFast, settings: Pretraining, seed: int
) -> LlamaForCausalLM:
    """Train the raw model on the world's dialogues; AdamW, cosine to zero, one thread.

    One thread and its own random state make the weights a function of the seed alone.
    """
    batches = _batches(tokenizer, settings, seed)
    with _deterministic(seed):
        model = LlamaForCausalLM(_config(tokenizer, settings))
        model.train()
        optimizer = torch.optim.AdamW(
            model.parameters(),
            lr=settings.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=settings.weight_decay,
        )
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: _schedule(i, settings))
        for batch_BT in batches:
            logits_BTV = model(input_ids=batch_BT).logits
            targets_BT = batch_BT[:, 1:].masked_fill(
                batch_BT[:, 1:] == tokenizer.pad_token_id, -100
            )
            loss = cross_entropy(logits_BTV[:, :-1].flatten(0, 1), targets_BT.flatten())
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
    return model.eval()


def _batches(
    tokenizer: PreTrainedTokenizerFast, settings: Pretraining, seed: int
) -> list[torch.Tensor]:
    """Right-padded batches of dialogues of like length, which saves a third of the work."""
    size = settings.batch_size
    dialogues = world.pretraining_text(seed, settings.num_steps * size)
    texts = [f"{USER} {question} {ASSISTANT} {answer} {EOS}" for question, answer in dialogues]
    batches: list[torch.Tensor] = []
    for start in range(0, len(texts), 8 * size):
        near = sorted(texts[start : start + 8 * size], key=lambda text: len(text.split()))
        for first in range(0, len(near), size):
            tokens = tokenizer(near[first : first + size], padding=True, return_tensors="pt")
            batches.append(tokens["input_ids"])
    shuffle = torch.randperm(len(batches), generator=torch.Generator().manual_seed(seed))
    return [batches[i] for i in shuffle]


def _config(tokenizer: PreTrainedTokenizerFast, settings: Pretraining) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden_size,
        intermediate_size=settings.mlp_size,
        num_hidden_layers=settings.num_layers,
        num_attention_heads=settings.num_heads,
        num_key_value_heads=settings.num_heads,
        max_position_embeddings=MAX_TOKENS,
        tie_word_embeddings=True,
        initializer_range=0.05,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _schedule(step: int, settings: Pretraining) -> float:
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / (settings.num_steps - settings.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * done))


@contextmanager
def _deterministic(seed: int) -> Iterator[None]:
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
