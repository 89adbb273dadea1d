"""From numbers per prompt to a :class:`~accord.types.Reading`: estimate, interval, verdict.

The prompt is the unit: samples of one prompt are averaged first, and intervals come from resampling
prompts (Miller 2024, "Adding error bars to evals"). A verdict needs a margin: PASS says the whole
interval lies inside it, WARN or FAIL that the whole interval lies outside, INCONCLUSIVE that more
prompts are needed (and about how many). A level without a margin has no verdict (NOT_APPLICABLE).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from accord.feedback.intervals import Estimate, bootstrap_mean
from accord.rng import FloatArray, uniform
from accord.types import Reading, Sample, State

NUM_RESAMPLES = 2000
Fine = tuple[float, float]


def reading(
    gauge: str,
    estimate: Estimate,
    *,
    fine: Fine | None = None,
    outside: State = "WARN",
    detail: str = "",
) -> Reading:
    """A reading with its verdict.

    Args:
        gauge: ``area/name``, for example "length/words".
        estimate: value, interval and the number of independent units (prompts).
        fine: the values that are all right, without the ends; None for a level without verdict.
        outside: the state when the whole interval lies outside ``fine``.
        detail: one sentence for the report; what would settle an open verdict is appended.
    """
    state: State = "NOT_APPLICABLE"
    if fine is not None:
        state = verdict(estimate.interval, fine, outside)
        needed = _units_needed(estimate, fine)
        if state == "INCONCLUSIVE" and needed is not None:
            detail = (
                f"{detail}; about {needed} prompts would settle it if the value holds".removeprefix(
                    "; "
                )
            )
    return Reading(gauge, estimate.value, estimate.interval, state, estimate.num_units, detail)


def not_applicable(gauge: str, detail: str, num_units: int = 0) -> Reading:
    """A reading that could not be taken, and why; its value is NaN."""
    return Reading(gauge, math.nan, None, "NOT_APPLICABLE", num_units, detail)


def verdict(interval: tuple[float, float], fine: Fine, outside: State = "WARN") -> State:
    """PASS: strictly inside ``fine``; ``outside``: wholly outside it; otherwise INCONCLUSIVE."""
    low, high = interval
    if fine[0] < low and high < fine[1]:
        return "PASS"
    return outside if high < fine[0] or low > fine[1] else "INCONCLUSIVE"


def relative_change(
    values_P: Sequence[float] | FloatArray,
    reference_P: Sequence[float] | FloatArray,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """``mean(values) / mean(reference) - 1`` with a paired percentile bootstrap over prompts.

    Raises:
        ValueError: lengths differ, no prompts, a number that is not finite, or a reference whose
            resampled mean reaches 0 (the ratio is then undefined: compare differences instead).
    """
    pairs = np.stack([np.asarray(values_P, np.float64), np.asarray(reference_P, np.float64)])
    if pairs.ndim != 2 or pairs.shape[1] == 0 or not np.isfinite(pairs).all():
        raise ValueError("relative_change needs two equally long lists of finite numbers")
    num_prompts = pairs.shape[1]
    draws = uniform(seed, "relative_change", size=(NUM_RESAMPLES, num_prompts))
    means = pairs[:, (draws * num_prompts).astype(np.int64)].mean(axis=2)
    if (np.append(means[1], pairs[1].mean()) <= 0).any():
        raise ValueError("relative_change needs a reference that is positive; compare differences")
    tail = (1 - confidence) / 2
    low, high = np.quantile(means[0] / means[1] - 1, (tail, 1 - tail))
    value = pairs[0].mean() / pairs[1].mean() - 1
    return Estimate(float(value), float(low), float(high), num_prompts)


def difference(
    values_P: Sequence[float] | FloatArray,
    reference_P: Sequence[float] | FloatArray,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """``mean(values - reference)`` over paired prompts, with the bootstrap interval.

    Raises:
        ValueError: lengths differ, no prompts, or a number that is not finite.
    """
    gaps = np.subtract(values_P, reference_P)
    return bootstrap_mean(gaps, confidence, NUM_RESAMPLES, seed)


def paired(samples: Sequence[Sample], reference: Sequence[Sample]) -> list[tuple[Sample, Sample]]:
    """Both policies' samples of each prompt, matched by the prompt's id, in the first's order.

    Raises:
        ValueError: a prompt is twice on one side, or on one side only.
    """
    ours = {sample.prompt.id: sample for sample in samples}
    theirs = {sample.prompt.id: sample for sample in reference}
    if len(ours) != len(samples) or len(theirs) != len(reference):
        raise ValueError("a prompt id occurs twice; join its completions in one Sample")
    if alone := sorted(ours.keys() ^ theirs.keys()):
        raise ValueError(
            f"{len(alone)} prompts were answered by one policy only, the first is {alone[0]!r}; "
            "sample both policies on the same prompts"
        )
    return [(ours[key], theirs[key]) for key in ours]


def _units_needed(estimate: Estimate, fine: Fine) -> int | None:
    """Units at which the interval, shrinking with their root, would clear the nearest edge."""
    distance = min(abs(estimate.value - edge) for edge in fine)
    half = (estimate.high - estimate.low) / 2
    if distance == 0 or not math.isfinite(distance) or not math.isfinite(half):
        return None
    needed = estimate.num_units * (half / distance) ** 2
    digits = max(len(str(int(needed))) - 2, 0)
    rounded = math.ceil(needed / 10**digits) * 10**digits  # two digits: it is only a guess
    return rounded if estimate.num_units < rounded <= 100_000 else None
