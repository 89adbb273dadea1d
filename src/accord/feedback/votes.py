"""Verdicts as small integer arrays: what every statistic of raters starts from.

One item is one pair of completions of one prompt, whichever side each was shown on. Its first
completion is the one that stood on side ``a`` in the first verdict on it; verdicts that came with
the sides exchanged are turned, and ``shown`` remembers which side was seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accord.errors import DataError
from accord.rng import FloatArray
from accord.types import Comparison, Completion

IntArray = NDArray[np.int64]
Feature = Callable[[Completion], float]

FIRST, SECOND, TIE, BOTH_BAD = range(4)
OUTCOMES = ("first", "second", "tie", "both_bad")
_GIVEN = {"a": FIRST, "b": SECOND, "tie": TIE, "both_bad": BOTH_BAD}
_TURNED = {"a": SECOND, "b": FIRST, "tie": TIE, "both_bad": BOTH_BAD}


@dataclass(frozen=True, slots=True)
class Votes:
    """N verdicts by R raters on I items; index arrays of shape (N,) unless said otherwise.

    Attributes:
        item: index into ``items``.
        rater: index into ``raters``.
        outcome: FIRST, SECOND, TIE or BOTH_BAD, of the item's first and second completion.
        shown: +1 where the item's first completion was shown on side a, -1 where on side b.
        strength: how sure the rater was, in [0, 1]; NaN where nobody asked.
        turned: True where the comparison's ``a`` is the item's second completion.
        repeat: 0 for a rater's first verdict on an item, 1 for the second, ...
        items: (prompt id, key of the first completion, key of the second) of each item.
        raters: the raters' ids, sorted.
        features: (N, F), each completion feature of the first less that of the second.
        names: the F names of the features.
    """

    item: IntArray
    rater: IntArray
    outcome: IntArray
    shown: IntArray
    strength: FloatArray
    turned: NDArray[np.bool_]
    repeat: IntArray
    items: tuple[tuple[str, str, str], ...]
    raters: tuple[str, ...]
    features: FloatArray
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.item)

    @property
    def decided(self) -> NDArray[np.bool_]:
        """(N,), True where one side was preferred."""
        return self.outcome < TIE

    @property
    def share_first(self) -> FloatArray:
        """(N,), 1 where the first completion won, 0 where the second, 0.5 for a tie."""
        return np.array([1.0, 0.0, 0.5, 0.5])[self.outcome]

    def feature(self, name: str) -> FloatArray:
        """(N,), the differences of one feature.

        Raises:
            ValueError: no such feature.
        """
        return self.features[:, self.names.index(name)]

    def first_verdicts(self) -> NDArray[np.bool_]:
        """(N,), False for a rater's second and later verdicts on the same item."""
        first: NDArray[np.bool_] = self.repeat == 0
        return first


def encode(
    comparisons: Sequence[Comparison],
    features: Mapping[str, Feature] | None = None,
    first_on_a: Sequence[bool] | None = None,
) -> Votes:
    """Verdicts as arrays.

    Args:
        comparisons: in the order in which they were given; ``a`` is the side shown left (or first).
        features: numbers of a completion whose difference may sway raters, by name.
        first_on_a: for each comparison, False where ``a`` was *not* the side shown left, for data
            that keeps the completions in a fixed order and the side apart.

    Raises:
        DataError: no comparisons, one without a rater, or ``first_on_a`` of another length.
    """
    _check(comparisons, first_on_a)
    functions = dict(features or {})
    raters = {name: i for i, name in enumerate(sorted({row.rater for row in comparisons}))}
    items: dict[tuple[str, str, str], int] = {}
    seen: dict[tuple[int, int], int] = {}
    rows: list[tuple[int, int, int, int, int]] = []
    differences: list[list[float]] = []
    measure = _measurer(functions)
    for row in comparisons:
        a, b = completion_key(row.a), completion_key(row.b)
        turned = (row.prompt.id, a, b) not in items and (row.prompt.id, b, a) in items
        key = (row.prompt.id, b, a) if turned else (row.prompt.id, a, b)
        item = items.setdefault(key, len(items))
        rater = raters[row.rater]
        repeat = seen.get((item, rater), 0)
        seen[item, rater] = repeat + 1
        outcome = (_TURNED if turned else _GIVEN)[row.choice]
        rows.append((item, rater, outcome, -1 if turned else 1, repeat))
        first, second = (row.b, row.a) if turned else (row.a, row.b)
        pairs = zip(measure(first), measure(second), strict=True)
        differences.append([x - y for x, y in pairs])
    item_N, rater_N, outcome_N, shown_N, repeat_N = np.array(rows, dtype=np.int64).T
    turned_N = shown_N < 0
    if first_on_a is not None:
        shown_N = shown_N * np.where(np.asarray(first_on_a, dtype=bool), 1, -1)
    strengths = [np.nan if row.strength is None else row.strength for row in comparisons]
    return Votes(
        item=item_N,
        rater=rater_N,
        outcome=outcome_N,
        shown=shown_N,
        strength=np.array(strengths, dtype=np.float64),
        turned=turned_N,
        repeat=repeat_N,
        items=tuple(items),
        raters=tuple(raters),
        features=np.array(differences, dtype=np.float64).reshape(len(rows), len(functions)),
        names=tuple(functions),
    )


def completion_key(completion: Completion) -> str:
    """What makes two completions of a prompt the same one: writer and text."""
    return f"{completion.model}\x1f{completion.text}"


def log_words(completion: Completion) -> float:
    """log2(1 + number of words): a difference of 1 is twice as long."""
    return float(np.log2(1 + len(completion.text.split())))


def _check(comparisons: Sequence[Comparison], first_on_a: Sequence[bool] | None) -> None:
    if not comparisons:
        raise DataError("no comparisons: collect some verdicts before asking for their statistics")
    nameless = sum(not row.rater for row in comparisons)
    if nameless:
        raise DataError(
            f"{nameless} of {len(comparisons)} comparisons name no rater (field `rater`): "
            "statistics of raters need to know who judged; fill it in or leave these rows out"
        )
    if first_on_a is not None and len(first_on_a) != len(comparisons):
        raise DataError(f"first_on_a has {len(first_on_a)} rows for {len(comparisons)} comparisons")


def _measurer(functions: Mapping[str, Feature]) -> Callable[[Completion], list[float]]:
    """All features of a completion; each is computed once."""
    known: dict[Completion, list[float]] = {}

    def measure(completion: Completion) -> list[float]:
        if completion not in known:
            known[completion] = [function(completion) for function in functions.values()]
        return known[completion]

    return measure if functions else lambda _: []
