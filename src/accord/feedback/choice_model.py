"""The likelihood behind ratings: choosing the best, or the tied best, of a set of options.

Davidson-Luce (Firth, Kosmidis and Turner 2019, "Davidson-Luce: multi-item choice with ties"): from
a set A the tied subset S is chosen with probability proportional to
``delta[|S|] * exp(mean of the worths in S)``, delta[1] = 1. Pairs give Davidson's (1970) model,
pairs without ties Bradley and Terry's (1952), rankings without ties Plackett and Luce's. An
option's worth is its rating plus features times coefficients (side shown, length), so the
log-likelihood is that of a multinomial logit: concave, fitted by Newton's method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from accord.errors import DataError
from accord.feedback.votes import IntArray
from accord.rng import FloatArray

_MAX_STEPS = 200
_DIVERGED = 40.0
"""A coefficient (log odds) beyond this is on its way to infinity."""


@dataclass(frozen=True, slots=True)
class Stages:
    """n choices among m options each, equal ones kept once (``pattern`` leads from a choice there).

    Attributes:
        option: (g, m) options on offer in each of the g patterns.
        feature: (g, m, F) their features.
        chosen: (g, m) True for the options chosen as (tied) best.
        pattern: (n,) the pattern of each choice.
        unit: (n,) the verdict it belongs to.
    """

    option: IntArray
    feature: FloatArray
    chosen: NDArray[np.bool_]
    pattern: IntArray
    unit: IntArray


@dataclass(frozen=True, slots=True)
class Fit:
    """Parameters at the maximum: ratings less the first one's, coefficients, log deltas.

    ``information`` is the negative second derivative there, without the prior's part.
    """

    params: FloatArray
    information: FloatArray
    log_likelihood: float


@dataclass(frozen=True, slots=True)
class ChoiceModel:
    """What is on offer: K options, F features, the sizes of ties that occur (2 or more)."""

    groups: tuple[Stages, ...]
    num_options: int
    num_features: int
    tie_sizes: tuple[int, ...]

    @property
    def num_params(self) -> int:
        """K - 1 ratings, F coefficients, one log delta for each size of tie."""
        return self.num_options - 1 + self.num_features + len(self.tie_sizes)

    def fit(
        self, weights: FloatArray, precision: FloatArray, start: FloatArray | None = None
    ) -> Fit:
        """Maximise the weighted log-likelihood less half the precision's quadratic form.

        Args:
            weights: one a verdict (unit).
            precision: (p, p) of a normal prior around zero; zeros for maximum likelihood.
            start: first parameters; zeros where not given.

        Raises:
            DataError: the data do not determine the parameters (``params`` in the message counts
                ratings first), or drive one of them to infinity.
        """
        totals: list[FloatArray] = [
            np.bincount(g.pattern, weights[g.unit], len(g.option)).astype(np.float64)
            for g in self.groups
        ]
        params = np.zeros(self.num_params) if start is None else start.copy()
        value, slope, curve = self._evaluate(params, totals)
        value -= float(0.5 * params @ precision @ params)
        if not _determined(curve + precision):
            raise DataError(
                "the verdicts do not tell all effects apart (for example each option always stood "
                "on the same side, or a feature never differs); leave one effect out, show both "
                "orders, or give prior=0.1"
            )
        for _ in range(_MAX_STEPS):
            matrix = curve + precision
            gradient = slope - precision @ params
            if not _determined(matrix):
                break
            step = np.linalg.solve(matrix, gradient)
            gain, scale = gradient @ step, 1.0
            if gain < 1e-18 * max(1.0, abs(value)):
                return Fit(params, curve, value + float(0.5 * params @ precision @ params))
            while True:
                trial = params + scale * step
                new, new_slope, new_curve = self._evaluate(trial, totals)
                new -= float(0.5 * trial @ precision @ trial)
                if new >= value - 1e-12 * abs(value) or scale < 1e-8:
                    break
                scale /= 2
            params, value, slope, curve = trial, new, new_slope, new_curve
            if np.abs(params).max() > _DIVERGED:
                break
        raise DataError(
            "the fit runs away: some verdicts are foretold perfectly (all ties, or always the same "
            "side or the longer text wins); collect more, or give prior=0.1 to hold the fit"
        )

    def scores(self, params: FloatArray, weights: FloatArray, cluster: IntArray) -> FloatArray:
        """(C, p) gradient of the log-likelihood, summed over the verdicts of each cluster."""
        num, width = int(cluster.max()) + 1, self.num_params
        out = np.zeros(num * width)
        free = self.num_options - 1
        for group in self.groups:
            by_value, by_tie = self._gradient(params, group)
            home, weight = cluster[group.unit], weights[group.unit]
            for j in range(group.option.shape[1]):
                place = group.option[group.pattern, j] - 1
                pull = by_value[group.pattern, j] * weight
                kept = place >= 0
                out += np.bincount(home[kept] * width + place[kept], pull[kept], num * width)
            rest = np.einsum("gm,gmf->gf", by_value, group.feature)
            for offset, column in enumerate([*rest.T, *by_tie.T]):
                pull = column[group.pattern] * weight
                out += np.bincount(home * width + free + offset, pull, num * width)
        return out.reshape(num, width)

    def _alternatives(self, m: int) -> tuple[FloatArray, FloatArray]:
        """(S, m) membership divided by size, and (S, T) which log delta applies."""
        subsets = [s for size in (1, *self.tie_sizes) for s in combinations(range(m), size)]
        member, tie = np.zeros((len(subsets), m)), np.zeros((len(subsets), len(self.tie_sizes)))
        for row, subset in enumerate(subsets):
            member[row, list(subset)] = 1.0 / len(subset)
            if len(subset) > 1:
                tie[row, self.tie_sizes.index(len(subset))] = 1.0
        return member, tie

    def _probabilities(
        self, params: FloatArray, group: Stages
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """(g, S) probabilities and logs, and the alternatives' two matrices."""
        free, ends = self.num_options - 1, self.num_options - 1 + self.num_features
        rating = np.concatenate([[0.0], params[:free]])
        worth = rating[group.option] + group.feature @ params[free:ends]
        member, tie = self._alternatives(group.option.shape[1])
        utility = worth @ member.T + tie @ params[ends:]
        utility -= utility.max(axis=1, keepdims=True)
        logs = utility - np.log(np.exp(utility).sum(axis=1, keepdims=True))
        return np.exp(logs), logs, member, tie

    @staticmethod
    def _picked(group: Stages, member: FloatArray) -> IntArray:
        """(g,) index of the chosen alternative."""
        codes = (member > 0) @ (1 << np.arange(member.shape[1]))
        order = np.argsort(codes)
        wanted = group.chosen @ (1 << np.arange(member.shape[1]))
        return order[np.searchsorted(codes[order], wanted)]

    def _gradient(self, params: FloatArray, group: Stages) -> tuple[FloatArray, FloatArray]:
        """(g, m) by the worths and (g, T) by the log deltas, of each pattern."""
        prob, _, member, tie = self._probabilities(params, group)
        rest = -prob
        rest[np.arange(len(rest)), self._picked(group, member)] += 1.0
        return rest @ member, rest @ tie

    def _evaluate(
        self, params: FloatArray, totals: Sequence[FloatArray]
    ) -> tuple[float, FloatArray, FloatArray]:
        """Log-likelihood, gradient and negative second derivative."""
        num, width, T = self.num_options, self.num_params, len(self.tie_sizes)
        value, slope, curve = 0.0, np.zeros(width + 1), np.zeros((width + 1, width + 1))
        for group, weight in zip(self.groups, totals, strict=True):
            prob, logs, member, tie = self._probabilities(params, group)
            picked = self._picked(group, member)
            value += float(weight @ logs[np.arange(len(logs)), picked])
            local = np.concatenate([member, tie], axis=1)  # (S, m + T)
            mean = prob @ local
            spread = local.T @ (prob[:, :, None] * local)
            spread = (spread - mean[:, :, None] * mean[:, None, :]) * weight[:, None, None]
            rest = (local[picked] - mean) * weight[:, None]
            m, F = group.option.shape[1], self.num_features
            others = np.zeros((len(prob), m + T, F + T))
            others[:, :m, :F] = group.feature
            others[:, m:, F:] = np.eye(T)
            slope[:num] += np.bincount(group.option.reshape(-1), rest[:, :m].reshape(-1), num)
            slope[num:] += np.einsum("ga,gaf->f", rest, others)
            pair = group.option[:, :, None] * num + group.option[:, None, :]
            grid = np.bincount(pair.reshape(-1), spread[:, :m, :m].reshape(-1), num * num)
            curve[:num, :num] += grid.reshape(num, num)
            cross = spread @ others
            for f in range(F + T):
                column = cross[:, :m, f].reshape(-1)
                curve[:num, num + f] += np.bincount(group.option.reshape(-1), column, num)
            curve[num:, num:] += np.einsum("gaf,gae->fe", others, cross)
        curve[num:, :num] = curve[:num, num:].T
        return value, slope[1:], curve[1:, 1:]


