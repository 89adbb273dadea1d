"""Who answers raters: policies by name, each accord's own sampler or a server of the OpenAI kind.

These settings come from the lead's configuration alone. Nothing that a rater sends can name a
model, an address or a file.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from accord.config.fields import (
    Count,
    CountOrZero,
    Name,
    NonNegative,
    Positive,
    Section,
    Seed,
    require,
)
from accord.config.sections import ModelConfig


class AccordPolicy(Section):
    """A policy that accord itself samples from, in the worker process."""

    kind: Literal["accord"] = "accord"
    """`accord`: weights on this machine."""

    source: Name
    """A policy artifact, another Hugging Face folder, `tiny`, `smollm2`, or a name on the hub."""

    model: ModelConfig = ModelConfig()
    """Device, number type, template and context length; `name` is not used."""


class OpenAIPolicy(Section):
    """A policy that a server with the OpenAI protocol speaks for: vLLM, llama.cpp, Ollama, ..."""

    kind: Literal["openai"]
    """`openai`: a server's weights."""

    url: Name
    """Base address, such as `http://127.0.0.1:8000/v1`."""

    model: Name
    """The model's name on that server."""

    api_key_env: Name | None = None
    """Environment variable that holds the key. None: the server wants none."""

    system: str | None = None
    """System message put before each conversation that has none. None: no message is added."""

    connect_seconds: Positive = 10.0
    """Give up when the server has not taken the connection by then."""

    silence_seconds: Positive = 60.0
    """Give up when nothing new was said for so long."""

    total_seconds: Positive = 300.0
    """Give up on an answer that takes longer than this."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        require(
            self.url.startswith(("http://", "https://")),
            f"url must start with http:// or https://, not {self.url!r}",
            "url",
        )
        return self


Policy: TypeAlias = Annotated[AccordPolicy | OpenAIPolicy, Field(discriminator="kind")]


class GeneratorConfig(Section):
    """The generation worker: which policies it speaks for and how much it does together."""

    policies: dict[Name, Policy] = Field(default_factory=dict)
    """Name -> where the policy comes from. Rounds refer to these names; raters never see them."""

    max_together: Count = 16
    """Answers under way together. Memory for keys and values grows with it."""

    num_threads: Count | None = None
    """CPU threads for torch. None: torch's choice, the number of cores."""

    niceness: CountOrZero = 5
    """How far the worker steps back for other processes, so that pages stay quick. 0: not a bit."""

    silence_seconds: Positive = 120.0
    """A worker that shows no sign of life for so long, once its models are loaded, is ended and
    started again."""

    max_attempts: Count = 3
    """An answer that failed this often is given up, and the rater is told."""


class Speech(Section):
    """How answers are drawn."""

    max_tokens: Count = 256
    """Longest answer in tokens."""

    temperature: NonNegative = 1.0
    """Divides the logits. 0: always the most likely token, so that two answers would be alike."""

    top_k: CountOrZero = 0
    """Draw only from the k likeliest tokens. 0: from all."""

    top_p: float = Field(default=1.0, gt=0, le=1)
    """Draw only from the likeliest tokens that hold this probability together. 1.0: from all."""

    seed: Seed = 0
    """Seed of the draws; each answer has its own key, so a repeated one is the same."""
