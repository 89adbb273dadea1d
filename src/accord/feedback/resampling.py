"""Coefficients of agreement and their bootstrap over items (Efron 1979).

Items with the same counts are alike, so only the distinct rows of a count table are kept, with how
many items have each: drawing these counts is drawing items, at a fraction of the work.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from accord.rng import FloatArray, uniform

Statistic = Callable[[FloatArray], FloatArray]
"""(B, P) weights of the P distinct rows of a count table -> (B,) values, NaN where undefined."""


@dataclass(frozen=True, slots=True)
class Coefficient:
    """A measure of agreement; where it is undefined ``value`` is None and ``reason`` says why.

    ``reason`` is also given where only the interval is missing. ``num_items`` counts the items with
    at least two raters, ``num_verdicts`` the verdicts on these.
    """

    name: str
    value: float | None
    interval: tuple[float, float] | None
    num_items: int
    num_verdicts: int
    reason: str = ""


def patterns(table: ArrayLike, least: int = 2) -> tuple[FloatArray, FloatArray]:
    """The distinct rows with ``least`` or more verdicts, and how many items have each.

    Raises:
        ValueError: not a table of counts with at least two categories.
    """
    counts = np.asarray(table, dtype=np.float64)
    if counts.ndim != 2 or counts.shape[1] < 2 or (counts < 0).any():
        raise ValueError(f"a count table has items x (at least two) categories, not {counts.shape}")
    rows, weights = np.unique(counts[counts.sum(axis=1) >= least], axis=0, return_counts=True)
    return rows, weights.astype(np.float64)


def estimate(
    name: str,
    rows: FloatArray,
    weights: FloatArray,
    statistic: Statistic,
    settings: tuple[float, int, int],
) -> Coefficient:
    """The statistic with its percentile bootstrap interval over items."""
    confidence, num_resamples, seed = settings
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}; 0.95 is usual")
    judged = np.where(rows.sum(axis=1) >= 2, weights, 0.0)
    num_items, num_verdicts = int(judged.sum()), int(rows.sum(axis=1) @ judged)
    if num_items == 0:
        return Coefficient(name, None, None, 0, 0, "no item was judged by two raters")
    value = float(statistic(weights[None, :])[0])
    if math.isnan(value):
        reason = "every verdict is the same category, so chance alone would agree always"
        return Coefficient(name, None, None, num_items, num_verdicts, reason)
    if num_resamples == 0:
        return Coefficient(name, value, None, num_items, num_verdicts, "no interval asked for")
    if num_items < 2:
        reason = "an interval needs at least two items"
        return Coefficient(name, value, None, num_items, num_verdicts, reason)
    draws = np.sort(_resample(statistic, weights, num_resamples, seed))
    defined = draws[~np.isnan(draws)]
    if len(defined) < 0.9 * num_resamples:
        reason = f"{1 - len(defined) / num_resamples:.0%} of the resamples hold only one category"
        return Coefficient(name, value, None, num_items, num_verdicts, reason)
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Coefficient(name, value, (float(low), float(high)), num_items, num_verdicts)


def _resample(statistic: Statistic, weights: FloatArray, num: int, seed: int) -> FloatArray:
    """(num,) values of the statistic on items drawn with replacement."""
    size, num_patterns = int(weights.sum()), len(weights)
    edges = np.cumsum(weights) / size
    at_once = max(1, min(4_000_000 // size, 200_000 // num_patterns))
    values = []
    for start in range(0, num, at_once):
        count = min(at_once, num - start)
        drawn = np.searchsorted(edges, uniform(seed, "agreement", start, size=(count, size)))
        place = np.minimum(drawn, num_patterns - 1) + num_patterns * np.arange(count)[:, None]
        counts = np.bincount(place.reshape(-1), minlength=count * num_patterns)
        values.append(statistic(counts.reshape(count, num_patterns).astype(np.float64)))
    return np.concatenate(values)
