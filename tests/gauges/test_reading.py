"""Verdicts, paired changes and the matching of prompts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from accord.feedback.intervals import Estimate
from accord.gauges.reading import (
    difference,
    not_applicable,
    paired,
    reading,
    relative_change,
    verdict,
)
from accord.types import Completion, Message, Prompt, Sample


def _sample(prompt_id: str) -> Sample:
    return Sample(Prompt(prompt_id, (Message("user", "hi"),)), (Completion("there"),))


@pytest.mark.parametrize(
    ("interval", "state"),
    [
        ((0.1, 0.2), "PASS"),
        ((0.0, 1.0), "INCONCLUSIVE"),
        ((0.0, 0.0), "INCONCLUSIVE"),
        ((-0.1, 0.5), "INCONCLUSIVE"),
        ((0.5, 1.1), "INCONCLUSIVE"),
        ((-2.0, 2.0), "INCONCLUSIVE"),
        ((-0.2, -0.1), "WARN"),
        ((1.1, 1.2), "WARN"),
    ],
)
def test_verdict(interval: tuple[float, float], state: str) -> None:
    assert verdict(interval, (0.0, 1.0)) == state


def test_open_verdict_says_how_many_prompts_settle_it() -> None:
    # Half-width 0.1 at 100 prompts and distance 0.05 to the edge: 100 * (0.1 / 0.05)^2 = 400.
    found = reading("a/b", Estimate(0.55, 0.45, 0.65, 100), fine=(0.5, 1.0), detail="why")
    assert found.state == "INCONCLUSIVE"
    assert found.detail == "why; about 400 prompts would settle it if the value holds"
    alone = reading("a/b", Estimate(0.55, 0.45, 0.65, 100), fine=(0.5, math.inf))
    assert alone.detail == "about 400 prompts would settle it if the value holds"
    on_the_edge = reading("a/b", Estimate(0.5, 0.4, 0.6, 100), fine=(0.5, 1.0))
    assert (on_the_edge.state, on_the_edge.detail) == ("INCONCLUSIVE", "")


def test_level_has_no_verdict() -> None:
    found = reading("length/words", Estimate(12.0, 10.0, 14.0, 30))
    assert (found.value, found.interval, found.num_samples) == (12.0, (10.0, 14.0), 30)
    assert found.state == "NOT_APPLICABLE"
    missing = not_applicable("length/words", "nothing to read")
    assert math.isnan(missing.value) and missing.interval is None


def test_relative_change_of_a_constant_factor_has_no_spread() -> None:
    reference = np.array([1.0, 5.0, 2.0, 9.0])
    change = relative_change(1.25 * reference, reference)
    assert change.value == pytest.approx(0.25)
    assert change.interval == pytest.approx((0.25, 0.25))  # pairing removes what prompts share


def test_relative_change_covers_the_truth() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        prompts = rng.gamma(9.0, 2.0, size=60)
        values = prompts * 0.8 * rng.lognormal(-0.045, 0.3, size=60)  # mean factor 0.8
        change = relative_change(values, prompts * rng.lognormal(-0.045, 0.3, size=60), seed=trial)
        covered += change.low <= -0.2 <= change.high
    assert 180 <= covered <= 198  # nominal 95 %


@pytest.mark.parametrize(
    ("values", "reference"),
    [([], []), ([1.0], [1.0, 2.0]), ([math.nan], [1.0]), ([1.0, 2.0], [0.0, 0.0])],
)
def test_relative_change_refuses(values: list[float], reference: list[float]) -> None:
    with pytest.raises(ValueError):
        relative_change(values, reference)


def test_difference_is_paired() -> None:
    gap = difference([11.0, 22.0, 33.0], [10.0, 21.0, 32.0])
    assert (gap.value, gap.low, gap.high, gap.num_units) == (1.0, 1.0, 1.0, 3)


def test_paired_matches_by_prompt_id() -> None:
    pairs = paired([_sample("x"), _sample("y")], [_sample("y"), _sample("x")])
    assert [(a.prompt.id, b.prompt.id) for a, b in pairs] == [("x", "x"), ("y", "y")]
    with pytest.raises(ValueError, match=r"1 prompts were answered by one policy only.*'y'"):
        paired([_sample("x"), _sample("y")], [_sample("x")])
    with pytest.raises(ValueError, match="twice"):
        paired([_sample("x"), _sample("x")], [_sample("x")])
