"""KL to the reference: how far the policy moved, measured on its own samples.

The inputs are sums of log-ratios log pi(y|x) - log pi_ref(y|x), the k1 estimate, one per completion
(:func:`accord.algorithms.kl.sequence_kl`), in nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from accord.feedback.intervals import bootstrap_mean
from accord.gauges.reading import reading, relative_change
from accord.types import Reading


def read(
    sequence_kl: Sequence[Sequence[float]],
    target: float | None = None,
    tolerance: float = 0.25,
    num_tokens: Sequence[Sequence[int]] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Reading]:
    """KL per completion and, given token counts, per token.

    A mean shown to be below zero is a FAIL whatever the target: KL cannot be negative, so the
    sampler and the scorer disagree about the distribution (top-k, temperature, padding, end token).

    Args:
        sequence_kl: for each prompt the log-ratio sums of its completions, in nats.
        target: where KL was meant to stay; None gives a level without verdict.
        tolerance: PASS means within this fraction of the target, on either side.
        num_tokens: response tokens of each completion, in the same grouping.
        confidence: of the intervals.
        seed: of the bootstrap.

    Raises:
        ValueError: no prompts, a prompt without completions, numbers that are not finite, or a
            grouping of tokens that differs.
    """
    if not sequence_kl or not all(sequence_kl):
        raise ValueError("KL needs at least one completion of each prompt")
    kl_P = [sum(group) / len(group) for group in sequence_kl]
    estimate = bootstrap_mean(kl_P, confidence, seed=seed)
    if target is None:
        fine, detail = None, "nats a completion, on the policy's own samples"
    else:
        fine = (target * (1 - tolerance), target * (1 + tolerance))
        detail = f"nats a completion; target {target:g} ± {tolerance:.0%}"
    readings = [reading("kl/sequence", estimate, fine=fine, detail=detail)]
    if estimate.high < 0:
        wrong = "KL cannot be negative: the sampler and the scorer disagree"
        readings = [replace(readings[0], state="FAIL", detail=wrong)]
    if num_tokens is not None:
        if [len(group) for group in num_tokens] != [len(group) for group in sequence_kl]:
            raise ValueError("KL per token needs a token count for each completion")
        tokens_P = [sum(group) / len(group) for group in num_tokens]
        per_token = relative_change(kl_P, tokens_P, confidence, seed)
        ratio = replace(
            per_token, value=per_token.value + 1, low=per_token.low + 1, high=per_token.high + 1
        )
        readings.append(reading("kl/token", ratio, detail="nats a response token"))
    return readings
