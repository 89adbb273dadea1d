"""A noisy Bradley-Terry model of raters: reliability, side pull and tastes, with item difficulty.

Rater r prefers an item's first completion with probability
``sigmoid(reliability[r] * gap[i] + side[r] * shown + taste[r] . features)``, where the gap of item
i, by how much its first completion is better, is normal around what the features and an expected
margin foretell. Small gaps are difficult items. A reliability of 1 is typical, 0 is a coin,
negative is against the others: Bradley and Terry 1952 with the discriminations of item response
theory (Birnbaum 1968) and the worker skills and biases of Bugakova et al. 2019 ("Aggregation of
pairwise comparisons with reduction of biases").

The gaps are integrated out by Gauss-Hermite quadrature and the parameters maximise the penalised
marginal likelihood, by a quasi-Newton method preconditioned with the information that known gaps
would give (Jamshidian and Jennrich 1997). A tie counts as half a verdict for either side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from accord.errors import DataError
from accord.feedback.votes import IntArray, Votes
from accord.rng import FloatArray

_GOLD_SLOPE = 4.0
"""A gold answer counts as a rater of four times the usual reliability."""
_FLATNESS = 0.5
"""Standard deviation of the prior of log spread around zero."""


@dataclass(frozen=True, slots=True)
class RaterModel:
    """The fitted model; tables have a row a rater, in the order of ``Votes.raters``.

    Attributes:
        raters: R ids.
        names: of the features.
        reliability: (R, 4) value, standard error, low and high, in units of the median rater.
        side: (R, 4) log odds added to the side shown first.
        tastes: (R, F, 4) log odds for one standard deviation of a feature, beyond what all share.
        shared: (F,) what a standard deviation of each feature adds to the gap for everybody.
        scale: (F,) the standard deviation of each feature.
        spread: standard deviation of the gaps, in log odds of the median rater.
        gap: (I, 2) posterior mean and standard deviation of each item's gap to a median rater, the
            shared taste included.
        better: (I,) posterior probability that the first completion is the better one.
        preferred: (I,) probability that a median rater without side or taste prefers it.
        log_posterior: of the parameters; for comparing fits.
        converged: False where the steps ran out.
    """

    raters: tuple[str, ...]
    names: tuple[str, ...]
    reliability: FloatArray
    side: FloatArray
    tastes: FloatArray
    shared: FloatArray
    scale: FloatArray
    spread: float
    gap: FloatArray
    better: FloatArray
    preferred: FloatArray
    log_posterior: float
    converged: bool


def fit_raters(
    votes: Votes,
    expected: Mapping[int, float] | None = None,
    gold: Mapping[int, int] | None = None,
    confidence: float = 0.95,
    num_nodes: int = 17,
    tolerance: float = 1e-3,
    max_steps: int = 300,
) -> RaterModel:
    """Fit the model to all verdicts.

    Args:
        votes: the verdicts; its features become tastes.
        expected: for some items (by index) a margin by which the first completion is foretold to be
            better, by a reward model or by the policies' ratings; its weight is estimated.
        gold: for items with a known answer +1 where the first is better, -1 where the second is.
        confidence: two-sided coverage.
        num_nodes: of the quadrature; 17 err by about a hundredth of a standard error.
        tolerance: stop when the root mean square step, in standard errors, is smaller.
        max_steps: most steps of the optimiser.

    Raises:
        DataError: an item index that does not exist, or a gold answer that is not +1 or -1.
    """
    problem = _Problem.build(votes, dict(expected or {}), dict(gold or {}), num_nodes)
    params, value, converged = _maximise(problem, tolerance, max_steps)
    weight, _ = problem.posterior(params)
    errors = problem.errors(params, weight)
    R, F = len(votes.raters), len(votes.names)
    theta, spread, shared = problem.unpack(params)
    unit = float(np.median(theta[:, 0]))
    unit = unit if unit > 0.1 else 1.0
    shift = np.zeros_like(theta)
    shift[:, 2:] = np.median(theta[:, 2:], axis=0)
    reach = NormalDist().inv_cdf((1 + confidence) / 2)
    centre = theta - shift
    table = np.stack([centre, errors, centre - reach * errors, centre + reach * errors], axis=2)
    table[:, 0] /= unit
    nodes = unit * problem.gaps(spread, shared) + problem.foretold[:, :F] @ shift[0, 2:]
    mean = _dot(weight, nodes)
    deviation = np.sqrt(np.maximum(_dot(weight, nodes**2) - mean**2, 1e-12))
    z = mean / deviation / math.sqrt(2.0)
    return RaterModel(
        raters=votes.raters,
        names=votes.names,
        reliability=table[:, 0],
        side=table[:, 1],
        tastes=table[:, 2:].reshape(R, F, 4),
        shared=unit * shared[:F] + shift[0, 2:],
        scale=problem.scale,
        spread=unit * spread,
        gap=np.stack([mean, deviation], axis=1),
        better=np.array([0.5 * (1.0 + math.erf(x)) for x in z.tolist()]),
        preferred=_dot(weight, _sigmoid(nodes)),
        log_posterior=value,
        converged=converged,
    )


@dataclass(frozen=True, slots=True)
class _Problem:
    """Rows sorted by item; N verdicts, Q quadrature nodes, P = 2 + F parameters a rater."""

    rater: IntArray
    target: FloatArray
    fixed: FloatArray
    starts: IntArray
    counts: IntArray
    foretold: FloatArray
    known: FloatArray
    scale: FloatArray
    nodes: FloatArray
    log_weights: FloatArray
    num_raters: int

    @staticmethod
    def build(
        votes: Votes, expected: dict[int, float], gold: dict[int, int], num_nodes: int
    ) -> _Problem:
        num = len(votes.items)
        wrong = [i for i in (*expected, *gold) if not 0 <= i < num]
        if wrong or not set(gold.values()) <= {1, -1}:
            raise DataError(
                f"expected and gold name items by index in [0, {num}) and gold answers are +1 or "
                f"-1; wrong: {wrong[:5] or sorted(set(gold.values()))[:5]}"
            )
        order = np.argsort(votes.item, kind="stable")
        item = votes.item[order]
        spread = votes.features.std(axis=0)
        scale = np.where(spread > 0, spread, 1.0)
        features = votes.features[order] / scale
        starts = np.searchsorted(item, np.arange(num)).astype(np.int64)
        known, margin = np.zeros(num), np.zeros(num)
        known[list(gold)] = list(gold.values())
        margin[list(expected)] = list(expected.values())
        margin /= margin.std() or 1.0
        nodes, weights = np.polynomial.hermite_e.hermegauss(num_nodes)
        foretold = np.concatenate([features[starts], margin[:, None]], axis=1)
        return _Problem(
            rater=votes.rater[order],
            target=votes.share_first[order],
            fixed=np.concatenate([votes.shown[order, None].astype(float), features], axis=1),
            starts=starts,
            counts=np.diff(np.append(starts, len(item))),
            foretold=foretold,
            known=known,
            scale=scale,
            nodes=nodes,
            log_weights=np.log(weights / weights.sum()),
            num_raters=len(votes.raters),
        )

    @property
    def width(self) -> int:
        """P, the parameters of one rater."""
        return 1 + int(self.fixed.shape[1])

    def start(self) -> FloatArray:
        """Everybody typical and unbiased."""
        params = np.zeros(self.num_raters * self.width + 1 + self.foretold.shape[1])
        params[: self.num_raters * self.width : self.width] = 1.0
        return params

    def unpack(self, params: FloatArray) -> tuple[FloatArray, float, FloatArray]:
        """(R, P) of the raters, the gaps' spread, and the weights of what foretells them."""
        end = self.num_raters * self.width
        theta = params[:end].reshape(self.num_raters, self.width)
        return theta, math.exp(float(params[end])), params[end + 1 :]

    def gaps(self, spread: float, shared: FloatArray) -> FloatArray:
        """(Q, I) gap of each item at each node."""
        nodes: FloatArray = self.foretold @ shared + spread * self.nodes[:, None]
        return nodes

    def _logits(self, params: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(Q, N) log odds of the first completion, and the (Q, I) gaps."""
        theta, spread, shared = self.unpack(params)
        gaps = self.gaps(spread, shared)
        own = theta[self.rater]
        pull = (own[:, 1:] * self.fixed).sum(axis=1)
        return own[:, 0] * np.repeat(gaps, self.counts, axis=1) + pull, gaps

    def posterior(self, params: FloatArray) -> tuple[FloatArray, float]:
        """(Q, I) weights of the nodes, and the penalised marginal log-likelihood."""
        return self._weigh(params, *self._logits(params))[:2]

    def _weigh(
        self, params: FloatArray, logit: FloatArray, gaps: FloatArray
    ) -> tuple[FloatArray, float, FloatArray]:
        """The posterior's weights and value, and the (Q, N) probabilities of the first."""
        small = np.exp(-np.abs(logit))
        prob = 0.5 + np.copysign(0.5 * (1.0 - small) / (1.0 + small), logit)
        logs = self.target * logit - np.maximum(logit, 0.0) - np.log1p(small)
        table = np.add.reduceat(logs, self.starts, axis=1) + self.log_weights[:, None]
        sure = np.flatnonzero(self.known)
        if sure.size:
            told = _GOLD_SLOPE * self.known[sure] * gaps[:, sure]
            table[:, sure] -= np.logaddexp(0.0, -told)
        top = table.max(axis=0)
        weight = np.exp(table - top)
        total = weight.sum(axis=0)
        value = float((top + np.log(total)).sum())
        value -= 0.5 * float(self._penalty(params) @ self._off(params))
        return weight / total, value, prob

    def _off(self, params: FloatArray) -> FloatArray:
        """Distance from the prior's mean: raters typical, log spread and weights 0."""
        return params - self.start()

    def _precision(self) -> FloatArray:
        """Of normal priors: a rater's parameters have deviation 1, log spread 1/2, shared 2."""
        rest = 1 + self.foretold.shape[1]
        out = np.ones(self.num_raters * self.width + rest)
        out[-rest] = 1.0 / _FLATNESS**2
        out[len(out) - rest + 1 :] = 0.25
        return out

    def _penalty(self, params: FloatArray) -> FloatArray:
        return self._precision() * self._off(params)

    def slope(self, params: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        """Value, gradient, and the information known gaps would give (raters' blocks, rest)."""
        logit, gaps = self._logits(params)
        weight, value, prob = self._weigh(params, logit, gaps)
        theta, spread, _ = self.unpack(params)
        by_row = np.repeat(weight, self.counts, axis=1)
        rest = (self.target - prob) * by_row  # (Q, N)
        gap = np.repeat(gaps, self.counts, axis=1)
        columns = [_dot(rest, gap), *(rest.sum(axis=0) * self.fixed.T)]
        by_rater = np.stack([np.bincount(self.rater, c, self.num_raters) for c in columns], axis=1)
        own = theta[self.rater, 0]
        by_gap = np.add.reduceat(own * rest, self.starts, axis=1)  # (Q, I), weighted
        sure = np.flatnonzero(self.known)
        pull = _GOLD_SLOPE * self.known[sure]
        by_gap[:, sure] += weight[:, sure] * pull * _sigmoid(-pull * gaps[:, sure])
        by_spread = spread * float((by_gap.sum(axis=1) * self.nodes).sum())
        by_shared = self.foretold.T @ by_gap.sum(axis=0)
        gradient = np.concatenate([by_rater.reshape(-1), [by_spread], by_shared])
        bend = prob * (1.0 - prob) * by_row
        curve = self._blocks(bend, gap)
        total = own**2 * bend
        spread_bend = spread**2 * float(total.sum(axis=1) @ self.nodes**2)
        shared_bend = (self.foretold**2).T @ np.add.reduceat(total.sum(axis=0), self.starts)
        flat = np.concatenate([curve.reshape(-1), [spread_bend], shared_bend])
        return value, gradient - self._penalty(params), flat

    def _blocks(self, bend: FloatArray, gap: FloatArray) -> FloatArray:
        """(R, P, P) sums of bend times the outer product of (gap, fixed columns)."""
        R, P = self.num_raters, self.width
        out = np.zeros((R, P, P))
        lever = bend * gap
        once, twice, plain = lever.sum(axis=0), _dot(lever, gap), bend.sum(axis=0)
        for i in range(P):
            for j in range(i, P):
                row = twice if j == 0 else once if i == 0 else plain
                for column in (i, j):
                    row = row if column == 0 else row * self.fixed[:, column - 1]
                out[:, i, j] = out[:, j, i] = np.bincount(self.rater, row, R)
        return out

    def precondition(self, flat: FloatArray, vector: FloatArray) -> FloatArray:
        """The inverse of the complete information, priors included, times a vector."""
        R, P = self.num_raters, self.width
        end = R * P
        block = flat[: R * P * P].reshape(R, P, P) + np.eye(P)
        out = np.empty_like(vector)
        out[:end] = np.linalg.solve(block, vector[:end].reshape(R, P, 1)).reshape(-1)
        out[end:] = vector[end:] / (flat[R * P * P :] + self._precision()[end:])
        return out

    def errors(self, params: FloatArray, weight: FloatArray) -> FloatArray:
        """(R, P) standard errors from the observed information of each rater (Louis 1982)."""
        logit, gaps = self._logits(params)
        prob = _sigmoid(logit)
        by_row = np.repeat(weight, self.counts, axis=1)
        gap = np.repeat(gaps, self.counts, axis=1)
        rest = self.target - prob
        info = self._blocks((prob * (1 - prob) - rest**2) * by_row, gap) + np.eye(self.width)
        rest *= by_row
        score = np.column_stack([_dot(rest, gap), rest.sum(axis=0)[:, None] * self.fixed])
        for i in range(self.width):
            for j in range(self.width):
                product = score[:, i] * score[:, j]
                info[:, i, j] += np.bincount(self.rater, product, self.num_raters)
        values, vectors = np.linalg.eigh(info)
        variance = np.einsum("rpe,re->rp", vectors**2, 1.0 / np.maximum(values, 1.0))
        error: FloatArray = np.sqrt(variance)
        return error


def _maximise(
    problem: _Problem, tolerance: float, max_steps: int
) -> tuple[FloatArray, float, bool]:
    """L-BFGS (Nocedal 1980) with the complete information as its first guess of the curvature."""
    params = problem.start()
    value, slope, flat = problem.slope(params)
    memory: list[tuple[FloatArray, FloatArray]] = []
    for _ in range(max_steps):
        step, used = slope.copy(), []
        for moved, turned in reversed(memory):
            used.append((moved @ step) / (moved @ turned))
            step -= used[-1] * turned
        step = problem.precondition(flat, step)
        for (moved, turned), alpha in zip(memory, reversed(used), strict=True):
            step += moved * (alpha - (turned @ step) / (moved @ turned))
        ahead = float(slope @ step)
        if ahead < tolerance**2 * len(params):
            return params, value, True
        scale = min(1.0, 2.0 / float(np.abs(step).max()))
        while True:
            trial = params + scale * step
            new, new_slope, new_flat = problem.slope(trial)
            if new >= value + 1e-4 * scale * ahead or scale < 1e-6:
                break
            scale /= 2
        moved, turned = trial - params, slope - new_slope
        if moved @ turned > 1e-12 * float(moved @ moved):
            memory = [*memory[-9:], (moved, turned)]
        params, value, slope, flat = trial, new, new_slope, new_flat
    return params, value, False


def _dot(x: FloatArray, y: FloatArray) -> FloatArray:
    """Sum of products over the nodes, the first axis."""
    out: FloatArray = np.einsum("qn,qn->n", x, y)
    return out


def _sigmoid(x: FloatArray) -> FloatArray:
    out: FloatArray = 0.5 * (1.0 + np.tanh(0.5 * x))
    return out
