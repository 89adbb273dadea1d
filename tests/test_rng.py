"""Draws depend on the seed and the key, and on nothing else."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.rng import integer_seed, uniform

SEED = st.integers(-(2**70), 2**70)
KEY = st.lists(st.integers() | st.text(st.characters(codec="utf-8"), max_size=8), max_size=4)


def test_integer_seed_is_the_documented_hash() -> None:
    digest = hashlib.blake2b(b"i1:7" + b"s5:rater" + b"i2:-3", digest_size=8).digest()
    assert integer_seed(7, "rater", -3) == int.from_bytes(digest, "little") >> 1


def test_draws_are_recorded() -> None:
    """Any change of these numbers breaks every resumed run and every recorded reference."""
    assert integer_seed(0) == 4774516902939907285
    assert uniform(0, "a") == 0.05353503547878358
    np.testing.assert_array_equal(
        uniform(0, "a", size=3), [0.05353503547878358, 0.4816439086986619, 0.6536598551754008]
    )


def test_a_longer_array_starts_with_the_shorter_one() -> None:
    long = uniform(3, "x", size=64)
    assert uniform(3, "x") == long[0]
    np.testing.assert_array_equal(uniform(3, "x", size=(4, 8)), long[:32].reshape(4, 8))
    assert uniform(3, "x", size=0).shape == (0,)


@pytest.mark.parametrize(
    ("one", "other"),
    [((1, "1"), (1, 1)), ((1, "ab", "c"), (1, "a", "bc")), ((1, 2), (12,)), ((1, "a"), (2, "a"))],
)
def test_different_keys_draw_differently(one: tuple, other: tuple) -> None:
    assert uniform(*one) != uniform(*other)
    assert integer_seed(*one) != integer_seed(*other)


def test_draws_are_uniform_within_and_across_keys() -> None:
    for draws in (
        uniform(5, "within", size=20_000),
        [uniform(5, "across", i) for i in range(5000)],
    ):
        counts, _ = np.histogram(draws, bins=20, range=(0.0, 1.0))
        assert counts.sum() == len(draws)
        expected = len(draws) / 20
        chi_squared = ((counts - expected) ** 2 / expected).sum()
        assert chi_squared < 43.8  # 99.9 % point of chi squared with 19 degrees of freedom


@given(SEED, KEY, st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_any_key_gives_numbers_below_one_whatever_was_drawn_before(seed, key, size) -> None:
    one = uniform(seed, *key, size=size)
    uniform(seed + 1, *key, "another", size=7)
    assert ((one >= 0) & (one < 1)).all()
    np.testing.assert_array_equal(uniform(seed, *key, size=size), one)
    np.testing.assert_array_equal(uniform(seed, *key, size=2 * size)[:size], one)
    assert 0 <= integer_seed(seed, *key) < 2**63
    np.testing.assert_array_equal(one * 2.0**53 % 1, 0)  # 53 bits, none of them rounded


@given(SEED, KEY, SEED, KEY)
@settings(max_examples=60, deadline=None)
def test_keys_collide_only_when_they_are_equal(seed, key, other_seed, other_key) -> None:
    equal = (seed, *key) == (other_seed, *other_key)
    assert (integer_seed(seed, *key) == integer_seed(other_seed, *other_key)) == equal
    assert integer_seed(seed, *key, "") != integer_seed(seed, *key)


@pytest.mark.parametrize("lag", [("prompt", 1), (1, "prompt"), ("prompt-1",)])
def test_neighbouring_keys_are_not_correlated(lag: tuple) -> None:
    here = np.array([uniform(3, "sample", i) for i in range(2000)])
    there = np.array([uniform(3, "sample", i, *lag) for i in range(2000)])
    for other in (there, np.roll(here, 1)):
        assert abs(np.corrcoef(here, other)[0, 1]) < 4 / 2000**0.5
