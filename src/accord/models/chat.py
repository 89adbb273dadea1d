"""How a conversation becomes tokens: one template, fixed once and saved with every model.

The system message is written into the template itself, so a policy and the reward model trained
beside it cannot disagree about it, and plain transformers applies it too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accord.errors import ModelError
from accord.types import Prompt

PLAIN = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
BUILT_IN = {"plain": PLAIN, "chatml": CHATML}


@dataclass(frozen=True)
class ChatFormat:
    """A Jinja chat template with its system message inside."""

    template: str

    def encode(self, tokenizer: Any, prompt: Prompt) -> list[int]:
        """Token ids of a prompt up to where the model must speak."""
        text = tokenizer.apply_chat_template(
            [{"role": m.role, "content": m.content} for m in prompt.messages],
            chat_template=self.template,
            add_generation_prompt=True,
            tokenize=False,
        )
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def chat_format(tokenizer: Any, template: str | None, system: str | None) -> ChatFormat:
    """The format for a model: its own template unless another is named, with ``system`` fixed.

    Args:
        tokenizer: a Hugging Face tokenizer.
        template: None (the tokenizer's own), "plain", "chatml", or the path of a Jinja file.
        system: the system message to put first in every conversation that has none.

    Raises:
        ModelError: the tokenizer has no template and none was named, or the file is missing.
    """
    if template is None:
        source = tokenizer.chat_template
        if not isinstance(source, str):
            raise ModelError(
                "this tokenizer has no chat template (a raw pretrained model); "
                "set model.template to plain, chatml, or the path of a .jinja file"
            )
    elif template in BUILT_IN:
        source = BUILT_IN[template]
    else:
        path = Path(template)
        if not path.is_file():
            raise ModelError(
                f"model.template: no file {template!r}; use plain, chatml, or a .jinja file's path"
            )
        source = path.read_text(encoding="utf-8")
    if system is None:
        return ChatFormat(source)
    prefix = (
        "{% if messages[0]['role'] != 'system' %}{% set messages = "
        "[{'role': 'system', 'content': " + _literal(system) + "}] + messages %}{% endif %}\n"
    )  # trim_blocks drops that newline, and only that: one at the start of the source stays
    return ChatFormat(prefix + source)


def _literal(text: str) -> str:
    """A Jinja string; Jinja turns every raw line end of a template into a newline."""
    for raw, escaped in (("\\", "\\\\"), ("'", "\\'"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(raw, escaped)
    return f"'{text}'"


def encode_completion(
    tokenizer: Any, text: str, eos_id: int, *, finished: bool, max_tokens: int
) -> list[int]:
    """Token ids of a completion, with eos when it ended by itself; cut on the right when too long.

    A completion that had to be cut loses its eos: the model must not learn to stop there.
    """
    tokens: Sequence[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    whole = [*tokens, eos_id] if finished else list(tokens)
    return whole[:max_tokens]
