"""Intervals and calibration: how far a measured rate or mean can be trusted.

Sources: Wilson 1927 (score interval; recommended by Brown, Cai and DasGupta 2001, "Interval
estimation for a binomial proportion"), Student 1908 (t interval), Efron 1979 (percentile
bootstrap), Miller 2024 ("Adding error bars to evals": judgements of one prompt are not independent,
so the prompt is the unit), Naeini et al. 2015 and Guo et al. 2017 (expected calibration error).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Literal

import numpy as np

from accord.rng import FloatArray, uniform


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its two-sided interval; ``num_units`` independent units stand behind it."""

    value: float
    low: float
    high: float
    num_units: int

    @property
    def interval(self) -> tuple[float, float]:
        """``(low, high)``."""
        return self.low, self.high


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Predictions in [low, high): what was promised and what came true."""

    low: float
    high: float
    count: int
    mean_prob: float
    mean_outcome: float


def _check_confidence(confidence: float) -> None:
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}; 0.95 is usual")


def wilson(successes: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for a proportion.

    Unlike the textbook interval it is never empty or outside [0, 1], also at 0 of n and n of n.

    Args:
        successes: successes among ``n`` independent trials; a tie may count one half.
        n: number of trials; 0 gives (0, 1), for nothing is known.
        confidence: two-sided coverage.

    Raises:
        ValueError: successes outside [0, n], or a confidence outside (0, 1).
    """
    _check_confidence(confidence)
    if not 0 <= successes <= n:
        raise ValueError(f"successes must lie in [0, n], not {successes} of {n}")
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return low, high


@lru_cache
def t_quantile(probability: float, degrees: int) -> float:
    """Quantile of Student's t distribution with ``degrees`` >= 1 degrees of freedom.

    With x = sqrt(degrees) tan(angle) the density becomes a power of a cosine, which Gauss-Legendre
    quadrature integrates to about 1e-10; the quantile follows by bisection on the angle.

    Raises:
        ValueError: a probability outside (0, 1) or no degree of freedom.
    """
    if not 0.0 < probability < 1.0 or degrees < 1:
        raise ValueError(f"no t quantile for probability {probability}, {degrees} degrees")
    if probability < 0.5:
        return -t_quantile(1.0 - probability, degrees)
    nodes, weights = np.polynomial.legendre.leggauss(64)
    log_scale = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - math.log(math.pi) / 2
    low, high = 0.0, math.pi / 2
    for _ in range(80):
        angle = (low + high) / 2
        heights = np.cos(angle / 2 * (nodes + 1)) ** (degrees - 1)
        mass = math.exp(log_scale) * angle / 2 * float(weights @ heights)
        low, high = (angle, high) if mass < probability - 0.5 else (low, angle)
    return math.sqrt(degrees) * math.tan((low + high) / 2)


