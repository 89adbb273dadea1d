import math

import pytest
import torch

from accord.algorithms import first_nonfinite
from accord.algorithms.checks import check_positive, check_range


def test_bug_a_non_finite_number_is_named_not_skipped():
    good, bad = torch.ones(2), torch.tensor([1.0, math.nan])
    assert first_nonfinite(loss=good, ratio=1.0, count=torch.tensor(3)) is None
    assert first_nonfinite(loss=good, score=bad, ratio=math.inf) == "score"
    assert first_nonfinite(loss=good, ratio=-math.inf) == "ratio"
    assert first_nonfinite() is None
    assert first_nonfinite(empty=torch.zeros(0)) is None


def test_ranges():
    check_positive(a=1e-9)
    check_range(0, 1, a=0.0, b=1.0)
    for value in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match=r"a is .* above 0"):
            check_positive(a=value)
    for value in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=r"b is .* \[0, 1\]"):
            check_range(0, 1, a=0.5, b=value)
