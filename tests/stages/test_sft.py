"""SFT: the held-out loss falls, packing changes nothing, finished work is returned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from accord import artifacts
from accord.errors import ArtifactError
from accord.stages import sft


def logged(folder: Path, name: str) -> list[dict]:
    text = (folder / "logs" / name / "metrics.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_heldout_loss_falls(loop) -> None:
    rows = logged(loop.folder, "sft")
    assert [row["step"] for row in rows] == list(range(1, 9))
    losses = [row["heldout/loss"] for row in rows if "heldout/loss" in row]
    assert len(losses) == 2
    assert losses[-1] < losses[0]
    assert loop["sft"].manifest.metrics["heldout/loss"] == losses[-1]


def test_finished_work_is_returned_as_it_is(loop, recipe_with) -> None:
    path = loop["sft"].path / "model.safetensors"
    before = path.stat().st_mtime_ns
    again = sft(loop.recipe, "tiny", loop["demonstrations"], loop["sft"].path)
    assert again.manifest == loop["sft"].manifest
    assert path.stat().st_mtime_ns == before
    with pytest.raises(ArtifactError, match=r"sft\.learning_rate: 0\.001 -> 0\.5"):
        sft(recipe_with("sft.learning_rate=0.5"), "tiny", loop["demonstrations"], again.path)
    assert not artifacts.verify(again.path)
    assert not list(loop.folder.glob("*.partial"))


def test_packed_training_is_unpacked_training(loop, recipe_with, tmp_path: Path) -> None:
    weights = []
    for packing in ("true", "false"):
        recipe = recipe_with("sft.max_steps=2", f"sft.packing={packing}", "sft.batch_size=4")
        made = sft(recipe, "tiny", loop["demonstrations"], tmp_path / packing)
        weights.append(load_file(made.path / "model.safetensors"))
    one, two = (logged(tmp_path, packing) for packing in ("true", "false"))
    for a, b in zip(one, two, strict=True):
        assert a["sft/loss"] == pytest.approx(b["sft/loss"], abs=2e-5)
        assert a["optimizer/grad_norm"] == pytest.approx(b["optimizer/grad_norm"], rel=1e-3)
    assert weights[0].keys() == weights[1].keys()


def test_training_starts_from_a_policy_artifact_too(loop, recipe_with, tmp_path: Path) -> None:
    recipe = recipe_with("sft.max_steps=1", "sft.heldout_fraction=0")
    made = sft(recipe, loop["sft"], loop["demonstrations"], tmp_path / "more")
    assert made.manifest.parents["base"].hash == loop["sft"].hash
    assert "heldout/loss" not in made.manifest.metrics