def bootstrap_mean(
    values: Sequence[float] | FloatArray,
    confidence: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Mean with the percentile bootstrap interval (Efron 1979).

    Args:
        values: one number per independent unit, for example the mean of each prompt.
        confidence: two-sided coverage; too narrow below about 20 units.
        num_resamples: resampled means to take percentiles of.
        seed: the same seed and values give the same interval.

    Raises:
        ValueError: no values, a value that is not finite, or a confidence outside (0, 1).
    """
    _check_confidence(confidence)
    units = np.asarray(values, dtype=np.float64)
    if units.ndim != 1 or units.size == 0 or not np.isfinite(units).all():
        raise ValueError("bootstrap_mean needs a non-empty list of finite numbers")
    rows = max(1, 1_000_000 // units.size)  # resampled in slices, so that memory stays small
    means: list[float] = []
    for start in range(0, num_resamples, rows):
        shape = (min(rows, num_resamples - start), units.size)
        draws = uniform(seed, "bootstrap_mean", start, size=shape)
        means.extend(units[(draws * units.size).astype(np.int64)].mean(axis=1))
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    return Estimate(float(units.mean()), float(low), float(high), int(units.size))


def paired_win_rate(
    outcomes: Sequence[tuple[float, float, float]],
    confidence: float = 0.95,
    method: Literal["t", "bootstrap"] = "t",
    seed: int = 0,
) -> Estimate:
    """Win rate of one policy over another, paired on prompts and clustered by prompt.

    Each prompt contributes (wins + ties / 2) / judgements and weighs the same, whatever its number
    of judgements; the interval treats prompts, not judgements, as the independent units.

    Args:
        outcomes: for each prompt the counts (wins, ties, losses) of the first policy.
        confidence: two-sided coverage.
        method: "t" is Student's interval on the prompts' rates, clipped to [0, 1]; "bootstrap"
            resamples prompts. Where every prompt has the same rate neither can see any spread,
            so Wilson's interval over the number of prompts is given instead.
        seed: of the bootstrap.

    Raises:
        ValueError: no prompt, a prompt without judgements, or a negative count.
    """
    _check_confidence(confidence)
    counts = np.asarray(outcomes, dtype=np.float64).reshape(-1, 3)
    if len(counts) == 0 or (counts < 0).any() or (counts.sum(axis=1) == 0).any():
        raise ValueError("paired_win_rate needs (wins, ties, losses) >= 0, not all 0, per prompt")
    rates = (counts[:, 0] + counts[:, 1] / 2) / counts.sum(axis=1)
    value, num_prompts = float(rates.mean()), len(rates)
    if np.ptp(rates) == 0.0:
        low, high = wilson(value * num_prompts, num_prompts, confidence)
        return Estimate(value, low, high, num_prompts)
    if method == "bootstrap":
        return bootstrap_mean(rates, confidence, seed=seed)
    error = float(rates.std(ddof=1)) / math.sqrt(num_prompts)
    half = t_quantile(0.5 + confidence / 2, num_prompts - 1) * error
    return Estimate(value, max(0.0, value - half), min(1.0, value + half), num_prompts)


def calibration_bins(
    probs: Sequence[float] | FloatArray,
    outcomes: Sequence[float] | FloatArray,
    num_bins: int = 10,
) -> list[CalibrationBin]:
    """The filled bins of a reliability diagram, equally wide on [0, 1].

    Args:
        probs: predicted probabilities.
        outcomes: what happened: 1, 0, or 0.5 for a tie.
        num_bins: number of bins; empty ones are left out.

    Raises:
        ValueError: lengths differ, nothing to bin, or a number outside [0, 1].
    """
    prob, outcome = np.asarray(probs, np.float64), np.asarray(outcomes, np.float64)
    if prob.shape != outcome.shape or prob.ndim != 1 or prob.size == 0 or num_bins < 1:
        raise ValueError("calibration needs as many outcomes as probabilities, at least one")
    both = np.concatenate([prob, outcome])
    if not ((both >= 0) & (both <= 1)).all():
        raise ValueError("probabilities and outcomes must lie in [0, 1]")
    index = np.minimum((prob * num_bins).astype(np.int64), num_bins - 1)
    return [
        CalibrationBin(
            low=b / num_bins,
            high=(b + 1) / num_bins,
            count=int((index == b).sum()),
            mean_prob=float(prob[index == b].mean()),
            mean_outcome=float(outcome[index == b].mean()),
        )
        for b in np.unique(index).tolist()
    ]


def ece(
    probs: Sequence[float] | FloatArray,
    outcomes: Sequence[float] | FloatArray,
    num_bins: int = 10,
) -> float:
    """Expected calibration error: the mean gap between promise and outcome.

    Sum over bins of count / n * abs(mean outcome - mean probability), Guo et al. 2017, eq. 3.
    Small samples bias it upwards: of a perfectly calibrated model 100 rows show about 0.1 with ten
    bins.

    Raises:
        ValueError: as :func:`calibration_bins`.
    """
    bins = calibration_bins(probs, outcomes, num_bins)
    total = sum(b.count for b in bins)
    return sum(b.count / total * abs(b.mean_outcome - b.mean_prob) for b in bins)
