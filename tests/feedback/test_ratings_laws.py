"""What ratings must not depend on, what they are in closed form, and what is refused and how."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from accord.errors import DataError
from accord.feedback.choice_model import build_stages, groups_of_options
from accord.feedback.ratings import ELO, Ratings, rate
from accord.feedback.votes import log_words
from accord.types import Choice, Comparison, Completion, Message, Prompt, Ranking


def prompt(number: int) -> Prompt:
    return Prompt(f"p{number}", (Message("user", "Which?"),))


def duel(
    a: str, b: str, choice: Choice = "a", rater: str = "r", number: int = 0, words: str = "1 1"
) -> Comparison:
    left, right = (Completion("w " * int(n), m) for n, m in zip(words.split(), (a, b), strict=True))
    return Comparison(prompt(number), left, right, choice, rater=rater)


def season(seed: int, num: int = 240, models: str = "wxyz", ties: float = 0.2) -> list[Comparison]:
    """Verdicts of six raters on forty prompts; later letters are better."""
    rng = np.random.default_rng(seed)
    rows = []
    for n in range(num):
        i, j = rng.choice(len(models), 2, replace=False)
        lengths = rng.integers(2, 30, 2)
        gap = 0.5 * (i - j) + 0.3 + 0.2 * (np.log2(1 + lengths[0]) - np.log2(1 + lengths[1]))
        won: Choice = "a" if rng.random() < 1 / (1 + math.exp(-gap)) else "b"
        choice: Choice = "tie" if rng.random() < ties else won
        words = f"{lengths[0]} {lengths[1]}"
        rows.append(duel(models[i], models[j], choice, f"r{n % 6}", n % 40, words))
    return rows


ROWS = season(0)


def alike(one: Ratings, two: Ratings, names: dict[str, str] | None = None) -> None:
    """Equal values and errors, option by option."""
    assert len(one.ratings) == len(two.ratings)
    for rating in one.ratings:
        other = two[(names or {}).get(rating.name, rating.name)]
        assert other.value == pytest.approx(rating.value, abs=1e-7)
        assert other.error == pytest.approx(rating.error, abs=1e-7)
        assert (other.low, other.high) == pytest.approx((rating.low, rating.high), abs=1e-6)


@pytest.fixture(scope="module")
def fitted() -> Ratings:
    return rate(ROWS)


def test_ratings_sum_to_zero_and_stand_best_first(fitted: Ratings) -> None:
    values = [r.value for r in fitted.ratings]
    assert sum(values) == pytest.approx(0.0, abs=1e-9)
    assert values == sorted(values, reverse=True)
    assert fitted.covariance.sum() == pytest.approx(0.0, abs=1e-9)  # the sum has no error
    assert [r.error**2 for r in fitted.ratings] == pytest.approx(np.diag(fitted.covariance))


def test_renaming_options_changes_nothing_else(fitted: Ratings) -> None:
    names = dict(zip("wxyz", ("one", "two", "a", "0"), strict=True))
    renamed = rate(ROWS, key=lambda completion: names[completion.model])
    alike(fitted, renamed, names)
    assert renamed.log_likelihood == pytest.approx(fitted.log_likelihood)


def test_renaming_raters_and_prompts_changes_nothing(fitted: Ratings) -> None:
    other = [
        Comparison(
            Prompt(f"z{row.prompt.id[::-1]}q", row.prompt.messages), row.a, row.b, row.choice,
            rater=f"person {9 - int(row.rater[1:])}",
        )
        for row in ROWS
    ]  # fmt: skip
    alike(fitted, rate(other))


def test_the_order_of_verdicts_does_not_matter(fitted: Ratings) -> None:
    alike(fitted, rate([ROWS[i] for i in np.random.default_rng(1).permutation(len(ROWS))]))


def test_a_pair_is_a_ranking_of_two(fitted: Ratings) -> None:
    ranks = {"a": (0, 1), "b": (1, 0), "tie": (0, 0)}
    rankings = [
        Ranking(row.prompt, (row.a, row.b), ranks[row.choice], rater=row.rater) for row in ROWS
    ]
    alike(fitted, rate(rankings))


def test_both_bad_counts_as_a_tie(fitted: Ratings) -> None:
    rows = [
        duel(r.a.model, r.b.model, "both_bad", r.rater, int(r.prompt.id[1:]))
        if r.choice == "tie"
        else r
        for r in ROWS
    ]
    alike(fitted, rate(rows))


@pytest.mark.parametrize("cluster", ["none", "rater", "prompt", "both"])
def test_a_verdict_split_into_weights_is_one_verdict(cluster: Any) -> None:
    whole = rate(ROWS, cluster=cluster)
    twice = [row for row in ROWS for _ in range(2)]
    alike(whole, rate(twice, weights=[0.25, 0.75] * len(ROWS), cluster=cluster))


def test_verdicts_of_no_weight_are_not_there() -> None:
    strangers = [duel("z", "w", "b", "r0", 0)] * 30
    weights = [1.0] * len(ROWS) + [0.0] * 30
    alike(rate(ROWS), rate([*ROWS, *strangers], weights=weights))


def test_common_weight_leaves_values_and_sandwich_and_scales_the_plain_error() -> None:
    one, four = rate(ROWS), rate(ROWS, weights=[4.0] * len(ROWS))
    alike(one, four)
    plain = rate(ROWS, cluster="none")
    scaled = rate(ROWS, cluster="none", weights=[4.0] * len(ROWS))
    for rating in plain.ratings:
        assert scaled[rating.name].error == pytest.approx(rating.error / 2)
    assert scaled.log_likelihood == pytest.approx(4 * plain.log_likelihood)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("unit", [0.1, 7.0, 1e3])
def test_the_unit_of_a_feature_changes_no_two_way_clustered_error(seed: int, unit: float) -> None:
    rows = season(seed, num=60)  # so few that the raw two-way covariance is not positive

    def fit(unit: float) -> Ratings:
        return rate(rows, covariates={"length": lambda c: unit * log_words(c)}, cluster="both")

    plain, other = fit(1.0), fit(unit)
    for rating in plain.ratings:
        assert other[rating.name].error == pytest.approx(rating.error, rel=1e-6)
    assert other.covariates[0].error * unit == pytest.approx(plain.covariates[0].error, rel=1e-6)


def test_a_constant_added_to_a_feature_changes_nothing_and_a_unit_only_its_number() -> None:
    def feature(shift: float, unit: float) -> Callable[[Completion], float]:
        return lambda completion: shift + unit * log_words(completion)

    def fit(shift: float, unit: float) -> Ratings:
        return rate(ROWS, covariates={"length": feature(shift, unit)}, cluster="rater")

    plain, moved, tenfold = fit(0.0, 1.0), fit(100.0, 1.0), fit(0.0, 10.0)
    alike(plain, moved)
    assert moved.covariates[0].value == pytest.approx(plain.covariates[0].value, abs=1e-6)
    alike(plain, tenfold)
    assert tenfold.covariates[0].value == pytest.approx(plain.covariates[0].value / 10, abs=1e-7)


@pytest.mark.parametrize("unit", [1e-9, 1e-3, 1e6])
@pytest.mark.parametrize(
    "more", [{}, {"interval": "bootstrap", "num_resamples": 20}, {"prior": 0.1}], ids=str
)
def test_a_feature_in_whatever_unit_can_be_fitted(unit: float, more: dict[str, object]) -> None:
    def fit(unit: float) -> Ratings:
        return rate(ROWS, covariates={"length": lambda c: unit * log_words(c)}, **more)  # type: ignore[arg-type]

    plain, other = fit(1.0), fit(unit)
    alike(plain, other)
    one, two = plain.covariates[0], other.covariates[0]
    for name in ("value", "error", "low", "high"):
        assert getattr(two, name) * unit == pytest.approx(getattr(one, name), rel=1e-6)


def test_a_feature_that_never_differs_is_refused_in_whatever_unit() -> None:
    for constant in (0.0, 1e-9, 5.0):
        with pytest.raises(DataError, match="a feature never differs"):
            rate(ROWS, covariates={"same": lambda c, constant=constant: constant})  # type: ignore[misc]


def test_turning_all_outcomes_round_turns_the_ratings_round() -> None:
    other: dict[Choice, Choice] = {"a": "b", "b": "a", "tie": "tie"}
    turned = [Comparison(r.prompt, r.a, r.b, other[r.choice], rater=r.rater) for r in ROWS]
    one, two = rate(ROWS), rate(turned)
    for rating in one.ratings:
        assert two[rating.name].value == pytest.approx(-rating.value, abs=1e-7)
        assert two[rating.name].error == pytest.approx(rating.error, abs=1e-7)
    assert two.ties[0].value == pytest.approx(one.ties[0].value, abs=1e-7)


def test_differences_are_antisymmetric_and_add_up(fitted: Ratings) -> None:
    there, back = fitted.difference("w", "z"), fitted.difference("z", "w")
    assert back.value == -there.value
    assert back.error == pytest.approx(there.error)
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))
    through = fitted.difference("w", "x").value + fitted.difference("x", "z").value
    assert through == pytest.approx(there.value)
    self = fitted.difference("x", "x")
    assert (self.value, self.error) == (0.0, 0.0)
    odds = fitted.win_probability("w", "z") + fitted.win_probability("z", "w")
    assert odds == pytest.approx(1.0)


def test_elo_is_the_same_on_another_scale(fitted: Ratings) -> None:
    for rating, elo in zip(fitted.ratings, fitted.elo(1500.0), strict=True):
        assert elo.name == rating.name
        assert (elo.value - 1500.0) / ELO == pytest.approx(rating.value)
        assert (elo.high - elo.low) / ELO == pytest.approx(rating.high - rating.low)
    gap = fitted.elo()[0].value - fitted.elo()[-1].value
    best, worst = fitted.ratings[0].name, fitted.ratings[-1].name
    assert fitted.win_probability(best, worst) == pytest.approx(1 / (1 + 10 ** (-gap / 400)))


def test_a_circle_of_wins_rates_all_alike() -> None:
    rows = [duel(a, b, number=n) for n in range(4) for a, b in ("xy", "yz", "zx")]
    got = rate(rows, order=False)
    assert [r.value for r in got.ratings] == pytest.approx([0.0] * 3, abs=1e-9)
    assert got.log_likelihood == pytest.approx(12 * math.log(0.5))


def test_a_chain_of_duels_adds_its_log_odds() -> None:
    """x beats y 3 to 1, y beats z 2 to 1: a tree has the closed form, and the odds multiply."""
    rows = [duel("x", "y", "a" if n < 6 else "b", number=n) for n in range(8)]
    rows += [duel("y", "z", "a" if n < 4 else "b", number=n) for n in range(6)]
    got = rate(rows, order=False, cluster="none")
    assert got.difference("x", "y").value == pytest.approx(math.log(3))
    assert got.difference("y", "z").value == pytest.approx(math.log(2))
    assert got.win_probability("x", "z") == pytest.approx(6 / 7)
    assert got.difference("x", "z").error ** 2 == pytest.approx(1 / 6 + 1 / 2 + 1 / 4 + 1 / 2)


def test_nothing_but_the_side_decides() -> None:
    """Left wins 3 of 4 whoever stands there: equal ratings, and the side is worth log 3."""
    rows = [
        duel(*pair, choice="b" if n % 4 == 0 else "a", number=n)  # type: ignore[misc]
        for n in range(8)
        for pair in (("x", "y"), ("y", "x"))
    ]
    got = rate(rows, cluster="none")
    assert got.difference("x", "y").value == pytest.approx(0.0, abs=1e-9)
    assert got.order is not None
    assert got.order.value == pytest.approx(math.log(3))


def test_plackett_luce_of_two_opposite_rankings_is_level() -> None:
    texts = tuple(Completion("t", m) for m in "xyz")
    rows = [Ranking(prompt(0), texts, ranks, rater="r") for ranks in ((0, 1, 2), (2, 1, 0))]
    got = rate(rows, order=False)
    # y is never first nor last: the extremes share the first places and y the second
    assert got["x"].value == pytest.approx(got["z"].value)
    assert got.num_verdicts == 2


def test_a_stronger_prior_draws_closer_and_never_reorders_two() -> None:
    rows = [duel("x", "y", "a" if n < 6 else "b", number=n) for n in range(8)]
    gaps = [rate(rows, order=False, prior=p).difference("x", "y").value for p in (0, 0.1, 1, 10)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] > 0
    assert gaps[0] == pytest.approx(math.log(3))


def test_one_rater_on_one_prompt_has_the_plain_error() -> None:
    """No second cluster in either dimension: nothing to cluster by."""
    rows = [duel("x", "y", "a" if n < 6 else "b") for n in range(8)]
    both, none = rate(rows, order=False), rate(rows, order=False, cluster="none")
    assert both.ratings == none.ratings
    assert both.critical == pytest.approx(1.959964, abs=1e-5)


def test_the_bootstrap_is_the_same_for_a_seed_and_near_the_sandwich() -> None:
    one = rate(ROWS, interval="bootstrap", num_resamples=8, seed=3)
    assert one.ratings == rate(ROWS, interval="bootstrap", num_resamples=8, seed=3).ratings
    sandwich = rate(ROWS, cluster="none")
    plain = rate(ROWS, interval="bootstrap", num_resamples=40, cluster="none")
    for rating in sandwich.ratings:
        assert plain[rating.name].error == pytest.approx(rating.error, rel=0.5)
        assert plain[rating.name].value == rating.value


def test_two_options_and_nothing_else_have_a_bootstrap_too() -> None:
    """One parameter: its covariance is a number, the ratings' a matrix."""
    rows = [duel("x", "y", "a" if n < 6 else "b") for n in range(8)]
    both = rate(rows, order=False, interval="bootstrap", num_resamples=20)
    x, y = both["x"], both["y"]
    assert x.error == pytest.approx(y.error) and x.error > 0
    assert (x.value, x.low, x.high) == pytest.approx((-y.value, -y.high, -y.low))


