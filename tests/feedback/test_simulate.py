"""Simulated raters follow the law they promise, show their planted biases, and ignore order."""

import math
from collections import Counter
from itertools import permutations

import numpy as np
import pytest

from accord.config import CollectConfig as Config
from accord.errors import NonFiniteError
from accord.feedback.intervals import wilson
from accord.feedback.simulate import SimulatedRaters, count_agreement, preference_probability
from accord.types import Comparison, Completion, Message, Prompt, Ranking, Sample


def gold(prompt: Prompt, completion: Completion) -> float:
    """The number that the text starts with."""
    return float(completion.text.split()[0])


def sample(index: int, *texts: str) -> Sample:
    prompt = Prompt(id=f"p{index}", messages=(Message("user", "Which?"),))
    return Sample(prompt, tuple(Completion(text) for text in texts))


def verdicts(config: Config, *texts: str, n: int = 3000, seed: int = 0) -> list[Comparison]:
    raters = SimulatedRaters(config, gold, seed)
    return [verdict for i in range(n) for verdict in raters.judge(sample(i, *texts))]


def win_rate(rows: list[Comparison], text: str) -> tuple[float, float]:
    """The 99.9 % interval of the rate at which ``text`` wins against the other one."""
    wins = sum((row.a if row.choice == "a" else row.b).text == text for row in rows)
    return wilson(wins, len(rows), confidence=0.999)


@pytest.mark.parametrize("gap", [0.0, 0.2, 0.7, 1.5])
@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_win_rates_are_bradley_terry(gap: float, temperature: float) -> None:
    rows = verdicts(Config(rater_temperature=temperature), f"{gap} better", "0 worse")
    low, high = win_rate(rows, f"{gap} better")
    probability = 1 / (1 + math.exp(-gap / temperature))
    assert low < probability < high
    assert all(r.strength == pytest.approx(2 * abs(probability - 0.5)) for r in rows)


def test_preference_probability_limits() -> None:
    assert preference_probability(0.3, 0.0) == 1.0
    assert preference_probability(-0.3, 0.0) == 0.0
    assert preference_probability(0.0, 0.0) == 0.5
    assert preference_probability(1e6, 1e-3) == 1.0
    assert preference_probability(-1e6, 1e-3) == 0.0


def test_sides_raters_and_ids() -> None:
    rows = verdicts(Config(), "1 x", "0 y")
    low, high = wilson(sum(r.a.text == "1 x" for r in rows), len(rows), 0.999)
    assert low < 0.5 < high
    shares = Counter(r.rater for r in rows)
    assert sorted(shares) == ["rater-0", "rater-1", "rater-2", "rater-3"]
    assert all(abs(count / len(rows) - 0.25) < 0.03 for count in shares.values())
    assert len({r.id for r in rows}) == len(rows)
    assert {r.guideline for r in rows} == {"v1"}


@pytest.mark.parametrize("layout", ["pairs", "ranking"])
def test_verdicts_ignore_order(layout: str) -> None:
    num_pairs = 3 if layout == "pairs" else 0
    config = Config(layout=layout, pairs_per_prompt=num_pairs, careless=0.2, left_click=0.1)
    texts = ("0 a", "0.1 b", "0.2 c", "0.3 d")
    forward, backward = SimulatedRaters(config, gold, 5), SimulatedRaters(config, gold, 5)
    for order in permutations(texts):
        first = {v.id: v for i in (1, 2) for v in forward.judge(sample(i, *texts))}
        second = {v.id: v for i in (2, 1) for v in backward.judge(sample(i, *order))}
        assert first == second
    other = SimulatedRaters(config, gold, 6)
    assert [other.judge(sample(i, *texts)) for i in range(9)] != [
        forward.judge(sample(i, *texts)) for i in range(9)
    ]


def test_pairs_per_prompt_picks_evenly() -> None:
    texts = ("0 a", "1 b", "2 c", "3 d")
    assert len(verdicts(Config(), *texts, n=5)) == 5 * 6
    rows = verdicts(Config(pairs_per_prompt=2), *texts, n=1500)
    assert len(rows) == 3000
    pairs = Counter(frozenset((r.a.text, r.b.text)) for r in rows)
    assert len(pairs) == 6
    assert all(430 < count < 570 for count in pairs.values())


def test_identical_texts_are_never_shown_as_a_pair() -> None:
    raters = SimulatedRaters(Config(), gold, 0)
    rows = raters.judge(sample(1, "1 x", "1 x", "0 y", "1 x"))
    assert [{r.a.text, r.b.text} for r in rows] == [{"1 x", "0 y"}]
    assert raters.skipped == 5
    assert raters.judge(sample(2, "1 x", "1 x")) == []
    assert raters.skipped == 6
    ranker = SimulatedRaters(Config(layout="ranking"), gold, 0)
    (ranking,) = ranker.judge(sample(1, "1 x", "1 x", "0 y", "2 z"))
    assert isinstance(ranking, Ranking)
    assert sorted(c.text for c in ranking.completions) == ["0 y", "1 x", "2 z"]
    assert ranker.skipped == 3


