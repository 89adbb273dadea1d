"""Dawid and Skene 1979: each rater's confusion, and what is true, from labels alone.

EM for the confusion matrices ("full") or for one accuracy a rater with errors spread evenly ("one",
the one-coin model). The intervals come from the observed information by Louis (1982): what the
labels would tell if the truth were known, less what not knowing it costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from accord.errors import DataError
from accord.feedback.votes import IntArray
from accord.rng import FloatArray

_FLOOR = 1e-10


@dataclass(frozen=True, slots=True)
class DawidSkene:
    """A fitted model of R raters, I items and K classes.

    Attributes:
        posterior: (I, K) probability of each class; an item nobody judged has the class shares.
        class_shares: (K,) share of each class.
        confusion: (R, K, K) probability that a rater says the last index where the truth is the
            middle one.
        accuracy: (R,) share of right labels at these class shares.
        low: (R,) lower end of the accuracy's interval.
        high: (R,) upper end.
        log_likelihood: of the labels, the truth summed out.
        num_steps: EM steps taken.
        converged: False where the steps ran out.
    """

    posterior: FloatArray
    class_shares: FloatArray
    confusion: FloatArray
    accuracy: FloatArray
    low: FloatArray
    high: FloatArray
    log_likelihood: float
    num_steps: int
    converged: bool


def dawid_skene(
    item: ArrayLike,
    rater: ArrayLike,
    label: ArrayLike,
    num_classes: int,
    coin: Literal["one", "full"] = "full",
    prior: float = 1.0,
    confidence: float = 0.95,
    tolerance: float = 1e-7,
    max_steps: int = 2000,
) -> DawidSkene:
    """Fit by EM from the majority vote.

    Args:
        item: (N,) index of the item of each label.
        rater: (N,) index of the rater.
        label: (N,) the class given, in [0, K).
        num_classes: K >= 2.
        coin: "full" confusion matrices or "one" accuracy a rater.
        prior: labels of each kind that every rater is thought to have given beforehand, so that few
            labels claim no certainty; 0 is maximum likelihood, as crowd-kit computes it.
        confidence: two-sided coverage.
        tolerance: EM stops when no posterior moves by more.
        max_steps: most EM steps.

    Raises:
        DataError: no labels, arrays of different lengths, or a label outside [0, K).
    """
    data = _Labels.build(item, rater, label, num_classes)
    posterior = data.majority()
    confusion, shares = data.maximise(posterior, coin, prior)
    step, converged, value = 0, False, 0.0
    while step < max_steps and not converged:
        step += 1
        new, value = data.expect(confusion, shares)
        converged = bool(np.abs(new - posterior).max() < tolerance)
        posterior = new
        confusion, shares = data.maximise(posterior, coin, prior)
    accuracy = np.einsum("rkk,k->r", confusion, shares)
    errors = data.one_coin_error if coin == "one" else data.full_error
    spread = errors(posterior, confusion, shares, prior)
    inside = np.clip(accuracy, 1e-6, 1 - 1e-6)
    centre = np.log(inside / (1 - inside))
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * spread
    low, high = (1 / (1 + np.exp(-(centre + sign * reach))) for sign in (-1, 1))
    return DawidSkene(posterior, shares, confusion, accuracy, low, high, value, step, converged)


@dataclass(frozen=True, slots=True)
class _Labels:
    item: IntArray
    rater: IntArray
    label: IntArray
    size: tuple[int, int, int]

    @staticmethod
    def build(item: ArrayLike, rater: ArrayLike, label: ArrayLike, num_classes: int) -> _Labels:
        i, r, k = (np.asarray(x, np.int64) for x in (item, rater, label))
        if not (i.shape == r.shape == k.shape and i.ndim == 1 and i.size):
            raise DataError("labels need one item and one rater index each, and at least one label")
        if num_classes < 2 or k.min() < 0 or k.max() >= num_classes:
            raise DataError(f"labels must lie in [0, {num_classes}), with at least two classes")
        return _Labels(i, r, k, (int(i.max()) + 1, int(r.max()) + 1, num_classes))

    def majority(self) -> FloatArray:
        """(I, K) shares of the labels."""
        num_items, _, num = self.size
        counts = np.bincount(self.item * num + self.label, minlength=num_items * num)
        table = counts.reshape(num_items, num).astype(np.float64)
        shares = np.full(num, 1.0 / num)
        total = table.sum(axis=1, keepdims=True)
        return np.where(total > 0, table / np.maximum(total, 1.0), shares)

    def expect(self, confusion: FloatArray, shares: FloatArray) -> tuple[FloatArray, float]:
        """(I, K) posterior and the log-likelihood."""
        num_items, _, num = self.size
        logs = np.log(np.maximum(confusion, _FLOOR))[self.rater, :, self.label]
        table = np.empty((num_items, num))
        for k in range(num):
            table[:, k] = np.bincount(self.item, logs[:, k], num_items)
        table += np.log(np.maximum(shares, _FLOOR))
        top = table.max(axis=1, keepdims=True)
        weight = np.exp(table - top)
        total = weight.sum(axis=1, keepdims=True)
        return weight / total, float((top + np.log(total)).sum())

    def counts(self, posterior: FloatArray) -> FloatArray:
        """(R, K, K) expected labels by rater, truth and label."""
        _, num_raters, num = self.size
        place = self.rater * num + self.label
        columns = [
            np.bincount(place, posterior[self.item, k], num_raters * num) for k in range(num)
        ]
        table = np.stack(columns, axis=1).astype(np.float64).reshape(num_raters, num, num)
        return table.transpose(0, 2, 1)

    def maximise(
        self, posterior: FloatArray, coin: str, prior: float
    ) -> tuple[FloatArray, FloatArray]:
        """Confusion matrices and class shares at an expected truth."""
        num = self.size[2]
        counts = self.counts(posterior)
        if coin == "one":
            right = np.trace(counts, axis1=1, axis2=2) + prior
            rate = right / np.maximum(counts.sum(axis=(1, 2)) + 2 * prior, _FLOOR)
            wrong = (1 - rate) / (num - 1)
            confusion = wrong[:, None, None] + (rate - wrong)[:, None, None] * np.eye(num)
        else:
            total = counts.sum(axis=2, keepdims=True) + num * prior
            confusion = np.where(total > 0, (counts + prior) / np.maximum(total, _FLOOR), 1 / num)
        seen = np.bincount(self.item, minlength=self.size[0]) > 0
        return confusion, posterior[seen].mean(axis=0)

    def one_coin_error(
        self, posterior: FloatArray, confusion: FloatArray, shares: FloatArray, prior: float
    ) -> FloatArray:
        """(R,) standard error of logit accuracy, with all raters' uncertainty at once."""
        num_items, num_raters, num = self.size
        rate = confusion[:, 0, 0]
        total = np.bincount(self.rater, minlength=num_raters) + 2 * prior
        matrix = np.diag(total * rate * (1 - rate))
        rows = max(1, 4_000_000 // num_raters)
        for start in range(0, num_items, rows):
            inside = (self.item >= start) & (self.item < start + rows)
            span = min(rows, num_items - start)
            place = (self.item[inside] - start) * num_raters + self.rater[inside]
            mean = np.zeros((span, num_raters))
            for k in range(num):
                said = self.label[inside] == k
                hits = np.bincount(place[said], minlength=span * num_raters)
                hit = hits.reshape(span, num_raters).astype(np.float64)
                weight = posterior[start : start + span, k][:, None]
                root = hit * np.sqrt(weight)
                matrix -= root.T @ root
                mean += hit * weight
            matrix += mean.T @ mean
        return _root_diagonal(matrix)

    def full_error(
        self, posterior: FloatArray, confusion: FloatArray, shares: FloatArray, prior: float
    ) -> FloatArray:
        """(R,) standard error of logit accuracy, the other raters' confusion taken as known."""
        _, num_raters, num = self.size
        total = self.counts(posterior).sum(axis=2) + num * prior
        diagonal = confusion[:, :, :, None] * np.eye(num)
        within = diagonal - confusion[:, :, :, None] * confusion[:, :, None, :]
        info = np.zeros((num_raters, num, num, num, num))
        place = self.rater * num + self.label
        gap = np.eye(num)[None, :, None, :] - confusion[:, None, :, :]  # rater, label, truth, to
        for k in range(num):
            info[:, k, :, k, :] += total[:, k, None, None] * within[:, k]
            for j in range(num):
                cov = posterior[:, k] * ((k == j) - posterior[:, j])
                lost = np.bincount(place, cov[self.item], num_raters * num)
                lost = lost.reshape(num_raters, num)
                info[:, k, :, j, :] -= np.einsum(
                    "rl,rla,rlb->rab", lost, gap[:, :, k], gap[:, :, j]
                )
        matrix = info.reshape(num_raters, num * num, num * num)
        values, vectors = np.linalg.eigh((matrix + matrix.transpose(0, 2, 1)) / 2)
        own = np.einsum("rkk->rk", confusion)
        slope = (own[:, :, None] * (np.eye(num) - confusion) * shares[:, None]).reshape(
            num_raters, -1
        )
        along = np.einsum("rpe,rp->re", vectors, slope)
        useful = np.abs(along) > 1e-9 * np.abs(along).max(axis=1, keepdims=True)
        variance = np.where(useful, along**2 / np.maximum(values, 1e-9), 0.0).sum(axis=1)
        accuracy = np.clip(own @ shares, 1e-6, 1 - 1e-6)
        error: FloatArray = np.minimum(np.sqrt(variance) / (accuracy * (1 - accuracy)), 20.0)
        return error


def _root_diagonal(matrix: FloatArray) -> FloatArray:
    """Square root of the inverse's diagonal; directions without information count as unknown."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    inverse: FloatArray = (vectors**2 / np.maximum(values, 1e-4)).sum(axis=1)
    error: FloatArray = np.minimum(np.sqrt(inverse), 20.0)
    return error
