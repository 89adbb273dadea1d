"""Win rate: does a scorer prefer the policy's answers to the reference's on the same prompts?

The scorer is whoever gives numbers: the gold rater, a held-out reward model, later people and
judges. The training reward model's own opinion is not evidence (Gao et al. 2022).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from accord.feedback.intervals import paired_win_rate
from accord.gauges.reading import difference, reading
from accord.types import Reading


def read(
    scores: Sequence[Sequence[float]],
    reference_scores: Sequence[Sequence[float]],
    scorer: str,
    margin: float = 0.0,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Reading]:
    """Win rate and mean score gain of a policy over a reference.

    PASS: better, the whole interval lies above one half (or above no gain); FAIL: worse.

    Args:
        scores: for each prompt the scores of the policy's completions.
        reference_scores: the reference's, on the same prompts in the same order.
        scorer: who scored, as shown on the report; part of the gauge's name.
        margin: a smaller difference of scores is a tie, which counts one half.
        confidence: of the intervals.
        seed: of the bootstrap of the score gain.

    Raises:
        ValueError: no prompts, numbers of prompts that differ, a prompt without scores, a score
            that is not finite, or a negative margin.
    """
    if len(scores) != len(reference_scores) or margin < 0:
        raise ValueError(
            f"win rate needs the same prompts on both sides and a margin >= 0, not {len(scores)} "
            f"and {len(reference_scores)} prompts and margin {margin}"
        )
    if not all(math.isfinite(s) for side in (scores, reference_scores) for g in side for s in g):
        raise ValueError("a score is not finite; the scorer is broken, so there is no win rate")
    outcomes = [outcome(a, b, margin) for a, b in zip(scores, reference_scores, strict=True)]
    rate = paired_win_rate(outcomes, confidence)
    ties = sum(tied / (won + tied + lost) for won, tied, lost in outcomes) / len(outcomes)
    ours_P = [sum(group) / len(group) for group in scores]
    theirs_P = [sum(group) / len(group) for group in reference_scores]
    gain = difference(ours_P, theirs_P, confidence, seed)
    return [
        reading(
            f"win_rate/{scorer}",
            rate,
            fine=(0.5, math.inf),
            outside="FAIL",
            detail=f"{ties:.0%} ties" if ties else "",
        ),
        reading(
            f"score_gain/{scorer}",
            gain,
            fine=(0.0, math.inf),
            outside="FAIL",
            detail=f"mean score {_mean(ours_P):.3g} against {_mean(theirs_P):.3g}",
        ),
    ]


def outcome(
    scores: Sequence[float], reference_scores: Sequence[float], margin: float = 0.0
) -> tuple[float, float, float]:
    """(wins, ties, losses) of one prompt: each of its completions against each of the other's."""
    gaps = [a - b for a in scores for b in reference_scores]
    wins = sum(gap > margin for gap in gaps)
    losses = sum(gap < -margin for gap in gaps)
    return float(wins), float(len(gaps) - wins - losses), float(losses)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