def test_ties() -> None:
    rows = verdicts(Config(tie_margin=0.5, rater_temperature=0.1), "0 a", "0.4 b", "2 c", n=40)
    for row in rows:
        close = {row.a.text, row.b.text} == {"0 a", "0.4 b"}
        assert (row.choice == "tie") == close
    exact = Config(rater_temperature=0.0)
    assert {r.choice for r in verdicts(exact, "1 a", "1 b", n=20)} == {"tie"}
    assert win_rate(verdicts(exact, "1 a", "0.99 b"), "1 a")[1] == 1.0
    assert "tie" not in {r.choice for r in verdicts(Config(), "1 a", "1 b", n=500)}


def test_length_bias_is_per_ten_words() -> None:
    long = "0 " + "word " * 14  # 15 words against 1
    rows = verdicts(Config(length_bias=0.4), long, "0.2")
    low, high = win_rate(rows, long)
    assert low < 1 / (1 + math.exp(-(0.4 * 14 / 10 - 0.2) / 0.5)) < high


def test_agreement_bias_is_per_phrase() -> None:
    flattery = "0 You're absolutely right, good point."
    rows = verdicts(Config(agreement_bias=0.3), flattery, "0.2 No, it is not so.")
    low, high = win_rate(rows, flattery)
    assert low < 1 / (1 + math.exp(-(2 * 0.3 - 0.2) / 0.5)) < high


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("You are right. I completely agree with that.", 2),
        ("That’s true, and it is a great point!", 2),
        ("You are not right, I cannot agree, and that is hardly true.", 0),
        ("Turn right at the agreement office; you should disagree.", 0),
    ],
)
def test_count_agreement(text: str, count: int) -> None:
    assert count_agreement(text) == count


def test_careless_and_left_clickers() -> None:
    config = Config(rater_temperature=0.0, careless=0.3, left_click=0.2)
    rows = verdicts(config, "1 good", "0 bad", n=6000)
    low, high = win_rate(rows, "1 good")
    assert low < 0.5 + 0.3 / 2 + 0.2 / 2 < high
    low, high = wilson(sum(r.choice == "a" for r in rows), len(rows), 0.999)
    assert low < 0.5 * 0.8 + 0.2 < high
    assert all(r.choice == "a" for r in verdicts(Config(left_click=1.0), "9 x", "0 y", n=50))
    strengths = [r.strength for r in verdicts(Config(careless=1.0), "9 x", "0 y")]
    assert np.mean(strengths) == pytest.approx(0.5, abs=0.03)


def test_rankings_are_plackett_luce() -> None:
    """First choices follow softmax(gold / temperature); each implied pair is Bradley-Terry."""
    texts = {"0 a": 0.0, "0.5 b": 0.5, "1 c": 1.0}
    rows = verdicts(Config(layout="ranking"), *texts)
    first = Counter(r.completions[r.ranks.index(0)].text for r in rows)
    weights = {text: math.exp(score / 0.5) for text, score in texts.items()}
    for text, weight in weights.items():
        low, high = wilson(first[text], len(rows), 0.999)
        assert low < weight / sum(weights.values()) < high
    pairs = [pair for row in rows for pair in row.pairs()]
    outer = [pair for pair in pairs if {pair.a.text, pair.b.text} == {"0 a", "1 c"}]
    low, high = win_rate(outer, "1 c")
    assert low < 1 / (1 + math.exp(-2)) < high
    assert rows[0].strength == pytest.approx(
        (2 * abs(1 / (1 + math.exp(-1)) - 0.5) * 2 + 2 * abs(1 / (1 + math.exp(-2)) - 0.5)) / 3
    )


def test_exact_rankings_and_their_ties() -> None:
    config = Config(layout="ranking", rater_temperature=0.0, tie_margin=0.3)
    for row in verdicts(config, "3 a", "1.1 b", "1 c", "0 d", n=20):
        got = {c.text: rank for c, rank in zip(row.completions, row.ranks, strict=True)}
        assert got == {"3 a": 0, "1.1 b": 1, "1 c": 1, "0 d": 3}
    equal = config.model_copy(update={"tie_margin": 0.0})
    assert verdicts(equal, "1 a", "1 b", n=1)[0].ranks == (0, 0)


def test_inattentive_rankings() -> None:
    left = verdicts(Config(layout="ranking", left_click=1.0), "5 a", "1 b", "0 c", n=120)
    assert all(row.ranks == (0, 1, 2) for row in left)
    assert len({tuple(c.text for c in row.completions) for row in left}) == 6
    careless = Config(layout="ranking", rater_temperature=0.0, careless=1.0)
    rows = verdicts(careless, "5 a", "1 b", "0 c")
    first = Counter(r.completions[r.ranks.index(0)].text for r in rows)
    assert all(abs(count / len(rows) - 1 / 3) < 0.03 for count in first.values())


def test_a_gold_score_that_is_not_finite_stops() -> None:
    with pytest.raises(NonFiniteError, match="p1"):
        SimulatedRaters(Config(), gold, 0).judge(sample(1, "nan x", "0 y"))
