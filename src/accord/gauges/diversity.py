"""Diversity: does the policy still say different things, and say each thing once?

Definitions follow Kirk et al. 2023 ("Understanding the effects of RLHF on LLM generalisation and
diversity", section 4.3): *per prompt* is the diversity among the samples of one prompt, averaged
over prompts; *across prompts* is the diversity among the first samples of all prompts. RLHF is
known to lower the first strongly. Words stand in for tokens, so policies with different tokenizers
compare.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from accord.feedback.intervals import Estimate, bootstrap_mean, t_quantile
from accord.gauges.reading import (
    difference,
    not_applicable,
    paired,
    reading,
    relative_change,
)
from accord.types import Reading, Sample

KIRK_VOCAB_SIZE = 50_257
MAX_N = 5
WARN_DROP = 0.20
WARN_REPETITION = 0.05

_WORD = re.compile(r"\w+|[^\w\s]")

Words = Sequence[str]
Ngram = tuple[str, ...]


def words(text: str) -> list[str]:
    """Words and punctuation marks, in lower case."""
    return _WORD.findall(text.lower())


def ngrams(tokens: Words, n: int) -> list[Ngram]:
    """The ``len(tokens) - n + 1`` n-grams, in order; none when there are too few tokens."""
    return list(zip(*(tokens[i:] for i in range(n)), strict=False))


def distinct_n(texts: Sequence[str], n: int) -> float:
    """Different n-grams / all n-grams of the texts together (Li et al. 2016); NaN without any."""
    grams = [gram for text in texts for gram in ngrams(words(text), n)]
    return len(set(grams)) / len(grams) if grams else math.nan


def expectation_adjusted(num_distinct: int, num_grams: int, vocab_size: int) -> float:
    """Distinct n-grams / how many ``num_grams`` uniform draws from the vocabulary would give.

    N / (V (1 - ((V - 1) / V)^C)), Liu et al. 2022, as used by Kirk et al. 2023.
    """
    expected = -vocab_size * math.expm1(num_grams * math.log1p(-1 / vocab_size))
    return num_distinct / expected


def ead(
    token_lists: Sequence[Words], max_n: int = MAX_N, vocab_size: int = KIRK_VOCAB_SIZE
) -> float:
    """Expectation-adjusted distinct n-grams, averaged over n = 1..max_n; NaN for empty texts.

    An n for which no text is long enough is left out of the average.
    """
    scores = []
    for n in range(1, max_n + 1):
        grams = [gram for tokens in token_lists for gram in ngrams(tokens, n)]
        if grams:
            scores.append(expectation_adjusted(len(set(grams)), len(grams), vocab_size))
    return sum(scores) / len(scores) if scores else math.nan


def repeated_ngram_rate(text: str, n: int = 4) -> float:
    """Share of a text's n-grams that it has said before (Welleck et al. 2020); 0 when short."""
    grams = ngrams(words(text), n)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def unique_fraction(texts: Sequence[str]) -> float:
    """Different texts / texts, ignoring case, punctuation runs of space and surrounding space."""
    return len({tuple(words(text)) for text in texts}) / len(texts)


def read(
    samples: Sequence[Sample],
    reference: Sequence[Sample] | None = None,
    confidence: float = 0.95,
    vocab_size: int = KIRK_VOCAB_SIZE,
    seed: int = 0,
) -> list[Reading]:
    """Diversity of one policy's samples and, given a reference's, how it changed.

    Changes are paired by prompt. Distinct n-grams fall with length, so for the change of EAD both
    policies' samples are cut to the shorter policy's mean length on that prompt.

    Args:
        samples: completions of each prompt; >= 2 each for the per-prompt readings.
        reference: the reference policy's, on the same prompts.
        confidence: of every interval.
        vocab_size: V of the expectation adjustment.
        seed: of the bootstrap.

    Raises:
        ValueError: no samples, or prompts that do not match the reference's.
    """
    texts = [[completion.text for completion in sample.completions] for sample in samples]
    if not texts:
        raise ValueError("diversity needs at least one sample")
    readings = _levels(texts, confidence, vocab_size, seed)
    if reference is not None:
        readings += _changes(paired(samples, reference), confidence, vocab_size, seed)
    return readings


