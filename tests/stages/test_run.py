"""The whole loop and the stages around it: each artifact in its place, nothing done twice."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from accord import artifacts
from accord.engine import per_token
from accord.errors import AccordError, ArtifactError, ConfigError
from accord.models.batch import collate
from accord.models.load import load_policy, load_reward_model
from accord.stages import evaluate, run, sample
from accord.stages.run import STAGES
from accord.stages.summary import summary
from accord.types import Reading, Sample


@pytest.fixture(scope="module")
def report(loop) -> artifacts.Artifact:
    """What ``run`` adds to what the loop has made: PPO, DPO and the report."""
    before = {name: made.hash for name, made in loop.made.items()}
    made = run(loop.recipe)
    assert {name: artifacts.read(loop.folder / name).hash for name in before} == before
    return made


def test_the_report_is_sound_and_reads_its_gauges(loop, report) -> None:
    assert report.kind == "report"
    assert artifacts.verify(report.path) == []
    assert set(report.manifest.parents) == {"prompts", "sft", "ppo", "dpo", "judge"}
    page = (report.path / "index.html").read_text("utf-8")
    assert page.startswith("<!doctype html>") or page.startswith("<!DOCTYPE html>")
    for name in ("ppo", "dpo"):
        readings = [r for r in report.records(f"readings-{name}.jsonl") if isinstance(r, Reading)]
        gauges = {r.gauge for r in readings}
        assert {"win_rate/gold raters", "win_rate/held-out reward model"} <= gauges
        assert all(0 <= r.value <= 1 for r in readings if r.gauge.startswith("win_rate"))
    said = summary(loop.recipe, report, 90.0)
    assert "1.5 minutes" in said
    assert "accord chat" in said
    assert "ppo against sft, gold raters: wins" in said


def test_a_second_run_does_nothing(loop, report) -> None:
    files = {p: p.stat().st_mtime_ns for p in loop.folder.rglob("*.safetensors")}
    assert run(loop.recipe).manifest == report.manifest
    assert {p: p.stat().st_mtime_ns for p in loop.folder.rglob("*.safetensors")} == files
    assert not list(loop.folder.glob("*.partial*"))


def test_how_a_run_is_computed_is_no_part_of_what_it_is(loop, report, recipe_with) -> None:
    other = recipe_with(f"out={loop.folder}", "sft.checkpoint_every=3", "ppo.samples_every=1")
    assert run(other).manifest == report.manifest


def test_other_settings_are_refused_before_anything_is_made(loop, report, recipe_with) -> None:
    other = recipe_with(f"out={loop.folder}", "reward.learning_rate=0.5")
    with pytest.raises(ArtifactError, match=r"reward\.learning_rate: 0\.0005 -> 0\.5"):
        run(other)


def test_one_stage_asks_for_what_it_needs(tmp_path: Path, recipe_with) -> None:
    recipe = recipe_with(f"out={tmp_path}")
    for stage, needed in (("ppo", "sft"), ("collect", "sample"), ("dpo", "sft")):
        with pytest.raises(ArtifactError, match=f"run `accord {needed}` on this recipe"):
            run(recipe, only=stage)
    with pytest.raises(ArtifactError, match="unknown stage 'pop'; stages: sft, sample"):
        run(recipe, only="pop")
    assert STAGES[-1] == "evaluate"


def test_samples_of_one_prompt_differ_and_say_who_spoke(loop) -> None:
    records = [s for s in loop["samples"].records() if isinstance(s, Sample)]
    asked = [p.id for p in loop["prompts"].records()]
    assert [s.prompt.id for s in records] == asked
    for record in records:
        assert len(record.completions) == 4
        assert {c.model for c in record.completions} == {loop["sft"].hash}
    assert sum(len({c.text for c in s.completions}) > 1 for s in records) > len(records) / 2


@pytest.fixture(scope="module")
def few_prompts(loop, tmp_path_factory: pytest.TempPathFactory) -> artifacts.Artifact:
    """The first 32 of the prompts."""
    path = tmp_path_factory.mktemp("few") / "prompts"
    with artifacts.write(path, "prompts") as folder:
        artifacts.write_records(folder, islice(loop["prompts"].records(), 32))
    return artifacts.read(path)


def test_samples_do_not_depend_on_the_batch_size(
    loop, few_prompts, recipe_with, tmp_path: Path
) -> None:
    """Nor on an earlier run that was killed, whose logged lines are replaced."""
    logs = tmp_path / "logs" / "samples"
    logs.mkdir(parents=True)
    (logs / "metrics.jsonl").write_text('{"step": 32, "time": 1.0, "sample/length": 99.0}\n')
    recipe = recipe_with("sample.batch_size=8")
    made = sample(recipe, [loop["sft"]], few_prompts, tmp_path / "samples")
    assert list(made.records()) == list(loop["samples"].records())[:32]
    (row,) = map(json.loads, (logs / "metrics.jsonl").read_text().splitlines())
    assert row["step"] == 32
    assert row["sample/length"] < 99


def test_a_killed_run_of_samples_goes_on_where_it_was(
    loop, few_prompts, recipe_with, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from accord.stages import sample as _sample  # the function hides the module of its name

    module = sys.modules[_sample.__module__]
    monkeypatch.setattr(module, "PROMPTS_AT_ONCE", 8)
    whole = sample(recipe_with(), [loop["sft"]], few_prompts, tmp_path / "whole")
    draw, calls = module._draw, []

    def killed_at_the_third(*args: object) -> object:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return draw(*args)

    monkeypatch.setattr(module, "_draw", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        sample(recipe_with(), [loop["sft"]], few_prompts, tmp_path / "killed")
    made = sample(recipe_with(), [loop["sft"]], few_prompts, tmp_path / "killed")
    assert len(calls) == 2 + 1 + 2  # two parts were kept, one was lost, two were left
    assert made.hash == whole.hash
    text = (tmp_path / "logs" / "killed" / "metrics.jsonl").read_text()
    assert [json.loads(line)["step"] for line in text.splitlines()] == [8, 16, 24, 32]
    assert not list(tmp_path.glob("*.partial"))


def test_two_policies_share_the_candidates(loop, few_prompts, recipe_with, tmp_path: Path) -> None:
    other = artifacts.read(loop["sft"].path)
    other = replace(other, manifest=other.manifest.model_copy(update={"hash": "sha256:other"}))
    recipe = recipe_with("sample.num_candidates=3")
    made = sample(recipe, [loop["sft"], other], few_prompts, tmp_path / "samples")
    for record in made.records():
        assert [c.model for c in record.completions].count("sha256:other") == 1
        assert len(record.completions) == 3


def test_best_of_n_raises_the_score_it_selects_by(
    loop, few_prompts, recipe_with, tmp_path: Path
) -> None:
    recipe = recipe_with("sample.best_of=6", "sample.num_candidates=2")
    with pytest.raises(ArtifactError, match="needs a reward model"):
        sample(recipe, [loop["sft"]], few_prompts, tmp_path / "samples")
    best = sample(recipe, [loop["sft"]], few_prompts, tmp_path / "s", loop["reward"])
    policy = load_policy(loop["sft"].path, recipe.model)
    judge = load_reward_model(loop["reward"].path, recipe.model)
    encoder = policy.encoder(recipe)
    means = []
    for made in (best, loop["samples"]):
        rows = [
            encoder.row(encoder.prompt(s.prompt), c, i)
            for i, s in enumerate(islice(made.records(), 32))
            for c in s.completions
        ]
        batch = collate(rows, policy.pad_id)
        heads_BT = per_token(judge.network, batch, 8192)
        means.append(float(heads_BT.gather(1, batch.lengths_B[:, None] - 1).mean()))
    # Over all prompts scores have standard deviation 1; of one prompt's they have less.
    assert means[0] - means[1] > 0.3


def test_evaluate_says_what_it_lacks(loop, recipe_with, tmp_path: Path) -> None:
    recipe = recipe_with()
    with pytest.raises(ArtifactError, match="no policy 'sft' among ppo"):
        evaluate(recipe, {"ppo": loop["sft"]}, loop["heldout_prompts"], tmp_path / "r")
    with pytest.raises(ArtifactError, match="needs a held-out reward model or"):
        evaluate(recipe, {"sft": loop["sft"]}, loop["heldout_prompts"], tmp_path / "r")


def test_a_policy_against_itself_ties(loop, recipe_with, tmp_path: Path) -> None:
    made = evaluate(
        recipe_with(),
        {"sft": loop["sft"], "same": loop["sft"]},
        loop["heldout_prompts"],
        tmp_path / "report",
        gold="tiny",
    )
    values = {r.gauge: r for r in made.records("readings-same.jsonl")}
    assert values["win_rate/gold raters"].value == 0.5
    kl = next(r for name, r in values.items() if name.startswith("kl/sequence"))
    assert kl.value == pytest.approx(0, abs=1e-5)


def test_raters_need_a_world_or_comparisons_of_yours(loop, recipe_with, tmp_path: Path) -> None:
    from accord.stages import collect

    path = tmp_path / "prompts.jsonl"
    path.write_text(json.dumps({"prompt": "hi"}) + "\n")
    recipe = recipe_with(f"data.prompts={path}")
    with pytest.raises(ConfigError, match="simulated raters need a gold score"):
        collect(recipe, loop["samples"], tmp_path / "c")
    with pytest.raises(AccordError):
        run(recipe_with(f"data.prompts={path}", f"out={tmp_path / 'out'}"))
