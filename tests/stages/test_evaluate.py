"""The report's numbers, counted again by hand from the samples that it keeps."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from accord import artifacts, worlds
from accord.artifacts import Artifact
from accord.errors import ArtifactError
from accord.models.load import load_policy
from accord.stages import evaluate
from accord.types import Completion, Prompt, Reading, Sample

GOLD, JUDGE = "gold raters", "held-out reward model"
SETTINGS = ("evaluate.num_samples=3", "evaluate.max_tokens=24", "evaluate.num_shown=5")


@pytest.fixture(scope="module")
def report(small, recipe_with, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A shaken policy against the raw one, judged by the world and by a random reward model."""
    return evaluate(
        recipe_with(*SETTINGS),
        {"sft": small.policy, "ppo": small.other},
        small.prompts,
        tmp_path_factory.mktemp("evaluate") / "report",
        judge=small.reward,
        gold="tiny",
    )


def samples(report: Artifact, name: str) -> list[Sample]:
    return [s for s in report.records(f"samples-{name}.jsonl") if isinstance(s, Sample)]


def readings(report: Artifact, name: str) -> dict[str, Reading]:
    found = report.records(f"readings-{name}.jsonl")
    return {r.gauge: r for r in found if isinstance(r, Reading)}


def hand_count(report: Artifact, score: Callable[[Prompt, Completion], float]) -> float:
    """Win rate of ppo over sft: all 3 x 3 pairs of a prompt, ties a half, prompts alike."""
    shares = []
    for ours, theirs in zip(samples(report, "ppo"), samples(report, "sft"), strict=True):
        assert ours.prompt == theirs.prompt
        points = [
            0.5 + 0.5 * ((a > b) - (a < b))
            for a, b in product(
                [score(ours.prompt, c) for c in ours.completions],
                [score(theirs.prompt, c) for c in theirs.completions],
            )
        ]
        assert len(points) == 9
        shares.append(sum(points) / 9)
    return sum(shares) / len(shares)


def test_gold_win_rate_is_a_hand_count(report: Artifact) -> None:
    world = worlds.get("tiny")
    expected = hand_count(report, world.gold)
    reading = readings(report, "ppo")[f"win_rate/{GOLD}"]
    assert reading.value == pytest.approx(expected, abs=1e-9)
    assert reading.num_samples == 12
    assert 0.05 < expected < 0.95  # not the trivial case
    assert report.manifest.metrics[f"ppo/win_rate/{GOLD}"] == reading.value
    gain = readings(report, "ppo")[f"score_gain/{GOLD}"].value
    means = {
        name: sum(world.gold(s.prompt, c) for s in samples(report, name) for c in s.completions)
        for name in ("sft", "ppo")
    }
    assert gain == pytest.approx((means["ppo"] - means["sft"]) / 36, abs=1e-9)


@torch.no_grad()
def test_the_judge_s_win_rate_and_kl_are_those_of_transformers(small, report: Artifact) -> None:
    """Unpadded, one answer at a time, from the texts on disk."""
    policy = load_policy(small.policy.path, small.recipe.model)
    encoder = policy.encoder(small.recipe)
    judge = AutoModelForSequenceClassification.from_pretrained(small.reward.path).eval()
    models = [
        AutoModelForCausalLM.from_pretrained(a.path).eval() for a in (small.other, small.policy)
    ]

    def ids(prompt: Prompt, completion: Completion) -> tuple[torch.Tensor, int]:
        row = encoder.row(encoder.prompt(prompt), completion)
        return torch.tensor([[*row.prompt, *row.response]]), len(row.prompt)

    def score(prompt: Prompt, completion: Completion) -> float:
        tokens, _ = ids(prompt, completion)
        raw = judge.score(judge.base_model(input_ids=tokens).last_hidden_state[0, -1])
        return (float(raw[0]) - 0.25) / 0.5

    found = readings(report, "ppo")
    assert found[f"win_rate/{JUDGE}"].value == pytest.approx(hand_count(report, score), abs=1e-9)
    kls = []
    for record in samples(report, "ppo"):
        for completion in record.completions:
            tokens, start = ids(record.prompt, completion)
            logprobs = [
                m(input_ids=tokens).logits[0, :-1].log_softmax(-1).gather(1, tokens[0, 1:, None])
                for m in models
            ]
            kls.append(float((logprobs[0] - logprobs[1])[start - 1 :].sum()))
    assert len(kls) == 36
    assert found["kl/sequence"].value == pytest.approx(sum(kls) / 36, abs=1e-3)
    assert found["kl/sequence"].value > 0.1


