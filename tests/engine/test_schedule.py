"""Learning rates by hand, and an order of data that is a function of the step."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.config import RewardConfig, SFTConfig
from accord.engine.schedule import cycle, decay, learning_rate, shuffled


def test_linear_with_warmup_by_hand() -> None:
    config = RewardConfig(learning_rate=1.0, warmup_fraction=0.2, min_lr_fraction=0.0)
    rates = [learning_rate(config, step, 10) for step in range(10)]
    assert rates == pytest.approx([0.5, 1.0, 1.0, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])


def test_cosine_ends_near_its_floor() -> None:
    config = SFTConfig(learning_rate=2.0, warmup_fraction=0.0, min_lr_fraction=0.1)
    rates = [learning_rate(config, step, 100) for step in range(100)]
    assert rates[0] == 2.0
    assert rates[50] == pytest.approx(2 * (0.1 + 0.9 * 0.5))
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(2 * (0.1 + 0.9 * (1 + math.cos(math.pi * 0.99)) / 2))


def test_constant_and_bounds() -> None:
    config = RewardConfig(learning_rate=0.5, schedule="constant", warmup_fraction=0.5)
    assert [learning_rate(config, step, 4) for step in range(4)] == [0.25, 0.5, 0.5, 0.5]
    assert decay("linear", 1.0, 0.25) == 0.25
    assert decay("cosine", 0.0) == 1.0


@given(st.integers(1, 30), st.integers(0, 99), st.integers(1, 70), st.integers(0, 5))
def test_cycle_is_one_endless_sequence(num_items: int, start: int, count: int, seed: int) -> None:
    endless = cycle(num_items, 0, start + count, seed, "x")
    assert cycle(num_items, start, count, seed, "x") == endless[start:]
    for epoch in range(len(endless) // num_items):
        once = endless[epoch * num_items : (epoch + 1) * num_items]
        assert sorted(once) == list(range(num_items))


def test_orders_depend_on_seed_and_key() -> None:
    orders = {tuple(shuffled(40, seed, key)) for seed in (0, 1) for key in ("a", "b", 1, "1")}
    assert len(orders) == 8
    assert cycle(40, 0, 40, 0, "a") != cycle(40, 40, 40, 0, "a")
