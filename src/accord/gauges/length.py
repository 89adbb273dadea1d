"""Length: how much the policy says, whether it stops by itself, and whether length is paid for.

Longer answers are the commonest way to please a reward model without being better (Singhal et al.
2023, "A long way to go"), and an answer cut at the limit is the commonest way to be worse.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from accord.feedback.intervals import Estimate, bootstrap_mean
from accord.gauges.reading import (
    NUM_RESAMPLES,
    difference,
    not_applicable,
    paired,
    reading,
    relative_change,
)
from accord.rng import FloatArray, uniform
from accord.types import Reading, Sample

WARN_LENGTH = (-0.30, 0.30)
WARN_FINISHED_DROP = 0.10


def count_words(text: str) -> int:
    """Words as split by white space."""
    return len(text.split())


def read(
    samples: Sequence[Sample],
    reference: Sequence[Sample] | None = None,
    scores: Sequence[Sequence[float]] | None = None,
    confidence: float = 0.95,
    *,
    count: Callable[[str], int] = count_words,
    unit: str = "words",
    seed: int = 0,
) -> list[Reading]:
    """Mean length, finished rate, their changes, and the correlation of score and length.

    Args:
        samples: completions of each prompt.
        reference: the reference policy's, on the same prompts; None leaves the changes out.
        scores: a score for each completion of ``samples``, in the same order and grouping.
        confidence: of every interval.
        count: length of a text; a tokenizer's count gives tokens.
        unit: what ``count`` counts, in the gauge's name.
        seed: of the bootstrap.

    Raises:
        ValueError: no samples, prompts that do not match the reference's, or scores that do not
            match the samples.
    """
    if not samples:
        raise ValueError("length needs at least one sample")
    lengths_P = [_mean([count(c.text) for c in s.completions]) for s in samples]
    finished_P = [_mean([c.finished for c in s.completions]) for s in samples]
    stops = "share that ended with an end-of-sequence token"
    readings = [
        reading(f"length/{unit}", bootstrap_mean(lengths_P, confidence, seed=seed)),
        reading("length/finished", bootstrap_mean(finished_P, confidence, seed=seed), detail=stops),
    ]
    if reference is not None:
        theirs = [other for _, other in paired(samples, reference)]
        lengths_R = [_mean([count(c.text) for c in s.completions]) for s in theirs]
        finished_R = [_mean([c.finished for c in s.completions]) for s in theirs]
        readings.append(_length_change(unit, lengths_P, lengths_R, confidence, seed))
        change = difference(finished_P, finished_R, confidence, seed)
        detail = f"difference to the reference; a drop beyond {WARN_FINISHED_DROP} warns"
        fine = (-WARN_FINISHED_DROP, math.inf)
        readings.append(reading("length/finished_change", change, fine=fine, detail=detail))
    if scores is not None:
        lengths = [[count(c.text) for c in s.completions] for s in samples]
        readings.append(score_correlation(lengths, scores, confidence, seed))
    return readings


def score_correlation(
    lengths: Sequence[Sequence[float]],
    scores: Sequence[Sequence[float]],
    confidence: float = 0.95,
    seed: int = 0,
) -> Reading:
    """Pearson correlation of length and score over completions, resampling prompts.

    A level without verdict: where longer answers are better, a correlation is as it should be.

    Args:
        lengths: for each prompt the lengths of its completions.
        scores: the scores, in the same order and grouping.
        confidence: of the interval.
        seed: of the bootstrap.

    Raises:
        ValueError: the groupings differ, or there are no prompts.
    """
    gauge = "length/score_correlation"
    if not lengths or [len(group) for group in lengths] != [len(group) for group in scores]:
        raise ValueError("score_correlation needs a score for each completion of each prompt")
    moments_P = np.array([_moments(x, y) for x, y in zip(lengths, scores, strict=True)])
    value = _pearson(moments_P.sum(axis=0))
    if not np.isfinite(value):
        return not_applicable(gauge, "all lengths or all scores are equal", len(lengths))
    draws = uniform(seed, "score_correlation", size=(NUM_RESAMPLES, len(lengths)))
    resampled = moments_P[(draws * len(lengths)).astype(np.int64)].sum(axis=1)
    correlations = _pearson(resampled.T)
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(correlations, (tail, 1 - tail))
    return reading(gauge, Estimate(float(value), float(low), float(high), len(lengths)))


def _length_change(
    unit: str, ours_P: list[float], theirs_P: list[float], confidence: float, seed: int
) -> Reading:
    gauge = f"length/{unit}_change"
    if not any(theirs_P):
        return not_applicable(gauge, "every completion of the reference is empty", len(theirs_P))
    change = relative_change(ours_P, theirs_P, confidence, seed)
    detail = "relative to the reference; beyond 30 % either way warns"
    return reading(gauge, change, fine=WARN_LENGTH, detail=detail)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _moments(lengths: Sequence[float], scores: Sequence[float]) -> FloatArray:
    x, y = np.asarray(lengths, np.float64), np.asarray(scores, np.float64)
    return np.array([len(x), x.sum(), y.sum(), x @ x, y @ y, x @ y])


def _pearson(moments: FloatArray) -> FloatArray:
    n, x, y, xx, yy, xy = moments
    spread = (n * xx - x * x) * (n * yy - y * y)
    safe = np.where(spread > 1e-12 * n * n, spread, np.nan)
    correlation: FloatArray = (n * xy - x * y) / np.sqrt(safe)
    return correlation
