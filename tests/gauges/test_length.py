"""Lengths, finished rates and the score-length correlation."""

from __future__ import annotations

import numpy as np
import pytest

from accord.gauges import length
from accord.types import Completion, Message, Prompt, Reading, Sample


def _samples(num_words: list[list[int]], finished: bool = True) -> list[Sample]:
    return [
        Sample(
            Prompt(str(i), (Message("user", "?"),)),
            tuple(Completion(" ".join("x" * n), finished=finished) for n in group),
        )
        for i, group in enumerate(num_words)
    ]


def _by_name(readings: list[Reading]) -> dict[str, Reading]:
    return {r.gauge.removeprefix("length/"): r for r in readings}


def test_levels_weigh_prompts_equally() -> None:
    samples = _samples([[2, 4], [9]])
    readings = _by_name(length.read(samples))
    assert readings["words"].value == pytest.approx((3 + 9) / 2)
    assert readings["words"].num_samples == 2
    assert readings["finished"].value == 1.0
    assert set(readings) == {"words", "finished"}


def test_another_unit() -> None:
    readings = _by_name(length.read(_samples([[2], [4]]), count=len, unit="characters"))
    assert readings["characters"].value == pytest.approx((3 + 7) / 2)


def test_planted_growth_and_truncation_warn() -> None:
    rng = np.random.default_rng(0)
    words = [[int(n) for n in rng.integers(8, 14, size=2)] for _ in range(40)]
    reference = _samples(words)
    longer = _samples([[2 * n for n in group] for group in words])
    cut = _samples(words, finished=False)
    grown = _by_name(length.read(longer, reference))
    assert grown["words_change"].value == pytest.approx(1.0)
    assert grown["words_change"].state == "WARN"
    assert grown["finished_change"].state == "PASS"
    truncated = _by_name(length.read(cut, reference))
    assert truncated["finished_change"].value == -1.0
    assert truncated["finished_change"].state == "WARN"
    assert truncated["words_change"].state == "PASS"


def test_empty_reference_has_no_ratio() -> None:
    readings = _by_name(length.read(_samples([[3]]), _samples([[0]])))
    assert readings["words_change"].state == "NOT_APPLICABLE"
    assert readings["words_change"].interval is None


def test_score_correlation_equals_numpy() -> None:
    rng = np.random.default_rng(1)
    lengths = rng.integers(5, 60, size=(50, 3)).astype(float)
    scores = 0.05 * lengths + rng.normal(size=(50, 3))
    found = length.score_correlation(lengths.tolist(), scores.tolist())
    assert found.value == pytest.approx(np.corrcoef(lengths.ravel(), scores.ravel())[0, 1])
    low, high = found.interval or (0, 0)
    # Fisher's interval for 150 independent pairs is close to resampling 50 independent prompts.
    fisher = np.tanh(np.arctanh(found.value) + np.array([-1.96, 1.96]) / np.sqrt(147))
    assert (low, high) == pytest.approx(tuple(fisher), abs=0.05)


def test_score_correlation_needs_spread_and_matching_scores() -> None:
    same = length.score_correlation([[4.0], [4.0]], [[0.1], [0.2]])
    assert same.state == "NOT_APPLICABLE" and same.interval is None
    with pytest.raises(ValueError, match="a score for each completion"):
        length.score_correlation([[1.0, 2.0]], [[1.0]])
    readings = length.read(_samples([[1], [2], [3]]), scores=[[1.0], [2.0], [3.0]])
    assert readings[-1].value == pytest.approx(1.0)
    with pytest.raises(ValueError, match="at least one sample"):
        length.read([])
