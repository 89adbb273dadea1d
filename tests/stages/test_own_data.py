"""A run on one's own comparisons, and what one run does to another in the same folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from accord import artifacts, worlds
from accord.config import Recipe
from accord.errors import ArtifactError, ConfigError
from accord.stages import run
from accord.types import Comparison, Completion, Reading, to_dict

SMALL = (
    "sft.max_steps=2",
    "reward.max_steps=2",
    "ppo.num_steps=1",
    "ppo.samples_every=1",
    "dpo.max_steps=1",
    "evaluate.num_samples=1",
    "evaluate.max_tokens=16",
    "ppo.max_tokens=16",
)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, recipe_with) -> Callable[..., Recipe]:
    """Recipes over files of 40 demonstrations and their comparisons with a rude answer."""
    folder = tmp_path_factory.mktemp("own")
    shown = worlds.get("tiny").demonstrations()[::7][:40]
    with (folder / "demonstrations.jsonl").open("w") as file:
        for one in shown:
            file.write(json.dumps({"prompt": one.prompt.text, "completion": one.completion}) + "\n")
    with (folder / "comparisons.jsonl").open("w") as file:
        for one in shown:
            good, bad = Completion(one.completion), Completion("now go away .")
            file.write(json.dumps(to_dict(Comparison(one.prompt, good, bad, "a"))) + "\n")
    files = (
        f"data.demonstrations={folder / 'demonstrations.jsonl'}",
        f"data.comparisons={folder / 'comparisons.jsonl'}",
        "data.prompts=null",
    )
    return lambda *settings: recipe_with(*SMALL, *files, *settings)


@pytest.fixture(scope="module")
def finished(own: Callable[..., Recipe], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run on them: every stage that there is to do."""
    out = tmp_path_factory.mktemp("finished") / "run"
    made = run(own(f"out={out}"))
    assert made.path == out / "report"
    return out


def test_own_comparisons_replace_sampling_and_raters(finished: Path) -> None:
    folders = {path.parent.name for path in finished.glob("*/manifest.json")}
    assert folders == {
        *("demonstrations", "prompts", "heldout_prompts", "comparisons"),
        *("sft", "reward", "judge", "ppo", "dpo", "report"),
    }
    reward = artifacts.read(finished / "reward")
    assert (
        reward.manifest.parents["comparisons"].hash == artifacts.read(finished / "comparisons").hash
    )
    assert artifacts.verify(finished / "report") == []
    heldout = {p.messages for p in artifacts.read(finished / "heldout_prompts").records()}
    for name in ("comparisons", "demonstrations", "prompts"):
        for record in artifacts.read(finished / name).records():
            assert getattr(record, "prompt", record).messages not in heldout


def test_nobody_s_gold_score_is_claimed(finished: Path) -> None:
    """Without a world only the held-out judge speaks."""
    report = artifacts.read(finished / "report")
    for name in ("ppo", "dpo"):
        readings = [r for r in report.records(f"readings-{name}.jsonl") if isinstance(r, Reading)]
        judges = {r.gauge for r in readings if r.gauge.startswith("win_rate/")}
        assert judges == {"win_rate/held-out reward model"}
    assert "gold raters" not in (report.path / "index.html").read_text("utf-8")


def test_one_stage_finds_what_the_others_left(finished: Path, own) -> None:
    recipe = own(f"out={finished}")
    kinds = {"sft": "policy", "reward": "reward_model", "dpo": "policy", "evaluate": "report"}
    for stage, kind in kinds.items():
        made = run(recipe, only=stage)
        assert made.kind == kind
        assert made == artifacts.read(made.path)
    with pytest.raises(ArtifactError, match="run `accord sample` on this recipe"):
        run(recipe, only="collect")  # nothing was ever sampled


def test_a_second_run_in_a_folder_is_refused_while_the_first_works(own, tmp_path: Path) -> None:
    out = tmp_path / "busy"
    out.mkdir()
    with FileLock(out / ".lock"), pytest.raises(ArtifactError, match="another accord run"):
        run(own(f"out={out}"), only="sft")
    assert not (out / "recipe.yaml").exists()  # it touched nothing
    with pytest.raises(ArtifactError, match="unknown stage 'x'"):
        run(own(f"out={out}"), only="x")
    FileLock(out / ".lock", timeout=0).acquire().lock.release()  # a failed run leaves no lock


def test_what_nobody_could_judge_is_refused_before_it_is_trained(
    own, recipe_with, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="leaves nobody to judge"):
        run(own(f"out={tmp_path / 'a'}", "collect.judge_fraction=0"))
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"say {i}"}) + "\n" for i in range(9)))
    with pytest.raises(ConfigError, match="simulated raters need a gold score"):
        run(recipe_with(f"data.prompts={path}", f"out={tmp_path / 'b'}"))
    assert not list(tmp_path.glob("*/sft*"))


def test_a_stage_without_its_data_says_which(own, tmp_path: Path) -> None:
    recipe = own("data.demonstrations=null", f"out={tmp_path}")
    with pytest.raises(ArtifactError, match=r"set data\.demonstrations"):
        run(recipe)