def build_stages(
    option: IntArray, feature: FloatArray, chosen: NDArray[np.bool_], unit: IntArray
) -> Stages:
    """Stages of one size, with equal choices put together; shapes as in :class:`Stages`."""
    num = len(option)
    flat = np.concatenate([option, chosen, feature.reshape(num, -1)], axis=1).astype(np.float64)
    _, index, inverse = np.unique(flat, axis=0, return_index=True, return_inverse=True)
    return Stages(option[index], feature[index], chosen[index], inverse.reshape(-1), unit)


def standardise(features: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Columns by their standard deviation (of F features, in n rows), and what that is.

    The fit, a prior and what counts as running away then do not depend on a feature's unit.

    Returns:
        The (F,) standard deviations, 1 where a feature never differs, and the (n, F) features.
    """
    if not features.size:
        return np.ones(features.shape[1]), features
    spread = features.std(axis=0)
    spread[spread == 0.0] = 1.0
    return spread, (features - features.mean(axis=0)) / spread


def groups_of_options(groups: Sequence[Stages], num_options: int) -> list[list[int]]:
    """Sets of options that can be compared, best set first (Ford 1957).

    Within a set everybody has, through some chain, beaten or tied everybody else. A maximum of the
    likelihood exists where there is just one set.
    """
    beats = np.eye(num_options, dtype=bool)
    for group in groups:
        for i in range(group.option.shape[1]):
            for j in range(group.option.shape[1]):
                won = group.chosen[:, i]
                beats[group.option[won, i], group.option[won, j]] = True
    while True:
        longer = (beats.astype(np.float32) @ beats.astype(np.float32)) > 0
        if (longer == beats).all():
            break
        beats = longer
    sets: list[list[int]] = []
    left = set(range(num_options))
    for i in np.argsort(-beats.sum(axis=1), kind="stable").tolist():
        if i in left:
            sets.append(np.flatnonzero(beats[i] & beats[:, i]).tolist())
            left -= set(sets[-1])
    return sets


def _determined(matrix: FloatArray) -> bool:
    """Is the information, scaled to a unit diagonal, clearly positive definite?"""
    scale = np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    return float(np.linalg.eigvalsh(matrix / scale[:, None] / scale)[0]) > 1e-10
