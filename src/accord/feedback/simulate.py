"""Simulated raters with a known truth: a gold score, noise, ties and planted biases.

A rater perceives ``gold + length_bias * words / 10 + agreement_bias * agreement phrases`` and
prefers ``a`` with probability sigmoid((perceived_a - perceived_b) / rater_temperature): Bradley and
Terry 1952 for a pair, Plackett-Luce for a list (drawn as perceived / temperature + Gumbel noise,
Yellott 1977, which has the same pairwise probabilities). Gold raters stand in for people as in Gao
et al. 2022, "Scaling laws for reward model overoptimization".

Every draw is keyed by (seed, "rater", rater, prompt id, the texts judged): a verdict does not
depend on what else was judged, or on the order of prompts, candidates or sides.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Literal

import numpy as np

from accord.config import CollectConfig
from accord.errors import NonFiniteError
from accord.rng import uniform
from accord.types import Choice, Comparison, Completion, Prompt, Ranking, Sample

_VERY = r"(?:(?:absolutely|certainly|completely|definitely|entirely|fully|quite|so|totally) )?"
_AGREEMENT = re.compile(
    rf"\b(?:(?:you(?:'re| are)|that(?:'s| is)) {_VERY}(?:right|correct|true|spot on)|i {_VERY}agree"
    r"|(?:good|great|excellent|fair) point|well said|as you (?:say|said)"
    r"|your (?:view|opinion) is (?:right|correct))\b",
    re.IGNORECASE,
)


def count_agreement(text: str) -> int:
    """How many phrases of ``text`` tell the reader that they are right ("you are right", ...)."""
    return len(_AGREEMENT.findall(text.replace("’", "'")))


def preference_probability(difference: float, temperature: float) -> float:
    """Probability that the first is preferred, ``difference`` = its score less the second's.

    Bradley-Terry: sigmoid(difference / temperature). Temperature 0 is its limit: 1, 0 or, for
    equal scores, 0.5.
    """
    if temperature == 0.0:
        return 0.5 if difference == 0.0 else float(difference > 0.0)
    return 0.5 * (1.0 + math.tanh(difference / (2.0 * temperature)))


class SimulatedRaters:
    """A team of ``num_raters`` raters who all judge by one gold score.

    Each pair (or list) goes to one rater, drawn from the team. ``skipped`` counts the pairs that
    could not be shown, since both texts were the same: identical candidates are shown once.
    """

    def __init__(
        self, config: CollectConfig, gold: Callable[[Prompt, Completion], float], seed: int
    ) -> None:
        self.config = config
        self.gold = gold
        self.seed = seed
        self.skipped = 0

    def judge(self, sample: Sample) -> list[Comparison | Ranking]:
        """All verdicts on one prompt's candidates.

        Layout "pairs" gives ``pairs_per_prompt`` comparisons (0 = all C(K, 2)), sides at random;
        "ranking" gives one ranking of all candidates, in the random order they were shown. Fewer
        than two different texts give no verdict.

        ``strength`` is 2 * abs(P(a) - 0.5), for a ranking its mean over the pairs. An inattentive
        verdict (careless, left click) carries a random strength, so that strength does not betray
        the truth. Gold scores closer than ``tie_margin`` tie, and so do scores that a rater of
        temperature 0 perceives as equal.

        Raises:
            NonFiniteError: the gold score of a candidate is not a finite number.
        """
        unique = {completion.text: completion for completion in reversed(sample.completions)}
        shown = [unique[text] for text in sorted(unique)]
        self.skipped += math.comb(len(sample.completions), 2) - math.comb(len(shown), 2)
        if len(shown) < 2:
            return []
        scores = [self._scores(sample.prompt, completion) for completion in shown]
        if self.config.layout == "ranking":
            return [self._rank(sample.prompt, shown, scores)]
        name, pairs = sample.prompt.id, list(combinations(range(len(shown)), 2))
        keys = {(i, j): self._key(shown[i], shown[j]) for i, j in pairs}
        if 0 < self.config.pairs_per_prompt < len(pairs):
            pairs.sort(key=lambda pair: uniform(self.seed, "pick", name, keys[pair]))
            pairs = pairs[: self.config.pairs_per_prompt]
        return [
            self._compare(sample.prompt, (shown[i], shown[j]), (scores[i], scores[j]), keys[i, j])
            for i, j in pairs
        ]

    def _scores(self, prompt: Prompt, completion: Completion) -> tuple[float, float]:
        """The gold score, and the score as biased raters perceive it."""
        gold = self.gold(prompt, completion)
        if not math.isfinite(gold):
            raise NonFiniteError(f"gold score {gold} for prompt {prompt.id!r}: {completion.text!r}")
        perceived = gold + self.config.length_bias * len(completion.text.split()) / 10
        if self.config.agreement_bias != 0.0:
            perceived += self.config.agreement_bias * count_agreement(completion.text)
        return gold, perceived

    @staticmethod
    def _key(*completions: Completion) -> str:
        """A name for the texts judged together, whatever their order."""
        state = hashlib.blake2b(digest_size=6)
        for text in sorted(completion.text for completion in completions):
            state.update(b"%d:" % len(text) + text.encode())
        return state.hexdigest()

    def _rater(self, prompt: Prompt, key: str) -> str:
        share = uniform(self.seed, "assign", prompt.id, key)
        return f"rater-{int(share * self.config.num_raters)}"

    def _inattentive(self, draw: float) -> Literal["careless", "left_click"] | None:
        if draw < self.config.left_click:
            return "left_click"
        return "careless" if draw < self.config.left_click + self.config.careless else None

    def _compare(
        self,
        prompt: Prompt,
        pair: tuple[Completion, Completion],
        scores: tuple[tuple[float, float], tuple[float, float]],
        key: str,
    ) -> Comparison:
        rater = self._rater(prompt, key)
        side, attention, verdict, sure = uniform(
            self.seed, "rater", rater, prompt.id, key, size=4
        ).tolist()
        if side < 0.5:
            pair, scores = pair[::-1], scores[::-1]
        (gold_a, perceived_a), (gold_b, perceived_b) = scores
        prob = preference_probability(perceived_a - perceived_b, self.config.rater_temperature)
        lapse = self._inattentive(attention)
        choice: Choice = "a" if verdict < prob else "b"
        if lapse == "left_click":
            choice = "a"
        elif lapse == "careless":
            choice = "a" if verdict < 0.5 else "b"
        elif self._tied(gold_a, gold_b) or (self.config.rater_temperature == 0 and prob == 0.5):
            choice = "tie"
        return Comparison(
            prompt=prompt,
            a=pair[0],
            b=pair[1],
            choice=choice,
            strength=sure if lapse else 2 * abs(prob - 0.5),
            rater=rater,
            guideline=self.config.guideline,
            id=f"{prompt.id}:{key}",
        )

    def _tied(self, gold_a: float, gold_b: float) -> bool:
        return abs(gold_a - gold_b) < self.config.tie_margin

    def _rank(
        self, prompt: Prompt, shown: list[Completion], scores: list[tuple[float, float]]
    ) -> Ranking:
        key, num = self._key(*shown), len(shown)
        rater = self._rater(prompt, key)
        name = (self.seed, "rater", rater, prompt.id, key)
        attention, sure = uniform(*name, size=2).tolist()
        seen = np.argsort(uniform(*name, "side", size=num), kind="stable").tolist()
        shown, scores = [shown[i] for i in seen], [scores[i] for i in seen]
        temperature = self.config.rater_temperature
        lapse = self._inattentive(attention)
        draws = np.clip(uniform(*name, "gumbel", size=num)[seen], 1e-300, None)
        gumbel = (-np.log(-np.log(draws))).tolist()
        noisy = [score[1] + temperature * g for score, g in zip(scores, gumbel, strict=True)]
        if lapse == "careless":
            noisy = gumbel
        elif lapse == "left_click":
            noisy = [float(-position) for position in range(num)]
        order = sorted(range(num), key=lambda i: -noisy[i])
        ranks, leader = [0] * num, order[0]
        for position, i in enumerate(order):
            same = i == leader or (lapse is None and self._same_rank(scores, noisy, leader, i))
            ranks[i] = ranks[leader] if same else position
            leader = leader if same else i
        return Ranking(
            prompt=prompt,
            completions=tuple(shown),
            ranks=tuple(ranks),
            strength=sure if lapse else self._mean_strength([p for _, p in scores]),
            rater=rater,
            guideline=self.config.guideline,
            id=f"{prompt.id}:{key}",
        )

    def _same_rank(
        self, scores: Sequence[tuple[float, float]], noisy: Sequence[float], leader: int, i: int
    ) -> bool:
        if self._tied(scores[leader][0], scores[i][0]):
            return True
        return self.config.rater_temperature == 0.0 and noisy[leader] == noisy[i]

    def _mean_strength(self, perceived: Sequence[float]) -> float:
        temperature = self.config.rater_temperature
        return float(
            np.mean(
                [
                    2 * abs(preference_probability(x - y, temperature) - 0.5)
                    for x, y in combinations(perceived, 2)
                ]
            )
        )
