"""Stop when the held-out value no longer improves, and end with the best weights seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from accord.engine.learner import LocalLearner


class EarlyStop:
    """Watches a held-out value (higher is better) and keeps the weights that had the best one.

    Args:
        patience: evaluations without improvement before stopping; None never stops and never
            goes back to earlier weights.
    """

    def __init__(self, patience: int | None) -> None:
        self.patience = patience
        self.best = -float("inf")
        self.best_step = 0
        self.misses = 0
        self._weights: dict[str, Tensor] = {}

    @property
    def stopped(self) -> bool:
        """True when it is time to stop."""
        return self.patience is not None and self.misses >= self.patience

    def update(self, step: int, value: float, learner: LocalLearner) -> None:
        """Record one evaluation."""
        if self.patience is None:
            return
        if value > self.best:
            self.best, self.best_step, self.misses = value, step, 0
            self._weights = {
                name: parameter.detach().clone()
                for name, parameter in learner.network.trainable().items()
            }
        else:
            self.misses += 1

    @torch.no_grad()
    def restore(self, learner: LocalLearner) -> None:
        """Put the best weights back, if any were kept."""
        for name, parameter in learner.network.trainable().items():
            if name in self._weights:
                parameter.copy_(self._weights[name])

    def tensors(self) -> dict[str, Tensor]:
        """The best weights, for a checkpoint."""
        return dict(self._weights)

    def state(self) -> dict[str, Any]:
        """The rest of the state, for a checkpoint."""
        return {"best": self.best, "best_step": self.best_step, "misses": self.misses}

    def load(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Put back what :meth:`state` and :meth:`tensors` gave."""
        self.best, self.best_step = state["best"], state["best_step"]
        self.misses, self._weights = state["misses"], dict(tensors)
