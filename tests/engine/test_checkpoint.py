"""Checkpoints: whole or not there, the newest wins, tensors come back bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from accord.engine import checkpoint

TENSORS = {"policy/a": torch.arange(6.0).reshape(2, 3).T, "value/a": torch.tensor(1.5)}


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path) is None
    checkpoint.save(tmp_path, 3, TENSORS, {"kl_coef": 0.1, "best": -float("inf")})
    step, tensors, state = checkpoint.latest(tmp_path) or pytest.fail("none")
    assert step == 3
    assert state == {"step": 3, "kl_coef": 0.1, "best": -float("inf")}
    assert all(torch.equal(tensor, TENSORS[name]) for name, tensor in tensors.items())


def test_only_the_newest_is_kept(tmp_path: Path) -> None:
    for step in (9, 10, 11):
        checkpoint.save(tmp_path, step, TENSORS, {})
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-00000011"]


@pytest.mark.parametrize("at", ["save_file", "_sync"])
def test_a_kill_while_writing_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    checkpoint.save(tmp_path, 1, TENSORS, {})

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(checkpoint, at, die)
        checkpoint.save(tmp_path, 2, TENSORS, {})
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found[0] == 1
    checkpoint.save(tmp_path, 2, TENSORS, {})
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-00000002"]


def test_names_of_several_learners_in_one_file() -> None:
    both = checkpoint.prefixed("policy", {"a": TENSORS["value/a"]})
    both |= checkpoint.prefixed("value", {"a": TENSORS["policy/a"]})
    assert checkpoint.under("policy", both) == {"a": TENSORS["value/a"]}
