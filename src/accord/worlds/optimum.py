"""Exact answers in a small world: a policy's whole response distribution, and the best it can do.

For a known gold score g and reference policy rho, the policy that maximises mean gold at a given
mean KL from rho is pi(y|x) = rho(y|x) exp(g(x, y) / beta) / Z(x), with one beta for all prompts
(Ziegler et al. 2019; Korbak et al. 2022). Here rho is enumerated, so nothing is estimated.

Shapes: R responses of one prompt, N open prefixes, V vocabulary, T prompt tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
NextLogprobs: TypeAlias = Callable[[Integers, Integers], Floats]
"""``(parents_N, tokens_NT) -> logprobs_NV``: row i extends row ``parents_N[i]`` of the call before
by ``tokens_NT[i]`` and gets the log-probabilities of what comes next. The first call brings the
prompt, with parent 0."""


@dataclass(frozen=True, slots=True)
class Responses:
    """What a policy says to one prompt, and how likely.

    ``tokens`` leave out the end-of-sequence token; ``finished_R`` says which had one; ``uncovered``
    is the probability of everything pruned, each response of it below ``min_prob``, so that
    ``probs_R.sum() + uncovered == 1``. ``kl`` is the exact KL from the reference in nats, but for
    what pruned prefixes add; None without a reference.
    """

    tokens: tuple[tuple[int, ...], ...]
    probs_R: Floats
    finished_R: NDArray[np.bool_]
    uncovered: float
    min_prob: float
    kl: float | None


@dataclass(frozen=True, slots=True)
class Case:
    """One prompt of a frontier: reference probabilities and gold scores of the same responses.

    ``worst`` is further probability known to be worth the lowest score, ``unknown`` further
    probability that may be worth anything.
    """

    probs_R: Floats
    gold_R: Floats
    worst: float = 0.0
    unknown: float = 0.0


@dataclass(frozen=True, slots=True)
class Optimum:
    """The best mean gold at a mean KL (nats); ``beta`` = 0 at the far end, inf at the reference.

    ``gold`` counts unknown mass as worth the lowest score; were it all worth the highest, the
    optimum would be ``gold_bound``. The truth lies between.
    """

    beta: float
    kl: float
    gold: float
    gold_bound: float


def enumerate_responses(
    next_logprobs: NextLogprobs,
    prompt_tokens: Sequence[int],
    *,
    eos_id: int,
    max_tokens: int,
    min_prob: float = 1e-6,
    reference: NextLogprobs | None = None,
) -> Responses:
    """Every response with probability >= ``min_prob``, level by level through the token tree.

    A response ends with ``eos_id`` or is cut after ``max_tokens`` tokens (the end-of-sequence token
    counts). A prefix below ``min_prob`` is pruned and its probability counted as uncovered. A
    ``reference`` walks along, for the KL of the policy from it.
    """
    found: list[tuple[tuple[int, ...], float, bool]] = []
    prefixes: list[tuple[int, ...]] = [()]
    logprobs_N = np.zeros(1)
    parents_N, tokens_NT = np.zeros(1, np.int64), np.array([prompt_tokens], np.int64)
    uncovered, kl = 0.0, 0.0
    for length in range(1, max_tokens + 1):
        following_NV = np.asarray(next_logprobs(parents_N, tokens_NT), np.float64)
        joint_NV = logprobs_N[:, None] + following_NV
        if reference is not None:
            theirs_NV = np.asarray(reference(parents_N, tokens_NT), np.float64)
            likely_NV = np.isfinite(following_NV)  # what is never said adds nothing
            log_ratios = following_NV[likely_NV] - theirs_NV[likely_NV]
            kl += float(np.exp(joint_NV[likely_NV]) @ log_ratios)
        keep_NV = joint_NV >= math.log(min_prob)
        uncovered += float(np.exp(joint_NV[~keep_NV]).sum())
        rows, words = np.nonzero(keep_NV)
        kept = joint_NV[rows, words]
        done = words == eos_id
        found += [
            (prefixes[row], math.exp(logprob), True)
            for row, logprob in zip(rows[done], kept[done], strict=True)
        ]
        parents_N, words, logprobs_N = rows[~done], words[~done], kept[~done]
        prefixes = [(*prefixes[p], int(w)) for p, w in zip(parents_N, words, strict=True)]
        tokens_NT = words[:, None]
        if length == max_tokens:
            found += [
                (prefix, math.exp(logprob), False)
                for prefix, logprob in zip(prefixes, logprobs_N, strict=True)
            ]
        if not prefixes:
            break
    return Responses(
        tokens=tuple(tokens for tokens, _, _ in found),
        probs_R=np.array([prob for _, prob, _ in found]),
        finished_R=np.array([finished for _, _, finished in found], np.bool_),
        uncovered=uncovered,
        min_prob=min_prob,
        kl=None if reference is None else kl,
    )


def tilt(probs_R: Floats, gold_R: Floats, beta: float) -> tuple[Floats, float]:
    """The optimum rho * exp(gold / beta) / Z over one prompt's responses, and its KL from rho.

    ``beta`` = 0 gives the limit: rho restricted to the best responses.
    """
    if beta == 0:
        tilted_R = np.where(gold_R == gold_R[probs_R > 0].max(), probs_R, 0.0)
    else:
        tilted_R = probs_R * np.exp((gold_R - gold_R[probs_R > 0].max()) / beta)
    tilted_R = tilted_R / tilted_R.sum()
    seen = tilted_R > 0
    kl = float(np.sum(tilted_R[seen] * np.log(tilted_R[seen] / probs_R[seen])))
    return tilted_R, max(kl, 0.0)


def optimum_at_kl(cases: Iterable[Case], kl: float, *, lowest: float, highest: float) -> Optimum:
    """The best mean gold a policy can reach at mean KL ``kl`` (nats) from the reference.

    A budget above what the best responses cost gives the far end of the frontier (beta = 0).

    Raises:
        ValueError: no case, a negative budget, or probabilities that do not add up to one.
    """
    cases = list(cases)
    if not cases or kl < 0:
        raise ValueError(f"need at least one case and kl >= 0, got {len(cases)} cases, kl = {kl}")
    gold, beta, reached = _best([_whole(case, lowest, lowest) for case in cases], kl)
    bound, _, _ = _best([_whole(case, lowest, highest) for case in cases], kl)
    return Optimum(beta=beta, kl=reached, gold=gold, gold_bound=bound)


def _whole(case: Case, lowest: float, unknown: float) -> tuple[Floats, Floats]:
    """Probabilities and scores with the mass that was not enumerated as two responses more."""
    probs_R = np.append(case.probs_R, [case.worst, case.unknown])
    if probs_R.min() < 0 or abs(probs_R.sum() - 1) > 1e-6:
        raise ValueError(f"probabilities and other mass add up to {probs_R.sum()}, not to 1")
    return probs_R, np.append(case.gold_R, [lowest, unknown])


def _frontier(whole: Sequence[tuple[Floats, Floats]], beta: float) -> tuple[float, float]:
    """Mean gold and mean KL of the optimum at one beta."""
    points = [(tilt(probs_R, gold_R, beta), gold_R) for probs_R, gold_R in whole]
    gold = np.mean([tilted_R @ gold_R for (tilted_R, _), gold_R in points])
    return float(gold), float(np.mean([divergence for (_, divergence), _ in points]))


def _best(whole: Sequence[tuple[Floats, Floats]], kl: float) -> tuple[float, float, float]:
    """Gold, beta and KL where the mean KL equals ``kl``: KL falls with beta, so bisect log beta."""
    end_gold, end_kl = _frontier(whole, 0.0)
    if kl >= end_kl:
        return end_gold, 0.0, end_kl
    if kl == 0:
        return float(np.mean([probs_R @ gold_R for probs_R, gold_R in whole])), math.inf, 0.0
    low, high = -12.0, 24.0
    for _ in range(80):
        middle = (low + high) / 2
        if _frontier(whole, math.exp(middle))[1] > kl:
            low = middle
        else:
            high = middle
    beta = math.exp((low + high) / 2)
    gold, reached = _frontier(whole, beta)
    return gold, beta, reached
