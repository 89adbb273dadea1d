"""Draws depend on the seed and the key, and on nothing else."""

import hashlib

import numpy as np
import pytest

from accord.rng import integer_seed, uniform


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
