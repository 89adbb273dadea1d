"""Diversity against hand counts and brute force."""

from __future__ import annotations

import math
import random

import pytest

from accord.feedback.intervals import t_quantile
from accord.gauges import diversity
from accord.types import Completion, Message, Prompt, Reading, Sample


def _samples(texts: list[list[str]]) -> list[Sample]:
    return [
        Sample(Prompt(str(i), (Message("user", "?"),)), tuple(Completion(text) for text in group))
        for i, group in enumerate(texts)
    ]


def _by_name(readings: list[Reading]) -> dict[str, Reading]:
    return {r.gauge.removeprefix("diversity/"): r for r in readings}


def test_words_and_ngrams() -> None:
    assert diversity.words("It's OK, ok?") == ["it", "'", "s", "ok", ",", "ok", "?"]
    assert diversity.ngrams(["a", "b", "c"], 2) == [("a", "b"), ("b", "c")]
    assert diversity.ngrams(["a"], 2) == []


def test_distinct_n_by_hand() -> None:
    assert diversity.distinct_n(["a b a b", "a b"], 1) == pytest.approx(2 / 6)
    assert diversity.distinct_n(["a b a b", "a b"], 2) == pytest.approx(2 / 4)  # ab ba ab, ab
    assert math.isnan(diversity.distinct_n(["a"], 2))


def test_expectation_adjustment_is_the_expected_number_of_distinct_draws() -> None:
    # V = 3, C = 2: the second draw repeats the first with probability 1/3, so 5/3 are expected.
    assert diversity.expectation_adjusted(1, 2, 3) == pytest.approx(1 / (5 / 3))
    rng = random.Random(0)
    drawn = [len({rng.randrange(50) for _ in range(80)}) for _ in range(4000)]
    assert sum(drawn) / 4000 / diversity.expectation_adjusted(1, 80, 50) ** -1 == pytest.approx(
        1, abs=0.01
    )


def test_ead_by_hand() -> None:
    # n=1: 2 distinct of 3; n=2: ab, ba = 2 of 2; n=3: aba = 1 of 1; n=4, 5: none, left out.
    def expected(distinct: int, count: int) -> float:
        return distinct / (10 * (1 - 0.9**count))

    by_hand = (expected(2, 3) + expected(2, 2) + expected(1, 1)) / 3
    assert diversity.ead([["a", "b", "a"]], vocab_size=10) == pytest.approx(by_hand)
    assert math.isnan(diversity.ead([[]]))


def test_repetition_and_uniqueness_by_hand() -> None:
    assert diversity.repeated_ngram_rate("a b c d a b c d") == pytest.approx(1 - 4 / 5)
    assert diversity.repeated_ngram_rate("too short") == 0.0
    assert diversity.unique_fraction(["Yes. ", "yes.", "no"]) == pytest.approx(2 / 3)


def test_levels() -> None:
    readings = _by_name(diversity.read(_samples([["a b", "c d"], ["x y", "x y"], ["p q", "p r"]])))
    assert readings["per_prompt_unique"].value == pytest.approx((1 + 0.5 + 1) / 3)
    assert readings["per_prompt_distinct_2"].value == pytest.approx((1 + 0.5 + 1) / 3)
    assert readings["repeated_4gram_rate"].value == 0.0
    assert readings["across_prompts_ead"].value == pytest.approx(1.0, abs=1e-3)
    assert {r.state for r in readings.values()} == {"NOT_APPLICABLE"}
    low, high = readings["per_prompt_unique"].interval or (0, 0)
    assert low < 2.5 / 3 < high


def test_one_sample_a_prompt_has_no_per_prompt_diversity() -> None:
    readings = _by_name(diversity.read(_samples([["a b"], ["c d"]])))
    assert math.isnan(readings["per_prompt_ead"].value)
    assert readings["per_prompt_ead"].interval is None
    assert math.isnan(readings["across_prompts_ead"].value)  # two prompts show no spread
    with pytest.raises(ValueError, match="at least one sample"):
        diversity.read([])


def test_jackknife_equals_leaving_each_prompt_out() -> None:
    rng = random.Random(1)
    texts = [[rng.choice("abcdefgh") for _ in range(rng.randrange(1, 9))] for _ in range(12)]
    found = diversity.across_prompts(texts, vocab_size=40)
    values = [diversity.ead(texts[:i] + texts[i + 1 :], vocab_size=40) for i in range(len(texts))]
    mean = sum(values) / 12
    error = math.sqrt(11 / 12 * sum((v - mean) ** 2 for v in values))
    assert found.value == pytest.approx(diversity.ead(texts, vocab_size=40))
    half = t_quantile(0.975, 11) * error
    assert found.interval == pytest.approx((found.value - half, found.value + half))


_NOUNS = ["river", "stone", "lamp", "cloud", "horse", "paper", "window", "garden", "bread", "ship"]


def _text(rng: random.Random, num_words: int, num_nouns: int = 10) -> str:
    return " ".join(rng.choice(_NOUNS[:num_nouns]) for _ in range(num_words))


def test_planted_collapse_warns_and_a_healthy_run_does_not() -> None:
    rng = random.Random(2)
    reference = _samples([[_text(rng, 12) for _ in range(4)] for _ in range(40)])
    healthy = _samples([[_text(rng, 12) for _ in range(4)] for _ in range(40)])
    collapsed = _samples([[_text(rng, 12)] * 4 for _ in range(40)])
    state = {
        name: _by_name(diversity.read(samples, reference))["per_prompt_ead_change"].state
        for name, samples in (("healthy", healthy), ("collapsed", collapsed))
    }
    assert state == {"healthy": "PASS", "collapsed": "WARN"}


def test_longer_answers_alone_are_not_a_loss_of_diversity() -> None:
    rng = random.Random(3)
    reference = _samples([[_text(rng, 8) for _ in range(4)] for _ in range(40)])
    longer = _samples([[_text(rng, 40) for _ in range(4)] for _ in range(40)])
    readings = _by_name(diversity.read(longer, reference))
    assert abs(readings["per_prompt_ead_change"].value) < 0.03


def test_planted_repetition_warns() -> None:
    rng = random.Random(4)
    reference = _samples([[_text(rng, 12)] for _ in range(20)])
    looping = _samples([["I am sure that " * 5] for _ in range(20)])
    readings = _by_name(diversity.read(looping, reference))
    assert readings["repeated_4gram_change"].state == "WARN"
    assert readings["per_prompt_ead_change"].state == "NOT_APPLICABLE"
    same = _by_name(diversity.read(reference, reference))
    assert same["repeated_4gram_change"].state == "PASS"