def test_who_spoke_is_known_and_the_reference_has_its_levels(small, report: Artifact) -> None:
    for name, artifact in (("sft", small.policy), ("ppo", small.other)):
        spoken = samples(report, name)
        assert [len(s.completions) for s in spoken] == [3] * 12
        assert {c.model for s in spoken for c in s.completions} == {artifact.hash}
    reference = readings(report, "sft")
    assert not [g for g in reference if g.startswith(("win_rate", "kl", "score_gain"))]
    words = [len(c.text.split()) for s in samples(report, "sft") for c in s.completions]
    assert reference["length/words"].value == pytest.approx(sum(words) / 36)


def test_the_page_shows_every_policy_and_some_samples(report: Artifact) -> None:
    page = (report.path / "index.html").read_text("utf-8")
    assert page.count('class="answer') >= 2 * 5
    for part in (
        ">sft<",
        ">ppo<",
        GOLD,
        JUDGE,
        "seed 0",
        "evaluate:",
        report.manifest.parents["ppo"].hash,
    ):
        assert part in page, part
    for name in ("sft", "ppo"):
        first = samples(report, name)[0].completions[0].text
        assert first in page
    log = (report.path.parent / "logs" / "report" / "metrics.jsonl").read_text().splitlines()
    kls = [json.loads(line)["evaluate/kl"] for line in log]
    assert kls[0] == pytest.approx(0, abs=1e-5)  # the reference has moved nowhere from itself
    assert kls[1] == pytest.approx(readings(report, "ppo")["kl/sequence"].value, abs=1e-6)


def test_one_judge_is_enough_and_one_sample(small, recipe_with, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="needs a held-out reward model or a world's gold"):
        evaluate(recipe_with(), {"sft": small.policy}, small.prompts, tmp_path / "nobody")
    recipe = recipe_with("evaluate.num_samples=1", "evaluate.max_tokens=24")
    policies = {"base": small.policy, "dpo": small.other}
    made = evaluate(recipe, policies, small.prompts, tmp_path / "r", small.reward, reference="base")
    found = readings(made, "dpo")
    assert {g for g in found if g.startswith("win_rate")} == {f"win_rate/{JUDGE}"}
    assert [len(s.completions) for s in samples(made, "dpo")] == [1] * 12
    diversity = [r for g, r in found.items() if g.startswith("diversity/per_prompt")]
    assert all(r.state == "NOT_APPLICABLE" for r in diversity)
    page = (made.path / "index.html").read_text("utf-8")
    assert "dpo" in page and "base" in page
    assert (
        evaluate(recipe, policies, small.prompts, tmp_path / "r", small.reward, reference="base")
        == made
    )
    with pytest.raises(ArtifactError, match="gold"):
        evaluate(recipe, policies, small.prompts, tmp_path / "r", small.reward, "tiny", "base")


def test_answers_do_not_depend_on_how_many_are_decoded_together(
    small, recipe_with, report: Artifact, tmp_path: Path
) -> None:
    other = evaluate(
        recipe_with(*SETTINGS, "evaluate.batch_size=5"),
        {"sft": small.policy},
        small.prompts,
        tmp_path / "r",
        gold="tiny",
    )
    assert samples(other, "sft") == samples(report, "sft")
    assert artifacts.verify(other.path) == []