def _levels(texts: list[list[str]], confidence: float, vocab_size: int, seed: int) -> list[Reading]:
    readings = []
    several = [group for group in texts if len(group) >= 2]
    per_prompt = {
        "ead": [ead([words(t) for t in group], vocab_size=vocab_size) for group in several],
        "distinct_2": [distinct_n(group, 2) for group in several],
        "unique": [unique_fraction(group) for group in several],
    }
    for name, values in per_prompt.items():
        gauge = f"diversity/per_prompt_{name}"
        known = [value for value in values if not math.isnan(value)]
        if known:
            readings.append(reading(gauge, bootstrap_mean(known, confidence, seed=seed)))
        else:
            readings.append(not_applicable(gauge, "needs two non-empty samples of a prompt"))
    repeated = [sum(map(repeated_ngram_rate, group)) / len(group) for group in texts]
    estimate = bootstrap_mean(repeated, confidence, seed=seed)
    readings.append(reading("diversity/repeated_4gram_rate", estimate))
    first = [words(group[0]) for group in texts]
    readings.append(across_prompts(first, confidence, vocab_size))
    return readings


def across_prompts(
    token_lists: Sequence[Words],
    confidence: float = 0.95,
    vocab_size: int = KIRK_VOCAB_SIZE,
    max_n: int = MAX_N,
) -> Reading:
    """EAD among one completion of each prompt, with a delete-one-prompt jackknife interval.

    A bootstrap would draw prompts twice and so find repetition that is not there.
    """
    gauge = "diversity/across_prompts_ead"
    value, num_prompts = ead(token_lists, max_n, vocab_size), len(token_lists)
    if num_prompts < 3 or math.isnan(value):
        return not_applicable(gauge, "needs non-empty completions of three prompts", num_prompts)
    left_out: list[list[float]] = [[] for _ in token_lists]
    for n in range(1, max_n + 1):
        counts = [Counter(ngrams(tokens, n)) for tokens in token_lists]
        total: Counter[Ngram] = Counter()
        for count in counts:
            total.update(count)
        for prompt, count in enumerate(counts):
            distinct = len(total) - sum(total[gram] == times for gram, times in count.items())
            if size := total.total() - count.total():
                left_out[prompt].append(expectation_adjusted(distinct, size, vocab_size))
    values = np.array([sum(v) / len(v) for v in left_out if v])
    error = math.sqrt((num_prompts - 1) * float(values.var()))
    half = t_quantile(0.5 + confidence / 2, num_prompts - 1) * error
    return reading(gauge, Estimate(value, max(0.0, value - half), value + half, num_prompts))


def _changes(
    pairs: list[tuple[Sample, Sample]], confidence: float, vocab_size: int, seed: int
) -> list[Reading]:
    gauge = "diversity/per_prompt_ead_change"
    scores = [_equal_length_ead(ours, theirs, vocab_size) for ours, theirs in pairs]
    known = [pair for pair in scores if not any(map(math.isnan, pair))]
    if known:
        ours_P, theirs_P = zip(*known, strict=True)
        change = relative_change(ours_P, theirs_P, confidence, seed)
        detail = f"relative to the reference; a drop beyond {WARN_DROP:.0%} warns"
        first = reading(gauge, change, fine=(-WARN_DROP, math.inf), detail=detail)
    else:
        first = not_applicable(gauge, "needs two non-empty samples of a prompt by each policy")
    repeated = [[_mean_repetition(s) for s in pair] for pair in pairs]
    ours_P, theirs_P = zip(*repeated, strict=True)
    rise = difference(ours_P, theirs_P, confidence, seed)
    detail = f"difference to the reference; a rise beyond {WARN_REPETITION} warns"
    fine = (-math.inf, WARN_REPETITION)
    return [first, reading("diversity/repeated_4gram_change", rise, fine=fine, detail=detail)]


def _mean_repetition(sample: Sample) -> float:
    rates = [repeated_ngram_rate(completion.text) for completion in sample.completions]
    return sum(rates) / len(rates)


def _equal_length_ead(ours: Sample, theirs: Sample, vocab_size: int) -> tuple[float, float]:
    sides = [[words(c.text) for c in sample.completions] for sample in (ours, theirs)]
    if min(map(len, sides)) < 2:
        return math.nan, math.nan
    budget = min(math.ceil(sum(map(len, side)) / len(side)) for side in sides)
    cut = [[tokens[:budget] for tokens in side] for side in sides]
    return ead(cut[0], vocab_size=vocab_size), ead(cut[1], vocab_size=vocab_size)
