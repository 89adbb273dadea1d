"""Ratings of policies (or of anything compared): Bradley-Terry, Davidson, Plackett-Luce, with Elo.

One function, :func:`rate`, takes pairs and rankings, ties included; the model is in
:mod:`accord.feedback.choice_model`. The side on which an answer was shown and its style (length)
can enter as coefficients, as in Chatbot Arena's style control (Li et al. 2024).

Verdicts of one rater, and verdicts on one prompt, are not independent. Errors are clustered by both
(Cameron, Gelbach and Miller 2011, "Robust inference with multiway clustering"), by the sandwich or
by resampling raters and prompts (Owen 2007, "The pigeonhole bootstrap").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from accord.errors import DataError
from accord.feedback.choice_model import (
    ChoiceModel,
    Stages,
    build_stages,
    groups_of_options,
    standardise,
)
from accord.feedback.intervals import t_quantile
from accord.feedback.votes import Feature, IntArray
from accord.rng import FloatArray, uniform
from accord.types import Comparison, Completion, Ranking

Cluster = Literal["both", "rater", "prompt", "none"]
ELO = 400.0 / math.log(10.0)
"""Elo points in one unit of log odds: 173.7."""


@dataclass(frozen=True, slots=True)
class Rating:
    """A parameter in log odds (or Elo points): value, standard error and interval."""

    name: str
    value: float
    error: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Ratings:
    """A fitted model of who beats whom.

    Attributes:
        ratings: best first; they sum to zero, a difference is the log odds of winning.
        order: log odds that the side shown first gains on an equal answer; None if not asked for.
        covariates: log odds for one unit more of each feature.
        ties: log delta for each size of tie that occurs; a pair of equals ties with odds
            exp(this) / 2 against being decided.
        num_verdicts: verdicts behind the fit.
        num_skipped: verdicts left out, for all their options were one and the same.
        log_likelihood: at the maximum.
        critical: how many standard errors the intervals reach.
        covariance: (K, K) of the ratings, in their order here.
    """

    ratings: tuple[Rating, ...]
    order: Rating | None
    covariates: tuple[Rating, ...]
    ties: tuple[Rating, ...]
    num_verdicts: int
    num_skipped: int
    log_likelihood: float
    critical: float
    covariance: FloatArray

    def __getitem__(self, name: str) -> Rating:
        return self.ratings[self._place(name)]

    def difference(self, a: str, b: str) -> Rating:
        """How much higher ``a`` is rated than ``b``, with the interval of the difference.

        Raises:
            KeyError: an option without a rating.
        """
        i, j = self._place(a), self._place(b)
        value = self.ratings[i].value - self.ratings[j].value
        cov = self.covariance
        error = math.sqrt(max(0.0, float(cov[i, i] + cov[j, j] - 2 * cov[i, j])))
        reach = self.critical * error
        return Rating(f"{a} - {b}", value, error, value - reach, value + reach)

    def elo(self, base: float = 1000.0) -> tuple[Rating, ...]:
        """The ratings as Elo points: 400 more are odds of 10 to 1; ``base`` is their mean."""
        return tuple(
            Rating(r.name, base + ELO * r.value, ELO * r.error, base + ELO * r.low,
                   base + ELO * r.high)
            for r in self.ratings
        )  # fmt: skip

    def win_probability(self, a: str, b: str) -> float:
        """Probability that ``a`` wins a decided pair, sides at random."""
        return 0.5 * (1.0 + math.tanh(self.difference(a, b).value / 2.0))

    def _place(self, name: str) -> int:
        for place, rating in enumerate(self.ratings):
            if rating.name == name:
                return place
        raise KeyError(f"{name!r} has no rating; rated are {[r.name for r in self.ratings]}")


def writer(completion: Completion) -> str:
    """The default option: which model wrote it."""
    return completion.model


def rate(
    verdicts: Sequence[Comparison | Ranking],
    *,
    key: Callable[[Completion], str] = writer,
    order: bool = True,
    covariates: Mapping[str, Feature] | None = None,
    weights: Sequence[float] | None = None,
    interval: Literal["sandwich", "bootstrap"] = "sandwich",
    cluster: Cluster = "both",
    prior: float = 0.0,
    confidence: float = 0.95,
    num_resamples: int = 200,
    seed: int = 0,
) -> Ratings:
    """Rate the options that verdicts compare.

    Args:
        verdicts: pairs, a shown first, and rankings as shown; "both bad" counts as a tie.
        key: names the option a completion stands for.
        order: estimate what it is worth to be shown first (rankings: linear down the list).
        covariates: features of a completion whose influence is estimated and so taken out of the
            ratings, by name, in whatever unit; :func:`accord.feedback.votes.log_words` for length.
        weights: of the verdicts, for example by :func:`accord.feedback.quality.rater_weights`.
        interval: the sandwich reaches as many errors as Student's t has at the smallest number of
            clusters less one; the bootstrap takes percentiles.
        cluster: what is not independent; a dimension with a single cluster is left out.
        prior: precision of a normal prior that holds the ratings together; 0 for maximum
            likelihood. About 0.1 rates also options that never lost.
        confidence: two-sided coverage.
        num_resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        DataError: fewer than two options, options not connected by verdicts or separated (one set
            never lost to another; ``prior`` > 0 lifts both), or effects that cannot be told apart.
    """
    table = _Table.build(verdicts, key, order, dict(covariates or {}))
    weight = _checked(weights, len(verdicts))[table.kept]
    if prior == 0.0:
        table.check_connected()
    model, num = table.model, len(table.options)
    centre = np.eye(model.num_params + 1)[:, 1:]
    centre[:num, : num - 1] -= 1.0 / num
    precision = prior * centre.T @ centre
    fit = model.fit(weight, precision)
    value, groups = centre @ fit.params, table.clusters(cluster)
    tail = (1.0 + confidence) / 2.0
    critical = NormalDist().inv_cdf(tail)
    if interval == "bootstrap":
        draws = _bootstrap(model, weight, precision, fit.params, groups, num_resamples, seed)
        draws = draws @ centre.T
        cov = np.cov(draws, rowvar=False)
        low, high = np.quantile(draws, [1 - tail, tail], axis=0)
    else:
        inner, smallest = sandwich(model, fit.params, weight, fit.information + precision, groups)
        cov = centre @ inner @ centre.T
        critical = t_quantile(tail, smallest - 1) if smallest else critical
        reach = critical * np.sqrt(np.diag(cov))
        low, high = value - reach, value + reach
    return table.ratings(value, low, high, cov, critical, fit.log_likelihood)


def _checked(weights: Sequence[float] | None, num: int) -> FloatArray:
    weight = np.ones(num) if weights is None else np.asarray(weights, np.float64)
    if weight.shape != (num,) or not (np.isfinite(weight).all() and (weight >= 0).all()):
        raise DataError(f"weights must be {num} finite numbers >= 0, one a verdict")
    return weight


def sandwich(
    model: ChoiceModel,
    params: FloatArray,
    weights: FloatArray,
    information: FloatArray,
    clusters: Sequence[IntArray],
) -> tuple[FloatArray, int]:
    """Covariance of the parameters and the smallest number of clusters (0: none given).

    No clustering gives the inverse information; one the sandwich times C / (C - 1); two the sum of
    both less that of their intersection, without its directions of negative variance.
    """
    bread: FloatArray = np.linalg.inv(information).astype(np.float64)
    if not clusters:
        return bread, 0
    signed = [(1.0, c) for c in clusters]
    if len(clusters) == 2:
        both = clusters[0] * (int(clusters[1].max()) + 1) + clusters[1]
        signed.append((-1.0, np.unique(both, return_inverse=True)[1].reshape(-1)))
    meat = np.zeros_like(bread)
    for sign, index in signed:
        score, num = model.scores(params, weights, index), int(index.max()) + 1
        meat += sign * num / (num - 1) * score.T @ score
    smallest = min(int(c.max()) + 1 for c in clusters)
    return _positive(bread @ meat @ bread, information), smallest


def _positive(matrix: FloatArray, information: FloatArray) -> FloatArray:
    """The nearest covariance: directions of negative variance have none.

    Near is measured by the information, in which a covariate's unit and the choice of the option
    that others are measured from do not count.
    """
    root = np.linalg.cholesky(information)
    values, vectors = np.linalg.eigh(root.T @ matrix @ root)
    half = np.linalg.solve(root.T, vectors)
    nearest: FloatArray = (half * np.maximum(values, 0.0)) @ half.T
    return nearest


def _bootstrap(
    model: ChoiceModel,
    weights: FloatArray,
    precision: FloatArray,
    start: FloatArray,
    clusters: Sequence[IntArray],
    num: int,
    seed: int,
) -> FloatArray:
    """(num, p) parameters on resampled clusters; a slight prior holds separated resamples."""
    held = precision + 1e-3 * np.eye(model.num_params)
    sources = list(clusters) or [np.arange(len(weights))]
    draws = []
    for b in range(num):
        times = weights.copy()
        for place, index in enumerate(sources):
            size = int(index.max()) + 1
            drawn = (uniform(seed, "ratings", b, place, size=size) * size).astype(np.int64)
            times *= np.bincount(drawn, minlength=size)[index]
        draws.append(model.fit(times, held, start).params)
    return np.stack(draws)


@dataclass(frozen=True, slots=True)
class _Table:
    """Verdicts as choices among numbered options; ``spread`` is what covariates are divided by."""

    options: tuple[str, ...]
    names: tuple[str, ...]
    spread: FloatArray
    order: bool
    model: ChoiceModel
    kept: NDArray[np.bool_]
    rater: IntArray
    prompt: IntArray

    @staticmethod
    def build(
        verdicts: Sequence[Comparison | Ranking],
        key: Callable[[Completion], str],
        order: bool,
        covariates: dict[str, Feature],
    ) -> _Table:
        options: dict[str, int] = {}
        stages: dict[int, list[tuple[list[int], list[list[float]], list[bool], int]]] = {}
        kept: list[bool] = []
        raters: list[str] = []
        prompts: list[str] = []
        spread, style = _standardised(verdicts, list(covariates.values()))
        for number, row in enumerate(verdicts):
            texts, ranks = _listed(row)
            names = [key(text) for text in texts]
            if len(set(names)) < 2:
                kept.append(False)
                continue
            place = [options.setdefault(name, len(options)) for name in names]
            shown = [[0.5 - i / (len(texts) - 1)] if order else [] for i in range(len(texts))]
            feature = [[*side, *own] for side, own in zip(shown, style[number], strict=True)]
            for rank in sorted(set(ranks)):
                left = [i for i in range(len(ranks)) if ranks[i] >= rank]
                if len(left) > 1:
                    stages.setdefault(len(left), []).append(
                        ([place[i] for i in left], [feature[i] for i in left],
                         [ranks[i] == rank for i in left], len(raters))
                    )  # fmt: skip
            kept.append(True)
            raters.append(row.rater)
            prompts.append(row.prompt.id)
        if len(options) < 2:
            raise DataError(
                f"the verdicts compare {len(options)} different options ({', '.join(options)}); "
                "ratings need two: check `key`, by default the model that wrote a completion"
            )
        width = len(covariates) + order
        groups = tuple(_stages(rows, width) for _, rows in sorted(stages.items()))
        sizes = sorted({int(s) for g in groups for s in g.chosen.sum(axis=1)} - {1})
        return _Table(
            tuple(options),
            tuple(covariates),
            spread,
            order,
            ChoiceModel(groups, len(options), width, tuple(sizes)),
            np.array(kept, dtype=bool),
            np.unique(np.array(raters), return_inverse=True)[1].reshape(-1),
            np.unique(np.array(prompts), return_inverse=True)[1].reshape(-1),
        )

    def check_connected(self) -> None:
        """Name the options that cannot be rated against the others."""
        sets = groups_of_options(self.model.groups, len(self.options))
        if len(sets) == 1:
            return
        shown = ", ".join("{" + ", ".join(self.options[i] for i in part) + "}" for part in sets[:6])
        joined = np.eye(len(self.options), dtype=bool)
        for group in self.model.groups:
            for i in range(group.option.shape[1]):
                joined[group.option[:, 0], group.option[:, i]] = True
                joined[group.option[:, i], group.option[:, 0]] = True
        reach = np.linalg.matrix_power(joined.astype(np.float64), len(self.options)) > 0
        why = (
            "are separated: a set earlier in this list never lost to (or never met) a later one"
            if reach.all()
            else "are disconnected: no chain of verdicts joins some of these sets"
        )
        raise DataError(
            f"ratings do not exist, the options {why}: {shown}. Collect verdicts between the sets, "
            "or give prior=0.1 for ratings that a weak prior holds"
        )

    def clusters(self, cluster: Cluster) -> list[IntArray]:
        """The index of the cluster of each verdict, for each dimension with two or more."""
        wanted = {"both": (self.rater, self.prompt), "rater": (self.rater,),
                  "prompt": (self.prompt,), "none": ()}[cluster]  # fmt: skip
        return [index for index in wanted if index.max() > 0]

    def ratings(
        self,
        value: FloatArray,
        low: FloatArray,
        high: FloatArray,
        cov: FloatArray,
        critical: float,
        log_likelihood: float,
    ) -> Ratings:
        """The parameters with their names, covariates in their own units again."""
        num, end = len(self.options), len(self.options) + self.model.num_features
        unit = np.ones(len(value))
        unit[end - len(self.names) : end] = self.spread
        numbers = np.stack([value, np.sqrt(np.diag(cov)), low, high]) / unit
        ties = [f"tie of {size}" for size in self.model.tie_sizes]
        names = [*self.options, *(["shown first"] if self.order else []), *self.names, *ties]
        rows = [Rating(name, *row) for name, row in zip(names, numbers.T.tolist(), strict=True)]
        best = np.argsort(-value[:num], kind="stable")
        return Ratings(
            ratings=tuple(rows[i] for i in best.tolist()),
            order=rows[num] if self.order else None,
            covariates=tuple(rows[num + self.order : end]),
            ties=tuple(rows[end:]),
            num_verdicts=int(self.kept.sum()),
            num_skipped=int((~self.kept).sum()),
            log_likelihood=log_likelihood,
            critical=critical,
            covariance=cov[np.ix_(best, best)],
        )


def _listed(row: Comparison | Ranking) -> tuple[tuple[Completion, ...], tuple[int, ...]]:
    if isinstance(row, Ranking):
        return row.completions, row.ranks
    ranks = {"a": (0, 1), "b": (1, 0), "tie": (0, 0), "both_bad": (0, 0)}[row.choice]
    return (row.a, row.b), ranks


def _standardised(
    verdicts: Sequence[Comparison | Ranking], covariates: Sequence[Feature]
) -> tuple[FloatArray, list[list[list[float]]]]:
    """The spread of each covariate, and the covariates of each text in these units."""
    texts = [_listed(row)[0] for row in verdicts]
    flat = [[feature(text) for feature in covariates] for row in texts for text in row]
    spread, scaled = standardise(np.array(flat, np.float64).reshape(len(flat), len(covariates)))
    rows = iter(scaled.tolist())
    return spread, [[next(rows) for _ in row] for row in texts]


def _stages(rows: list[tuple[list[int], list[list[float]], list[bool], int]], width: int) -> Stages:
    option, feature, chosen, unit = (list(column) for column in zip(*rows, strict=True))
    shape = (len(option), len(option[0]), width)
    return build_stages(
        np.array(option, dtype=np.int64),
        np.array(feature, dtype=np.float64).reshape(shape),
        np.array(chosen, dtype=bool),
        np.array(unit, dtype=np.int64),
    )
