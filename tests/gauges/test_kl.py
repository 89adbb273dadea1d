"""KL readings: against the exact KL of a small categorical, targets, and the impossible sign."""

from __future__ import annotations

import math

import numpy as np
import pytest

from accord.gauges import kl


def test_estimate_covers_the_exact_kl_of_a_categorical() -> None:
    rng = np.random.default_rng(0)
    policy, reference = np.array([0.7, 0.2, 0.1]), np.array([0.2, 0.3, 0.5])
    exact = float((policy * np.log(policy / reference)).sum())
    tokens = rng.choice(3, p=policy, size=(400, 2, 5))
    sums = np.log(policy / reference)[tokens].sum(axis=2)
    sequence, token = kl.read(sums.tolist(), num_tokens=[[5, 5]] * 400)
    low, high = sequence.interval or (0, 0)
    assert low < 5 * exact < high
    assert sequence.value == pytest.approx(5 * exact, rel=0.05)
    assert token.value == pytest.approx(sequence.value / 5)
    assert token.interval == pytest.approx((low / 5, high / 5), rel=0.02)
    assert sequence.state == token.state == "NOT_APPLICABLE"


def test_target() -> None:
    near = [[5.9 + 0.01 * i] for i in range(20)]
    assert kl.read(near, target=6.0)[0].state == "PASS"
    assert kl.read(near, target=3.0)[0].state == "WARN"
    assert kl.read([[0.0], [12.0]], target=6.0)[0].state == "INCONCLUSIVE"
    assert "target 6 ± 25%" in kl.read(near, target=6.0)[0].detail


def test_negative_kl_fails() -> None:
    (found,) = kl.read([[-1.0], [-1.1], [-0.9]], target=6.0)
    assert found.state == "FAIL" and "cannot be negative" in found.detail
    (noise,) = kl.read([[-1.0], [1.1], [-0.2]])
    assert noise.state == "NOT_APPLICABLE"


def test_refuses_bad_input() -> None:
    for groups in ([], [[]]):
        with pytest.raises(ValueError, match="at least one completion"):
            kl.read(groups)
    with pytest.raises(ValueError, match="token count for each"):
        kl.read([[1.0, 2.0]], num_tokens=[[3]])
    with pytest.raises(ValueError, match="finite"):
        kl.read([[math.nan]])