@pytest.mark.parametrize("bad", [[-1.0], [math.nan], [math.inf], [1.0, 1.0], []])
def test_weights_that_are_none_are_refused(bad: list[float]) -> None:
    with pytest.raises(DataError, match=r"weights must be 1 finite numbers >= 0"):
        rate([duel("x", "y")], weights=bad)


@pytest.mark.parametrize(
    ("rows", "options", "says"),
    [
        ([], {}, r"0 different options.*check `key`"),
        ([duel("", "")], {}, r"0 different options.*model that wrote"),
        ([duel("x", "y")] * 3, {}, r"separated.*\{x\}, \{y\}.*prior=0\.1"),
        ([duel("x", "y", "tie")] * 3, {"order": False}, r"runs away.*all ties.*prior=0\.1"),
        (
            [duel("x", "y"), duel("y", "x"), duel("u", "v"), duel("v", "u")],
            {"order": False},
            r"disconnected.*Collect verdicts between the sets",
        ),
        (
            [duel("x", "y"), duel("y", "x")],
            {"order": False, "covariates": {"length": log_words}},
            r"tell all effects apart.*leave one effect out.*prior=0\.1",
        ),
    ],
)
def test_what_cannot_be_rated_says_why_and_what_to_do(
    rows: list[Comparison], options: dict[str, Any], says: str
) -> None:
    with pytest.raises(DataError, match=says):
        rate(rows, **options)
    if rows and rows[0].a.model:
        held = rate(rows, prior=0.1, **options)
        assert all(math.isfinite(r.value) and math.isfinite(r.error) for r in held.ratings)


def test_an_unknown_option_is_answered_with_the_known_ones(fitted: Ratings) -> None:
    for call in (lambda: fitted["q"], lambda: fitted.difference("w", "q")):
        with pytest.raises(KeyError, match=r"'q' has no rating; rated are \["):
            call()


def test_sets_do_not_depend_on_the_order_of_the_verdicts() -> None:
    option = np.array([[0, 1], [1, 0], [1, 2], [2, 3], [3, 2]])
    chosen = np.tile([True, False], (5, 1))
    expected = [[0, 1], [2, 3]]
    for order in ([0, 1, 2, 3, 4], [4, 2, 0, 3, 1]):
        stages = build_stages(option[order], np.zeros((5, 2, 0)), chosen, np.arange(5))
        assert groups_of_options([stages], 4) == expected
    assert groups_of_options([], 2) == [[0], [1]]
