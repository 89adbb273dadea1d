"""Records to token rows: prompts cut on the left, completions on the right, both counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from accord.models.batch import TokenRow
from accord.models.chat import ChatFormat, encode_completion
from accord.types import Completion, Demonstration, Prompt


@dataclass(frozen=True)
class Encoder:
    """Turns prompts and completions into tokens of one model family.

    Attributes:
        tokenizer: a Hugging Face tokenizer.
        chat: the chat format both policy and reward model were trained with.
        eos_id: token that ends a finished completion.
        max_prompt_tokens: a longer prompt loses its beginning.
        max_tokens: prompt and completion together; a longer completion loses its end and its eos.
    """

    tokenizer: Any
    chat: ChatFormat
    eos_id: int
    max_prompt_tokens: int
    max_tokens: int

    def prompt(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt, the last ``max_prompt_tokens`` of them."""
        return self.chat.encode(self.tokenizer, prompt)[-self.max_prompt_tokens :]

    def row(self, prompt: list[int], completion: Completion, group: int = 0) -> TokenRow:
        """A prompt that is tokens already, with one completion."""
        room = self.max_tokens - len(prompt)
        tokens = encode_completion(
            self.tokenizer,
            completion.text,
            self.eos_id,
            finished=completion.finished,
            max_tokens=room,
        )
        return TokenRow(prompt, tokens, group)

    def demonstrations(self, demonstrations: Sequence[Demonstration]) -> list[TokenRow]:
        """Rows of demonstrations, each a group of its own."""
        return [
            self.row(self.prompt(d.prompt), Completion(d.completion), group)
            for group, d in enumerate(demonstrations)
        ]
