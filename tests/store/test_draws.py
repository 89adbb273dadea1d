"""Draws: the same for the same names, fair over many, shares that hold block by block."""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.store import draws
from accord.store.draws import (
    CALIBRATION_BLOCK,
    CHECKS,
    calibrated,
    number,
    permutation,
    role_of_draw,
    shuffle,
    uniform,
)
from tests.store.fill import rules


def test_a_draw_is_its_names_and_nothing_else() -> None:
    assert number(0, "sides", "rater", "item") == number(0, "sides", "rater", "item")
    assert number(7) == number("7")  # names are text, however they come
    apart = [(0, "ab", "c"), (0, "a", "bc"), (0, "abc"), ("0ab", "c"), (1, "ab", "c")]
    assert len({number(*names) for names in apart}) == len(apart)


def test_known_draws_stay_as_they_were() -> None:
    # Recorded: a change would turn the sides of every round under way.
    assert number(0, "a") == int.from_bytes(blake2b(b"0\0a", digest_size=8).digest(), "big")
    assert permutation(4, 0, "x") == tuple(sorted(range(4), key=lambda i: number(0, "x", i)))


@given(st.lists(st.text(max_size=8), max_size=4))
@settings(max_examples=50, deadline=None)
def test_numbers_are_in_range(names: list[str]) -> None:
    assert 0 <= number(*names) < 2**64
    assert 0.0 <= uniform(*names) < 1.0
    assert sorted(permutation(5, *names)) == [0, 1, 2, 3, 4]


def test_uniform_draws_are_uniform() -> None:
    drawn = [uniform("u", i) for i in range(4000)]
    assert sum(drawn) / 4000 == pytest.approx(0.5, abs=0.0137)  # 3 sd of the mean
    tenths = Counter(int(10 * value) for value in drawn)
    assert all(400 - 80 < tenths[i] < 400 + 80 for i in range(10))  # 4 sd


def test_nothing_and_one_have_one_order() -> None:
    assert permutation(0, "x") == ()
    assert permutation(1, "x") == (0,)


def test_all_orders_of_three_come_equally_often() -> None:
    orders = Counter(permutation(3, seed) for seed in range(3000))
    assert len(orders) == 6
    assert all(abs(count - 500) < 85 for count in orders.values())  # 4 sd


def test_a_place_in_the_order_fits_the_column() -> None:
    places = [shuffle(rules(seed=2), f"item{i}") for i in range(500)]
    assert all(0 <= place < 2**31 for place in places)
    assert places != [shuffle(rules(seed=3), f"item{i}") for i in range(500)]


@pytest.mark.parametrize("share", [0.0, 0.05, 0.15, 0.2, 1.0])
def test_the_pool_s_share_holds_in_every_block(share: float) -> None:
    settings_ = rules(calibration_share=share)
    for block in range(10):
        start = block * CALIBRATION_BLOCK
        pool = [calibrated(settings_, "r", start + i) for i in range(CALIBRATION_BLOCK)]
        assert sum(pool) == round(share * CALIBRATION_BLOCK)


def test_a_share_between_two_counts_is_met_by_both() -> None:
    settings_ = rules(calibration_share=0.12)  # 2.4 of 20
    counts = Counter(
        sum(calibrated(settings_, "r", 20 * block + i) for i in range(20)) for block in range(500)
    )
    assert set(counts) == {2, 3}
    assert counts[3] / 500 == pytest.approx(0.4, abs=0.066)  # 3 sd


def test_pools_of_two_rounds_are_not_the_same() -> None:
    settings_ = rules(calibration_share=0.3)
    pools = {
        tuple(i for i in range(60) if calibrated(settings_, name, i)) for name in ("r1", "r2", "r3")
    }
    assert len(pools) == 3


def test_without_shares_every_draw_is_an_ordinary_item() -> None:
    assert {role_of_draw(rules(), "r", "who", i) for i in range(200)} == {"normal"}


@pytest.mark.parametrize("role", CHECKS)
def test_a_share_of_one_leaves_nothing_else(role: str) -> None:
    settings_ = rules(**{f"{role}_share": 1.0})
    assert {role_of_draw(settings_, "r", "who", i) for i in range(100)} == {role}


def test_shares_above_one_together_go_to_the_first() -> None:
    settings_ = rules(gold_share=0.8, attention_share=0.8, batch_size=10)
    drawn = Counter(role_of_draw(settings_, "r", "who", i) for i in range(10))
    assert drawn == {"gold": 8, "attention": 2}


def test_a_batch_of_one_is_drawn_each_time() -> None:
    settings_ = rules(gold_share=0.25, batch_size=1)
    drawn = [role_of_draw(settings_, "r", "who", i) for i in range(2000)]
    assert drawn.count("gold") / 2000 == pytest.approx(0.25, abs=0.029)  # 3 sd


def test_nobody_can_foresee_the_place_of_a_check() -> None:
    settings_ = rules(attention_share=0.02, batch_size=50)
    places = [
        next(i for i in range(50) if role_of_draw(settings_, "r", f"w{n}", i) == "attention")
        for n in range(150)
    ]
    assert len(set(places)) > 35  # of 50; the same place for all would be 1
    assert 24.5 - 4 < sum(places) / 150 < 24.5 + 4  # 3.4 sd: neither early nor late


@given(st.floats(0.0, 1.0), st.integers(1, 60), st.integers(0, 20))
@settings(max_examples=60, deadline=None)
def test_a_rounded_share_is_one_of_its_two_neighbours(share: float, size: int, seed: int) -> None:
    count = draws._rounded(share * size, seed, "x")
    assert abs(count - share * size) < 1 or count == pytest.approx(share * size, abs=1.0)
    assert 0 <= count <= size
