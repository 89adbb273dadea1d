"""The perfect optimiser of a score, where it is known in closed form."""

from __future__ import annotations

import importlib
import math
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
ceiling = importlib.import_module("reward_ceiling")

HALF = np.array([0.5, 0.5])


@pytest.mark.parametrize("share", [0.6, 0.9, 0.99])
def test_two_answers_in_closed_form(share: float) -> None:
    """KL of (q, 1 - q) from even odds is ln 2 - H(q); a score that is wrong loses as much."""
    kl = math.log(2) + share * math.log(share) + (1 - share) * math.log(1 - share)
    gold = np.array([1.0, 0.0])
    assert ceiling.best([HALF], [gold], [gold], kl) == pytest.approx(share, abs=1e-6)
    assert ceiling.best([HALF], [7 * gold + 3], [gold], kl) == pytest.approx(share, abs=1e-6)
    assert ceiling.best([HALF], [-gold], [gold], kl) == pytest.approx(1 - share, abs=1e-6)


def test_no_score_gains_more_than_gold_itself() -> None:
    draw = np.random.default_rng(0)
    probs = [draw.dirichlet(np.ones(6)) for _ in range(4)]
    golds = [draw.normal(size=6) for _ in range(4)]
    for kl in (0.1, 0.5, 1.0):
        optimum = ceiling.best(probs, golds, golds, kl)
        for _ in range(20):
            scores = [draw.normal(size=6) for _ in range(4)]
            assert ceiling.best(probs, scores, golds, kl) <= optimum + 1e-9


def test_a_tilt_is_the_ratio_it_says() -> None:
    made_R, _ = ceiling.tilt(np.array([0.2, 0.8]), np.array([1.0, 0.0]), 0.5)
    assert made_R[0] / made_R[1] == pytest.approx(0.25 * math.exp(2.0))
    assert ceiling.tilt(HALF, np.array([1.0, 0.0]), 0.0)[1] == pytest.approx(math.log(2))
