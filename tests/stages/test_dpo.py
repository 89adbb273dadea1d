"""DPO: ln 2 at the start, the reference never moves, margins grow."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from accord import artifacts
from accord.errors import ArtifactError, DataError
from accord.models.load import load_policy
from accord.models.pairs import prompt_pairs
from accord.stages import dpo
from accord.stages.dpo import _Batches, _batches
from accord.types import Comparison


def steps(folder: Path, name: str) -> list[dict]:
    text = (folder / "logs" / name / "metrics.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("trainable", ["all", "lora", "top"])
def test_the_loss_starts_at_ln_2_and_margins_grow(loop, recipe_with, tmp_path, trainable) -> None:
    layers = ["model.top_layers=1"] if trainable == "top" else []
    recipe = recipe_with(f"model.trainable={trainable}", *layers, "dpo.learning_rate=0.003")
    made = dpo(recipe, loop["sft"], loop["comparisons"], tmp_path / "dpo")
    rows = steps(tmp_path, "dpo")
    assert rows[0]["dpo/loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert rows[0]["dpo/margin"] == pytest.approx(0, abs=1e-5)
    assert rows[-1]["dpo/margin"] > 0.01
    assert rows[-1]["heldout/margin"] > 0
    assert made.manifest.metrics["num_steps"] == 4
    again = dpo(recipe, loop["sft"], loop["comparisons"], tmp_path / "dpo")
    assert again.manifest == made.manifest
    with pytest.raises(ArtifactError, match=r"dpo\.beta"):
        dpo(
            recipe_with(f"model.trainable={trainable}", *layers, "dpo.beta=0.25"),
            loop["sft"],
            loop["comparisons"],
            tmp_path / "dpo",
        )


def items(loop):
    policy = load_policy(loop["sft"].path, loop.recipe.model)
    verdicts = [c for c in loop["comparisons"].records() if isinstance(c, Comparison)]
    return policy, prompt_pairs(verdicts, policy.encoder(loop.recipe), 0.0)


def test_reference_logprobs_are_sums_over_whole_responses(loop) -> None:
    policy, prompts = items(loop)
    prepare = _Batches(policy, 64)
    got = prepare(prompts[:2])[0].tensors["ref_logprobs_B"]
    again = prepare([prompts[1], prompts[0]])[0].tensors["ref_logprobs_B"]
    num_first = len(prompts[0].rows)
    assert torch.equal(torch.cat([again[-num_first:], again[:-num_first]]), got)
    for row, total in zip([r for p in prompts[:2] for r in p.rows], got, strict=True):
        ids = torch.tensor([[*row.prompt, *row.response]])
        with torch.no_grad():
            logprobs = policy.network.model(input_ids=ids).logits[0].double().log_softmax(-1)
        expected = sum(
            float(logprobs[t - 1, ids[0, t]]) for t in range(len(row.prompt), ids.shape[1])
        )
        assert float(total) == pytest.approx(expected, abs=1e-3)


def test_an_epoch_sees_every_prompt_once_in_whole(loop) -> None:
    _, prompts = items(loop)
    epochs = [_batches(prompts, 16, 0, epoch) for epoch in (0, 1)]
    for batches in epochs:
        seen = [item.prompt_id for batch in batches for item in batch]
        assert sorted(seen) == sorted(item.prompt_id for item in prompts)
        assert all(sum(len(i.pairs) for i in batch) >= 16 for batch in batches[:-1])
    assert epochs[0] != epochs[1]


def test_nothing_but_ties_is_told(loop, recipe_with, tmp_path) -> None:
    records = [replace(c, choice="tie") for c in loop["comparisons"].records()]
    with artifacts.write(tmp_path / "ties", "comparisons") as folder:
        artifacts.write_records(folder, records)
    with pytest.raises(DataError, match="0 prompts with a preference are too few"):
        dpo(recipe_with(), loop["sft"], artifacts.read(tmp_path / "ties"), tmp_path / "dpo")


def test_how_sure_a_rater_was_is_the_target_where_it_is_asked_for(
    loop, recipe_with, tmp_path
) -> None:
    """Raters who are never sure teach nothing: every target is 0.5, so the policy stays put."""
    unsure = [
        replace(c, strength=0.0) for c in loop["comparisons"].records() if isinstance(c, Comparison)
    ]
    with artifacts.write(tmp_path / "unsure", "comparisons", config={}, seed=0) as folder:
        artifacts.write_records(folder, unsure)
    given = artifacts.read(tmp_path / "unsure")
    margins = {}
    for asked in (True, False):
        recipe = recipe_with(f"dpo.use_strength={str(asked).lower()}")
        made = dpo(recipe, loop["sft"], given, tmp_path / f"dpo-{asked}")
        margins[asked] = made.manifest.metrics["heldout/margin"]
    assert abs(margins[True]) < 0.1 * abs(margins[False])
