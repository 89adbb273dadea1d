"""Paired win rates against hand counts and planted truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from accord.gauges import win_rate


def test_outcome_by_hand() -> None:
    assert win_rate.outcome([1.0, 3.0], [2.0, 3.0]) == (1.0, 1.0, 2.0)
    assert win_rate.outcome([1.0, 3.0], [2.0, 3.0], margin=1.0) == (0.0, 3.0, 1.0)


def test_rate_weighs_prompts_equally_and_halves_ties() -> None:
    rate, gain = win_rate.read([[2.0, 2.0], [1.0], [0.0]], [[1.0], [1.0], [4.0]], "gold")
    assert rate.gauge == "win_rate/gold" and gain.gauge == "score_gain/gold"
    assert rate.value == pytest.approx((1 + 0.5 + 0) / 3)
    assert (rate.num_samples, rate.state) == (3, "INCONCLUSIVE")
    assert rate.detail.startswith("33% ties")
    assert gain.value == pytest.approx((1 + 0 - 4) / 3)
    assert gain.detail.startswith("mean score 1 against 2")


def test_better_equal_and_worse() -> None:
    rng = np.random.default_rng(0)
    prompts = rng.normal(0.0, 3.0, size=(80, 1))
    reference = prompts + rng.normal(size=(80, 2))
    equal = prompts + rng.normal(size=(80, 2))
    states = [
        [r.state for r in win_rate.read((equal + shift).tolist(), reference.tolist(), "gold")]
        for shift in (1.5, 0.0, -1.5)
    ]
    assert states == [["PASS"] * 2, ["INCONCLUSIVE"] * 2, ["FAIL"] * 2]


def test_exactly_equal_is_not_better() -> None:
    rate, gain = win_rate.read([[1.0]] * 30, [[1.0]] * 30, "gold")
    assert rate.value == 0.5 and rate.state == "INCONCLUSIVE"
    assert gain.value == 0.0 and gain.state == "INCONCLUSIVE"


def test_false_pass_rate_of_equal_policies() -> None:
    rng = np.random.default_rng(1)
    passes = 0
    for _ in range(300):
        ours, theirs = rng.normal(size=(2, 40, 2))
        passes += win_rate.read(ours.tolist(), theirs.tolist(), "gold")[0].state == "PASS"
    assert passes <= 16  # nominal 2.5 % one-sided: 7.5 expected


def test_refuses_bad_input() -> None:
    with pytest.raises(ValueError, match="same prompts on both sides"):
        win_rate.read([[1.0]], [[1.0], [2.0]], "gold")
    with pytest.raises(ValueError, match="margin >= 0"):
        win_rate.read([[1.0]], [[1.0]], "gold", margin=-1.0)
    with pytest.raises(ValueError, match="not finite"):
        win_rate.read([[math.nan]], [[1.0]], "gold")
    with pytest.raises(ValueError, match="per prompt"):
        win_rate.read([[]], [[1.0]], "gold")
