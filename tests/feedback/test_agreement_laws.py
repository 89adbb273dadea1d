"""What agreement must not depend on: names of raters and options, sides, order, repetition."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from accord.feedback.agreement import (
    AgreementReport,
    agreement_report,
    cohen_kappa,
    count_table,
    fleiss_kappa,
    gwet_ac1,
    krippendorff_alpha,
    raw_agreement,
    single_label_accuracy,
)
from accord.feedback.resampling import Coefficient
from accord.feedback.votes import encode
from accord.types import Choice, Comparison, Completion, Message, Prompt

CHOICES: tuple[Choice, ...] = ("a", "b", "tie", "both_bad")
NOMINAL = [raw_agreement, fleiss_kappa, gwet_ac1, krippendorff_alpha]


def counts(seed: int, num_items: int = 40, num_categories: int = 3) -> np.ndarray:
    """Items with zero to five verdicts each."""
    return np.random.default_rng(seed).integers(0, 3, (num_items, num_categories))


def value(found: Coefficient) -> float:
    assert found.value is not None, found.reason
    return found.value


@pytest.mark.parametrize("function", NOMINAL)
@pytest.mark.parametrize("seed", range(3))
def test_names_of_categories_do_not_matter(function: Callable[..., Any], seed: int) -> None:
    table = counts(seed)
    plain = value(function(table, num_resamples=0))
    for order in ([1, 2, 0], [2, 1, 0], [0, 2, 1]):
        assert value(function(table[:, order], num_resamples=0)) == pytest.approx(plain, abs=1e-12)


@pytest.mark.parametrize("function", NOMINAL)
def test_the_order_of_items_does_not_matter_to_value_or_interval(
    function: Callable[..., Any],
) -> None:
    table = counts(4)
    shuffled = table[np.random.default_rng(0).permutation(len(table))]
    assert function(shuffled, num_resamples=60) == function(table, num_resamples=60)


@pytest.mark.parametrize("function", NOMINAL)
def test_items_nobody_judged_say_nothing(function: Callable[..., Any]) -> None:
    table = counts(5)
    padded = np.concatenate([table, np.zeros((7, 3), dtype=int)])
    assert function(padded, num_resamples=50) == function(table, num_resamples=50)


@pytest.mark.parametrize("function", [raw_agreement, fleiss_kappa, gwet_ac1])
def test_seeing_every_item_twice_keeps_the_value_and_narrows_the_interval(
    function: Callable[..., Any],
) -> None:
    table = counts(6, 60)
    one = function(table, num_resamples=400)
    four = function(np.repeat(table, 4, axis=0), num_resamples=400)
    assert four.value == pytest.approx(value(one), abs=1e-12)
    width = (one.interval[1] - one.interval[0], four.interval[1] - four.interval[0])
    assert width[1] == pytest.approx(width[0] / 2, rel=0.25)


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_reading_the_scale_backwards_changes_no_alpha(level: Any) -> None:
    table = counts(7)
    plain = value(krippendorff_alpha(table, level, num_resamples=0))
    turned = value(krippendorff_alpha(table[:, ::-1], level, num_resamples=0))
    assert turned == pytest.approx(plain, abs=1e-12)


@pytest.mark.parametrize(("shift", "scale"), [(5.0, 1.0), (-3.0, 10.0), (0.0, -2.0)])
def test_the_interval_alpha_knows_no_unit_and_no_zero(shift: float, scale: float) -> None:
    table, values = counts(8), np.array([0.0, 1.0, 4.0])
    plain = value(krippendorff_alpha(table, "interval", values, num_resamples=0))
    moved = value(krippendorff_alpha(table, "interval", shift + scale * values, num_resamples=0))
    assert moved == pytest.approx(plain, abs=1e-9)


def test_with_two_categories_all_levels_are_one() -> None:
    table = counts(9, 50, 2)
    alphas = [
        value(krippendorff_alpha(table, level, num_resamples=0))  # type: ignore[arg-type]
        for level in ("nominal", "ordinal", "interval")
    ]
    assert alphas == pytest.approx([alphas[0]] * 3, abs=1e-12)


def test_a_category_nobody_chose_matters_to_ac1_alone() -> None:
    table = counts(10)
    wide = np.concatenate([table, np.zeros((len(table), 1), dtype=int)], axis=1)
    for function in (fleiss_kappa, krippendorff_alpha, raw_agreement):
        one, two = function(table, num_resamples=0), function(wide, num_resamples=0)
        assert value(two) == pytest.approx(value(one), abs=1e-12)
    # more categories to choose from: agreement by chance is rarer
    ac1 = [value(gwet_ac1(t, num_resamples=0)) for t in (table, wide)]
    assert ac1[1] > ac1[0]


def test_two_raters_and_even_shares_have_one_kappa_by_hand() -> None:
    """Half of each category, 3 of 4 pairs agree: (3/4 - 1/2) / (1/2) is 1/2 for all."""
    table = [[2, 0]] * 3 + [[0, 2]] * 3 + [[1, 1]] * 2
    assert value(raw_agreement(table)) == 0.75
    assert value(fleiss_kappa(table)) == pytest.approx(0.5)
    assert value(gwet_ac1(table)) == pytest.approx(0.5)
    # alpha pays back one verdict: 1 - (n - 1) / n * (1 - kappa) with n = 16 verdicts
    assert value(krippendorff_alpha(table)) == pytest.approx(1 - 15 / 16 * 0.5)
    first, second = [0] * 4 + [1] * 4, [0, 0, 0, 1, 0, 1, 1, 1]
    assert value(cohen_kappa(first, second)) == pytest.approx(0.5)


def test_raters_who_never_agree_are_below_chance() -> None:
    table = [[1, 1]] * 10
    assert value(raw_agreement(table)) == 0.0
    assert value(fleiss_kappa(table)) == pytest.approx(-1.0)
    assert value(krippendorff_alpha(table)) == pytest.approx(1 - 19 / 20 * 2)


def test_one_common_category_is_where_kappa_and_ac1_part() -> None:
    """The paradox that AC1 is for: 19 of 20 pairs agree, and kappa is negative."""
    table = [[2, 0]] * 19 + [[1, 1]]
    assert value(fleiss_kappa(table, num_resamples=0)) < 0
    assert value(gwet_ac1(table, num_resamples=0)) > 0.9


@pytest.mark.parametrize("weighting", ["none", "linear", "quadratic"])
def test_cohens_kappa_is_symmetric_in_raters_and_in_direction(weighting: Any) -> None:
    rng = np.random.default_rng(2)
    x, y = rng.integers(0, 4, (2, 80))
    plain = value(cohen_kappa(x, y, weighting, 4, num_resamples=0))
    assert value(cohen_kappa(y, x, weighting, 4, num_resamples=0)) == pytest.approx(plain)
    assert value(cohen_kappa(3 - x, 3 - y, weighting, 4, num_resamples=0)) == pytest.approx(plain)
    assert value(cohen_kappa(x, x, weighting, 4, num_resamples=0)) == 1.0


def test_near_misses_cost_less_the_more_they_are_weighed() -> None:
    x = np.tile(np.arange(5), 20)
    near = np.clip(x + np.tile([1, 0, 0, -1, 0, 0], 17)[:100], 0, 4)
    kappas = [
        value(cohen_kappa(x, near, weighting, 5, num_resamples=0))  # type: ignore[arg-type]
        for weighting in ("none", "linear", "quadratic")
    ]
    assert kappas == sorted(kappas)
    assert kappas[0] < kappas[2] < 1.0


def test_a_rater_who_always_says_the_same_has_kappa_zero() -> None:
    assert value(cohen_kappa([0] * 10, [0, 1] * 5)) == pytest.approx(0.0, abs=1e-12)


def test_no_items_at_all_is_undefined_and_says_so() -> None:
    empty = cohen_kappa([], [], num_categories=2)
    assert (empty.value, empty.num_items) == (None, 0)
    table = count_table([], [], 2)
    assert table.shape == (0, 2)
    for function in NOMINAL:
        assert function(table).reason == "no item was judged by two raters"


def test_the_accuracy_behind_an_agreement_by_hand() -> None:
    for accuracy in (0.5, 0.6, 0.836, 0.9, 1.0):
        agreement = accuracy**2 + (1 - accuracy) ** 2
        assert single_label_accuracy(agreement) == pytest.approx(accuracy)
    with pytest.raises(ValueError, match=r"1\.2 is no pair"):
        single_label_accuracy(1.2)


def verdicts(seed: int, num_items: int = 25, num_raters: int = 4) -> list[Comparison]:
    """Every rater judges every item."""
    rng = np.random.default_rng(seed)
    rows = []
    for n in range(num_items):
        prompt = Prompt(f"p{n}", (Message("user", "Which?"),))
        leaning = rng.dirichlet([1.0] * 4)
        for r in range(num_raters):
            choice = CHOICES[rng.choice(4, p=leaning)]
            strength = float(rng.integers(1, 5)) / 4 if choice in ("a", "b") else 0.0
            rows.append(
                Comparison(
                    prompt, Completion("x"), Completion("y"), choice, strength, rater=f"r{r}"
                )
            )
    return rows


def same(one: AgreementReport, two: AgreementReport) -> None:
    for x, y in zip(one.all(), two.all(), strict=True):
        assert value(x) == pytest.approx(value(y), abs=1e-12), x.name
        assert (x.num_items, x.num_verdicts) == (y.num_items, y.num_verdicts)


@pytest.fixture(scope="module")
def rows() -> list[Comparison]:
    return verdicts(0)


@pytest.fixture(scope="module")
def report(rows: list[Comparison]) -> AgreementReport:
    return agreement_report(encode(rows), num_resamples=0)


def test_turning_sides_round_changes_no_agreement(
    rows: list[Comparison], report: AgreementReport
) -> None:
    """The first verdict on an item says which completion is its first; all others may be turned."""
    some = [row.swap() if n % 4 in (1, 3) else row for n, row in enumerate(rows)]
    same(report, agreement_report(encode(some), num_resamples=0))
    every = [row.swap() for row in rows]
    same(report, agreement_report(encode(every), num_resamples=0))


def test_raw_agreement_does_not_ask_which_completion_is_the_first(
    rows: list[Comparison], report: AgreementReport
) -> None:
    some = [row.swap() if n % 3 == 0 else row for n, row in enumerate(rows)]
    turned = agreement_report(encode(some), num_resamples=0)
    assert value(turned.raw) == pytest.approx(value(report.raw))
    assert value(turned.raw_without_ties) == pytest.approx(value(report.raw_without_ties))


@pytest.mark.parametrize("seed", range(8))
def test_which_completion_came_first_changes_no_agreement(seed: int) -> None:
    """Every third item is turned as a whole, its first verdict too."""
    rows = verdicts(seed)
    turned = [row.swap() if int(row.prompt.id[1:]) % 3 == 0 else row for row in rows]
    one, two = encode(rows), encode(turned)
    assert len(set(one.items) - set(two.items)) > 3
    report, other = agreement_report(one, num_resamples=0), agreement_report(two, num_resamples=0)
    same(report, other)


def test_chance_pools_the_sides_by_hand() -> None:
    """Shares 3/4 and 1/4 by one naming and the reverse by the other: chance agrees in one half."""
    table = [[2, 0], [2, 0], [1, 1], [1, 1]]
    assert value(fleiss_kappa(table)) == pytest.approx((1 / 2 - 5 / 8) / (1 - 5 / 8))
    assert value(fleiss_kappa(table, (1, 0))) == pytest.approx(0.0)
    assert value(gwet_ac1(table, (1, 0))) == pytest.approx(0.0)
    alpha = krippendorff_alpha(table, mirror=(1, 0))  # 1 - 4 * 7 / (2 * 4 * 4)
    assert value(alpha) == pytest.approx(1 - 4 * 7 / 32)
    assert value(fleiss_kappa([[2, 0]] * 3, (1, 0))) == 1.0


def test_renaming_raters_changes_no_agreement(
    rows: list[Comparison], report: AgreementReport
) -> None:
    names = {"r0": "zoe", "r1": "ada", "r2": "r9", "r3": "b"}
    other = [
        Comparison(r.prompt, r.a, r.b, r.choice, r.strength, rater=names[r.rater]) for r in rows
    ]
    same(report, agreement_report(encode(other), num_resamples=0))


def test_the_order_in_which_verdicts_came_changes_no_agreement(
    rows: list[Comparison], report: AgreementReport
) -> None:
    shuffled = [rows[i] for i in np.random.default_rng(1).permutation(len(rows))]
    same(report, agreement_report(encode(shuffled), num_resamples=0))


def test_saying_it_again_is_not_agreeing(rows: list[Comparison], report: AgreementReport) -> None:
    same(report, agreement_report(encode([*rows, *rows[::2]]), num_resamples=0))


def test_leaving_strength_out_hides_only_the_interval_alpha(
    rows: list[Comparison], report: AgreementReport
) -> None:
    plain = [Comparison(r.prompt, r.a, r.b, r.choice, rater=r.rater) for r in rows]
    silent = agreement_report(encode(plain), num_resamples=0)
    assert silent.alpha_interval.value is None
    assert silent.alpha_ordinal == report.alpha_ordinal
    assert silent.raw == report.raw


def test_unanimous_raters_agree_fully_whatever_is_measured() -> None:
    rows = [
        Comparison(
            Prompt(f"p{n}", (Message("user", "Which?"),)), Completion("x"), Completion("y"),
            CHOICES[n % 2], 0.5, rater=f"r{r}",
        )
        for n in range(6) for r in range(3)
    ]  # fmt: skip
    report = agreement_report(encode(rows), num_resamples=30)
    assert [c.value for c in report.all()] == [1.0] * 7


def test_nothing_but_ties_leaves_nothing_to_agree_on() -> None:
    rows = [
        Comparison(
            Prompt(f"p{n}", (Message("user", "Which?"),)), Completion("x"), Completion("y"),
            "tie", 0.0, rater=f"r{r}",
        )
        for n in range(5) for r in range(2)
    ]  # fmt: skip
    report = agreement_report(encode(rows), num_resamples=20)
    assert report.raw.value == 1.0
    assert report.raw_without_ties.reason == "no item was judged by two raters"
    for found in (report.fleiss_kappa, report.alpha_nominal, report.alpha_interval):
        assert found.value is None
        assert "same category" in found.reason


@pytest.mark.parametrize("raters", [1, 5])
def test_raters_who_share_no_item_have_no_agreement(raters: int) -> None:
    rows = [
        Comparison(
            Prompt(f"p{n}", (Message("user", "Which?"),)), Completion("x"), Completion("y"),
            "a", 0.5, rater=f"r{n % raters}",
        )
        for n in range(10)
    ]  # fmt: skip
    for found in agreement_report(encode(rows)).all():
        assert (found.value, found.interval, found.num_items) == (None, None, 0)
        assert found.reason == "no item was judged by two raters"


def test_every_undefined_figure_has_a_reason_and_every_interval_holds_its_value() -> None:
    for seed in range(5):
        for found in agreement_report(encode(verdicts(seed, 8)), num_resamples=60).all():
            assert (found.value is None) <= bool(found.reason)
            if found.interval is not None:
                low, high = found.interval
                assert math.isfinite(low)
                assert low <= value(found) + 0.15
                assert high >= value(found) - 0.15
