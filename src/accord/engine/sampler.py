"""The local sampler: prefill each prompt once for its K candidates, then decode in batches.

Shapes: P prompts, B sequences decoded together, T cached positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from accord.algorithms import sampling_logits
from accord.engine.decoder import LlamaDecoder, supports
from accord.engine.protocols import SampledTokens, SamplingParams
from accord.models.load import Policy
from accord.rng import uniform

REFILL_AT = 0.75  # let waiting prompts in when at most this share of the rows is still running


class DecodeBatch(Protocol):
    """Rows decoded together.

    Attributes:
        joins: whether prompts may join rows that are already under way.
        compact_at: drop finished rows when at most this share is still running.
    """

    joins: bool
    compact_at: float

    def join(self, prompts: Sequence[Sequence[int]], num_candidates: int) -> Tensor:
        """Add rows; returns their next-token logits (P x K, V)."""
        ...

    def step(self, tokens_B: Tensor) -> Tensor:
        """Append one token to every row; returns next-token logits (B, V)."""
        ...

    def keep(self, order: Sequence[int]) -> None:
        """Keep these rows, in this order."""
        ...


@dataclass
class _Row:
    prompt: int
    uniforms: np.ndarray
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finished: bool = False

    @property
    def done(self) -> bool:
        return self.finished or len(self.tokens) == len(self.uniforms)


class LocalSampler:
    """Samples from a policy on this machine, always with its weights as they are.

    Llama-shaped models in float32 on a CPU are decoded by :class:`LlamaDecoder`, after a check that
    its logits are the model's; every other model by Hugging Face's forward pass. One sampler can
    live through a training run: each call takes over the weights that train.

    Every draw is a counter-based uniform of (seed, key, prompt, candidate, position), so what a
    prompt gets does not depend on what was drawn before it, beside it or before a restart.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        model = policy.network.model
        self._decoder = LlamaDecoder(model) if supports(model) else None

    @torch.inference_mode()
    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        params: SamplingParams,
        on_token: Callable[[int], None] | None = None,
    ) -> list[list[SampledTokens]]:
        """Draw ``params.num_candidates`` completions for each prompt.

        Args:
            prompts: token ids, one list a prompt.
            params: see :class:`SamplingParams`.
            on_token: called with each token as it is drawn, for streaming one completion.

        Returns:
            For each prompt its candidates, in order.
        """
        rows = [
            [
                _Row(i, uniform(params.seed, "sample", *params.key, i, k, size=params.max_tokens))
                for k in range(params.num_candidates)
            ]
            for i in range(len(prompts))
        ]
        self._decode(prompts, rows, params, on_token)
        return [[SampledTokens(r.tokens, r.logprobs, r.finished) for r in group] for group in rows]

    def _decode(
        self,
        prompts: Sequence[Sequence[int]],
        rows: Sequence[Sequence[_Row]],
        params: SamplingParams,
        on_token: Callable[[int], None] | None,
    ) -> None:
        """Fill the rows: prompts alike in length together, in a fixed order."""
        waiting = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
        size = max(1, params.batch_size // params.num_candidates)
        batch = self._open(prompts, min(size, len(prompts)), params)
        running: list[_Row] = []
        logits_BV = torch.empty(0)
        while waiting or running:
            limit = REFILL_AT * size * params.num_candidates if batch.joins else 0
            free = size - -(-len(running) // params.num_candidates)
            if waiting and free and len(running) <= limit:
                joining, waiting = waiting[:free], waiting[free:]
                new_BV = batch.join([prompts[i] for i in joining], params.num_candidates)
                logits_BV = torch.cat([logits_BV, new_BV]) if running else new_BV
                running += [row for i in joining for row in rows[i]]
            u_B = torch.tensor([row.uniforms[len(row.tokens)] for row in running])
            tokens_B, logprobs_B = draw(logits_BV, u_B.float().to(logits_BV.device), params)
            for row, token, logprob in zip(
                running, tokens_B.tolist(), logprobs_B.tolist(), strict=True
            ):
                if not row.done:
                    row.tokens.append(token)
                    row.logprobs.append(logprob)
                    row.finished = token in self._policy.stop_ids
                    if on_token is not None:
                        on_token(token)
            alive = [i for i, row in enumerate(running) if not row.done]
            if not alive:
                running = []
                batch.keep([])
                continue
            if len(alive) < len(running) and len(alive) <= batch.compact_at * len(running):
                order = _closed_up(alive)
                batch.keep(order)
                tokens_B, running = tokens_B[order], [running[i] for i in order]
            logits_BV = batch.step(tokens_B)

    def _open(
        self, prompts: Sequence[Sequence[int]], num_prompts: int, params: SamplingParams
    ) -> DecodeBatch:
        if self._decoder is not None and self._decoder.ready():
            capacity = max(map(len, prompts), default=0) + params.max_tokens
            return self._decoder.open(num_prompts * params.num_candidates, capacity)
        return HuggingFaceBatch(self._policy)


class HuggingFaceBatch:
    """Rows decoded by any model's own forward pass and cache; prompts are padded on the left."""

    joins = False
    compact_at = 0.75  # compacting copies the whole cache

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._model = policy.network.model
        self._cache = DynamicCache(config=self._model.config)
        self._mask_BT = torch.empty(0)

    def join(self, prompts: Sequence[Sequence[int]], num_candidates: int) -> Tensor:
        """Start anew with ``num_candidates`` rows for each prompt, which is run once."""
        device, pad = self._policy.network.device, self._policy.pad_id
        longest = max(map(len, prompts))
        ids_PT = torch.tensor(
            [[pad] * (longest - len(p)) + list(p) for p in prompts], device=device
        )
        mask_PT = torch.tensor(
            [[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=device
        )
        self._cache = DynamicCache(config=self._model.config)
        logits_PV: Tensor = self._model(
            input_ids=ids_PT,
            attention_mask=mask_PT,
            position_ids=(mask_PT.cumsum(dim=1) - 1).clamp_min(0),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        if num_candidates > 1:
            self._cache.batch_repeat_interleave(num_candidates)
        self._mask_BT = mask_PT.repeat_interleave(num_candidates, dim=0)
        return logits_PV.repeat_interleave(num_candidates, dim=0)

    def step(self, tokens_B: Tensor) -> Tensor:
        """Append one token to every row; returns next-token logits (B, V)."""
        self._mask_BT = torch.nn.functional.pad(self._mask_BT, (0, 1), value=1)
        logits_BV: Tensor = self._model(
            input_ids=tokens_B[:, None],
            attention_mask=self._mask_BT,
            position_ids=self._mask_BT.sum(dim=1, keepdim=True) - 1,
            past_key_values=self._cache,
            use_cache=True,
        ).logits[:, -1]
        return logits_BV

    def keep(self, order: Sequence[int]) -> None:
        """Keep these rows, in this order."""
        index_B = torch.tensor(order, dtype=torch.int64, device=self._mask_BT.device)
        self._cache.batch_select_indices(index_B)
        self._mask_BT = self._mask_BT[index_B]


def draw(logits_BV: Tensor, uniform_B: Tensor, params: SamplingParams) -> tuple[Tensor, Tensor]:
    """Invert the cumulative distribution at one uniform a row.

    Args:
        logits_BV: next-token logits.
        uniform_B: numbers in [0, 1).
        params: temperature, top_k and top_p; they shape the distribution that is drawn from.

    Returns:
        Tokens (B,) and their log-probabilities under that distribution (B,).
    """
    if params.temperature == 0.0:
        return logits_BV.argmax(dim=1), torch.zeros_like(uniform_B)
    probs_BV = sampling_logits(logits_BV, params.temperature, params.top_k, params.top_p).softmax(1)
    cumulative_BV = probs_BV.cumsum(dim=1)
    total_B = cumulative_BV[:, -1]
    target_B1 = (uniform_B * total_B)[:, None]
    # right=True lands on a token with probability > 0, but for rounding at the very end.
    tokens_B = torch.searchsorted(cumulative_BV, target_B1, right=True)[:, 0]
    tokens_B = tokens_B.clamp_max(probs_BV.shape[1] - 1)
    chosen_B = probs_BV.gather(1, tokens_B[:, None])[:, 0]
    if bool((chosen_B == 0).any()):
        tokens_B = torch.where(chosen_B == 0, probs_BV.argmax(dim=1), tokens_B)
        chosen_B = probs_BV.gather(1, tokens_B[:, None])[:, 0]
    return tokens_B, (chosen_B / total_B).log()


def _closed_up(alive: Sequence[int]) -> list[int]:
    """The living rows with the last ones moved into the gaps, so that few rows move."""
    kept = len(alive)
    stay = {i for i in alive if i < kept}
    movers = iter([i for i in alive if i >= kept])
    return [i if i in stay else next(movers) for i in range(kept)]
