"""The local sampler: prefill each prompt once for its K candidates, then decode in batches.

Shapes: B sequences decoded together, T cached positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from accord.algorithms import sampling_logits
from accord.engine.protocols import SampledTokens, SamplingParams
from accord.models.load import Policy
from accord.rng import uniform

COMPACT_AT = 0.75  # drop finished rows from the cache when at most this share is still running


@dataclass
class _Row:
    prompt: int
    candidate: int
    uniforms: np.ndarray
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finished: bool = False


class LocalSampler:
    """Samples from a policy on this machine with any Hugging Face cache.

    Every draw is a counter-based uniform of (seed, key, prompt, candidate, position), so what a
    prompt gets does not depend on what was drawn before it or on a restart.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    @torch.inference_mode()
    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        params: SamplingParams,
        progress: Callable[[int], None] | None = None,
    ) -> list[list[SampledTokens]]:
        """Draw ``params.num_candidates`` completions for each prompt.

        Args:
            prompts: token ids, one list a prompt.
            params: see :class:`SamplingParams`.
            progress: called with the number of completions finished so far.

        Returns:
            For each prompt its candidates, in order.
        """
        results: list[list[SampledTokens]] = [[] for _ in prompts]
        done = 0
        for chunk in _chunks(prompts, params):
            for row in self._decode(prompts, chunk, params):
                results[row.prompt].append(SampledTokens(row.tokens, row.logprobs, row.finished))
            done += len(chunk) * params.num_candidates
            if progress is not None:
                progress(done)
        return results

    def _decode(
        self, prompts: Sequence[Sequence[int]], chunk: Sequence[int], params: SamplingParams
    ) -> list[_Row]:
        rows = [
            _Row(i, k, uniform(params.seed, "sample", *params.key, i, k, size=params.max_tokens))
            for i in chunk
            for k in range(params.num_candidates)
        ]
        cache, mask_BT, logits_BV = self._prefill([prompts[i] for i in chunk], params)
        running = list(rows)
        model = self._policy.network.model
        for position in range(params.max_tokens):
            u_B = torch.tensor([row.uniforms[position] for row in running], dtype=torch.float32)
            tokens_B, logprobs_B = draw(logits_BV, u_B.to(logits_BV.device), params)
            for row, token, logprob in zip(
                running, tokens_B.tolist(), logprobs_B.tolist(), strict=True
            ):
                if not row.finished:
                    row.tokens.append(token)
                    row.logprobs.append(logprob)
                    row.finished = token in self._policy.stop_ids
            alive = [i for i, row in enumerate(running) if not row.finished]
            if not alive or position + 1 == params.max_tokens:
                break
            if len(alive) <= COMPACT_AT * len(running):
                index = torch.tensor(alive, device=mask_BT.device)
                cache.batch_select_indices(index)
                mask_BT, tokens_B = mask_BT[index], tokens_B[index]
                running = [running[i] for i in alive]
            mask_BT = torch.nn.functional.pad(mask_BT, (0, 1), value=1)
            logits_BV = model(
                input_ids=tokens_B[:, None],
                attention_mask=mask_BT,
                position_ids=mask_BT.sum(dim=1, keepdim=True) - 1,
                past_key_values=cache,
                use_cache=True,
            ).logits[:, -1]
        return rows

    def _prefill(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams
    ) -> tuple[DynamicCache, Tensor, Tensor]:
        """Run the prompts once, left-padded, and repeat their cache for the candidates."""
        model = self._policy.network.model
        device = self._policy.network.device
        longest = max(map(len, prompts))
        pad = self._policy.pad_id
        ids_BT = torch.tensor([[pad] * (longest - len(p)) + list(p) for p in prompts], device=device)
        mask_BT = torch.tensor(
            [[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=device
        )
        cache = DynamicCache(config=model.config)
        logits_BV = model(
            input_ids=ids_BT,
            attention_mask=mask_BT,
            position_ids=(mask_BT.cumsum(dim=1) - 1).clamp_min(0),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        if params.num_candidates > 1:
            cache.batch_repeat_interleave(params.num_candidates)
        return (
            cache,
            mask_BT.repeat_interleave(params.num_candidates, dim=0),
            logits_BV.repeat_interleave(params.num_candidates, dim=0),
        )


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


def _chunks(prompts: Sequence[Sequence[int]], params: SamplingParams) -> Iterator[list[int]]:
    """Prompt numbers decoded together: alike in length, in a fixed order."""
    size = max(1, params.batch_size // params.num_candidates)
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
    for start in range(0, len(order), size):
        yield order[start : start + size]
