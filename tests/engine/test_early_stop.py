"""Early stop: patience counted by hand, the best weights back at the end, and across a restart."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from accord.engine import AdamSettings, LocalLearner
from accord.engine.early_stop import EarlyStop


@pytest.fixture
def learner(load_small, tmp_path: Path) -> LocalLearner:
    return LocalLearner(
        load_small("llama").network, AdamSettings(), micro_batch_tokens=9, dump_folder=tmp_path
    )


@torch.no_grad()
def move(learner: LocalLearner, value: float) -> None:
    for parameter in learner.network.trainable().values():
        parameter.fill_(value)


def where(learner: LocalLearner) -> float:
    return float(next(iter(learner.network.trainable().values())).detach().flatten()[0])


@pytest.mark.parametrize("restart", [False, True])
def test_it_stops_after_patience_and_goes_back(learner: LocalLearner, restart: bool) -> None:
    stop = EarlyStop(2)
    told = []
    for step, value in enumerate((0.1, 0.5, 0.3, 0.5, 0.9), start=1):
        if restart:
            state, tensors = stop.state(), {n: t.clone() for n, t in stop.tensors().items()}
            stop = EarlyStop(2)
            stop.load(state, tensors)
        move(learner, step)
        stop.update(step, value, learner)
        told.append(stop.stopped)
    assert told == [False, False, False, True, False]  # equal is no improvement; 0.9 came too late
    stop = EarlyStop(2)
    for step, value in enumerate((0.1, 0.5, 0.3), start=1):
        move(learner, step)
        stop.update(step, value, learner)
    stop.restore(learner)
    assert (where(learner), stop.best_step, stop.best) == (2.0, 2, 0.5)


def test_without_patience_nothing_is_kept(learner: LocalLearner) -> None:
    stop = EarlyStop(None)
    move(learner, 1)
    stop.update(1, 5.0, learner)
    move(learner, 2)
    stop.update(2, 0.0, learner)
    stop.restore(learner)
    assert where(learner) == 2.0
    assert not stop.stopped
    assert not stop.tensors()
