"""The few verbs that touch hardware: two protocols, and what passes between them.

A local learner and sampler are in this package; a remote one keeps the same verbs and runs the
same loss, which is a picklable pure function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from torch import Tensor

from accord.models.batch import TokenBatch

Metrics: TypeAlias = dict[str, float]


@dataclass(frozen=True)
class Outputs:
    """What a forward pass gives a loss.

    Attributes:
        per_token_BT: log-probabilities of response tokens (a policy), or the scalar head read at
            every token (a reward or value model).
    """

    per_token_BT: Tensor


Loss: TypeAlias = Callable[[Outputs, TokenBatch], tuple[Tensor, dict[str, Tensor]]]


@dataclass(frozen=True)
class SamplingParams:
    """How to draw completions.

    Attributes:
        max_tokens: longest completion, eos included.
        temperature: logits are divided by it; 0 takes the most likely token.
        top_k: keep the k most likely tokens (0: all).
        top_p: keep the smallest set of tokens with this much probability (1: all).
        num_candidates: completions a prompt, K.
        batch_size: sequences decoded together.
        seed: seed of the counter-based draws.
        key: what the draws are for (stage, step, ...); equal keys give equal draws.
    """

    max_tokens: int
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    num_candidates: int = 1
    batch_size: int = 32
    seed: int = 0
    key: tuple[int | str, ...] = ()


@dataclass(frozen=True, slots=True)
class SampledTokens:
    """One completion as tokens.

    Attributes:
        tokens: ids, the stop token included when there was one.
        logprobs: log-probability of each token under exactly the distribution it was drawn from.
        finished: True when a stop token ended it, False at ``max_tokens``.
    """

    tokens: list[int]
    logprobs: list[float]
    finished: bool


class Sampler(Protocol):
    """Draws completions from a policy."""

    def sample(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams
    ) -> list[list[SampledTokens]]:
        """K completions for each prompt, in order."""
        ...


class Learner(Protocol):
    """Owns one network and its optimizer."""

    def forward(self, batch: TokenBatch) -> Tensor:
        """``Outputs.per_token_BT`` without gradient."""
        ...

    def step(self, batch: TokenBatch, loss: Loss, learning_rate: float) -> Metrics:
        """Forward, loss, backward over micro-batches, then one optimizer step."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Trained parameters and optimizer state, by name."""
        ...

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what :meth:`state` gave."""
        ...
