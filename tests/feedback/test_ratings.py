"""Ratings against choix, evalica, statsmodels, scikit-learn, SciPy, and their own promise."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accord.errors import DataError
from accord.feedback.intervals import t_quantile
from accord.feedback.ratings import ELO, Ratings, rate
from accord.feedback.votes import log_words
from accord.types import Choice, Comparison, Completion, Message, Prompt, Ranking

ORACLES = json.loads((Path(__file__).parents[1] / "reference/oracles_ratings.json").read_text())
OUTCOMES: tuple[Choice, ...] = ("a", "b", "tie")


def prompt(number: int) -> Prompt:
    return Prompt(f"p{number}", (Message("user", "Which?"),))


def length(completion: Completion) -> float:
    """The number that the text is."""
    return float(completion.text)


def comparisons(data: dict[str, list[Any]]) -> list[Comparison]:
    columns = ("a", "b", "length_a", "length_b", "outcome", "rater", "prompt")
    return [
        Comparison(
            prompt(p), Completion(str(x), str(a)), Completion(str(y), str(b)), OUTCOMES[o],
            rater=f"r{r}",
        )
        for a, b, x, y, o, r, p in zip(*(data[c] for c in columns), strict=True)
    ]  # fmt: skip


def values(ratings: Ratings) -> list[float]:
    return [ratings[str(i)].value for i in range(len(ratings.ratings))]


def duel(a: str, b: str, choice: Choice = "a", rater: str = "r", number: int = 0) -> Comparison:
    return Comparison(prompt(number), Completion("x", a), Completion("y", b), choice, rater=rater)


BT = ORACLES["bradley_terry"]
DAVIDSON = ORACLES["davidson"]
LUCE = ORACLES["plackett_luce"]


@pytest.mark.parametrize("oracle", BT["plain"])
def test_bradley_terry(oracle: str) -> None:
    got = rate(comparisons(BT["data"]), order=False)
    assert values(got) == pytest.approx(BT["plain"][oracle], abs=1e-6)
    assert got.ties == ()
    assert got.order is None


@pytest.mark.parametrize("oracle", BT["order_and_length"])
def test_order_and_covariate(oracle: str) -> None:
    got = rate(comparisons(BT["data"]), covariates={"length": length})
    expected = BT["order_and_length"][oracle]
    worth = np.append(0.0, expected[:5])
    assert values(got) == pytest.approx(worth - worth.mean(), abs=1e-6)
    assert got.order is not None
    assert got.order.value == pytest.approx(expected[5], abs=1e-6)
    assert got.covariates[0].value == pytest.approx(expected[6], abs=1e-6)
    assert got.log_likelihood == pytest.approx(BT["log_likelihood"], abs=1e-8)


def test_sandwich_matches_statsmodels() -> None:
    """statsmodels' uncorrected cluster covariances; ours carry C / (C - 1).

    Negative variance is cut where the information is one, here by its symmetric square root.
    """
    rows = comparisons(BT["data"])
    centre = np.eye(8)[:, 1:]
    centre[:6, :5] -= 1 / 6
    sizes = {"rater": 9, "prompt": len({r.prompt.id for r in rows})}
    sizes["intersection"] = len({(r.rater, r.prompt.id) for r in rows})
    cov = {k: np.array(v) for k, v in BT["covariance"].items()}
    scaled = {k: cov[k] * n / (n - 1) for k, n in sizes.items()}
    both = scaled["rater"] + scaled["prompt"] - scaled["intersection"]
    given = {"none": cov["information"], "both": both, **scaled}
    spread, axes = np.linalg.eigh(cov["information"])
    root, inverse = (axes * spread**power @ axes.T for power in (0.5, -0.5))
    for cluster in ("none", "rater", "prompt", "both"):
        lows, vectors = np.linalg.eigh(inverse @ given[cluster] @ inverse)
        half = centre @ root @ vectors
        matrix = (half * np.maximum(lows, 0)) @ half.T
        got = rate(rows, covariates={"length": length}, cluster=cluster)  # type: ignore[arg-type]
        errors = np.sqrt(np.diag(matrix))
        assert [got[str(i)].error for i in range(6)] == pytest.approx(errors[:6].tolist(), abs=1e-6)
        assert got.order is not None
        assert got.order.error == pytest.approx(errors[6], abs=1e-6)
        assert got.covariates[0].error == pytest.approx(errors[7], abs=1e-6)
    assert got.critical == pytest.approx(t_quantile(0.975, 8))
    between = got.difference("3", "5")
    row = np.zeros(8)
    row[3], row[5] = 1, -1
    assert between.error == pytest.approx(math.sqrt(row @ matrix @ row), abs=1e-6)


@pytest.mark.parametrize("oracle", DAVIDSON["plain"])
def test_davidson(oracle: str) -> None:
    got = rate(comparisons(DAVIDSON["data"]), order=False)
    assert values(got) == pytest.approx(DAVIDSON["plain"][oracle][:6], abs=1e-6)
    assert got.ties[0].value == pytest.approx(DAVIDSON["plain"][oracle][6], abs=1e-6)


@pytest.mark.parametrize("oracle", DAVIDSON["order"])
def test_davidson_with_order(oracle: str) -> None:
    got = rate(comparisons(DAVIDSON["data"]))
    expected = DAVIDSON["order"][oracle]
    assert got.order is not None
    assert values(got) == pytest.approx(expected[:6], abs=1e-6)
    assert got.order.value == pytest.approx(expected[6], abs=1e-6)
    assert got.ties[0].value == pytest.approx(expected[7], abs=1e-6)


def ranking(options: list[int], ranks: list[int], number: int) -> Ranking:
    texts = tuple(Completion("x", str(o)) for o in options)
    return Ranking(prompt(number), texts, tuple(ranks), rater=f"r{number % 5}")


@pytest.mark.parametrize("oracle", LUCE["plain"])
def test_plackett_luce(oracle: str) -> None:
    rows = [ranking(order, [0, 1, 2, 3], i) for i, order in enumerate(LUCE["strict"])]
    got = rate(rows, order=False)
    assert values(got) == pytest.approx(LUCE["plain"][oracle], abs=1e-6)


@pytest.mark.parametrize("oracle", LUCE["ties"])
def test_davidson_luce(oracle: str) -> None:
    rows = [ranking(row["options"], row["ranks"], i) for i, row in enumerate(LUCE["tied"])]
    got = rate(rows, order=False)
    expected = LUCE["ties"][oracle]
    assert values(got) == pytest.approx(expected[:6], abs=1e-6)
    assert [t.value for t in got.ties] == pytest.approx(expected[6:], abs=1e-6)
    assert [t.name for t in got.ties] == [f"tie of {size}" for size in LUCE["sizes"]]


def test_two_options_by_hand() -> None:
    """30 wins to 10: log odds log 3, error sqrt(1/30 + 1/10), whatever else."""
    rows = [duel("x", "y", "a" if i < 30 else "b", number=i) for i in range(40)]
    got = rate(rows, order=False, cluster="none")
    gap = got.difference("x", "y")
    assert gap.value == pytest.approx(math.log(3))
    assert gap.error == pytest.approx(math.sqrt(1 / 30 + 1 / 10))
    assert gap.low == pytest.approx(math.log(3) - 1.959964 * gap.error, abs=1e-5)
    assert got.win_probability("x", "y") == pytest.approx(0.75)
    best, worst = got.elo()
    assert best.value - worst.value == pytest.approx(400 * math.log10(3))
    assert (best.value + worst.value) / 2 == pytest.approx(1000)
    assert pytest.approx(173.718, abs=1e-3) == ELO
    tied = rate([*rows, *[duel("x", "y", "both_bad", number=i) for i in range(20)]], order=False)
    assert tied.ties[0].value == pytest.approx(math.log(20 / math.sqrt(300)))


def test_swapping_sides_changes_only_the_order_effect() -> None:
    rows = comparisons(DAVIDSON["data"])
    one, two = rate(rows), rate([row.swap() for row in rows])
    assert one.order is not None
    assert two.order is not None
    assert values(two) == pytest.approx(values(one), abs=1e-8)
    assert two.order.value == pytest.approx(-one.order.value, abs=1e-8)


def test_weights_are_repetitions() -> None:
    rows = comparisons(DAVIDSON["data"])[:200]
    weights = [1 + i % 3 for i in range(200)]
    repeated = [row for row, times in zip(rows, weights, strict=True) for _ in range(times)]
    one, two = rate(rows, weights=weights, prior=0.1), rate(repeated, prior=0.1)
    assert values(one) == pytest.approx(values(two), abs=1e-8)
    with pytest.raises(DataError, match="weights"):
        rate(rows, weights=[1.0])


def test_disconnected_options_are_named() -> None:
    rows = [duel("x", "y"), duel("y", "x"), duel("u", "v"), duel("v", "u")]
    with pytest.raises(DataError, match=r"disconnected.*\{x, y\}, \{u, v\}.*prior=0.1"):
        rate(rows)
    assert len(rate(rows, prior=0.1, order=False).ratings) == 4


def test_separated_options_are_named() -> None:
    rows = [duel("best", "x"), duel("x", "y"), duel("y", "x"), duel("best", "y")]
    with pytest.raises(DataError, match=r"separated.*\{best\}, \{x, y\}"):
        rate(rows)
    held = rate(rows, prior=0.1, order=False)
    assert held.ratings[0].name == "best"
    assert math.isfinite(held.ratings[0].value)


def test_effects_that_cannot_be_told_apart_are_refused() -> None:
    same_side = [duel("x", "y", "a" if i % 3 else "b", number=i) for i in range(30)]
    with pytest.raises(DataError, match="tell all effects apart"):
        rate(same_side)  # x was always shown first
    leftist = [
        duel(*(("x", "y") if i % 2 else ("y", "x")), choice="a", number=i) for i in range(30)
    ]
    with pytest.raises(DataError, match="runs away"):
        rate(leftist)
    assert rate(leftist, prior=0.1).order is not None


def test_one_option_or_one_model_on_both_sides() -> None:
    with pytest.raises(DataError, match="compare 0 different options"):
        rate([duel("x", "x")])
    rows = [duel("x", "y"), duel("y", "x"), duel("x", "x")]
    got = rate(rows, order=False)
    assert (got.num_verdicts, got.num_skipped) == (2, 1)
    with pytest.raises(KeyError, match="'z' has no rating"):
        got["z"]


def simulated(seed: int, num_prompts: int = 60) -> list[Comparison]:
    """Prompts where one side happens to be easier, and raters with their own taste."""
    rng = np.random.default_rng(seed)
    prompt_effect, rater_effect = rng.normal(0, 0.7, num_prompts), rng.normal(0, 0.4, 20)
    rows = []
    for i in range(num_prompts):
        for _ in range(6):
            r, first = int(rng.integers(20)), bool(rng.random() < 0.5)
            gap = 0.5 + prompt_effect[i] + rater_effect[r] + (0.3 if first else -0.3)
            won = bool(rng.random() < 1 / (1 + math.exp(-gap)))
            row = duel("x", "y", "a" if won else "b", f"r{r}", i)
            rows.append(row if first else row.swap())
    return rows


@pytest.mark.parametrize(("interval", "runs"), [("sandwich", 100), ("bootstrap", 25)])
def test_intervals_cover_under_clustering(interval: Any, runs: int) -> None:
    marginal = np.mean(
        [rate(simulated(s, 400)).difference("x", "y").value for s in range(900, 908)]
    )
    inside, naive = 0, 0
    for seed in range(runs):
        rows = simulated(seed)
        gap = rate(rows, interval=interval, num_resamples=50).difference("x", "y")
        inside += gap.low <= marginal <= gap.high
        plain = rate(rows, cluster="none").difference("x", "y")
        naive += plain.low <= marginal <= plain.high
    assert inside / runs >= 0.88
    assert naive < inside


def test_length_is_taken_out() -> None:
    """A policy that is only longer, before raters who like length, is no better."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(1500):
        words = {"long": int(rng.integers(20, 90)), "short": int(rng.integers(10, 40))}
        a, b = ("long", "short") if rng.random() < 0.5 else ("short", "long")
        left, right = (Completion("w " * words[m], m) for m in (a, b))
        gap = 0.8 * (log_words(left) - log_words(right))
        choice: Choice = "a" if rng.random() < 1 / (1 + math.exp(-gap)) else "b"
        rows.append(Comparison(prompt(i), left, right, choice, rater=f"r{i % 10}"))
    assert rate(rows).difference("long", "short").low > 0.4
    fair = rate(rows, covariates={"length": log_words})
    gap = fair.difference("long", "short")
    assert gap.low < 0 < gap.high
    assert fair.covariates[0].low < 0.8 < fair.covariates[0].high
